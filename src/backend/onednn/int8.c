/* Products in eight bits: weights symmetric per output channel, inputs quantised when they arrive,
 * by the largest magnitude of each row (linear) or image (convolution). Sums are exact in int32, so
 * results depend neither on the number of threads nor on that of rows. */
#include "backend/onednn/onednn.h"

#include <float.h>
#include <omp.h>
#include <stdlib.h>

#define ROWS 128 /* of a linear product at once: its sums are still in the cache when scaled */
#define PARTS 8  /* of an image, for threads */

typedef struct product {
    ls_kernel base;
    dnnl_primitive_t prim;
    ls_md src, dst, pad; /* dst: float32 for linear, bfloat16 for a convolution */
    const packed_weight *packed;
    const float *bias; /* of a param */
    size_t items;      /* images, or rows */
    size_t in, out;    /* elements of an item */
    size_t channels, step;
    /* Sizes and offsets in the working memory, of linear for each thread. */
    size_t at_sums, at_scales, at_pad, per_thread;
} product;

static void free_product(ls_kernel *base)
{
    product *k = (product *)base;
    dnnl_primitive_destroy(k->prim);
    ls_md_free(k->src);
    ls_md_free(k->dst);
    ls_md_free(k->pad);
    free(k);
}

static dnnl_status_t execute(const onednn_device *dev, const product *k, void *src, void *dst,
                             void *pad)
{
    void *data[] = {src, dst, pad};
    const ls_const_md md[] = {k->src, k->dst, k->pad};
    const int arg[] = {DNNL_ARG_SRC, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD};
    dnnl_memory_t memory[3] = {0};
    dnnl_exec_arg_t args[4] = {{DNNL_ARG_WEIGHTS, k->packed->memory}};
    dnnl_status_t s = dnnl_success;
    for (int i = 0; !s && i < 3; i++) {
        s = dnnl_memory_create(&memory[i], md[i], dev->engine, data[i]);
        args[i + 1] = (dnnl_exec_arg_t){arg[i], memory[i]};
    }
    if (!s)
        s = dnnl_primitive_execute(k->prim, dev->stream, 4, args);
    if (!s)
        s = dnnl_stream_wait(dev->stream);
    for (int i = 0; i < 3; i++)
        dnnl_memory_destroy(memory[i]);
    return s;
}

/* The step between integers for values up to `peak`. What is too small for an inverse is 0; what is
 * not a number makes all that is scaled by it so. */
static float step_of(float peak, float *inverse)
{
    const float step = peak / 127;
    *inverse = step < FLT_MIN ? 0 : 1 / step;
    return step < FLT_MIN ? 0 : step;
}

static dnnl_status_t run_rows(const onednn_device *dev, const product *k, size_t first,
                              const uint16_t *x, const uint16_t *residual, const float *bias,
                              uint16_t *y, char *scratch)
{
    const size_t left = k->items - first, rows = left < k->step ? left : k->step;
    int8_t *q = (int8_t *)scratch;
    float *sums = (float *)(scratch + k->at_sums), *scale = (float *)(scratch + k->at_scales), inv;
    for (size_t r = 0; r < rows; r++) {
        const uint16_t *row = x + (first + r) * k->in;
        scale[r] = step_of(dev->kernels->peak(row, k->in), &inv);
        dev->kernels->to_int8(row, q + r * k->in, k->in, inv);
    }
    const dnnl_status_t s = execute(dev, k, q, sums, scratch + k->at_pad);
    for (size_t r = 0; !s && r < rows; r++) {
        const size_t at = (first + r) * k->out;
        dev->kernels->scale(sums + r * k->out, k->packed->scale, scale[r], bias,
                            residual ? residual + at : NULL, y + at, k->out, false);
    }
    return s;
}

static int run_linear(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                      void *scratch, ls_error *err)
{
    const product *k = (const product *)base;
    dnnl_status_t worst = dnnl_success;
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < k->items; r += k->step) {
        char *own = (char *)scratch + (size_t)omp_get_thread_num() * k->per_thread;
        const dnnl_status_t s =
            run_rows(dev, k, r, in[0], in[3], k->bias ? k->bias : in[2], out, own);
        if (s) {
#pragma omp atomic write
            worst = s;
        }
    }
    return ls_onednn_check(worst, "run", err);
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* The i-th part of `n` elements. */
static size_t part(size_t n, size_t i, size_t *first)
{
    const size_t each = (n + PARTS - 1) / PARTS;
    *first = smaller(i * each, n);
    return smaller(each, n - *first);
}

