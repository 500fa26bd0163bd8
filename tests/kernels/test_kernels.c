/* Every op: the reference against the formula, and a device against the reference: oneDNN in
 * float32, bfloat16 and eight bits, and with one thread against several; or the one that LS_DEVICE
 * names, in float16. The exact same inputs go to each. */
#include "test.h"

#include "backend/plan.h"
#include "base/alloc.h"
#include "oracle.h"
#include "store.h"

#include <math.h>
#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#define TOLERANCE_F32 1e-5
#define TOLERANCE_BF16 2e-2
/* A step of eight bits is a 127th of the largest value, here 5.5 deviations of an input and 4.5 of
 * a weight; rounding to steps has a deviation of 1 / sqrt(12) of one. */
#define TOLERANCE_INT8 (sqrt(5.5 * 5.5 + 4.5 * 4.5) / 127 / sqrt(12))
#define TOLERANCE_F16 1e-3
#define HOST_THREADS 7

typedef enum fill {
    NORMAL,
    ZERO,
    ONE,      /* all equal */
    TINY,     /* subnormal in float32 */
    FAR,      /* mean 1e4, deviation 1 */
    INTEGERS, /* -16 .. 16: exact in bfloat16, and so are their products' sums in float32 */
} fill;

typedef struct test test;
struct test {
    ls_tensor *(*build)(ls_graph *g, test *t);
    size_t n, h, w, c, co, k; /* what they mean is up to `build` */
    size_t groups, frames;
    ls_conv conv;
    bool bias, bias_computed, residual, residual_weight, pe, to_f32, skip_16_bits;
    ls_act act;
    fill fill;
    /* filled in by check() */
    ls_dtype rounded; /* values are representable in this type */
    size_t count[LS_MAX_INPUTS];
    float *values[LS_MAX_INPUTS];
    ls_param params[LS_MAX_INPUTS];
};

static const char *device_name(void)
{
    const char *named = getenv("LS_DEVICE");
    return named ? named : "onednn";
}

static bool on_card(void)
{
    return !ls_device_is_host(device_name());
}

static uint64_t next_random(uint64_t *s)
{
    *s += 0x9e3779b97f4a7c15;
    uint64_t z = (*s ^ *s >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static float draw(uint64_t *s, fill f)
{
    double u = -6; /* variance 1, bell-shaped */
    for (int i = 0; i < 12; i += 4) {
        const uint64_t r = next_random(s);
        for (int bit = 0; bit < 64; bit += 16)
            u += ((double)(r >> bit & 0xffff) + 0.5) * 0x1p-16;
    }
    switch (f) {
    case ZERO:
        return 0;
    case ONE:
        return 1.25f;
    case TINY:
        return (float)(u * 1e-40);
    case FAR:
        return (float)(1e4 + u);
    case INTEGERS:
        return (float)(next_random(s) % 33) - 16;
    default:
        return (float)u;
    }
}

static uint16_t to_16_bits(float v, ls_dtype type)
{
    return type == LS_F16 ? ls_f32_to_f16(v) : ls_f32_to_bf16(v);
}

static float rounded(float v, ls_dtype type)
{
    const uint16_t half = to_16_bits(v, type);
    ls_convert_to_f32(&v, type == LS_F32 ? (const void *)&v : &half, type, 1);
    return v;
}

static const float *values(test *t, size_t i, size_t count, fill f, double gain)
{
    if (!t->values[i]) {
        t->values[i] = ls_malloc_array(count, sizeof(float));
        t->count[i] = count;
        uint64_t seed = i + 1;
        for (size_t j = 0; j < count; j++) {
            float v = (float)(draw(&seed, f) * gain);
            t->values[i][j] = rounded(v, t->rounded);
        }
    }
    assert_int_equal(t->count[i], count);
    return t->values[i];
}

static size_t product(const size_t *shape, size_t n)
{
    size_t p = 1;
    for (size_t i = 0; i < n; i++)
        p *= shape[i];
    return p;
}

static ls_tensor *input_as(ls_graph *g, test *t, size_t i, fill f, ls_dtype type, size_t ndim,
                           const size_t *shape)
{
    values(t, i, product(shape, ndim), f, 1);
    return ls_input(g, (char[]){(char)('0' + i), 0}, type, ndim, shape);
}

static ls_tensor *input(ls_graph *g, test *t, size_t i, size_t ndim, const size_t *shape)
{
    return input_as(g, t, i, t->fill, ls_graph_compute(g), ndim, shape);
}

static int read_param(const ls_param *p, float *dst, ls_error *err)
{
    (void)err;
    memcpy(dst, p->opaque, p->count * sizeof *dst);
    return 0;
}

static ls_tensor *weight(ls_graph *g, test *t, size_t i, size_t ndim, const size_t *shape)
{
    size_t count = product(shape, ndim);
    values(t, i, count, NORMAL, ndim > 1 ? 1 / sqrt((double)(count / shape[0])) : 1);
    ls_param *p = &t->params[i];
    *p = (ls_param){
        .name = "w", .ndim = ndim, .count = count, .read = read_param, .opaque = t->values[i]};
    memcpy(p->shape, shape, ndim * sizeof *shape);
    return ls_weight(g, p);
}

static ls_tensor *bias(ls_graph *g, test *t)
{
    if (t->bias_computed)
        return input_as(g, t, 2, NORMAL, LS_F32, 2, (size_t[]){1, t->co});
    return t->bias ? weight(g, t, 2, 1, (size_t[]){t->co}) : NULL;
}

/* The graph's one node. */
static const ls_node *only_node(const ls_graph *g)
{
    assert_int_equal(ls_graph_node_count(g), 1);
    return ls_graph_node(g, 0);
}

static ls_graph *make(test *t, ls_dtype type)
{
    ls_error err = {0};
    ls_graph *g = ls_graph_new(type == LS_I8 ? LS_BF16 : type, false);
    ls_output(g, "y", t->build(g, t));
    if (ls_graph_error(g, &err))
        fail_msg("%s", err.message);
    return g;
}

/* The output of the op, as float32. LS_I8: of bfloat16, in eight bits. */
static float *compute_on(ls_store *st, test *t, ls_dtype type)
{
    ls_error err = {0};
    ls_plan *p;
    st->flags |= type == LS_I8 ? LS_STORE_INT8 : 0;
    ls_graph *g = make(t, type);
    ls_binding bindings[LS_MAX_INPUTS + 1];
    size_t n = 0;
    for (size_t i = 0; i < LS_MAX_INPUTS; i++) {
        char name[] = {(char)('0' + i), 0};
        const ls_tensor *x = ls_graph_find(g, name, NULL);
        if (!x)
            continue;
        void *data = malloc(ls_tensor_bytes(x));
        memcpy(data, t->values[i], x->dtype == LS_F32 ? ls_tensor_bytes(x) : 0);
        for (size_t j = 0; x->dtype != LS_F32 && j < x->count; j++)
            ((uint16_t *)data)[j] = to_16_bits(t->values[i][j], x->dtype);
        bindings[n++] = (ls_binding){strdup(name), data, ls_tensor_bytes(x)};
    }
    const ls_tensor y = *only_node(g)->out;
    void *out = malloc(ls_tensor_bytes(&y));
    float *result = ls_malloc_array(y.count, sizeof *result);
    bindings[n] = (ls_binding){"y", out, ls_tensor_bytes(&y)};
    if (ls_plan_compile(&p, &g, st, &err))
        fail_msg("%s", err.message);
    const size_t bytes = ls_plan_arena_bytes(p);
    void *arena = test_store_alloc(st, bytes), *nan = malloc(bytes);
    memset(nan, 0xff, bytes); /* not a number, wherever it is read unwritten */
    assert_int_equal(st->device->vtable->write(st->device, arena, nan, bytes, &err), 0);
    free(nan);
    memset(out, 0xff, ls_tensor_bytes(&y));
    for (int i = 0; i < 2; i++)
        if (ls_plan_run(p, arena, bindings, n + 1, NULL, &err))
            fail_msg("%s", err.message);
    ls_convert_to_f32(result, out, y.dtype, y.count);
    test_store_release(st, arena);
    ls_plan_close(&p);
    for (size_t i = 0; i < n; i++) {
        free((void *)bindings[i].name);
        free(bindings[i].data);
    }
    free(out);
    return result;
}

static float *compute(test *t, const char *device, ls_dtype type, int threads)
{
    ls_store *st;
    omp_set_num_threads(HOST_THREADS);
    assert_int_equal(test_store_open(&st, device, threads, NULL), 0);
    float *result = compute_on(st, t, type);
    test_store_close(&st);
    assert_int_equal(omp_get_max_threads(), HOST_THREADS); // the caller's setting
    return result;
}

static void expect_close(const char *what, const float *a, const float *ref, size_t n, double bound)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)a[i] - ref[i]) * ((double)a[i] - ref[i]);
        norm += (double)ref[i] * ref[i];
    }
    double relative = sqrt(error) / (sqrt(norm) + 1e-30);
    if (!(relative <= bound))
        fail_msg("%s: relative error %g of %zu values, first %g for %g", what, relative, n, a[0],
                 ref[0]);
}

