/* Vectors as wide as the instruction set that a file is compiled for. Files that include this are
 * compiled once per set (see meson.build) with LS_ISA as the suffix of their external names, and
 * with a * b + c contracted to one instruction where there is one. */
#ifndef LS_BACKEND_ONEDNN_VEC_H
#define LS_BACKEND_ONEDNN_VEC_H

#include "tensor/dtype.h"
#include "tensor/graph.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX2__)
#define LANES 8
#else
#define LANES 4
#endif

#define ISA_NAME_(name, isa) name##_##isa
#define ISA_NAME(name, isa) ISA_NAME_(name, isa)
#define ISA(name) ISA_NAME(name, LS_ISA)
#define INLINE static inline __attribute__((always_inline))

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef uint32_t vecu __attribute__((vector_size(4 * LANES)));
typedef int32_t veci __attribute__((vector_size(4 * LANES)));
typedef uint16_t vech __attribute__((vector_size(2 * LANES)));

INLINE vec v_set(float x)
{
    return x - (vec){0};
}

/* The larger; b where one is not a number. */
INLINE vec v_max(vec a, vec b)
{
#if defined(__AVX512F__)
    return (vec)_mm512_max_ps((__m512)a, (__m512)b);
#elif defined(__AVX2__)
    return (vec)_mm256_max_ps((__m256)a, (__m256)b);
#else
    vecu m = (vecu)(a > b);
    return (vec)(((vecu)a & m) | ((vecu)b & ~m));
#endif
}

INLINE vec v_select(veci mask, vec a, vec b)
{
    return (vec)(((vecu)a & (vecu)mask) | ((vecu)b & ~(vecu)mask));
}

INLINE vec v_load(const float *p)
{
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}

INLINE void v_store(float *p, vec v)
{
    memcpy(p, &v, sizeof v);
}

INLINE vec v_from_bf16(vech h)
{
    return (vec)(__builtin_convertvector(h, vecu) << 16);
}

INLINE vech v_to_bf16(vec v)
{
#if defined(__AVX512BF16__)
    return (vech)_mm512_cvtneps_pbh((__m512)v);
#else
    vecu u = (vecu)v, quiet = (vecu)(v != v) & 0x400000;
    return __builtin_convertvector(((u + (0x7fff + (u >> 16 & 1))) | quiet) >> 16, vech);
#endif
}

/* Element i of an array of float32 or bfloat16, and the n - 1 after it; lanes from n on are 0. */
INLINE vec v_get(const void *p, size_t i, size_t n, bool bf16)
{
    const float *f = (const float *)p + i;
    const uint16_t *b = (const uint16_t *)p + i;
    vec v = {0};
    vech h = {0};
    if (n >= LANES) {
        if (!bf16)
            return v_load(f);
        memcpy(&h, b, sizeof h);
        return v_from_bf16(h);
    }
#if defined(__AVX512F__)
    if (!bf16)
        return (vec)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), f);
    h = (vech)_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), b);
#else
    if (!bf16) {
        memcpy(&v, f, n * 4);
        return v;
    }
    memcpy(&h, b, n * 2);
#endif
    (void)v;
    return v_from_bf16(h);
}

INLINE void v_put(void *p, size_t i, vec v, size_t n, bool bf16)
{
    float *f = (float *)p + i;
    uint16_t *b = (uint16_t *)p + i;
    vech h = bf16 ? v_to_bf16(v) : (vech){0};
    if (n >= LANES && bf16)
        memcpy(b, &h, sizeof h);
    else if (n >= LANES)
        v_store(f, v);
#if defined(__AVX512F__)
    else if (bf16)
        _mm256_mask_storeu_epi16(b, (__mmask16)((1u << n) - 1), (__m256i)h);
    else
        _mm512_mask_storeu_ps(f, (__mmask16)((1u << n) - 1), (__m512)v);
#else
    else if (bf16)
        memcpy(b, &h, n * 2);
    else
        memcpy(f, &v, n * 4);
#endif
}

INLINE double v_sum(vec v)
{
    double s = 0;
    for (size_t i = 0; i < LANES; i++)
        s += v[i];
    return s;
}

/* 2^x, x at most 127; relative error 1.5e-7, or 8e-5 when `coarse`; 2^-126 for smaller results.
 * Splits x into an integer and a fraction in [-1/2, 1/2], for which the polynomials are minimax. */
INLINE vec v_exp2(vec x, bool coarse)
{
    x = v_max(v_set(-126), x);
    vec shifted = x + 0x1.8p23f, f = x - (shifted - 0x1.8p23f), p;
    if (coarse)
        p = ((0.0551716648f * f + 0.2426111251f) * f + 0.6932609677f) * f + 0.9999280572f;
    else
        p = ((((0.0013276471f * f + 0.0096755410f) * f + 0.0555071309f) * f + 0.2402212024f) * f +
             0.6931469440f) *
                f +
            1.0000001192f;
    return (vec)((vecu)p + ((vecu)shifted << 23));
}

/* 1 + e^-x */
INLINE vec v_one_plus_exp(vec x)
{
    const float log2e = 1.44269504f;
    vec t = x * -log2e;
    return 1 + v_exp2((vec)-v_max(v_set(-127), -t), false);
}

/* x Phi(x). For z = |x|, Phi(-z) = h(1 / (1 + 0.3 z)) exp(-z^2 / 2), h a minimax polynomial with a
 * relative error of 6e-8 up to z = 14, where the product has long left float32's normal range. */
INLINE vec v_gelu(vec x)
{
    static const float h[] = {7.168904630816542e-06f, 0.1194876879453659f,   0.12192034721374512f,
                              0.09468350559473038f,   0.14253558218479156f,  -0.07650656253099442f,
                              0.22866015136241913f,   -0.16916614770889282f, 0.03837829828262329f};
    vec z = (vec)((vecu)x & 0x7fffffff), t = 1 / (1 + 0.3f * z), p = v_set(h[8]);
    for (int i = 7; i >= 0; i--)
        p = p * t + h[i];
    vec tail = p * v_exp2(z * z * -0.72134752f, false);
    return x * v_select((veci)(x < 0), tail, 1 - tail);
}

INLINE vec v_act(vec x, ls_act act)
{
    switch (act) {
    case LS_ACT_SILU:
        return x / v_one_plus_exp(x);
    case LS_ACT_GELU:
        return v_gelu(x);
    case LS_ACT_RELU:
        return v_max(x, v_set(0));
    case LS_ACT_SIGMOID:
        return 1 / v_one_plus_exp(x);
    default:
        return x;
    }
}

#endif
