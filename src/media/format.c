#include "media/format.h"

#include <libavutil/avstring.h>
#include <stdio.h>

static enum AVPixelFormat without_range(enum AVPixelFormat f)
{
    switch (f) {
    case AV_PIX_FMT_YUVJ420P:
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
        return AV_PIX_FMT_YUV444P;
    default:
        return f;
    }
}

bool ls_format_has_alpha(enum AVPixelFormat f)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f);
    return d && d->flags & AV_PIX_FMT_FLAG_ALPHA && !(d->flags & AV_PIX_FMT_FLAG_PAL);
}

enum AVPixelFormat ls_format_opaque(enum AVPixelFormat f)
{
    char name[32];
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f);
    if (!d || !av_strstart(d->name, "yuva", NULL))
        return f;
    snprintf(name, sizeof name, "yuv%s", d->name + 4);
    return av_get_pix_fmt(name);
}

static enum AVPixelFormat with_alpha(enum AVPixelFormat f)
{
    static const enum AVPixelFormat list[] = {
        AV_PIX_FMT_YUVA420P,   AV_PIX_FMT_YUVA422P,   AV_PIX_FMT_YUVA444P,   AV_PIX_FMT_YUVA420P10,
        AV_PIX_FMT_YUVA422P10, AV_PIX_FMT_YUVA444P10, AV_PIX_FMT_YUVA420P16, AV_PIX_FMT_YUVA422P16,
        AV_PIX_FMT_YUVA444P16, AV_PIX_FMT_NONE};
    return avcodec_find_best_pix_fmt_of_list(list, f, 1, NULL);
}

enum AVPixelFormat ls_format_planar(enum AVPixelFormat f, bool alpha)
{
    static const enum AVPixelFormat list[] = {
        AV_PIX_FMT_YUV420P,   AV_PIX_FMT_YUV422P,   AV_PIX_FMT_YUV444P,   AV_PIX_FMT_YUV420P10,
        AV_PIX_FMT_YUV422P10, AV_PIX_FMT_YUV444P10, AV_PIX_FMT_YUV420P16, AV_PIX_FMT_YUV422P16,
        AV_PIX_FMT_YUV444P16, AV_PIX_FMT_NONE};
    static const uint64_t other = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL |
                                  AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BITSTREAM |
                                  AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER |
                                  AV_PIX_FMT_FLAG_ALPHA | (AV_NE(0, AV_PIX_FMT_FLAG_BE));
    if (ls_format_has_alpha(f) && alpha)
        return with_alpha(f);
    f = without_range(ls_format_opaque(f));
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f);
    if (f == AV_PIX_FMT_GRAY8)
        return f;
    if (d && d->nb_components == 3 && av_pix_fmt_count_planes(f) == 3 && !(d->flags & other) &&
        d->log2_chroma_h <= d->log2_chroma_w && d->log2_chroma_w <= 1 && !d->comp[0].shift)
        return f;
    if (d && d->nb_components <= 2)
        return d->comp[0].depth <= 8    ? AV_PIX_FMT_GRAY8
               : d->comp[0].depth <= 10 ? AV_PIX_FMT_YUV420P10
                                        : AV_PIX_FMT_YUV420P16;
    return avcodec_find_best_pix_fmt_of_list(list, f, 0, NULL);
}

/* Turning by 90 degrees needs chroma that is subsampled equally in both directions. */
static enum AVPixelFormat turnable(enum AVPixelFormat f)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f);
    if (d->log2_chroma_w == d->log2_chroma_h)
        return f;
    const bool alpha = ls_format_has_alpha(f);
    return d->comp[0].depth > 10  ? alpha ? AV_PIX_FMT_YUVA444P16 : AV_PIX_FMT_YUV444P16
           : d->comp[0].depth > 8 ? alpha ? AV_PIX_FMT_YUVA444P10 : AV_PIX_FMT_YUV444P10
           : alpha                ? AV_PIX_FMT_YUVA444P
                                  : AV_PIX_FMT_YUV444P;
}

