/* Cards as devices, above the stand-in for NVIDIA's driver, which stops the process where something
 * is left when the library is closed: memory, weights, errors. */
#include "backend/cuda/card.h"
#include "base/alloc.h"
#include "test.h"

/* What the next device is opened on; see libcuda.c. */
static void set_card(const char *settings)
{
    setenv("FAKE_CUDA", settings, 1);
}

static int set_up(void **state)
{
    (void)state;
    set_card("cards=2,compute=89,memory=1G");
    return 0;
}

static ls_device *open_device(void)
{
    ls_device *dev;
    ls_error err;
    if (ls_device_open(&dev, "cuda", 0, &err))
        fail_msg("%s", err.message);
    return dev;
}

static int enter(ls_device *dev, ls_error *err)
{
    gpu_device *gpu = (gpu_device *)dev;
    return gpu->api->enter(gpu, err);
}

static void leave(ls_device *dev)
{
    gpu_device *gpu = (gpu_device *)dev;
    gpu->api->leave(gpu);
}

static size_t used(ls_device *dev)
{
    const cuda_driver *d = &((cuda_device *)dev)->driver;
    size_t available, total;
    assert_int_equal(enter(dev, NULL), 0);
    assert_int_equal(d->cuMemGetInfo(&available, &total), 0);
    leave(dev);
    return total - available;
}

static void check_open_fails(const char *name, int code, const char *says)
{
    ls_error err;
    ls_device *dev = (ls_device *)&err;
    assert_int_equal(ls_device_open(&dev, name, 0, &err), code);
    assert_null(dev);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, says))
        fail_msg("\"%s\" does not say \"%s\"", err.message, says);
}

static void test_missing(void **state)
{
    (void)state;
    char *name = strdup(getenv("LS_CUDA_LIBRARY"));
    setenv("LS_CUDA_LIBRARY", "/nonexistent/libcuda.so.1", 1);
    check_open_fails("cuda", LS_EUNSUPPORTED,
                     "no NVIDIA driver: /nonexistent/libcuda.so.1 could not be opened");
    ls_device_info list[2];
    assert_int_equal(ls_device_list(NULL, list, 2), 1);
    setenv("LS_CUDA_LIBRARY", name, 1);
    free(name);
}

static void test_unusable(void **state)
{
    (void)state;
    set_card("driver=10020");
    check_open_fails("cuda", LS_EUNSUPPORTED, "supports CUDA 10.2");
    set_card("cards=0");
    check_open_fails("cuda", LS_EUNSUPPORTED, "finds no card");
    set_card("compute=70");
    check_open_fails("cuda:0", LS_EUNSUPPORTED, "compute capability 7.0");
    ls_device_info list[2];
    assert_int_equal(ls_device_list(NULL, list, 2), 1);
    set_card("compute=75,driver=11000");
    ls_device *dev = open_device();
    assert_string_equal(dev->info.version, "CUDA 11.0, sm_75");
    ls_device_close(&dev);
}

static void test_names(void **state)
{
    (void)state;
    static const char *const bad[] = {"cuda:",   "cuda:x", "cuda:-1",   "cuda: 1",
                                      "cuda:1x", "cudas",  "cuda:99999"};
    for (size_t i = 0; i < LS_COUNT(bad); i++)
        check_open_fails(bad[i], LS_EINVAL, "there is no device");
    check_open_fails("cuda:2", LS_EINVAL, "there is no device cuda:2: the NVIDIA driver finds 2");
    ls_device *dev;
    ls_error err;
    assert_int_equal(ls_device_open(&dev, "cuda:1", 0, &err), 0);
    assert_string_equal(dev->info.name, "cuda:1");
    assert_string_equal(dev->info.version, "CUDA 12.4, sm_89");
    assert_int_equal(dev->info.total, 1 << 30);
    assert_true(dev->info.available > 0 && dev->info.available < 1 << 30);
    assert_true(dev->info.fast == LS_F16 && !dev->info.host && *dev->info.model);
    ls_device_info list[4];
    assert_int_equal(ls_device_list(NULL, list, 2), 2); // no more than there is room for
    assert_int_equal(ls_device_list(NULL, list, 4), 3);
    assert_string_equal(list[2].name, "cuda:1");
    assert_string_equal(list[2].model, dev->info.model);
    ls_device_close(&dev);
}

