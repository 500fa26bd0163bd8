#include "media/audio_out.h"
#include "media/input.h"
#include "media/tags.h"
#include "base/alloc.h"

#include <libavutil/samplefmt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BITS_PER_CHANNEL 96000
#define LATE 0.001 /* s */

struct ls_audio_out {
    char *path;
    const ls_container *container;
    AVFormatContext *in, *mux;
    const AVStream *from;
    int64_t zero; /* its time stamp that is at the first frame */
    AVStream *to;
    AVPacket *packet;
    double delay;     /* seconds by which packets are written later */
    double at;        /* seconds up to which audio was written */
    int64_t last_dts; /* of the copied packets */
    bool ended;
    /* only when it is encoded again */
    AVCodecContext *encoder;
    AVFrame *frame, *planes;
    ls_mix *mix;
    int64_t next_pts;
};

static int mux_packet(ls_audio_out *a, ls_error *err)
{
    a->packet->stream_index = a->to->index;
    int64_t ts = a->packet->dts != AV_NOPTS_VALUE ? a->packet->dts : a->packet->pts;
    if (ts != AV_NOPTS_VALUE)
        a->at = (double)ts * av_q2d(a->to->time_base);
    int ret = av_interleaved_write_frame(a->mux, a->packet);
    return ret < 0 ? ls_fail_av(err, ret, "cannot write the audio") : 0;
}

/* Moves the packet by the delay. */
static void put_later(ls_audio_out *a, AVRational time_base)
{
    const int64_t by = (int64_t)ceil(a->delay / av_q2d(time_base) - 1e-6);
    if (a->packet->pts != AV_NOPTS_VALUE)
        a->packet->pts = av_sat_add64(a->packet->pts, by);
    if (a->packet->dts != AV_NOPTS_VALUE)
        a->packet->dts = av_sat_add64(a->packet->dts, by);
}

static bool is_matroska(const ls_audio_out *a)
{
    return !strcmp(a->mux->oformat->name, "matroska") || !strcmp(a->mux->oformat->name, "webm");
}

/* Seconds that packets have to be late by: players of Matroska subtract the delay of Opus, which
 * the muxer notes, and which not every version of it adds. */
static double delay_of(const ls_audio_out *a, enum AVCodecID codec, int padding, int rate)
{
    return codec == AV_CODEC_ID_OPUS && is_matroska(a) && !ls_av_matroska_adds_delay()
               ? (double)padding / rate
               : 0;
}

static int open_copy(ls_audio_out *a, ls_error *err)
{
    int ret = avcodec_parameters_copy(a->to->codecpar, a->from->codecpar);
    a->to->codecpar->codec_tag = 0;
    a->to->time_base = a->from->time_base;
    const AVCodecParameters *par = a->from->codecpar;
    a->delay = delay_of(a, par->codec_id, par->initial_padding, 48000);
    return ret < 0 ? ls_fail_av(err, ret, "cannot copy the audio of %s", a->path) : 0;
}

/* The muxer's list of codecs includes some that it refuses, so a header is tried in memory. */
static bool can_copy(const ls_audio_out *a)
{
    const AVCodecParameters *par = a->from->codecpar;
    AVFormatContext *trial = NULL;
    uint8_t *header = NULL;
    if (!ls_container_takes_audio(a->container, par->codec_id) ||
        avformat_query_codec(a->mux->oformat, par->codec_id, FF_COMPLIANCE_EXPERIMENTAL) != 1 ||
        avformat_alloc_output_context2(&trial, a->mux->oformat, NULL, NULL) < 0)
        return false;
    trial->strict_std_compliance = a->mux->strict_std_compliance;
    AVStream *st = avformat_new_stream(trial, NULL);
    bool ok =
        st && avcodec_parameters_copy(st->codecpar, par) >= 0 && avio_open_dyn_buf(&trial->pb) >= 0;
    if (ok) {
        st->codecpar->codec_tag = 0;
        st->time_base = a->from->time_base;
        ok = avformat_write_header(trial, NULL) >= 0;
        avio_close_dyn_buf(trial->pb, &header);
        av_free(header);
    }
    avformat_free_context(trial);
    return ok;
}

/* Whether a copy plays as the original does. Silence before the sound would be an edit list that
 * says "nothing", which many players skip and FFmpeg rounds. */
static bool can_keep(const ls_audio_out *a, const ls_sound_facts *facts)
{
    return facts->is_plain && (facts->begin < LATE || is_matroska(a));
}

/* The rate itself if the encoder has it, else the next higher one, else the highest. */
static int encoder_rate(const AVCodec *codec, int rate)
{
    int best = 0, highest = 0;
    for (const int *r = ls_av_sample_rates(codec); r && *r; r++) {
        if (*r >= rate && (!best || *r < best))
            best = *r;
        highest = *r > highest ? *r : highest;
    }
    return best ? best : highest ? highest : rate;
}

