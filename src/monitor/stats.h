/* Statistics of a running job as one line of JSON. */
#ifndef LS_MONITOR_STATS_H
#define LS_MONITOR_STATS_H

#include "latentsync/sync.h"
#include "monitor/usage.h"

#include <stddef.h>

/* Writes one line with its newline, without a final 0, of at most `size` bytes. Returns its length,
 * or 0 if it does not fit or memory is short. {"time", "stage", "frame", "frames", "fps",
 * "seconds_left", "cpu_percent", "resident_bytes", "cgroup_bytes", "cgroup_limit_bytes",
 * "budget_bytes", "memory_pressure", "gpu_bytes", "gpu_total_bytes", "gpu_percent", "gpus":
 * [{"bytes", "total_bytes", "percent"}], "stages", "devices": {NAME: {"busy_seconds",
 * "input_seconds", "room_seconds", "frames"}}, "queues": {NAME: {"items", "max_items", "bytes"}}};
 * "gpus" only where there are several; unknown
 * and absent values have no key. The time restarts from 0 when a job is resumed. */
size_t ls_stats_json(const ls_progress *p, const ls_usage *u, char *text, size_t size);

#endif
