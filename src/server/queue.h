/* Jobs: kept in a database, run as processes of their own, one after another or several at a time.
 * Everything that opens media runs in such a process too. All functions may be called from any
 * thread and do not wait for a process. Objects that are returned belong to the caller. */
#ifndef LS_SERVER_QUEUE_H
#define LS_SERVER_QUEUE_H

#include "server/server.h"

#include <jansson.h>

typedef struct queue queue;

/* 32 lower-case hex digits and the final 0: of uploads and jobs. */
enum { QUEUE_ID_SIZE = 33 };

/* A new random ID. */
void queue_new_id(char id[QUEUE_ID_SIZE]);
/* Whether `text` has the form of one. */
bool queue_is_id(const char *text);

/* Whether a request may set this option: the output depends on it, and it names no file. */
bool queue_takes_option(const ls_option *o);

/* Opens the data folder and its database, takes up the jobs that an earlier server left, and starts
 * the thread that runs them. `s` outlives the queue. On failure *out is NULL. LS_EBUSY: another
 * server has the folder. */
int queue_open(queue **out, const server_settings *s, ls_error *err);
/* Ends the processes in order, so that the jobs resume with the next server. Takes NULL. */
void queue_close(queue *q);

/* LS_ENOSPC if less than 5 % of the disk, or than 1 GB, would be free after `bytes` more. */
int queue_check_space(queue *q, uint64_t bytes, ls_error *err);

/* Uploads. The bytes are in the file that queue_upload_path names, which the caller writes; these
 * rows say how many of them count. */
int queue_upload_add(queue *q, const char *id, const char *name, uint64_t bytes, const char *sha256,
                     ls_error *err);
/* The upload as the API shows it, and "sha256"; NULL: there is none. */
json_t *queue_upload(queue *q, const char *id);
int queue_upload_received(queue *q, const char *id, uint64_t bytes, bool is_complete,
                          ls_error *err);
/* With its file and its faces. LS_ENOENT; LS_EBUSY while a job that is not finished uses it. */
int queue_upload_remove(queue *q, const char *id, ls_error *err);
void queue_upload_path(const queue *q, const char *id, char *out, size_t size);

/* What a finished helper process said; `result` is NULL on failure. Called in the queue's thread;
 * takes `result` over. */
typedef void queue_answer(void *opaque, json_t *result, const ls_error *err);
/* `latentsync probe` and `latentsync estimate` in a process each. The answer is given once,
 * possibly before the function returns. LS_EBUSY: too many are running. LS_ENOENT: no such upload.
 * The caller knows that `upload` is complete; of what a request names, LS_EINVAL: it is not. */
int queue_probe(queue *q, const char *upload, queue_answer *answer, void *opaque, ls_error *err);
int queue_estimate(queue *q, const json_t *request, queue_answer *answer, void *opaque,
                   ls_error *err);
/* The faces of a complete upload as the API shows them; begins to look for them if nobody has. NULL
 * with *err set: the search failed, LS_ENOENT, LS_EBUSY. */
json_t *queue_faces(queue *q, const char *upload, ls_error *err);
void queue_face_path(const queue *q, const char *upload, unsigned n, char *out, size_t size);

/* Adds a job: `request` as in POST /v1/jobs, checked against the option table and the limits. With
 * `key`, a request that was made before under this key gives its job again, and a
 * different one LS_EINVAL. LS_EBUSY: the queue is full. LS_ENOSPC. LS_EUNSUPPORTED: too long, or
 * too large a picture. The answer is given once, possibly before the function returns, and only if
 * that is 0: {"job":{..},"is_replayed":bool}; the inputs are probed first where they have not been.
 */
int queue_job_add(queue *q, const json_t *request, const char *key, queue_answer *answer,
                  void *opaque, ls_error *err);
/* NULL: there is none. */
json_t *queue_job(queue *q, const char *id);
/* As it was asked for, with every member; NULL: there is no such job. */
json_t *queue_job_request(queue *q, const char *id);
/* {"jobs":[...],"next":...}; `after` and `state` may be NULL. */
json_t *queue_jobs(queue *q, size_t limit, const char *after, const char *state, ls_error *err);
/* A job that runs is canceled a moment later. LS_ENOENT; LS_EINVAL if it is done or has failed. */
int queue_job_cancel(queue *q, const char *id, ls_error *err);
/* LS_EINVAL unless it failed or was canceled; LS_ENOENT: it, or an upload of it, is gone. */
int queue_job_resume(queue *q, const char *id, ls_error *err);
/* Gone at once for all other functions; its files go a moment later. LS_ENOENT. */
int queue_job_remove(queue *q, const char *id, ls_error *err);
/* The path of a job's "output", whose extension says what it is, or of what it writes meanwhile:
 * "newest.jpg", "stream/stream.m3u8". A process that read a hostile file has made them: open them
 * with folder_open. */
void queue_job_path(queue *q, const char *id, const char *name, char *out, size_t size);

/* The events of a job with numbers above `after`, oldest first: {"id":N,"event":"..","data":{..}};
 * *is_last: no more will follow. NULL: there is no such job. */
json_t *queue_events(queue *q, const char *id, uint64_t after, bool *is_last);
/* `changed` is called, from the queue's thread and with no lock held, when a job has new events, or
 * is gone. Up to four may listen, until the queue is closed. */
void queue_listen(queue *q, void (*changed)(void *opaque, const char *id), void *opaque);

/* For /ready and /metrics: {"queued":n,"running":n,"done":n,"failed":n,"canceled":n,"workers":n,
 * "uploads":n,"upload_bytes":n,"frames":n,"busy_seconds":x,"disk_free":n,"problem":null|".."}. */
json_t *queue_state(queue *q);

#endif
