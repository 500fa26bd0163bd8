/* A Vulkan device as the program meets it, on lavapipe below libvulkan.c: names, memory, kept
 * kernels, and what becomes of faults. */
#include "test.h"

#include "backend/gpu/card.h"
#include "backend/plan.h"
#include "base/alloc.h"
#include "base/error.h"
#include "pipeline/calibration.h"
#include "pipeline/device_choice.h"

#include <dirent.h>
#include <omp.h>
#include <stdlib.h>
#include <unistd.h>

static char cache[] = "/tmp/test_vulkan_XXXXXX";

static int set_up(void **state)
{
    (void)state;
    setenv("FAKE_VULKAN", "", 1);
    return 0;
}

static ls_device *open_device(const char *name)
{
    ls_device *dev;
    ls_error err = {0};
    if (ls_device_open(&dev, name, 0, &err))
        fail_msg("%s", err.message);
    return dev;
}

static void check_open_fails(const char *name, int code, const char *says)
{
    ls_error err = {0};
    ls_device *dev;
    assert_int_equal(ls_device_open(&dev, name, 0, &err), code);
    assert_null(dev);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

enum { COUNT = 5000 };

/* Halves made on the device of `count` floats, by a kernel or by two. */
static int compute(ls_device *dev, size_t count, bool twice, ls_error *err)
{
    ls_graph *g = ls_graph_new(LS_F16, false);
    ls_store *st = NULL;
    ls_plan *plan = NULL;
    void *arena = NULL;
    float *x = malloc(count * sizeof *x);
    uint16_t *y = malloc(count * sizeof *y);
    for (size_t i = 0; i < count; i++)
        x[i] = (float)(i % 2000);
    ls_tensor *halves = ls_cast(g, ls_input(g, "x", LS_F32, 1, &count), LS_F16);
    ls_output(g, "y", twice ? ls_activation(g, halves, LS_ACT_RELU) : halves);
    const ls_binding b[] = {{"x", x, count * sizeof *x}, {"y", y, count * sizeof *y}};
    int ret = ls_store_open(&st, dev, 0, err);
    if (!ret)
        ret = ls_plan_compile(&plan, &g, st, err);
    if (!ret)
        ret = dev->vtable->alloc(dev, ls_plan_arena_bytes(plan), &arena, err);
    if (!ret)
        ret = ls_plan_run(plan, arena, b, 2, NULL, err);
    for (size_t i = 0; !ret && i < count; i++)
        assert_int_equal(y[i], ls_f32_to_f16(x[i]));
    dev->vtable->release(dev, arena);
    ls_plan_close(&plan);
    ls_graph_free(&g);
    if (st)
        ls_store_close(&st);
    free(x);
    free(y);
    return ret;
}

static int cast(ls_device *dev, size_t count, ls_error *err)
{
    return compute(dev, count, false, err);
}

static void names(void **state)
{
    (void)state;
    static const char *const bad[] = {"vulkan:", "vulkan:x", "vulkan:-1", "vulkan:1x", "vulkans"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        check_open_fails(bad[i], LS_EINVAL, "there is no device");
    check_open_fails("vulkan:99", LS_EINVAL, "Vulkan finds 1");
    check_open_fails("vulkan", LS_EUNSUPPORTED, "finds no card that can be used");
    ls_device *dev = open_device("vulkan:0");
    assert_string_equal(dev->info.name, "vulkan:0");
    assert_true(dev->info.software && !dev->info.discrete && dev->info.available > 0);
    ls_device_close(&dev);
}

/* What the CPU imitates is taken only if it is named. */
static void choice(void **state)
{
    (void)state;
    ls_device_wish automatic, named;
    ls_device_choice c;
    ls_error err = {0};
    assert_int_equal(ls_device_wish_parse(&automatic, "auto", &err), 0);
    assert_true(ls_device_choice_find(&c, &automatic, &err) < 0);
    assert_int_equal(ls_device_wish_parse(&named, "vulkan", &err), 0);
    assert_true(ls_device_choice_find(&c, &named, &err) < 0);
    assert_int_equal(ls_device_wish_parse(&named, "vulkan:0", &err), 0);
    assert_int_equal(ls_device_choice_find(&c, &named, &err), 0);
    assert_string_equal(c.names[0].of[0], "vulkan:0");
    setenv("FAKE_VULKAN", "discrete", 1);
    assert_int_equal(ls_device_choice_find(&c, &automatic, &err), 0);
    assert_int_equal(c.count, 1);
    assert_string_equal(c.names[0].of[0], "vulkan:0");
    assert_string_equal(c.names[0].of[1], "vulkan:0");
    assert_string_equal(c.names[0].of[2], "cpu");
}

/* What was measured of a card is known by its name. */
static void choice_by_speed(void **state)
{
    (void)state;
    static const struct {
        double card, cpu;
        int ret;
    } rows[] = {{3, 2, LS_EUNSUPPORTED}, {2, 3, 0}};
    const ls_device_wish automatic = {.automatic = true};
    ls_device_choice c;
    ls_error err = {0};
    setenv("FAKE_VULKAN", "discrete", 1);
    assert_int_equal(ls_device_choice_find(&c, &automatic, &err), 0);
    assert_int_equal(ls_device_choice_worthwhile(&c, &err), 0);
    for (size_t i = 0; i < LS_COUNT(rows); i++) {
        json_t *known = ls_calibration_load();
        ls_calibration_set_card(known, c.card, rows[i].card, rows[i].cpu);
        assert_int_equal(ls_calibration_save(known, &err), 0);
        json_decref(known);
        assert_int_equal(ls_device_choice_worthwhile(&c, &err), rows[i].ret);
        c.count = 2; // which share the work
        assert_int_equal(ls_device_choice_worthwhile(&c, &err), 0);
        c.count = 1;
    }
    assert_non_null(strstr(err.message, "is slower than the CPU: a step of the published UNet was "
                                        "measured to take 3.0 s, on the CPU 2.0 s"));
    const ls_device_choice other = {.count = 1, .card = "Another, Vulkan 1.3"},
                           cpu = ls_device_choice_cpu();
    assert_int_equal(ls_device_choice_worthwhile(&other, &err), 0);
    assert_int_equal(ls_device_choice_worthwhile(&cpu, &err), 0);
}

static bool uses_matrices(const char *faults)
{
    setenv("FAKE_VULKAN", faults, 1);
    ls_device *dev = open_device("vulkan:0");
    const bool uses = strstr(dev->info.version, ", matrix units, ");
    ls_device_close(&dev);
    return uses;
}

/* Matrix units are used where there are any whose shape fits, and nobody says otherwise. Where
 * LS_TEST_MATRIX is set there must be some. */
static void matrix_units(void **state)
{
    (void)state;
    assert_true(uses_matrices("") || !getenv("LS_TEST_MATRIX"));
    assert_false(uses_matrices("odd_matrices"));
    setenv("LS_VULKAN_MATRIX", "0", 1);
    assert_false(uses_matrices(""));
    unsetenv("LS_VULKAN_MATRIX");
}

/* More than goes through the pinned memory at once, to odd places. */
static void memory(void **state)
{
    (void)state;
    ls_device *dev = open_device("vulkan:0");
    ls_error err = {0};
    const size_t bytes = ((size_t)20 << 20) + 7, odd = 4099;
    uint8_t *from = malloc(bytes), *to = malloc(bytes);
    void *at;
    for (size_t i = 0; i < bytes; i++)
        from[i] = (uint8_t)(i * 7 + i / 251);
    assert_int_equal(dev->vtable->alloc(dev, bytes + odd, &at, &err), 0);
    assert_int_equal(dev->vtable->write(dev, (char *)at + odd, from, bytes, &err), 0);
    assert_int_equal(dev->vtable->read(dev, to, (char *)at + odd, bytes, &err), 0);
    assert_memory_equal(from, to, bytes);
    dev->vtable->release(dev, at);
    dev->vtable->release(dev, NULL);
    assert_int_equal(dev->vtable->alloc(dev, (size_t)1 << 40, &at, &err), LS_ENOMEM);
    assert_null(at);
    assert_non_null(strstr(err.message, "vulkan:0 (llvmpipe"));
    setenv("FAKE_VULKAN", "fail=vkAllocateMemory:1:-2", 1);
    assert_int_equal(dev->vtable->alloc(dev, 1 << 20, &at, &err), LS_ENOMEM);
    assert_null(at);
    assert_int_equal(err.hint, LS_HINT_CARD_MEMORY);
    assert_int_equal(dev->vtable->alloc(dev, 1 << 20, &at, &err), 0);
    dev->vtable->release(dev, at);
    ls_device_close(&dev);
    free(from);
    free(to);
}

static size_t files_in(const char *folder)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; d && (e = readdir(d));)
        n += !strncmp(e->d_name, "vulkan-", 7);
    if (d)
        closedir(d);
    return n;
}

