/* Watches a running job once a second: writes statistics to a file, and lowers the number of frames
 * in flight before memory runs out. */
#ifndef LS_PIPELINE_WATCH_H
#define LS_PIPELINE_WATCH_H

#include "base/error.h"
#include "base/log.h"
#include "pipeline/events.h"

typedef struct ls_watch_settings {
    const char *stats;    /* file that lines are appended to, or NULL */
    uint64_t budget;      /* bytes that the process may hold */
    size_t least, frames; /* that may be in flight, at any time and while there is room */
    const ls_log *log;
    /* Fills everything but the figures of the process. */
    void (*look)(void *progress, ls_report *r);
    /* Takes the whole after each look. */
    void (*report)(void *progress, const ls_report *r);
    void *progress;
    /* Sets how many frames may be in flight from now on; NULL: none are. */
    void (*narrow)(void *opaque, size_t frames);
    void *opaque;
} ls_watch_settings;

typedef struct ls_watch ls_watch;

/* Starts to watch; settings are copied, strings must outlive *out. */
int ls_watch_open(ls_watch **out, const ls_watch_settings *s, ls_error *err);
/* One last look. LS_EIO where the statistics could not be written. */
int ls_watch_close(ls_watch **w, ls_error *err);

typedef struct ls_watch_memory {
    uint64_t resident, budget, cgroup_used, cgroup_limit;
    double pressure; /* percent of time that tasks waited for memory, below 0: unknown */
} ls_watch_memory;

/* How many frames may be in flight: half of `now`, but at least `least`, if the process is close to
 * its budget, the cgroup close to its limit, or tasks have waited for memory; twice `now`, up to
 * `most`, if there is room; otherwise `now`. */
size_t ls_watch_frames(const ls_watch_memory *m, size_t now, size_t least, size_t most);

#endif
