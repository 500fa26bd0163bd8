/* A job from its folder to its output: plan, render what is missing, join. */
#include "latentsync/sync.h"
#include "backend/backend.h"
#include "base/alloc.h"
#include "base/output.h"
#include "base/system.h"
#include "base/time.h"
#include "media/join.h"
#include "media/pcm.h"
#include "pipeline/budget.h"
#include "pipeline/describe.h"
#include "pipeline/engine.h"
#include "pipeline/job_folder.h"
#include "pipeline/options.h"
#include "pipeline/progress.h"
#include "pipeline/watch.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define DECODER_THREADS 2
#define SEGMENT_CHUNKS 15 /* 9.6 s: a key frame that often costs few bits */
#define MANY_SEGMENTS 4096
#define FEW_STEPS 5
#define HIGH_GUIDANCE 8.0f

struct ls_sync {
    ls_sync_settings s;
    ls_events *events;
    ls_log log;
    ls_cancel cancel, end_faces; /* the user's token above the first, the first above the second */
    ls_engine *engine, *own_engine;
    ls_models *models;
    ls_pingpong *source; /* NULL until ls_sync_run where an input is a pipe */
    ls_face_feed *faces;
    ls_pcm *pcm;
    ls_log_mel *mel;
    ls_features *features;
    ls_generator *generator;
    ls_stream *stream;
    ls_job_folder *folder;
    bool started;          /* the folder is this job's */
    const char *resumable; /* s.job, if the folder is there to resume */
    uint64_t frames, segment_frames;
    ls_budget_choice choice;
    bool free_type; /* the number type was left to us */
    ls_job_progress progress;
    ls_sync_summary summary;
    bool complete;
    char audio[64]; /* of the summary */
    /* of the thread that encodes */
    ls_segment *segment;
    char segment_path[PATH_MAX];
    /* of the thread that detects faces */
    char track_path[PATH_MAX], index_path[PATH_MAX]; /* empty: not to be written */
    ls_error faces_err;
};

static void narrow(void *opaque, size_t frames)
{
    ls_sync *job = opaque;
    ls_job_progress_set_in_flight(&job->progress, frames);
    ls_stream_set_frames(job->stream, frames);
}

static uint64_t segment_end(const ls_sync *job, uint64_t segment)
{
    const uint64_t end = (segment + 1) * job->segment_frames;
    return end < job->frames ? end : job->frames;
}

static uint64_t segment_length(const ls_sync *job, uint64_t segment)
{
    return segment_end(job, segment) - segment * job->segment_frames;
}

static ls_encoding encoding_of(const ls_sync *job)
{
    return (ls_encoding){job->s.video_codec, job->s.preset, job->s.crf,
                         ls_pingpong_video(job->source)};
}

/* The next frame of the output, to its segment. */
static int encode(void *opaque, uint64_t index, const ls_frame *f, ls_error *err)
{
    ls_sync *job = opaque;
    const uint64_t k = index / job->segment_frames;
    const ls_encoding e = encoding_of(job);
    ls_segment_info info;
    int ret = 0;
    if (!job->segment) {
        snprintf(job->segment_path, sizeof job->segment_path, "%s",
                 ls_job_folder_segment(job->folder, k));
        ls_output_remove_stale(job->segment_path);
        ret = ls_segment_open(&job->segment, job->segment_path, &e, err);
    }
    if (!ret)
        ret = ls_segment_write(job->segment, f, err);
    if (!ret && index + 1 == segment_end(job, k)) {
        ret = ls_segment_finish(job->segment, &info, err);
        ls_segment_close(&job->segment);
        if (!ret)
            ret = ls_job_folder_record(job->folder, k, &info, err);
    }
    ls_job_progress_count_frame(&job->progress);
    return ret;
}

static void *run_faces(void *opaque)
{
    ls_sync *job = opaque;
    const char *track = *job->track_path ? job->track_path : NULL,
               *index = *job->index_path ? job->index_path : NULL;
    int ret = ls_face_feed_run(job->faces, job->s.save_track ? 0 : job->frames, track, index,
                               &job->end_faces, &job->faces_err);
    if (ret)
        ls_face_path_finish(ls_face_feed_path(job->faces), 0, job->faces_err.code = ret);
    return NULL;
}

