/* Each operator of the importer against its definition, an element at a time, on both devices. */
#include "onnx_builder.h"

#include "backend/plan.h"
#include "base/alloc.h"
#include "nn/onnx/onnx.h"
#include "store.h"

#include <math.h>

enum { C = 2, H = 6, W = 8, VALUES = C * H * W };

static float x[VALUES], weights[4 * C * 9], full[3 * VALUES];
static float two[] = {0.5f, -2}, more[] = {3, 0.25f}, var[] = {0.3f, 2}, row[W];

static double at(size_t c, size_t h, size_t w)
{
    return x[(c * H + h) * W + w];
}

/* Zero outside, where h and w have wrapped around too. */
static double padded(size_t c, size_t h, size_t w)
{
    return h < H && w < W ? at(c, h, w) : 0;
}

static double relu(size_t i)
{
    return fmax(x[i], 0);
}

static double sigmoid(size_t i)
{
    return 1 / (1 + exp(-(double)x[i]));
}

static double add(size_t i)
{
    return (double)x[i] + two[i / (H * W)];
}

static double sub(size_t i)
{
    return (double)two[i / (H * W)] - x[i];
}

static double mul(size_t i)
{
    return (double)x[i] * row[i % W];
}

static double prelu(size_t i)
{
    return x[i] > 0 ? (double)x[i] : (double)x[i] * two[i / (H * W)];
}

static double batch_norm(size_t i)
{
    const size_t c = i / (H * W);
    return ((double)x[i] - row[c]) / sqrt(var[c] + 1e-5) * two[c] + more[c];
}

/* Stride 2, one row of padding above and one column on the right: [4, 3, 4]. */
static double conv(size_t i)
{
    const size_t o = i / 12, h = i / 4 % 3 * 2, w = i % 4 * 2;
    double sum = o % 2;
    for (size_t k = 0; k < C * 9; k++)
        sum += weights[o * C * 9 + k] * padded(k / 9, h + k / 3 % 3 - 1, w + k % 3);
    return sum;
}

static double depthwise(size_t i)
{
    const size_t c = i / (H * W), h = i / W % H, w = i % W;
    double sum = 0;
    for (size_t k = 0; k < 9; k++)
        sum += weights[c * 9 + k] * padded(c, h + k / 3 - 1, w + k % 3 - 1);
    return sum;
}

/* Over windows of 3 x 3 at every second place, those at the edges smaller: [2, 3, 4]. */
static double window(size_t i, bool mean)
{
    double most = -INFINITY, sum = 0;
    int n = 0;
    for (size_t k = 0; k < 9; k++) {
        const size_t h = i / 4 % 3 * 2 + k / 3 - 1, w = i % 4 * 2 + k % 3 - 1;
        if (h < H && w < W) {
            most = fmax(most, at(i / 12, h, w));
            sum += at(i / 12, h, w);
            n++;
        }
    }
    return mean ? sum / n : most;
}

static double max_pool(size_t i)
{
    return window(i, false);
}

static double average_pool(size_t i)
{
    return window(i, true);
}

static double global_average(size_t i)
{
    double sum = 0;
    for (size_t k = 0; k < H * W; k++)
        sum += x[i * H * W + k];
    return sum / (H * W);
}

static double twice(size_t i)
{
    return x[i % VALUES];
}

static double same(size_t i)
{
    return x[i];
}

static double transposed(size_t i)
{
    return at(i % C, i / C / W, i / C % W);
}

static double sliced(size_t i)
{
    return at(i / 3 / H, i / 3 % H, 1 + i % 3 * 2);
}

static double gathered(size_t i)
{
    return at(1 - i / (H * W), i / W % H, i % W);
}

static double gemm(size_t i)
{
    double sum = row[i];
    for (size_t k = 0; k < VALUES; k++)
        sum += (double)full[i * VALUES + k] * x[k];
    return sum;
}

static double enlarged(size_t i)
{
    return at(i / (4 * H * W), i / (2 * W) % (2 * H) / 2, i % (2 * W) / 2);
}

