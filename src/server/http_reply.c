#include "server/http.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void http_header(http_request *r, const char *name, const char *fmt, ...)
{
    char value[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(value, sizeof value, fmt, ap);
    va_end(ap);
    if (r->response)
        MHD_add_response_header(r->response, name, value);
}

void http_reply(http_request *r, unsigned status, struct MHD_Response *response)
{
    if (r->response) {
        MHD_destroy_response(response);
        return;
    }
    r->response = response;
    r->status = status;
    http_header(r, "X-Content-Type-Options", "nosniff");
    http_header(r, "Referrer-Policy", "no-referrer");
    http_header(r, "Cross-Origin-Resource-Policy", "same-origin");
}

void http_reply_empty(http_request *r, unsigned status)
{
    http_reply(r, status, MHD_create_response_from_buffer(0, NULL, MHD_RESPMEM_PERSISTENT));
}

void http_reply_json(http_request *r, unsigned status, json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15)) : NULL;
    const bool is_new = !r->response;
    json_decref(object);
    if (!text) {
        http_reply_empty(r, MHD_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }
    http_reply(r, status,
               MHD_create_response_from_buffer(strlen(text), text, MHD_RESPMEM_MUST_FREE));
    if (is_new) {
        http_header(r, "Content-Type", "application/json");
        http_header(r, "Cache-Control", "no-store");
    }
}

static const char *code_of(unsigned status)
{
    switch (status) {
    case MHD_HTTP_UNAUTHORIZED:
        return "unauthorized";
    case MHD_HTTP_FORBIDDEN:
    case MHD_HTTP_MISDIRECTED_REQUEST:
        return "forbidden";
    case MHD_HTTP_NOT_FOUND:
        return "not_found";
    case MHD_HTTP_CONFLICT:
        return "conflict";
    case MHD_HTTP_CONTENT_TOO_LARGE:
        return "too_large";
    case MHD_HTTP_UNSUPPORTED_MEDIA_TYPE:
        return "unsupported";
    case MHD_HTTP_UNPROCESSABLE_CONTENT:
        return "unprocessable";
    case MHD_HTTP_TOO_MANY_REQUESTS:
    case MHD_HTTP_SERVICE_UNAVAILABLE:
        return "busy";
    case MHD_HTTP_INSUFFICIENT_STORAGE:
        return "full";
    default:
        return status < 500 ? "invalid" : "internal";
    }
}

static void fail(http_request *r, unsigned status, const char *hint, const char *message)
{
    json_t *text = json_string(message); // NULL for what is not UTF-8
    http_reply_json(r, status,
                    json_pack("{s:{s:s, s:o, s:s?}}", "error", "code", code_of(status), "message",
                              text ? text : json_string("the request cannot be answered"), "hint",
                              hint));
    if (status == MHD_HTTP_TOO_MANY_REQUESTS)
        http_header(r, "Retry-After", "10");
    if (status == MHD_HTTP_UNAUTHORIZED)
        http_header(r, "WWW-Authenticate", "Bearer");
}

void http_fail(http_request *r, unsigned status, const char *hint, const char *fmt, ...)
{
    char message[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    fail(r, status, hint, message);
}

static unsigned status_of(int code)
{
    switch (code) {
    case LS_ENOENT:
        return MHD_HTTP_NOT_FOUND;
    case LS_EBUSY:
        return MHD_HTTP_CONFLICT;
    case LS_ENOSPC:
        return MHD_HTTP_INSUFFICIENT_STORAGE;
    case LS_ECANCELED:
        return MHD_HTTP_SERVICE_UNAVAILABLE;
    case LS_EINVAL:
    case LS_EFORMAT:
    case LS_EUNSUPPORTED:
    case LS_ESHAPE:
    case LS_EOF:
    case LS_ENOFACE:
        return MHD_HTTP_UNPROCESSABLE_CONTENT;
    default:
        return MHD_HTTP_INTERNAL_SERVER_ERROR;
    }
}

void http_fail_error(http_request *r, const ls_error *err)
{
    const char *hint = ls_hint_text(err->hint);
    fail(r, status_of(err->code), *hint ? hint : NULL,
         *err->message ? err->message : ls_error_text(err->code));
}
