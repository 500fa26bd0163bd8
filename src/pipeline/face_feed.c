#include "pipeline/face_feed.h"
#include "base/alloc.h"
#include "base/time.h"
#include "face/hide.h"
#include "pipeline/scout.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TRACK_FRAME 10000000
#define LOOK_ON 750 /* frames in which a face is looked for that comes too late */

struct ls_face_feed {
    const ls_sync_settings *s;
    const char *track; /* file with the faces; NULL: they are detected */
    const ls_video *video;
    ls_stream_span span;
    bool narrowed;
    const ls_log *log;
    ls_scout *scout; /* NULL with a face track */
    ls_chooser *chooser;
    ls_hider hider;         /* unless it is off */
    ls_record_writer *save; /* NULL unless the track is wanted */
    ls_face_path *path;
    double start;
    pthread_mutex_t lock; /* of the two below */
    double seconds;
    uint64_t frames;
};

/* A face in a track file may lie outside the picture. */
static bool is_in_picture(const ls_face_feed *f, const ls_face *face)
{
    const ls_video_info *v = ls_video_get_info(f->video);
    double box[4];
    ls_face_extent(face, box);
    return box[2] >= 0 && box[3] >= 0 && box[0] < (double)v->width && box[1] < (double)v->height;
}

static int put_decided(ls_face_feed *f, ls_error *err)
{
    ls_chosen_face chosen;
    int ret = 0;
    while (!ret && ls_hider_pop(&f->hider, &chosen))
        ret = ls_face_path_put(f->path, &chosen, err);
    return ret;
}

static int put_chosen(ls_face_feed *f, ls_error *err)
{
    ls_chosen_face chosen;
    int ret = 0;
    while (!ret && ls_chooser_pop(f->chooser, &chosen)) {
        if (chosen.id && !is_in_picture(f, &chosen.face))
            chosen.id = 0;
        if (f->s->ignore_occlusion) {
            ret = ls_face_path_put(f->path, &chosen, err);
        } else {
            ls_hider_push(&f->hider, &chosen);
            ret = put_decided(f, err);
        }
    }
    return ret;
}

/* The faces of one more frame: to the track that is kept, and through the choice to the crops. */
static int take_record(void *opaque, const ls_face_record *rec, ls_error *err)
{
    ls_face_feed *f = opaque;
    int ret = f->save ? ls_record_write(f->save, rec, err) : 0;
    if (!ret)
        ret = ls_chooser_push(f->chooser, rec, err);
    return ret ? ret : put_chosen(f, err);
}

/* Likewise; 1 once the crops have all that they will ask for. What is known then does not depend on
 * later frames, so the same is chosen from a track that ends here. */
static int take_found(void *opaque, const ls_face_record *rec, ls_error *err)
{
    ls_face_feed *f = opaque;
    int ret = take_record(f, rec, err);
    return ret ? ret
               : (!f->s->save_track || f->narrowed) &&
                     ls_face_path_count(f->path) >= (int64_t)f->span.fed + LS_FADE_FRAMES;
}

/* `frames`: how many the video has; 0: not known. */
static int finish_faces(ls_face_feed *f, int64_t frames, ls_error *err)
{
    ls_chooser_finish(f->chooser);
    int ret = put_chosen(f, err);
    ls_hider_finish(&f->hider);
    if (!ret)
        ret = put_decided(f, err);
    ls_face_path_finish(f->path, frames, ret);
    return ret;
}

/* Whether a frame gets a new mouth. */
static bool is_own(const ls_face_feed *f, int64_t frame)
{
    return frame >= 0 && (uint64_t)frame < f->span.mouths;
}

static int fail_late(const ls_face_feed *f, const char *file, const char *what, int64_t frame,
                     ls_error *err)
{
    return ls_fail(
        err, LS_ENOFACE,
        "%s: %s in the first %.2f s, which are all that the %s needs; one is seen at %.2f s: use a "
        "video that begins there",
        file, what, ls_video_seconds(f->video, f->span.mouths), f->narrowed ? "preview" : "speech",
        ls_video_seconds(f->video, (uint64_t)frame));
}

