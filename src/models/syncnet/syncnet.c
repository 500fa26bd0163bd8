#include "models/syncnet/syncnet.h"
#include "backend/plan.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EPSILON 1e-5 /* of the batch norms */
#define CONVS 6
#define LAYERS (CONVS + 2)
#define HIDDEN 512

/* A convolution, its batch norm and ReLU, and a pool. */
typedef struct conv_layer {
    int index; /* in its nn.Sequential; the batch norm's is one more */
    size_t in, out, kernel[3], stride, pad;
    size_t pool_stride[2], pool_pad; /* of 3 x 3; 0: none */
} conv_layer;

typedef struct branch_layout {
    const char *convs, *linears; /* modules */
    size_t height, width, channels;
    conv_layer layers[CONVS];
} branch_layout;

enum { LIPS, SOUND, BRANCHES };

/* The frames of a window are channels of an image, and so time is a part of the kernel's. */
static const branch_layout layouts[BRANCHES] = {
    {"netcnnlip",
     "netfclip",
     LS_SYNCNET_RESOLUTION,
     LS_SYNCNET_RESOLUTION,
     3 * LS_SYNCNET_FRAMES,
     {{0, 3, 96, {LS_SYNCNET_FRAMES, 7, 7}, 2, 0, {2, 2}, 0},
      {4, 96, 256, {1, 5, 5}, 2, 1, {2, 2}, 1},
      {8, 256, 256, {1, 3, 3}, 1, 1, {0, 0}, 0},
      {11, 256, 256, {1, 3, 3}, 1, 1, {0, 0}, 0},
      {14, 256, 256, {1, 3, 3}, 1, 1, {2, 2}, 0},
      {18, 256, HIDDEN, {1, 6, 6}, 1, 0, {0, 0}, 0}}},
    {"netcnnaud",
     "netfcaud",
     LS_MFCC_COUNT,
     LS_SYNCNET_ROWS,
     1,
     {{0, 1, 64, {1, 3, 3}, 1, 1, {0, 0}, 0},
      {4, 64, 192, {1, 3, 3}, 1, 1, {1, 2}, 0},
      {8, 192, 384, {1, 3, 3}, 1, 1, {0, 0}, 0},
      {11, 384, 256, {1, 3, 3}, 1, 1, {0, 0}, 0},
      {14, 256, 256, {1, 3, 3}, 1, 1, {2, 2}, 0},
      {18, 256, HIDDEN, {1, 5, 4}, 1, 0, {0, 0}, 0}}}};

/* A weight or a bias with the batch norm after it. */
typedef struct folded {
    ls_param param;
    char name[64];
    char layer[48], norm[48]; /* modules; norm empty: none */
    bool is_bias;
    ls_weights *weights;
} folded;

typedef struct branch {
    folded params[LAYERS][2];
    ls_plan *plan;
    void *arena;
    float *input;
    size_t input_bytes;
} branch;

struct ls_syncnet {
    ls_weights *weights;
    ls_device *device;
    ls_store *store;
    branch branches[BRANCHES];
};

/* A tensor of `count` values, the first dimension being `rows`. */
static int read_tensor(ls_weights *w, const char *module, const char *what, size_t rows,
                       size_t count, float *dst, ls_error *err)
{
    char name[80];
    snprintf(name, sizeof name, "%s.%s", module, what);
    const ls_weight_info *t = ls_weights_find(w, name);
    if (!t)
        return ls_fail(err, LS_ENOENT, "%s: tensor %s is missing; this is no SyncNet",
                       ls_weights_path(w), name);
    if (t->count != count || !t->ndim || t->shape[0] != rows)
        return ls_fail(err, LS_ESHAPE, "%s: tensor %s has %zu values, %zu are expected",
                       ls_weights_path(w), name, t->count, count);
    return ls_weights_read_f32(w, t, dst, err);
}

/* scale = gamma / sqrt(variance + epsilon), shift = beta - mean * scale. */
static int read_norm(const folded *f, size_t n, float *scale, float *shift, ls_error *err)
{
    float *mean = ls_malloc_array(2 * n, sizeof *mean), *variance = mean + n;
    if (!mean)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = read_tensor(f->weights, f->norm, "weight", n, n, scale, err);
    if (!ret)
        ret = read_tensor(f->weights, f->norm, "bias", n, n, shift, err);
    if (!ret)
        ret = read_tensor(f->weights, f->norm, "running_mean", n, n, mean, err);
    if (!ret)
        ret = read_tensor(f->weights, f->norm, "running_var", n, n, variance, err);
    for (size_t i = 0; !ret && i < n; i++) {
        const double s = (double)scale[i] / sqrt((double)variance[i] + EPSILON);
        shift[i] = (float)((double)shift[i] - (double)mean[i] * s);
        scale[i] = (float)s;
    }
    free(mean);
    return ret;
}

