/* Jobs as processes. */
#include "server/queue_state.h"
#include "server/basics.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { MOST_CRASHES = 2, MOST_MESSAGES = 200 };

bool queue_runs_any(const queue *q)
{
    for (size_t i = 0; i < q->workers; i++)
        if (*q->runs[i].id)
            return true;
    return false;
}

size_t queue_runs_poll(queue *q, struct pollfd *fds)
{
    size_t count = 0;
    for (size_t i = 0; i < q->workers; i++)
        count += worker_poll(&q->runs[i].worker, fds + count);
    return count;
}

static bool fits(const json_t *value, const json_t *as)
{
    return json_is_string(as) ? json_is_string(value) && json_string_length(value) < 200
           : json_is_real(as) ? json_is_number(value)
                              : json_is_integer(value);
}

/* Members of an event that everybody may see: those of `defaults`, which is taken over. */
static json_t *pick(const json_t *event, json_t *defaults)
{
    const char *name;
    json_t *value, *out = json_copy(defaults);
    json_object_foreach(defaults, name, value)
    {
        if (fits(json_object_get(event, name), value))
            json_object_set(out, name, json_object_get(event, name));
    }
    json_decref(defaults);
    return out;
}

/* The machine's cards; NULL: there are none. */
static json_t *gpu_of(const json_t *event)
{
    json_t *total = json_object_get(event, "gpu_total_bytes"),
           *used = json_object_get(event, "gpu_bytes"),
           *percent = json_object_get(event, "gpu_percent");
    if (!json_is_integer(total) || !json_is_integer(used))
        return NULL;
    return json_pack("{s:O, s:O, s:O*}", "bytes", used, "total_bytes", total, "percent",
                     json_is_number(percent) ? percent : NULL);
}

static void take_progress(queue_run *r, const json_t *event)
{
    json_t *defaults =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:f, s:f, s:f, s:i, s:i}", "stage",
                  "prepare", "frame", 0, "frames", 0, "step", 0, "steps", 0, "chunk", 0, "chunks",
                  0, "fraction", 0., "frames_per_second", 0., "seconds_left", 0., "seconds", 0.,
                  "cpu_percent", 0., "resident_bytes", 0, "budget_bytes", 0);
    json_t *progress = pick(event, defaults), *gpu = gpu_of(event);
    if (gpu)
        json_object_set_new(progress, "gpu", gpu);
    queue_event(r->q, r->number, r->id, r, "progress", progress, NULL);
}

static void take_message(queue_run *r, const json_t *event)
{
    static const char *const levels[] = {"error", "notice", "warning", "info"};
    const char *level = json_string_value(json_object_get(event, "level"));
    const char *text = json_string_value(json_object_get(event, "text"));
    for (size_t i = 0; level && text && i < sizeof levels / sizeof *levels; i++)
        if (!strcmp(level, levels[i]) && r->messages++ < MOST_MESSAGES)
            queue_event(
                r->q, r->number, r->id, r, "message",
                json_pack("{s:s, s:o}", "level", level, "text", queue_clean_text(r->q, text)),
                NULL);
}

static void take_done(queue_run *r, const json_t *event)
{
    json_t *defaults =
        json_pack("{s:i, s:f, s:f, s:f, s:i, s:i, s:i, s:s, s:i, s:i, s:i, s:i, s:i}", "frames", 0,
                  "start", 0., "seconds", 0., "elapsed_seconds", 0., "frames_generated", 0,
                  "frames_with_face", 0, "peak_resident_bytes", 0, "audio", "", "seed", 0,
                  "frames_covered", 0, "frames_turned", 0, "frames_hidden", 0, "chunks_kept", 0);
    json_decref(r->result);
    r->result = pick(event, defaults);
}

static void take_line(void *opaque, const char *text, size_t bytes)
{
    queue_run *r = opaque;
    json_t *event = json_loadb(text, bytes, 0, NULL);
    const char *name = json_string_value(json_object_get(event, "event"));
    if (name && !strcmp(name, "progress"))
        take_progress(r, event);
    else if (name && !strcmp(name, "message"))
        take_message(r, event);
    else if (name && !strcmp(name, "done"))
        take_done(r, event);
    else if (name && !strcmp(name, "error")) {
        json_decref(r->error);
        r->error = queue_clean_error(r->q, event);
    }
    json_decref(event);
}

