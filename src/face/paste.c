#include "face/paste.h"
#include "base/alloc.h"
#include "face/blend.h"
#include "face/mask.h"
#include "face/smooth.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PAD 4     /* columns and rows of the patch around what is pasted, for the taps */
#define EDGE 5    /* of 256: radius of the soft edge */
#define POINTS 64 /* along each axis, of which those at the edge are compared */
#define CHIN 192  /* of 256: below it the edge follows the jaw, which is where the speech has it */
#define TERMS 6   /* of the offset: 1, x, y, x^2, xy, y^2 */
#define FITS 4    /* of the offset, each with weights by the one before */
#define LEVEL (1.f / 127.5f)
#define LIMIT (20 * LEVEL)   /* of the offset */
#define OUTLIER (12 * LEVEL) /* a difference that counts a quarter */
#define RIDGE 0.004          /* keeps the offset small where little is known */
#define MAX_BLUR 32
#define RIM 0.125f /* how far sharpening goes beyond the values around, in parts of their range */

typedef float pixel __attribute__((vector_size(16))); /* R, G, B, weight */

typedef int32_t pixel_mask __attribute__((vector_size(16)));

/* A point of the edge: where both the patch and the frame are seen. */
typedef struct point {
    size_t x, y;
    double weight;
    double trust; /* the weight, less where the two differ in more than light */
} point;

struct ls_paste {
    size_t resolution, w, h; /* w x h: the crop */
    double sharpen;
    size_t left, right, top, bottom; /* pixels with a weight: [left, right), [top, bottom) */
    size_t rows;                     /* of the patch: top - PAD .. bottom + PAD */
    float *weights;                  /* [R, R] */
    pixel *patch, *smooth;           /* [rows, R + 2 PAD]; R, G, B in 0..255 */
    pixel *line;                     /* a row of them */
    point *points;
    size_t count;
    ls_blender blender;
    ls_paste_view view;
};

static size_t stride_of(const ls_paste *p)
{
    return p->resolution + 2 * PAD;
}

static size_t edge_of(size_t resolution)
{
    return resolution * EDGE / 256 ? resolution * EDGE / 256 : 1;
}

/* The mask, eroded so far that the soft edge and two pixels more lie within it: the taps of a pixel
 * outside the mask then all have weight 0. */
static int make_weights(ls_paste *p, ls_error *err)
{
    const size_t n = p->resolution, edge = edge_of(n), inset = edge + 2;
    const ls_strip whole = {n, n, 0, 0};
    float *turned = ls_malloc_array(n, n * sizeof(float));
    void *scratch = malloc(ls_smooth_scratch(&whole, inset));
    ls_mask *mask = NULL;
    ls_blur_kernel kernel = {.radius = 0};
    int ret = ls_mask_open(&mask, n, err);
    if (!ret && (!turned || !scratch))
        ret = ls_fail(err, LS_ENOMEM, "paste at %zu: out of memory", n);
    if (!ret) {
        for (size_t i = 0; i < n * n; i++)
            p->weights[i] = ls_mask_pixels(mask)[i] < 128;
        ls_erode(turned, p->weights, &whole, inset, 2 * inset + 1, scratch);
        ls_erode(p->weights, turned, &whole, inset, 2 * inset + 1, scratch);
        ls_blur_make(&kernel, edge, 0.3 * ((double)edge - 1) + 0.8);
        ls_blur(turned, p->weights, &whole, &kernel, scratch);
        ls_blur(p->weights, turned, &whole, &kernel, scratch);
        for (size_t i = 0; i < n * n; i++)
            p->weights[i] = p->weights[i] < 1e-3f ? 0 : fminf(p->weights[i], 1);
    }
    ls_mask_close(&mask);
    free(turned);
    free(scratch);
    return ret;
}

static void find_bounds(ls_paste *p)
{
    const size_t n = p->resolution;
    p->left = p->top = n;
    for (size_t i = 0; i < n * n; i++) {
        const size_t x = i % n, y = i / n;
        if (p->weights[i] <= 0)
            continue;
        p->left = x < p->left ? x : p->left;
        p->right = x >= p->right ? x + 1 : p->right;
        p->top = y < p->top ? y : p->top;
        p->bottom = y + 1;
    }
}

