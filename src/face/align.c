#include "face/align.h"
#include "base/alloc.h"
#include "face/lanczos.h"

#include <math.h>
#include <string.h>
#include <stdlib.h>

bool ls_resolution_valid(size_t resolution)
{
    return resolution && resolution % 8 == 0 && resolution <= LS_MAX_RESOLUTION;
}

static double template_ratio(size_t resolution)
{
    return (double)resolution / 256 * 2.8;
}

void ls_crop_size(size_t resolution, size_t *w, size_t *h)
{
    *w = (size_t)(75 * template_ratio(resolution));
    *h = (size_t)(100 * template_ratio(resolution));
}

/* Means of a 68-point mean face: eye centres, nose tip, mouth corners; brows and nose. */
static const double mean5[5][2] = {
    {-0.275, -0.317}, {0.258, -0.317}, {-0.010, -0.140}, {-0.200, 0.240}, {0.220, 0.240}};
static const double mean3[3][2] = {{-0.334, -0.466}, {0.282, -0.472}, {-0.005, -0.120}};

static bool from_five(const double (*to)[2], double p[3][2])
{
    double cf[2] = {0}, ct[2] = {0}, a = 0, b = 0, norm = 0;
    for (size_t i = 0; i < 5; i++)
        for (size_t c = 0; c < 2; c++) {
            cf[c] += mean5[i][c] / 5;
            ct[c] += to[i][c] / 5;
        }
    for (size_t i = 0; i < 5; i++) {
        double fx = mean5[i][0] - cf[0], fy = mean5[i][1] - cf[1];
        double tx = to[i][0] - ct[0], ty = to[i][1] - ct[1];
        a += fx * tx + fy * ty;
        b += fx * ty - fy * tx;
        norm += fx * fx + fy * fy;
    }
    a /= norm;
    b /= norm;
    for (size_t i = 0; i < 3; i++) {
        double x = mean3[i][0] - cf[0], y = mean3[i][1] - cf[1];
        p[i][0] = a * x - b * y + ct[0];
        p[i][1] = b * x + a * y + ct[1];
    }
    return hypot(a, b) >= 1; /* pixels per unit, which is about the width of the face */
}

static void from_106(const double (*landmarks)[2], double p[3][2])
{
    static const struct {
        size_t n;
        uint8_t index[5];
    } groups[3] = {
        {5, {43, 48, 49, 51, 50}}, {5, {101, 102, 103, 104, 105}}, {4, {74, 77, 83, 86}}};
    for (size_t i = 0; i < 3; i++)
        for (size_t c = 0; c < 2; c++) {
            double sum = 0;
            for (size_t k = 0; k < groups[i].n; k++)
                sum += rint(landmarks[groups[i].index[k]][c]);
            p[i][c] = rint(sum / (double)groups[i].n);
        }
}

/* The standard deviation over the six centred numbers, divisor 5. */
static double spread(const double p[3][2])
{
    double sum = 0;
    for (size_t i = 0; i < 3; i++)
        sum += p[i][0] * p[i][0] + p[i][1] * p[i][1];
    return sqrt(sum / 5);
}

static void centre(double p[3][2], double c[2])
{
    for (size_t k = 0; k < 2; k++) {
        c[k] = (p[0][k] + p[1][k] + p[2][k]) / 3;
        for (size_t i = 0; i < 3; i++)
            p[i][k] -= c[k];
    }
}

bool ls_face_three_points(const ls_face *face, double p[3][2])
{
    if (face->kind != LS_FACE_POINTS5 && face->kind != LS_FACE_LANDMARKS106)
        return false;
    for (size_t i = 0; i < (size_t)face->kind; i++)
        for (size_t c = 0; c < 2; c++)
            if (!(fabs(face->points[i][c]) <= 1e6))
                return false;
    if (face->kind == LS_FACE_POINTS5)
        return from_five(face->points, p);
    from_106(face->points, p);
    double centred[3][2] = {{p[0][0], p[0][1]}, {p[1][0], p[1][1]}, {p[2][0], p[2][1]}}, c[2];
    centre(centred, c);
    return spread((const double(*)[2])centred) >= 0.5;
}

void ls_align_next(ls_align *a, const double points[3][2], ls_matrix *m)
{
    double p[3][2], q[3][2] = {{17, 20}, {58, 20}, {37.5, 40}}, cp[2], cq[2];
    memcpy(p, points, sizeof p);
    for (size_t i = 0; i < 3; i++)
        for (size_t c = 0; c < 2; c++)
            q[i][c] *= template_ratio(a->resolution);
    centre(p, cp);
    centre(q, cq);
    double sp = spread((const double(*)[2])p), sq = spread((const double(*)[2])q);
    double dot = 0, cross = 0;
    for (size_t i = 0; i < 3; i++) {
        dot += p[i][0] * q[i][0] + p[i][1] * q[i][1];
        cross += p[i][0] * q[i][1] - p[i][1] * q[i][0];
    }
    double theta = atan2(cross, dot), k = sq / sp;
    double kc = k * cos(theta), ks = k * sin(theta);
    for (size_t c = 0; c < 2; c++) {
        double bias = q[2][c] / sq - p[2][c] / sp;
        a->bias[c] = a->started ? 0.2 * a->bias[c] + 0.8 * bias : bias;
    }
    a->started = true;
    *m = (ls_matrix){
        {{(float)kc, (float)-ks, (float)(cq[0] - kc * cp[0] + ks * cp[1] + a->bias[0])},
         {(float)ks, (float)kc, (float)(cq[1] - ks * cp[0] - kc * cp[1] + a->bias[1])}}};
}

