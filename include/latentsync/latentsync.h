/* LatentSync: a video of a person talking and a recording of speech in, the video with the lips
 * moving to the speech out. Memory does not depend on the length of the video.
 *
 * One job:
 *     ls_sync_settings s;
 *     ls_sync_default_settings(&s);
 *     s.models = "models"; s.video = "in.mp4"; s.audio = "speech.wav"; s.output = "out.mp4";
 *     ls_sync *job;
 *     ls_error err;
 *     if (ls_sync_open(&job, &s, &err) || ls_sync_run(job, &err))
 *         fprintf(stderr, "%s\n", err.message);
 *     ls_sync_close(&job);
 *
 * Jobs share nothing: several may run in one process. */
#ifndef LATENTSYNC_LATENTSYNC_H
#define LATENTSYNC_LATENTSYNC_H

#include "latentsync/cancel.h"
#include "latentsync/common.h"
#include "latentsync/error.h"
#include "latentsync/version.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ls_compute_type {
    LS_COMPUTE_AUTO, /* bfloat16 where the CPU has AVX512-BF16 or AMX, otherwise float32 */
    LS_COMPUTE_FLOAT32,
    LS_COMPUTE_BFLOAT16
};

/* What a stage has done since the start. */
typedef struct ls_progress_stage {
    const char *name;    /* "faces", "decode", "generate", "restore", "encode" */
    double busy_seconds; /* not waiting; of several threads the mean */
    uint64_t frames;
} ls_progress_stage;

/* A queue between two stages. */
typedef struct ls_progress_queue {
    const char *name; /* after what the frames in it are: "cropped", "generated", "restored" */
    size_t items, max_items; /* frames; max_items may be in all queues and stages together */
    size_t bytes;
} ls_progress_queue;

typedef struct ls_progress {
    const char *stage;                      /* "prepare", "frames" or "finish" */
    uint64_t frame, frames;                 /* written so far, and in all */
    double frames_per_second, seconds_left; /* 0 while unknown */
    uint64_t resident_bytes;                /* of the process */
    uint64_t budget_bytes;                  /* that it may hold; 0: not decided yet */
    double cpu_percent;                     /* of one core */
    ls_progress_stage stages[5];            /* in their order; name NULL: none */
    ls_progress_queue queues[3];
} ls_progress;

/* Strings are copied by ls_sync_open. */
typedef struct ls_sync_settings {
    const char *models; /* model directory; NULL: the one that is installed, or the built-in one */
    const char *video, *audio, *output; /* required */
    /* Which face, and where it is. Each string may be NULL. */
    const char *face;        /* "largest": or "left", "right", a track's number, or "x,y" in pixels;
                                the choice is kept along a track */
    const char *face_track;  /* JSON lines, see docs/ARCHITECTURE.md; NULL: faces are looked for */
    const char *save_track;  /* where to write such a file of what was found */
    const char *detector;    /* ONNX file of the detector; NULL: the best in MODELS/face */
    size_t max_gap;          /* 12: frames without the face that are interpolated, 0 to 250 */
    size_t detect_every;     /* 1: of so many frames one is looked at, 1 to 250 */
    size_t resolution;       /* 0: side of the face picture that the model was trained for */
    size_t steps;            /* 20: num_inference_steps */
    float guidance_scale;    /* 0: the model's own, 1.5 where it has none; guidance runs above 1 */
    size_t cache_interval;   /* 3: every how many steps the whole UNet runs; 1: always */
    uint64_t seed;           /* 1247 */
    int threads;             /* 0: all cores */
    int compute_type;        /* LS_COMPUTE_AUTO */
    int source_fps;          /* 0: 25 frames/s, the model's own; 1: keep the source's rate */
    const char *video_codec; /* "libx264": an encoder of libavcodec */
    const char *preset;      /* "medium" */
    int crf;                 /* 18 */
    /* How the job runs; the frames do not depend on it. */
    const char *job;        /* folder of the job; NULL: OUTPUT.lsjob */
    double segment_seconds; /* 0: 9.6 s at 25 frames/s. The unit of what is finished, in whole
                               chunks of 16 frames; each begins with a key frame */
    int keep_job;           /* 0: the folder is removed when the output is complete */
    uint64_t max_memory;    /* bytes that the process may hold; 0: 70 % of what is free */
    const char *stats;      /* NULL, or a file that gets a line of JSON every second */
    /* Each may be NULL; called from the job's threads with `opaque`, one call at a time. */
    void (*message)(void *opaque, int level, const char *line);
    void (*progress)(void *opaque, const ls_progress *p);
    void *opaque;
} ls_sync_settings;

