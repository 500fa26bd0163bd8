#include "base/alloc.h"
#include "base/time.h"
#include "face/paste.h"
#include "face/restore.h"
#include "pipeline/stream_inside.h"

#include <math.h>
#include <stdlib.h>

#define MAX_WORKERS 8

typedef ls_stream_item item;

const char *ls_stage_name(int stage)
{
    static const char *const names[] = {"decode", "generate", "restore", "encode"};
    return names[stage];
}

const char *ls_stream_queue_name(int queue)
{
    static const char *const names[] = {"cropped", "generated", "restored"};
    return names[queue];
}

void ls_stream_free_item(void *opaque)
{
    item *it = opaque;
    if (!it)
        return;
    ls_frame_unref(&it->frame);
    ls_aligned_free(it->face);
    ls_aligned_free(it->image);
    pthread_mutex_lock(&it->stream->lock);
    it->stream->state.in_flight--;
    pthread_cond_signal(&it->stream->landed);
    pthread_mutex_unlock(&it->stream->lock);
    free(it);
}

/* Waits until one more frame may be in flight. */
static item *new_item(ls_stream *s)
{
    item *it = ls_calloc_array(1, sizeof *it);
    if (!it)
        return NULL;
    it->stream = s;
    pthread_mutex_lock(&s->lock);
    s->full_since = ls_time_now();
    while (s->state.in_flight >= s->frames && !s->stopped)
        pthread_cond_wait(&s->landed, &s->lock);
    s->full += ls_time_now() - s->full_since;
    s->full_since = 0;
    s->state.in_flight++;
    pthread_mutex_unlock(&s->lock);
    return it;
}

int ls_stream_push(ls_stream *s, int queue, item *it)
{
    const size_t pixels = s->p.resolution * s->p.resolution * 3;
    const size_t bytes = ls_frame_bytes(it->frame) + (it->face ? pixels : 0) +
                         (it->image ? pixels * sizeof(float) : 0);
    return ls_queue_push(s->queue[queue], it, bytes);
}

void ls_stream_stop(ls_stream *s, int code, const ls_error *err)
{
    pthread_mutex_lock(&s->lock);
    if (!s->err.code) {
        s->err = *err;
        s->err.code = code;
    }
    s->stopped = true;
    ls_cancel_request(&s->canceled);
    pthread_cond_broadcast(&s->turn);
    pthread_cond_broadcast(&s->landed);
    pthread_mutex_unlock(&s->lock);
    for (int q = 0; q < LS_STREAM_QUEUES; q++)
        ls_queue_finish(s->queue[q], code);
}

double ls_stream_lap(double *since)
{
    const double before = *since;
    return (*since = ls_time_now()) - before;
}

void ls_stream_count(ls_stream *s, int stage, int use, double seconds, uint64_t frames)
{
    pthread_mutex_lock(&s->lock);
    const size_t threads = stage == LS_STAGE_RESTORE    ? (size_t)s->state.workers
                           : stage == LS_STAGE_GENERATE ? s->p.generator_count
                                                        : 1;
    s->state.seconds[stage][use] += seconds;
    s->state.mean[stage][use] += seconds / (double)threads;
    s->state.frames[stage] += frames;
    pthread_mutex_unlock(&s->lock);
}

/* Where the output goes on without new mouths, the last of them fade. */
static double opacity_at(const ls_stream_span *span, uint64_t index)
{
    const uint64_t left = index < span->mouths ? span->mouths - index : 1;
    return span->mouths < span->frames ? fmin(1, (double)left / (LS_FADE_FRAMES + 1)) : 1;
}

typedef struct frame_source {
    ls_stream *stream;
    ls_cropper *cropper;
    ls_rgb_converter *rgb;
    double since; /* the end of what was counted last */
} frame_source;

/* Cuts out the face, or leaves the item without one. */
static int crop(frame_source *c, item *it, uint64_t source_index, ls_error *err)
{
    ls_stream *s = c->stream;
    size_t r = s->p.resolution;
    ls_picture pic = ls_frame_picture(it->frame);
    if (it->index >= s->p.span.fed)
        return 0;
    ls_stream_count(s, LS_STAGE_DECODE, LS_TIME_BUSY, ls_stream_lap(&c->since), 0);
    int ret = ls_face_path_get(s->p.path, (int64_t)source_index, &it->place, err);
    ls_stream_count(s, LS_STAGE_DECODE, LS_TIME_INPUT, ls_stream_lap(&c->since), 0);
    if (ret <= 0)
        return ret;
    it->place.opacity = fmin(it->place.opacity, opacity_at(&s->p.span, it->index));
    ls_rect b = ls_crop_bounds(&it->place.matrix, r, pic.w, pic.h);
    if (!b.w || !b.h)
        return 0;
    ls_rgb part;
    ret = ls_rgb_convert(c->rgb, it->frame, &b, &part, err);
    if (ret)
        return ret;
    it->face = ls_aligned_alloc(LS_MEM_PIPELINE, r * r * 3);
    if (!it->face)
        return ls_fail(err, LS_ENOMEM, "out of memory for a face");
    ls_cropper_run(c->cropper, it->face, &it->place.matrix, &part, b.x, b.y);
    it->has_face = true;
    return 0;
}

