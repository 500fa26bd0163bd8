#include "pipeline/scout.h"
#include "base/alloc.h"
#include "face/cut.h"
#include "face/pace.h"
#include "face/search.h"
#include "models/models.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DECODER_THREADS 2
#define REMEMBERED 512 /* frames that wait to be passed on, and more */
_Static_assert(LS_FOLLOW_MAX_GAP + LS_FOLLOW_MAX_EVERY < REMEMBERED, "frames that wait");

struct ls_scout {
    ls_scout_settings s;
    ls_video *video;
    ls_detector *detector;
    ls_follow *follow;
    ls_cut *cut;
    ls_rgb_converter *rgb;
    ls_search search;
    const ls_scout_sink *sink;
    ls_face_record record; /* too large for a stack */
    ls_frame *seen;        /* the frame before */
    ls_frame *late;        /* likewise, if it is to be examined only as the last of its shot */
    bool still;            /* it was a repetition */
    bool known;            /* `found` are its faces: */
    ls_face found[LS_MAX_FACES];
    ls_look looks[LS_MAX_FACES];
    bool fresh; /* they have not been pushed: a repetition shows nothing else */
    size_t found_count;
    ls_small_face small; /* height 0: none */
    uint64_t frames;
    ls_scout_track *tracks;
    size_t track_count, track_room;
    int64_t shot;    /* its first frame */
    size_t examined; /* frames of the shot */
    bool paced;      /* how often is found out */
    ls_pace pace;
    bool looked[REMEMBERED]; /* at the latest frames */
};

int ls_scout_open(ls_scout **out, const ls_scout_settings *settings, ls_error *err)
{
    ls_scout *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->s = *settings;
    s->paced = !s->s.follow.every;
    if (s->paced)
        s->s.follow.every = LS_PACE_MOST;
    const ls_video_settings v = {.threads = DECODER_THREADS,
                                 .source_fps = s->s.source_fps,
                                 .stream = s->s.video_stream,
                                 .keep_interlaced = s->s.keep_interlaced,
                                 .log = s->s.log};
    int ret = ls_video_open(&s->video, s->s.video, &v, err);
    if (!ret) {
        ret = ls_detector_open(&s->detector, &s->s.detector, err);
        ret = ret ? ls_models_unusable(ret, err) : 0;
    }
    if (!ret)
        ret = ls_follow_open(&s->follow, &s->s.follow, err);
    if (!ret)
        ret = ls_cut_open(&s->cut, err);
    if (!ret)
        ret = ls_rgb_converter_open(&s->rgb, err);
    if (ret)
        ls_scout_close(out);
    return ret;
}

void ls_scout_close(ls_scout **ps)
{
    ls_scout *s = *ps;
    if (!s)
        return;
    ls_rgb_converter_close(&s->rgb);
    ls_frame_unref(&s->seen);
    ls_frame_unref(&s->late);
    ls_cut_close(&s->cut);
    ls_follow_close(&s->follow);
    ls_detector_close(&s->detector);
    ls_video_close(&s->video);
    free(s->tracks);
    free(s);
    *ps = NULL;
}

const ls_video_info *ls_scout_video(const ls_scout *s)
{
    return ls_video_get_info(s->video);
}

void ls_scout_log_choice(const ls_scout *s, const ls_log *log)
{
    ls_video_log_choice(s->video, log);
}

const ls_detector *ls_scout_detector(const ls_scout *s)
{
    return s->detector;
}

const ls_small_face *ls_scout_small_face(const ls_scout *s)
{
    return s->small.height ? &s->small : NULL;
}

uint64_t ls_scout_frames(const ls_scout *s)
{
    return s->frames;
}

size_t ls_scout_tracks(const ls_scout *s, const ls_scout_track **tracks)
{
    *tracks = s->tracks;
    return s->track_count;
}

static ls_scout_track *track_of(ls_scout *s, uint32_t id)
{
    for (size_t i = s->track_count; i-- > 0;) /* identities still followed are among the latest */
        if (s->tracks[i].summary.id == id)
            return &s->tracks[i];
    if (s->track_count == s->track_room) {
        size_t room = s->track_room ? 2 * s->track_room : 16, bytes;
        ls_scout_track *t = ls_mul_size(room, sizeof *t, &bytes) ? realloc(s->tracks, bytes) : NULL;
        if (!t)
            return NULL;
        s->tracks = t;
        s->track_room = room;
    }
    ls_scout_track *t = &s->tracks[s->track_count++];
    memset(t, 0, sizeof *t);
    t->summary.id = id;
    return t;
}

static double area(const double box[4])
{
    return (box[2] - box[0]) * (box[3] - box[1]);
}

