/* Stands in for NVIDIA's driver: the functions of libcuda.so.1 that are used, for cards that do not
 * exist. Kernels are those of src/backend/cuda/kernels, compiled for the host and run by the
 * emulator; their PTX is looked at as far as to know that it is there and for which card.
 *
 * It is as strict as it can be:
 * - Work is done when somebody waits for it, or asks whether it is done, and not before: host
 * memory that was handed over too early or is looked at too early shows. Pinned memory that is to
 * be read into is 0xff bytes until then.
 * - Memory of a card begins as 0xff bytes. The host cannot use its addresses; a kernel that goes a
 *   page beyond an allocation, or uses a freed one, stops the process (with AddressSanitizer: a
 * byte beyond). A parameter that is the address of no memory is error 700.
 * - What is left when the library is unloaded (contexts, memory, modules, streams, events) is told
 *   on stderr, and the process aborts.
 * - Functions need a current context where CUDA says so; objects of one context do not serve
 * another.
 * - After an error of a kernel (719) or an address (700) a context only answers with that error.
 *
 * FAKE_CUDA in the environment, read when the library is loaded, is a list KEY=VALUE,KEY=VALUE..:
 *   cards=N        (1)
 *   name=TEXT      of the cards (Emulated Card)
 *   compute=MAJORMINOR  capability (80)
 *   memory=BYTES   of a card, with K, M or G (8G); more than that is error 2
 *   driver=NUMBER  the CUDA version (12040)
 *   processors=N   multiprocessors (16)
 *   no-init        cuInit finds no card, error 100
 *   fail=FUNCTION:N[+]:CODE  the N-th call, from 1, of a function (with + each from the N-th on)
 *                  fails with an error; errors 700 to 719, 214 and 999 of work come when it is
 *                  executed and stay, as on a card. May be repeated
 *   eager          work is done at once
 *   threads=N      of the host, that run kernels (all cores)
 *   seed=N         of the emulator (0)
 *   mutation=NAME[:N]  a fault of the emulator (emulator.h): barrier, wait, row, swap or sync_warp;
 *                  N: which barrier
 *   kernel=NAME    the only kernel that has the fault
 *   tflops=X, gbs=Y, link=Z  cards that are only as fast as this, in real time: kernels are not
 *                  run, but take the time that their products and their memory would (cost.c),
 *                  copies from and to the host that of Z GB/s. Results are whatever was there
 * before
 */
#include "card.h"
#include "backend/gpu/cost.h"
#include "backend/gpu/gpu.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#pragma GCC diagnostic ignored "-Wmissing-prototypes"

enum { MAX_CARDS = 8, MAX_FAILURES = 8, MAX_PUSHED = 16 };

typedef struct failure {
    char function[48];
    unsigned from;
    bool onward;
    int code;
    unsigned calls;
} failure;

typedef struct settings {
    int cards, compute, driver, processors, threads;
    size_t memory;
    char name[96], kernel[64];
    bool no_init, eager;
    uint64_t seed;
    emulator_mutation mutation;
    unsigned barrier;
    speed speed;
    failure failures[MAX_FAILURES];
    size_t failure_count;
} settings;

typedef struct module module;

typedef struct function {
    struct function *next;
    module *module;
    const char *name;
    void (*kernel)(const void *);
    size_t params_size, shared;
    unsigned threads; /* .maxntid */
} function;

struct module {
    context *context;
    char *text;
    function *functions;
};

static settings set;
static bool initialized;
static context contexts[MAX_CARDS];
static long modules, streams, events, pinned_count, pushed;
static struct pinned {
    uint8_t *memory;
    size_t bytes;
} * pinned;
static __thread context *stack[MAX_PUSHED];
static __thread int depth;

/* Those that are linked; others are NULL, and not found. */
#define LS_X(name, threads) __attribute__((weak)) void ls_emulated_##name(const void *);
LS_GPU_KERNELS(LS_X)
LS_X(test_gemm, 256)
#undef LS_X

static const struct kernel {
    const char *name;
    void (*run)(const void *);
} kernels[] = {
#define LS_X(name, threads) {#name, ls_emulated_##name},
    LS_GPU_KERNELS(LS_X) LS_X(test_gemm, 256)
#undef LS_X
};

