/* Pools, operations of two tensors and copies of elements: what imported networks need beside
 * convolutions. Float32, but for copies. */
#include "backend/onednn/onednn.h"

#include <math.h>
#include <stdlib.h>

typedef struct image_op {
    ls_kernel base;
    ls_node node;
    ls_tensor x, y;
    const float *vector[2];      /* of params */
    size_t step[2][LS_MAX_DIMS]; /* of binary: elements from one index to the next; 0: broadcast */
    bool in_order;               /* of take: the last table counts up by one */
} image_op;

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void pool_row(const image_op *k, const float *x, float *y, size_t row)
{
    const size_t *xs = k->x.shape, *ys = k->y.shape, c = xs[3];
    const ls_window *w = &k->node.u.pool.window;
    const bool mean = k->node.u.pool.mean, count_pads = k->node.u.pool.count_pads;
    /* bounds of a window in the padded image, then of its pixels in the image */
    size_t top = row % ys[1] * w->stride[0], r0 = larger(top, w->pad[0]);
    size_t r1 = smaller(top + w->kernel[0], w->pad[0] + xs[1]);
    size_t rows = smaller(top + w->kernel[0], w->pad[0] + xs[1] + w->pad[2]) - top;
    const float *image = x + row / ys[1] * xs[1] * xs[2] * c;
    for (size_t j = 0; j < ys[2]; j++, y += c) {
        size_t left = j * w->stride[1], c0 = larger(left, w->pad[1]);
        size_t c1 = smaller(left + w->kernel[1], w->pad[1] + xs[2]);
        size_t columns = smaller(left + w->kernel[1], w->pad[1] + xs[2] + w->pad[3]) - left;
        for (size_t i = 0; i < c; i++)
            y[i] = mean ? 0 : -INFINITY;
        for (size_t r = r0; r < r1; r++) {
            for (size_t col = c0; col < c1; col++) {
                const float *in = image + ((r - w->pad[0]) * xs[2] + col - w->pad[1]) * c;
                if (mean)
                    for (size_t i = 0; i < c; i++)
                        y[i] += in[i];
                else
                    for (size_t i = 0; i < c; i++)
                        y[i] = in[i] > y[i] ? in[i] : y[i];
            }
        }
        float share = 1 / (float)(count_pads ? rows * columns : (r1 - r0) * (c1 - c0));
        for (size_t i = 0; mean && i < c; i++)
            y[i] *= share;
    }
}

static int run_pool(onednn_backend *be, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    (void)be, (void)scratch, (void)err;
    const image_op *k = (const image_op *)base;
    size_t rows = k->y.shape[0] * k->y.shape[1], row = k->y.count / rows;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < rows; i++)
        pool_row(k, in[0], (float *)out + i * row, i);
    return 0;
}

static inline float two(ls_binary op, float a, float b)
{
    switch (op) {
    case LS_BINARY_ADD:
        return a + b;
    case LS_BINARY_SUB:
        return a - b;
    case LS_BINARY_MUL:
        return a * b;
    default:
        return a > 0 ? a : a * b;
    }
}

/* `op` and the steps are constants where this is inlined, so that the loop becomes vectors. */
static inline __attribute__((always_inline)) void binary_row(ls_binary op, const float *a,
                                                             size_t sa, const float *b, size_t sb,
                                                             float *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        y[i] = two(op, a[i * sa], b[i * sb]);
}

static void row_of(ls_binary op, const float *a, size_t sa, const float *b, size_t sb, float *y,
                   size_t n)
{
#define CASE(op)                                                                                   \
    case op:                                                                                       \
        if (sa && sb)                                                                              \
            binary_row(op, a, 1, b, 1, y, n);                                                      \
        else if (sa)                                                                               \
            binary_row(op, a, 1, b, 0, y, n);                                                      \
        else                                                                                       \
            binary_row(op, a, 0, b, sb, y, n);                                                     \
        break;
    switch (op) {
        CASE(LS_BINARY_ADD)
        CASE(LS_BINARY_SUB)
        CASE(LS_BINARY_MUL)
        CASE(LS_BINARY_PRELU)
    }
#undef CASE
}

