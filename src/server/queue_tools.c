/* Commands whose answer somebody waits for: probe, estimate, faces. */
#include "server/queue_state.h"
#include "server/basics.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { MOST_TOOLS = 24, MOST_RUNNING = 2, MOST_OBJECTS = 16 };

typedef enum tool_kind { PROBE, ESTIMATE, FACES } tool_kind;

struct queue_tool {
    queue_tool *next;
    tool_kind kind;
    char id[QUEUE_ID_SIZE]; /* of the upload, or its own */
    char folder[QUEUE_ID_SIZE];
    json_t *request; /* of an estimate */
    json_t *objects; /* lines of its output */
    json_t *failure; /* of faces, until somebody was told: {"code":n,"message":".."} */
    double fraction, end_at;
    bool is_started, is_unwanted;
    queue *q;
    queue_due *waiting; /* for the answer */
    worker worker;
};

static const double patience[] = {[PROBE] = 60, [ESTIMATE] = 600, [FACES] = 7200};

size_t queue_tools_count(const queue *q)
{
    size_t count = 0;
    for (const queue_tool *t = q->tools; t; t = t->next)
        count += !t->failure;
    return count;
}

static size_t count_running(const queue *q, int kind)
{
    size_t count = 0;
    for (const queue_tool *t = q->tools; t; t = t->next)
        count += t->is_started && !t->failure && (kind < 0 || t->kind == (tool_kind)kind);
    return count;
}

size_t queue_tools_poll(queue *q, struct pollfd *fds)
{
    size_t count = 0;
    for (const queue_tool *t = q->tools; t; t = t->next)
        count += worker_poll(&t->worker, fds + count);
    return count;
}

static queue_tool *find(queue *q, tool_kind kind, const char *id)
{
    for (queue_tool *t = q->tools; t; t = t->next)
        if (t->kind == kind && !strcmp(t->id, id) && !t->is_unwanted)
            return t;
    return NULL;
}

static queue_tool *add(queue *q, tool_kind kind, const char *id, ls_error *err)
{
    if (q->stop || queue_tools_count(q) >= MOST_TOOLS) {
        server_fail(err, LS_EBUSY, "too many files are being looked at; try again in a moment");
        return NULL;
    }
    queue_tool *t = calloc(1, sizeof *t), **last = &q->tools;
    if (!t) {
        server_fail(err, LS_ENOMEM, "no memory for another process");
        return NULL;
    }
    t->q = q;
    t->kind = kind;
    snprintf(t->id, sizeof t->id, "%s", id);
    queue_new_id(t->folder);
    t->objects = json_array();
    while (*last)
        last = &(*last)->next;
    *last = t;
    queue_wake(q);
    return t;
}

static void drop(queue *q, queue_tool *t)
{
    queue_tool **place = &q->tools;
    while (*place != t)
        place = &(*place)->next;
    *place = t->next;
    json_decref(t->request);
    json_decref(t->objects);
    json_decref(t->failure);
    free(t);
}

static void tool_arguments(queue *q, queue_tool *t, arguments *a)
{
    static const char *const commands[] = {
        [PROBE] = "probe", [ESTIMATE] = "estimate", [FACES] = "faces"};
    arguments_add(a, "latentsync");
    arguments_add(a, "%s", commands[t->kind]);
    if (t->kind == FACES) {
        if (q->s->models)
            arguments_add(a, "--models=%s", q->s->models);
        if (q->worker_threads)
            arguments_add(a, "--threads=%d", q->worker_threads);
        arguments_add(a, "--progress=json");
        arguments_add(a, "--preview=%s/uploads/%s.faces", q->data, t->id);
    } else {
        arguments_add(a, "--json");
    }
    if (t->kind == ESTIMATE) {
        queue_share_arguments(q, a);
        queue_input_arguments(q, a, t->request, LS_OPTION_ESTIMATE);
    } else {
        arguments_add(a, "%s/uploads/%s", q->data, t->id);
    }
}

