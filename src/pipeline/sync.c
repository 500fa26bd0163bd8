/* A job from its folder to its output: plan, render what is missing, join. */
#include "base/alloc.h"
#include "base/output.h"
#include "base/system.h"
#include "base/time.h"
#include "media/join.h"
#include "pipeline/chunk_store.h"
#include "pipeline/describe.h"
#include "pipeline/pcm_source.h"
#include "pipeline/settings.h"
#include "pipeline/sync_job.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEGMENT_CHUNKS 15 /* 9.6 s: a key frame that often costs few bits */
#define MANY_SEGMENTS 4096
#define SLACK 16        /* frames, by which a video is at least longer if it is not to turn */
#define ROUNDING 0.0005 /* s, by which the length of a recording may be rounded up */

uint64_t ls_sync_segment_begin(const ls_sync *job, uint64_t segment)
{
    const uint64_t begin = (job->first_segment + segment) * job->segment_frames;
    return begin > job->first ? begin : job->first;
}

uint64_t ls_sync_segment_end(const ls_sync *job, uint64_t segment)
{
    const uint64_t end = (job->first_segment + segment + 1) * job->segment_frames;
    return end < job->end ? end : job->end;
}

uint64_t ls_sync_segment_length(const ls_sync *job, uint64_t segment)
{
    return ls_sync_segment_end(job, segment) - ls_sync_segment_begin(job, segment);
}

const char *ls_sync_segment_file(const ls_sync *job, uint64_t segment)
{
    return job->s.preview > 0 ? ls_job_folder_file(job->folder, "preview.nut")
                              : ls_job_folder_segment(job->folder, segment);
}

ls_encoding ls_sync_encoding(const ls_sync *job)
{
    return (ls_encoding){.codec = job->s.video_codec,
                         .preset = job->s.preset,
                         .crf = job->s.crf,
                         .like = ls_pingpong_video(job->source),
                         .pixel_format = job->s.pixel_format};
}

static double fps_of(const ls_video *v)
{
    const ls_video_info *i = ls_video_get_info(v);
    return (double)i->fps_num / i->fps_den;
}

/* When the frame `end` of the whole is due. A frame of a varying rate may be shown for long, but
 * not beyond the speech. */
double ls_sync_seconds_at(const ls_sync *job, uint64_t end)
{
    const ls_video *v = ls_pingpong_video(job->source);
    const double seconds = ls_video_seconds(v, end);
    return ls_video_times(v) && end == job->span.frames && end == job->span.mouths
               ? fmin(seconds, job->sound.seconds)
               : seconds;
}

/* Frames of the whole that are due before then; one that is due within a microsecond is not. */
static uint64_t frames_before(const ls_video *v, double seconds)
{
    const double margin = 1e-6, n = ls_video_times(v) ? (double)ls_times_before(ls_video_times(v),
                                                                                seconds - margin)
                                                      : ceil((seconds - margin) * fps_of(v));
    return n > 0 ? (uint64_t)n : 0;
}

static void plan_part(ls_sync *job)
{
    job->plan = (ls_sync_plan_facts){
        .frames = job->end - job->first,
        .segments = (job->end + job->segment_frames - 1) / job->segment_frames - job->first_segment,
        .segment_frames = job->segment_frames};
}

/* Which of the frames are made, and in which segments of the whole they are. */
static int choose_part(ls_sync *job, ls_error *err)
{
    const ls_video *v = ls_pingpong_video(job->source);
    const double start = job->s.start, duration = job->s.duration;
    job->first = frames_before(v, start);
    job->end = duration > 0 ? frames_before(v, start + duration) : job->span.frames;
    if (job->first >= job->span.frames)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "the output lasts %.2f s, so no part of it starts at %.2f s",
                                 ls_sync_seconds_at(job, job->span.frames), start),
                         LS_HINT_NONE, "start");
    job->end = job->end < job->span.frames ? job->end : job->span.frames;
    if (job->end <= job->first)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL, "no frame begins within %.4g s from %.4g s on",
                                 duration, start),
                         LS_HINT_NONE, "duration");
    job->first_segment = job->first / job->segment_frames;
    plan_part(job);
    if (job->end - job->first < job->span.frames)
        ls_log_msg(&job->log, LS_LOG_INFO, "of them, %llu are made from %.2f s on",
                   (unsigned long long)(job->end - job->first),
                   ls_sync_seconds_at(job, job->first));
    return 0;
}

