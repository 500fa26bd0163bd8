/* The figures of a running job as one line of JSON. */
#ifndef LS_MONITOR_STATS_H
#define LS_MONITOR_STATS_H

#include "latentsync/sync.h"
#include "monitor/usage.h"

#include <stddef.h>

/* One line with its end, no 0 after it: at most `size` bytes. Its length, 0 when it does not fit
 * or memory is short.
 * {"time", "stage", "frame", "frames", "fps", "seconds_left", "cpu_percent", "resident_bytes",
 * "cgroup_bytes", "cgroup_limit_bytes", "budget_bytes", "memory_pressure", "gpu_bytes",
 * "gpu_total_bytes", "gpu_percent", "stages": {NAME: {"busy_seconds", "frames"}},
 * "queues": {NAME: {"items", "max_items", "bytes"}}}; what is unknown or absent has
 * no key. The time starts again from 0 where a job was resumed. */
size_t ls_stats_json(const ls_progress *p, const ls_usage *u, char *text, size_t size);

#endif
