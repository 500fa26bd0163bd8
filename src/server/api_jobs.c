#include "server/api.h"
#include "server/folder.h"
#include "server/form.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static void show(http_request *r, unsigned status, json_t *job)
{
    if (job)
        http_reply_json(r, status, job);
    else
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is no such job");
}

void api_job_get(http_request *r)
{
    show(r, MHD_HTTP_OK, queue_job(r->server->queue, r->id));
}

void api_job_list(http_request *r)
{
    const char *text = http_argument(r, "limit");
    char *end = NULL;
    const unsigned long limit = text ? strtoul(text, &end, 10) : 50;
    ls_error err = {0};
    if ((end && *end) || limit < 1 || limit > 1000) {
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL, "limit: expected 1 to 1000");
        return;
    }
    json_t *list = queue_jobs(r->server->queue, limit, http_argument(r, "after"),
                              http_argument(r, "state"), &err);
    if (list)
        http_reply_json(r, MHD_HTTP_OK, list);
    else
        http_fail_error(r, &err);
}

/* What is missing or busy is not what the path names. */
static void refuse(http_request *r, const ls_error *err)
{
    if (err->code == LS_EBUSY)
        http_fail(r, MHD_HTTP_TOO_MANY_REQUESTS, NULL, "%s", err->message);
    else if (err->code == LS_ENOENT)
        http_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, NULL, "%s", err->message);
    else
        http_fail_error(r, err);
}

void api_job_added(http_request *r)
{
    json_t *job = json_object_get(r->result, "job");
    const char *id = json_string_value(json_object_get(job, "id"));
    if (!job) {
        form_remove_uploads(r);
        refuse(r, &r->error);
        return;
    }
    if (json_is_true(json_object_get(r->result, "is_replayed")))
        form_remove_uploads(r);
    http_reply_json(r, MHD_HTTP_ACCEPTED, json_incref(job));
    http_header(r, "Location", "%s/v1/jobs/%s", r->server->settings->prefix, id);
    if (json_is_true(json_object_get(r->result, "is_replayed")))
        http_header(r, "Idempotency-Replayed", "true");
}

bool api_read_key(http_request *r, const char **key)
{
    *key = http_value(r, "Idempotency-Key");
    const size_t n = *key ? strlen(*key) : 1;
    bool ok = n >= 1 && n <= 255;
    for (size_t i = 0; *key && i < n; i++)
        ok = ok && (*key)[i] >= ' ' && (*key)[i] <= '~';
    if (!ok)
        http_fail(r, MHD_HTTP_BAD_REQUEST, NULL,
                  "Idempotency-Key: expected 1 to 255 printable characters");
    return ok;
}

void api_job_begin(http_request *r)
{
    const char *key;
    if (!api_read_key(r, &key))
        return;
    if (form_is(r))
        form_begin(r);
    else
        http_begin_json(r);
}

void api_job_add(http_request *r)
{
    const char *key = NULL;
    ls_error err = {0};
    api_read_key(r, &key);
    if (r->form) {
        form_end(r, key, api_job_added);
        return;
    }
    http_read_json(r);
    if (r->response)
        return;
    http_hold(r, api_job_added);
    if (queue_job_add(r->server->queue, r->json, key, http_answer, r, &err))
        http_answer(r, NULL, &err);
}

static void change(http_request *r, int (*act)(queue *, const char *, ls_error *))
{
    ls_error err = {0};
    if (!act(r->server->queue, r->id, &err))
        show(r, MHD_HTTP_ACCEPTED, queue_job(r->server->queue, r->id));
    else if (err.code == LS_EINVAL)
        http_fail(r, MHD_HTTP_CONFLICT, NULL, "%s", err.message);
    else
        http_fail_error(r, &err);
}

void api_job_cancel(http_request *r)
{
    change(r, queue_job_cancel);
}

void api_job_resume(http_request *r)
{
    change(r, queue_job_resume);
}

void api_job_remove(http_request *r)
{
    ls_error err = {0};
    if (queue_job_remove(r->server->queue, r->id, &err))
        http_fail_error(r, &err);
    else
        http_reply_empty(r, MHD_HTTP_NO_CONTENT);
}

static void show_file(http_request *r, const char *file, const char *cache)
{
    char path[4096];
    queue_job_path(r->server->queue, r->id, file, path, sizeof path);
    http_reply_file(r, path, http_media_type(path), NULL, cache);
}

void api_job_preview(http_request *r)
{
    show_file(r, "newest.jpg", "private, no-cache");
}

enum { MOST_PLAYLIST = 1 << 20 };

/* The playlist is beside its segments, but shown one folder above them. */
static void print_playlist(FILE *in, FILE *out)
{
    static const char map[] = "#EXT-X-MAP:URI=\"";
    char line[256];
    while (ftell(out) < MOST_PLAYLIST && fgets(line, sizeof line, in)) {
        if (!strncmp(line, map, sizeof map - 1))
            fprintf(out, "%sstream/%s", map, line + sizeof map - 1);
        else
            fprintf(out, "%s%s", *line == '#' || *line == '\n' ? "" : "stream/", line);
    }
}

void api_job_playlist(http_request *r)
{
    char path[4096], *text = NULL;
    size_t size;
    queue_job_path(r->server->queue, r->id, "stream/stream.m3u8", path, sizeof path);
    const int fd = folder_open(path);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL, *out = in ? open_memstream(&text, &size) : NULL;
    if (out)
        print_playlist(in, out);
    if (in)
        fclose(in);
    if (!out || fclose(out)) {
        free(text);
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is nothing to watch yet");
        return;
    }
    http_reply(r, MHD_HTTP_OK, MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE));
    http_header(r, "Content-Type", "%s", http_media_type(path));
    http_header(r, "Cache-Control", "no-store");
}

void api_job_segment(http_request *r)
{
    char file[80];
    const char *extension = strrchr(r->name, '.');
    snprintf(file, sizeof file, "stream/%s", r->name);
    if (extension && (!strcmp(extension, ".mp4") || !strcmp(extension, ".m4s")))
        show_file(r, file, "private, no-cache");
    else
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is nothing under this path");
}

/* The job's name with the extension of its output. */
static void output_name(const json_t *job, const char *path, char *out, size_t size)
{
    const char *name = json_string_value(json_object_get(job, "name"));
    const char *extension = strrchr(path, '.');
    size_t n;
    name = name && *name ? name : "latentsync";
    extension = extension && !strchr(extension, '/') ? extension : "";
    n = strlen(name) > strlen(extension) ? strlen(name) - strlen(extension) : 0;
    if (n && *extension && !strcasecmp(name + n, extension))
        extension = "";
    snprintf(out, size, "%s%s", name, extension);
}

void api_job_output(http_request *r)
{
    char path[4096], name[512];
    json_t *job = queue_job(r->server->queue, r->id);
    const char *state = json_string_value(json_object_get(job, "state"));
    if (!job) {
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is no such job");
        return;
    }
    if (!state || strcmp(state, "done")) {
        http_fail(r, MHD_HTTP_CONFLICT, NULL, "the job is not done");
    } else {
        queue_job_path(r->server->queue, r->id, "output", path, sizeof path);
        output_name(job, path, name, sizeof name);
        http_reply_file(r, path, http_media_type(path), http_argument(r, "inline") ? NULL : name,
                        "private, no-cache");
    }
    json_decref(job);
}
