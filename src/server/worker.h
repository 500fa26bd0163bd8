/* A process of this program that works for the server: started in a sandbox, read line by line. One
 * thread at a time, always the same: the process ends with the thread that started it. */
#ifndef LS_SERVER_WORKER_H
#define LS_SERVER_WORKER_H

#include "server/sandbox.h"

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>

enum { WORKER_LINE = 65536, WORKER_TAIL = 2048, WORKER_FDS = 3 };

typedef struct worker {
    pid_t pid; /* 0: none is running */
    int process, out, err;
    bool is_skipping; /* the rest of a line that was too long */
    bool is_flooding; /* it was killed for writing too much */
    size_t fill, tail_fill;
    uint64_t bytes; /* that came on standard output */
    double started, kill_at;
    int status; /* of a process that has ended, as waitpid has it */
    char line[WORKER_LINE];
    char tail[WORKER_TAIL]; /* the end of what came on standard error, a string */
} worker;

typedef struct worker_start_settings {
    const char *program;     /* its path */
    const char *const *argv; /* ends with NULL; what the program is called first */
    const char *temporary;   /* folder for its temporary files */
    const char *cache;       /* cache folder where the environment names none */
    const sandbox *sandbox;  /* or NULL */
    int death_signal;        /* when the server dies */
    uint64_t file_bytes;
} worker_start_settings;

/* On failure nothing runs. */
int worker_start(worker *w, const worker_start_settings *s, ls_error *err);
/* What to wait for; the number of entries, WORKER_FDS at most. */
size_t worker_poll(const worker *w, struct pollfd *fds);
/* Takes what has come and hands over every complete line, without its end. True when the process
 * has ended; then nothing of it is left, and `status` says how. */
bool worker_read(worker *w, void (*line)(void *opaque, const char *text, size_t bytes),
                 void *opaque);
/* Asks it to end; it is killed after `patience` seconds. */
void worker_stop(worker *w, double patience);
/* Ends it at once, and waits. */
void worker_kill(worker *w);
/* How it ended, in words. */
void worker_end_text(const worker *w, char *out, size_t size);

#endif
