/* Imports ONNX networks into graphs. Shapes are fixed on import: anything that depends only on
 * constants and shapes (Shape, Gather, Slice, Concat, ...) is folded and leaves no trace in the
 * graph; convolutions absorb the normalisations, scales, additions and activations that follow
 * them; images are converted to channels-last where they reach a convolution or a pool.
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
    bool channels_last;              /* bound as [N, H, W, C] nevertheless */
    const ls_onnx_value *constant;   /* fixes the input to this value, whose shape is then used */
} ls_onnx_input;

/* An output after import. */
typedef struct ls_onnx_output {
    const char *name; /* of the binding, float32 in the network's own order; the import's */
    size_t ndim, shape[LS_MAX_DIMS];
    const ls_onnx_value *constant; /* not NULL: it does not depend on the inputs that vary; there is
                                      no binding then */
} ls_onnx_output;

/* The weights of an imported graph; must outlive every plan compiled from it. */
typedef struct ls_onnx_import ls_onnx_import;

/* Appends the network to `g`. Every input of the file that is not an initializer must be in
 * `inputs`; dimensions are checked against those that the file fixes. Errors name the node:
 * LS_EFORMAT for an invalid network (mismatched shapes, values used before they are computed, as in
 * a cycle), LS_EUNSUPPORTED for an unsupported operator, type or option. `m` may be closed
 * afterwards; *out is NULL on failure. */
int ls_onnx_import_graph(ls_onnx_import **out, ls_graph *g, const ls_onnx *m,
                         const ls_onnx_input *inputs, size_t count, ls_error *err);
void ls_onnx_import_free(ls_onnx_import **im);

size_t ls_onnx_import_outputs(const ls_onnx_import *im, const ls_onnx_output **outputs);

#endif
