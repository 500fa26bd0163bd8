#include "media/times.h"
#include "media/input.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define MAX_FRAMES ((size_t)1 << 22) /* 19 hours at 60 frames/s */
#define MAX_RATE 1000                /* the clock of Matroska counts milliseconds */
#define MAX_SPAN 0x1p50              /* ticks; 380 years of a transport stream */
#define MAX_TERM 60000               /* of the average rate; MPEG-4 has no larger ones */

struct ls_times {
    int64_t *pts; /* ascending, once it is settled */
    size_t count, room;
    int64_t last_duration; /* of the frame shown last, if positive */
    int64_t origin, total; /* of all frames: from the first to the end of the last */
    AVRational time_base, rate;
};

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Whether every frame is nearer to its place at the constant rate than to the next one. */
static bool is_constant(const ls_times *t, const ls_stream_times *s)
{
    if (s->source_rate.num <= 0 || s->source_rate.den <= 0)
        return false;
    const double step = av_q2d(s->time_base) * av_q2d(s->source_rate);
    for (size_t i = 0; i < t->count; i++)
        if (fabs(((double)t->pts[i] - (double)t->pts[0]) * step - (double)i) >= 0.5)
            return false;
    return true;
}

static bool is_usable(const ls_times *t, AVRational time_base)
{
    const double least = (1 - 1e-9) / (MAX_RATE * av_q2d(time_base));
    for (size_t i = 0; i < t->count; i++)
        if (t->pts[i] > INT64_MAX / 4 || t->pts[i] < INT64_MIN / 4 ||
            (i && (double)(t->pts[i] - t->pts[i - 1]) < least))
            return false;
    return (double)(t->pts[t->count - 1] - t->pts[0]) * time_base.num < MAX_SPAN;
}

static ls_times_kind settle(ls_times *t, const ls_stream_times *s)
{
    if (t->count < 2)
        return LS_TIMES_CONSTANT;
    qsort(t->pts, t->count, sizeof *t->pts, compare);
    if (is_constant(t, s))
        return LS_TIMES_CONSTANT;
    if (!is_usable(t, s->time_base))
        return LS_TIMES_UNUSABLE;
    const int64_t start = av_rescale_q(s->start, AV_TIME_BASE_Q, s->time_base), first = t->pts[0],
                  last = t->pts[t->count - 1], before = t->pts[t->count - 2];
    t->time_base = s->time_base;
    const double late = ((double)first - (double)start) * s->time_base.num;
    t->origin = s->alone || late < 0 || late >= MAX_SPAN ? first : start;
    const bool known =
        t->last_duration > 0 && (double)t->last_duration * s->time_base.num < MAX_SPAN;
    t->total = last - t->origin + (known ? t->last_duration : last - before);
    av_reduce(&t->rate.num, &t->rate.den, (int64_t)t->count * s->time_base.den,
              t->total * s->time_base.num, MAX_TERM);
    return t->rate.num > 0 && t->rate.den > 0 && av_q2d(t->rate) <= MAX_RATE ? LS_TIMES_VARY
                                                                             : LS_TIMES_UNUSABLE;
}

/* Takes the time of a packet. LS_EOF: it has none, or there are too many. */
static int add(ls_times *t, int64_t pts, int64_t duration, ls_error *err)
{
    if (pts == AV_NOPTS_VALUE || t->count == MAX_FRAMES)
        return LS_EOF;
    if (t->count == t->room) {
        const size_t room = t->room ? 2 * t->room : 1024; // at most MAX_FRAMES
        int64_t *more = realloc(t->pts, room * sizeof *more);
        if (!more)
            return ls_fail(err, LS_ENOMEM, "out of memory for the times of frames");
        t->pts = more;
        t->room = room;
    }
    if (!t->count || pts > t->origin) { // so far the latest
        t->origin = pts;
        t->last_duration = duration;
    }
    t->pts[t->count++] = pts;
    return 0;
}

/* Of *out, what the `ret` of its last packet and the list make. */
static int finish(ls_times **out, ls_times_kind *kind, int ret, const ls_stream_times *s)
{
    *kind = ret ? LS_TIMES_UNUSABLE : settle(*out, s);
    if (*kind != LS_TIMES_VARY)
        ls_times_close(out);
    return ret == LS_EOF ? 0 : ret;
}

int ls_times_make(ls_times **out, ls_times_kind *kind, const int64_t *pts, size_t count,
                  int64_t duration, const ls_stream_times *s, ls_error *err)
{
    *out = ls_calloc_array(1, sizeof **out);
    int ret = *out ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < count; i++)
        ret = add(*out, pts[i], duration, err);
    return finish(out, kind, ret, s);
}

