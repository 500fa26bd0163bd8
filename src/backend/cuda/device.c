/* A card: opening it and its memory. */
#include "backend/cuda/card.h"
#include "backend/cuda/kernels/act.h"
#include "backend/cuda/ptx.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGING ((size_t)8 << 20)
enum { OLDEST = 75 };

int ls_cuda_enter(cuda_device *dev, ls_error *err)
{
    return ls_cuda_failed(dev, dev->driver.cuCtxPushCurrent(dev->context), err, "be used");
}

void ls_cuda_leave(cuda_device *dev)
{
    cu_context context;
    dev->driver.cuCtxPopCurrent(&context);
}

int ls_cuda_failed(const cuda_device *dev, cu_result r, ls_error *err, const char *what, ...)
{
    const char *lost =
        ls_cuda_is_lost(r) ? ", and is lost to this process (another can resume the job)" : "";
    char text[600];
    va_list ap;
    va_start(ap, what);
    vsnprintf(text, sizeof text, what, ap);
    va_end(ap);
    return ls_cuda_check(&dev->driver, r, err, "%s (%s) cannot %s%s", dev->base.info.name,
                         dev->base.info.model, text, lost);
}

int ls_cuda_alloc(cuda_device *dev, size_t bytes, cu_deviceptr *out, ls_error *err)
{
    size_t available = 0, total;
    *out = 0;
    bytes = bytes ? bytes : 1;
    cu_result r = dev->driver.cuMemGetInfo(&available, &total);
    if (!r)
        r = bytes > available ? CU_OUT_OF_MEMORY : dev->driver.cuMemAlloc(out, bytes);
    if (r == CU_OUT_OF_MEMORY)
        return ls_advise(err,
                         ls_fail(err, LS_ENOMEM,
                                 "%s (%s) cannot give %.1f MB of memory: %.1f MB are free",
                                 dev->base.info.name, dev->base.info.model, (double)bytes / 1e6,
                                 (double)available / 1e6),
                         LS_HINT_CARD_MEMORY, "max-vram");
    return ls_cuda_failed(dev, r, err, "allocate memory");
}

int ls_cuda_pinned_alloc(cuda_device *dev, size_t bytes, void *out, ls_error *err)
{
    const cu_result r = dev->driver.cuMemHostAlloc(out, bytes, 0);
    if (r)
        *(void **)out = NULL;
    else
        ls_memory_count(LS_MEM_BACKEND, (ptrdiff_t)bytes);
    return r == CU_OUT_OF_MEMORY
               ? ls_fail(err, LS_ENOMEM, "%.1f MB of the machine's memory cannot be pinned for %s",
                         (double)bytes / 1e6, dev->base.info.name)
               : ls_cuda_failed(dev, r, err, "pin memory");
}

void ls_cuda_pinned_free(cuda_device *dev, void *memory, size_t bytes)
{
    if (!memory)
        return;
    dev->driver.cuMemFreeHost(memory);
    ls_memory_count(LS_MEM_BACKEND, -(ptrdiff_t)bytes);
}

int ls_cuda_write(cuda_device *dev, cu_deviceptr to, const void *from, size_t bytes, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    cu_result r = 0;
    for (size_t at = 0, part; !r && at < bytes; at += part) {
        const cuda_staging *s = &dev->staging[dev->turn++ % 2];
        part = bytes - at < STAGING ? bytes - at : STAGING;
        r = d->cuEventSynchronize(s->sent);
        if (r)
            break;
        memcpy(s->memory, (const char *)from + at, part);
        r = d->cuMemcpyHtoDAsync(to + at, s->memory, part, dev->work);
        if (!r)
            r = d->cuEventRecord(s->sent, dev->work);
    }
    return ls_cuda_failed(dev, r, err, "be written to");
}

int ls_cuda_wait(cuda_device *dev, ls_error *err)
{
    cu_result r = dev->driver.cuEventRecord(dev->done, dev->work);
    if (!r)
        r = dev->driver.cuEventSynchronize(dev->done);
    return ls_cuda_failed(dev, r, err, "finish its work");
}

static int alloc_memory(ls_device *base, size_t bytes, void **out, ls_error *err)
{
    cuda_device *dev = (cuda_device *)base;
    cu_deviceptr memory = 0;
    int ret = ls_cuda_enter(dev, err);
    if (!ret) {
        ret = ls_cuda_alloc(dev, bytes, &memory, err);
        ls_cuda_leave(dev);
    }
    *out = (void *)(uintptr_t)memory;
    return ret;
}

