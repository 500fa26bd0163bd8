/* What this process, its cgroup and the GPUs use at a moment. */
#ifndef LS_MONITOR_USAGE_H
#define LS_MONITOR_USAGE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes; 0 where unknown unless said. */
typedef struct ls_usage {
    double seconds;               /* since open, by a clock that never steps */
    double cpu_percent;           /* of one core since the last sample: 200 is two cores busy */
    uint64_t resident, anonymous; /* of the process */
    uint64_t cgroup_used;         /* as ls_machine_memory */
    uint64_t cgroup_limit;        /* the tightest; UINT64_MAX: none */
    double pressure;              /* as ls_machine_memory; -1 unknown */
    bool has_gpu;
    uint64_t gpu_used, gpu_total; /* of all devices together */
    double gpu_percent;           /* mean over the devices; -1 unknown */
} ls_usage;

typedef struct ls_usage_meter ls_usage_meter;

/* `root` is where /proc and /sys are: "" but for tests, which may have a libnvidia-ml.so.1 there.
 * On failure *out is NULL. */
int ls_usage_open(ls_usage_meter **out, const char *root, ls_error *err);
/* Sets *m to NULL; takes NULL. */
void ls_usage_close(ls_usage_meter **m);

/* One thread at a time. The first sample's CPU is that since open. */
void ls_usage_sample(ls_usage_meter *m, ls_usage *u);

#endif
