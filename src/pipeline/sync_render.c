/* The frames of a job: segments encoded, faces detected, watched over. */
#include "base/output.h"
#include "base/alloc.h"
#include "base/time.h"
#include "pipeline/chunk_store.h"
#include "pipeline/settings.h"
#include "pipeline/sync_job.h"
#include "pipeline/watch.h"

#include <stdio.h>

static const char *const names[LS_NETWORKS] = {"UNet", "VAE", "Whisper"};

static void narrow(void *opaque, size_t frames)
{
    ls_sync *job = opaque;
    ls_job_progress_set_in_flight(&job->progress, frames);
    ls_stream_set_frames(job->stream, frames);
}

/* A finished segment needs its chunks no more. */
static void drop_chunks(const ls_sync *job, uint64_t segment)
{
    const uint64_t chunks = job->segment_frames / LS_CHUNK_FRAMES;
    const uint64_t at = (job->first_segment + segment) * chunks;
    ls_chunk_store_drop(job->folder, at, at + chunks);
}

/* For the eye alone: where it fails, the job goes on without. */
static void show(ls_sync *job, const ls_frame *f)
{
    ls_error err;
    if (job->snapshot && ls_snapshot_take(job->snapshot, f, &err)) {
        ls_log_msg(&job->log, LS_LOG_WARN, "%s; the newest frame is no longer written",
                   err.message);
        ls_snapshot_close(&job->snapshot);
    }
}

/* Likewise. */
static void extend_stream(ls_sync *job)
{
    ls_error err;
    const int ret = job->hls ? ls_sync_extend_live(job, &err) : 0;
    if (ret && ret != LS_ECANCELED)
        ls_log_msg(&job->log, LS_LOG_WARN, "%s; the stream ends here", err.message);
    if (ret)
        ls_hls_close(&job->hls);
}

/* The next frame of the output, to its segment. */
static int encode(void *opaque, uint64_t index, ls_frame *f, ls_error *err)
{
    ls_sync *job = opaque;
    const uint64_t k = index / job->segment_frames - job->first_segment;
    const ls_encoding e = ls_sync_encoding(job);
    ls_segment_info info;
    int ret = 0;
    if (!job->segment) {
        snprintf(job->segment_path, sizeof job->segment_path, "%s", ls_sync_segment_file(job, k));
        ls_output_remove_stale(job->segment_path);
        ret = ls_segment_open(&job->segment, job->segment_path, &e, err);
    }
    if (!ret && job->label)
        ret = ls_label_draw(job->label, f, err);
    if (!ret)
        ret = ls_segment_write(job->segment, f, err);
    if (!ret && index + 1 == ls_sync_segment_end(job, k)) {
        ret = ls_segment_finish(job->segment, &info, err);
        ls_segment_close(&job->segment);
        job->preview = info;
        if (!ret && !(job->s.preview > 0)) {
            ret = ls_job_folder_record(job->folder, k, &info, err);
            if (!ret)
                drop_chunks(job, k);
        }
        if (!ret)
            extend_stream(job);
    }
    show(job, f);
    ls_job_progress_count_frame(&job->progress);
    return ret;
}

static void *run_faces(void *opaque)
{
    ls_sync *job = opaque;
    const char *track = *job->track_path ? job->track_path : NULL,
               *index = *job->index_path ? job->index_path : NULL;
    int ret = ls_face_feed_run(job->faces, track, index, &job->end_faces, &job->faces_err);
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
        if (end < to)
            drop_chunks(job, end); // an earlier run may have been killed before it did
        if (end > k)
            ret = ls_stream_run(job->stream, ls_sync_segment_begin(job, k),
                                ls_sync_segment_end(job, end - 1), err);
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
    int ret = job->s.preview > 0 ? ls_stream_run(job->stream, job->first, job->end, err)
                                 : run_segments(job, from, to, err);
    if (ret)
        ls_cancel_request(&job->end_faces);
    if (search)
        pthread_join(faces, NULL);
    const bool own = job->faces_err.code && !(ret && job->faces_err.code == LS_ECANCELED);
    if (own && err)
        *err = job->faces_err;
    if (own && job->faces_err.code == LS_ENOFACE && !(job->s.preview > 0))
        ls_job_folder_keep(job->folder, false); // segments without a face are of no use
    else if (search && !job->faces_err.code && *job->track_path)
        ls_job_folder_keep(job->folder, true); // the faces need not be detected again
    return own ? job->faces_err.code : ret;
}

