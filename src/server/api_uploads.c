#include "server/api.h"
#include "server/basics.h"
#include "server/upload.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static json_t *find(http_request *r)
{
    json_t *row = queue_upload(r->server->queue, r->id);
    if (!row) {
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is no such upload");
        return NULL;
    }
    const uint64_t recorded = (uint64_t)json_integer_value(json_object_get(row, "received"));
    const uint64_t received = upload_received(r->server, r->id, recorded);
    json_object_set_new(row, "received", json_integer((json_int_t)received));
    return row;
}

static uint64_t number(const json_t *row, const char *member)
{
    return (uint64_t)json_integer_value(json_object_get(row, member));
}

static void show(http_request *r, unsigned status, json_t *row)
{
    const uint64_t received = number(row, "received"), size = number(row, "size");
    json_object_del(row, "sha256");
    http_reply_json(r, status, row);
    http_header(r, "Upload-Offset", "%" PRIu64, received);
    http_header(r, "Upload-Length", "%" PRIu64, size);
}

static bool is_digest(const json_t *value)
{
    const char *text = json_string_value(value);
    return !value || json_is_null(value) ||
           (text && strlen(text) == 64 && strspn(text, "0123456789abcdefABCDEF") == 64);
}

void api_upload_add(http_request *r)
{
    const uint64_t most = r->server->settings->max_upload;
    const char *name = json_string_value(json_object_get(r->json, "name"));
    const json_t *size = json_object_get(r->json, "size");
    const json_t *sha256 = json_object_get(r->json, "sha256");
    const json_int_t bytes = json_integer_value(size);
    char id[QUEUE_ID_SIZE];
    ls_error err = {0};
    if (!server_is_label(name))
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
                  "name: expected 1 to 255 bytes without control characters");
    else if (!json_is_integer(size) || bytes < 1)
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "size: expected the number of bytes");
    else if (!is_digest(sha256))
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "sha256: expected 64 hex digits");
    else if ((uint64_t)bytes > most)
        http_fail(r, MHD_HTTP_CONTENT_TOO_LARGE, NULL,
                  "the server takes files of up to %" PRIu64 " bytes", most);
    if (r->response)
        return;
    queue_new_id(id);
    if (queue_check_space(r->server->queue, (uint64_t)bytes, &err) ||
        queue_upload_add(r->server->queue, id, name, (uint64_t)bytes, json_string_value(sha256),
                         &err)) {
        http_fail_error(r, &err);
        return;
    }
    memcpy(r->id, id, sizeof id);
    show(r, MHD_HTTP_CREATED, queue_upload(r->server->queue, id));
    http_header(r, "Location", "%s/v1/uploads/%s", r->server->settings->prefix, id);
}

void api_upload_get(http_request *r)
{
    json_t *row = find(r);
    if (row)
        show(r, MHD_HTTP_OK, row);
}

static bool read_offset(const http_request *r, uint64_t *out)
{
    const char *text = http_value(r, "Upload-Offset");
    return text && http_number(&text, out) && !*text;
}

static void conflict(http_request *r, uint64_t received, const char *why)
{
    http_fail(r, MHD_HTTP_CONFLICT, NULL, "%s", why);
    http_header(r, "Upload-Offset", "%" PRIu64, received);
}

void api_upload_begin(http_request *r)
{
    json_t *row = find(r);
    uint64_t offset;
    if (!row)
        return;
    const uint64_t received = number(row, "received"), size = number(row, "size");
    const uint64_t length = http_length(r);
    const char *state = json_string_value(json_object_get(row, "state"));
    if (!read_offset(r, &offset))
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "the header Upload-Offset is missing");
    else if (state && !strcmp(state, "complete"))
        conflict(r, received, "the upload is complete");
    else if (upload_is_ending(r->server, r->id))
        conflict(r, received, "the upload is being checked");
    else if (offset != received)
        conflict(r, received, "Upload-Offset is not what has arrived");
    else if (length != UINT64_MAX && length > size - received)
        http_fail(r, MHD_HTTP_CONTENT_TOO_LARGE, NULL, "the upload was to have %" PRIu64 " bytes",
                  size);
    else
        upload_begin(r, row, received);
    json_decref(row);
}

