/* The generators of a stream: each has a lane, a thread that collects chunks on the fixed grid. */
#include "base/alloc.h"
#include "base/aside.h"
#include "base/time.h"
#include "pipeline/chunk_store.h"
#include "pipeline/stream_inside.h"

#include <math.h>

#define RESPLIT_CHUNKS 16 /* after the second chunk, and then every so many */

typedef ls_stream_item item;
typedef ls_stream_lane lane;

/* The chunk that a lane works on. */
typedef struct chunk {
    uint64_t at;        /* its first frame */
    size_t n, have;     /* frames, and those that are there */
    size_t first, end;  /* of them, those that are written; the others are dropped */
    size_t mouths, fed; /* that get a new mouth, and that the networks get */
    bool taken;         /* an earlier run has made it */
    item *items[LS_CHUNK_FRAMES];
} chunk;

static size_t written(const chunk *c)
{
    return c->end - c->first;
}

/* The VAE's share of a chunk: the encoder's before the first step, the decoder's after the last. */
static const double encoding = 0.05, decoding = 0.05;

/* With the stream's lock: what all lanes have done, and the chunk of the one furthest behind. */
static void look_at_lanes(ls_stream *s)
{
    const lane *last = NULL;
    s->state.generated = s->made;
    for (size_t i = 0; i < s->p.generator_count; i++) {
        const lane *l = &s->lanes[i];
        if (!l->works)
            continue;
        s->state.generated += l->done;
        if (!last || l->chunk < last->chunk)
            last = l;
    }
    if (last) {
        s->state.chunk = last->chunk;
        s->state.step = last->step;
    }
}

static void begin_chunk(lane *l, const chunk *c)
{
    ls_stream *s = l->stream;
    pthread_mutex_lock(&s->lock);
    l->works = true;
    l->chunk = c->at / LS_CHUNK_FRAMES;
    l->step = 0;
    l->frames = (double)written(c);
    l->done = 0;
    pthread_mutex_unlock(&s->lock);
}

static void report_step(void *opaque, size_t step, size_t steps)
{
    lane *l = opaque;
    const double part = (double)step / (double)steps;
    pthread_mutex_lock(&l->stream->lock);
    l->done = step ? l->frames * (encoding + (1 - encoding - decoding) * part) : 0;
    l->step = step;
    l->stream->state.steps = steps;
    look_at_lanes(l->stream);
    pthread_mutex_unlock(&l->stream->lock);
}

static void end_chunk(lane *l, const chunk *c)
{
    ls_stream *s = l->stream;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < c->mouths && !c->taken; i++) {
        const item *it = c->items[i];
        if (it->has_face)
            s->state.with_face++;
        else if (it->place.hidden)
            s->state.hidden[it->place.hidden]++;
        else
            s->state.without_face++;
    }
    s->state.taken += c->taken ? written(c) : 0;
    l->done = l->frames;
    l->step = s->state.steps;
    look_at_lanes(s);
    s->made += l->frames;
    l->works = false;
    pthread_mutex_unlock(&s->lock);
}

