/* The kernels that oneDNN lacks, for one thread and a part of the work. There is one table per
 * instruction set. `bf16` gives the dtype of activations (else float32); arithmetic is in float32.
 * A row is one pixel or token: `c` channels. */
#ifndef LS_BACKEND_ONEDNN_KERNELS_H
#define LS_BACKEND_ONEDNN_KERNELS_H

#include "tensor/graph.h"

/* Count, mean and sum of squared deviations of a set of numbers. */
typedef struct ls_moments {
    double count, mean, m2;
} ls_moments;

/* y = act((x - mean) * scale + shift), per channel; the mean is subtracted as a float32 `mean`, the
 * rest of it is in `shift`, so that nothing cancels. */
typedef struct ls_affine {
    const float *mean, *scale, *shift;
    ls_act act;
} ls_affine;

/* Attention of `nq` rows over `nk` rows of one head of width d; `step` elements from row to row. */
typedef struct ls_attend {
    const void *q, *k, *v;
    void *out;
    size_t nq, nk, d, step;
    float scale; /* > 0 */
    bool bf16;
} ls_attend;

typedef struct ls_kernels {
    void (*act)(ls_act a, const void *x, void *y, size_t n, bool bf16);
    void (*add)(const void *a, const void *b, void *y, size_t n, bool bf16);
    void (*to_bf16)(const float *x, void *y, size_t n);
    void (*to_f32)(const void *x, float *y, size_t n);
    void (*geglu)(const void *x, void *y, size_t rows, size_t c, bool bf16);
    /* w, b [c]; pe [c] or NULL is added to the result */
    void (*layer_norm)(const void *x, void *y, size_t rows, size_t c, const float *w,
                       const float *b, const float *pe, float eps, bool bf16);
    /* The moments of each group of channels; tmp holds 3 * c floats. */
    void (*moments)(ls_moments *m, const void *x, size_t rows, size_t c, size_t groups, float *tmp,
                    bool bf16);
    void (*affine)(const ls_affine *a, const void *x, void *y, size_t rows, size_t c, bool bf16);
    /* The largest magnitude of bfloat16 values; not a number if there is one. `largest`: of float32
     * values that are not negative. */
    float (*peak)(const void *x, size_t n);
    float (*largest)(const float *x, size_t n);
    /* x * inverse, rounded; within -127 .. 127 */
    void (*to_int8)(const void *x, int8_t *y, size_t n, float inverse);
    /* y = x * w * s + b + r for a row; b [c] and r may be NULL; r and y are bfloat16; y may be x
     * or r */
    void (*scale)(const void *x, const float *w, float s, const float *b, const void *r, void *y,
                  size_t c, bool bf16);
    /* Never stores more scores than one small tile. `scratch` is aligned to LS_ALIGN and holds
     * attend_scratch bytes, which do not depend on nk. */
    void (*attend)(const ls_attend *a, void *scratch);
    size_t (*attend_scratch)(size_t nq, size_t d);
    /* The best number of rows of q per call. */
    size_t (*attend_rows)(size_t d);
} ls_kernels;

/* The best table for this CPU; with LS_ISA in the environment, the named one if it is usable:
 * base, avx2, avx512, avx512bf16. */
const ls_kernels *ls_kernels_get(void);

#endif
