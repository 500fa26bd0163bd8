/* Convolutions and linear layers of the CUDA backend, from the compile functions down, against
 * their formulas. */
#include "node.h"
#include "../kernels/oracle.h"
#include "base/alloc.h"

#include <math.h>

#define TOLERANCE 2e-5 /* of sums in float32; the rounding to float16 comes on top */
#define SEEDS 3
#define KIB 1024

typedef enum operand { NO, WEIGHT, VALUE } operand;

typedef struct shape {
    gpu_function f;             /* that computes it */
    size_t n, h, w, c, outputs; /* of a linear layer h 0: rows [n, w, c]; w 0: [n, c] */
    size_t k, stride, pad;      /* k 0: linear */
    operand bias, residual;
    ls_act act;
    bool split, act_last, pad_end_only, one_d, x_float, out_float;
    size_t shared; /* see node_options */
} shape;

typedef struct example {
    shape s;
    float *values[LS_MAX_INPUTS];
    ls_param params[LS_MAX_INPUTS];
    ls_graph *graph;
    double *right;
} example;

static ls_tensor *operand_of(example *e, size_t i, operand kind, ls_dtype t, size_t ndim,
                             const size_t *dims, double spread)
{
    static const char *const names[] = {"x", "w", "b", "r"};
    size_t count = 1;
    if (kind == NO)
        return NULL;
    for (size_t d = 0; d < ndim; d++)
        count *= dims[d];
    e->values[i] = node_values(i + 1, count, 0, spread);
    return kind == WEIGHT ? node_weight(e->graph, &e->params[i], ndim, dims, e->values[i])
                          : ls_input(e->graph, names[i], t, ndim, dims);
}

static ls_tensor *build(example *e)
{
    const shape *s = &e->s;
    ls_graph *g = e->graph;
    const ls_dtype in = s->x_float ? LS_F32 : LS_F16, out = s->out_float ? LS_F32 : LS_F16;
    const size_t image[] = {s->n, s->h, s->w, s->c}, tokens[] = {s->n, s->w, s->c};
    const size_t rows[] = {s->n, s->c}, weights[] = {s->outputs, s->c, s->k, s->k};
    const size_t taps = !s->k ? 1 : s->one_d ? s->k : s->k * s->k;
    const double spread = 1 / sqrt((double)(s->c * taps));
    ls_tensor *x = operand_of(e, 0, VALUE, in,
                              s->h   ? 4
                              : s->w ? 3
                                     : 2,
                              s->h   ? image
                              : s->w ? tokens
                                     : rows,
                              1);
    ls_tensor *w = operand_of(e, 1, WEIGHT, LS_F32, !s->k ? 2 : s->one_d ? 3 : 4, weights, spread);
    ls_tensor *b = operand_of(e, 2, s->bias, LS_F32, 1, &s->outputs, 1);
    const ls_conv conv = {s->stride, s->pad, s->pad_end_only, s->act};
    return s->k ? ls_conv2d(g, x, w, b, NULL, conv) : ls_linear(g, x, w, b, NULL, s->act, out);
}

static void make(example *e, shape s)
{
    *e = (example){.s = s, .graph = ls_graph_new(LS_F16, false)};
    ls_tensor *y = build(e);
    ls_node *node = (ls_node *)node_of(e->graph);
    node->in[3] = operand_of(e, 3, s.residual, y->dtype, y->ndim, y->shape, 1);
    if (s.k)
        node->u.conv.act_last = s.act_last;
}

static void free_example(example *e)
{
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(e->values[i]);
    free(e->right);
    ls_graph_free(&e->graph);
}

static float *run(const example *e, node_options o)
{
    o.shared = e->s.shared * KIB;
    return node_run(node_of(e->graph), e->s.k ? ls_gpu_compile_conv2d : ls_gpu_compile_linear,
                    (const float *const *)e->values, &o);
}

static double excess(example *e, const float *y)
{
    const ls_node *node = node_of(e->graph);
    double worst = 0;
    if (!e->right) {
        e->right = malloc(node->out->count * sizeof *e->right);
        for (size_t i = 0; i < node->out->count; i++)
            e->right[i] = oracle(node, (const float *const *)e->values, i);
    }
    for (size_t i = 0; i < node->out->count; i++) {
        const double error = fabs((double)y[i] - e->right[i]) / fmax(1, fabs(e->right[i]));
        worst = fmax(worst, !e->s.out_float ? node_excess(y[i], e->right[i])
                            : isnan(error)  ? INFINITY
                                            : error);
    }
    return worst;
}

