/* Stands in for the queue until there is one: uploads in memory, no jobs. */
#include "server/fail.h"
#include "server/queue.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

struct queue {
    pthread_mutex_t lock;
    json_t *uploads, *jobs;
    char folder[4096];
};

void queue_new_id(char id[QUEUE_ID_SIZE])
{
    unsigned char b[16];
    if (getrandom(b, sizeof b, 0) < 0)
        abort();
    for (int i = 0; i < 16; i++)
        snprintf(id + 2 * i, 3, "%02x", b[i]);
}

bool queue_is_id(const char *text)
{
    return strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

int queue_open(queue **out, const server_settings *s, ls_error *err)
{
    queue *q = *out = calloc(1, sizeof *q);
    char path[4200];
    if (!q)
        return server_fail(err, LS_ENOMEM, "out of memory");
    pthread_mutex_init(&q->lock, NULL);
    q->uploads = json_object();
    q->jobs = json_object();
    snprintf(q->folder, sizeof q->folder, "%s", s->data);
    mkdir(q->folder, 0700);
    snprintf(path, sizeof path, "%s/uploads", q->folder);
    mkdir(path, 0700);
    snprintf(path, sizeof path, "%s/jobs", q->folder);
    mkdir(path, 0700);
    return 0;
}

void queue_close(queue *q)
{
    if (!q)
        return;
    json_decref(q->uploads);
    json_decref(q->jobs);
    free(q);
}

int queue_upload_add(queue *q, const char *id, const char *name, uint64_t bytes, const char *sha256,
                     ls_error *err)
{
    (void)err;
    pthread_mutex_lock(&q->lock);
    json_object_set_new(q->uploads, id,
                        json_pack("{s:s, s:s, s:I, s:i, s:s, s:s, s:s?}", "id", id, "name", name,
                                  "size", (json_int_t)bytes, "received", 0, "state", "receiving",
                                  "created", "2026-01-01T00:00:00Z", "sha256", sha256));
    pthread_mutex_unlock(&q->lock);
    return 0;
}

static json_t *get(queue *q, json_t *table, const char *id)
{
    pthread_mutex_lock(&q->lock);
    json_t *copy = json_deep_copy(json_object_get(table, id));
    pthread_mutex_unlock(&q->lock);
    return copy;
}

json_t *queue_upload(queue *q, const char *id)
{
    return get(q, q->uploads, id);
}

int queue_upload_received(queue *q, const char *id, uint64_t bytes, bool is_complete, ls_error *err)
{
    pthread_mutex_lock(&q->lock);
    json_t *u = json_object_get(q->uploads, id);
    json_object_set_new(u, "received", json_integer((json_int_t)bytes));
    json_object_set_new(u, "state", json_string(is_complete ? "complete" : "receiving"));
    pthread_mutex_unlock(&q->lock);
    return u ? 0 : server_fail(err, LS_ENOENT, "there is no such upload");
}

int queue_upload_remove(queue *q, const char *id, ls_error *err)
{
    char path[4200];
    pthread_mutex_lock(&q->lock);
    const int missing = json_object_del(q->uploads, id);
    pthread_mutex_unlock(&q->lock);
    queue_upload_path(q, id, path, sizeof path);
    unlink(path);
    return missing ? server_fail(err, LS_ENOENT, "there is no such upload") : 0;
}

void queue_upload_path(const queue *q, const char *id, char *out, size_t size)
{
    snprintf(out, size, "%s/uploads/%s", q->folder, id);
}

static int none(ls_error *err)
{
    return server_fail(err, LS_EUNSUPPORTED, "this server has no queue yet");
}

int queue_probe(queue *q, const char *upload, queue_answer *answer, void *opaque, ls_error *err)
{
    (void)q, (void)upload, (void)answer, (void)opaque;
    return none(err);
}

int queue_estimate(queue *q, const json_t *request, queue_answer *answer, void *opaque,
                   ls_error *err)
{
    (void)q, (void)request, (void)answer, (void)opaque;
    return none(err);
}

json_t *queue_faces(queue *q, const char *upload, ls_error *err)
{
    (void)q, (void)upload;
    none(err);
    return NULL;
}

void queue_face_path(const queue *q, const char *upload, unsigned n, char *out, size_t size)
{
    snprintf(out, size, "%s/uploads/%s.faces/%u.png", q->folder, upload, n);
}

int queue_job_add(queue *q, const json_t *request, const char *key, queue_answer *answer,
                  void *opaque, ls_error *err)
{
    char id[QUEUE_ID_SIZE];
    (void)key, (void)err;
    queue_new_id(id);
    json_t *job = json_deep_copy(request);
    json_object_set_new(job, "id", json_string(id));
    json_object_set_new(job, "state", json_string("queued"));
    pthread_mutex_lock(&q->lock);
    json_object_set_new(q->jobs, id, job);
    pthread_mutex_unlock(&q->lock);
    answer(opaque, json_pack("{s:o, s:b}", "job", json_deep_copy(job), "is_replayed", 0), NULL);
    return 0;
}

json_t *queue_job(queue *q, const char *id)
{
    return get(q, q->jobs, id);
}

json_t *queue_jobs(queue *q, size_t limit, const char *after, const char *state, ls_error *err)
{
    const char *id;
    json_t *job, *list = json_array();
    (void)limit, (void)after, (void)state, (void)err;
    pthread_mutex_lock(&q->lock);
    json_object_foreach(q->jobs, id, job) json_array_append_new(list, json_deep_copy(job));
    pthread_mutex_unlock(&q->lock);
    return json_pack("{s:o, s:n}", "jobs", list, "next");
}

int queue_job_cancel(queue *q, const char *id, ls_error *err)
{
    (void)q, (void)id;
    return none(err);
}

int queue_job_resume(queue *q, const char *id, ls_error *err)
{
    (void)q, (void)id;
    return none(err);
}

int queue_job_remove(queue *q, const char *id, ls_error *err)
{
    (void)q, (void)id;
    return none(err);
}

void queue_job_path(const queue *q, const char *id, const char *name, char *out, size_t size)
{
    snprintf(out, size, "%s/jobs/%s/%s", q->folder, id, name);
}

json_t *queue_events(queue *q, const char *id, uint64_t after, bool *is_last)
{
    (void)q, (void)id, (void)after;
    *is_last = true;
    return json_array();
}

void queue_listen(queue *q, void (*changed)(void *opaque, const char *id), void *opaque)
{
    (void)q, (void)changed, (void)opaque;
}

json_t *queue_state(queue *q)
{
    (void)q;
    return json_pack("{s:n}", "problem");
}
