/* A lip-sync job. */
#ifndef LATENTSYNC_SYNC_H
#define LATENTSYNC_SYNC_H

#include "latentsync/cancel.h"
#include "latentsync/engine.h"
#include "latentsync/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Of the UNet and the VAE. */
enum ls_compute_type {
    LS_COMPUTE_AUTO, /* on a card float16; on the CPU bfloat16 where it has AVX512-BF16 or AMX,
                        otherwise float32 */
    LS_COMPUTE_FLOAT32,
    LS_COMPUTE_BFLOAT16,
    LS_COMPUTE_FLOAT16, /* only cards compute in it, and in no other */
    LS_COMPUTE_INT8 /* products of the UNet in eight bits, on a CPU with AVX512-VNNI; all else is
                       bfloat16 */
};

/* The solver of the denoising steps, as diffusers names it. */
enum ls_sampler_type {
    LS_SAMPLER_AUTO, /* as the quality says */
    LS_SAMPLER_DDIM,
    LS_SAMPLER_DPMPP, /* DPM-Solver++(2M) */
    LS_SAMPLER_UNIPC
};

/* What sampler, steps, cache_interval and guidance_interval are where they are left open. */
enum ls_quality {
    LS_QUALITY_AUTO, /* the original's: DDIM, 20 steps, a cache interval of 3, guidance always */
    LS_QUALITY_FAST,
    LS_QUALITY_BALANCED,
    LS_QUALITY_BEST
};

/* How the windows of 30 s, in which the speech is encoded, follow each other. */
enum ls_audio_windows {
    LS_WINDOWS_OVERLAP, /* by 2 s, in which one fades into the next */
    LS_WINDOWS_EXACT    /* side by side, as the original's */
};

/* What of a face is replaced. */
enum ls_blend {
    LS_BLEND_MASK, /* what the networks repaint, with a soft edge within the mask's border, its
                      colors matched to the frame; all else keeps its pixels */
    LS_BLEND_CROP  /* the whole crop, as the original does */
};

/* What the lips do where there is no speech. */
enum ls_silence {
    LS_SILENCE_CLOSE, /* they hear silence, whatever noise there is */
    LS_SILENCE_LEAVE  /* they hear the noise, as the original's */
};

/* What a stage has done since the start. */
typedef struct ls_progress_stage {
    const char *name;    /* "faces", "decode", "generate", "restore", "encode" */
    double busy_seconds; /* not waiting; the mean where several threads take part */
    uint64_t frames;
} ls_progress_stage;

/* A queue between two stages. */
typedef struct ls_progress_queue {
    const char *name;        /* what its frames are: "cropped", "generated", "restored" */
    size_t items, max_items; /* frames; the limit holds for all queues and stages together */
    size_t bytes;
} ls_progress_queue;

/* What the threads of a stage, or the one that a device has, have done with their time; where
 * several take part, the mean. */
typedef struct ls_progress_time {
    const char *name; /* as a stage's; of a device "cpu", "cuda:0" */
    double busy_seconds;
    double input_seconds; /* waiting for what they work on; 0 where unknown */
    double room_seconds;  /* waiting for later stages to take what is made; likewise */
    uint64_t frames;
} ls_progress_time;

/* Later versions may add members at the end. */
typedef struct ls_progress {
    const char *stage;               /* "prepare", "faces", "frames", "preview", "finish" */
    uint64_t frame, frames;          /* written so far, and in all; frames 0: not known yet */
    uint64_t chunk, chunks;          /* the 16 frames in the networks, from 1; 0: none; the first,
                                        where several devices take part */
    uint64_t step, steps;            /* denoising steps of that chunk that are done */
    double fraction;                 /* of the work, 0 to 1, steps included */
    double frames_per_second;        /* 0 while unknown */
    double seconds_left;             /* 0 while unknown */
    double seconds;                  /* since the start */
    double cpu_percent;              /* of one core, by this process; 0 while unknown */
    uint64_t resident_bytes;         /* of the process */
    uint64_t budget_bytes;           /* that it may hold; 0: not decided yet */
    const ls_progress_stage *stages; /* in their order */
    size_t stage_count;
    const ls_progress_queue *queues;
    size_t queue_count;
    const ls_progress_time *times; /* of the stages, in their order */
    size_t time_count;
    const ls_progress_time *devices; /* that the networks run on */
    size_t device_count;
    double gpu_percent; /* of time that the machine's cards were busy, their mean; -1: unknown */
    uint64_t gpu_bytes, gpu_total_bytes; /* memory in use there, by anyone; total 0: no cards */
} ls_progress;

