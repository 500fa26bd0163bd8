/* `latentsync serve`: a page, an API and a queue over the library. */
#ifndef LS_SERVER_SERVER_H
#define LS_SERVER_SERVER_H

#include "latentsync/latentsync.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct server_settings {
    const char *listen;  /* "127.0.0.1:7860", "[::1]:7860", "unix:PATH" */
    const char *data;    /* folder of the server */
    const char *program; /* this program, for the processes that it starts */
    const char *models;  /* NULL: the installed model */
    const char *device;  /* NULL: "auto" */
    const char *token_file;
    const char *hosts;          /* further names it is reached under, with commas between them */
    const char *prefix;         /* "" or "/lips": what a proxy puts before every path */
    const char *access_log;     /* file, "-", or NULL */
    const char *executor;       /* "local", "slurm" */
    const char *webhook_hosts;  /* NULL: no webhooks */
    const char *webhook_secret; /* file, or NULL */
    size_t workers;             /* jobs at a time; 0: what the machine holds */
    size_t max_queue;           /* jobs that wait */
    uint64_t max_upload;        /* bytes */
    uint64_t max_pixels;        /* of a video's frame */
    uint64_t max_memory;        /* of all jobs and the server; 0: 70 % of what is free */
    double max_seconds;         /* of the speech, and of the video */
    double keep_seconds;        /* after which finished jobs and unused uploads go; 0: never */
    void (*message)(void *opaque, int level, const char *line); /* any thread */
    void *opaque;
} server_settings;

/* Serves until *stop. `ready` is called once with the address to open. LS_EINVAL
 * for settings, LS_EBUSY for an address or a data folder in use, LS_EIO. */
int server_run(const server_settings *s, const atomic_bool *stop,
               void (*ready)(void *opaque, const char *url), ls_error *err);

#endif
