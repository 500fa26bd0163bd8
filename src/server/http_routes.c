/* Every path in one row; openapi.json describes them. */
#include "server/api.h"

const http_route http_routes[] = {
    {"GET", "/health", HTTP_OPEN, NULL, api_health},
    {"GET", "/", HTTP_OPEN, NULL, api_index},
    {"GET", "/{name}", HTTP_OPEN, NULL, api_page},
    {0},
};
