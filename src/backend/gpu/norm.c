#include "backend/gpu/gpu.h"
#include "backend/gpu/params/norm.h"

#include <stdlib.h>

typedef struct norm {
    ls_kernel base;
    const gpu_weight *vector[LS_MAX_INPUTS]; /* of the inputs that are weights */
    union {
        group_norm_params group;
        layer_norm_params layer;
    } params;
    size_t grid[3];
} norm;

/* The kernel of a node of halves, with its weights. */
static int new_norm(gpu_store *st, const ls_node *node,
                    int (*enqueue)(gpu_device *, const ls_kernel *, const gpu_places *, ls_error *),
                    norm **out, ls_error *err)
{
    *out = NULL;
    if (node->in[0]->dtype != LS_F16)
        return ls_fail(err, LS_EUNSUPPORTED, "cards do not compute this in %s",
                       ls_dtype_name(node->in[0]->dtype));
    norm *k = (norm *)ls_gpu_kernel_new(node, sizeof *k, enqueue);
    int ret = k ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 1; !ret && i < LS_MAX_INPUTS; i++)
        if (node->in[i] && node->in[i]->kind == LS_TENSOR_PARAM)
            ret = ls_gpu_vector(st, node->in[i]->param, &k->vector[i], err);
    if (ret) {
        free(k);
        return ret;
    }
    *out = k;
    return 0;
}

/* Where the vectors are, for this launch. */
static int find_vectors(gpu_device *dev, const norm *k, const gpu_places *at,
                        const float *vector[LS_MAX_INPUTS], ls_error *err)
{
    for (size_t i = 1; i < LS_MAX_INPUTS; i++) {
        gpu_address a = at->in[i];
        const int ret = k->vector[i] ? ls_gpu_weight_address(dev, k->vector[i], &a, err) : 0;
        if (ret)
            return ret;
        vector[i] = (const float *)(uintptr_t)a;
    }
    return 0;
}

static int enqueue_group_norm(gpu_device *dev, const ls_kernel *base, const gpu_places *at,
                              ls_error *err)
{
    const norm *k = (const norm *)base;
    const float *vector[LS_MAX_INPUTS];
    group_norm_params p = k->params.group;
    int ret = find_vectors(dev, k, at, vector, err);
    if (ret)
        return ret;
    p.x = (const uint16_t *)(uintptr_t)at->in[0];
    p.weight = vector[1];
    p.bias = vector[2];
    p.y = (uint16_t *)(uintptr_t)at->out;
    p.moments = (float *)(uintptr_t)at->scratch;
    p.bad = (uint32_t *)(uintptr_t)at->bad;
    ret = ls_gpu_launch(dev, GPU_group_moments, k->grid, GROUP_MOMENTS_SHARED, &p, sizeof p, err);
    return ret ? ret
               : ls_gpu_launch(dev, GPU_group_apply, k->grid, p.tile_groups * 2 * sizeof(float), &p,
                               sizeof p, err);
}

/* A block that applies the norm reads the moments of all slices of its groups: their number is
 * such that this adds an eighth at most to what it reads of x. */
static size_t rows_of_slice(size_t rows, size_t group_columns)
{
    const size_t least = 32;
    size_t slices = 1;
    while (128 * slices * slices <= rows * group_columns)
        slices *= 2;
    return rows / slices < least ? least : ls_gpu_divide_up(rows, slices);
}

/* The fewest groups that make runs of whole cache lines, and of whole spans. */
static size_t groups_of_tile(size_t groups, size_t group_columns)
{
    const size_t least = 64, span = 8;
    size_t n = 1;
    while (n < groups && (n * group_columns < least || n * group_columns % span))
        n++;
    return n * group_columns <= GROUP_COLUMNS_MAX ? n : 1;
}

int ls_gpu_compile_group_norm(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                              ls_error *err)
{
    const ls_tensor *x = node->in[0];
    const size_t columns = x->shape[x->ndim - 1], groups = node->u.norm.groups;
    const size_t batches = x->shape[0] / node->u.norm.frames, rows = x->count / columns / batches;
    const size_t slice_rows = rows_of_slice(rows, columns / groups);
    const size_t tile_groups = groups_of_tile(groups, columns / groups);
    *out = NULL;
    if (rows > INT32_MAX || columns > INT32_MAX || columns / groups > GROUP_COLUMNS_MAX)
        return ls_fail(err, LS_EUNSUPPORTED, "cards do not compute this at such a size");
    norm *k;
    const int ret = new_norm(st, node, enqueue_group_norm, &k, err);
    if (ret)
        return ret;
    group_norm_params *p = &k->params.group;
    p->rows = (uint32_t)rows;
    p->columns = (uint32_t)columns;
    p->groups = (uint32_t)groups;
    p->tile_groups = (uint32_t)tile_groups;
    p->slice_rows = (uint32_t)slice_rows;
    p->slices = (uint32_t)ls_gpu_divide_up(rows, slice_rows);
    p->act = node->act;
    p->eps = node->u.norm.eps;
    k->grid[0] = p->slices;
    k->grid[1] = ls_gpu_divide_up(groups, tile_groups);
    k->grid[2] = batches;
    *scratch = batches * groups * p->slices * 2 * sizeof(float);
    k->base.functions = GPU_BIT(GPU_group_moments) | GPU_BIT(GPU_group_apply);
    *out = &k->base;
    return 0;
}

static int enqueue_layer_norm(gpu_device *dev, const ls_kernel *base, const gpu_places *at,
                              ls_error *err)
{
    const norm *k = (const norm *)base;
    const float *vector[LS_MAX_INPUTS];
    layer_norm_params p = k->params.layer;
    const int ret = find_vectors(dev, k, at, vector, err);
    if (ret)
        return ret;
    p.x = (const uint16_t *)(uintptr_t)at->in[0];
    p.weight = vector[1];
    p.bias = vector[2];
    p.positions = vector[3];
    p.y = (uint16_t *)(uintptr_t)at->out;
    p.bad = (uint32_t *)(uintptr_t)at->bad;
    return ls_gpu_launch(dev, GPU_layer_norm, k->grid, 0, &p, sizeof p, err);
}

int ls_gpu_compile_layer_norm(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                              ls_error *err)
{
    const ls_tensor *x = node->in[0];
    const size_t columns = x->shape[x->ndim - 1], rows = x->count / columns;
    *scratch = 0;
    *out = NULL;
    if (rows > INT32_MAX || columns > INT32_MAX)
        return ls_fail(err, LS_EUNSUPPORTED, "cards do not compute this at such a size");
    norm *k;
    const int ret = new_norm(st, node, enqueue_layer_norm, &k, err);
    if (ret)
        return ret;
    layer_norm_params *p = &k->params.layer;
    p->rows = (uint32_t)rows;
    p->columns = (uint32_t)columns;
    p->image_rows = (uint32_t)(rows / x->shape[0]);
    p->frames = (uint32_t)node->u.norm.frames;
    p->eps = node->u.norm.eps;
    k->grid[0] = ls_gpu_divide_up(rows, NORM_WARPS);
    k->grid[1] = k->grid[2] = 1;
    k->base.functions = GPU_BIT(GPU_layer_norm);
    *out = &k->base;
    return 0;
}