static uint8_t *random_bytes(size_t n, unsigned seed)
{
    uint8_t *p = malloc(n ? n : 1);
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)((seed = seed * 1664525 + 1013904223) >> 24);
    return p;
}

static void test_memory(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 1000, 8 << 20, (8 << 20) + 1, (40 << 20) + 3};
    ls_device *dev = open_device();
    ls_error err;
    for (size_t i = 0; i < LS_COUNT(sizes); i++) {
        const size_t n = sizes[i];
        uint8_t *from = random_bytes(n, 1), *copy = random_bytes(n, 1), *to = calloc(1, n + 1);
        void *memory;
        assert_int_equal(dev->vtable->alloc(dev, n, &memory, &err), 0);
        assert_non_null(memory);
        assert_int_equal((uintptr_t)memory % LS_ALIGN, 0);
        assert_int_equal(dev->vtable->write(dev, memory, from, n, &err), 0);
        memset(from, 0xee, n);
        assert_int_equal(dev->vtable->read(dev, to, memory, n, &err), 0);
        assert_memory_equal(to, copy, n);
        dev->vtable->release(dev, memory);
        free(from);
        free(copy);
        free(to);
    }
    dev->vtable->release(dev, NULL);
    ls_device_close(&dev);
}

static void test_too_little_memory(void **state)
{
    (void)state;
    ls_device *dev = open_device();
    void *memory = dev;
    ls_error err;
    const size_t before = used(dev);
    assert_int_equal(dev->vtable->alloc(dev, (size_t)2 << 30, &memory, &err), LS_ENOMEM);
    assert_null(memory);
    assert_non_null(strstr(err.message, "cannot give 2147.5 MB of memory: 1073.7 MB are free"));
    assert_non_null(strstr(err.message, "cuda:0 (Emulated Card)"));
    assert_int_equal(used(dev), before);
    ls_device_close(&dev);
}

/* Weights of these many values; streamed from the fourth on. */
static const size_t counts[] = {3, 100, 32768, 32769, 250000, 70000, 262144, 33000, 500000, 90000};
#define WEIGHTS LS_COUNT(counts)

static int read_values(const ls_param *p, float *dst, ls_error *err)
{
    ++*(int *)p->opaque;
    if (p->name[0] == '!')
        return ls_fail(err, LS_EIO, "cannot be read");
    for (size_t i = 0; i < p->count; i++)
        dst[i] = (float)(p->count + i);
    return 0;
}

static uint16_t packed_value(size_t count, size_t i)
{
    return (uint16_t)((count + i) * 40503);
}

static void pack_halves(void *to, size_t bytes, const float *values, const ls_param *p,
                        const void *opaque)
{
    assert_ptr_equal(opaque, counts);
    assert_int_equal(bytes, 2 * p->count);
    for (size_t i = 0; i < p->count; i++)
        ((uint16_t *)to)[i] = packed_value((size_t)values[i], 0);
}

/* What a node uses beside weight i. */
static size_t other_weight(size_t i)
{
    return (i * 7 + 3) % WEIGHTS;
}

typedef struct weights {
    char names[WEIGHTS][16];
    ls_param params[WEIGHTS];
    const gpu_weight *packed[WEIGHTS];
    int reads;
} weights;

static void name_weights(weights *w)
{
    *w = (weights){0};
    for (size_t i = 0; i < WEIGHTS; i++) {
        snprintf(w->names[i], sizeof w->names[i], "block.%zu", i);
        w->params[i] = (ls_param){w->names[i], 1, {counts[i]}, counts[i], read_values, &w->reads};
    }
}

static int pack_weights(ls_store *st, weights *w, ls_error *err)
{
    int ret = enter(st->device, err);
    if (ret)
        return ret;
    for (size_t i = 0; !ret && i < 2 * WEIGHTS; i++) {
        const size_t j = i % 2 ? other_weight(i / 2) : i / 2;
        if (i % 2 == 0)
            ls_gpu_begin_node((gpu_store *)st);
        ret = ls_gpu_weight((gpu_store *)st, &w->params[j], 2 * counts[j], pack_halves, counts,
                            &w->packed[j], err);
    }
    leave(st->device);
    return ret;
}

/* A node that reads its weights, as a kernel would, and finds fault with some values. */
typedef struct node {
    ls_kernel base;
    const gpu_weight *weight[2];
    size_t count[2];
    uint16_t *result[2]; /* pinned, so that nothing waits for the copy */
    bool bad;
} node;