static int run_binary(onednn_backend *be, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                      void *scratch, ls_error *err)
{
    (void)be, (void)scratch, (void)err;
    const image_op *k = (const image_op *)base;
    const float *operand[2];
    const size_t last = k->y.ndim - 1, n = k->y.shape[last];
    for (int j = 0; j < 2; j++)
        operand[j] = k->vector[j] ? k->vector[j] : in[j];
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < k->y.count / n; row++) {
        size_t at[2] = {0, 0}, rest = row;
        for (size_t d = last; d-- > 0; rest /= k->y.shape[d])
            for (int j = 0; j < 2; j++)
                at[j] += rest % k->y.shape[d] * k->step[j][d];
        row_of(k->node.u.binary, operand[0] + at[0], k->step[0][last], operand[1] + at[1],
               k->step[1][last], (float *)out + row * n, n);
    }
    return 0;
}

static int run_take(onednn_backend *be, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    (void)be, (void)scratch, (void)err;
    const image_op *k = (const image_op *)base;
    const size_t ndim = k->y.ndim, n = k->y.shape[ndim - 1], size = ls_dtype_size(k->y.dtype);
#pragma omp parallel for schedule(static)
    for (size_t row = 0; row < k->y.count / n; row++) {
        const size_t *table = k->node.u.take;
        size_t at = 0, inner = k->y.count / n;
        for (size_t d = 0; d + 1 < ndim; table += k->y.shape[d++]) {
            inner /= k->y.shape[d];
            at += table[row / inner % k->y.shape[d]];
        }
        const char *x = (const char *)in[0] + at * size;
        char *y = (char *)out + row * n * size;
        if (k->in_order)
            memcpy(y, x + table[0] * size, n * size);
        else if (size == sizeof(float))
            for (size_t i = 0; i < n; i++)
                memcpy(y + i * sizeof(float), x + table[i] * sizeof(float), sizeof(float));
        else
            for (size_t i = 0; i < n; i++)
                memcpy(y + i * size, x + table[i] * size, size);
    }
    return 0;
}

static void free_op(ls_kernel *k)
{
    free(k);
}

static void prepare_binary(image_op *k)
{
    for (int j = 0; j < 2; j++) {
        size_t step = 1;
        for (size_t d = k->y.ndim; d-- > 0; step *= k->node.in[j]->shape[d])
            k->step[j][d] = k->node.in[j]->shape[d] > 1 ? step : 0;
    }
    k->base.run = run_binary;
}

static void prepare_take(image_op *k)
{
    const size_t last = k->y.ndim - 1;
    const size_t *table = k->node.u.take;
    for (size_t d = 0; d < last; d++)
        table += k->y.shape[d];
    k->in_order = true;
    for (size_t i = 1; i < k->y.shape[last]; i++)
        k->in_order = k->in_order && table[i] == table[0] + i;
    k->base.run = run_take;
}

int ls_onednn_compile_image_op(onednn_backend *be, const ls_node *node, ls_kernel **out,
                               ls_error *err)
{
    if (node->op != LS_OP_TAKE && node->out->dtype != LS_F32)
        return ls_fail(err, LS_EUNSUPPORTED, "backend onednn computes this in float32 only");
    image_op *k = ls_calloc_array(1, sizeof *k);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->base.free = free_op;
    k->base.run = run_pool;
    k->node = *node;
    k->x = *node->in[0];
    k->y = *node->out;
    int ret = 0;
    for (int i = 0; !ret && i < 2; i++)
        if (node->in[i] && node->in[i]->param)
            ret = ls_onednn_vector(be, node->in[i]->param, &k->vector[i], err);
    if (ret) {
        free(k);
        return ret;
    }
    if (node->op == LS_OP_BINARY)
        prepare_binary(k);
    else if (node->op == LS_OP_TAKE)
        prepare_take(k);
    *out = &k->base;
    return 0;
}
