/* The elementwise ops of the CUDA backend, from the compile function down, against their formulas;
 * and the functions that all kernels share, against libm's. */
#include "node.h"
#include "backend/cuda/kernels/functions.h"
#include "kernels/oracle.h"

#include <float.h>

#define TOLERANCE 1e-6 /* of float32 arithmetic; the rounding to float16 comes on top */

typedef struct example {
    ls_graph *graph;
    float *values[LS_MAX_INPUTS];
} example;

static example new_example(void)
{
    return (example){.graph = ls_graph_new(LS_F16, false)};
}

static void free_example(example *e)
{
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(e->values[i]);
    ls_graph_free(&e->graph);
}

static float *run(const example *e, const node_options *o)
{
    return node_run(node_of(e->graph), ls_gpu_compile_elementwise, (const float *const *)e->values,
                    o);
}

/* An input of drawn values. */
static ls_tensor *input(example *e, size_t i, ls_dtype t, size_t ndim, const size_t *shape)
{
    ls_tensor *x = ls_input(e->graph, (char[]){(char)('a' + (char)i), 0}, t, ndim, shape);
    e->values[i] = node_values(i + 1, x->count, 0, 2);
    return x;
}

/* Frees the example. */
static void check(example *e)
{
    const ls_node *node = node_of(e->graph);
    node_options o = {.emulator = {.threads = 2}};
    for (; o.emulator.seed < 3; o.emulator.seed++) {
        o.in_place = o.emulator.seed == 2;
        float *y = run(e, &o);
        for (size_t i = 0; i < node->out->count; i++) {
            const double right = oracle(node, (const float *const *)e->values, i);
            if (!(node_excess(y[i], right) < TOLERANCE))
                fail_msg("%s, last size %zu: %g instead of %g at %zu", ls_op_name(node->op),
                         node->out->shape[node->out->ndim - 1], (double)y[i], right, i);
        }
        free(y);
    }
    free_example(e);
}

static const size_t channels[] = {1, 3, 4, 8, 13, 24, 320, 1283};
enum { CHANNELS = sizeof channels / sizeof *channels };

static void test_flat(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < CHANNELS; i++) {
        const size_t shape[] = {3, 5, channels[i]};
        for (ls_act act = LS_ACT_NONE; act <= LS_ACT_SIGMOID; act++) {
            example e = new_example();
            ls_activation(e.graph, input(&e, 0, LS_F16, 3, shape), act);
            check(&e);
        }
        example e = new_example();
        ls_tensor *a = input(&e, 0, LS_F16, 3, shape);
        ls_add(e.graph, a, input(&e, 1, LS_F16, 3, shape));
        check(&e);
    }
}

static void test_geglu(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < CHANNELS; i++) {
        example e = new_example();
        ls_geglu(e.graph, input(&e, 0, LS_F16, 3, (size_t[]){2, 7, 2 * channels[i]}));
        check(&e);
    }
}

static void test_concat(void **unused)
{
    (void)unused;
    for (size_t i = 0; i < CHANNELS; i++)
        for (size_t j = 0; j < CHANNELS; j++) {
            example e = new_example();
            ls_tensor *a = input(&e, 0, LS_F16, 4, (size_t[]){2, 9, 9, channels[i]});
            ls_concat(e.graph, a, input(&e, 1, LS_F16, 4, (size_t[]){2, 9, 9, channels[j]}));
            check(&e);
        }
}

static void test_upsample(void **unused)
{
    (void)unused;
    static const size_t sizes[][4] = {{4, 4, 8, 8}, {3, 5, 7, 9}, {1, 1, 3, 2}, {2, 9, 3, 18}};
    for (size_t i = 0; i < CHANNELS; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            const size_t *s = sizes[j];
            example e = new_example();
            ls_tensor *x = input(&e, 0, LS_F16, 4, (size_t[]){3, s[0], s[1], channels[i]});
            ls_upsample(e.graph, x, s[2], s[3]);
            check(&e);
        }
}

