#include "server/api.h"
#include "server/basics.h"
#include "server/fail.h"
#include "server/machine.h"
#include "server/tasks.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void api_index(http_request *r)
{
    http_reply_page(r, "index.html");
}

void api_page(http_request *r)
{
    http_reply_page(r, r->name);
}

void api_description(http_request *r)
{
    http_reply_page(r, "openapi.json");
}

void api_health(http_request *r)
{
    http_reply_json(r, MHD_HTTP_OK, json_pack("{s:s}", "status", "ok"));
}

void api_ready(http_request *r)
{
    json_t *state = queue_state(r->server->queue);
    const char *problem =
        state ? json_string_value(json_object_get(state, "problem")) : "the queue does not answer";
    http_reply_json(r, problem ? MHD_HTTP_SERVICE_UNAVAILABLE : MHD_HTTP_OK,
                    json_pack("{s:b, s:s?}", "ready", !problem, "reason", problem));
    json_decref(state);
}

void api_session_open(http_request *r)
{
    const http_guard *g = r->server->guard;
    const char *token = json_string_value(json_object_get(r->json, "token"));
    if (!token || !http_guard_is_token(g, token)) {
        http_fail(r, token ? MHD_HTTP_UNAUTHORIZED : MHD_HTTP_BAD_REQUEST, NULL,
                  token ? "this is not the server's token" : "token: expected a string");
        return;
    }
    http_reply_empty(r, MHD_HTTP_NO_CONTENT);
    if (http_guard_has_token(g))
        http_header(r, "Set-Cookie",
                    "latentsync=%s; HttpOnly; SameSite=Strict; Path=%s/; Max-Age=2592000",
                    http_guard_cookie(g), r->server->settings->prefix);
}

void api_session_close(http_request *r)
{
    http_reply_empty(r, MHD_HTTP_NO_CONTENT);
    http_header(r, "Set-Cookie", "latentsync=; HttpOnly; SameSite=Strict; Path=%s/; Max-Age=0",
                r->server->settings->prefix);
}

static const struct {
    const char *member, *name, *type, *help;
} metrics[] = {
    {"queued", "jobs_queued", "gauge", "Jobs that wait."},
    {"running", "jobs_running", "gauge", "Jobs that run."},
    {"done", "jobs_done", "gauge", "Finished jobs that are kept."},
    {"failed", "jobs_failed", "gauge", "Failed jobs that are kept."},
    {"canceled", "jobs_canceled", "gauge", "Canceled jobs that are kept."},
    {"workers", "workers", "gauge", "Jobs that run at a time."},
    {"uploads", "uploads", "gauge", "Uploads that are kept."},
    {"upload_bytes", "upload_bytes", "gauge", "Bytes of these."},
    {"frames", "frames_total", "counter", "Frames made since the start."},
    {"busy_seconds", "busy_seconds_total", "counter", "Time for which jobs ran."},
    {"disk_free", "disk_free_bytes", "gauge", "Free space for the data folder."},
};

static size_t count_connections(http_server *h)
{
    size_t n = 0;
    pthread_mutex_lock(&h->sockets);
    for (const http_connection *c = h->connections; c; c = c->next)
        n++;
    pthread_mutex_unlock(&h->sockets);
    return n;
}

static void print_state(FILE *out, const json_t *state)
{
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        fprintf(out,
                "# HELP latentsync_%s %s\n# TYPE latentsync_%s %s\n"
                "latentsync_%s %.15g\n",
                metrics[i].name, metrics[i].help, metrics[i].name, metrics[i].type, metrics[i].name,
                json_number_value(json_object_get(state, metrics[i].member)));
}

static void print_server(FILE *out, http_server *h)
{
    fprintf(out, "# HELP latentsync_http_answers_total Answers by the class of their status.\n"
                 "# TYPE latentsync_http_answers_total counter\n");
    for (int i = 2; i < 6; i++)
        fprintf(out, "latentsync_http_answers_total{status=\"%dxx\"} %" PRIu64 "\n", i,
                h->answers[i]);
    fprintf(out,
            "# HELP latentsync_http_received_bytes_total Bytes of requests' bodies.\n"
            "# TYPE latentsync_http_received_bytes_total counter\n"
            "latentsync_http_received_bytes_total %" PRIu64 "\n"
            "# HELP latentsync_http_connections Open connections.\n"
            "# TYPE latentsync_http_connections gauge\nlatentsync_http_connections %zu\n"
            "# HELP latentsync_uptime_seconds Time since the start.\n"
            "# TYPE latentsync_uptime_seconds gauge\nlatentsync_uptime_seconds %.3f\n",
            h->received, count_connections(h), server_clock() - h->started);
}