static int enqueue_node(gpu_device *gpu, const ls_kernel *k, const gpu_places *at, ls_error *err)
{
    cuda_device *dev = (cuda_device *)gpu;
    const node *n = (const node *)k;
    gpu_address address[2] = {0};
    int ret = 0;
    for (int i = 0; !ret && i < 2; i++)
        ret = ls_gpu_weight_address(gpu, n->weight[i], &address[i], err);
    for (int i = 0; !ret && i < 2 && n->weight[i]; i++)
        ret = ls_cuda_failed(
            dev,
            dev->driver.cuMemcpyDtoHAsync(n->result[i], address[i], 2 * n->count[i], dev->work),
            err, "copy");
    if (!ret && n->bad)
        ret =
            ls_cuda_failed(dev, dev->driver.cuMemsetD32Async(at->bad, 1, 1, dev->work), err, "set");
    return ret;
}

static node new_node(const char *name, bool bad)
{
    node n = {.base = {.enqueue = enqueue_node, .op = LS_OP_LINEAR, .in_place = -1}, .bad = bad};
    snprintf(n.base.name, sizeof n.base.name, "%s", name);
    return n;
}

static int enqueue(ls_device *dev, node *n, ls_error *err)
{
    void *const in[LS_MAX_INPUTS] = {NULL};
    return dev->vtable->enqueue(dev, &n->base, in, NULL, NULL, err);
}

static void check_weight(const uint16_t *found, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (found[i] != packed_value(count, i))
            fail_msg("value %zu of %zu is %u instead of %u", i, count, found[i],
                     packed_value(count, i));
}

/* All copies that may be done before the work that is enqueued. */
static void let_copies_go_ahead(cuda_device *dev)
{
    cu_event event;
    assert_int_equal(dev->driver.cuEventCreate(&event, CU_EVENT_NO_TIME), 0);
    assert_int_equal(dev->driver.cuEventRecord(event, dev->copies), 0);
    assert_int_equal(dev->driver.cuEventSynchronize(event), 0);
    assert_int_equal(dev->driver.cuEventDestroy(event), 0);
}

/* Two nodes for each pair of weights, without a wait in between. */
static void check_weights(ls_device *base, const weights *w, bool copies_first)
{
    cuda_device *dev = (cuda_device *)base;
    static node nodes[2 * WEIGHTS];
    double seconds[LS_OP_COUNT] = {0};
    ls_error err;
    assert_int_equal(enter(base, &err), 0);
    for (size_t i = 0; i < LS_COUNT(nodes); i++) {
        const size_t first = i % WEIGHTS, second = other_weight(first);
        nodes[i] = new_node("pair", false);
        nodes[i].weight[0] = w->packed[first], nodes[i].count[0] = counts[first];
        nodes[i].weight[1] = w->packed[second], nodes[i].count[1] = counts[second];
        for (int j = 0; j < 2; j++)
            assert_int_equal(
                dev->gpu.api->pin(&dev->gpu, 2 * nodes[i].count[j], &nodes[i].result[j], &err), 0);
    }
    for (size_t i = 0; i < LS_COUNT(nodes); i++) {
        assert_int_equal(enqueue(base, &nodes[i], &err), 0);
        if (copies_first)
            let_copies_go_ahead(dev);
    }
    assert_int_equal(base->vtable->finish(base, seconds, &err), 0);
    for (size_t i = 0; i < LS_COUNT(nodes); i++)
        for (int j = 0; j < 2; j++) {
            check_weight(nodes[i].result[j], nodes[i].count[j]);
            dev->gpu.api->unpin(&dev->gpu, nodes[i].result[j], 2 * nodes[i].count[j]);
        }
    leave(base);
}

static void check_store(ls_device *dev, unsigned flags)
{
    ls_store *dry, *st;
    weights counted, w;
    ls_error err;
    name_weights(&counted);
    name_weights(&w);
    const size_t before = used(dev);
    assert_int_equal(ls_store_open(&dry, dev, flags | LS_STORE_DRY, &err), 0);
    assert_int_equal(pack_weights(dry, &counted, &err), 0);
    assert_int_equal(counted.reads, 0);
    assert_int_equal(used(dev), before);
    assert_int_equal(ls_store_open(&st, dev, flags, &err), 0);
    assert_int_equal(pack_weights(st, &w, &err), 0);
    assert_int_equal(pack_weights(st, &w, &err), 0);
    assert_int_equal(w.reads, WEIGHTS);
    assert_int_equal(st->bytes, used(dev) - before);
    assert_int_equal(dry->bytes, st->bytes);
    assert_int_equal(dry->pinned_bytes, st->pinned_bytes);
    assert_true(flags ? st->pinned_bytes > 2000000 : !st->pinned_bytes);
    check_weights(dev, &w, false);
    check_weights(dev, &w, true);
    ls_store_close(&dry);
    ls_store_close(&st);
    assert_int_equal(used(dev), before);
}