static int add_to_track(ls_scout *s, int64_t frame, const ls_tracked_face *f, ls_error *err)
{
    ls_scout_track *t = track_of(s, f->id);
    if (!t)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ls_track_summary *sum = &t->summary;
    if (!t->frames++)
        sum->first = frame;
    t->fleeting = t->frames == 1 && s->examined > 1;
    sum->last = frame;
    const double share = 1 / (double)t->frames; /* of this frame in the means */
    for (int i = 0; i < 4; i++)
        sum->box[i] += (f->face.box[i] - sum->box[i]) * share;
    sum->score += (f->face.score - sum->score) * share;
    if (!f->interpolated &&
        (t->best.kind == LS_FACE_NONE ||
         area(f->face.box) * f->face.score > area(t->best.box) * t->best.score)) {
        t->best = f->face;
        t->best_frame = frame;
    }
    return 0;
}

static bool is_due(const ls_scout *s, int64_t frame, bool cut)
{
    return s->paced ? ls_pace_is_due(&s->pace, frame, cut)
                    : cut || frame % (int64_t)s->s.follow.every == 0;
}

/* With the second frame examined, those that only the first shows are fleeting. */
static void count_examined(ls_scout *s, const ls_face_record *r)
{
    if (r->cut) {
        s->shot = r->frame;
        s->examined = 0;
    }
    s->examined += s->looked[r->frame % REMEMBERED];
    for (size_t i = s->track_count; s->examined == 2 && i-- > 0;) {
        ls_scout_track *t = &s->tracks[i];
        if (t->summary.first < s->shot)
            break;
        t->fleeting = t->frames == 1;
    }
}

static void drop_fleeting(ls_scout *s)
{
    size_t kept = 0;
    for (size_t i = 0; i < s->track_count; i++)
        if (!s->tracks[i].fleeting)
            s->tracks[kept++] = s->tracks[i];
    s->track_count = kept;
}

/* Passes on the records that can no longer change. */
static int drain(ls_scout *s, ls_error *err)
{
    int ret = 0;
    while (!ret && ls_follow_pop(s->follow, &s->record)) {
        const ls_face_record *r = &s->record;
        ls_record_round(&s->record);
        count_examined(s, r);
        for (size_t i = 0; !ret && i < r->count; i++)
            ret = add_to_track(s, r->frame, &r->faces[i], err);
        if (!ret)
            ret = s->sink->record(s->sink->opaque, r, err);
    }
    return ret;
}

typedef struct view_of_frame {
    ls_detector *detector;
    ls_rgb rgb;
    const ls_cancel *cancel;
} view_of_frame;

static int find(void *opaque, bool border, ls_face *faces, size_t max, size_t *count, ls_error *err)
{
    const view_of_frame *v = opaque;
    return ls_detector_run(v->detector, &v->rgb, border, faces, max, count, v->cancel, err);
}

static int detect(ls_scout *s, const ls_frame *frame, bool cut, size_t *count,
                  const ls_cancel *cancel, ls_error *err)
{
    const ls_picture p = ls_frame_picture(frame);
    ls_rect whole = {0, 0, p.w, p.h};
    view_of_frame v = {.detector = s->detector, .cancel = cancel};
    const ls_views views = {find, &v, (double)(p.w > p.h ? p.w : p.h), s->s.follow.min_face};
    int ret = ls_rgb_convert(s->rgb, frame, &whole, &v.rgb, err);
    if (!ret)
        ret = ls_search_frame(&s->search, &views, cut, s->found, count, err);
    for (size_t i = 0; !ret && i < *count; i++)
        ls_look_take(&s->looks[i], &v.rgb, &s->found[i]);
    s->fresh = true;
    return ret;
}

static void note_small(ls_scout *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const double *b = s->found[i].box, w = trunc(b[2]) - trunc(b[0]),
                     h = trunc(b[3]) - trunc(b[1]);
        if (h > (double)s->small.height && ls_face_eligible(&s->found[i], 1) &&
            !ls_face_eligible(&s->found[i], s->s.follow.min_face))
            s->small = (ls_small_face){(size_t)w, (size_t)h, (int64_t)s->frames};
    }
}

/* A timeline may repeat a frame for hours: nothing is to be seen in it again. */
static int see(ls_scout *s, const ls_frame *frame, bool *cut, ls_error *err)
{
    const ls_picture p = ls_frame_picture(frame);
    const bool same = ls_frame_is_same(frame, s->seen);
    *cut = !(same && s->still) && ls_cut_next(s->cut, p.data[0], p.stride[0], p.w, p.h, p.depth);
    s->still = same;
    if (same)
        return 0;
    ls_frame_unref(&s->seen);
    s->known = false;
    s->seen = ls_frame_ref(frame);
    return s->seen ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for a frame");
}

