#include "media/audio_out.h"
#include "media/container.h"
#include "media/input.h"
#include "media/resample.h"
#include "media/tags.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#define BITS_PER_CHANNEL 96000

struct ls_audio_out {
    char *path;
    AVFormatContext *in, *mux;
    const AVStream *from;
    AVStream *to;
    AVPacket *packet;
    double at;        /* seconds up to which audio was written */
    int64_t last_dts; /* of the copied packets */
    bool ended;
    /* only when it is encoded again */
    AVCodecContext *decoder, *encoder;
    AVFrame *frame;
    ls_resampler *resampler;
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

static int open_copy(ls_audio_out *a, ls_error *err)
{
    int ret = avcodec_parameters_copy(a->to->codecpar, a->from->codecpar);
    a->to->codecpar->codec_tag = 0;
    a->to->time_base = a->from->time_base;
    return ret < 0 ? ls_fail_av(err, ret, "cannot copy the audio of %s", a->path) : 0;
}

/* The muxer's list of codecs includes some that it refuses, so a header is tried in memory. */
static bool can_copy(const ls_audio_out *a)
{
    const AVCodecParameters *par = a->from->codecpar;
    AVFormatContext *trial = NULL;
    uint8_t *header = NULL;
    if (!ls_container_takes_audio(ls_container_of(a->mux->oformat), par->codec_id) ||
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

static int open_encoder(ls_audio_out *a, ls_error *err)
{
    const ls_container *container = ls_container_of(a->mux->oformat);
    const AVCodec *codec = avcodec_find_encoder_by_name(container->audio_encoder);
    int ret = ls_decoder_open(&a->decoder, a->from, 1, err);
    if (ret)
        return ls_fail_context(err, ret, "%s", a->path);
    if (!codec)
        return ls_fail(err, LS_EUNSUPPORTED, "libavcodec lacks the encoder %s for the audio",
                       container->audio_encoder);
    AVCodecContext *c = a->encoder = avcodec_alloc_context3(codec);
    a->frame = av_frame_alloc();
    if (!c || !a->frame)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (a->decoder->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&a->decoder->ch_layout, a->decoder->ch_layout.nb_channels);
    ret = av_channel_layout_copy(&c->ch_layout, &a->decoder->ch_layout);
    c->sample_rate = encoder_rate(codec, a->decoder->sample_rate);
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
    return ret < 0 ? ls_fail_av(err, ret, "cannot encode the audio of %s as %s", a->path,
                                container->audio_name)
                   : ls_resampler_open(&a->resampler, &c->ch_layout, c->sample_fmt, c->sample_rate,
                                       err);
}

int ls_audio_out_open(ls_audio_out **out, const char *path, int stream, AVFormatContext *mux,
                      const ls_log *log, ls_error *err)
{
    ls_audio_out *a = *out = ls_calloc_array(1, sizeof *a);
    if (!a)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    a->mux = mux;
    a->at = -1;
    a->last_dts = AV_NOPTS_VALUE;
    a->path = strdup(path);
    a->packet = av_packet_alloc();
    int ret = a->path && a->packet ? ls_input_open(&a->in, path, NULL, err)
                                   : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        stream = ls_input_choose_stream(a->in, path, AVMEDIA_TYPE_AUDIO, stream, err);
    if (!ret && stream < 0)
        ret = stream;
    if (!ret) {
        const size_t count = ls_input_count_streams(a->in, AVMEDIA_TYPE_AUDIO);
        if (count > 1)
            ls_log_msg(log, LS_LOG_INFO, "%s: of %zu audio streams, stream %d is used", path, count,
                       stream);
        a->from = a->in->streams[stream];
        a->to = avformat_new_stream(mux, NULL);
        if (!a->to)
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    if (!ret)
        ret = can_copy(a) ? open_copy(a, err) : open_encoder(a, err);
    // Matroska keeps what Opus has before 0 as the delay of the codec, and would move it once more
    if (!ret && a->to->codecpar->codec_id == AV_CODEC_ID_OPUS)
        mux->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED;
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
    avcodec_free_context(&a->decoder);
    avcodec_free_context(&a->encoder);
    avformat_close_input(&a->in);
    av_packet_free(&a->packet);
    av_frame_free(&a->frame);
    ls_resampler_close(&a->resampler);
    free(a->path);
    free(a);
    *pa = NULL;
}

bool ls_audio_out_copies(const ls_audio_out *a)
{
    return !a->encoder;
}

/* Reads the next audio packet into a->packet, or returns LS_EOF. Times become relative to the first
 * audible sample, which belongs to the first frame, whatever the file holds before it. */
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
    if (a->from->start_time == AV_NOPTS_VALUE)
        return 0;
    if (a->packet->pts != AV_NOPTS_VALUE)
        a->packet->pts = av_sat_sub64(a->packet->pts, a->from->start_time);
    if (a->packet->dts != AV_NOPTS_VALUE)
        a->packet->dts = av_sat_sub64(a->packet->dts, a->from->start_time);
    return 0;
}

static int copy_packet(ls_audio_out *a, ls_error *err)
{
    int ret = read_packet(a, err);
    a->ended = ret == LS_EOF;
    if (ret)
        return a->ended ? 0 : ret;
    AVPacket *p = a->packet;
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
        av_packet_rescale_ts(a->packet, a->encoder->time_base, a->to->time_base);
        int bad = mux_packet(a, err);
        if (bad)
            return bad;
    }
    return ret == AVERROR(EAGAIN) || ret == AVERROR_EOF
               ? 0
               : ls_fail_av(err, ret, "cannot encode the audio of %s", a->path);
}

/* Encodes the pending samples in whole frames; at the end all of them. */
static int encode_samples(ls_audio_out *a, bool end, ls_error *err)
{
    const AVCodecContext *c = a->encoder;
    int size = c->frame_size > 0 ? c->frame_size : 1024, left, ret = 0;
    while (!ret && ((left = ls_resampler_size(a->resampler)) >= size || (end && left > 0))) {
        AVFrame *f = a->frame;
        f->nb_samples = FFMIN(size, left);
        f->format = c->sample_fmt;
        f->sample_rate = c->sample_rate;
        f->pts = a->next_pts;
        if (av_channel_layout_copy(&f->ch_layout, &c->ch_layout) < 0 ||
            av_frame_get_buffer(f, 0) < 0)
            ret = ls_fail(err, LS_ENOMEM, "out of memory for audio");
        if (!ret) {
            a->next_pts += ls_resampler_pull(a->resampler, f->extended_data, f->nb_samples);
            ret = encode(a, f, err);
        }
        av_frame_unref(f);
    }
    return !ret && end ? encode(a, NULL, err) : ret;
}

static int encode_packet(ls_audio_out *a, ls_error *err)
{
    int ret = read_packet(a, err);
    const bool end = ret == LS_EOF;
    if (ret && !end)
        return ret;
    avcodec_send_packet(a->decoder, end ? NULL : a->packet); // damaged ones are skipped
    av_packet_unref(a->packet);
    ret = 0;
    while (!ret && !avcodec_receive_frame(a->decoder, a->frame)) {
        ret = ls_resampler_push(a->resampler, a->frame, err);
        av_frame_unref(a->frame);
    }
    if (!ret && end)
        ret = ls_resampler_push(a->resampler, NULL, err);
    if (!ret)
        ret = encode_samples(a, end, err);
    a->ended = end;
    return ret;
}

int ls_audio_out_write_until(ls_audio_out *a, double seconds, ls_error *err)
{
    int ret = 0;
    while (!ret && !a->ended && a->at < seconds)
        ret = a->encoder ? encode_packet(a, err) : copy_packet(a, err);
    return ret;
}