/* ---- settings ---- */

static void misread(const char *what)
{
    fprintf(stderr, "FAKE_CUDA: %s is not understood\n", what);
    abort();
}

static double number(const char *text)
{
    char *end;
    double x = strtod(text, &end);
    const char *const units = "KMG", *const unit = *end ? strchr(units, *end) : NULL;
    for (const char *u = units; unit && u <= unit; u++)
        x *= 1024;
    if (end == text || (unit ? end[1] : *end))
        misread(text);
    return x;
}

static void read_failure(const char *text)
{
    if (set.failure_count == MAX_FAILURES)
        misread("so many failures");
    failure *const f = &set.failures[set.failure_count++];
    char plus[2];
    if (sscanf(text, "%47[^:]:%u%1[+]:%d", f->function, &f->from, plus, &f->code) == 4)
        f->onward = true;
    else if (sscanf(text, "%47[^:]:%u:%d", f->function, &f->from, &f->code) != 3)
        misread(text);
}

static void read_mutation(char *text)
{
    char *const colon = strchr(text, ':');
    if (colon) {
        *colon = 0;
        set.barrier = (unsigned)number(colon + 1);
    }
    set.mutation = emulator_mutation_named(text);
    if (set.mutation == EMULATOR_MUTATIONS)
        misread(text);
}

static void read_setting(char *text)
{
    char *value = strchr(text, '=');
    if (value)
        *value++ = 0;
    if (!strcmp(text, "no-init"))
        set.no_init = true;
    else if (!strcmp(text, "eager"))
        set.eager = true;
    else if (!value)
        misread(text);
    else if (!strcmp(text, "cards"))
        set.cards = (int)number(value);
    else if (!strcmp(text, "name"))
        snprintf(set.name, sizeof set.name, "%s", value);
    else if (!strcmp(text, "compute"))
        set.compute = (int)number(value);
    else if (!strcmp(text, "memory"))
        set.memory = (size_t)number(value);
    else if (!strcmp(text, "driver"))
        set.driver = (int)number(value);
    else if (!strcmp(text, "processors"))
        set.processors = (int)number(value);
    else if (!strcmp(text, "fail"))
        read_failure(value);
    else if (!strcmp(text, "threads"))
        set.threads = (int)number(value);
    else if (!strcmp(text, "seed"))
        set.seed = (uint64_t)number(value);
    else if (!strcmp(text, "mutation"))
        read_mutation(value);
    else if (!strcmp(text, "kernel"))
        snprintf(set.kernel, sizeof set.kernel, "%s", value);
    else if (!strcmp(text, "tflops"))
        set.speed.flops = 1e12 * number(value);
    else if (!strcmp(text, "gbs"))
        set.speed.bytes = 1e9 * number(value);
    else if (!strcmp(text, "link"))
        set.speed.link = 1e9 * number(value);
    else
        misread(text);
}

__attribute__((constructor)) static void read_settings(void)
{
    const char *const wanted = getenv("FAKE_CUDA");
    char *const text = strdup(wanted ? wanted : ""), *rest = NULL;
    set = (settings){.cards = 1,
                     .compute = 80,
                     .driver = 12040,
                     .processors = 16,
                     .threads = (int)sysconf(_SC_NPROCESSORS_ONLN),
                     .memory = (size_t)8 << 30,
                     .name = "Emulated Card"};
    for (char *s = strtok_r(text, ",", &rest); s; s = strtok_r(NULL, ",", &rest))
        read_setting(s);
    free(text);
    if (set.cards < 0 || set.cards > MAX_CARDS)
        misread("that many cards");
}

/* ---- what every function begins with ---- */

/* The error that this call is to fail with. */
static int injected(const char *name)
{
    int code = 0;
    for (failure *f = set.failures; f < set.failures + set.failure_count; f++) {
        const size_t n = strlen(f->function);
        if (strncmp(name, f->function, n) || (name[n] && strcmp(name + n, "_v2")))
            continue;
        f->calls++;
        if (f->calls == f->from || (f->onward && f->calls > f->from))
            code = f->code;
    }
    return code;
}