/* The next frame of the video, whose faces are `found` if it was examined. */
static int push(ls_scout *s, bool cut, bool examined, ls_error *err)
{
    s->looked[s->frames % REMEMBERED] = examined;
    const int ret = ls_follow_push(s->follow, (int64_t)s->frames++, cut, examined, s->found,
                                   s->fresh ? s->looks : NULL, examined ? s->found_count : 0, err);
    s->fresh = false;
    return ret ? ret : drain(s, err);
}

/* The frame that was put off. As the last one of a shot it is examined, or faces would end before
 * the shot does. */
static int push_late(ls_scout *s, bool last, const ls_cancel *cancel, ls_error *err)
{
    int ret = 0;
    if (!s->late)
        return 0;
    if (last) {
        ret = detect(s, s->late, false, &s->found_count, cancel, err);
        s->known = false;
    }
    ls_frame_unref(&s->late);
    return ret ? ret : push(s, false, last, err);
}

static int examine(ls_scout *s, const ls_frame *frame, bool cut, const ls_cancel *cancel,
                   ls_error *err)
{
    int ret = s->known ? 0 : detect(s, frame, cut, &s->found_count, cancel, err);
    if (ret)
        return ret;
    if (!s->known)
        note_small(s, s->found_count);
    s->known = true;
    if (s->paced)
        ls_pace_take(&s->pace, (int64_t)s->frames, cut, s->found, s->found_count,
                     s->s.follow.min_face);
    return push(s, cut, true, err);
}

static int look(ls_scout *s, const ls_frame *frame, const ls_cancel *cancel, ls_error *err)
{
    bool cut;
    int ret = see(s, frame, &cut, err);
    if (!ret)
        ret = push_late(s, cut, cancel, err);
    if (ret || is_due(s, (int64_t)s->frames, cut))
        return ret ? ret : examine(s, frame, cut, cancel, err);
    if (!s->paced)
        return push(s, cut, false, err);
    s->late = ls_frame_ref(frame);
    return s->late ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for a frame");
}

static int next_frame(ls_scout *s, ls_frame **frame, const ls_cancel *cancel, ls_error *err)
{
    *frame = NULL;
    return ls_canceled(cancel) ? ls_fail(err, LS_ECANCELED, "canceled")
                               : ls_video_next(s->video, frame, err);
}

int ls_scout_run(ls_scout *s, const ls_scout_sink *sink, const ls_cancel *cancel, ls_error *err)
{
    const uint64_t total = ls_scout_video(s)->frames;
    int ret = 0;
    s->sink = sink;
    while (!ret) {
        ls_frame *frame;
        ret = next_frame(s, &frame, cancel, err);
        if (!ret)
            ret = look(s, frame, cancel, err);
        ls_frame_unref(&frame);
        if (!ret && sink->progress)
            sink->progress(sink->opaque, s->frames, total);
    }
    if (ret == LS_EOF) {
        ret = push_late(s, true, cancel, err);
        ls_follow_finish(s->follow);
        ret = ret ? ret : drain(s, err);
    }
    drop_fleeting(s);
    for (size_t i = 0; i < s->track_count && s->frames; i++)
        s->tracks[i].summary.share = (double)s->tracks[i].frames / (double)s->frames;
    return ret < 0 ? ret : 0;
}

/* Faces that are too small were found, too. */
static bool any_eligible(const ls_scout *s, size_t count)
{
    for (size_t k = 0; k < count; k++)
        if (ls_face_eligible(&s->found[k], s->s.follow.min_face))
            return true;
    return false;
}

int ls_scout_shows(ls_scout *s, const ls_frame *frame, const ls_cancel *cancel, ls_error *err)
{
    const ls_search search = s->search;
    size_t count = 0;
    const int ret = detect(s, frame, true, &count, cancel, err);
    s->search = search;
    return ret ? ret : any_eligible(s, count);
}

int ls_scout_look_on(ls_scout *s, uint64_t frames, int64_t *found, const ls_cancel *cancel,
                     ls_error *err)
{
    int ret = 0;
    *found = -1;
    for (uint64_t i = 0; !ret && i < frames && *found < 0; i++) {
        ls_frame *frame;
        size_t count = 0;
        ret = next_frame(s, &frame, cancel, err);
        if (!ret && i % LS_SCOUT_STRIDE == 0)
            ret = detect(s, frame, true, &count, cancel, err);
        if (!ret && any_eligible(s, count))
            *found = (int64_t)(s->frames + i);
        ls_frame_unref(&frame);
    }
    return ret == LS_EOF ? 0 : ret;
}

int ls_scout_save(const ls_scout *s, ls_record_writer *w, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < s->track_count; i++)
        ret = ls_record_write_summary(w, &s->tracks[i].summary, err);
    return ret ? ret : ls_record_finish(w, err);
}

int ls_scout_save_index(const ls_scout *s, const char *path, ls_error *err)
{
    return ls_video_save_index(s->video, path, err);
}