/* Every half, and what lies between two. */
static void test_cast(void **unused)
{
    (void)unused;
    const size_t count = 2 * 0x7c00;
    for (int narrowing = 0; narrowing < 2; narrowing++)
        for (size_t n = count - 3; n <= count; n++) {
            example e = new_example();
            const ls_dtype from = narrowing ? LS_F32 : LS_F16, to = narrowing ? LS_F16 : LS_F32;
            ls_cast(e.graph, input(&e, 0, from, 1, &n), to);
            for (size_t i = 0; i < n; i++) {
                const float x = ls_f16_to_f32((uint16_t)(i % 2 << 15 | i / 2));
                e.values[0][i] = narrowing ? x * 1.0002f : x;
            }
            float *y = run(&e, &(node_options){.emulator = {.threads = 2}});
            for (size_t i = 0; i < n; i++)
                assert_true(y[i] == (narrowing ? ls_f16_to_f32(ls_f32_to_f16(e.values[0][i]))
                                               : e.values[0][i]));
            free(y);
            free_example(&e);
        }
}

/* As diffusers has it, in float32: frequencies and angles are rounded. */
static void test_timestep(void **unused)
{
    (void)unused;
    static const float times[] = {0, 1, 2.5f, 41, 500, 961, 999, 1000, -3};
    static const size_t sizes[] = {2, 16, 320, 1280};
    double worst = 0;
    for (size_t i = 0; i < sizeof times / sizeof *times; i++)
        for (size_t j = 0; j < sizeof sizes / sizeof *sizes; j++) {
            example e = new_example();
            ls_timestep(e.graph, input(&e, 0, LS_F32, 1, (size_t[]){1}), sizes[j]);
            e.values[0][0] = times[i];
            float *y = run(&e, &(node_options){0});
            const size_t half = sizes[j] / 2;
            for (size_t k = 0; k < half; k++) {
                const float frequency = expf(-logf(10000.0f) * (float)k / (float)half);
                const double angle = (double)(times[i] * frequency);
                worst = fmax(worst, fabs((double)y[k] - cos(angle)));
                worst = fmax(worst, fabs((double)y[half + k] - sin(angle)));
            }
            free(y);
            free_example(&e);
        }
    assert_true(worst < 3.1e-8); // half of a float32's last bit, and nothing else
}

static void expect_bad(example *e, size_t i, size_t at, float value, bool bad)
{
    const float before = e->values[i][at];
    e->values[i][at] = value;
    free(run(e, &(node_options){.bad_expected = bad}));
    e->values[i][at] = before;
}

static void test_bad_values(void **unused)
{
    (void)unused;
    static const float values[] = {NAN, INFINITY, -INFINITY};
    for (int op = 0; op < 8; op++) {
        example e = new_example();
        ls_tensor *x = op != 6 ? input(&e, 0, op == 5 ? LS_F32 : LS_F16, 4, (size_t[]){2, 3, 4, 26})
                               : input(&e, 0, LS_F32, 1, (size_t[]){1});
        const size_t last = op == 6 ? 0 : 2 * 3 * 4 * 26 - 1;
        switch (op) {
        case 0:
            ls_activation(e.graph, x, LS_ACT_GELU);
            break;
        case 1:
            ls_add(e.graph, input(&e, 1, LS_F16, 4, x->shape), x);
            break;
        case 2:
            ls_geglu(e.graph, x);
            break;
        case 3:
            ls_concat(e.graph, input(&e, 1, LS_F16, 4, x->shape), x);
            break;
        case 4:
            ls_upsample(e.graph, x, 6, 8);
            break;
        case 5:
            ls_cast(e.graph, x, LS_F16);
            break;
        case 6:
            ls_timestep(e.graph, x, 16);
            break;
        default:
            ls_cast(e.graph, x, LS_F32);
        }
        const ls_node *node = node_of(e.graph);
        const size_t in = node->in[0] == x ? 0 : 1;
        if (in) { /* x is the second */
            float *t = e.values[0];
            e.values[0] = e.values[1];
            e.values[1] = t;
        }
        for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
            expect_bad(&e, in, last, values[i], true);
            expect_bad(&e, in, 0, values[i], true);
        }
        free_example(&e);
    }
}

