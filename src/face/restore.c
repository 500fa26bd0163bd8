#include "face/restore.h"
#include "base/alloc.h"
#include "face/bicubic.h"
#include "face/smooth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Zero columns and rows around the crop, so that bilinear taps need no bounds check. */
#define BORDER_BEFORE 1
#define BORDER_AFTER 2
#define SOFT_MIN 1e-6f /* too small for a 16-bit sample; of the size of the blur's error */

struct ls_restore {
    size_t resolution, w, h; /* w x h: the crop */
    ls_bicubic *resize;
    float *crop;      /* [h + 3, w + 3, 4], with borders: R, G, B in -1..1, and 1 */
    float *planes[3]; /* of the rectangle: soft mask, edge, scratch */
    float *row;       /* [rect.w, 4]: edge * R, G, B in 0..255 */
    float *chroma;    /* three rows of sums: soft mask, edge and mask times Cb, Cr */
    void *scratch;
    size_t plane_size, row_size, scratch_size;
    ls_blur_kernel kernel;
    ls_restore_view view;
};

int ls_restore_open(ls_restore **out, size_t resolution, ls_error *err)
{
    *out = NULL;
    if (!ls_resolution_valid(resolution))
        return ls_fail(err, LS_EINVAL, "resolution %zu: use a multiple of 8 up to %d", resolution,
                       LS_MAX_RESOLUTION);
    size_t w, h;
    ls_crop_size(resolution, &w, &h);
    ls_restore *r = ls_calloc_array(1, sizeof(*r));
    if (!r ||
        !(r->crop = ls_calloc_array(h + BORDER_BEFORE + BORDER_AFTER,
                                    (w + BORDER_BEFORE + BORDER_AFTER) * 4 * sizeof(float)))) {
        free(r);
        return ls_fail(err, LS_ENOMEM, "restore at %zu: out of memory", resolution);
    }
    r->resolution = resolution;
    r->w = w;
    r->h = h;
    int ret = ls_bicubic_open(&r->resize, resolution, resolution, w, h, err);
    if (ret)
        ls_restore_close(&r);
    *out = r;
    return ret;
}

void ls_restore_close(ls_restore **r)
{
    if (!*r)
        return;
    ls_bicubic_close(&(*r)->resize);
    for (size_t i = 0; i < 3; i++)
        free((*r)->planes[i]);
    free((*r)->crop);
    free((*r)->row);
    free((*r)->chroma);
    free((*r)->scratch);
    free(*r);
    *r = NULL;
}

ls_restore_view ls_restore_last(const ls_restore *r)
{
    return r->view;
}

static size_t crop_stride(const ls_restore *r)
{
    return (r->w + BORDER_BEFORE + BORDER_AFTER) * 4;
}

/* Makes `*p` at least `bytes` long; its contents are lost. */
static int grow(void *p, size_t bytes)
{
    void *old, *grown = malloc(bytes);
    if (!grown)
        return LS_ENOMEM;
    memcpy(&old, p, sizeof(old));
    free(old);
    memcpy(p, &grown, sizeof(grown));
    return 0;
}

/* `rect` lies in a frame, so its area cannot overflow. */
static int reserve(ls_restore *r, const ls_rect *rect, ls_error *err)
{
    size_t plane, line = (rect->w > rect->h ? rect->w : rect->h) + 8;
    int ret = 0;
    if (!ls_mul_size(rect->w * sizeof(float), rect->h, &plane))
        ret = LS_ENOMEM;
    if (!ret && plane > r->plane_size) {
        r->plane_size = 0;
        for (size_t i = 0; i < 3 && !ret; i++)
            ret = grow(&r->planes[i], plane);
        if (!ret)
            r->plane_size = plane;
    }
    if (!ret && line > r->row_size) {
        r->row_size = 0;
        if (!(ret = grow(&r->row, line * 4 * sizeof(float))) &&
            !(ret = grow(&r->chroma, line * 3 * sizeof(float))))
            r->row_size = line;
    }
    return ret ? ls_fail(err, ret, "restore of %zu x %zu pixels: out of memory", rect->w, rect->h)
               : 0;
}

typedef float pixel __attribute__((vector_size(16)));

typedef int32_t pixel_mask __attribute__((vector_size(16)));

static inline pixel unit_pixel(pixel v)
{
    const pixel one = {1, 1, 1, 1};
    pixel_mask below = v < one;
    v = (pixel)(((pixel_mask)v & below) | ((pixel_mask)one & ~below));
    return (pixel)((pixel_mask)v & (v > 0));
}