/* A sample of the elements of `y` against the formula. */
static void expect_formula(test *t, const float *y)
{
    ls_graph *g = make(t, LS_F32);
    const ls_node *node = only_node(g);
    const float *in[LS_MAX_INPUTS];
    float a[50], b[50];
    size_t count = node->out->count, n = count < 50 ? count : 50;
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        in[i] = node->in[i] ? t->values[i] : NULL;
    for (size_t i = 0; i < n; i++) {
        size_t at = i == n - 1 ? count - 1 : i * (count / n);
        a[i] = y[at];
        b[i] = (float)oracle(node, in, at);
    }
    expect_close("ref against the formula", a, b, n, node->op == LS_OP_TIMESTEP ? 1e-4 : 2e-6);
    ls_graph_free(&g);
}

/* The device's result with one thread, after comparing that with two to four, or with one of those
 * numbers, bit by bit; a card has no such number. */
static float *compute_with_threads(test *t, ls_dtype type, size_t count, bool all)
{
    float *one = compute(t, device_name(), type, 1);
    for (int threads = 2; threads <= 4 && !on_card(); threads++) {
        if (!all && threads != 2 + (int)(count % 3))
            continue;
        float *more = compute(t, device_name(), type, threads);
        if (memcmp(one, more, count * sizeof *one))
            fail_msg("the result depends on the number of threads");
        free(more);
    }
    return one;
}

/* oneDNN knows it from AVX-512 on. */
static bool has_bf16(void)
{
    return (dnnl_get_effective_cpu_isa() & dnnl_cpu_isa_avx512_core) == dnnl_cpu_isa_avx512_core;
}

/* Otherwise products stay in bfloat16. */
static bool has_int8(void)
{
    const int vnni = dnnl_cpu_isa_avx512_core_vnni;
    return !on_card() && ((int)dnnl_get_effective_cpu_isa() & vnni) == vnni;
}

static void check_as(test *t, ls_dtype type)
{
    t->rounded = type == LS_I8 ? LS_BF16 : type;
    memset(t->values, 0, sizeof t->values);
    ls_graph *g = make(t, LS_F32);
    size_t count = only_node(g)->out->count;
    ls_graph_free(&g);
    float *ref = compute(t, "ref", LS_F32, 2);
    expect_formula(t, ref);
    float *one = compute_with_threads(t, type, count, getenv("LS_TEST_FULL"));
    expect_close(ls_dtype_name(type), one, ref, count,
                 type == LS_F32    ? TOLERANCE_F32
                 : type == LS_BF16 ? TOLERANCE_BF16
                 : type == LS_I8   ? TOLERANCE_INT8
                                   : TOLERANCE_F16);
    free(one);
    free(ref);
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(t->values[i]);
}

