/* A network as a list of ops, built once for fixed shapes. Activations are channels-last:
 * [N, H, W, C] images or [N, T, C] tokens, N = batch x frames, batch-major; a pixel row is a token
 * row, so convolution, linear and attention meet without a transpose.
 *
 * Building needs no error checks: a mistake (such as a mismatched shape) marks the graph, every
 * later call returns NULL, and ls_graph_error reports the cause. */
#ifndef LS_TENSOR_GRAPH_H
#define LS_TENSOR_GRAPH_H

#include "base/error.h"
#include "tensor/dtype.h"

#include <stdbool.h>

#define LS_MAX_INPUTS 4

/* A weight as the graph sees it: where to read its values when a store packs it. One ls_param
 * stands for one weight in every graph that uses it, so that stores can share the packed copy. */
typedef struct ls_param ls_param;
struct ls_param {
    const char *name;
    size_t ndim, shape[4], count;
    /* Writes `count` float32 values in row-major order. */
    int (*read)(const ls_param *p, float *dst, ls_error *err);
    void *opaque;
};

typedef enum ls_act {
    LS_ACT_NONE,
    LS_ACT_SILU,
    LS_ACT_GELU, /* exact, by erf */
    LS_ACT_RELU,
    LS_ACT_SIGMOID
} ls_act;

/* PRELU is a if a > 0, else a * b. */
typedef enum ls_binary { LS_BINARY_ADD, LS_BINARY_SUB, LS_BINARY_MUL, LS_BINARY_PRELU } ls_binary;

/* A window that slides over an image, in rows and columns; padding top, left, bottom, right. */
typedef struct ls_window {
    size_t kernel[2], stride[2], pad[4];
} ls_window;

typedef enum ls_op {
    LS_OP_CONV2D, /* x [N, H, W, Ci], weight [Co, Ci / groups, kh, kw], bias [Co]?,
                     residual [N, H', W', Co]? */
    LS_OP_LINEAR, /* x [.., Ci], weight [Co, Ci] or [Co, Ci, 1, 1], bias [Co]?, residual [.., Co]?
                   */
    LS_OP_GROUP_NORM, /* x [N, H, W, C] or [N, T, C], weight [C], bias [C] */
    LS_OP_LAYER_NORM, /* x [.., C], weight [C], bias [C], pe [1, P, C]? */
    LS_OP_ATTENTION,  /* q [N, T, C], k [N, S, C], v [N, S, C] */
    LS_OP_GEGLU,      /* x [.., 2C] -> a * gelu(g), a = first half, g = second */
    LS_OP_ACT,        /* x */
    LS_OP_ADD,        /* a, b of one shape */
    LS_OP_CONCAT,     /* a [N, H, W, Ca], b [N, H, W, Cb] -> [N, H, W, Ca + Cb] */
    LS_OP_UPSAMPLE,   /* x [N, H, W, C] -> [N, H', W', C], nearest */
    LS_OP_TIMESTEP,   /* t [1] float32 -> [1, C] float32 sinusoid, cosines first */
    LS_OP_CAST,       /* x -> the same values in another dtype */
    LS_OP_POOL,       /* x [N, H, W, C] -> [N, H', W', C], maximum or mean over windows */
    LS_OP_BINARY, /* a, b of the same number of dimensions, each broadcast where its size is 1 */
    LS_OP_TAKE,   /* x -> elements of it, see ls_take */
    LS_OP_COUNT
} ls_op;

typedef enum ls_tensor_kind {
    LS_TENSOR_INPUT, /* memory bound by the caller of a run */
    LS_TENSOR_PARAM,
    LS_TENSOR_VALUE, /* written by a node */
    LS_TENSOR_VIEW   /* another shape of `source` */
} ls_tensor_kind;

typedef struct ls_tensor {
    ls_tensor_kind kind;
    ls_dtype dtype;
    size_t ndim, shape[LS_MAX_DIMS], count;
    size_t index;             /* index in the graph's list of tensors */
    struct ls_tensor *source; /* of a view; never a view itself */
    const ls_param *param;
    bool output;   /* of a value: in memory bound by the caller of a run */
    bool resident; /* of an input or output: that memory is the device's */
    bool tapped;
} ls_tensor;

typedef struct ls_node {
    ls_op op;
    ls_tensor *in[LS_MAX_INPUTS]; /* in the order of the list above; NULL where optional */
    ls_tensor *out;
    ls_act act; /* conv2d, linear: out = act(x * w + bias) + residual; norms: act(norm(x)) */
    union {
        struct {
            ls_window window;
            size_t groups;
            bool act_last; /* out = act(x * w + bias + residual) */
        } conv;
        struct {
            ls_window window;
            bool mean;       /* otherwise the maximum */
            bool count_pads; /* the mean's divisor counts padding */
        } pool;
        ls_binary binary;
        size_t *take; /* see ls_take; of the graph */
        struct {
            size_t groups, frames; /* statistics over (C / groups) x H x W x `frames` rows of N */
            float eps;
        } norm; /* layer_norm: frames = period of pe: row n of N gets pe[n mod frames] added */
        struct {
            size_t heads, frames; /* frames > 0: along the frames of a batch row, at each token */
            float scale;
        } attention;
    } u;
} ls_node;

typedef struct ls_graph ls_graph;