static int run_conv(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    const product *k = (const product *)base;
    const uint16_t *x = in[0], *residual = in[3];
    const float *bias = k->bias ? k->bias : in[2];
    uint16_t *y = out;
    int8_t *q = scratch;
    float *scale = (float *)((char *)scratch + k->at_scales), *peaks = scale + k->items;
    const size_t rows = k->out / k->channels;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < k->items * PARTS; i++) {
        size_t first, n = part(k->in, i % PARTS, &first);
        peaks[i] = dev->kernels->peak(x + i / PARTS * k->in + first, n);
    }
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < k->items * PARTS; i++) {
        float of_image[PARTS], inv;
        const size_t image = i / PARTS;
        size_t first, n = part(k->in, i % PARTS, &first);
        memcpy(of_image, peaks + image * PARTS, sizeof of_image);
        const float step = step_of(dev->kernels->largest(of_image, PARTS), &inv);
        if (i % PARTS == 0)
            scale[image] = step;
        dev->kernels->to_int8(x + image * k->in + first, q + image * k->in + first, n, inv);
    }
    dnnl_status_t s = execute(dev, k, q, out, (char *)scratch + k->at_pad);
#pragma omp parallel for schedule(static)
    for (size_t r = 0; r < k->items * rows; r++) {
        const size_t at = r * k->channels;
        dev->kernels->scale(y + at, k->packed->scale, scale[r / rows], bias,
                            residual ? residual + at : NULL, y + at, k->channels, true);
    }
    return ls_onednn_check(s, "run", err);
}

/* As sums over the channels of single pixels. */
static bool is_linear(const ls_node *n)
{
    const ls_window *w = &n->u.conv.window;
    return n->op == LS_OP_LINEAR ||
           (n->in[1]->ndim == 4 && w->kernel[0] * w->kernel[1] == 1 &&
            w->stride[0] * w->stride[1] == 1 && !(w->pad[0] | w->pad[1] | w->pad[2] | w->pad[3]));
}

/* The shortcut of a resnet reads what no norm has scaled: it alone would bring half of the error of
 * all convolutions, and little speed. */
static bool is_shortcut(const ls_node *n)
{
    return n->op == LS_OP_CONV2D && is_linear(n) && n->in[1]->shape[0] != n->in[1]->shape[1];
}

bool ls_onednn_suits_int8(const onednn_store *st, const ls_node *n)
{
    const ls_tensor *x = n->in[0], *w = n->in[1], *b = n->in[2], *residual = n->in[3];
    const int vnni = dnnl_cpu_isa_avx512_core_vnni;
    return st->base.flags & LS_STORE_INT8 && ((int)dnnl_get_effective_cpu_isa() & vnni) == vnni &&
           w->param && x->dtype == LS_BF16 && n->out->dtype == LS_BF16 && !n->act &&
           (!b || b->dtype == LS_F32) && (!residual || !residual->param) &&
           w->shape[0] >= LS_INT8_CHANNELS && w->shape[1] >= LS_INT8_CHANNELS &&
           (n->op == LS_OP_LINEAR || (w->ndim == 4 && n->u.conv.groups == 1)) && !is_shortcut(n);
}

static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr)
{
    const dnnl_status_t s = dnnl_primitive_attr_create(attr);
    return s ? s : dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
}

static dnnl_status_t describe(dnnl_primitive_desc_t *pd, const product *k, const ls_node *n,
                              ls_const_md weight, dnnl_engine_t engine)
{
    dnnl_primitive_attr_t attr = NULL;
    dnnl_status_t s = make_attr(&attr);
    if (!s && is_linear(n)) {
        s = ls_dnnl_matmul(pd, engine, k->src, weight, NULL, k->dst, attr);
    } else if (!s) {
        const size_t *stride = n->u.conv.window.stride, *pad = n->u.conv.window.pad;
        const ls_dnnl_window w = {.stride = {(dnnl_dim_t)stride[0], (dnnl_dim_t)stride[1]},
                                  .pad_first = {(dnnl_dim_t)pad[0], (dnnl_dim_t)pad[1]},
                                  .pad_last = {(dnnl_dim_t)pad[2], (dnnl_dim_t)pad[3]}};
        s = ls_dnnl_convolution(pd, engine, k->src, weight, NULL, k->dst, &w, attr);
    }
    dnnl_primitive_attr_destroy(attr);
    return s;
}

