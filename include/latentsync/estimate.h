/* What a job will take, before it is started. */
#ifndef LATENTSYNC_ESTIMATE_H
#define LATENTSYNC_ESTIMATE_H

#include "latentsync/sync.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes are what the plan of the job allows, times are estimates. */
typedef struct ls_estimate {
    size_t size;          /* of this struct as the caller knows it */
    uint64_t frames;      /* of the output */
    double seconds;       /* of the output */
    double run_seconds;   /* that the job will run, if the machine stays as busy as it is, */
    double idle_seconds;  /* and if nothing else ran */
    double cpu_seconds;   /* of all cores together */
    double frame_seconds; /* of run_seconds, for each frame after the first ones */
    int is_computed;      /* 1: the networks were not run, because that takes long: their share
                             follows from the speed of single ops */
    int is_known;         /* 1: what was measured before was used */
    uint64_t memory;      /* of the process, at most */
    uint64_t max_memory;  /* that it may hold */
    uint64_t card_memory; /* of each card, at most; 0: none is used */
    uint64_t disk;        /* for the job's folder and the output */
    int compute_type;     /* of UNet and VAE */
    char device[32];      /* of the UNet, "cpu" */
} ls_estimate;

/* Estimates the job that `s` describes. Its first frames are made, in a folder of its own among the
 * system's temporary files, which takes some seconds; the result is kept in the user's cache
 * folder, and used again unless `anew`. s->output may be NULL; nothing is written there. Fills what
 * `size`, sizeof *e, covers. Errors as ls_sync_open and ls_sync_run. */
LS_API int ls_estimate_sync(ls_estimate *e, size_t size, const ls_sync_settings *s, int anew,
                            ls_error *err);

/* The same of all qualities; s->quality does not matter. Models and inputs are opened once to see
 * what there is to do. Each estimate is handed to `use` when it is made, in the calling thread;
 * `quality` is an ls_quality. */
LS_API int ls_estimate_qualities(void (*use)(void *opaque, int quality, const ls_estimate *e),
                                 void *opaque, const ls_sync_settings *s, int anew, ls_error *err);

/* Measures what networks are made of, on the CPU: each number type, and all numbers of threads up
 * to that of the cores, doubling; on the card that jobs run on by default; and what other choices
 * would take. Replaces what was kept; from then on jobs whose number of threads or device is open
 * use the fastest. `line` takes a table and the choices, a line at a time, in the calling thread.
 * LS_ECANCELED; LS_EBUSY: the machine is so busy that nothing was kept. Meanwhile new memory of the
 * process has no huge pages at times. */
LS_API int ls_tune(void (*line)(void *opaque, const char *line), void *opaque,
                   const ls_cancel *cancel, ls_error *err);

#ifdef __cplusplus
}
#endif
#endif