/* Compiled kernels are kept, and a damaged file of them does no harm. */
static void kept_kernels(void **state)
{
    (void)state;
    char folder[64], command[400];
    ls_error err = {0};
    snprintf(folder, sizeof folder, "%s/latentsync", cache);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(files_in(folder), i > 0);
        ls_device *dev = open_device("vulkan:0");
        if (cast(dev, COUNT, &err))
            fail_msg("%s", err.message);
        ls_device_close(&dev);
        assert_int_equal(files_in(folder), 1);
        snprintf(command, sizeof command,
                 "for f in %s/vulkan-*; do head -c %d $f > %s/x; mv %s/x $f; done", folder,
                 i ? 40 : 3, folder, folder);
        assert_int_equal(system(command), 0);
    }
}

/* Weights of these many values; those with more than 32768 are streamed. */
static const size_t counts[] = {3, 100, 32768, 32769, 250000, 70000, 262144, 33000, 500000, 90000};
enum { WEIGHTS = LS_COUNT(counts), NODES = 3 * WEIGHTS };

static int read_values(const ls_param *p, float *values, ls_error *err)
{
    (void)err;
    for (size_t i = 0; i < p->count; i++)
        values[i] = (float)(p->count + i);
    return 0;
}

static uint16_t packed_value(size_t i)
{
    return (uint16_t)(i * 40503);
}

