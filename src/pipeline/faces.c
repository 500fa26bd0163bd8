/* The public listing of faces. */
#include "backend/team.h"
#include "base/alloc.h"
#include "base/system.h"
#include "base/time.h"
#include "latentsync/faces.h"
#include "models/models.h"
#include "pipeline/events.h"
#include "pipeline/options.h"
#include "pipeline/preview.h"
#include "pipeline/scout.h"
#include "pipeline/settings.h"

#include <stdlib.h>
#include <string.h>

#define REPORT_SECONDS 0.1

struct ls_faces {
    ls_faces_settings s;
    ls_events *events;
    ls_log log;
    ls_scout *scout;
    ls_record_writer *writer;
    ls_faces_track *tracks;
    size_t track_count;
    double start, reported;
};

static int write_line(void *opaque, const char *line, size_t n, ls_error *err)
{
    ls_faces *job = opaque;
    return job->s.line(job->s.opaque, line, n)
               ? ls_fail(err, LS_EIO, "the face track cannot be written")
               : 0;
}

static int open_job(ls_faces *job, ls_error *err)
{
    const ls_scout_settings s = {
        .video = job->s.video,
        .video_stream = job->s.video_stream + 1,
        .keep_interlaced = job->s.keep_interlaced,
        .source_fps = job->s.source_fps,
        .detector = {.models = job->s.models, .path = job->s.detector, .threads = job->s.threads},
        .follow = {job->s.max_gap, job->s.detect_every, job->s.min_face},
        .log = &job->log};
    int ret = ls_scout_open(&job->scout, &s, err);
    if (ret)
        return ret;
    ls_scout_log_choice(job->scout, &job->log);
    if (!job->s.line)
        return 0;
    const ls_video_info *v = ls_scout_video(job->scout);
    const ls_record_timeline timeline = {v->width, v->height, v->fps_num, v->fps_den};
    return ls_record_writer_open_sink(&job->writer, (ls_line_sink){write_line, job}, &timeline,
                                      err);
}

int ls_faces_open(ls_faces **out, const ls_faces_settings *settings, ls_error *err)
{
    ls_faces_settings s;
    *out = NULL;
    int ret = ls_settings_take_faces(&s, settings, err);
    if (!ret)
        ret = ls_options_check(NULL, &s, err);
    if (ret)
        return ret;
    ls_faces *job = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    job->s = s;
    ret = ls_settings_own_faces(&job->s, err);
    const ls_listener listener = {s.message, s.progress, s.opaque};
    if (!ret)
        ret = ls_events_open(&job->events, &listener, err);
    if (!ret) {
        job->log = ls_events_log(job->events);
        if (!job->s.detector)
            ret = ls_settings_find_models(&job->s.models, &job->log, err);
    }
    if (!ret)
        ret = open_job(job, err);
    if (ret)
        ls_faces_close(&job);
    *out = job;
    return ret;
}

void ls_faces_close(ls_faces **pjob)
{
    ls_faces *job = *pjob;
    if (!job)
        return;
    ls_record_writer_close(&job->writer);
    ls_scout_close(&job->scout);
    ls_settings_free_faces(&job->s);
    ls_events_close(&job->events);
    free(job->tracks);
    free(job);
    *pjob = NULL;
}

static int take_record(void *opaque, const ls_face_record *rec, ls_error *err)
{
    ls_faces *job = opaque;
    return job->writer ? ls_record_write(job->writer, rec, err) : 0;
}

static void report(ls_faces *job, uint64_t frame, uint64_t frames)
{
    job->reported = ls_time_now();
    const double seconds = job->reported - job->start;
    ls_report r = {.p = {.stage = "faces",
                         .frame = frame,
                         .frames = frames > frame ? frames : frame,
                         .seconds = seconds,
                         .resident_bytes = ls_process_memory_now().resident}};
    r.p.fraction = r.p.frames ? (double)frame / (double)r.p.frames : 0;
    r.p.frames_per_second = seconds > 0 ? (double)frame / seconds : 0;
    if (r.p.frames_per_second > 0)
        r.p.seconds_left = (double)(r.p.frames - frame) / r.p.frames_per_second;
    ls_events_report(job->events, &r);
}

/* A frame may take a microsecond, a report takes longer. */
static void note_progress(void *opaque, uint64_t frame, uint64_t frames)
{
    ls_faces *job = opaque;
    if (ls_time_now() - job->reported >= REPORT_SECONDS)
        report(job, frame, frames);
}

static int list_tracks(ls_faces *job, const ls_scout_track *tracks, size_t count, ls_error *err)
{
    job->tracks = ls_calloc_array(count ? count : 1, sizeof *job->tracks);
    if (!job->tracks)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++) {
        const ls_track_summary *s = &tracks[i].summary;
        job->tracks[i] = (ls_faces_track){.id = s->id,
                                          .first = s->first,
                                          .last = s->last,
                                          .frames = tracks[i].frames,
                                          .share = s->share,
                                          .score = s->score};
        memcpy(job->tracks[i].box, s->box, sizeof s->box);
    }
    job->track_count = count;
    return 0;
}

int ls_faces_run(ls_faces *job, ls_error *err)
{
    const ls_scout_sink sink = {take_record, note_progress, job};
    const ls_video_settings video = {.source_fps = job->s.source_fps,
                                     .stream = job->s.video_stream + 1,
                                     .keep_interlaced = job->s.keep_interlaced};
    const ls_scout_track *tracks;
    size_t written = 0;
    ls_log_msg(&job->log, LS_LOG_INFO, "detecting faces with %s",
               ls_detector_describe(ls_scout_detector(job->scout)));
    job->start = ls_time_now();
    ls_quiet *quiet = NULL;
    int ret = ls_quiet_open(&quiet, err);
    if (!ret)
        ret = ls_scout_run(job->scout, &sink, job->s.cancel, err);
    if (!ret)
        report(job, ls_scout_frames(job->scout), ls_scout_frames(job->scout));
    if (!ret && job->writer)
        ret = ls_scout_save(job->scout, job->writer, err);
    size_t count = ls_scout_tracks(job->scout, &tracks);
    if (!ret)
        ret = list_tracks(job, tracks, count, err);
    if (!ret && job->s.preview)
        ret = ls_preview_write(job->s.preview, job->s.video, &video, tracks, count, &written,
                               job->s.cancel, err);
    ls_quiet_close(&quiet);
    if (!ret && written)
        ls_log_msg(&job->log, LS_LOG_INFO, "wrote %zu images to %s", written, job->s.preview);
    return ret;
}

uint64_t ls_faces_frames(const ls_faces *job)
{
    return ls_scout_frames(job->scout);
}

int ls_faces_get_small(const ls_faces *job, size_t *width, size_t *height)
{
    const ls_small_face *small = ls_scout_small_face(job->scout);
    *width = small ? small->width : 0;
    *height = small ? small->height : 0;
    return small != NULL;
}

const ls_faces_track *ls_faces_get_track(const ls_faces *job, size_t index)
{
    return index < job->track_count ? &job->tracks[index] : NULL;
}
