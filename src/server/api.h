/* The handlers of the routes. */
#ifndef LS_SERVER_API_H
#define LS_SERVER_API_H

#include "server/http.h"

void api_health(http_request *r);
void api_index(http_request *r);
void api_page(http_request *r);

#endif