static void pack_values(void *to, size_t bytes, const float *values, const ls_param *p,
                        const void *opaque)
{
    (void)bytes, (void)opaque;
    for (size_t i = 0; i < p->count; i++)
        ((uint16_t *)to)[i] = packed_value((size_t)values[i]);
}

typedef struct weights {
    ls_store *store;
    ls_param params[WEIGHTS];
    const gpu_weight *packed[WEIGHTS];
} weights;

/* What a node uses beside weight i: where both are streamed, they may be in two halves. */
static size_t other_weight(size_t i)
{
    return (i * 7 + 3) % WEIGHTS;
}

static int pack_weights(ls_device *dev, unsigned flags, weights *w, ls_error *err)
{
    int ret = ls_store_open(&w->store, dev, flags, err);
    for (size_t i = 0; i < WEIGHTS; i++)
        w->params[i] = (ls_param){"block.weight", 1, {counts[i]}, counts[i], read_values, NULL};
    for (size_t i = 0; !ret && i < 2 * WEIGHTS; i++) {
        const size_t k = i % 2 ? other_weight(i / 2) : i / 2;
        if (i % 2 == 0)
            ls_gpu_begin_node((gpu_store *)w->store);
        ret = ls_gpu_weight((gpu_store *)w->store, &w->params[k], 2 * counts[k], pack_values, NULL,
                            &w->packed[k], err);
    }
    return ret;
}

/* A node that reads its weights as a kernel would. */
typedef struct node {
    ls_kernel base;
    const gpu_weight *weight[2];
    uint16_t *result[2]; /* pinned */
    size_t count[2];
} node;

static int enqueue_node(gpu_device *dev, const ls_kernel *k, const gpu_places *at, ls_error *err)
{
    const node *n = (const node *)k;
    gpu_address address[2];
    int ret = 0;
    (void)at;
    for (int i = 0; !ret && i < 2; i++)
        ret = ls_gpu_weight_address(dev, n->weight[i], &address[i], err);
    for (int i = 0; !ret && i < 2; i++)
        ret = dev->api->fetch(dev, n->result[i], address[i], 2 * n->count[i], err);
    return ret;
}

