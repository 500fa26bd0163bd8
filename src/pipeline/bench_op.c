#include "pipeline/bench_op.h"
#include "base/alloc.h"
#include "base/time.h"
#include "weights/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define UNIT 1.7320508075688772 /* half the width of a uniform distribution of variance 1 */
#define EPS 1e-5f
#define TIMESTEP 951
#define POSITIONS 24
#define PATTERN ((size_t)4 << 20)
enum { RUNS = 3, MAX_BINDINGS = LS_MAX_INPUTS + 1 };

typedef struct builder {
    ls_graph *g;
    const ls_bench_op *op;
    ls_param params[LS_MAX_INPUTS];
    size_t param_count;
} builder;

static float half(float v)
{
    return ls_f16_to_f32(ls_f32_to_f16(v));
}

/* Matrices keep the variance, and are float16 on cards; vectors and positions are float32. */
static int read_param(const ls_param *p, float *dst, ls_error *err)
{
    (void)err;
    const bool matrix = p->ndim == 2 || p->ndim == 4;
    const double inputs = (double)p->count / (double)p->shape[0];
    ls_formula_fill(p->name, p->count, matrix ? UNIT / sqrt(inputs) : UNIT, 0, dst);
    for (size_t i = 0; matrix && i < p->count; i++)
        dst[i] = half(dst[i]);
    return 0;
}

static ls_tensor *weight(builder *b, const char *name, size_t ndim, const size_t *shape)
{
    ls_param *p = &b->params[b->param_count++];
    *p = (ls_param){.name = name, .ndim = ndim, .count = 1, .read = read_param};
    for (size_t i = 0; i < ndim; i++)
        p->count *= p->shape[i] = shape[i];
    return ls_weight(b->g, p);
}

static ls_tensor *vector(builder *b, const char *name, size_t count)
{
    return weight(b, name, 1, &count);
}

static ls_tensor *image(builder *b, const char *name, size_t h, size_t w, size_t c)
{
    return ls_input(b->g, name, ls_graph_compute(b->g), 4, (size_t[]){b->op->n, h, w, c});
}

static ls_tensor *tokens(builder *b, const char *name, size_t count)
{
    return ls_input(b->g, name, ls_graph_compute(b->g), 3, (size_t[]){b->op->n, count, b->op->c});
}

static ls_tensor *residual(builder *b, const size_t *shape)
{
    if (b->op->flags & LS_BENCH_BOTH_BIASES)
        return vector(b, "residual", b->op->co);
    return b->op->flags & LS_BENCH_RESIDUAL
               ? ls_input(b->g, "residual", ls_graph_compute(b->g), 4, shape)
               : NULL;
}

static ls_tensor *conv2d(builder *b)
{
    const ls_bench_op *o = b->op;
    const size_t stride = o->stride ? o->stride : 1, k = o->kernel, pad = k / 2;
    const bool end = o->flags & LS_BENCH_PAD_END;
    const size_t around = end ? pad : 2 * pad;
    ls_tensor *bias = o->flags & LS_BENCH_BIAS ? vector(b, "bias", o->co)
                      : o->flags & LS_BENCH_TIME_BIAS
                          ? ls_input(b->g, "bias", LS_F32, 2, (size_t[]){1, o->co})
                          : NULL;
    const size_t out[] = {o->n, (o->h + around - k) / stride + 1, (o->w + around - k) / stride + 1,
                          o->co};
    return ls_conv2d(b->g, image(b, "x", o->h, o->w, o->c),
                     weight(b, "w", 4, (size_t[]){o->co, o->c, k, k}), bias, residual(b, out),
                     (ls_conv){.stride = stride, .pad = pad, .pad_end_only = end, .act = o->act});
}

static ls_tensor *linear(builder *b)
{
    const ls_bench_op *o = b->op;
    return ls_linear(b->g, image(b, "x", o->h, o->w, o->c),
                     weight(b, "w", 2, (size_t[]){o->co, o->c}),
                     o->flags & LS_BENCH_BIAS ? vector(b, "bias", o->co) : NULL,
                     residual(b, (size_t[]){o->n, o->h, o->w, o->co}), o->act,
                     o->flags & LS_BENCH_FLOAT_OUT ? LS_F32 : ls_graph_compute(b->g));
}

