#include "media/snapshot.h"
#include "base/alloc.h"
#include "base/output.h"
#include "base/time.h"
#include "media/avframe.h"
#include "media/format.h"

#include <math.h>
#include <stdlib.h>

#define INTERVAL 1.0 /* s */
#define QUALITY 4    /* of 2, the best, to 31 */

struct ls_snapshot {
    const char *path;
    AVRational aspect; /* of a pixel */
    double next;
    struct SwsContext *sws;
    AVCodecContext *encoder; /* NULL until the first frame */
    AVFrame *small;
    AVPacket *packet;
};

int ls_snapshot_open(ls_snapshot **out, const char *path, const ls_video *video, ls_error *err)
{
    ls_snapshot *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->path = path;
    s->aspect = ls_video_model(video)->sample_aspect_ratio;
    s->small = av_frame_alloc();
    s->packet = av_packet_alloc();
    if (s->small && s->packet) {
        ls_output_remove_stale(path);
        return 0;
    }
    ls_snapshot_close(out);
    return ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_snapshot_close(ls_snapshot **ps)
{
    ls_snapshot *s = *ps;
    if (!s)
        return;
    sws_freeContext(s->sws);
    avcodec_free_context(&s->encoder);
    av_frame_free(&s->small);
    av_packet_free(&s->packet);
    free(s);
    *ps = NULL;
}

static void choose_size(AVCodecContext *c, const AVFrame *f, AVRational aspect)
{
    const double shown = f->width * (aspect.num > 0 && aspect.den > 0 ? av_q2d(aspect) : 1),
                 scale = fmin(1, LS_SNAPSHOT_WIDTH / shown);
    c->width = (int)fmax(1, round(shown * scale));
    c->height = (int)fmax(1, round(f->height * scale));
}

static int open_encoder(ls_snapshot *s, const AVFrame *f, ls_error *err)
{
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_MJPEG);
    AVCodecContext *c = s->encoder = codec ? avcodec_alloc_context3(codec) : NULL;
    if (!c)
        return codec ? ls_fail(err, LS_ENOMEM, "out of memory")
                     : ls_fail(err, LS_EUNSUPPORTED, "this libavcodec lacks a JPEG encoder");
    choose_size(c, f, s->aspect);
    c->pix_fmt = AV_PIX_FMT_YUV420P;
    c->color_range = AVCOL_RANGE_JPEG;
    c->colorspace = AVCOL_SPC_SMPTE170M; // what readers of JPEG take it for
    c->time_base = (AVRational){1, 1};
    c->thread_count = 1;
    c->flags |= AV_CODEC_FLAG_QSCALE | AV_CODEC_FLAG_BITEXACT;
    c->global_quality = QUALITY * FF_QP2LAMBDA;
    s->small->format = c->pix_fmt;
    s->small->width = c->width;
    s->small->height = c->height;
    s->small->color_range = c->color_range;
    s->small->quality = c->global_quality;
    int ret = avcodec_open2(c, codec, NULL);
    if (ret >= 0)
        ret = av_frame_get_buffer(s->small, 0);
    return ret < 0 ? ls_fail_av(err, ret, "cannot open the JPEG encoder") : 0;
}

static int shrink(ls_snapshot *s, const AVFrame *f, ls_error *err)
{
    const enum AVPixelFormat from = ls_format_opaque(f->format);
    s->sws =
        sws_getCachedContext(s->sws, f->width, f->height, from, s->small->width, s->small->height,
                             s->small->format, SWS_BILINEAR, NULL, NULL, NULL);
    int ret = s->sws ? av_frame_make_writable(s->small) : AVERROR(ENOSYS);
    if (ret >= 0) {
        ls_sws_colors_to(s->sws, f, LS_COLOR_BT601, true);
        ret = sws_scale(s->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height,
                        s->small->data, s->small->linesize);
    }
    return ret < 0 ? ls_fail_av(err, ret, "frames of %s cannot be converted for a JPEG",
                                av_get_pix_fmt_name(f->format))
                   : 0;
}

static int encode(ls_snapshot *s, ls_error *err)
{
    s->small->pts++;
    int ret = avcodec_send_frame(s->encoder, s->small);
    if (ret >= 0)
        ret = avcodec_receive_packet(s->encoder, s->packet);
    return ret < 0 ? ls_fail_av(err, ret, "cannot encode %s", s->path) : 0;
}

int ls_snapshot_take(ls_snapshot *s, const ls_frame *f, ls_error *err)
{
    const double now = ls_time_now();
    ls_output_file o;
    if (now < s->next)
        return 0;
    s->next = now + INTERVAL;
    int ret = s->encoder ? 0 : open_encoder(s, f->av, err);
    if (!ret)
        ret = shrink(s, f->av, err);
    if (!ret)
        ret = encode(s, err);
    if (!ret)
        ret = ls_output_open(&o, s->path, err);
    if (!ret)
        ret = ls_output_place(
            &o, ls_output_write(&o, s->packet->data, (size_t)s->packet->size, err), err);
    av_packet_unref(s->packet);
    return ret;
}