/* Counts the points, and lists them where there is room. */
static void find_points(ls_paste *p)
{
    const size_t n = p->resolution, step = n > POINTS ? n / POINTS : 1;
    p->count = 0;
    for (size_t y = p->top; y < n * CHIN / 256; y += step)
        for (size_t x = p->left; x < p->right; x += step) {
            const float a = p->weights[y * n + x];
            if (4 * a * (1 - a) < 0.2f)
                continue;
            if (p->points)
                p->points[p->count] = (point){.x = x, .y = y, .weight = 4 * a * (1 - a)};
            p->count++;
        }
}

/* Seven twelfths of the rows can be repainted. */
size_t ls_paste_bytes(size_t resolution)
{
    return 2 * (resolution * 7 / 12 + 2 * PAD) * (resolution + 2 * PAD) * sizeof(pixel) +
           resolution * resolution * sizeof(float);
}

int ls_paste_open(ls_paste **out, size_t resolution, double sharpen, ls_error *err)
{
    *out = NULL;
    if (!ls_resolution_valid(resolution))
        return ls_fail(err, LS_EINVAL, "resolution %zu: use a multiple of 8 up to %d", resolution,
                       LS_MAX_RESOLUTION);
    ls_paste *p = ls_calloc_array(1, sizeof(*p));
    int ret = 0;
    if (!p || !(p->weights = ls_malloc_array(resolution, resolution * sizeof(float))))
        ret = ls_fail(err, LS_ENOMEM, "paste at %zu: out of memory", resolution);
    if (!ret) {
        p->resolution = resolution;
        p->sharpen = sharpen;
        ls_crop_size(resolution, &p->w, &p->h);
        ret = make_weights(p, err);
    }
    if (!ret) {
        find_bounds(p);
        find_points(p);
        p->rows = p->bottom > p->top ? p->bottom - p->top + 2 * PAD : 0;
        const size_t row = stride_of(p) * sizeof(pixel);
        p->points = ls_malloc_array(p->count + 1, sizeof(point));
        p->patch = ls_aligned_alloc(LS_MEM_OTHER, (p->rows + 1) * row);
        p->smooth = ls_aligned_alloc(LS_MEM_OTHER, (p->rows + 1) * row);
        p->line = ls_aligned_alloc(LS_MEM_OTHER, row);
        if (!p->points || !p->patch || !p->smooth || !p->line)
            ret = ls_fail(err, LS_ENOMEM, "paste at %zu: out of memory", resolution);
        else
            find_points(p);
    }
    if (ret)
        ls_paste_close(&p);
    *out = p;
    return ret;
}

void ls_paste_close(ls_paste **p)
{
    if (!*p)
        return;
    ls_blender_free(&(*p)->blender);
    ls_aligned_free((*p)->patch);
    ls_aligned_free((*p)->smooth);
    ls_aligned_free((*p)->line);
    free((*p)->weights);
    free((*p)->points);
    free(*p);
    *p = NULL;
}

ls_paste_view ls_paste_last(const ls_paste *p)
{
    return p->view;
}

const float *ls_paste_weights(const ls_paste *p)
{
    return p->weights;
}

static void terms_at(const ls_paste *p, double x, double y, double t[TERMS])
{
    const double half = (double)p->resolution / 2, u = x / half - 1, v = y / half - 1;
    const double all[TERMS] = {1, u, v, u * u, u * v, v * v};
    memcpy(t, all, sizeof(all));
}

static double dot(const double *a, const double *b)
{
    double sum = 0;
    for (size_t i = 0; i < TERMS; i++)
        sum += a[i] * b[i];
    return sum;
}

/* Solves a f = b for three right-hand sides, a being symmetric and positive definite. */
static void solve(double a[TERMS][TERMS], double b[3][TERMS], double f[3][TERMS])
{
    for (size_t i = 0; i < TERMS; i++) /* a becomes its Cholesky factor */
        for (size_t j = 0; j <= i; j++) {
            double sum = a[i][j];
            for (size_t k = 0; k < j; k++)
                sum -= a[i][k] * a[j][k];
            a[i][j] = i == j ? sqrt(sum) : sum / a[j][j];
        }
    for (size_t c = 0; c < 3; c++) {
        for (size_t i = 0; i < TERMS; i++) {
            double sum = b[c][i];
            for (size_t k = 0; k < i; k++)
                sum -= a[i][k] * f[c][k];
            f[c][i] = sum / a[i][i];
        }
        for (size_t i = TERMS; i-- > 0;) {
            double sum = f[c][i];
            for (size_t k = i + 1; k < TERMS; k++)
                sum -= a[k][i] * f[c][k];
            f[c][i] = sum / a[i][i];
        }
    }
}