static uint64_t row_of(const void *times, uint64_t frame)
{
    return ls_times_periods(times, frame, LS_FEATURE_RATE);
}

/* The original makes the frames that it has features of, two more than the speech lasts; those are
 * what the networks work on, and those that the speech lasts are written. */
static ls_stream_span count_frames(double seconds, const ls_video *v, uint64_t features)
{
    const ls_times *times = ls_video_times(v);
    const double lasts = times ? (double)ls_times_before(times, seconds - ROUNDING)
                               : ceil((seconds - ROUNDING) * fps_of(v));
    ls_stream_span s = {.mouths = lasts > 1 ? (uint64_t)lasts : 1};
    s.mouths = s.mouths < features ? s.mouths : features;
    s.fed = ls_chunks_of(s.mouths) * LS_CHUNK_FRAMES;
    s.fed = s.fed < features ? s.fed : features;
    s.frames = s.mouths;
    return s;
}

/* The speech as samples, or what the lips follow instead, as long as the speech. */
static int read_speech(ls_sync *job, ls_error *err)
{
    ls_sound_settings s = {.path = job->s.audio,
                           .stream = job->s.audio_stream,
                           .offset = job->s.offset / 1000,
                           .log = &job->log,
                           .cancel = &job->cancel};
    if (!job->s.features_from) {
        const int ret = ls_pcm_open(&job->pcm, &s, job->s.job, err);
        if (!ret)
            job->sound = *ls_pcm_facts(job->pcm);
        return ret;
    }
    int ret = ls_sound_scan(&job->sound, &s, err);
    s.path = job->s.features_from;
    s.stream = -1;
    if (!ret)
        ret = ls_pcm_open(&job->pcm, &s, job->s.job, err);
    if (!ret)
        ls_pcm_fit(job->pcm, (uint64_t)llrint(job->sound.seconds * LS_PCM_RATE));
    return ret;
}

/* Lets the rest of a video that is longer than the speech follow. For its length all of it is
 * decoded, unless an index says it. */
static int go_on_until_video(ls_sync *job, ls_error *err)
{
    ls_video *v = ls_pingpong_video(job->source);
    const char *index = ls_job_folder_file(job->folder, "video.index");
    if (!access(index, F_OK))
        ls_video_load_index(v, index, NULL);
    int ret = ls_video_length(v) ? 0 : ls_video_seek(v, INT64_MAX, err);
    if (ret && ret != LS_EOF)
        return ret;
    const uint64_t length = ls_video_length(v);
    job->span.frames = length > job->span.mouths ? length : job->span.mouths;
    return 0;
}

/* Of a job that is only estimated, no more than its first frames are made. */
static void cut_to_sample(ls_sync *job)
{
    job->sample->frames = job->end - job->first;
    const uint64_t chunks = ls_chunks_of(job->sample->frames),
                   kept = job->segment_frames / LS_CHUNK_FRAMES + job->model_count;
    job->sample->chunk_bytes =
        ls_chunk_store_bytes(chunks < kept ? chunks : kept, LS_CHUNK_FRAMES, job->s.resolution);
    job->sample->seconds = ls_sync_seconds_at(job, job->end) - ls_sync_seconds_at(job, job->first);
    if (!job->sample->most || job->sample->most >= job->sample->frames)
        return;
    job->end = job->first + job->sample->most;
    job->span = (ls_stream_span){job->end, job->end, job->end};
    plan_part(job);
}

