/* The ops that run on our own kernels: how threads share the work. Sums are split by shape alone,
 * so results do not depend on the number of threads. */
#include "backend/onednn/onednn.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>

typedef struct op {
    ls_kernel base;
    ls_node node;
    ls_tensor x, y; /* in[0] and out: shapes and dtypes */
    const float *vector[LS_MAX_INPUTS];
    size_t keys;       /* of attention */
    size_t per_thread; /* bytes of scratch */
    bool bf16;
} op;

/* Rows that are worth a task of their own: about 64 KiB of floats. */
static size_t rows_at_once(size_t c)
{
    return c < 16384 ? 16384 / c : 1;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static const void *offset(const void *p, size_t elements, ls_dtype t)
{
    return (const char *)p + elements * ls_dtype_size(t);
}

static void *offset_out(void *p, size_t elements, ls_dtype t)
{
    return (char *)p + elements * ls_dtype_size(t);
}

/* Elementwise ops, in pieces of this many elements. */
#define PIECE ((size_t)16384)

static void elementwise(const ls_kernels *kernels, const op *k, const void *a, const void *b,
                        void *y, size_t n)
{
    if (k->node.op == LS_OP_ACT)
        kernels->act(k->node.act, a, y, n, k->bf16);
    else if (k->node.op == LS_OP_ADD)
        kernels->add(a, b, y, n, k->bf16);
    else if (k->x.dtype == k->y.dtype)
        memcpy(y, a, n * ls_dtype_size(k->y.dtype));
    else if (k->bf16)
        kernels->to_f32(a, y, n);
    else
        kernels->to_bf16(a, y, n);
}

static int run_elementwise(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS],
                           void *out, void *scratch, ls_error *err)
{
    (void)scratch, (void)err;
    const op *k = (const op *)base;
    ls_dtype tx = k->x.dtype, ty = k->y.dtype;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < k->y.count; i += PIECE)
        elementwise(dev->kernels, k, offset(in[0], i, tx), in[1] ? offset(in[1], i, tx) : NULL,
                    offset_out(out, i, ty), smaller(PIECE, k->y.count - i));
    return 0;
}

static int run_geglu(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                     void *scratch, ls_error *err)
{
    (void)scratch, (void)err;
    const op *k = (const op *)base;
    size_t c = k->y.shape[k->y.ndim - 1], rows = k->y.count / c, step = rows_at_once(c);
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < rows; r += step)
        dev->kernels->geglu(offset(in[0], 2 * r * c, k->x.dtype),
                            offset_out(out, r * c, k->y.dtype), smaller(step, rows - r), c,
                            k->bf16);
    return 0;
}

static int run_layer_norm(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS],
                          void *out, void *scratch, ls_error *err)
{
    (void)scratch, (void)err;
    const op *k = (const op *)base;
    size_t c = k->y.shape[k->y.ndim - 1], n = k->y.shape[0], rows = k->y.count / c / n;
    size_t step = smaller(rows_at_once(c), rows), parts = (rows + step - 1) / step;
    const float *w = k->vector[1] ? k->vector[1] : in[1], *b = k->vector[2] ? k->vector[2] : in[2];
    const float *pe = k->vector[3] ? k->vector[3] : in[3];
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < n * parts; i++) {
        size_t first = i % parts * step, at = (i / parts * rows + first) * c;
        dev->kernels->layer_norm(offset(in[0], at, k->x.dtype), offset_out(out, at, k->y.dtype),
                                 smaller(step, rows - first), c, w, b,
                                 pe ? pe + i / parts % k->node.u.norm.frames * c : NULL,
                                 k->node.u.norm.eps, k->bf16);
    }
    return 0;
}

/* Group norm: a set of rows shares its statistics; it is split into parts, each with moments. */
typedef struct sets {
    size_t c, groups, count, rows, step, parts;
} sets;

static sets sets_of(const op *k)
{
    sets s = {.c = k->y.shape[k->y.ndim - 1], .groups = k->node.u.norm.groups};
    s.count = k->y.shape[0] / k->node.u.norm.frames;
    s.rows = k->y.count / s.c / s.count;
    s.step = smaller(rows_at_once(s.c), s.rows);
    s.parts = (s.rows + s.step - 1) / s.step;
    return s;
}

