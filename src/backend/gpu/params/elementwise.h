/* Parameters of the kernels of elementwise.c. A thread computes one span of eight elements
 * (spans.h), or, of timestep, a cosine and a sine; threads are numbered in 32 bits. Tensors are
 * halves, but the casts' other side and those of timestep float32. */
#ifndef LS_GPU_PARAMS_ELEMENTWISE_H
#define LS_GPU_PARAMS_ELEMENTWISE_H

#ifndef __CUDA__
#include <stdint.h>
#endif

#define ELEMENTWISE_THREADS 256

typedef struct elementwise_params {
    const void *a, *b; /* b: of add and concat */
    void *y;           /* activate, add: may be a or b */
    uint32_t *bad;
    uint64_t count;            /* of elements: activate, add, cast_to_half, cast_to_float */
    uint32_t rows, columns[2]; /* of y; concat: of a and of b. timestep: half of y in columns[0] */
    uint32_t from[2], to[2];   /* upsample: height and width of a and of y; rows are pixels */
    uint32_t act;              /* activate: see act.h */
} elementwise_params;

#endif