/* How long the output will be. */
static int open_speech(ls_sync *job, ls_error *err)
{
    const ls_video *video = ls_pingpong_video(job->source);
    const ls_video_info *v = ls_video_get_info(video);
    const double fps = fps_of(video);
    const ls_pcm_source pcm = ls_pcm_source_of(job->pcm);
    int ret = ls_log_mel_open(&job->mel, &pcm, &job->cancel, err);
    if (ret && ret != LS_ECANCELED)
        ls_fail_context(err, ret, "%s", job->s.audio);
    const ls_feature_settings features = {.fps = fps,
                                          .overlap = job->s.audio_windows == LS_WINDOWS_OVERLAP,
                                          .close = job->s.silence == LS_SILENCE_CLOSE};
    if (!ret)
        ret = ls_features_open(&job->features, job->models[0]->whisper, job->mel, &features, err);
    if (ret)
        return ret;
    if (ls_video_times(video))
        ls_features_set_clock(job->features, &(ls_feature_clock){row_of, ls_video_times(video)});
    const double seconds = job->sound.seconds;
    job->span = count_frames(seconds, video, ls_features_frames(job->features));
    if (job->s.until_video)
        ret = go_on_until_video(job, err);
    if (ret)
        return ret;
    const uint64_t chunks = ls_chunks_of(job->span.frames);
    uint64_t each = job->s.segment_seconds > 0
                        ? (uint64_t)(job->s.segment_seconds * fps / LS_CHUNK_FRAMES + 0.5)
                        : SEGMENT_CHUNKS;
    if (job->s.segment_seconds <= 0 && each * MANY_SEGMENTS < chunks)
        each = (chunks + MANY_SEGMENTS - 1) / MANY_SEGMENTS;
    job->segment_frames = (each ? each : 1) * LS_CHUNK_FRAMES;
    ls_log_msg(&job->log, LS_LOG_INFO, "%.2f s of speech: %llu frames of %zu x %zu at %.6g/s",
               seconds, (unsigned long long)job->span.frames, v->width, v->height, fps);
    ret = choose_part(job, err);
    if (!ret && job->sample)
        cut_to_sample(job);
    return ret;
}

static int open_faces(ls_sync *job, bool whole, ls_error *err)
{
    const uint64_t needed = ls_chunks_of(job->end) * LS_CHUNK_FRAMES;
    ls_stream_span span = job->span;
    span.mouths = span.mouths < needed ? span.mouths : needed;
    span.fed = span.fed < needed ? span.fed : needed;
    const char *kept = ls_job_folder_file(job->folder, "faces.jsonl"), *track = job->s.face_track;
    const bool there = !track && !access(kept, F_OK), intact = there && ls_record_is_whole(kept);
    if (there && !intact)
        ls_log_msg(&job->log, LS_LOG_WARN, "%s is damaged; faces are detected again", kept);
    if (intact)
        track = kept;
    else if (!track && whole)
        snprintf(job->track_path, sizeof job->track_path, "%s", kept);
    int ret = ls_face_feed_open(&job->faces, &job->s, track, ls_pingpong_video(job->source), &span,
                                job->s.job, &job->log, err);
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
                                .models = job->models[0],
                                .faces = job->faces,
                                .video = ls_video_get_info(ls_pingpong_video(job->source)),
                                .frames = job->plan.frames,
                                .segments = job->plan.segments,
                                .segment_frames = job->plan.segment_frames};
    json_t *d, *begun = NULL;
    int ret = ls_describe_job(&d, &facts, err);
    if (!ret && job->s.any_device && !ls_job_folder_read(&begun, job->s.job, NULL))
        ls_describe_as_begun(d, begun);
    json_decref(begun);
    return ret ? ret : ls_job_folder_describe(job->folder, d, job->s.preview > 0, err);
}