static ls_tensor *attention(builder *b)
{
    const ls_bench_op *o = b->op;
    return ls_attention(b->g, tokens(b, "x", o->h), tokens(b, "k", o->w), tokens(b, "v", o->w),
                        o->groups, o->frames, 1 / sqrtf((float)(o->c / o->groups)));
}

static ls_tensor *layer_norm(builder *b, ls_tensor *x)
{
    const size_t pe[] = {1, POSITIONS, b->op->c}, frames = b->op->frames;
    return ls_layer_norm(b->g, x, vector(b, "w", b->op->c), vector(b, "bias", b->op->c), EPS,
                         frames ? weight(b, "pe", 3, pe) : NULL, frames);
}

/* Where activations are float32 anyway a cast is nothing, which no device has an op for. */
static ls_tensor *cast(builder *b)
{
    const ls_bench_op *o = b->op;
    const ls_dtype compute = ls_graph_compute(b->g);
    const bool up = o->flags & LS_BENCH_FLOAT_OUT;
    ls_tensor *x = ls_input(b->g, "x", up ? compute : LS_F32, 2, (size_t[]){o->n, o->c});
    return compute == LS_F32 ? ls_activation(b->g, x, LS_ACT_NONE)
                             : ls_cast(b->g, x, up ? LS_F32 : compute);
}

static ls_tensor *append(builder *b)
{
    const ls_bench_op *o = b->op;
    switch (o->op) {
    case LS_OP_CONV2D:
        return conv2d(b);
    case LS_OP_LINEAR:
        return linear(b);
    case LS_OP_ATTENTION:
        return attention(b);
    case LS_OP_TIMESTEP:
        return ls_timestep(b->g, ls_input(b->g, "t", LS_F32, 1, (size_t[]){1}), o->c);
    case LS_OP_CAST:
        return cast(b);
    default:
        break;
    }
    ls_tensor *x = image(b, "x", o->h, o->w, o->c);
    switch (o->op) {
    case LS_OP_GROUP_NORM:
        return ls_group_norm(b->g, x, vector(b, "w", o->c), vector(b, "bias", o->c), o->groups,
                             o->frames, EPS, o->act);
    case LS_OP_LAYER_NORM:
        return layer_norm(b, x);
    case LS_OP_GEGLU:
        return ls_geglu(b->g, x);
    case LS_OP_ACT:
        return ls_activation(b->g, x, o->act);
    case LS_OP_ADD:
        return ls_add(b->g, x, image(b, "y", o->h, o->w, o->c));
    case LS_OP_CONCAT:
        return ls_concat(b->g, x, image(b, "y", o->h, o->w, o->co));
    default:
        return ls_upsample(b->g, x, o->co * o->h, o->co * o->w);
    }
}