/* Segments [from, to) that are not finished, in runs without a gap. */
static int run_segments(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    int ret = 0;
    for (uint64_t k = from; !ret && k < to;) {
        uint64_t end = k;
        while (end < to && !ls_job_folder_finished(job->folder, end))
            end++;
        if (end > k)
            ret =
                ls_stream_run(job->stream, k * job->segment_frames, segment_end(job, end - 1), err);
        k = end + 1;
    }
    return ret;
}

/* The same in parallel with face detection, where faces are detected. */
static int run_stages(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    pthread_t faces;
    const bool search = ls_face_feed_runs(job->faces);
    ls_job_progress_start_frames(&job->progress);
    if (search && pthread_create(&faces, NULL, run_faces, job))
        return ls_fail(err, LS_ENOMEM, "cannot start a thread");
    int ret = run_segments(job, from, to, err);
    if (ret)
        ls_cancel_request(&job->end_faces);
    if (search)
        pthread_join(faces, NULL);
    const bool own = job->faces_err.code && !(ret && job->faces_err.code == LS_ECANCELED);
    if (own && err)
        *err = job->faces_err;
    if (own && job->faces_err.code == LS_ENOFACE)
        ls_job_folder_keep(job->folder, false); // segments without a face are of no use
    else if (search && !job->faces_err.code && *job->track_path)
        ls_job_folder_keep(job->folder, true); // the faces need not be detected again
    return own ? job->faces_err.code : ret;
}

static int read_pcm(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    return ls_pcm_read(opaque, start, n, dst, err);
}

/* How long the output will be. */
static int open_speech(ls_sync *job, ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    const double fps = (double)v->fps_num / v->fps_den;
    int ret = ls_pcm_open(&job->pcm, job->s.audio, job->s.job, &job->cancel, err);
    ls_pcm_source pcm = {job->pcm ? ls_pcm_samples(job->pcm) : 0, read_pcm, job->pcm};
    if (!ret) {
        ret = ls_log_mel_open(&job->mel, &pcm, &job->cancel, err);
        if (ret && ret != LS_ECANCELED)
            ls_fail_context(err, ret, "%s", job->s.audio);
    }
    if (!ret)
        ret = ls_features_open(&job->features, job->models->whisper, job->mel, fps, err);
    if (ret)
        return ret;
    job->frames = ls_features_frames(job->features);
    const uint64_t chunks = (job->frames + LS_CHUNK_FRAMES - 1) / LS_CHUNK_FRAMES;
    uint64_t each = job->s.segment_seconds > 0
                        ? (uint64_t)(job->s.segment_seconds * fps / LS_CHUNK_FRAMES + 0.5)
                        : SEGMENT_CHUNKS;
    if (job->s.segment_seconds <= 0 && each * MANY_SEGMENTS < chunks)
        each = (chunks + MANY_SEGMENTS - 1) / MANY_SEGMENTS;
    job->segment_frames = (each ? each : 1) * LS_CHUNK_FRAMES;
    ls_log_msg(&job->log, LS_LOG_INFO, "%.2f s of speech: %llu frames of %zu x %zu at %.6g/s",
               (double)pcm.samples / LS_PCM_RATE, (unsigned long long)job->frames, v->width,
               v->height, fps);
    return 0;
}

static int open_faces(ls_sync *job, bool whole, ls_error *err)
{
    const char *kept = ls_job_folder_file(job->folder, "faces.jsonl"), *track = job->s.face_track;
    if (!track && !access(kept, F_OK))
        track = kept;
    else if (!track && whole)
        snprintf(job->track_path, sizeof job->track_path, "%s", kept);
    int ret = ls_face_feed_open(&job->faces, &job->s, track,
                                ls_video_get_info(ls_pingpong_video(job->source)), job->s.job,
                                &job->log, err);
    const char *index = ls_job_folder_file(job->folder, "video.index");
    const bool known = !ret && !access(index, F_OK) &&
                       !ls_video_load_index(ls_pingpong_video(job->source), index, NULL);
    if (!known && whole)
        snprintf(job->index_path, sizeof job->index_path, "%s", index);
    return ret;
}