static int next_item(frame_source *c, uint64_t index, item **out, ls_error *err)
{
    ls_stream *s = c->stream;
    uint64_t source_index;
    item *it = *out = new_item(s);
    ls_stream_count(s, LS_STAGE_DECODE, LS_TIME_ROOM, ls_stream_lap(&c->since), 0);
    if (!it)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    it->index = index;
    int ret = ls_pingpong_next(s->p.source, &it->frame, &source_index, err);
    if (!ret)
        ret = crop(c, it, source_index, err);
    ls_stream_count(s, LS_STAGE_DECODE, LS_TIME_BUSY, ls_stream_lap(&c->since), 1);
    return ret;
}

static void *run_source(void *opaque)
{
    ls_stream *s = opaque;
    ls_error err = {0};
    frame_source c = {.stream = s};
    int ret = ls_cropper_open(&c.cropper, s->p.resolution, &err);
    if (!ret)
        ret = ls_rgb_converter_open(&c.rgb, &err);
    if (!ret)
        ret = ls_pingpong_seek(s->p.source, s->begin, &err);
    c.since = ls_time_now();
    for (uint64_t i = s->begin; !ret && i < s->fed; i++) {
        item *it = NULL;
        ret = ls_canceled(&s->canceled) ? ls_fail(&err, LS_ECANCELED, "canceled")
                                        : next_item(&c, i, &it, &err);
        bool pushed = !ret && !ls_stream_push(s, LS_STREAM_CROPPED, it);
        if (!pushed)
            ls_stream_free_item(it);
        if (!ret && !pushed)
            break; // the consumer stopped, and has reported why
    }
    if (ret)
        ls_stream_stop(s, ret, &err);
    else
        ls_queue_finish(s->queue[LS_STREAM_CROPPED], 0);
    ls_cropper_close(&c.cropper);
    ls_rgb_converter_close(&c.rgb);
    return NULL;
}

/* What a thread that restores works with; one of the two. */
typedef struct tools {
    ls_restore *restore;
    ls_paste *paste;
} tools;

static int restore(const tools *t, item *it, ls_error *err)
{
    if (!it->image)
        return 0;
    int ret = ls_frame_make_writable(it->frame, err);
    if (ret)
        return ret;
    const ls_picture p = ls_frame_picture(it->frame);
    ret = t->paste ? ls_paste_yuv(t->paste, it->image, it->face, &it->place.matrix,
                                  it->place.opacity, &p, err)
                   : ls_restore_yuv(t->restore, it->image, &it->place.matrix, it->place.opacity, &p,
                                    err);
    ls_aligned_free(it->image);
    it->image = NULL;
    ls_aligned_free(it->face);
    it->face = NULL;
    return ret;
}

typedef struct worker {
    ls_stream *stream;
    int number;
    pthread_t thread;
    double since; /* the end of what was counted last */
} worker;

/* Waits while enough others restore, then for an item; *place is its position in the order. */
static int take(worker *w, item **it, uint64_t *place)
{
    ls_stream *s = w->stream;
    void *popped = NULL;
    pthread_mutex_lock(&s->lock);
    while (w->number >= s->state.workers && !s->stopped)
        pthread_cond_wait(&s->turn, &s->lock);
    pthread_mutex_unlock(&s->lock);
    w->since = ls_time_now();
    pthread_mutex_lock(&s->taking);
    int ret = ls_queue_pop(s->queue[LS_STREAM_GENERATED], &popped);
    *it = popped;
    *place = s->taken;
    s->taken += !ret;
    pthread_mutex_unlock(&s->taking);
    ls_stream_count(s, LS_STAGE_RESTORE, LS_TIME_INPUT, ls_stream_lap(&w->since), 0);
    return ret;
}

