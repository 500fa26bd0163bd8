/* Shared by the files of the oneDNN backend. */
#ifndef LS_BACKEND_ONEDNN_ONEDNN_H
#define LS_BACKEND_ONEDNN_ONEDNN_H

#include "backend/device.h"
#include "backend/onednn/dnnl.h"
#include "backend/onednn/kernels.h"
#include "base/alloc.h"
#include "base/error.h"

/* A weight in the layout of a primitive. */
typedef struct packed_weight {
    ls_packed base;
    const ls_param *param;
    dnnl_memory_t memory;
    ls_const_md md; /* the memory's */
    float *scale;   /* of int8, after the elements: one for each output channel, else NULL */
} packed_weight;

typedef struct onednn_device {
    ls_device base;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    const ls_kernels *kernels;
    bool compiled, ran; /* once at least */
} onednn_device;

typedef struct onednn_store {
    ls_store base;
    onednn_device *dev;
} onednn_store;

/* First member of every kernel. */
struct ls_kernel {
    int (*run)(onednn_device *dev, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
               void *scratch, ls_error *err);
    void (*free)(ls_kernel *k);
    int in_place; /* see ls_device_vtable */
};

/* `p` as already packed in type `t` with the dimensions of `like`, or NULL. */
const packed_weight *ls_onednn_packed(const onednn_store *st, const ls_param *p, ls_const_md like,
                                      dnnl_data_type_t t);
/* Packs `p`, quantised if the type is int8, which `plain` describes in float32 and row-major order,
 * into the layout `md`, or returns an existing packing of the same type and dimensions that can be
 * reordered. Owned by the store; without data in a dry one. */
int ls_onednn_pack(onednn_store *st, const ls_param *p, ls_const_md plain, ls_const_md md,
                   const packed_weight **out, ls_error *err);
/* `p` as float32 in row-major order, owned by the store. */
int ls_onednn_vector(onednn_store *st, const ls_param *p, const float **out, ls_error *err);
void ls_onednn_free_packed(onednn_store *st);

/* Compile functions, see ls_device_vtable. */
int ls_onednn_compile_conv2d(onednn_store *st, const ls_node *node, ls_kernel **out,
                             size_t *scratch, ls_error *err);
int ls_onednn_compile_linear(onednn_store *st, const ls_node *node, ls_kernel **out,
                             size_t *scratch, ls_error *err);
/* Whether a convolution or linear is to be computed in eight bits: the first and last of a network
 * have fewer channels. */
#define LS_INT8_CHANNELS 16
bool ls_onednn_suits_int8(const onednn_store *st, const ls_node *node);
/* *out stays NULL where oneDNN has no kernel for it. */
int ls_onednn_compile_int8(onednn_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                           ls_error *err);
int ls_onednn_compile_op(onednn_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                         ls_error *err);

/* Pool, binary and take. */
int ls_onednn_compile_image_op(onednn_store *st, const ls_node *node, ls_kernel **out,
                               size_t *scratch, ls_error *err);

#endif
