/* A card: opening it and its memory. */
#include "backend/cuda/card.h"
#include "backend/cuda/ptx.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STAGING ((size_t)8 << 20)
enum { OLDEST = 75 };

static cuda_device *of(gpu_device *gpu)
{
    return (cuda_device *)gpu;
}

static int enter(gpu_device *gpu, ls_error *err)
{
    cuda_device *dev = of(gpu);
    return ls_cuda_failed(dev, dev->driver.cuCtxPushCurrent(dev->context), err, "be used");
}

static void leave(gpu_device *gpu)
{
    cu_context context;
    of(gpu)->driver.cuCtxPopCurrent(&context);
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
    return ls_cuda_check(&dev->driver, r, err, "%s (%s) cannot %s%s", dev->gpu.base.info.name,
                         dev->gpu.base.info.model, text, lost);
}

static int alloc_memory(gpu_device *gpu, size_t bytes, gpu_address *out, ls_error *err)
{
    cuda_device *dev = of(gpu);
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
                                 dev->gpu.base.info.name, dev->gpu.base.info.model,
                                 (double)bytes / 1e6, (double)available / 1e6),
                         LS_HINT_CARD_MEMORY, "max-vram");
    return ls_cuda_failed(dev, r, err, "allocate memory");
}

static void release_memory(gpu_device *gpu, gpu_address memory)
{
    if (memory)
        of(gpu)->driver.cuMemFree(memory);
}

static int pin(gpu_device *gpu, size_t bytes, void *out, ls_error *err)
{
    cuda_device *dev = of(gpu);
    const cu_result r = dev->driver.cuMemHostAlloc(out, bytes, 0);
    if (r)
        *(void **)out = NULL;
    else
        ls_memory_count(LS_MEM_BACKEND, (ptrdiff_t)bytes);
    return r == CU_OUT_OF_MEMORY
               ? ls_advise(err,
                           ls_fail(err, LS_ENOMEM,
                                   "%.1f MB of the machine's memory cannot be pinned for %s",
                                   (double)bytes / 1e6, dev->gpu.base.info.name),
                           LS_HINT_CARD_MEMORY, "max-vram")
               : ls_cuda_failed(dev, r, err, "pin memory");
}

static void unpin(gpu_device *gpu, void *memory, size_t bytes)
{
    if (!memory)
        return;
    of(gpu)->driver.cuMemFreeHost(memory);
    ls_memory_count(LS_MEM_BACKEND, -(ptrdiff_t)bytes);
}

