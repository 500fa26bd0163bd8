/* Operators that compute. */
#include "nn/onnx/importer.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Operations of two tensors */

/* The value as an operand of `ndim` dimensions, channels-last when `last`. NULL after an error. */
static ls_tensor *operand(ls_importer *s, const ls_im_value *v, size_t ndim, bool last)
{
    size_t full[LS_MAX_DIMS] = {0};
    for (size_t d = 0; d < ndim; d++)
        full[d] =
            d < ndim - v->constant.ndim ? 1 : v->constant.shape[d - (ndim - v->constant.ndim)];
    if (v->tensor) {
        ls_im_value wide = *v;
        memcpy(wide.constant.shape, full, sizeof full);
        if (v->constant.ndim < ndim) {
            wide.tensor = ls_view(s->g, ls_im_plain(s, v), ndim, full);
            wide.last = false;
        }
        return !wide.tensor ? NULL : last ? ls_im_channels_last(s, &wide) : ls_im_plain(s, &wide);
    }
    if (!v->constant.f) {
        ls_im_fail(s, LS_EFORMAT, "mixing integers with other numbers is not supported");
        return NULL;
    }
    float *data = ls_im_spend(s, v->constant.count)
                      ? NULL
                      : ls_im_copy_floats(v->constant.f, v->constant.count);
    if (last && data) {
        const size_t pixels = full[2] * full[3], c = full[1];
        for (size_t n = 0; n < full[0]; n++)
            for (size_t k = 0; k < c * pixels; k++)
                data[n * c * pixels + k % pixels * c + k / pixels] =
                    v->constant.f[n * c * pixels + k];
        const size_t h = full[2], w = full[3];
        full[1] = h;
        full[2] = w;
        full[3] = c;
    }
    return ls_im_add_weight(s, data, ndim, full);
}

static int evaluate_binary(ls_importer *s, ls_binary op, const ls_onnx_value *a,
                           const ls_onnx_value *b)
{
    ls_im_value y = {0};
    const ls_onnx_value *large = a->ndim >= b->ndim && a->count >= b->count ? a : b;
    const bool equal =
        a->ndim == b->ndim && !memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape);
    const bool fits = a->i && b->i && (equal || a->count == 1 || b->count == 1);
    if (!fits || op == LS_BINARY_PRELU)
        return ls_im_fail(s, LS_EUNSUPPORTED, "these constants are not supported");
    int ret = ls_onnx_value_new(&y.constant, true, large->ndim, large->shape, s->err);
    for (size_t k = 0; !ret && k < y.constant.count; k++) {
        uint64_t p = (uint64_t)a->i[a->count == 1 ? 0 : k];
        uint64_t q = (uint64_t)b->i[b->count == 1 ? 0 : k];
        y.constant.i[k] = (int64_t)(op == LS_BINARY_ADD   ? p + q
                                    : op == LS_BINARY_SUB ? p - q
                                                          : p * q);
    }
    return ret ? ret : ls_im_define(s, &y);
}

static int binary_of(ls_importer *s, ls_binary op, const ls_im_value *a, const ls_im_value *b)
{
    if (!a->tensor && !b->tensor)
        return evaluate_binary(s, op, &a->constant, &b->constant);
    const size_t ndim = a->constant.ndim > b->constant.ndim ? a->constant.ndim : b->constant.ndim;
    const bool last = ndim == 4 && ((a->tensor && a->last) || (b->tensor && b->last));
    if (!ndim)
        return ls_im_fail(s, LS_EUNSUPPORTED, "single numbers are not supported");
    ls_tensor *x = operand(s, a, ndim, last), *y = x ? operand(s, b, ndim, last) : NULL;
    if (!x || !y)
        return ls_im_define_tensor(s, NULL, false);
    bool equal = !memcmp(x->shape, y->shape, ndim * sizeof *x->shape);
    if (op == LS_BINARY_ADD && equal && !x->param && !y->param)
        return ls_im_define_tensor(s, ls_add(s->g, x, y), last);
    return ls_im_define_tensor(s, ls_binary_op(s->g, op, x, y), last);
}

int ls_import_binary(ls_importer *s)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "PRelu"};
    size_t op = 0;
    while (strcmp(names[op], s->node->op_type))
        op++;
    const ls_im_value *b = ls_im_input(s, 1);
    return b ? binary_of(s, (ls_binary)op, ls_im_input(s, 0), b)
             : ls_im_fail(s, LS_EFORMAT, "input 1 is missing");
}

