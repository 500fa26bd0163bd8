/* The ONNX importer against the test cases of the ONNX project, against ONNX Runtime's outputs of
 * real networks, and against files that make no sense. */
#include "test.h"

#include "backend/plan.h"
#include "base/alloc.h"
#include "nn/onnx/onnx.h"
#include "store.h"

#include <dirent.h>
#include <math.h>

static bool read_tensor(const char *path, ls_onnx_value *v, char name[64])
{
    ls_error err = {0};
    size_t size;
    void *data = test_read(path, &size);
    if (!data)
        return false;
    LsOnnx__TensorProto *t = ls_onnx__tensor_proto__unpack(NULL, size, data);
    assert_non_null(t);
    if (ls_onnx_read_tensor(v, t, &err))
        fail_msg("%s: %s", path, err.message);
    snprintf(name, 64, "%s", t->name ? t->name : "");
    ls_onnx__tensor_proto__free_unpacked(t, NULL);
    free(data);
    return true;
}

static void expect_values(const char *what, const ls_onnx_value *have, const ls_onnx_value *want)
{
    assert_int_equal(have->ndim, want->ndim);
    for (size_t i = 0; i < want->ndim; i++)
        assert_int_equal(have->shape[i], want->shape[i]);
    for (size_t i = 0; i < want->count; i++) {
        if (want->i)
            assert_int_equal(have->i[i], want->i[i]);
        else if (!(isnan(have->f[i]) && isnan(want->f[i])) && have->f[i] != want->f[i] &&
                 !(fabs((double)have->f[i] - (double)want->f[i]) <=
                   1e-5 + 1e-5 * fabs((double)want->f[i])))
            fail_msg("%s: value %zu is %g, not %g", what, i, have->f[i], want->f[i]);
    }
}

#define MAX_IO 16

typedef struct network {
    ls_onnx_import *im;
    ls_store *st;
    ls_plan *plan;
    ls_binding bindings[2 * MAX_IO];
    size_t bound;
} network;

/* Imports and compiles; the outputs get memory of their own. 0 or the error. */
static int open_network(network *n, const ls_onnx *m, const char *device,
                        const ls_onnx_input *inputs, size_t count, ls_error *err)
{
    ls_graph *g = ls_graph_new(LS_F32, false);
    const ls_onnx_output *outputs;
    *n = (network){0};
    int ret = ls_onnx_import_graph(&n->im, g, m, inputs, count, err);
    if (ret) {
        ls_graph_free(&g);
        return ret;
    }
    if (ls_graph_node_count(g)) {
        if (test_store_open(&n->st, device, 2, err) || ls_plan_compile(&n->plan, &g, n->st, err))
            fail_msg("%s", err->message);
    }
    size_t outs = ls_onnx_import_outputs(n->im, &outputs);
    for (size_t i = 0; i < outs; i++) {
        size_t values = 1;
        for (size_t d = 0; d < outputs[i].ndim; d++)
            values *= outputs[i].shape[d];
        if (!outputs[i].constant)
            n->bindings[n->bound++] = (ls_binding){outputs[i].name, malloc(values * sizeof(float)),
                                                   values * sizeof(float)};
    }
    ls_graph_free(&g);
    return 0;
}

static void run_network(network *n, const ls_binding *inputs, size_t count)
{
    ls_error err = {0};
    ls_binding all[2 * MAX_IO];
    memcpy(all, n->bindings, n->bound * sizeof *all);
    memcpy(all + n->bound, inputs, count * sizeof *all);
    void *arena = ls_aligned_alloc(LS_MEM_OTHER, ls_plan_arena_bytes(n->plan) + 1);
    if (ls_plan_run(n->plan, arena, all, n->bound + count, NULL, &err))
        fail_msg("%s", err.message);
    ls_aligned_free(arena);
}

static void close_network(network *n)
{
    for (size_t i = 0; i < n->bound; i++)
        free(n->bindings[i].data);
    ls_plan_close(&n->plan);
    test_store_close(&n->st);
    ls_onnx_import_free(&n->im);
}

/* Whether an input of a case is a weight, a shape or an index rather than data. */
static bool fixed_input(const char *folder, size_t index)
{
    static const char *const computed[] = {"test_add", "test_sub", "test_mul", "test_concat",
                                           "test_prelu"};
    for (size_t i = 0; i < sizeof computed / sizeof *computed; i++)
        if (strstr(folder, computed[i]))
            return false;
    return index > 0 || strstr(folder, "DOUBLE");
}

