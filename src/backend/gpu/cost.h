/* What kernels have to do. */
#ifndef LS_BACKEND_GPU_COST_H
#define LS_BACKEND_GPU_COST_H

#include <stdint.h>

/* Of one launch: floating-point operations, and bytes of the card's memory, each counted once that
 * is read or written. */
typedef struct gpu_cost {
    double flops, bytes;
} gpu_cost;

gpu_cost ls_gpu_cost(const char *name, const void *params, const uint32_t grid[3],
                     uint32_t threads);

#endif
