#include "media/sound.h"
#include "media/input.h"
#include "base/alloc.h"

#include <libavutil/samplefmt.h>
#include <math.h>
#include <stdlib.h>

#define TOLERANCE 0.002    /* seconds by which time stamps may be rounded */
#define MAX_HOLE 600.0     /* seconds, of one */
#define MAX_SILENCE 3600.0 /* and of all together */
#define MAX_OVERLAP 1.0
#define MAX_STEP 10.0 /* of clocks that may start anew, as those of .ts */
#define MAX_STEP_BACK 0.1
#define PRIMING_PACKETS 3 /* that encoders put before the first sample, at most */
#define SILENT_SAMPLES 4096

struct ls_sound {
    ls_sound_settings s;
    AVFormatContext *format;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame, *next; /* decoded: to be given next, and the one after it */
    bool has_frame, has_next;
    const AVStream *stream;
    int64_t gap;      /* silent samples to give before it */
    int64_t position; /* its place in samples; before 0 they are not given */
    int rate;         /* 0 before the first frame */
    double shift;     /* what is added to the time of the file */
    double silence;   /* seconds of holes so far */
    int last;         /* samples of the last frame */
    int64_t first;    /* time stamp of the first packet */
    double primed;    /* seconds of sound that may be hidden before the first sample */
    int64_t last_end; /* time stamp at which the last packet ends, as the file has it */
    bool is_draining, is_damaged, has_jumped;
    unsigned damaged; /* places */
    ls_sound_facts facts;
};

