#include "server/queue_state.h"
#include "server/basics.h"
#include "server/webhook.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB_COLUMNS                                                                                \
    "SELECT number, id, name, state, priority, video, audio, request_json, created, started,"      \
    " finished, progress_json, error_json, result_json,"                                           \
    " (SELECT name FROM uploads WHERE id=video) AS video_name,"                                    \
    " (SELECT name FROM uploads WHERE id=audio) AS audio_name FROM jobs WHERE wanted<>'remove' "   \
    "AND "

static const char *text_of(const json_t *row, const char *name)
{
    return json_string_value(json_object_get(row, name));
}

static int64_t integer_of(const json_t *row, const char *name)
{
    return json_integer_value(json_object_get(row, name));
}

/* LS_ENOENT where there is no job. */
static json_t *job_row(queue *q, const char *id, ls_error *err)
{
    json_t *row = store_first(q->store, err, JOB_COLUMNS "id=?1", "s", id);
    if (!json_is_null(row))
        return row;
    json_decref(row);
    server_fail(err, LS_ENOENT, "there is no job %s", id);
    return NULL;
}

static bool is_state(const json_t *row, const char *state)
{
    return !strcmp(text_of(row, "state"), state);
}

queue_run *queue_find_run(queue *q, const char *id)
{
    for (size_t i = 0; i < q->workers; i++)
        if (!strcmp(q->runs[i].id, id))
            return &q->runs[i];
    return NULL;
}

/* Numbers are reserved for a job that runs, so that its progress, of which only the newest is kept,
 * and in memory, takes part in the order without a write each time. */
static int64_t event_number(queue *q, int64_t job, queue_run *r, ls_error *err)
{
    if (r && r->next_event < r->reserved)
        return r->next_event++;
    const int64_t count = r ? 1000 : 1;
    json_t *row = store_first(q->store, err,
                              "UPDATE jobs SET next_event=next_event+?2 WHERE number=?1"
                              " RETURNING next_event-?2 AS first",
                              "ii", job, count);
    const int64_t first = json_is_object(row) ? integer_of(row, "first") : -1;
    json_decref(row);
    if (r && first >= 0) {
        r->next_event = first + 1;
        r->reserved = first + count;
    }
    return first;
}

int queue_event(queue *q, int64_t job, const char *id, queue_run *r, const char *event,
                json_t *data, ls_error *err)
{
    ls_error own;
    err = err ? err : &own;
    *err = (ls_error){0};
    const int64_t number = event_number(q, job, r, err);
    const bool is_progress = !strcmp(event, "progress");
    int ret = number < 0 ? (err->code ? err->code : LS_EIO) : 0;
    if (!ret && is_progress) {
        json_decref(r->progress);
        r->progress = json_incref(data);
        r->progress_event = number;
    } else if (!ret) {
        char *text = json_dumps(data, JSON_COMPACT);
        ret = store_do(q->store, err,
                       "INSERT INTO events(job, number, event, data_json) VALUES(?1, ?2, ?3, ?4)",
                       "iiss", job, number, event, text ? text : "{}");
        free(text);
    }
    json_decref(data);
    queue_changed(q, id);
    return ret;
}

int queue_set_state(queue *q, int64_t job, const char *id, queue_run *r, const char *state,
                    ls_error *err)
{
    const int ret =
        store_do(q->store, err,
                 "UPDATE jobs SET state=?2,"
                 " finished=CASE WHEN ?2 IN ('done','failed','canceled') THEN ?3 END,"
                 " started=CASE ?2 WHEN 'running' THEN coalesce(started, ?3) ELSE started END"
                 " WHERE number=?1",
                 "isd", job, state, server_time());
    return ret ? ret : queue_event(q, job, id, r, "state", json_pack("{s:s}", "state", state), err);
}

static json_t *messages_of(queue *q, int64_t job)
{
    size_t i;
    json_t *row, *all = json_array();
    json_t *rows = store_all(q->store, NULL,
                             "SELECT number, data_json FROM events WHERE job=?1 AND event='message'"
                             " ORDER BY number DESC LIMIT 20",
                             "i", job);
    json_array_foreach(rows, i, row)
    {
        json_array_insert(all, 0, json_object_get(row, "data"));
    }
    json_decref(rows);
    return all;
}

static json_t *position_of(queue *q, const json_t *row)
{
    if (!is_state(row, "queued"))
        return json_null();
    json_t *ahead =
        store_first(q->store, NULL,
                    "SELECT count(*) AS count FROM jobs WHERE state='queued' AND wanted='' AND"
                    " (priority>?1 OR (priority=?1 AND number<=?2))",
                    "ii", integer_of(row, "priority"), integer_of(row, "number"));
    json_t *position = json_integer(integer_of(ahead, "count"));
    json_decref(ahead);
    return position;
}

