/* Jobs as cog's HTTP interface has predictions. */
#include "server/api.h"

#include <string.h>

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

/* The request of a job; NULL after an answer. */
static json_t *make_request(http_request *r)
{
    static const char *const names[][2] = {
        {"guidance_scale", "guidance"}, {"inference_steps", "steps"}, {"seed", "seed"}};
    const json_t *input = json_object_get(r->json, "input");
    char video[QUEUE_ID_SIZE], audio[QUEUE_ID_SIZE];
    if (!upload_of(json_string_value(json_object_get(input, "video")), video) ||
        !upload_of(json_string_value(json_object_get(input, "audio")), audio)) {
        http_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, "send the file with POST /v1/uploads",
                  "input: video and audio are expected, each as upload:ID");
        return NULL;
    }
    json_t *options = json_object(), *request = json_pack("{s:s, s:s, s:o}", "video", video,
                                                          "audio", audio, "options", options);
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)input, name, value)
    {
        bool known = !strcmp(name, "video") || !strcmp(name, "audio");
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (!strcmp(name, names[i][0])) {
                known = true;
                json_object_set(options, names[i][1], value);
            }
        if (!known) {
            http_fail(r, MHD_HTTP_UNPROCESSABLE_CONTENT, NULL, "input: there is no \"%.60s\"",
                      name);
            json_decref(request);
            return NULL;
        }
    }
    value = json_object_get(r->json, "webhook");
    if (value)
        json_object_set(request, "webhook", value);
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

/* The answer of queue_job_add. */
static void added(http_request *r)
{
    const json_t *job = json_object_get(r->result, "job");
    const char *state = json_string_value(json_object_get(job, "state"));
    if (!job)
        api_job_added(r); // says why
    else
        show(r,
             state && strcmp(state, "queued") && strcmp(state, "running") ? MHD_HTTP_CREATED
                                                                          : MHD_HTTP_ACCEPTED,
             job);
}

static void add(http_request *r, const char *key)
{
    ls_error err = {0};
    json_t *request = make_request(r);
    if (!request)
        return;
    http_hold(r, added);
    if (queue_job_add(r->server->queue, request, key, http_answer, r, &err))
        http_answer(r, NULL, &err);
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