static int open_encoder(ls_audio_out *a, const ls_mix_settings *mix, ls_error *err)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(a->container->audio_encoder);
    int ret = ls_mix_open(&a->mix, mix, err);
    if (ret)
        return ret;
    if (!codec)
        return ls_fail(err, LS_EUNSUPPORTED, "libavcodec lacks the encoder %s for the audio",
                       a->container->audio_encoder);
    AVCodecContext *c = a->encoder = avcodec_alloc_context3(codec);
    a->frame = av_frame_alloc();
    a->planes = av_frame_alloc();
    if (!c || !a->frame || !a->planes)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    const AVChannelLayout *layout = ls_mix_layout(a->mix);
    if (layout->order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&c->ch_layout, layout->nb_channels);
    else
        ret = av_channel_layout_copy(&c->ch_layout, layout);
    c->sample_rate = encoder_rate(codec, ls_mix_rate(a->mix));
    c->sample_fmt = codec->id == AV_CODEC_ID_AAC ? AV_SAMPLE_FMT_FLTP : AV_SAMPLE_FMT_FLT;
    c->bit_rate = BITS_PER_CHANNEL * (int64_t)c->ch_layout.nb_channels;
    c->time_base = (AVRational){1, c->sample_rate};
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (a->mux->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (ret >= 0)
        ret = avcodec_open2(c, codec, NULL);
    if (ret >= 0)
        ret = avcodec_parameters_from_context(a->to->codecpar, c);
    a->to->time_base = c->time_base;
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot encode the audio of %s as %s", a->path,
                          a->container->audio_name);
    a->delay = delay_of(a, c->codec_id, c->initial_padding, c->sample_rate);
    return ls_mix_start(a->mix, &c->ch_layout, c->sample_rate, err);
}

/* Opens the file that the packets are copied from, and tells the log which stream that is. */
static int open_input(ls_audio_out *a, int wanted, const ls_log *log, ls_error *err)
{
    int ret = ls_input_open(&a->in, a->path, NULL, err);
    if (ret)
        return ret;
    const int stream = ls_input_choose_stream(a->in, a->path, AVMEDIA_TYPE_AUDIO, wanted, err);
    if (stream < 0)
        return stream;
    const size_t count = ls_input_count_streams(a->in, AVMEDIA_TYPE_AUDIO);
    if (count > 1)
        ls_log_msg(log, LS_LOG_INFO, "%s: of %zu audio streams, stream %d is used", a->path, count,
                   stream);
    a->from = a->in->streams[stream];
    return 0;
}

int ls_audio_out_open(ls_audio_out **out, const ls_mix_settings *mix, const ls_sound_facts *facts,
                      const ls_container *container, AVFormatContext *mux, const ls_log *log,
                      ls_error *err)
{
    ls_audio_out *a = *out = ls_calloc_array(1, sizeof *a);
    if (!a)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    a->container = container;
    a->mux = mux;
    a->at = -1;
    a->last_dts = AV_NOPTS_VALUE;
    a->path = strdup(mix->speech.path);
    a->packet = av_packet_alloc();
    int ret = a->path && a->packet ? open_input(a, mix->speech.stream, log, err)
                                   : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        a->to = avformat_new_stream(mux, NULL);
        if (!a->to)
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    if (!ret)
        a->zero = facts                                   ? facts->zero
                  : a->from->start_time != AV_NOPTS_VALUE ? a->from->start_time
                                                          : 0;
    if (!ret)
        ret = !mix->own.path && mix->seconds <= 0 && (!facts || can_keep(a, facts)) && can_copy(a)
                  ? open_copy(a, err)
                  : open_encoder(a, mix, err);
    if (!ret)
        ret = ls_tags_copy_stream(a->to, a->from, err);
    if (ret)
        ls_audio_out_close(out);
    return ret;
}

void ls_audio_out_close(ls_audio_out **pa)
{
    ls_audio_out *a = *pa;
    if (!a)
        return;
    avcodec_free_context(&a->encoder);
    avformat_close_input(&a->in);
    av_packet_free(&a->packet);
    av_frame_free(&a->frame);
    av_frame_free(&a->planes);
    ls_mix_close(&a->mix);
    free(a->path);
    free(a);
    *pa = NULL;
}

bool ls_audio_out_copies(const ls_audio_out *a)
{
    return !a->encoder;
}

/* Reads the next audio packet into a->packet, or returns LS_EOF. Times become those of the output.
 */
