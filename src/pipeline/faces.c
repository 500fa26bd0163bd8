/* The public listing of faces. */
#include "base/alloc.h"
#include "base/system.h"
#include "base/time.h"
#include "latentsync/latentsync.h"
#include "models/models.h"
#include "pipeline/preview.h"
#include "pipeline/scout.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct ls_faces {
    ls_faces_settings s;
    ls_log log;
    ls_cancel cancel;
    ls_scout *scout;
    ls_record_writer *writer;
    double start;
};

void ls_faces_default_settings(ls_faces_settings *s)
{
    *s = (ls_faces_settings){.max_gap = ls_follow_default_settings().max_gap, .detect_every = 1};
}

static void write_message(void *opaque, int level, const char *line)
{
    ls_faces *job = opaque;
    if (job->s.message)
        job->s.message(job->s.opaque, level, line);
}

static int copy_strings(ls_faces_settings *s, ls_error *err)
{
    const char **strings[] = {&s->video, &s->models, &s->detector, &s->preview};
    bool ok = true;
    for (size_t i = 0; i < sizeof strings / sizeof *strings; i++) {
        if (!*strings[i])
            continue;
        *strings[i] = strdup(*strings[i]);
        ok = ok && *strings[i];
    }
    return ok ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

static int write_line(void *opaque, const char *line, size_t n, ls_error *err)
{
    ls_faces *job = opaque;
    return job->s.line(job->s.opaque, line, n)
               ? ls_fail(err, LS_EIO, "the face track could not be written")
               : 0;
}

static int open_job(ls_faces *job, ls_error *err)
{
    const ls_scout_settings s = {
        .video = job->s.video,
        .source_fps = job->s.source_fps,
        .detector = {.models = job->s.models, .path = job->s.detector, .threads = job->s.threads},
        .follow = {job->s.max_gap, job->s.detect_every},
        .log = &job->log};
    int ret = ls_scout_open(&job->scout, &s, err);
    if (ret || !job->s.line)
        return ret;
    const ls_video_info *v = ls_scout_video(job->scout);
    const ls_record_timeline timeline = {v->width, v->height, v->fps_num, v->fps_den};
    return ls_record_writer_open_sink(&job->writer, (ls_line_sink){write_line, job}, &timeline,
                                      err);
}

int ls_faces_open(ls_faces **out, const ls_faces_settings *s, ls_error *err)
{
    char dir[PATH_MAX];
    bool built_in;
    const bool installed = !s->models && !s->detector;
    *out = NULL;
    if (!s->video)
        return ls_fail(err, LS_EINVAL, "a video is required");
    int ret = installed ? ls_models_find(dir, sizeof dir, &built_in, err) : 0;
    if (ret)
        return ret;
    ls_faces *job = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    job->s = *s;
    job->s.models = installed ? dir : s->models;
    job->log = (ls_log){LS_LOG_DEBUG, write_message, job};
    ret = copy_strings(&job->s, err);
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
    free((char *)job->s.video);
    free((char *)job->s.models);
    free((char *)job->s.detector);
    free((char *)job->s.preview);
    free(job);
    *pjob = NULL;
}

void ls_faces_cancel(ls_faces *job)
{
    ls_cancel_request(&job->cancel);
}

static int take_record(void *opaque, const ls_face_record *rec, ls_error *err)
{
    ls_faces *job = opaque;
    return job->writer ? ls_record_write(job->writer, rec, err) : 0;
}

static void report(void *opaque, uint64_t frame, uint64_t frames)
{
    ls_faces *job = opaque;
    double seconds = ls_time_now() - job->start;
    ls_progress p = {.stage = "faces",
                     .frame = frame,
                     .frames = frames > frame ? frames : frame,
                     .resident_bytes = ls_process_memory_now().resident};
    if (!job->s.progress)
        return;
    p.frames_per_second = seconds > 0 ? (double)frame / seconds : 0;
    if (p.frames_per_second > 0)
        p.seconds_left = (double)(p.frames - frame) / p.frames_per_second;
    job->s.progress(job->s.opaque, &p);
}

int ls_faces_run(ls_faces *job, ls_error *err)
{
    const ls_scout_sink sink = {take_record, report, job};
    const ls_scout_track *tracks;
    size_t written = 0;
    ls_log_msg(&job->log, LS_LOG_INFO, "faces are looked for with %s",
               ls_detector_describe(ls_scout_detector(job->scout)));
    job->start = ls_time_now();
    int ret = ls_scout_run(job->scout, 0, &sink, &job->cancel, err);
    if (!ret && job->writer)
        ret = ls_scout_save(job->scout, job->writer, err);
    size_t count = ls_scout_tracks(job->scout, &tracks);
    if (!ret && job->s.preview)
        ret = ls_preview_write(job->s.preview, job->s.video, job->s.source_fps, tracks, count,
                               &written, &job->log, &job->cancel, err);
    if (!ret && written)
        ls_log_msg(&job->log, LS_LOG_INFO, "wrote %zu pictures to %s", written, job->s.preview);
    return ret;
}

uint64_t ls_faces_frames(const ls_faces *job)
{
    return ls_scout_frames(job->scout);
}

int ls_faces_get_track(const ls_faces *job, size_t index, ls_faces_track *track)
{
    const ls_scout_track *t;
    if (index >= ls_scout_tracks(job->scout, &t))
        return 0;
    const ls_track_summary *s = &t[index].summary;
    *track = (ls_faces_track){.id = s->id,
                              .first = s->first,
                              .last = s->last,
                              .frames = t[index].frames,
                              .share = s->share,
                              .score = s->score};
    memcpy(track->box, s->box, sizeof track->box);
    return 1;
}