/* Fields beside `size` and the callbacks are also options (option.h), under the names given there;
 * the defaults are given here. Strings are copied when the job is opened. */
typedef struct ls_sync_settings {
    size_t size;        /* of this struct as the caller knows it */
    const char *models; /* model directory; NULL: the installed one, else the built-in one */
    const char *video, *audio, *output; /* required */
    /* Which face, and where it is. Each string may be NULL. */
    const char *face;       /* "largest", "left", "right", a track's number, or "x,y" in pixels; the
                               choice is kept along a track */
    const char *face_track; /* JSON lines, see docs/FORMATS.md; NULL: detect faces */
    const char *save_track; /* where to write such a file of what was found */
    const char *detector;   /* ONNX file of the detector; NULL: the best in MODELS/face */
    size_t max_gap;         /* 12: longest gap, in frames, to interpolate; 0 to 250 */
    size_t detect_every;    /* 1: run detection on every Nth frame; 1 to 250; 0: as often as
                               the faces move */
    size_t resolution;      /* 0: side of the face image that the model was trained for */
    size_t steps;           /* 0: as the quality says; num_inference_steps */
    float guidance_scale;   /* 0: the model's own, 1.5 where it has none; 1 turns guidance off */
    size_t cache_interval;  /* 0: as the quality says; run the whole UNet every Nth step */
    int64_t seed;           /* 1247; -1: drawn at random, and reported */
    int threads;            /* 0: all cores */
    int compute_type;       /* LS_COMPUTE_AUTO */
    int source_fps;         /* 0: 25 frames/s, the model's own; 1: keep the source's rate,
                               or where that varies the time of every frame */
    const char *video_codec; /* "libx264": an encoder of libavcodec, see ls_encoder_name */
    const char *preset;      /* "medium" */
    int crf;                 /* 18 */
    /* How the job runs; the frames do not depend on it. */
    const char *job;        /* folder of the job; NULL: OUTPUT.lsjob */
    double segment_seconds; /* 0: 9.6 s at 25 frames/s. In whole chunks of 16 frames; each segment
                               starts with a key frame. A kill costs no more than the chunks that
                               the devices are working on, and encoding a segment again */
    int keep_job;           /* 1: keep the folder when the output is complete */
    int restart;            /* 1: remove what an earlier run of the job left, instead of resuming */
    int no_overwrite;       /* 1: fail if the output exists; 0: replace it when complete */
    uint64_t max_memory;    /* bytes that the process may hold; 0: 70 % of what is free */
    const char *stats;      /* NULL, or a file to which a line of JSON is appended every second */
    ls_engine *engine;      /* NULL: the job opens its models itself */
    ls_cancel *cancel;      /* NULL, or what cancels opening and running; outlives the job */
    /* Each may be NULL. Called from any thread of the job, one call at a time, with no lock held: a
     * slow callback delays that thread and what waits to be delivered. It may call
     * ls_cancel_request, though nothing else on this job. What they are given is valid during the
     * call. */
    void (*message)(void *opaque, int level, const char *line);
    void (*progress)(void *opaque, const ls_progress *p);
    void *opaque;
    int video_stream; /* -1: index in `video` of the stream to use; -1 takes the one that moves and
                         lasts (probe.h) */
    int audio_stream; /* -1: likewise of `audio` */
    int trust_job; /* 1: write the output also where a job says that was not begun in this folder */
    int keep_interlaced; /* 0: interlaced frames are deinterlaced; 1: used as they are. Option
                            "deinterlace" */
    size_t min_face; /* 80: height in pixels of the smallest face to use, which is at least 5/8 as
                        wide; 16 to 4096 */
    const char *pixel_format; /* "auto": 4:2:0 of 8 or 10 bits, with transparency where the video
                                 has it and the encoder can; or one that the encoder takes */
    /* What is heard, and what the lips follow. */
    const char *features_from; /* NULL, or a recording of the same length that the lips follow
                                  instead of `audio`, such as the voice without the music */
    double offset;             /* 0: milliseconds by which the speech, and the lips with it, begins
                                  later, after silence; negative: what is left out of its start */
    const char *keep_sound;    /* NULL, or "-20dB": how loud the video's own sound is under the
                                  speech; it starts again whenever the video turns */
    int until_video; /* 0: the output ends with the speech; 1: the rest of a longer video follows,
                        unchanged and with its own sound. Option "until" */
    /* Where the networks run. A member that follows this one must not fit into the padding at the
     * end of an older version. */
    const char *device; /* "auto": the cards, where there are any that hold the job, otherwise the
                           CPU; "cpu", "cuda" or "vulkan": all cards of the first one's model,
                           "cuda:N" or "vulkan:N": one of them; or for each network,
                           "unet=cuda:0,vae=cuda:0,whisper=cpu" */
    uint64_t max_vram;  /* bytes that the job may hold on each card; 0: 90 % of what is free */
    int any_device;     /* 1: resume also on another kind of device than the job was begun on: the
                           frames made here then differ from the others in their last bits */
    const char *guidance_interval; /* NULL: as the quality says; "A:B": guidance is computed from
                                      fraction A of the steps to B, 0 to 1; there is none before,
                                      the last one goes on after; these steps take half the time */
    int sampler;                   /* LS_SAMPLER_AUTO */
    int quality;                   /* LS_QUALITY_AUTO */
    /* The part of the output that is made, in seconds of the whole; its frames are those that the
     * whole has there. */
    double start;        /* 0: where it begins */
    double duration;     /* 0: to the end; how long it is, at most */
    int audio_windows;   /* LS_WINDOWS_OVERLAP */
    int blend;           /* LS_BLEND_MASK */
    const char *sharpen; /* NULL: where the frame is finer than the face image; "0" to "1": how much
                            at most; never beyond the face's own sharpness. LS_BLEND_MASK only */
    int ignore_occlusion; /* 0: where something covers the mouth or the head turns far, the video's
                             own mouth is kept; 1: it is replaced. Option "occlusion" */
    uint64_t weights_cache; /* 10 GiB: bytes that packed weights of all models may take in the
                               user's cache folder, from which a later start maps them; 0: none */
    double preview; /* 0; otherwise only the liveliest so many seconds of the speech are made, in
                       whole chunks of 16 frames, up to 60, and written as OUTPUT with ".preview"
                       before its extension. Their chunks stay in the job's folder: the job itself
                       uses them, if it is run with settings that make the same faces, so with the
                       same quality. For ls_sync_run */
    const char *syncnet; /* of ls_check_video: file of StableSyncNet's or SyncNet's weights; NULL:
                            that of the model directory, if it has one */
    int silence;         /* LS_SILENCE_CLOSE */
    const char *newest_frame; /* NULL, or a file that is replaced, at most once a second, by a JPEG
                                 of the frame finished last, at most 640 pixels wide */
    const char *stream;       /* NULL, or a folder that is made, in which stream.m3u8 lists what is
                                 finished of the output, as HLS, while the rest is made; resuming goes
                                 on with it. For ls_sync_run */
    const char *mark;         /* "metadata": how the output says that AI made the lips: by IPTC's
                                 DigitalSourceType and a comment in the file; "visible": besides in a
                         corner of the picture, as "AI-generated", or "visible=TEXT", in letters of
                         European languages in Latin script; "none": it does not */
} ls_sync_settings;