static int describe(ls_sync *job, ls_error *err)
{
    const ls_job_facts facts = {.settings = &job->s,
                                .models = job->models,
                                .faces = job->faces,
                                .video = ls_video_get_info(ls_pingpong_video(job->source)),
                                .frames = job->frames,
                                .segment_frames = job->segment_frames};
    json_t *d;
    int ret = ls_describe_job(&d, &facts, err);
    return ret ? ret : ls_job_folder_describe(job->folder, d, err);
}

static ls_generator_settings generator_settings(const ls_sync *job)
{
    return (ls_generator_settings){.resolution = job->s.resolution,
                                   .sampler = {.steps = job->s.steps,
                                               .guidance_scale = job->s.guidance_scale,
                                               .cache_interval = job->s.cache_interval,
                                               .split_guidance = job->choice.split_guidance},
                                   .seed = (uint64_t)job->s.seed,
                                   .vae_frames = job->choice.vae_frames};
}

/* Returns the models; those that no other job may want are closed. */
static void close_models(ls_sync *job)
{
    if (job->engine)
        ls_engine_return(job->engine, &job->models);
    if (job->own_engine)
        ls_engine_trim(job->own_engine);
}

static int open_models(ls_sync *job, ls_error *err)
{
    const ls_model_request r = {job->s.models,
                                job->s.compute_type == LS_COMPUTE_BFLOAT16 ? LS_BF16 : LS_F32,
                                job->s.threads};
    close_models(job);
    int ret = ls_engine_borrow(job->engine, &r, &job->models, err);
    return ret && ret != LS_ENOMEM ? ls_advise(err, LS_EMODEL, LS_HINT_MODEL_DIRECTORY, "models")
                                   : ret;
}

/* Chooses how to run, before anything large is read. Where the number type is free, the smaller one
 * is better than none. */
static int plan_memory(ls_sync *job, ls_error *err)
{
    ls_cpu cpu;
    ls_budget_memory memory;
    ls_cpu_detect(&cpu, "");
    const uint64_t budget =
        job->s.max_memory ? job->s.max_memory : ls_budget_default() + ls_models_packed(job->models);
    ls_budget_job b = {.models = job->models,
                       .settings = generator_settings(job),
                       .video = ls_video_get_info(ls_pingpong_video(job->source)),
                       .video_codec = job->s.video_codec,
                       .detects = !job->s.face_track,
                       .cores = job->s.threads ? job->s.threads : cpu.cores};
    job->progress.budget = budget;
    int ret = ls_budget_choose(&job->choice, &memory, &b, budget, err);
    if (ret == LS_ENOMEM && job->free_type && job->s.compute_type == LS_COMPUTE_FLOAT32) {
        job->s.compute_type = LS_COMPUTE_BFLOAT16;
        ret = open_models(job, err);
        b.models = job->models;
        if (!ret)
            ret = ls_budget_choose(&job->choice, &memory, &b, budget, err);
    }
    if (!ret)
        ls_budget_report(&job->choice, &memory, budget,
                         job->s.compute_type == LS_COMPUTE_BFLOAT16 ? "bfloat16" : "float32",
                         &job->log);
    return ret;
}

static bool is_stream(const char *path)
{
    struct stat st;
    return !stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
}

/* Inputs are read more than once, so a pipe's bytes are kept in the job's folder. */
static int keep_stream(ls_sync *job, const char *name, const char **path, ls_error *err)
{
    if (!is_stream(*path))
        return 0;
    const char *kept = ls_job_folder_file(job->folder, name);
    ls_log_msg(&job->log, LS_LOG_INFO, "%s is not a regular file; buffering it in %s", *path, kept);
    int ret = ls_output_copy(*path, kept, &job->cancel, err);
    return ret ? ret : ls_settings_replace(path, ls_job_folder_file(job->folder, name), err);
}

/* Whether the chosen point lies in the picture. */
static int check_face(const ls_sync *job, ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    ls_choice c;
    if (!ls_choice_parse(&c, job->s.face) || c.kind != LS_CHOOSE_POINT ||
        (c.x >= 0 && c.y >= 0 && c.x < (double)v->width && c.y < (double)v->height))
        return 0;
    return ls_advise(err,
                     ls_fail(err, LS_EINVAL,
                             "face: the point %s lies outside the picture, which is %zu x %zu",
                             job->s.face, v->width, v->height),
                     LS_HINT_NONE, "face");
}