/* Where the time of the networks went, that of other jobs with the same models included. */
static void log_ops(ls_sync *job, ls_models *models)
{
    ls_network *nets[LS_NETWORKS];
    ls_models_list(models, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        double seconds[LS_OP_COUNT] = {0};
        ls_models_lock(models);
        ls_network_op_seconds(nets[i], seconds);
        ls_models_unlock(models);
        for (int op = 0; op < LS_OP_COUNT; op++)
            if (seconds[op] > 0.01)
                ls_log_msg(&job->log, LS_LOG_DEBUG, "%s on %s, %s: %.2f s", names[i],
                           ls_network_device(nets[i])->name, ls_op_name(op), seconds[op]);
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
    job->summary.frames_generated = state.frames[LS_STAGE_GENERATE];
    job->summary.frames_with_face = state.with_face;
    if (state.taken)
        ls_log_msg(&job->log, LS_LOG_INFO, "the faces of %llu frames are an earlier run's",
                   (unsigned long long)state.taken);
    const uint64_t covered = state.hidden[LS_HIDDEN_COVERED],
                   turned = state.hidden[LS_HIDDEN_TURNED], given = state.hidden[LS_HIDDEN_GIVEN];
    job->summary.frames_covered = covered;
    job->summary.frames_turned = turned;
    job->summary.frames_hidden = given;
    if (succeeded && covered + turned + given)
        ls_log_msg(
            &job->log, LS_LOG_INFO,
            "%llu frames keep the video's own mouth: %llu in which something covers it, %llu "
            "with the head turned far, %llu as the face track says",
            (unsigned long long)(covered + turned + given), (unsigned long long)covered,
            (unsigned long long)turned, (unsigned long long)given);
    if (succeeded && state.without_face)
        ls_log_msg(
            &job->log, LS_LOG_WARN, "no face in %llu of %llu frames; those are unchanged",
            (unsigned long long)state.without_face,
            (unsigned long long)(state.with_face + state.without_face + covered + turned + given));
}

/* Networks of which a run takes long are not run for a sample: what they would do is counted. */
static int begin_sample(ls_sync *job, ls_error *err)
{
    ls_network *nets[LS_NETWORKS];
    ls_sync_sample *s = job->sample;
    int ret = 0;
    for (size_t m = 0; s && s->counted && m < job->model_count; m++) {
        ls_models_list(job->models[m], nets);
        for (size_t i = 0; !ret && i < LS_NETWORKS; i++)
            ret = ls_network_estimate_begin(nets[i], err);
    }
    return ret;
}

static void end_sample(ls_sync *job)
{
    ls_network *nets[LS_NETWORKS];
    ls_sync_sample *s = job->sample;
    if (!s)
        return;
    if (ls_face_feed_runs(job->faces))
        ls_face_feed_state(job->faces, &s->searching, &s->searched);
    for (uint64_t k = 0; k < ls_job_folder_segments(job->folder); k++) {
        const ls_segment_info *info = ls_job_folder_finished(job->folder, k);
        s->made_bytes += info ? info->bytes : 0;
    }
    for (size_t m = 0; s->counted && m < job->model_count; m++) {
        ls_models_list(job->models[m], nets);
        for (size_t i = 0; i < LS_NETWORKS; i++) {
            const ls_plan *plan;
            size_t runs;
            for (size_t k = 0; (plan = ls_network_counted_plan(nets[i], k, &runs)); k++)
                ls_work_add(i ? &s->others : &s->unet, ls_plan_graph(plan), (double)runs);
            ls_network_estimate_end(nets[i]);
        }
    }
}

/* Packed weights that are not kept are no reason to stop. */
static void keep_weights(ls_sync *job, const ls_models *models)
{
    ls_network *nets[LS_NETWORKS];
    ls_models_list(models, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        ls_network_kept k;
        ls_error err = {0};
        const int ret = ls_network_keep(nets[i], &k, &job->cancel, &err);
        if (k.refused)
            ls_log_msg(&job->log, LS_LOG_WARN, "packed weights are made again: %s", k.refused);
        if (ret)
            ls_log_msg(&job->log, LS_LOG_DEBUG, "%s: packed weights are not kept: %s", names[i],
                       err.message);
        else if (k.mapped || k.written)
            ls_log_msg(&job->log, LS_LOG_DEBUG, "%s: %.0f MB of packed weights %s %s", names[i],
                       (double)(k.written ? k.written : k.mapped) / 1e6,
                       k.written ? "kept in" : "mapped from", k.path);
    }
}

static int open_generators(ls_sync *job, ls_error *err)
{
    const ls_generator_settings g = ls_sync_generator_settings(job);
    const size_t frames = job->span.fed < LS_CHUNK_FRAMES ? job->span.fed : LS_CHUNK_FRAMES;
    const double start = ls_time_now();
    int ret = 0;
    for (size_t i = 0; !ret && i < job->model_count; i++) {
        ret = ls_generator_open(&job->generators[i], job->models[i], job->features, &g, err);
        if (!ret)
            ret = ls_generator_prepare(job->generators[i], frames, err);
    }
    if (!ret)
        ls_log_msg(&job->log, LS_LOG_DEBUG, "networks prepared in %.2f s", ls_time_now() - start);
    for (size_t i = 0; !ret && i < job->model_count; i++)
        keep_weights(job, job->models[i]);
    return ret;
}

/* Segments [from, to) that are not finished. */
int ls_sync_render_segments(ls_sync *job, uint64_t from, uint64_t to, ls_error *err)
{
    ls_watch *watch = NULL;
    ls_job_progress_set_in_flight(&job->progress, job->choice.frames);
    ls_pingpong_set_window(job->source, job->choice.window_bytes);
    int ret = begin_sample(job, err);
    if (!ret && job->s.newest_frame)
        ret = ls_snapshot_open(&job->snapshot, job->s.newest_frame, ls_pingpong_video(job->source),
                               err);
    if (!ret)
        ret = open_generators(job, err);
    const ls_stream_parts parts = {.source = job->source,
                                   .path = ls_face_feed_path(job->faces),
                                   .generators = job->generators,
                                   .generator_count = job->model_count,
                                   .resolution = job->s.resolution,
                                   .whole_crop = job->s.blend == LS_BLEND_CROP,
                                   .sharpen = ls_settings_sharpen(job->s.sharpen),
                                   .span = job->span,
                                   .frames = job->choice.frames,
                                   .folder = job->folder,
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
    ls_job_progress_enter(&job->progress, job->s.preview > 0 ? "preview" : "frames");
    ret = open_watch(&watch, job, err);
    if (!ret)
        ret = run_stages(job, from, to, err);
    close_watch(&watch, job);
    job->progress.stream = NULL;
    job->progress.faces = NULL;
    for (size_t i = 0; i < job->model_count; i++)
        log_ops(job, job->models[i]);
    note_faces(job, !ret);
    end_sample(job);
    return ret;
}

int ls_sync_plan_faces(ls_sync *job, ls_error *err)
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