static bool stays(int code)
{
    return (code >= 700 && code <= 719) || code == 214 || code == 999;
}

/* Locks; when it fails, it has unlocked again. */
static int enter(const char *name)
{
    pthread_mutex_lock(&card_lock);
    int r = injected(name);
    if (!r && !initialized)
        r = CUDA_NOT_INITIALIZED;
    if (r)
        pthread_mutex_unlock(&card_lock);
    return r;
}

static int leave(int r)
{
    pthread_mutex_unlock(&card_lock);
    return r;
}

/* *c is the current context. What work is to fail with later is in *fails, unless that is NULL. */
static int enter_context(const char *name, context **c, int *fails)
{
    pthread_mutex_lock(&card_lock);
    int r = injected(name), later = 0;
    *c = depth ? stack[depth - 1] : NULL;
    if (fails && stays(r)) {
        later = r;
        r = 0;
    }
    if (fails)
        *fails = later;
    if (!r && !initialized)
        r = CUDA_NOT_INITIALIZED;
    if (!r && !*c)
        r = CUDA_INVALID_CONTEXT;
    if (*c && stays(r))
        (*c)->error = r;
    if (!r)
        r = (*c)->error;
    if (r)
        pthread_mutex_unlock(&card_lock);
    return r;
}

/* For functions that free: those of a lost context do, but return its error, *lost. */
static int enter_to_free(const char *name, context **c, int *lost)
{
    const int r = enter_context(name, c, NULL);
    *lost = r && *c && r == (*c)->error ? r : 0;
    if (*lost)
        pthread_mutex_lock(&card_lock);
    return *lost ? 0 : r;
}

/* ---- errors ---- */

