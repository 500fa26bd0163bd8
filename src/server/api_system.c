#include "server/api.h"

void api_index(http_request *r)
{
    http_reply_page(r, "index.html");
}

void api_page(http_request *r)
{
    http_reply_page(r, r->name);
}

void api_health(http_request *r)
{
    http_reply_json(r, MHD_HTTP_OK, json_pack("{s:s}", "status", "ok"));
}
