#include "node.h"
#include "base/alloc.h"

#include <math.h>

enum { GUARD = 64 }; /* bytes on either side of a result, which nothing may write */

struct gpu_device {
    node_options options;
};

struct gpu_store {
    gpu_weight *weights;
    gpu_limits limits;
};

struct gpu_weight {
    gpu_weight *next;
    void *packed;
};

/* Those that the program links: others are NULL. */
#define LS_X(name, threads) void __attribute__((weak)) ls_emulated_##name(const void *);
LS_GPU_KERNELS(LS_X)
#undef LS_X

static const struct {
    const char *name;
    void (*run)(const void *);
    uint32_t threads;
} functions[] = {
#define LS_X(name, threads) {#name, ls_emulated_##name, threads},
    LS_GPU_KERNELS(LS_X)
#undef LS_X
};

ls_kernel *ls_gpu_kernel_new(const ls_node *node, size_t size,
                             int (*enqueue)(gpu_device *, const ls_kernel *, const gpu_places *,
                                            ls_error *))
{
    ls_kernel *k = calloc(1, size);
    k->enqueue = enqueue;
    k->op = node->op;
    k->in_place = -1;
    return k;
}

int ls_gpu_launch(gpu_device *dev, gpu_function f, const size_t grid[3], size_t shared,
                  const void *params, size_t size, ls_error *err)
{
    char error[256] = "";
    emulator_options o = dev->options.emulator;
    o.name = functions[f].name;
    if (f != dev->options.mutated)
        o.mutation = EMULATOR_FAITHFUL;
    assert_true(grid[0] <= INT32_MAX && grid[1] <= 65535 && grid[2] <= 65535 && size <= 4096);
    if (emulator_launch(&o, functions[f].run, params,
                        (uint32_t[]){(uint32_t)grid[0], (uint32_t)grid[1], (uint32_t)grid[2]},
                        functions[f].threads, shared, error, sizeof error))
        return ls_fail(err, LS_EUNSUPPORTED, "%s", error);
    if (dev->options.launches)
        dev->options.launches[f]++;
    return 0;
}

int ls_gpu_weight(gpu_store *st, const ls_param *p, size_t bytes, gpu_pack pack, const void *opaque,
                  const gpu_weight **out, ls_error *err)
{
    gpu_weight *w = malloc(sizeof *w);
    float *values = malloc(p->count * sizeof *values);
    w->packed = ls_aligned_alloc(LS_MEM_OTHER, bytes);
    w->next = st->weights;
    *out = st->weights = w;
    const int ret = p->read(p, values, err);
    pack(w->packed, bytes, values, p, opaque);
    free(values);
    return ret;
}

static void pack_floats(void *to, size_t bytes, const float *values, const ls_param *p,
                        const void *opaque)
{
    (void)p, (void)opaque;
    memcpy(to, values, bytes);
}

int ls_gpu_vector(gpu_store *st, const ls_param *p, const gpu_weight **out, ls_error *err)
{
    return ls_gpu_weight(st, p, p->count * sizeof(float), pack_floats, NULL, out, err);
}

const gpu_limits *ls_gpu_limits(const gpu_store *st)
{
    return &st->limits;
}

int ls_gpu_weight_address(gpu_device *dev, const gpu_weight *w, gpu_address *out, ls_error *err)
{
    (void)dev, (void)err;
    *out = (uintptr_t)w->packed;
    return 0;
}

const ls_node *node_of(const ls_graph *g)
{
    ls_error err = {0};
    if (ls_graph_error(g, &err))
        fail_msg("%s", err.message);
    assert_int_equal(ls_graph_node_count(g), 1);
    return ls_graph_node(g, 0);
}

static int read_param(const ls_param *p, float *to, ls_error *err)
{
    (void)err;
    memcpy(to, p->opaque, p->count * sizeof *to);
    return 0;
}

