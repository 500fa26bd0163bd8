/* The reference: every op as plain loops in float32. Sums of more than a few terms are kept in
 * double, so that the other devices are checked against something more precise than themselves. */
#include "backend/device.h"
#include "backend/team.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ls_kernel {
    ls_node node;
    float *weight[LS_MAX_INPUTS]; /* values of the inputs that are weights, as in the checkpoint */
};

static void free_kernel(ls_kernel *k)
{
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(k->weight[i]);
    free(k);
}

/* [Co, Ci, kh, kw] -> [kh, kw, Ci, Co]: the innermost loop of a convolution runs over outputs. */
static float *outputs_last(const float *w, size_t co, size_t k)
{
    float *t = ls_malloc_array(co * k, sizeof *t);
    for (size_t o = 0; t && o < co; o++)
        for (size_t i = 0; i < k; i++)
            t[i * co + o] = w[o * k + i];
    return t;
}

static int compile(ls_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err)
{
    *out = NULL;
    *scratch = 0;
    ls_kernel *k = ls_calloc_array(1, sizeof *k);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->node = *node;
    int ret = 0;
    for (size_t i = 0; !ret && i <= LS_MAX_INPUTS; i++) {
        const ls_tensor *t = i < LS_MAX_INPUTS ? node->in[i] : node->out;
        if (t && t->dtype != LS_F32)
            ret = ls_fail(err, LS_EUNSUPPORTED, "device ref computes in float32 only");
        if (ret || i == LS_MAX_INPUTS || !t || t->kind != LS_TENSOR_PARAM)
            continue;
        st->bytes += t->count * sizeof(float);
        if (ls_store_is_dry(st))
            continue;
        k->weight[i] = ls_malloc_array(t->count, sizeof(float));
        ret = k->weight[i] ? t->param->read(t->param, k->weight[i], err)
                           : ls_fail(err, LS_ENOMEM, "out of memory for %s", t->param->name);
    }
    if (!ret && !ls_store_is_dry(st) && (node->op == LS_OP_CONV2D || node->op == LS_OP_LINEAR)) {
        const ls_tensor *w = node->in[1];
        float *t = outputs_last(k->weight[1], w->shape[0], w->count / w->shape[0]);
        free(k->weight[1]);
        k->weight[1] = t;
        if (!t)
            ret = ls_fail(err, LS_ENOMEM, "out of memory for %s", w->param->name);
    }
    if (ret) {
        free_kernel(k);
        return ret;
    }
    *out = k;
    return 0;
}

static float silu(double x)
{
    return (float)(x / (1 + exp(-x)));
}

static float gelu(double x)
{
    return (float)(0.5 * x * (1 + erf(x * M_SQRT1_2)));
}

static float act(ls_act a, double x)
{
    switch (a) {
    case LS_ACT_SILU:
        return silu(x);
    case LS_ACT_GELU:
        return gelu(x);
    case LS_ACT_RELU:
        return x > 0 ? (float)x : 0;
    case LS_ACT_SIGMOID:
        return (float)(1 / (1 + exp(-x)));
    default:
        return (float)x;
    }
}

static void finish_row(const ls_node *n, const double *acc, const float *residual, float *y,
                       size_t count)
{
    bool last = n->op == LS_OP_CONV2D && n->u.conv.act_last;
    for (size_t c = 0; c < count; c++) {
        double r = residual ? residual[c] : 0;
        y[c] = last ? act(n->act, acc[c] + r) : (float)(act(n->act, acc[c]) + r);
    }
}

static void axpy(double *acc, float x, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++)
        acc[i] += (double)x * w[i];
}

static void start_row(double *acc, const float *bias, size_t n)
{
    for (size_t i = 0; i < n; i++)
        acc[i] = bias ? bias[i] : 0;
}

