/* The figures of a running job as one line of JSON. */
#ifndef LS_MONITOR_STATS_H
#define LS_MONITOR_STATS_H

#include "monitor/usage.h"

#include <stddef.h>

typedef struct ls_stage_stats { /* since the start */
    const char *name;
    double busy_seconds; /* not waiting for a queue; of several threads the mean, so that a stage
                            that cannot go faster is busy all the time */
    uint64_t frames;
} ls_stage_stats;

typedef struct ls_queue_stats {
    const char *name;
    size_t items, max_items, bytes, max_bytes;
} ls_queue_stats;

typedef struct ls_stats {
    ls_usage usage;
    const char *stage;                      /* as ls_progress */
    uint64_t frame, frames;                 /* done, and in all */
    double frames_per_second, seconds_left; /* 0 while unknown */
    uint64_t budget;                        /* bytes; 0: none */
    const ls_stage_stats *stages;
    size_t stage_count;
    const ls_queue_stats *queues;
    size_t queue_count;
} ls_stats;

/* One line with its end, no 0 after it: at most `size` bytes. Its length, 0 when it does not fit
 * or memory is short.
 * {"time", "stage", "frame", "frames", "fps", "seconds_left", "cpu_percent", "resident_bytes",
 * "cgroup_bytes", "cgroup_limit_bytes", "budget_bytes", "memory_pressure", "gpu_bytes",
 * "gpu_total_bytes", "gpu_percent", "stages": {NAME: {"busy_seconds", "frames"}},
 * "queues": {NAME: {"items", "max_items", "bytes", "max_bytes"}}}; what is unknown or absent has
 * no key. The time starts again from 0 where a file goes on after a resume. */
size_t ls_stats_json(const ls_stats *s, char *text, size_t size);

#endif
