#include "backend/gpu/gpu.h"
#include "backend/gpu/params/attention.h"
#include "base/alloc.h"

#include <stdlib.h>

typedef struct attention {
    ls_kernel base;
    attention_params params;
    gpu_function function;
    size_t grid[3], shared;
} attention;

static int enqueue(gpu_device *dev, const ls_kernel *base, const gpu_places *at, ls_error *err)
{
    const attention *k = (const attention *)base;
    attention_params p = k->params;
    p.q = (const uint16_t *)(uintptr_t)at->in[0];
    p.k = (const uint16_t *)(uintptr_t)at->in[1];
    p.v = (const uint16_t *)(uintptr_t)at->in[2];
    p.out = (uint16_t *)(uintptr_t)at->out;
    p.bad = (uint32_t *)(uintptr_t)at->bad;
    return ls_gpu_launch(dev, k->function, k->grid, k->shared, &p, sizeof p, err);
}

/* The narrowest kernel that has the width, with `queries` queries of one head a block. */
typedef struct by_width {
    gpu_function function;
    size_t width, queries, shared;
    bool odd;
} by_width;

static const by_width *choose_by_width(size_t width)
{
    static const by_width kernels[] = {
#define LS_X(name, width, tiles, keys, odd)                                                        \
    {GPU_##name, width, ATTENTION_QUERIES(tiles), ATTENTION_SHARED(width, tiles, keys), odd},
        ATTENTION_KERNELS(LS_X)
#undef LS_X
            {GPU_attention_wide, ATTENTION_WIDE_WIDTH, ATTENTION_WIDE_QUERIES,
             ATTENTION_WIDE_SHARED, false}};
    for (size_t i = 0; i < LS_COUNT(kernels); i++)
        if (width <= kernels[i].width && (width % 8 == 0 || kernels[i].odd))
            return &kernels[i];
    return NULL;
}

/* False where there is none. */
static bool choose(attention *k)
{
    const attention_params *p = &k->params;
    k->grid[1] = k->grid[2] = 1;
    if (p->queries == p->keys && p->keys <= 32) {
        k->function = p->keys > 16 ? GPU_attention_short_32 : GPU_attention_short_16;
        k->grid[0] = ls_gpu_divide_up((size_t)p->sequences * p->heads, ATTENTION_SHORT_WARPS);
        return true;
    }
    const by_width *w = choose_by_width(p->width);
    if (!w)
        return false;
    k->function = w->function;
    k->shared = w->shared;
    k->grid[0] = ls_gpu_divide_up(p->queries, w->queries) * p->sequences;
    k->grid[1] = p->heads;
    return true;
}

int ls_gpu_compile_attention(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                             ls_error *err)
{
    const double log2_e = 1.4426950408889634;
    const ls_tensor *q = node->in[0], *keys = node->in[1];
    const size_t frames = node->u.attention.frames, heads = node->u.attention.heads;
    const size_t images = q->shape[0], tokens = q->shape[1], c = q->shape[2], width = c / heads;
    (void)st;
    *out = NULL;
    *scratch = 0;
    if (q->dtype != LS_F16)
        return ls_fail(err, LS_EUNSUPPORTED, "cards have no attention of %s",
                       ls_dtype_name(q->dtype));
    if (images > INT32_MAX / tokens || c > INT32_MAX / tokens || keys->shape[1] > INT32_MAX)
        return ls_fail(err, LS_EUNSUPPORTED, "cards have no attention as large as this");
    attention *k = (attention *)ls_gpu_kernel_new(node, sizeof *k, enqueue);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->params.channels = (uint32_t)c;
    k->params.heads = (uint32_t)heads;
    k->params.width = (uint32_t)width;
    k->params.sequences = (uint32_t)(frames ? images / frames * tokens : images);
    k->params.step = frames ? (uint32_t)tokens : 1;
    k->params.queries = (uint32_t)(frames ? frames : tokens);
    k->params.keys = (uint32_t)(frames ? frames : keys->shape[1]);
    k->params.scale = (float)((double)node->u.attention.scale * log2_e);
    if (!(k->params.scale > 0) || !choose(k)) {
        free(k);
        return ls_fail(err, LS_EUNSUPPORTED, "cards have no attention of width %zu and scale %g",
                       width, (double)node->u.attention.scale);
    }
    k->base.functions = GPU_BIT(k->function);
    *out = &k->base;
    return 0;
}
