/* Convolution and linear: oneDNN primitives on channels-last memory. */
#include "backend/onednn/onednn.h"

#include <omp.h>
#include <stdlib.h>

enum { SRC, DST, BIAS, WEIGHT, SCRATCH, ARG_COUNT };

typedef struct gemm {
    ls_kernel base;
    dnnl_primitive_t prim, repack;
    dnnl_memory_t memory[ARG_COUNT]; /* for the weight: NULL if it is used as packed */
    dnnl_memory_t packed;            /* the backend's */
    size_t repacked;                 /* where in the scratch memory the weight goes */
    const float *bias, *residual;    /* of params; NULL when computed or absent */
    dnnl_exec_arg_t args[ARG_COUNT];
    int arg_count;
    size_t prefill, addend; /* bytes of a residual copied to the output first, or added last */
    bool serial, bf16;
} gemm;

/* The differences between the two ops: shapes as oneDNN sees them. */
typedef struct problem {
    ls_md src, dst, bias, weight; /* the weight: plain, float32; free_problem() */
    dnnl_data_type_t type;
    dnnl_status_t (*describe)(dnnl_primitive_desc_t *pd, const struct problem *p,
                              ls_const_md weight, dnnl_primitive_attr_t attr, dnnl_engine_t engine);
    const ls_node *node;
    const ls_window *window; /* of a convolution */
    bool serial;
} problem;

static void free_problem(problem *p)
{
    ls_md_free(p->src);
    ls_md_free(p->dst);
    ls_md_free(p->bias);
    ls_md_free(p->weight);
    p->src = p->dst = p->bias = p->weight = NULL;
}

static void free_gemm(ls_kernel *base)
{
    gemm *k = (gemm *)base;
    dnnl_primitive_destroy(k->prim);
    dnnl_primitive_destroy(k->repack);
    for (int i = 0; i < ARG_COUNT; i++)
        dnnl_memory_destroy(k->memory[i]);
    free(k);
}

static void copy(void *dst, const void *src, size_t bytes)
{
    const size_t piece = 1 << 16;
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < bytes; i += piece)
        memcpy((char *)dst + i, (const char *)src + i, bytes - i < piece ? bytes - i : piece);
}

static void add(const ls_kernels *kernels, void *y, const void *x, size_t bytes, bool bf16)
{
    const size_t piece = 1 << 16, size = ls_dtype_size(bf16 ? LS_BF16 : LS_F32);
#pragma omp parallel for schedule(static)
    for (size_t i = 0; i < bytes; i += piece)
        kernels->add((char *)y + i, (const char *)x + i, (char *)y + i,
                     (bytes - i < piece ? bytes - i : piece) / size, bf16);
}

static int run_gemm(onednn_device *dev, ls_kernel *base, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    gemm *k = (gemm *)base;
    void *data[ARG_COUNT] = {[SRC] = in[0],
                             [DST] = out,
                             [BIAS] = k->bias ? (void *)k->bias : in[2],
                             [WEIGHT] = (char *)scratch + k->repacked,
                             [SCRATCH] = scratch};
    const void *residual = k->residual ? k->residual : in[3];
    dnnl_status_t s = dnnl_success;
    if (k->serial)
        omp_set_num_threads(1);
    if (k->prefill && out != residual)
        copy(out, residual, k->prefill);
    for (int i = 0; !s && i < ARG_COUNT; i++)
        if (k->memory[i])
            s = dnnl_memory_set_data_handle(k->memory[i], data[i]);
    const dnnl_exec_arg_t repack[] = {{DNNL_ARG_FROM, k->packed}, {DNNL_ARG_TO, k->memory[WEIGHT]}};
    if (!s && k->repack)
        s = dnnl_primitive_execute(k->repack, dev->stream, 2, repack);
    if (!s)
        s = dnnl_primitive_execute(k->prim, dev->stream, k->arg_count, k->args);
    if (!s)
        s = dnnl_stream_wait(dev->stream);
    if (!s && k->addend)
        add(dev->kernels, out, residual, k->addend, k->bf16);
    return ls_onednn_check(s, "run", err);
}

static bool act_last(const ls_node *n)
{
    return n->op == LS_OP_CONV2D && n->u.conv.act_last;
}

/* Whether the residual is copied to the output first and the product added to it: oneDNN has its
 * fastest convolutions for that. */
static bool prefills(const ls_node *n)
{
    return n->in[3] && (!n->act || act_last(n));
}