ls_generator_settings ls_sync_generator_settings(const ls_sync *job)
{
    static const ls_solver solvers[] = {[LS_SAMPLER_DDIM] = LS_SOLVER_DDIM,
                                        [LS_SAMPLER_DPMPP] = LS_SOLVER_DPMPP,
                                        [LS_SAMPLER_UNIPC] = LS_SOLVER_UNIPC};
    ls_sampler_settings sampler = {.steps = job->s.steps,
                                   .guidance_scale = job->s.guidance_scale,
                                   .cache_interval = job->s.cache_interval,
                                   .split_guidance = job->choice.split_guidance,
                                   .solver = solvers[job->s.sampler]};
    ls_settings_interval(job->s.guidance_interval, &sampler.guidance_start, &sampler.guidance_end);
    return (ls_generator_settings){.resolution = job->s.resolution,
                                   .sampler = sampler,
                                   .seed = (uint64_t)job->s.seed,
                                   .vae_frames = job->choice.vae_frames};
}

static int choose_how(ls_sync *job, ls_budget_job *b, ls_budget_memory *memory, ls_error *err)
{
    uint64_t budget = job->s.max_memory;
    if (!budget)
        budget = ls_budget_default();
    for (size_t i = 0; !job->s.max_memory && i < job->model_count; i++) {
        const ls_models_memory m = ls_models_packed(job->models[i]);
        budget += m.host - m.mapped; // the machine counts mapped files as free
    }
    job->progress.budget = budget;
    b->opaque = job->models[0];
    b->place = ls_budget_place_of(job->models, job->model_count, job->s.max_vram);
    int ret = ls_budget_choose(&job->choice, memory, b, budget, err);
    for (size_t i = 1; !ret && i < job->model_count; i++)
        ls_budget_stream(job->models[i], job->choice.streamed);
    return ret;
}

static void report_plan(const ls_sync *job, const ls_budget_job *b, const ls_budget_memory *memory)
{
    const char *dtype = ls_dtype_name(ls_dtype_of(job->s.compute_type));
    if (!b->place.card_count)
        ls_log_msg(&job->log, LS_LOG_INFO, "networks on the CPU, %s%s%s", dtype,
                   *job->why_cpu ? ": " : "", job->why_cpu);
    ls_budget_report(&job->choice, memory, &b->place, job->progress.budget, dtype, &job->log);
}

static void note_plan(const ls_sync *job, const ls_budget_job *b, const ls_budget_memory *memory)
{
    ls_network *nets[LS_NETWORKS];
    ls_sync_sample *s = job->sample;
    ls_models_list(job->models[0], nets);
    const ls_device_info *info = ls_network_device(nets[0]);
    s->memory = *memory;
    s->budget = job->progress.budget;
    s->video_frames = b->video->frames;
    s->searches = b->detects;
    s->cores = b->cores;
    s->compute_type = job->s.compute_type;
    s->counted = s->counts || memory->weights > LS_SAMPLE_WEIGHTS || !info->host;
    s->dtype = job->s.compute_type == LS_COMPUTE_INT8 ? LS_I8 : ls_network_dtype(nets[0]);
    snprintf(s->device, sizeof s->device, "%s", info->name);
}

/* Chooses how to run, before anything large is read. The CPU is better than a card that is too
 * small, and where the number type is free, the smaller one is better than none. */
static int plan_memory(ls_sync *job, ls_error *err)
{
    ls_cpu cpu;
    ls_budget_memory memory;
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    const double frames = (double)ls_pcm_samples(job->pcm) / LS_PCM_RATE * v->fps_num / v->fps_den;
    const ls_encoding encoding = ls_sync_encoding(job);
    ls_cpu_detect(&cpu, "");
    ls_budget_job b = {.measure = ls_budget_measure,
                       .settings = ls_sync_generator_settings(job),
                       .video = v,
                       .turns = frames + SLACK > (double)v->frames,
                       .encoder = ls_encoder_memory(&encoding),
                       .detects = !job->s.face_track,
                       .whole_crop = job->s.blend == LS_BLEND_CROP,
                       .cores = job->s.threads ? job->s.threads : cpu.cores,
                       .space = ls_address_space_left()};
    int ret = choose_how(job, &b, &memory, err);
    if (ret && job->free_device) {
        ret = ls_sync_use_cpu(job, ret, err);
        if (!ret)
            ret = choose_how(job, &b, &memory, err);
    }
    if (ret == LS_ENOMEM && job->free_type && job->s.compute_type == LS_COMPUTE_FLOAT32 &&
        ls_device_cpu_computes(LS_BF16)) {
        job->s.compute_type = LS_COMPUTE_BFLOAT16;
        ret = ls_sync_borrow_models(job, err);
        if (!ret)
            ret = choose_how(job, &b, &memory, err);
    }
    if (!ret)
        report_plan(job, &b, &memory);
    if (!ret && job->sample)
        note_plan(job, &b, &memory);
    return ret;
}