static int launch(queue *q, queue_tool *t, ls_error *err)
{
    char path[QUEUE_PATH];
    arguments a = {0};
    int ret = 0;
    if (t->kind == FACES) {
        snprintf(path, sizeof path, "%s/uploads/%s.faces", q->data, t->id);
        folder_remove(path, NULL);
        ret = folder_make(path, err);
    }
    snprintf(path, sizeof path, "%s/tmp/%s", q->data, t->folder);
    if (!ret)
        ret = folder_make(path, err);
    tool_arguments(q, t, &a);
    if (!ret)
        ret = queue_start_worker(q, &t->worker, &a, path, q->sandbox, SIGKILL, err);
    arguments_free(&a);
    return ret;
}

/* Keeps probes, which are quick, from waiting for the others. */
static bool may_start(const queue *q, const queue_tool *t)
{
    const size_t slow = count_running(q, ESTIMATE) + count_running(q, FACES);
    return t->kind == PROBE ? count_running(q, PROBE) < MOST_RUNNING : !slow;
}

static void end(queue *q, queue_tool *t, json_t *result, const ls_error *err);

void queue_tools_start(queue *q)
{
    for (queue_tool *t = q->tools, *next; t; t = next) {
        ls_error err = {0};
        next = t->next;
        if (t->is_started || !may_start(q, t))
            continue;
        t->is_started = true;
        t->end_at = server_clock() + patience[t->kind];
        if (launch(q, t, &err))
            end(q, t, NULL, &err);
    }
}

static void take_line(void *opaque, const char *text, size_t bytes)
{
    queue_tool *t = opaque;
    json_t *object = json_loadb(text, bytes, 0, NULL);
    const char *event = json_string_value(json_object_get(object, "event"));
    if (event && !strcmp(event, "progress"))
        t->fraction = json_number_value(json_object_get(object, "fraction"));
    else if (json_is_object(object) && json_array_size(t->objects) < MOST_OBJECTS &&
             (!event || !strcmp(event, "done") || !strcmp(event, "error")))
        json_array_append(t->objects, object);
    json_decref(object);
}

/* Commands without events say why they failed on standard error: a line, and one with a hint. */
static void take_tail(queue_tool *t, ls_error *err)
{
    static const char before[] = "latentsync: ";
    static const int codes[] = {[2] = LS_EINVAL,  [3] = LS_EFORMAT, [4] = LS_EMODEL,
                                [5] = LS_ENOFACE, [6] = LS_ENOMEM,  [7] = LS_EBUSY};
    const int status = t->worker.status, number = WIFEXITED(status) ? WEXITSTATUS(status) : 0;
    char *start = strstr(t->worker.tail, before), how[160];
    if (number < 2 || number > 7 || !start) {
        worker_end_text(&t->worker, how, sizeof how);
        server_fail(err, LS_EBACKEND, "the process that looked at the file failed: %s", how);
        return;
    }
    start += sizeof before - 1;
    start[strcspn(start, "\n")] = '\0';
    json_t *text = queue_clean_text(t->q, start);
    server_fail(err, codes[number], "%s", json_string_value(text));
    json_decref(text);
}

static void take_error(queue_tool *t, const json_t *event, ls_error *err)
{
    json_t *error = queue_clean_error(t->q, event);
    server_fail(err, queue_error_code(json_string_value(json_object_get(error, "code"))), "%s",
                json_string_value(json_object_get(error, "message")));
    json_decref(error);
}

static json_t *face_list(const json_t *done)
{
    size_t i;
    json_t *track, *faces = json_array();
    json_array_foreach(json_object_get(done, "tracks"), i, track)
    {
        json_t *id = json_object_get(track, "track"), *box = json_object_get(track, "box");
        if (json_is_integer(id) && json_is_array(box) && i < 1000)
            json_array_append_new(faces, json_pack("{s:O, s:O?, s:O?, s:O?, s:O, s:O?}", "id", id,
                                                   "first", json_object_get(track, "first"), "last",
                                                   json_object_get(track, "last"), "share",
                                                   json_object_get(track, "share"), "box", box,
                                                   "score", json_object_get(track, "score")));
    }
    return faces;
}