static bool is_resumable(queue *q, const char *id, const json_t *request)
{
    char path[QUEUE_PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/jobs/%s/job/job.json", q->data, id);
    return !json_is_number(json_object_get(request, "preview")) && !lstat(path, &st) &&
           S_ISREG(st.st_mode);
}

static void input_arguments(queue *q, arguments *a, const char *id, const json_t *request)
{
    queue_input_arguments(q, a, request, LS_OPTION_SYNC);
    arguments_add(a, "--job=%s/jobs/%s/job", q->data, id);
    arguments_add(a, "--output=%s/jobs/%s/output%s", q->data, id, request_extension(request));
}

/* A job that was begun resumes as it was begun; a preview is asked for again. */
static void local_arguments(queue *q, arguments *a, const char *id, const json_t *request)
{
    const bool resumes = is_resumable(q, id, request);
    arguments_add(a, "latentsync");
    arguments_add(a, resumes ? "resume" : "sync");
    arguments_add(a, "--progress=json");
    queue_share_arguments(q, a);
    arguments_add(a, "--newest-frame=%s/jobs/%s/newest.jpg", q->data, id);
    if (!json_is_number(json_object_get(request, "preview")))
        arguments_add(a, "--stream=%s/jobs/%s/stream", q->data, id);
    if (resumes)
        arguments_add(a, "%s/jobs/%s/job", q->data, id);
    else
        input_arguments(q, a, id, request);
}

/* A command line for the cluster, which knows its program by a name of its own. */
static void add_stage(queue *q, json_t *spec, const char *command, const char *id,
                      const json_t *request)
{
    char program[QUEUE_PATH];
    arguments a = {0};
    queue_program(q, program);
    arguments_add(&a, "%s", program);
    arguments_add(&a, "%s", command);
    arguments_add(&a, "--progress=json");
    if (request)
        input_arguments(q, &a, id, request);
    else
        arguments_add(&a, "%s/jobs/%s/job", q->data, id);
    json_t *list = json_array();
    for (size_t i = 0; i < a.count; i++)
        json_array_append_new(list, json_string(a.list[i]));
    json_object_set_new(spec, command, list);
    arguments_free(&a);
}

static int slurm_arguments(queue *q, arguments *a, const char *id, const json_t *request,
                           ls_error *err)
{
    char path[QUEUE_PATH];
    json_t *spec = json_object();
    if (json_is_number(json_object_get(request, "preview"))) {
        add_stage(q, spec, "sync", id, request);
    } else {
        add_stage(q, spec, "plan", id, request);
        add_stage(q, spec, "render", id, NULL);
        add_stage(q, spec, "join", id, NULL);
    }
    snprintf(path, sizeof path, "%s/jobs/%s/slurm.json", q->data, id);
    const int failed = json_dump_file(spec, path, JSON_COMPACT);
    json_decref(spec);
    arguments_add(a, "latentsync");
    arguments_add(a, "slurm-job");
    arguments_add(a, "%s/jobs/%s", q->data, id);
    return failed ? server_fail(err, LS_EIO, "%s cannot be written", path) : 0;
}

static int launch(queue *q, queue_run *r, const json_t *request, ls_error *err)
{
    char folder[QUEUE_PATH], temporary[QUEUE_PATH];
    arguments a = {0};
    snprintf(folder, sizeof folder, "%s/jobs/%s", q->data, r->id);
    snprintf(temporary, sizeof temporary, "%s/tmp/%s", q->data, r->id);
    int ret = folder_make(folder, err);
    if (!ret)
        ret = folder_make(temporary, err);
    if (!ret && q->is_cluster)
        ret = slurm_arguments(q, &a, r->id, request, err);
    else
        local_arguments(q, &a, r->id, request);
    if (!ret)
        ret = queue_start_worker(q, &r->worker, &a, temporary, q->is_cluster ? NULL : q->sandbox,
                                 SIGTERM, err);
    arguments_free(&a);
    return ret;
}

static void clear(queue_run *r)
{
    char temporary[QUEUE_PATH];
    snprintf(temporary, sizeof temporary, "%s/tmp/%s", r->q->data, r->id);
    folder_remove(temporary, NULL);
    json_decref(r->progress);
    json_decref(r->result);
    json_decref(r->error);
    *r = (queue_run){0};
}

/* Back to the others that wait, not before `delay` seconds. */
static int wait_again(queue *q, queue_run *r, double delay, ls_error *err)
{
    const int ret = store_do(q->store, err, "UPDATE jobs SET not_before=?2 WHERE number=?1", "id",
                             r->number, server_time() + delay);
    return ret ? ret : queue_set_state(q, r->number, r->id, r, "queued", err);
}

static int start(queue *q, queue_run *r, const json_t *row, ls_error *err)
{
    ls_error why = {0};
    *r = (queue_run){.q = q, .number = json_integer_value(json_object_get(row, "number"))};
    snprintf(r->id, sizeof r->id, "%s", json_string_value(json_object_get(row, "id")));
    int ret = store_begin(q->store, err);
    if (!ret)
        ret = store_end(q->store, queue_set_state(q, r->number, r->id, r, "running", err), err);
    if (!ret && launch(q, r, json_object_get(row, "request"), &why)) {
        snprintf(q->problem, sizeof q->problem, "%.200s", why.message);
        wait_again(q, r, 5, NULL);
        ret = why.code;
    }
    if (ret)
        clear(r);
    return ret;
}

void queue_runs_start(queue *q)
{
    ls_error err = {0};
    for (size_t i = 0; i < q->workers; i++) {
        if (*q->runs[i].id)
            continue;
        json_t *row = store_first(
            q->store, &err,
            "SELECT number, id, request_json FROM jobs WHERE state='queued' AND wanted=''"
            " AND not_before<=?1 ORDER BY priority DESC, number LIMIT 1",
            "d", server_time());
        const bool failed = !json_is_object(row) || start(q, &q->runs[i], row, &err);
        json_decref(row);
        if (failed)
            return;
    }
}

/* Whether the output is there; its size becomes part of the result. */
static bool has_output(queue *q, queue_run *r, const json_t *request)
{
    char path[QUEUE_PATH];
    struct stat st;
    snprintf(path, sizeof path, "%s/jobs/%s/output%s%s", q->data, r->id,
             json_is_number(json_object_get(request, "preview")) ? ".preview" : "",
             request_extension(request));
    if (!r->result || lstat(path, &st) || !S_ISREG(st.st_mode))
        return false;
    json_object_set_new(r->result, "bytes", json_integer(st.st_size));
    return true;
}

static int finish_done(queue *q, queue_run *r, ls_error *err)
{
    char *text = json_dumps(r->result, JSON_COMPACT);
    int ret =
        store_do(q->store, err, "UPDATE jobs SET result_json=?2, error_json=NULL WHERE number=?1",
                 "is", r->number, text ? text : "{}");
    free(text);
    if (!ret)
        ret = queue_event(q, r->number, r->id, r, "done", json_incref(r->result), err);
    return ret ? ret : queue_set_state(q, r->number, r->id, r, "done", err);
}

static int finish_failed(queue *q, queue_run *r, ls_error *err)
{
    char *text = json_dumps(r->error, JSON_COMPACT);
    int ret = store_do(q->store, err, "UPDATE jobs SET error_json=?2 WHERE number=?1", "is",
                       r->number, text ? text : "{}");
    free(text);
    if (!ret)
        ret = queue_event(q, r->number, r->id, r, "error", json_incref(r->error), err);
    return ret ? ret : queue_set_state(q, r->number, r->id, r, "failed", err);
}

/* It ended without an error of its own: a crash, or somebody's signal. */
static int finish_crashed(queue *q, queue_run *r, int64_t crashes, ls_error *err)
{
    char how[160], text[256];
    worker_end_text(&r->worker, how, sizeof how);
    if (crashes >= MOST_CRASHES) {
        char *last = r->worker.tail;
        const size_t length = strlen(last);
        json_t *tail = queue_clean_text(q, length > 300 ? last + length - 300 : last);
        json_decref(r->error);
        r->error = json_pack(
            "{s:s, s:o, s:n}", "code", ls_error_name(LS_EBACKEND), "message",
            json_sprintf("the job's process crashed %d times: %s%s%s", (int)crashes + 1, how,
                         json_string_length(tail) ? "; it wrote: " : "", json_string_value(tail)),
            "hint");
        json_decref(tail);
        return finish_failed(q, r, err);
    }
    snprintf(text, sizeof text, "the job's process crashed: %s; the job is resumed", how);
    int ret = store_do(q->store, err, "UPDATE jobs SET crashes=crashes+1 WHERE number=?1", "i",
                       r->number);
    if (!ret)
        ret = queue_event(q, r->number, r->id, r, "message",
                          json_pack("{s:s, s:s}", "level", "warning", "text", text), err);
    return ret ? ret : wait_again(q, r, 1, err);
}

/* Another process has the job: that of a server which died a moment ago, and which ends soon. */
static bool is_busy(const queue_run *r)
{
    const char *code = json_string_value(json_object_get(r->error, "code"));
    return code && !strcmp(code, ls_error_name(LS_EBUSY));
}

static int decide(queue *q, queue_run *r, const json_t *row, ls_error *err)
{
    const int status = r->worker.status;
    const bool is_success = WIFEXITED(status) && !WEXITSTATUS(status);
    const char *code = json_string_value(json_object_get(r->error, "code"));
    const bool interrupted = code && !strcmp(code, ls_error_name(LS_ECANCELED));
    if (is_success && has_output(q, r, json_object_get(row, "request")))
        return finish_done(q, r, err);
    if (*json_string_value(json_object_get(row, "wanted")))
        return queue_set_state(q, r->number, r->id, r, "canceled", err);
    if (q->stop)
        return queue_set_state(q, r->number, r->id, r, "queued", err);
    if (is_busy(r))
        return wait_again(q, r, 2, err);
    if (r->error && !interrupted)
        return finish_failed(q, r, err);
    return finish_crashed(q, r, json_integer_value(json_object_get(row, "crashes")), err);
}

static int record(queue *q, queue_run *r, ls_error *err)
{
    char *progress = r->progress ? json_dumps(r->progress, JSON_COMPACT) : NULL;
    json_t *row =
        store_first(q->store, err, "SELECT wanted, crashes, request_json FROM jobs WHERE number=?1",
                    "i", r->number);
    int ret = row ? store_begin(q->store, err) : err->code;
    if (!ret && json_is_object(row)) {
        ret = store_do(q->store, err,
                       "UPDATE jobs SET progress_json=coalesce(?2, progress_json) WHERE number=?1",
                       "is", r->number, progress);
        if (!ret)
            ret = decide(q, r, row, err);
    }
    if (row)
        ret = store_end(q->store, ret, err);
    json_decref(row);
    free(progress);
    return ret;
}

/* What cannot be recorded, because the disk is full, is tried again. */
static void end(queue *q, queue_run *r)
{
    ls_error err = {0};
    if (record(q, r, &err)) {
        snprintf(q->problem, sizeof q->problem, "%.200s", err.message);
        r->next_event = r->reserved = 0; // the reservation was undone, too
        if (!q->stop)
            return;
    } else {
        *q->problem = '\0';
    }
    q->must_purge = true;
    q->busy_seconds += server_clock() - r->worker.started;
    q->frames += (uint64_t)json_integer_value(json_object_get(r->result, "frames_generated"));
    queue_changed(q, r->id);
    clear(r);
}

void queue_runs_read(queue *q)
{
    for (size_t i = 0; i < q->workers; i++) {
        queue_run *r = &q->runs[i];
        if (*r->id && !r->has_ended)
            r->has_ended = worker_read(&r->worker, take_line, r);
        if (r->has_ended)
            end(q, r);
    }
}