static const struct {
    int code;
    const char *name, *text;
} results[] = {
    {0, "CUDA_SUCCESS", "no error"},
    {1, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {2, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {3, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {100, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
    {101, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {200, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {201, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {214, "CUDA_ERROR_ECC_UNCORRECTABLE", "uncorrectable ECC error encountered"},
    {218, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
    {222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
     "the provided PTX was compiled with an unsupported toolchain."},
    {400, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {500, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {600, "CUDA_ERROR_NOT_READY", "device not ready"},
    {700, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
    {701, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {719, "CUDA_ERROR_LAUNCH_FAILED", "unspecified launch failure"},
    {999, "CUDA_ERROR_UNKNOWN", "unknown error"},
};

API int cuGetErrorName(int code, const char **text)
{
    *text = NULL;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].code == code)
            *text = results[i].name;
    return *text ? 0 : CUDA_INVALID_VALUE;
}

/* What the emulator found takes the place of the text of its error. */
API int cuGetErrorString(int code, const char **text)
{
    static __thread char found[512];
    *text = NULL;
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].code == code)
            *text = results[i].text;
    pthread_mutex_lock(&card_lock);
    card_message(found, sizeof found);
    pthread_mutex_unlock(&card_lock);
    if (*found && (code == CUDA_LAUNCH_FAILED || code == CUDA_ILLEGAL_ADDRESS))
        *text = found;
    return *text ? 0 : CUDA_INVALID_VALUE;
}

/* ---- cards and contexts ---- */

API int cuInit(unsigned flags)
{
    pthread_mutex_lock(&card_lock);
    int r = injected(__func__);
    if (!r && flags)
        r = CUDA_INVALID_VALUE;
    if (!r && (set.no_init || !set.cards))
        r = CUDA_NO_DEVICE;
    initialized |= !r;
    return leave(r);
}

API int cuDriverGetVersion(int *version)
{
    pthread_mutex_lock(&card_lock);
    *version = set.driver;
    return leave(injected(__func__));
}

API int cuDeviceGetCount(int *count)
{
    const int r = enter(__func__);
    if (r)
        return r;
    *count = set.cards;
    return leave(0);
}

API int cuDeviceGet(int *device, int ordinal)
{
    const int r = enter(__func__);
    if (r)
        return r;
    *device = ordinal;
    return leave(ordinal >= 0 && ordinal < set.cards ? 0 : CUDA_INVALID_DEVICE);
}

static int enter_device(const char *name, int device)
{
    const int r = enter(name);
    if (!r && (device < 0 || device >= set.cards))
        return leave(CUDA_INVALID_DEVICE);
    return r;
}

API int cuDeviceGetName(char *name, int size, int device)
{
    const int r = enter_device(__func__, device);
    if (r)
        return r;
    snprintf(name, (size_t)size, "%s", set.name);
    return leave(0);
}

API int cuDeviceGetUuid(char uuid[16], int device)
{
    const int r = enter_device(__func__, device);
    if (r)
        return r;
    memset(uuid, 'u', 16);
    uuid[15] = (char)device;
    return leave(0);
}

API int cuDeviceTotalMem_v2(size_t *bytes, int device)
{
    const int r = enter_device(__func__, device);
    if (r)
        return r;
    *bytes = set.memory;
    return leave(0);
}

/* Bytes that a block can ask for, as CUDA's programming guide has them. */
static int shared_of(int compute)
{
    switch (compute) {
    case 75:
        return 64 << 10;
    case 80:
    case 87:
        return 163 << 10;
    case 90:
    case 100:
    case 103:
        return 227 << 10;
    default:
        return 99 << 10;
    }
}

static int attribute(int what)
{
    switch (what) {
    case 1: /* threads of a block */
        return 1024;
    case 2: /* blocks: x, y, z */
    case 3:
        return 1024;
    case 4:
        return 64;
    case 5: /* grids: x, y, z */
        return 0x7fffffff;
    case 6:
    case 7:
        return 65535;
    case 8: /* shared memory of a block that does not ask */
        return 48 << 10;
    case 10:
        return 32;
    case 16:
        return set.processors;
    case 75:
        return set.compute / 10;
    case 76:
        return set.compute % 10;
    case 81: /* shared memory of a multiprocessor */
        return shared_of(set.compute) + 1024;
    case 97:
        return shared_of(set.compute);
    default:
        return -1;
    }
}

API int cuDeviceGetAttribute(int *value, int what, int device)
{
    const int r = enter_device(__func__, device);
    if (r)
        return r;
    *value = attribute(what);
    return leave(*value < 0 ? CUDA_INVALID_VALUE : 0);
}

API int cuDevicePrimaryCtxRetain(context **out, int device)
{
    int r = enter_device(__func__, device);
    if (r)
        return r;
    context *const c = &contexts[device];
    if (!c->retained)
        r = card_memory_open(&c->memory, set.memory);
    if (!r) {
        c->retained++;
        *out = c;
    }
    return leave(r);
}

API int cuDevicePrimaryCtxRelease_v2(int device)
{
    const int r = enter_device(__func__, device);
    if (r)
        return r;
    context *const c = &contexts[device];
    if (!c->retained)
        return leave(CUDA_INVALID_CONTEXT);
    if (c->retained == 1 && (c->streams || c->memory.live)) {
        fprintf(stderr, "libcuda: a context is released with %zu allocations%s left\n",
                c->memory.live, c->streams ? " and streams" : "");
        abort();
    }
    if (!--c->retained) {
        card_memory_close(&c->memory);
        c->error = 0;
    }
    return leave(0);
}

API int cuCtxPushCurrent_v2(context *c)
{
    const int r = enter(__func__);
    if (r)
        return r;
    if (!c || !c->retained || depth == MAX_PUSHED)
        return leave(CUDA_INVALID_CONTEXT);
    stack[depth++] = c;
    pushed++;
    return leave(0);
}

API int cuCtxPopCurrent_v2(context **c)
{
    const int r = enter(__func__);
    if (r)
        return r;
    if (!depth)
        return leave(CUDA_INVALID_CONTEXT);
    if (c)
        *c = stack[depth - 1];
    depth--;
    pushed--;
    return leave(0);
}

__attribute__((destructor)) static void unload(void)
{
    long memory = 0, retained = 0;
    for (int i = 0; i < MAX_CARDS; i++) {
        memory += (long)contexts[i].memory.live;
        retained += contexts[i].retained;
    }
    free(pinned);
    if (!memory && !retained && !modules && !streams && !events && !pinned_count && !pushed)
        return;
    fprintf(stderr,
            "libcuda: left are %ld contexts, %ld that are current, %ld allocations, %ld of pinned "
            "memory, %ld modules, %ld streams, %ld events\n",
            retained, pushed, memory, pinned_count, modules, streams, events);
    abort();
}

/* ---- memory ---- */

static bool measured(void)
{
    return set.speed.flops > 0 || set.speed.bytes > 0;
}

API int cuMemAlloc_v2(uint64_t *out, size_t bytes)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    return r ? r : leave(card_alloc(&c->memory, out, bytes, !measured()));
}

/* Waits for all work, as CUDA's does. Memory of a lost context is freed too. */
API int cuMemFree_v2(uint64_t memory)
{
    context *c;
    int lost;
    const int r = enter_to_free(__func__, &c, &lost);
    if (r)
        return r;
    context_wait(c);
    const int freed = card_free(&c->memory, memory);
    return leave(lost ? lost : freed);
}

API int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    *total = c->memory.total;
    *available = c->memory.total - c->memory.used;
    return leave(0);
}

API int cuMemHostAlloc(void **out, size_t bytes, unsigned flags)
{
    context *c;
    void *memory;
    (void)flags;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    struct pinned *const more = realloc(pinned, ((size_t)pinned_count + 1) * sizeof *more);
    if (more)
        pinned = more;
    if (!more || !bytes || posix_memalign(&memory, 4096, bytes))
        return leave(bytes ? CUDA_OUT_OF_MEMORY : CUDA_INVALID_VALUE);
    pinned[pinned_count++] = (struct pinned){memory, bytes};
    *out = memory;
    return leave(0);
}

static bool is_pinned(const void *p, size_t bytes)
{
    const uint8_t *const at = p;
    for (long i = 0; i < pinned_count; i++)
        if (at >= pinned[i].memory && at + bytes <= pinned[i].memory + pinned[i].bytes)
            return true;
    return false;
}

API int cuMemFreeHost(void *memory)
{
    context *c;
    int lost;
    const int r = enter_to_free(__func__, &c, &lost);
    if (r)
        return r;
    context_wait(c);
    for (long i = 0; i < pinned_count; i++)
        if (pinned[i].memory == memory) {
            memset(memory, 0xff, pinned[i].bytes);
            free(memory);
            pinned[i] = pinned[--pinned_count];
            return leave(lost);
        }
    return leave(CUDA_INVALID_VALUE);
}

/* ---- work ---- */

static operation *new_operation(operation_kind kind, int fails)
{
    operation *const o = calloc(1, sizeof *o);
    if (!o)
        abort();
    o->kind = kind;
    o->fails = fails;
    return o;
}

/* The null stream is not there. */
static int check_stream(const context *c, const stream *s)
{
    return s && s->context == c ? 0 : CUDA_INVALID_HANDLE;
}

static double link_seconds(size_t bytes)
{
    return set.speed.link > 0 ? (double)bytes / set.speed.link : 0;
}

API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, stream *s)
{
    context *c;
    int fails, r = enter_context(__func__, &c, &fails);
    if (r)
        return r;
    r = check_stream(c, s);
    if (!r && !card_bytes(&c->memory, to, bytes))
        r = CUDA_INVALID_VALUE;
    if (r)
        return leave(r);
    operation *const o = new_operation(OPERATION_COPY, fails);
    o->to = to;
    o->from_host = from;
    o->bytes = bytes;
    o->seconds = link_seconds(bytes);
    o->pinned_write = is_pinned(from, bytes);
    if (!o->pinned_write) { /* the driver takes it at once */
        o->owned = malloc(bytes ? bytes : 1);
        if (!o->owned)
            abort();
        memcpy(o->owned, from, bytes);
        o->from_host = o->owned;
    }
    stream_enqueue(s, o);
    return leave(0);
}

API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, stream *s)
{
    context *c;
    int fails, r = enter_context(__func__, &c, &fails);
    if (r)
        return r;
    r = check_stream(c, s);
    if (!r && !card_bytes(&c->memory, from, bytes))
        r = CUDA_INVALID_VALUE;
    if (r)
        return leave(r);
    const bool asynchronous = is_pinned(to, bytes);
    if (asynchronous && !c->pinned_writes)
        memset(to, 0xff, bytes);
    operation *const o = new_operation(OPERATION_COPY, fails);
    o->to_host = to;
    o->from = from;
    o->bytes = bytes;
    o->seconds = link_seconds(bytes);
    stream_enqueue(s, o);
    if (!asynchronous)
        stream_wait(s, s->enqueued);
    return leave(asynchronous ? 0 : c->error);
}

API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, stream *s)
{
    context *c;
    int fails, r = enter_context(__func__, &c, &fails);
    if (r)
        return r;
    r = check_stream(c, s);
    if (!r && (!card_bytes(&c->memory, to, bytes) || !card_bytes(&c->memory, from, bytes)))
        r = CUDA_INVALID_VALUE;
    if (r)
        return leave(r);
    operation *const o = new_operation(OPERATION_COPY, fails);
    o->to = to;
    o->from = from;
    o->bytes = bytes;
    stream_enqueue(s, o);
    return leave(0);
}

static int fill(const char *name, uint64_t to, uint32_t value, size_t count, size_t unit, stream *s)
{
    context *c;
    int fails, r = enter_context(name, &c, &fails);
    if (r)
        return r;
    r = check_stream(c, s);
    if (!r && (count > SIZE_MAX / unit || to % unit || !card_bytes(&c->memory, to, count * unit)))
        r = CUDA_INVALID_VALUE;
    if (r)
        return leave(r);
    operation *const o = new_operation(OPERATION_FILL, fails);
    o->to = to;
    o->bytes = count * unit;
    o->unit = unit;
    o->value = value;
    if (unit == 1)
        memset(&o->value, (int)value, sizeof o->value);
    stream_enqueue(s, o);
    return leave(0);
}

API int cuMemsetD32Async(uint64_t to, unsigned value, size_t count, stream *s)
{
    return fill(__func__, to, value, count, 4, s);
}

API int cuMemsetD8Async(uint64_t to, unsigned char value, size_t count, stream *s)
{
    return fill(__func__, to, value, count, 1, s);
}

API int cuStreamCreate(stream **out, unsigned flags)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (flags > 1)
        return leave(CUDA_INVALID_VALUE);
    *out = stream_open(c, set.eager || measured());
    streams += *out != NULL;
    return leave(*out ? 0 : CUDA_OUT_OF_MEMORY);
}

API int cuStreamDestroy_v2(stream *s)
{
    context *c;
    int lost;
    const int r = enter_to_free(__func__, &c, &lost);
    if (r)
        return r;
    if (check_stream(c, s))
        return leave(CUDA_INVALID_HANDLE);
    stream_close(s);
    streams--;
    return leave(lost);
}

API int cuStreamSynchronize(stream *s)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (check_stream(c, s))
        return leave(CUDA_INVALID_HANDLE);
    stream_wait(s, s->enqueued);
    return leave(c->error);
}

API int cuStreamQuery(stream *s)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (check_stream(c, s))
        return leave(CUDA_INVALID_HANDLE);
    if (s->done == s->enqueued)
        return leave(0);
    stream_want(s, s->enqueued);
    return leave(CUDA_NOT_READY);
}