static void difference_at(const ls_paste *p, const float *image, const uint8_t *face,
                          const point *at, double d[3])
{
    const size_t i = 3 * (at->y * p->resolution + at->x);
    for (size_t c = 0; c < 3; c++)
        d[c] = face[i + c] * (double)LEVEL - 1 - fmin(fmax(image[i + c], -1), 1);
}

/* What is to be added to the image, as coefficients of the terms. */
static void fit_offset(ls_paste *p, const float *image, const uint8_t *face, double f[3][TERMS])
{
    double d[3], t[TERMS];
    memset(f, 0, 3 * sizeof(*f));
    for (size_t pass = 0; pass <= FITS; pass++) {
        double a[TERMS][TERMS] = {{0}}, b[3][TERMS] = {{0}}, sum = 0;
        for (size_t i = 0; i < p->count; i++) {
            point *at = &p->points[i];
            difference_at(p, image, face, at, d);
            terms_at(p, (double)at->x, (double)at->y, t);
            double error = 0;
            for (size_t c = 0; c < 3; c++)
                error += pow((d[c] - dot(f[c], t)) / (double)OUTLIER, 2);
            at->trust = at->weight / ((1 + error) * (1 + error));
            sum += at->weight;
            for (size_t j = 0; j < TERMS; j++) {
                for (size_t k = 0; k <= j; k++)
                    a[j][k] += at->trust * t[j] * t[k];
                for (size_t c = 0; c < 3; c++)
                    b[c][j] += at->trust * d[c] * t[j];
            }
        }
        for (size_t j = 0; j < TERMS; j++)
            a[j][j] += RIDGE * sum;
        if (pass < FITS && sum > 0) /* the last pass leaves the trust that belongs to the fit */
            solve(a, b, f);
    }
}

/* The rows of the image that are needed, with the offset, in 0..255. What the crop lost by cutting
 * off fractions is half a level on average. */
static void fill(ls_paste *p, const float *image, double f[3][TERMS])
{
    const size_t n = p->resolution;
    for (size_t r = 0; r < p->rows; r++) {
        const size_t y = p->top + r < PAD ? 0 : p->top + r - PAD < n ? p->top + r - PAD : n - 1;
        const double v = (double)y * 2 / (double)n - 1;
        float row[3][3]; /* a row of the offset: a polynomial of x */
        for (size_t c = 0; c < 3; c++) {
            row[c][0] = (float)(f[c][0] + v * (f[c][2] + v * f[c][5]));
            row[c][1] = (float)(f[c][1] + v * f[c][4]);
            row[c][2] = (float)f[c][3];
        }
        pixel *to = p->patch + r * stride_of(p);
        for (size_t i = 0; i < stride_of(p); i++) {
            const size_t x = i < PAD ? 0 : i - PAD < n ? i - PAD : n - 1;
            const float *from = image + 3 * (y * n + x);
            to[i] = (pixel){from[0], from[1], from[2], 0};
            for (size_t c = 0; c < 3; c++)
                to[i][c] = to[i][c] > -1 ? to[i][c] < 1 ? to[i][c] : 1 : -1;
            const float u = (float)x * 2 / (float)n - 1;
            for (size_t c = 0; c < 3; c++) {
                const float add = row[c][0] + u * (row[c][1] + u * row[c][2]);
                to[i][c] += add > -LIMIT ? add < LIMIT ? add : LIMIT : -LIMIT;
            }
            to[i] = (to[i] + 1) * 127.5f + 0.5f;
            to[i][3] = p->weights[y * n + x];
        }
    }
}

static size_t make_taps(double sigma, float taps[MAX_BLUR + 1])
{
    const size_t radius = (size_t)fmin(ceil(3 * sigma), MAX_BLUR);
    double sum = -1;
    for (size_t i = 0; i <= radius; i++)
        sum += 2 * exp(-(double)(i * i) / (2 * sigma * sigma));
    for (size_t i = 0; i <= radius; i++)
        taps[i] = (float)(exp(-(double)(i * i) / (2 * sigma * sigma)) / sum);
    return radius;
}

