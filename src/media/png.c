#include "media/png.h"
#include "base/output.h"
#include "media/av.h"

#include <string.h>

static int open_encoder(AVCodecContext **out, size_t w, size_t h, ls_error *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    AVCodecContext *c = *out = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return codec ? ls_fail(err, LS_ENOMEM, "out of memory")
                     : ls_fail(err, LS_EUNSUPPORTED, "this libavcodec lacks a PNG encoder");
    c->width = (int)w;
    c->height = (int)h;
    c->pix_fmt = AV_PIX_FMT_RGB24;
    c->time_base = (AVRational){1, 25};
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    int ret = avcodec_open2(c, codec, NULL);
    return ret < 0 ? ls_fail_av(err, ret, "cannot open the PNG encoder") : 0;
}

static int encode(AVCodecContext *c, AVFrame *f, AVPacket *packet, const uint8_t *rgb,
                  ptrdiff_t stride, ls_error *err)
{
    f->format = c->pix_fmt;
    f->width = c->width;
    f->height = c->height;
    int ret = av_frame_get_buffer(f, 0);
    for (int y = 0; y < f->height && ret >= 0; y++)
        memcpy(f->data[0] + (ptrdiff_t)y * f->linesize[0], rgb + y * stride, 3 * (size_t)f->width);
    if (ret >= 0)
        ret = avcodec_send_frame(c, f);
    if (ret >= 0)
        ret = avcodec_receive_packet(c, packet);
    return ret < 0 ? ls_fail_av(err, ret, "cannot encode the image") : 0;
}

int ls_png_write(const char *path, const uint8_t *rgb, ptrdiff_t stride, size_t w, size_t h,
                 ls_error *err)
{
    if (!w || !h || w > LS_PNG_MAX_SIDE || h > LS_PNG_MAX_SIDE)
        return ls_fail(err, LS_EINVAL,
                       "cannot write %s: %zu x %zu pixels; each side must be 1 to %d", path, w, h,
                       LS_PNG_MAX_SIDE);
    AVCodecContext *c = NULL;
    AVFrame *f = av_frame_alloc();
    AVPacket *packet = av_packet_alloc();
    int ret = f && packet ? open_encoder(&c, w, h, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = encode(c, f, packet, rgb, stride, err);
    if (ret) {
        ret = ls_fail_context(err, ret, "cannot write %s", path);
    } else {
        ls_output_file o;
        ret = ls_output_open(&o, path, err);
        if (!ret)
            ret = ls_output_close(&o, ls_output_write(&o, packet->data, (size_t)packet->size, err),
                                  err);
    }
    av_packet_free(&packet);
    av_frame_free(&f);
    avcodec_free_context(&c);
    return ret;
}
