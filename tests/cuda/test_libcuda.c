/* The stand-in for NVIDIA's driver behaves as its own text and CUDA's say. */
#include "test.h"
#include "gemm.h"
#include "backend/gpu/cost.h"
#include "backend/gpu/params/attention.h"
#include "backend/gpu/params/product.h"

#include <dlfcn.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>

typedef uint64_t address;
typedef void *handle;

#define FUNCTIONS(X)                                                                               \
    X(cuInit, (unsigned))                                                                          \
    X(cuDriverGetVersion, (int *))                                                                 \
    X(cuGetErrorName, (int, const char **))                                                        \
    X(cuGetErrorString, (int, const char **))                                                      \
    X(cuDeviceGetCount, (int *))                                                                   \
    X(cuDeviceGet, (int *, int))                                                                   \
    X(cuDeviceGetName, (char *, int, int))                                                         \
    X(cuDeviceGetUuid, (char *, int))                                                              \
    X(cuDeviceGetAttribute, (int *, int, int))                                                     \
    X(cuDeviceTotalMem_v2, (size_t *, int))                                                        \
    X(cuDevicePrimaryCtxRetain, (handle *, int))                                                   \
    X(cuDevicePrimaryCtxRelease_v2, (int))                                                         \
    X(cuCtxPushCurrent_v2, (handle))                                                               \
    X(cuCtxPopCurrent_v2, (handle *))                                                              \
    X(cuMemAlloc_v2, (address *, size_t))                                                          \
    X(cuMemFree_v2, (address))                                                                     \
    X(cuMemGetInfo_v2, (size_t *, size_t *))                                                       \
    X(cuMemHostAlloc, (void *, size_t, unsigned))                                                  \
    X(cuMemFreeHost, (void *))                                                                     \
    X(cuMemcpyHtoDAsync_v2, (address, const void *, size_t, handle))                               \
    X(cuMemcpyDtoHAsync_v2, (void *, address, size_t, handle))                                     \
    X(cuMemcpyDtoDAsync_v2, (address, address, size_t, handle))                                    \
    X(cuMemsetD8Async, (address, unsigned char, size_t, handle))                                   \
    X(cuMemsetD32Async, (address, unsigned, size_t, handle))                                       \
    X(cuStreamCreate, (handle *, unsigned))                                                        \
    X(cuStreamDestroy_v2, (handle))                                                                \
    X(cuStreamSynchronize, (handle))                                                               \
    X(cuStreamQuery, (handle))                                                                     \
    X(cuStreamWaitEvent, (handle, handle, unsigned))                                               \
    X(cuEventCreate, (handle *, unsigned))                                                         \
    X(cuEventDestroy_v2, (handle))                                                                 \
    X(cuEventRecord, (handle, handle))                                                             \
    X(cuEventQuery, (handle))                                                                      \
    X(cuEventSynchronize, (handle))                                                                \
    X(cuEventElapsedTime, (float *, handle, handle))                                               \
    X(cuModuleLoadDataEx, (handle *, const char *, unsigned, int *, void **))                      \
    X(cuModuleUnload, (handle))                                                                    \
    X(cuModuleGetFunction, (handle *, handle, const char *))                                       \
    X(cuFuncSetAttribute, (handle, int, int))                                                      \
    X(cuFuncGetAttribute, (int *, int, handle))                                                    \
    X(cuLaunchKernel, (handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned,         \
                       unsigned, handle, void **, void **))

/* A driver that is loaded, and what most tests need of its first card. */
typedef struct rig {
    handle library, context, stream;
#define X(name, params) int(*name) params;
    FUNCTIONS(X)
#undef X
} rig;