/* smooth = the patch under a Gaussian, along the axes where sigma is not 0. */
static void blur(ls_paste *p, double sigma_x, double sigma_y)
{
    float taps[MAX_BLUR + 1] = {1};
    const size_t stride = stride_of(p), last = p->rows - 1;
    size_t radius = sigma_y > 0 ? make_taps(sigma_y, taps) : 0;
    for (size_t y = 0; y <= last; y++) {
        pixel *to = p->smooth + y * stride;
        const pixel *at = p->patch + y * stride;
        for (size_t x = 0; x < stride; x++)
            to[x] = taps[0] * at[x];
        for (size_t i = 1; i <= radius; i++) {
            const pixel *above = p->patch + (y > i ? y - i : 0) * stride,
                        *below = p->patch + (y + i < last ? y + i : last) * stride;
            for (size_t x = 0; x < stride; x++)
                to[x] += taps[i] * (above[x] + below[x]);
        }
    }
    if (sigma_x <= 0)
        return;
    radius = make_taps(sigma_x, taps);
    for (size_t y = 0; y <= last; y++) {
        pixel *row = p->smooth + y * stride;
        memcpy(p->line, row, stride * sizeof(pixel));
        for (size_t x = 0; x < stride; x++) {
            row[x] = taps[0] * p->line[x];
            for (size_t i = 1; i <= radius; i++)
                row[x] += taps[i] * (p->line[x > i ? x - i : 0] +
                                     p->line[x + i < stride ? x + i : stride - 1]);
        }
    }
}

/* Frame pixels to pixels of the face image: u = u0 + ux x + uy y, v likewise. */
typedef struct map {
    double u0, ux, uy, v0, vx, vy;
} map;

static map map_of(const ls_paste *p, const ls_matrix *m)
{
    const double kx = (double)p->resolution / (double)p->w,
                 ky = (double)p->resolution / (double)p->h;
    return (map){(m->m[0][2] + 0.5) * kx - 0.5, m->m[0][0] * kx, m->m[0][1] * kx,
                 (m->m[1][2] + 0.5) * ky - 0.5, m->m[1][0] * ky, m->m[1][1] * ky};
}

/* Luma above black between the samples of a frame; negative outside it. */
static double luma_at(const ls_picture *f, const ls_colors *c, double x, double y)
{
    if (!(x >= 0 && y >= 0 && x < (double)f->w - 1 && y < (double)f->h - 1))
        return -1;
    const size_t ix = (size_t)x, iy = (size_t)y;
    const double ax = x - (double)ix, ay = y - (double)iy;
    double v[4];
    for (size_t i = 0; i < 4; i++) {
        const uint8_t *row = f->data[0] + (ptrdiff_t)(iy + i / 2) * f->stride[0];
        uint16_t wide = row[ix + i % 2];
        if (c->wide)
            memcpy(&wide, row + 2 * (ix + i % 2), 2);
        v[i] = wide;
    }
    v[0] += ax * (v[1] - v[0]);
    v[2] += ax * (v[3] - v[2]);
    return fmax(v[0] + ay * (v[2] - v[0]) - (double)c->black, 0);
}

static double luma_of(const ls_colors *c, pixel v)
{
    return (double)(c->y[0] * v[0] + c->y[1] * v[1] + c->y[2] * v[2]);
}

/* Energies of gradients at the points: of the frame, the patch, its difference from the smooth
 * patch, and of the product of these two. */
typedef struct energies {
    double own, patch, difference, product;
} energies;