static int read_folded(const ls_param *p, float *dst, ls_error *err)
{
    const folded *f = p->opaque;
    const size_t n = p->shape[0], each = p->count / n;
    int ret =
        read_tensor(f->weights, f->layer, f->is_bias ? "bias" : "weight", n, p->count, dst, err);
    if (ret || !*f->norm)
        return ret;
    float *scale = ls_malloc_array(2 * n, sizeof *scale), *shift = scale + n;
    ret = scale ? read_norm(f, n, scale, shift, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < p->count; i++)
        dst[i] = dst[i] * scale[i / each] + (f->is_bias ? shift[i] : 0);
    free(scale);
    return ret;
}

static ls_tensor *add_param(ls_graph *g, ls_syncnet *s, folded *f, const char *modules, int index,
                            bool normed, bool is_bias, size_t ndim, const size_t *shape)
{
    snprintf(f->layer, sizeof f->layer, "%s.%d", modules, index);
    if (normed)
        snprintf(f->norm, sizeof f->norm, "%s.%d", modules, index + 1);
    snprintf(f->name, sizeof f->name, "%s.%s", f->layer, is_bias ? "bias" : "weight");
    f->weights = s->weights;
    f->is_bias = is_bias;
    f->param =
        (ls_param){.name = f->name, .ndim = ndim, .count = 1, .read = read_folded, .opaque = f};
    for (size_t i = 0; i < ndim; i++) {
        f->param.shape[i] = shape[i];
        f->param.count *= shape[i];
    }
    return ls_weight(g, &f->param);
}

static ls_tensor *add_conv(ls_graph *g, ls_syncnet *s, folded *f, const branch_layout *b,
                           const conv_layer *l, ls_tensor *x)
{
    const size_t shape[4] = {l->out, l->in * l->kernel[0], l->kernel[1], l->kernel[2]};
    ls_tensor *w = add_param(g, s, &f[0], b->convs, l->index, true, false, 4, shape),
              *bias = add_param(g, s, &f[1], b->convs, l->index, true, true, 1, shape);
    const ls_window window = {.kernel = {l->kernel[1], l->kernel[2]},
                              .stride = {l->stride, l->stride},
                              .pad = {l->pad, l->pad, l->pad, l->pad}};
    x = ls_conv2d_grouped(g, x, w, bias, NULL, &window, 1, LS_ACT_RELU, false);
    if (!x || !l->pool_stride[0])
        return x;
    const size_t p = l->pool_pad;
    const ls_window pool = {
        .kernel = {3, 3}, .stride = {l->pool_stride[0], l->pool_stride[1]}, .pad = {p, p, p, p}};
    return ls_pool(g, x, &pool, (x->shape[1] + 2 * p - 3) / pool.stride[0] + 1,
                   (x->shape[2] + 2 * p - 3) / pool.stride[1] + 1, false, false);
}

static ls_tensor *add_linear(ls_graph *g, ls_syncnet *s, folded *f, const branch_layout *b,
                             bool is_last, ls_tensor *x)
{
    const size_t shape[2] = {is_last ? LS_SYNCNET_WIDTH : HIDDEN, HIDDEN};
    const int index = is_last ? 3 : 0;
    ls_tensor *w = add_param(g, s, &f[0], b->linears, index, !is_last, false, 2, shape),
              *bias = add_param(g, s, &f[1], b->linears, index, !is_last, true, 1, shape);
    return ls_linear(g, x, w, bias, NULL, is_last ? LS_ACT_NONE : LS_ACT_RELU, LS_F32);
}

static int open_branch(ls_syncnet *s, int which, ls_error *err)
{
    branch *b = &s->branches[which];
    const branch_layout *l = &layouts[which];
    const size_t shape[4] = {1, l->height, l->width, l->channels};
    ls_graph *g = ls_graph_new(LS_F32, false);
    if (!g)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ls_tensor *x = ls_input(g, "input", LS_F32, 4, shape);
    for (size_t i = 0; i < CONVS; i++)
        x = add_conv(g, s, b->params[i], l, &l->layers[i], x);
    if (x)
        x = ls_view(g, x, 2, (size_t[]){1, HIDDEN});
    x = add_linear(g, s, b->params[CONVS], l, false, x);
    x = add_linear(g, s, b->params[CONVS + 1], l, true, x);
    ls_output(g, "embedding", x);
    int ret = ls_plan_compile(&b->plan, &g, s->store, err);
    if (ret)
        return ret;
    b->input_bytes = l->height * l->width * l->channels * sizeof(float);
    b->input = ls_aligned_alloc(LS_MEM_MODELS, b->input_bytes);
    b->arena = ls_aligned_alloc(LS_MEM_MODELS, ls_plan_arena_bytes(b->plan));
    return b->input && b->arena ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for SyncNet");
}