static int read_packet(ls_audio_out *a, ls_error *err)
{
    int ret;
    while ((ret = av_read_frame(a->in, a->packet)) >= 0 &&
           a->packet->stream_index != a->from->index)
        av_packet_unref(a->packet);
    if (ret < 0) {
        ret = ls_input_check_read(a->in, a->path, err);
        return ret ? ret : LS_EOF;
    }
    if (a->packet->pts != AV_NOPTS_VALUE)
        a->packet->pts = av_sat_sub64(a->packet->pts, a->zero);
    if (a->packet->dts != AV_NOPTS_VALUE)
        a->packet->dts = av_sat_sub64(a->packet->dts, a->zero);
    return 0;
}

static int copy_packet(ls_audio_out *a, ls_error *err)
{
    int ret = read_packet(a, err);
    a->ended = ret == LS_EOF;
    if (ret)
        return a->ended ? 0 : ret;
    AVPacket *p = a->packet;
    put_later(a, a->from->time_base);
    av_packet_rescale_ts(p, a->from->time_base, a->to->time_base);
    if (p->dts != AV_NOPTS_VALUE) { // muxers refuse times that do not rise, as in damaged files
        if (a->last_dts != AV_NOPTS_VALUE && p->dts <= a->last_dts)
            p->dts = a->last_dts + 1;
        if (p->pts != AV_NOPTS_VALUE && p->pts < p->dts)
            p->pts = p->dts;
        a->last_dts = p->dts;
    }
    return mux_packet(a, err);
}

/* Encodes a frame, or with NULL what the encoder still holds, and writes the packets. */
static int encode(ls_audio_out *a, const AVFrame *f, ls_error *err)
{
    int ret = avcodec_send_frame(a->encoder, f);
    while (ret >= 0 && (ret = avcodec_receive_packet(a->encoder, a->packet)) >= 0) {
        put_later(a, a->encoder->time_base);
        av_packet_rescale_ts(a->packet, a->encoder->time_base, a->to->time_base);
        int bad = mux_packet(a, err);
        if (bad)
            return bad;
    }
    return ret == AVERROR(EAGAIN) || ret == AVERROR_EOF
               ? 0
               : ls_fail_av(err, ret, "cannot encode the audio of %s", a->path);
}

/* Gives an empty frame room for as many samples as the encoder takes. */
static int make_room(const ls_audio_out *a, AVFrame *f, enum AVSampleFormat format, ls_error *err)
{
    const AVCodecContext *c = a->encoder;
    f->nb_samples = c->frame_size > 0 ? c->frame_size : 1024;
    f->format = format;
    f->sample_rate = c->sample_rate;
    return av_channel_layout_copy(&f->ch_layout, &c->ch_layout) < 0 || av_frame_get_buffer(f, 0) < 0
               ? ls_fail(err, LS_ENOMEM, "out of memory for audio")
               : 0;
}

/* Planes of floats to samples of all channels together. */
static void interleave(float *to, float *const *planes, int channels, int n)
{
    for (int i = 0; i < n; i++)
        for (int c = 0; c < channels; c++)
            *to++ = planes[c][i];
}

/* The next samples to the frame; their number, 0 at the end. */
static int read_samples(ls_audio_out *a, ls_error *err)
{
    AVFrame *f = a->frame, *planes = a->planes;
    const bool planar = av_sample_fmt_is_planar(a->encoder->sample_fmt);
    int ret = make_room(a, f, a->encoder->sample_fmt, err);
    if (!ret && !planar)
        ret = make_room(a, planes, AV_SAMPLE_FMT_FLTP, err);
    float *const *to = (float *const *)(void *)(planar ? f : planes)->extended_data;
    if (!ret)
        ret = ls_mix_read(a->mix, to, f->nb_samples, err);
    if (ret > 0 && !planar)
        interleave((float *)(void *)f->data[0], to, f->ch_layout.nb_channels, ret);
    av_frame_unref(planes);
    return ret;
}

/* Encodes the next samples; at the end what the encoder holds. */
static int encode_samples(ls_audio_out *a, ls_error *err)
{
    int ret = read_samples(a, err);
    if (ret >= 0) {
        a->ended = !ret;
        a->frame->nb_samples = ret;
        a->frame->pts = a->next_pts;
        a->next_pts += ret;
        ret = a->next_pts ? encode(a, a->ended ? NULL : a->frame, err)
                          : ls_fail(err, LS_EFORMAT, "%s: no audio can be decoded", a->path);
    }
    av_frame_unref(a->frame);
    return ret;
}

int ls_audio_out_write_until(ls_audio_out *a, double seconds, ls_error *err)
{
    int ret = 0;
    while (!ret && !a->ended && a->at < seconds)
        ret = a->encoder ? encode_samples(a, err) : copy_packet(a, err);
    return ret;
}