/* Several nodes for each weight, without a wait in between. */
static int use_weights(ls_device *dev, const weights *w, ls_error *err)
{
    static node nodes[NODES];
    gpu_device *gpu = (gpu_device *)dev;
    void *const in[LS_MAX_INPUTS] = {NULL};
    double seconds[LS_OP_COUNT] = {0};
    int ret = 0;
    for (size_t i = 0; i < NODES; i++) {
        const size_t k[] = {i % WEIGHTS, other_weight(i % WEIGHTS)};
        nodes[i] = (node){.base = {.enqueue = enqueue_node, .in_place = -1, .name = "node"}};
        for (int j = 0; j < 2; j++) {
            nodes[i].weight[j] = w->packed[k[j]];
            nodes[i].count[j] = counts[k[j]];
            assert_int_equal(gpu->api->pin(gpu, 2 * counts[k[j]], &nodes[i].result[j], NULL), 0);
        }
    }
    for (size_t i = 0; !ret && i < NODES; i++)
        ret = dev->vtable->enqueue(dev, &nodes[i].base, in, NULL, NULL, err);
    const int end = dev->vtable->finish(dev, seconds, ret ? NULL : err);
    ret = ret ? ret : end;
    for (size_t i = 0; i < NODES; i++)
        for (int j = 0; j < 2; j++) {
            for (size_t v = 0; !ret && v < nodes[i].count[j]; v++)
                if (nodes[i].result[j][v] != packed_value(nodes[i].count[j] + v))
                    fail_msg("node %zu: value %zu of %zu is wrong", i, v, nodes[i].count[j]);
            gpu->api->unpin(gpu, nodes[i].result[j], 2 * nodes[i].count[j]);
        }
    return ret;
}

/* With one queue, and with copies that are done as early, and as late, as they may be. */
static void streamed_weights(void **state)
{
    (void)state;
    static const char *const settings[] = {"", "copies", "copies,late"};
    for (size_t i = 0; i < LS_COUNT(settings); i++) {
        weights w;
        ls_error err = {0};
        setenv("FAKE_VULKAN", settings[i], 1);
        ls_device *dev = open_device("vulkan:0");
        for (unsigned flags = 0; flags <= LS_STORE_STREAMED; flags += LS_STORE_STREAMED) {
            if (pack_weights(dev, flags, &w, &err) || use_weights(dev, &w, &err) ||
                use_weights(dev, &w, &err))
                fail_msg("%s", err.message);
            assert_true(flags ? w.store->pinned_bytes > 2000000 : !w.store->pinned_bytes);
            ls_store_close(&w.store);
        }
        ls_device_close(&dev);
    }
}

/* Small weights are sent together: a second submission would fail. */
static void packing_is_one_submission(void **state)
{
    (void)state;
    weights w;
    ls_error err = {0};
    double seconds[LS_OP_COUNT] = {0};
    ls_device *dev = open_device("vulkan:0");
    setenv("FAKE_VULKAN", "fail=vkQueueSubmit:2:-4", 1);
    if (pack_weights(dev, 0, &w, &err) || dev->vtable->finish(dev, seconds, &err))
        fail_msg("%s", err.message);
    ls_store_close(&w.store);
    ls_device_close(&dev);
}

