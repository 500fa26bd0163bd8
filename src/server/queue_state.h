/* What the parts of the queue share. Everything in it is under its lock. */
#ifndef LS_SERVER_QUEUE_STATE_H
#define LS_SERVER_QUEUE_STATE_H

#include "server/fail.h"
#include "server/folder.h"
#include "server/queue.h"
#include "server/request.h"
#include "server/store.h"
#include "server/worker.h"

#include <pthread.h>

enum { QUEUE_PATH = 4096, QUEUE_LISTENERS = 4, QUEUE_MOST_WORKERS = 64 };

/* An answer that waits to be given without the lock. */
typedef struct queue_due {
    struct queue_due *next;
    queue_answer *answer;
    void *opaque;
    json_t *result;
    ls_error err;
} queue_due;

/* A job that runs. */
typedef struct queue_run {
    queue *q;
    char id[QUEUE_ID_SIZE]; /* empty: the place is free */
    int64_t number;
    bool has_ended;
    int64_t next_event, reserved; /* numbers of events that are its own */
    int64_t progress_event;
    unsigned messages;
    json_t *progress, *result, *error; /* NULL: nothing came yet */
    worker worker;
} queue_run;

typedef struct queue_tool queue_tool;

struct queue {
    const server_settings *s;
    char data[QUEUE_PATH - 128]; /* without links, so that it can be recognised in messages */
    pthread_mutex_t lock;
    pthread_t thread;
    bool has_thread, stop, must_purge;
    bool is_cluster; /* jobs run elsewhere; their processes here only follow them */
    int wake, folder;
    store *store;
    sandbox *sandbox;
    queue_run *runs;
    size_t workers; /* 0 until the thread knows the machine */
    uint64_t worker_memory;
    int worker_threads; /* 0: all cores */
    queue_tool *tools;
    queue_due *first_due, **last_due;
    json_t *changed; /* the jobs' IDs are its keys */
    struct {
        void (*changed)(void *opaque, const char *id);
        void *opaque;
    } listeners[QUEUE_LISTENERS];
    size_t listener_count;
    double next_sweep;
    uint64_t frames;
    double busy_seconds;
    char problem[256]; /* of the last time that the database failed; empty: none */
};

json_t *queue_time_text(const json_t *seconds);
void queue_wake(queue *q);
queue_due *queue_new_due(queue_answer *answer, void *opaque, ls_error *err);
/* Has the queue's thread give the answer; takes both over. */
void queue_owe(queue *q, queue_due *due, json_t *result, const ls_error *err);
/* Text from a process, at most a kilobyte, with the paths of the server taken out. */
json_t *queue_clean_text(queue *q, const char *text);
/* What the error event of a process says. */
json_t *queue_clean_error(queue *q, const json_t *event);
int queue_error_code(const char *name);
/* The path of this program, under its name where it still has that: it is what processes are listed
 * as. */
void queue_program(const queue *q, char out[QUEUE_PATH]);
/* Starts `w` for this program. */
int queue_start_worker(queue *q, worker *w, const arguments *a, const char *temporary,
                       const sandbox *box, int death_signal, ls_error *err);
/* What a job may use of the machine, and what is made of it: of jobs and of estimates alike. */
void queue_share_arguments(const queue *q, arguments *a);
void queue_input_arguments(const queue *q, arguments *a, const json_t *request, int use);

/* Adds an event; `r` is NULL for a job that does not run. Takes `data` over. */
int queue_event(queue *q, int64_t job, const char *id, queue_run *r, const char *event,
                json_t *data, ls_error *err);
int queue_set_state(queue *q, int64_t job, const char *id, queue_run *r, const char *state,
                    ls_error *err);
void queue_changed(queue *q, const char *id);
queue_run *queue_find_run(queue *q, const char *id);
/* The upload's row, or JSON's null; NULL on failure. */
json_t *queue_upload_row(queue *q, const char *id, ls_error *err);
/* Whether the uploads that a request names are there as a whole. LS_ENOENT, LS_EINVAL. */
int queue_check_uploads(queue *q, const json_t *request, ls_error *err);

void queue_runs_start(queue *q);
void queue_runs_read(queue *q);
size_t queue_runs_poll(queue *q, struct pollfd *fds);
bool queue_runs_any(const queue *q);

void queue_tools_start(queue *q);
void queue_tools_read(queue *q);
size_t queue_tools_count(const queue *q);
size_t queue_tools_poll(queue *q, struct pollfd *fds);
/* Ends those that work on an upload; NULL: all. */
void queue_tools_end(queue *q, const char *upload);
/* Looks at an upload; the answer comes from the queue's thread. */
int queue_probe_locked(queue *q, const char *upload, queue_answer *answer, void *opaque,
                       ls_error *err);

/* Makes the folders and the database agree: at the start, and every minute. */
int queue_recover(queue *q, ls_error *err);
void queue_keep(queue *q);

#endif