/* Only what has kernels of its own for eight bits. */
static bool is_fast(const_dnnl_primitive_desc_t pd)
{
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return !strncmp(name, "brg", 3) || !strncmp(name, "jit", 3);
}

static dnnl_status_t image(ls_md *md, const ls_tensor *t, dnnl_data_type_t type)
{
    const size_t *s = t->shape;
    return ls_md_new(
        md, 4,
        (dnnl_dims_t){(dnnl_dim_t)s[0], (dnnl_dim_t)s[3], (dnnl_dim_t)s[1], (dnnl_dim_t)s[2]}, type,
        dnnl_nhwc);
}

static ls_const_md weights_of(const_dnnl_primitive_desc_t pd)
{
    return dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
}

/* *pd stays NULL if oneDNN has nothing fast for this layout of the weight. */
static dnnl_status_t describe_fast(dnnl_primitive_desc_t *pd, const onednn_store *st,
                                   const product *k, const ls_node *n, ls_const_md weight)
{
    *pd = NULL;
    const dnnl_status_t s = describe(pd, k, n, weight, st->dev->engine);
    if (!s && (!is_fast(*pd) || !ls_md_can_reorder(weights_of(*pd)))) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    return s == dnnl_unimplemented ? dnnl_success : s;
}

/* A smaller batch, such as a last chunk's, may need another layout of the weight. Then *pd is for
 * the one that a single image needs, if this batch can use it. */
static dnnl_status_t suit_one(dnnl_primitive_desc_t *pd, const onednn_store *st, const product *k,
                              const ls_node *n, ls_const_md any)
{
    ls_tensor x = *n->in[0], y = *n->out;
    product one = {0};
    dnnl_primitive_desc_t single = NULL, both = NULL;
    x.shape[0] = y.shape[0] = 1;
    dnnl_status_t s = image(&one.src, &x, dnnl_s8);
    if (!s)
        s = image(&one.dst, &y, dnnl_bf16);
    if (!s)
        s = describe_fast(&single, st, &one, n, weights_of(*pd));
    if (!s && !single) {
        s = describe_fast(&single, st, &one, n, any);
        if (!s && single)
            s = describe_fast(&both, st, k, n, weights_of(single));
        if (!s && both) {
            dnnl_primitive_desc_destroy(*pd);
            *pd = both;
        }
    }
    dnnl_primitive_desc_destroy(single);
    ls_md_free(one.src);
    ls_md_free(one.dst);
    return s;
}

/* As the weight is packed already, or as oneDNN likes it; *pd stays NULL if it has nothing fast. */
static dnnl_status_t choose(dnnl_primitive_desc_t *pd, const onednn_store *st, const product *k,
                            const ls_node *n, ls_const_md plain)
{
    const packed_weight *have = ls_onednn_packed(st, n->in[1]->param, plain, dnnl_s8);
    if (have && !describe_fast(pd, st, k, n, have->md) && *pd)
        return dnnl_success;
    const ls_md_shape w = ls_md_shape_of(plain);
    ls_md any;
    dnnl_status_t s = ls_md_new(&any, w.ndims, w.dims, dnnl_s8, dnnl_format_tag_any);
    if (!s)
        s = describe_fast(pd, st, k, n, any);
    if (!s && *pd && !is_linear(n) && k->items > 1)
        s = suit_one(pd, st, k, n, any);
    ls_md_free(any);
    return s;
}

