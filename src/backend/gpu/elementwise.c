#include "backend/gpu/gpu.h"
#include "backend/gpu/params/elementwise.h"

#include <stdlib.h>

typedef struct elementwise {
    ls_kernel base;
    gpu_function function;
    elementwise_params params;
    size_t blocks;
} elementwise;

static int enqueue(gpu_device *dev, const ls_kernel *base, const gpu_places *at, ls_error *err)
{
    const elementwise *k = (const elementwise *)base;
    elementwise_params p = k->params;
    p.a = (const void *)(uintptr_t)at->in[0];
    p.b = (const void *)(uintptr_t)at->in[1];
    p.y = (void *)(uintptr_t)at->out;
    p.bad = (uint32_t *)(uintptr_t)at->bad;
    return ls_gpu_launch(dev, k->function, (const size_t[3]){k->blocks, 1, 1}, 0, &p, sizeof p,
                         err);
}

static size_t spans_of(size_t columns)
{
    return ls_gpu_divide_up(columns, 8);
}

static gpu_function function_of(const ls_node *node)
{
    switch (node->op) {
    case LS_OP_ACT:
        return GPU_activate;
    case LS_OP_ADD:
        return GPU_add;
    case LS_OP_CAST:
        return node->out->dtype == LS_F16 ? GPU_cast_to_half : GPU_cast_to_float;
    case LS_OP_GEGLU:
        return GPU_geglu;
    case LS_OP_CONCAT:
        return GPU_concat;
    case LS_OP_UPSAMPLE:
        return GPU_upsample;
    case LS_OP_TIMESTEP:
        return GPU_timestep;
    default:
        return GPU_FUNCTION_COUNT;
    }
}

/* Whether there is a kernel for the node's dtypes. */
static bool has_kernel(const ls_node *node)
{
    const bool casts = node->op == LS_OP_CAST, is_float = node->op == LS_OP_TIMESTEP;
    const ls_dtype x = node->in[0]->dtype, y = node->out->dtype;
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        if (node->in[i] && node->in[i]->kind == LS_TENSOR_PARAM)
            return false;
    if (casts)
        return (x == LS_F32 && y == LS_F16) || (x == LS_F16 && y == LS_F32);
    return x == y && x == (is_float ? LS_F32 : LS_F16);
}

/* Fills in the sizes, and returns the number of threads. */
static size_t share_out(elementwise_params *p, const ls_node *node)
{
    const ls_tensor *x = node->in[0], *y = node->out;
    const size_t columns = y->shape[y->ndim - 1], rows = y->count / columns;
    p->count = y->count;
    p->act = node->act;
    p->rows = (uint32_t)rows;
    p->columns[0] = (uint32_t)columns;
    switch (node->op) {
    case LS_OP_GEGLU:
        return rows * spans_of(columns);
    case LS_OP_CONCAT:
        for (int i = 0; i < 2; i++)
            p->columns[i] = (uint32_t)node->in[i]->shape[y->ndim - 1];
        return rows * (spans_of(p->columns[0]) + spans_of(p->columns[1]));
    case LS_OP_UPSAMPLE:
        for (int i = 0; i < 2; i++) {
            p->from[i] = (uint32_t)x->shape[1 + i];
            p->to[i] = (uint32_t)y->shape[1 + i];
        }
        return rows * spans_of(columns);
    case LS_OP_TIMESTEP:
        p->columns[0] = (uint32_t)(columns / 2);
        return columns / 2;
    default:
        return spans_of(y->count);
    }
}

int ls_gpu_compile_elementwise(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                               ls_error *err)
{
    (void)st;
    *out = NULL;
    *scratch = 0;
    elementwise_params p = {0};
    const size_t threads = has_kernel(node) ? share_out(&p, node) : 0;
    if (!threads)
        return ls_fail(err, LS_EUNSUPPORTED, "cards do not compute this in %s",
                       ls_dtype_name(node->in[0]->dtype));
    if (threads > UINT32_MAX - ELEMENTWISE_THREADS)
        return ls_fail(err, LS_EUNSUPPORTED, "cards do not compute this at such a size");
    elementwise *k = (elementwise *)ls_gpu_kernel_new(node, sizeof *k, enqueue);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->function = function_of(node);
    k->base.functions = GPU_BIT(k->function);
    k->params = p;
    k->blocks = (threads + ELEMENTWISE_THREADS - 1) / ELEMENTWISE_THREADS;
    if (node->op == LS_OP_ADD || node->op == LS_OP_ACT)
        k->base.in_place = 0;
    *out = &k->base;
    return 0;
}