static int open_inputs(ls_sync *job, ls_error *err)
{
    ls_video *video = NULL;
    const ls_video_settings v = {DECODER_THREADS, job->s.source_fps, &job->log, &job->cancel};
    int ret = ls_video_open(&video, job->s.video, &v, err);
    if (!ret)
        ret = ls_pingpong_open(&job->source, &video, 0, job->s.job, err);
    if (!ret)
        ret = check_face(job, err);
    if (!ret && job->s.face_track)
        ret = ls_face_feed_check_track(job->s.face_track, job->s.video,
                                       ls_video_get_info(ls_pingpong_video(job->source)),
                                       &job->cancel, err);
    if (ret)
        return ret;
    const ls_encoding like = encoding_of(job);
    const ls_join_settings s = {
        .path = job->s.output, .audio = job->s.audio, .encoding = &like, .log = &job->log};
    return ls_join_check(&s, err);
}

static int open_folder(ls_sync *job, ls_job_folder_mode mode, int64_t segment, ls_error *err)
{
    if (mode == LS_JOB_CREATE && job->s.restart)
        mode = LS_JOB_RESTART;
    int ret = ls_job_folder_open(&job->folder, job->s.job, mode, segment, &job->log, err);
    if (ret || job->source)
        return ret;
    ret = keep_stream(job, "video", &job->s.video, err);
    if (!ret)
        ret = keep_stream(job, "audio", &job->s.audio, err);
    return ret ? ret : open_inputs(job, err);
}

/* Takes the folder, or a segment of it, and brings it and what was opened together. */
static int start(ls_sync *job, ls_job_folder_mode mode, int64_t segment, bool renders,
                 ls_error *err)
{
    uint64_t found = 0;
    ls_job_progress_enter(&job->progress, "prepare");
    int ret = open_folder(job, mode, segment, err);
    if (!ret && renders)
        ret = plan_memory(job, err);
    if (!ret)
        ret = open_speech(job, err);
    if (!ret)
        ret = open_faces(job, segment == LS_JOB_ALL, err);
    if (!ret)
        ret = describe(job, err);
    if (!ret)
        ret = ls_job_folder_read_journal(job->folder, segment, &job->cancel, err);
    if (ret)
        return ret;
    for (uint64_t k = 0; k < ls_job_folder_segments(job->folder); k++)
        if (ls_job_folder_finished(job->folder, k))
            found += segment_length(job, k);
    ls_job_progress_set_goal(&job->progress, job->frames, found);
    job->started = true;
    return 0;
}

/* Where the time of the networks went. */
static void log_ops(ls_sync *job)
{
    struct {
        const char *name;
        ls_network *net;
    } nets[] = {{"UNet", ls_unet_network(job->models->unet)},
                {"VAE", ls_vae_network(job->models->vae)},
                {"Whisper", ls_whisper_network(job->models->whisper)}};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        double seconds[LS_OP_COUNT] = {0};
        ls_network_op_seconds(nets[i].net, seconds);
        for (int op = 0; op < LS_OP_COUNT; op++)
            if (seconds[op] > 0.01)
                ls_log_msg(&job->log, LS_LOG_DEBUG, "%s %s: %.2f s", nets[i].name, ls_op_name(op),
                           seconds[op]);
    }
}

static int open_watch(ls_watch **watch, ls_sync *job, ls_error *err)
{
    const ls_watch_settings w = {.stats = job->s.stats,
                                 .budget = job->progress.budget,
                                 .least = LS_CHUNK_FRAMES,
                                 .frames = job->choice.frames,
                                 .log = &job->log,
                                 .look = ls_job_progress_look,
                                 .report = ls_job_progress_report,
                                 .progress = &job->progress,
                                 .narrow = job->stream ? narrow : NULL,
                                 .opaque = job};
    return ls_watch_open(watch, &w, err);
}

static void close_watch(ls_watch **watch, ls_sync *job)
{
    ls_error err;
    if (ls_watch_close(watch, &err))
        ls_log_msg(&job->log, LS_LOG_WARN, "%s; statistics are no longer written", err.message);
}