static void release_memory(ls_device *base, void *memory)
{
    cuda_device *dev = (cuda_device *)base;
    if (!memory)
        return;
    const bool entered = !ls_cuda_enter(dev, NULL);
    dev->driver.cuMemFree((cu_deviceptr)(uintptr_t)memory);
    if (entered)
        ls_cuda_leave(dev);
}

static int write_memory(ls_device *base, void *to, const void *from, size_t bytes, ls_error *err)
{
    cuda_device *dev = (cuda_device *)base;
    int ret = ls_cuda_enter(dev, err);
    if (!ret) {
        ret = ls_cuda_write(dev, (cu_deviceptr)(uintptr_t)to, from, bytes, err);
        ls_cuda_leave(dev);
    }
    return ret;
}

static int read_memory(ls_device *base, void *to, const void *from, size_t bytes, ls_error *err)
{
    cuda_device *dev = (cuda_device *)base;
    int ret = ls_cuda_enter(dev, err);
    if (ret)
        return ret;
    if (bytes)
        ret = ls_cuda_failed(
            dev, dev->driver.cuMemcpyDtoHAsync(to, (cu_deviceptr)(uintptr_t)from, bytes, dev->work),
            err, "be read from");
    if (!ret)
        ret = ls_cuda_wait(dev, err);
    ls_cuda_leave(dev);
    return ret;
}

_Static_assert((int)ACT_SILU == LS_ACT_SILU && (int)ACT_GELU == LS_ACT_GELU &&
                   (int)ACT_RELU == LS_ACT_RELU && (int)ACT_SIGMOID == LS_ACT_SIGMOID,
               "kernels number activations as graphs do");

static cuda_compile *const compilers[LS_OP_COUNT] = {
    [LS_OP_GROUP_NORM] = ls_cuda_compile_group_norm,
    [LS_OP_LAYER_NORM] = ls_cuda_compile_layer_norm,
    [LS_OP_CONV2D] = ls_cuda_compile_conv2d,
    [LS_OP_LINEAR] = ls_cuda_compile_linear,
    [LS_OP_ATTENTION] = ls_cuda_compile_attention,
    [LS_OP_GEGLU] = ls_cuda_compile_elementwise,
    [LS_OP_ACT] = ls_cuda_compile_elementwise,
    [LS_OP_ADD] = ls_cuda_compile_elementwise,
    [LS_OP_CONCAT] = ls_cuda_compile_elementwise,
    [LS_OP_UPSAMPLE] = ls_cuda_compile_elementwise,
    [LS_OP_TIMESTEP] = ls_cuda_compile_elementwise,
    [LS_OP_CAST] = ls_cuda_compile_elementwise,
};

static const ls_tensor *unsupported_tensor(const ls_node *node)
{
    for (size_t i = 0; i <= LS_MAX_INPUTS; i++) {
        const ls_tensor *t = i < LS_MAX_INPUTS ? node->in[i] : node->out;
        if (t && t->dtype != LS_F16 && t->dtype != LS_F32)
            return t;
    }
    return NULL;
}

static int compile(ls_store *base, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err)
{
    cuda_store *st = (cuda_store *)base;
    cuda_device *dev = (cuda_device *)base->device;
    const char *op = ls_op_name(node->op);
    const ls_tensor *odd = unsupported_tensor(node);
    *out = NULL;
    *scratch = 0;
    if (odd || !compilers[node->op])
        return ls_fail(err, LS_EUNSUPPORTED, "cuda does not compute %s in %s", op,
                       ls_dtype_name(odd ? odd->dtype : node->out->dtype));
    if (node->op == LS_OP_CONV2D && node->u.conv.groups > 1)
        return ls_fail(err, LS_EUNSUPPORTED, "cuda does not compute %s with groups", op);
    int ret = ls_cuda_enter(dev, err);
    if (ret)
        return ret;
    ls_cuda_begin_node(st);
    ret = compilers[node->op](st, node, out, scratch, err);
    ls_cuda_leave(dev);
    return ret ? ls_fail_context(err, ret, "%s", op) : 0;
}

static int in_place(const ls_kernel *k)
{
    return k->in_place;
}

static void free_kernel(ls_kernel *k)
{
    free(k);
}