/* The moments of the union (Chan, Golub and LeVeque). */
static ls_moments join(ls_moments a, ls_moments b)
{
    double n = a.count + b.count, d = b.mean - a.mean;
    return (ls_moments){n, a.mean + d * (b.count / n),
                        a.m2 + b.m2 + d * d * (a.count * b.count / n)};
}

static void affine_of(const sets *s, const op *k, const ls_moments *m, const float *w,
                      const float *b, float *mean, float *scale, float *shift)
{
    for (size_t g = 0; g < s->groups; g++) {
        ls_moments all = m[g];
        for (size_t i = 1; i < s->parts; i++)
            all = join(all, m[i * s->groups + g]);
        double inv = 1 / sqrt(all.m2 / all.count + (double)k->node.u.norm.eps);
        float high = (float)all.mean;
        for (size_t c = g * (s->c / s->groups); c < (g + 1) * (s->c / s->groups); c++) {
            mean[c] = high;
            scale[c] = (float)(inv * w[c]);
            shift[c] = (float)(b[c] - (all.mean - high) * inv * w[c]);
        }
    }
}

static int run_group_norm(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS],
                          void *out, void *scratch, ls_error *err)
{
    (void)err;
    const op *k = (const op *)base;
    const sets s = sets_of(k);
    const float *w = k->vector[1] ? k->vector[1] : in[1], *b = k->vector[2] ? k->vector[2] : in[2];
    ls_moments *m = scratch;
    float *mean = (float *)(m + s.count * s.parts * s.groups), *scale = mean + s.count * s.c;
    float *shift = scale + s.count * s.c, *tmp = shift + s.count * s.c;
#pragma omp parallel
    {
#pragma omp for schedule(static)
        for (size_t i = 0; i < s.count * s.parts; i++) {
            size_t first = i % s.parts * s.step, at = (i / s.parts * s.rows + first) * s.c;
            dev->kernels->moments(m + i * s.groups, offset(in[0], at, k->x.dtype),
                                  smaller(s.step, s.rows - first), s.c, s.groups,
                                  tmp + (size_t)omp_get_thread_num() * 3 * s.c, k->bf16);
        }
#pragma omp for schedule(static)
        for (size_t i = 0; i < s.count; i++)
            affine_of(&s, k, m + i * s.parts * s.groups, w, b, mean + i * s.c, scale + i * s.c,
                      shift + i * s.c);
#pragma omp for schedule(static)
        for (size_t i = 0; i < s.count * s.parts; i++) {
            size_t set = i / s.parts, first = i % s.parts * s.step;
            size_t at = (set * s.rows + first) * s.c;
            ls_affine a = {mean + set * s.c, scale + set * s.c, shift + set * s.c, k->node.act};
            dev->kernels->affine(&a, offset(in[0], at, k->x.dtype), offset_out(out, at, k->y.dtype),
                                 smaller(s.step, s.rows - first), s.c, k->bf16);
        }
    }
    return 0;
}

/* Spatial attention: one task is one head of as many queries as fit the cache together. */
static int run_attention(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS],
                         void *out, void *scratch, ls_error *err)
{
    (void)err;
    const op *k = (const op *)base;
    const ls_dtype t = k->y.dtype;
    const size_t heads = k->node.u.attention.heads, tokens = k->y.shape[1];
    const size_t c = k->y.shape[2], d = c / heads, nk = k->keys;
    const size_t step = smaller(dev->kernels->attend_rows(d), tokens);
    const size_t parts = (tokens + step - 1) / step;
#pragma omp parallel for schedule(dynamic)
    for (size_t i = 0; i < k->y.shape[0] * parts * heads; i++) {
        size_t row = i / heads / parts, first = i / heads % parts * step, channel = i % heads * d;
        size_t q = (row * tokens + first) * c + channel, kv = row * nk * c + channel;
        ls_attend a = {.q = offset(in[0], q, t),
                       .k = offset(in[1], kv, t),
                       .v = offset(in[2], kv, t),
                       .out = offset_out(out, q, t),
                       .nq = smaller(step, tokens - first),
                       .nk = nk,
                       .d = d,
                       .step = c,
                       .scale = k->node.u.attention.scale,
                       .bf16 = k->bf16};
        dev->kernels->attend(&a, (char *)scratch + (size_t)omp_get_thread_num() * k->per_thread);
    }
    return 0;
}