static json_t *links_of(queue *q, const char *id)
{
    static const char *const names[][2] = {{"self", ""},
                                           {"events", "/events"},
                                           {"preview", "/preview.jpg"},
                                           {"output", "/output"},
                                           {"stream", "/stream.m3u8"}};
    json_t *links = json_object();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        json_object_set_new(
            links, names[i][0],
            json_sprintf("%s/v1/jobs/%s%s", q->s->prefix ? q->s->prefix : "", id, names[i][1]));
    return links;
}

/* As the API shows it. */
static json_t *job_object(queue *q, const json_t *row)
{
    const json_t *request = json_object_get(row, "request");
    const queue_run *r = queue_find_run(q, text_of(row, "id"));
    return json_pack(
        "{s:O, s:O, s:O, s:o, s:o, s:o, s:O, s:o, s:{s:O, s:O}, s:{s:O, s:O}, s:O?, s:O?, s:O?,"
        " s:O?, s:o, s:O?, s:O?, s:o}",
        "id", json_object_get(row, "id"), "name", json_object_get(row, "name"), "state",
        json_object_get(row, "state"), "created", queue_time_text(json_object_get(row, "created")),
        "started", queue_time_text(json_object_get(row, "started")), "finished",
        queue_time_text(json_object_get(row, "finished")), "priority",
        json_object_get(row, "priority"), "position", position_of(q, row), "video", "id",
        json_object_get(row, "video"), "name", json_object_get(row, "video_name"), "audio", "id",
        json_object_get(row, "audio"), "name", json_object_get(row, "audio_name"), "features_from",
        json_object_get(request, "features_from"), "options", json_object_get(request, "options"),
        "preview", json_object_get(request, "preview"), "progress",
        r && r->progress ? r->progress : json_object_get(row, "progress"), "messages",
        messages_of(q, integer_of(row, "number")), "error", json_object_get(row, "error"), "result",
        json_object_get(row, "result"), "links", links_of(q, text_of(row, "id")));
}

static json_t *job_by_id(queue *q, const char *id)
{
    json_t *row = job_row(q, id, NULL);
    json_t *job = row ? job_object(q, row) : NULL;
    json_decref(row);
    return job;
}

json_t *queue_job(queue *q, const char *id)
{
    pthread_mutex_lock(&q->lock);
    json_t *job = job_by_id(q, id);
    pthread_mutex_unlock(&q->lock);
    return job;
}

json_t *queue_job_request(queue *q, const char *id)
{
    pthread_mutex_lock(&q->lock);
    json_t *row = job_row(q, id, NULL);
    pthread_mutex_unlock(&q->lock);
    json_t *request = json_incref(json_object_get(row, "request"));
    json_decref(row);
    return request;
}

void queue_job_path(queue *q, const char *id, const char *name, char *out, size_t size)
{
    json_t *row = NULL;
    if (!strcmp(name, "output")) {
        pthread_mutex_lock(&q->lock);
        row = job_row(q, id, NULL);
        pthread_mutex_unlock(&q->lock);
    }
    const char *extension = row ? request_extension(json_object_get(row, "request")) : NULL;
    const bool is_preview =
        json_is_number(json_object_get(json_object_get(row, "request"), "preview"));
    snprintf(out, size, "%s/jobs/%s/%s%s%s", q->data, id, name, is_preview ? ".preview" : "",
             extension ? extension : "");
    json_decref(row);
}

static bool is_state_name(const char *state)
{
    static const char *const names[] = {"queued", "running", "done", "failed", "canceled"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(state, names[i]))
            return true;
    return false;
}

static json_t *list_jobs(queue *q, size_t limit, int64_t before, const char *state, ls_error *err)
{
    size_t i;
    json_t *row, *jobs = json_array(), *next = json_null();
    json_t *rows = store_all(q->store, err,
                             JOB_COLUMNS
                             "number<?1 AND (?2 IS NULL OR state=?2) ORDER BY number DESC LIMIT ?3",
                             "isi", before, state, (int64_t)limit + 1);
    json_array_foreach(rows, i, row)
    {
        if (i < limit)
            json_array_append_new(jobs, job_object(q, row));
        else if (i)
            next =
                json_sprintf("%lld", (long long)integer_of(json_array_get(rows, i - 1), "number"));
    }
    const bool failed = !rows;
    json_decref(rows);
    json_t *out = json_pack("{s:o, s:o}", "jobs", jobs, "next", next);
    if (!failed)
        return out;
    json_decref(out);
    return NULL;
}

