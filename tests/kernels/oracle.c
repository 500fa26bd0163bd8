#include "oracle.h"

#include <math.h>

static double act(ls_act a, double x)
{
    switch (a) {
    case LS_ACT_SILU:
        return x / (1 + exp(-x));
    case LS_ACT_GELU:
        return x * 0.5 * erfc(-x * M_SQRT1_2);
    case LS_ACT_RELU:
        return fmax(x, 0);
    case LS_ACT_SIGMOID:
        return 0.5 + 0.5 * tanh(x / 2);
    default:
        return x;
    }
}

static double conv2d(const ls_node *n, const float *x, const float *w, size_t at)
{
    const size_t *xs = n->in[0]->shape, *ys = n->out->shape, *ws = n->in[1]->shape;
    size_t co = at % ys[3], ox = at / ys[3] % ys[2], oy = at / ys[3] / ys[2] % ys[1];
    size_t image = at / ys[3] / ys[2] / ys[1], dims = n->in[1]->ndim;
    size_t kh = dims == 3 ? 1 : ws[2], kw = ws[dims - 1];
    double sum = 0;
    for (size_t i = 0; i < ws[1] * kh * kw; i++) {
        size_t ci = co / (ys[3] / n->u.conv.groups) * ws[1] + i / kw / kh;
        long y =
            (long)(oy * n->u.conv.window.stride[0] + i / kw % kh) - (long)n->u.conv.window.pad[0];
        long z = (long)(ox * n->u.conv.window.stride[1] + i % kw) - (long)n->u.conv.window.pad[1];
        if (y >= 0 && z >= 0 && y < (long)xs[1] && z < (long)xs[2])
            sum += (double)w[co * ws[1] * kh * kw + i] *
                   x[((image * xs[1] + (size_t)y) * xs[2] + (size_t)z) * xs[3] + ci];
    }
    return sum;
}

static double linear(const ls_node *n, const float *x, const float *w, size_t at)
{
    size_t co = n->in[1]->shape[0], ci = n->in[1]->shape[1];
    double sum = 0;
    for (size_t i = 0; i < ci; i++)
        sum += (double)x[at / co * ci + i] * w[at % co * ci + i];
    return sum;
}

/* The element normalised by the mean and variance of all x[i] for which `of(i)` is its own. */
static double normalise(const float *x, size_t first, size_t last, size_t c, size_t per, size_t at,
                        double eps)
{
    double sum = 0, square = 0, count = 0;
    for (size_t i = first; i < last; i++)
        if (i % c / per == at % c / per) {
            sum += x[i];
            count++;
        }
    for (size_t i = first; i < last; i++)
        if (i % c / per == at % c / per)
            square += (x[i] - sum / count) * (x[i] - sum / count);
    return (x[at] - sum / count) / sqrt(square / count + eps);
}

static double attention(const ls_node *n, const float *q, const float *k, const float *v, size_t at)
{
    size_t c = n->out->shape[2], t = n->out->shape[1], d = c / n->u.attention.heads;
    size_t f = n->u.attention.frames, s = f ? f : n->in[1]->shape[1];
    size_t channel = at % c, token = at / c % t, row = at / c / t;
    double sum = 0, top = -INFINITY, result = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (size_t j = 0; j < s; j++) {
            size_t key = f ? ((row / f * f + j) * t + token) * c : (row * s + j) * c;
            double dot = 0;
            for (size_t i = 0; i < d; i++)
                dot += (double)q[at / c * c + channel / d * d + i] * k[key + channel / d * d + i];
            dot *= n->u.attention.scale;
            if (!pass) {
                top = fmax(top, dot);
            } else {
                sum += exp(dot - top);
                result += exp(dot - top) * v[key + channel];
            }
        }
    }
    return result / sum;
}

static double timestep(const ls_node *n, double t, size_t at)
{
    size_t half = n->out->count / 2;
    double angle = t * pow(10000, -(double)(at % half) / (double)half);
    return at < half ? cos(angle) : sin(angle);
}