/* Whatever the card does first. */
static void test_weights(void **state)
{
    (void)state;
    for (int eager = 0; eager < 2; eager++) {
        set_card(eager ? "eager" : "");
        ls_device *dev = open_device();
        check_store(dev, 0);
        check_store(dev, LS_STORE_STREAMED);
        check_store(dev, LS_STORE_STREAMED);
        ls_device_close(&dev);
    }
}

static void test_weight_unreadable(void **state)
{
    (void)state;
    ls_device *dev = open_device();
    ls_store *st;
    weights w;
    ls_error err;
    name_weights(&w);
    w.names[4][0] = '!';
    assert_int_equal(ls_store_open(&st, dev, 0, &err), 0);
    assert_int_equal(pack_weights(st, &w, &err), LS_EIO);
    assert_string_equal(err.message, "!lock.4: cannot be read");
    assert_null(w.packed[4]);
    ls_store_close(&st);
    ls_device_close(&dev);
}

static void test_not_finite(void **state)
{
    (void)state;
    ls_device *dev = open_device();
    double seconds[LS_OP_COUNT] = {0};
    ls_error err;
    node good = new_node("down.0.weight", false), bad = new_node("mid.1.weight", true),
         later = new_node("up.2.weight", true);
    for (size_t before = 0; before < 3 * GPU_NODES_MAX; before += GPU_NODES_MAX - 1) {
        for (size_t i = 0; i < before; i++)
            assert_int_equal(enqueue(dev, &good, &err), 0);
        assert_int_equal(enqueue(dev, &bad, &err), 0);
        for (size_t i = 0; i < before; i++)
            assert_int_equal(enqueue(dev, &good, &err), 0);
        assert_int_equal(enqueue(dev, &later, &err), 0);
        assert_int_equal(dev->vtable->finish(dev, seconds, &err), LS_EBACKEND);
        assert_non_null(
            strstr(err.message, "the values of mid.1.weight (linear) are not finite in float16"));
        assert_int_equal(enqueue(dev, &good, &err), 0);
        assert_int_equal(dev->vtable->finish(dev, seconds, &err), 0);
        assert_int_equal(dev->vtable->finish(dev, seconds, &err), 0);
    }
    assert_true(seconds[LS_OP_LINEAR] == 0);
    ls_device_close(&dev);
}