json_t *queue_jobs(queue *q, size_t limit, const char *after, const char *state, ls_error *err)
{
    const size_t digits = after ? strspn(after, "0123456789") : 0;
    if (after && (!digits || digits > 18 || after[digits])) {
        server_fail(err, LS_EINVAL, "after: no list of jobs has ended with that");
        return NULL;
    }
    if (state && !is_state_name(state)) {
        server_fail(err, LS_EINVAL, "state: queued, running, done, failed or canceled is expected");
        return NULL;
    }
    pthread_mutex_lock(&q->lock);
    json_t *out = list_jobs(q, limit, after ? strtoll(after, NULL, 10) : INT64_MAX, state, err);
    pthread_mutex_unlock(&q->lock);
    return out;
}

/* The newest progress, in its place. */
static void insert_progress(json_t *events, const queue_run *r)
{
    size_t at = json_array_size(events);
    while (at && integer_of(json_array_get(events, at - 1), "id") > r->progress_event)
        at--;
    json_array_insert_new(events, at,
                          json_pack("{s:I, s:s, s:O}", "id", (json_int_t)r->progress_event, "event",
                                    "progress", "data", r->progress));
}

json_t *queue_events(queue *q, const char *id, uint64_t after, bool *is_last)
{
    const int64_t from = after < INT64_MAX ? (int64_t)after : INT64_MAX;
    *is_last = false;
    pthread_mutex_lock(&q->lock);
    json_t *events = NULL, *row = job_row(q, id, NULL);
    if (row) {
        const queue_run *r = queue_find_run(q, id);
        events =
            store_all(q->store, NULL,
                      "SELECT number AS id, event, data_json FROM events WHERE job=?1 AND number>?2"
                      " ORDER BY number",
                      "ii", integer_of(row, "number"), from);
        if (events && r && r->progress && r->progress_event > from)
            insert_progress(events, r);
        *is_last = !is_state(row, "queued") && !is_state(row, "running");
    }
    json_decref(row);
    pthread_mutex_unlock(&q->lock);
    return events;
}

static int cancel(queue *q, const json_t *row, ls_error *err)
{
    const char *id = text_of(row, "id");
    queue_run *r = queue_find_run(q, id);
    if (is_state(row, "canceled"))
        return 0;
    if (is_state(row, "queued")) {
        int ret = store_begin(q->store, err);
        return ret ? ret
                   : store_end(
                         q->store,
                         queue_set_state(q, integer_of(row, "number"), id, NULL, "canceled", err),
                         err);
    }
    if (!is_state(row, "running"))
        return server_fail(err, LS_EINVAL, "the job has ended: it is %s", text_of(row, "state"));
    const int ret = store_do(q->store, err,
                             "UPDATE jobs SET wanted='cancel' WHERE id=?1 AND wanted=''", "s", id);
    if (!ret && r)
        worker_stop(&r->worker, 10);
    return ret;
}

static int remove_job(queue *q, const json_t *row, ls_error *err)
{
    const char *id = text_of(row, "id");
    queue_run *r = queue_find_run(q, id);
    const int ret = store_do(q->store, err, "UPDATE jobs SET wanted='remove' WHERE id=?1", "s", id);
    if (!ret && r)
        worker_stop(&r->worker, 10);
    q->must_purge = true;
    queue_changed(q, id);
    return ret;
}

static int count_waiting(queue *q, ls_error *err)
{
    json_t *row = store_first(
        q->store, err, "SELECT count(*) AS count FROM jobs WHERE state='queued' AND wanted=''", "");
    const bool is_full = row && (uint64_t)integer_of(row, "count") >= q->s->max_queue;
    const int ret = row ? 0 : err->code;
    json_decref(row);
    return is_full ? server_fail(err, LS_EBUSY, "the queue is full: %zu jobs are waiting",
                                 q->s->max_queue)
                   : ret;
}

int queue_check_uploads(queue *q, const json_t *request, ls_error *err)
{
    static const char *const members[] = {"video", "audio", "features_from"};
    int ret = 0;
    for (int i = 0; i < 3 && !ret; i++) {
        const char *id = text_of(request, members[i]);
        json_t *row = id ? queue_upload_row(q, id, err) : NULL;
        if (id && !row)
            ret = err->code;
        else if (id && json_is_null(row))
            ret = server_fail(err, LS_ENOENT, "%s: there is no such upload", members[i]);
        else if (id && !integer_of(row, "is_complete"))
            ret = server_fail(err, LS_EINVAL, "%s: the upload is not complete", members[i]);
        json_decref(row);
    }
    return ret;
}