static inline pixel load_pixel(const float *p)
{
    pixel v;
    memcpy(&v, p, sizeof(v));
    return v;
}

/* Where a row of the frame reads the crop: at column x, u = u0 + du x and v = v0 + dv x. */
typedef struct line {
    double u0, du, v0, dv;
} line;

static line line_at(const ls_matrix *m, size_t y)
{
    return (line){(double)m->m[0][1] * (double)y + m->m[0][2], m->m[0][0],
                  (double)m->m[1][1] * (double)y + m->m[1][2], m->m[1][0]};
}

static float unit(float v)
{
    return v > 0 ? v < 1 ? v : 1 : 0;
}

/* The weights of the two taps at either side of u, those outside 0 .. size-1 being 0. */
static inline void taps(float u, float size, float *low, float *high)
{
    u = u > -2 ? u < size + 1 ? u : size + 1 : -2;
    float at = (float)(int)u;
    at -= at > u ? 1.f : 0.f;
    *high = at >= -1 && at < size - 1 ? u - at : 0;
    *low = at >= 0 && at < size ? 1 - (u - at) : 0;
}

/* The weight of the bilinear taps that lie within the crop, per pixel of the rectangle. Summed in
 * float32 as in the original: the last bit lost at some pixels is spread by the erosion, and then
 * decides whether white stays 255. */
static void coverage(const ls_restore *r, float *cov, const ls_rect *rect, const ls_matrix *m)
{
    float w = (float)r->w, h = (float)r->h;
    for (size_t y = 0; y < rect->h; y++, cov += rect->w) {
        line l = line_at(m, rect->y + y);
        for (size_t x = 0; x < rect->w; x++) {
            float left, right, top, bottom, sum;
            taps((float)(l.u0 + l.du * (double)(rect->x + x)), w, &left, &right);
            taps((float)(l.v0 + l.dv * (double)(rect->x + x)), h, &top, &bottom);
            sum = left * top + right * top + left * bottom + right * bottom;
            cov[x] = sum < 1 ? sum : 1;
        }
    }
}

/* Minima over (y-1 .. y, x-1 .. x); outside the frame ignored, outside the rectangle zero. Returns
 * the sum. */
static double erode_edge(float *edge, const float *cov, const ls_rect *rect)
{
    double area = 0;
    for (size_t y = 0; y < rect->h; y++) {
        const float *now = cov + y * rect->w, *above = y ? now - rect->w : now;
        float *out = edge + y * rect->w;
        for (size_t x = 0; x < rect->w; x++) {
            float v = now[x] < above[x] ? now[x] : above[x];
            if (x)
                v = v < now[x - 1] ? v : now[x - 1];
            if (x && above[x - 1] < v)
                v = above[x - 1];
            if ((!x && rect->x) || (!y && rect->y))
                v = 0;
            out[x] = v;
            area += v;
        }
    }
    return area;
}