static void close_device(ls_device *base)
{
    cuda_device *dev = (cuda_device *)base;
    const cuda_driver *d = &dev->driver;
    if (dev->context) {
        const bool entered = !ls_cuda_enter(dev, NULL);
        if (dev->done)
            ls_cuda_wait(dev, NULL);
        ls_cuda_close_submission(dev);
        for (size_t i = 0; i < LS_COUNT(dev->staging); i++) {
            ls_cuda_pinned_free(dev, dev->staging[i].memory, STAGING);
            if (dev->staging[i].sent)
                d->cuEventDestroy(dev->staging[i].sent);
        }
        if (dev->done)
            d->cuEventDestroy(dev->done);
        for (size_t i = 0; i < dev->module_count; i++)
            d->cuModuleUnload(dev->modules[i]);
        if (dev->copies)
            d->cuStreamDestroy(dev->copies);
        if (dev->work)
            d->cuStreamDestroy(dev->work);
        if (entered)
            ls_cuda_leave(dev);
        d->cuDevicePrimaryCtxRelease(dev->card);
    }
    ls_cuda_driver_close(&dev->driver);
    free(dev->modules);
    free(dev);
}

static const ls_device_vtable vtable = {
    .alloc = alloc_memory,
    .release = release_memory,
    .write = write_memory,
    .read = read_memory,
    .open_store = ls_cuda_open_store,
    .close_store = ls_cuda_close_store,
    .compile = compile,
    .in_place = in_place,
    .free_kernel = free_kernel,
    .enqueue = ls_cuda_enqueue,
    .finish = ls_cuda_finish,
    .close = close_device,
};

/* Needs no context. info->available stays 0: only a context knows it. */
static int describe(const cuda_driver *d, int ordinal, cu_device *card, ls_device_info *info,
                    cuda_limits *limits, ls_error *err)
{
    int count = 0, major = 0, minor = 0, processors = 0, shared = 0;
    size_t total = 0;
    *info = (ls_device_info){.fast = LS_F16};
    snprintf(info->name, sizeof info->name, "cuda:%d", ordinal);
    cu_result r = d->cuDeviceGetCount(&count);
    if (!r && ordinal >= count)
        return ls_fail(err, LS_EINVAL, "there is no device %s: the NVIDIA driver finds %d of them",
                       info->name, count);
    if (!r)
        r = d->cuDeviceGet(card, ordinal);
    if (!r)
        r = d->cuDeviceGetName(info->model, sizeof info->model, *card);
    if (!r)
        r = d->cuDeviceTotalMem(&total, *card);
    if (!r)
        r = d->cuDeviceGetAttribute(&major, CU_DEVICE_COMPUTE_MAJOR, *card);
    if (!r)
        r = d->cuDeviceGetAttribute(&minor, CU_DEVICE_COMPUTE_MINOR, *card);
    if (!r)
        r = d->cuDeviceGetAttribute(&processors, CU_DEVICE_MULTIPROCESSORS, *card);
    if (!r)
        r = d->cuDeviceGetAttribute(&shared, CU_DEVICE_SHARED_OPTIN, *card);
    if (r)
        return ls_cuda_check(d, r, err, "%s cannot be described", info->name);
    info->total = total;
    limits->compute = (unsigned)(10 * major + minor);
    limits->processors = (unsigned)processors;
    limits->shared = (size_t)shared;
    snprintf(info->version, sizeof info->version, "CUDA %d.%d, sm_%u", d->version / 1000,
             d->version % 1000 / 10, limits->compute);
    return limits->compute >= OLDEST
               ? 0
               : ls_fail(err, LS_EUNSUPPORTED,
                         "%s (%s) is too old: it has compute capability %d.%d, and 7.5 is needed, "
                         "which Turing was the first to have",
                         info->name, info->model, major, minor);
}

static int load_module(cuda_device *dev, const ls_cuda_ptx *ptx, ls_error *err)
{
    char log[400] = "";
    int options[] = {CU_JIT_ERROR_LOG, CU_JIT_ERROR_LOG_BYTES};
    void *values[] = {log, (void *)(uintptr_t)sizeof log};
    const cu_result r = dev->driver.cuModuleLoadDataEx(&dev->modules[dev->module_count], ptx->text,
                                                       LS_COUNT(options), options, values);
    log[sizeof log - 1] = '\0';
    if (r)
        return ls_cuda_failed(dev, r, err, "load the kernels of %s%s%s%s", ptx->name,
                              *log ? " (" : "", log, *log ? ")" : "");
    dev->module_count++;
    return 0;
}

/* Each source's kernels as compiled for the newest architecture that the card has. */
static int load_modules(cuda_device *dev, ls_error *err)
{
    size_t count = 0;
    unsigned compute = 0;
    for (const ls_cuda_ptx *p = ls_cuda_modules; p->name; p++, count++)
        if (p->compute <= dev->limits.compute && p->compute > compute)
            compute = p->compute;
    dev->modules = ls_calloc_array(count + 1, sizeof *dev->modules);
    int ret = dev->modules ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (const ls_cuda_ptx *p = ls_cuda_modules; !ret && p->name; p++)
        if (p->compute == compute)
            ret = load_module(dev, p, err);
    return ret;
}