ls_tensor *node_weight(ls_graph *g, ls_param *p, size_t ndim, const size_t *shape,
                       const float *values)
{
    *p = (ls_param){.name = "w", .ndim = ndim, .count = 1, .read = read_param};
    p->opaque = (void *)(uintptr_t)values;
    for (size_t i = 0; i < ndim; i++) {
        p->shape[i] = shape[i];
        p->count *= shape[i];
    }
    return ls_weight(g, p);
}

/* Memory of an input: no byte more, so that sanitizers see what is read beyond. */
static void *place(const ls_tensor *t, const float *values)
{
    void *memory;
    assert_int_equal(posix_memalign(&memory, LS_ALIGN, ls_tensor_bytes(t)), 0);
    for (size_t i = 0; i < t->count; i++)
        if (t->dtype == LS_F32)
            ((float *)memory)[i] = values[i];
        else
            ((uint16_t *)memory)[i] = ls_f32_to_f16(values[i]);
    return memory;
}

/* Memory for results: NaN, between guards. */
static uint8_t *reserve(size_t bytes)
{
    uint8_t *memory = ls_aligned_alloc(LS_MEM_OTHER, bytes + 2 * GUARD);
    memset(memory, 0xff, bytes + 2 * GUARD);
    return memory + GUARD;
}

static void release(uint8_t *at, size_t bytes)
{
    for (size_t i = 0; i < GUARD; i++)
        assert_true(at[i - GUARD] == 0xff && at[bytes + i] == 0xff);
    ls_aligned_free(at - GUARD);
}

float *node_run(const ls_node *node, gpu_compile *compile, const float *const in[LS_MAX_INPUTS],
                const node_options *o)
{
    ls_error err = {0};
    gpu_device dev = {*o};
    gpu_store st = {NULL, {80, 108, o->shared ? o->shared : 99 * 1024}};
    ls_kernel *k;
    size_t scratch = 0;
    uint32_t bad = 0;
    void *memory[LS_MAX_INPUTS] = {NULL};
    gpu_places at = {.bad = (uintptr_t)&bad};
    if (compile(&st, node, &k, &scratch, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        if (node->in[i] && node->in[i]->kind != LS_TENSOR_PARAM) {
            memory[i] = place(node->in[i], in[i]);
            at.in[i] = (uintptr_t)memory[i];
        }
    uint8_t *y = reserve(ls_tensor_bytes(node->out)), *work = reserve(scratch);
    void *out = o->in_place && k->in_place >= 0 ? memory[k->in_place] : y;
    at.out = (uintptr_t)out;
    at.scratch = (uintptr_t)work;
    const int ret = k->enqueue(&dev, k, &at, &err);
    if (ret && !o->faulty)
        fail_msg("%s", err.message);
    assert_true(o->faulty || bad == o->bad_expected);
    float *result = ret ? NULL : malloc(node->out->count * sizeof *result);
    if (result)
        ls_convert_to_f32(result, out, node->out->dtype, node->out->count);
    release(y, ls_tensor_bytes(node->out));
    release(work, scratch);
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        free(memory[i]);
    while (st.weights) {
        gpu_weight *w = st.weights;
        st.weights = w->next;
        ls_aligned_free(w->packed);
        free(w);
    }
    free(k);
    return result;
}

size_t node_draw(uint64_t *seed, size_t n)
{
    *seed = *seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(*seed >> 33) % n;
}

float *node_values(uint64_t seed, size_t count, double mean, double spread)
{
    float *v = malloc(count * sizeof *v);
    for (size_t i = 0; i < count; i++) {
        double sum = 0; /* of four uniform numbers: variance 1 / 3 */
        for (int j = 0; j < 4; j++)
            sum += (double)node_draw(&seed, 1 << 20) / (1 << 20) - 0.5;
        v[i] = ls_f16_to_f32(ls_f32_to_f16((float)(mean + spread * sqrt(3) * sum)));
    }
    return v;
}

double node_excess(float y, double right)
{
    const double size = fabs(right);
    const double half_bit = size < 0x1p-14 ? 0x1p-25 : ldexp(1, ilogb(size) - 11);
    const double error = fabs((double)y - right);
    return isnan(error) ? INFINITY : error < half_bit ? 0 : (error - half_bit) / fmax(1, size);
}
