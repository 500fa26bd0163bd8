#include "diffusion/noise.h"

#include <math.h>

#define N 624
#define M 397

void ls_rng_seed(ls_rng *rng, uint64_t seed)
{
    rng->mt[0] = (uint32_t)seed;
    for (uint32_t i = 1; i < N; i++)
        rng->mt[i] = 1812433253u * (rng->mt[i - 1] ^ rng->mt[i - 1] >> 30) + i;
    rng->index = N;
    rng->has_cached = false;
}

static uint32_t next_word(uint32_t high, uint32_t low, uint32_t far)
{
    uint32_t y = (high & 0x80000000u) | (low & 0x7fffffffu);
    return far ^ y >> 1 ^ (0x9908b0dfu & -(y & 1));
}

static void refill(ls_rng *rng)
{
    uint32_t *mt = rng->mt;
    for (int i = 0; i < N - M; i++)
        mt[i] = next_word(mt[i], mt[i + 1], mt[i + M]);
    for (int i = N - M; i < N - 1; i++)
        mt[i] = next_word(mt[i], mt[i + 1], mt[i + M - N]);
    mt[N - 1] = next_word(mt[N - 1], mt[0], mt[M - 1]);
    rng->index = 0;
}

uint32_t ls_rng_u32(ls_rng *rng)
{
    if (rng->index == N)
        refill(rng);
    uint32_t y = rng->mt[rng->index++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

static float uniform24(ls_rng *rng)
{
    return (float)(ls_rng_u32(rng) & 0xffffff) * 0x1p-24f;
}

static double uniform53(ls_rng *rng)
{
    uint64_t high = ls_rng_u32(rng);
    uint64_t word = high << 32 | ls_rng_u32(rng);
    return (double)(word & (((uint64_t)1 << 53) - 1)) * 0x1p-53;
}

static float single(ls_rng *rng)
{
    if (rng->has_cached) {
        rng->has_cached = false;
        return (float)rng->cached;
    }
    double u1 = uniform53(rng), u2 = uniform53(rng);
    double r = sqrt(-2 * log1p(-u2)), theta = 2 * M_PI * u1;
    rng->cached = r * sin(theta);
    rng->has_cached = true;
    return (float)(r * cos(theta));
}

/* Box-Muller on 16 uniforms in place. */
static void normal_16(float *v)
{
    for (int j = 0; j < 8; j++) {
        float r = sqrtf(-2 * logf(1 - v[j])), theta = 2 * (float)M_PI * v[j + 8];
        v[j] = r * cosf(theta);
        v[j + 8] = r * sinf(theta);
    }
}

void ls_rng_randn(ls_rng *rng, float *dst, size_t n)
{
    if (n < 16) {
        for (size_t i = 0; i < n; i++)
            dst[i] = single(rng);
        return;
    }
    for (size_t i = 0; i < n; i++)
        dst[i] = uniform24(rng);
    for (size_t i = 0; i + 15 < n; i += 16)
        normal_16(dst + i);
    if (n % 16) { // the last 16 values are drawn again, overlapping the last whole group
        float *last = dst + n - 16;
        for (int j = 0; j < 16; j++)
            last[j] = uniform24(rng);
        normal_16(last);
    }
}

void ls_rng_discard(ls_rng *rng, size_t n)
{
    if (n < 16) {
        for (; n; n--)
            single(rng);
        return;
    }
    for (n += n % 16 ? 16 : 0; n > (size_t)(N - rng->index); refill(rng))
        n -= (size_t)(N - rng->index);
    rng->index += (int)n;
}