/* Convolutions and the nodes that follow them */

/* The scale and shift per channel of a normalisation. The caller frees both, on failure too. */
static int normalisation(ls_importer *s, size_t channels, float **scale, float **shift)
{
    const ls_onnx_value *p[4] = {NULL};
    *scale = ls_malloc_array(channels, sizeof **scale);
    *shift = ls_malloc_array(channels, sizeof **shift);
    int ret = *scale && *shift ? 0 : ls_im_fail(s, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < 4; i++) {
        ret = ls_im_constant_input(s, i + 1, false, &p[i]);
        if (!ret && p[i]->count != channels)
            ret = ls_im_fail(s, LS_EFORMAT, "input %zu has %zu values for %zu channels", i + 1,
                             p[i]->count, channels);
    }
    if (!ret && ls_im_attr_int(s, "training_mode", 0))
        ret = ls_im_fail(s, LS_EUNSUPPORTED, "training mode is not supported");
    double eps = (double)ls_im_attr_float(s, "epsilon", 1e-5f);
    for (size_t c = 0; !ret && c < channels; c++) {
        double k = p[0]->f[c] / sqrt(p[3]->f[c] + eps);
        (*scale)[c] = (float)k;
        (*shift)[c] = (float)(p[1]->f[c] - p[2]->f[c] * k);
    }
    return ret;
}

int ls_import_batch_normalization(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    float *scale, *shift;
    if (!x->tensor || x->constant.ndim < 2 || x->constant.ndim > 4)
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "only non-constant inputs of 2 to 4 dimensions are supported");
    const size_t c = x->constant.shape[1], ndim = x->last ? 4 : x->constant.ndim;
    size_t wide[4] = {1, 1, 1, 1};
    wide[x->last ? 3 : 1] = c;
    int ret = normalisation(s, c, &scale, &shift);
    if (ret) {
        free(scale);
        free(shift);
        return ret;
    }
    ls_tensor *a = ls_im_add_weight(s, scale, ndim, wide),
              *b = ls_im_add_weight(s, shift, ndim, wide);
    ls_tensor *y = ls_binary_op(s->g, LS_BINARY_MUL, x->tensor, a);
    y = ls_binary_op(s->g, LS_BINARY_ADD, y, b);
    return ls_im_define_tensor(s, y, x->last);
}

typedef struct convolution {
    size_t co, per; /* weights for each output channel */
    float *w, *b;
    ls_act act;
    ls_tensor *residual;
    bool act_last;
    const char *output; /* name of the result */
} convolution;

static void scale_outputs(convolution *k, const float *scale, size_t step, const float *shift)
{
    for (size_t c = 0; c < k->co; c++) {
        for (size_t i = 0; i < k->per; i++)
            k->w[c * k->per + i] *= scale[c * step];
        k->b[c] = k->b[c] * scale[c * step] + (shift ? shift[c] : 0);
    }
}

/* The only node that uses `name`, or NULL. */
static const ls_onnx_node *only_user(const ls_importer *s, const char *name, size_t *index)
{
    if (ls_im_find(s, name)->uses != 1)
        return NULL;
    for (*index = s->current + 1; *index < s->file->n_node; ++*index) {
        const ls_onnx_node *n = s->file->node[*index];
        for (size_t i = 0; !s->done[*index] && i < n->n_input; i++)
            if (!strcmp(n->input[i], name))
                return n->n_output == 1 && *n->output[0] && ls_im_standard(n) ? n : NULL;
    }
    return NULL; /* it is an output of the network */
}