typedef struct ls_sync ls_sync;

/* Fills every field with the default given beside it; the required strings become NULL. */
void ls_sync_default_settings(ls_sync_settings *s);

/* Opens inputs and models and checks all there is to check before the work starts; nothing is
 * written yet. On failure *out is NULL and err says what, where and what to do. */
int ls_sync_open(ls_sync **out, const ls_sync_settings *s, ls_error *err);

/* Opens a job by its folder, as it was begun. Of `s`, which may be NULL, counts only how it runs:
 * threads, keep_job, max_memory, stats, message, progress and opaque. */
int ls_sync_open_job(ls_sync **out, const char *folder, const ls_sync_settings *s, ls_error *err);

/* Does the job, or what is left of it, in the calling thread and threads of its own. Once. The
 * output appears under its name only when it is complete; until then segments of it that are
 * finished stay in the job's folder, and running the same job again goes on after them, to the same
 * bytes. LS_ECANCELED after ls_sync_cancel; LS_EBUSY while another process works on it. */
int ls_sync_run(ls_sync *job, ls_error *err);

/* The pieces of ls_sync_run, for several processes or machines that share the folder. Each is
 * called once, instead of ls_sync_run. Plan makes the folder, looks for the faces and tells the
 * number of segments; render makes one segment, 0 to segments - 1, unless it is finished; join
 * makes the output of all. */
int ls_sync_plan(ls_sync *job, uint64_t *segments, ls_error *err);
int ls_sync_render(ls_sync *job, uint64_t segment, ls_error *err);
int ls_sync_join(ls_sync *job, ls_error *err);

/* The folder of the job if it is there to go on with after a failure, otherwise NULL. */
const char *ls_sync_folder(const ls_sync *job);

/* Asks a running job to stop, from any thread or a signal handler. */
void ls_sync_cancel(ls_sync *job);

/* Sets *job to NULL; takes NULL. Not while ls_sync_run is running. */
void ls_sync_close(ls_sync **job);

/* Listing the faces of a video. Strings are copied by ls_faces_open. */
typedef struct ls_faces_settings {
    const char *video;    /* required */
    const char *models;   /* model directory; its folder face/ is all that is needed. NULL: the
                             installed one, unless there is a detector */
    const char *detector; /* ONNX file of the detector; NULL: the best in MODELS/face */
    const char *preview;  /* NULL, or a folder for a picture of each track */
    size_t max_gap;       /* 12: frames without the face that are interpolated, 0 to 250 */
    size_t detect_every;  /* 1: of so many frames one is looked at, 1 to 250 */
    int source_fps;       /* 0: frames of the 25 frames/s that sync works on; 1: the source's */
    int threads;          /* 0: all cores */
    /* NULL, or takes the file that sync reads as a face track: whole lines, in order, from
     * ls_faces_run. 0, or LS_EIO to end the run. */
    int (*line)(void *opaque, const char *line, size_t bytes);
    void (*message)(void *opaque, int level, const char *line);
    void (*progress)(void *opaque, const ls_progress *p);
    void *opaque;
} ls_faces_settings;

/* One face as it is followed through the video. */
typedef struct ls_faces_track {
    uint32_t id; /* what ls_sync_settings.face may name */
    int64_t first, last;
    uint64_t frames;      /* that show it */
    double share;         /* of all frames of the video, 0 to 1 */
    double box[4], score; /* means; box: left, top, right, bottom in pixels */
} ls_faces_track;

typedef struct ls_faces ls_faces;

void ls_faces_default_settings(ls_faces_settings *s);
/* As ls_sync_open, _run, _cancel and _close. */
int ls_faces_open(ls_faces **out, const ls_faces_settings *s, ls_error *err);
int ls_faces_run(ls_faces *job, ls_error *err);
void ls_faces_cancel(ls_faces *job);
void ls_faces_close(ls_faces **job);

/* After a run: frames looked at; the tracks by first appearance, 0 past the last. */
uint64_t ls_faces_frames(const ls_faces *job);
int ls_faces_get_track(const ls_faces *job, size_t index, ls_faces_track *track);

/* Draws a file of statistics, JSON lines, as a page of HTML that needs nothing else: memory and CPU
 * over time, how busy each stage was and how full the queues. The last line may be cut off, as a
 * killed run leaves it. `html` appears when it is complete, over a file of that name. */
int ls_report_write(const char *stats, const char *html, ls_error *err);

#ifdef __cplusplus
}
#endif
#endif
