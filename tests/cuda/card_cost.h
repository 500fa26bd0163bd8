/* What kernels of src/backend/cuda have to do. */
#ifndef LS_TESTS_CUDA_CARD_COST_H
#define LS_TESTS_CUDA_CARD_COST_H

#include <stdint.h>

/* Of one launch: floating-point operations, and bytes of the card's memory, each counted once that
 * is read or written. */
typedef struct cost {
    double flops, bytes;
} cost;

cost card_cost(const char *name, const void *params, const uint32_t grid[3], uint32_t threads);

#endif