static const shape shapes[] = {
    /* tiles of every size */
    {GPU_product_128x128, 1, 16, 17, 24, 512, .k = 3, .stride = 1, .pad = 1, .bias = WEIGHT,
     .act = LS_ACT_SILU},
    {GPU_product_256x64, 1, 21, 20, 13, 320, .k = 3, .stride = 1, .pad = 1, .bias = WEIGHT},
    {GPU_product_128x64, 2, 8, 16, 72, 512, .k = 1, .stride = 1, .bias = WEIGHT, .residual = VALUE},
    {GPU_product_64x64, 2, 11, 8, 40, 72, .k = 3, .stride = 2, .pad = 1, .bias = WEIGHT,
     .residual = VALUE, .act = LS_ACT_RELU, .act_last = true},
    {GPU_product_128x8, 2, 13, 11, 48, 4, .k = 3, .stride = 1, .pad = 1, .bias = WEIGHT},
    {GPU_product_128x8, 1, 9, 16, 512, 8, .k = 1, .stride = 1, .bias = WEIGHT, .residual = VALUE,
     .act = LS_ACT_SILU},
    {GPU_product_128x8, 1, 6, 5, 3, 3, .k = 3, .stride = 1, .pad = 1},
    /* few rows and many channels; memory for three, two and four stages */
    {GPU_product_128x128, 2, 5, 7, 352, 232, .k = 3, .stride = 1, .pad = 1, .bias = VALUE,
     .residual = VALUE, .act = LS_ACT_SILU, .split = true},
    {GPU_product_256x64, 1, 3, 3, 500, 43, .k = 3, .stride = 1, .pad = 1, .bias = WEIGHT,
     .act = LS_ACT_GELU, .split = true},
    {GPU_product_256x64, 1, 4, 4, 400, 50, .k = 3, .stride = 1, .pad = 1, .residual = VALUE,
     .split = true, .shared = 64},
    {GPU_product_128x128, 3, 4, 5, 360, 128, .k = 3, .stride = 1, .pad = 1, .bias = WEIGHT,
     .residual = VALUE, .split = true, .shared = 227},
    /* windows */
    {GPU_product_64x64, 3, 8, 9, 16, 24, .k = 3, .stride = 2, .pad = 1, .bias = WEIGHT,
     .pad_end_only = true},
    {GPU_product_64x64, 1, 4, 6, 8, 16, .k = 5, .stride = 3, .pad = 4, .act = LS_ACT_SIGMOID},
    {GPU_product_64x64, 1, 7, 9, 64, 65, .k = 1, .stride = 2, .bias = WEIGHT, .residual = VALUE},
    {GPU_product_64x64, 2, 1, 37, 20, 32, .k = 3, .stride = 2, .pad = 1, .bias = WEIGHT,
     .act = LS_ACT_GELU, .one_d = true},
    {GPU_product_64x64, 2, 2, 2, 8, 16, .k = 3, .stride = 1, .pad = 1, .bias = VALUE},
    /* linear layers */
    {GPU_product_64x64, 3, 0, 50, 384, 320, .k = 0},
    {GPU_product_128x64, 2, 10, 11, 40, 640, .bias = WEIGHT, .residual = VALUE, .act = LS_ACT_GELU,
     .out_float = true},
    {GPU_product_64x64, 2, 0, 5, 12, 18, .bias = VALUE, .residual = WEIGHT, .out_float = true},
    {GPU_product_vector, 1, 0, 0, 320, 1280, .bias = WEIGHT, .act = LS_ACT_SILU, .x_float = true,
     .out_float = true},
    {GPU_product_vector, 1, 0, 0, 1280, 322, .bias = WEIGHT, .residual = WEIGHT, .x_float = true,
     .out_float = true},
    {GPU_product_vector, 3, 0, 0, 13, 7, .bias = WEIGHT, .act = LS_ACT_GELU},
    {GPU_product_vector, 2, 0, 3, 300, 24, .residual = VALUE, .x_float = true},
};

static const char *text(const shape *s)
{
    static char buf[128];
    snprintf(buf, sizeof buf, "[%zu, %zu, %zu, %zu] to %zu, %zu x %zu", s->n, s->h, s->w, s->c,
             s->outputs, s->k, s->k);
    return buf;
}

/* Right, and the same in whatever order threads run. */
static void check(shape s)
{
    example e;
    make(&e, s);
    unsigned launches[GPU_FUNCTION_COUNT] = {0};
    node_options o = {.emulator = {.threads = 2}, .launches = launches};
    float *first = run(&e, o);
    const double worst = excess(&e, first);
    if (!(worst < TOLERANCE))
        fail_msg("%s: error %g", text(&s), worst);
    for (o.emulator.seed = 1; o.emulator.seed < SEEDS; o.emulator.seed++) {
        float *y = run(&e, o);
        assert_memory_equal(y, first, node_of(e.graph)->out->count * sizeof *y);
        free(y);
    }
    if (s.f != GPU_FUNCTION_COUNT &&
        (launches[s.f] != SEEDS || launches[GPU_product_sum] != (s.split ? SEEDS : 0)))
        fail_msg("%s: another kernel than meant", text(&s));
    free(first);
    free_example(&e);
}

