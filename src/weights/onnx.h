/* ONNX files: parsed into their messages, with every tensor checked. nn/onnx/onnx.h turns them into
 * graphs. */
#ifndef LS_WEIGHTS_ONNX_H
#define LS_WEIGHTS_ONNX_H

#include "base/error.h"
#include "tensor/dtype.h"
#include "weights/onnx.pb-c.h"

#include <stdbool.h>

#define LS_ONNX_MAX_NODES 4096
#define LS_ONNX_MAX_BYTES ((size_t)256 << 20) /* of a file */

typedef LsOnnx__GraphProto ls_onnx_graph;
typedef LsOnnx__NodeProto ls_onnx_node;

typedef struct ls_onnx ls_onnx;

/* Reads a whole file. LS_EFORMAT if it is not an ONNX file, is damaged, or keeps its weights in
 * other files; LS_EUNSUPPORTED for more than LS_ONNX_MAX_NODES nodes, or an operator set other than
 * the standard one, versions 7 to 25. Memory stays within a few times the file's size. */
int ls_onnx_open(ls_onnx **out, const char *path, ls_error *err);
/* The same from memory, which need not outlive the call; `name` is for messages. */
int ls_onnx_open_memory(ls_onnx **out, const char *name, const void *data, size_t size,
                        ls_error *err);
void ls_onnx_close(ls_onnx **m);

const char *ls_onnx_path(const ls_onnx *m);
const ls_onnx_graph *ls_onnx_get_graph(const ls_onnx *m);

/* The values of a tensor, in row-major order: integers as int64, others as float32. */
typedef struct ls_onnx_value {
    size_t ndim, shape[LS_MAX_DIMS], count;
    float *f;   /* NULL if integers */
    int64_t *i; /* NULL if not */
} ls_onnx_value;

/* On failure *out is empty; the caller frees it either way. */
int ls_onnx_read_tensor(ls_onnx_value *out, const LsOnnx__TensorProto *t, ls_error *err);
/* Allocates a value of that shape. */
int ls_onnx_value_new(ls_onnx_value *out, bool whole, size_t ndim, const size_t *shape,
                      ls_error *err);
void ls_onnx_value_free(ls_onnx_value *v);

#endif