/* Inputs are read more than once, so a pipe's bytes are kept in the job's folder. */
static int keep_stream(ls_sync *job, const char *name, const char *key, const char **path,
                       ls_error *err)
{
    if (!*path || !ls_sync_is_stream(*path))
        return 0;
    const char *kept = ls_job_folder_file(job->folder, name);
    ls_log_msg(&job->log, LS_LOG_INFO, "%s is not a regular file; buffering it in %s", *path, kept);
    int ret = ls_job_folder_keep_input(job->folder, name, key, *path, &job->cancel, err);
    return ret ? ret : ls_settings_replace(path, ls_job_folder_file(job->folder, name), err);
}

static int open_folder(ls_sync *job, ls_job_folder_mode mode, int64_t segment, ls_error *err)
{
    if (mode == LS_JOB_CREATE && job->s.restart)
        mode = LS_JOB_RESTART;
    int ret = ls_job_folder_open(&job->folder, job->s.job, mode, segment, &job->log, err);
    if (ret || job->source)
        return ret;
    ret = keep_stream(job, "video", "video", &job->s.video, err);
    if (!ret)
        ret = keep_stream(job, "audio", "audio", &job->s.audio, err);
    if (!ret)
        ret = keep_stream(job, "features", "features", &job->s.features_from, err);
    if (!ret)
        ret = keep_stream(job, "track", "face track", &job->s.face_track, err);
    return ret ? ret : ls_sync_open_inputs(job, err);
}

/* Takes the folder, or a segment of it, and brings it and what was opened together. */
static int start(ls_sync *job, ls_job_folder_mode mode, int64_t segment, bool renders,
                 ls_error *err)
{
    uint64_t found = 0;
    ls_job_progress_enter(&job->progress, "prepare");
    int ret = ls_quiet_open(&job->quiet, err);
    if (!ret)
        ret = open_folder(job, mode, segment, err);
    if (!ret)
        ret = read_speech(job, err);
    if (!ret && renders)
        ret = plan_memory(job, err);
    if (!ret)
        ret = open_speech(job, err);
    const bool previews = job->s.preview > 0;
    if (!ret)
        ret = open_faces(job, segment == LS_JOB_ALL && !previews, err);
    if (!ret && previews)
        ret = ls_sync_choose_preview(job, err);
    if (!ret)
        ret = describe(job, err);
    if (!ret)
        ret = ls_job_folder_read_journal(job->folder, segment, &job->cancel, err);
    if (ret)
        return ret;
    if (previews)
        ls_sync_drop_other_chunks(job);
    for (uint64_t k = 0; !previews && k < ls_job_folder_segments(job->folder); k++)
        if (ls_job_folder_finished(job->folder, k))
            found += ls_sync_segment_length(job, k);
    ls_job_progress_set_goal(&job->progress, job->first, job->end - job->first, found);
    job->started = true;
    return 0;
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
    snprintf(job->audio, sizeof job->audio, "%s", audio);
    job->summary.output = job->target;
    job->summary.frames = job->end - job->first;
    job->summary.seconds = ls_sync_seconds_at(job, job->end) - ls_sync_seconds_at(job, job->first);
    job->summary.audio = job->audio;
    job->summary.start = ls_sync_seconds_at(job, job->first);
    if (job->s.preview > 0)
        job->summary.chunks_kept =
            ls_chunk_store_count(job->folder, job->first / LS_CHUNK_FRAMES, ls_chunks_of(job->end));
    job->summary.seed = job->s.seed;
    job->complete = true;
}

