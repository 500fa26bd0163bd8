/* Memory that runs out anywhere in the import of an ONNX network is an error, never another
 * network. Linked with every allocation going through the functions below. */
#include "onnx_builder.h"

#include "nn/onnx/onnx.h"

static long left = -1; /* allocations until one fails; negative: none does */
static bool failed;

static bool fails(void)
{
    if (left < 0 || left-- > 0)
        return false;
    failed = true;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
    return fails() ? NULL : __real_strdup(s);
}

static int import(const uint8_t *data, size_t size, const ls_onnx_input *in, ls_error *err)
{
    ls_onnx *m = NULL;
    ls_onnx_import *im = NULL;
    ls_graph *g = ls_graph_new(LS_F32, false);
    int ret = g ? ls_onnx_open_memory(&m, "net.onnx", data, size, err) : LS_ENOMEM;
    if (!ret)
        ret = ls_onnx_import_graph(&im, g, m, in, 1, err);
    ls_onnx_import_free(&im);
    ls_graph_free(&g);
    ls_onnx_close(&m);
    return ret;
}

/* Fails each allocation in turn. */
static void starve(const char *name, const uint8_t *data, size_t size, const ls_onnx_input *in)
{
    long n = 0;
    failed = true;
    for (; failed; n++) {
        ls_error err = {0};
        failed = false;
        left = n;
        const int ret = import(data, size, in, &err);
        left = -1;
        if (ret != (failed ? LS_ENOMEM : 0))
            fail_msg("%s: allocation %ld fails: %d (%s)", name, n, ret, err.message);
    }
    print_message("# %s: %ld allocations\n", name, n - 1);
    assert_true(n > 30);
}

static void a_detector(void **state)
{
    (void)state;
    char path[4096];
    FILE *f = fopen(test_data(path, "../../models/mini/face/drawn.onnx"), "rb");
    static uint8_t data[1 << 20];
    assert_non_null(f);
    const size_t size = fread(data, 1, sizeof data, f);
    fclose(f);
    ls_onnx *m;
    assert_int_equal(ls_onnx_open_memory(&m, "drawn.onnx", data, size, NULL), 0);
    ls_onnx_input in = {.ndim = 4, .shape = {1, 3, 64, 64}, .channels_last = true};
    char name[64];
    const LsOnnx__ValueInfoProto *input = ls_onnx_get_graph(m)->input[0];
    snprintf(name, sizeof name, "%s", input->name);
    in.name = name;
    for (size_t i = 2; i < 4; i++)
        if (input->type->tensor_type->shape->dim[i]->has_dim_value)
            in.shape[i] = (size_t)input->type->tensor_type->shape->dim[i]->dim_value;
    ls_onnx_close(&m);
    starve("drawn.onnx", data, size, &in);
}

static float weights[4096];

/* What a detector has none of: a convolution that takes in what follows, Gemm with its options, a
 * normalisation on its own. */
static void other_operators(void **state)
{
    (void)state;
    static int64_t conv[] = {4, 2, 3, 3}, four[] = {4}, gemm[] = {3, 64}, three[] = {3},
                   flat[] = {-1, 1}, pads[] = {1, 1, 1, 1}, pictures[] = {1, 4, 1, 1};
    builder *b = with_picture();
    size_t size;
    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++)
        weights[i] = 1 + (float)(i % 7);
    floats(b, "w", 4, conv, 72, weights);
    floats(b, "bias", 1, four, 4, weights);
    floats(b, "scale", 1, four, 4, weights);
    floats(b, "slope", 4, pictures, 4, weights);
    node(b, "Conv", "x w bias", "c");
    attr_ints(b, "pads", 4, pads);
    node(b, "BatchNormalization", "c scale bias bias scale", "n");
    node(b, "PRelu", "n slope", "p");
    node(b, "BatchNormalization", "p scale bias bias scale", "q");
    node(b, "GlobalAveragePool", "q", "g");
    ints(b, "flat", 2, flat);
    node(b, "Reshape", "g flat", "f");
    floats(b, "m", 2, gemm, 12, weights);
    gemm[1] = 4;
    floats(b, "mb", 1, three, 3, weights);
    node(b, "Gemm", "f m mb", "y");
    attr_int(b, "transA", 1);
    attr_int(b, "transB", 1);
    output(b, "y");
    output(b, "c");
    uint8_t *data = pack(b, &size);
    ls_onnx_input in = {.name = "x", .ndim = 4};
    memcpy(in.shape, picture, sizeof picture);
    starve("other operators", data, size, &in);
    free(data);
    free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_detector),
                                       cmocka_unit_test(other_operators)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