static void count(lane *l, int use, double seconds, uint64_t frames)
{
    ls_stream *s = l->stream;
    ls_stream_count(s, LS_STAGE_GENERATE, use, seconds, frames);
    pthread_mutex_lock(&s->lock);
    s->state.generators[l->number].seconds[use] += seconds;
    s->state.generators[l->number].frames += frames;
    pthread_mutex_unlock(&s->lock);
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

/* Whether an earlier run has made these faces. */
static bool take_kept(ls_stream *s, const ls_chunk_faces *kept)
{
    ls_error err = {0};
    const int ret = s->p.folder ? ls_chunk_store_take(s->p.folder, kept, &err) : LS_ENOENT;
    if (ret == LS_EFORMAT)
        ls_log_msg(s->p.log, LS_LOG_WARN, "%s; chunk %llu will be made again", err.message,
                   (unsigned long long)kept->chunk);
    return !ret;
}

static int make_faces(lane *l, chunk *c, ls_error *err)
{
    ls_stream *s = l->stream;
    const uint8_t *faces[LS_CHUNK_FRAMES];
    float *images[LS_CHUNK_FRAMES] = {NULL};
    const size_t pixels = s->p.resolution * s->p.resolution * 3;
    for (size_t i = 0; i < c->fed; i++) {
        item *it = c->items[i];
        faces[i] = nearest_face(c->items, c->fed, i);
        if (!it->has_face || i >= c->mouths)
            continue;
        images[i] = it->image = ls_aligned_alloc(LS_MEM_PIPELINE, pixels * sizeof(float));
        if (!images[i])
            return ls_fail(err, LS_ENOMEM, "out of memory for a face");
    }
    const uint64_t number = c->at / LS_CHUNK_FRAMES;
    const ls_chunk_faces all = {number, c->mouths, s->p.resolution, images};
    c->taken = take_kept(s, &all);
    ls_log_msg(s->p.log, LS_LOG_DEBUG, "chunk %llu: %s", (unsigned long long)number,
               c->taken ? "made by an earlier run" : "to the networks");
    return c->taken ? 0
                    : ls_generator_run(s->p.generators[l->number], (size_t)number, c->fed, faces,
                                       images, report_step, l, &s->canceled, err);
}

/* New mouths for a chunk, as far as it gets any. */
static int generate(lane *l, chunk *c, ls_error *err)
{
    begin_chunk(l, c);
    int ret = c->fed && nearest_face(c->items, c->fed, 0) ? make_faces(l, c, err) : 0;
    if (ret)
        return ret;
    end_chunk(l, c);
    count(l, LS_TIME_BUSY, ls_stream_lap(&l->since), c->taken ? 0 : written(c));
    return 0;
}

/* Lets just enough threads restore to keep that stage from being the bottleneck. */
static void split_threads(ls_stream *s)
{
    double each[LS_STAGES], slowest = 0;
    pthread_mutex_lock(&s->lock);
    const ls_stream_state *st = &s->state;
    for (int i = 0; i < LS_STAGES; i++) {
        const double threads = i == LS_STAGE_GENERATE ? (double)s->p.generator_count : 1;
        each[i] =
            st->frames[i] ? st->seconds[i][LS_TIME_BUSY] / (double)st->frames[i] / threads : 0;
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

static size_t frames_before(uint64_t end, uint64_t at, size_t n)
{
    return end <= at ? 0 : end - at < n ? (size_t)(end - at) : n;
}

/* Seconds so far that the frames in flight were as many as there may be. */
static double full_seconds(ls_stream *s)
{
    pthread_mutex_lock(&s->lock);
    const double full = s->full + (s->full_since > 0 ? ls_time_now() - s->full_since : 0);
    pthread_mutex_unlock(&s->lock);
    return full;
}

/* The next chunk, of which no more than `have` frames are there on failure; LS_EOF past the last.
 */
static int collect(lane *l, chunk *c)
{
    ls_stream *s = l->stream;
    void *popped;
    const double before = full_seconds(s);
    *c = (chunk){.have = 0};
    pthread_mutex_lock(&s->collecting);
    c->at = s->next;
    s->next += LS_CHUNK_FRAMES;
    c->n = frames_before(s->fed, c->at, LS_CHUNK_FRAMES);
    int ret = c->n ? 0 : LS_EOF;
    while (!ret && c->have < c->n && !(ret = ls_queue_pop(s->queue[LS_STREAM_CROPPED], &popped)))
        c->items[c->have++] = popped;
    pthread_mutex_unlock(&s->collecting);
    c->first = frames_before(s->first, c->at, c->n);
    c->end = frames_before(s->end, c->at, c->n);
    c->mouths = frames_before(s->p.span.mouths, c->at, c->n);
    c->fed = c->mouths ? frames_before(s->p.span.fed, c->at, c->n) : 0;
    const double waited = ls_stream_lap(&l->since), full = fmin(waited, full_seconds(s) - before);
    count(l, LS_TIME_ROOM, full, 0); // no frame could come before others have left
    count(l, LS_TIME_INPUT, waited - full, 0);
    return ret;
}

/* A chunk on its way out of a lane, which works on the next one meanwhile. */
typedef struct delivery {
    ls_stream *stream;
    chunk c;
    int ret;
} delivery;

/* What cannot be kept is only missed after an interruption. */
static void keep(ls_stream *s, const chunk *c)
{
    ls_error err = {0};
    float *images[LS_CHUNK_FRAMES];
    bool any = false;
    for (size_t i = 0; i < c->mouths; i++)
        any = (images[i] = c->items[i]->image) || any;
    pthread_mutex_lock(&s->lock);
    bool keeps = s->keeps;
    pthread_mutex_unlock(&s->lock);
    const ls_chunk_faces made = {c->at / LS_CHUNK_FRAMES, c->mouths, s->p.resolution, images};
    if (!keeps || !any || c->taken)
        return;
    if (!ls_chunk_store_keep(s->p.folder, &made, &err)) {
        ls_log_msg(s->p.log, LS_LOG_DEBUG, "chunk %zu: kept", (size_t)made.chunk);
        return;
    }
    pthread_mutex_lock(&s->lock);
    keeps = s->keeps;
    s->keeps = false;
    pthread_mutex_unlock(&s->lock);
    if (keeps)
        ls_log_msg(s->p.log, LS_LOG_WARN,
                   "%s; from now on an interruption costs the whole segment in the works",
                   err.message);
}

static void free_items(chunk *c)
{
    for (size_t i = 0; i < c->have; i++)
        ls_stream_free_item(c->items[i]);
    c->have = 0;
}

/* In the order of the chunks; what was passed on is no longer in *c. */
static int pass_on(ls_stream *s, chunk *c)
{
    int ret = 0;
    pthread_mutex_lock(&s->lock);
    while (s->passed != c->at && !s->stopped)
        pthread_cond_wait(&s->turn, &s->lock);
    const bool stopped = s->stopped;
    pthread_mutex_unlock(&s->lock);
    for (size_t i = c->first; !stopped && !ret && i < c->end; i++) {
        ret = ls_stream_push(s, LS_STREAM_GENERATED, c->items[i]);
        if (!ret)
            c->items[i] = NULL;
    }
    pthread_mutex_lock(&s->lock);
    s->passed += LS_CHUNK_FRAMES;
    pthread_cond_broadcast(&s->turn);
    pthread_mutex_unlock(&s->lock);
    return stopped ? LS_ECANCELED : ret;
}

static void deliver(void *opaque)
{
    delivery *d = opaque;
    keep(d->stream, &d->c);
    d->ret = pass_on(d->stream, &d->c);
    free_items(&d->c);
}

/* Makes chunks, and has them delivered by `aside`, until the last, which gives LS_EOF. */
static int run_chunks(lane *l, ls_aside *aside, delivery *d, ls_error *err)
{
    chunk c;
    int ret;
    while (!(ret = collect(l, &c)) && !(ret = generate(l, &c, err))) {
        ls_aside_wait(aside);
        count(l, LS_TIME_ROOM, ls_stream_lap(&l->since), 0);
        if ((ret = d->ret))
            break;
        d->c = c;
        ls_aside_start(aside, deliver, d);
        if ((c.at - l->stream->begin) / LS_CHUNK_FRAMES % RESPLIT_CHUNKS == 1)
            split_threads(l->stream);
    }
    free_items(&c);
    return ret;
}

static void *run_lane(void *opaque)
{
    lane *l = opaque;
    ls_stream *s = l->stream;
    ls_error err = {0};
    ls_aside *aside;
    delivery d = {.stream = s};
    int ret = ls_aside_open(&aside, &err);
    l->since = ls_time_now();
    if (!ret)
        ret = run_chunks(l, aside, &d, &err);
    if (ret != LS_EOF)
        ls_stream_stop(s, ret, &err);
    ls_aside_close(&aside);
    if (d.ret)
        ls_stream_stop(s, d.ret, &err);
    return NULL;
}

int ls_stream_generate(ls_stream *s)
{
    size_t started = 1;
    for (size_t i = 0; i < s->p.generator_count; i++)
        s->lanes[i] = (lane){.stream = s, .number = i};
    while (started < s->p.generator_count &&
           !pthread_create(&s->lanes[started].thread, NULL, run_lane, &s->lanes[started]))
        started++;
    if (started < s->p.generator_count)
        ls_stream_stop(s, LS_ENOMEM,
                       &(ls_error){.code = LS_ENOMEM, .message = "cannot start a thread"});
    run_lane(&s->lanes[0]);
    for (size_t i = 1; i < started; i++)
        pthread_join(s->lanes[i].thread, NULL);
    pthread_mutex_lock(&s->lock);
    const int ret = s->err.code;
    pthread_mutex_unlock(&s->lock);
    return ret;
}
