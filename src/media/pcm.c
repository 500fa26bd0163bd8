#include "media/pcm.h"
#include "media/input.h"
#include "media/resample.h"
#include "base/alloc.h"
#include "base/temporary.h"

#include <errno.h>
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
    ls_resampler *resampler;
    int stream; /* -1: the best */
} decoding;

/* Converts a frame, or with NULL the remainder, and writes it out. */
static int spool(decoding *d, ls_pcm *p, const AVFrame *f, ls_error *err)
{
    int16_t block[4096];
    uint8_t *out = (uint8_t *)block;
    int n, ret = ls_resampler_push(d->resampler, f, err);
    if (ret)
        return ls_fail_context(err, ret, "%s", d->path);
    while ((n = ls_resampler_pull(d->resampler, &out, 4096)) > 0) {
        if (fwrite(block, sizeof *block, (size_t)n, p->spool) != (size_t)n)
            return ls_fail_errno(err, errno, "cannot write a temporary file for the audio of %s",
                                 d->path);
        p->samples += (uint64_t)n;
    }
    return 0;
}

static int decode_packet(decoding *d, ls_pcm *p, const AVPacket *packet, ls_error *err)
{
    int ret = avcodec_send_packet(d->decoder, packet);
    if (ret < 0 && ret != AVERROR_EOF && ret != AVERROR(EAGAIN))
        return 0; // a damaged packet is skipped
    while (!(ret = avcodec_receive_frame(d->decoder, d->frame))) {
        ret = spool(d, p, d->frame, err);
        av_frame_unref(d->frame);
        if (ret)
            return ret;
    }
    return 0;
}

static int decode_all(decoding *d, ls_pcm *p, const ls_cancel *cancel, ls_error *err)
{
    d->stream = ls_input_open_stream(&d->format, &d->decoder, d->path, AVMEDIA_TYPE_AUDIO,
                                     d->stream, 1, cancel, err);
    if (d->stream < 0)
        return d->stream;
    int ret = ls_resampler_open(&d->resampler, &(AVChannelLayout)AV_CHANNEL_LAYOUT_MONO,
                                AV_SAMPLE_FMT_S16, LS_PCM_RATE, err);
    while (!ret && av_read_frame(d->format, d->packet) >= 0) {
        if (d->packet->stream_index == d->stream)
            ret = decode_packet(d, p, d->packet, err);
        av_packet_unref(d->packet);
        if (!ret && ls_canceled(cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
    }
    if (!ret)
        ret = ls_input_check_read(d->format, d->path, err);
    if (!ret)
        ret = decode_packet(d, p, NULL, err);
    if (!ret)
        ret = spool(d, p, NULL, err);
    if (!ret && !p->samples)
        ret = ls_fail(err, LS_EFORMAT, "%s: no audio can be decoded", d->path);
    if (!ret && fflush(p->spool))
        ret =
            ls_fail_errno(err, errno, "cannot write a temporary file for the audio of %s", d->path);
    return ret;
}

int ls_pcm_open(ls_pcm **out, const char *path, int stream, const char *folder,
                const ls_cancel *cancel, ls_error *err)
{
    ls_pcm *p = *out = ls_calloc_array(1, sizeof *p);
    decoding d = {
        .path = path, .stream = stream, .packet = av_packet_alloc(), .frame = av_frame_alloc()};
    int ret = 0, fd = -1;
    if (!p || !d.packet || !d.frame)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    else if ((fd = ls_temporary_file(folder, err)) < 0)
        ret = fd;
    else if (!(p->spool = fdopen(fd, "w+b")))
        ret = ls_fail_errno(err, errno, "cannot make a temporary file");
    if (!ret)
        ret = decode_all(&d, p, cancel, err);
    avcodec_free_context(&d.decoder);
    avformat_close_input(&d.format);
    av_packet_free(&d.packet);
    av_frame_free(&d.frame);
    ls_resampler_close(&d.resampler);
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
        return ls_fail(err, LS_EINVAL, "samples past the end of the audio were requested");
    uint8_t *at = (uint8_t *)dst;
    size_t left = n * sizeof *dst;
    off_t offset = (off_t)(start * sizeof *dst);
    while (left) {
        ssize_t got = pread(fileno(p->spool), at, left, offset);
        if (got <= 0)
            return ls_fail_errno(err, got ? errno : EIO,
                                 "cannot read the temporary file for audio");
        at += got;
        offset += got;
        left -= (size_t)got;
    }
    return 0;
}