int ls_sound_open(ls_sound **out, const ls_sound_settings *settings, ls_error *err)
{
    ls_sound *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->s = *settings;
    s->first = s->last_end = AV_NOPTS_VALUE;
    s->facts.is_plain = fabs(s->s.offset) < TOLERANCE;
    s->packet = av_packet_alloc();
    s->frame = av_frame_alloc();
    s->next = av_frame_alloc();
    int ret = s->packet && s->frame && s->next
                  ? ls_input_open_stream(&s->format, &s->decoder, s->s.path, AVMEDIA_TYPE_AUDIO,
                                         s->s.stream, 1, s->s.cancel, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (ret < 0) {
        ls_sound_close(out);
        return ret;
    }
    s->stream = s->format->streams[ret];
    return 0;
}

void ls_sound_close(ls_sound **ps)
{
    ls_sound *s = *ps;
    if (!s)
        return;
    avcodec_free_context(&s->decoder);
    avformat_close_input(&s->format);
    av_packet_free(&s->packet);
    av_frame_free(&s->frame);
    av_frame_free(&s->next);
    free(s);
    *ps = NULL;
}

const ls_sound_facts *ls_sound_get_facts(const ls_sound *s)
{
    return &s->facts;
}

const AVCodecContext *ls_sound_decoder(const ls_sound *s)
{
    return s->decoder;
}

/* Packets that cannot be decoded one after another are one place. */
static void note_damage(ls_sound *s)
{
    s->damaged += !s->is_damaged;
    s->is_damaged = true;
    s->facts.is_plain = false;
}

/* Seconds of a time stamp on our clock. */
static double time_of(const ls_sound *s, int64_t pts)
{
    return (double)av_sat_sub64(pts, s->facts.zero) * av_q2d(s->stream->time_base) + s->shift;
}

static bool hides_its_start(const AVPacket *p)
{
    size_t size;
    const uint8_t *skip = av_packet_get_side_data(p, AV_PKT_DATA_SKIP_SAMPLES, &size);
    return p->flags & AV_PKT_FLAG_DISCARD ||
           (skip && size >= 4 && (skip[0] || skip[1] || skip[2] || skip[3]));
}

static void note_packet(ls_sound *s)
{
    const AVPacket *p = s->packet;
    const AVCodecDescriptor *d = avcodec_descriptor_get(s->decoder->codec_id);
    if (p->flags & AV_PKT_FLAG_CORRUPT)
        note_damage(s);
    if (s->rate && hides_its_start(p))
        s->facts.is_plain = false;
    if (p->pts == AV_NOPTS_VALUE)
        return;
    if (s->first == AV_NOPTS_VALUE) {
        s->first = p->pts;
        if (!d || !(d->props & AV_CODEC_PROP_LOSSLESS) || d->props & AV_CODEC_PROP_LOSSY)
            s->primed = PRIMING_PACKETS * (double)p->duration * av_q2d(s->stream->time_base);
    }
    s->last_end = p->duration > 0 ? av_sat_add64(p->pts, p->duration) : AV_NOPTS_VALUE;
}

/* The next packet of the stream into s->packet; LS_EOF after the last. */
static int read_packet(ls_sound *s, ls_error *err)
{
    int ret;
    while ((ret = av_read_frame(s->format, s->packet)) >= 0) {
        if (s->packet->stream_index == s->stream->index)
            return 0;
        av_packet_unref(s->packet);
        if (ls_canceled(s->s.cancel))
            return ls_fail(err, LS_ECANCELED, "canceled");
    }
    if (ret != AVERROR_EOF && !s->format->pb->error)
        note_damage(s);
    ret = ls_input_check_read(s->format, s->s.path, err);
    return ret ? ret : LS_EOF;
}

/* The next frame of the file into s->next. What cannot be decoded is left out. */
static int decode(ls_sound *s, ls_error *err)
{
    for (;;) {
        int ret = avcodec_receive_frame(s->decoder, s->next);
        if (!ret) {
            s->is_damaged = false;
            return 0;
        }
        if (ret != AVERROR(EAGAIN) && ret != AVERROR_EOF)
            note_damage(s);
        if (s->is_draining)
            return LS_EOF;
        ret =
            ls_canceled(s->s.cancel) ? ls_fail(err, LS_ECANCELED, "canceled") : read_packet(s, err);
        s->is_draining = ret == LS_EOF;
        if (ret && !s->is_draining)
            return ret;
        if (!s->is_draining)
            note_packet(s);
        ret = avcodec_send_packet(s->decoder, s->is_draining ? NULL : s->packet);
        if (ret < 0 && ret != AVERROR(EAGAIN) && ret != AVERROR_EOF)
            note_damage(s);
        av_packet_unref(s->packet);
    }
}

/* Where a player starts, given the first time stamp that is heard. */
static int64_t find_zero(const ls_sound *s, int64_t heard)
{
    int64_t zero = heard;
    for (unsigned i = 0; i < s->format->nb_streams; i++) {
        const AVStream *st = s->format->streams[i];
        if (st->codecpar->codec_type != AVMEDIA_TYPE_VIDEO ||
            st->disposition & AV_DISPOSITION_ATTACHED_PIC || st->start_time == AV_NOPTS_VALUE)
            continue;
        const int64_t shown = av_rescale_q(st->start_time, st->time_base, s->stream->time_base);
        const double late = (double)av_sat_sub64(heard, shown) * av_q2d(s->stream->time_base);
        if (shown < zero && late < MAX_HOLE)
            zero = shown;
    }
    return zero;
}

static int64_t time_stamp(const AVFrame *f)
{
    return f->pts != AV_NOPTS_VALUE ? f->pts : f->best_effort_timestamp;
}

/* Places the first frame. */
static void start(ls_sound *s)
{
    const int64_t pts = time_stamp(s->frame), heard = pts == AV_NOPTS_VALUE ? s->first : pts;
    s->shift = s->s.offset;
    if (heard != AV_NOPTS_VALUE) {
        s->facts.zero = find_zero(s, heard);
        if (s->format->start_time != AV_NOPTS_VALUE)
            s->facts.lead = (double)s->facts.zero * av_q2d(s->stream->time_base) -
                            (double)s->format->start_time / AV_TIME_BASE;
        const double begin = time_of(s, heard),
                     hidden = (double)av_sat_sub64(heard, s->first) * av_q2d(s->stream->time_base);
        s->position = llrint(begin * s->rate);
        if (s->first != AV_NOPTS_VALUE && hidden > s->primed + TOLERANCE)
            s->facts.is_plain = false;
    } else {
        s->position = llrint(s->shift * s->rate);
    }
    s->gap = s->position > 0 ? s->position : 0;
    s->facts.begin = (double)s->position / s->rate;
}

static void jump(ls_sound *s, double by)
{
    s->shift -= by;
    s->facts.is_plain = false;
    if (!s->has_jumped)
        ls_log_msg(s->s.log, LS_LOG_WARN,
                   "%s: the time stamps jump by %.1f s at %.1f s; they are taken to be wrong, and "
                   "the sound goes on without a pause",
                   s->s.path, by, (double)s->position / s->rate);
    s->has_jumped = true;
}

/* Seconds by which a frame that comes at `position` is late by its time stamp. */
static double late(const ls_sound *s, const AVFrame *f, int64_t position)
{
    const int64_t pts = time_stamp(f);
    return pts == AV_NOPTS_VALUE ? 0 : time_of(s, pts) - (double)position / s->rate;
}

/* Whether the time stamp of one frame errs, as demuxers' guesses do within a page of Ogg: the next
 * one follows as if nothing had happened. */
static bool errs_alone(const ls_sound *s)
{
    return s->has_next && s->next->sample_rate == s->rate &&
           fabs(late(s, s->next, s->position + s->frame->nb_samples)) <= TOLERANCE;
}

/* Places a frame after the others; returns how many of its samples are to be cut. */
static int64_t place(ls_sound *s)
{
    const double by = late(s, s->frame, s->position);
    const bool steps = s->format->iformat->flags & AVFMT_TS_DISCONT;
    if (fabs(by) <= TOLERANCE || errs_alone(s))
        return 0;
    if (by > (steps ? MAX_STEP : MAX_HOLE) || by > MAX_SILENCE - s->silence ||
        by < -(steps ? MAX_STEP_BACK : MAX_OVERLAP)) {
        jump(s, by);
        return 0;
    }
    s->facts.is_plain = false;
    const int64_t samples = llrint(by * s->rate);
    if (samples < 0)
        return -samples;
    s->gap = samples;
    s->silence += by;
    s->position += samples;
    if (s->position - samples < 0) // in the part that an offset cuts off
        s->gap = s->position > 0 ? s->position : 0;
    return 0;
}

/* Removes the first samples of the frame; false if none are left. */
static bool cut(AVFrame *f, int64_t samples)
{
    const bool planar = av_sample_fmt_is_planar(f->format);
    const int channels = f->ch_layout.nb_channels;
    const size_t size =
        (size_t)av_get_bytes_per_sample(f->format) * (planar ? 1 : (size_t)channels);
    if (samples >= f->nb_samples)
        return false;
    for (int i = 0; samples > 0 && i < (planar ? channels : 1); i++) {
        f->extended_data[i] += (size_t)samples * size;
        if (i < AV_NUM_DATA_POINTERS)
            f->data[i] = f->extended_data[i];
    }
    f->nb_samples -= (int)samples;
    return true;
}

/* Takes the decoded frame over. */
static void take_frame(ls_sound *s)
{
    AVFrame *f = s->frame;
    int64_t samples = 0;
    if (f->sample_rate > 0 && f->nb_samples > 0) {
        const bool is_first = !s->rate;
        if (!is_first && f->sample_rate != s->rate)
            s->position = av_rescale(s->position, f->sample_rate, s->rate);
        s->rate = f->sample_rate;
        if (is_first)
            start(s);
        else
            samples = place(s);
        const int64_t before = s->position < 0 ? -s->position : 0;
        s->position += samples < f->nb_samples ? f->nb_samples - samples : 0;
        s->last = f->nb_samples;
        s->has_frame = cut(f, samples + before);
    }
    if (!s->has_frame)
        av_frame_unref(f);
}

static int give_silence(ls_sound *s, AVFrame *f, ls_error *err)
{
    f->format = s->frame->format;
    f->sample_rate = s->frame->sample_rate;
    f->nb_samples = s->gap < SILENT_SAMPLES ? (int)s->gap : SILENT_SAMPLES;
    if (av_channel_layout_copy(&f->ch_layout, &s->frame->ch_layout) < 0 ||
        av_frame_get_buffer(f, 0) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory for audio");
    av_samples_set_silence(f->extended_data, 0, f->nb_samples, f->ch_layout.nb_channels, f->format);
    s->gap -= f->nb_samples;
    return 0;
}

static void finish(ls_sound *s)
{
    if (s->damaged)
        ls_log_msg(s->s.log, LS_LOG_WARN,
                   "%s is damaged in %u place%s; what cannot be decoded is silent", s->s.path,
                   s->damaged, s->damaged == 1 ? "" : "s");
    s->damaged = 0;
    s->facts.seconds = s->rate && s->position > 0 ? (double)s->position / s->rate : 0;
    const double declared = s->last_end != AV_NOPTS_VALUE ? time_of(s, s->last_end) : 0,
                 filled = s->facts.seconds - declared; // by the encoder, in the last packet
    if (declared > 0 && filled > 0 && (filled + TOLERANCE) * s->rate < s->last)
        s->facts.seconds = declared;
}

/* Decodes one frame ahead. */
static int advance(ls_sound *s, ls_error *err)
{
    int ret = s->has_next ? 0 : decode(s, err);
    if (ret)
        return ret;
    av_frame_move_ref(s->frame, s->next);
    ret = decode(s, err);
    s->has_next = !ret;
    return ret == LS_EOF ? 0 : ret;
}

int ls_sound_next(ls_sound *s, AVFrame *f, ls_error *err)
{
    int ret = 0;
    while (!s->has_frame && !(ret = advance(s, err)))
        take_frame(s);
    if (ret == LS_EOF)
        finish(s);
    if (ret)
        return ret;
    if (s->gap)
        return give_silence(s, f, err);
    av_frame_move_ref(f, s->frame);
    s->has_frame = false;
    return 0;
}

int ls_sound_scan(ls_sound_facts *out, const ls_sound_settings *settings, ls_error *err)
{
    ls_sound *s = NULL;
    AVFrame *f = av_frame_alloc();
    int ret = f ? ls_sound_open(&s, settings, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    while (!ret && !(ret = ls_sound_next(s, f, err)))
        av_frame_unref(f);
    if (ret == LS_EOF) {
        *out = s->facts;
        ret = out->seconds > 0
                  ? 0
                  : ls_fail(err, LS_EFORMAT, "%s: no audio can be decoded", settings->path);
    }
    ls_sound_close(&s);
    av_frame_free(&f);
    return ret;
}

int ls_sound_is_in(const char *path, bool *is, const ls_cancel *cancel, ls_error *err)
{
    AVFormatContext *format = NULL;
    const int ret = ls_input_open(&format, path, cancel, err);
    *is = !ret && ls_input_count_streams(format, AVMEDIA_TYPE_AUDIO);
    avformat_close_input(&format);
    return ret;
}