/* A graph of this op alone, whose output is "out". */
static int build(builder *b, const ls_bench_op *op, ls_dtype dtype, ls_error *err)
{
    *b = (builder){.g = ls_graph_new(dtype, false), .op = op};
    ls_output(b->g, "out", append(b));
    int ret = b->g ? ls_graph_error(b->g, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (ret)
        ls_graph_free(&b->g);
    return ret;
}

const char *ls_bench_op_text(char *buf, size_t size, const ls_bench_op *op)
{
    char shape[64];
    ls_shape_text(shape, sizeof shape, (size_t[]){op->n, op->h, op->w, op->c}, 4);
    snprintf(buf, size, op->co ? "%s %s -> %zu" : "%s %s", ls_op_name(op->op), shape, op->co);
    return buf;
}

double ls_bench_flops(const ls_node *node)
{
    const ls_tensor *w = node->in[1];
    if (node->op == LS_OP_CONV2D || node->op == LS_OP_LINEAR)
        return 2.0 * (double)node->out->count * (double)(w->count / w->shape[0]);
    if (node->op != LS_OP_ATTENTION)
        return 0;
    const size_t frames = node->u.attention.frames;
    return 4.0 * (double)node->out->count * (double)(frames ? frames : w->shape[1]);
}

static void fill_input(const ls_bench_op *op, const char *name, const ls_tensor *t, float *values)
{
    char stream[32];
    snprintf(stream, sizeof stream, "input.%s", name);
    ls_formula_fill(stream, t->count, UNIT, op->flags & LS_BENCH_SHIFTED ? 10 : 0, values);
    if (op->op == LS_OP_TIMESTEP)
        *values = TIMESTEP;
    for (size_t i = 0; strcmp(name, "bias") && i < t->count; i++)
        values[i] = half(values[i]);
}

static void convert(void *to, const float *from, ls_dtype t, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (t == LS_F16)
            ((uint16_t *)to)[i] = ls_f32_to_f16(from[i]);
        else if (t == LS_BF16)
            ((uint16_t *)to)[i] = ls_f32_to_bf16(from[i]);
        else
            ((float *)to)[i] = from[i];
}

/* Not a number wherever it is read before it is written. */
static int poison(ls_device *dev, void *memory, size_t bytes, ls_error *err)
{
    void *ones = ls_malloc_array(bytes, 1);
    if (!ones)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    memset(ones, 0xff, bytes);
    const int ret = dev->vtable->write(dev, memory, ones, bytes, err);
    free(ones);
    return ret;
}

typedef struct bound {
    ls_binding list[MAX_BINDINGS];
    size_t count;
} bound;

static int bind_values(bound *b, const ls_graph *g, const ls_bench_op *op, ls_error *err)
{
    const char *name;
    for (size_t i = 0; (name = ls_graph_name(g, i)); i++) {
        const ls_tensor *t = ls_graph_find(g, name, NULL);
        float *values = ls_calloc_array(t->count, sizeof *values);
        void *data = ls_calloc_array(t->count, ls_dtype_size(t->dtype));
        b->list[b->count++] = (ls_binding){name, data, ls_tensor_bytes(t)};
        if (values && data && t->kind == LS_TENSOR_INPUT) {
            fill_input(op, name, t, values);
            convert(data, values, t->dtype, t->count);
        }
        free(values);
        if (!values || !data)
            return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    return 0;
}

static int run_once(ls_device *dev, ls_plan *p, const ls_bench_op *op, float **out, size_t *count,
                    ls_error *err)
{
    const ls_graph *g = ls_plan_graph(p);
    const ls_tensor *y = ls_graph_find(g, "out", NULL);
    const size_t bytes = ls_plan_arena_bytes(p);
    bound b = {0};
    void *arena = NULL;
    int ret = bind_values(&b, g, op, err);
    if (!ret)
        ret = dev->vtable->alloc(dev, bytes, &arena, err);
    if (!ret)
        ret = poison(dev, arena, bytes, err);
    if (!ret)
        ret = ls_plan_run(p, arena, b.list, b.count, NULL, err);
    *count = y->count;
    if (!ret && !(*out = ls_malloc_array(y->count, sizeof **out)))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; i < b.count; i++) {
        if (!ret && !strcmp(b.list[i].name, "out"))
            ls_convert_to_f32(*out, b.list[i].data, y->dtype, y->count);
        free(b.list[i].data);
    }
    dev->vtable->release(dev, arena);
    return ret;
}

int ls_bench_op_compute(ls_device *dev, ls_dtype dtype, const ls_bench_op *op, float **out,
                        size_t *count, ls_error *err)
{
    builder b;
    ls_store *st = NULL;
    ls_plan *p = NULL;
    *out = NULL;
    const bool int8 = dtype == LS_I8;
    int ret = build(&b, op, int8 ? LS_BF16 : dtype, err);
    if (!ret)
        ret = ls_store_open(&st, dev, int8 ? LS_STORE_INT8 : 0, err);
    if (!ret)
        ret = ls_plan_compile(&p, &b.g, st, err);
    if (!ret)
        ret = run_once(dev, p, op, out, count, err);
    ls_plan_close(&p);
    ls_graph_free(&b.g);
    ls_store_close(&st);
    return ret;
}

/* Values of both signs over all of the memory. */
static int fill_memory(ls_device *dev, void *memory, size_t bytes, ls_dtype t, ls_error *err)
{
    const size_t part = bytes < PATTERN ? bytes : PATTERN, n = part / ls_dtype_size(t);
    float *values = ls_malloc_array(n, sizeof *values);
    void *pattern = ls_malloc_array(n, ls_dtype_size(t));
    int ret = values && pattern ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ls_formula_fill("pattern", n, UNIT, 0, values);
        convert(pattern, values, t, n);
    }
    for (size_t at = 0; !ret && at < bytes; at += part)
        ret = dev->vtable->write(dev, (char *)memory + at, pattern,
                                 bytes - at < part ? bytes - at : part, err);
    free(values);
    free(pattern);
    return ret;
}

