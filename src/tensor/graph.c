#include "tensor/graph.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct tensor_name {
    char *name;
    ls_tensor *tensor;
    bool tap;
} tensor_name;

struct ls_graph {
    ls_dtype compute;
    bool taps;
    ls_error err;
    ls_node **nodes;
    ls_tensor **tensors;
    tensor_name *names;
    size_t node_count, tensor_count, name_count;
};

static const char *const op_names[LS_OP_COUNT] = {
    [LS_OP_CONV2D] = "conv2d",
    [LS_OP_LINEAR] = "linear",
    [LS_OP_GROUP_NORM] = "group_norm",
    [LS_OP_LAYER_NORM] = "layer_norm",
    [LS_OP_ATTENTION] = "attention",
    [LS_OP_GEGLU] = "geglu",
    [LS_OP_ACT] = "act",
    [LS_OP_ADD] = "add",
    [LS_OP_CONCAT] = "concat",
    [LS_OP_UPSAMPLE] = "upsample",
    [LS_OP_TIMESTEP] = "timestep",
    [LS_OP_CAST] = "cast",
    [LS_OP_POOL] = "pool",
    [LS_OP_BINARY] = "binary",
    [LS_OP_TAKE] = "take",
};

const char *ls_op_name(ls_op op)
{
    return op_names[op];
}

ls_graph *ls_graph_new(ls_dtype compute, bool taps)
{
    ls_graph *g = ls_calloc_array(1, sizeof *g);
    if (g) {
        g->compute = compute;
        g->taps = taps;
    }
    return g;
}

void ls_graph_free(ls_graph **pg)
{
    ls_graph *g = *pg;
    if (!g)
        return;
    for (size_t i = 0; i < g->node_count; i++) {
        if (g->nodes[i]->op == LS_OP_TAKE)
            free(g->nodes[i]->u.take);
        free(g->nodes[i]);
    }
    for (size_t i = 0; i < g->tensor_count; i++)
        free(g->tensors[i]);
    for (size_t i = 0; i < g->name_count; i++)
        free(g->names[i].name);
    free(g->nodes);
    free(g->tensors);
    free(g->names);
    free(g);
    *pg = NULL;
}

bool ls_graph_taps(const ls_graph *g)
{
    return g->taps;
}

ls_dtype ls_graph_compute(const ls_graph *g)
{
    return g->compute;
}

int ls_graph_error(const ls_graph *g, ls_error *err)
{
    if (g->err.code && err)
        *err = g->err;
    return g->err.code;
}

size_t ls_graph_node_count(const ls_graph *g)
{
    return g->node_count;
}

const ls_node *ls_graph_node(const ls_graph *g, size_t i)
{
    return g->nodes[i];
}

size_t ls_graph_tensor_count(const ls_graph *g)
{
    return g->tensor_count;
}

const ls_tensor *ls_graph_tensor(const ls_graph *g, size_t i)
{
    return g->tensors[i];
}

const char *ls_graph_name(const ls_graph *g, size_t i)
{
    return i < g->name_count ? g->names[i].name : NULL;
}

ls_tensor *ls_graph_find(const ls_graph *g, const char *name, bool *is_tap)
{
    for (size_t i = 0; i < g->name_count; i++) {
        if (!strcmp(g->names[i].name, name)) {
            if (is_tap)
                *is_tap = g->names[i].tap;
            return g->names[i].tensor;
        }
    }
    return NULL;
}

/* Room for one more element when `count` is zero or a power of two. */
static bool grow(ls_graph *g, void *array, size_t count, size_t size)
{
    if (count & (count - 1))
        return true;
    size_t bytes;
    void *p =
        ls_mul_size(count ? count * 2 : 1, size, &bytes) ? realloc(*(void **)array, bytes) : NULL;
    if (!p) {
        ls_fail(&g->err, LS_ENOMEM, "out of memory while building a graph");
        return false;
    }
    *(void **)array = p;
    return true;
}

