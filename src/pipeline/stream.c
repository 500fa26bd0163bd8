#include "pipeline/stream.h"
#include "base/alloc.h"
#include "base/queue.h"
#include "base/time.h"
#include "face/restore.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define MAX_WORKERS 8
#define RESPLIT_CHUNKS 16 /* after the second chunk, and then every so many */

/* A frame on its way through the stages. */
typedef struct item {
    ls_stream *stream;
    uint64_t index;
    ls_frame *frame;
    bool has_face;
    ls_placement place;
    uint8_t *face; /* [R, R, 3], between crop and generation */
    float *image;  /* [R, R, 3], between generation and restoration */
} item;

struct ls_stream {
    ls_stream_parts p;
    uint64_t first, end, fed; /* frames [first, end) are written, up to `fed` they are made */
    ls_queue *queue[LS_STREAM_QUEUES]; /* of item; NULL except in ls_stream_run */
    pthread_mutex_t lock;              /* of all below, and of whether the queues exist */
    ls_error err;                      /* the first */
    ls_stream_state state;
    size_t frames; /* that may be in flight */
    pthread_cond_t landed;
    /* Restored frames leave in the order they were taken. */
    pthread_mutex_t taking;
    pthread_cond_t turn;
    uint64_t taken, given;
    bool stopped;
};

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

static void free_item(void *opaque)
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
    while (s->state.in_flight >= s->frames && !s->stopped)
        pthread_cond_wait(&s->landed, &s->lock);
    s->state.in_flight++;
    pthread_mutex_unlock(&s->lock);
    return it;
}

static int push(ls_stream *s, int queue, item *it)
{
    const size_t pixels = s->p.resolution * s->p.resolution * 3;
    const size_t bytes = ls_frame_bytes(it->frame) + (it->face ? pixels : 0) +
                         (it->image ? pixels * sizeof(float) : 0);
    return ls_queue_push(s->queue[queue], it, bytes);
}

/* The first error ends every stage. */
static void stop(ls_stream *s, int code, const ls_error *err)
{
    pthread_mutex_lock(&s->lock);
    if (!s->err.code) {
        s->err = *err;
        s->err.code = code;
    }
    s->stopped = true;
    pthread_cond_broadcast(&s->turn);
    pthread_cond_broadcast(&s->landed);
    pthread_mutex_unlock(&s->lock);
    for (int q = 0; q < LS_STREAM_QUEUES; q++)
        ls_queue_finish(s->queue[q], code);
}

static void count(ls_stream *s, int stage, uint64_t frames, double since)
{
    const double seconds = ls_time_now() - since;
    pthread_mutex_lock(&s->lock);
    s->state.seconds[stage] += seconds;
    s->state.busy[stage] += seconds / (stage == LS_STAGE_RESTORE ? s->state.workers : 1);
    s->state.frames[stage] += frames;
    pthread_mutex_unlock(&s->lock);
}

/* Where the output goes on without new mouths, the last of them fade. */
static double opacity_at(const ls_stream_span *span, uint64_t index)
{
    const uint64_t left = index < span->mouths ? span->mouths - index : 1;
    return span->mouths < span->frames ? fmin(1, (double)left / (LS_FADE_FRAMES + 1)) : 1;
}

/* Cuts out the face, or leaves the item without one. */
static int crop(ls_stream *s, item *it, uint64_t source_index, ls_cropper *cropper,
                ls_rgb_converter *rgb, ls_error *err)
{
    size_t r = s->p.resolution;
    ls_picture pic = ls_frame_picture(it->frame);
    if (it->index >= s->p.span.fed)
        return 0;
    int ret = ls_face_path_get(s->p.path, (int64_t)source_index, &it->place, err);
    if (ret <= 0)
        return ret;
    it->place.opacity = fmin(it->place.opacity, opacity_at(&s->p.span, it->index));
    ls_rect b = ls_crop_bounds(&it->place.matrix, r, pic.w, pic.h);
    if (!b.w || !b.h)
        return 0;
    ls_rgb part;
    ret = ls_rgb_convert(rgb, it->frame, &b, &part, err);
    if (ret)
        return ret;
    it->face = ls_aligned_alloc(LS_MEM_PIPELINE, r * r * 3);
    if (!it->face)
        return ls_fail(err, LS_ENOMEM, "out of memory for a face");
    ls_cropper_run(cropper, it->face, &it->place.matrix, &part, b.x, b.y);
    it->has_face = true;
    return 0;
}