static ls_tensor *build_timestep(ls_graph *g, test *t);

static void check(test t)
{
    if (on_card()) {
        if (!t.skip_16_bits || t.build == build_timestep)
            check_as(&t, LS_F16);
        return;
    }
    check_as(&t, LS_F32);
    if (!t.skip_16_bits && has_bf16())
        check_as(&t, LS_BF16);
}

static ls_tensor *build_conv(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 4, (size_t[]){t->n, t->h, t->w, t->c});
    bool one_d = t->groups;
    ls_tensor *w = one_d ? weight(g, t, 1, 3, (size_t[]){t->co, t->c, t->k})
                         : weight(g, t, 1, 4, (size_t[]){t->co, t->c, t->k, t->k});
    ls_tensor *b = bias(g, t), *residual = NULL;
    if (t->residual) {
        ls_graph *probe = ls_graph_new(LS_F32, false); /* for the shape of the output */
        ls_tensor *px = ls_input(probe, "x", LS_F32, 4, x->shape);
        ls_tensor *y = ls_conv2d(probe, px, ls_weight(probe, w->param), NULL, NULL, t->conv);
        residual = t->residual_weight ? weight(g, t, 3, 4, y->shape) : input(g, t, 3, 4, y->shape);
        ls_graph_free(&probe);
    }
    return ls_conv2d(g, x, w, b, residual, t->conv);
}

static void conv2d(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 3, 5, 7, 17}, channels[] = {1, 3, 13, 16, 40, 64};
    uint64_t seed = 1;
    for (int i = 0; i < 40; i++) {
        test t = {.build = build_conv, .n = 1 + next_random(&seed) % 3};
        t.h = sizes[next_random(&seed) % 5];
        t.w = sizes[next_random(&seed) % 5];
        t.c = channels[next_random(&seed) % 6];
        t.co = channels[next_random(&seed) % 6];
        t.k = i % 4 ? 3 : 1;
        t.conv =
            (ls_conv){.stride = 1 + next_random(&seed) % 2, .pad = t.k / 2, .act = (ls_act)(i % 3)};
        t.bias = next_random(&seed) % 4;
        t.bias_computed = next_random(&seed) % 3 == 0;
        t.residual = next_random(&seed) % 2;
        check(t);
    }
    for (size_t w = 4; w < 9; w++) /* the two special paddings */
        check((test){.build = build_conv,
                     .n = 1,
                     .h = 1,
                     .w = 4 * w,
                     .c = 8,
                     .co = 24,
                     .k = 3,
                     .groups = 1,
                     .bias = true,
                     .conv = {.stride = w % 2 + 1, .pad = 1, .act = LS_ACT_GELU}});
    for (int act = LS_ACT_NONE; act <= LS_ACT_GELU; act++)
        check((test){.build = build_conv,
                     .n = 1,
                     .h = 1,
                     .w = 20,
                     .c = 8,
                     .co = 24,
                     .k = 3,
                     .groups = 1,
                     .bias = true,
                     .residual = true,
                     .residual_weight = true,
                     .skip_16_bits = true,
                     .conv = {.stride = 2, .pad = 1, .act = (ls_act)act}});
    for (size_t w = 4; w < 9; w++)
        check((test){.build = build_conv,
                     .n = 2,
                     .h = 6,
                     .w = w,
                     .c = 16,
                     .co = 16,
                     .k = 3,
                     .bias = true,
                     .conv = {.stride = 2, .pad = 1, .pad_end_only = true}});
    check((test){.build = build_conv,
                 .n = 2,
                 .h = 16,
                 .w = 16,
                 .c = 320,
                 .co = 320,
                 .k = 3,
                 .bias_computed = true,
                 .residual = true,
                 .conv = {.stride = 1, .pad = 1, .act = LS_ACT_SILU}});
    check((test){.build = build_conv,
                 .n = 1,
                 .h = 8,
                 .w = 8,
                 .c = 2560,
                 .co = 1280,
                 .k = 3,
                 .bias = true,
                 .conv = {.stride = 1, .pad = 1}});
    for (fill f = ZERO; f <= INTEGERS; f++)
        check((test){.build = build_conv,
                     .n = 1,
                     .h = 5,
                     .w = 5,
                     .c = 32,
                     .co = 32,
                     .k = 3,
                     .fill = f,
                     .conv = {.stride = 1, .pad = 1}});
}

static ls_tensor *build_linear(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 2, (size_t[]){t->n, t->c});
    ls_tensor *w = weight(g, t, 1, t->groups ? 4 : 2, (size_t[]){t->co, t->c, 1, 1});
    ls_tensor *b = bias(g, t);
    ls_dtype out = t->to_f32 ? LS_F32 : ls_graph_compute(g);
    ls_tensor *residual = NULL;
    if (t->residual)
        residual = input_as(g, t, 3, NORMAL, out, 2, (size_t[]){t->n, t->co});
    return ls_linear(g, x, w, b, residual, t->act, out);
}

