/* Ops on rows of channels; compiled once per instruction set. */
#include "backend/onednn/isa.h"
#include "backend/onednn/vec.h"

#include <math.h>

/* Instantiates f for each dtype, so that loads and stores are chosen at compile time. */
#define BOTH(f, ...) (bf16 ? f(__VA_ARGS__, true) : f(__VA_ARGS__, false))

INLINE void act_of(ls_act a, const void *x, void *y, size_t n, bool bf16)
{
    for (size_t i = 0; i < n; i += LANES)
        v_put(y, i, v_act(v_get(x, i, n - i, bf16), a), n - i, bf16);
}

static void act(ls_act a, const void *x, void *y, size_t n, bool bf16)
{
    BOTH(act_of, a, x, y, n);
}

INLINE void add_of(const void *a, const void *b, void *y, size_t n, bool bf16)
{
    for (size_t i = 0; i < n; i += LANES)
        v_put(y, i, v_get(a, i, n - i, bf16) + v_get(b, i, n - i, bf16), n - i, bf16);
}

static void add(const void *a, const void *b, void *y, size_t n, bool bf16)
{
    BOTH(add_of, a, b, y, n);
}

static void to_bf16(const float *x, void *y, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        v_put(y, i, v_get(x, i, n - i, false), n - i, true);
}

static void to_f32(const void *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i += LANES)
        v_put(y, i, v_get(x, i, n - i, true), n - i, false);
}

INLINE void geglu_of(const void *x, void *y, size_t rows, size_t c, bool bf16)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < c; i += LANES) {
            vec a = v_get(x, 2 * r * c + i, c - i, bf16);
            vec g = v_get(x, (2 * r + 1) * c + i, c - i, bf16);
            v_put(y, r * c + i, a * v_gelu(g), c - i, bf16);
        }
    }
}

static void geglu(const void *x, void *y, size_t rows, size_t c, bool bf16)
{
    BOTH(geglu_of, x, y, rows, c);
}

INLINE vec keep(vec v, size_t n)
{
    vec kept = {0};
    if (n >= LANES)
        return v;
    memcpy(&kept, &v, n * 4);
    return kept;
}

INLINE void norm_row(const void *x, void *y, size_t at, size_t c, const float *w, const float *b,
                     const float *pe, float eps, bool bf16)
{
    vec sum = {0}, s1 = {0}, s2 = {0};
    for (size_t i = 0; i < c; i += LANES)
        sum += v_get(x, at + i, c - i, bf16);
    float mean = (float)(v_sum(sum) / (double)c);
    for (size_t i = 0; i < c; i += LANES) {
        vec d = keep(v_get(x, at + i, c - i, bf16) - mean, c - i);
        s1 += d;
        s2 += d * d;
    }
    /* rounding error of the mean */
    double rest = v_sum(s1) / (double)c, var = v_sum(s2) / (double)c - rest * rest;
    float inv = (float)(1 / sqrt((var > 0 ? var : 0) + (double)eps)), shift = (float)rest;
    for (size_t i = 0; i < c; i += LANES) {
        vec n = (v_get(x, at + i, c - i, bf16) - mean - shift) * inv;
        n = n * v_get(w, i, c - i, false) + v_get(b, i, c - i, false);
        if (pe)
            n += v_get(pe, i, c - i, false);
        v_put(y, at + i, n, c - i, bf16);
    }
}

INLINE void layer_norm_of(const void *x, void *y, size_t rows, size_t c, const float *w,
                          const float *b, const float *pe, float eps, bool bf16)
{
    for (size_t r = 0; r < rows; r++)
        norm_row(x, y, r * c, c, w, b, pe, eps, bf16);
}

static void layer_norm(const void *x, void *y, size_t rows, size_t c, const float *w,
                       const float *b, const float *pe, float eps, bool bf16)
{
    BOTH(layer_norm_of, x, y, rows, c, w, b, pe, eps);
}

/* Per channel: s0 = sum of x, or, given means, s1 = sum of x - mean and s2 = of its square. */
INLINE void column_sums(const void *x, size_t rows, size_t c, float *s0, const float *mean,
                        float *s1, float *s2, bool bf16)
{
    for (size_t i = 0; i < c; i += LANES) {
        size_t n = c - i;
        vec m = mean ? v_get(mean, i, n, false) : (vec){0};
        vec sum[4] = {{0}}, square[4] = {{0}};
        size_t r = 0;
        for (; r + 4 <= rows; r += 4) {
            for (size_t j = 0; j < 4; j++) {
                vec d = v_get(x, (r + j) * c + i, n, bf16) - m;
                sum[j] += d;
                square[j] += d * d;
            }
        }
        for (; r < rows; r++) {
            vec d = v_get(x, r * c + i, n, bf16) - m;
            sum[0] += d;
            square[0] += d * d;
        }
        v_put(mean ? s1 : s0, i, (sum[0] + sum[1]) + (sum[2] + sum[3]), n, false);
        if (mean)
            v_put(s2, i, (square[0] + square[1]) + (square[2] + square[3]), n, false);
    }
}