/* No face found: fail rather than emit an unmodified copy. */
static int check_found(ls_face_feed *f, const ls_cancel *cancel, ls_error *err)
{
    const ls_scout_track *tracks;
    const size_t count = ls_scout_tracks(f->scout, &tracks);
    int64_t late = count ? tracks[0].summary.first : -1;
    size_t own = 0;
    int ret = 0;
    for (size_t i = 0; i < count; i++)
        own += is_own(f, tracks[i].summary.first);
    if (own && is_own(f, ls_face_path_first(f->path)))
        return 0;
    if (own)
        return ls_advise(err,
                         ls_fail(err, LS_ENOFACE, "%s: face %s is none of the %zu found",
                                 f->s->video, f->s->face, own),
                         LS_HINT_LIST_FACES, "face");
    if (late < 0)
        ret = ls_scout_look_on(f->scout, LOOK_ON, &late, cancel, err);
    if (ret)
        return ret;
    if (late >= 0)
        return fail_late(f, f->s->video, "no face was found", late, err);
    const uint64_t looked = ls_scout_frames(f->scout);
    const unsigned long long frames = looked < f->span.mouths ? looked : f->span.mouths;
    const ls_small_face *small = ls_scout_small_face(f->scout);
    if (small)
        return ls_advise(
            err,
            ls_fail(
                err, LS_ENOFACE,
                "%s: no face is large enough in %llu frames: the largest is %zu x %zu pixels, at "
                "%.2f s; %zu x %zu or more are wanted",
                f->s->video, frames, small->width, small->height,
                ls_video_seconds(f->video, (uint64_t)small->frame),
                ls_face_least_width(f->s->min_face), f->s->min_face),
            LS_HINT_SMALLER_FACES, "min-face");
    return ls_fail(err, LS_ENOFACE,
                   "%s: no face was found in %llu frames; it has to be seen from the front",
                   f->s->video, frames);
}

/* A track says what video it was made for, or nothing. */
static int check_timeline(const char *track, const char *video, const ls_record_timeline *t,
                          const ls_video_info *v, ls_error *err)
{
    if (!t || (t->width == v->width && t->height == v->height &&
               (int64_t)t->fps_num * v->fps_den == (int64_t)v->fps_num * t->fps_den))
        return 0;
    return ls_advise(
        err,
        ls_fail(err, LS_EFORMAT,
                "%s is of a video of %zu x %zu at %.6g frames/s; %s is %zu x %zu at %.6g", track,
                t->width, t->height, (double)t->fps_num / t->fps_den, video, v->width, v->height,
                (double)v->fps_num / v->fps_den),
        LS_HINT_NONE, "face-track");
}

int ls_face_feed_check_track(const char *track, const char *video, const ls_video_info *v,
                             const ls_cancel *cancel, ls_error *err)
{
    ls_record_reader *reader = NULL;
    ls_face_record *rec = ls_calloc_array(1, sizeof *rec);
    int ret =
        rec ? ls_record_reader_open(&reader, track, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = check_timeline(track, video, ls_record_reader_timeline(reader), v, err);
    while (!ret && (ret = ls_record_read(reader, rec, err)) > 0)
        ret = ls_canceled(cancel) ? ls_fail(err, LS_ECANCELED, "canceled") : 0;
    ls_record_reader_close(&reader);
    free(rec);
    return ret;
}

/* A record, and before it empty ones for the frames that the file skips. */
static int take_listed(ls_face_feed *f, const ls_face_record *rec, int64_t *next, ls_error *err)
{
    ls_face_record *none = ls_calloc_array(1, sizeof *none);
    int ret = none ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && rec->frame > MAX_TRACK_FRAME)
        ret = ls_fail(err, LS_EFORMAT, "%s: frame %lld is beyond all videos, %d is the last",
                      f->track, (long long)rec->frame, MAX_TRACK_FRAME);
    for (; !ret && *next < rec->frame; ++*next) {
        none->frame = *next;
        ret = take_record(f, none, err);
    }
    free(none);
    ++*next;
    return ret ? ret : take_record(f, rec, err);
}

