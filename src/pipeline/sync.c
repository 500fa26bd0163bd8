/* A job from its folder to its output: plan, render what is missing, join. */
#include "latentsync/latentsync.h"
#include "backend/backend.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/output.h"
#include "base/system.h"
#include "base/time.h"
#include "media/codecs.h"
#include "media/join.h"
#include "media/pcm.h"
#include "pipeline/budget.h"
#include "pipeline/face_feed.h"
#include "pipeline/job.h"
#include "pipeline/settings.h"
#include "pipeline/stream.h"
#include "pipeline/watch.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define DECODER_THREADS 2
#define SEGMENT_CHUNKS 15 /* 9.6 s: a key frame so often costs few bits */
#define MANY_SEGMENTS 4096

struct ls_sync {
    ls_sync_settings s;
    ls_log log;
    ls_cancel cancel, end_faces;
    ls_models models;
    ls_pingpong *source;
    ls_face_feed *faces;
    ls_pcm *pcm;
    ls_log_mel *mel;
    ls_features *features;
    ls_generator *generator;
    ls_stream *stream;
    ls_job *job;
    bool begun;         /* the folder is this job's */
    const char *folder; /* s.job, when it is there to go on with */
    uint64_t frames, segment_frames;
    /* of the thread that encodes */
    ls_segment *segment;
    char segment_path[PATH_MAX];
    /* of the thread that looks for faces */
    char track_path[PATH_MAX], index_path[PATH_MAX]; /* empty: not to be written */
    ls_error faces_err;
    uint64_t budget; /* bytes that the process may hold */
    ls_plan_choice choice;
    bool free_type;       /* the type of numbers was left to us */
    pthread_mutex_t lock; /* of all below, and of calls to the user's functions */
    const char *stage;
    uint64_t goal;    /* frames that there will be in the end */
    uint64_t written; /* frames of finished segments, and in the one at hand */
    size_t in_flight; /* frames that may be */
    uint64_t found;   /* frames that were finished when the run began */
    double start;
};

/* All that is known but what the watch itself measures. */
static void look(void *opaque, ls_progress *p)
{
    ls_sync *job = opaque;
    ls_stream_state state = {.generated = 0};
    size_t n = 0;
    pthread_mutex_lock(&job->lock);
    *p = (ls_progress){.stage = job->stage, .frame = job->written, .frames = job->goal};
    const double seconds = job->start > 0 ? ls_time_now() - job->start : 0;
    const uint64_t found = job->found;
    const size_t most = job->in_flight;
    pthread_mutex_unlock(&job->lock);
    if (!job->stream)
        return;
    ls_stream_get_state(job->stream, &state);
    if (seconds > 0 && state.generated > 0) {
        p->frames_per_second = state.generated / seconds;
        p->seconds_left = ((double)(p->frames - found) - state.generated) / p->frames_per_second;
    }
    if (ls_face_feed_runs(job->faces)) {
        p->stages[n].name = "faces";
        ls_face_feed_state(job->faces, &p->stages[n].busy_seconds, &p->stages[n].frames);
        n++;
    }
    for (int i = 0; i < LS_STAGES; i++, n++)
        p->stages[n] = (ls_progress_stage){ls_stage_name(i), state.busy[i], state.frames[i]};
    for (int i = 0; i < LS_STREAM_QUEUES; i++)
        p->queues[i] = (ls_progress_queue){ls_stream_queue_name(i), state.queue[i].items, most,
                                           state.queue[i].bytes};
}

static void tell(void *opaque, const ls_progress *p)
{
    ls_sync *job = opaque;
    pthread_mutex_lock(&job->lock);
    if (job->s.progress)
        job->s.progress(job->s.opaque, p);
    pthread_mutex_unlock(&job->lock);
}

static void report(ls_sync *job, const char *stage)
{
    ls_progress p;
    pthread_mutex_lock(&job->lock);
    job->stage = stage;
    pthread_mutex_unlock(&job->lock);
    look(job, &p);
    p.resident_bytes = ls_process_memory_now().resident;
    p.budget_bytes = job->budget;
    tell(job, &p);
}