/* Absorbs one more node; false if it cannot be, or not yet. */
static bool take_in(ls_importer *s, convolution *k, const ls_onnx_node *n, const size_t *image,
                    int *ret)
{
    const bool own_first = !strcmp(n->input[0], k->output);
    const ls_im_value *other = n->n_input == 2 ? ls_im_find(s, n->input[own_first]) : NULL;
    const bool bare = !k->act && !k->residual;
    if (!strcmp(n->op_type, "BatchNormalization") && bare && own_first) {
        const ls_onnx_node *node = s->node;
        float *scale, *shift;
        s->node = n;
        *ret = normalisation(s, k->co, &scale, &shift);
        s->node = node;
        if (!*ret)
            scale_outputs(k, scale, 1, shift);
        free(scale);
        free(shift);
        return true;
    }
    if (!k->act && own_first && (!strcmp(n->op_type, "Relu") || !strcmp(n->op_type, "Sigmoid"))) {
        k->act_last = k->residual;
        k->act = *n->op_type == 'R' ? LS_ACT_RELU : LS_ACT_SIGMOID;
        return true;
    }
    if (!strcmp(n->op_type, "Mul") && bare && other && other->known && other->constant.f &&
        other->constant.count == 1 && other->constant.ndim <= 4) {
        scale_outputs(k, other->constant.f, 0, NULL);
        return true;
    }
    if (!strcmp(n->op_type, "Add") && bare && other && other->known && other->tensor &&
        other->constant.ndim == 4 && !memcmp(other->constant.shape, image, 4 * sizeof *image)) {
        k->residual = ls_im_channels_last(s, other);
        return k->residual;
    }
    return false;
}

static int window_of(ls_importer *s, ls_window *w)
{
    size_t dilations[2] = {1, 1};
    *w = (ls_window){.kernel = {1, 1}, .stride = {1, 1}};
    int ret = ls_im_attr_sizes(s, "kernel_shape", 2, w->kernel);
    if (!ret)
        ret = ls_im_attr_sizes(s, "strides", 2, w->stride);
    if (!ret)
        ret = ls_im_attr_sizes(s, "pads", 4, w->pad);
    if (!ret)
        ret = ls_im_attr_sizes(s, "dilations", 2, dilations);
    if (!ret && ls_im_attribute(s, "auto_pad") && !ls_im_attr_is(s, "auto_pad", "NOTSET"))
        ret = ls_im_fail(s, LS_EUNSUPPORTED, "auto_pad is not supported; explicit pads are");
    if (!ret && (dilations[0] != 1 || dilations[1] != 1))
        ret = ls_im_fail(s, LS_EUNSUPPORTED, "dilations are not supported");
    if (!ret && (!w->stride[0] || !w->stride[1] || !w->kernel[0] || !w->kernel[1]))
        ret = ls_im_fail(s, LS_EFORMAT, "the stride or kernel is 0");
    return ret;
}

static int image_input(ls_importer *s, ls_tensor **x)
{
    const ls_im_value *v = ls_im_input(s, 0);
    *x = NULL;
    if (!v->tensor || v->constant.ndim != 4)
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "the input has %zu dimensions; only non-constant images are supported",
                          v->constant.ndim);
    *x = ls_im_channels_last(s, v);
    return *x ? 0 : ls_im_define_tensor(s, NULL, false);
}

static int open_convolution(ls_importer *s, convolution *k, const ls_onnx_value *w)
{
    const ls_onnx_value *b = NULL;
    int ret = ls_im_input(s, 2) ? ls_im_constant_input(s, 2, false, &b) : 0;
    if (ret)
        return ret;
    if (w->ndim != 4 || !w->count)
        return ls_im_fail(s, LS_EFORMAT, "the weight has %zu dimensions", w->ndim);
    if (b && b->count != w->shape[0])
        return ls_im_fail(s, LS_EFORMAT, "%zu biases for %zu channels", b->count, w->shape[0]);
    if ((ret = ls_im_spend(s, w->count)))
        return ret;
    *k = (convolution){.co = w->shape[0],
                       .per = w->count / w->shape[0],
                       .w = ls_im_copy_floats(w->f, w->count),
                       .b = ls_calloc_array(w->shape[0], sizeof(float)),
                       .output = s->node->output[0]};
    if (k->b && b)
        memcpy(k->b, b->f, b->count * sizeof *b->f);
    return k->w && k->b ? 0 : ls_im_fail(s, LS_ENOMEM, "out of memory");
}