API int cuStreamWaitEvent(stream *s, event *e, unsigned flags)
{
    context *c;
    (void)flags;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (check_stream(c, s) || !e)
        return leave(CUDA_INVALID_HANDLE);
    operation *const o = new_operation(OPERATION_WAIT, 0);
    o->event = e;
    stream_enqueue(s, o);
    return leave(0);
}

enum { EVENT_BLOCKING = 1, EVENT_NO_TIME = 2 };

API int cuEventCreate(event **out, unsigned flags)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (flags > (EVENT_BLOCKING | EVENT_NO_TIME))
        return leave(CUDA_INVALID_VALUE);
    *out = calloc(1, sizeof **out);
    if (!*out)
        return leave(CUDA_OUT_OF_MEMORY);
    **out = (event){.context = c, .flags = flags, .references = 1};
    events++;
    return leave(0);
}

API int cuEventDestroy_v2(event *e)
{
    context *c;
    int lost;
    const int r = enter_to_free(__func__, &c, &lost);
    if (r)
        return r;
    if (!e)
        return leave(CUDA_INVALID_HANDLE);
    event_release(e);
    events--;
    return leave(lost);
}

API int cuEventRecord(event *e, stream *s)
{
    context *c;
    int fails, r = enter_context(__func__, &c, &fails);
    if (r)
        return r;
    if (check_stream(c, s) || !e || e->context != c)
        return leave(CUDA_INVALID_HANDLE);
    operation *const o = new_operation(OPERATION_RECORD, fails);
    o->event = e;
    stream_enqueue(s, o);
    return leave(0);
}