/* Attention along the frames works on copies of a few tokens at a time: rows a whole frame apart
 * would all fall into the same few sets of the cache. */
typedef struct window {
    size_t tokens, step, bytes; /* elements from frame to frame; bytes of one of q, k, v and out */
} window;

static window window_of(const op *k)
{
    const size_t c = k->y.shape[2], size = ls_dtype_size(k->y.dtype);
    window w = {.tokens = smaller(k->y.shape[1], c < 1280 ? 1280 / c : 1)};
    w.step = ((w.tokens * c * size + LS_ALIGN - 1) / LS_ALIGN | 1) * LS_ALIGN / size;
    w.bytes = k->node.u.attention.frames * w.step * size;
    return w;
}

static void copy_rows(void *dst, size_t dst_step, const void *src, size_t src_step, size_t rows,
                      size_t elements, ls_dtype t)
{
    for (size_t i = 0; i < rows; i++)
        memcpy(offset_out(dst, i * dst_step, t), offset(src, i * src_step, t),
               elements * ls_dtype_size(t));
}

static int run_attention_along_frames(onednn_device *dev, ls_kernel *base,
                                      void *const in[LS_MAX_INPUTS], void *out, void *scratch,
                                      ls_error *err)
{
    (void)err;
    const op *k = (const op *)base;
    const ls_dtype t = k->y.dtype;
    const window w = window_of(k);
    const size_t f = k->node.u.attention.frames, tokens = k->y.shape[1], c = k->y.shape[2];
    const size_t d = c / k->node.u.attention.heads, parts = (tokens + w.tokens - 1) / w.tokens;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < k->y.shape[0] / f * parts; i++) {
        char *own = (char *)scratch + (size_t)omp_get_thread_num() * k->per_thread;
        size_t first = i % parts * w.tokens, at = (i / parts * f * tokens + first) * c;
        size_t n = smaller(w.tokens, tokens - first) * c;
        for (size_t j = 0; j < 3; j++)
            copy_rows(own + j * w.bytes, w.step, offset(in[j], at, t), tokens * c, f, n, t);
        for (size_t j = 0; j < n; j += d) { /* every head of every token */
            ls_attend a = {.q = offset(own, j, t),
                           .k = offset(own + w.bytes, j, t),
                           .v = offset(own + 2 * w.bytes, j, t),
                           .out = offset_out(own + 3 * w.bytes, j, t),
                           .nq = f,
                           .nk = f,
                           .d = d,
                           .step = w.step,
                           .scale = k->node.u.attention.scale,
                           .bf16 = k->bf16};
            dev->kernels->attend(&a, own + 4 * w.bytes);
        }
        copy_rows(offset_out(out, at, t), tokens * c, own + 3 * w.bytes, w.step, f, n, t);
    }
    return 0;
}

static int run_concat(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                      void *scratch, ls_error *err)
{
    (void)dev, (void)scratch, (void)err;
    const op *k = (const op *)base;
    size_t c = k->y.shape[k->y.ndim - 1], ca = k->x.shape[k->x.ndim - 1], cb = c - ca;
    size_t size = ls_dtype_size(k->y.dtype);
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < k->y.count / c; r++) {
        char *y = (char *)out + r * c * size;
        memcpy(y, (const char *)in[0] + r * ca * size, ca * size);
        memcpy(y + ca * size, (const char *)in[1] + r * cb * size, cb * size);
    }
    return 0;
}

static int run_upsample(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS],
                        void *out, void *scratch, ls_error *err)
{
    (void)dev, (void)scratch, (void)err;
    const op *k = (const op *)base;
    const size_t *xs = k->x.shape, *ys = k->y.shape;
    size_t pixel = ys[3] * ls_dtype_size(k->y.dtype);
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < ys[0] * ys[1]; r++) {
        size_t row = r / ys[1] * xs[1] + r % ys[1] * xs[1] / ys[1];
        for (size_t i = 0; i < ys[2]; i++)
            memcpy((char *)out + (r * ys[2] + i) * pixel,
                   (const char *)in[0] + (row * xs[2] + i * xs[2] / ys[2]) * pixel, pixel);
    }
    return 0;
}

