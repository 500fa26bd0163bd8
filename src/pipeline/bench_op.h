/* One op in one shape: its values on a device, and its speed. Inputs and weights come from the
 * formula, and are the same on every device: rounded to float16, but for what is float32 on all. */
#ifndef LS_PIPELINE_BENCH_OP_H
#define LS_PIPELINE_BENCH_OP_H

#include "backend/plan.h"

enum {
    LS_BENCH_BIAS = 1,        /* a weight */
    LS_BENCH_TIME_BIAS = 2,   /* a value */
    LS_BENCH_RESIDUAL = 4,    /* a value */
    LS_BENCH_BOTH_BIASES = 8, /* the residual is a weight [Co] */
    LS_BENCH_FLOAT_OUT = 16,  /* linear: float32; cast: to float32 */
    LS_BENCH_PAD_END = 32,    /* as the VAE's encoder pads */
    LS_BENCH_SHIFTED = 64     /* inputs have mean 10 */
};

typedef struct ls_bench_op {
    ls_op op;
    /* x is [n, h, w, c]; attention: h queries, w keys; concat: co of the other; upsample: co x co
     * for each pixel */
    size_t n, h, w, c, co;
    size_t kernel, stride; /* of a convolution; stride 0: 1 */
    size_t groups, frames; /* attention: heads */
    unsigned flags;
    ls_act act;
} ls_bench_op;

/* "conv2d [2, 8, 8, 320] -> 4" */
const char *ls_bench_op_text(char *buf, size_t size, const ls_bench_op *op);
/* Multiplications and additions of products; 0: of all other ops. */
double ls_bench_flops(const ls_node *node);

/* The values as float32, *count of them, that the caller frees with free(). `dtype` may be LS_I8.
 */
int ls_bench_op_compute(ls_device *dev, ls_dtype dtype, const ls_bench_op *op, float **out,
                        size_t *count, ls_error *err);

typedef struct ls_bench_speed {
    double seconds, flops, bytes; /* bytes: of each operand once */
    double cpu_seconds;           /* of the run in which the process's threads computed least */
    double all_seconds, all_cpu_seconds; /* of all runs together */
} ls_bench_speed;

/* The fastest run of those of `seconds`, and of a few at least; 0: of one. Without any, *out has
 * seconds INFINITY. In the number type dev->info.fast, which here may be LS_I8. */
int ls_bench_op_time(ls_device *dev, const ls_bench_op *op, double seconds, const ls_cancel *cancel,
                     ls_bench_speed *out, ls_error *err);

#endif
