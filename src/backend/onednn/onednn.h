/* The inside of the oneDNN backend: what its files share. */
#ifndef LS_BACKEND_ONEDNN_ONEDNN_H
#define LS_BACKEND_ONEDNN_ONEDNN_H

#include "backend/backend.h"
#include "backend/onednn/kernels.h"
#include "base/alloc.h"

#include <oneapi/dnnl/dnnl.h>

/* A weight in the layout of a primitive. */
typedef struct packed_weight {
    const ls_param *param;
    dnnl_memory_desc_t md;
    dnnl_memory_t memory;
    void *data;
    struct packed_weight *next;
} packed_weight;

typedef struct onednn_backend {
    ls_backend base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const ls_kernels *kernels;
    packed_weight *weights;
} onednn_backend;

/* First member of every kernel. */
struct ls_kernel {
    int (*run)(onednn_backend *be, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
               void *scratch, ls_error *err);
    void (*free)(ls_kernel *k);
    int in_place; /* see ls_backend_vtable */
};

/* 0, or err filled in for a oneDNN status. */
int ls_onednn_check(dnnl_status_t status, const char *what, ls_error *err);

/* `p` as it is already packed in that type and with these dimensions, or NULL. */
const packed_weight *ls_onednn_packed(const onednn_backend *be, const ls_param *p, int ndims,
                                      const dnnl_dims_t dims, dnnl_data_type_t t);
/* `p`, described by `plain` as it is in float32 and row-major order, in the layout `md`, or in
 * another one of the same type and dimensions where that is packed already; owned by the backend.
 * No data on a dry one. */
int ls_onednn_pack(onednn_backend *be, const ls_param *p, const dnnl_memory_desc_t *plain,
                   const dnnl_memory_desc_t *md, const packed_weight **out, ls_error *err);
/* `p` as float32 in row-major order, owned by the backend. */
int ls_onednn_vector(onednn_backend *be, const ls_param *p, const float **out, ls_error *err);

/* Compile functions, see ls_backend_vtable. */
int ls_onednn_compile_conv2d(onednn_backend *be, const ls_node *node, ls_kernel **out,
                             size_t *scratch, ls_error *err);
int ls_onednn_compile_linear(onednn_backend *be, const ls_node *node, ls_kernel **out,
                             size_t *scratch, ls_error *err);
int ls_onednn_compile_op(onednn_backend *be, const ls_node *node, ls_kernel **out, size_t *scratch,
                         ls_error *err);

/* Pool, binary and take. */
int ls_onednn_compile_image_op(onednn_backend *be, const ls_node *node, ls_kernel **out,
                               size_t *scratch, ls_error *err);
/* The layout of an image. */
dnnl_status_t ls_onednn_image(dnnl_memory_desc_t *md, const ls_tensor *t);

static inline dnnl_data_type_t onednn_type(ls_dtype t)
{
    return t == LS_BF16 ? dnnl_bf16 : dnnl_f32;
}

#endif
