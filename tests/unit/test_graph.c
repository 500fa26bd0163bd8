#include "test.h"

#include "backend/plan.h"
#include "base/alloc.h"
#include "nn/params.h"
#include "tensor/arena.h"
#include "store.h"

/* No two intervals that live at the same step may overlap, for random ones. */
static void arena_never_overlaps(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int round = 0; round < 200; round++) {
        ls_interval v[40];
        size_t total = 0;
        for (int i = 0; i < 40; i++) {
            seed = seed * 1664525 + 1013904223;
            size_t first = seed >> 8 & 31, length = seed >> 16 & 7, bytes = (seed >> 20) % 3000;
            v[i] = (ls_interval){first, first + length, bytes, 0};
            total += bytes + LS_ALIGN;
        }
        size_t peak = ls_arena_plan(v, 40);
        assert_true(peak <= total);
        for (int i = 0; i < 40; i++) {
            assert_int_equal(v[i].offset % LS_ALIGN, 0);
            assert_true(v[i].offset + v[i].bytes <= peak);
            for (int j = 0; j < i; j++) {
                bool together = v[i].first <= v[j].last && v[j].first <= v[i].last;
                bool apart = v[i].offset + v[i].bytes <= v[j].offset ||
                             v[j].offset + v[j].bytes <= v[i].offset || !v[i].bytes || !v[j].bytes;
                assert_true(!together || apart);
            }
        }
    }
    ls_interval huge[2] = {{0, 1, SIZE_MAX / 2, 0}, {0, 1, SIZE_MAX / 2 + 100, 0}};
    assert_int_equal(ls_arena_plan(huge, 2), SIZE_MAX);
}

static void arena_reuses_memory(void **state)
{
    (void)state;
    ls_interval chain[3] = {{0, 1, 6400, 0}, {1, 2, 6400, 0}, {2, 3, 6400, 0}};
    assert_int_equal(ls_arena_plan(chain, 3), 12800);
}

static void graph_refuses_shapes_that_do_not_fit(void **state)
{
    (void)state;
    ls_error err = {0};
    ls_param p = {.name = "conv.weight", .ndim = 4, .shape = {8, 5, 3, 3}, .count = 360};
    ls_graph *g = ls_graph_new(LS_F32, false);
    ls_tensor *x = ls_input(g, "x", LS_F32, 4, (size_t[]){1, 4, 4, 3});
    assert_null(ls_conv2d(g, x, ls_weight(g, &p), NULL, NULL, (ls_conv){.stride = 1, .pad = 1}));
    assert_null(ls_add(g, x, x)); // nothing can be built after an error
    assert_int_equal(ls_graph_error(g, &err), LS_ESHAPE);
    assert_non_null(strstr(err.message, "conv.weight"));
    assert_non_null(strstr(err.message, "[1, 4, 4, 3]"));
    ls_plan *plan;
    ls_store *st;
    assert_int_equal(test_store_open(&st, "ref", 1, &err), 0);
    assert_int_equal(ls_plan_compile(&plan, &g, st, &err), LS_ESHAPE);
    assert_null(plan);
    assert_null(g);
    test_store_close(&st);
    assert_int_equal(test_store_open(&st, "cuda?", 1, &err), LS_EINVAL);
}

static void run_needs_every_binding(void **state)
{
    (void)state;
    ls_error err = {0};
    ls_graph *g = ls_graph_new(LS_F32, false);
    ls_tensor *x = ls_input(g, "x", LS_F32, 2, (size_t[]){2, 3});
    ls_output(g, "y", ls_add(g, ls_activation(g, x, LS_ACT_SILU), x));
    ls_store *st;
    ls_plan *plan;
    assert_int_equal(test_store_open(&st, "ref", 1, &err), 0);
    assert_int_equal(ls_plan_compile(&plan, &g, st, &err), 0);
    float in[6] = {0, 1, 2, 3, 4, 5}, out[6];
    void *arena = ls_aligned_alloc(LS_MEM_OTHER, ls_plan_arena_bytes(plan));
    ls_binding b[] = {{"x", in, sizeof in}, {"y", out, sizeof out}};
    assert_int_equal(ls_plan_run(plan, arena, b, 1, NULL, &err), LS_EINVAL);
    assert_non_null(strstr(err.message, "y"));
    b[1].bytes = 20;
    assert_int_equal(ls_plan_run(plan, arena, b, 2, NULL, &err), LS_EINVAL);
    b[1].bytes = sizeof out;
    assert_int_equal(ls_plan_run(plan, arena, b, 2, NULL, &err), 0);
    assert_true(out[0] == 0 && out[1] > 1.73f && out[1] < 1.74f);
    ls_cancel cancel = {0};
    ls_cancel_request(&cancel);
    assert_int_equal(ls_plan_run(plan, arena, b, 2, &cancel, &err), LS_ECANCELED);
    ls_aligned_free(arena);
    ls_plan_close(&plan);
    test_store_close(&st);
}

static bool other_name(const char *name, size_t k, char *buf, size_t size)
{
    if (k)
        return false;
    snprintf(buf, size, "old.%s", name);
    return true;
}

static bool ignored(const char *name)
{
    return !strcmp(name, "spare");
}

static int bind(const ls_weight_spec *specs, size_t count, const ls_params_rules *rules,
                ls_error *err)
{
    ls_params *p = ls_params_new();
    ls_weights *w;
    assert_non_null(ls_params_get(p, 2, (size_t[]){4, 3}, "linear.weight"));
    assert_non_null(ls_params_get(p, 1, (size_t[]){4}, "linear.bias"));
    assert_int_equal(ls_weights_open_formula(&w, specs, count, false, NULL, err), 0);
    int ret = ls_params_bind(p, w, rules, err);
    ls_params_free(&p);
    ls_weights_close(&w);
    return ret;
}

static void table_names_what_does_not_fit(void **state)
{
    (void)state;
    ls_error err = {0};
    ls_weight_spec s[] = {{"linear.weight", 2, {4, 3}}, {"linear.bias", 1, {4}}, {"spare", 1, {2}}};
    assert_int_equal(bind(s, 2, NULL, &err), 0);
    assert_int_equal(bind(s, 1, NULL, &err), LS_ENOENT);
    assert_non_null(strstr(err.message, "linear.bias [4] is missing"));
    assert_int_equal(bind(s, 3, NULL, &err), LS_ESHAPE);
    assert_non_null(strstr(err.message, "spare [2] is not part"));
    assert_int_equal(bind(s, 3, &(ls_params_rules){.ignore = ignored}, &err), 0);
    s[0].shape[1] = 5;
    assert_int_equal(bind(s, 2, NULL, &err), LS_ESHAPE);
    assert_non_null(strstr(err.message, "linear.weight has shape [4, 5], expected [4, 3]"));
    ls_weight_spec old[] = {{"old.linear.weight", 4, {4, 3, 1, 1}}, {"old.linear.bias", 1, {4}}};
    assert_int_equal(bind(old, 2, &(ls_params_rules){.alias = other_name}, &err), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_never_overlaps),
        cmocka_unit_test(arena_reuses_memory),
        cmocka_unit_test(graph_refuses_shapes_that_do_not_fit),
        cmocka_unit_test(run_needs_every_binding),
        cmocka_unit_test(table_names_what_does_not_fit),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
