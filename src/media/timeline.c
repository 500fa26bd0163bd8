#include "media/timeline.h"

#include <libavutil/avutil.h>
#include <libavutil/common.h>
#include <libavutil/mathematics.h>
#include <math.h>
#include <string.h>

#define MAX_REPEATS (3600 * 30 * 30) /* fftools gives up on longer gaps too */

const ls_timeline ls_timeline_start = {.previous_pts = AV_NOPTS_VALUE,
                                       .highest_pts = AV_NOPTS_VALUE};

/* Where a frame starts, in frames of the timeline, and how long it lasts there. Source:
 * fftools/ffmpeg.c of FFmpeg 5.1, adjust_frame_pts_to_encoder_tb and do_video_out. */
static double position(const ls_stream_times *s, int64_t pts)
{
    const AVRational tb = av_inv_q(s->rate);
    const int extra = av_clip(29 - av_log2((unsigned)tb.den), 0, 16); // bits of fraction
    const AVRational fine = {tb.num, tb.den << extra};
    pts = av_sat_sub64(pts, av_rescale_q(s->start, AV_TIME_BASE_Q, s->time_base));
    const double at = (double)av_rescale_q(pts, s->time_base, fine) / (double)(1 << extra);
    return at + (at > 0 ? 1.0 : at < 0 ? -1.0 : 0) / (1 << 17); // off the middle between frames
}

static double length(const ls_stream_times *s, int64_t duration)
{
    const double rate = av_q2d(s->rate);
    const long whole = lrintf((float)((double)duration * av_q2d(s->time_base) * rate));
    if (whole > 0)
        return (double)whole;
    return s->source_rate.num > 0 ? fmin(rate / av_q2d(s->source_rate), 1) : 0;
}

/* fftools' decision, with its thresholds: `last` of the `current` frames are the frame before. */
static ls_emission decide(ls_timeline *t, const ls_stream_times *s, double at, double duration)
{
    ls_emission e = {0, 1, false};
    double delta0 = at - (double)t->next_pts, delta = delta0 + duration;
    if (delta0 < 0 && delta > 0)
        delta0 = 0;
    if (t->emitted == 0 && s->alone && delta0 >= 0.5) {
        delta = duration;
        delta0 = 0;
        t->next_pts = llrint(at);
    }
    if (delta < -1.1) {
        e.current = 0;
    } else if (delta > 1.1) {
        e.current = lrintf((float)delta);
        if (delta0 > 1.1)
            e.last = llrintf((float)(delta0 - 0.6));
    }
    return e;
}

/* Takes the time of the next frame decoded. */
static void note_pts(ls_timeline *t, int64_t pts)
{
    t->previous_pts = pts;
    t->unique = t->highest_pts == AV_NOPTS_VALUE || pts > t->highest_pts;
    if (t->unique)
        t->highest_pts = pts;
}

ls_emission ls_timeline_place_at(ls_timeline *t, int64_t index, int64_t pts, bool has_last)
{
    const int64_t missing = index - t->next_pts;
    note_pts(t, pts);
    if (missing < 0)
        return (ls_emission){0};
    return has_last ? (ls_emission){.last = missing, .current = 1}
                    : (ls_emission){.current = 1 + missing};
}

ls_emission ls_timeline_place(ls_timeline *t, const ls_stream_times *s, int64_t pts,
                              int64_t duration, bool has_last)
{
    if (pts == AV_NOPTS_VALUE)
        pts = t->previous_pts == AV_NOPTS_VALUE ? 0 : av_sat_add64(t->previous_pts, duration);
    note_pts(t, pts);
    ls_emission e = decide(t, s, position(s, pts), length(s, duration));
    e.last = FFMIN(e.last, e.current);
    memmove(t->last_repeats + 1, t->last_repeats, 2 * sizeof *t->last_repeats);
    t->last_repeats[0] = e.last;
    if (e.current > MAX_REPEATS) {
        t->unique = false;
        return (ls_emission){.ignore = true};
    }
    if (!has_last)
        e.last = 0;
    e.current -= e.last;
    return e;
}

int64_t ls_timeline_end(const ls_timeline *t)
{
    const int64_t *v = t->last_repeats;
    const int64_t lo = FFMIN(v[0], v[1]), hi = FFMAX(v[0], v[1]);
    const int64_t median = v[2] < lo ? lo : v[2] > hi ? hi : v[2];
    return median > MAX_REPEATS ? 0 : median;
}

void ls_timeline_count(ls_timeline *t)
{
    t->next_pts++;
    t->emitted++;
}

static bool within(int64_t a, int64_t b, int64_t limit)
{
    const int64_t d = av_sat_sub64(a, b);
    return d >= -limit && d <= limit;
}

static int64_t frame_duration(const ls_stream_times *s)
{
    return s->source_rate.num > 0 ? av_rescale_q(1, av_inv_q(s->source_rate), s->time_base) : 0;
}

/* Source: process_input of the same file. */
bool ls_packet_clock_mend(ls_packet_clock *c, const ls_stream_times *s, AVPacket *p)
{
    const int64_t second = av_rescale(1, s->time_base.den, s->time_base.num);
    const bool known = c->next_dts != AV_NOPTS_VALUE && p->dts != AV_NOPTS_VALUE;
    bool jumped = false;
    if (s->discontinuous) {
        if (p->dts != AV_NOPTS_VALUE)
            p->dts = av_sat_add64(p->dts, c->shift);
        jumped = known && (!within(p->dts, c->next_dts, 10 * second) ||
                           p->dts < av_sat_sub64(c->last_dts, second / 10));
        if (jumped) {
            c->shift = av_sat_add64(c->shift, av_sat_sub64(c->next_dts, p->dts));
            p->dts = c->next_dts;
        }
        if (p->pts != AV_NOPTS_VALUE)
            p->pts = av_sat_add64(p->pts, c->shift);
    } else if (known && !within(p->dts, c->next_dts, 30 * 3600 * second)) {
        jumped = true;
        p->dts = c->next_dts;
        p->pts = AV_NOPTS_VALUE;
    }
    if (p->dts != AV_NOPTS_VALUE)
        c->next_dts = c->last_dts = p->dts;
    if (c->next_dts != AV_NOPTS_VALUE)
        c->next_dts = av_sat_add64(c->next_dts, p->duration > 0 ? p->duration : frame_duration(s));
    return jumped;
}