typedef struct onnx_case {
    ls_onnx_value in[MAX_IO], out;
    ls_onnx_input inputs[MAX_IO];
    char names[MAX_IO][64];
    size_t count;
} onnx_case;

static void load_case(onnx_case *c, const char *folder)
{
    char path[4800], name[64];
    memset(c, 0, sizeof *c);
    for (;; c->count++) {
        ls_onnx_value *v = &c->in[c->count];
        snprintf(path, sizeof path, "%s/test_data_set_0/input_%zu.pb", folder, c->count);
        if (!read_tensor(path, v, c->names[c->count]))
            break;
        ls_onnx_input *in = &c->inputs[c->count];
        *in = (ls_onnx_input){.name = c->names[c->count], .ndim = v->ndim};
        memcpy(in->shape, v->shape, sizeof in->shape);
        if (fixed_input(folder, c->count))
            in->constant = v;
    }
    snprintf(path, sizeof path, "%s/test_data_set_0/output_0.pb", folder);
    assert_true(read_tensor(path, &c->out, name));
}

static void run_case(onnx_case *c, const char *folder, const char *device)
{
    char path[4800];
    ls_error err = {0};
    ls_onnx *m;
    network n;
    ls_binding in[MAX_IO];
    size_t bound = 0;
    snprintf(path, sizeof path, "%s/model.onnx", folder);
    if (ls_onnx_open(&m, path, &err) || open_network(&n, m, device, c->inputs, c->count, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < c->count; i++)
        if (!c->inputs[i].constant && c->in[i].f)
            in[bound++] = (ls_binding){c->names[i], c->in[i].f, c->in[i].count * sizeof(float)};
    const ls_onnx_output *o;
    assert_int_equal(ls_onnx_import_outputs(n.im, &o), 1);
    ls_onnx_value have = {.ndim = o->ndim};
    if (o->constant) {
        have = *o->constant;
    } else {
        run_network(&n, in, bound);
        memcpy(have.shape, o->shape, sizeof have.shape);
        have.f = n.bindings[0].data;
    }
    expect_values(folder, &have, &c->out);
    close_network(&n);
    ls_onnx_close(&m);
}

static void free_case(onnx_case *c)
{
    for (size_t i = 0; i < c->count; i++)
        ls_onnx_value_free(&c->in[i]);
    ls_onnx_value_free(&c->out);
}

static void operators_meet_the_cases_of_onnx(void **state)
{
    (void)state;
    char dir[4096], folder[4400];
    size_t cases = 0;
    DIR *d = opendir(test_shared(dir, "formats/onnx"));
    for (struct dirent *e; (e = readdir(d));) {
        onnx_case c;
        if (*e->d_name == '.' || strstr(e->d_name, "linear"))
            continue;
        snprintf(folder, sizeof folder, "%s/%s", dir, e->d_name);
        load_case(&c, folder);
        run_case(&c, folder, "ref");
        run_case(&c, folder, "onednn");
        free_case(&c);
        cases++;
    }
    closedir(d);
    assert_int_equal(cases, 54);
}

static void an_unsupported_option_is_named(void **state)
{
    (void)state;
    char dir[4096], path[4200];
    ls_error err = {0};
    onnx_case c;
    ls_onnx *m;
    network n;
    load_case(&c, test_shared(dir, "formats/onnx/test_resize_upsample_scales_linear"));
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    assert_int_equal(ls_onnx_open(&m, path, &err), 0);
    assert_int_equal(open_network(&n, m, "ref", c.inputs, c.count, &err), LS_EUNSUPPORTED);
    assert_non_null(strstr(err.message, "(Resize): modes other than nearest"));
    ls_onnx_close(&m);
    free_case(&c);
}

static double relative_error(const float *have, const float *want, size_t n)
{
    double error = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        error += ((double)have[i] - (double)want[i]) * ((double)have[i] - (double)want[i]);
        norm += (double)want[i] * (double)want[i];
    }
    return sqrt(error / norm);
}