API int cuEventQuery(event *e)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    event_want(e);
    return leave(e->done < e->recorded ? CUDA_NOT_READY : c->error);
}

API int cuEventSynchronize(event *e)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    event_wait(e);
    return leave(c->error);
}

API int cuEventElapsedTime(float *milliseconds, const event *from, const event *to)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (((from->flags | to->flags) & EVENT_NO_TIME) || !from->recorded || !to->recorded)
        return leave(CUDA_INVALID_HANDLE);
    if (from->done < from->recorded || to->done < to->recorded)
        return leave(CUDA_NOT_READY);
    *milliseconds = (float)(1e3 * (to->time - from->time));
    return leave(0);
}

/* ---- modules ---- */

static void write_log(unsigned count, const int *options, void **values, const char *text)
{
    enum { LOG = 5, LOG_BYTES = 6 };
    char *log = NULL;
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        if (options[i] == LOG)
            log = values[i];
        else if (options[i] == LOG_BYTES)
            bytes = (size_t)(uintptr_t)values[i];
    if (log && bytes)
        snprintf(log, bytes, "%s", text);
}

/* Of CUDA 11.0 it is 7.0, of 12.0 it is 8.0, and the minor numbers are the same. */
static int newest_ptx(void)
{
    return (set.driver / 1000 - 4) * 10 + set.driver % 1000 / 10;
}

