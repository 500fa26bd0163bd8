/* A statistics file (monitor/stats.h) of any length, condensed to bins of equal duration: 1 s at
 * first, then widened as needed. */
#ifndef LS_MONITOR_HISTORY_H
#define LS_MONITOR_HISTORY_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    LS_HISTORY_BINS = 1024,
    LS_HISTORY_NAMES = 24,
    LS_HISTORY_PHASES = 8,
    LS_HISTORY_NAME_SIZE = 64
};

typedef struct ls_bin {
    double weight;   /* known seconds; if 0, the other members are meaningless */
    double sum;      /* value x seconds */
    double min, max; /* of the samples */
} ls_bin;

typedef struct ls_series {
    char name[LS_HISTORY_NAME_SIZE];
    ls_bin all, bins[LS_HISTORY_BINS];
} ls_series;

/* A stage, or a device. */
typedef struct ls_worker {
    ls_series busy;     /* percent of the time */
    double input, room; /* seconds of waiting for what it works on, and for later stages */
    double frames;
} ls_worker;

typedef struct ls_gpu {
    ls_series load;      /* percent */
    double bytes, total; /* the largest */
} ls_gpu;

typedef struct ls_phase {
    char name[LS_HISTORY_NAME_SIZE]; /* "": none */
    double seconds;
} ls_phase;

/* Bytes and percent, as in the file. */
enum ls_figure {
    LS_FIGURE_RESIDENT,
    LS_FIGURE_CGROUP,
    LS_FIGURE_CGROUP_LIMIT,
    LS_FIGURE_BUDGET,
    LS_FIGURE_CPU,
    LS_FIGURE_PRESSURE,
    LS_FIGURE_GPU_MEMORY,
    LS_FIGURE_GPU_TOTAL,
    LS_FIGURE_GPU_LOAD,
    LS_FIGURES
};

typedef struct ls_history {
    double seconds, bin_seconds; /* bin i covers [i, i + 1) * bin_seconds */
    uint64_t samples;
    size_t parts;                       /* of a resumed run; they follow each other without a gap */
    bool starts[LS_HISTORY_BINS];       /* a part after the first begins in this bin */
    double frame, frames;               /* the last in the file */
    double frames_done;                 /* over all parts; frames done twice count twice */
    ls_phase phases[LS_HISTORY_PHASES]; /* by "stage", as they first appear */
    ls_series figures[LS_FIGURES];
    ls_worker stages[LS_HISTORY_NAMES], devices[LS_HISTORY_NAMES];
    ls_series queues[LS_HISTORY_NAMES]; /* percent of the closer bound */
    ls_gpu gpus[LS_HISTORY_NAMES];      /* where there are several; those after them are left out */
    size_t stage_count, device_count, queue_count, gpu_count;
} ls_history;

/* The last line may be incomplete, as a killed program leaves it. LS_EFORMAT, with the line number,
 * for any other unreadable line, and for a file without samples. On failure *out is NULL. */
int ls_history_read(ls_history **out, const char *path, ls_error *err);
/* Sets *h to NULL; takes NULL. */
void ls_history_free(ls_history **h);

#endif