/* One thread at a time, except where noted. */
typedef struct ls_sync ls_sync;

/* Sets every field to its default; the required strings become NULL. `size` is sizeof *s. */
LS_API void ls_sync_default_settings(ls_sync_settings *s, size_t size);

/* Sets one option by name (option.h, one with LS_OPTION_SYNC or LS_OPTION_RESUME), from text. The
 * text of a string option must outlive *s. LS_ENOENT for an unknown name, LS_EINVAL for a value
 * that is not possible. */
LS_API int ls_sync_set(ls_sync_settings *s, const char *name, const char *value, ls_error *err);

/* Opens inputs and models and checks all there is to check before the work starts. Writes nothing;
 * where an input is a pipe, it is opened and checked by ls_sync_run. On failure *out is NULL.
 * LS_EINVAL for settings, LS_EMODEL for models; for inputs LS_ENOENT, LS_EFORMAT, LS_EUNSUPPORTED
 * or LS_EIO; LS_ECANCELED. */
LS_API int ls_sync_open(ls_sync **out, const ls_sync_settings *s, ls_error *err);

/* Opens a job by its folder, as it was started. Of `s`, which may be NULL, only the fields of
 * options with LS_OPTION_RESUME, the engine, `cancel` and the callbacks are used. */
LS_API int ls_sync_open_job(ls_sync **out, const char *folder, const ls_sync_settings *s,
                            ls_error *err);