/* A whole face track through the choice. */
static int read_track(ls_face_feed *f, ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(f->video);
    int64_t next = 0;
    ls_record_reader *reader = NULL;
    ls_face_record *rec = ls_calloc_array(1, sizeof *rec);
    int ret = rec ? ls_record_reader_open(&reader, f->track, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = check_timeline(f->track, f->s->video, ls_record_reader_timeline(reader), v, err);
    while (!ret && (ret = ls_record_read(reader, rec, err)) > 0)
        ret = take_listed(f, rec, &next, err);
    if (!ret) // a container may promise more frames than a timeline has
        ret = finish_faces(f, ls_record_reader_timeline(reader) ? 0 : (int64_t)v->frames, err);
    if (!ret && !is_own(f, ls_face_path_first(f->path)))
        ret = ls_face_path_first(f->path) < 0
                  ? ls_fail(err, LS_ENOFACE, "%s: face %s matches no face in this track", f->track,
                            f->s->face)
                  : fail_late(f, f->track, "it has no such face", ls_face_path_first(f->path), err);
    if (ret == LS_ENOFACE)
        ls_advise(err, ret, LS_HINT_NONE, "face");
    ls_record_reader_close(&reader);
    free(rec);
    return ret;
}

static int open_scout(ls_face_feed *f, ls_error *err)
{
    const ls_scout_settings s = {
        .video = f->s->video,
        .video_stream = f->s->video_stream + 1,
        .keep_interlaced = f->s->keep_interlaced,
        .source_fps = f->s->source_fps,
        .detector = {.models = f->s->models, .path = f->s->detector, .threads = f->s->threads},
        .follow = {f->s->max_gap, f->s->detect_every,
                   f->s->min_face}}; // no log: the job's own decoder reports
    int ret = ls_scout_open(&f->scout, &s, err);
    if (!ret)
        ls_log_msg(f->log, LS_LOG_INFO, "detecting faces with %s",
                   ls_detector_describe(ls_scout_detector(f->scout)));
    return ret;
}

int ls_face_feed_open(ls_face_feed **out, const ls_sync_settings *s, const char *track,
                      const ls_video *video, const ls_stream_span *span, const char *folder,
                      const ls_log *log, ls_error *err)
{
    ls_choice choice;
    ls_face_feed *f = *out = ls_calloc_array(1, sizeof *f);
    if (!f)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    pthread_mutex_init(&f->lock, NULL);
    f->s = s;
    f->track = track;
    f->video = video;
    f->span = *span;
    f->log = log;
    int ret = ls_face_path_open(&f->path, s->resolution, folder, err);
    if (!ret && !ls_choice_parse(&choice, s->face))
        ret = ls_fail(err, LS_EINVAL, "face: \"%s\" chooses none", s->face);
    if (!ret)
        ret = ls_chooser_open(&f->chooser, &choice, err);
    if (!ret)
        ret = track ? read_track(f, err) : open_scout(f, err);
    if (ret)
        ls_face_feed_close(out);
    return ret;
}

void ls_face_feed_close(ls_face_feed **pf)
{
    ls_face_feed *f = *pf;
    if (!f)
        return;
    ls_face_path_close(&f->path);
    ls_chooser_close(&f->chooser);
    ls_record_writer_close(&f->save);
    ls_scout_close(&f->scout);
    pthread_mutex_destroy(&f->lock);
    free(f);
    *pf = NULL;
}

ls_face_path *ls_face_feed_path(ls_face_feed *f)
{
    return f->path;
}

bool ls_face_feed_runs(const ls_face_feed *f)
{
    return f->scout;
}

void ls_face_feed_narrow(ls_face_feed *f, uint64_t frames)
{
    f->narrowed = true;
    f->span.mouths = f->span.mouths < frames ? f->span.mouths : frames;
    f->span.fed = f->span.fed < frames ? f->span.fed : frames;
}

int ls_face_feed_shows(ls_face_feed *f, const ls_frame *frame, int64_t index,
                       const ls_cancel *cancel, ls_error *err)
{
    ls_placement place;
    return f->scout ? ls_scout_shows(f->scout, frame, cancel, err)
                    : ls_face_path_get(f->path, index, &place, err);
}

size_t ls_face_feed_files(const ls_face_feed *f, const char *files[LS_DETECTOR_FILES])
{
    return f->scout ? ls_detector_files(ls_scout_detector(f->scout), files) : 0;
}

static void note_progress(void *opaque, uint64_t frame, uint64_t frames)
{
    ls_face_feed *f = opaque;
    (void)frames;
    pthread_mutex_lock(&f->lock);
    f->seconds = ls_time_now() - f->start;
    f->frames = frame;
    pthread_mutex_unlock(&f->lock);
}

void ls_face_feed_state(ls_face_feed *f, double *seconds, uint64_t *frames)
{
    pthread_mutex_lock(&f->lock);
    *seconds = f->seconds;
    *frames = f->frames;
    pthread_mutex_unlock(&f->lock);
}

int ls_face_feed_run(ls_face_feed *f, const char *track, const char *index, const ls_cancel *cancel,
                     ls_error *err)
{
    const ls_scout_sink sink = {.record = take_found, .progress = note_progress, .opaque = f};
    const ls_video_info *v = ls_scout_video(f->scout);
    const ls_record_timeline timeline = {v->width, v->height, v->fps_num, v->fps_den};
    f->start = ls_time_now();
    int ret = track ? ls_record_writer_open(&f->save, track, &timeline, err) : 0;
    if (!ret)
        ret = ls_scout_run(f->scout, &sink, cancel, err);
    if (!ret)
        ret = finish_faces(f, (int64_t)ls_scout_frames(f->scout), err);
    if (!ret)
        ret = check_found(f, cancel, err);
    if (!ret && index)
        ret = ls_scout_save_index(f->scout, index, err);
    return !ret && f->save ? ls_scout_save(f->scout, f->save, err) : ret;
}
