/* Pools (oneDNN's), operations of two tensors (float32 only) and copies of elements: what imported
 * networks need besides convolutions. */
#include "backend/onednn/onednn.h"

#include <stdlib.h>

typedef struct image_op {
    ls_kernel base;
    ls_node node;
    ls_tensor y;
    const float *vector[2];      /* of params */
    size_t step[2][LS_MAX_DIMS]; /* of binary: elements from one index to the next; 0: broadcast */
    bool in_order;               /* of take: the last table counts up by one */
} image_op;

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

static int run_binary(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                      void *scratch, ls_error *err)
{
    (void)dev, (void)scratch, (void)err;
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

static int run_take(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    (void)dev, (void)scratch, (void)err;
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

typedef struct pool {
    ls_kernel base;
    dnnl_primitive_t prim;
    dnnl_memory_t src, dst, scratch;
} pool;

static int run_pool(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    pool *k = (pool *)base;
    const dnnl_exec_arg_t args[] = {
        {DNNL_ARG_SRC, k->src}, {DNNL_ARG_DST, k->dst}, {DNNL_ARG_SCRATCHPAD, k->scratch}};
    dnnl_status_t s = dnnl_memory_set_data_handle(k->src, in[0]);
    if (!s)
        s = dnnl_memory_set_data_handle(k->dst, out);
    if (!s)
        s = dnnl_memory_set_data_handle(k->scratch, scratch);
    if (!s)
        s = dnnl_primitive_execute(k->prim, dev->stream, 3, args);
    if (!s)
        s = dnnl_stream_wait(dev->stream);
    return ls_onednn_check(s, "run", err);
}

static void free_pool(ls_kernel *base)
{
    pool *k = (pool *)base;
    dnnl_primitive_destroy(k->prim);
    dnnl_memory_destroy(k->src);
    dnnl_memory_destroy(k->dst);
    dnnl_memory_destroy(k->scratch);
    free(k);
}

static dnnl_status_t describe_pool(dnnl_primitive_desc_t *pd, const ls_node *n, ls_const_md src,
                                   ls_const_md dst, dnnl_engine_t engine)
{
    const ls_window *w = &n->u.pool.window;
    ls_dnnl_window to = {0};
    for (int i = 0; i < 2; i++) {
        /* up to the end of the last window, which may exceed the requested padding */
        size_t reach = (n->out->shape[i + 1] - 1) * w->stride[i] + w->kernel[i];
        size_t have = n->in[0]->shape[i + 1] + w->pad[i];
        to.stride[i] = (dnnl_dim_t)w->stride[i];
        to.kernel[i] = (dnnl_dim_t)w->kernel[i];
        to.pad_first[i] = (dnnl_dim_t)w->pad[i];
        to.pad_last[i] = reach > have ? (dnnl_dim_t)(reach - have) : 0;
    }
    const dnnl_alg_kind_t kind = !n->u.pool.mean        ? dnnl_pooling_max
                                 : n->u.pool.count_pads ? dnnl_pooling_avg_include_padding
                                                        : dnnl_pooling_avg_exclude_padding;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(&attr);
    if (!s)
        s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!s)
        s = ls_dnnl_pool(pd, engine, kind, src, dst, &to, attr);
    dnnl_primitive_attr_destroy(attr);
    return s;
}

static int compile_pool(onednn_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                        ls_error *err)
{
    ls_md src = NULL, dst = NULL;
    dnnl_primitive_desc_t pd = NULL;
    pool *k = ls_calloc_array(1, sizeof *k);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->base.run = run_pool;
    k->base.free = free_pool;
    k->base.in_place = -1;
    dnnl_status_t s = ls_md_image(&src, node->in[0]);
    if (!s)
        s = ls_md_image(&dst, node->out);
    if (!s)
        s = describe_pool(&pd, node, src, dst, st->dev->engine);
    if (!s && !ls_store_is_dry(&st->base))
        s = dnnl_primitive_create(&k->prim, pd);
    if (!s)
        s = dnnl_memory_create(&k->src, src, st->dev->engine, NULL);
    if (!s)
        s = dnnl_memory_create(&k->dst, dst, st->dev->engine, NULL);
    if (!s) {
        ls_const_md pad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        *scratch = dnnl_memory_desc_get_size(pad);
        s = dnnl_memory_create(&k->scratch, pad, st->dev->engine, NULL);
    }
    dnnl_primitive_desc_destroy(pd);
    ls_md_free(src);
    ls_md_free(dst);
    if (s)
        free_pool(&k->base);
    else
        *out = &k->base;
    return ls_onednn_check(s, "prepare a pool", err);
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

int ls_onednn_compile_image_op(onednn_store *st, const ls_node *node, ls_kernel **out,
                               size_t *scratch, ls_error *err)
{
    if (node->op == LS_OP_POOL)
        return compile_pool(st, node, out, scratch, err);
    if (node->op == LS_OP_BINARY && node->out->dtype != LS_F32)
        return ls_fail(err, LS_EUNSUPPORTED, "backend onednn computes this in float32 only");
    image_op *k = ls_calloc_array(1, sizeof *k);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->base.free = free_op;
    k->base.in_place = -1;
    k->node = *node;
    k->y = *node->out;
    int ret = 0;
    for (int i = 0; !ret && i < 2; i++)
        if (node->in[i] && node->in[i]->param)
            ret = ls_onednn_vector(st, node->in[i]->param, &k->vector[i], err);
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
