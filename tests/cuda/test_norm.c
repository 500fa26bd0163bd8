/* The norms of the CUDA backend, from the compile functions down, against their formulas. */
#include "node.h"

#include <math.h>

#define TOLERANCE 1e-6 /* of float32 arithmetic; the rounding to float16 comes on top */

typedef struct shape {
    size_t n, h, w, c, groups, frames; /* h 0: [n, w, c]; groups 0: layer norm */
    ls_act act;
    bool positions;
    double mean, spread;
} shape;

typedef struct example {
    shape s;
    size_t rows, count; /* rows of c */
    float *values[LS_MAX_INPUTS];
    ls_param params[LS_MAX_INPUTS];
    ls_graph *graph;
} example;

static const float eps = 1e-5f;

static void make(example *e, shape s)
{
    *e = (example){.s = s, .rows = s.n * (s.h ? s.h : 1) * s.w};
    e->count = e->rows * s.c;
    e->graph = ls_graph_new(LS_F16, false);
    e->values[0] = node_values(1, e->count, s.mean, s.spread);
    e->values[1] = node_values(2, s.c, 1, 0.3);
    e->values[2] = node_values(3, s.c, 0, 1);
    e->values[3] = node_values(4, (s.frames + 1) * s.c, 0, 1);
    const size_t image[] = {s.n, s.h, s.w, s.c}, tokens[] = {s.n, s.w, s.c};
    const size_t positions[] = {1, s.frames + 1, s.c};
    ls_graph *g = e->graph;
    ls_tensor *x = ls_input(g, "x", LS_F16, s.h ? 4 : 3, s.h ? image : tokens);
    ls_tensor *w = node_weight(g, &e->params[1], 1, &s.c, e->values[1]);
    ls_tensor *b = node_weight(g, &e->params[2], 1, &s.c, e->values[2]);
    ls_tensor *p = s.positions ? node_weight(g, &e->params[3], 3, positions, e->values[3]) : NULL;
    if (s.groups)
        ls_group_norm(g, x, w, b, s.groups, s.frames, eps, s.act);
    else
        ls_layer_norm(g, x, w, b, eps, p, s.frames);
}

static void free_example(example *e)
{
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(e->values[i]);
    ls_graph_free(&e->graph);
}

static float *run(const example *e, const node_options *o)
{
    return node_run(node_of(e->graph),
                    e->s.groups ? ls_gpu_compile_group_norm : ls_gpu_compile_layer_norm,
                    (const float *const *)e->values, o);
}

static double activated(ls_act a, double x)
{
    return a == LS_ACT_SILU ? x / (1 + exp(-x)) : x;
}

/* The largest excess of the elements of `rows` rows from x on, in columns `from` to `to`, which are
 * normalised together. */
static double excess_of_set(const example *e, const float *y, size_t row, size_t rows, size_t from,
                            size_t to)
{
    const size_t c = e->s.c, image_rows = e->rows / e->s.n;
    const double count = (double)rows * (double)(to - from);
    double sum = 0, squares = 0, worst = 0;
    for (size_t r = row; r < row + rows; r++)
        for (size_t i = from; i < to; i++)
            sum += (double)e->values[0][r * c + i];
    const double mean = sum / count;
    for (size_t r = row; r < row + rows; r++)
        for (size_t i = from; i < to; i++)
            squares += pow((double)e->values[0][r * c + i] - mean, 2);
    const double scale = 1 / sqrt(squares / count + (double)eps);
    for (size_t r = row; r < row + rows; r++)
        for (size_t i = from; i < to; i++) {
            const double x = ((double)e->values[0][r * c + i] - mean) * scale;
            double right =
                activated(e->s.act, x * (double)e->values[1][i] + (double)e->values[2][i]);
            if (e->s.positions)
                right += (double)e->values[3][r / image_rows % e->s.frames * c + i];
            worst = fmax(worst, node_excess(y[r * c + i], right));
        }
    return worst;
}