void api_metrics(http_request *r)
{
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    json_t *state = queue_state(r->server->queue);
    if (out) {
        print_state(out, state);
        print_server(out, r->server);
        fclose(out);
    }
    json_decref(state);
    if (!text)
        return;
    http_reply(r, MHD_HTTP_OK, MHD_create_response_from_buffer(size, text, MHD_RESPMEM_MUST_FREE));
    http_header(r, "Content-Type", "text/plain; version=0.0.4; charset=utf-8");
    http_header(r, "Cache-Control", "no-store");
}

static json_t *list(const char *const *texts)
{
    json_t *all = texts ? json_array() : json_null();
    for (size_t i = 0; texts && texts[i]; i++)
        json_array_append_new(all, json_string(texts[i]));
    return all;
}

static json_t *option_json(const ls_option *o)
{
    static const char *const types[] = {
        [LS_OPTION_FLAG] = "flag",   [LS_OPTION_INTEGER] = "integer", [LS_OPTION_NUMBER] = "number",
        [LS_OPTION_BYTES] = "bytes", [LS_OPTION_CHOICE] = "choice",   [LS_OPTION_TEXT] = "text"};
    const bool is_number =
        o->type == LS_OPTION_INTEGER || o->type == LS_OPTION_NUMBER || o->type == LS_OPTION_BYTES;
    return json_pack("{s:s, s:s, s:s?, s:o, s:o, s:o, s:s?, s:s?, s:s}", "name", o->name, "type",
                     types[o->type], "default", o->initial, "choices", list(o->choices), "min",
                     is_number ? json_real(o->min) : json_null(), "max",
                     is_number ? json_real(o->max) : json_null(), "unit", o->unit, "group",
                     o->group, "help", o->help);
}

static json_t *options(void)
{
    const ls_option *o;
    json_t *all = json_array();
    for (size_t i = 0; (o = ls_option_at(i)); i++)
        if (queue_takes_option(o))
            json_array_append_new(all, option_json(o));
    return all;
}

static json_t *encoders(void)
{
    const char *name;
    json_t *all = json_array();
    for (size_t i = 0; (name = ls_encoder_name(i)); i++)
        json_array_append_new(all, json_string(name));
    return all;
}

static json_t *limits(const server_settings *s)
{
    return json_pack("{s:I, s:f, s:I, s:I, s:o}", "max_upload", (json_int_t)s->max_upload,
                     "max_seconds", s->max_seconds, "max_pixels", (json_int_t)s->max_pixels,
                     "max_queue", (json_int_t)s->max_queue, "keep_seconds",
                     s->keep_seconds > 0 ? json_real(s->keep_seconds) : json_null());
}

static void show_capabilities(http_request *r)
{
    const ls_option *quality = ls_option_find("quality");
    json_t *machine = r->result ? json_copy(r->result) : json_object();
    json_t *devices = json_incref(json_object_get(machine, "devices"));
    json_t *model = json_incref(json_object_get(machine, "model"));
    json_object_del(machine, "devices");
    json_object_del(machine, "model");
    json_object_del(machine, "video_encoders");
    http_reply_json(r, MHD_HTTP_OK,
                    json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "version", ls_version(),
                              "limits", limits(r->server->settings), "machine", machine, "devices",
                              devices ? devices : json_array(), "options", options(), "qualities",
                              list(quality ? quality->choices : NULL), "encoders", encoders(),
                              "model", model ? model : json_null()));
}

typedef struct ask_task {
    task task;
    http_request *held;
} ask_task;

static void run_ask(task *base)
{
    ask_task *t = (ask_task *)base;
    http_answer(t->held, machine_ask(t->held->server->settings), NULL);
    free(t);
}

void api_capabilities(http_request *r)
{
    ask_task *t = calloc(1, sizeof *t);
    if (!t)
        return;
    *t = (ask_task){.task.run = run_ask, .held = r};
    http_hold(r, show_capabilities);
    tasks_add(r->server->tasks, &t->task);
}