static int conv2d(const ls_node *n, const float *x, const float *w, const float *bias,
                  const float *residual, float *y)
{
    const size_t *xs = n->in[0]->shape, *ys = n->out->shape, *ws = n->in[1]->shape;
    bool one_d = n->in[1]->ndim == 3;
    size_t ih = xs[1], iw = xs[2], ci = xs[3], oh = ys[1], ow = ys[2], co = ys[3];
    size_t kh = one_d ? 1 : ws[2], kw = one_d ? ws[2] : ws[3];
    size_t rows = ys[0] * oh, gi = ws[1], go = co / n->u.conv.groups;
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        double *acc = ls_malloc_array(co, sizeof *acc);
        failed = !acc;
#pragma omp for
        for (size_t r = 0; r < rows; r++) {
            for (size_t ox = 0; acc && ox < ow; ox++) {
                start_row(acc, bias, co);
                for (size_t ky = 0; ky < kh; ky++) {
                    for (size_t kx = 0; kx < kw; kx++) {
                        size_t py =
                            r % oh * n->u.conv.window.stride[0] + ky - n->u.conv.window.pad[0];
                        size_t px = ox * n->u.conv.window.stride[1] + kx - n->u.conv.window.pad[1];
                        if (py >= ih || px >= iw) // positions below 0 too: they wrap around
                            continue;
                        const float *in = x + ((r / oh * ih + py) * iw + px) * ci;
                        for (size_t c = 0; c < ci; c++) {
                            size_t o = c / gi * go; /* the outputs of this input's group */
                            axpy(acc + o, in[c], w + ((c % gi * kh + ky) * kw + kx) * co + o, go);
                        }
                    }
                }
                size_t at = (r * ow + ox) * co;
                finish_row(n, acc, residual ? residual + at : NULL, y + at, co);
            }
        }
        free(acc);
    }
    return failed;
}

static int linear(const ls_node *n, const float *x, const float *w, const float *bias,
                  const float *residual, float *y)
{
    size_t co = n->in[1]->shape[0], ci = n->in[1]->shape[1], rows = n->out->count / co;
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        double *acc = ls_malloc_array(co, sizeof *acc);
        failed = !acc;
#pragma omp for
        for (size_t r = 0; r < rows; r++) {
            if (!acc)
                continue;
            start_row(acc, bias, co);
            for (size_t c = 0; c < ci; c++)
                axpy(acc, x[r * ci + c], w + c * co, co);
            finish_row(n, acc, residual ? residual + r * co : NULL, y + r * co, co);
        }
        free(acc);
    }
    return failed;
}

static void group_norm(const ls_node *n, const float *x, const float *w, const float *b, float *y)
{
    const ls_tensor *t = n->out;
    size_t c = t->shape[t->ndim - 1], groups = n->u.norm.groups, per = c / groups;
    size_t batches = t->shape[0] / n->u.norm.frames, pixels = t->count / c / batches;
#pragma omp parallel for collapse(2)
    for (size_t i = 0; i < batches; i++) {
        for (size_t g = 0; g < groups; g++) {
            size_t base = i * pixels * c + g * per;
            double sum = 0, sq = 0;
            for (size_t p = 0; p < pixels; p++)
                for (size_t j = 0; j < per; j++)
                    sum += x[base + p * c + j];
            double mean = sum / (double)(pixels * per);
            for (size_t p = 0; p < pixels; p++) {
                for (size_t j = 0; j < per; j++) {
                    double d = x[base + p * c + j] - mean;
                    sq += d * d;
                }
            }
            double inv = 1 / sqrt(sq / (double)(pixels * per) + n->u.norm.eps);
            for (size_t p = 0; p < pixels; p++)
                for (size_t j = 0; j < per; j++)
                    y[base + p * c + j] =
                        act(n->act,
                            (x[base + p * c + j] - mean) * inv * w[g * per + j] + b[g * per + j]);
        }
    }
}

static void layer_norm(const ls_node *n, const float *x, const float *w, const float *b,
                       const float *pe, float *y)
{
    const ls_tensor *t = n->out;
    size_t c = t->shape[t->ndim - 1], rows = t->count / c, per_frame = rows / t->shape[0];
#pragma omp parallel for
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * c;
        const float *add = pe ? pe + r / per_frame % n->u.norm.frames * c : NULL;
        double sum = 0, sq = 0;
        for (size_t i = 0; i < c; i++)
            sum += in[i];
        double mean = sum / (double)c;
        for (size_t i = 0; i < c; i++)
            sq += (in[i] - mean) * (in[i] - mean);
        double inv = 1 / sqrt(sq / (double)c + n->u.norm.eps);
        for (size_t i = 0; i < c; i++)
            y[r * c + i] = (float)((in[i] - mean) * inv * w[i] + b[i]) + (add ? add[i] : 0);
    }
}

/* Row i of sequence (n, t): tokens of one image, or, along the frames, one token of each image. */
typedef struct rows {
    size_t start, step;
} rows;

static rows rows_of(const ls_node *node, size_t n, size_t tokens, size_t c)
{
    size_t f = node->u.attention.frames;
    if (!f)
        return (rows){n * tokens * c, c};
    return (rows){(n / tokens * f * tokens + n % tokens) * c, tokens * c};
}

