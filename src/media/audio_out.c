#include "media/audio_out.h"
#include "base/alloc.h"

#include <libavutil/audio_fifo.h>
#include <libswresample/swresample.h>
#include <stdlib.h>
#include <string.h>

#define AAC_BITS_PER_CHANNEL 96000

struct ls_audio_out {
    char *path;
    AVFormatContext *in, *mux;
    const AVStream *from;
    AVStream *to;
    AVPacket *packet;
    double at; /* seconds up to which sound was written */
    bool ended;
    /* only where it is encoded anew */
    AVCodecContext *decoder, *encoder;
    AVFrame *frame;
    struct SwrContext *swr;
    AVAudioFifo *fifo;
    int64_t next_pts;
};

static int mux_packet(ls_audio_out *a, ls_error *err)
{
    a->packet->stream_index = a->to->index;
    int64_t ts = a->packet->dts != AV_NOPTS_VALUE ? a->packet->dts : a->packet->pts;
    if (ts != AV_NOPTS_VALUE)
        a->at = (double)ts * av_q2d(a->to->time_base);
    int ret = av_interleaved_write_frame(a->mux, a->packet);
    return ret < 0 ? ls_fail_av(err, ret, "cannot write the sound") : 0;
}

static int open_copy(ls_audio_out *a, ls_error *err)
{
    int ret = avcodec_parameters_copy(a->to->codecpar, a->from->codecpar);
    a->to->codecpar->codec_tag = 0;
    a->to->time_base = a->from->time_base;
    return ret < 0 ? ls_fail_av(err, ret, "cannot copy the sound of %s", a->path) : 0;
}