int ls_import_conv(ls_importer *s)
{
    convolution k = {0};
    ls_window window;
    const ls_onnx_value *w;
    ls_tensor *x;
    const int64_t groups = ls_im_attr_int(s, "group", 1);
    int ret = ls_im_constant_input(s, 1, false, &w);
    if (!ret)
        ret = window_of(s, &window);
    if (!ret)
        ret = image_input(s, &x);
    if (!ret)
        ret = open_convolution(s, &k, w);
    if (!ret && (groups < 1 || (uint64_t)groups > k.co ||
                 (ls_im_attribute(s, "kernel_shape") &&
                  (window.kernel[0] != w->shape[2] || window.kernel[1] != w->shape[3]))))
        ret = ls_im_fail(s, LS_EFORMAT, "the groups or the kernel do not fit the weight");
    size_t image[4] = {0, k.co}, index;
    for (int i = 0; !ret && i < 2; i++) {
        size_t padded = x->shape[i + 1] + window.pad[i] + window.pad[i + 2];
        if (padded < w->shape[i + 2])
            ret = ls_im_fail(s, LS_EFORMAT, "the kernel is larger than the padded image");
        else
            image[i + 2] = (padded - w->shape[i + 2]) / window.stride[i] + 1;
    }
    if (!ret)
        image[0] = x->shape[0];
    const ls_onnx_node *user;
    while (!ret && (user = only_user(s, k.output, &index)) && take_in(s, &k, user, image, &ret)) {
        s->done[index] = true;
        k.output = user->output[0];
    }
    if (ret) {
        free(k.w);
        free(k.b);
        return ret;
    }
    ls_tensor *wt = ls_im_add_weight(s, k.w, 4, w->shape),
              *bias = ls_im_add_weight(s, k.b, 1, &k.co);
    ls_tensor *y = ls_conv2d_grouped(s->g, x, wt, bias, k.residual, &window, (size_t)groups, k.act,
                                     k.act_last);
    s->output = k.output;
    return ls_im_define_tensor(s, y, true);
}

int ls_import_pool(ls_importer *s)
{
    ls_window w;
    ls_tensor *x;
    size_t out[2];
    const bool mean = *s->node->op_type != 'M', ceil_mode = ls_im_attr_int(s, "ceil_mode", 0);
    int ret = image_input(s, &x);
    if (ret)
        return ret;
    if (!strcmp(s->node->op_type, "GlobalAveragePool"))
        w = (ls_window){.kernel = {x->shape[1], x->shape[2]}, .stride = {1, 1}};
    else if ((ret = window_of(s, &w)))
        return ret;
    for (int i = 0; i < 2; i++) {
        size_t padded = x->shape[i + 1] + w.pad[i] + w.pad[i + 2];
        if (padded < w.kernel[i])
            return ls_im_fail(s, LS_EFORMAT, "the window is larger than the padded image");
        size_t room = padded - w.kernel[i];
        out[i] = (ceil_mode ? room + w.stride[i] - 1 : room) / w.stride[i] + 1;
        if ((out[i] - 1) * w.stride[i] >= x->shape[i + 1] + w.pad[i])
            out[i]--; /* as ONNX has it: a window does not start in the padding at the end */
    }
    return ls_im_define_tensor(
        s, ls_pool(s->g, x, &w, out[0], out[1], mean, ls_im_attr_int(s, "count_include_pad", 0)),
        true);
}

int ls_import_gemm(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const ls_onnx_value *b, *c = NULL;
    const float alpha = ls_im_attr_float(s, "alpha", 1), beta = ls_im_attr_float(s, "beta", 1);
    const bool across = ls_im_attr_int(s, "transB", 0);
    int ret = ls_im_constant_input(s, 1, false, &b);
    if (!ret && ls_im_input(s, 2))
        ret = ls_im_constant_input(s, 2, false, &c);
    if (ret)
        return ret;
    if (!x->tensor || x->constant.ndim != 2 || b->ndim != 2 || !b->count)
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "only a non-constant matrix times a constant one is supported");
    const size_t co = b->shape[!across], ci = b->shape[across];
    if ((ret = ls_im_spend(s, b->count)))
        return ret;
    if (c && c->count != 1 && (c->count != co || c->shape[c->ndim - 1] != co))
        return ls_im_fail(s, LS_EUNSUPPORTED, "input 2 has %zu values for %zu columns", c->count,
                          co);
    float *w = ls_malloc_array(b->count, sizeof *w), *bias = ls_calloc_array(co, sizeof *bias);
    for (size_t o = 0; w && o < co; o++)
        for (size_t i = 0; i < ci; i++)
            w[o * ci + i] = alpha * b->f[across ? o * ci + i : i * co + o];
    for (size_t o = 0; c && bias && o < co; o++)
        bias[o] = beta * c->f[c->count == 1 ? 0 : o];
    ls_tensor *a = x->tensor, *wt = ls_im_add_weight(s, w, 2, (size_t[]){co, ci});
    ls_tensor *bt = ls_im_add_weight(s, bias, 1, &co);
    if (ls_im_attr_int(s, "transA", 0)) {
        const size_t *n = x->constant.shape;
        ls_im_take t = {0};
        if (!ls_im_take_steps(s, &t, n[1], 0, 1) &&
            !ls_im_take_steps(s, &t, n[0], 0, (int64_t)n[1]))
            a = ls_take(s->g, a, 2, t.shape, t.table);
        free(t.table);
    }
    return ls_im_define_tensor(
        s, ls_linear(s->g, a, wt, bt, NULL, LS_ACT_NONE, a ? a->dtype : LS_F32), false);
}