static int attention(const ls_node *node, const float *q, const float *k, const float *v, float *y)
{
    const size_t *qs = node->out->shape;
    size_t f = node->u.attention.frames, c = qs[2], heads = node->u.attention.heads, d = c / heads;
    size_t sequences = f ? qs[0] / f * qs[1] : qs[0];
    size_t nq = f ? f : qs[1], nk = f ? f : node->in[1]->shape[1];
    int failed = 0;
#pragma omp parallel reduction(| : failed)
    {
        double *p = ls_malloc_array(nk + d, sizeof *p), *acc = p ? p + nk : NULL;
        failed = !p;
#pragma omp for collapse(2)
        for (size_t s = 0; s < sequences; s++) {
            for (size_t h = 0; h < heads; h++) {
                rows a = rows_of(node, s, qs[1], c), b = rows_of(node, s, node->in[1]->shape[1], c);
                for (size_t i = 0; p && i < nq; i++) {
                    const float *qi = q + a.start + i * a.step + h * d;
                    double max = -INFINITY, sum = 0;
                    for (size_t j = 0; j < nk; j++) {
                        const float *kj = k + b.start + j * b.step + h * d;
                        double dot = 0;
                        for (size_t e = 0; e < d; e++)
                            dot += (double)qi[e] * kj[e];
                        p[j] = dot * node->u.attention.scale;
                        max = fmax(max, p[j]);
                    }
                    memset(acc, 0, d * sizeof *acc);
                    for (size_t j = 0; j < nk; j++) {
                        double e = exp(p[j] - max);
                        sum += e;
                        const float *vj = v + b.start + j * b.step + h * d;
                        for (size_t t = 0; t < d; t++)
                            acc[t] += e * vj[t];
                    }
                    for (size_t t = 0; t < d; t++)
                        y[a.start + i * a.step + h * d + t] = (float)(acc[t] / sum);
                }
            }
        }
        free(p);
    }
    return failed;
}

static void geglu(const ls_node *n, const float *x, float *y)
{
    size_t c = n->out->shape[n->out->ndim - 1];
#pragma omp parallel for
    for (size_t i = 0; i < n->out->count; i++) {
        const float *row = x + i / c * 2 * c;
        y[i] = row[i % c] * gelu(row[c + i % c]);
    }
}

static void upsample(const ls_node *n, const float *x, float *y)
{
    const size_t *xs = n->in[0]->shape, *ys = n->out->shape;
    for (size_t r = 0; r < ys[0] * ys[1]; r++) {
        size_t row = r / ys[1] * xs[1] + r % ys[1] * xs[1] / ys[1];
        for (size_t i = 0; i < ys[2]; i++)
            memcpy(y + (r * ys[2] + i) * ys[3], x + (row * xs[2] + i * xs[2] / ys[2]) * ys[3],
                   ys[3] * sizeof *y);
    }
}

static void pool(const ls_node *n, const float *x, float *y)
{
    const size_t *xs = n->in[0]->shape, *ys = n->out->shape, c = xs[3];
    const ls_window *w = &n->u.pool.window;
    for (size_t i = 0; i < n->out->count; i++) {
        size_t row = i / c / ys[2] / ys[1], top = i / c / ys[2] % ys[1] * w->stride[0];
        size_t left = i / c % ys[2] * w->stride[1], pixels = 0;
        double sum = 0, most = -INFINITY;
        for (size_t r = top; r < top + w->kernel[0]; r++) { /* of the padded image */
            for (size_t k = left; k < left + w->kernel[1]; k++) {
                size_t py = r - w->pad[0], px = k - w->pad[1];
                if (py >= xs[1] || px >= xs[2])
                    continue;
                float v = x[((row * xs[1] + py) * xs[2] + px) * c + i % c];
                pixels++;
                sum += v;
                most = v > most ? v : most;
            }
        }
        y[i] = (float)(n->u.pool.mean
                           ? sum / (double)(n->u.pool.count_pads ? w->kernel[0] * w->kernel[1]
                                                                 : pixels)
                           : most);
    }
}

static float binary(ls_binary op, float a, float b)
{
    switch (op) {
    case LS_BINARY_ADD:
        return a + b;
    case LS_BINARY_SUB:
        return a - b;
    case LS_BINARY_MUL:
        return a * b;
    default:
        return a > 0 ? a : a * b;
    }
}

static void binary_op(const ls_node *n, const float *a, const float *b, float *y)
{
    const ls_tensor *o = n->out;
    for (size_t i = 0; i < o->count; i++) {
        size_t rest = i, at[2] = {0, 0}, step[2] = {1, 1};
        for (size_t d = o->ndim; d-- > 0; rest /= o->shape[d])
            for (int j = 0; j < 2; j++) {
                if (n->in[j]->shape[d] > 1)
                    at[j] += rest % o->shape[d] * step[j];
                step[j] *= n->in[j]->shape[d];
            }
        y[i] = binary(n->u.binary, a[at[0]], b[at[1]]);
    }
}