int ls_syncnet_open(ls_syncnet **out, ls_weights **w, int threads, ls_error *err)
{
    ls_syncnet *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s) {
        ls_weights_close(w);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    s->weights = *w;
    *w = NULL;
    int ret = ls_device_open(&s->device, "cpu", threads, err);
    if (!ret)
        ret = ls_store_open(&s->store, s->device, 0, err);
    for (int i = 0; !ret && i < BRANCHES; i++)
        ret = open_branch(s, i, err);
    if (ret)
        ls_syncnet_close(out);
    return ret;
}

void ls_syncnet_close(ls_syncnet **ps)
{
    ls_syncnet *s = *ps;
    if (!s)
        return;
    for (int i = 0; i < BRANCHES; i++) {
        ls_plan_close(&s->branches[i].plan);
        ls_aligned_free(s->branches[i].input);
        ls_aligned_free(s->branches[i].arena);
    }
    ls_store_close(&s->store);
    ls_device_close(&s->device);
    ls_weights_close(&s->weights);
    free(s);
    *ps = NULL;
}

static int run(ls_syncnet *s, int which, float *out, const ls_cancel *cancel, ls_error *err)
{
    branch *b = &s->branches[which];
    const ls_binding bindings[] = {{"input", b->input, b->input_bytes},
                                   {"embedding", out, LS_SYNCNET_WIDTH * sizeof *out}};
    int ret = ls_plan_run(b->plan, b->arena, bindings, LS_COUNT(bindings), cancel, err);
    for (size_t i = 0; !ret && i < LS_SYNCNET_WIDTH; i++)
        if (!isfinite(out[i]))
            ret = ls_fail(err, LS_EMODEL,
                          "%s: the network's results are not finite; the weights are damaged",
                          ls_weights_path(s->weights));
    return ret;
}

int ls_syncnet_lips(ls_syncnet *s, const uint8_t *const faces[LS_SYNCNET_FRAMES],
                    float out[LS_SYNCNET_WIDTH], const ls_cancel *cancel, ls_error *err)
{
    float *to = s->branches[LIPS].input;
    for (size_t i = 0; i < LS_SYNCNET_FACE; i += 3)
        for (size_t c = 0; c < 3; c++)
            for (size_t t = 0; t < LS_SYNCNET_FRAMES; t++)
                *to++ = faces[t][i + c];
    return run(s, LIPS, out, cancel, err);
}

int ls_syncnet_sound(ls_syncnet *s, const float *mfcc, float out[LS_SYNCNET_WIDTH],
                     const ls_cancel *cancel, ls_error *err)
{
    float *to = s->branches[SOUND].input;
    for (size_t t = 0; t < LS_SYNCNET_ROWS; t++)
        for (size_t c = 0; c < LS_MFCC_COUNT; c++)
            to[c * LS_SYNCNET_ROWS + t] = mfcc[t * LS_MFCC_COUNT + c];
    return run(s, SOUND, out, cancel, err);
}

static void add_spec(ls_weight_spec *specs, size_t *n, size_t ndim, const size_t *shape,
                     const char *modules, int index, const char *what)
{
    if (specs) {
        ls_weight_spec *t = &specs[*n];
        *t = (ls_weight_spec){.ndim = ndim};
        snprintf(t->name, sizeof t->name, "%s.%d.%s", modules, index, what);
        memcpy(t->shape, shape, ndim * sizeof *shape);
    }
    ++*n;
}

static void add_layer_specs(ls_weight_spec *specs, size_t *n, size_t ndim, const size_t *shape,
                            const char *modules, int index, bool normed)
{
    static const char *const norm[] = {"weight", "bias", "running_mean", "running_var"};
    add_spec(specs, n, ndim, shape, modules, index, "weight");
    add_spec(specs, n, 1, shape, modules, index, "bias");
    for (size_t i = 0; normed && i < LS_COUNT(norm); i++)
        add_spec(specs, n, 1, shape, modules, index + 1, norm[i]);
}

size_t ls_syncnet_specs(ls_weight_spec *specs)
{
    static const size_t hidden[2] = {HIDDEN, HIDDEN}, last[2] = {LS_SYNCNET_WIDTH, HIDDEN};
    size_t n = 0;
    for (int b = 0; b < BRANCHES; b++) {
        for (size_t i = 0; i < CONVS; i++) {
            const conv_layer *l = &layouts[b].layers[i];
            const size_t shape[4] = {l->out, l->in * l->kernel[0], l->kernel[1], l->kernel[2]};
            add_layer_specs(specs, &n, 4, shape, layouts[b].convs, l->index, true);
        }
        add_layer_specs(specs, &n, 2, hidden, layouts[b].linears, 0, true);
        add_layer_specs(specs, &n, 2, last, layouts[b].linears, 3, false);
    }
    return n;
}