static int check_ptx(const char *text, char *why, size_t size)
{
    const char *const version = strstr(text, ".version "), *const target = strstr(text, ".target ");
    int major, minor, compute;
    if (!version || !target || sscanf(version, ".version %d.%d", &major, &minor) != 2 ||
        sscanf(target, ".target sm_%d", &compute) != 1) {
        snprintf(why, size, "ptxas: this is no PTX");
        return CUDA_INVALID_IMAGE;
    }
    if (major * 10 + minor > newest_ptx()) {
        snprintf(why, size, "ptxas: unsupported .version %d.%d", major, minor);
        return CUDA_UNSUPPORTED_PTX;
    }
    if (compute > set.compute) {
        snprintf(why, size, "ptxas: .target sm_%d is higher than sm_%d", compute, set.compute);
        return CUDA_INVALID_PTX;
    }
    return 0;
}

API int cuModuleLoadDataEx(module **out, const char *text, unsigned count, int *options,
                           void **values)
{
    context *c;
    char why[128];
    int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    r = check_ptx(text, why, sizeof why);
    if (r) {
        write_log(count, options, values, why);
        return leave(r);
    }
    module *const m = calloc(1, sizeof *m);
    if (!m || !(m->text = strdup(text)))
        abort();
    m->context = c;
    modules++;
    *out = m;
    return leave(0);
}

API int cuModuleUnload(module *m)
{
    context *c;
    int lost;
    const int r = enter_to_free(__func__, &c, &lost);
    if (r)
        return r;
    if (!m || m->context != c)
        return leave(CUDA_INVALID_HANDLE);
    context_wait(c);
    for (function *f; (f = m->functions);) {
        m->functions = f->next;
        free(f);
    }
    free(m->text);
    free(m);
    modules--;
    return leave(lost);
}

/* Where the parameters of an entry are declared; NULL where there is none of this name. */
static const char *find_entry(const char *text, const char *name)
{
    const size_t n = strlen(name);
    for (const char *s = text; (s = strstr(s, ".entry ")); s++)
        if (!strncmp(s + 7, name, n) && s[7 + n] == '(')
            return s + 7 + n;
    return NULL;
}

