/* The inside of a stream: what its files share. */
#ifndef LS_PIPELINE_STREAM_INSIDE_H
#define LS_PIPELINE_STREAM_INSIDE_H

#include "base/queue.h"
#include "pipeline/stream.h"

#include <pthread.h>

/* A frame on its way through the stages. */
typedef struct ls_stream_item {
    ls_stream *stream;
    uint64_t index;
    ls_frame *frame;
    bool has_face;
    ls_placement place;
    uint8_t *face; /* [R, R, 3], from the crop on */
    float *image;  /* [R, R, 3], between generation and restoration */
} ls_stream_item;

/* One generator, with the thread that calls it. */
typedef struct ls_stream_lane {
    ls_stream *stream;
    size_t number;
    pthread_t thread;
    double since; /* the end of what was counted last */
    /* of the chunk that it works on, with the stream's lock */
    bool works;
    uint64_t chunk;
    size_t step;
    double frames, done; /* that will be written, and how many of them are made */
} ls_stream_lane;

struct ls_stream {
    ls_stream_parts p;
    uint64_t begin, first, end, fed;   /* frames [first, end) are written, [begin, fed) are made */
    ls_cancel canceled;                /* with the first error too */
    ls_queue *queue[LS_STREAM_QUEUES]; /* of items; NULL except in ls_stream_run */
    pthread_mutex_t lock;              /* of all below, and of whether the queues exist */
    ls_error err;                      /* the first */
    ls_stream_state state;
    size_t frames; /* that may be in flight */
    pthread_cond_t landed;
    double full, full_since; /* seconds that no more frames might be in flight; 0: they may */
    ls_stream_lane lanes[LS_STREAM_GENERATORS];
    double made; /* frames of chunks that are done */
    bool keeps;  /* the faces of finished chunks */
    /* Chunks are taken and passed on in order. */
    pthread_mutex_t collecting; /* of `next`, and of the end of the first queue */
    uint64_t next, passed;
    /* Restored frames leave in the order they were taken. */
    pthread_mutex_t taking;
    pthread_cond_t turn;
    uint64_t taken, given;
    bool stopped;
};

/* Gives back an item, which may be NULL. */
void ls_stream_free_item(void *item);
int ls_stream_push(ls_stream *s, int queue, ls_stream_item *it);
/* The first error ends every stage. */
void ls_stream_stop(ls_stream *s, int code, const ls_error *err);
/* The seconds since *since, which becomes now. */
double ls_stream_lap(double *since);
/* Counts seconds of one of a stage's threads, and frames that it is done with. */
void ls_stream_count(ls_stream *s, int stage, int use, double seconds, uint64_t frames);

/* The stage between `cropped` and `generated`; returns when all its threads have ended. */
int ls_stream_generate(ls_stream *s);

#endif
