#include "backend/cuda/kernels/dialect.h"
#include "gemm.h"

enum {
    STAGE = (GEMM_ROWS + GEMM_COLUMNS) * GEMM_PITCH, /* halves */
    WARP_ROWS = 64,
    WARP_COLUMNS = 32
};

DEVICE void load_stage(uint16_t *s, const gemm_params *p, uint32_t row0, uint32_t column0,
                       uint32_t k0)
{
    for (uint32_t i = THREAD; i < (GEMM_ROWS + GEMM_COLUMNS) * (GEMM_DEPTH / 8);
         i += GEMM_THREADS) {
        const uint32_t r = i / (GEMM_DEPTH / 8), c = i % (GEMM_DEPTH / 8) * 8;
        const bool is_x = r < GEMM_ROWS;
        const uint32_t row = is_x ? row0 + r : column0 + r - GEMM_ROWS;
        const bool valid = row < (is_x ? p->rows : p->columns) && k0 + c < p->depth;
        const size_t at = valid ? (size_t)row * p->depth + k0 + c : 0;
        copy16_async(s + r * GEMM_PITCH + c, (is_x ? p->x : p->w) + at, valid);
    }
    copy_commit();
}

DEVICE void multiply_stage(float sum[4][4][4], const uint16_t *x, const uint16_t *w, uint32_t lane)
{
    UNROLL
    for (uint32_t k = 0; k < GEMM_DEPTH; k += 16) {
        uint32_t a[4][4], b[4][2];
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            load_matrices(a[i], x + (i * 16 + lane % 16) * GEMM_PITCH + k + lane / 16 * 8);
        UNROLL
        for (uint32_t j = 0; j < 4; j += 2) {
            uint32_t r[4];
            load_matrices(r, w + (j * 8 + lane % 8 + lane / 16 * 8) * GEMM_PITCH + k +
                                 lane / 8 % 2 * 8);
            b[j][0] = r[0], b[j][1] = r[1], b[j + 1][0] = r[2], b[j + 1][1] = r[3];
        }
        mma_tiles(&sum[0][0][0], &a[0][0], &b[0][0], 4, 4);
    }
}

KERNEL(test_gemm, gemm_params, GEMM_THREADS, 1)
{
    SHARED(shared);
    uint16_t *const s = (uint16_t *)shared;
    const uint32_t lane = THREAD % WARP, warp = THREAD / WARP;
    const uint32_t row0 = BLOCK_X * GEMM_ROWS, column0 = BLOCK_Y * GEMM_COLUMNS;
    const uint32_t row = warp % 2 * WARP_ROWS, column = warp / 2 * WARP_COLUMNS;
    const uint32_t steps = (p.depth + GEMM_DEPTH - 1) / GEMM_DEPTH;
    float sum[4][4][4];
    UNROLL
    for (uint32_t i = 0; i < 64; i++)
        sum[i / 16][i / 4 % 4][i % 4] = 0;
    for (uint32_t t = 0; t < GEMM_STAGES - 1; t++)
        load_stage(s + t * STAGE, &p, row0, column0, t * GEMM_DEPTH);
    for (uint32_t t = 0; t < steps; t++) {
        copy_wait(GEMM_STAGES - 2);
        sync_block();
        const uint32_t next = t + GEMM_STAGES - 1;
        load_stage(s + next % GEMM_STAGES * STAGE, &p, row0, column0, next * GEMM_DEPTH);
        const uint16_t *const x = s + t % GEMM_STAGES * STAGE;
        multiply_stage(sum, x + row * GEMM_PITCH, x + (GEMM_ROWS + column) * GEMM_PITCH, lane);
    }
    UNROLL
    for (uint32_t i = 0; i < 64; i++) {
        const uint32_t m = row0 + row + i / 16 * 16 + lane / 4 + i / 2 % 2 * 8;
        const uint32_t n = column0 + column + i / 4 % 4 * 8 + lane % 4 * 2 + i % 2;
        if (m < p.rows && n < p.columns)
            p.y[(size_t)m * p.columns + n] = to_half(sum[i / 16][i / 4 % 4][i % 4] + p.bias[n]);
    }
}