static rig load(const char *settings)
{
    rig g = {0};
    setenv("FAKE_CUDA", settings, 1);
    const char *path = getenv("LS_CUDA_LIBRARY");
    g.library = dlopen(path ? path : "libcuda_emulated.so", RTLD_NOW | RTLD_LOCAL);
    if (!g.library)
        fail_msg("%s", dlerror());
#define X(name, params)                                                                            \
    *(void **)&g.name = dlsym(g.library, #name);                                                   \
    assert_non_null(*(void **)&g.name);
    FUNCTIONS(X)
#undef X
    return g;
}

static rig new_rig(const char *settings)
{
    rig g = load(settings);
    assert_int_equal(g.cuInit(0), 0);
    assert_int_equal(g.cuDevicePrimaryCtxRetain(&g.context, 0), 0);
    assert_int_equal(g.cuCtxPushCurrent_v2(g.context), 0);
    assert_int_equal(g.cuStreamCreate(&g.stream, 1), 0);
    return g;
}

static void free_rig(rig *g)
{
    g->cuStreamDestroy_v2(g->stream);
    assert_int_equal(g->cuCtxPopCurrent_v2(NULL), 0);
    assert_int_equal(g->cuDevicePrimaryCtxRelease_v2(0), 0);
    assert_int_equal(dlclose(g->library), 0);
}

static address new_memory(const rig *g, size_t bytes)
{
    address a;
    assert_int_equal(g->cuMemAlloc_v2(&a, bytes), 0);
    return a;
}

static void *new_pinned(const rig *g, size_t bytes)
{
    void *p;
    assert_int_equal(g->cuMemHostAlloc(&p, bytes, 0), 0);
    return p;
}

static uint32_t word_at(const rig *g, address a)
{
    uint32_t x; /* pageable: waits */
    assert_int_equal(g->cuMemcpyDtoHAsync_v2(&x, a, sizeof x, g->stream), 0);
    return x;
}

/* Whether a process that does this is ended by a signal or a sanitizer. */
static bool dies(void (*what)(void))
{
    fflush(NULL);
    const pid_t child = fork();
    if (!child) {
        signal(SIGSEGV, SIG_DFL); /* cmocka's would go on */
        signal(SIGBUS, SIG_DFL);
        alarm(60); /* a test that failed before may have left a lock taken */
        if (!freopen("/dev/null", "w", stderr))
            _exit(0);
        what();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM);
    return status != 0;
}

static void test_cards(void **unused)
{
    (void)unused;
    rig g = load("cards=2,name=Some Card,compute=86,memory=1G,driver=11040,processors=28");
    int n = 0, major = 0, minor = 0;
    size_t bytes = 0;
    char name[32], uuid[2][16];
    assert_int_equal(g.cuDeviceGetCount(&n), 3);
    assert_int_equal(g.cuInit(0), 0);
    assert_int_equal(g.cuDeviceGetCount(&n), 0);
    assert_int_equal(n, 2);
    assert_int_equal(g.cuDeviceGet(&n, 2), 101);
    assert_int_equal(g.cuDeviceGet(&n, 1), 0);
    assert_int_equal(g.cuDeviceGetName(name, sizeof name, n), 0);
    assert_string_equal(name, "Some Card");
    assert_int_equal(g.cuDeviceTotalMem_v2(&bytes, n), 0);
    assert_int_equal(bytes, 1 << 30);
    assert_int_equal(g.cuDeviceGetAttribute(&major, 75, n), 0);
    assert_int_equal(g.cuDeviceGetAttribute(&minor, 76, n), 0);
    assert_int_equal(major * 10 + minor, 86);
    assert_int_equal(g.cuDeviceGetAttribute(&n, 16, 0), 0);
    assert_int_equal(n, 28);
    assert_int_equal(g.cuDeviceGetAttribute(&n, 97, 0), 0);
    assert_int_equal(n, 99 << 10);
    assert_int_equal(g.cuDriverGetVersion(&n), 0);
    assert_int_equal(n, 11040);
    for (int i = 0; i < 2; i++)
        assert_int_equal(g.cuDeviceGetUuid(uuid[i], i), 0);
    assert_memory_not_equal(uuid[0], uuid[1], 16);
    dlclose(g.library);
    g = load("no-init");
    assert_int_equal(g.cuInit(0), 100);
    dlclose(g.library);
}

static void test_errors(void **unused)
{
    (void)unused;
    rig g = load("");
    const char *text;
    assert_int_equal(g.cuGetErrorName(2, &text), 0);
    assert_string_equal(text, "CUDA_ERROR_OUT_OF_MEMORY");
    assert_int_equal(g.cuGetErrorString(719, &text), 0);
    assert_string_equal(text, "unspecified launch failure");
    assert_int_equal(g.cuGetErrorName(12345, &text), 1);
    assert_null(text);
    dlclose(g.library);
}

static void test_contexts(void **unused)
{
    (void)unused;
    rig g = new_rig("cards=2");
    handle other, stream, top;
    address a = new_memory(&g, 8);
    assert_int_equal(g.cuDevicePrimaryCtxRetain(&other, 1), 0);
    assert_ptr_not_equal(other, g.context);
    assert_int_equal(g.cuCtxPushCurrent_v2(other), 0);
    assert_int_equal(g.cuMemsetD32Async(a, 1, 1, g.stream), 400);
    assert_int_equal(g.cuStreamCreate(&stream, 1), 0);
    assert_int_equal(g.cuMemsetD32Async(a, 1, 1, stream), 1);
    assert_int_equal(g.cuStreamDestroy_v2(stream), 0);
    assert_int_equal(g.cuCtxPopCurrent_v2(&top), 0);
    assert_ptr_equal(top, other);
    assert_int_equal(g.cuDevicePrimaryCtxRelease_v2(1), 0);
    assert_int_equal(g.cuDevicePrimaryCtxRelease_v2(1), 201);
    assert_int_equal(g.cuCtxPushCurrent_v2(other), 201);
    assert_int_equal(g.cuCtxPopCurrent_v2(&top), 0);
    assert_int_equal(g.cuCtxPopCurrent_v2(&top), 201);
    assert_int_equal(g.cuMemFree_v2(a), 201);
    assert_int_equal(g.cuStreamSynchronize(g.stream), 201);
    assert_int_equal(g.cuCtxPushCurrent_v2(g.context), 0);
    assert_int_equal(g.cuMemFree_v2(a), 0);
    free_rig(&g);
}

static void touch_memory(void)
{
    rig g = new_rig("");
    const address a = new_memory(&g, 4096);
    *(volatile char *)(uintptr_t)a = 1;
}

static void test_memory(void **unused)
{
    (void)unused;
    rig g = new_rig("memory=1M");
    address a = new_memory(&g, 1000), b, c;
    size_t available, total;
    assert_int_equal(a % 256, 0);
    assert_int_equal(g.cuMemGetInfo_v2(&available, &total), 0);
    assert_int_equal(total, 1 << 20);
    assert_int_equal(available, (1 << 20) - 1024);
    assert_int_equal(word_at(&g, a + 996), 0xffffffff);
    assert_int_equal(g.cuMemcpyDtoDAsync_v2(a, a + 998, 4, g.stream), 1);
    assert_int_equal(g.cuMemAlloc_v2(&b, available + 1), 2);
    assert_int_equal(g.cuMemAlloc_v2(&b, 0), 1);
    assert_int_equal(g.cuMemAlloc_v2(&b, available), 0);
    assert_int_equal(g.cuMemAlloc_v2(&c, 1), 2);
    assert_int_equal(g.cuMemFree_v2(b + 256), 1);
    assert_int_equal(g.cuMemFree_v2(b), 0);
    assert_int_equal(g.cuMemFree_v2(b), 1);
    assert_int_equal(g.cuMemAlloc_v2(&c, available), 0);
    assert_int_not_equal(b, c);
    assert_int_equal(g.cuMemFree_v2(c), 0);
    assert_int_equal(g.cuMemFree_v2(a), 0);
    free_rig(&g);
    assert_true(dies(touch_memory));
}

static void test_copies(void **unused)
{
    (void)unused;
    rig g = new_rig("");
    const address a = new_memory(&g, 16);
    uint32_t *const in = new_pinned(&g, 8), *const out = new_pinned(&g, 4), pageable = 7;
    in[0] = 1;
    assert_int_equal(g.cuMemcpyHtoDAsync_v2(a, in, 4, g.stream), 0);
    assert_int_equal(g.cuMemcpyHtoDAsync_v2(a + 4, &pageable, 4, g.stream), 0);
    assert_int_equal(g.cuMemcpyDtoDAsync_v2(a + 8, a, 8, g.stream), 0);
    in[0] = 2; /* too early */
    pageable = 8;
    assert_int_equal(g.cuStreamSynchronize(g.stream), 0);
    assert_int_equal(word_at(&g, a + 8), 2);
    assert_int_equal(word_at(&g, a + 12), 7);

    *out = 5;
    assert_int_equal(g.cuMemcpyDtoHAsync_v2(out, a + 4, 4, g.stream), 0);
    assert_int_equal(*out, 0xffffffff); /* too early */
    assert_int_equal(g.cuMemsetD8Async(a + 4, 0x12, 4, g.stream), 0);
    assert_int_equal(g.cuStreamQuery(g.stream), 600);
    while (g.cuStreamQuery(g.stream))
        ;
    assert_int_equal(*out, 7);
    assert_int_equal(word_at(&g, a + 4), 0x12121212);
    assert_int_equal(g.cuMemsetD32Async(a, 0x1234, 4, g.stream), 0);
    assert_int_equal(word_at(&g, a + 12), 0x1234);
    assert_int_equal(g.cuMemsetD32Async(a, 0x1234, 5, g.stream), 1);
    assert_int_equal(g.cuMemFreeHost(in), 0);
    assert_int_equal(g.cuMemFreeHost(out), 0);
    assert_int_equal(g.cuMemFreeHost(&pageable), 1);
    assert_int_equal(g.cuMemFree_v2(a), 0);
    free_rig(&g);
}

static void test_events(void **unused)
{
    (void)unused;
    rig g = new_rig("");
    const address a = new_memory(&g, 4);
    uint32_t *const out = new_pinned(&g, 4);
    handle other, from, to, timeless;
    float ms = -1;
    assert_int_equal(g.cuStreamCreate(&other, 1), 0);
    assert_int_equal(g.cuEventCreate(&from, 1), 0);
    assert_int_equal(g.cuEventCreate(&to, 0), 0);
    assert_int_equal(g.cuEventCreate(&timeless, 2), 0);
    assert_int_equal(g.cuEventSynchronize(from), 0); /* never recorded */
    assert_int_equal(g.cuEventQuery(from), 0);
    assert_int_equal(g.cuEventElapsedTime(&ms, from, to), 400);

    assert_int_equal(g.cuEventRecord(from, g.stream), 0);
    assert_int_equal(g.cuMemsetD32Async(a, 3, 1, g.stream), 0);
    assert_int_equal(g.cuEventRecord(to, g.stream), 0);
    assert_int_equal(g.cuEventRecord(timeless, g.stream), 0);
    assert_int_equal(g.cuMemsetD32Async(a, 4, 1, g.stream), 0);
    assert_int_equal(g.cuEventElapsedTime(&ms, from, to), 600);
    assert_int_equal(g.cuStreamWaitEvent(other, to, 0), 0);
    assert_int_equal(g.cuMemcpyDtoHAsync_v2(out, a, 4, other), 0);
    assert_int_equal(g.cuEventRecord(to, other), 0); /* what was to be waited for stays so */
    assert_int_equal(g.cuEventSynchronize(to), 0);
    assert_int_equal(*out, 3);
    assert_int_equal(g.cuEventElapsedTime(&ms, from, to), 0);
    assert_true(ms >= 0 && ms < 1e4f);
    assert_int_equal(g.cuEventElapsedTime(&ms, from, timeless), 400);
    assert_int_equal(g.cuEventQuery(timeless), 600);
    while (g.cuEventQuery(timeless))
        ;
    assert_int_equal(g.cuEventDestroy_v2(from), 0);
    assert_int_equal(g.cuEventRecord(timeless, other), 0);
    assert_int_equal(g.cuEventDestroy_v2(timeless), 0); /* its record is still to come */
    assert_int_equal(g.cuEventDestroy_v2(to), 0);
    assert_int_equal(g.cuStreamDestroy_v2(other), 0);
    assert_int_equal(g.cuMemFreeHost(out), 0);
    assert_int_equal(g.cuMemFree_v2(a), 0);
    free_rig(&g);
}

static const char ptx[] = ".version 7.0\n.target sm_80\n.address_size 64\n"
                          "\t// .globl\ttest_gemm\n"
                          ".visible .entry test_gemm(\n"
                          "\t.param .align 8 .b8 test_gemm_param_0[48]\n)\n"
                          ".maxntid 256, 1, 1\n{\n}\n"
                          ".visible .entry other(\n)\n{\n}\n";

static void test_modules(void **unused)
{
    (void)unused;
    _Static_assert(sizeof(gemm_params) == 48, "as the PTX says");
    rig g = new_rig("compute=86,driver=11010");
    handle module, f;
    char text[sizeof ptx], log[64] = "";
    int options[] = {5, 6}, value;
    void *values[] = {log, (void *)sizeof log};
    memcpy(text, ptx, sizeof ptx);
    memcpy(strstr(text, "sm_80"), "sm_89", 5);
    assert_int_equal(g.cuModuleLoadDataEx(&module, text, 2, options, values), 218);
    assert_string_equal(log, "ptxas: .target sm_89 is higher than sm_86");
    memcpy(strstr(text, "7.0"), "7.2", 3);
    assert_int_equal(g.cuModuleLoadDataEx(&module, text, 0, NULL, NULL), 222);
    assert_int_equal(g.cuModuleLoadDataEx(&module, "\177ELF", 0, NULL, NULL), 200);
    assert_int_equal(g.cuModuleLoadDataEx(&module, ptx, 0, NULL, NULL), 0);
    assert_int_equal(g.cuModuleGetFunction(&f, module, "test"), 500);
    assert_int_equal(g.cuModuleGetFunction(&f, module, "other"), 500); /* not on the host */
    assert_int_equal(g.cuModuleGetFunction(&f, module, "test_gemm"), 0);
    assert_int_equal(g.cuFuncGetAttribute(&value, 0, f), 0);
    assert_int_equal(value, 256);
    assert_int_equal(g.cuFuncSetAttribute(f, 8, (99 << 10) + 1), 1);

    gemm_params p = {0};
    void *params[] = {&p};
    assert_int_equal(g.cuLaunchKernel(f, 1, 1, 1, 512, 1, 1, 0, g.stream, params, NULL), 701);
    assert_int_equal(g.cuLaunchKernel(f, 0, 1, 1, 256, 1, 1, 0, g.stream, params, NULL), 1);
    assert_int_equal(g.cuLaunchKernel(f, 1, 65536, 1, 256, 1, 1, 0, g.stream, params, NULL), 1);
    assert_int_equal(g.cuLaunchKernel(f, 1, 1, 1, 256, 1, 1, GEMM_SHARED, g.stream, params, NULL),
                     1);
    assert_int_equal(g.cuLaunchKernel(f, 1, 1, 1, 256, 1, 1, 0, NULL, params, NULL), 400);
    assert_int_equal(g.cuModuleUnload(module), 0);
    free_rig(&g);
}

enum { SIZE = 128 };

/* Whether a product of [SIZE, SIZE] matrices of ones is right. `code`: what the wait returns.
 * `freed`: the memory of w is, too early. `depth`: of the product; beyond
 * SIZE are no values. */
static bool runs_right(rig *g, int code, bool freed, uint32_t depth)
{
    handle module, f;
    const address x = new_memory(g, 2 * SIZE * SIZE), w = new_memory(g, 2 * SIZE * SIZE);
    const address y = new_memory(g, 2 * SIZE * SIZE), bias = new_memory(g, 4 * SIZE);
    uint16_t *const ones = new_pinned(g, 2 * SIZE * SIZE), *out = malloc(2 * SIZE * SIZE);
    gemm_params p = {(const uint16_t *)(uintptr_t)x,
                     (const uint16_t *)(uintptr_t)w,
                     (const float *)(uintptr_t)bias,
                     (uint16_t *)(uintptr_t)y,
                     SIZE,
                     SIZE,
                     depth};
    void *params[] = {&p};
    for (int i = 0; i < SIZE * SIZE; i++)
        ones[i] = 0x3c00;
    assert_int_equal(g->cuModuleLoadDataEx(&module, ptx, 0, NULL, NULL), 0);
    assert_int_equal(g->cuModuleGetFunction(&f, module, "test_gemm"), 0);
    assert_int_equal(g->cuFuncSetAttribute(f, 8, GEMM_SHARED), 0);
    g->cuMemcpyHtoDAsync_v2(x, ones, 2 * SIZE * SIZE, g->stream);
    g->cuMemcpyHtoDAsync_v2(w, ones, 2 * SIZE * SIZE, g->stream);
    g->cuMemsetD32Async(bias, 0, SIZE, g->stream);
    if (freed)
        assert_int_equal(g->cuMemFree_v2(w), 0);
    assert_int_equal(g->cuLaunchKernel(f, 1, 1, 1, 256, 1, 1, GEMM_SHARED, g->stream, params, NULL),
                     0);
    p.y = NULL; /* was taken */
    assert_int_equal(g->cuStreamSynchronize(g->stream), code);
    assert_int_equal(g->cuMemcpyDtoHAsync_v2(out, y, 2 * SIZE * SIZE, g->stream), code);
    bool right = true;
    for (int i = 0; i < SIZE * SIZE; i++)
        right = right && !code && out[i] == 0x5800; /* 128 */
    free(out);
    assert_int_equal(g->cuModuleUnload(module), code);
    assert_int_equal(g->cuMemFreeHost(ones), code);
    assert_int_equal(g->cuMemFree_v2(x), code);
    if (!freed)
        assert_int_equal(g->cuMemFree_v2(w), code);
    assert_int_equal(g->cuMemFree_v2(y), code);
    assert_int_equal(g->cuMemFree_v2(bias), code);
    return right;
}

static bool right_with(const char *settings)
{
    rig g = new_rig(settings);
    const bool right = runs_right(&g, 0, false, SIZE);
    free_rig(&g);
    return right;
}

static void test_kernels(void **unused)
{
    (void)unused;
    assert_true(right_with("seed=1"));
    assert_true(right_with("seed=2,threads=1,eager"));
    assert_false(right_with("mutation=wait"));
    assert_false(right_with("mutation=barrier:1"));
    assert_true(right_with("mutation=wait,kernel=other"));
}

static void test_lost(void **unused)
{
    (void)unused;
    const char *text;
    rig g = new_rig("");
    assert_false(runs_right(&g, 700, true, SIZE));
    assert_int_equal(g.cuGetErrorString(700, &text), 0);
    assert_non_null(strstr(text, "test_gemm: a parameter is the address of no memory"));
    assert_int_equal(g.cuStreamQuery(g.stream), 700);
    free_rig(&g);
    g = new_rig("fail=cuLaunchKernel:2:719");
    assert_true(runs_right(&g, 0, false, SIZE));
    assert_false(runs_right(&g, 719, false, SIZE));
    free_rig(&g);
}

static void test_failures(void **unused)
{
    (void)unused;
    rig g = new_rig("fail=cuMemAlloc:2:2,fail=cuStreamSynchronize:2+:999,fail=cuEventCreate:1:400");
    address a[3];
    handle event;
    assert_int_equal(g.cuMemAlloc_v2(&a[0], 4), 0);
    assert_int_equal(g.cuMemAlloc_v2(&a[1], 4), 2);
    assert_int_equal(g.cuMemAlloc_v2(&a[1], 4), 0);
    assert_int_equal(g.cuEventCreate(&event, 0), 400);
    assert_int_equal(g.cuEventCreate(&event, 0), 0);
    assert_int_equal(g.cuEventDestroy_v2(event), 0);
    assert_int_equal(g.cuStreamSynchronize(g.stream), 0);
    assert_int_equal(g.cuStreamSynchronize(g.stream), 999);
    assert_int_equal(g.cuStreamSynchronize(g.stream), 999);
    assert_int_equal(g.cuMemAlloc_v2(&a[2], 4), 999);
    assert_int_equal(g.cuMemFree_v2(a[0]), 999);
    assert_int_equal(g.cuMemFree_v2(a[1]), 999);
    free_rig(&g);
}

static void leak_nothing(void)
{
    rig g = new_rig("");
    free_rig(&g);
}

static void leak_memory(void)
{
    rig g = new_rig("");
    new_memory(&g, 1);
    free_rig(&g);
}

static void leak_pinned(void)
{
    rig g = new_rig("");
    new_pinned(&g, 1);
    free_rig(&g);
}

static void leak_event(void)
{
    rig g = new_rig("");
    handle event;
    g.cuEventCreate(&event, 0);
    free_rig(&g);
}

static void leak_module(void)
{
    rig g = new_rig("");
    handle module;
    g.cuModuleLoadDataEx(&module, ptx, 0, NULL, NULL);
    free_rig(&g);
}

static void leak_stream(void)
{
    rig g = new_rig("");
    handle stream;
    g.cuStreamCreate(&stream, 0);
    free_rig(&g);
}

static void leak_context(void)
{
    rig g = new_rig("");
    g.cuDevicePrimaryCtxRetain(&g.context, 0);
    free_rig(&g);
}

static void leak_push(void)
{
    rig g = new_rig("");
    g.cuCtxPushCurrent_v2(g.context);
    free_rig(&g);
}

static void mistake_key(void)
{
    load("card=3");
}

static void test_leaks(void **unused)
{
    (void)unused;
    static void (*const leaks[])(void) = {leak_memory, leak_pinned,  leak_event, leak_module,
                                          leak_stream, leak_context, leak_push,  mistake_key};
    assert_false(dies(leak_nothing));
    for (size_t i = 0; i < sizeof leaks / sizeof *leaks; i++)
        if (!dies(leaks[i]))
            fail_msg("leak %zu does not show", i);
}

static void begin(const rig *g, handle event)
{
    assert_int_equal(g->cuEventRecord(event, g->stream), 0);
    assert_int_equal(g->cuEventSynchronize(event), 0); // before anything else is enqueued
}

/* Milliseconds that what was enqueued between the events took; the first begins again. */
static float elapsed(const rig *g, handle event[2])
{
    float ms = 0;
    begin(g, event[1]);
    assert_int_equal(g->cuEventElapsedTime(&ms, event[0], event[1]), 0);
    begin(g, event[0]);
    return ms;
}

static void test_speed(void **unused)
{
    (void)unused;
    rig g = new_rig("link=0.1,gbs=0.001");
    const size_t bytes = 2000000;
    const address a = new_memory(&g, bytes);
    void *const from = new_pinned(&g, bytes);
    handle event[2], module, f;
    gemm_params p = {0};
    void *params[] = {&p};
    for (int i = 0; i < 2; i++)
        assert_int_equal(g.cuEventCreate(&event[i], 0), 0);
    memset(from, 0, bytes);
    begin(&g, event[0]);
    assert_int_equal(g.cuMemcpyHtoDAsync_v2(a, from, bytes, g.stream), 0);
    assert_true(elapsed(&g, event) >= 20);
    assert_int_equal(g.cuModuleLoadDataEx(&module, ptx, 0, NULL, NULL), 0);
    assert_int_equal(g.cuModuleGetFunction(&f, module, "test_gemm"), 0);
    assert_int_equal(g.cuLaunchKernel(f, 2, 1, 1, 256, 1, 1, 0, g.stream, params, NULL), 0);
    assert_true(elapsed(&g, event) >= 16); /* as if it were elementwise: 16 KB */
    for (int i = 0; i < 2; i++)
        g.cuEventDestroy_v2(event[i]);
    assert_int_equal(g.cuModuleUnload(module), 0);
    assert_int_equal(g.cuMemFreeHost(from), 0);
    assert_int_equal(g.cuMemFree_v2(a), 0);
    free_rig(&g);
}

static void test_costs(void **unused)
{
    (void)unused;
    const uint32_t grid[3] = {1, 1, 1};
    const product_params conv = {.finish = {.rows = 2 * 4 * 4, .outputs = 16},
                                 .channels = 8,
                                 .height = 8,
                                 .width = 8,
                                 .out_height = 4,
                                 .out_width = 4,
                                 .taps = 9};
    gpu_cost c = ls_gpu_cost("product_64x64", &conv, grid, 128);
    assert_true(c.flops == 2.0 * 32 * 16 * 72);
    assert_true(c.bytes == 2.0 * (2 * 64 * 8 + 16 * 72 + 32 * 16));
    const attention_params attention = {.channels = 80, .sequences = 3, .queries = 50, .keys = 20};
    c = ls_gpu_cost("attention_40", &attention, grid, 128);
    assert_true(c.flops == 2 * 2.0 * 3 * 50 * 20 * 80);
    assert_true(c.bytes == 2.0 * 3 * 80 * (50 + 50 + 20 + 20));
}

static void overrun(void)
{
    rig g = new_rig("");
    runs_right(&g, 0, false, SIZE + 8);
}

static void test_overrun(void **unused)
{
    (void)unused;
    assert_true(dies(overrun));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cards),    cmocka_unit_test(test_errors),
        cmocka_unit_test(test_contexts), cmocka_unit_test(test_memory),
        cmocka_unit_test(test_copies),   cmocka_unit_test(test_events),
        cmocka_unit_test(test_modules),  cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_lost),     cmocka_unit_test(test_failures),
        cmocka_unit_test(test_leaks),    cmocka_unit_test(test_speed),
        cmocka_unit_test(test_costs),    cmocka_unit_test(test_overrun),
    };
    return cmocka_run_group_tests_name("libcuda", tests, NULL, NULL);
}