/* The letterboxed golden picture as the network saw it there: R, G, B, channels last. */
static float *golden_picture(void)
{
    char path[4096], command[4300];
    const size_t n = (size_t)640 * 640 * 3;
    test_shared(path, "golden/onnx/t1_letterbox_640_bgr.png");
    snprintf(command, sizeof command, "ffmpeg -v error -i '%s' -f rawvideo -pix_fmt rgb24 -", path);
    FILE *f = popen(command, "r");
    uint8_t *bytes = malloc(n);
    float *x = ls_malloc_array(n, sizeof *x);
    if (!f || fread(bytes, 1, n, f) != n)
        fail_msg("cannot decode %s", path);
    pclose(f);
    for (size_t i = 0; i < n; i++)
        x[i] = ((float)bytes[i] - 127.5f) / 128;
    free(bytes);
    return x;
}

/* Output `index` of the golden run of a network. */
static void expect_golden(const char *network_name, const network *n, size_t index,
                          const ls_onnx_output *o)
{
    char path[4096], name[128];
    const size_t rows = o->shape[o->ndim - 2], columns = o->shape[o->ndim - 1];
    size_t size;
    snprintf(name, sizeof name, "golden/onnx/t1.%s.out%zu.1x%zux%zu.f32", network_name, index, rows,
             columns);
    float *want = test_read(test_shared(path, name), &size);
    assert_int_equal(size, rows * columns * sizeof *want);
    double error = relative_error(n->bindings[index].data, want, rows * columns);
    print_message("# %s %s: relative error %.2g\n", network_name, o->name, error);
    assert_true(error < 1e-4);
    free(want);
}

static void golden_network(const char *network_name, const char *device)
{
    char path[4096], name[128];
    ls_error err = {0};
    ls_onnx *m;
    network n;
    const ls_onnx_output *o;
    snprintf(name, sizeof name, "models/%s.onnx", network_name);
    if (ls_onnx_open(&m, test_shared(path, name), &err))
        fail_msg("%s", err.message);
    const ls_onnx_input in = {
        .name = "images", .ndim = 4, .shape = {1, 3, 640, 640}, .channels_last = true};
    if (open_network(&n, m, device, &in, 1, &err))
        fail_msg("%s", err.message);
    float *x = golden_picture();
    run_network(&n, &(ls_binding){"images", x, (size_t)640 * 640 * 3 * sizeof *x}, 1);
    assert_int_equal(ls_onnx_import_outputs(n.im, &o), 9);
    for (size_t i = 0; i < 9; i++)
        expect_golden(network_name, &n, i, &o[i]);
    free(x);
    close_network(&n);
    ls_onnx_close(&m);
}

static void scrfd_500m_is_as_onnx_runtime_has_it(void **state)
{
    (void)state;
    golden_network("scrfd_500m_kps", "onednn");
    golden_network("scrfd_500m_kps", "ref");
}

/* det_10g and its kin leave the batch dimension out of their outputs: [rows, columns]. Here the
 * reshapes of a network that keeps it are given such shapes. */
static void without_batch_dimension(ls_onnx *m, LsOnnx__TensorProto shapes[3])
{
    static int64_t dims[] = {2}, values[3][2] = {{-1, 1}, {-1, 4}, {-1, 10}};
    static char names[][8] = {"rows_1", "rows_4", "rows_10"};
    ls_onnx_graph *g = (ls_onnx_graph *)(uintptr_t)ls_onnx_get_graph(m);
    LsOnnx__TensorProto **all = malloc((g->n_initializer + 3) * sizeof *all);
    memcpy(all, g->initializer, g->n_initializer * sizeof *all);
    for (size_t i = 0; i < 3; i++) {
        shapes[i] = (LsOnnx__TensorProto)LS_ONNX__TENSOR_PROTO__INIT;
        shapes[i].name = names[i];
        shapes[i].has_data_type = true;
        shapes[i].data_type = 7;
        shapes[i].n_dims = 1;
        shapes[i].dims = dims;
        shapes[i].n_int64_data = 2;
        shapes[i].int64_data = values[i];
        all[g->n_initializer + i] = &shapes[i];
    }
    g->initializer = all;
    g->n_initializer += 3;
    for (size_t i = 0, k = 0; i < g->n_node; i++)
        if (!strcmp(g->node[i]->op_type, "Reshape")) /* scores, boxes, points of each stride */
            g->node[i]->input[1] = names[k++ % 3];
}