static void test_profile(void **state)
{
    (void)state;
    ls_device *dev = open_device();
    double seconds[LS_OP_COUNT] = {[LS_OP_LINEAR] = 1};
    ls_error err;
    node n = new_node("a", false), other = new_node("b", false);
    other.base.op = LS_OP_ADD;
    dev->profile = true;
    for (size_t i = 0; i < GPU_NODES_MAX; i++)
        assert_int_equal(enqueue(dev, &n, &err), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(enqueue(dev, &other, &err), 0);
    assert_int_equal(dev->vtable->finish(dev, seconds, &err), 0);
    const double linear = seconds[LS_OP_LINEAR], add = seconds[LS_OP_ADD];
    assert_true(linear > 1 && linear < 100 && add > 0 && add < 100);
    dev->profile = false;
    assert_int_equal(enqueue(dev, &n, &err), 0);
    assert_int_equal(dev->vtable->finish(dev, seconds, &err), 0);
    assert_true(seconds[LS_OP_LINEAR] == linear && seconds[LS_OP_ADD] == add);
    ls_device_close(&dev);
}

static void test_unsupported(void **state)
{
    (void)state;
    ls_device *dev = open_device();
    ls_store *st;
    ls_kernel *k;
    size_t scratch;
    ls_error err;
    ls_tensor t = {
        .kind = LS_TENSOR_INPUT, .dtype = LS_F16, .ndim = 4, .shape = {1, 4, 4, 8}, .count = 128};
    ls_node n = {.op = LS_OP_POOL, .in = {&t}, .out = &t};
    assert_int_equal(ls_store_open(&st, dev, 0, &err), 0);
    assert_int_equal(dev->vtable->compile(st, &n, &k, &scratch, &err), LS_EUNSUPPORTED);
    assert_string_equal(err.message, "cuda does not compute pool in float16");
    t.dtype = LS_BF16;
    n.op = LS_OP_CONV2D;
    assert_int_equal(dev->vtable->compile(st, &n, &k, &scratch, &err), LS_EUNSUPPORTED);
    assert_string_equal(err.message, "cuda does not compute conv2d in bfloat16");
    ls_store_close(&st);
    ls_device_close(&dev);
}

static void test_kernel_name(void **state)
{
    (void)state;
    ls_param p = {.name = "mid.weight"};
    ls_tensor t = {.ndim = 2, .shape = {3, 5}}, w = {.kind = LS_TENSOR_PARAM, .param = &p};
    ls_node n = {.op = LS_OP_ADD, .in = {&t, &t}, .out = &t};
    ls_kernel *k = ls_gpu_kernel_new(&n, sizeof(node), enqueue_node);
    assert_string_equal(k->name, "add [3, 5]");
    assert_true(k->in_place == -1 && k->op == LS_OP_ADD && k->enqueue == enqueue_node);
    free(k);
    n.in[1] = &w;
    k = ls_gpu_kernel_new(&n, sizeof(node), enqueue_node);
    assert_string_equal(k->name, "mid.weight");
    free(k);
}

/* All that a job does. */
static int use(ls_error *err)
{
    static uint8_t data[1000];
    double seconds[LS_OP_COUNT] = {0};
    ls_device *dev;
    ls_store *st = NULL;
    void *memory = NULL, *result = NULL;
    weights w;
    name_weights(&w);
    int ret = ls_device_open(&dev, "cuda", 0, err);
    if (ret)
        return ret;
    dev->profile = true;
    ret = ls_store_open(&st, dev, LS_STORE_STREAMED, err);
    if (!ret)
        ret = pack_weights(st, &w, err);
    if (!ret)
        ret = dev->vtable->alloc(dev, sizeof data, &memory, err);
    if (!ret)
        ret = dev->vtable->write(dev, memory, data, sizeof data, err);
    gpu_device *gpu = (gpu_device *)dev;
    if (!ret && !(ret = enter(dev, err))) {
        ret = gpu->api->pin(gpu, 2 * counts[8], &result, err);
        leave(dev);
    }
    for (size_t i = 0; !ret && i < WEIGHTS; i++) {
        node n = new_node("block", false);
        n.weight[0] = w.packed[i], n.count[0] = counts[i], n.result[0] = result;
        ret = enqueue(dev, &n, err);
    }
    const int late = dev->vtable->finish(dev, seconds, ret ? NULL : err);
    ret = ret ? ret : late;
    if (!ret)
        ret = dev->vtable->read(dev, data, memory, sizeof data, err);
    dev->vtable->release(dev, memory);
    assert_int_equal(enter(dev, NULL), 0);
    gpu->api->unpin(gpu, result, 2 * counts[8]);
    leave(dev);
    ls_store_close(&st);
    ls_device_close(&dev);
    return ret;
}

/* Those that free what was there: these are not told of, and done all the same. */
static bool frees(const char *function)
{
    return strstr(function, "Free") || strstr(function, "Destroy") || strstr(function, "Unload");
}

/* What cannot fail but by the end of the process. */
static bool is_certain(const char *function)
{
    return strstr(function, "PopCurrent") || strstr(function, "CtxRelease");
}

static bool check_failure(const char *function, unsigned call, int code)
{
    char settings[128];
    ls_error err = {0};
    snprintf(settings, sizeof settings, "fail=%s:%u:%d", function, call, code);
    set_card(settings);
    const int ret = use(&err);
    if (!ret)
        return false;
    const bool named = strstr(err.message, "cuda:0") || strstr(err.message, "NVIDIA driver");
    const bool lost = strstr(err.message, "lost to this process");
    const bool opened = strstr(err.message, "cuda:0 (");
    if (err.code != ret || !named || (code == 700 && opened && !lost))
        fail_msg("%s: %d, \"%s\"", settings, ret, err.message);
    return true;
}

/* Each of the calls to the driver fails. */
static void test_every_call_fails(void **state)
{
    (void)state;
    static const char *const functions[] = {
#define LS_X(member, symbol, params) #member,
        LS_CUDA_DRIVER(LS_X)
#undef LS_X
    };
    size_t failed = 0;
    for (size_t i = 0; i < LS_COUNT(functions); i++) {
        const char *f = functions[i];
        for (unsigned call = 1; call <= 12 && !is_certain(f); call++) {
            const bool lost = check_failure(f, call, 700);
            const bool other = !frees(f) && !strstr(f, "Push") && check_failure(f, call, 2);
            failed += lost + other;
            if (!lost && !other && !frees(f))
                break;
        }
    }
    assert_true(failed > 100);
    set_card("");
    ls_error err;
    assert_int_equal(use(&err), 0);
}

/* a + b of 1000 values. */
static int add(ls_device *dev, float a, float b, float *sum, ls_error *err)
{
    enum { COUNT = 1000 };
    uint16_t values[COUNT];
    void *in[LS_MAX_INPUTS] = {NULL}, *out;
    ls_tensor t = {.dtype = LS_F16, .ndim = 2, .shape = {10, 100}, .count = COUNT};
    const ls_node n = {.op = LS_OP_ADD, .in = {&t, &t}, .out = &t};
    double seconds[LS_OP_COUNT] = {0};
    size_t scratch;
    ls_store *st;
    ls_kernel *k;
    assert_int_equal(ls_store_open(&st, dev, 0, err), 0);
    assert_int_equal(dev->vtable->compile(st, &n, &k, &scratch, err), 0);
    assert_int_equal(dev->vtable->alloc(dev, sizeof values, &out, err), 0);
    for (int i = 0; i < 2; i++) {
        for (size_t j = 0; j < COUNT; j++)
            values[j] = ls_f32_to_f16(i ? b : a);
        assert_int_equal(dev->vtable->alloc(dev, sizeof values, &in[i], err), 0);
        assert_int_equal(dev->vtable->write(dev, in[i], values, sizeof values, err), 0);
    }
    assert_int_equal(dev->vtable->enqueue(dev, k, in, out, NULL, err), 0);
    int ret = dev->vtable->finish(dev, seconds, err);
    if (!ret)
        ret = dev->vtable->read(dev, values, out, sizeof values, err);
    for (size_t j = 0; !ret && j < COUNT; j++)
        assert_int_equal(values[j], values[0]);
    *sum = ls_f16_to_f32(values[0]);
    for (int i = 0; i < 2; i++)
        dev->vtable->release(dev, in[i]);
    dev->vtable->release(dev, out);
    dev->vtable->free_kernel(k);
    ls_store_close(&st);
    return ret;
}

static void test_kernel(void **state)
{
    (void)state;
    ls_error err;
    float sum;
    ls_device *dev = open_device();
    assert_int_equal(add(dev, 1.5f, -3, &sum, &err), 0);
    assert_true(sum == -1.5f);
    assert_int_equal(add(dev, 60000, 60000, &sum, &err), LS_EBACKEND);
    assert_non_null(strstr(err.message, "the values of add [10, 100] (add) are not finite"));
    assert_int_equal(add(dev, 2, 3, &sum, &err), 0);
    assert_true(sum == 5);
    ls_device_close(&dev);
    set_card("fail=cuLaunchKernel:2:719");
    dev = open_device();
    assert_int_equal(add(dev, 1, 1, &sum, &err), 0);
    assert_int_equal(add(dev, 1, 1, &sum, &err), LS_EDEVICE);
    assert_non_null(strstr(err.message, "CUDA_ERROR_LAUNCH_FAILED"));
    assert_non_null(strstr(err.message, "lost to this process"));
    ls_device_close(&dev);
    set_card("");
    dev = open_device();
    assert_int_equal(add(dev, 1, 1, &sum, &err), 0);
    ls_device_close(&dev);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup(name, set_up)
    const struct CMUnitTest tests[] = {
        TEST(test_missing),
        TEST(test_unusable),
        TEST(test_names),
        TEST(test_memory),
        TEST(test_too_little_memory),
        TEST(test_weights),
        TEST(test_weight_unreadable),
        TEST(test_not_finite),
        TEST(test_profile),
        TEST(test_unsupported),
        TEST(test_kernel_name),
        TEST(test_kernel),
        TEST(test_every_call_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