/* Runs the job, or the remainder of it, in the calling thread and threads of its own. Once. The
 * output appears under its name only when it is complete; until then finished segments are kept in
 * the job's folder, and running the same job again resumes after them: the output is
 * byte-identical. LS_ENOFACE when there is no face to work on, LS_ENOSPC, LS_ENOMEM, LS_ECANCELED;
 * LS_EBUSY while another process works on it. */
LS_API int ls_sync_run(ls_sync *job, ls_error *err);

/* The pieces of ls_sync_run, for several processes or machines that share the folder. Each is
 * called once, instead of ls_sync_run. Plan makes the folder, finds the faces and returns the
 * number of segments; render makes one segment, 0 to segments - 1, unless it is finished; join
 * writes the output. */
LS_API int ls_sync_plan(ls_sync *job, uint64_t *segments, ls_error *err);
LS_API int ls_sync_render(ls_sync *job, uint64_t segment, ls_error *err);
LS_API int ls_sync_join(ls_sync *job, ls_error *err);

/* What a job has made. Later versions may add members at the end. */
typedef struct ls_sync_summary {
    const char *output;
    uint64_t frames;
    double seconds;            /* length of the output */
    double elapsed_seconds;    /* of this run */
    uint64_t frames_generated; /* by this run; the rest was finished before */
    uint64_t frames_with_face; /* of those */
    uint64_t peak_resident_bytes;
    const char *audio; /* how it got its audio, in words */
    int64_t seed;
    uint64_t frames_covered; /* of frames_generated, those that keep the video's own mouth because
                                something covers it, */
    uint64_t frames_turned;  /* because the head is turned far, */
    uint64_t frames_hidden;  /* and because the face track says so */
    double start;            /* seconds of the whole at which the output begins */
    uint64_t chunks_kept;    /* by a preview, for the whole */
} ls_sync_summary;

/* After ls_sync_run or ls_sync_join has succeeded, otherwise NULL. Belongs to the job. */
LS_API const ls_sync_summary *ls_sync_get_summary(const ls_sync *job);

/* The job's folder, if a job that failed can be resumed; otherwise NULL. Belongs to the job. */
LS_API const char *ls_sync_folder(const ls_sync *job);

/* Sets *job to NULL; takes NULL. Not while the job runs. */
LS_API void ls_sync_close(ls_sync **job);

/* Draws a file of statistics (`stats`) as one self-contained page of HTML: memory and CPU over
 * time, how busy each stage was, how full the queues. The last line may be cut off, as a killed run
 * leaves it. `html` appears when it is complete, and replaces a file of that name. */
LS_API int ls_report_write(const char *stats, const char *html, ls_error *err);

#ifdef __cplusplus
}
#endif
#endif