static void linear(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 3, 5, 17, 50, 64, 100, 320, 384, 1280};
    uint64_t seed = 2;
    for (int i = 0; i < 60; i++) {
        test t = {.build = build_linear, .n = sizes[next_random(&seed) % 8]};
        t.c = sizes[next_random(&seed) % 10];
        t.co = sizes[next_random(&seed) % 10];
        t.act = (ls_act)(i % 3);
        t.groups = next_random(&seed) % 2;
        t.bias = next_random(&seed) % 4;
        t.bias_computed = next_random(&seed) % 3 == 0;
        t.residual = next_random(&seed) % 2;
        t.to_f32 = next_random(&seed) % 3 == 0;
        check(t);
    }
    for (fill f = ZERO; f <= INTEGERS; f++)
        check((test){.build = build_linear, .n = 7, .c = 64, .co = 33, .fill = f});
}

/* Channels of whole and of broken vectors, from where on eight bits are used. */
static void eight_bits(void **state)
{
    (void)state;
    static const size_t channels[] = {16, 40, 64, 100, 320}, rows[] = {1, 17, 100, 300};
    if (!has_int8())
        skip();
    for (size_t i = 0; i < 20; i++) {
        test t = {
            .c = channels[i % 5], .co = channels[i / 2 % 5], .fill = i < 14 ? 0 : (fill)(i - 13)};
        t.bias = i % 2;
        t.bias_computed = i % 3 == 0;
        t.residual = i / 2 % 2 && t.fill != TINY;
        t.build = build_linear;
        t.n = rows[i % 4];
        check_as(&t, LS_I8);
        t.build = build_conv;
        t.n = 1 + i % 3;
        t.h = 1 + i % 7;
        t.w = 3 + i % 5;
        t.k = i % 4 ? 3 : 1;
        t.conv = (ls_conv){.stride = 1 + i % 2, .pad = t.k / 2};
        check_as(&t, LS_I8);
    }
}

/* One that is not a number is not hidden, and harms no other row. */
static void eight_bits_keep_nan(void **state)
{
    (void)state;
    test t = {.build = build_linear, .n = 3, .c = 64, .co = 32, .rounded = LS_BF16};
    if (!has_int8())
        skip();
    ls_graph *g = make(&t, LS_I8);
    ls_graph_free(&g);
    t.values[0][64 + 5] = NAN;
    float *y = compute(&t, device_name(), LS_I8, 2);
    for (size_t i = 0; i < 96; i++)
        assert_int_equal(isnan(y[i]), i / 32 == 1);
    free(y);
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(t.values[i]);
}

static ls_tensor *build_group_norm(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 4, (size_t[]){t->n, t->h, t->w, t->c});
    return ls_group_norm(g, x, weight(g, t, 1, 1, &t->c), weight(g, t, 2, 1, &t->c), t->groups,
                         t->frames, 1e-5f, t->act);
}

static void group_norm(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 3, 5, 7, 17, 33}, groups[] = {1, 3, 8, 32};
    uint64_t seed = 3;
    for (int i = 0; i < 40; i++) {
        test t = {.build = build_group_norm, .frames = 1 + next_random(&seed) % 4};
        t.n = t.frames * (1 + next_random(&seed) % 2);
        t.h = sizes[next_random(&seed) % 6];
        t.w = sizes[next_random(&seed) % 6];
        t.groups = groups[next_random(&seed) % 4];
        t.c = t.groups * (1 + next_random(&seed) % 11);
        t.act = (ls_act)(next_random(&seed) % 3);
        check(t);
    }
    test t = {.build = build_group_norm,
              .n = 4,
              .h = 40,
              .w = 40,
              .c = 320,
              .groups = 32,
              .frames = 2,
              .act = LS_ACT_SILU};
    check(t);
    for (t.fill = ZERO; t.fill <= INTEGERS; t.fill++) {
        t.skip_16_bits = t.fill == FAR || t.fill == TINY;
        check(t);
    }
}

static ls_tensor *build_layer_norm(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 3, (size_t[]){t->n, t->h, t->c});
    ls_tensor *pe = t->pe ? weight(g, t, 3, 3, (size_t[]){1, t->frames + 3, t->c}) : NULL;
    return ls_layer_norm(g, x, weight(g, t, 1, 1, &t->c), weight(g, t, 2, 1, &t->c), 1e-5f, pe,
                         t->frames);
}

static void layer_norm(void **state)
{
    (void)state;
    static const size_t widths[] = {2, 5, 16, 33, 320, 1280};
    for (size_t i = 0; i < 24; i++)
        check((test){.build = build_layer_norm,
                     .n = 6,
                     .h = 1 + i * 5,
                     .c = widths[i % 6],
                     .frames = 1 + i % 3,
                     .pe = i % 2});
    for (fill f = ZERO; f <= INTEGERS; f++)
        check((test){.build = build_layer_norm,
                     .n = 1,
                     .h = 3,
                     .c = 100,
                     .fill = f,
                     .skip_16_bits = f == FAR || f == TINY});
}

static ls_tensor *build_attention(ls_graph *g, test *t)
{
    size_t q[] = {t->n, t->h, t->c}, kv[] = {t->n, t->w, t->c};
    ls_tensor *a = input(g, t, 0, 3, q), *b = input(g, t, 1, 3, kv);
    /* with integers, scores reach 1e4 and are exact: what is tested is the softmax */
    return ls_attention(g, a, b, input(g, t, 2, 3, kv), t->groups, t->frames,
                        t->fill == INTEGERS ? 1 : 1 / sqrtf((float)(t->c / t->groups)));
}

