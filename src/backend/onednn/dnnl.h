/* oneDNN 2 and 3 behind one interface: their differences are confined to this file and dnnl.c. */
#ifndef LS_BACKEND_ONEDNN_DNNL_H
#define LS_BACKEND_ONEDNN_DNNL_H

#include "latentsync/error.h"
#include "tensor/graph.h"

#include <oneapi/dnnl/dnnl.h>

#if DNNL_VERSION_MAJOR < 3
typedef dnnl_memory_desc_t *ls_md;
typedef const dnnl_memory_desc_t *ls_const_md;
#else
typedef dnnl_memory_desc_t ls_md;
typedef const_dnnl_memory_desc_t ls_const_md;
#endif

/* 0, or err filled in for a oneDNN status. */
int ls_onednn_check(dnnl_status_t status, const char *what, ls_error *err);

static inline dnnl_data_type_t onednn_type(ls_dtype t)
{
    return t == LS_BF16 ? dnnl_bf16 : dnnl_f32;
}

/* Describes memory; free with ls_md_free, which takes NULL. */
dnnl_status_t ls_md_new(ls_md *out, int ndims, const dnnl_dims_t dims, dnnl_data_type_t t,
                        dnnl_format_tag_t tag);
/* The channels-last layout of an image. */
dnnl_status_t ls_md_image(ls_md *out, const ls_tensor *t);
dnnl_status_t ls_md_copy(ls_md *out, ls_const_md md);
void ls_md_free(ls_md md);

/* The contents of a description; pointers point into it. */
typedef struct ls_md_shape {
    int ndims;
    const dnnl_dim_t *dims, *padded; /* padded: to whole blocks */
    dnnl_data_type_t type;
    /* Blocks, the innermost last: of which dimension, and how many elements; steps from block to
     * block. Not where the layout is left open. */
    int blocks;
    const dnnl_dim_t *block_dim, *block_size, *strides;
} ls_md_shape;
ls_md_shape ls_md_shape_of(ls_const_md md);
/* Writes what a layout is, exactly; nothing where that cannot be said in `size` bytes. */
void ls_md_text(char *text, size_t size, ls_const_md md);
/* Whether oneDNN can reorder to or from this layout: version 3 omits elements where dimensions are
 * padded to blocks. */
bool ls_md_can_reorder(ls_const_md md);

/* The window of a convolution or a pool; `bias` may be NULL. */
typedef struct ls_dnnl_window {
    dnnl_dims_t kernel, stride, pad_first, pad_last;
} ls_dnnl_window;
dnnl_status_t ls_dnnl_convolution(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, ls_const_md src,
                                  ls_const_md weight, ls_const_md bias, ls_const_md dst,
                                  const ls_dnnl_window *w, dnnl_primitive_attr_t attr);
dnnl_status_t ls_dnnl_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, ls_const_md src,
                             ls_const_md weight, ls_const_md bias, ls_const_md dst,
                             dnnl_primitive_attr_t attr);
dnnl_status_t ls_dnnl_pool(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, dnnl_alg_kind_t kind,
                           ls_const_md src, ls_const_md dst, const ls_dnnl_window *w,
                           dnnl_primitive_attr_t attr);

/* Post-ops: adds the existing output; applies a function. */
dnnl_status_t ls_dnnl_append_sum(dnnl_post_ops_t ops);
dnnl_status_t ls_dnnl_append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t kind, float alpha);

#endif