static energies measure(const ls_paste *p, const map *m, const ls_picture *frame)
{
    const ls_colors *c = &p->blender.colors;
    const double det = m->ux * m->vy - m->uy * m->vx, sum_min = 1e-9;
    const size_t stride = stride_of(p);
    energies e = {0};
    double sum = 0;
    for (size_t i = 0; i < p->count; i++) {
        const point *at = &p->points[i];
        const double u = (double)at->x - m->u0, v = (double)at->y - m->v0;
        const double x = (m->vy * u - m->uy * v) / det, y = (m->ux * v - m->vx * u) / det;
        const double step[2][2] = {{m->vy / det, -m->vx / det}, {-m->uy / det, m->ux / det}};
        const size_t k = (at->y + PAD - p->top) * stride + at->x + PAD, next[2] = {1, stride};
        for (size_t axis = 0; axis < 2; axis++) {
            const double after = luma_at(frame, c, x + step[axis][0], y + step[axis][1]),
                         before = luma_at(frame, c, x - step[axis][0], y - step[axis][1]);
            if (after < 0 || before < 0)
                continue;
            const pixel g = p->patch[k + next[axis]] - p->patch[k - next[axis]],
                        s = p->smooth[k + next[axis]] - p->smooth[k - next[axis]];
            const double a = luma_of(c, g), b = luma_of(c, g - s);
            e.own += at->trust * (after - before) * (after - before);
            e.patch += at->trust * a * a;
            e.product += at->trust * a * b;
            e.difference += at->trust * b * b;
            sum += at->trust;
        }
    }
    sum = fmax(sum, sum_min);
    return (energies){e.own / sum, e.patch / sum, e.difference / sum, e.product / sum};
}

/* The most of the difference that leaves the patch no sharper than the frame. */
static double most_sharpening(const energies *e)
{
    const double room = e->own - e->patch;
    if (room <= 0 || e->difference <= 0)
        return 0;
    return (sqrt(e->product * e->product + e->difference * room) - e->product) / e->difference;
}

static inline pixel smaller(pixel a, pixel b)
{
    const pixel_mask below = a < b;
    return (pixel)(((pixel_mask)a & below) | ((pixel_mask)b & ~below));
}

static inline pixel larger(pixel a, pixel b)
{
    return -smaller(-a, -b);
}

/* Adds so much of the patch's difference from the smooth one, though hardly beyond the values
 * around a pixel: edges get steeper without a rim of light. */
static void add_difference(ls_paste *p, float amount)
{
    const size_t stride = stride_of(p);
    const pixel k = {amount, amount, amount, 0};
    for (size_t y = 1; y + 1 < p->rows; y++)
        for (size_t x = 1; x + 1 < stride; x++) {
            const pixel *at = p->patch + y * stride + x;
            pixel *to = p->smooth + y * stride + x, least = at[0], most = at[0];
            for (size_t i = 0; i < 9; i++) {
                const pixel near = at[(ptrdiff_t)(i / 3 * stride + i % 3) - (ptrdiff_t)stride - 1];
                least = smaller(least, near);
                most = larger(most, near);
            }
            const pixel slack = RIM * (most - least), v = at[0] + k * (at[0] - to[0]);
            *to = larger(least - slack, smaller(most + slack, v));
            (*to)[3] = at[0][3];
        }
    pixel *done = p->smooth;
    p->smooth = p->patch;
    p->patch = done;
}

static void take_smooth(ls_paste *p)
{
    for (size_t i = 0; i < p->rows * stride_of(p); i++) {
        const float weight = p->patch[i][3];
        p->patch[i] = p->smooth[i];
        p->patch[i][3] = weight;
    }
}

/* As smooth as the frame's pixels need, or as sharp as the frame is. `scale`: pixels of the crop,
 * on whose grid the networks' input was, to one of the frame. */
static void adapt(ls_paste *p, double scale, const map *m, const ls_picture *frame)
{
    const double auto_most = fmin(fmax(2 * (1 - scale), 0), 1);
    const double most = p->sharpen < 0 ? auto_most : scale < 1 ? p->sharpen : 0;
    double amount = 0;
    if (scale > 1) {
        /* the variance that a pixel of the frame has more than one of the crop */
        const double sigma = sqrt(0.2 * (scale * scale - 1)), n = (double)p->resolution;
        blur(p, sigma * n / (double)p->w, sigma * n / (double)p->h);
        amount = -1;
    } else if (most > 0) {
        blur(p, 1, 1);
        const energies e = measure(p, m, frame);
        amount = fmin(most_sharpening(&e), most);
        p->view.own = e.own;
        p->view.patch = e.patch;
    }
    p->view.sharpened = amount;
    if (amount < 0) {
        take_smooth(p);
    } else if (amount > 0) {
        add_difference(p, (float)amount);
        p->view.patch = measure(p, m, frame).patch;
    }
}