static void attention(void **state)
{
    (void)state;
    static const size_t widths[] = {40, 80, 160, 64, 4, 8, 12, 5, 1, 33};
    static const size_t lengths[] = {1, 2, 15, 16, 17, 30, 50, 63, 64, 65, 95, 96, 97, 200, 333};
    uint64_t seed = 4;
    for (int i = 0; i < 60; i++) {
        test t = {.build = build_attention, .n = 1 + next_random(&seed) % 2};
        t.groups = 1 + next_random(&seed) % 3;
        t.c = t.groups * widths[i % 10];
        t.h = lengths[next_random(&seed) % 15];
        t.w = lengths[next_random(&seed) % 15];
        check(t);
    }
    check((test){.build = build_attention, .n = 1, .h = 1100, .w = 1100, .c = 40, .groups = 1});
    check((test){.build = build_attention, .n = 1, .h = 300, .w = 300, .c = 512, .groups = 1});
    check((test){.build = build_attention, .n = 1, .h = 150, .w = 150, .c = 384, .groups = 6});
    for (fill f = ZERO; f <= INTEGERS; f++)
        check((test){.build = build_attention,
                     .n = 1,
                     .h = 70,
                     .w = 110,
                     .c = 80,
                     .groups = 2,
                     .fill = f,
                     .skip_16_bits = f == TINY});
}

static void attention_along_frames(void **state)
{
    (void)state;
    static const size_t widths[] = {40, 80, 160, 5, 8, 33};
    for (size_t f = 1; f <= 24; f++)
        check((test){.build = build_attention,
                     .n = 2 * f,
                     .h = 1 + f % 7,
                     .w = 1 + f % 7,
                     .groups = 1 + f % 2,
                     .c = (1 + f % 2) * widths[f % 6],
                     .frames = f});
    check((test){
        .build = build_attention, .n = 32, .h = 64, .w = 64, .groups = 8, .c = 320, .frames = 16});
}

static ls_tensor *build_other(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 4, (size_t[]){t->n, t->h, t->w, t->c});
    switch (t->k) {
    case LS_OP_GEGLU:
        return ls_geglu(g, x);
    case LS_OP_ACT:
        return ls_activation(g, x, t->act);
    case LS_OP_ADD:
        return ls_add(g, x, input(g, t, 1, 4, x->shape));
    case LS_OP_CONCAT:
        return ls_concat(g, x, input(g, t, 1, 4, (size_t[]){t->n, t->h, t->w, t->co}));
    default:
        return ls_upsample(g, x, t->groups, t->frames);
    }
}

static void elementwise(void **state)
{
    (void)state;
    static const ls_op ops[] = {LS_OP_GEGLU, LS_OP_ACT, LS_OP_ADD, LS_OP_CONCAT};
    uint64_t seed = 5;
    for (size_t i = 0; i < 40; i++)
        check((test){.build = build_other,
                     .k = ops[i % 4],
                     .n = 1 + i % 3,
                     .h = 1 + next_random(&seed) % 9,
                     .w = 1 + next_random(&seed) % 40,
                     .c = 2 * (1 + next_random(&seed) % 50),
                     .co = 1 + next_random(&seed) % 70,
                     .act = (ls_act)(1 + i / 4 % 4)});
    for (size_t i = 0; i < 4; i++) /* several pieces */
        check((test){.build = build_other,
                     .k = ops[i],
                     .n = 3,
                     .h = 31,
                     .w = 33,
                     .c = 34,
                     .co = 17,
                     .act = LS_ACT_GELU});
    for (fill f = ZERO; f <= INTEGERS; f++)
        for (size_t i = 0; i < 8; i++)
            check((test){.build = build_other,
                         .k = ops[i % 4],
                         .n = 1,
                         .h = 2,
                         .w = 3,
                         .c = 34,
                         .co = 6,
                         .act = i < 4 ? LS_ACT_SILU : LS_ACT_GELU,
                         .skip_16_bits = on_card() && f == FAR && ops[i % 4] == LS_OP_GEGLU,
                         .fill = f}); // 1e8 is not in float16
}

static void upsample(void **state)
{
    (void)state;
    for (size_t i = 0; i < 8; i++)
        check((test){.build = build_other,
                     .k = LS_OP_UPSAMPLE,
                     .n = 2,
                     .h = 1 + i,
                     .w = 3 + i,
                     .c = 1 + 5 * i,
                     .groups = 2 * (1 + i) - i % 2,
                     .frames = 2 * (3 + i) + i % 3});
}

/* c channels in `groups` groups, a 3 x k window, strides and pads that differ, a residual before or
 * after the activation. */
static ls_tensor *build_grouped_conv(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 4, (size_t[]){t->n, t->h, t->w, t->c});
    ls_tensor *w = weight(g, t, 1, 4, (size_t[]){t->co, t->c / t->groups, 3, t->k});
    ls_window window = {.stride = {t->conv.stride, 3 - t->conv.stride}, .pad = {1, 0, 2, 1}};
    ls_tensor *residual = NULL;
    if (t->residual) {
        size_t h = t->h / window.stride[0] + 1, wd = (t->w + 1 - t->k) / window.stride[1] + 1;
        residual = input(g, t, 3, 4, (size_t[]){t->n, h, wd, t->co});
    }
    return ls_conv2d_grouped(g, x, w, bias(g, t), residual, &window, t->groups, t->act, t->pe);
}

static void grouped_conv(void **state)
{
    (void)state;
    static const size_t channels[] = {1, 2, 8, 16, 24, 64, 72};
    static const ls_act acts[] = {LS_ACT_NONE, LS_ACT_RELU, LS_ACT_SIGMOID};
    uint64_t seed = 8;
    for (int i = 0; i < 48; i++) {
        test t = {.build = build_grouped_conv, .n = 1 + next_random(&seed) % 2};
        t.h = 2 + next_random(&seed) % 12;
        t.w = 3 + next_random(&seed) % 12;
        t.k = 1 + next_random(&seed) % 3;
        size_t per = i % 3 == 2 ? 3 : 1; /* depthwise, all in one, three a group */
        t.c = channels[next_random(&seed) % 7] * per;
        t.groups = i % 3 == 1 ? 1 : t.c / per;
        t.co = i % 3 == 1 ? channels[next_random(&seed) % 7] : t.groups * (1 + (size_t)i % 2);
        t.conv.stride = 1 + next_random(&seed) % 2;
        t.act = acts[next_random(&seed) % 3];
        t.pe = next_random(&seed) % 2; /* act_last */
        t.bias = next_random(&seed) % 4;
        t.residual = next_random(&seed) % 2;
        check(t);
    }
}