static dnnl_status_t append_act(dnnl_post_ops_t ops, ls_act act)
{
    static const dnnl_alg_kind_t kinds[] = {[LS_ACT_SILU] = dnnl_eltwise_swish,
                                            [LS_ACT_GELU] = dnnl_eltwise_gelu_erf,
                                            [LS_ACT_RELU] = dnnl_eltwise_relu,
                                            [LS_ACT_SIGMOID] = dnnl_eltwise_logistic};
    return ls_dnnl_append_eltwise(ops, kinds[act], act == LS_ACT_SILU);
}

static dnnl_status_t make_attr(dnnl_primitive_attr_t *attr, const problem *p)
{
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = dnnl_primitive_attr_create(attr);
    if (!s)
        s = dnnl_primitive_attr_set_scratchpad_mode(*attr, dnnl_scratchpad_mode_user);
    if (!s)
        s = dnnl_post_ops_create(&ops);
    if (!s && p->node->act && !act_last(p->node))
        s = append_act(ops, p->node->act);
    if (!s && prefills(p->node))
        s = ls_dnnl_append_sum(ops);
    if (!s && p->node->act && act_last(p->node))
        s = append_act(ops, p->node->act);
    if (!s)
        s = dnnl_primitive_attr_set_post_ops(*attr, ops);
    dnnl_post_ops_destroy(ops);
    return s;
}

static dnnl_status_t add_arg(gemm *k, const onednn_store *st, int which, int arg, ls_const_md md)
{
    dnnl_status_t s = dnnl_memory_create(&k->memory[which], md, st->dev->engine, NULL);
    k->args[k->arg_count++] = (dnnl_exec_arg_t){arg, k->memory[which]};
    return s;
}

static bool is_kind(const_dnnl_primitive_desc_t pd, const char *implementation)
{
    const char *name = "";
    dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name);
    return !strncmp(name, implementation, strlen(implementation));
}

/* Chooses the primitive for the weight's existing layout or, if oneDNN has only plain loops for
 * that, for the layout that it prefers. */
static int choose(dnnl_primitive_desc_t *pd, const onednn_store *st, const problem *p,
                  ls_error *err)
{
    if (!p->node->in[1]->param)
        return ls_fail(err, LS_EUNSUPPORTED, "the weight has to be a parameter");
    dnnl_primitive_attr_t attr = NULL;
    *pd = NULL;
    dnnl_status_t s = make_attr(&attr, p);
    const packed_weight *have = ls_onednn_packed(st, p->node->in[1]->param, p->weight, p->type);
    if (!s && have && !p->describe(pd, p, have->md, attr, st->dev->engine) && is_kind(*pd, "ref")) {
        dnnl_primitive_desc_destroy(*pd);
        *pd = NULL;
    }
    if (!s && !*pd) {
        const ls_md_shape w = ls_md_shape_of(p->weight);
        ls_md any;
        s = ls_md_new(&any, w.ndims, w.dims, p->type, dnnl_format_tag_any);
        if (!s)
            s = p->describe(pd, p, any, attr, st->dev->engine);
        ls_md_free(any);
    }
    dnnl_primitive_attr_destroy(attr);
    return ls_onednn_check(s, "multiply these types and shapes", err);
}

/* How oneDNN's general matrix product splits sums depends on the number of threads and of rows. */
static bool is_gemm(const_dnnl_primitive_desc_t pd)
{
    return is_kind(pd, "gemm") || is_kind(pd, "x64:gemm");
}

/* The last resort: slow, but always gives the same result. */
static int choose_serial(dnnl_primitive_desc_t *pd, const onednn_store *st, problem *p,
                         ls_error *err)
{
    dnnl_primitive_desc_destroy(*pd);
    omp_set_num_threads(1);
    p->serial = true;
    return choose(pd, st, p, err);
}

/* Adds the weight as an argument: as packed, or, if oneDNN wants a different layout for this shape,
 * repacked into scratch memory at each run. */
static dnnl_status_t add_weight(gemm *k, const onednn_store *st, const packed_weight *w,
                                ls_const_md md, size_t *scratch)
{
    if (dnnl_memory_desc_equal(w->md, md)) {
        k->args[k->arg_count++] = (dnnl_exec_arg_t){DNNL_ARG_WEIGHTS, w->memory};
        return dnnl_success;
    }
    dnnl_primitive_desc_t pd = NULL;
    k->packed = w->memory;
    k->repacked = (*scratch + LS_ALIGN - 1) / LS_ALIGN * LS_ALIGN;
    *scratch = k->repacked + dnnl_memory_desc_get_size(md);
    dnnl_status_t s = add_arg(k, st, WEIGHT, DNNL_ARG_WEIGHTS, md);
    if (!s)
        s = dnnl_reorder_primitive_desc_create(&pd, w->md, st->dev->engine, md, st->dev->engine,
                                               NULL);
    if (!s && !ls_store_is_dry(&st->base))
        s = dnnl_primitive_create(&k->repack, pd);
    dnnl_primitive_desc_destroy(pd);
    return s;
}