/* Drops the fourth plane. */
static void make_opaque(AVFrame *f)
{
    const enum AVPixelFormat opaque = ls_format_opaque(f->format);
    if (opaque != (enum AVPixelFormat)f->format) {
        f->format = opaque;
        f->data[3] = NULL;
        f->linesize[3] = 0;
    }
}

/* Puts into the range tag what the format alone says. */
static void tag_range(AVFrame *f)
{
    const enum AVPixelFormat plain = without_range(f->format);
    if (plain != (enum AVPixelFormat)f->format) {
        f->format = plain;
        f->color_range = AVCOL_RANGE_JPEG;
    }
    if (av_pix_fmt_desc_get(f->format)->nb_components <= 2 &&
        f->color_range == AVCOL_RANGE_UNSPECIFIED) // as swscale takes grey
        f->color_range = AVCOL_RANGE_JPEG;
}

/* `to` has its format and size, and gets pixels and everything else from `f`. */
static int convert(struct SwsContext **sws, AVFrame *to, AVFrame *f, ls_error *err)
{
    int ret = av_frame_get_buffer(to, 0);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot make a frame of %d x %d", to->width, to->height);
    *sws = sws_getCachedContext(*sws, f->width, f->height, f->format, to->width, to->height,
                                to->format, SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (av_pix_fmt_desc_get(f->format)->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) {
        f->colorspace = AVCOL_SPC_UNSPECIFIED;
        f->colorspace =
            ls_format_matrix(f) == LS_COLOR_BT709 ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
        f->color_range = AVCOL_RANGE_MPEG;
    }
    if (*sws)
        ls_sws_colors(*sws, f, f->color_range == AVCOL_RANGE_JPEG);
    if (!*sws || sws_scale(*sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height,
                           to->data, to->linesize) != to->height)
        return ls_fail(err, LS_EUNSUPPORTED, "frames of %s cannot be converted",
                       av_get_pix_fmt_name(f->format));
    ret = av_frame_copy_props(to, f);
    return ret < 0 ? ls_fail_av(err, ret, "cannot convert a frame") : 0;
}

int ls_format_convert(struct SwsContext **sws, AVFrame *f, enum AVPixelFormat want,
                      const AVFrame *like, bool transpose, ls_error *err)
{
    int width = like ? like->width : f->width, height = like ? like->height : f->height;
    if (like && transpose) {
        width = like->height;
        height = like->width;
    }
    if (transpose)
        want = turnable(want);
    if (!ls_format_has_alpha(want))
        make_opaque(f);
    tag_range(f);
    if (f->format == (int)want && f->width == width && f->height == height)
        return 0;
    AVFrame *to = av_frame_alloc();
    if (!to)
        return ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    to->format = want;
    to->width = width;
    to->height = height;
    const int ret = convert(sws, to, f, err);
    if (!ret) {
        av_frame_unref(f);
        av_frame_move_ref(f, to);
    }
    av_frame_free(&to);
    return ret;
}

ls_color_matrix ls_format_matrix(const AVFrame *f)
{
    switch (f->colorspace) {
    case AVCOL_SPC_BT709:
        return LS_COLOR_BT709;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return LS_COLOR_BT2020;
    case AVCOL_SPC_UNSPECIFIED:
        return f->height >= 720 || f->width >= 1280 ? LS_COLOR_BT709 : LS_COLOR_BT601;
    default:
        return LS_COLOR_BT601;
    }
}

int ls_sws_colors_to(struct SwsContext *sws, const AVFrame *src, ls_color_matrix to,
                     bool full_range_out)
{
    static const int matrices[] = {[LS_COLOR_BT601] = SWS_CS_ITU601,
                                   [LS_COLOR_BT709] = SWS_CS_ITU709,
                                   [LS_COLOR_BT2020] = SWS_CS_BT2020};
    return sws_setColorspaceDetails(sws, sws_getCoefficients(matrices[ls_format_matrix(src)]),
                                    src->color_range == AVCOL_RANGE_JPEG,
                                    sws_getCoefficients(matrices[to]), full_range_out, 0, 1 << 16,
                                    1 << 16);
}

int ls_sws_colors(struct SwsContext *sws, const AVFrame *src, bool full_range_out)
{
    return ls_sws_colors_to(sws, src, ls_format_matrix(src), full_range_out);
}