static void take(const ls_node *n, const float *x, float *y)
{
    const ls_tensor *o = n->out;
    for (size_t i = 0; i < o->count; i++) {
        const size_t *table = n->u.take;
        size_t inner = o->count, at = 0;
        for (size_t d = 0; d < o->ndim; table += o->shape[d++]) {
            inner /= o->shape[d];
            at += table[i / inner % o->shape[d]];
        }
        y[i] = x[at];
    }
}

static void concat(const ls_node *n, const float *a, const float *b, float *y)
{
    size_t ca = n->in[0]->shape[n->in[0]->ndim - 1], cb = n->in[1]->shape[n->in[1]->ndim - 1];
    for (size_t r = 0; r < n->out->count / (ca + cb); r++) {
        memcpy(y + r * (ca + cb), a + r * ca, ca * sizeof *y);
        memcpy(y + r * (ca + cb) + ca, b + r * cb, cb * sizeof *y);
    }
}

/* diffusers' get_timestep_embedding with flip_sin_to_cos and freq_shift 0, in float32 as there. */
static void timestep(const ls_node *n, const float *t, float *y)
{
    size_t half = n->out->count / 2;
    for (size_t i = 0; i < half; i++) {
        float freq = expf(-logf(10000.0f) * (float)i / (float)half);
        y[i] = cosf(t[0] * freq);
        y[half + i] = sinf(t[0] * freq);
    }
}

static int compute(ls_kernel *k, void *const memory[LS_MAX_INPUTS], void *out, ls_error *err)
{
    const ls_node *n = &k->node;
    const float *in[LS_MAX_INPUTS];
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        in[i] = k->weight[i] ? k->weight[i] : memory[i];
    int failed = 0;
    switch (n->op) {
    case LS_OP_CONV2D:
        failed = conv2d(n, in[0], in[1], in[2], in[3], out);
        break;
    case LS_OP_LINEAR:
        failed = linear(n, in[0], in[1], in[2], in[3], out);
        break;
    case LS_OP_GROUP_NORM:
        group_norm(n, in[0], in[1], in[2], out);
        break;
    case LS_OP_LAYER_NORM:
        layer_norm(n, in[0], in[1], in[2], in[3], out);
        break;
    case LS_OP_ATTENTION:
        failed = attention(n, in[0], in[1], in[2], out);
        break;
    case LS_OP_GEGLU:
        geglu(n, in[0], out);
        break;
    case LS_OP_ACT:
        for (size_t i = 0; i < n->out->count; i++)
            ((float *)out)[i] = act(n->act, in[0][i]);
        break;
    case LS_OP_ADD:
        for (size_t i = 0; i < n->out->count; i++)
            ((float *)out)[i] = in[0][i] + in[1][i];
        break;
    case LS_OP_CONCAT:
        concat(n, in[0], in[1], out);
        break;
    case LS_OP_UPSAMPLE:
        upsample(n, in[0], out);
        break;
    case LS_OP_TIMESTEP:
        timestep(n, in[0], out);
        break;
    case LS_OP_CAST:
        memcpy(out, in[0], ls_tensor_bytes(n->out));
        break;
    case LS_OP_POOL:
        pool(n, in[0], out);
        break;
    case LS_OP_BINARY:
        binary_op(n, in[0], in[1], out);
        break;
    case LS_OP_TAKE:
        take(n, in[0], out);
        break;
    case LS_OP_COUNT:
        break;
    }
    return failed ? ls_fail(err, LS_ENOMEM, "out of memory in %s", ls_op_name(n->op)) : 0;
}

static int enqueue(ls_device *dev, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                   void *scratch, ls_error *err)
{
    (void)scratch;
    const ls_team before = ls_team_enter(dev->threads);
    const int ret = compute(k, in, out, err);
    ls_team_leave(before);
    return ret;
}

static int open_store(ls_device *dev, unsigned flags, ls_store **out, ls_error *err)
{
    return ls_store_new(out, dev, flags, sizeof **out, err);
}

static void close_device(ls_device *dev)
{
    free(dev);
}

static const ls_device_vtable vtable = {.alloc = ls_host_alloc,
                                        .release = ls_host_release,
                                        .write = ls_host_write,
                                        .read = ls_host_read,
                                        .open_store = open_store,
                                        .compile = compile,
                                        .free_kernel = free_kernel,
                                        .enqueue = enqueue,
                                        .close = close_device};

int ls_device_ref_open(ls_device **out, ls_error *err)
{
    *out = ls_calloc_array(1, sizeof **out);
    if (!*out)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    (*out)->vtable = &vtable;
    return 0;
}