ls_join_settings ls_sync_join_settings(const ls_sync *job, const ls_encoding *e)
{
    const double begin = ls_sync_seconds_at(job, job->first),
                 end = ls_sync_seconds_at(job, job->end);
    const bool is_part =
        job->end - job->first<job->span.frames, goes_on = job->span.frames> job->span.mouths,
               mixes = job->has_sound && (goes_on || job->s.keep_sound);
    return (ls_join_settings){
        .path = job->target,
        .audio = job->s.audio,
        .audio_stream = job->s.audio_stream,
        .offset = job->s.offset / 1000,
        .facts = &job->sound,
        .own = {.path = mixes ? job->s.video : NULL,
                .under = job->s.keep_sound ? ls_settings_gain(job->s.keep_sound) : 0,
                .period =
                    goes_on ? 0 : ls_video_seconds(e->like, ls_video_get_info(e->like)->frames)},
        .sound_seconds = goes_on || is_part ? end : 0,
        .first = job->first,
        .seconds = end - begin,
        .marks = ls_settings_marks(job->s.mark),
        .encoding = e,
        .log = &job->log};
}

static int join(ls_sync *job, ls_error *err)
{
    const ls_encoding e = ls_sync_encoding(job);
    ls_join_settings s = ls_sync_join_settings(job, &e);
    ls_join *out = NULL;
    const bool previews = job->s.preview > 0;
    const uint64_t n = previews ? 1 : ls_job_folder_segments(job->folder);
    ls_job_progress_enter(&job->progress, "finish");
    int ret = previews ? 0 : check_finished(job, err);
    for (uint64_t k = 0; !ret && k < n; k++) {
        const uint64_t delay =
            previews ? job->preview.delay : ls_job_folder_finished(job->folder, k)->delay;
        s.delay = s.delay > delay ? s.delay : delay;
    }
    if (!ret) {
        ls_output_remove_stale(job->target);
        ret = ls_join_open(&out, &s, err);
    }
    for (uint64_t k = 0; !ret && k < n; k++)
        ret = ls_join_add(out, ls_sync_segment_file(job, k), ls_sync_segment_length(job, k),
                          &job->cancel, err);
    if (!ret)
        ret = ls_join_finish(out, err);
    if (!ret)
        summarize(job, ls_join_audio_mode(out));
    ls_join_close(&out);
    if (previews) {
        unlink(ls_sync_segment_file(job, 0));
        return ret;
    }
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
    ls_memory_tally tallies[LS_MEMORY_TAGS];
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
    ls_sync_close_parts(job);
    log_memory(&job->log, &m);
    ls_job_folder_close(&job->folder);
    ls_quiet_close(&job->quiet);
    if (ret && job->started && !stat(job->s.job, &st))
        job->resumable = job->s.job;
    job->complete = job->complete && !ret;
    job->summary.peak_resident_bytes = m.peak_resident;
    job->summary.elapsed_seconds = ls_time_now() - job->progress.start;
    return ret;
}

/* Names that another machine or another user chose are not written to unasked. */
static int check_trust(const ls_sync *job, ls_error *err)
{
    const char *track = job->s.save_track;
    if (!job->is_foreign || job->s.trust_job)
        return 0;
    ls_fail(err, LS_EINVAL,
            "%s was not begun here, but copied or made elsewhere; it says to write %s%s%s",
            job->s.job, job->s.output, track ? " and " : "", track ? track : "");
    return ls_advise(err, LS_EINVAL, LS_HINT_TRUST_JOB, "trust-job");
}

