#include "media/pcm.h"
#include "media/av.h"
#include "base/alloc.h"

#include <errno.h>
#include <libavutil/channel_layout.h>
#include <libswresample/swresample.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ls_pcm {
    FILE *spool;
    uint64_t samples;
};

/* While decoding. */
typedef struct decoding {
    const char *path;
    AVFormatContext *format;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    struct SwrContext *swr;
    int stream, rate, sample_format;
    AVChannelLayout layout;
    int16_t *buffer;
    int capacity;
} decoding;

static int drain(decoding *d, ls_pcm *p, const AVFrame *f, ls_error *err)
{
    int room = swr_get_out_samples(d->swr, f ? f->nb_samples : 0);
    if (room > d->capacity) {
        free(d->buffer);
        d->capacity = 0;
        d->buffer = ls_malloc_array((size_t)room, sizeof *d->buffer);
        if (!d->buffer)
            return ls_fail(err, LS_ENOMEM, "out of memory for audio");
        d->capacity = room;
    }
    if (room <= 0)
        return 0;
    uint8_t *out = (uint8_t *)d->buffer;
    int n = swr_convert(d->swr, &out, room, f ? (const uint8_t **)f->extended_data : NULL,
                        f ? f->nb_samples : 0);
    if (n < 0)
        return ls_fail_av(err, n, "cannot convert the sound of %s", d->path);
    if (n && fwrite(d->buffer, sizeof *d->buffer, (size_t)n, p->spool) != (size_t)n)
        return ls_fail_errno(err, errno, "cannot write a temporary file for the sound of %s",
                             d->path);
    p->samples += (uint64_t)n;
    return 0;
}

/* A converter for the frame's format; a new one where the format changes in mid-stream. */
static int configure(decoding *d, ls_pcm *p, const AVFrame *f, ls_error *err)
{
    if (d->swr && f->sample_rate == d->rate && f->format == d->sample_format &&
        !av_channel_layout_compare(&f->ch_layout, &d->layout))
        return 0;
    int ret = d->swr ? drain(d, p, NULL, err) : 0;
    if (ret)
        return ret;
    swr_free(&d->swr);
    AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO, from = {0};
    ret = av_channel_layout_copy(&d->layout, &f->ch_layout);
    if (ret >= 0)
        ret = av_channel_layout_copy(&from, &f->ch_layout);
    if (ret >= 0 && from.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&from, f->ch_layout.nb_channels);
    if (ret >= 0)
        ret = swr_alloc_set_opts2(&d->swr, &mono, AV_SAMPLE_FMT_S16, LS_PCM_RATE, &from, f->format,
                                  f->sample_rate, 0, NULL);
    if (ret >= 0)
        ret = swr_init(d->swr);
    av_channel_layout_uninit(&from);
    d->rate = f->sample_rate;
    d->sample_format = f->format;
    return ret < 0 ? ls_fail_av(err, ret, "cannot convert the sound of %s", d->path) : 0;
}

static int decode_packet(decoding *d, ls_pcm *p, const AVPacket *packet, ls_error *err)
{
    int ret = avcodec_send_packet(d->decoder, packet);
    if (ret < 0 && ret != AVERROR_EOF && ret != AVERROR(EAGAIN))
        return 0; // a damaged packet is skipped
    while (!(ret = avcodec_receive_frame(d->decoder, d->frame))) {
        ret = configure(d, p, d->frame, err);
        if (!ret)
            ret = drain(d, p, d->frame, err);
        av_frame_unref(d->frame);
        if (ret)
            return ret;
    }
    return 0;
}

static int decode_all(decoding *d, ls_pcm *p, const ls_cancel *cancel, ls_error *err)
{
    int ret = ls_av_open_input(&d->format, d->path, err);
    if (ret)
        return ret;
    d->stream = ls_av_best_stream(d->format, AVMEDIA_TYPE_AUDIO);
    if (d->stream < 0)
        return ls_fail(err, LS_EFORMAT, "%s has no audio stream; a speech recording is expected",
                       d->path);
    ret = ls_av_open_decoder(&d->decoder, d->format->streams[d->stream], 1, err);
    if (ret)
        return ls_fail_context(err, ret, "%s", d->path);
    while (!ret && av_read_frame(d->format, d->packet) >= 0) {
        if (d->packet->stream_index == d->stream)
            ret = decode_packet(d, p, d->packet, err);
        av_packet_unref(d->packet);
        if (!ret && ls_canceled(cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
    }
    if (!ret)
        ret = decode_packet(d, p, NULL, err);
    if (!ret && d->swr)
        ret = drain(d, p, NULL, err);
    if (!ret && !p->samples)
        ret = ls_fail(err, LS_EFORMAT, "%s: there is no sound in it, or none that can be decoded",
                      d->path);
    if (!ret && fflush(p->spool))
        ret =
            ls_fail_errno(err, errno, "cannot write a temporary file for the sound of %s", d->path);
    return ret;
}

int ls_pcm_open(ls_pcm **out, const char *path, const ls_cancel *cancel, ls_error *err)
{
    ls_pcm *p = *out = ls_calloc_array(1, sizeof *p);
    decoding d = {.path = path, .packet = av_packet_alloc(), .frame = av_frame_alloc()};
    int ret = 0;
    if (!p || !d.packet || !d.frame)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    else if (!(p->spool = tmpfile()))
        ret = ls_fail_errno(err, errno, "cannot make a temporary file");
    if (!ret)
        ret = decode_all(&d, p, cancel, err);
    avcodec_free_context(&d.decoder);
    avformat_close_input(&d.format);
    av_packet_free(&d.packet);
    av_frame_free(&d.frame);
    av_channel_layout_uninit(&d.layout);
    swr_free(&d.swr);
    free(d.buffer);
    if (ret)
        ls_pcm_close(out);
    return ret;
}

void ls_pcm_close(ls_pcm **p)
{
    if (!*p)
        return;
    if ((*p)->spool)
        fclose((*p)->spool);
    free(*p);
    *p = NULL;
}

uint64_t ls_pcm_samples(const ls_pcm *p)
{
    return p->samples;
}

int ls_pcm_read(const ls_pcm *p, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    if (start > p->samples || n > p->samples - start)
        return ls_fail(err, LS_EINVAL, "samples past the end of the sound were asked for");
    uint8_t *at = (uint8_t *)dst;
    size_t left = n * sizeof *dst;
    off_t offset = (off_t)(start * sizeof *dst);
    while (left) {
        ssize_t got = pread(fileno(p->spool), at, left, offset);
        if (got <= 0)
            return ls_fail_errno(err, got ? errno : EIO, "cannot read the temporary file of sound");
        at += got;
        offset += got;
        left -= (size_t)got;
    }
    return 0;
}
