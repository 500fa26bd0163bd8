/* torch.randn on the CPU, so that a seed gives the original's noise. Source: PyTorch's
 * CPUGeneratorImpl and normal_fill. */
#ifndef LS_DIFFUSION_NOISE_H
#define LS_DIFFUSION_NOISE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_rng {
    uint32_t mt[624];
    int index;
    bool has_cached; /* the second normal of a pair; survives calls for 16 or more values */
    double cached;
} ls_rng;

/* torch.manual_seed: only the low 32 bits are used. */
void ls_rng_seed(ls_rng *rng, uint64_t seed);
/* The next 32-bit output of mt19937. */
uint32_t ls_rng_u32(ls_rng *rng);
/* torch.randn(n): float32, mean 0, variance 1. */
void ls_rng_randn(ls_rng *rng, float *dst, size_t n);
/* Leaves the state as ls_rng_randn for n values would, in a tenth of the time. */
void ls_rng_discard(ls_rng *rng, size_t n);

#endif