static void read_entry(function *f, const char *entry)
{
    const char *const size = strchr(entry, '['), *const body = strchr(entry, '{');
    const char *const most = strstr(entry, ".maxntid ");
    unsigned long bytes;
    if (size && size < body && sscanf(size, "[%lu]", &bytes) == 1)
        f->params_size = bytes;
    if (!most || most > body || sscanf(most, ".maxntid %u", &f->threads) != 1)
        f->threads = 1024;
}

API int cuModuleGetFunction(function **out, module *m, const char *name)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (!m || m->context != c)
        return leave(CUDA_INVALID_HANDLE);
    const char *const entry = find_entry(m->text, name);
    const struct kernel *k = kernels, *const end = k + sizeof kernels / sizeof *kernels;
    while (k < end && strcmp(k->name, name))
        k++;
    if (!entry || k == end || !k->run)
        return leave(CUDA_NOT_FOUND);
    function *const f = calloc(1, sizeof *f);
    if (!f)
        abort();
    *f = (function){
        .next = m->functions, .module = m, .name = k->name, .kernel = k->run, .shared = 48 << 10};
    read_entry(f, entry);
    m->functions = f;
    *out = f;
    return leave(0);
}

enum { FUNCTION_THREADS = 0, FUNCTION_SHARED = 8 };

API int cuFuncSetAttribute(function *f, int what, int value)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    if (what != FUNCTION_SHARED || value < 0 || value > shared_of(set.compute))
        return leave(CUDA_INVALID_VALUE);
    f->shared = (size_t)value;
    return leave(0);
}

API int cuFuncGetAttribute(int *value, int what, const function *f)
{
    context *c;
    const int r = enter_context(__func__, &c, NULL);
    if (r)
        return r;
    *value = what == FUNCTION_THREADS ? (int)f->threads : (int)f->shared;
    return leave(what == FUNCTION_THREADS || what == FUNCTION_SHARED ? 0 : CUDA_INVALID_VALUE);
}

/* The longer of both; starting a kernel takes some microseconds. */
static double kernel_seconds(const operation *o)
{
    const gpu_cost c = ls_gpu_cost(o->options.name, o->params, o->grid, o->threads);
    const double products = set.speed.flops > 0 ? c.flops / set.speed.flops : 0;
    const double memory = set.speed.bytes > 0 ? c.bytes / set.speed.bytes : 0;
    return 3e-6 + (products > memory ? products : memory);
}

API int cuLaunchKernel(function *f, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                       stream *s, void **params, void **extra)
{
    context *c;
    int fails, r = enter_context(__func__, &c, &fails);
    if (r)
        return r;
    if (!f || f->module->context != c || check_stream(c, s))
        return leave(CUDA_INVALID_HANDLE);
    if (!grid_x || !grid_y || !grid_z || grid_x > INT32_MAX || grid_y > 65535 || grid_z > 65535 ||
        !block_x || block_y != 1 || block_z != 1 || shared > f->shared || !params || extra)
        return leave(CUDA_INVALID_VALUE);
    if (block_x > f->threads)
        return leave(CUDA_OUT_OF_RESOURCES);
    operation *const o = new_operation(OPERATION_KERNEL, fails);
    const bool faulty = !*set.kernel || !strcmp(set.kernel, f->name);
    o->options = (emulator_options){.seed = set.seed + s->enqueued,
                                    .threads = set.threads,
                                    .name = f->name,
                                    .mutation = faulty ? set.mutation : EMULATOR_FAITHFUL,
                                    .barrier = set.barrier};
    o->kernel = f->kernel;
    o->params_size = f->params_size;
    o->params = aligned_alloc(64, (f->params_size + 64) / 64 * 64);
    if (!o->params)
        abort();
    if (f->params_size)
        memcpy(o->params, params[0], f->params_size);
    memcpy(o->grid, (uint32_t[]){grid_x, grid_y, grid_z}, sizeof o->grid);
    o->threads = block_x;
    o->shared = shared;
    o->emulated = !measured();
    o->seconds = measured() ? kernel_seconds(o) : 0;
    stream_enqueue(s, o);
    return leave(0);
}