static ls_tensor *new_tensor(ls_graph *g, ls_tensor_kind kind, ls_dtype t, size_t ndim,
                             const size_t *shape)
{
    ls_tensor *x = ls_calloc_array(1, sizeof *x);
    if (!x || !grow(g, &g->tensors, g->tensor_count, sizeof *g->tensors)) {
        free(x);
        ls_fail(&g->err, LS_ENOMEM, "out of memory while building a graph");
        return NULL;
    }
    x->kind = kind;
    x->dtype = t;
    x->ndim = ndim;
    x->count = 1;
    size_t bytes;
    bool fits = true;
    for (size_t i = 0; i < ndim; i++) {
        x->shape[i] = shape[i];
        fits = fits && ls_mul_size(x->count, shape[i], &x->count);
    }
    if (!fits || !ls_mul_size(x->count, ls_dtype_size(t), &bytes) || !x->count) {
        char text[128];
        ls_fail(&g->err, LS_ESHAPE, "a tensor of shape %s is empty or too large",
                ls_shape_text(text, sizeof text, shape, ndim));
        free(x);
        return NULL;
    }
    x->index = g->tensor_count;
    g->tensors[g->tensor_count++] = x;
    return x;
}

static void add_name(ls_graph *g, const char *name, ls_tensor *t, bool tap)
{
    if (g->err.code || !t || !grow(g, &g->names, g->name_count, sizeof *g->names))
        return;
    char *copy = strdup(name);
    if (!copy) {
        ls_fail(&g->err, LS_ENOMEM, "out of memory while building a graph");
        return;
    }
    g->names[g->name_count++] = (tensor_name){copy, t, tap};
}

ls_tensor *ls_input(ls_graph *g, const char *name, ls_dtype t, size_t ndim, const size_t *shape)
{
    if (g->err.code)
        return NULL;
    ls_tensor *x = new_tensor(g, LS_TENSOR_INPUT, t, ndim, shape);
    add_name(g, name, x, false);
    return x;
}

ls_tensor *ls_weight(ls_graph *g, const ls_param *p)
{
    if (g->err.code || !p)
        return NULL;
    ls_tensor *x = new_tensor(g, LS_TENSOR_PARAM, LS_F32, p->ndim, p->shape);
    if (x)
        x->param = p;
    return x;
}

void ls_resident(ls_tensor *t)
{
    if (t)
        t->resident = true;
}

void ls_output(ls_graph *g, const char *name, ls_tensor *t)
{
    if (g->err.code || !t)
        return;
    if (t->kind != LS_TENSOR_VALUE || t->output) {
        ls_fail(&g->err, LS_EINVAL, "output %s is a view, an input or already an output", name);
        return;
    }
    t->output = true;
    add_name(g, name, t, false);
}

void ls_tap(ls_graph *g, ls_tensor *t, const char *fmt, ...)
{
    if (!g->taps || g->err.code || !t)
        return;
    char name[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(name, sizeof name, fmt, ap);
    va_end(ap);
    t->tapped = true;
    if (t->source)
        t->source->tapped = true;
    add_name(g, name, t, true);
}

/* False, with the graph marked, unless `ok`. */
static bool expect(ls_graph *g, bool ok, ls_op op, const ls_tensor *a, const ls_tensor *b)
{
    if (ok || g->err.code)
        return ok;
    char ta[128], tb[128];
    ls_fail(&g->err, LS_ESHAPE, "%s of %s %s and %s %s: the shapes or types do not fit",
            op_names[op], ls_dtype_name(a->dtype), ls_shape_text(ta, sizeof ta, a->shape, a->ndim),
            b->param ? b->param->name : "", ls_shape_text(tb, sizeof tb, b->shape, b->ndim));
    return false;
}

static ls_node *new_node(ls_graph *g, ls_op op, ls_dtype t, size_t ndim, const size_t *shape)
{
    ls_node *n = ls_calloc_array(1, sizeof *n);
    if (!n || !grow(g, &g->nodes, g->node_count, sizeof *g->nodes)) {
        free(n);
        ls_fail(&g->err, LS_ENOMEM, "out of memory while building a graph");
        return NULL;
    }
    n->op = op;
    n->out = new_tensor(g, LS_TENSOR_VALUE, t, ndim, shape);
    if (!n->out) {
        free(n);
        return NULL;
    }
    g->nodes[g->node_count++] = n;
    return n;
}

static bool same_shape(const ls_tensor *a, const ls_tensor *b)
{
    return a->ndim == b->ndim && !memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape);
}