static const struct op {
    const char *op, *inputs; /* after the picture "x" */
    double (*want)(size_t i);
    size_t count;
} ops[] = {
    {"Relu", "x", relu, VALUES},
    {"Sigmoid", "x", sigmoid, VALUES},
    {"Add", "x two", add, VALUES},
    {"Sub", "two x", sub, VALUES},
    {"Mul", "x row", mul, VALUES},
    {"PRelu", "x two", prelu, VALUES},
    {"BatchNormalization", "x scale more row2 var", batch_norm, VALUES},
    {"Conv", "x w odd", conv, 4 * 3 * 4},
    {"Conv", "x deep", depthwise, VALUES},
    {"MaxPool", "x", max_pool, C * 3 * 4},
    {"AveragePool", "x", average_pool, C * 3 * 4},
    {"GlobalAveragePool", "x", global_average, C},
    {"Concat", "x x", twice, 2 * VALUES},
    {"Flatten", "x", same, VALUES},
    {"Reshape", "x shape", same, VALUES},
    {"Transpose", "x", transposed, VALUES},
    {"Slice", "x from to axis step", sliced, C *H * 3},
    {"Gather", "x order", gathered, VALUES},
    {"Gemm", "flat full row3", gemm, 3},
    {"Resize", "x - larger", enlarged, 4 * VALUES},
    {"Unsqueeze", "flat axis0", same, VALUES},
};

/* What the operators have beside the picture. */
static void constants(builder *b)
{
    static int64_t channel[] = {C, 1, 1}, list[] = {C}, of_row[] = {W}, conv_dims[] = {4, C, 3, 3},
                   deep_dims[] = {C, 1, 3, 3}, full_dims[] = {3, VALUES}, of_three[] = {3},
                   of_four[] = {4};
    static int64_t shape[] = {1, 4, 3, 8}, from[] = {1}, to[] = {7}, axis[] = {3}, step[] = {2},
                   order[] = {1, 0}, axis0[] = {0};
    static float odd[] = {0, 1, 0, 1}, larger[] = {1, 1, 2, 2};
    floats(b, "two", 3, channel, C, two);
    floats(b, "scale", 1, list, C, two);
    floats(b, "more", 1, list, C, more);
    floats(b, "row2", 1, list, C, row);
    floats(b, "var", 1, list, C, var);
    floats(b, "row", 1, of_row, W, row);
    floats(b, "row3", 1, of_three, 3, row);
    floats(b, "w", 4, conv_dims, 4 * C * 9, weights);
    floats(b, "odd", 1, of_four, 4, odd);
    floats(b, "deep", 4, deep_dims, C * 9, weights);
    floats(b, "full", 2, full_dims, 3 * VALUES, full);
    floats(b, "larger", 1, of_four, 4, larger);
    ints(b, "shape", 4, shape);
    ints(b, "from", 1, from);
    ints(b, "to", 1, to);
    ints(b, "axis", 1, axis);
    ints(b, "step", 1, step);
    ints(b, "order", 2, order);
    ints(b, "axis0", 1, axis0);
}

static void attributes(builder *b, const struct op *o)
{
    static int64_t corner[] = {1, 0, 0, 1}, around[] = {1, 1, 1, 1}, by_two[] = {2, 2},
                   three[] = {3, 3}, perm[] = {0, 2, 3, 1};
    if (o->want == conv) {
        attr_ints(b, "pads", 4, corner);
        attr_ints(b, "strides", 2, by_two);
    } else if (o->want == depthwise) {
        attr_ints(b, "pads", 4, around);
        attr_int(b, "group", C);
    } else if (strstr(o->op, "xPool") || !strcmp(o->op, "AveragePool")) {
        attr_ints(b, "kernel_shape", 2, three);
        attr_ints(b, "pads", 4, around);
        attr_ints(b, "strides", 2, by_two);
    } else if (!strcmp(o->op, "Concat") || !strcmp(o->op, "Gather")) {
        attr_int(b, "axis", 1);
    } else if (!strcmp(o->op, "Transpose")) {
        attr_ints(b, "perm", 4, perm);
    } else if (!strcmp(o->op, "Gemm")) {
        attr_int(b, "transB", 1);
    } else if (!strcmp(o->op, "Resize")) {
        attr_text(b, "mode", "nearest");
        attr_text(b, "coordinate_transformation_mode", "asymmetric");
        attr_text(b, "nearest_mode", "floor");
    }
}

