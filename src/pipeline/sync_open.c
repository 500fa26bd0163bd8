/* A job opened and closed: settings, models, inputs. */
#include "base/alloc.h"
#include "base/os/random.h"
#include "face/choose.h"
#include "media/join.h"
#include "pipeline/budget.h"
#include "pipeline/options.h"
#include "pipeline/quality.h"
#include "pipeline/settings.h"
#include "pipeline/sync_job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DECODER_THREADS 2
#define FEW_STEPS 5
#define HIGH_GUIDANCE 8.0f

bool ls_sync_is_stream(const char *path)
{
    struct stat st;
    return !stat(path, &st) && !S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode);
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

static int open_label(ls_sync *job, ls_error *err)
{
    const char *text = ls_settings_label(job->s.mark);
    const int ret =
        text ? ls_label_open(&job->label, text, ls_pingpong_video(job->source), err) : 0;
    return ret == LS_EINVAL
               ? ls_advise(err, ls_fail_context(err, ret, "mark"), LS_HINT_NONE, "mark")
               : ret;
}

int ls_sync_open_inputs(ls_sync *job, ls_error *err)
{
    ls_video *video = NULL;
    const ls_video_settings v = {.threads = DECODER_THREADS,
                                 .source_fps = job->s.source_fps,
                                 .stream = job->s.video_stream + 1,
                                 .keep_interlaced = job->s.keep_interlaced,
                                 .alpha = ls_encoder_takes_alpha(job->s.video_codec),
                                 .log = &job->log,
                                 .cancel = &job->cancel};
    int ret = ls_video_open(&video, job->s.video, &v, err);
    if (!ret)
        ret = ls_pingpong_open(&job->source, &video, 0, job->s.job, err);
    if (!ret) {
        ls_video_log_choice(ls_pingpong_video(job->source), &job->log);
        ret = check_face(job, err);
    }
    if (!ret)
        ret = open_label(job, err);
    if (!ret && job->s.face_track)
        ret = ls_face_feed_check_track(job->s.face_track, job->s.video,
                                       ls_video_get_info(ls_pingpong_video(job->source)),
                                       &job->cancel, err);
    if (ret)
        return ret;
    if (job->s.keep_sound || job->s.until_video)
        ret = ls_sound_is_in(job->s.video, &job->has_sound, &job->cancel, err);
    if (ret)
        return ret;
    if (job->s.keep_sound && !job->has_sound)
        ls_log_msg(&job->log, LS_LOG_WARN, "%s has no sound that could be kept", job->s.video);
    const ls_encoding like = ls_sync_encoding(job);
    const uint64_t budget = job->s.max_memory ? job->s.max_memory : ls_budget_default();
    if (!ls_budget_allows_encoder(ls_encoder_memory(&like), budget))
        return 0; // the plan will refuse the job
    const ls_join_settings s = {.path = job->s.output,
                                .audio = job->s.audio,
                                .audio_stream = job->s.audio_stream,
                                .own.path = job->has_sound ? job->s.video : NULL,
                                .marks = ls_settings_marks(job->s.mark),
                                .encoding = &like,
                                .log = &job->log};
    return ls_join_check(&s, err);
}

/* What the output is made of; all of it gone, joining needs little memory. */
void ls_sync_close_parts(ls_sync *job)
{
    ls_segment_close(&job->segment);
    ls_snapshot_close(&job->snapshot);
    ls_hls_close(&job->hls);
    ls_stream_close(&job->stream);
    for (size_t i = 0; i < job->model_count; i++)
        ls_generator_close(&job->generators[i]);
    ls_features_close(&job->features);
    ls_log_mel_close(&job->mel);
    ls_pcm_close(&job->pcm);
    ls_sync_return_models(job);
    ls_face_feed_close(&job->faces);
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
    size_t resolution;
    float guidance_scale;
    int ret = ls_settings_find_models(&job->s.models, &job->log, err);
    if (!ret)
        ret = ls_models_defaults(job->s.models, &resolution, &guidance_scale, err);
    if (ret)
        return ret;
    if (!job->s.resolution)
        job->s.resolution = resolution ? resolution : LS_MODELS_RESOLUTION;
    if (!(job->s.guidance_scale > 0))
        job->s.guidance_scale = guidance_scale;
    warn_of_settings(job, resolution);
    return 0;
}

static int settle_seed(ls_sync *job, int64_t was, ls_error *err)
{
    if (job->s.seed >= 0)
        return 0;
    uint32_t drawn;
    if (was < 0 && ls_os_random(&drawn, sizeof drawn))
        return ls_fail_errno(err, errno, "cannot draw a seed");
    job->s.seed = was >= 0 ? was : (int64_t)drawn;
    ls_log_msg(&job->log, LS_LOG_INFO, "seed %lld", (long long)job->s.seed);
    return 0;
}

