#include "media/avframe.h"
#include "media/format.h"
#include "base/alloc.h"

#include <libavutil/imgutils.h>
#include <stdlib.h>

#define RGB_STEP 64 /* sizes of converted parts, so that one converter serves many */

ls_frame *ls_frame_wrap(AVFrame *av)
{
    ls_frame *f = av ? ls_calloc_array(1, sizeof *f) : NULL;
    if (!f) {
        av_frame_free(&av);
        return NULL;
    }
    f->av = av;
    ls_memory_count(LS_MEM_MEDIA, (ptrdiff_t)ls_frame_bytes(f));
    return f;
}

ls_frame *ls_frame_ref(const ls_frame *f)
{
    return ls_frame_wrap(av_frame_clone(f->av));
}

void ls_frame_unref(ls_frame **f)
{
    if (!*f)
        return;
    ls_memory_count(LS_MEM_MEDIA, -(ptrdiff_t)ls_frame_bytes(*f));
    av_frame_free(&(*f)->av);
    free(*f);
    *f = NULL;
}

bool ls_frame_is_same(const ls_frame *a, const ls_frame *b)
{
    return a && b && a->av->data[0] == b->av->data[0];
}

ls_picture ls_frame_picture(const ls_frame *f)
{
    const AVFrame *av = f->av;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(av->format);
    ls_picture p = {.w = (size_t)av->width,
                    .h = (size_t)av->height,
                    .depth = (unsigned)d->comp[0].depth,
                    .sub_x = d->log2_chroma_w,
                    .sub_y = d->log2_chroma_h,
                    .matrix = ls_format_matrix(av),
                    .full_range = av->color_range == AVCOL_RANGE_JPEG};
    for (int i = 0; i < 3 && i < d->nb_components; i++) {
        p.data[i] = av->data[i];
        p.stride[i] = av->linesize[i];
    }
    return p;
}

int ls_frame_make_writable(ls_frame *f, ls_error *err)
{
    int ret = av_frame_make_writable(f->av);
    return ret < 0 ? ls_fail_av(err, ret, "cannot copy a frame") : 0;
}

size_t ls_frame_bytes(const ls_frame *f)
{
    int n = av_image_get_buffer_size(f->av->format, f->av->width, f->av->height, 1);
    return n > 0 ? (size_t)n : 0;
}

struct ls_rgb_converter {
    struct SwsContext *sws;
    uint8_t *rgb;
    size_t capacity;
};

int ls_rgb_converter_open(ls_rgb_converter **out, ls_error *err)
{
    *out = ls_calloc_array(1, sizeof **out);
    return *out ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_rgb_converter_close(ls_rgb_converter **c)
{
    if (!*c)
        return;
    sws_freeContext((*c)->sws);
    ls_aligned_free((*c)->rgb);
    free(*c);
    *c = NULL;
}

/* Grows [start, start + size) outwards to whole steps, within [0, limit). */
static void align_range(size_t *start, size_t *size, size_t limit)
{
    size_t end = *start + *size;
    *start -= *start % 8;
    *size = (end - *start + RGB_STEP - 1) / RGB_STEP * RGB_STEP;
    if (*size > limit)
        *size = limit;
    if (*start + *size > limit)
        *start = (limit - *size) / 2 * 2;
    if (*start + *size < end) // moving back to an even position lost the last column
        *size = end - *start;
}

int ls_rgb_convert(ls_rgb_converter *c, const ls_frame *f, ls_rect *part, ls_rgb *rgb,
                   ls_error *err)
{
    const AVFrame *av = f->av;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(av->format);
    const size_t width = (size_t)av->width, height = (size_t)av->height;
    if (!part->w || !part->h || part->w > width || part->x > width - part->w || part->h > height ||
        part->y > height - part->h)
        return ls_fail(err, LS_EINVAL, "a part that exceeds the frame was requested");
    align_range(&part->x, &part->w, width);
    align_range(&part->y, &part->h, height);
    const int w = (int)part->w, h = (int)part->h;
    size_t bytes = part->w * part->h * 3 + 64; // swscale may write past the end of a row
    if (bytes > c->capacity) {
        ls_aligned_free(c->rgb);
        c->capacity = 0;
        c->rgb = ls_aligned_alloc(LS_MEM_MEDIA, bytes);
        if (!c->rgb)
            return ls_fail(err, LS_ENOMEM, "out of memory for a part of a frame");
        c->capacity = bytes;
    }
    c->sws = sws_getCachedContext(
        c->sws, w, h, ls_format_opaque(av->format), w, h, AV_PIX_FMT_RGB24,
        SWS_BILINEAR | SWS_FULL_CHR_H_INT | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!c->sws)
        return ls_fail(err, LS_EUNSUPPORTED, "frames of %s cannot be converted to RGB",
                       av_get_pix_fmt_name(av->format));
    ls_sws_colors(c->sws, av, true);
    const uint8_t *src[4] = {NULL};
    size_t size = d->comp[0].depth > 8 ? 2 : 1;
    for (int i = 0; i < d->nb_components && i < 3; i++) {
        size_t px = i ? part->x >> d->log2_chroma_w : part->x,
               py = i ? part->y >> d->log2_chroma_h : part->y;
        src[i] = av->data[i] + (ptrdiff_t)py * av->linesize[i] + px * size;
    }
    uint8_t *dst[4] = {c->rgb};
    int stride[4] = {w * 3};
    if (sws_scale(c->sws, src, av->linesize, 0, h, dst, stride) != h)
        return ls_fail(err, LS_EIO, "cannot convert a part of a frame to RGB");
    *rgb = (ls_rgb){c->rgb, stride[0], part->w, part->h};
    return 0;
}