static void note_faces(ls_sync *job, bool succeeded)
{
    ls_stream_state state;
    ls_stream_get_state(job->stream, &state);
    const uint64_t frames = state.frames[LS_STAGE_GENERATE];
    job->summary.frames_generated = frames;
    job->summary.frames_with_face = frames - state.without_face;
    if (succeeded && state.without_face)
        ls_log_msg(&job->log, LS_LOG_WARN, "no face in %llu of %llu frames; those are unchanged",
                   (unsigned long long)state.without_face, (unsigned long long)frames);
}

/* Segments [from, to) that are not finished. */
static int render(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    const ls_generator_settings g = generator_settings(job);
    ls_watch *watch = NULL;
    ls_job_progress_set_in_flight(&job->progress, job->choice.frames);
    ls_pingpong_set_window(job->source, job->choice.window_bytes);
    int ret = ls_generator_open(&job->generator, job->models, job->features, &g, err);
    if (!ret)
        ret = ls_generator_prepare(
            job->generator, job->frames < LS_CHUNK_FRAMES ? job->frames : LS_CHUNK_FRAMES, err);
    const ls_stream_parts parts = {.source = job->source,
                                   .path = ls_face_feed_path(job->faces),
                                   .generator = job->generator,
                                   .resolution = job->s.resolution,
                                   .frames = job->choice.frames,
                                   .workers = job->choice.workers,
                                   .cancel = &job->cancel,
                                   .log = &job->log,
                                   .encode = encode,
                                   .opaque = job};
    if (!ret)
        ret = ls_stream_open(&job->stream, &parts, err);
    if (ret)
        return ret;
    job->progress.stream = job->stream;
    job->progress.faces = ls_face_feed_runs(job->faces) ? job->faces : NULL;
    ls_job_progress_enter(&job->progress, "frames");
    ret = open_watch(&watch, job, err);
    if (!ret)
        ret = run_stages(job, from, to, err);
    close_watch(&watch, job);
    job->progress.stream = NULL;
    job->progress.faces = NULL;
    log_ops(job);
    note_faces(job, !ret);
    return ret;
}

/* What the output is made of; all of it gone, joining needs little memory. */
static void close_parts(ls_sync *job)
{
    ls_segment_close(&job->segment);
    ls_stream_close(&job->stream);
    ls_generator_close(&job->generator);
    ls_features_close(&job->features);
    ls_log_mel_close(&job->mel);
    ls_pcm_close(&job->pcm);
    close_models(job);
    ls_face_feed_close(&job->faces);
}

static int check_finished(ls_sync *job, ls_error *err)
{
    const uint64_t n = ls_job_folder_segments(job->folder),
                   missing = n - ls_job_folder_count_finished(job->folder);
    uint64_t k = 0;
    while (k < n && ls_job_folder_finished(job->folder, k))
        k++;
    return k == n ? 0
                  : ls_advise(err,
                              ls_fail(err, LS_EINVAL,
                                      "%llu of the %llu segments of %s are not finished; the first "
                                      "is %llu",
                                      (unsigned long long)missing, (unsigned long long)n,
                                      job->s.job, (unsigned long long)k),
                              LS_HINT_RENDER_MISSING, NULL);
}

static void summarize(ls_sync *job, const char *audio)
{
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    snprintf(job->audio, sizeof job->audio, "%s", audio);
    job->summary.output = job->s.output;
    job->summary.frames = job->frames;
    job->summary.seconds = (double)job->frames * v->fps_den / v->fps_num;
    job->summary.audio = job->audio;
    job->summary.seed = job->s.seed;
    job->complete = true;
}

static int join(ls_sync *job, ls_error *err)
{
    const ls_encoding e = encoding_of(job);
    ls_join_settings s = {
        .path = job->s.output, .audio = job->s.audio, .encoding = &e, .log = &job->log};
    ls_join *out = NULL;
    const uint64_t n = ls_job_folder_segments(job->folder);
    ls_job_progress_enter(&job->progress, "finish");
    int ret = check_finished(job, err);
    for (uint64_t k = 0; !ret && k < n; k++) {
        const uint64_t delay = ls_job_folder_finished(job->folder, k)->delay;
        s.delay = s.delay > delay ? s.delay : delay;
    }
    if (!ret) {
        ls_output_remove_stale(job->s.output);
        ret = ls_join_open(&out, &s, err);
    }
    for (uint64_t k = 0; !ret && k < n; k++)
        ret = ls_join_add(out, ls_job_folder_segment(job->folder, k), segment_length(job, k),
                          &job->cancel, err);
    if (!ret)
        ret = ls_join_finish(out, err);
    if (!ret)
        summarize(job, ls_join_audio_mode(out));
    ls_join_close(&out);
    if (!ret && job->s.save_track)
        ret = ls_output_copy(ls_job_folder_file(job->folder, "faces.jsonl"), job->s.save_track,
                             NULL, err);
    if (!ret && !job->s.keep_job)
        ls_job_folder_remove(&job->folder);
    return ret;
}

