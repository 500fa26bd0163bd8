#include "backend/onednn/onednn.h"
#include "backend/team.h"

#include <stdlib.h>

int ls_onednn_check(dnnl_status_t status, const char *what, ls_error *err)
{
    if (status == dnnl_success)
        return 0;
    if (status == dnnl_out_of_memory)
        return ls_fail(err, LS_ENOMEM, "out of memory in %s", what);
    return ls_fail(err, LS_EBACKEND, "oneDNN cannot %s (status %d)", what, (int)status);
}

const packed_weight *ls_onednn_packed(const onednn_backend *be, const ls_param *p, int ndims,
                                      const dnnl_dims_t dims, dnnl_data_type_t t)
{
    for (const packed_weight *w = be->weights; w; w = w->next)
        if (w->param == p && w->md.data_type == t && w->md.ndims == ndims &&
            !memcmp(w->md.dims, dims, (size_t)ndims * sizeof *dims))
            return w;
    return NULL;
}

static int reorder(onednn_backend *be, const dnnl_memory_desc_t *plain, void *src,
                   const packed_weight *w, ls_error *err)
{
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t prim = NULL;
    dnnl_status_t s = dnnl_memory_create(&from, plain, be->engine, src);
    if (!s)
        s = dnnl_reorder_primitive_desc_create(&pd, plain, be->engine, &w->md, be->engine, NULL);
    if (!s)
        s = dnnl_primitive_create(&prim, pd);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, w->memory}};
    if (!s)
        s = dnnl_primitive_execute(prim, be->stream, 2, args);
    if (!s)
        s = dnnl_stream_wait(be->stream);
    dnnl_primitive_destroy(prim);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(from);
    return ls_onednn_check(s, "pack a weight", err);
}

static void free_weight(packed_weight *w)
{
    dnnl_memory_destroy(w->memory);
    ls_aligned_free(w->data);
    free(w);
}

/* Reads `p` into w->data, by way of a copy in float32 where the layouts differ. */
static int fill(onednn_backend *be, const ls_param *p, const dnnl_memory_desc_t *plain,
                packed_weight *w, ls_error *err)
{
    if (dnnl_memory_desc_equal(plain, &w->md))
        return p->read(p, w->data, err);
    float *copy = ls_aligned_alloc(p->count * sizeof *copy);
    if (!copy)
        return ls_fail(err, LS_ENOMEM, "out of memory for %s", p->name);
    int ret = p->read(p, copy, err);
    if (!ret)
        ret = reorder(be, plain, copy, w, err);
    ls_aligned_free(copy);
    return ret;
}

int ls_onednn_pack(onednn_backend *be, const ls_param *p, const dnnl_memory_desc_t *plain,
                   const dnnl_memory_desc_t *md, const packed_weight **out, ls_error *err)
{
    *out = ls_onednn_packed(be, p, md->ndims, md->dims, md->data_type);
    if (*out)
        return 0;
    packed_weight *w = ls_calloc_array(1, sizeof *w);
    size_t bytes = dnnl_memory_desc_get_size(md);
    if (w && !be->base.dry)
        w->data = ls_aligned_alloc(bytes);
    if (!w || (!w->data && !be->base.dry)) {
        free(w);
        return ls_fail(err, LS_ENOMEM, "out of memory for %s", p->name);
    }
    w->param = p;
    w->md = *md;
    int ret = ls_onednn_check(dnnl_memory_create(&w->memory, md, be->engine, w->data),
                              "describe a weight", err);
    if (!ret && !be->base.dry)
        ret = fill(be, p, plain, w, err);
    if (ret) {
        free_weight(w);
        return ret;
    }
    w->next = be->weights;
    be->weights = w;
    be->base.packed_bytes += bytes;
    *out = w;
    return 0;
}

int ls_onednn_vector(onednn_backend *be, const ls_param *p, const float **out, ls_error *err)
{
    dnnl_memory_desc_t md;
    dnnl_dims_t dims = {(dnnl_dim_t)p->count}, strides = {1};
    const packed_weight *w;
    int ret = ls_onednn_check(dnnl_memory_desc_init_by_strides(&md, 1, dims, dnnl_f32, strides),
                              "describe a vector", err);
    if (!ret)
        ret = ls_onednn_pack(be, p, &md, &md, &w, err);
    if (!ret)
        *out = w->data;
    return ret;
}

static int compile(ls_backend *base, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err)
{
    onednn_backend *be = (onednn_backend *)base;
    *out = NULL;
    *scratch = 0;
    const ls_team before = ls_team_enter(base->threads);
    int ret;
    if (node->op == LS_OP_CONV2D)
        ret = ls_onednn_compile_conv2d(be, node, out, scratch, err);
    else if (node->op == LS_OP_LINEAR)
        ret = ls_onednn_compile_linear(be, node, out, scratch, err);
    else if (node->op == LS_OP_POOL || node->op == LS_OP_BINARY || node->op == LS_OP_TAKE)
        ret = ls_onednn_compile_image_op(be, node, out, scratch, err);
    else
        ret = ls_onednn_compile_op(be, node, out, scratch, err);
    ls_team_leave(before);
    return ret ? ls_fail_context(err, ret, "%s", ls_op_name(node->op)) : 0;
}

static int run(ls_backend *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
               void *scratch, ls_error *err)
{
    const ls_team before = ls_team_enter(base->threads);
    const int ret = k->run((onednn_backend *)base, k, in, out, scratch, err);
    ls_team_leave(before);
    return ret;
}

static void free_kernel(ls_kernel *k)
{
    if (k)
        k->free(k);
}

static int in_place(const ls_kernel *k)
{
    return k->in_place;
}

static void close_backend(ls_backend *base)
{
    onednn_backend *be = (onednn_backend *)base;
    for (packed_weight *w = be->weights, *next; w; w = next) {
        next = w->next;
        free_weight(w);
    }
    dnnl_stream_destroy(be->stream);
    dnnl_engine_destroy(be->engine);
    free(be);
}

static const ls_backend_vtable vtable = {"onednn",    compile,  run,
                                         free_kernel, in_place, close_backend};

int ls_backend_onednn_open(ls_backend **out, ls_error *err)
{
    *out = NULL;
    onednn_backend *be = ls_calloc_array(1, sizeof *be);
    if (!be)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    be->base.vtable = &vtable;
    be->base.threads = 1;
    be->kernels = ls_kernels_get();
    dnnl_status_t s = dnnl_engine_create(&be->engine, dnnl_cpu, 0);
    if (!s)
        s = dnnl_stream_create(&be->stream, be->engine, dnnl_stream_in_order);
    int ret = ls_onednn_check(s, "open the CPU", err);
    if (ret) {
        close_backend(&be->base);
        return ret;
    }
    *out = &be->base;
    return 0;
}
