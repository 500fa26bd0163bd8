#include "face/blend.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void ls_blender_free(ls_blender *b)
{
    free(b->row);
    free(b->chroma);
    *b = (ls_blender){.size = 0};
}

int ls_blender_reserve(ls_blender *b, const ls_rect *rect, ls_error *err)
{
    const size_t size = rect->w + 8;
    if (size <= b->size)
        return 0;
    ls_blender_free(b);
    b->row = ls_malloc_array(size, 4 * sizeof(float));
    b->chroma = ls_malloc_array(size, 3 * sizeof(float));
    if (!b->row || !b->chroma)
        return ls_fail(err, LS_ENOMEM, "restore of %zu x %zu pixels: out of memory", rect->w,
                       rect->h);
    b->size = size;
    return 0;
}

static size_t ceil_shift(size_t n, unsigned shift)
{
    return (n + ((size_t)1 << shift) - 1) >> shift;
}

int ls_blender_check(const ls_picture *f, ls_error *err)
{
    size_t bytes = f->depth > 8 ? 2 : 1;
    bool ok = f->depth >= 8 && f->depth <= 16 && f->sub_x <= 2 && f->sub_y <= 2 &&
              (unsigned)f->matrix <= LS_COLOR_BT2020 && !f->data[1] == !f->data[2];
    for (size_t i = 0; ok && i < (f->data[1] ? 3 : 1); i++) {
        size_t w = i ? ceil_shift(f->w, f->sub_x) : f->w;
        ok = f->data[i] && (size_t)llabs(f->stride[i]) / bytes >= w;
    }
    return ok ? 0 : ls_fail(err, LS_EINVAL, "face: not a planar YUV image of 8 to 16 bits");
}

static bool all_finite(const float *v, size_t n)
{
    int32_t bits, largest = 0;
    for (size_t i = 0; i < n; i++) {
        memcpy(&bits, v + i, sizeof(bits));
        bits &= 0x7fffffff;
        largest = bits > largest ? bits : largest;
    }
    return largest < 0x7f800000;
}

int ls_blender_check_face(const float *image, size_t resolution, const ls_matrix *m, double opacity,
                          ls_error *err)
{
    double largest = 0, area = (double)m->m[0][0] * m->m[1][1] - (double)m->m[0][1] * m->m[1][0];
    if (!all_finite(image, resolution * resolution * 3))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "face: the generated image has values that are not finite; "
                                 "compute in float32, or check the models"),
                         LS_HINT_NONE, "dtype");
    for (size_t i = 0; i < 6; i++)
        largest = fmax(largest, isfinite(m->m[i / 3][i % 3]) ? fabs(m->m[i / 3][i % 3]) : INFINITY);
    if (!(largest < 1e9 && fabs(area) > 1e-12))
        return ls_fail(err, LS_EINVAL, "face: the matrix cannot be inverted");
    if (!(opacity >= 0 && opacity <= 1))
        return ls_fail(err, LS_EINVAL, "face: opacity must be 0 to 1, not %g", opacity);
    return 0;
}

static ls_colors colors_of(const ls_picture *f)
{
    static const double luma[][2] = {{0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}};
    double kr = luma[f->matrix][0], kb = luma[f->matrix][1], k[3] = {kr, 1 - kr - kb, kb};
    double step = (double)(1u << (f->depth - 8)), max = (double)((1u << f->depth) - 1);
    double range_y = (f->full_range ? max : 219 * step) / 255;
    double range_c = (f->full_range ? max : 224 * step) / 255;
    ls_colors c = {.neutral = (float)(128 * step),
                   .black = (float)(f->full_range ? 0 : 16 * step),
                   .max = (float)max,
                   .wide = f->depth > 8};
    for (size_t i = 0; i < 3; i++) {
        c.y[i] = (float)(range_y * k[i]);
        c.cb[i] = (float)(range_c * ((i == 2) - k[i]) / (2 * (1 - kb)));
        c.cr[i] = (float)(range_c * ((i == 0) - k[i]) / (2 * (1 - kr)));
    }
    return c;
}

void ls_blender_begin(ls_blender *b, const ls_picture *frame, const ls_rect *rect)
{
    b->frame = *frame;
    b->rect = *rect;
    b->colors = colors_of(frame);
    if (b->size)
        memset(b->chroma, 0, b->size * 3 * sizeof(float));
}

/* sample = face + weight * zero + (1 - weight) * sample, rounded; `face` is relative to `zero`. */
static void blend(uint8_t *row, size_t x, const ls_colors *c, float face, float weight, float zero)
{
    uint16_t wide = row[c->wide ? 0 : x];
    if (c->wide)
        memcpy(&wide, row + 2 * x, 2);
    float v = face + weight * zero + (1 - weight) * (float)wide + 0.5f;
    wide = (uint16_t)(v > 0 ? v < c->max ? v : c->max : 0);
    if (c->wide)
        memcpy(row + 2 * x, &wide, 2);
    else
        row[x] = (uint8_t)wide;
}

/* Chroma row `cy`, whose sums are complete once its luma rows are done. */
static void blend_chroma(ls_blender *b, size_t cy)
{
    const ls_picture *f = &b->frame;
    size_t first = b->rect.x >> f->sub_x, end = ceil_shift(b->rect.x + b->rect.w, f->sub_x);
    size_t rows = f->h - (cy << f->sub_y);
    rows = rows >> f->sub_y ? (size_t)1 << f->sub_y : rows;
    for (size_t cx = first; cx < end; cx++) {
        float *sum = b->chroma + 3 * (cx - first);
        size_t columns = f->w - (cx << f->sub_x);
        columns = columns >> f->sub_x ? (size_t)1 << f->sub_x : columns;
        float n = (float)(rows * columns);
        for (size_t i = 1; i < 3 && sum[0] > 0; i++)
            blend(f->data[i] + (ptrdiff_t)cy * f->stride[i], cx, &b->colors, sum[i] / n, sum[0] / n,
                  b->colors.neutral);
        memset(sum, 0, 3 * sizeof(float));
    }
}

void ls_blender_put(ls_blender *b, size_t y, size_t from, size_t to, const float *weight,
                    size_t step)
{
    const ls_picture *f = &b->frame;
    const ls_colors *c = &b->colors;
    const size_t fy = b->rect.y + y, first = b->rect.x >> f->sub_x;
    uint8_t *out = f->data[0] + (ptrdiff_t)fy * f->stride[0];
    for (size_t x = from; x < to; x++) {
        const float *rgb = b->row + 4 * x, s = weight[x * step];
        if (s <= 0)
            continue;
        float *sum = b->chroma + 3 * (((b->rect.x + x) >> f->sub_x) - first);
        blend(out, b->rect.x + x, c, s * ls_color_dot(c->y, rgb), s, c->black);
        sum[0] += s;
        sum[1] += s * ls_color_dot(c->cb, rgb);
        sum[2] += s * ls_color_dot(c->cr, rgb);
    }
    const bool last = y + 1 == b->rect.h || (fy + 1) >> f->sub_y != fy >> f->sub_y;
    if (last && f->data[1])
        blend_chroma(b, fy >> f->sub_y);
}
