#include "face/smooth.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#define COLUMNS 16 /* filtered together */

typedef float lanes[COLUMNS];

size_t ls_smooth_scratch(const ls_strip *s, size_t radius)
{
    return 2 * (s->h + 4 * radius + 4) * sizeof(lanes);
}

static void load(float *to, const float *src, size_t n)
{
    memcpy(to, src, n * sizeof(float));
    memset(to + n, 0, (COLUMNS - n) * sizeof(float));
}

static void store(float *dst, const float *v, size_t n, size_t stride)
{
    for (size_t c = 0; c < n; c++)
        dst[c * stride] = v[c];
}

/* van Herk and Gil-Werman: in blocks as long as the window, minima from each row to the end of its
 * block, and from the start of its block to each row; any window combines one of each. */
static void erode_columns(float *dst, const float *src, size_t n, const ls_strip *s, size_t before,
                          size_t length, lanes *line)
{
    size_t rows = s->h + length - 1;
    lanes *suffix = line + rows, prefix = {0};
    for (size_t i = 0; i < rows; i++) {
        ptrdiff_t y = (ptrdiff_t)i - (ptrdiff_t)before;
        if (y >= 0 && y < (ptrdiff_t)s->h)
            load(line[i], src + (size_t)y * s->w, n);
        else
            for (size_t c = 0; c < COLUMNS; c++)
                line[i][c] = y < -(ptrdiff_t)s->above || y >= (ptrdiff_t)(s->h + s->below);
    }
    for (size_t i = rows; i-- > 0;)
        for (size_t c = 0; c < COLUMNS; c++) {
            float v = line[i][c];
            float next = (i + 1) % length && i + 1 < rows ? suffix[i + 1][c] : v;
            suffix[i][c] = v < next ? v : next;
        }
    for (size_t i = 0; i < rows; i++) {
        lanes out;
        for (size_t c = 0; c < COLUMNS; c++) {
            float v = line[i][c];
            prefix[c] = i % length && prefix[c] < v ? prefix[c] : v;
        }
        if (i + 1 < length)
            continue;
        size_t y = i + 1 - length;
        for (size_t c = 0; c < COLUMNS; c++)
            out[c] = prefix[c] < suffix[y][c] ? prefix[c] : suffix[y][c];
        store(dst + y, out, n, s->h);
    }
}

void ls_erode(float *dst, const float *src, const ls_strip *s, size_t before, size_t length,
              void *scratch)
{
    for (size_t x = 0; x < s->w; x += COLUMNS)
        erode_columns(dst + x * s->h, src + x, s->w - x < COLUMNS ? s->w - x : COLUMNS, s, before,
                      length, scratch);
}

/* Solves m a = v for a symmetric positive definite m; the result replaces v. */
static void solve(double m[LS_BLUR_TERMS][LS_BLUR_TERMS], double v[LS_BLUR_TERMS])
{
    for (size_t i = 0; i < LS_BLUR_TERMS; i++)
        for (size_t j = i + 1; j < LS_BLUR_TERMS; j++) {
            double f = m[j][i] / m[i][i];
            for (size_t k = i; k < LS_BLUR_TERMS; k++)
                m[j][k] -= f * m[i][k];
            v[j] -= f * v[i];
        }
    for (size_t i = LS_BLUR_TERMS; i-- > 0;) {
        for (size_t j = i + 1; j < LS_BLUR_TERMS; j++)
            v[i] -= m[i][j] * v[j];
        v[i] /= m[i][i];
    }
}

void ls_blur_make(ls_blur_kernel *kernel, size_t radius, double sigma)
{
    static const double tau = 6.28318530717958647693, stretch = 1.2;
    double m[LS_BLUR_TERMS][LS_BLUR_TERMS] = {{0}}, a[LS_BLUR_TERMS] = {0}, sum = 0, fitted = 0;
    double r = (double)radius, unit = tau / (stretch * (2 * r + 1));
    *kernel = (ls_blur_kernel){.radius = radius};
    for (size_t k = 0; k <= radius; k++) {
        double x = (double)k, twice = k ? 2 : 1, w = exp(-x * x / (2 * sigma * sigma));
        sum += twice * w;
        if (radius <= LS_BLUR_DIRECT)
            kernel->direct[k] = w;
        for (size_t p = 0; p < LS_BLUR_TERMS; p++) {
            double cp = cos(unit * (double)p * x);
            a[p] += twice * w * cp;
            for (size_t q = 0; q < LS_BLUR_TERMS; q++)
                m[p][q] += twice * cp * cos(unit * (double)q * x);
        }
    }
    for (size_t k = 0; k <= LS_BLUR_DIRECT; k++)
        kernel->direct[k] /= sum;
    if (radius <= LS_BLUR_DIRECT)
        return;
    double total[LS_BLUR_TERMS];
    memcpy(total, m[0], sizeof(total)); /* of each cosine over the kernel */
    solve(m, a);
    for (size_t p = 0; p < LS_BLUR_TERMS; p++)
        fitted += a[p] * total[p];
    for (size_t p = 0; p < LS_BLUR_TERMS; p++) {
        double f = unit * (double)p;
        kernel->feedback[p] = 2 * cos(f);
        kernel->flat[p] = a[p] / fitted * total[p];
        kernel->outer[p] = a[p] / fitted * cos(f * r);
        kernel->inner[p] = a[p] / fitted * cos(f * (r + 1));
    }
}

