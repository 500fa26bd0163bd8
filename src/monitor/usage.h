/* What this process, its cgroup and the GPUs are using right now. */
#ifndef LS_MONITOR_USAGE_H
#define LS_MONITOR_USAGE_H

#include "base/error.h"
#include "monitor/nvml.h"

#include <stdbool.h>
#include <stdint.h>

/* Bytes; 0 if unknown unless stated otherwise. */
typedef struct ls_usage {
    double seconds;               /* since open, by a monotonic clock */
    double cpu_percent;           /* of one core since the last sample: 200 is two cores busy */
    uint64_t resident, anonymous; /* of the process */
    uint64_t cgroup_used;         /* as ls_machine_memory */
    uint64_t cgroup_limit;        /* the tightest; UINT64_MAX: none */
    double pressure;              /* as ls_machine_memory; -1: unknown */
    bool has_gpu;
    uint64_t gpu_used, gpu_total; /* summed over all devices */
    double gpu_percent;           /* mean over the devices; -1: unknown */
    size_t gpu_count;
    ls_nvml_device gpus[LS_NVML_DEVICES];
} ls_usage;

typedef struct ls_usage_meter ls_usage_meter;

/* `root` holds /proc and /sys: "" except in tests, which may put a libnvidia-ml.so.1 there. On
 * failure *out is NULL. */
int ls_usage_open(ls_usage_meter **out, const char *root, ls_error *err);
/* Sets *m to NULL; takes NULL. */
void ls_usage_close(ls_usage_meter **m);

/* One thread at a time. The CPU figure of the first sample is that since open. */
void ls_usage_sample(ls_usage_meter *m, ls_usage *u);

#endif