static int next_item(ls_stream *s, uint64_t index, ls_cropper *cropper, ls_rgb_converter *rgb,
                     item **out, ls_error *err)
{
    uint64_t source_index;
    item *it = *out = new_item(s);
    if (!it)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    it->index = index;
    double start = ls_time_now();
    int ret = ls_pingpong_next(s->p.source, &it->frame, &source_index, err);
    count(s, LS_STAGE_DECODE, 1, start);
    return ret ? ret : crop(s, it, source_index, cropper, rgb, err);
}

static void *run_source(void *opaque)
{
    ls_stream *s = opaque;
    ls_error err = {0};
    ls_cropper *cropper = NULL;
    ls_rgb_converter *rgb = NULL;
    int ret = ls_cropper_open(&cropper, s->p.resolution, &err);
    if (!ret)
        ret = ls_rgb_converter_open(&rgb, &err);
    if (!ret)
        ret = ls_pingpong_seek(s->p.source, s->first, &err);
    for (uint64_t i = s->first; !ret && i < s->fed; i++) {
        item *it = NULL;
        ret = ls_canceled(s->p.cancel) ? ls_fail(&err, LS_ECANCELED, "canceled")
                                       : next_item(s, i, cropper, rgb, &it, &err);
        bool pushed = !ret && !push(s, LS_STREAM_CROPPED, it);
        if (!pushed)
            free_item(it);
        if (!ret && !pushed)
            break; // the consumer stopped, and has reported why
    }
    if (ret)
        stop(s, ret, &err);
    else
        ls_queue_finish(s->queue[LS_STREAM_CROPPED], 0);
    ls_cropper_close(&cropper);
    ls_rgb_converter_close(&rgb);
    return NULL;
}

typedef struct chunk_progress {
    ls_stream *stream;
    uint64_t chunk;
    double base, frames;
} chunk_progress;

/* The VAE's share of a chunk: the encoder's before the first step, the decoder's after the last. */
static const double encoding = 0.05, decoding = 0.05;

static void report_chunk(const chunk_progress *p, double fraction, size_t step, size_t steps)
{
    pthread_mutex_lock(&p->stream->lock);
    p->stream->state.generated = p->base + fraction * p->frames;
    p->stream->state.chunk = p->chunk;
    p->stream->state.step = step;
    p->stream->state.steps = steps;
    pthread_mutex_unlock(&p->stream->lock);
}

static void report_step(void *opaque, size_t step, size_t steps)
{
    const double done = (double)step / (double)steps;
    report_chunk(opaque, step ? encoding + (1 - encoding - decoding) * done : 0, step, steps);
}

/* The networks work on whole chunks, so a frame without a face borrows the nearest one of its
 * chunk; its output is not used. */
static const uint8_t *nearest_face(item *const *items, size_t count, size_t i)
{
    for (size_t d = 0; d < count; d++) {
        if (i >= d && items[i - d]->has_face)
            return items[i - d]->face;
        if (i + d < count && items[i + d]->has_face)
            return items[i + d]->face;
    }
    return NULL;
}

static size_t frames_before(uint64_t end, uint64_t at, size_t n)
{
    return end <= at ? 0 : end - at < n ? (size_t)(end - at) : n;
}

