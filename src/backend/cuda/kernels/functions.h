/* Functions that kernels share, of |x| < 1e19; relative errors are below 1e-6 where results are
 * above 1e-14. NaN remains NaN. */
#ifndef LS_CUDA_FUNCTIONS_H
#define LS_CUDA_FUNCTIONS_H

#include "dialect.h"
#include "backend/gpu/params/act.h"

/* e to the power of x. Rounding x * log2(e) would cost as many bits as x has before the point: what
 * it drops is multiplied in afterwards. */
DEVICE float exponential(float x)
{
    const float log2_e = 1.442695022f, log2_e_rest = 1.925963e-8f, ln_2 = 0.6931471806f;
    const float t = x * log2_e;
    const float dropped = fused_multiply_add(x, log2_e, -t) + x * log2_e_rest;
    return exp2_fast(t) * (1 + dropped * ln_2);
}

DEVICE float sigmoid(float x)
{
    return reciprocal(1 + exponential(-x));
}

DEVICE float silu(float x)
{
    return x * sigmoid(x);
}

/* x times the normal distribution's share below x. The share beyond a = |x| is
 * exp(-a^2 / 2) * t * P(t), t = 1 / (1 + 0.3 a): P interpolates at the Chebyshev nodes of the t of
 * a = 0 .. 8, with a relative error of 6e-8. */
DEVICE float gelu(float x)
{
    const float a = x < 0 ? -x : x, square = a * a;
    const float dropped = fused_multiply_add(a, a, -square);
    const float t = reciprocal(fused_multiply_add(a, 0.3f, 1));
    float p = 0.0377277934f;
    p = fused_multiply_add(p, t, -0.165910786f);
    p = fused_multiply_add(p, t, 0.221695996f);
    p = fused_multiply_add(p, t, -0.0682027762f);
    p = fused_multiply_add(p, t, 0.136511227f);
    p = fused_multiply_add(p, t, 0.0974011083f);
    p = fused_multiply_add(p, t, 0.121177513f);
    p = fused_multiply_add(p, t, 0.119599949f);
    const float beyond = t * p * exponential(-0.5f * square) * (1 - 0.5f * dropped);
    return maximum(x, 0) - a * beyond;
}

DEVICE float relu(float x)
{
    return x < 0 ? 0 : x;
}

DEVICE float apply_act(uint32_t act, float x)
{
    switch (act) {
    case ACT_SILU:
        return silu(x);
    case ACT_GELU:
        return gelu(x);
    case ACT_RELU:
        return relu(x);
    case ACT_SIGMOID:
        return sigmoid(x);
    default:
        return x;
    }
}

#endif
