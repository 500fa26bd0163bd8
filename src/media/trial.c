#include "media/trial.h"

#include <errno.h>
#include <libavutil/imgutils.h>
#include <stdio.h>
#include <string.h>

#define BUFFER 4096

static int send_black(AVCodecContext *c, int64_t pts)
{
    AVFrame *f = av_frame_alloc();
    if (!f)
        return AVERROR(ENOMEM);
    f->format = c->pix_fmt;
    f->width = c->width;
    f->height = c->height;
    f->pts = pts;
    int ret = av_frame_get_buffer(f, 0);
    if (ret >= 0) {
        const ptrdiff_t lines[4] = {f->linesize[0], f->linesize[1], f->linesize[2], f->linesize[3]};
        av_image_fill_black(f->data, lines, f->format, c->color_range, f->width, f->height);
        ret = avcodec_send_frame(c, f);
    }
    av_frame_free(&f);
    return ret;
}

int ls_trial_encode(AVCodecContext *encoder, int64_t pts, AVPacket *packets[static LS_TRIAL_FRAMES])
{
    int n = 0, ret = 0;
    AVPacket *p = av_packet_alloc();
    if (!p)
        return AVERROR(ENOMEM);
    for (int i = 0; ret >= 0 && i <= LS_TRIAL_FRAMES; i++) {
        ret =
            i < LS_TRIAL_FRAMES ? send_black(encoder, pts + i) : avcodec_send_frame(encoder, NULL);
        while (ret >= 0 && (ret = avcodec_receive_packet(encoder, p)) >= 0) {
            if (n < LS_TRIAL_FRAMES && !(packets[n] = av_packet_clone(p)))
                ret = AVERROR(ENOMEM);
            n++;
            av_packet_unref(p);
        }
        if (ret == AVERROR(EAGAIN) || ret == AVERROR_EOF)
            ret = 0;
    }
    av_packet_free(&p);
    return ret < 0 ? ret : n == LS_TRIAL_FRAMES ? 0 : AVERROR_BUG2;
}

void ls_trial_free(AVPacket *packets[static LS_TRIAL_FRAMES])
{
    for (int i = 0; i < LS_TRIAL_FRAMES; i++)
        av_packet_free(&packets[i]);
}

typedef struct memory {
    const uint8_t *data;
    size_t size, at;
} memory;

static int read_memory(void *opaque, uint8_t *to, int size)
{
    memory *m = opaque;
    const size_t left = m->size - m->at, n = left < (size_t)size ? left : (size_t)size;
    memcpy(to, m->data + m->at, n);
    m->at += n;
    return n ? (int)n : AVERROR_EOF;
}

static int64_t seek_memory(void *opaque, int64_t offset, int whence)
{
    memory *m = opaque;
    whence &= ~AVSEEK_FORCE;
    if (whence == AVSEEK_SIZE)
        return (int64_t)m->size;
    if (whence == SEEK_CUR)
        offset += (int64_t)m->at;
    if (whence == SEEK_END)
        offset += (int64_t)m->size;
    if (offset < 0 || (uint64_t)offset > m->size)
        return AVERROR(EINVAL);
    m->at = (size_t)offset;
    return offset;
}

/* The pictures that a packet, or with NULL the end, gives; negative on failure. */
static int decode(AVCodecContext *c, AVFrame *f, const AVPacket *p)
{
    int pictures = 0, ret = avcodec_send_packet(c, p);
    while (ret >= 0 && (ret = avcodec_receive_frame(c, f)) >= 0)
        pictures += f->width == c->width && f->height == c->height;
    return ret == AVERROR(EAGAIN) || ret == AVERROR_EOF ? pictures : ret;
}

static AVCodecContext *open_decoder(const AVCodecParameters *par)
{
    const AVCodec *codec = avcodec_find_decoder(par->codec_id);
    AVCodecContext *c = codec ? avcodec_alloc_context3(codec) : NULL;
    if (c)
        c->thread_count = 1;
    if (c && (avcodec_parameters_to_context(c, par) < 0 || avcodec_open2(c, codec, NULL) < 0))
        avcodec_free_context(&c);
    return c;
}

static int read_video(AVFormatContext *in, int video, ls_error *err)
{
    AVCodecContext *decoder = open_decoder(in->streams[video]->codecpar);
    AVPacket *p = av_packet_alloc();
    AVFrame *f = av_frame_alloc();
    int packets = 0, pictures = 0, got = 0, ret = p && f ? 0 : AVERROR(ENOMEM);
    while (ret >= 0 && (ret = av_read_frame(in, p)) >= 0) {
        if (p->stream_index == video) {
            packets++;
            if (decoder && got >= 0)
                got = decode(decoder, f, p);
            pictures += got > 0 ? got : 0;
        }
        av_packet_unref(p);
    }
    if (decoder && got >= 0)
        got = decode(decoder, f, NULL);
    pictures += got > 0 ? got : 0;
    if (packets != LS_TRIAL_FRAMES)
        ret = ls_fail(err, LS_EUNSUPPORTED, "of %d frames it gives back %d", LS_TRIAL_FRAMES,
                      packets);
    else if (decoder && pictures != LS_TRIAL_FRAMES)
        ret = ls_fail(err, LS_EUNSUPPORTED, "of %d frames %d can be decoded", LS_TRIAL_FRAMES,
                      pictures);
    else
        ret = ret == AVERROR_EOF ? 0 : ls_fail_av(err, ret, "it cannot be read back");
    avcodec_free_context(&decoder);
    av_packet_free(&p);
    av_frame_free(&f);
    return ret;
}

/* Picture and sound; a cover, which is written later, is not there yet. */
static int compare_streams(const AVFormatContext *in, const AVFormatContext *written, ls_error *err)
{
    for (unsigned i = 0; i < written->nb_streams; i++) {
        const AVStream *st = written->streams[i];
        const AVCodecParameters *wanted = st->codecpar,
                                *is = i < in->nb_streams ? in->streams[i]->codecpar : NULL;
        const bool counts =
            wanted->codec_type == AVMEDIA_TYPE_VIDEO || wanted->codec_type == AVMEDIA_TYPE_AUDIO;
        if (counts && !(st->disposition & AV_DISPOSITION_ATTACHED_PIC) &&
            (!is || is->codec_id != wanted->codec_id))
            return ls_fail(err, LS_EUNSUPPORTED, "it gives back no %s",
                           avcodec_get_name(wanted->codec_id));
    }
    return 0;
}

int ls_trial_read(const uint8_t *file, size_t size, const AVFormatContext *written, int video,
                  ls_error *err)
{
    memory m = {file, size, 0};
    uint8_t *buffer = av_malloc(BUFFER);
    AVIOContext *io =
        buffer ? avio_alloc_context(buffer, BUFFER, 0, &m, read_memory, NULL, seek_memory) : NULL;
    AVFormatContext *in = io ? avformat_alloc_context() : NULL;
    int ret = in ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        in->pb = io;
        int opened = avformat_open_input(&in, NULL, NULL, NULL);
        if (opened >= 0)
            opened = avformat_find_stream_info(in, NULL);
        if (opened < 0)
            ret = ls_fail_av(err, opened, "it cannot be read back");
    }
    if (!ret)
        ret = compare_streams(in, written, err);
    if (!ret)
        ret = read_video(in, video, err);
    avformat_close_input(&in);
    if (io)
        av_freep(&io->buffer);
    else
        av_freep(&buffer);
    avio_context_free(&io);
    return ret;
}