static bool is_vector(const ls_tensor *t, size_t n)
{
    return !t || (t->dtype == LS_F32 && t->count == n && t->shape[t->ndim - 1] == n);
}

/* Rows or columns of windows that fit; 0 if none does or numbers overflow. */
static size_t windows(size_t in, const ls_window *w, int axis)
{
    size_t padded = in + w->pad[axis] + w->pad[axis + 2];
    bool ok = padded >= in && w->pad[axis] <= SIZE_MAX / 4 && w->pad[axis + 2] <= SIZE_MAX / 4 &&
              w->kernel[axis] && w->stride[axis] && padded >= w->kernel[axis];
    return ok ? (padded - w->kernel[axis]) / w->stride[axis] + 1 : 0;
}

static ls_tensor *convolve(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b,
                           ls_tensor *residual, const ls_window *window, size_t groups, ls_act act,
                           bool act_last)
{
    size_t co = w->shape[0];
    if (!expect(g,
                x->ndim == 4 && groups && co % groups == 0 && x->shape[3] % groups == 0 &&
                    x->shape[3] / groups == w->shape[1],
                LS_OP_CONV2D, x, w) ||
        (b && !expect(g, is_vector(b, co), LS_OP_CONV2D, x, b)))
        return NULL;
    size_t shape[4] = {x->shape[0], windows(x->shape[1], window, 0),
                       windows(x->shape[2], window, 1), co};
    if (!expect(g, shape[1] && shape[2], LS_OP_CONV2D, x, w))
        return NULL;
    ls_node *n = new_node(g, LS_OP_CONV2D, x->dtype, 4, shape);
    if (!n ||
        (residual && !expect(g, same_shape(residual, n->out) && residual->dtype == n->out->dtype,
                             LS_OP_CONV2D, n->out, residual)))
        return NULL;
    n->in[0] = x;
    n->in[1] = w;
    n->in[2] = b;
    n->in[3] = residual;
    n->act = act;
    n->u.conv.window = *window;
    n->u.conv.groups = groups;
    n->u.conv.act_last = act_last;
    return n->out;
}

ls_tensor *ls_conv2d(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, ls_tensor *residual,
                     ls_conv attr)
{
    if (g->err.code || !x || !w)
        return NULL;
    bool one_d = w->ndim == 3;
    if (!expect(g, (one_d && x->ndim == 4 && x->shape[1] == 1) || w->ndim == 4, LS_OP_CONV2D, x, w))
        return NULL;
    size_t first = attr.pad_end_only ? 0 : attr.pad;
    const ls_window window = {{one_d ? 1 : w->shape[2], w->shape[w->ndim - 1]},
                              {one_d ? 1 : attr.stride, attr.stride},
                              {one_d ? 0 : first, first, one_d ? 0 : attr.pad, attr.pad}};
    return convolve(g, x, w, b, residual, &window, 1, attr.act, false);
}

ls_tensor *ls_conv2d_grouped(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b,
                             ls_tensor *residual, const ls_window *window, size_t groups,
                             ls_act act, bool act_last)
{
    if (g->err.code || !x || !w || !expect(g, w->ndim == 4, LS_OP_CONV2D, x, w))
        return NULL;
    ls_window own = *window;
    own.kernel[0] = w->shape[2];
    own.kernel[1] = w->shape[3];
    return convolve(g, x, w, b, residual, &own, groups, act, act_last);
}

