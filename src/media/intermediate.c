#include "media/intermediate.h"
#include "base/alloc.h"
#include "base/temporary.h"

#include <errno.h>
#include <libavutil/opt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define THREADS 2

/* FFV1 with every frame a key frame. `places` holds the end of each frame's packet in `packets`. */
struct ls_intermediate {
    int packets, places;
    uint64_t count, end;
    AVCodecContext *encoder, *decoder;
    AVFrame *model;
    AVPacket *packet;
};

static int open_codec(AVCodecContext **out, const AVCodec *codec, const AVFrame *model,
                      const AVCodecContext *encoder, ls_error *err)
{
    AVCodecContext *c = *out = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return ls_fail(err, codec ? LS_ENOMEM : LS_EUNSUPPORTED,
                       codec ? "out of memory" : "this libavcodec lacks FFV1");
    c->width = model->width;
    c->height = model->height;
    c->pix_fmt = model->format;
    c->time_base = (AVRational){1, 25};
    c->gop_size = 1;
    c->level = 3;
    c->slices = 4;
    c->thread_count = THREADS;
    c->thread_type = FF_THREAD_SLICE;
    c->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL;
    if (encoder && encoder->extradata_size > 0) {
        c->extradata = av_mallocz((size_t)encoder->extradata_size + AV_INPUT_BUFFER_PADDING_SIZE);
        if (!c->extradata)
            return ls_fail(err, LS_ENOMEM, "out of memory");
        memcpy(c->extradata, encoder->extradata, (size_t)encoder->extradata_size);
        c->extradata_size = encoder->extradata_size;
    }
    int ret = avcodec_open2(c, codec, NULL);
    return ret < 0 ? ls_fail_av(err, ret, "cannot store frames of %s losslessly",
                                av_get_pix_fmt_name(model->format))
                   : 0;
}

int ls_intermediate_open(ls_intermediate **out, const AVFrame *model, const char *folder,
                         ls_error *err)
{
    ls_intermediate *i = *out = ls_calloc_array(1, sizeof *i);
    if (!i)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    i->packets = i->places = -1;
    i->model = av_frame_clone(model);
    i->packet = av_packet_alloc();
    int ret = i->model && i->packet ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && (i->packets = ls_temporary_file(folder, err)) < 0)
        ret = i->packets;
    if (!ret && (i->places = ls_temporary_file(folder, err)) < 0)
        ret = i->places;
    if (!ret)
        ret = open_codec(&i->encoder, avcodec_find_encoder(AV_CODEC_ID_FFV1), model, NULL, err);
    if (!ret)
        ret =
            open_codec(&i->decoder, avcodec_find_decoder(AV_CODEC_ID_FFV1), model, i->encoder, err);
    if (ret)
        ls_intermediate_close(out);
    return ret;
}

void ls_intermediate_close(ls_intermediate **pi)
{
    ls_intermediate *i = *pi;
    if (!i)
        return;
    avcodec_free_context(&i->encoder);
    avcodec_free_context(&i->decoder);
    av_frame_free(&i->model);
    av_packet_free(&i->packet);
    if (i->packets >= 0)
        close(i->packets);
    if (i->places >= 0)
        close(i->places);
    free(i);
    *pi = NULL;
}

static int put(int fd, const void *data, size_t n, uint64_t at, ls_error *err)
{
    for (const uint8_t *p = data; n;) {
        ssize_t w = pwrite(fd, p, n, (off_t)at);
        if (w < 0 && errno != EINTR)
            return ls_fail_errno(err, errno, "cannot write the temporary file for frames");
        p += w > 0 ? w : 0;
        at += w > 0 ? (uint64_t)w : 0;
        n -= w > 0 ? (size_t)w : 0;
    }
    return 0;
}

static int get(int fd, void *data, size_t n, uint64_t at, ls_error *err)
{
    for (uint8_t *p = data; n;) {
        ssize_t r = pread(fd, p, n, (off_t)at);
        if (!r || (r < 0 && errno != EINTR))
            return ls_fail_errno(err, r ? errno : EIO, "cannot read the temporary file for frames");
        p += r > 0 ? r : 0;
        at += r > 0 ? (uint64_t)r : 0;
        n -= r > 0 ? (size_t)r : 0;
    }
    return 0;
}

int ls_intermediate_add(ls_intermediate *i, const AVFrame *f, ls_error *err)
{
    AVFrame *send = av_frame_clone(f);
    if (!send)
        return ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    send->pts = (int64_t)i->count;
    send->pict_type = AV_PICTURE_TYPE_NONE;
    int ret = avcodec_send_frame(i->encoder, send);
    av_frame_free(&send);
    if (ret >= 0)
        ret = avcodec_receive_packet(i->encoder, i->packet); // no delay with slice threads
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot store a frame losslessly");
    ret = put(i->packets, i->packet->data, (size_t)i->packet->size, i->end, err);
    i->end += (uint64_t)i->packet->size;
    av_packet_unref(i->packet);
    return ret ? ret : put(i->places, &i->end, sizeof i->end, 8 * i->count++, err);
}

int ls_intermediate_get(ls_intermediate *i, uint64_t index, ls_frame **out, ls_error *err)
{
    uint64_t range[2] = {0, 0};
    *out = NULL;
    if (index >= i->count)
        return ls_fail(err, LS_EINVAL, "frame %llu was not stored", (unsigned long long)index);
    int ret = index ? get(i->places, range, sizeof range, 8 * (index - 1), err)
                    : get(i->places, range + 1, sizeof *range, 0, err);
    if (!ret && av_new_packet(i->packet, (int)(range[1] - range[0])) < 0)
        ret = ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    if (!ret)
        ret = get(i->packets, i->packet->data, (size_t)i->packet->size, range[0], err);
    if (ret)
        return ret;
    AVFrame *f = av_frame_alloc();
    i->packet->flags |= AV_PKT_FLAG_KEY;
    int bad = f ? avcodec_send_packet(i->decoder, i->packet) : AVERROR(ENOMEM);
    if (bad >= 0)
        bad = avcodec_receive_frame(i->decoder, f);
    av_packet_unref(i->packet);
    if (bad >= 0)
        bad = av_frame_copy_props(f, i->model);
    if (bad < 0) {
        av_frame_free(&f);
        return ls_fail_av(err, bad, "cannot read a stored frame");
    }
    f->colorspace = i->model->colorspace;
    f->color_range = i->model->color_range;
    *out = ls_frame_wrap(f);
    return *out ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for a frame");
}
