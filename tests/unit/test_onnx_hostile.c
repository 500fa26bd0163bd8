/* ONNX files that make no sense, or would take too much: each is refused by name and reason. And
 * what convolutions take in against the same nodes computed one by one. */
#include "onnx_builder.h"

#include "backend/plan.h"
#include "base/alloc.h"
#include "nn/onnx/onnx.h"
#include "store.h"

#include <math.h>

static int import_bytes(const void *data, size_t size, ls_error *err)
{
    ls_onnx *m;
    ls_onnx_import *im;
    ls_onnx_input in = {.name = "x", .ndim = 4};
    memcpy(in.shape, picture, sizeof picture);
    *err = (ls_error){0};
    int ret = ls_onnx_open_memory(&m, "bad.onnx", data, size, err);
    if (ret)
        return ret;
    ls_graph *g = ls_graph_new(LS_F32, false);
    ret = ls_onnx_import_graph(&im, g, m, &in, 1, err);
    if (!ret) {
        ls_store *st;
        ls_plan *plan = NULL;
        assert_int_equal(test_store_open(&st, "ref", 1, NULL), 0);
        if (ls_graph_node_count(g))
            assert_int_equal(ls_plan_compile(&plan, &g, st, NULL), 0);
        ls_plan_close(&plan);
        test_store_close(&st);
        ls_onnx_import_free(&im);
    }
    ls_graph_free(&g);
    ls_onnx_close(&m);
    return ret;
}

/* With LS_FUZZ_SEEDS, the folder that gets every network of these tests as a seed for the fuzzer.
 */
static void save_seed(const uint8_t *data, size_t size)
{
    static int count;
    char path[4096];
    const char *dir = getenv("LS_FUZZ_SEEDS");
    if (!dir)
        return;
    snprintf(path, sizeof path, "%s/%02d.onnx", dir, count++);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(data, 1, size, f);
    fclose(f);
}

/* Frees the builder. The message names `word`. */
static void expect(builder *b, int code, const char *word)
{
    ls_error err;
    size_t size;
    uint8_t *data = pack(b, &size);
    save_seed(data, size);
    int ret = import_bytes(data, size, &err);
    if (ret != code || (code && !strstr(err.message, word)))
        fail_msg("%d (%s), not %d with \"%s\"", ret, err.message, code, word);
    if (code)
        print_message("# %s\n", err.message);
    free(data);
    free(b);
}

static float weights[2048];

static int64_t conv_dims[] = {4, 2, 3, 3};

static builder *with_conv(void)
{
    builder *b = with_picture();
    floats(b, "w", 4, conv_dims, 72, weights);
    node(b, "Conv", "x w", "y");
    output(b, "y");
    return b;
}

static void damaged_files(void **state)
{
    (void)state;
    ls_error err;
    size_t size;
    builder *b = with_conv();
    node(b, "Relu", "y", "z");
    output(b, "z");
    uint8_t *data = pack(b, &size);
    assert_int_equal(import_bytes(data, size, &err), 0);
    for (size_t n = 0; n < size; n++) {
        uint8_t *part = malloc(n ? n : 1); /* of its own size, so that a sanitizer sees its end */
        memcpy(part, data, n);
        if (import_bytes(part, n, &err)) /* the operator set, which comes last, may be missing */
            assert_non_null(strstr(err.message, "bad.onnx"));
        else
            assert_true(n + 4 >= size);
        free(part);
    }
    uint64_t seed = 1;
    for (size_t i = 0; i < 20000; i++) { /* one byte changed */
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t at = (seed >> 33) % size;
        uint8_t old = data[at];
        data[at] = (uint8_t)(seed >> 20);
        import_bytes(data, size, &err);
        data[at] = old;
    }
    free(data);
    free(b);
    assert_int_equal(import_bytes("junk", 4, &err), LS_EFORMAT);
}