/* New mouths for the `n` frames of a chunk, as far as they get any. */
static int generate(ls_stream *s, size_t chunk, item *const *items, size_t n, ls_error *err)
{
    const uint8_t *faces[LS_CHUNK_FRAMES];
    float *images[LS_CHUNK_FRAMES] = {NULL};
    size_t pixels = s->p.resolution * s->p.resolution * 3;
    const uint64_t at = (uint64_t)chunk * LS_CHUNK_FRAMES;
    const size_t written = frames_before(s->end, at, n),
                 mouths = frames_before(s->p.span.mouths, at, n),
                 fed = mouths ? frames_before(s->p.span.fed, at, n) : 0;
    chunk_progress p = {s, chunk, s->state.generated, (double)written};
    const double start = ls_time_now();
    if (fed && nearest_face(items, fed, 0)) {
        for (size_t i = 0; i < fed; i++) {
            faces[i] = nearest_face(items, fed, i);
            if (!items[i]->has_face || i >= mouths)
                continue;
            images[i] = items[i]->image = ls_aligned_alloc(LS_MEM_PIPELINE, pixels * sizeof(float));
            if (!images[i])
                return ls_fail(err, LS_ENOMEM, "out of memory for a face");
        }
        int ret = ls_generator_run(s->p.generator, chunk, fed, faces, images, report_step, &p,
                                   s->p.cancel, err);
        if (ret)
            return ret;
    }
    uint64_t with = 0;
    for (size_t i = 0; i < n; i++) {
        with += i < mouths && items[i]->has_face;
        ls_aligned_free(items[i]->face);
        items[i]->face = NULL;
    }
    pthread_mutex_lock(&s->lock);
    s->state.with_face += with;
    s->state.without_face += mouths - with;
    pthread_mutex_unlock(&s->lock);
    count(s, LS_STAGE_GENERATE, written, start);
    report_chunk(&p, 1, s->state.step, s->state.steps);
    return 0;
}

/* Lets just enough threads restore to keep that stage from being the bottleneck. */
static void split_threads(ls_stream *s)
{
    double each[LS_STAGES], slowest = 0;
    pthread_mutex_lock(&s->lock);
    const ls_stream_state *st = &s->state;
    for (int i = 0; i < LS_STAGES; i++) {
        each[i] = st->frames[i] ? st->seconds[i] / (double)st->frames[i] : 0;
        if (i != LS_STAGE_RESTORE)
            slowest = fmax(slowest, each[i]);
    }
    const double want = slowest > 0 ? ceil(each[LS_STAGE_RESTORE] / slowest) : 1;
    const int old = st->workers;
    s->state.workers = (int)fmax(1, fmin(want, s->p.workers));
    const int now = s->state.workers;
    pthread_cond_broadcast(&s->turn);
    pthread_mutex_unlock(&s->lock);
    ls_log_msg(s->p.log, LS_LOG_DEBUG,
               "ms a frame: decode %.1f, generate %.1f, restore %.1f, encode %.1f; %d of %d "
               "threads restore%s",
               1e3 * each[LS_STAGE_DECODE], 1e3 * each[LS_STAGE_GENERATE],
               1e3 * each[LS_STAGE_RESTORE], 1e3 * each[LS_STAGE_ENCODE], now, s->p.workers,
               now == old  ? ""
               : now > old ? ", more than before"
                           : ", fewer than before");
}

/* Collects chunks on the fixed grid and passes their frames on. */
static int run_generate(ls_stream *s, ls_error *err)
{
    int ret = 0;
    for (uint64_t at = s->first, chunks = 1; !ret && at < s->fed; at += LS_CHUNK_FRAMES, chunks++) {
        item *items[LS_CHUNK_FRAMES] = {NULL};
        const size_t want = frames_before(s->fed, at, LS_CHUNK_FRAMES),
                     written = frames_before(s->end, at, want);
        size_t have = 0, sent = 0;
        void *popped;
        while (!ret && have < want && !(ret = ls_queue_pop(s->queue[LS_STREAM_CROPPED], &popped)))
            items[have++] = popped;
        if (!ret)
            ret = generate(s, (size_t)(at / LS_CHUNK_FRAMES), items, want, err);
        while (!ret && sent < written && !(ret = push(s, LS_STREAM_GENERATED, items[sent])))
            sent++;
        for (size_t i = sent; i < have; i++)
            free_item(items[i]);
        if (chunks % RESPLIT_CHUNKS == 2)
            split_threads(s);
    }
    return ret;
}

static int restore(ls_restore *r, item *it, ls_error *err)
{
    if (!it->image)
        return 0;
    int ret = ls_frame_make_writable(it->frame, err);
    if (ret)
        return ret;
    const ls_picture p = ls_frame_picture(it->frame);
    ret = ls_restore_yuv(r, it->image, &it->place.matrix, it->place.opacity, &p, err);
    ls_aligned_free(it->image);
    it->image = NULL;
    return ret;
}