static int keep(queue *q, const queue_tool *t, const json_t *value, ls_error *err)
{
    char *text = json_dumps(value, JSON_COMPACT);
    const int ret =
        t->kind == PROBE
            ? store_do(q->store, err, "UPDATE uploads SET probe_json=?2, used=?3 WHERE id=?1",
                       "ssd", t->id, text, server_time())
            : store_do(q->store, err, "UPDATE uploads SET faces_json=?2, used=?3 WHERE id=?1",
                       "ssd", t->id, text, server_time());
    free(text);
    return ret;
}

static json_t *named_probe(queue *q, const char *id, const json_t *probe)
{
    json_t *row = queue_upload_row(q, id, NULL), *out = json_copy((json_t *)probe);
    json_object_del(out, "path");
    if (json_object_get(row, "name"))
        json_object_set(out, "name", json_object_get(row, "name"));
    json_decref(row);
    return out;
}

/* What came of it; NULL with *err set. */
static json_t *outcome(queue *q, queue_tool *t, ls_error *err)
{
    const json_t *last = json_array_get(t->objects, json_array_size(t->objects) - 1);
    const char *event = json_string_value(json_object_get(last, "event"));
    json_t *result = NULL;
    if (event && !strcmp(event, "error"))
        take_error(t, last, err);
    else if (!last || t->worker.status)
        take_tail(t, err);
    else if (t->kind == ESTIMATE)
        result = json_pack("{s:O}", "estimates", t->objects);
    else
        result = t->kind == PROBE ? named_probe(q, t->id, last)
                                  : json_pack("{s:o}", "faces", face_list(last));
    if (result && t->kind != ESTIMATE && keep(q, t, result, err)) {
        json_decref(result);
        result = NULL;
    }
    return result;
}

/* Takes `result` over. */
static void end(queue *q, queue_tool *t, json_t *result, const ls_error *err)
{
    char path[QUEUE_PATH];
    for (queue_due *due = t->waiting, *next; due; due = next) {
        next = due->next;
        queue_owe(q, due, json_incref(result), err);
    }
    t->waiting = NULL;
    snprintf(path, sizeof path, "%s/tmp/%s", q->data, t->folder);
    folder_remove(path, NULL);
    if (!result && t->kind == FACES) {
        snprintf(path, sizeof path, "%s/uploads/%s.faces", q->data, t->id);
        folder_remove(path, NULL);
    }
    if (!result && t->kind == FACES && !t->is_unwanted && !q->stop)
        t->failure = json_pack("{s:i, s:s}", "code", err->code, "message", err->message);
    else
        drop(q, t);
    json_decref(result);
}

void queue_tools_read(queue *q)
{
    for (queue_tool *t = q->tools, *next; t; t = next) {
        ls_error err = {0};
        next = t->next;
        if (!t->worker.pid)
            continue;
        if (server_clock() > t->end_at)
            worker_stop(&t->worker, 1);
        if (!worker_read(&t->worker, take_line, t))
            continue;
        json_t *result = t->is_unwanted ? NULL : outcome(q, t, &err);
        if (t->is_unwanted)
            server_fail(&err, LS_ECANCELED, "nobody wants to know any more");
        else if (!result && server_clock() > t->end_at)
            server_fail(&err, LS_EFORMAT, "looking at the file took longer than %.0f s",
                        patience[t->kind]);
        end(q, t, result, &err);
    }
}

static bool works_on(const queue_tool *t, const char *upload)
{
    static const char *const members[] = {"video", "audio", "features_from"};
    bool is_used = !strcmp(t->id, upload);
    for (int i = 0; i < 3; i++) {
        const char *id = json_string_value(json_object_get(t->request, members[i]));
        is_used = is_used || (id && !strcmp(id, upload));
    }
    return is_used;
}

void queue_tools_end(queue *q, const char *upload)
{
    const ls_error err = {.code = LS_ECANCELED, .message = "it was canceled"};
    for (queue_tool *t = q->tools, *next; t; t = next) {
        next = t->next;
        if (upload && !works_on(t, upload))
            continue;
        t->is_unwanted = true;
        if (t->worker.pid)
            worker_stop(&t->worker, 0.001);
        else if (t->failure)
            drop(q, t);
        else
            end(q, t, NULL, &err);
    }
}