static void tensors(void **state)
{
    (void)state;
    int64_t huge[] = {INT64_C(1) << 62, 2, 3, 3}, product[] = {1 << 20, 1 << 20, 1 << 20, 16};
    int64_t negative[] = {4, -2, 3, 3}, three[] = {2, 2, 2};
    builder *b = with_conv();
    b->tensor[0].dims = huge;
    expect(b, LS_EFORMAT, "\"w\"");
    b = with_conv();
    b->tensor[0].dims = product;
    expect(b, LS_EFORMAT, "\"w\" has 72 values");
    b = with_conv();
    b->tensor[0].dims = negative;
    expect(b, LS_EFORMAT, "dimension of -2");
    b = with_conv();
    b->tensor[0].n_float_data = 71;
    expect(b, LS_EFORMAT, "has 71 values; its shape requires 72");
    b = with_conv();
    b->tensor[0].has_raw_data = true;
    b->tensor[0].raw_data = (ProtobufCBinaryData){289, (uint8_t *)weights};
    expect(b, LS_EFORMAT, "\"w\"");
    b = with_conv();
    b->tensor[0].data_type = 7;
    expect(b, LS_EFORMAT, "has 0 values");
    b = with_conv();
    b->tensor[0].data_type = 8;
    expect(b, LS_EUNSUPPORTED, "type 8");
    b = with_conv();
    b->tensor[0].data_type = -1;
    expect(b, LS_EUNSUPPORTED, "type -1");
    b = with_conv();
    b->tensor[0].has_data_location = true;
    b->tensor[0].data_location = 1;
    expect(b, LS_EUNSUPPORTED, "another file");
    b = with_conv();
    b->tensor[0].n_dims = 3;
    b->tensor[0].dims = three;
    b->tensor[0].n_float_data = 8;
    expect(b, LS_EFORMAT, "3 dimensions");
    b = with_conv();
    floats(b, "w", 4, conv_dims, 72, weights);
    expect(b, LS_EFORMAT, "twice");
}

static void graphs(void **state)
{
    (void)state;
    builder *b = with_picture();
    node(b, "Add", "x c", "a");
    node(b, "Relu", "a", "c");
    output(b, "c");
    expect(b, LS_EFORMAT, "cycle");
    b = with_picture();
    node(b, "Add", "x a", "a");
    output(b, "a");
    expect(b, LS_EFORMAT, "\"a\" is used before it is computed");
    b = with_conv();
    node(b, "Relu", "x", "y");
    expect(b, LS_EFORMAT, "computed twice");
    b = with_conv();
    output(b, "nothing");
    expect(b, LS_EFORMAT, "\"nothing\" is not computed");
    b = with_conv();
    node(b, "Softmax", "y", "z");
    output(b, "z");
    expect(b, LS_EUNSUPPORTED, "node \"n1\" (Softmax)");
    b = with_conv();
    node(b, "Relu", "y", "z")->domain = keep(b, "com.example");
    output(b, "z");
    expect(b, LS_EUNSUPPORTED, "com.example");
    b = with_conv();
    b->opset.version = 99;
    expect(b, LS_EUNSUPPORTED, "operator set 99");
    b = with_conv();
    b->node[0].op_type = NULL;
    expect(b, LS_EFORMAT, "without an operator");
    b = with_conv();
    b->node[0].n_output = 0;
    expect(b, LS_EFORMAT, "no output");
    b = with_conv();
    b->node[0].n_input = 0;
    expect(b, LS_EFORMAT, "no input");
    b = with_conv();
    b->names[0][0] = keep(b, "");
    expect(b, LS_EFORMAT, "input 0");
    b = with_conv();
    b->graph.n_output = 0;
    expect(b, LS_EFORMAT, "no graph");
    b = with_conv();
    describe(b, b->inputs, &b->graph.n_input, "more");
    node(b, "Relu", "more", "z");
    output(b, "z");
    expect(b, LS_EFORMAT, "\"more\"");
    b = with_conv();
    b->elem[0].elem_type = 7;
    expect(b, LS_EFORMAT, "\"x\"");
    b = with_conv();
    node(b, "Relu", "w", "z");
    node(b, "Conv", "x z", "q");
    output(b, "q");
    expect(b, LS_EUNSUPPORTED, "constant input");
}