ls_tensor *ls_linear(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, ls_tensor *residual,
                     ls_act act, ls_dtype out)
{
    if (g->err.code || !x || !w)
        return NULL;
    size_t ci = w->ndim >= 2 ? w->count / w->shape[0] : 0;
    if (!expect(g, ci == w->shape[1] && x->shape[x->ndim - 1] == ci, LS_OP_LINEAR, x, w) ||
        (b && !expect(g, is_vector(b, w->shape[0]), LS_OP_LINEAR, x, b)))
        return NULL;
    size_t shape[LS_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    shape[x->ndim - 1] = w->shape[0];
    ls_node *n = new_node(g, LS_OP_LINEAR, out, x->ndim, shape);
    if (!n || (residual && !expect(g, residual->count == n->out->count && residual->dtype == out,
                                   LS_OP_LINEAR, n->out, residual)))
        return NULL;
    n->in[0] = x;
    n->in[1] = w;
    n->in[2] = b;
    n->in[3] = residual;
    n->act = act;
    return n->out;
}

ls_tensor *ls_group_norm(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, size_t groups,
                         size_t frames, float eps, ls_act act)
{
    if (g->err.code || !x || !w || !b)
        return NULL;
    size_t c = x->shape[x->ndim - 1];
    if (!expect(g,
                x->ndim >= 3 && is_vector(w, c) && is_vector(b, c) && groups && c % groups == 0 &&
                    frames && x->shape[0] % frames == 0,
                LS_OP_GROUP_NORM, x, w))
        return NULL;
    ls_node *n = new_node(g, LS_OP_GROUP_NORM, x->dtype, x->ndim, x->shape);
    if (!n)
        return NULL;
    n->in[0] = x;
    n->in[1] = w;
    n->in[2] = b;
    n->act = act;
    n->u.norm.groups = groups;
    n->u.norm.frames = frames;
    n->u.norm.eps = eps;
    return n->out;
}

ls_tensor *ls_layer_norm(ls_graph *g, ls_tensor *x, ls_tensor *w, ls_tensor *b, float eps,
                         ls_tensor *pe, size_t frames)
{
    if (g->err.code || !x || !w || !b)
        return NULL;
    size_t c = x->shape[x->ndim - 1];
    if (!expect(g, is_vector(w, c) && is_vector(b, c), LS_OP_LAYER_NORM, x, w) ||
        (pe && !expect(g,
                       pe->dtype == LS_F32 && frames && frames * c <= pe->count &&
                           pe->shape[pe->ndim - 1] == c && x->shape[0] % frames == 0,
                       LS_OP_LAYER_NORM, x, pe)))
        return NULL;
    ls_node *n = new_node(g, LS_OP_LAYER_NORM, x->dtype, x->ndim, x->shape);
    if (!n)
        return NULL;
    n->in[0] = x;
    n->in[1] = w;
    n->in[2] = b;
    n->in[3] = pe;
    n->u.norm.frames = pe ? frames : 0;
    n->u.norm.eps = eps;
    return n->out;
}

ls_tensor *ls_attention(ls_graph *g, ls_tensor *q, ls_tensor *k, ls_tensor *v, size_t heads,
                        size_t frames, float scale)
{
    if (g->err.code || !q || !k || !v)
        return NULL;
    if (!expect(g,
                q->ndim == 3 && k->ndim == 3 && q->shape[0] == k->shape[0] &&
                    q->shape[2] == k->shape[2] && heads && q->shape[2] % heads == 0 &&
                    q->dtype == k->dtype,
                LS_OP_ATTENTION, q, k) ||
        !expect(g, same_shape(k, v) && k->dtype == v->dtype, LS_OP_ATTENTION, k, v) ||
        (frames &&
         !expect(g, same_shape(q, k) && q->shape[0] % frames == 0, LS_OP_ATTENTION, q, k)))
        return NULL;
    ls_node *n = new_node(g, LS_OP_ATTENTION, q->dtype, 3, q->shape);
    if (!n)
        return NULL;
    n->in[0] = q;
    n->in[1] = k;
    n->in[2] = v;
    n->u.attention.heads = heads;
    n->u.attention.frames = frames;
    n->u.attention.scale = scale;
    return n->out;
}

static ls_tensor *unary(ls_graph *g, ls_op op, ls_tensor *x, ls_dtype t, size_t ndim,
                        const size_t *shape, ls_act act)
{
    ls_node *n = new_node(g, op, t, ndim, shape);
    if (!n)
        return NULL;
    n->in[0] = x;
    n->act = act;
    return n->out;
}

ls_tensor *ls_geglu(ls_graph *g, ls_tensor *x)
{
    if (g->err.code || !x)
        return NULL;
    size_t shape[LS_MAX_DIMS];
    memcpy(shape, x->shape, sizeof shape);
    if (!expect(g, shape[x->ndim - 1] % 2 == 0, LS_OP_GEGLU, x, x))
        return NULL;
    shape[x->ndim - 1] /= 2;
    return unary(g, LS_OP_GEGLU, x, x->dtype, x->ndim, shape, LS_ACT_NONE);
}

ls_tensor *ls_activation(ls_graph *g, ls_tensor *x, ls_act act)
{
    if (g->err.code || !x)
        return NULL;
    return unary(g, LS_OP_ACT, x, x->dtype, x->ndim, x->shape, act);
}

ls_tensor *ls_add(ls_graph *g, ls_tensor *a, ls_tensor *b)
{
    if (g->err.code || !a || !b ||
        !expect(g, same_shape(a, b) && a->dtype == b->dtype, LS_OP_ADD, a, b))
        return NULL;
    ls_tensor *out = unary(g, LS_OP_ADD, a, a->dtype, a->ndim, a->shape, LS_ACT_NONE);
    if (out)
        g->nodes[g->node_count - 1]->in[1] = b;
    return out;
}

ls_tensor *ls_concat(ls_graph *g, ls_tensor *a, ls_tensor *b)
{
    if (g->err.code || !a || !b ||
        !expect(g,
                a->ndim == b->ndim && a->dtype == b->dtype &&
                    !memcmp(a->shape, b->shape, (a->ndim - 1) * sizeof *a->shape),
                LS_OP_CONCAT, a, b))
        return NULL;
    size_t shape[LS_MAX_DIMS];
    memcpy(shape, a->shape, sizeof shape);
    shape[a->ndim - 1] += b->shape[b->ndim - 1];
    ls_tensor *out = unary(g, LS_OP_CONCAT, a, a->dtype, a->ndim, shape, LS_ACT_NONE);
    if (out)
        g->nodes[g->node_count - 1]->in[1] = b;
    return out;
}

ls_tensor *ls_upsample(ls_graph *g, ls_tensor *x, size_t h, size_t w)
{
    if (g->err.code || !x || !expect(g, x->ndim == 4, LS_OP_UPSAMPLE, x, x))
        return NULL;
    size_t shape[4] = {x->shape[0], h, w, x->shape[3]};
    return unary(g, LS_OP_UPSAMPLE, x, x->dtype, 4, shape, LS_ACT_NONE);
}

ls_tensor *ls_timestep(ls_graph *g, ls_tensor *t, size_t dim)
{
    if (g->err.code || !t ||
        !expect(g, t->count == 1 && t->dtype == LS_F32 && dim % 2 == 0, LS_OP_TIMESTEP, t, t))
        return NULL;
    return unary(g, LS_OP_TIMESTEP, t, LS_F32, 2, (size_t[]){1, dim}, LS_ACT_NONE);
}

ls_tensor *ls_cast(ls_graph *g, ls_tensor *x, ls_dtype t)
{
    if (g->err.code || !x || x->dtype == t)
        return x;
    return unary(g, LS_OP_CAST, x, t, x->ndim, x->shape, LS_ACT_NONE);
}

ls_tensor *ls_pool(ls_graph *g, ls_tensor *x, const ls_window *window, size_t h, size_t w,
                   bool mean, bool count_pads)
{
    if (g->err.code || !x)
        return NULL;
    const size_t size[2] = {h, w};
    bool ok = x->ndim == 4;
    for (int i = 0; ok && i < 2; i++) {
        /* every window holds at least one pixel, so that its maximum and its mean are defined */
        size_t last;
        ok = window->kernel[i] && window->stride[i] && size[i] &&
             window->pad[i] < window->kernel[i] && window->pad[i + 2] < window->kernel[i] &&
             window->kernel[i] <= SIZE_MAX / 4 &&
             ls_mul_size(size[i] - 1, window->stride[i], &last) &&
             last < x->shape[i + 1] + window->pad[i] &&
             (!count_pads ||
              last + window->kernel[i] <= x->shape[i + 1] + window->pad[i] + window->pad[i + 2]);
    }
    if (!expect(g, ok, LS_OP_POOL, x, x))
        return NULL;
    ls_node *n = new_node(g, LS_OP_POOL, x->dtype, 4, (size_t[]){x->shape[0], h, w, x->shape[3]});
    if (!n)
        return NULL;
    n->in[0] = x;
    n->u.pool.window = *window;
    n->u.pool.mean = mean;
    n->u.pool.count_pads = count_pads;
    return n->out;
}

ls_tensor *ls_binary_op(ls_graph *g, ls_binary op, ls_tensor *a, ls_tensor *b)
{
    if (g->err.code || !a || !b)
        return NULL;
    size_t shape[LS_MAX_DIMS];
    bool ok = a->ndim == b->ndim && a->dtype == b->dtype;
    for (size_t i = 0; ok && i < a->ndim; i++) {
        ok = a->shape[i] == b->shape[i] || a->shape[i] == 1 || b->shape[i] == 1;
        shape[i] = a->shape[i] == 1 ? b->shape[i] : a->shape[i];
    }
    if (!expect(g, ok, LS_OP_BINARY, a, b))
        return NULL;
    ls_node *n = new_node(g, LS_OP_BINARY, a->dtype, a->ndim, shape);
    if (!n)
        return NULL;
    n->in[0] = a;
    n->in[1] = b;
    n->u.binary = op;
    return n->out;
}

ls_tensor *ls_take(ls_graph *g, ls_tensor *x, size_t ndim, const size_t *shape, const size_t *take)
{
    if (g->err.code || !x || !expect(g, ndim >= 1 && ndim <= LS_MAX_DIMS, LS_OP_TAKE, x, x))
        return NULL;
    ls_node *n = new_node(g, LS_OP_TAKE, x->dtype, ndim, shape);
    if (!n)
        return NULL;
    size_t total = 0, furthest = 0;
    for (size_t i = 0; i < ndim; i++) { /* below the output's count, which did not overflow */
        size_t most = 0;
        for (size_t j = 0; j < shape[i]; j++)
            most = take[total + j] > most ? take[total + j] : most;
        total += shape[i];
        furthest = most < x->count ? furthest + most : x->count;
    }
    if (!expect(g, furthest < x->count, LS_OP_TAKE, x, n->out))
        return NULL;
    n->in[0] = x;
    n->u.take = ls_malloc_array(total, sizeof *take);
    if (!n->u.take) {
        ls_fail(&g->err, LS_ENOMEM, "out of memory while building a graph");
        return NULL;
    }
    memcpy(n->u.take, take, total * sizeof *take);
    return n->out;
}

ls_tensor *ls_view(ls_graph *g, ls_tensor *x, size_t ndim, const size_t *shape)
{
    if (g->err.code || !x)
        return NULL;
    ls_tensor *v = new_tensor(g, LS_TENSOR_VIEW, x->dtype, ndim, shape);
    if (!v)
        return NULL;
    if (v->count != x->count) {
        char a[128], b[128];
        ls_fail(&g->err, LS_ESHAPE, "a tensor of shape %s cannot be viewed as %s",
                ls_shape_text(a, sizeof a, x->shape, x->ndim),
                ls_shape_text(b, sizeof b, shape, ndim));
        return NULL;
    }
    v->source = x->kind == LS_TENSOR_VIEW ? x->source : x;
    return v;
}