static void run(const struct op *o, const char *device)
{
    builder *b = with_picture();
    ls_error err = {0};
    ls_onnx *m;
    ls_onnx_import *im;
    ls_store *st;
    ls_plan *plan;
    ls_graph *g = ls_graph_new(LS_F32, false);
    const ls_onnx_input in = {.name = "x", .ndim = 4, .shape = {1, C, H, W}};
    const ls_onnx_output *out;
    float y[4 * VALUES];
    size_t size, count = 1;
    constants(b);
    if (strstr(o->inputs, "flat"))
        node(b, "Flatten", "x", "flat");
    node(b, o->op, o->inputs, "y");
    attributes(b, o);
    output(b, "y");
    uint8_t *data = pack(b, &size);
    if (ls_onnx_open_memory(&m, o->op, data, size, &err) ||
        ls_onnx_import_graph(&im, g, m, &in, 1, &err) || test_store_open(&st, device, 2, &err) ||
        ls_plan_compile(&plan, &g, st, &err))
        fail_msg("%s: %s", o->op, err.message);
    assert_int_equal(ls_onnx_import_outputs(im, &out), 1);
    for (size_t d = 0; d < out->ndim; d++)
        count *= out->shape[d];
    assert_int_equal(count, o->count);
    const ls_binding bindings[] = {{"x", x, sizeof x}, {"y", y, count * sizeof *y}};
    void *arena = ls_aligned_alloc(LS_MEM_NN, ls_plan_arena_bytes(plan) + 1);
    if (ls_plan_run(plan, arena, bindings, 2, NULL, &err))
        fail_msg("%s: %s", o->op, err.message);
    for (size_t i = 0; i < count; i++)
        if (!(fabs((double)y[i] - o->want(i)) <= 1e-5 + 1e-5 * fabs(o->want(i))))
            fail_msg("%s, %s: value %zu is %g, not %g", o->op, device, i, (double)y[i], o->want(i));
    ls_aligned_free(arena);
    ls_plan_close(&plan);
    test_store_close(&st);
    ls_onnx_import_free(&im);
    ls_onnx_close(&m);
    free(data);
    free(b);
}

static void operators_compute_their_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ops / sizeof *ops; i++) {
        run(&ops[i], "ref");
        run(&ops[i], "onednn");
    }
}

static void an_unsupported_option_is_named(void **state)
{
    (void)state;
    builder *b = with_picture();
    ls_error err = {0};
    ls_onnx *m;
    ls_onnx_import *im;
    ls_graph *g = ls_graph_new(LS_F32, false);
    const ls_onnx_input in = {.name = "x", .ndim = 4, .shape = {1, C, H, W}};
    size_t size;
    constants(b);
    node(b, "Resize", "x - larger", "y");
    attr_text(b, "mode", "linear");
    output(b, "y");
    uint8_t *data = pack(b, &size);
    assert_int_equal(ls_onnx_open_memory(&m, "linear", data, size, &err), 0);
    assert_int_equal(ls_onnx_import_graph(&im, g, m, &in, 1, &err), LS_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "(Resize): modes other than nearest"));
    ls_graph_free(&g);
    ls_onnx_close(&m);
    free(data);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_compute_their_definition),
        cmocka_unit_test(an_unsupported_option_is_named),
    };
    for (size_t i = 0; i < VALUES; i++)
        x[i] = cosf((float)i * 2.3f) * 3;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = (float)(i % 7) - 3;
    for (size_t i = 0; i < sizeof full / sizeof *full; i++)
        full[i] = (float)(i % 5) / 4 - 0.5f;
    for (size_t i = 0; i < W; i++)
        row[i] = (float)i - 2.5f;
    return cmocka_run_group_tests_name("onnx_ops", tests, NULL, NULL);
}
