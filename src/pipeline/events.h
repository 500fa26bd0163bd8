/* Messages and progress on their way to the user's functions: one call at a time, in order, and
 * with no lock held, from whichever of the job's threads had something to report. Others leave what
 * they have to the thread that is in a call, and go on. */
#ifndef LS_PIPELINE_EVENTS_H
#define LS_PIPELINE_EVENTS_H

#include "base/error.h"
#include "base/log.h"
#include "latentsync/sync.h"

enum { LS_REPORT_STAGES = 5, LS_REPORT_QUEUES = 3, LS_REPORT_DEVICES = 16 };

/* A progress with the arrays that it points to. */
typedef struct ls_report {
    ls_progress p; /* its pointers to these are set by ls_report_progress */
    ls_progress_stage stages[LS_REPORT_STAGES];
    ls_progress_queue queues[LS_REPORT_QUEUES];
    ls_progress_time times[LS_REPORT_STAGES], devices[LS_REPORT_DEVICES];
} ls_report;

static inline const ls_progress *ls_report_progress(ls_report *r)
{
    r->p.stages = r->stages;
    r->p.queues = r->queues;
    r->p.times = r->times;
    r->p.devices = r->devices;
    return &r->p;
}

typedef struct ls_listener {
    void (*message)(void *opaque, int level, const char *line);
    void (*progress)(void *opaque, const ls_progress *p);
    void *opaque;
} ls_listener;

typedef struct ls_events ls_events;

int ls_events_open(ls_events **out, const ls_listener *listener, ls_error *err);
/* When no other thread uses it. Sets *e to NULL; takes NULL. */
void ls_events_close(ls_events **e);

/* A log whose lines become messages; `level` counts on its own. */
ls_log ls_events_log(ls_events *e);
/* Of reports that wait, only the latest is delivered. */
void ls_events_report(ls_events *e, const ls_report *r);

#endif
