/* ONNX networks as graphs of ours. Shapes are fixed when a network is imported: whatever depends on
 * constants and shapes alone (Shape, Gather, Slice, Concat, ...) is worked out then and leaves no
 * trace in the graph; convolutions take in the normalisations, scales, additions and activations
 * that follow them; images are turned to channels-last where they meet a convolution or a pool.
 *
 * Operators: Add, AveragePool, BatchNormalization, Cast, Concat, Constant, Conv, Dropout, Flatten,
 * Gather, Gemm, GlobalAveragePool, Identity, MaxPool, Mul, PRelu, Relu, Reshape, Resize (nearest),
 * Shape, Sigmoid, Slice, Squeeze, Sub, Transpose, Unsqueeze, as defined by the ONNX specification
 * (operator sets 7 to 25). */
#ifndef LS_NN_ONNX_ONNX_H
#define LS_NN_ONNX_ONNX_H

#include "tensor/graph.h"
#include "weights/onnx.h"

typedef struct ls_onnx_input {
    const char *name;
    size_t ndim, shape[LS_MAX_DIMS]; /* as the network has it: [N, C, H, W] for an image */
    bool channels_last;              /* bound as [N, H, W, C] all the same */
    const ls_onnx_value *constant;   /* a value to fix the input at; shape is then its own */
} ls_onnx_input;

/* What became of an output. */
typedef struct ls_onnx_output {
    const char *name; /* of the binding, float32 in the network's own order; the import's */
    size_t ndim, shape[LS_MAX_DIMS];
    const ls_onnx_value *constant; /* not NULL: it does not depend on the inputs that vary; there is
                                      no binding then */
} ls_onnx_output;

/* The weights of an imported graph: has to outlive every plan that is compiled from it. */
typedef struct ls_onnx_import ls_onnx_import;

/* Appends the network to `g`. Every input of the file that is not an initializer has to be in
 * `inputs`; their dimensions are held to those that the file fixes. Errors name the node:
 * LS_EFORMAT for a network that makes no sense (shapes that do not fit, values used before they are
 * there, as in a cycle), LS_EUNSUPPORTED for an operator, type or option that is not supported. `m`
 * may be closed afterwards; *out is NULL on failure. */
int ls_onnx_import_graph(ls_onnx_import **out, ls_graph *g, const ls_onnx *m,
                         const ls_onnx_input *inputs, size_t count, ls_error *err);
void ls_onnx_import_free(ls_onnx_import **im);

size_t ls_onnx_import_outputs(const ls_onnx_import *im, const ls_onnx_output **outputs);

#endif