static json_t *upload_row(queue *q, const char *id, ls_error *err)
{
    json_t *row = queue_upload_row(q, id, err);
    if (!json_is_null(row))
        return row;
    json_decref(row);
    server_fail(err, LS_ENOENT, "there is no upload %s", id);
    return NULL;
}

int queue_probe_locked(queue *q, const char *upload, queue_answer *answer, void *opaque,
                       ls_error *err)
{
    queue_due *due = queue_new_due(answer, opaque, err);
    queue_tool *t = find(q, PROBE, upload);
    if (due && !t)
        t = add(q, PROBE, upload, err);
    if (!due || !t) {
        free(due);
        return err->code;
    }
    due->next = t->waiting;
    t->waiting = due;
    return 0;
}

int queue_probe(queue *q, const char *upload, queue_answer *answer, void *opaque, ls_error *err)
{
    pthread_mutex_lock(&q->lock);
    json_t *row = upload_row(q, upload, err);
    json_t *known = json_incref(json_object_get(row, "probe"));
    const bool is_known = json_is_object(known);
    const int ret = !row       ? err->code
                    : is_known ? 0
                               : queue_probe_locked(q, upload, answer, opaque, err);
    json_decref(row);
    pthread_mutex_unlock(&q->lock);
    if (is_known)
        answer(opaque, known, NULL);
    else
        json_decref(known);
    return ret;
}

static int add_estimate(queue *q, const json_t *request, queue_answer *answer, void *opaque,
                        ls_error *err)
{
    char id[QUEUE_ID_SIZE];
    if (queue_check_uploads(q, request, err))
        return err->code;
    queue_new_id(id);
    queue_due *due = queue_new_due(answer, opaque, err);
    queue_tool *t = due ? add(q, ESTIMATE, id, err) : NULL;
    if (!t) {
        free(due);
        return err->code;
    }
    t->request = json_incref((json_t *)request);
    t->waiting = due;
    return 0;
}

int queue_estimate(queue *q, const json_t *request, queue_answer *answer, void *opaque,
                   ls_error *err)
{
    json_t *checked = request_check(request, err);
    if (!checked)
        return err->code;
    pthread_mutex_lock(&q->lock);
    const int ret = add_estimate(q, checked, answer, opaque, err);
    json_decref(checked); // counted references are not safe between threads
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static json_t *with_images(queue *q, const char *upload, const json_t *known)
{
    size_t i;
    json_t *face, *faces = json_deep_copy(json_object_get(known, "faces"));
    json_array_foreach(faces, i, face)
    {
        json_object_set_new(
            face, "image",
            json_sprintf("%s/v1/uploads/%s/faces/%lld.png", q->s->prefix ? q->s->prefix : "",
                         upload, (long long)json_integer_value(json_object_get(face, "id"))));
    }
    return json_pack("{s:s, s:o}", "state", "done", "faces", faces);
}

static json_t *faces(queue *q, const char *upload, const json_t *row, ls_error *err)
{
    const json_t *known = json_object_get(row, "faces");
    if (json_is_object(known))
        return with_images(q, upload, known);
    queue_tool *t = find(q, FACES, upload);
    if (t && t->failure) {
        server_fail(err, (int)json_integer_value(json_object_get(t->failure, "code")), "%s",
                    json_string_value(json_object_get(t->failure, "message")));
        drop(q, t);
        return NULL;
    }
    if (!t)
        t = add(q, FACES, upload, err);
    return t ? json_pack("{s:s, s:f}", "state", "running", "fraction", t->fraction) : NULL;
}

json_t *queue_faces(queue *q, const char *upload, ls_error *err)
{
    pthread_mutex_lock(&q->lock);
    json_t *row = upload_row(q, upload, err);
    json_t *out = row ? faces(q, upload, row, err) : NULL;
    json_decref(row);
    pthread_mutex_unlock(&q->lock);
    return out;
}