static void test_shapes(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < LS_COUNT(shapes); i++)
        check(shapes[i]);
}

static void test_any_shape(void **unused)
{
    (void)unused;
    uint64_t seed = 7;
    for (int i = 0; i < 40; i++) {
        shape s = {.f = GPU_FUNCTION_COUNT};
        s.n = 1 + node_draw(&seed, 3);
        s.h = 3 + node_draw(&seed, 10);
        s.w = 3 + node_draw(&seed, 10);
        s.c = 1 + node_draw(&seed, i % 8 ? 50 : 600);
        s.outputs = 1 + node_draw(&seed, i % 5 ? 90 : 300);
        s.k = node_draw(&seed, 4);
        s.stride = 1 + node_draw(&seed, 2);
        s.pad = node_draw(&seed, 3);
        s.pad_end_only = !node_draw(&seed, 3);
        s.bias = (operand)node_draw(&seed, 3);
        s.residual = node_draw(&seed, 2) ? VALUE : NO;
        s.act = (ls_act)node_draw(&seed, 5);
        s.act_last = s.k && i % 2;
        s.out_float = !s.k && i % 2;
        check(s);
    }
}

/* An image's results do not depend on what else is in the batch. */
static void test_batches(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < LS_COUNT(shapes); i++) {
        shape s = shapes[i];
        example all, one;
        if (s.n == 1 || s.residual == WEIGHT)
            continue;
        make(&all, s);
        s.n = 1;
        make(&one, s);
        float *y = run(&all, (node_options){.emulator = {.seed = 1}});
        const ls_node *node = node_of(one.graph);
        const size_t in = node->in[0]->count, out = node->out->count;
        for (size_t j = 0; j < shapes[i].n; j++) {
            memcpy(one.values[0], all.values[0] + j * in, in * sizeof(float));
            if (s.residual == VALUE)
                memcpy(one.values[3], all.values[3] + j * out, out * sizeof(float));
            float *part = run(&one, (node_options){.emulator = {.seed = 2}});
            if (memcmp(part, y + j * out, out * sizeof *y))
                fail_msg("%s: image %zu depends on the others", text(&shapes[i]), j);
            free(part);
        }
        free(y);
        free_example(&all);
        free_example(&one);
    }
}

/* What float16 cannot hold is noted. */
static void test_bad_values(void **unused)
{
    (void)unused;
    static const size_t with[] = {1, 3, 4, 7, 8, 21};
    for (size_t i = 0; i < LS_COUNT(with); i++)
        for (int large = 0; large < 2; large++) {
            example e;
            make(&e, shapes[with[i]]);
            if (large)
                e.values[2][e.s.outputs - 1] = 1e6f;
            else
                e.values[0][e.s.c - 1] = NAN;
            free(run(&e, (node_options){.bad_expected = true}));
            free_example(&e);
        }
}

/* Faults of every kind show: as an error of the emulator or as a wrong result, with one of a few
 * seeds at least. */
static void test_mutations(void **unused)
{
    (void)unused;
    static const size_t with[] = {0, 2, 3, 4, 7, 9, 10};
    for (size_t i = 0; i < LS_COUNT(with); i++) {
        example e;
        make(&e, shapes[with[i]]);
        for (emulator_mutation m = EMULATOR_NO_BARRIER; m < EMULATOR_MUTATIONS; m++) {
            bool noticed = false;
            for (uint64_t seed = 0; !noticed && seed < 8; seed++) {
                const node_options o = {
                    .emulator = {.seed = seed, .threads = 2, .mutation = m, .barrier = 1},
                    .mutated = e.s.f,
                    .faulty = true,
                };
                float *y = run(&e, o);
                noticed = !y || !(excess(&e, y) < TOLERANCE);
                free(y);
            }
            if (!noticed)
                fail_msg("%s: mutation %d is not noticed", text(&e.s), (int)m);
        }
        free_example(&e);
    }
}

/* The message names the op and the dtype. */
static void test_unsupported(void **unused)
{
    (void)unused;
    static const shape with[] = {
        {GPU_FUNCTION_COUNT, 1, 4, 4, 8, 8, .k = 3, .stride = 1, .x_float = true},
        {GPU_FUNCTION_COUNT, 1, 8, 8, 8, 8, .k = 6, .stride = 1},
    };
    for (size_t i = 0; i < LS_COUNT(with); i++) {
        example e;
        ls_kernel *k;
        size_t scratch;
        ls_error err = {0};
        make(&e, with[i]);
        assert_int_equal(ls_gpu_compile_conv2d(NULL, node_of(e.graph), &k, &scratch, &err),
                         LS_EUNSUPPORTED);
        assert_null(k);
        assert_non_null(strstr(err.message, i ? "conv2d of float16" : "conv2d of float32"));
        free_example(&e);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shapes),    cmocka_unit_test(test_any_shape),
        cmocka_unit_test(test_batches),   cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_unsupported),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
