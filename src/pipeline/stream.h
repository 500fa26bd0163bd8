/* The stages between a decoded frame and an encoded one, each in its thread, joined by bounded
 * queues: decode and crop, generate, restore, encode. */
#ifndef LS_PIPELINE_STREAM_H
#define LS_PIPELINE_STREAM_H

#include "base/cancel.h"
#include "base/log.h"
#include "base/queue.h"
#include "media/pingpong.h"
#include "pipeline/face_path.h"
#include "pipeline/generator.h"
#include "pipeline/job_folder.h"

enum ls_stage { LS_STAGE_DECODE, LS_STAGE_GENERATE, LS_STAGE_RESTORE, LS_STAGE_ENCODE, LS_STAGES };
enum { LS_STREAM_CROPPED, LS_STREAM_GENERATED, LS_STREAM_RESTORED, LS_STREAM_QUEUES };
enum { LS_STREAM_GENERATORS = 16 };

/* What a thread does with its time: works, waits for what it works on, waits because what it has
 * made cannot go on. While the frames in flight are all those that may be, generators wait for
 * the latter. */
enum ls_time_use { LS_TIME_BUSY, LS_TIME_INPUT, LS_TIME_ROOM, LS_TIME_USES };

/* Numbers of frames, all from the start of the output. */
typedef struct ls_stream_span {
    uint64_t frames; /* of the output */
    uint64_t mouths; /* that get a new mouth; what follows is as in the source */
    uint64_t fed; /* that the networks work on, so that the chunk in which `mouths` ends is whole;
                     past `frames` they are dropped */
} ls_stream_span;

/* The parts of a stream; all must outlive it. */
typedef struct ls_stream_parts {
    ls_pingpong *source;
    ls_face_path *path;
    ls_generator *const *generators; /* each takes the next chunk as soon as it is free */
    size_t generator_count;          /* 1 .. LS_STREAM_GENERATORS */
    size_t resolution;
    bool whole_crop; /* is pasted, instead of what the mask repaints */
    double sharpen;  /* as ls_paste_open; unless the whole crop is pasted */
    ls_stream_span span;
    size_t frames;         /* in flight at most, in all stages; LS_CHUNK_FRAMES at least */
    int workers;           /* threads that restore, at most */
    ls_job_folder *folder; /* where the faces of finished chunks are kept; NULL: nowhere */
    const ls_cancel *cancel;
    const ls_log *log;
    /* Takes a finished frame, in order; it belongs to the stream. */
    int (*encode)(void *opaque, uint64_t index, ls_frame *f, ls_error *err);
    void *opaque;
} ls_stream_parts;

typedef struct ls_stream_state {
    double seconds[LS_STAGES][LS_TIME_USES]; /* of all threads of each stage together */
    double mean[LS_STAGES][LS_TIME_USES];    /* over the threads that took part */
    uint64_t frames[LS_STAGES];
    struct {
        const char *device; /* as ls_generator_device */
        double seconds[LS_TIME_USES];
        uint64_t frames;
    } generators[LS_STREAM_GENERATORS];
    size_t generator_count;
    double generated;   /* frames' worth of generation that is done, parts of chunks included */
    uint64_t taken;     /* of those, frames whose faces an earlier run had made */
    uint64_t chunk;     /* the first that the networks have, of the whole output */
    size_t step, steps; /* its denoising steps that are done; steps 0: no chunk has started */
    /* Of the frames that are to get a new mouth, in this run: */
    uint64_t with_face, without_face;
    uint64_t hidden[LS_HIDDEN_REASONS]; /* and why it was kept; the first is 0 */
    size_t in_flight;
    ls_queue_fill queue[LS_STREAM_QUEUES];
    int workers;
} ls_stream_state;

typedef struct ls_stream ls_stream;

int ls_stream_open(ls_stream **out, const ls_stream_parts *parts, ls_error *err);
void ls_stream_close(ls_stream **s);

/* Frames [first, end) of the output, in the calling thread, which has the first generator, and
 * others. May be called again with later frames. The first error of any
 * stage ends all of them. */
int ls_stream_run(ls_stream *s, uint64_t first, uint64_t end, ls_error *err);

/* Any thread, at any time. */
void ls_stream_get_state(ls_stream *s, ls_stream_state *state);
/* How many frames may be in flight from now on, at least LS_CHUNK_FRAMES; those in flight
 * stay. Any thread. */
void ls_stream_set_frames(ls_stream *s, size_t frames);

const char *ls_stage_name(int stage);
const char *ls_stream_queue_name(int queue);

#endif