/* Crop to frame: x = i[0][0] u + i[0][1] v + i[0][2]. */
static void invert(const ls_matrix *m, double i[2][3])
{
    double a = m->m[0][0], b = m->m[0][1], c = m->m[1][0], d = m->m[1][1];
    double det = a * d - b * c;
    i[0][0] = d / det;
    i[0][1] = -b / det;
    i[1][0] = -c / det;
    i[1][1] = a / det;
    for (size_t k = 0; k < 2; k++)
        i[k][2] = -(i[k][0] * m->m[0][2] + i[k][1] * m->m[1][2]);
}

/* [*from, *to) = pixels floor(lo) to floor(hi) + 1, widened by one on each side, clamped to a line
 * of n. */
static void bounds(double lo, double hi, size_t n, size_t *from, size_t *to)
{
    lo = floor(lo) - 1;
    hi = floor(hi) + 3;
    *from = lo <= 0 ? 0 : lo >= (double)n ? n : (size_t)lo;
    *to = hi <= 0 ? 0 : hi >= (double)n ? n : (size_t)hi;
}

ls_rect ls_map_bounds(const ls_matrix *m, double u0, double v0, double u1, double v1, size_t w,
                      size_t h)
{
    double inv[2][3], lo[2], hi[2];
    size_t x0, x1, y0, y1;
    invert(m, inv);
    for (size_t k = 0; k < 2; k++) {
        double du = inv[k][0] * (u1 - u0), dv = inv[k][1] * (v1 - v0);
        double at = inv[k][0] * u0 + inv[k][1] * v0 + inv[k][2];
        lo[k] = at + fmin(du, 0) + fmin(dv, 0);
        hi[k] = at + fmax(du, 0) + fmax(dv, 0);
        if (!(isfinite(lo[k]) && isfinite(hi[k])))
            return (ls_rect){0};
    }
    bounds(lo[0], hi[0], w, &x0, &x1);
    bounds(lo[1], hi[1], h, &y0, &y1);
    if (x0 >= x1 || y0 >= y1)
        return (ls_rect){0};
    return (ls_rect){x0, y0, x1 - x0, y1 - y0};
}

ls_rect ls_crop_bounds(const ls_matrix *m, size_t resolution, size_t w, size_t h)
{
    size_t cw, ch;
    ls_crop_size(resolution, &cw, &ch);
    return ls_map_bounds(m, 0, 0, (double)(cw - 1), (double)(ch - 1), w, h);
}

/* The pixel at (x, y) of the frame, or NULL. */
static const uint8_t *pixel(const ls_rgb *part, const ls_rect *at, double x, double y)
{
    if (!(x >= (double)at->x && y >= (double)at->y && x < (double)(at->x + at->w) &&
          y < (double)(at->y + at->h)))
        return NULL;
    return part->data + ((ptrdiff_t)y - (ptrdiff_t)at->y) * part->stride + 3 * ((size_t)x - at->x);
}

void ls_crop(uint8_t *crop, size_t resolution, const ls_matrix *m, const ls_rgb *part, size_t x,
             size_t y)
{
    size_t cw, ch;
    double inv[2][3];
    const ls_rect at = {x, y, part->w, part->h};
    ls_crop_size(resolution, &cw, &ch);
    invert(m, inv);
    for (size_t v = 0; v < ch; v++)
        for (size_t u = 0; u < cw; u++, crop += 3) {
            float sx = (float)(inv[0][0] * (double)u + inv[0][1] * (double)v + inv[0][2]);
            float sy = (float)(inv[1][0] * (double)u + inv[1][1] * (double)v + inv[1][2]);
            float fx = floorf(sx), fy = floorf(sy), ax = sx - fx, ay = sy - fy;
            float weights[4] = {(1 - ax) * (1 - ay), ax * (1 - ay), (1 - ax) * ay, ax * ay};
            float sum[3] = {0}, covered = 0;
            for (size_t k = 0; k < 4; k++) {
                const uint8_t *p = pixel(part, &at, fx + (double)(k & 1), fy + (double)(k >> 1));
                if (!p)
                    continue;
                for (size_t c = 0; c < 3; c++)
                    sum[c] += weights[k] * p[c];
                covered += weights[k];
            }
            for (size_t c = 0; c < 3; c++)
                crop[c] = (uint8_t)(sum[c] + (1 - covered) * 127);
        }
}

struct ls_cropper {
    size_t resolution;
    uint8_t *crop;
    ls_lanczos *resize;
};

int ls_cropper_open(ls_cropper **out, size_t resolution, ls_error *err)
{
    *out = NULL;
    if (!ls_resolution_valid(resolution))
        return ls_fail(err, LS_EINVAL, "resolution %zu: use a multiple of 8 up to %d", resolution,
                       LS_MAX_RESOLUTION);
    size_t w, h;
    ls_crop_size(resolution, &w, &h);
    ls_cropper *c = ls_calloc_array(1, sizeof(*c));
    if (!c || !(c->crop = ls_malloc_array(w * 3, h))) {
        ls_cropper_close(&c);
        return ls_fail(err, LS_ENOMEM, "face crop of %zu x %zu: out of memory", w, h);
    }
    c->resolution = resolution;
    int ret = ls_lanczos_open(&c->resize, w, h, resolution, resolution, 3, err);
    if (ret)
        ls_cropper_close(&c);
    *out = c;
    return ret;
}

void ls_cropper_close(ls_cropper **c)
{
    if (!*c)
        return;
    ls_lanczos_close(&(*c)->resize);
    free((*c)->crop);
    free(*c);
    *c = NULL;
}

void ls_cropper_run(ls_cropper *c, uint8_t *face, const ls_matrix *m, const ls_rgb *part, size_t x,
                    size_t y)
{
    ls_crop(c->crop, c->resolution, m, part, x, y);
    ls_lanczos_run(c->resize, face, c->crop);
}