static void outputs_without_a_batch_dimension(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_onnx *m;
    network n;
    const ls_onnx_output *o;
    LsOnnx__TensorProto shapes[3];
    if (ls_onnx_open(&m, test_shared(path, "models/scrfd_500m_kps.onnx"), &err))
        fail_msg("%s", err.message);
    ls_onnx_graph *g = (ls_onnx_graph *)(uintptr_t)ls_onnx_get_graph(m), before = *g;
    char *reshapes[16];
    size_t count = 0;
    for (size_t i = 0; i < g->n_node; i++)
        if (!strcmp(g->node[i]->op_type, "Reshape"))
            reshapes[count++] = g->node[i]->input[1];
    assert_int_equal(count, 9);
    without_batch_dimension(m, shapes);
    const ls_onnx_input in = {
        .name = "images", .ndim = 4, .shape = {1, 3, 640, 640}, .channels_last = true};
    if (open_network(&n, m, "onednn", &in, 1, &err))
        fail_msg("%s", err.message);
    float *x = golden_picture();
    run_network(&n, &(ls_binding){"images", x, (size_t)640 * 640 * 3 * sizeof *x}, 1);
    assert_int_equal(ls_onnx_import_outputs(n.im, &o), 9);
    for (size_t i = 0; i < 9; i++) {
        assert_int_equal(o[i].ndim, 2);
        expect_golden("scrfd_500m_kps", &n, i, &o[i]);
    }
    free(x);
    close_network(&n);
    free(g->initializer); /* what belongs to the messages goes back to them */
    *g = before;
    for (size_t i = 0, k = 0; i < g->n_node; i++)
        if (!strcmp(g->node[i]->op_type, "Reshape"))
            g->node[i]->input[1] = reshapes[k++];
    ls_onnx_close(&m);
}

/* The built-in detector: both devices compute the same, which the oracle computes plainly. */
static void devices_agree_on_the_drawn_detector(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_onnx *m;
    network n[2];
    const ls_onnx_output *o;
    const size_t side = 320, values = side * side * 3;
    if (ls_onnx_open(&m, test_data(path, "../../models/mini/face/drawn.onnx"), &err))
        fail_msg("%s", err.message);
    const ls_onnx_graph *g = ls_onnx_get_graph(m);
    const ls_onnx_input in = {
        .name = g->input[0]->name, .ndim = 4, .shape = {1, 3, side, side}, .channels_last = true};
    float *x = ls_malloc_array(values, sizeof *x);
    for (size_t i = 0; i < values; i++)
        x[i] = (float)(i * i % 251);
    for (int i = 0; i < 2; i++) {
        if (open_network(&n[i], m, i ? "onednn" : "ref", &in, 1, &err))
            fail_msg("%s", err.message);
        run_network(&n[i], &(ls_binding){in.name, x, values * sizeof *x}, 1);
    }
    const size_t outputs = ls_onnx_import_outputs(n[0].im, &o);
    assert_true(outputs >= 4 && n[0].bound == outputs && n[1].bound == outputs);
    for (size_t i = 0; i < outputs; i++) {
        assert_string_equal(n[0].bindings[i].name, n[1].bindings[i].name);
        assert_int_equal(n[0].bindings[i].bytes, n[1].bindings[i].bytes);
        const double error = relative_error(n[1].bindings[i].data, n[0].bindings[i].data,
                                            n[0].bindings[i].bytes / sizeof(float));
        print_message("# %s: relative error %.2g\n", o[i].name, error);
        assert_true(error < 1e-4);
    }
    free(x);
    close_network(&n[0]);
    close_network(&n[1]);
    ls_onnx_close(&m);
}

static void scrfd_2_5g_is_as_onnx_runtime_has_it(void **state)
{
    (void)state;
    golden_network("scrfd_2.5g_kps", "onednn");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_meet_the_cases_of_onnx),
        cmocka_unit_test(an_unsupported_option_is_named),
        cmocka_unit_test(scrfd_500m_is_as_onnx_runtime_has_it),
        cmocka_unit_test(outputs_without_a_batch_dimension),
        cmocka_unit_test(scrfd_2_5g_is_as_onnx_runtime_has_it),
        cmocka_unit_test(devices_agree_on_the_drawn_detector),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
