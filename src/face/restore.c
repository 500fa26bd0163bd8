#include "face/restore.h"
#include "base/alloc.h"
#include "face/bicubic.h"
#include "face/blend.h"
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
    void *scratch;
    size_t plane_size, scratch_size;
    ls_blender blender; /* its row: edge * R, G, B */
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
    free((*r)->scratch);
    ls_blender_free(&(*r)->blender);
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
    size_t plane;
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
    return ret ? ls_fail(err, ret, "restore of %zu x %zu pixels: out of memory", rect->w, rect->h)
               : ls_blender_reserve(&r->blender, rect, err);
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

static int prepare(ls_restore *r, const float *image, const ls_matrix *m, double opacity, size_t w,
                   size_t h, ls_error *err)
{
    int ret = ls_blender_check_face(image, r->resolution, m, opacity, err);
    if (!ret)
        ret = make_mask(r, m, opacity, w, h, err);
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
        float *out = r->blender.row + 4 * x;
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
                    out[3 * x + c] = (uint8_t)(soft[x] * r->blender.row[4 * x + c] +
                                               (1 - soft[x]) * out[3 * x + c]);
    }
    return 0;
}

int ls_restore_yuv(ls_restore *r, const float *image, const ls_matrix *m, double opacity,
                   const ls_picture *frame, ls_error *err)
{
    int ret = ls_blender_check(frame, err);
    if (ret || (ret = prepare(r, image, m, opacity, frame->w, frame->h, err)))
        return ret;
    const ls_rect *rect = &r->view.rect;
    ls_blender_begin(&r->blender, frame, rect);
    for (size_t y = 0; y < rect->h; y++) {
        size_t from = 0, to = 0;
        sample_row(r, m, y, &from, &to);
        ls_blender_put(&r->blender, y, from, to, r->view.soft + y * rect->w, 1);
    }
    return 0;
}