/* The muxer's list of codecs does not tell all that it refuses, so a header is tried in memory. */
static bool can_copy(const ls_audio_out *a)
{
    const AVCodecParameters *par = a->from->codecpar;
    AVFormatContext *trial = NULL;
    uint8_t *header = NULL;
    if (avformat_query_codec(a->mux->oformat, par->codec_id, FF_COMPLIANCE_EXPERIMENTAL) != 1 ||
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

/* The rate itself where AAC has it, else the next higher one, else the highest. */
static int aac_rate(const AVCodec *codec, int rate)
{
    int best = 0, highest = 0;
    for (const int *r = codec->supported_samplerates; r && *r; r++) {
        if (*r >= rate && (!best || *r < best))
            best = *r;
        highest = *r > highest ? *r : highest;
    }
    return best ? best : highest ? highest : rate;
}

static int open_encoder(ls_audio_out *a, ls_error *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_AAC);
    int ret = ls_av_open_decoder(&a->decoder, a->from, 1, err);
    if (ret)
        return ret;
    if (!codec)
        return ls_fail(err, LS_EUNSUPPORTED, "libavcodec has no AAC encoder");
    AVCodecContext *c = a->encoder = avcodec_alloc_context3(codec);
    a->frame = av_frame_alloc();
    if (!c || !a->frame)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (a->decoder->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&a->decoder->ch_layout, a->decoder->ch_layout.nb_channels);
    ret = av_channel_layout_copy(&c->ch_layout, &a->decoder->ch_layout);
    c->sample_rate = aac_rate(codec, a->decoder->sample_rate);
    c->sample_fmt = AV_SAMPLE_FMT_FLTP;
    c->bit_rate = AAC_BITS_PER_CHANNEL * (int64_t)c->ch_layout.nb_channels;
    c->time_base = (AVRational){1, c->sample_rate};
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (a->mux->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (ret >= 0)
        ret = avcodec_open2(c, codec, NULL);
    if (ret >= 0)
        ret = avcodec_parameters_from_context(a->to->codecpar, c);
    if (ret >= 0)
        ret = swr_alloc_set_opts2(&a->swr, &c->ch_layout, c->sample_fmt, c->sample_rate,
                                  &a->decoder->ch_layout, a->decoder->sample_fmt,
                                  a->decoder->sample_rate, 0, NULL);
    if (ret >= 0)
        ret = swr_init(a->swr);
    a->to->time_base = c->time_base;
    a->fifo = av_audio_fifo_alloc(c->sample_fmt, c->ch_layout.nb_channels, 4096);
    if (ret >= 0 && !a->fifo)
        ret = AVERROR(ENOMEM);
    return ret < 0 ? ls_fail_av(err, ret, "cannot encode the sound of %s as AAC", a->path) : 0;
}

int ls_audio_out_open(ls_audio_out **out, const char *path, AVFormatContext *mux, ls_error *err)
{
    ls_audio_out *a = *out = ls_calloc_array(1, sizeof *a);
    if (!a)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    a->mux = mux;
    a->at = -1;
    a->path = strdup(path);
    a->packet = av_packet_alloc();
    int ret = a->path && a->packet ? ls_av_open_input(&a->in, path, err)
                                   : ls_fail(err, LS_ENOMEM, "out of memory");
    int stream = ret ? -1 : ls_av_best_stream(a->in, AVMEDIA_TYPE_AUDIO);
    if (!ret && stream < 0)
        ret = ls_fail(err, LS_EFORMAT, "%s has no audio stream", path);
    if (!ret) {
        a->from = a->in->streams[stream];
        a->to = avformat_new_stream(mux, NULL);
        if (!a->to)
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    if (!ret)
        ret = can_copy(a) ? open_copy(a, err) : open_encoder(a, err);
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
    swr_free(&a->swr);
    if (a->fifo)
        av_audio_fifo_free(a->fifo);
    free(a->path);
    free(a);
    *pa = NULL;
}

bool ls_audio_out_copies(const ls_audio_out *a)
{
    return !a->encoder;
}

/* The next packet of the sound into a->packet, its time relative to the first sample that is heard:
 * that sample goes with the first frame, whatever else the file holds before it. */
static int read_packet(ls_audio_out *a)
{
    int ret;
    while ((ret = av_read_frame(a->in, a->packet)) >= 0 &&
           a->packet->stream_index != a->from->index)
        av_packet_unref(a->packet);
    int64_t start = a->from->start_time;
    if (ret < 0 || start == AV_NOPTS_VALUE)
        return ret;
    if (a->packet->pts != AV_NOPTS_VALUE)
        a->packet->pts -= start;
    if (a->packet->dts != AV_NOPTS_VALUE)
        a->packet->dts -= start;
    return 0;
}

static int copy_packet(ls_audio_out *a, ls_error *err)
{
    if (read_packet(a) < 0) {
        a->ended = true;
        return 0;
    }
    av_packet_rescale_ts(a->packet, a->from->time_base, a->to->time_base);
    return mux_packet(a, err);
}

/* Encodes up to `size` samples of the fifo, or ends the encoder where there are none, and muxes
 * what comes of it. */
static int encode(ls_audio_out *a, int size, ls_error *err)
{
    AVCodecContext *c = a->encoder;
    AVFrame *f = a->frame;
    int ret = 0;
    av_frame_unref(f);
    f->nb_samples = FFMIN(size, av_audio_fifo_size(a->fifo));
    if (f->nb_samples) {
        f->format = c->sample_fmt;
        f->sample_rate = c->sample_rate;
        f->pts = a->next_pts;
        a->next_pts += f->nb_samples;
        ret = av_channel_layout_copy(&f->ch_layout, &c->ch_layout);
        if (ret >= 0)
            ret = av_frame_get_buffer(f, 0);
        if (ret >= 0)
            ret = av_audio_fifo_read(a->fifo, (void **)f->data, f->nb_samples);
    }
    if (ret >= 0)
        ret = avcodec_send_frame(c, f->nb_samples ? f : NULL);
    while (ret >= 0 && (ret = avcodec_receive_packet(c, a->packet)) >= 0) {
        av_packet_rescale_ts(a->packet, c->time_base, a->to->time_base);
        int bad = mux_packet(a, err);
        if (bad)
            return bad;
    }
    return ret == AVERROR(EAGAIN) || ret == AVERROR_EOF
               ? 0
               : ls_fail_av(err, ret, "cannot encode the sound of %s", a->path);
}

/* Encodes what the fifo holds: whole frames, and at the end all of it. */
static int encode_fifo(ls_audio_out *a, bool end, ls_error *err)
{
    int size = a->encoder->frame_size > 0 ? a->encoder->frame_size : 1024, ret = 0;
    while (!ret && (av_audio_fifo_size(a->fifo) >= size || (end && av_audio_fifo_size(a->fifo))))
        ret = encode(a, size, err);
    return ret || !end ? ret : encode(a, size, err);
}

/* Resamples a decoded frame, or what is left, into the fifo. */
static int resample(ls_audio_out *a, const AVFrame *f, ls_error *err)
{
    uint8_t **data = NULL;
    int room = swr_get_out_samples(a->swr, f ? f->nb_samples : 0), linesize;
    if (room <= 0)
        return 0;
    int ret = av_samples_alloc_array_and_samples(
        &data, &linesize, a->encoder->ch_layout.nb_channels, room, a->encoder->sample_fmt, 0);
    if (ret >= 0)
        ret = swr_convert(a->swr, data, room, f ? (const uint8_t **)f->extended_data : NULL,
                          f ? f->nb_samples : 0);
    if (ret > 0)
        ret = av_audio_fifo_write(a->fifo, (void **)data, ret);
    if (data)
        av_freep(&data[0]);
    av_freep(&data);
    return ret < 0 ? ls_fail_av(err, ret, "cannot convert the sound of %s", a->path) : 0;
}

static int encode_packet(ls_audio_out *a, ls_error *err)
{
    bool end = read_packet(a) < 0;
    int ret = avcodec_send_packet(a->decoder, end ? NULL : a->packet);
    av_packet_unref(a->packet);
    AVFrame *f = av_frame_alloc();
    if (!f)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ret = 0;
    while (!ret && !avcodec_receive_frame(a->decoder, f)) {
        ret = resample(a, f, err);
        av_frame_unref(f);
    }
    av_frame_free(&f);
    if (!ret && end)
        ret = resample(a, NULL, err);
    if (!ret)
        ret = encode_fifo(a, end, err);
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