/* With LS_MEM in the environment: who held how much. */
static void log_memory(const ls_log *log, const ls_process_memory *m)
{
    ls_memory_tally tallies[LS_MEMORY_MODULES];
    const char *wanted = getenv("LS_MEM");
    if (!wanted || !*wanted || !strcmp(wanted, "0"))
        return;
    const size_t n = ls_memory_tallies(tallies);
    for (size_t i = 0; i < n; i++)
        ls_log_msg(log, LS_LOG_INFO, "LS_MEM %-10s %8.1f MB at most, %8.1f at the end",
                   tallies[i].module, (double)tallies[i].peak / 1e6, (double)tallies[i].now / 1e6);
    ls_log_msg(
        log, LS_LOG_INFO,
        "LS_MEM process    %8.1f MB at most, %8.1f at the end, codecs and libraries included",
        (double)m->peak_resident / 1e6, (double)m->resident / 1e6);
}

/* Always releases the folder; on failure records whether it can be resumed. */
static int end(ls_sync *job, int ret)
{
    struct stat st;
    const ls_process_memory m = ls_process_memory_now();
    close_parts(job);
    log_memory(&job->log, &m);
    ls_job_folder_close(&job->folder);
    if (ret && job->started && !stat(job->s.job, &st))
        job->resumable = job->s.job;
    job->complete = job->complete && !ret;
    job->summary.peak_resident_bytes = m.peak_resident;
    job->summary.elapsed_seconds = ls_time_now() - job->progress.start;
    return ret;
}

int ls_sync_run(ls_sync *job, ls_error *err)
{
    int ret = start(job, LS_JOB_CREATE, LS_JOB_ALL, true, err);
    const uint64_t n = ret ? 0 : ls_job_folder_segments(job->folder),
                   done = ret ? 0 : ls_job_folder_count_finished(job->folder);
    if (done)
        ls_log_msg(&job->log, LS_LOG_INFO, "resuming: %llu of %llu segments in %s are finished",
                   (unsigned long long)done, (unsigned long long)n, job->s.job);
    if (done < n)
        ret = render(job, 0, n, err);
    close_parts(job);
    return end(job, ret ? ret : join(job, err));
}

static int plan_faces(ls_sync *job, ls_error *err)
{
    ls_watch *watch = NULL;
    job->progress.faces = job->faces;
    ls_job_progress_enter(&job->progress, "faces");
    int ret = open_watch(&watch, job, err);
    if (!ret) {
        run_faces(job);
        ret = job->faces_err.code;
        if (ret && err)
            *err = job->faces_err;
    }
    close_watch(&watch, job);
    job->progress.faces = NULL;
    return ret;
}

int ls_sync_plan(ls_sync *job, uint64_t *segments, ls_error *err)
{
    int ret = start(job, LS_JOB_CREATE, LS_JOB_ALL, true, err);
    if (!ret && ls_face_feed_runs(job->faces))
        ret = plan_faces(job, err);
    if (!ret && *job->index_path && access(job->index_path, F_OK)) { // no detection has made one
        ret = ls_pingpong_seek(job->source, job->frames - 1, err);
        if (!ret)
            ret = ls_video_save_index(ls_pingpong_video(job->source), job->index_path, err);
    }
    *segments = ret ? 0 : ls_job_folder_segments(job->folder);
    if (!ret)
        ls_job_folder_keep(job->folder, true);
    return end(job, ret);
}