static void moments(ls_moments *m, const void *x, size_t rows, size_t c, size_t groups, float *tmp,
                    bool bf16)
{
    float *mean = tmp, *s1 = tmp + c, *s2 = tmp + 2 * c;
    size_t per = c / groups;
    double count = (double)(rows * per);
    BOTH(column_sums, x, rows, c, mean, NULL, NULL, NULL);
    for (size_t g = 0; g < groups; g++) {
        double sum = 0;
        for (size_t i = g * per; i < (g + 1) * per; i++)
            sum += mean[i];
        for (size_t i = g * per; i < (g + 1) * per; i++)
            mean[i] = (float)(sum / count);
    }
    BOTH(column_sums, x, rows, c, NULL, mean, s1, s2);
    for (size_t g = 0; g < groups; g++) {
        double a = 0, b = 0;
        for (size_t i = g * per; i < (g + 1) * per; i++) {
            a += s1[i];
            b += s2[i];
        }
        m[g] = (ls_moments){count, mean[g * per] + a / count, b - a * a / count};
    }
}

INLINE void affine_of(const ls_affine *a, const void *x, void *y, size_t rows, size_t c, bool bf16)
{
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < c; i += LANES) {
            vec v = v_get(x, r * c + i, c - i, bf16) - v_get(a->mean, i, c - i, false);
            v = v * v_get(a->scale, i, c - i, false) + v_get(a->shift, i, c - i, false);
            v_put(y, r * c + i, v_act(v, a->act), c - i, bf16);
        }
    }
}

static void affine(const ls_affine *a, const void *x, void *y, size_t rows, size_t c, bool bf16)
{
    BOTH(affine_of, a, x, y, rows, c);
}

/* As integers, the magnitudes of floats are in the same order, and what is not a number is above.
 */
INLINE float largest_of(const void *x, size_t n, bool bf16)
{
    vecu m = {0};
    uint32_t most = 0;
    for (size_t i = 0; i < n; i += LANES) {
        vecu a = (vecu)v_get(x, i, n - i, bf16) & 0x7fffffff;
        vecu more = (vecu)(a > m);
        m = (a & more) | (m & ~more);
    }
    for (size_t i = 0; i < LANES; i++)
        most = m[i] > most ? m[i] : most;
    float f;
    memcpy(&f, &most, 4);
    return f;
}

static float peak(const void *x, size_t n)
{
    return largest_of(x, n, true);
}

static float largest(const float *x, size_t n)
{
    return largest_of(x, n, false);
}

static void to_int8(const void *x, int8_t *y, size_t n, float inverse)
{
    typedef uint8_t bytes __attribute__((vector_size(LANES)));
    for (size_t i = 0; i < n; i += LANES) {
        vec shifted = v_get(x, i, n - i, true) * inverse + 0x1.8p23f;
        bytes b = __builtin_convertvector((vecu)shifted, bytes);
        memcpy(y + i, &b, n - i < LANES ? n - i : LANES);
    }
}

INLINE void scale_of(const void *x, const float *w, float s, const float *b, const void *r, void *y,
                     size_t c, bool bf16)
{
    for (size_t i = 0; i < c; i += LANES) {
        vec v = v_get(x, i, c - i, bf16) * (v_get(w, i, c - i, false) * s);
        if (b)
            v += v_get(b, i, c - i, false);
        if (r)
            v += v_get(r, i, c - i, true);
        v_put(y, i, v, c - i, true);
    }
}

static void scale(const void *x, const float *w, float s, const float *b, const void *r, void *y,
                  size_t c, bool bf16)
{
    BOTH(scale_of, x, w, s, b, r, y, c);
}

const ls_kernels ISA(ls_kernels) = {
    act,
    add,
    to_bf16,
    to_f32,
    geglu,
    layer_norm,
    moments,
    affine,
    peak,
    largest,
    to_int8,
    scale,
    ISA(ls_attend),
    ISA(ls_attend_scratch),
    ISA(ls_attend_rows),
};