static int write_memory(gpu_device *gpu, gpu_address to, const void *from, size_t bytes,
                        ls_error *err)
{
    cuda_device *dev = of(gpu);
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

static int wait(gpu_device *gpu, ls_error *err)
{
    cuda_device *dev = of(gpu);
    cu_result r = dev->driver.cuEventRecord(dev->done, dev->work);
    if (!r)
        r = dev->driver.cuEventSynchronize(dev->done);
    return ls_cuda_failed(dev, r, err, "finish its work");
}

static int fetch(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err)
{
    cuda_device *dev = of(gpu);
    return ls_cuda_failed(dev, dev->driver.cuMemcpyDtoHAsync(to, from, bytes, dev->work), err,
                          "be read from");
}

static int read_memory(gpu_device *gpu, void *to, gpu_address from, size_t bytes, ls_error *err)
{
    const int ret = bytes ? fetch(gpu, to, from, bytes, err) : 0;
    return ret ? ret : wait(gpu, err);
}

static int clear(gpu_device *gpu, gpu_address to, size_t bytes, ls_error *err)
{
    cuda_device *dev = of(gpu);
    return ls_cuda_failed(dev,
                          dev->driver.cuMemsetD32Async(to, 0, bytes / sizeof(uint32_t), dev->work),
                          err, "be written to");
}

static int launch(gpu_device *gpu, gpu_function f, const size_t grid[3], size_t shared,
                  const void *params, size_t size, ls_error *err)
{
    static const unsigned threads[] = {
#define LS_X(name, threads) threads,
        LS_GPU_KERNELS(LS_X)
#undef LS_X
            0};
    cuda_device *dev = of(gpu);
    (void)size;
    if (grid[0] > INT32_MAX || grid[1] > UINT16_MAX || grid[2] > UINT16_MAX)
        return ls_fail(err, LS_EINVAL, "%zu x %zu x %zu blocks are more than CUDA allows", grid[0],
                       grid[1], grid[2]);
    if (shared > gpu->limits.shared)
        return ls_fail(err, LS_EINVAL, "%zu bytes of shared memory are more than the %zu of %s",
                       shared, gpu->limits.shared, gpu->base.info.name);
    void *arguments[] = {(void *)(uintptr_t)params};
    const cu_result r = dev->driver.cuLaunchKernel(
        dev->functions[f], (unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2], threads[f], 1,
        1, (unsigned)shared, dev->work, arguments, NULL);
    return ls_cuda_failed(dev, r, err, "start a kernel");
}

static int mark(gpu_device *gpu, size_t i, ls_error *err)
{
    cuda_device *dev = of(gpu);
    const cuda_driver *d = &dev->driver;
    if (!dev->marks)
        dev->marks = ls_calloc_array(GPU_NODES_MAX + 1, sizeof *dev->marks);
    if (!dev->marks)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    cu_result r = dev->marks[i] ? 0 : d->cuEventCreate(&dev->marks[i], 0);
    if (!r)
        r = d->cuEventRecord(dev->marks[i], dev->work);
    return ls_cuda_failed(dev, r, err, "measure its work");
}

static int elapsed(gpu_device *gpu, size_t i, double *seconds, ls_error *err)
{
    cuda_device *dev = of(gpu);
    float milliseconds = 0;
    const cu_result r =
        dev->driver.cuEventElapsedTime(&milliseconds, dev->marks[i], dev->marks[i + 1]);
    *seconds = (double)milliseconds / 1000;
    return ls_cuda_failed(dev, r, err, "measure its work");
}

static int open_ring(gpu_device *gpu, gpu_ring *ring, ls_error *err)
{
    cuda_device *dev = of(gpu);
    cuda_ring *r = ring->driver = ls_calloc_array(1, sizeof *r);
    if (!r)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    cu_event *const events[] = {&r->left[0], &r->left[1], &r->sent};
    cu_result result = 0;
    for (size_t i = 0; !result && i < LS_COUNT(events); i++)
        result = dev->driver.cuEventCreate(events[i], CU_EVENT_NO_TIME);
    return ls_cuda_failed(dev, result, err, "be sent weights");
}

static void close_ring(gpu_device *gpu, gpu_ring *ring)
{
    const cuda_ring *r = ring->driver;
    if (!r)
        return;
    const cu_event events[] = {r->left[0], r->left[1], r->sent};
    for (size_t i = 0; i < LS_COUNT(events); i++)
        if (events[i])
            of(gpu)->driver.cuEventDestroy(events[i]);
    free(ring->driver);
}

static int begin_half(gpu_device *gpu, gpu_ring *ring, ls_error *err)
{
    cuda_device *dev = of(gpu);
    const cuda_ring *r = ring->driver;
    return ls_cuda_failed(dev,
                          dev->driver.cuStreamWaitEvent(dev->copies, r->left[ring->current], 0),
                          err, "be sent a weight");
}

static int send(gpu_device *gpu, gpu_ring *ring, gpu_address to, const void *pinned, size_t bytes,
                ls_error *err)
{
    cuda_device *dev = of(gpu);
    const cuda_driver *d = &dev->driver;
    const cuda_ring *r = ring->driver;
    cu_result result = d->cuMemcpyHtoDAsync(to, pinned, bytes, dev->copies);
    if (!result)
        result = d->cuEventRecord(r->sent, dev->copies);
    if (!result)
        result = d->cuStreamWaitEvent(dev->work, r->sent, 0);
    return ls_cuda_failed(dev, result, err, "be sent a weight");
}

static int leave_half(gpu_device *gpu, const gpu_ring *ring, ls_error *err)
{
    cuda_device *dev = of(gpu);
    const cuda_ring *r = ring->driver;
    return ls_cuda_failed(dev, dev->driver.cuEventRecord(r->left[!ring->current], dev->work), err,
                          "be sent weights");
}

static void close_device(gpu_device *gpu)
{
    cuda_device *dev = of(gpu);
    const cuda_driver *d = &dev->driver;
    if (dev->context) {
        const bool entered = !enter(gpu, NULL);
        if (dev->done)
            wait(gpu, NULL);
        ls_gpu_close_submission(gpu);
        for (size_t i = 0; dev->marks && i <= GPU_NODES_MAX; i++)
            if (dev->marks[i])
                d->cuEventDestroy(dev->marks[i]);
        for (size_t i = 0; i < LS_COUNT(dev->staging); i++) {
            unpin(gpu, dev->staging[i].memory, STAGING);
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
            leave(gpu);
        d->cuDevicePrimaryCtxRelease(dev->card);
    }
    ls_cuda_driver_close(&dev->driver);
    free(dev->marks);
    free(dev->modules);
    free(dev);
}

static const gpu_driver api = {
    .name = "cuda",
    .enter = enter,
    .leave = leave,
    .alloc = alloc_memory,
    .release = release_memory,
    .pin = pin,
    .unpin = unpin,
    .write = write_memory,
    .read = read_memory,
    .wait = wait,
    .fetch = fetch,
    .clear = clear,
    .launch = launch,
    .mark = mark,
    .elapsed = elapsed,
    .open_ring = open_ring,
    .close_ring = close_ring,
    .begin_half = begin_half,
    .send = send,
    .leave_half = leave_half,
    .close = close_device,
};

/* Needs no context. info->available stays 0: only a context knows it. */
static int describe(const cuda_driver *d, int ordinal, cu_device *card, ls_device_info *info,
                    gpu_limits *limits, ls_error *err)
{
    int count = 0, major = 0, minor = 0, processors = 0, shared = 0;
    size_t total = 0;
    *info = (ls_device_info){.fast = LS_F16, .discrete = true};
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
        if (p->compute <= dev->gpu.limits.compute && p->compute > compute)
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
        LS_GPU_KERNELS(LS_X)
#undef LS_X
            NULL};
    const cuda_driver *d = &dev->driver;
    for (size_t f = 0; names[f]; f++) {
        cu_result r = CU_NOT_FOUND;
        for (size_t i = 0; r == CU_NOT_FOUND && i < dev->module_count; i++)
            r = d->cuModuleGetFunction(&dev->functions[f], dev->modules[i], names[f]);
        if (!r)
            r = d->cuFuncSetAttribute(dev->functions[f], CU_FUNCTION_DYNAMIC_SHARED,
                                      (int)dev->gpu.limits.shared);
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
        ret = pin(&dev->gpu, STAGING, &dev->staging[i].memory, err);
    return ret ? ret : ls_gpu_open_submission(&dev->gpu, err);
}

static int start(cuda_device *dev, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    const cu_result r = d->cuDevicePrimaryCtxRetain(&dev->context, dev->card);
    if (r)
        dev->context = NULL;
    int ret = ls_cuda_failed(dev, r, err, "be opened");
    if (!ret)
        ret = enter(&dev->gpu, err);
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
    dev->gpu.base.info.available = available;
    leave(&dev->gpu);
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
    dev->gpu.base.vtable = &ls_gpu_vtable;
    dev->gpu.api = &api;
    int ret = ls_cuda_driver_open(&dev->driver, err);
    if (!ret)
        ret =
            describe(&dev->driver, ordinal, &dev->card, &dev->gpu.base.info, &dev->gpu.limits, err);
    if (!ret)
        ret = start(dev, err);
    if (ret)
        close_device(&dev->gpu);
    else
        *out = &dev->gpu.base;
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
            gpu_limits limits;
            n += !describe(&d, ordinal, &card, &list[n], &limits, NULL);
        }
    ls_cuda_driver_close(&d);
    return n;
}