static dnnl_status_t shape(product *k, ls_md *plain, const ls_node *n, int threads)
{
    const ls_tensor *x = n->in[0], *w = n->in[1];
    const bool linear = is_linear(n);
    const dnnl_dim_t co = (dnnl_dim_t)w->shape[0], ci = (dnnl_dim_t)w->shape[1];
    k->channels = w->shape[0];
    k->items = linear ? x->count / w->shape[1] : x->shape[0];
    k->in = x->count / k->items;
    k->out = n->out->count / k->items;
    const size_t each = (k->items + (size_t)threads - 1) / (size_t)threads;
    k->step = smaller((each + 15) / 16 * 16, ROWS);
    const dnnl_dim_t rows = (dnnl_dim_t)k->step;
    dnnl_status_t s = linear ? ls_md_new(&k->src, 2, (dnnl_dims_t){rows, ci}, dnnl_s8, dnnl_ab)
                             : image(&k->src, x, dnnl_s8);
    if (!s)
        s = linear ? ls_md_new(&k->dst, 2, (dnnl_dims_t){rows, co}, dnnl_f32, dnnl_ab)
                   : image(&k->dst, n->out, dnnl_bf16);
    if (!s && linear)
        s = ls_md_new(plain, 2, (dnnl_dims_t){ci, co}, dnnl_f32, dnnl_ba);
    else if (!s)
        s = ls_md_new(plain, 4,
                      (dnnl_dims_t){co, ci, (dnnl_dim_t)w->shape[2], (dnnl_dim_t)w->shape[3]},
                      dnnl_f32, dnnl_oihw);
    return s;
}

static size_t aligned(size_t n)
{
    return (n + LS_ALIGN - 1) / LS_ALIGN * LS_ALIGN;
}

static size_t plan_scratch(product *k, bool linear, int threads)
{
    if (linear) {
        k->at_sums = aligned(k->step * k->in);
        k->at_scales = k->at_sums + aligned(k->step * k->out * sizeof(float));
        k->at_pad = k->at_scales + aligned(k->step * sizeof(float));
    } else {
        k->at_scales = aligned(k->items * k->in);
        k->at_pad = k->at_scales + aligned(k->items * (1 + PARTS) * sizeof(float));
    }
    k->per_thread = k->at_pad + aligned(dnnl_memory_desc_get_size(k->pad));
    return k->per_thread * (linear ? (size_t)threads : 1);
}

static int finish(product *k, onednn_store *st, const ls_node *n, ls_const_md plain,
                  dnnl_primitive_desc_t pd, size_t *scratch, ls_error *err)
{
    int ret = ls_onednn_pack(st, n->in[1]->param, plain, weights_of(pd), &k->packed, err);
    if (!ret && n->in[2] && n->in[2]->param)
        ret = ls_onednn_vector(st, n->in[2]->param, &k->bias, err);
    dnnl_status_t s = dnnl_success;
    if (!ret)
        s = ls_md_copy(&k->pad, dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0));
    if (!ret && !s && !ls_store_is_dry(&st->base))
        s = dnnl_primitive_create(&k->prim, pd);
    if (!ret)
        ret = ls_onednn_check(s, "prepare a product", err);
    if (!ret)
        *scratch = plan_scratch(k, is_linear(n), st->base.device->threads);
    return ret;
}

/* A linear product runs inside a thread, a convolution on all of them. */
int ls_onednn_compile_int8(onednn_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                           ls_error *err)
{
    const bool linear = is_linear(node);
    const int threads = st->base.device->threads;
    product *k = ls_calloc_array(1, sizeof *k);
    if (!k)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    k->base = (ls_kernel){.run = linear ? run_linear : run_conv,
                          .free = free_product,
                          .in_place = linear && node->in[3] ? 3 : -1};
    ls_md plain = NULL;
    dnnl_primitive_desc_t pd = NULL;
    if (linear)
        omp_set_num_threads(1);
    dnnl_status_t s = shape(k, &plain, node, threads);
    if (!s)
        s = choose(&pd, st, k, node, plain);
    omp_set_num_threads(threads);
    int ret = ls_onednn_check(s, "multiply these types and shapes", err);
    if (!ret && pd)
        ret = finish(k, st, node, plain, pd, scratch, err);
    dnnl_primitive_desc_destroy(pd);
    ls_md_free(plain);
    if (ret || !pd)
        free_product(&k->base);
    else
        *out = &k->base;
    return ret;
}
