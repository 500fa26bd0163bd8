/* Jobs as cog's HTTP interface has predictions. */
#include "server/api.h"
#include "server/basics.h"
#include "server/form.h"

#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { MOST_SECONDS = 60 }; // that a request waits for its prediction

/* "upload:ID", "ID", or the address of an upload's content. */
static const char *upload_of(const char *text, char id[QUEUE_ID_SIZE])
{
    const char *path = text ? strstr(text, "/v1/uploads/") : NULL;
    text = path ? path + strlen("/v1/uploads/") : text;
    if (text && !strncmp(text, "upload:", 7))
        text += 7;
    snprintf(id, QUEUE_ID_SIZE, "%s", text ? text : "");
    const char *rest = text && strlen(text) >= QUEUE_ID_SIZE ? text + QUEUE_ID_SIZE - 1 : "";
    const bool ends = !*rest || (path && !strcmp(rest, "/content"));
    return queue_is_id(id) && ends ? id : NULL;
}

/* The file of "data:video/mp4;base64,AAAA" becomes one of the request's form; false after an
 * answer. */
static bool take_data(http_request *r, const char *member, const char *text)
{
    static const char kind[] = ";base64";
    const size_t n = strcspn(text, ","), m = sizeof kind - 1;
    struct base64_decode_ctx ctx;
    uint8_t *bytes = NULL;
    size_t size = 0;
    bool ok = text[n] && n >= m && !strncasecmp(text + n - m, kind, m);
    const char *code = text + n + ok;
    if (ok && !(bytes = malloc(BASE64_DECODE_LENGTH(strlen(code)) + 1)))
        return false;
    base64_decode_init(&ctx);
    ok = ok && base64_decode_update(&ctx, &size, bytes, strlen(code), code) &&
         base64_decode_final(&ctx) && size;
    if (!ok)
        http_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, NULL,
                  "input: %s is no file in base64, such as data:video/mp4;base64,AAAA", member);
    else if (r->form || form_open(r))
        form_add_file(r, member, (const char *)bytes, size);
    free(bytes);
    return r->form && !r->response;
}

/* Sets the member of `request`, unless the file came with the request; false after an answer. */
static bool take_file(http_request *r, const char *member, json_t *request)
{
    char id[QUEUE_ID_SIZE];
    const char *text =
        json_string_value(json_object_get(json_object_get(r->json, "input"), member));
    if (text && !strncasecmp(text, "data:", 5))
        return take_data(r, member, text + 5);
    if (upload_of(text, id))
        return !json_object_set_new(request, member, json_string(id));
    http_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, "send the file with POST /v1/uploads",
              "input: video and audio are expected, each as upload:ID or data:TYPE;base64,BYTES");
    return false;
}

static bool take_options(http_request *r, json_t *options)
{
    static const char *const names[][2] = {{"video", NULL},
                                           {"audio", NULL},
                                           {"guidance_scale", "guidance"},
                                           {"inference_steps", "steps"},
                                           {"seed", "seed"}};
    const size_t count = sizeof names / sizeof *names;
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(r->json, "input"), name, value)
    {
        size_t i = 0;
        while (i < count && strcmp(name, names[i][0]))
            i++;
        if (i == count) {
            http_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, NULL, "input: there is no \"%.60s\"",
                      name);
            return false;
        }
        if (names[i][1])
            json_object_set(options, names[i][1], value);
    }
    return true;
}

/* The request of a job; NULL after an answer. */
static json_t *make_request(http_request *r)
{
    json_t *options = json_object(), *request = json_pack("{s:o}", "options", options),
           *webhook = json_object_get(r->json, "webhook");
    if (!take_options(r, options) || !take_file(r, "video", request) ||
        !take_file(r, "audio", request)) {
        json_decref(request);
        return NULL;
    }
    if (webhook)
        json_object_set(request, "webhook", webhook);
    return request;
}

static json_t *input_of(const json_t *request)
{
    const json_t *options = json_object_get(request, "options");
    char video[48], audio[48];
    if (!request)
        return json_object(); // the job was removed meanwhile
    snprintf(video, sizeof video, "upload:%.32s",
             json_string_value(json_object_get(request, "video")));
    snprintf(audio, sizeof audio, "upload:%.32s",
             json_string_value(json_object_get(request, "audio")));
    json_t *input =
        json_pack("{s:s, s:s, s:O*, s:O*, s:O*}", "video", video, "audio", audio, "guidance_scale",
                  json_object_get(options, "guidance"), "inference_steps",
                  json_object_get(options, "steps"), "seed", json_object_get(options, "seed"));
    return input ? input : json_object();
}

static const char *status_of(const json_t *job)
{
    static const char *const states[][2] = {
        {"queued", "starting"}, {"running", "processing"}, {"done", "succeeded"}};
    const char *state = json_string_value(json_object_get(job, "state"));
    for (size_t i = 0; state && i < sizeof states / sizeof *states; i++)
        if (!strcmp(state, states[i][0]))
            return states[i][1];
    return state ? state : "failed";
}