static int give(worker *w, item *it, uint64_t place)
{
    ls_stream *s = w->stream;
    pthread_mutex_lock(&s->lock);
    while (s->given != place && !s->stopped)
        pthread_cond_wait(&s->turn, &s->lock);
    bool stopped = s->stopped;
    pthread_mutex_unlock(&s->lock);
    int ret = stopped ? LS_ECANCELED : ls_stream_push(s, LS_STREAM_RESTORED, it);
    if (ret)
        ls_stream_free_item(it);
    pthread_mutex_lock(&s->lock);
    s->given++;
    pthread_cond_broadcast(&s->turn);
    pthread_mutex_unlock(&s->lock);
    ls_stream_count(s, LS_STAGE_RESTORE, LS_TIME_ROOM, ls_stream_lap(&w->since), 0);
    return ret;
}

static void *run_restore(void *opaque)
{
    worker *w = opaque;
    ls_stream *s = w->stream;
    ls_error err = {0};
    tools t = {NULL, NULL};
    item *it;
    uint64_t place;
    int ret = s->p.whole_crop ? ls_restore_open(&t.restore, s->p.resolution, &err)
                              : ls_paste_open(&t.paste, s->p.resolution, s->p.sharpen, &err);
    while (!ret && !take(w, &it, &place)) {
        ret = restore(&t, it, &err);
        if (!ret) {
            ls_stream_count(s, LS_STAGE_RESTORE, LS_TIME_BUSY, ls_stream_lap(&w->since), 1);
            if (give(w, it, place))
                break; // another stage has failed
        } else {
            ls_stream_free_item(it);
        }
    }
    if (ret)
        ls_stream_stop(s, ret, &err);
    ls_restore_close(&t.restore);
    ls_paste_close(&t.paste);
    return NULL;
}

static void *run_encode(void *opaque)
{
    ls_stream *s = opaque;
    ls_error err = {0};
    void *popped;
    int ret = 0;
    double since = ls_time_now();
    while (!ret && !ls_queue_pop(s->queue[LS_STREAM_RESTORED], &popped)) {
        item *it = popped;
        ls_stream_count(s, LS_STAGE_ENCODE, LS_TIME_INPUT, ls_stream_lap(&since), 0);
        ret = s->p.encode(s->p.opaque, it->index, it->frame, &err);
        ls_stream_free_item(it);
        if (!ret)
            ls_stream_count(s, LS_STAGE_ENCODE, LS_TIME_BUSY, ls_stream_lap(&since), 1);
    }
    if (ret)
        ls_stream_stop(s, ret, &err);
    return NULL;
}

/* Threads, in the order of the stages; the end of each stage finishes the queue to the next. */
static int run_threads(ls_stream *s)
{
    pthread_t source, encode;
    worker workers[MAX_WORKERS];
    const ls_error no_thread = {.code = LS_ENOMEM, .message = "cannot start a thread"};
    int started = 0;
    bool has_source = !pthread_create(&source, NULL, run_source, s);
    bool has_encode = has_source && !pthread_create(&encode, NULL, run_encode, s);
    for (; has_encode && started < s->p.workers; started++) {
        workers[started] = (worker){.stream = s, .number = started};
        if (pthread_create(&workers[started].thread, NULL, run_restore, &workers[started]))
            break;
    }
    if (!started)
        ls_stream_stop(s, LS_ENOMEM, &no_thread);
    int ret = started ? ls_stream_generate(s) : LS_ENOMEM;
    ls_queue_finish(s->queue[LS_STREAM_GENERATED], ret);
    pthread_mutex_lock(&s->lock);
    s->state.workers = MAX_WORKERS; // wake all that wait
    pthread_cond_broadcast(&s->turn);
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < started; i++)
        pthread_join(workers[i].thread, NULL);
    ls_queue_finish(s->queue[LS_STREAM_RESTORED], ret);
    if (has_encode)
        pthread_join(encode, NULL);
    if (has_source)
        pthread_join(source, NULL);
    return s->err.code;
}

int ls_stream_open(ls_stream **out, const ls_stream_parts *parts, ls_error *err)
{
    ls_stream *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->p = *parts;
    s->canceled.parent = parts->cancel;
    s->keeps = parts->folder;
    s->state.generator_count = parts->generator_count;
    for (size_t i = 0; i < parts->generator_count; i++)
        s->state.generators[i].device = ls_generator_device(parts->generators[i]);
    s->p.workers = parts->workers < 1             ? 1
                   : parts->workers > MAX_WORKERS ? MAX_WORKERS
                                                  : parts->workers;
    s->p.frames = s->frames = parts->frames < LS_CHUNK_FRAMES ? LS_CHUNK_FRAMES : parts->frames;
    pthread_cond_init(&s->landed, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->collecting, NULL);
    pthread_mutex_init(&s->taking, NULL);
    pthread_cond_init(&s->turn, NULL);
    return 0;
}

