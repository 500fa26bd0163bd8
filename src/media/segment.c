#include "media/segment.h"
#include "media/avframe.h"
#include "media/format.h"
#include "media/muxer.h"
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

struct ls_segment {
    ls_muxer mux;
    const char *path;
    AVCodecContext *encoder;
    AVStream *stream;
    struct SwsContext *sws;
    AVFrame *frame; /* in the encoder's format, if that is not the source's */
    AVPacket *packet;
    int64_t next_pts, packets;
    ls_segment_info info;
};

/* If the encoder's format or size is not the source's. */
static int open_converter(ls_segment *s, const AVFrame *model, ls_error *err)
{
    const AVCodecContext *c = s->encoder;
    if (c->pix_fmt == model->format && c->width == model->width && c->height == model->height)
        return 0;
    s->frame = av_frame_alloc();
    if (!s->frame)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->frame->format = c->pix_fmt;
    s->frame->width = c->width;
    s->frame->height = c->height;
    int ret = av_frame_get_buffer(s->frame, 0);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot make a frame");
    if (c->pix_fmt == model->format)
        return 0;
    s->sws = sws_getContext(model->width, model->height, model->format, model->width, model->height,
                            c->pix_fmt, SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!s->sws)
        return ls_fail(err, LS_EUNSUPPORTED, "frames of %s cannot be converted for %s",
                       av_get_pix_fmt_name(model->format), c->codec->name);
    ls_sws_colors(s->sws, model, model->color_range == AVCOL_RANGE_JPEG);
    return 0;
}

const char *ls_segment_container(const AVCodecContext *encoder)
{
    const bool beside =
        encoder->codec_id == AV_CODEC_ID_VP9 && ls_format_has_alpha(encoder->pix_fmt);
    return beside ? "matroska" : "nut";
}

int ls_segment_open(ls_segment **out, const char *path, const ls_encoding *e, ls_error *err)
{
    ls_segment *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->packet = av_packet_alloc();
    int ret = s->packet ? ls_encoder_open(&s->encoder, e, NULL, err)
                        : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = ls_muxer_open(&s->mux, av_guess_format(ls_segment_container(s->encoder), NULL, NULL),
                            err);
    if (!ret) {
        s->mux.format->avoid_negative_ts = AVFMT_AVOID_NEG_TS_DISABLED; // only the pts are kept
        s->stream = ls_encoder_stream(s->mux.format, s->encoder);
        ret = s->stream ? open_converter(s, ls_video_model(e->like), err)
                        : ls_fail(err, LS_ENOMEM, "out of memory");
    }
    s->path = path;
    if (ret)
        ls_segment_close(out);
    return ret;
}

void ls_segment_close(ls_segment **ps)
{
    ls_segment *s = *ps;
    if (!s)
        return;
    ls_encoder_close(&s->encoder);
    ls_muxer_close(&s->mux);
    sws_freeContext(s->sws);
    av_frame_free(&s->frame);
    av_packet_free(&s->packet);
    free(s);
    *ps = NULL;
}

/* The file begins with the first packet, because that is what some encoders tell their extradata
 * with. */
static int start(ls_segment *s, ls_error *err)
{
    size_t size = 0;
    const uint8_t *data = av_packet_get_side_data(s->packet, AV_PKT_DATA_NEW_EXTRADATA, &size);
    if (data && ls_av_set_extradata(s->stream->codecpar, data, size))
        return ls_fail(err, LS_ENOMEM, "out of memory");
    return ls_muxer_start(&s->mux, s->path, NULL, err);
}

static int write_packet(ls_segment *s, ls_error *err)
{
    AVPacket *p = s->packet;
    if (!p->duration)
        p->duration = 1;
    const uint64_t late = s->packets > p->pts ? (uint64_t)(s->packets - p->pts) : 0;
    s->info.delay = late > s->info.delay ? late : s->info.delay;
    s->packets++;
    av_packet_rescale_ts(p, s->encoder->time_base, s->stream->time_base);
    p->stream_index = s->stream->index;
    return ls_muxer_check(&s->mux, av_write_frame(s->mux.format, p), err);
}