/* What was left open is what the job was started with, or what suits the machine. */
static int settle_open_settings(ls_sync *job, ls_error *err)
{
    ls_sync_settings was = {.seed = -1};
    json_t *d = NULL;
    if (!job->s.restart)
        ls_job_folder_read(&d, job->s.job, NULL);
    if (d && ls_settings_parse(&was, d, job->s.job, NULL))
        was = (ls_sync_settings){.seed = -1}; // of it only numbers are used
    if (!job->s.threads)
        job->s.threads = ls_calibration_threads();
    const bool binds = job->exists || !ls_job_description_is_previewed(d);
    int ret = ls_sync_choose_device(job, binds ? d : NULL, binds ? was.compute_type : 0, err);
    json_decref(d);
    return ret ? ret : settle_seed(job, was.seed, err);
}

static int open_job(ls_sync *job, ls_error *err)
{
    const ls_listener listener = {job->s.message, job->s.progress, job->s.opaque};
    int ret = ls_events_open(&job->events, &listener, err);
    if (ret)
        return ret;
    ret = ls_budget_check_opening(err);
    if (ret)
        return ret;
    job->log = ls_events_log(job->events);
    job->progress.events = job->events;
    job->engine = job->s.engine;
    if (!job->engine)
        ret = ls_engine_open(&job->own_engine, err);
    if (job->own_engine)
        job->engine = job->own_engine;
    if (!ret && job->s.stream)
        ret = ls_hls_check(job->s.video_codec, err);
    if (!ret)
        ret = choose_models(job, err);
    if (!ret)
        ret = settle_open_settings(job, err);
    if (!ret && !ls_sync_is_stream(job->s.video) && !ls_sync_is_stream(job->s.audio) &&
        !(job->s.features_from && ls_sync_is_stream(job->s.features_from)) &&
        !(job->s.face_track && ls_sync_is_stream(job->s.face_track)))
        ret = ls_sync_open_inputs(job, err);
    if (!ret)
        ret = ls_sync_use_cpu(job, ls_sync_borrow_models(job, err), err);
    if (!ret && ls_canceled(&job->cancel))
        ret = ls_fail(err, LS_ECANCELED, "canceled");
    return ret;
}

/* What is written: the output, or a preview of it. */
static int name_target(ls_sync *job, ls_error *err)
{
    char path[PATH_MAX];
    int ret = job->s.preview > 0 ? ls_settings_preview_path(job->s.output, path, err) : 0;
    if (!ret)
        job->target = strdup(job->s.preview > 0 ? path : job->s.output);
    return ret || job->target ? ret : ls_fail(err, LS_ENOMEM, "out of memory");
}

/* `exists`: a job as its folder describes it. */
static int open_as(ls_sync **out, const ls_sync_settings *settings, bool exists, ls_error *err)
{
    ls_sync_settings s;
    *out = NULL;
    int ret = ls_settings_take(&s, settings, err);
    if (!ret)
        ret = ls_settings_check(&s, err);
    if (ret)
        return ret;
    ls_quality_fill(&s);
    ls_sync *job = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    job->s = s;
    job->exists = exists;
    job->cancel.parent = s.cancel;
    job->end_faces.parent = &job->cancel;
    ls_job_progress_open(&job->progress, NULL);
    ret = ls_settings_own(&job->s, err);
    if (!ret)
        ret = name_target(job, err);
    if (!ret)
        ret = open_job(job, err);
    if (ret)
        ls_sync_close(&job);
    *out = job;
    return ret;
}

int ls_sync_open(ls_sync **out, const ls_sync_settings *settings, ls_error *err)
{
    return open_as(out, settings, false, err);
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
    json_t *d;
    *out = NULL;
    ls_sync_default_settings(&s, sizeof s);
    int ret = how ? take_how(&s, how, err) : 0;
    if (ret)
        return ret;
    s.job = folder;
    ret = ls_job_folder_read(&d, folder, err);
    if (!ret)
        ret = ls_settings_parse(&s, d, folder, err);
    if (s.any_device)
        s.compute_type = LS_COMPUTE_AUTO;
    const json_t *plan = json_object_get(d, "plan");
    const double frames = (double)json_integer_value(json_object_get(plan, "segment_frames")),
                 num = (double)json_integer_value(json_object_get(plan, "fps_num")),
                 den = (double)json_integer_value(json_object_get(plan, "fps_den"));
    s.segment_seconds = frames * den / (num > 0 ? num : 1);
    if (!ret)
        ret = open_as(out, &s, true, err);
    if (!ret)
        (*out)->is_foreign = !ls_job_folder_is_from_here(d, folder);
    json_decref(d);
    return ret;
}

void ls_sync_close(ls_sync **pjob)
{
    ls_sync *job = *pjob;
    if (!job)
        return;
    ls_sync_close_parts(job);
    ls_job_folder_close(&job->folder);
    ls_pingpong_close(&job->source);
    ls_label_close(&job->label);
    ls_quiet_close(&job->quiet);
    ls_engine_close(&job->own_engine);
    ls_settings_free(&job->s);
    free(job->target);
    ls_job_progress_close(&job->progress);
    ls_events_close(&job->events);
    free(job);
    *pjob = NULL;
}