int ls_sync_run(ls_sync *job, ls_error *err)
{
    int ret = check_trust(job, err);
    if (!ret)
        ret = start(job, job->exists ? LS_JOB_EXISTING : LS_JOB_CREATE, LS_JOB_ALL, true, err);
    const bool previews = job->s.preview > 0;
    const uint64_t n = ret        ? 0
                       : previews ? 1
                                  : ls_job_folder_segments(job->folder),
                   done = ret || previews ? 0 : ls_job_folder_count_finished(job->folder);
    if (done)
        ls_log_msg(&job->log, LS_LOG_INFO, "resuming: %llu of %llu segments in %s are finished",
                   (unsigned long long)done, (unsigned long long)n, job->s.job);
    if (!ret && job->s.stream)
        ret = ls_sync_open_live(job, err);
    if (!ret && done < n)
        ret = ls_sync_render_segments(job, 0, n, err);
    ls_sync_close_parts(job);
    return end(job, ret ? ret : join(job, err));
}

/* Plans once more, with another quality. */
static int plan_as(ls_sync *job, const ls_sync_settings *s, ls_sync_sample *sample, ls_error *err)
{
    sample->frames = job->sample->frames;
    sample->seconds = job->sample->seconds;
    job->sample = sample;
    job->s.sampler = s->sampler;
    job->s.steps = s->steps;
    job->s.cache_interval = s->cache_interval;
    const int ret = ls_settings_replace(&job->s.guidance_interval, s->guidance_interval, err);
    return ret ? ret : plan_memory(job, err);
}

int ls_sync_survey(ls_sync *job, const ls_sync_settings *each, ls_sync_sample *samples,
                   size_t count, ls_error *err)
{
    job->sample = &samples[0];
    int ret = start(job, LS_JOB_CREATE, LS_JOB_ALL, true, err);
    for (size_t i = 1; !ret && i < count; i++)
        ret = plan_as(job, &each[i], &samples[i], err);
    ls_sync_close_parts(job);
    ls_job_folder_remove(&job->folder);
    return end(job, ret);
}

/* A stream is of segments in their order, which only ls_sync_run knows to come. */
static int refuse_stream(const ls_sync *job, ls_error *err)
{
    return job->s.stream ? ls_advise(err,
                                     ls_fail(err, LS_EINVAL,
                                             "stream: only a job that runs as a whole makes it"),
                                     LS_HINT_NONE, "stream")
                         : 0;
}

int ls_sync_plan(ls_sync *job, uint64_t *segments, ls_error *err)
{
    if (job->s.preview > 0)
        return ls_advise(
            err, ls_fail(err, LS_EINVAL, "preview: a preview is made as a whole, not planned"),
            LS_HINT_NONE, "preview");
    int ret = refuse_stream(job, err);
    if (!ret)
        ret = start(job, LS_JOB_CREATE, LS_JOB_ALL, true, err);
    if (!ret && ls_face_feed_runs(job->faces))
        ret = ls_sync_plan_faces(job, err);
    if (!ret && *job->index_path && access(job->index_path, F_OK)) { // no detection has made one
        ret = ls_pingpong_seek(job->source, job->span.frames - 1, err);
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
    int ret = refuse_stream(job, err);
    if (!ret)
        ret = start(job, LS_JOB_EXISTING, (int64_t)segment, true, err);
    if (!ret && segment >= ls_job_folder_segments(job->folder))
        ret = ls_fail(err, LS_EINVAL, "segment %llu: %s has segments 0 to %llu",
                      (unsigned long long)segment, job->s.job,
                      (unsigned long long)ls_job_folder_segments(job->folder) - 1);
    if (!ret && ls_job_folder_finished(job->folder, segment)) {
        ls_log_msg(&job->log, LS_LOG_INFO, "segment %llu is already finished",
                   (unsigned long long)segment);
    } else if (!ret) {
        ls_job_progress_set_goal(&job->progress, ls_sync_segment_begin(job, segment),
                                 ls_sync_segment_length(job, segment), 0);
        ret = ls_sync_render_segments(job, segment, segment + 1, err);
    }
    return end(job, ret);
}

int ls_sync_join(ls_sync *job, ls_error *err)
{
    int ret = refuse_stream(job, err);
    if (!ret)
        ret = check_trust(job, err);
    if (!ret)
        ret = start(job, LS_JOB_EXISTING, LS_JOB_ALL, false, err);
    ls_sync_close_parts(job);
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