static ls_tensor *build_pool(ls_graph *g, test *t)
{
    ls_tensor *x = input(g, t, 0, 4, (size_t[]){t->n, t->h, t->w, t->c});
    ls_window window = {.kernel = {t->k, t->k + 1},
                        .stride = {t->conv.stride, t->frames},
                        .pad = {t->conv.pad, 0, t->k - 1, t->conv.pad}};
    size_t h = (t->h - 1 + t->conv.pad) / t->conv.stride + 1, w = (t->w - 1) / t->frames + 1;
    if (t->bias) { /* otherwise as many windows as start inside: ceil_mode */
        h = (t->h + t->conv.pad + t->k - 1 - t->k) / t->conv.stride + 1;
        w = (t->w + t->conv.pad - (t->k + 1)) / t->frames + 1;
    }
    return ls_pool(g, x, &window, h, w, t->residual, t->bias);
}

static void pool(void **state)
{
    (void)state;
    uint64_t seed = 9;
    for (int i = 0; i < 40; i++) {
        test t = {.build = build_pool, .n = 1 + next_random(&seed) % 3};
        t.h = 1 + next_random(&seed) % 9;
        t.w = 4 + next_random(&seed) % 20;
        t.c = 1 + next_random(&seed) % 40;
        t.k = 1 + next_random(&seed) % 3;
        t.conv.stride = 1 + next_random(&seed) % 3;
        t.conv.pad = next_random(&seed) % t.k;
        t.frames = 1 + next_random(&seed) % 3;
        t.residual = i % 3; /* mean */
        t.bias = i % 2;     /* count_pads */
        check(t);
    }
}

/* `groups` and `frames` tell, a bit a dimension, where a and b are broadcast. */
static ls_tensor *build_binary(ls_graph *g, test *t)
{
    size_t a[4] = {t->n, t->h, t->w, t->c}, b[4] = {t->n, t->h, t->w, t->c};
    for (size_t d = 0; d < 4; d++) {
        a[d] = t->groups >> d & 1 ? 1 : a[d];
        b[d] = t->frames >> d & 1 ? 1 : b[d];
    }
    ls_tensor *x = input(g, t, 0, 4, a);
    return ls_binary_op(g, (ls_binary)t->k, x,
                        t->bias ? weight(g, t, 1, 4, b) : input(g, t, 1, 4, b));
}

static void binary(void **state)
{
    (void)state;
    uint64_t seed = 10;
    for (size_t i = 0; i < 64; i++)
        check((test){.build = build_binary,
                     .k = i % 4,
                     .n = 1 + next_random(&seed) % 3,
                     .h = 1 + next_random(&seed) % 5,
                     .w = 1 + next_random(&seed) % 7,
                     .c = 1 + next_random(&seed) % 40,
                     .groups = i % 3 ? 0 : next_random(&seed) % 16,
                     .frames = next_random(&seed) % 16,
                     .bias = i % 5 == 0,
                     .skip_16_bits = true});
}

/* k = 0: dimensions in another order; 1: every second element, backwards; 2: the same row again. */
static ls_tensor *build_take(ls_graph *g, test *t)
{
    const size_t in[4] = {t->n, t->h, t->w, t->c};
    const size_t step[4] = {t->h * t->w * t->c, t->w * t->c, t->c, 1}, from[4] = {2, 0, 3, 1};
    size_t shape[4], table[256], at = 0;
    for (size_t d = 0; d < 4; d++) {
        size_t s = t->k ? d : from[d];
        shape[d] = t->k == 1 ? (in[s] + 1) / 2 : t->k == 2 && d == 1 ? 5 : in[s];
        for (size_t i = 0; i < shape[d]; i++)
            table[at++] = step[s] * (t->k == 1             ? (shape[d] - 1 - i) * 2
                                     : t->k == 2 && d == 1 ? 0
                                                           : i);
    }
    return ls_take(g, input(g, t, 0, 4, in), 4, shape, table);
}

static void take(void **state)
{
    (void)state;
    uint64_t seed = 11;
    for (size_t i = 0; i < 30; i++)
        check((test){.build = build_take,
                     .k = i % 3,
                     .n = 1 + next_random(&seed) % 3,
                     .h = 1 + next_random(&seed) % 5,
                     .w = 1 + next_random(&seed) % 70,
                     .c = 1 + next_random(&seed) % 90});
}

static ls_tensor *build_timestep(ls_graph *g, test *t)
{
    return ls_timestep(g, input_as(g, t, 0, t->fill, LS_F32, 1, (size_t[]){1}), t->c);
}

static void timestep(void **state)
{
    (void)state;
    for (size_t c = 2; c < 400; c += 53 + c % 2)
        check((test){
            .build = build_timestep, .c = c - c % 2, .fill = INTEGERS, .skip_16_bits = true});
}

static ls_tensor *build_cast(ls_graph *g, test *t)
{
    bool up = t->to_f32;
    ls_tensor *x =
        input_as(g, t, 0, NORMAL, up ? ls_graph_compute(g) : LS_F32, 2, (size_t[]){t->n, t->c});
    return x->dtype == ls_graph_compute(g) && !up
               ? ls_activation(g, x, LS_ACT_NONE)
               : ls_cast(g, x, up ? LS_F32 : ls_graph_compute(g));
}