/* planes[0] = the soft mask, planes[1] = the edge. */
static int make_mask(ls_restore *r, const ls_matrix *m, double opacity, size_t w, size_t h,
                     ls_error *err)
{
    ls_rect rect = ls_map_bounds(m, -1, -1, (double)r->w, (double)r->h, w, h);
    r->view = (ls_restore_view){0};
    int ret = reserve(r, &rect, err);
    if (ret || !rect.w)
        return ret;
    float *soft = r->planes[0], *edge = r->planes[1], *turned = r->planes[2];
    coverage(r, soft, &rect, m);
    double area = erode_edge(edge, soft, &rect);
    size_t radius = (size_t)sqrt(area) / 20;
    ls_strip down = {rect.w, rect.h, rect.y, h - rect.y - rect.h};
    ls_strip across = {rect.h, rect.w, rect.x, w - rect.x - rect.w};
    size_t need = ls_smooth_scratch(rect.w > rect.h ? &across : &down, radius);
    if (need > r->scratch_size) {
        r->scratch_size = 0;
        if (grow(&r->scratch, need))
            return ls_fail(err, LS_ENOMEM, "restore of %zu x %zu pixels: out of memory", rect.w,
                           rect.h);
        r->scratch_size = need;
    }
    size_t before = radius ? radius : 1, length = radius ? 2 * radius : 3;
    ls_erode(turned, edge, &down, before, length, r->scratch);
    ls_erode(soft, turned, &across, before, length, r->scratch);
    if (radius) {
        if (radius != r->kernel.radius)
            ls_blur_make(&r->kernel, radius, 0.3 * ((double)radius - 1) + 0.8);
        ls_blur(turned, soft, &down, &r->kernel, r->scratch);
        ls_blur(soft, turned, &across, &r->kernel, r->scratch);
    }
    float factor = (float)opacity;
    for (size_t i = 0; i < rect.w * rect.h; i++)
        soft[i] = soft[i] < SOFT_MIN ? 0 : factor * unit(soft[i]);
    r->view = (ls_restore_view){rect, radius, edge, soft};
    return 0;
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

static int prepare(ls_restore *r, const float *image, const ls_matrix *m, double opacity, size_t w,
                   size_t h, ls_error *err)
{
    double largest = 0, area = (double)m->m[0][0] * m->m[1][1] - (double)m->m[0][1] * m->m[1][0];
    if (!all_finite(image, r->resolution * r->resolution * 3))
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
    int ret = make_mask(r, m, opacity, w, h, err);
    if (!ret && r->view.rect.w)
        ls_bicubic_run(r->resize, r->crop + BORDER_BEFORE * (crop_stride(r) + 4), crop_stride(r),
                       image);
    return ret;
}

/* Finds the pixels of row `y` of the rectangle from the first with a soft mask to the last, and
 * samples the face there. False: there are none. */
static bool sample_row(ls_restore *r, const ls_matrix *m, size_t y, size_t *from, size_t *to)
{
    const ls_rect *rect = &r->view.rect;
    const float *soft = r->view.soft + y * rect->w, *edge = r->view.edge + y * rect->w;
    size_t x0 = 0, x1 = rect->w, stride = crop_stride(r);
    while (x0 < x1 && soft[x0] <= 0)
        x0++;
    while (x1 > x0 && soft[x1 - 1] <= 0)
        x1--;
    line l = line_at(m, rect->y + y);
    /* the crop is read across its rows, a pattern the hardware prefetcher misses */
    uintptr_t ahead =
        (uintptr_t)(4 * ((ptrdiff_t)stride * lrint(24 * l.dv) + 4 * lrint(24 * l.du)));
    for (size_t x = x0; x < x1; x++) {
        float *out = r->row + 4 * x;
        if (edge[x] <= 0) { /* the position may lie outside the crop */
            memset(out, 0, sizeof(pixel));
            continue;
        }
        float u = (float)(l.u0 + l.du * (double)(rect->x + x)) + BORDER_BEFORE;
        float t = (float)(l.v0 + l.dv * (double)(rect->x + x)) + BORDER_BEFORE;
        size_t iu = (size_t)(int)u, iv = (size_t)(int)t;
        float au = u - (float)iu, av = t - (float)iv;
        const float *p = r->crop + iv * stride + 4 * iu, *q = p + stride;
        __builtin_prefetch((const void *)((uintptr_t)q + ahead));
        float w00 = (1 - au) * (1 - av), w01 = au * (1 - av), w10 = (1 - au) * av, w11 = au * av;
        pixel v = load_pixel(p) * w00 + load_pixel(p + 4) * w01 + load_pixel(q) * w10 +
                  load_pixel(q + 4) * w11;
        v = (v + (1 - v[3]) * 127) / 2 + 0.5f;
        v = edge[x] * (unit_pixel(v) * 255);
        memcpy(out, &v, sizeof(v));
    }
    *from = x0;
    *to = x1;
    return x0 < x1;
}

int ls_restore_rgb(ls_restore *r, const float *image, const ls_matrix *m, double opacity,
                   const ls_rgb *frame, ls_error *err)
{
    if (!frame->data || (size_t)llabs(frame->stride) / 3 < frame->w)
        return ls_fail(err, LS_EINVAL, "face: not an RGB image");
    int ret = prepare(r, image, m, opacity, frame->w, frame->h, err);
    if (ret)
        return ret;
    const ls_rect *rect = &r->view.rect;
    size_t x, end;
    for (size_t y = 0; y < rect->h; y++) {
        if (!sample_row(r, m, y, &x, &end))
            continue;
        const float *soft = r->view.soft + y * rect->w;
        uint8_t *out = frame->data + (ptrdiff_t)(rect->y + y) * frame->stride + 3 * rect->x;
        for (; x < end; x++)
            for (size_t c = 0; c < 3; c++)
                if (soft[x] > 0)
                    out[3 * x + c] =
                        (uint8_t)(soft[x] * r->row[4 * x + c] + (1 - soft[x]) * out[3 * x + c]);
    }
    return 0;
}

/* Y'CbCr of a frame, from R'G'B' in 0..255: code values above black and around neutral. */
typedef struct colors {
    float y[3], cb[3], cr[3];
    float neutral, black, max;
    bool wide;
} colors;

static colors colors_of(const ls_picture *f)
{
    static const double luma[][2] = {{0.299, 0.114}, {0.2126, 0.0722}, {0.2627, 0.0593}};
    double kr = luma[f->matrix][0], kb = luma[f->matrix][1], k[3] = {kr, 1 - kr - kb, kb};
    double step = (double)(1u << (f->depth - 8)), max = (double)((1u << f->depth) - 1);
    double range_y = (f->full_range ? max : 219 * step) / 255;
    double range_c = (f->full_range ? max : 224 * step) / 255;
    colors c = {.neutral = (float)(128 * step),
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

static float dot(const float *k, const float *rgb)
{
    return k[0] * rgb[0] + k[1] * rgb[1] + k[2] * rgb[2];
}

/* sample = face + mask * zero + (1 - mask) * sample, rounded; `face` is relative to `zero`. */
static void blend(uint8_t *row, size_t x, const colors *c, float face, float mask, float zero)
{
    uint16_t wide = row[c->wide ? 0 : x];
    if (c->wide)
        memcpy(&wide, row + 2 * x, 2);
    float v = face + mask * zero + (1 - mask) * (float)wide + 0.5f;
    wide = (uint16_t)(v > 0 ? v < c->max ? v : c->max : 0);
    if (c->wide)
        memcpy(row + 2 * x, &wide, 2);
    else
        row[x] = (uint8_t)wide;
}

static size_t ceil_shift(size_t n, unsigned shift)
{
    return (n + ((size_t)1 << shift) - 1) >> shift;
}

/* Blends chroma row `cy`, whose sums are complete once its luma rows are done. */
static void blend_chroma(ls_restore *r, const ls_picture *f, const colors *c, size_t cy)
{
    const ls_rect *rect = &r->view.rect;
    size_t first = rect->x >> f->sub_x, end = ceil_shift(rect->x + rect->w, f->sub_x);
    size_t rows = f->h - (cy << f->sub_y);
    rows = rows >> f->sub_y ? (size_t)1 << f->sub_y : rows;
    for (size_t cx = first; cx < end; cx++) {
        float *sum = r->chroma + 3 * (cx - first);
        size_t columns = f->w - (cx << f->sub_x);
        columns = columns >> f->sub_x ? (size_t)1 << f->sub_x : columns;
        float n = (float)(rows * columns);
        for (size_t i = 1; i < 3 && sum[0] > 0; i++)
            blend(f->data[i] + (ptrdiff_t)cy * f->stride[i], cx, c, sum[i] / n, sum[0] / n,
                  c->neutral);
        memset(sum, 0, 3 * sizeof(float));
    }
}

static int check_yuv(const ls_picture *f, ls_error *err)
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

int ls_restore_yuv(ls_restore *r, const float *image, const ls_matrix *m, double opacity,
                   const ls_picture *frame, ls_error *err)
{
    int ret = check_yuv(frame, err);
    if (ret || (ret = prepare(r, image, m, opacity, frame->w, frame->h, err)))
        return ret;
    const ls_rect *rect = &r->view.rect;
    const colors c = colors_of(frame);
    size_t x, end, first = rect->x >> frame->sub_x;
    if (rect->w)
        memset(r->chroma, 0, r->row_size * 3 * sizeof(float));
    for (size_t y = 0; y < rect->h; y++) {
        size_t fy = rect->y + y;
        if (sample_row(r, m, y, &x, &end)) {
            const float *soft = r->view.soft + y * rect->w;
            uint8_t *out = frame->data[0] + (ptrdiff_t)fy * frame->stride[0];
            for (; x < end; x++) {
                if (soft[x] <= 0)
                    continue;
                const float *rgb = r->row + 4 * x, s = soft[x];
                float *sum = r->chroma + 3 * (((rect->x + x) >> frame->sub_x) - first);
                blend(out, rect->x + x, &c, s * dot(c.y, rgb), s, c.black);
                sum[0] += s;
                sum[1] += s * dot(c.cb, rgb);
                sum[2] += s * dot(c.cr, rgb);
            }
        }
        bool last = y + 1 == rect->h || (fy + 1) >> frame->sub_y != fy >> frame->sub_y;
        if (last && frame->data[1])
            blend_chroma(r, frame, &c, fy >> frame->sub_y);
    }
    return 0;
}