/* Upsample, and Resize of operator set 10: X and scales, asymmetric, rounded down. */
static bool has_two_inputs(const ls_importer *s)
{
    return s->node->n_input == 2;
}

/* The source, of `in`, of row or column `i` of `out` in a nearest resize, as defined by ONNX. */
static int nearest(ls_importer *s, size_t i, double scale, size_t in, size_t out, size_t *from)
{
    const bool by_default = !ls_im_attribute(s, "coordinate_transformation_mode");
    const bool old = has_two_inputs(s);
    double x;
    *from = 0;
    if (old || ls_im_attr_is(s, "coordinate_transformation_mode", "asymmetric"))
        x = (double)i / scale;
    else if (by_default || ls_im_attr_is(s, "coordinate_transformation_mode", "half_pixel"))
        x = ((double)i + 0.5) / scale - 0.5;
    else if (ls_im_attr_is(s, "coordinate_transformation_mode", "align_corners"))
        x = out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0;
    else
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "this coordinate_transformation_mode is not supported");
    if (old || ls_im_attr_is(s, "nearest_mode", "floor"))
        x = floor(x);
    else if (ls_im_attr_is(s, "nearest_mode", "ceil"))
        x = ceil(x);
    else if (ls_im_attr_is(s, "nearest_mode", "round_prefer_ceil"))
        x = floor(x + 0.5);
    else
        x = ceil(x - 0.5);
    *from = x < 0 ? 0 : x > (double)(in - 1) ? in - 1 : (size_t)x;
    return 0;
}

int ls_import_resize(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const ls_onnx_value *scales = NULL, *sizes = NULL;
    const size_t *in = x->constant.shape;
    size_t out[4], step[4], order[4] = {0, 2, 3, 1};
    double scale[4];
    int ret = 0;
    if (ls_im_attribute(s, "mode") && !ls_im_attr_is(s, "mode", "nearest"))
        return ls_im_fail(s, LS_EUNSUPPORTED, "modes other than nearest are not supported");
    if (ls_im_attribute(s, "axes") || ls_im_attribute(s, "keep_aspect_ratio_policy"))
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "axes and keep_aspect_ratio_policy are not supported");
    if (ls_im_input(s, 3))
        ret = ls_im_constant_input(s, 3, true, &sizes);
    else
        ret = ls_im_constant_input(s, has_two_inputs(s) ? 1 : 2, false, &scales);
    if (ret)
        return ret;
    if (!x->tensor || x->constant.ndim != 4 || (sizes ? sizes : scales)->count != 4)
        return ls_im_fail(s, LS_EUNSUPPORTED, "only non-constant images are supported");
    for (size_t d = 0; d < 4; d++) {
        double n = sizes ? (double)sizes->i[d] : floor((double)in[d] * (double)scales->f[d]);
        if (!(n >= 1 && n <= 65536))
            return ls_im_fail(s, LS_EFORMAT, "the size %g is not supported", n);
        out[d] = (size_t)n;
        scale[d] = sizes ? n / (double)in[d] : (double)scales->f[d];
    }
    ls_tensor *t = ls_im_channels_last(s, x);
    ls_im_take table = {0};
    if (t)
        ls_im_steps_of(4, t->shape, step);
    for (size_t d = 0; t && !ret && d < 4; d++) {
        const size_t k = order[d];
        size_t *entries = ls_im_take_dimension(s, &table, out[k]);
        ret = entries ? 0 : s->err->code;
        for (size_t i = 0; !ret && i < out[k]; i++) {
            ret = nearest(s, i, scale[k], in[k], out[k], &entries[i]);
            entries[i] *= step[d];
        }
    }
    if (!ret)
        ret = ls_im_define_tensor(s, ls_take(s->g, t, 4, table.shape, table.table), true);
    free(table.table);
    return ret;
}