static double pool(const ls_node *n, const float *x, size_t at)
{
    const size_t *xs = n->in[0]->shape, *ys = n->out->shape, c = xs[3];
    const ls_window *w = &n->u.pool.window;
    long top = (long)(at / c / ys[2] % ys[1] * w->stride[0]) - (long)w->pad[0];
    long left = (long)(at / c % ys[2] * w->stride[1]) - (long)w->pad[1];
    double sum = 0, most = -INFINITY, count = 0;
    for (long r = top; r < top + (long)w->kernel[0]; r++)
        for (long k = left; k < left + (long)w->kernel[1]; k++) {
            bool inside = r >= 0 && k >= 0 && r < (long)xs[1] && k < (long)xs[2];
            count += inside || n->u.pool.count_pads;
            if (inside) {
                double v =
                    x[((at / c / ys[2] / ys[1] * xs[1] + (size_t)r) * xs[2] + (size_t)k) * c +
                      at % c];
                sum += v;
                most = fmax(most, v);
            }
        }
    return n->u.pool.mean ? sum / count : most;
}

/* Row-major place in a tensor of the element of `n->out`, broadcasting. */
static size_t place(const ls_tensor *t, const ls_tensor *out, size_t at)
{
    size_t result = 0, above = out->count;
    for (size_t d = 0; d < out->ndim; d++) {
        above /= out->shape[d];
        result = result * t->shape[d] + (t->shape[d] == 1 ? 0 : at / above % out->shape[d]);
    }
    return result;
}

static double binary(ls_binary op, double a, double b)
{
    return op == LS_BINARY_ADD   ? a + b
           : op == LS_BINARY_SUB ? a - b
           : op == LS_BINARY_MUL ? a * b
                                 : fmax(a, 0) + b * fmin(a, 0);
}

static size_t taken(const ls_node *n, size_t at)
{
    size_t first = 0, sum = 0, above = n->out->count;
    for (size_t d = 0; d < n->out->ndim; d++) {
        above /= n->out->shape[d];
        sum += n->u.take[first + at / above % n->out->shape[d]];
        first += n->out->shape[d];
    }
    return sum;
}

double oracle(const ls_node *n, const float *const in[LS_MAX_INPUTS], size_t at)
{
    const size_t *ys = n->out->shape, *xs = n->in[0]->shape;
    size_t c = ys[n->out->ndim - 1], set;
    double y;
    switch (n->op) {
    case LS_OP_CONV2D:
    case LS_OP_LINEAR:
        y = n->op == LS_OP_CONV2D ? conv2d(n, in[0], in[1], at) : linear(n, in[0], in[1], at);
        y += in[2] ? in[2][at % c] : 0;
        if (n->op == LS_OP_CONV2D && n->u.conv.act_last)
            return act(n->act, y + (in[3] ? in[3][at] : 0));
        return act(n->act, y) + (in[3] ? in[3][at] : 0);
    case LS_OP_GROUP_NORM:
        set = n->out->count / (ys[0] / n->u.norm.frames);
        y = normalise(in[0], at / set * set, at / set * set + set, c, c / n->u.norm.groups, at,
                      n->u.norm.eps);
        return act(n->act, y * in[1][at % c] + in[2][at % c]);
    case LS_OP_LAYER_NORM:
        y = normalise(in[0], at / c * c, at / c * c + c, c, c, at, n->u.norm.eps);
        set = n->out->count / ys[0];
        return y * in[1][at % c] + in[2][at % c] +
               (in[3] ? in[3][at / set % n->u.norm.frames * c + at % c] : 0);
    case LS_OP_ATTENTION:
        return attention(n, in[0], in[1], in[2], at);
    case LS_OP_GEGLU:
        return in[0][at / c * 2 * c + at % c] *
               act(LS_ACT_GELU, in[0][at / c * 2 * c + c + at % c]);
    case LS_OP_ACT:
        return act(n->act, in[0][at]);
    case LS_OP_ADD:
        return (double)in[0][at] + in[1][at];
    case LS_OP_CONCAT:
        set = n->in[0]->shape[n->in[0]->ndim - 1];
        return at % c < set ? in[0][at / c * set + at % c]
                            : in[1][at / c * (c - set) + at % c - set];
    case LS_OP_UPSAMPLE:
        set = (at / c / ys[2] / ys[1] * xs[1] + at / c / ys[2] % ys[1] * xs[1] / ys[1]) * xs[2] +
              at / c % ys[2] * xs[2] / ys[2];
        return in[0][set * c + at % c];
    case LS_OP_TIMESTEP:
        return timestep(n, in[0][0], at);
    case LS_OP_POOL:
        return pool(n, in[0], at);
    case LS_OP_BINARY:
        return binary(n->u.binary, in[0][place(n->in[0], n->out, at)],
                      in[1][place(n->in[1], n->out, at)]);
    case LS_OP_TAKE:
        return in[0][taken(n, at)];
    default:
        return in[0][at];
    }
}
