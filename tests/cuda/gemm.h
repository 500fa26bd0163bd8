/* The kernel that the emulator is tested and measured with, and what it is to compute. */
#ifndef LS_TESTS_CUDA_GEMM_H
#define LS_TESTS_CUDA_GEMM_H

#ifndef __CUDA__
#include <stdint.h>
#endif

enum {
    GEMM_ROWS = 128,
    GEMM_COLUMNS = 128,
    GEMM_DEPTH = 32,
    GEMM_STAGES = 3,
    GEMM_THREADS = 256,
    GEMM_PITCH = GEMM_DEPTH + 8,
    GEMM_SHARED = GEMM_STAGES * (GEMM_ROWS + GEMM_COLUMNS) * GEMM_PITCH * 2
};

/* y = x w^T + bias. Depth and columns are multiples of 8. */
typedef struct gemm_params {
    const uint16_t *x; /* [rows][depth] */
    const uint16_t *w; /* [columns][depth] */
    const float *bias;
    uint16_t *y; /* [rows][columns] */
    uint32_t rows, columns, depth;
} gemm_params;

#endif
