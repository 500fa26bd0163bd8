/* Shared by the files of the ONNX importer. */
#ifndef LS_NN_ONNX_IMPORTER_H
#define LS_NN_ONNX_IMPORTER_H

#include "nn/onnx/onnx.h"

#include <stdbool.h>

#define LS_IM_MAX_ELEMENTS ((size_t)1 << 28) /* of constants, weights and activations in all */

/* A named value of the network: constant, or computed by the graph. */
typedef struct ls_im_value {
    const char *name; /* the file's */
    size_t uses;      /* by nodes and as an output */
    bool known;
    ls_onnx_value constant; /* its shape is always set */
    ls_tensor *tensor;      /* NULL: constant */
    bool last;              /* the tensor is [N, H, W, C], the value [N, C, H, W] */
} ls_im_value;

typedef struct ls_importer {
    ls_onnx_import *im;
    ls_graph *g;
    const ls_onnx_graph *file;
    ls_im_value *values;
    size_t value_count, *table; /* hash of names: index + 1 into values */
    size_t table_size;
    bool *done; /* nodes absorbed by an earlier one */
    size_t current;
    const ls_onnx_node *node;
    const char *output; /* name of the output of the node, or of the last one it absorbed */
    size_t budget;      /* what remains of LS_IM_MAX_ELEMENTS */
    ls_error *err;
} ls_importer;

/* As ls_fail, with the node's name and operator in front. */
int ls_im_fail(ls_importer *s, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Counts elements, so that a small file cannot use disproportionate memory. */
int ls_im_spend(ls_importer *s, size_t elements);
/* NULL for a name that is not in the file. */
ls_im_value *ls_im_find(const ls_importer *s, const char *name);
/* Whether it is an operator of ONNX itself. */
bool ls_im_standard(const ls_onnx_node *n);

/* Attributes of the current node. */
const LsOnnx__AttributeProto *ls_im_attribute(const ls_importer *s, const char *name);
int64_t ls_im_attr_int(const ls_importer *s, const char *name, int64_t otherwise);
float ls_im_attr_float(const ls_importer *s, const char *name, float otherwise);
bool ls_im_attr_is(const ls_importer *s, const char *name, const char *text);
/* The n integers of a window, each 0 .. 65536; leaves `out` unchanged if there are none. */
int ls_im_attr_sizes(ls_importer *s, const char *name, size_t n, size_t *out);
/* A dimension counted from the start or, when negative, from the end. */
int ls_im_axis_of(ls_importer *s, int64_t axis, size_t ndim, size_t *out);

/* Inputs of the current node; NULL for an omitted one. */
ls_im_value *ls_im_input(const ls_importer *s, size_t i);
/* The i-th input as a constant; `whole`: of integers. */
int ls_im_constant_input(ls_importer *s, size_t i, bool whole, const ls_onnx_value **out);
/* The list of integers that is an input in newer operator sets and an attribute in older ones. *n
 * is 0 if there is neither. */
int ls_im_int_list(ls_importer *s, size_t i, const char *name, const int64_t **list, size_t *n);

/* The output of the current node. The first takes ownership of the constant in `v`, also on
 * failure; the second returns the error of what led to `t`, which is then ignored. */
int ls_im_define(ls_importer *s, ls_im_value *v);
int ls_im_define_tensor(ls_importer *s, ls_tensor *t, bool last);

/* A weight of the graph. Takes ownership of `data`, also on failure. NULL after an error. */
ls_tensor *ls_im_add_weight(ls_importer *s, float *data, size_t ndim, const size_t *shape);
float *ls_im_copy_floats(const float *from, size_t n);

/* Offsets of a row-major tensor along each dimension. */
void ls_im_steps_of(size_t ndim, const size_t *shape, size_t *step);

/* A table for ls_take, filled dimension by dimension; its owner frees `table`. */
typedef struct ls_im_take {
    size_t ndim, shape[LS_MAX_DIMS];
    size_t *table, used;
} ls_im_take;

/* Room for one more dimension of the result; NULL after an error. */
size_t *ls_im_take_dimension(ls_importer *s, ls_im_take *t, size_t n);
/* A dimension copied unchanged, or in equal steps. */
int ls_im_take_steps(ls_importer *s, ls_im_take *t, size_t n, size_t start, int64_t step);

/* An image [N, C, H, W] as [N, H, W, C], and any value in the network's own order. NULL after an
 * error. */
ls_tensor *ls_im_channels_last(ls_importer *s, const ls_im_value *v);
ls_tensor *ls_im_plain(ls_importer *s, const ls_im_value *v);

/* Operators: each defines the output of the current node, whose inputs are known. */
int ls_import_activation(ls_importer *s);
int ls_import_batch_normalization(ls_importer *s);
int ls_import_binary(ls_importer *s);
int ls_import_cast(ls_importer *s);
int ls_import_concat(ls_importer *s);
int ls_import_constant(ls_importer *s);
int ls_import_conv(ls_importer *s);
int ls_import_flatten(ls_importer *s);
int ls_import_gather(ls_importer *s);
int ls_import_gemm(ls_importer *s);
int ls_import_pool(ls_importer *s);
int ls_import_reshape(ls_importer *s);
int ls_import_resize(ls_importer *s);
int ls_import_same(ls_importer *s);
int ls_import_shape(ls_importer *s);
int ls_import_slice(ls_importer *s);
int ls_import_squeeze(ls_importer *s);
int ls_import_transpose(ls_importer *s);

#endif
