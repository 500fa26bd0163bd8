/* Parameters of the kernels of norm.c. */
#ifndef LS_GPU_PARAMS_NORM_H
#define LS_GPU_PARAMS_NORM_H

#ifndef __CUDA__
#include <stdint.h>
#endif

#define NORM_THREADS 256
#define NORM_WARPS (NORM_THREADS / 32)

/* group_moments, then group_apply, on grids of slices x tiles x batches: x is [batches, rows,
 * columns], of which a block has slice_rows rows of the columns of tile_groups groups. The last
 * slice and the last tile may be smaller, but not empty. Shared memory: group_moments,
 * GROUP_MOMENTS_SHARED; group_apply, 2 floats a group of the tile. */
#define GROUP_COLUMNS_MAX (8 * NORM_THREADS) /* of a tile */
#define GROUP_MOMENTS_SHARED (GROUP_COLUMNS_MAX * 2 * sizeof(float))

typedef struct group_norm_params {
    const uint16_t *x;
    const float *weight, *bias;
    uint16_t *y;
    float *moments; /* [batches, groups, slices, 2]: mean, sum of squared differences from it */
    uint32_t *bad;
    uint32_t rows, columns, groups, tile_groups, slices, slice_rows;
    uint32_t act;
    float eps;
} group_norm_params;

/* layer_norm: a row a warp, NORM_WARPS a block */
typedef struct layer_norm_params {
    const uint16_t *x;
    const float *weight, *bias;
    const float *positions; /* [frames, columns], for image n at n % frames; NULL */
    uint16_t *y;
    uint32_t *bad;
    uint32_t rows, columns, image_rows, frames;
    float eps;
} layer_norm_params;

#endif