/* `compute` (LS_F32, LS_BF16 or LS_F16) is the dtype of activations. With `taps`, tensors named by
 * ls_tap keep their values until the end of a run, for comparison with the original's modules. NULL
 * if out of memory. */
ls_graph *ls_graph_new(ls_dtype compute, bool taps);
void ls_graph_free(ls_graph **g);
bool ls_graph_taps(const ls_graph *g);
/* 0, or the first error met while building. */
int ls_graph_error(const ls_graph *g, ls_error *err);
ls_dtype ls_graph_compute(const ls_graph *g);

/* Tensors belong to the graph. `name` is copied; it is how runs bind memory. */
ls_tensor *ls_input(ls_graph *g, const char *name, ls_dtype t, size_t ndim, const size_t *shape);
ls_tensor *ls_weight(ls_graph *g, const ls_param *p); /* NULL for NULL: an absent optional weight */
void ls_output(ls_graph *g, const char *name, ls_tensor *t);
/* Runs bind memory of the device to this input or output, instead of the process's: what is used by
 * several runs is not copied for each. */
void ls_resident(ls_tensor *t);
/* In a graph with taps, makes `t` available to a run under this name (a tensor may have several);
 * otherwise does nothing. */
void ls_tap(ls_graph *g, ls_tensor *t, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

typedef struct ls_conv {
    size_t stride, pad; /* pad on all sides */
    bool pad_end_only;  /* pad only bottom and right, by `pad` (the VAE encoder's downsampling) */
    ls_act act;
} ls_conv;

/* Each appends one node and returns its output; bias, residual and pe may be NULL. A 3-D
 * convolution weight [Co, Ci, k] works along W of an image with H = 1 and pads and strides W only.
 * The bias of a convolution may be a value ([Co] or [1, Co] float32) instead of a weight: this is
 * how the time embedding is added. */
ls_tensor *ls_conv2d(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, ls_tensor *residual,
                     ls_conv attr);
/* With any window (its kernel is the weight's), groups, and, if `act_last`, act(.. + residual). */
ls_tensor *ls_conv2d_grouped(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b,
                             ls_tensor *residual, const ls_window *window, size_t groups,
                             ls_act act, bool act_last);
ls_tensor *ls_linear(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, ls_tensor *residual,
                     ls_act act, ls_dtype out);
ls_tensor *ls_group_norm(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, size_t groups,
                         size_t frames, float eps, ls_act act);
ls_tensor *ls_layer_norm(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, float eps,
                         ls_tensor *pe, size_t frames);
ls_tensor *ls_attention(ls_graph *g, ls_tensor *q, ls_tensor *k, ls_tensor *v, size_t heads,
                        size_t frames, float scale);
ls_tensor *ls_geglu(ls_graph *g, ls_tensor *x);
ls_tensor *ls_activation(ls_graph *g, ls_tensor *x, ls_act act);
ls_tensor *ls_add(ls_graph *g, ls_tensor *a, ls_tensor *b);
ls_tensor *ls_concat(ls_graph *g, ls_tensor *a, ls_tensor *b);
ls_tensor *ls_upsample(ls_graph *g, ls_tensor *x, size_t h, size_t w);
ls_tensor *ls_timestep(ls_graph *g, ls_tensor *t, size_t dim);
ls_tensor *ls_cast(ls_graph *g, ls_tensor *x, ls_dtype t); /* x itself when it has that dtype */
/* h x w windows of the image. Without count_pads those of the last row and column may reach beyond
 * the padding (ONNX's ceil_mode), but each starts before it. */
ls_tensor *ls_pool(ls_graph *g, ls_tensor *x, const ls_window *window, size_t h, size_t w,
                   bool mean, bool count_pads);
ls_tensor *ls_binary_op(ls_graph *g, ls_binary op, ls_tensor *a, ls_tensor *b);
/* out[i0, i1, ..] = x[take[i0] + take[shape[0] + i1] + ..]: one table of offsets into x per
 * dimension, concatenated. Expresses transposes, slices, gathers and nearest resizes. The table is
 * copied. */
ls_tensor *ls_take(ls_graph *g, ls_tensor *x, size_t ndim, const size_t *shape, const size_t *take);
ls_tensor *ls_view(ls_graph *g, ls_tensor *x, size_t ndim, const size_t *shape);

/* For planners and devices. */
size_t ls_graph_node_count(const ls_graph *g);
const ls_node *ls_graph_node(const ls_graph *g, size_t i);
size_t ls_graph_tensor_count(const ls_graph *g);
const ls_tensor *ls_graph_tensor(const ls_graph *g, size_t i);
/* The input, output or tap of that name, or NULL; `is_tap` may be NULL. */
ls_tensor *ls_graph_find(const ls_graph *g, const char *name, bool *is_tap);
/* The i-th name given by ls_input, ls_output or ls_tap; NULL past the last. */
const char *ls_graph_name(const ls_graph *g, size_t i);
const char *ls_op_name(ls_op op);

static inline size_t ls_tensor_bytes(const ls_tensor *t)
{
    return t->count * ls_dtype_size(t->dtype);
}
/* The tensor whose memory `t` lives in. */
static inline const ls_tensor *ls_tensor_root(const ls_tensor *t)
{
    return t->kind == LS_TENSOR_VIEW ? t->source : t;
}

#endif