/* Frames that VP8 never shows, and those that an edit list leaves out, have packets too. */
static bool is_shown(const AVPacket *p, enum AVCodecID codec)
{
    return !(p->flags & AV_PKT_FLAG_DISCARD) &&
           (codec != AV_CODEC_ID_VP8 || !p->size || p->data[0] & 0x10);
}

static int read_packets(ls_times *t, AVFormatContext *f, AVPacket *p, int stream,
                        const ls_stream_times *s, ls_error *err)
{
    const enum AVCodecID codec = f->streams[stream]->codecpar->codec_id;
    ls_packet_clock clock = {.next_dts = AV_NOPTS_VALUE};
    int ret = 0, read = 0;
    for (unsigned i = 0; i < f->nb_streams; i++)
        if ((int)i != stream)
            f->streams[i]->discard = AVDISCARD_ALL;
    while (!ret && ((read = av_read_frame(f, p)) >= 0 || read == AVERROR(EAGAIN))) {
        if (read < 0)
            continue;
        if (p->stream_index == stream && ls_packet_clock_mend(&clock, s, p))
            ret = LS_EOF;
        else if (p->stream_index == stream && is_shown(p, codec))
            ret = add(t, p->pts, p->duration, err);
        av_packet_unref(p);
    }
    return ret;
}

int ls_times_open(ls_times **out, ls_times_kind *kind, const char *path, int stream,
                  const ls_stream_times *s, const ls_cancel *cancel, ls_error *err)
{
    AVFormatContext *f = NULL;
    AVPacket *p = av_packet_alloc();
    *out = ls_calloc_array(1, sizeof **out);
    int ret =
        *out && p ? ls_input_open(&f, path, cancel, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && (unsigned)stream >= f->nb_streams)
        ret = ls_fail(err, LS_EIO, "%s has changed while it was opened", path);
    if (!ret)
        ret = read_packets(*out, f, p, stream, s, err);
    if (ls_canceled(cancel))
        ret = ls_fail(err, LS_ECANCELED, "canceled");
    else if (!ret)
        ret = ls_input_check_read(f, path, err);
    av_packet_free(&p);
    avformat_close_input(&f);
    if (*out)
        return finish(out, kind, ret, s);
    return ret;
}

void ls_times_close(ls_times **t)
{
    if (*t)
        free((*t)->pts);
    free(*t);
    *t = NULL;
}

uint64_t ls_times_frames(const ls_times *t)
{
    return t->count;
}

AVRational ls_times_base(const ls_times *t)
{
    return t->time_base;
}

AVRational ls_times_rate(const ls_times *t)
{
    return t->rate;
}

int64_t ls_times_find(const ls_times *t, int64_t pts)
{
    const int64_t *found = bsearch(&pts, t->pts, t->count, sizeof pts, compare);
    return found ? found - t->pts : -1;
}

/* When frame i begins on the way there. Whatever the file shows before its first frame, the output
 * shows the frame. */
static int64_t begin(const ls_times *t, uint64_t i)
{
    return !i ? 0 : i < t->count ? t->pts[i] - t->origin : t->total;
}

int64_t ls_times_at(const ls_times *t, uint64_t place)
{
    const uint64_t period = 2 * (uint64_t)t->count, round = place / period, i = place % period;
    return (int64_t)round * 2 * t->total +
           (i < t->count ? begin(t, i) : 2 * t->total - begin(t, period - i));
}

double ls_times_seconds(const ls_times *t, uint64_t place)
{
    return (double)ls_times_at(t, place) * av_q2d(t->time_base);
}

uint64_t ls_times_periods(const ls_times *t, uint64_t place, int rate)
{
    return (uint64_t)av_rescale_q_rnd(ls_times_at(t, place), t->time_base, (AVRational){1, rate},
                                      AV_ROUND_DOWN);
}

uint64_t ls_times_before(const ls_times *t, double seconds)
{
    const double round = 2 * (double)t->total * av_q2d(t->time_base);
    const uint64_t whole = seconds > 0 ? (uint64_t)(seconds / round) : 0;
    uint64_t from = whole * 2 * t->count, to = from + 2 * t->count + 1;
    while (from < to) { // the first that is not before
        const uint64_t middle = from + (to - from) / 2;
        if (ls_times_seconds(t, middle) < seconds)
            from = middle + 1;
        else
            to = middle;
    }
    return from;
}