static int find_functions(cuda_device *dev, ls_error *err)
{
    static const char *const names[] = {
#define LS_X(name, threads) #name,
        LS_CUDA_KERNELS(LS_X)
#undef LS_X
            NULL};
    const cuda_driver *d = &dev->driver;
    for (size_t f = 0; names[f]; f++) {
        cu_result r = CU_NOT_FOUND;
        for (size_t i = 0; r == CU_NOT_FOUND && i < dev->module_count; i++)
            r = d->cuModuleGetFunction(&dev->functions[f], dev->modules[i], names[f]);
        if (!r)
            r = d->cuFuncSetAttribute(dev->functions[f], CU_FUNCTION_DYNAMIC_SHARED,
                                      (int)dev->limits.shared);
        if (r)
            return ls_cuda_failed(dev, r, err, "use the kernel %s", names[f]);
    }
    return 0;
}

static int open_queues(cuda_device *dev, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    const unsigned flags = CU_EVENT_BLOCKING | CU_EVENT_NO_TIME;
    cu_result r = d->cuStreamCreate(&dev->work, CU_STREAM_NON_BLOCKING);
    if (!r)
        r = d->cuStreamCreate(&dev->copies, CU_STREAM_NON_BLOCKING);
    if (!r)
        r = d->cuEventCreate(&dev->done, flags);
    for (size_t i = 0; !r && i < LS_COUNT(dev->staging); i++)
        r = d->cuEventCreate(&dev->staging[i].sent, flags);
    int ret = ls_cuda_failed(dev, r, err, "be given work");
    for (size_t i = 0; !ret && i < LS_COUNT(dev->staging); i++)
        ret = ls_cuda_pinned_alloc(dev, STAGING, &dev->staging[i].memory, err);
    return ret ? ret : ls_cuda_open_submission(dev, err);
}

static int start(cuda_device *dev, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    const cu_result r = d->cuDevicePrimaryCtxRetain(&dev->context, dev->card);
    if (r)
        dev->context = NULL;
    int ret = ls_cuda_failed(dev, r, err, "be opened");
    if (!ret)
        ret = ls_cuda_enter(dev, err);
    if (ret)
        return ret;
    ret = load_modules(dev, err);
    if (!ret)
        ret = find_functions(dev, err);
    if (!ret)
        ret = open_queues(dev, err);
    size_t available = 0, total = 0;
    if (!ret)
        ret = ls_cuda_failed(dev, d->cuMemGetInfo(&available, &total), err, "tell its memory");
    dev->base.info.available = available;
    ls_cuda_leave(dev);
    return ret;
}

/* -1 if it is not one of ours. */
static int ordinal_of(const char *name)
{
    int ordinal = 0, end = 0;
    if (!strcmp(name, "cuda"))
        return 0;
    return sscanf(name, "cuda:%4d%n", &ordinal, &end) == 1 && !name[end] && name[5] >= '0' &&
                   name[5] <= '9'
               ? ordinal
               : -1;
}

int ls_device_cuda_open(ls_device **out, const char *name, ls_error *err)
{
    const int ordinal = ordinal_of(name);
    *out = NULL;
    if (ordinal < 0)
        return ls_fail(err, LS_EINVAL, "there is no device \"%s\"; use cpu, cuda or cuda:N", name);
    cuda_device *dev = ls_calloc_array(1, sizeof *dev);
    if (!dev)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    dev->base.vtable = &vtable;
    int ret = ls_cuda_driver_open(&dev->driver, err);
    if (!ret)
        ret = describe(&dev->driver, ordinal, &dev->card, &dev->base.info, &dev->limits, err);
    if (!ret)
        ret = start(dev, err);
    if (ret)
        close_device(&dev->base);
    else
        *out = &dev->base;
    return ret;
}

size_t ls_device_cuda_list(ls_device_info *list, size_t most)
{
    cuda_driver d;
    int count = 0;
    size_t n = 0;
    if (!ls_cuda_driver_open(&d, NULL) && !d.cuDeviceGetCount(&count))
        for (int ordinal = 0; n < most && ordinal < count; ordinal++) {
            cu_device card;
            cuda_limits limits;
            n += !describe(&d, ordinal, &card, &list[n], &limits, NULL);
        }
    ls_cuda_driver_close(&d);
    return n;
}

const cuda_limits *ls_cuda_limits(const cuda_store *st)
{
    return &((const cuda_device *)((const ls_store *)st)->device)->limits;
}
