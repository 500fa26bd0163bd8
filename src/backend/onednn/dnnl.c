#include "backend/onednn/dnnl.h"
#include "base/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int ls_onednn_check(dnnl_status_t status, const char *what, ls_error *err)
{
    if (status == dnnl_success)
        return 0;
    if (status == dnnl_out_of_memory)
        return ls_fail(err, LS_ENOMEM, "out of memory in %s", what);
    return ls_fail(err, LS_EBACKEND, "oneDNN cannot %s (status %d)", what, (int)status);
}

dnnl_status_t ls_md_image(ls_md *out, const ls_tensor *t)
{
    const size_t *s = t->shape;
    dnnl_dims_t dims = {(dnnl_dim_t)s[0], (dnnl_dim_t)s[3], (dnnl_dim_t)s[1], (dnnl_dim_t)s[2]};
    return ls_md_new(out, 4, dims, onednn_type(t->dtype), dnnl_nhwc);
}

static const dnnl_dims_t dense = {0}; /* no dilation */

static bool is_blocked(ls_const_md md);
/* What `extra` is, that oneDNN keeps after the elements, as far as its size does not say it. */
static void extra_text(char *text, size_t size, ls_const_md md);

void ls_md_text(char *text, size_t size, ls_const_md md)
{
    *text = '\0';
    if (!is_blocked(md))
        return;
    const ls_md_shape s = ls_md_shape_of(md);
    size_t n = (size_t)snprintf(text, size, "type %d", (int)s.type);
    for (int d = 0; d < s.ndims && n < size; d++)
        n += (size_t)snprintf(text + n, size - n, ", %lld of %lld by %lld", (long long)s.dims[d],
                              (long long)s.padded[d], (long long)s.strides[d]);
    for (int b = 0; b < s.blocks && n < size; b++)
        n += (size_t)snprintf(text + n, size - n, ", block %lld of %lld",
                              (long long)s.block_size[b], (long long)s.block_dim[b]);
    if (n < size)
        extra_text(text + n, size - n, md);
    if (strlen(text) + 1 >= size)
        *text = '\0';
}

#if DNNL_VERSION_MAJOR < 3

dnnl_status_t ls_md_new(ls_md *out, int ndims, const dnnl_dims_t dims, dnnl_data_type_t t,
                        dnnl_format_tag_t tag)
{
    ls_md md = malloc(sizeof *md);
    const dnnl_status_t s =
        md ? dnnl_memory_desc_init_by_tag(md, ndims, dims, t, tag) : dnnl_out_of_memory;
    if (s)
        ls_md_free(md);
    *out = s ? NULL : md;
    return s;
}

dnnl_status_t ls_md_copy(ls_md *out, ls_const_md md)
{
    *out = malloc(sizeof **out);
    if (!*out)
        return dnnl_out_of_memory;
    **out = *md;
    return dnnl_success;
}

void ls_md_free(ls_md md)
{
    free(md);
}

ls_md_shape ls_md_shape_of(ls_const_md md)
{
    const dnnl_blocking_desc_t *b = &md->format_desc.blocking;
    return (ls_md_shape){.ndims = md->ndims,
                         .dims = md->dims,
                         .padded = md->padded_dims,
                         .type = md->data_type,
                         .blocks = b->inner_nblks,
                         .block_dim = b->inner_idxs,
                         .block_size = b->inner_blks,
                         .strides = b->strides};
}

static bool is_blocked(ls_const_md md)
{
    return md->format_kind == dnnl_blocked && !md->offset0;
}

static void extra_text(char *text, size_t size, ls_const_md md)
{
    const dnnl_memory_extra_desc_t *e = &md->extra;
    if (e->flags)
        snprintf(text, size, ", extra %llx %d %a %d", (unsigned long long)e->flags,
                 e->compensation_mask, (double)e->scale_adjust, e->asymm_compensation_mask);
}

bool ls_md_can_reorder(ls_const_md md)
{
    (void)md;
    return true;
}