static void cast_rounds_to_nearest_even(void **state)
{
    (void)state;
    test t = {.build = build_cast, .n = 5, .c = 4000};
    const ls_dtype type = on_card() ? LS_F16 : LS_BF16;
    float *y = compute(&t, device_name(), type, 2);
    for (size_t i = 0; i < t.count[0]; i++)
        assert_float_equal(y[i], rounded(t.values[0][i], type), 0);
    free(y);
    free(t.values[0]);
    t = (test){.build = build_cast, .n = 3, .c = 33, .to_f32 = true, .rounded = type};
    y = compute(&t, device_name(), type, 2);
    assert_memory_equal(y, t.values[0], t.count[0] * sizeof *y);
    free(y);
    free(t.values[0]);
}

/* Exact to a unit in the last place or so, where a norm over many values would hide it. */
static void functions_are_accurate(void **state)
{
    (void)state;
    for (int a = LS_ACT_SILU; a <= LS_ACT_GELU; a++) {
        test t = {.build = build_other,
                  .k = LS_OP_ACT,
                  .n = 1,
                  .h = 1,
                  .w = 100,
                  .c = 100,
                  .act = (ls_act)a};
        values(&t, 0, 10000, NORMAL, 1);
        for (size_t i = 0; i < 10000; i++)
            t.values[0][i] = ((float)i - 5000) / 250; /* -20 .. 20 */
        float *y = compute(&t, "onednn", LS_F32, 1);
        for (size_t i = 0; i < 10000; i++) {
            double x = t.values[0][i];
            double r = a == LS_ACT_SILU ? x / (1 + exp(-x)) : x * 0.5 * erfc(-x * M_SQRT1_2);
            if (fabs(y[i] - r) > 4e-7 * fmax(fabs(r), 1))
                fail_msg("act %d of %g is %.9g, not %.9g", a, x, y[i], r);
        }
        free(y);
        free(t.values[0]);
    }
}

/* Two plans of one store, with other batch sizes, share the packed weights. */
static void weights_are_packed_once(void **state)
{
    (void)state;
    for (int i = 0; i < (has_int8() ? 6 : has_bf16() && !on_card() ? 4 : 2); i++) {
        const ls_dtype type = on_card() ? LS_F16 : i < 2 ? LS_F32 : i < 4 ? LS_BF16 : LS_I8;
        ls_error err = {0};
        ls_store *st;
        ls_plan *p;
        test t = {.build = i % 2 ? build_conv : build_linear,
                  .n = 64,
                  .h = 16,
                  .w = 16,
                  .c = 320,
                  .co = 640,
                  .k = 3,
                  .bias = true,
                  .conv = {.stride = 1, .pad = 1}};
        assert_int_equal(test_store_open(&st, device_name(), 2, &err), 0);
        st->flags |= type == LS_I8 ? LS_STORE_INT8 : 0;
        size_t first = 0;
        for (t.n = 64; t.n >= 2; t.n /= 2) {
            for (size_t j = 0; j < LS_MAX_INPUTS; j++)
                if (!t.params[j].read) {
                    free(t.values[j]);
                    t.values[j] = NULL;
                }
            ls_graph *g = make(&t, type);
            if (ls_plan_compile(&p, &g, st, &err))
                fail_msg("%s", err.message);
            ls_plan_close(&p);
            if (!first)
                first = st->bytes;
            assert_int_equal(st->bytes, first);
        }
        size_t elements = (size_t)640 * 320 * (i % 2 ? 9 : 1);
        if (on_card()) // in blocks
            assert_true(first >= elements * 2 && first < elements * 2 + ((size_t)4 << 20));
        else // in eight bits, also scales, and sums where the kernels need them
            assert_in_range(first - elements * ls_dtype_size(type), 640 * 4,
                            640 * (type == LS_I8 ? 24 : 4));
        test_store_close(&st);
        for (size_t j = 0; j < LS_MAX_INPUTS; j++)
            free(t.values[j]);
    }
}

/* At the networks' own sizes, where oneDNN might share out the sums. */
static void threads_do_not_matter(void **state)
{
    (void)state;
    const test cases[] = {
        {.build = build_linear, .n = 1, .c = 1280, .co = 1280, .bias = true},
        {.build = build_linear, .n = 2, .c = 5120, .co = 1280, .bias = true, .residual = true},
        {.build = build_linear, .n = 64, .c = 5120, .co = 1280, .bias = true, .residual = true},
        {.build = build_linear, .n = 1600, .c = 384, .co = 320},
        {.build = build_linear, .n = 4096, .c = 320, .co = 2560, .bias = true},
        {.build = build_conv,
         .n = 2,
         .h = 4,
         .w = 4,
         .c = 2560,
         .co = 1280,
         .k = 3,
         .conv = {.stride = 1, .pad = 1}},
        {.build = build_conv,
         .n = 2,
         .h = 8,
         .w = 8,
         .c = 1280,
         .co = 1280,
         .k = 3,
         .residual = true,
         .conv = {.stride = 1, .pad = 1}},
        {.build = build_conv,
         .n = 2,
         .h = 32,
         .w = 32,
         .c = 320,
         .co = 320,
         .k = 3,
         .bias = true,
         .conv = {.stride = 2, .pad = 1}},
        {.build = build_conv,
         .n = 3,
         .h = 64,
         .w = 64,
         .c = 13,
         .co = 320,
         .k = 3,
         .bias = true,
         .conv = {.stride = 1, .pad = 1}},
        {.build = build_conv,
         .n = 1,
         .h = 64,
         .w = 64,
         .c = 320,
         .co = 4,
         .k = 3,
         .bias = true,
         .conv = {.stride = 1, .pad = 1}},
        {.build = build_conv,
         .n = 1,
         .h = 16,
         .w = 16,
         .c = 1920,
         .co = 640,
         .k = 1,
         .bias = true,
         .conv = {.stride = 1}},
    };
    for (size_t i = 0; i < 3 * LS_COUNT(cases); i++) {
        test t = cases[i / 3];
        const ls_dtype type = i % 3 == 2 ? LS_I8 : i % 3 ? LS_BF16 : LS_F32;
        if ((type == LS_BF16 && !has_bf16()) || (type == LS_I8 && !has_int8()))
            continue;
        ls_graph *g = make(&t, type);
        size_t count = only_node(g)->out->count;
        ls_graph_free(&g);
        free(compute_with_threads(&t, type, count, true));
        for (size_t j = 0; j < LS_MAX_INPUTS; j++)
            free(t.values[j]);
    }
}