/* line: rows -radius .. h - 1 + radius. */
static void blur_direct(float *dst, size_t n, const ls_strip *s, const ls_blur_kernel *k,
                        lanes *line)
{
    for (size_t y = 0; y < s->h; y++) {
        const lanes *at = line + y + k->radius;
        lanes out;
        for (size_t c = 0; c < COLUMNS; c++) {
            double sum = k->direct[0] * at[0][c];
            for (size_t i = 1; i <= k->radius; i++)
                sum += k->direct[i] * ((double)at[i][c] + at[-(ptrdiff_t)i][c]);
            out[c] = (float)sum;
        }
        store(dst + y, out, n, s->h);
    }
}

/* line: as above, with 2 radius + 2 rows of zeros before. A windowed cosine sum F obeys F[n+1] = 2
 * cos(f) F[n] - F[n-1] + cos(f r) (x[n+r+1] + x[n-r-1])
 *                                 - cos(f (r+1)) (x[n+r] + x[n-r]).
 * Where all rows of the window are equal, as is common, the result is that row, F its multiple. */
static void blur_recursive(float *dst, size_t n, const ls_strip *s, const ls_blur_kernel *k,
                           lanes *line)
{
    double now[LS_BLUR_TERMS][COLUMNS] = {{0}}, last[LS_BLUR_TERMS][COLUMNS] = {{0}};
    size_t r = k->radius, steps = s->h + 2 * r, repeats = 2 * r + 1;
    for (size_t i = 0; i < steps; i++) { /* to F[i - 2r] */
        lanes *at = line + i;            /* x[n - r - 1] */
        repeats = memcmp(at[2 * r + 2], at[2 * r + 1], sizeof(lanes)) ? 0 : repeats + 1;
        if (repeats >= 2 * r + 2) {
            for (size_t p = 0; p < LS_BLUR_TERMS && repeats == 2 * r + 2; p++)
                for (size_t c = 0; c < COLUMNS; c++)
                    now[p][c] = last[p][c] = k->flat[p] * at[0][c];
            if (i >= 2 * r)
                store(dst + i - 2 * r, at[0], n, s->h);
            continue;
        }
        double outer[COLUMNS], inner[COLUMNS], sum[COLUMNS] = {0};
        for (size_t c = 0; c < COLUMNS; c++) {
            outer[c] = (double)at[2 * r + 2][c] + at[0][c];
            inner[c] = (double)at[2 * r + 1][c] + at[1][c];
        }
        for (size_t p = 0; p < LS_BLUR_TERMS; p++) {
            double kf = k->feedback[p], ko = k->outer[p], ki = k->inner[p];
            for (size_t c = 0; c < COLUMNS; c++) {
                double f = kf * now[p][c] - last[p][c] + (ko * outer[c] - ki * inner[c]);
                last[p][c] = now[p][c];
                now[p][c] = f;
                sum[c] += f;
            }
        }
        if (i < 2 * r)
            continue;
        lanes out;
        for (size_t c = 0; c < COLUMNS; c++)
            out[c] = (float)sum[c];
        store(dst + i - 2 * r, out, n, s->h);
    }
}

/* Row `y` of a frame of n rows, mirrored into it. */
static ptrdiff_t mirror(ptrdiff_t y, ptrdiff_t n)
{
    if (n == 1)
        return 0;
    y = (y < 0 ? -y : y) % (2 * (n - 1));
    return y < n ? y : 2 * (n - 1) - y;
}

void ls_blur(float *dst, const float *src, const ls_strip *s, const ls_blur_kernel *k,
             void *scratch)
{
    ptrdiff_t radius = (ptrdiff_t)k->radius, above = (ptrdiff_t)s->above, h = (ptrdiff_t)s->h;
    ptrdiff_t frame = above + h + (ptrdiff_t)s->below;
    lanes *zeros = scratch, *line = zeros + 2 * radius + 2;
    memset(zeros, 0, (size_t)(2 * radius + 2) * sizeof(lanes));
    for (size_t x = 0; x < s->w; x += COLUMNS) {
        size_t n = s->w - x < COLUMNS ? s->w - x : COLUMNS;
        for (ptrdiff_t y = -radius; y < h + radius; y++) {
            ptrdiff_t from = mirror(y + above, frame) - above;
            if (from >= 0 && from < h)
                load(line[y + radius], src + (size_t)from * s->w + x, n);
            else
                memset(line[y + radius], 0, sizeof(lanes));
        }
        if (k->radius <= LS_BLUR_DIRECT)
            blur_direct(dst + x * s->h, n, s, k, line);
        else
            blur_recursive(dst + x * s->h, n, s, k, zeros);
    }
}