static void log_shares(const ls_stream *s, const char *who, const double seconds[LS_TIME_USES],
                       const char *input, const char *room)
{
    const double all = seconds[LS_TIME_BUSY] + seconds[LS_TIME_INPUT] + seconds[LS_TIME_ROOM];
    if (all > 0)
        ls_log_msg(s->p.log, LS_LOG_DEBUG,
                   "%s: %.1f %% of the time busy, %.1f %% waiting for %s, %.1f %% until %s", who,
                   100 * seconds[LS_TIME_BUSY] / all, 100 * seconds[LS_TIME_INPUT] / all, input,
                   100 * seconds[LS_TIME_ROOM] / all, room);
}

static void log_times(const ls_stream *s)
{
    const ls_stream_state *st = &s->state;
    for (size_t i = 0; i < st->generator_count; i++)
        log_shares(s, st->generators[i].device, st->generators[i].seconds, "frames",
                   "earlier ones are restored and encoded");
    static const struct {
        const char *input, *room;
    } waits[LS_STAGES] = {[LS_STAGE_DECODE] = {"faces to be found", "earlier frames are encoded"},
                          [LS_STAGE_RESTORE] = {"new mouths", "earlier frames are encoded"},
                          [LS_STAGE_ENCODE] = {"frames", "the end"}};
    for (int i = 0; i < LS_STAGES; i++)
        if (i != LS_STAGE_GENERATE)
            log_shares(s, ls_stage_name(i), st->seconds[i], waits[i].input, waits[i].room);
}

void ls_stream_close(ls_stream **ps)
{
    ls_stream *s = *ps;
    if (!s)
        return;
    log_times(s);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->collecting);
    pthread_mutex_destroy(&s->taking);
    pthread_cond_destroy(&s->turn);
    pthread_cond_destroy(&s->landed);
    free(s);
    *ps = NULL;
}

/* Where the chunk ends that frames up to `end` need. */
static uint64_t chunks_end(const ls_stream_span *span, uint64_t end)
{
    const uint64_t whole = ls_chunks_of(end) * LS_CHUNK_FRAMES,
                   last = span->frames > span->fed ? span->frames : span->fed;
    return whole < last ? whole : last;
}

int ls_stream_run(ls_stream *s, uint64_t first, uint64_t end, ls_error *err)
{
    ls_queue *queue[LS_STREAM_QUEUES];
    bool ok = true;
    for (int i = 0; i < LS_STREAM_QUEUES; i++) {
        queue[i] = ls_queue_open(s->p.frames, SIZE_MAX, ls_stream_free_item);
        ok = ok && queue[i];
    }
    pthread_mutex_lock(&s->lock);
    for (int i = 0; ok && i < LS_STREAM_QUEUES; i++)
        s->queue[i] = queue[i];
    s->begin = first / LS_CHUNK_FRAMES * LS_CHUNK_FRAMES;
    s->first = first;
    s->end = end;
    s->fed = chunks_end(&s->p.span, end);
    s->next = s->passed = s->begin;
    s->taken = s->given = 0;
    s->stopped = false;
    s->state.workers = s->p.workers;
    pthread_mutex_unlock(&s->lock);
    int ret = ok ? run_threads(s) : ls_fail(&s->err, LS_ENOMEM, "out of memory");
    pthread_mutex_lock(&s->lock);
    for (int i = 0; i < LS_STREAM_QUEUES; i++)
        s->queue[i] = NULL;
    pthread_mutex_unlock(&s->lock);
    for (int i = 0; i < LS_STREAM_QUEUES; i++)
        ls_queue_close(&queue[i]);
    if (ret && err)
        *err = s->err;
    return ret;
}

void ls_stream_get_state(ls_stream *s, ls_stream_state *state)
{
    pthread_mutex_lock(&s->lock);
    *state = s->state;
    for (int i = 0; i < LS_STREAM_QUEUES; i++)
        state->queue[i] = s->queue[i] ? ls_queue_state(s->queue[i]) : (ls_queue_fill){0};
    pthread_mutex_unlock(&s->lock);
}

void ls_stream_set_frames(ls_stream *s, size_t frames)
{
    pthread_mutex_lock(&s->lock);
    s->frames = frames < LS_CHUNK_FRAMES ? LS_CHUNK_FRAMES : frames;
    pthread_cond_broadcast(&s->landed);
    pthread_mutex_unlock(&s->lock);
}