int ls_sync_render(ls_sync *job, uint64_t segment, ls_error *err)
{
    int ret = start(job, LS_JOB_EXISTING, (int64_t)segment, true, err);
    if (!ret && segment >= ls_job_folder_segments(job->folder))
        ret = ls_fail(err, LS_EINVAL, "segment %llu: %s has segments 0 to %llu",
                      (unsigned long long)segment, job->s.job,
                      (unsigned long long)ls_job_folder_segments(job->folder) - 1);
    if (!ret && ls_job_folder_finished(job->folder, segment)) {
        ls_log_msg(&job->log, LS_LOG_INFO, "segment %llu is already finished",
                   (unsigned long long)segment);
    } else if (!ret) {
        ls_job_progress_set_goal(&job->progress, segment_length(job, segment), 0);
        ret = render(job, segment, segment + 1, err);
    }
    return end(job, ret);
}

int ls_sync_join(ls_sync *job, ls_error *err)
{
    int ret = start(job, LS_JOB_EXISTING, LS_JOB_ALL, false, err);
    close_parts(job);
    return end(job, ret ? ret : join(job, err));
}

const ls_sync_summary *ls_sync_get_summary(const ls_sync *job)
{
    return job->complete ? &job->summary : NULL;
}

const char *ls_sync_folder(const ls_sync *job)
{
    return job->resumable;
}

static void warn_of_settings(const ls_sync *job, size_t models_resolution)
{
    const ls_sync_settings *s = &job->s;
    if (models_resolution && s->resolution != models_resolution)
        ls_log_msg(&job->log, LS_LOG_WARN,
                   "resolution %zu is not the model's own, %zu: expect a visible mask and blur",
                   s->resolution, models_resolution);
    if (s->steps < FEW_STEPS)
        ls_log_msg(&job->log, LS_LOG_WARN, "%zu denoising steps are few: expect blur and noise",
                   s->steps);
    if (s->guidance_scale > HIGH_GUIDANCE)
        ls_log_msg(&job->log, LS_LOG_WARN, "guidance %g is high: expect distorted mouths",
                   (double)s->guidance_scale);
}

static int choose_models(ls_sync *job, ls_error *err)
{
    char dir[PATH_MAX];
    bool built_in = false;
    size_t resolution;
    float guidance_scale;
    int ret = job->s.models ? 0 : ls_models_find(dir, sizeof dir, &built_in, err);
    if (!ret && !job->s.models)
        ret = ls_settings_replace(&job->s.models, dir, err);
    if (!ret && built_in)
        ls_log_msg(&job->log, LS_LOG_NOTICE,
                   "no model is installed: using the built-in one, which knows drawn faces only");
    if (!ret)
        ret = ls_models_defaults(job->s.models, &resolution, &guidance_scale, err);
    if (ret)
        return ls_advise(err, LS_EMODEL, LS_HINT_INSTALL_MODEL, "models");
    if (!job->s.resolution)
        job->s.resolution = resolution ? resolution : LS_MODELS_RESOLUTION;
    if (!(job->s.guidance_scale > 0))
        job->s.guidance_scale = guidance_scale;
    warn_of_settings(job, resolution);
    return 0;
}

/* What was left open is what the job was started with, or what suits the machine. */
static int settle_open_settings(ls_sync *job, ls_error *err)
{
    ls_sync_settings was = {.seed = -1};
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/job.json", job->s.job) >= PATH_MAX)
        return ls_fail(err, LS_EINVAL, "%s: the name is too long", job->s.job);
    json_t *d = job->s.restart ? NULL : json_load_file(path, 0, NULL);
    if (d && ls_settings_parse(&was, d, job->s.job, NULL))
        was = (ls_sync_settings){.seed = -1};
    json_decref(d); // of `was` only numbers are used
    if (job->s.compute_type == LS_COMPUTE_AUTO) {
        job->free_type = was.compute_type == LS_COMPUTE_AUTO;
        job->s.compute_type = !job->free_type             ? was.compute_type
                              : ls_backend_prefers_bf16() ? LS_COMPUTE_BFLOAT16
                                                          : LS_COMPUTE_FLOAT32;
    }
    if (job->s.seed >= 0)
        return 0;
    uint32_t drawn;
    if (was.seed < 0 && getrandom(&drawn, sizeof drawn, 0) != sizeof drawn)
        return ls_fail_errno(err, errno, "cannot draw a seed");
    job->s.seed = was.seed >= 0 ? was.seed : (int64_t)drawn;
    ls_log_msg(&job->log, LS_LOG_INFO, "seed %lld", (long long)job->s.seed);
    return 0;
}