static void windows(void **state)
{
    (void)state;
    int64_t zero[] = {0, 0}, two[] = {2, 2}, minus[] = {-1, 0, 0, 0}, far[] = {1 << 20, 1 << 20};
    int64_t large[] = {7, 7}, one[] = {1}, pads[] = {4, 4, 4, 4};
    const struct {
        const char *name, *word;
        size_t n;
        int64_t *v;
        int code;
    } cases[] = {{"strides", "stride", 2, zero, LS_EFORMAT},
                 {"strides", "1048576", 2, far, LS_EFORMAT},
                 {"strides", "1 numbers", 1, one, LS_EUNSUPPORTED},
                 {"pads", "-1", 4, minus, LS_EFORMAT},
                 {"dilations", "dilations", 2, two, LS_EUNSUPPORTED},
                 {"kernel_shape", "kernel", 2, two, LS_EFORMAT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        builder *b = with_conv();
        attr_ints(b, cases[i].name, cases[i].n, cases[i].v);
        expect(b, cases[i].code, cases[i].word);
    }
    for (int64_t group = -1; group < 7; group++) {
        builder *b = with_conv();
        attr_int(b, "group", group);
        expect(b, group == 1 ? 0 : LS_EFORMAT, "");
    }
    builder *b = with_conv();
    attr_text(b, "auto_pad", "SAME_UPPER");
    expect(b, LS_EUNSUPPORTED, "auto_pad");
    b = with_picture();
    node(b, "MaxPool", "x", "y");
    attr_ints(b, "kernel_shape", 2, large);
    output(b, "y");
    expect(b, LS_EFORMAT, "larger than the padded image");
    b = with_picture(); /* windows that hold nothing but padding */
    node(b, "MaxPool", "x", "y");
    attr_ints(b, "kernel_shape", 2, two);
    attr_ints(b, "pads", 4, pads);
    output(b, "y");
    expect(b, LS_EFORMAT, "pool");
}

static void shapes(void **state)
{
    (void)state;
    int64_t two_open[] = {-1, -1}, odd[] = {5, -1}, nine[] = {1, 1, 1, 1, 1, 1, 1, 1, 96};
    int64_t minus[] = {-3}, none[] = {0}, least[] = {INT64_MIN}, end[] = {3}, axis[] = {3};
    int64_t repeat[] = {0, 1, 1, 3}, negative[] = {0, 1, 2, -1}, far[] = {6}, same[] = {1, 1};
    const struct {
        const char *op, *word;
        size_t n;
        int64_t *v;
        int code;
    } lists[] = {{"Reshape", "-1", 2, two_open, LS_EFORMAT},
                 {"Reshape", "", 2, odd, LS_EFORMAT},
                 {"Reshape", "9 dimensions", 9, nine, LS_EFORMAT},
                 {"Reshape", "-3", 1, minus, LS_EFORMAT},
                 {"Squeeze", "", 1, axis, LS_EFORMAT},
                 {"Squeeze", "dimension 6 is out of range", 1, far, LS_EFORMAT},
                 {"Unsqueeze", "twice", 2, same, LS_EFORMAT},
                 {"Gather", "index 6 of 1", 1, far, LS_EFORMAT}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        builder *b = with_picture();
        ints(b, "list", lists[i].n, lists[i].v);
        node(b, lists[i].op, "x list", "y");
        output(b, "y");
        expect(b, lists[i].code, lists[i].word);
    }
    for (int i = 0; i < 2; i++) {
        builder *b = with_picture();
        node(b, "Transpose", "x", "y");
        attr_ints(b, "perm", 4, i ? repeat : negative);
        output(b, "y");
        expect(b, LS_EFORMAT, "perm");
    }
    for (int i = 0; i < 3; i++) { /* steps of 0 and of -2^63, an empty slice */
        builder *b = with_picture();
        ints(b, "starts", 1, none);
        ints(b, "ends", 1, i == 2 ? none : end);
        ints(b, "axes", 1, axis);
        ints(b, "steps", 1, i == 1 ? least : i == 2 ? same : none);
        node(b, "Slice", "x starts ends axes steps", "y");
        output(b, "y");
        expect(b, i == 2 ? LS_EUNSUPPORTED : LS_EFORMAT, i == 2 ? "empty" : "step");
    }
    builder *b = with_conv();
    node(b, "Concat", "x y", "z");
    attr_int(b, "axis", 2);
    output(b, "z");
    expect(b, LS_EFORMAT, "does not fit the first");
    b = with_picture();
    node(b, "Concat", "x x", "z");
    attr_int(b, "axis", 4);
    output(b, "z");
    expect(b, LS_EFORMAT, "dimension 4 is out of range");
    b = with_conv();
    node(b, "Add", "x y", "z");
    output(b, "z");
    expect(b, LS_EFORMAT, "binary");
    b = with_picture();
    int64_t three[] = {3};
    for (int i = 0; i < 4; i++)
        floats(b, (char[]){(char)('a' + i), 0}, 1, three, 3, weights);
    node(b, "BatchNormalization", "x a b c d", "z");
    output(b, "z");
    expect(b, LS_EFORMAT, "3 values for 2 channels");
    for (int i = 0; i < 4; i++) {
        float scales[] = {1, 1, i == 0 ? 0 : i == 1 ? 1e9f : i == 2 ? NAN : -1, 1};
        int64_t four[] = {4};
        b = with_picture();
        floats(b, "scales", 1, four, 4, scales);
        node(b, "Resize", "x - scales", "z");
        attr_text(b, "mode", "nearest");
        output(b, "z");
        expect(b, LS_EFORMAT, "the size ");
    }
    b = with_picture();
    float far_number = 1e30f;
    floats(b, "far", 0, NULL, 1, &far_number);
    node(b, "Cast", "far", "z");
    attr_int(b, "to", 7);
    output(b, "z");
    expect(b, LS_EFORMAT, "is not an integer");
}

/* Few bytes that ask for much memory. */
static void too_much(void **state)
{
    (void)state;
    float scales[] = {1, 1, 10000, 8000};
    int64_t four[] = {4};
    builder *b = with_picture();
    floats(b, "scales", 1, four, 4, scales);
    node(b, "Resize", "x - scales", "z");
    output(b, "z");
    expect(b, LS_EFORMAT, "in all");
    b = with_picture(); /* 16 times as large at each step */
    scales[2] = scales[3] = 4;
    floats(b, "scales", 1, four, 4, scales);
    for (int i = 0; i < 11; i++)
        node(
            b, "Resize",
            (char[]){i ? (char)('a' + i - 1) : 'x', ' ', '-', ' ', 's', 'c', 'a', 'l', 'e', 's', 0},
            (char[]){(char)('a' + i), 0});
    output(b, "k");
    expect(b, LS_EFORMAT, "in all");
    /* a weight of 8 MB for a million channels */
    const size_t n = 2 << 20;
    float *w = calloc(n, sizeof *w);
    int64_t dims[] = {1 << 20, 2, 1, 1};
    b = with_picture();
    floats(b, "w", 4, dims, n, w);
    for (int i = 0; i < 15; i++)
        node(b, "Conv", "x w", (char[]){(char)('a' + i), 0});
    output(b, "a");
    expect(b, LS_EFORMAT, "in all");
    free(w);
}

/* x through a convolution, its normalisation, a scale, an addition of x and an activation: computed
 * with as much as possible taken in, and with every step an output, which keeps them apart. */
static void fused(bool apart, size_t which, float *result, size_t count)
{
    static float w[72], s[2] = {1.5f, -0.5f}, t[2] = {0.25f, 1}, mean[2] = {0.1f, -0.2f},
                        var[2] = {0.7f, 1.3f}, scale = 0.75f, slope[2] = {0.2f, -0.3f};
    int64_t dims[] = {2, 2, 3, 3}, two[] = {2}, wide[] = {2, 1, 1}, pads[] = {1, 1, 1, 1};
    for (size_t i = 0; i < 36; i++)
        w[i] = sinf((float)i * 1.7f) * 0.4f;
    builder *b = with_picture();
    floats(b, "w", 4, dims, 36, w);
    floats(b, "s", 1, two, 2, s);
    floats(b, "t", 1, two, 2, t);
    floats(b, "mean", 1, two, 2, mean);
    floats(b, "var", 1, two, 2, var);
    floats(b, "scale", 0, NULL, 1, &scale);
    floats(b, "slope", 3, wide, 2, slope);
    static const struct {
        const char *op, *inputs; /* beside the one before */
    } steps[][4] = {{{"BatchNormalization", "%s s t mean var"}, {"PRelu", "%s slope"}},
                    {{"Mul", "%s scale"}, {"Add", "%s x"}, {"Relu", "%s"}},
                    {{"Relu", "%s"}, {"Add", "x %s"}, {"Sigmoid", "%s"}},
                    {{"Add", "x %s"}, {"Relu", "%s"}, {"Mul", "scale %s"}},
                    {{"BatchNormalization", "%s s t mean var"}, {"Sigmoid", "%s"}, {"Add", "%s x"}},
                    {{"Sub", "x %s"}, {"Relu", "%s"}}};
    node(b, "Conv", "x w", "0");
    attr_ints(b, "pads", 4, pads);
    char last[2] = "0";
    for (size_t i = 0; i < 4 && steps[which][i].op; i++) {
        char inputs[64];
        snprintf(inputs, sizeof inputs, steps[which][i].inputs, last);
        if (apart)
            output(b, last);
        ++*last;
        node(b, steps[which][i].op, inputs, last);
    }
    output(b, last);
    size_t size;
    uint8_t *data = pack(b, &size);
    ls_error err = {0};
    ls_onnx *m;
    ls_onnx_import *im;
    ls_store *st;
    ls_plan *plan;
    ls_graph *g = ls_graph_new(LS_F32, false);
    ls_onnx_input in = {.name = "x", .ndim = 4};
    memcpy(in.shape, picture, sizeof picture);
    save_seed(data, size);
    if (ls_onnx_open_memory(&m, "fused", data, size, &err) ||
        ls_onnx_import_graph(&im, g, m, &in, 1, &err) ||
        test_store_open(&st, apart ? "ref" : "onednn", 2, &err) ||
        ls_plan_compile(&plan, &g, st, &err))
        fail_msg("%s", err.message);
    float x[96], rest[4][96];
    for (size_t i = 0; i < 96; i++)
        x[i] = cosf((float)i * 2.3f);
    const ls_onnx_output *o;
    size_t outputs = ls_onnx_import_outputs(im, &o);
    ls_binding bindings[6] = {{"x", x, sizeof x}};
    for (size_t i = 0; i < outputs; i++)
        bindings[i + 1] = (ls_binding){o[i].name, i + 1 == outputs ? result : rest[i], sizeof x};
    assert_int_equal(count, 96);
    void *arena = ls_aligned_alloc(LS_MEM_OTHER, ls_plan_arena_bytes(plan) + 1);
    if (ls_plan_run(plan, arena, bindings, outputs + 1, NULL, &err))
        fail_msg("%s", err.message);
    ls_aligned_free(arena);
    ls_plan_close(&plan);
    test_store_close(&st);
    ls_onnx_import_free(&im);
    ls_onnx_close(&m);
    free(data);
    free(b);
}

static void what_convolutions_take_in(void **state)
{
    (void)state;
    for (size_t which = 0; which < 6; which++) {
        float one[96], other[96];
        fused(false, which, one, 96);
        fused(true, which, other, 96);
        for (size_t i = 0; i < 96; i++)
            if (!(fabsf(one[i] - other[i]) <= 1e-5f))
                fail_msg("case %zu, value %zu: %g, not %g", which, i, one[i], other[i]);
    }
}

/* What is odd but makes sense. */
static void odd_networks(void **state)
{
    (void)state;
    int64_t one[] = {1};
    builder *b = with_picture(); /* an input as an output */
    node(b, "Identity", "x", "y");
    output(b, "y");
    expect(b, 0, "");
    b = with_conv(); /* the same value twice */
    node(b, "Identity", "y", "z");
    output(b, "z");
    expect(b, 0, "");
    b = with_picture(); /* nothing but a constant */
    ints(b, "list", 1, one);
    node(b, "Identity", "list", "y");
    output(b, "y");
    expect(b, 0, "");
    b = with_conv(); /* no names */
    b->node[0].name = NULL;
    expect(b, 0, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(damaged_files), cmocka_unit_test(tensors),
        cmocka_unit_test(graphs),        cmocka_unit_test(windows),
        cmocka_unit_test(shapes),        cmocka_unit_test(too_much),
        cmocka_unit_test(odd_networks),  cmocka_unit_test(what_convolutions_take_in),
    };
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = (float)(i % 7) - 3;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