static void recorded(http_request *r)
{
    if (!r->result) {
        http_fail_error(r, &r->error);
        return;
    }
    http_reply_empty(r, MHD_HTTP_NO_CONTENT);
    http_header(r, "Upload-Offset", "%" PRIu64, number(r->result, "received"));
}

void api_upload_end(http_request *r)
{
    upload_end(r, recorded);
}

void api_upload_remove(http_request *r)
{
    ls_error err = {0};
    if (upload_is_ending(r->server, r->id)) {
        http_fail(r, MHD_HTTP_CONFLICT, NULL, "the upload is being checked");
        return;
    }
    if (queue_upload_remove(r->server->queue, r->id, &err)) {
        http_fail_error(r, &err);
        return;
    }
    upload_stop(r->server, r->id);
    http_reply_empty(r, MHD_HTTP_NO_CONTENT);
}

/* The upload, if all of it is there; NULL after an answer. */
static json_t *find_complete(http_request *r)
{
    json_t *row = find(r);
    const char *state = json_string_value(json_object_get(row, "state"));
    if (!row || (state && !strcmp(state, "complete")))
        return row;
    http_fail(r, MHD_HTTP_CONFLICT, "send the rest with PATCH",
              "the upload is not complete: %" PRIu64 " of %" PRIu64 " bytes have arrived",
              number(row, "received"), number(row, "size"));
    json_decref(row);
    return NULL;
}

void api_upload_content(http_request *r)
{
    char path[4096];
    json_t *row = find_complete(r);
    const char *name = json_string_value(json_object_get(row, "name"));
    if (!row)
        return;
    queue_upload_path(r->server->queue, r->id, path, sizeof path);
    http_reply_file(r, path, http_media_type(name ? name : ""), NULL, "private, no-cache");
    json_decref(row);
}

static void probed(http_request *r)
{
    if (r->result)
        http_reply_json(r, MHD_HTTP_OK, json_incref(r->result));
    else if (r->error.code == LS_EBUSY)
        http_fail(r, MHD_HTTP_TOO_MANY_REQUESTS, NULL, "%s", r->error.message);
    else
        http_fail_error(r, &r->error);
}

void api_upload_probe(http_request *r)
{
    ls_error err = {0};
    json_t *row = find_complete(r);
    if (!row)
        return;
    json_decref(row);
    http_hold(r, probed);
    if (queue_probe(r->server->queue, r->id, http_answer, r, &err))
        http_answer(r, NULL, &err);
}

void api_estimate(http_request *r)
{
    ls_error err = {0};
    http_hold(r, probed);
    if (queue_estimate(r->server->queue, r->json, http_answer, r, &err))
        http_answer(r, NULL, &err);
}

void api_upload_faces(http_request *r)
{
    ls_error err = {0};
    json_t *row = find_complete(r);
    if (!row)
        return;
    json_decref(row);
    json_t *faces = queue_faces(r->server->queue, r->id, &err);
    const char *state = json_string_value(json_object_get(faces, "state"));
    if (!faces) {
        r->error = err;
        probed(r);
    } else if (state && !strcmp(state, "done")) {
        http_reply_json(r, MHD_HTTP_OK, faces);
    } else {
        http_reply_json(r, MHD_HTTP_ACCEPTED, faces);
        http_header(r, "Retry-After", "1");
    }
}

void api_upload_face(http_request *r)
{
    char path[4096], *end;
    const unsigned long n = strtoul(r->name, &end, 10);
    if (r->name[strspn(r->name, "0123456789")] != '.' || n > 1000000 || strcmp(end, ".png")) {
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is nothing under this path");
        return;
    }
    queue_face_path(r->server->queue, r->id, (unsigned)n, path, sizeof path);
    http_reply_file(r, path, "image/png", NULL, "private, max-age=3600");
}
