#include "media/rotate.h"

ls_rotation ls_rotation_of(const AVStream *st)
{
    const int32_t *m = ls_av_display_matrix(st);
    ls_rotation r = {0};
    if (!m)
        return r;
    /* Column vectors times the matrix: x' = m0 x + m3 y, y' = m1 x + m4 y, in 16.16. */
    if (!m[0] && !m[4] && m[1] && m[3])
        r = (ls_rotation){true, m[3] < 0, m[1] < 0};
    else if (m[0] && m[4] && !m[1] && !m[3])
        r = (ls_rotation){false, m[0] < 0, m[4] < 0};
    return r;
}

#define TURN(type)                                                                                 \
    for (size_t y = 0; y < dh; y++) {                                                              \
        size_t fy = r.flip_y ? dh - 1 - y : y;                                                     \
        type *to = (type *)(void *)(dst + (ptrdiff_t)y * ds);                                      \
        for (size_t x = 0; x < dw; x++) {                                                          \
            size_t fx = r.flip_x ? dw - 1 - x : x;                                                 \
            size_t sx = r.transpose ? fy : fx, sy = r.transpose ? fx : fy;                         \
            to[x] = ((const type *)(const void *)(src + (ptrdiff_t)sy * ss))[sx];                  \
        }                                                                                          \
    }

static void turn_plane(ls_rotation r, uint8_t *dst, ptrdiff_t ds, size_t dw, size_t dh,
                       const uint8_t *src, ptrdiff_t ss, bool wide)
{
    if (wide)
        TURN(uint16_t)
    else
        TURN(uint8_t)
}

int ls_rotate(ls_rotation r, AVFrame *f, ls_error *err)
{
    if (!r.transpose && !r.flip_x && !r.flip_y)
        return 0;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f->format);
    AVFrame *to = av_frame_alloc();
    if (!to)
        return ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    to->format = f->format;
    to->width = r.transpose ? f->height : f->width;
    to->height = r.transpose ? f->width : f->height;
    int ret = av_frame_get_buffer(to, 0);
    if (ret < 0) {
        av_frame_free(&to);
        return ls_fail_av(err, ret, "cannot rotate a frame");
    }
    for (int i = 0; i < d->nb_components; i++) {
        const bool chroma = i == 1 || i == 2;
        int w = chroma ? AV_CEIL_RSHIFT(to->width, d->log2_chroma_w) : to->width;
        int h = chroma ? AV_CEIL_RSHIFT(to->height, d->log2_chroma_h) : to->height;
        turn_plane(r, to->data[i], to->linesize[i], (size_t)w, (size_t)h, f->data[i],
                   f->linesize[i], d->comp[0].depth > 8);
    }
    ret = av_frame_copy_props(to, f);
    av_frame_unref(f);
    av_frame_move_ref(f, to);
    av_frame_free(&to);
    return ret < 0 ? ls_fail_av(err, ret, "cannot rotate a frame") : 0;
}