static json_t *prediction(http_request *r, const json_t *job)
{
    const char *id = json_string_value(json_object_get(job, "id")), *status = status_of(job);
    char output[300];
    snprintf(output, sizeof output, "%s/v1/jobs/%s/output", r->server->settings->prefix, id);
    json_t *request = queue_job_request(r->server->queue, id), *metrics = json_object();
    const json_t *seconds = json_object_get(json_object_get(job, "result"), "elapsed_seconds");
    if (json_is_number(seconds))
        json_object_set_new(metrics, "predict_time", json_real(json_number_value(seconds)));
    json_t *p = json_pack(
        "{s:s, s:s, s:o, s:s?, s:O*, s:O*, s:O*, s:O*, s:o, s:s}", "id", id, "status", status,
        "input", input_of(request), "output", !strcmp(status, "succeeded") ? output : NULL, "error",
        json_object_get(json_object_get(job, "error"), "message"), "created_at",
        json_object_get(job, "created"), "started_at", json_object_get(job, "started"),
        "completed_at", json_object_get(job, "finished"), "metrics", metrics, "logs", "");
    if (p && !json_object_get(p, "error"))
        json_object_set_new(p, "error", json_null());
    json_decref(request);
    return p;
}

static void show(http_request *r, unsigned status, const json_t *job)
{
    json_t *p = job ? prediction(r, job) : NULL;
    if (p)
        http_reply_json(r, status, p);
    else
        http_fail(r, MHD_HTTP_NOT_FOUND, NULL, "there is no such prediction");
}

/* Of "Prefer: wait=SECONDS"; 0: it is not there. */
static double patience_of(const http_request *r)
{
    const char *p = http_value(r, "Prefer");
    uint64_t seconds = MOST_SECONDS;
    for (; p && *p; p += strcspn(p, ","), p += strspn(p, ", \t")) {
        const char *number = p + 5;
        if (strncasecmp(p, "wait", 4) || !strchr("=,; \t", p[4]))
            continue;
        if (p[4] == '=' && !http_number(&number, &seconds))
            return 0;
        return seconds < MOST_SECONDS ? (double)seconds : MOST_SECONDS;
    }
    return 0;
}

static bool has_ended(const json_t *job)
{
    const char *state = json_string_value(json_object_get(job, "state"));
    return !state || (strcmp(state, "queued") && strcmp(state, "running"));
}

static void show_or_wait(http_request *r)
{
    json_t *job = queue_job(r->server->queue, r->id);
    if (has_ended(job) || server_clock() >= r->until) {
        show(r, has_ended(job) ? MHD_HTTP_CREATED : MHD_HTTP_ACCEPTED, job);
        json_decref(job);
        return;
    }
    json_decref(job);
    http_hold(r, show_or_wait);
    job = queue_job(r->server->queue, r->id); // before it was held nobody would have been told
    if (has_ended(job))
        http_resume(r->server, r->id);
    json_decref(job);
}

/* The answer of queue_job_add. */
static void added(http_request *r)
{
    const char *id = json_string_value(json_object_get(json_object_get(r->result, "job"), "id"));
    if (!id) {
        api_job_added(r); // says why
        return;
    }
    if (json_is_true(json_object_get(r->result, "is_replayed")))
        form_remove_uploads(r);
    snprintf(r->id, sizeof r->id, "%s", id);
    json_decref(r->result);
    r->result = NULL;
    r->until = server_clock() + patience_of(r);
    show_or_wait(r);
}

static void add(http_request *r, const char *key)
{
    ls_error err = {0};
    json_t *request = make_request(r);
    json_decref(r->json); // with the files
    r->json = NULL;
    if (request && r->form) {
        json_object_update(form_job(r), request);
        form_end(r, key, added);
    } else if (request) {
        http_hold(r, added);
        if (queue_job_add(r->server->queue, request, key, http_answer, r, &err))
            http_answer(r, NULL, &err);
    }
    json_decref(request);
}

void predict_add(http_request *r)
{
    const char *key;
    if (api_read_key(r, &key))
        add(r, key);
}

/* The client's name for it is the key of the request. */
void predict_put(http_request *r)
{
    char key[96];
    snprintf(key, sizeof key, "prediction %s", r->name);
    add(r, key);
}

void predict_get(http_request *r)
{
    json_t *job = queue_job(r->server->queue, r->id);
    show(r, MHD_HTTP_OK, job);
    json_decref(job);
}

void predict_cancel(http_request *r)
{
    ls_error err = {0};
    if (queue_job_cancel(r->server->queue, r->id, &err) && err.code != LS_EINVAL)
        http_fail_error(r, &err);
    else // cog answers the same when it has ended already
        predict_get(r);
}

void predict_health(http_request *r)
{
    json_t *state = queue_state(r->server->queue);
    const bool works = state && json_is_null(json_object_get(state, "problem"));
    const bool busy = json_integer_value(json_object_get(state, "running")) >=
                      json_integer_value(json_object_get(state, "workers"));
    http_reply_json(r, MHD_HTTP_OK,
                    json_pack("{s:s}", "status",
                              !works ? "DEFUNCT"
                              : busy ? "BUSY"
                                     : "READY"));
    json_decref(state);
}