static void narrow(void *opaque, size_t frames)
{
    ls_sync *job = opaque;
    pthread_mutex_lock(&job->lock);
    job->in_flight = frames;
    pthread_mutex_unlock(&job->lock);
    ls_stream_set_frames(job->stream, frames);
}

static uint64_t segment_end(const ls_sync *job, uint64_t segment)
{
    const uint64_t end = (segment + 1) * job->segment_frames;
    return end < job->frames ? end : job->frames;
}

/* The next frame of the output, to its segment. */
static int encode(void *opaque, uint64_t index, const ls_frame *f, ls_error *err)
{
    ls_sync *job = opaque;
    const uint64_t k = index / job->segment_frames;
    const ls_encoding e = {job->s.video_codec, job->s.preset, job->s.crf,
                           ls_pingpong_video(job->source)};
    ls_segment_info info;
    int ret = 0;
    if (!job->segment) {
        snprintf(job->segment_path, sizeof job->segment_path, "%s",
                 ls_job_segment_path(job->job, k));
        ls_output_remove_stale(job->segment_path);
        ret = ls_segment_open(&job->segment, job->segment_path, &e, err);
    }
    if (!ret)
        ret = ls_segment_write(job->segment, f, err);
    if (!ret && index + 1 == segment_end(job, k)) {
        ret = ls_segment_finish(job->segment, &info, err);
        ls_segment_close(&job->segment);
        if (!ret)
            ret = ls_job_record(job->job, k, &info, err);
    }
    pthread_mutex_lock(&job->lock);
    job->written++;
    pthread_mutex_unlock(&job->lock);
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

/* Segments [from, to), as far as they are not finished, in runs without a gap. */
static int run_segments(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    int ret = 0;
    for (uint64_t k = from; !ret && k < to;) {
        uint64_t end = k;
        while (end < to && !ls_job_finished(job->job, end))
            end++;
        if (end > k)
            ret =
                ls_stream_run(job->stream, k * job->segment_frames, segment_end(job, end - 1), err);
        k = end + 1;
    }
    return ret;
}

/* The same beside the search for faces, where there is one. */
static int run_stages(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    pthread_t faces;
    const bool search = ls_face_feed_runs(job->faces);
    pthread_mutex_lock(&job->lock);
    job->start = ls_time_now();
    pthread_mutex_unlock(&job->lock);
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
    if (own && ls_face_feed_is_vain(job->faces))
        ls_job_keep(job->job, false); // segments without a face are of no use
    else if (search && !job->faces_err.code && *job->track_path)
        ls_job_keep(job->job, true); // nor are the faces to be looked for again
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
    if (!ret && (ret = ls_log_mel_open(&job->mel, &pcm, &job->cancel, err)))
        ret = ret == LS_ECANCELED ? ret : ls_fail_context(err, ret, "%s", job->s.audio);
    if (!ret)
        ret = ls_features_open(&job->features, job->models.whisper, job->mel, fps, err);
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
    const char *kept = ls_job_path(job->job, "faces.jsonl"), *track = job->s.face_track;
    if (!track && !access(kept, F_OK))
        track = kept;
    else if (!track && whole)
        snprintf(job->track_path, sizeof job->track_path, "%s", kept);
    int ret = ls_face_feed_open(&job->faces, &job->s, track,
                                ls_video_get_info(ls_pingpong_video(job->source)), job->s.job,
                                &job->log, err);
    const char *index = ls_job_path(job->job, "video.index");
    const bool known = !ret && !access(index, F_OK) &&
                       !ls_video_load_index(ls_pingpong_video(job->source), index, NULL);
    if (!known && whole)
        snprintf(job->index_path, sizeof job->index_path, "%s", index);
    return ret;
}

static int add_digest(json_t *contents, const char *name, const char *path, ls_error *err)
{
    uint8_t sha256[LS_SHA256_BYTES];
    char text[LS_SHA256_TEXT];
    int ret = path ? ls_digest_sample(path, sha256, err) : 0;
    if (path && !ret) {
        ls_digest_text(text, sha256);
        if (json_object_set_new(contents, name, json_string(text)))
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    return ret;
}

/* The inputs' digests: what a job was begun with it has to be finished with. */
static int describe_contents(const ls_sync *job, json_t *contents, ls_error *err)
{
    const char *found[LS_DETECTOR_FILES] = {NULL};
    if (job->faces)
        ls_face_feed_files(job->faces, found);
    const struct {
        const char *name, *path;
    } files[] = {
        {"video", job->s.video},
        {"speech", job->s.audio},
        {"UNet", ls_weights_path(ls_network_weights(ls_unet_network(job->models.unet)))},
        {"VAE", ls_weights_path(ls_network_weights(ls_vae_network(job->models.vae)))},
        {"Whisper", ls_weights_path(ls_network_weights(ls_whisper_network(job->models.whisper)))},
        {"face track", job->s.face_track},
        {"detector", found[0]},
        {"landmarks network", found[1]}};
    int ret = 0;
    for (size_t i = 0; !ret && i < sizeof files / sizeof *files; i++)
        ret = add_digest(contents, files[i].name, files[i].path, err);
    return ret;
}

static int describe(ls_sync *job, ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    const json_int_t segments =
        (json_int_t)((job->frames + job->segment_frames - 1) / job->segment_frames);
    json_t *d = NULL, *contents = json_object();
    int ret = contents ? ls_settings_describe(&d, &job->s, err)
                       : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = describe_contents(job, contents, err);
    if (!ret && (json_object_set(d, "contents", contents) ||
                 json_object_set_new(d, "program",
                                     json_pack("{s:s, s:s}", "latentsync", LS_VERSION_STRING,
                                               "codecs", ls_media_version())) ||
                 json_object_set_new(
                     d, "plan",
                     json_pack("{s:I, s:I, s:I, s:i, s:i}", "frames", (json_int_t)job->frames,
                               "segment_frames", (json_int_t)job->segment_frames, "segments",
                               segments, "fps_num", v->fps_num, "fps_den", v->fps_den))))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    json_decref(contents);
    if (ret)
        json_decref(d);
    return ret ? ret : ls_job_describe(job->job, d, err);
}

/* An unknown type is what the job was begun with, or what suits the machine. */
static int choose_compute_type(ls_sync *job, ls_error *err)
{
    json_t *d = NULL;
    char path[PATH_MAX];
    if (job->s.compute_type != LS_COMPUTE_AUTO)
        return 0;
    job->free_type = true;
    job->s.compute_type = ls_backend_prefers_bf16() ? LS_COMPUTE_BFLOAT16 : LS_COMPUTE_FLOAT32;
    if (snprintf(path, sizeof path, "%s/job.json", job->s.job) >= PATH_MAX)
        return ls_fail(err, LS_EINVAL, "%s: the name is too long", job->s.job);
    d = json_load_file(path, 0, NULL);
    const json_t *was = json_object_get(json_object_get(d, "settings"), "compute_type");
    if (json_integer_value(was) == LS_COMPUTE_FLOAT32 ||
        json_integer_value(was) == LS_COMPUTE_BFLOAT16) {
        job->s.compute_type = (int)json_integer_value(was);
        job->free_type = false;
    }
    json_decref(d);
    return 0;
}

static ls_generator_settings generator_settings(const ls_sync *job)
{
    return (ls_generator_settings){.resolution = job->s.resolution,
                                   .sampler = {.steps = job->s.steps,
                                               .guidance_scale = job->s.guidance_scale,
                                               .cache_interval = job->s.cache_interval,
                                               .split_guidance = job->choice.split_guidance},
                                   .seed = job->s.seed,
                                   .vae_frames = job->choice.vae_frames};
}

static int open_models(ls_sync *job, ls_error *err)
{
    ls_models_close(&job->models);
    return ls_models_open(&job->models, job->s.models, "onednn",
                          job->s.compute_type == LS_COMPUTE_BFLOAT16 ? LS_BF16 : LS_F32,
                          job->s.threads, err);
}

/* Chooses how to run, before anything large is read. Where the type of numbers is free, the smaller
 * one is better than none. */
static int plan_memory(ls_sync *job, ls_error *err)
{
    ls_cpu cpu;
    ls_plan_memory memory;
    ls_cpu_detect(&cpu, "");
    job->budget = job->s.max_memory ? job->s.max_memory : ls_budget_default();
    ls_budget_job b = {.models = &job->models,
                       .settings = generator_settings(job),
                       .video = ls_video_get_info(ls_pingpong_video(job->source)),
                       .video_codec = job->s.video_codec,
                       .detects = !job->s.face_track,
                       .cores = job->s.threads ? job->s.threads : cpu.cores};
    int ret = ls_budget_plan(&job->choice, &memory, &b, job->budget, err);
    if (ret == LS_ENOMEM && job->free_type && job->s.compute_type == LS_COMPUTE_FLOAT32) {
        job->s.compute_type = LS_COMPUTE_BFLOAT16;
        ret = open_models(job, err);
        if (!ret)
            ret = ls_budget_plan(&job->choice, &memory, &b, job->budget, err);
    }
    if (!ret)
        ls_budget_tell(&job->choice, &memory, job->budget,
                       job->s.compute_type == LS_COMPUTE_BFLOAT16 ? "bfloat16" : "float32",
                       &job->log);
    return ret;
}

/* Takes the folder, or a segment of it, and brings it and what was opened together. */
static int begin(ls_sync *job, bool create, int64_t segment, ls_error *err)
{
    report(job, "prepare");
    int ret = job->job ? 0 : ls_job_open(&job->job, job->s.job, create, segment, &job->log, err);
    if (!ret)
        ret = open_speech(job, err);
    if (!ret)
        ret = open_faces(job, segment == LS_JOB_ALL, err);
    if (!ret)
        ret = describe(job, err);
    if (!ret)
        ret = ls_job_read_journal(job->job, segment, &job->cancel, err);
    for (uint64_t k = 0; !ret && k < ls_job_segments(job->job); k++)
        if (ls_job_finished(job->job, k))
            job->found += segment_end(job, k) - k * job->segment_frames;
    job->goal = job->frames;
    job->written = job->found;
    job->begun = !ret;
    return ret;
}

/* Where the time of the networks went. */
static void log_ops(ls_sync *job)
{
    struct {
        const char *name;
        ls_network *net;
    } nets[] = {{"UNet", ls_unet_network(job->models.unet)},
                {"VAE", ls_vae_network(job->models.vae)},
                {"Whisper", ls_whisper_network(job->models.whisper)}};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        double seconds[LS_OP_COUNT] = {0};
        ls_network_op_seconds(nets[i].net, seconds);
        for (int op = 0; op < LS_OP_COUNT; op++)
            if (seconds[op] > 0.01)
                ls_log_msg(&job->log, LS_LOG_DEBUG, "%s %s: %.2f s", nets[i].name, ls_op_name(op),
                           seconds[op]);
    }
}

/* Segments [from, to), as far as they are not finished. */
static int render(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    const ls_generator_settings g = generator_settings(job);
    job->in_flight = job->choice.frames;
    ls_pingpong_set_window(job->source, job->choice.window_bytes);
    int ret = ls_generator_open(&job->generator, &job->models, job->features, &g, err);
    if (!ret)
        ret = ls_generator_prepare(
            job->generator, job->frames < LS_CHUNK_FRAMES ? job->frames : LS_CHUNK_FRAMES, err);
    const ls_stream_parts parts = {.source = job->source,
                                   .path = ls_face_feed_path(job->faces),
                                   .generator = job->generator,
                                   .resolution = job->s.resolution,
                                   .frames = job->in_flight,
                                   .workers = job->choice.workers,
                                   .cancel = &job->cancel,
                                   .log = &job->log,
                                   .encode = encode,
                                   .opaque = job};
    if (!ret)
        ret = ls_stream_open(&job->stream, &parts, err);
    if (ret)
        return ret;
    report(job, "frames");
    const ls_watch_settings w = {.stats = job->s.stats,
                                 .budget = job->budget,
                                 .least = LS_CHUNK_FRAMES,
                                 .frames = parts.frames,
                                 .log = &job->log,
                                 .look = look,
                                 .tell = tell,
                                 .narrow = narrow,
                                 .opaque = job};
    ls_watch *watch;
    ret = ls_watch_open(&watch, &w, err);
    if (!ret)
        ret = run_stages(job, from, to, err);
    ls_error unwatched;
    if (ls_watch_close(&watch, &unwatched))
        ls_log_msg(&job->log, LS_LOG_WARN, "%s; the statistics end there", unwatched.message);
    log_ops(job);
    ls_stream_state state;
    ls_stream_get_state(job->stream, &state);
    if (!ret && state.without_face)
        ls_log_msg(&job->log, LS_LOG_WARN, "%llu of %llu frames lack the face and are as they were",
                   (unsigned long long)state.without_face,
                   (unsigned long long)state.frames[LS_STAGE_GENERATE]);
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
    ls_models_close(&job->models);
    ls_face_feed_close(&job->faces);
}

static int check_finished(ls_sync *job, ls_error *err)
{
    const uint64_t n = ls_job_segments(job->job), missing = n - ls_job_count_finished(job->job);
    uint64_t k = 0;
    while (k < n && ls_job_finished(job->job, k))
        k++;
    return k == n ? 0
                  : ls_fail(err, LS_EINVAL,
                            "%llu of the %llu segments of %s are not finished; the first is %llu: "
                            "\"latentsync render %s --segment %llu\"",
                            (unsigned long long)missing, (unsigned long long)n, job->s.job,
                            (unsigned long long)k, job->s.job, (unsigned long long)k);
}

static int join(ls_sync *job, ls_error *err)
{
    const ls_encoding e = {job->s.video_codec, job->s.preset, job->s.crf,
                           ls_pingpong_video(job->source)};
    ls_join_settings s = {
        .path = job->s.output, .audio = job->s.audio, .encoding = &e, .log = &job->log};
    ls_join *out = NULL;
    const uint64_t n = ls_job_segments(job->job);
    report(job, "finish");
    int ret = check_finished(job, err);
    for (uint64_t k = 0; !ret && k < n; k++)
        s.delay = s.delay > ls_job_finished(job->job, k)->delay
                      ? s.delay
                      : ls_job_finished(job->job, k)->delay;
    if (!ret) {
        ls_output_remove_stale(job->s.output);
        ret = ls_join_open(&out, &s, err);
    }
    for (uint64_t k = 0; !ret && k < n; k++)
        ret = ls_join_add(out, ls_job_segment_path(job->job, k),
                          segment_end(job, k) - k * job->segment_frames, &job->cancel, err);
    if (!ret)
        ret = ls_join_finish(out, err);
    if (!ret)
        ls_log_msg(&job->log, LS_LOG_INFO, "wrote %s (sound: %s)", job->s.output,
                   ls_join_audio_mode(out));
    ls_join_close(&out);
    if (!ret && job->s.save_track)
        ret = ls_output_copy(ls_job_path(job->job, "faces.jsonl"), job->s.save_track, err);
    if (!ret && !job->s.keep_job)
        ls_job_remove(&job->job);
    return ret;
}

/* With LS_MEM in the environment: who held how much. */
static void tell_memory(const ls_log *log)
{
    ls_memory_tally tallies[LS_MEMORY_MODULES];
    const char *wanted = getenv("LS_MEM");
    if (!wanted || !*wanted || !strcmp(wanted, "0"))
        return;
    const size_t n = ls_memory_tallies(tallies);
    for (size_t i = 0; i < n; i++)
        ls_log_msg(log, LS_LOG_INFO, "LS_MEM %-10s %8.1f MB at most, %8.1f at the end",
                   tallies[i].module, (double)tallies[i].peak / 1e6, (double)tallies[i].now / 1e6);
    const ls_process_memory m = ls_process_memory_now();
    ls_log_msg(
        log, LS_LOG_INFO,
        "LS_MEM process    %8.1f MB at most, %8.1f at the end, codecs and libraries included",
        (double)m.peak_resident / 1e6, (double)m.resident / 1e6);
}

/* The folder is given back in any case; after a failure it is told whether there is one. */
static int end(ls_sync *job, int ret)
{
    struct stat st;
    close_parts(job);
    tell_memory(&job->log);
    ls_job_close(&job->job);
    if (ret && job->begun && !stat(job->s.job, &st))
        job->folder = job->s.job;
    return ret;
}

int ls_sync_run(ls_sync *job, ls_error *err)
{
    int ret = plan_memory(job, err);
    if (!ret)
        ret = begin(job, true, LS_JOB_ALL, err);
    const uint64_t n = ret ? 0 : ls_job_segments(job->job);
    if (!ret && ls_job_count_finished(job->job))
        ls_log_msg(&job->log, LS_LOG_INFO, "%llu of %llu segments in %s are finished already",
                   (unsigned long long)ls_job_count_finished(job->job), (unsigned long long)n,
                   job->s.job);
    if (!ret && ls_job_count_finished(job->job) < n)
        ret = render(job, 0, n, err);
    close_parts(job);
    return end(job, ret ? ret : join(job, err));
}

int ls_sync_plan(ls_sync *job, uint64_t *segments, ls_error *err)
{
    int ret = plan_memory(job, err);
    if (!ret)
        ret = begin(job, true, LS_JOB_ALL, err);
    if (!ret && ls_face_feed_runs(job->faces)) {
        run_faces(job);
        ret = job->faces_err.code;
        if (ret && err)
            *err = job->faces_err;
    }
    if (!ret && *job->index_path && access(job->index_path, F_OK)) { // no search has made one
        ret = ls_pingpong_seek(job->source, job->frames - 1, err);
        if (!ret)
            ret = ls_video_save_index(ls_pingpong_video(job->source), job->index_path, err);
    }
    *segments = ret ? 0 : ls_job_segments(job->job);
    if (!ret)
        ls_job_keep(job->job, true);
    return end(job, ret);
}

int ls_sync_render(ls_sync *job, uint64_t segment, ls_error *err)
{
    int ret = plan_memory(job, err);
    if (!ret)
        ret = begin(job, false, (int64_t)segment, err);
    if (!ret && segment >= ls_job_segments(job->job))
        ret = ls_fail(err, LS_EINVAL, "segment %llu: %s has segments 0 to %llu",
                      (unsigned long long)segment, job->s.job,
                      (unsigned long long)ls_job_segments(job->job) - 1);
    if (!ret && ls_job_finished(job->job, segment))
        ls_log_msg(&job->log, LS_LOG_INFO, "segment %llu is finished already",
                   (unsigned long long)segment);
    else if (!ret) {
        job->goal = segment_end(job, segment) - segment * job->segment_frames;
        job->written = job->found = 0;
        ret = render(job, segment, segment + 1, err);
    }
    return end(job, ret);
}

int ls_sync_join(ls_sync *job, ls_error *err)
{
    int ret = begin(job, false, LS_JOB_ALL, err);
    close_parts(job);
    return end(job, ret ? ret : join(job, err));
}

const char *ls_sync_folder(const ls_sync *job)
{
    return job->folder;
}

void ls_sync_cancel(ls_sync *job)
{
    ls_cancel_request(&job->cancel);
    ls_cancel_request(&job->end_faces);
}

static void write_message(void *opaque, int level, const char *line)
{
    ls_sync *job = opaque;
    pthread_mutex_lock(&job->lock);
    if (job->s.message)
        job->s.message(job->s.opaque, level, line);
    pthread_mutex_unlock(&job->lock);
}

/* Inputs are read more than once, so one that flows past is kept in the folder of the job. */
static int keep_stream(ls_sync *job, const char *name, const char **path, ls_error *err)
{
    struct stat st;
    if (stat(*path, &st) || S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return 0; // what cannot be opened is told of when it is
    int ret = job->job ? 0 : ls_job_open(&job->job, job->s.job, true, LS_JOB_ALL, &job->log, err);
    char *kept = ret ? NULL : strdup(ls_job_path(job->job, name));
    if (!ret && !kept)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ls_log_msg(&job->log, LS_LOG_INFO, "%s is not a file; what comes of it is kept in %s",
                   *path, kept);
    if (!ret)
        ret = ls_output_copy(*path, kept, err);
    if (ret) {
        free(kept);
        return ret;
    }
    free((char *)*path);
    *path = kept;
    return 0;
}

static int open_inputs(ls_sync *job, ls_error *err)
{
    ls_video *video = NULL;
    const ls_video_settings v = {DECODER_THREADS, job->s.source_fps, &job->log, &job->cancel};
    const ls_encoding e = {job->s.video_codec, job->s.preset, job->s.crf, NULL};
    ls_encoding like = e;
    int ret = keep_stream(job, "video", &job->s.video, err);
    if (!ret)
        ret = keep_stream(job, "speech", &job->s.audio, err);
    if (!ret)
        ret = ls_video_open(&video, job->s.video, &v, err);
    if (!ret)
        ret = ls_pingpong_open(&job->source, &video, 0, job->s.job, err);
    if (ret)
        return ret;
    like.like = ls_pingpong_video(job->source);
    const ls_join_settings s = {
        .path = job->s.output, .audio = job->s.audio, .encoding = &like, .log = &job->log};
    return ls_join_check(&s, err);
}

static int choose_models(ls_sync *job, ls_error *err)
{
    char dir[PATH_MAX];
    bool built_in = false;
    int ret = job->s.models ? 0 : ls_models_find(dir, sizeof dir, &built_in, err);
    if (!ret && !job->s.models && !(job->s.models = strdup(dir)))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && built_in)
        ls_log_msg(&job->log, LS_LOG_WARN,
                   "no model is installed, so the built-in one for drawn faces is used; "
                   "\"latentsync models pull\" downloads those for real ones");
    if (ret || (job->s.resolution && job->s.guidance_scale > 0))
        return ret;
    size_t resolution;
    float guidance_scale;
    ret = ls_models_defaults(job->s.models, &resolution, &guidance_scale, err);
    job->s.resolution = job->s.resolution ? job->s.resolution : resolution;
    job->s.guidance_scale = job->s.guidance_scale > 0 ? job->s.guidance_scale : guidance_scale;
    return ret;
}

int ls_sync_open(ls_sync **out, const ls_sync_settings *s, ls_error *err)
{
    *out = NULL;
    int ret = ls_settings_check(s, err);
    if (ret)
        return ret;
    ls_sync *job = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    job->s = *s;
    job->log = (ls_log){LS_LOG_DEBUG, write_message, job};
    pthread_mutex_init(&job->lock, NULL);
    ret = ls_settings_own(&job->s, err);
    if (!ret)
        ret = choose_models(job, err);
    if (!ret)
        ret = choose_compute_type(job, err);
    if (!ret)
        ret = open_inputs(job, err);
    if (!ret)
        ret = open_models(job, err);
    if (ret)
        ls_sync_close(&job);
    *out = job;
    return ret;
}

int ls_sync_open_job(ls_sync **out, const char *folder, const ls_sync_settings *how, ls_error *err)
{
    ls_sync_settings s;
    char path[PATH_MAX];
    struct stat st;
    json_error_t why;
    *out = NULL;
    ls_sync_default_settings(&s);
    if (how) {
        s.threads = how->threads;
        s.keep_job = how->keep_job;
        s.max_memory = how->max_memory;
        s.stats = how->stats;
        s.message = how->message;
        s.progress = how->progress;
        s.opaque = how->opaque;
    }
    s.job = folder;
    if (snprintf(path, sizeof path, "%s/job.json", folder) >= PATH_MAX)
        return ls_fail(err, LS_EINVAL, "%s: the name is too long", folder);
    if (stat(path, &st))
        return ls_fail_errno(err, errno, "%s is not the folder of a job: job.json", folder);
    json_t *d = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    int ret = d ? ls_settings_parse(&s, d, folder, err)
                : ls_fail(err, LS_EFORMAT, "%s, line %d: %s; the folder of the job is damaged",
                          path, why.line, why.text);
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
    ls_job_close(&job->job);
    ls_pingpong_close(&job->source);
    ls_settings_free(&job->s);
    pthread_mutex_destroy(&job->lock);
    free(job);
    *pjob = NULL;
}