static int drain(ls_segment *s, ls_error *err)
{
    int ret, bad = 0;
    while (!bad && !(ret = avcodec_receive_packet(s->encoder, s->packet))) {
        if (!s->mux.file.path)
            bad = start(s, err);
        if (!bad)
            bad = write_packet(s, err);
        av_packet_unref(s->packet);
    }
    if (bad)
        return bad;
    return ret == AVERROR(EAGAIN) || ret == AVERROR_EOF
               ? 0
               : ls_fail_av(err, ret, "cannot encode the video");
}

/* Repeats the last column or row of a plane that is one short. */
static void extend(AVFrame *f, int plane, int w, int h, int full_w, int full_h, size_t size)
{
    for (int y = 0; y < h && w < full_w; y++) {
        uint8_t *row = f->data[plane] + (ptrdiff_t)y * f->linesize[plane];
        memcpy(row + (size_t)w * size, row + (size_t)(w - 1) * size, size);
    }
    if (h < full_h) {
        uint8_t *last = f->data[plane] + (ptrdiff_t)(h - 1) * f->linesize[plane];
        memcpy(last + f->linesize[plane], last, (size_t)full_w * size);
    }
}

/* The frame in the encoder's format and size; s->frame, or `src` itself. */
static const AVFrame *convert(ls_segment *s, const AVFrame *src, ls_error *err)
{
    if (!s->frame)
        return src;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(s->frame->format);
    int ret = av_frame_make_writable(s->frame);
    if (ret < 0) {
        ls_fail_av(err, ret, "cannot make a frame");
        return NULL;
    }
    if (s->sws)
        sws_scale(s->sws, (const uint8_t *const *)src->data, src->linesize, 0, src->height,
                  s->frame->data, s->frame->linesize);
    for (int i = 0; i < av_pix_fmt_count_planes(s->frame->format); i++) {
        const size_t size = (size_t)d->comp[i].step; // of both chroma samples where they alternate
        const bool chroma = i == 1 || i == 2;        // the fourth is transparency
        int sx = chroma ? d->log2_chroma_w : 0, sy = chroma ? d->log2_chroma_h : 0;
        int cw = AV_CEIL_RSHIFT(src->width, sx), ch = AV_CEIL_RSHIFT(src->height, sy);
        for (int y = 0; y < ch && !s->sws; y++)
            memcpy(s->frame->data[i] + (ptrdiff_t)y * s->frame->linesize[i],
                   src->data[i] + (ptrdiff_t)y * src->linesize[i], (size_t)cw * size);
        extend(s->frame, i, cw, ch, AV_CEIL_RSHIFT(s->frame->width, sx),
               AV_CEIL_RSHIFT(s->frame->height, sy), size);
    }
    return s->frame;
}

int ls_segment_write(ls_segment *s, const ls_frame *f, ls_error *err)
{
    const AVFrame *src = convert(s, f->av, err);
    AVFrame *send = src ? av_frame_clone(src) : NULL;
    if (!send)
        return src ? ls_fail(err, LS_ENOMEM, "out of memory for a frame") : LS_EIO;
    send->pts = s->next_pts++;
    send->pict_type = AV_PICTURE_TYPE_NONE;
    ls_av_clear_key(send);
    int ret = avcodec_send_frame(s->encoder, send);
    av_frame_free(&send);
    return ret < 0 ? ls_fail_av(err, ret, "cannot encode the video") : drain(s, err);
}

int ls_segment_finish(ls_segment *s, ls_segment_info *info, ls_error *err)
{
    avcodec_send_frame(s->encoder, NULL);
    int ret = drain(s, err);
    if (!ret && (!s->packets || s->packets != s->next_pts))
        ret = ls_fail(err, LS_EUNSUPPORTED,
                      "the encoder %s made %lld packets of %lld frames; use another encoder",
                      s->encoder->codec->name, (long long)s->packets, (long long)s->next_pts);
    if (!ret)
        ret = ls_muxer_end(&s->mux, err);
    if (ret)
        return ret;
    ret = ls_digest_file(s->mux.file.temporary, s->info.sha256, &s->info.bytes, err);
    ret = ls_muxer_name(&s->mux, ret, err);
    s->info.frames = (uint64_t)s->next_pts;
    *info = s->info;
    return ret;
}