/* The result of the first of several items of `one` rows, and of that alone, of one packed weight.
 */
static void expect_same_alone(test t, size_t one, size_t items, bool alone_first, ls_dtype type,
                              int threads)
{
    ls_store *st;
    float *y[2] = {NULL, NULL};
    size_t count = SIZE_MAX;
    assert_int_equal(test_store_open(&st, device_name(), threads, NULL), 0);
    for (int i = 0; i < 2; i++) {
        t.n = (i == 0) == alone_first ? one : one * items;
        for (size_t j = 0; j < LS_MAX_INPUTS; j++) {
            if (!t.params[j].read) {
                free(t.values[j]);
                t.values[j] = NULL;
            }
        }
        ls_graph *g = make(&t, type);
        size_t n = only_node(g)->out->count;
        ls_graph_free(&g);
        count = n < count ? n : count;
        y[i] = compute_on(st, &t, type);
    }
    if (memcmp(y[0], y[1], count * sizeof **y))
        fail_msg("%zu to %zu, %zu x %zu: one of %zu is not the same alone, %d threads", t.c, t.co,
                 t.h, t.w, items, threads);
    for (size_t j = 0; j < LS_MAX_INPUTS; j++)
        free(t.values[j]);
    free(y[0]);
    free(y[1]);
    test_store_close(&st);
}

/* Shapes of few pixels: oneDNN blocks them now so, now so. */
static void batches_do_not_matter(void **state)
{
    (void)state;
    static const size_t shapes[][6] = {/* h, w, c, co, k, stride */
                                       {8, 8, 320, 320, 1, 1}, {16, 16, 256, 512, 1, 1},
                                       {1, 1, 96, 96, 1, 1},   {1, 1, 32, 32, 3, 1},
                                       {2, 2, 96, 96, 3, 2},   {4, 4, 64, 64, 3, 1},
                                       {16, 16, 64, 64, 3, 2}, {32, 32, 256, 256, 3, 1}};
    for (size_t i = 0; i < LS_COUNT(shapes) * 3 * 8; i++) {
        const size_t *s = shapes[i / 24];
        ls_dtype type = on_card() ? LS_F16 : i / 4 % 2 ? LS_BF16 : LS_F32;
        test conv = {.build = build_conv, .h = s[0], .w = s[1], .c = s[2], .co = s[3], .k = s[4]};
        test linear = {.build = build_linear, .h = s[0], .w = s[1], .c = s[2], .co = s[3]};
        conv.conv = (ls_conv){.stride = s[5], .pad = s[4] / 2};
        conv.rounded = linear.rounded = type;
        linear.bias = linear.residual = conv.bias = true;
        if (type == LS_BF16 && !has_bf16())
            continue;
        if (on_card() && i / 4 % 6) // it has one type, and no threads to be told of
            continue;
        size_t items = i / 2 % 2 ? 4 : 5;
        int threads = 1 + (int)(i / 8 % 3);
        expect_same_alone(conv, 1, items, i % 2, type, threads);
        if (!on_card() || s[0] * s[1] <= 16) // an emulated warp for each output takes its time
            expect_same_alone(linear, s[0] * s[1], items, i % 2, type, threads);
        if (type == LS_BF16 && has_int8()) {
            expect_same_alone(conv, 1, items, i % 2, LS_I8, threads);
            expect_same_alone(linear, s[0] * s[1], items, i % 2, LS_I8, threads);
        }
    }
}

/* "own": only what each instruction set has kernels of its own for; the rest is oneDNN's, whatever
 * LS_ISA says. */
int main(int argc, char **argv)
{
    const struct CMUnitTest own[] = {
        cmocka_unit_test(group_norm),
        cmocka_unit_test(layer_norm),
        cmocka_unit_test(attention),
        cmocka_unit_test(attention_along_frames),
        cmocka_unit_test(elementwise),
        cmocka_unit_test(timestep),
        cmocka_unit_test(cast_rounds_to_nearest_even),
        cmocka_unit_test(eight_bits),
        cmocka_unit_test(eight_bits_keep_nan),
        cmocka_unit_test(functions_are_accurate),
    };
    const struct CMUnitTest other[] = {
        cmocka_unit_test(conv2d),
        cmocka_unit_test(linear),
        cmocka_unit_test(upsample),
        cmocka_unit_test(weights_are_packed_once),
        cmocka_unit_test(batches_do_not_matter),
        /* what cards do not compute */
        cmocka_unit_test(grouped_conv),
        cmocka_unit_test(pool),
        cmocka_unit_test(binary),
        cmocka_unit_test(take),
        cmocka_unit_test(threads_do_not_matter),
    };
    const bool only_own = argc > 1 && !strcmp(argv[1], "own");
    const size_t n_own = LS_COUNT(own) - (on_card() ? 3 : 0);
    const size_t n_other = LS_COUNT(other) - (on_card() ? 5 : 0);
    struct CMUnitTest tests[LS_COUNT(own) + LS_COUNT(other)];
    memcpy(tests, own, n_own * sizeof *own);
    memcpy(tests + n_own, other, n_other * sizeof *other);
    return _cmocka_run_group_tests("kernels", tests, n_own + (only_own ? 0 : n_other), NULL, NULL);
}