static void test_overflow(void **unused)
{
    (void)unused;
    example e = new_example();
    ls_cast(e.graph, input(&e, 0, LS_F32, 1, (size_t[]){11}), LS_F16);
    for (size_t i = 0; i < 11; i++) {
        expect_bad(&e, 0, i, 65519.99f, false); /* rounds to the largest half */
        expect_bad(&e, 0, i, 65520, true);
        expect_bad(&e, 0, i, -FLT_MAX, true);
    }
    free_example(&e);
    e = new_example();
    ls_tensor *a = input(&e, 0, LS_F16, 1, (size_t[]){11});
    ls_add(e.graph, a, input(&e, 1, LS_F16, 1, (size_t[]){11}));
    e.values[0][9] = 65504;
    expect_bad(&e, 1, 9, 15, false);
    expect_bad(&e, 1, 9, 16, true);
    free_example(&e);
}

static void test_unsupported(void **unused)
{
    (void)unused;
    static const float values[8] = {0};
    ls_param p;
    ls_kernel *k;
    size_t scratch;
    ls_error err = {0};
    for (int i = 0; i < 2; i++) {
        example e = new_example();
        const size_t n = 8;
        ls_tensor *x = i ? node_weight(e.graph, &p, 1, &n, values) : input(&e, 0, LS_F32, 1, &n);
        if (i)
            ls_cast(e.graph, x, LS_F16);
        else
            ls_add(e.graph, x, x);
        assert_int_equal(ls_gpu_compile_elementwise(NULL, node_of(e.graph), &k, &scratch, &err),
                         LS_EUNSUPPORTED);
        assert_null(k);
        assert_non_null(strstr(err.message, "float32"));
        free_example(&e);
    }
}

/* The largest relative error where results are above 1e-14. */
static double error_of(float (*f)(float), double (*right)(double), float from, float to)
{
    const int steps = 200000;
    double worst = 0;
    for (int i = 0; i <= steps; i++) {
        float x = from + (to - from) * (float)i / (float)steps;
        x = i % 2 ? x : x * 0x1p-7f;
        const double y = right((double)x);
        if (fabs(y) > 1e-14)
            worst = fmax(worst, fabs((double)f(x) / y - 1));
    }
    return worst;
}

static double exact_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

static double exact_silu(double x)
{
    return x / (1 + exp(-x));
}

static double exact_gelu(double x)
{
    return x * 0.5 * erfc(-x * M_SQRT1_2);
}

static void test_functions(void **unused)
{
    (void)unused;
    assert_true(error_of(exponential, exp, -40, 88) < 3e-7);
    assert_true(error_of(sigmoid, exact_sigmoid, -40, 100) < 4e-7);
    assert_true(error_of(silu, exact_silu, -40, 100) < 4e-7);
    assert_true(error_of(gelu, exact_gelu, -8, 100) < 7e-7);
    for (int i = 0; i < 2; i++) {
        const float far = i ? 65504 : 1e18f;
        assert_true(silu(far) == far && gelu(far) == far && sigmoid(far) == 1);
        assert_true(silu(-far) == 0 && gelu(-far) == 0 && sigmoid(-far) == 0);
    }
    assert_true(isnan(relu(NAN)) && relu(-3) == 0 && relu(3) == 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flat),        cmocka_unit_test(test_geglu),
        cmocka_unit_test(test_concat),      cmocka_unit_test(test_upsample),
        cmocka_unit_test(test_cast),        cmocka_unit_test(test_timestep),
        cmocka_unit_test(test_bad_values),  cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_unsupported), cmocka_unit_test(test_functions),
    };
    return cmocka_run_group_tests_name("cuda elementwise", tests, NULL, NULL);
}