/* A device that is lost, or stuck, is told so; nothing hangs or is tried again on it. */
static void faults(void **state)
{
    (void)state;
    static const struct {
        const char *fail;
        int code;
        const char *says;
    } rows[] = {
        {"fail=vkQueueSubmit:1:-4", LS_EDEVICE, "is lost to this process (another can resume"},
        {"fail=vkQueueSubmit:2:-4", LS_EDEVICE, "VK_ERROR_DEVICE_LOST"},
        {"fail=vkWaitSemaphores:1:2", LS_EDEVICE, "VK_TIMEOUT"},
        {"fail=vkWaitSemaphores:2:-4", LS_EDEVICE, "cannot finish its work"},
        {"fail=vkCreateComputePipelines:1:-1", LS_ENOMEM, "cast_to_half: vulkan:0"},
        {"fail=vkCreateComputePipelines:1:-3", LS_EBACKEND, "cannot compile a kernel"},
        {"fail=vkAllocateMemory:1:-1", LS_ENOMEM, "VK_ERROR_OUT_OF_HOST_MEMORY"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ls_error err = {0};
        setenv("FAKE_VULKAN", "", 1);
        ls_device *dev = open_device("vulkan:0");
        setenv("FAKE_VULKAN", rows[i].fail, 1);
        if (cast(dev, COUNT, &err) != rows[i].code || !strstr(err.message, rows[i].says))
            fail_msg("%s: \"%s\"", rows[i].fail, err.message);
        const int again = cast(dev, COUNT, &err);
        assert_int_equal(again, rows[i].code == LS_EDEVICE ? LS_EDEVICE : 0);
        ls_device_close(&dev);
    }
    setenv("FAKE_VULKAN", "", 1);
    ls_error err = {0};
    ls_device *dev = open_device("vulkan:0");
    assert_int_equal(cast(dev, COUNT, &err), 0);
    ls_device_close(&dev);
}

/* The same while weights are packed, and while they are streamed. The first pair of weights makes
 * the resident block, the pinned one and the ring, in this order. */
static void faults_of_weights(void **state)
{
    (void)state;
    static const struct {
        unsigned flags;
        const char *fail;
        int code;
        const char *says;
    } rows[] = {
        {0, "fail=vkAllocateMemory:1:-2", LS_ENOMEM, "block.weight: vulkan:0 (llvmpipe"},
        {0, "fail=vkAllocateMemory:2:-2", LS_ENOMEM, "MB of memory: "},
        {0, "fail=vkQueueSubmit:1:-4", LS_EDEVICE, "(another can resume the job)"},
        {LS_STORE_STREAMED, "fail=vkAllocateMemory:1:-1", LS_ENOMEM, "block.weight: vulkan:0"},
        {LS_STORE_STREAMED, "fail=vkAllocateMemory:2:-2", LS_ENOMEM, "cannot be pinned for"},
        {LS_STORE_STREAMED, "fail=vkAllocateMemory:3:-2", LS_ENOMEM, "MB of memory: "},
        {LS_STORE_STREAMED, "fail=vkQueueSubmit:9:-4", LS_EDEVICE, "node: vulkan:0 (llvmpipe"},
        {LS_STORE_STREAMED, "fail=vkQueueSubmit:10:-4", LS_EDEVICE, "VK_ERROR_DEVICE_LOST"},
        {LS_STORE_STREAMED, "fail=vkWaitSemaphores:2:2", LS_EDEVICE, "VK_TIMEOUT"},
    };
    for (size_t i = 0; i < LS_COUNT(rows); i++) {
        weights w;
        ls_error err = {0};
        char settings[64];
        setenv("FAKE_VULKAN", "copies", 1);
        ls_device *dev = open_device("vulkan:0");
        snprintf(settings, sizeof settings, "copies,%s", rows[i].fail);
        for (int again = 0; again < 2; again++) {
            setenv("FAKE_VULKAN", again ? "copies" : settings, 1);
            int ret = pack_weights(dev, rows[i].flags, &w, &err);
            if (!ret)
                ret = use_weights(dev, &w, &err);
            ls_store_close(&w.store);
            if (again ? ret != (rows[i].code == LS_EDEVICE ? LS_EDEVICE : 0)
                      : ret != rows[i].code || !strstr(err.message, rows[i].says))
                fail_msg("row %zu: \"%s\"", i, err.message);
            if (!again && ret == LS_ENOMEM)
                assert_int_equal(err.hint, LS_HINT_CARD_MEMORY);
        }
        ls_device_close(&dev);
    }
}

/* Kernels that a plan needs are compiled side by side. */
static void compiled_together(void **state)
{
    (void)state;
    ls_error err = {0};
    setenv("FAKE_VULKAN", "together", 1);
    ls_device *dev = open_device("vulkan:0");
    omp_set_num_threads(2);
    assert_int_equal(compute(dev, COUNT, true, &err), 0);
    ls_device_close(&dev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(choice_by_speed, set_up),
        cmocka_unit_test_setup(names, set_up),
        cmocka_unit_test_setup(choice, set_up),
        cmocka_unit_test_setup(matrix_units, set_up),
        cmocka_unit_test_setup(memory, set_up),
        cmocka_unit_test_setup(kept_kernels, set_up),
        cmocka_unit_test_setup(streamed_weights, set_up),
        cmocka_unit_test_setup(packing_is_one_submission, set_up),
        cmocka_unit_test_setup(faults, set_up),
        cmocka_unit_test_setup(faults_of_weights, set_up),
        cmocka_unit_test_setup(compiled_together, set_up),
    };
    if (!mkdtemp(cache))
        return 1;
    setenv("XDG_CACHE_HOME", cache, 1);
    const int failed = cmocka_run_group_tests_name("vulkan", tests, NULL, NULL);
    char command[64];
    snprintf(command, sizeof command, "rm -r %s", cache);
    return system(command) ? 1 : failed;
}