/* diffusers' get_timestep_embedding with flip_sin_to_cos and freq_shift 0, in float32 as there. */
static int run_timestep(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS],
                        void *out, void *scratch, ls_error *err)
{
    (void)dev, (void)scratch, (void)err;
    const op *k = (const op *)base;
    size_t half = k->y.count / 2;
    float t, *y = out;
    memcpy(&t, in[0], sizeof t);
    for (size_t i = 0; i < half; i++) {
        float angle = t * expf(-logf(10000.0f) * (float)i / (float)half);
        y[i] = cosf(angle);
        y[half + i] = sinf(angle);
    }
    return 0;
}

static void free_op(ls_kernel *k)
{
    free(k);
}

/* Picks the function, sets the scratch memory; the node's shapes were checked by the graph. */
static int prepare(onednn_store *st, op *k, size_t *scratch, ls_error *err)
{
    size_t threads = (size_t)st->dev->base.threads;
    switch (k->node.op) {
    case LS_OP_GROUP_NORM: {
        sets s = sets_of(k);
        k->base.run = run_group_norm;
        *scratch = s.count * s.parts * s.groups * sizeof(ls_moments) +
                   (s.count + threads) * 3 * s.c * sizeof(float);
        return 0;
    }
    case LS_OP_LAYER_NORM:
        k->base.run = run_layer_norm;
        return 0;
    case LS_OP_ATTENTION: {
        size_t f = k->node.u.attention.frames, d = k->y.shape[2] / k->node.u.attention.heads;
        size_t rows = f ? f : smaller(st->dev->kernels->attend_rows(d), k->y.shape[1]);
        if (!(k->node.u.attention.scale > 0))
            return ls_fail(err, LS_EUNSUPPORTED, "the scale has to st positive");
        k->base.run = f ? run_attention_along_frames : run_attention;
        k->keys = k->node.in[1]->shape[1];
        k->per_thread =
            st->dev->kernels->attend_scratch(rows, d) + (f ? 4 * window_of(k).bytes : 0);
        *scratch = k->per_thread * threads;
        return 0;
    }
    case LS_OP_GEGLU:
        k->base.run = run_geglu;
        return 0;
    case LS_OP_ACT:
    case LS_OP_ADD:
    case LS_OP_CAST:
        k->base.run = run_elementwise;
        return 0;
    case LS_OP_CONCAT:
        k->base.run = run_concat;
        return 0;
    case LS_OP_UPSAMPLE:
        k->base.run = run_upsample;
        return 0;
    case LS_OP_TIMESTEP:
        k->base.run = run_timestep;
        return 0;
    default:
        return ls_fail(err, LS_EUNSUPPORTED, "there is no kernel for this op");
    }
}

int ls_onednn_compile_op(onednn_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                         ls_error *err)
{
    for (size_t i = 0; i <= LS_MAX_INPUTS; i++) {
        const ls_tensor *t = i < LS_MAX_INPUTS ? node->in[i] : node->out;
        if (t && t->dtype != LS_F32 && t->dtype != LS_BF16)
            return ls_fail(err, LS_EUNSUPPORTED, "backend onednn does not compute in %s",
                           ls_dtype_name(t->dtype));
    }
    op *k = ls_calloc_array(1, sizeof *k);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->base.free = free_op;
    k->base.in_place = -1;
    k->node = *node;
    k->x = *node->in[0];
    k->y = *node->out;
    k->bf16 = k->x.dtype == LS_BF16;
    int ret = 0;
    for (size_t i = 0; !ret && i < LS_MAX_INPUTS; i++)
        if (node->in[i] && node->in[i]->param)
            ret = ls_onednn_vector(st, node->in[i]->param, &k->vector[i], err);
    if (!ret)
        ret = prepare(st, k, scratch, err);
    if (ret)
        free(k);
    else
        *out = &k->base;
    return ret;
}