static int resume(queue *q, const json_t *row, ls_error *err)
{
    if (!is_state(row, "failed") && !is_state(row, "canceled"))
        return server_fail(err, LS_EINVAL,
                           "only a job that failed or was canceled can be resumed; it is %s",
                           text_of(row, "state"));
    int ret = queue_check_uploads(q, json_object_get(row, "request"), err);
    if (!ret)
        ret = count_waiting(q, err);
    if (!ret)
        ret = store_begin(q->store, err);
    if (ret)
        return ret;
    ret =
        store_do(q->store, err,
                 "UPDATE jobs SET wanted='', crashes=0, not_before=0, error_json=NULL WHERE id=?1",
                 "s", text_of(row, "id"));
    if (!ret)
        ret =
            queue_set_state(q, integer_of(row, "number"), text_of(row, "id"), NULL, "queued", err);
    return store_end(q->store, ret, err);
}

static int change(queue *q, const char *id, int (*act)(queue *q, const json_t *row, ls_error *err),
                  ls_error *err)
{
    pthread_mutex_lock(&q->lock);
    json_t *row = job_row(q, id, err);
    const int ret = row ? act(q, row, err) : err->code;
    json_decref(row);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int queue_job_cancel(queue *q, const char *id, ls_error *err)
{
    return change(q, id, cancel, err);
}

int queue_job_resume(queue *q, const char *id, ls_error *err)
{
    return change(q, id, resume, err);
}

int queue_job_remove(queue *q, const char *id, ls_error *err)
{
    return change(q, id, remove_job, err);
}

/* A request on its way: first its inputs are looked at. */
typedef struct adding {
    queue *q;
    json_t *request;
    char *key;
    queue_answer *answer;
    void *opaque;
} adding;

static void adding_free(adding *a)
{
    json_decref(a->request);
    free(a->key);
    free(a);
}

/* The request as it is compared: what its uploads hold, where that is known, not their numbers. */
static char *fingerprint(queue *q, const json_t *request)
{
    static const char *const members[] = {"video", "audio", "features_from"};
    json_t *copy = json_deep_copy(request);
    for (int i = 0; i < 3; i++) {
        const char *id = text_of(request, members[i]);
        json_t *row = id ? queue_upload_row(q, id, NULL) : NULL;
        const char *sha256 = text_of(row, "sha256");
        if (sha256)
            json_object_set_new(copy, members[i], json_string(sha256));
        json_decref(row);
    }
    char *text = json_dumps(copy, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(copy);
    return text;
}

/* *out: the answer, if the key was used before; otherwise NULL. */
static int replay(adding *a, json_t **out, ls_error *err)
{
    *out = NULL;
    if (!a->key)
        return 0;
    json_t *row =
        store_first(a->q->store, err,
                    "SELECT keys.request AS request, id FROM keys JOIN jobs ON jobs.number=keys.job"
                    " WHERE key=?1 AND wanted<>'remove'",
                    "s", a->key);
    int ret = row ? 0 : err->code;
    if (json_is_object(row)) {
        char *now = fingerprint(a->q, a->request);
        if (!now || strcmp(now, text_of(row, "request")))
            ret = server_fail(err, LS_EINVAL, "this idempotency key was used with another request");
        else
            *out = json_pack("{s:o, s:b}", "job", job_by_id(a->q, text_of(row, "id")),
                             "is_replayed", 1);
        free(now);
    }
    json_decref(row);
    return ret;
}

static int check_probe(queue *q, const char *member, const json_t *upload, ls_error *err)
{
    const json_t *probe = json_object_get(upload, "probe");
    const bool is_video = !strcmp(member, "video");
    const char *name = text_of(upload, "name");
    const double seconds = json_number_value(json_object_get(probe, "seconds"));
    const double pixels = json_number_value(json_object_get(probe, "width")) *
                          json_number_value(json_object_get(probe, "height"));
    if (!json_is_true(json_object_get(probe, is_video ? "is_video" : "is_speech")))
        return server_fail(err, LS_EFORMAT, "%s: %s has no %s that can be used", member, name,
                           is_video ? "picture" : "sound");
    if (q->s->max_seconds > 0 && seconds > q->s->max_seconds)
        return server_fail(err, LS_EUNSUPPORTED, "%s: %s lasts %.1f s; at most %.0f s are allowed",
                           member, name, seconds, q->s->max_seconds);
    if (is_video && q->s->max_pixels && pixels > (double)q->s->max_pixels)
        return server_fail(err, LS_EUNSUPPORTED,
                           "%s: the picture of %s has %.0f pixels; at most %.0f are allowed",
                           member, name, pixels, (double)q->s->max_pixels);
    return 0;
}

static int insert_key(adding *a, int64_t job, ls_error *err)
{
    char *text = fingerprint(a->q, a->request);
    /* A key whose job is being removed is free again. */
    const int ret = store_do(a->q->store, err,
                             "INSERT OR REPLACE INTO keys(key, request, job) VALUES(?1, ?2, ?3)",
                             "ssi", a->key, text ? text : "", job);
    free(text);
    return ret;
}

static int insert(adding *a, const char *id, ls_error *err)
{
    queue *q = a->q;
    char *text = json_dumps(a->request, JSON_COMPACT);
    json_t *row = store_first(
        q->store, err,
        "INSERT INTO jobs(id, name, state, priority, video, audio, features, request_json,"
        " created) VALUES(?1, coalesce(?2, (SELECT name FROM uploads WHERE id=?4)), 'queued',"
        " ?3, ?4, ?5, ?6, ?7, ?8) RETURNING number",
        "ssissssd", id, text_of(a->request, "name"), integer_of(a->request, "priority"),
        text_of(a->request, "video"), text_of(a->request, "audio"),
        text_of(a->request, "features_from"), text ? text : "{}", server_time());
    const int64_t number = integer_of(row, "number");
    int ret = row ? 0 : err->code;
    free(text);
    json_decref(row);
    if (!ret && a->key)
        ret = insert_key(a, number, err);
    return ret ? ret : queue_set_state(q, number, id, NULL, "queued", err);
}

static int add_now(adding *a, json_t **out, ls_error *err)
{
    char id[QUEUE_ID_SIZE];
    int ret = count_waiting(a->q, err);
    if (!ret)
        ret = queue_check_space(a->q, 0, err);
    if (!ret)
        ret = store_begin(a->q->store, err);
    if (ret)
        return ret;
    queue_new_id(id);
    ret = store_end(a->q->store, insert(a, id, err), err);
    if (!ret)
        *out = json_pack("{s:o, s:b}", "job", job_by_id(a->q, id), "is_replayed", 0);
    return ret;
}

static void add_probed(void *opaque, json_t *result, const ls_error *err);

/* Until an input has to be looked at (*waits), or the job is there (*out). */
static int add_step(adding *a, json_t **out, bool *waits, ls_error *err)
{
    static const char *const members[] = {"video", "audio"};
    int ret = replay(a, out, err);
    *waits = false;
    if (ret || *out)
        return ret;
    ret = queue_check_uploads(a->q, a->request, err);
    for (int i = 0; i < 2 && !ret; i++) {
        const char *id = text_of(a->request, members[i]);
        json_t *row = queue_upload_row(a->q, id, err);
        *waits = row && !json_is_object(json_object_get(row, "probe"));
        ret = !row     ? err->code
              : *waits ? queue_probe_locked(a->q, id, add_probed, a, err)
                       : check_probe(a->q, members[i], row, err);
        json_decref(row);
        if (*waits)
            return ret;
    }
    return ret ? ret : add_now(a, out, err);
}

static void add_probed(void *opaque, json_t *result, const ls_error *err)
{
    adding *a = opaque;
    json_t *out = NULL;
    bool waits = false;
    ls_error own = {0};
    int ret = result ? 0 : err->code;
    if (result) {
        pthread_mutex_lock(&a->q->lock);
        ret = add_step(a, &out, &waits, &own);
        pthread_mutex_unlock(&a->q->lock);
        err = &own;
    }
    json_decref(result);
    if (!ret && waits)
        return;
    a->answer(a->opaque, out, out ? NULL : err);
    adding_free(a);
}

int queue_job_add(queue *q, const json_t *request, const char *key, queue_answer *answer,
                  void *opaque, ls_error *err)
{
    json_t *checked = request_check(request, err), *out = NULL;
    bool waits = false;
    const char *webhook = json_string_value(json_object_get(checked, "webhook"));
    if (!checked || (webhook && webhook_check(q->s, webhook, err))) {
        json_decref(checked);
        return err->code;
    }
    adding *a = malloc(sizeof *a);
    if (!a) {
        json_decref(checked);
        return server_fail(err, LS_ENOMEM, "no memory for a job");
    }
    *a = (adding){.q = q,
                  .request = checked,
                  .key = key ? strdup(key) : NULL,
                  .answer = answer,
                  .opaque = opaque};
    pthread_mutex_lock(&q->lock);
    const int ret = add_step(a, &out, &waits, err);
    pthread_mutex_unlock(&q->lock);
    if (!ret && waits)
        return 0;
    if (!ret)
        answer(opaque, out, NULL);
    adding_free(a);
    return ret;
}