/* `pd` is destroyed. */
static int compile(onednn_store *st, const problem *p, dnnl_primitive_desc_t pd, ls_kernel **out,
                   size_t *scratch, ls_error *err)
{
    const ls_node *node = p->node;
    gemm *k = ls_calloc_array(1, sizeof *k);
    if (!k) {
        dnnl_primitive_desc_destroy(pd);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    k->base.run = run_gemm;
    k->base.free = free_gemm;
    k->serial = p->serial;
    k->bf16 = node->out->dtype == LS_BF16;
    *(prefills(node) ? &k->prefill : &k->addend) = node->in[3] ? ls_tensor_bytes(node->out) : 0;
    k->base.in_place = prefills(node) && !node->in[3]->param ? 3 : -1;
    const packed_weight *weight;
    ls_const_md md = dnnl_primitive_desc_query_md(pd, dnnl_query_weights_md, 0);
    int ret = ls_onednn_pack(st, node->in[1]->param, p->weight, md, &weight, err);
    if (!ret && node->in[2] && node->in[2]->param)
        ret = ls_onednn_vector(st, node->in[2]->param, &k->bias, err);
    if (!ret && node->in[3] && node->in[3]->param)
        ret = ls_onednn_vector(st, node->in[3]->param, &k->residual, err);
    if (!ret) {
        ls_const_md pad = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
        *scratch = dnnl_memory_desc_get_size(pad);
        dnnl_status_t s =
            ls_store_is_dry(&st->base) ? dnnl_success : dnnl_primitive_create(&k->prim, pd);
        if (!s)
            s = add_arg(k, st, SRC, DNNL_ARG_SRC, p->src);
        if (!s)
            s = add_arg(k, st, DST, DNNL_ARG_DST, p->dst);
        if (!s && node->in[2])
            s = add_arg(k, st, BIAS, DNNL_ARG_BIAS, p->bias);
        if (!s && *scratch)
            s = add_arg(k, st, SCRATCH, DNNL_ARG_SCRATCHPAD, pad);
        if (!s)
            s = add_weight(k, st, weight, md, scratch);
        ret = ls_onednn_check(s, "prepare a product", err);
    }
    dnnl_primitive_desc_destroy(pd);
    if (ret)
        free_gemm(&k->base);
    else
        *out = &k->base;
    return ret;
}

static dnnl_status_t describe_conv(dnnl_primitive_desc_t *pd, const problem *p, ls_const_md weight,
                                   dnnl_primitive_attr_t attr, dnnl_engine_t engine)
{
    const size_t *st = p->window->stride, *pad = p->window->pad;
    const ls_dnnl_window w = {.stride = {(dnnl_dim_t)st[0], (dnnl_dim_t)st[1]},
                              .pad_first = {(dnnl_dim_t)pad[0], (dnnl_dim_t)pad[1]},
                              .pad_last = {(dnnl_dim_t)pad[2], (dnnl_dim_t)pad[3]}};
    return ls_dnnl_convolution(pd, engine, p->src, weight, p->bias, p->dst, &w, attr);
}

int ls_onednn_compile_conv2d(onednn_store *st, const ls_node *node, ls_kernel **out,
                             size_t *scratch, ls_error *err)
{
    const ls_tensor *w = node->in[1], *b = node->in[2];
    problem p = {.type = onednn_type(node->in[0]->dtype),
                 .describe = describe_conv,
                 .node = node,
                 .window = &node->u.conv.window};
    bool one_d = w->ndim == 3;
    dnnl_dims_t dims = {(dnnl_dim_t)w->shape[0], (dnnl_dim_t)w->shape[1],
                        one_d ? 1 : (dnnl_dim_t)w->shape[2], (dnnl_dim_t)w->shape[w->ndim - 1]};
    dnnl_status_t s = ls_md_image(&p.src, node->in[0]);
    if (!s)
        s = ls_md_image(&p.dst, node->out);
    if (!s && b)
        s = ls_md_new(&p.bias, 1, dims, onednn_type(b->dtype), dnnl_a);
    const size_t groups = node->u.conv.groups;
    dnnl_dims_t grouped = {(dnnl_dim_t)groups, dims[0] / (dnnl_dim_t)groups, dims[1], dims[2],
                           dims[3]};
    if (!s && groups > 1)
        s = ls_md_new(&p.weight, 5, grouped, dnnl_f32, dnnl_goihw);
    else if (!s)
        s = ls_md_new(&p.weight, 4, dims, dnnl_f32, dnnl_oihw);
    dnnl_primitive_desc_t pd;
    int ret = ls_onednn_check(s, "describe a convolution", err);
    if (!ret)
        ret = choose(&pd, st, &p, err);
    if (!ret && is_gemm(pd))
        ret = choose_serial(&pd, st, &p, err);
    if (!ret)
        ret = compile(st, &p, pd, out, scratch, err);
    free_problem(&p);
    return ret;
}

static dnnl_status_t describe_matmul(dnnl_primitive_desc_t *pd, const problem *p,
                                     ls_const_md weight, dnnl_primitive_attr_t attr,
                                     dnnl_engine_t engine)
{
    return ls_dnnl_matmul(pd, engine, p->src, weight, p->bias, p->dst, attr);
}

/* As a matrix, or as an image of one line. */
static dnnl_status_t matrix(ls_md *md, size_t rows, size_t columns, ls_dtype t, bool image)
{
    const dnnl_dim_t r = (dnnl_dim_t)rows, c = (dnnl_dim_t)columns;
    return image ? ls_md_new(md, 4, (dnnl_dims_t){1, c, 1, r}, onednn_type(t), dnnl_nhwc)
                 : ls_md_new(md, 2, (dnnl_dims_t){r, c}, onednn_type(t), dnnl_ab);
}

static int choose_linear(dnnl_primitive_desc_t *pd, onednn_store *st, problem *p, bool pointwise,
                         ls_error *err)
{
    static const ls_window unit = {{1, 1}, {1, 1}, {0}};
    const ls_node *node = p->node;
    const ls_tensor *x = node->in[0], *b = node->in[2];
    const size_t co = node->in[1]->shape[0], ci = node->in[1]->shape[1], rows = x->count / ci;
    const dnnl_dim_t in = (dnnl_dim_t)ci, n = (dnnl_dim_t)co;
    free_problem(p);
    p->type = onednn_type(x->dtype);
    p->describe = pointwise ? describe_conv : describe_matmul;
    p->window = &unit;
    dnnl_status_t s = matrix(&p->src, rows, ci, x->dtype, pointwise);
    if (!s)
        s = matrix(&p->dst, rows, co, node->out->dtype, pointwise);
    if (!s && b && pointwise)
        s = ls_md_new(&p->bias, 1, (dnnl_dims_t){n}, onednn_type(b->dtype), dnnl_a);
    else if (!s && b)
        s = matrix(&p->bias, 1, co, b->dtype, false);
    if (!s && pointwise)
        s = ls_md_new(&p->weight, 4, (dnnl_dims_t){n, in, 1, 1}, dnnl_f32, dnnl_oihw);
    else if (!s)
        s = ls_md_new(&p->weight, 2, (dnnl_dims_t){in, n}, dnnl_f32, dnnl_ba);
    int ret = ls_onednn_check(s, "describe a matrix product", err);
    return ret ? ret : choose(pd, st, p, err);
}

/* With AMX, whether oneDNN's matrix product uses it, and how it splits sums, depends on the number
 * of threads; its convolutions always use it. */
static bool needs_pointwise(const ls_node *node)
{
    const unsigned amx = dnnl_cpu_isa_avx512_core_amx;
    return node->in[0]->dtype == LS_BF16 && ((unsigned)dnnl_get_effective_cpu_isa() & amx) == amx;
}

/* Before AVX-512, oneDNN has only gemm for products, but better pointwise convolutions. */
int ls_onednn_compile_linear(onednn_store *st, const ls_node *node, ls_kernel **out,
                             size_t *scratch, ls_error *err)
{
    problem p = {.node = node};
    dnnl_primitive_desc_t pd;
    const bool pointwise = needs_pointwise(node);
    int ret = choose_linear(&pd, st, &p, pointwise, err);
    if (!ret && is_gemm(pd) && !pointwise) {
        dnnl_primitive_desc_destroy(pd);
        ret = choose_linear(&pd, st, &p, true, err);
    }
    if (!ret && is_gemm(pd))
        ret = choose_serial(&pd, st, &p, err);
    if (!ret)
        ret = compile(st, &p, pd, out, scratch, err);
    free_problem(&p);
    return ret;
}