static double excess(const example *e, const float *y)
{
    const shape *s = &e->s;
    const size_t sets = s->groups ? s->n / s->frames : e->rows, groups = s->groups ? s->groups : 1;
    const size_t rows = e->rows / sets, width = s->c / groups;
    double worst = 0;
    for (size_t i = 0; i < sets; i++)
        for (size_t g = 0; g < groups; g++)
            worst = fmax(worst, excess_of_set(e, y, i * rows, rows, g * width, (g + 1) * width));
    return worst;
}

/* Right, and the same in whatever order threads run. */
static void check(shape s)
{
    example e;
    make(&e, s);
    node_options o = {.emulator = {.threads = 2}};
    float *first = run(&e, &o);
    const double worst = excess(&e, first);
    if (!(worst < TOLERANCE))
        fail_msg("[%zu, %zu, %zu, %zu], %zu groups, %zu frames: error %g", s.n, s.h, s.w, s.c,
                 s.groups, s.frames, worst);
    for (o.emulator.seed = 1; o.emulator.seed < 3; o.emulator.seed++) {
        float *y = run(&e, &o);
        assert_memory_equal(y, first, e.count * sizeof *y);
        free(y);
    }
    free(first);
    free_example(&e);
}

static void test_group_norm(void **unused)
{
    (void)unused;
    static const shape shapes[] = {
        {2, 9, 7, 320, 32, 1, LS_ACT_SILU, false, 0, 1},
        {4, 4, 4, 1280, 32, 2, LS_ACT_SILU, false, 1, 3},
        {2, 3, 2, 1920, 32, 1, LS_ACT_NONE, false, 0, 1},
        {1, 2, 3, 2560, 32, 1, LS_ACT_SILU, false, -1, 2},
        {1, 33, 31, 128, 32, 1, LS_ACT_SILU, false, 0, 1},
        {2, 0, 77, 40, 8, 1, LS_ACT_NONE, false, 0, 1},
        {3, 5, 5, 13, 13, 3, LS_ACT_SILU, false, 0, 1},
        {1, 5, 7, 13, 1, 1, LS_ACT_NONE, false, 0, 1},
        {2, 6, 5, 26, 2, 2, LS_ACT_SILU, false, 0, 1},
        {1, 1, 1, 2048, 1, 1, LS_ACT_NONE, false, 0, 1},
        {1, 2, 2, 4094, 2, 1, LS_ACT_NONE, false, 0, 1},
        {1, 64, 65, 64, 2, 1, LS_ACT_NONE, false, 0, 1}, /* 64 slices */
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(shapes[i]);
}

/* A mean that is large beside the spread, and values that are all equal. */
static void test_cancellation(void **unused)
{
    (void)unused;
    static const shape shapes[] = {
        {1, 40, 40, 64, 4, 1, LS_ACT_SILU, false, 20, 0.1},
        {2, 40, 40, 64, 8, 1, LS_ACT_NONE, false, 1e4, 2}, /* two values */
        {2, 40, 40, 200, 0, 1, LS_ACT_NONE, false, 1e4, 2},
        {2, 9, 9, 40, 8, 2, LS_ACT_NONE, false, -20, 0.1},
        {1, 9, 9, 40, 8, 1, LS_ACT_NONE, false, 20, 0},
        {3, 3, 3, 320, 0, 1, LS_ACT_NONE, false, 20, 0.1},
        {1, 3, 3, 24, 0, 1, LS_ACT_NONE, false, -20, 0},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(shapes[i]);
}

static void test_layer_norm(void **unused)
{
    (void)unused;
    static const shape shapes[] = {
        {2, 3, 5, 320, 0, 1, LS_ACT_NONE, false, 0, 1},
        {4, 3, 3, 640, 0, 2, LS_ACT_NONE, true, 1, 2},
        {6, 0, 3, 1280, 0, 3, LS_ACT_NONE, true, 0, 1},
        {4, 0, 5, 13, 0, 4, LS_ACT_NONE, true, 0, 1},
        {1, 0, 9, 8, 0, 1, LS_ACT_NONE, false, 0, 1},
        {1, 0, 3, 257, 0, 1, LS_ACT_NONE, false, 0, 1},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        check(shapes[i]);
}

static void test_any_shape(void **unused)
{
    (void)unused;
    uint64_t seed = 7;
    for (int i = 0; i < 24; i++) {
        shape s = {.h = 1 + node_draw(&seed, 12), .w = 1 + node_draw(&seed, 12), .spread = 1};
        s.frames = 1 + node_draw(&seed, 3);
        s.n = s.frames * (1 + node_draw(&seed, 2));
        s.groups = node_draw(&seed, 9);
        s.c = (s.groups ? s.groups : 1) * (1 + node_draw(&seed, 24));
        s.act = s.groups && i % 2 ? LS_ACT_SILU : LS_ACT_NONE;
        s.positions = !s.groups;
        check(s);
    }
}

/* An image's results do not depend on what else is in the batch. */
static void test_batches(void **unused)
{
    (void)unused;
    for (int i = 0; i < 2; i++) {
        shape s = {6, 11, 9, 40, i ? 8 : 0, 2, LS_ACT_NONE, !i, 0, 1};
        example all;
        make(&all, s);
        s.n = 2;
        example one;
        make(&one, s);
        const node_options o = {.emulator = {.seed = 1}};
        float *y = run(&all, &o);
        for (size_t j = 0; j < 3; j++) {
            memcpy(one.values[0], all.values[0] + j * one.count, one.count * sizeof(float));
            float *part = run(&one, &o);
            assert_memory_equal(part, y + j * one.count, one.count * sizeof(float));
            free(part);
        }
        free(y);
        free_example(&all);
        free_example(&one);
    }
}

static void test_bad_values(void **unused)
{
    (void)unused;
    static const float values[] = {NAN, INFINITY, -INFINITY, 1e6f};
    static const node_options o = {.bad_expected = true};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++)
        for (int layer = 0; layer < 2; layer++) {
            example e;
            make(&e, (shape){1, 5, 7, 24, layer ? 0 : 3, 1, LS_ACT_SILU * !layer, false, 0, 1});
            if (values[i] == 1e6f) /* a weight; results overflow */
                e.values[1][17] = values[i];
            else
                e.values[0][e.count - 5] = values[i];
            free(run(&e, &o));
            free_example(&e);
        }
}

static void test_unsupported(void **unused)
{
    (void)unused;
    const size_t sizes[] = {1, 2, 2049};
    const float values[2049] = {0};
    for (int i = 0; i < 3; i++) {
        ls_graph *g = ls_graph_new(LS_F16, false);
        ls_param params[2];
        ls_tensor *x = ls_input(g, "x", i ? LS_F32 : LS_F16, 3, sizes);
        ls_tensor *w = node_weight(g, &params[0], 1, sizes + 2, values);
        ls_tensor *b = node_weight(g, &params[1], 1, sizes + 2, values);
        if (i == 2)
            ls_layer_norm(g, x, w, b, eps, NULL, 1);
        else
            ls_group_norm(g, x, w, b, i ? 3 : 1, 1, eps, LS_ACT_NONE);
        ls_kernel *k;
        size_t scratch;
        gpu_compile *compile = i == 2 ? ls_gpu_compile_layer_norm : ls_gpu_compile_group_norm;
        assert_int_equal(compile(NULL, node_of(g), &k, &scratch, NULL), LS_EUNSUPPORTED);
        assert_null(k);
        ls_graph_free(&g);
    }
}

static void test_mutations(void **unused)
{
    (void)unused;
    static const gpu_function mutated[] = {GPU_group_moments, GPU_group_apply};
    example e;
    make(&e, (shape){1, 20, 20, 160, 16, 1, LS_ACT_NONE, false, 0, 1});
    for (size_t i = 0; i < 2; i++)
        for (uint64_t seed = 0; seed < 3; seed++) {
            const node_options o = {.emulator = {.seed = seed, .mutation = EMULATOR_NO_BARRIER},
                                    .mutated = mutated[i],
                                    .bad_expected = true};
            float *y = run(&e, &o);
            assert_true(excess(&e, y) > TOLERANCE);
            free(y);
        }
    free_example(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_group_norm),  cmocka_unit_test(test_cancellation),
        cmocka_unit_test(test_layer_norm),  cmocka_unit_test(test_any_shape),
        cmocka_unit_test(test_batches),     cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_unsupported), cmocka_unit_test(test_mutations),
    };
    return cmocka_run_group_tests_name("cuda norm", tests, NULL, NULL);
}