dnnl_status_t ls_dnnl_convolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, ls_const_md src,
                                  ls_const_md weight, ls_const_md bias, ls_const_md dst,
                                  const ls_dnnl_window *w, dnnl_primitive_attr_t attr)
{
    dnnl_convolution_desc_t d;
    const dnnl_status_t s =
        dnnl_convolution_forward_desc_init(&d, dnnl_forward_inference, dnnl_convolution_direct, src,
                                           weight, bias, dst, w->stride, w->pad_first, w->pad_last);
    return s ? s : dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t ls_dnnl_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, ls_const_md src,
                             ls_const_md weight, ls_const_md bias, ls_const_md dst,
                             dnnl_primitive_attr_t attr)
{
    dnnl_matmul_desc_t d;
    const dnnl_status_t s = dnnl_matmul_desc_init(&d, src, weight, bias, dst);
    return s ? s : dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t ls_dnnl_pool(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t kind,
                           ls_const_md src, ls_const_md dst, const ls_dnnl_window *w,
                           dnnl_primitive_attr_t attr)
{
    dnnl_pooling_v2_desc_t d;
    const dnnl_status_t s =
        dnnl_pooling_v2_forward_desc_init(&d, dnnl_forward_inference, kind, src, dst, w->stride,
                                          w->kernel, dense, w->pad_first, w->pad_last);
    return s ? s : dnnl_primitive_desc_create(pd, &d, attr, engine, NULL);
}

dnnl_status_t ls_dnnl_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

dnnl_status_t ls_dnnl_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, 1, kind, alpha, 0);
}

#else

dnnl_status_t ls_md_new(ls_md *out, int ndims, const dnnl_dims_t dims, dnnl_data_type_t t,
                        dnnl_format_tag_t tag)
{
    *out = NULL;
    return dnnl_memory_desc_create_with_tag(out, ndims, dims, t, tag);
}

dnnl_status_t ls_md_copy(ls_md *out, ls_const_md md)
{
    return dnnl_memory_desc_clone(out, md);
}

void ls_md_free(ls_md md)
{
    dnnl_memory_desc_destroy(md);
}

ls_md_shape ls_md_shape_of(ls_const_md md)
{
    ls_md_shape s = {0};
    dnnl_memory_desc_query(md, dnnl_query_ndims_s32, &s.ndims);
    dnnl_memory_desc_query(md, dnnl_query_dims, &s.dims);
    dnnl_memory_desc_query(md, dnnl_query_padded_dims, &s.padded);
    dnnl_memory_desc_query(md, dnnl_query_data_type, &s.type);
    dnnl_memory_desc_query(md, dnnl_query_inner_nblks_s32, &s.blocks);
    dnnl_memory_desc_query(md, dnnl_query_inner_idxs, &s.block_dim);
    dnnl_memory_desc_query(md, dnnl_query_inner_blks, &s.block_size);
    dnnl_memory_desc_query(md, dnnl_query_strides, &s.strides);
    return s;
}

static bool is_blocked(ls_const_md md)
{
    dnnl_format_kind_t kind = dnnl_format_kind_undef;
    dnnl_dim_t offset = 0;
    dnnl_memory_desc_query(md, dnnl_query_format_kind, &kind);
    dnnl_memory_desc_query(md, dnnl_query_submemory_offset_s64, &offset);
    return kind == dnnl_blocked && !offset;
}

static void extra_text(char *text, size_t size, ls_const_md md)
{
    (void)text, (void)size, (void)md;
}

bool ls_md_can_reorder(ls_const_md md)
{
    const ls_md_shape s = ls_md_shape_of(md);
    return !memcmp(s.dims, s.padded, (size_t)s.ndims * sizeof *s.dims);
}

/* How these convolutions split their sums depends on the number of threads. */
static bool is_brgemm(const_dnnl_primitive_desc_t pd)
{
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return !strncmp(name, "brg", 3);
}

dnnl_status_t ls_dnnl_convolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, ls_const_md src,
                                  ls_const_md weight, ls_const_md bias, ls_const_md dst,
                                  const ls_dnnl_window *w, dnnl_primitive_attr_t attr)
{
    const dnnl_status_t s = dnnl_convolution_forward_primitive_desc_create(
        pd, engine, dnnl_forward_inference, dnnl_convolution_direct, src, weight, bias, dst,
        w->stride, dense, w->pad_first, w->pad_last, attr);
    while (!s && is_brgemm(*pd) && !dnnl_primitive_desc_next_impl(*pd))
        ;
    return s;
}

dnnl_status_t ls_dnnl_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, ls_const_md src,
                             ls_const_md weight, ls_const_md bias, ls_const_md dst,
                             dnnl_primitive_attr_t attr)
{
    return dnnl_matmul_primitive_desc_create(pd, engine, src, weight, bias, dst, attr);
}

dnnl_status_t ls_dnnl_pool(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t kind,
                           ls_const_md src, ls_const_md dst, const ls_dnnl_window *w,
                           dnnl_primitive_attr_t attr)
{
    return dnnl_pooling_forward_primitive_desc_create(pd, engine, dnnl_forward_inference, kind, src,
                                                      dst, w->stride, w->kernel, dense,
                                                      w->pad_first, w->pad_last, attr);
}

dnnl_status_t ls_dnnl_append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

dnnl_status_t ls_dnnl_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha)
{
    return dnnl_post_ops_append_eltwise(ops, kind, alpha, 0);
}

#endif
