/* Products of rows of an image or of tokens with a matrix, for the host and for the kernels. */
#ifndef LS_GPU_PARAMS_PRODUCT_H
#define LS_GPU_PARAMS_PRODUCT_H

#include "act.h"

#define PRODUCT_DEPTH 32 /* of a step: channels of one tap */
#define PRODUCT_MAX_TAPS 32
#define PRODUCT_CHUNK 8 /* channels are stored in multiples of it, 16 bytes */
#define PRODUCT_MIN_STAGES 2
#define PRODUCT_MAX_STAGES 4
#define PRODUCT_SUM_THREADS 256
#define PRODUCT_VECTOR_THREADS 128
/* Rows and columns of a block's tile, and of the part of it that a warp computes; threads of a
 * block, and blocks that are to fit on a multiprocessor. */
#define PRODUCT_TILES(X)                                                                           \
    X(128x128, 128, 128, 64, 32, 256, 2)                                                           \
    X(256x64, 256, 64, 64, 32, 256, 2)                                                             \
    X(128x64, 128, 64, 64, 32, 128, 4)                                                             \
    X(64x64, 64, 64, 32, 32, 128, 5)                                                               \
    X(128x8, 128, 8, 32, 8, 128, 8)

/* What becomes of sums: act(sum + bias) + residual, or act(sum + bias + residual). */
typedef struct product_finish {
    void *out;            /* [rows, outputs] */
    const float *bias;    /* [outputs], or NULL */
    const void *residual; /* [rows, outputs], or NULL */
    uint32_t *bad;
    uint32_t rows, outputs;
    uint32_t act; /* ACT_* */
    uint8_t act_last, out_float, residual_float, reserved;
} product_finish;

/* 128 bytes, which every card can be given at once. */
typedef struct product_params {
    product_finish finish;
    const uint16_t *x; /* [images, height, width, channels] */
    const uint16_t *w; /* [outputs, taps, channels] */
    float *partial;    /* [splits, rows, outputs], sums to be added up; or NULL: finished here */
    uint32_t channels; /* a multiple of PRODUCT_CHUNK */
    uint32_t height, width, out_height, out_width;
    uint32_t taps, kernel_width;
    uint16_t stride[2], pad[2]; /* of rows, of columns */
    uint32_t row_tiles, column_tiles;
    uint32_t steps; /* that a split takes; the last one takes the rest */
    uint32_t stages;
} product_params;

/* Adds up `splits` partial sums, in order. */
typedef struct product_sum_params {
    product_finish finish;
    const float *partial;
    uint32_t splits;
} product_sum_params;

/* Rows of `from` channels to rows of `to`, zeros at the end. */
typedef struct product_pad_params {
    const uint16_t *x;
    uint16_t *out;
    uint32_t rows, from, to;
} product_pad_params;

/* A row in a block's x, outputs in y. */
typedef struct product_vector_params {
    product_finish finish;
    const void *x;     /* [rows, channels] */
    const uint16_t *w; /* [outputs, stored], zeros after the channels */
    uint32_t channels, stored, x_float;
} product_vector_params;

#endif