/* The device's memory for every input and output. */
static int bind_memory(bound *b, ls_device *dev, const ls_graph *g, double *bytes, ls_error *err)
{
    const char *name;
    int ret = 0;
    for (size_t i = 0; !ret && (name = ls_graph_name(g, i)); i++) {
        const ls_tensor *t = ls_graph_find(g, name, NULL);
        ls_binding *at = &b->list[b->count];
        *at = (ls_binding){.name = name, .bytes = ls_tensor_bytes(t)};
        ret = dev->vtable->alloc(dev, at->bytes, &at->data, err);
        if (ret)
            break;
        b->count++;
        *bytes += (double)at->bytes;
        if (t->kind == LS_TENSOR_INPUT)
            ret = fill_memory(dev, at->data, at->bytes, t->dtype, err);
    }
    return ret;
}

static int run_often(ls_device *dev, ls_plan *p, double least, const ls_cancel *cancel,
                     ls_bench_speed *out, ls_error *err)
{
    const ls_node *node = ls_graph_node(ls_plan_graph(p), 0);
    bound b = {0};
    void *arena = NULL;
    int ret = bind_memory(&b, dev, ls_plan_graph(p), &out->bytes, err);
    if (!ret)
        ret = dev->vtable->alloc(dev, ls_plan_arena_bytes(p), &arena, err);
    const double start = ls_time_now();
    out->flops = ls_bench_flops(node);
    for (int i = 0; !ret && (i < (least > 0 ? RUNS : 1) || ls_time_now() - start < least); i++) {
        const double before = ls_plan_op_seconds(p)[node->op], cpu = ls_time_cpu();
        ret = ls_plan_run(p, arena, b.list, b.count, cancel, err);
        if (ret)
            break;
        const double seconds = ls_plan_op_seconds(p)[node->op] - before, used = ls_time_cpu() - cpu;
        out->seconds = fmin(out->seconds, seconds);
        out->cpu_seconds = fmin(out->cpu_seconds, used);
        out->all_seconds += seconds;
        out->all_cpu_seconds += used;
    }
    dev->vtable->release(dev, arena);
    for (size_t i = 0; i < b.count; i++)
        dev->vtable->release(dev, b.list[i].data);
    return ret;
}

int ls_bench_op_time(ls_device *dev, const ls_bench_op *op, double seconds, const ls_cancel *cancel,
                     ls_bench_speed *out, ls_error *err)
{
    builder b;
    ls_store *st = NULL;
    ls_plan *p = NULL;
    const bool profiled = dev->profile, int8 = dev->info.fast == LS_I8;
    *out = (ls_bench_speed){.seconds = INFINITY, .cpu_seconds = INFINITY};
    int ret = build(&b, op, int8 ? LS_BF16 : dev->info.fast, err);
    const char *name;
    for (size_t i = 0; !ret && (name = ls_graph_name(b.g, i)); i++)
        ls_resident(ls_graph_find(b.g, name, NULL));
    if (!ret)
        ret = ls_store_open(&st, dev, int8 ? LS_STORE_INT8 : 0, err);
    if (!ret)
        ret = ls_plan_compile(&p, &b.g, st, err);
    dev->profile = true;
    if (!ret)
        ret = run_often(dev, p, seconds, cancel, out, err);
    dev->profile = profiled;
    if (st)
        out->bytes += (double)st->bytes;
    ls_plan_close(&p);
    ls_graph_free(&b.g);
    ls_store_close(&st);
    return ret;
}