/* Waits while enough others restore, then for an item; *place is its position in the order. */
static int take(ls_stream *s, int worker, item **it, uint64_t *place)
{
    void *popped = NULL;
    pthread_mutex_lock(&s->lock);
    while (worker >= s->state.workers && !s->stopped)
        pthread_cond_wait(&s->turn, &s->lock);
    pthread_mutex_unlock(&s->lock);
    pthread_mutex_lock(&s->taking);
    int ret = ls_queue_pop(s->queue[LS_STREAM_GENERATED], &popped);
    *it = popped;
    *place = s->taken;
    s->taken += !ret;
    pthread_mutex_unlock(&s->taking);
    return ret;
}

static int give(ls_stream *s, item *it, uint64_t place)
{
    pthread_mutex_lock(&s->lock);
    while (s->given != place && !s->stopped)
        pthread_cond_wait(&s->turn, &s->lock);
    bool stopped = s->stopped;
    pthread_mutex_unlock(&s->lock);
    int ret = stopped ? LS_ECANCELED : push(s, LS_STREAM_RESTORED, it);
    if (ret)
        free_item(it);
    pthread_mutex_lock(&s->lock);
    s->given++;
    pthread_cond_broadcast(&s->turn);
    pthread_mutex_unlock(&s->lock);
    return ret;
}

typedef struct worker {
    ls_stream *stream;
    int number;
    pthread_t thread;
} worker;

static void *run_restore(void *opaque)
{
    const worker *w = opaque;
    ls_stream *s = w->stream;
    ls_error err = {0};
    ls_restore *r = NULL;
    item *it;
    uint64_t place;
    int ret = ls_restore_open(&r, s->p.resolution, &err);
    while (!ret && !take(s, w->number, &it, &place)) {
        const double start = ls_time_now();
        ret = restore(r, it, &err);
        if (!ret) {
            count(s, LS_STAGE_RESTORE, 1, start);
            if (give(s, it, place))
                break; // another stage has failed
        } else {
            free_item(it);
        }
    }
    if (ret)
        stop(s, ret, &err);
    ls_restore_close(&r);
    return NULL;
}

static void *run_encode(void *opaque)
{
    ls_stream *s = opaque;
    ls_error err = {0};
    void *popped;
    int ret = 0;
    while (!ret && !ls_queue_pop(s->queue[LS_STREAM_RESTORED], &popped)) {
        item *it = popped;
        const double start = ls_time_now();
        ret = s->p.encode(s->p.opaque, it->index, it->frame, &err);
        free_item(it);
        if (!ret)
            count(s, LS_STAGE_ENCODE, 1, start);
    }
    if (ret)
        stop(s, ret, &err);
    return NULL;
}

/* Threads, in the order of the stages; the end of each stage finishes the queue to the next. */
static int run_threads(ls_stream *s)
{
    pthread_t source, encode;
    worker workers[MAX_WORKERS];
    ls_error err = {0};
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
        stop(s, LS_ENOMEM, &no_thread);
    int ret = started ? run_generate(s, &err) : LS_ENOMEM;
    if (ret && err.code) // otherwise another stage failed, and has reported why
        stop(s, ret, &err);
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
    s->p.workers = parts->workers < 1             ? 1
                   : parts->workers > MAX_WORKERS ? MAX_WORKERS
                                                  : parts->workers;
    s->p.frames = s->frames = parts->frames < LS_CHUNK_FRAMES ? LS_CHUNK_FRAMES : parts->frames;
    pthread_cond_init(&s->landed, NULL);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->taking, NULL);
    pthread_cond_init(&s->turn, NULL);
    return 0;
}

void ls_stream_close(ls_stream **ps)
{
    ls_stream *s = *ps;
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->taking);
    pthread_cond_destroy(&s->turn);
    pthread_cond_destroy(&s->landed);
    free(s);
    *ps = NULL;
}

int ls_stream_run(ls_stream *s, uint64_t first, uint64_t end, ls_error *err)
{
    ls_queue *queue[LS_STREAM_QUEUES];
    bool ok = true;
    for (int i = 0; i < LS_STREAM_QUEUES; i++) {
        queue[i] = ls_queue_open(s->p.frames, SIZE_MAX, free_item);
        ok = ok && queue[i];
    }
    pthread_mutex_lock(&s->lock);
    for (int i = 0; ok && i < LS_STREAM_QUEUES; i++)
        s->queue[i] = queue[i];
    s->first = first;
    s->end = end;
    s->fed = end == s->p.span.frames && s->p.span.fed > end ? s->p.span.fed : end;
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