/* Narrows [*from, *to) to the x for which lo <= at + step x <= hi. */
static void clip(double at, double step, double lo, double hi, double *from, double *to)
{
    if (fabs(step) < 1e-12) {
        if (at < lo || at > hi)
            *to = *from;
        return;
    }
    const double a = (lo - at) / step, b = (hi - at) / step;
    *from = fmax(*from, ceil(fmin(a, b)));
    *to = fmin(*to, floor(fmax(a, b)) + 1);
}

static inline void cubic(float t, float w[4])
{
    w[0] = ((-0.5f * t + 1) * t - 0.5f) * t;
    w[1] = (1.5f * t - 2.5f) * t * t + 1;
    w[2] = ((-1.5f * t + 2) * t + 0.5f) * t;
    w[3] = (0.5f * t - 0.5f) * t * t;
}

/* A row of the rectangle into the blender's, columns [*from, *to). */
static void sample_row(ls_paste *p, const map *m, size_t row, float opacity, size_t *from,
                       size_t *to)
{
    const ls_rect *rect = &p->view.rect;
    const size_t stride = stride_of(p);
    const double y = (double)(rect->y + row), x0 = (double)rect->x,
                 u0 = m->u0 + m->ux * x0 + m->uy * y, v0 = m->v0 + m->vx * x0 + m->vy * y;
    double first = 0, end = (double)rect->w;
    clip(u0, m->ux, (double)p->left - 2, (double)p->right + 1, &first, &end);
    clip(v0, m->vx, (double)p->top - 2, (double)p->bottom + 1, &first, &end);
    *from = (size_t)first;
    *to = end > first ? (size_t)end : *from;
    for (size_t x = *from; x < *to; x++) {
        const float u = (float)(u0 + m->ux * (double)x) + PAD,
                    v = (float)(v0 + m->vx * (double)x) + PAD - (float)p->top;
        const size_t iu = (size_t)u, iv = (size_t)v;
        const pixel *in = p->patch + (iv - 1) * stride + iu - 1;
        float wx[4], wy[4];
        pixel sum = {0};
        cubic(u - (float)iu, wx);
        cubic(v - (float)iv, wy);
        for (size_t j = 0; j < 4; j++, in += stride)
            sum += wy[j] * (wx[0] * in[0] + wx[1] * in[1] + wx[2] * in[2] + wx[3] * in[3]);
        for (size_t c = 0; c < 4; c++) {
            const float most = c < 3 ? 255 : 1;
            sum[c] = sum[c] > 0 ? sum[c] < most ? sum[c] : most : 0;
        }
        sum[3] *= opacity;
        memcpy(p->blender.row + 4 * x, &sum, sizeof(sum));
    }
}

int ls_paste_yuv(ls_paste *p, const float *image, const uint8_t *face, const ls_matrix *m,
                 double opacity, const ls_picture *frame, ls_error *err)
{
    double f[3][TERMS], middle[TERMS];
    size_t from, to;
    p->view = (ls_paste_view){.sharpened = 0};
    int ret = ls_blender_check(frame, err);
    if (!ret)
        ret = ls_blender_check_face(image, p->resolution, m, opacity, err);
    if (ret || !p->rows || opacity <= 0)
        return ret;
    const double kx = (double)p->w / (double)p->resolution,
                 ky = (double)p->h / (double)p->resolution;
    const ls_rect rect = ls_map_bounds(m, ((double)p->left - 2) * kx, ((double)p->top - 2) * ky,
                                       ((double)p->right + 2) * kx, ((double)p->bottom + 2) * ky,
                                       frame->w, frame->h);
    if (!rect.w || (ret = ls_blender_reserve(&p->blender, &rect, err)))
        return ret;
    p->view.rect = rect;
    ls_blender_begin(&p->blender, frame, &rect);
    const map at = map_of(p, m);
    fit_offset(p, image, face, f);
    terms_at(p, (double)(p->left + p->right) / 2, (double)(p->top + p->bottom) / 2, middle);
    for (size_t c = 0; c < 3; c++)
        p->view.offset[c] = fmin(fmax(dot(f[c], middle), -(double)LIMIT), (double)LIMIT) * 127.5;
    fill(p, image, f);
    adapt(p, hypot(m->m[0][0], m->m[0][1]), &at, frame);
    for (size_t y = 0; y < rect.h; y++) {
        sample_row(p, &at, y, (float)opacity, &from, &to);
        ls_blender_put(&p->blender, y, from, to, p->blender.row + 3, 4);
    }
    return 0;
}
