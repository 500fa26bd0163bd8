/* How far a job is: the figures that its stages keep, put together for progress and statistics. */
#ifndef LS_PIPELINE_PROGRESS_H
#define LS_PIPELINE_PROGRESS_H

#include "pipeline/events.h"
#include "pipeline/face_feed.h"
#include "pipeline/stream.h"

#include <pthread.h>

/* `events`, `stream` and `faces` are set while no watch runs; all else goes through the functions.
 */
typedef struct ls_job_progress {
    ls_events *events;
    ls_stream *stream;    /* NULL: no frames are made now */
    ls_face_feed *faces;  /* NULL: no faces are sought now */
    uint64_t budget;      /* bytes that the process may hold */
    pthread_mutex_t lock; /* of all below */
    const char *stage;
    double start;        /* of the run */
    double frames_start; /* of the frames; 0: not yet */
    uint64_t first;      /* frame of the whole that is the first of those: */
    uint64_t goal;       /* frames that there will be in the end */
    uint64_t finished;   /* frames that were finished when the run started */
    uint64_t written;    /* frames of finished segments, and in the one being written */
    size_t in_flight;    /* frames that may be */
} ls_job_progress;

void ls_job_progress_open(ls_job_progress *p, ls_events *events);
void ls_job_progress_close(ls_job_progress *p);

/* Starts a stage, and reports it. */
void ls_job_progress_enter(ls_job_progress *p, const char *stage);
/* What there is to do: `goal` frames from the frame `first` of the whole on, of which `finished`
 * are done. */
void ls_job_progress_set_goal(ls_job_progress *p, uint64_t first, uint64_t goal, uint64_t finished);
void ls_job_progress_start_frames(ls_job_progress *p);
void ls_job_progress_count_frame(ls_job_progress *p);
void ls_job_progress_set_in_flight(ls_job_progress *p, size_t frames);

/* Everything but what the process uses; any thread. `opaque` is the ls_job_progress. */
void ls_job_progress_look(void *opaque, ls_report *r);
void ls_job_progress_report(void *opaque, const ls_report *r);

#endif