static int open_job(ls_sync *job, ls_error *err)
{
    const ls_listener listener = {job->s.message, job->s.progress, job->s.opaque};
    int ret = ls_events_open(&job->events, &listener, err);
    if (ret)
        return ret;
    job->log = ls_events_log(job->events);
    job->progress.events = job->events;
    job->engine = job->s.engine;
    if (!job->engine)
        ret = ls_engine_open(&job->own_engine, err);
    if (job->own_engine)
        job->engine = job->own_engine;
    if (!ret)
        ret = choose_models(job, err);
    if (!ret)
        ret = settle_open_settings(job, err);
    if (!ret && !is_stream(job->s.video) && !is_stream(job->s.audio))
        ret = open_inputs(job, err);
    if (!ret)
        ret = open_models(job, err);
    if (!ret && ls_canceled(&job->cancel))
        ret = ls_fail(err, LS_ECANCELED, "canceled");
    return ret;
}

int ls_sync_open(ls_sync **out, const ls_sync_settings *settings, ls_error *err)
{
    ls_sync_settings s;
    *out = NULL;
    int ret = ls_settings_take(&s, settings, err);
    if (!ret)
        ret = ls_settings_check(&s, err);
    if (ret)
        return ret;
    ls_sync *job = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    job->s = s;
    job->cancel.parent = s.cancel;
    job->end_faces.parent = &job->cancel;
    ls_job_progress_open(&job->progress, NULL);
    ret = ls_settings_own(&job->s, err);
    if (!ret)
        ret = open_job(job, err);
    if (ret)
        ls_sync_close(&job);
    *out = job;
    return ret;
}

/* Of the caller's settings those that a job which exists takes. */
static int take_how(ls_sync_settings *s, const ls_sync_settings *how, ls_error *err)
{
    ls_sync_settings all;
    const ls_option_row *row;
    int ret = ls_settings_take(&all, how, err);
    if (ret)
        return ret;
    for (size_t i = 0; (row = ls_option_row_at(i)); i++) {
        if (!(row->option.used_by & LS_OPTION_RESUME))
            continue;
        const ls_option_value v = ls_option_get(row, &all, row->sync);
        ls_option_put(row, s, row->sync, &v);
    }
    s->engine = all.engine;
    s->cancel = all.cancel;
    s->message = all.message;
    s->progress = all.progress;
    s->opaque = all.opaque;
    return 0;
}

int ls_sync_open_job(ls_sync **out, const char *folder, const ls_sync_settings *how, ls_error *err)
{
    ls_sync_settings s;
    char path[PATH_MAX];
    struct stat st;
    json_error_t why;
    *out = NULL;
    ls_sync_default_settings(&s, sizeof s);
    int ret = how ? take_how(&s, how, err) : 0;
    if (ret)
        return ret;
    s.job = folder;
    if (snprintf(path, sizeof path, "%s/job.json", folder) >= PATH_MAX)
        return ls_fail(err, LS_EINVAL, "%s: the name is too long", folder);
    if (stat(path, &st))
        return ls_fail_errno(err, errno, "%s is not the folder of a job: job.json", folder);
    json_t *d = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    ret = d ? ls_settings_parse(&s, d, folder, err)
            : ls_fail(err, LS_EFORMAT, "%s, line %d: %s; the folder of the job is damaged", path,
                      why.line, why.text);
    const json_t *plan = json_object_get(d, "plan");
    const double frames = (double)json_integer_value(json_object_get(plan, "segment_frames")),
                 num = (double)json_integer_value(json_object_get(plan, "fps_num")),
                 den = (double)json_integer_value(json_object_get(plan, "fps_den"));
    s.segment_seconds = frames * den / (num > 0 ? num : 1);
    if (!ret)
        ret = ls_sync_open(out, &s, err);
    json_decref(d);
    return ret;
}

void ls_sync_close(ls_sync **pjob)
{
    ls_sync *job = *pjob;
    if (!job)
        return;
    close_parts(job);
    ls_job_folder_close(&job->folder);
    ls_pingpong_close(&job->source);
    ls_engine_close(&job->own_engine);
    ls_settings_free(&job->s);
    ls_job_progress_close(&job->progress);
    ls_events_close(&job->events);
    free(job);
    *pjob = NULL;
}
