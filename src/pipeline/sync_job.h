/* The inside of a job: what its files share. */
#ifndef LS_PIPELINE_SYNC_JOB_H
#define LS_PIPELINE_SYNC_JOB_H

#include "backend/team.h"
#include "latentsync/sync.h"
#include "media/pcm.h"
#include "media/hls.h"
#include "media/label.h"
#include "media/segment.h"
#include "media/snapshot.h"
#include "pipeline/budget.h"
#include "pipeline/calibration.h"
#include "pipeline/engine.h"
#include "pipeline/job_folder.h"
#include "pipeline/device_choice.h"
#include "pipeline/progress.h"

#include <limits.h>

/* A job of which only the first frames are made, to see what they take. */
typedef struct ls_sync_sample {
    uint64_t most; /* frames to make */
    bool counts;   /* the networks are counted instead of run, however small they are */
    /* what was found: */
    uint64_t frames;      /* of the whole output, */
    double seconds;       /* which lasts so long */
    uint64_t chunk_bytes; /* that its folder holds at most of chunks */
    uint64_t video_frames;
    bool searches;     /* for faces */
    int cores;         /* of the networks on the CPU */
    int compute_type;  /* an ls_compute_type */
    uint64_t budget;   /* of memory */
    uint64_t searched; /* frames of the video in which faces were sought, */
    double searching;  /* and the seconds of it */
    uint64_t made_bytes;
    ls_budget_memory memory;
    bool counted;         /* the networks were counted, as asked for or because they are large */
    ls_work unet, others; /* of all its chunks, in the UNet and in the other networks */
    char device[sizeof((ls_device_info *)0)->name]; /* of the UNet */
    ls_dtype dtype; /* of the UNet; where that is LS_I8, of the others LS_BF16 */
} ls_sync_sample;

/* As job.json has it. */
typedef struct ls_sync_plan_facts {
    uint64_t frames, segments, segment_frames;
} ls_sync_plan_facts;

struct ls_sync {
    ls_sync_settings s;
    ls_events *events;
    ls_log log;
    ls_cancel cancel, end_faces; /* the user's token above the first, the first above the second */
    ls_engine *engine, *own_engine;
    ls_quiet *quiet; /* while it runs */
    ls_device_choice devices;
    bool free_device;                             /* it was left to us */
    char why_cpu[sizeof((ls_error *)0)->message]; /* not a card; empty: as was asked for */
    ls_models *models[LS_CARDS_MAX];              /* one for each card */
    size_t model_count;
    ls_pingpong *source; /* NULL until ls_sync_run where an input is a pipe */
    ls_face_feed *faces;
    ls_pcm *pcm;
    ls_log_mel *mel;
    ls_features *features;
    ls_generator *generators[LS_CARDS_MAX]; /* one for each of `models` */
    ls_stream *stream;
    ls_job_folder *folder;
    bool exists;           /* it is as its folder describes it */
    char *target;          /* what is written: the output, or a preview */
    bool started;          /* the folder is this job's */
    bool is_foreign;       /* the settings are those of a folder that was not begun there */
    const char *resumable; /* s.job, if the folder is there to resume */
    ls_sound_facts sound;  /* of the speech */
    bool has_sound;        /* the video, where that matters */
    ls_stream_span span;
    uint64_t segment_frames;
    uint64_t first, end;     /* frames of the whole that are made: all, or a part */
    uint64_t first_segment;  /* of the whole: segment 0 of the job */
    ls_sync_plan_facts plan; /* of the job; a preview makes something else */
    ls_budget_choice choice;
    bool free_type; /* the number type was left to us */
    ls_job_progress progress;
    ls_sync_sample *sample; /* NULL: all of the job is made */
    ls_sync_summary summary;
    bool complete;
    char audio[64]; /* of the summary */
    /* of the thread that encodes */
    ls_segment *segment;
    char segment_path[PATH_MAX];
    ls_segment_info preview; /* its only segment */
    ls_label *label;         /* NULL: not wanted */
    ls_snapshot *snapshot;   /* NULL: not wanted, or it cannot be written */
    ls_hls *hls;             /* likewise */
    uint64_t streamed;       /* segments that it was given */
    /* of the thread that detects faces */
    char track_path[PATH_MAX], index_path[PATH_MAX]; /* empty: not to be written */
    ls_error faces_err;
};

/* Where a segment of the job begins and ends in the whole, and how many frames it has. */
uint64_t ls_sync_segment_begin(const ls_sync *job, uint64_t segment);
uint64_t ls_sync_segment_end(const ls_sync *job, uint64_t segment);
uint64_t ls_sync_segment_length(const ls_sync *job, uint64_t segment);
/* The file of the segment: of the job, or of its preview. Valid until the folder names another. */
const char *ls_sync_segment_file(const ls_sync *job, uint64_t segment);
/* When a frame of the whole is due. */
double ls_sync_seconds_at(const ls_sync *job, uint64_t frame);
ls_encoding ls_sync_encoding(const ls_sync *job);
ls_generator_settings ls_sync_generator_settings(const ls_sync *job);
/* Of the output, but for the delay. `e` must outlive what they are used for. */
ls_join_settings ls_sync_join_settings(const ls_sync *job, const ls_encoding *e);

/* Whether a path is there, but not a file that can be read more than once. */
bool ls_sync_is_stream(const char *path);
/* Opens video and audio, and checks what was chosen of them and the output. */
int ls_sync_open_inputs(ls_sync *job, ls_error *err);
/* Chooses the devices and the number type: what is asked for, else what the job was begun with, by
 * its description, which may be NULL, and with the type `was`; else what suits the machine. */
int ls_sync_choose_device(ls_sync *job, const json_t *description, int was, ls_error *err);
/* Borrows the models for the devices and the compute type that are set now, instead of those that
 * the job had; returns them, and closes those that no other job may want. */
int ls_sync_borrow_models(ls_sync *job, ls_error *err);
/* `ret` and `err` are of an attempt to use the chosen devices: where it failed, and they were left
 * to us, takes the CPU instead; otherwise returns `ret`. */
int ls_sync_use_cpu(ls_sync *job, int ret, ls_error *err);
void ls_sync_return_models(ls_sync *job);
/* Closes what the output is made of: joining needs little memory. */
void ls_sync_close_parts(ls_sync *job);

/* Begins the stream with what is finished; adds what has been finished since, if nothing before it
 * is missing. */
int ls_sync_open_live(ls_sync *job, ls_error *err);
int ls_sync_extend_live(ls_sync *job, ls_error *err);

/* Renders segments [from, to) that are not finished, detecting faces meanwhile if need be. */
int ls_sync_render_segments(ls_sync *job, uint64_t from, uint64_t to, ls_error *err);
/* Finds out what there is to do, and does nothing of it, with `count` settings, of which the first
 * are the job's and the others differ in quality alone: each has a sample. Once, instead of
 * ls_sync_run. */
int ls_sync_survey(ls_sync *job, const ls_sync_settings *each, ls_sync_sample *samples,
                   size_t count, ls_error *err);
/* Only detects the faces. */
int ls_sync_plan_faces(ls_sync *job, ls_error *err);

/* Makes one segment of the job, the preview, once all of it is known but the faces that have to be
 * detected. */
int ls_sync_choose_preview(ls_sync *job, ls_error *err);
/* Where nothing but previews are made, chunks of an earlier one go. */
void ls_sync_drop_other_chunks(ls_sync *job);

#endif
