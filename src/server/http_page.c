#include "server/http.h"
#include "server/page.h"

#include <string.h>

static const char policy[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'";

void http_reply_page(http_request *r, const char *path)
{
    const page_file *f = page_files;
    const char *known = http_value(r, "If-None-Match");
    while (f->name && strcmp(f->name, path))
        f++;
    if (!f->name) {
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is nothing under this path");
        return;
    }
    if (known && strstr(known, f->etag))
        http_reply_empty(r, MHD_HTTP_NOT_MODIFIED);
    else
        http_reply(r, MHD_HTTP_OK,
                   MHD_create_response_from_buffer(f->size, (void *)(size_t)f->data,
                                                   MHD_RESPMEM_PERSISTENT));
    http_header(r, "Content-Type", "%s", f->type);
    http_header(r, "ETag", "%s", f->etag);
    http_header(r, "Cache-Control", "no-cache");
    http_header(r, "Content-Security-Policy", "%s", policy);
}
