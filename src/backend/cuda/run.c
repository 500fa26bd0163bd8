/* Kernels on their way to a card, and what became of them. */
#include "backend/cuda/card.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_BYTES (CUDA_NODES_MAX * sizeof(uint32_t))

int ls_cuda_open_submission(cuda_device *dev, ls_error *err)
{
    dev->nodes = ls_calloc_array(CUDA_NODES_MAX, sizeof *dev->nodes);
    int ret = dev->nodes ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = ls_cuda_pinned_alloc(dev, FLAGS_BYTES, &dev->flags_read, err);
    if (!ret)
        ret = ls_cuda_alloc(dev, FLAGS_BYTES, &dev->flags, err);
    return ret ? ret
               : ls_cuda_failed(
                     dev, dev->driver.cuMemsetD32Async(dev->flags, 0, CUDA_NODES_MAX, dev->work),
                     err, "be written to");
}

void ls_cuda_close_submission(cuda_device *dev)
{
    const cuda_driver *d = &dev->driver;
    for (size_t i = 0; dev->marks && i <= CUDA_NODES_MAX; i++)
        if (dev->marks[i])
            d->cuEventDestroy(dev->marks[i]);
    if (dev->flags)
        d->cuMemFree(dev->flags);
    ls_cuda_pinned_free(dev, dev->flags_read, FLAGS_BYTES);
    free(dev->marks);
    free(dev->nodes);
}

ls_kernel *ls_cuda_kernel_new(const ls_node *node, size_t size,
                              int (*enqueue)(cuda_device *, const ls_kernel *, const cuda_places *,
                                             ls_error *))
{
    char shape[64];
    ls_kernel *k = ls_calloc_array(1, size);
    if (!k)
        return NULL;
    const ls_tensor *weight = node->in[1], *out = node->out;
    k->enqueue = enqueue;
    k->op = node->op;
    k->in_place = -1;
    if (weight && weight->param)
        snprintf(k->name, sizeof k->name, "%s", weight->param->name);
    else
        snprintf(k->name, sizeof k->name, "%s %s", ls_op_name(node->op),
                 ls_shape_text(shape, sizeof shape, out->shape, out->ndim));
    return k;
}

int ls_cuda_launch(cuda_device *dev, cuda_function f, const size_t grid[3], size_t shared,
                   const void *params, size_t size, ls_error *err)
{
    static const unsigned threads[] = {
#define LS_X(name, threads) threads,
        LS_CUDA_KERNELS(LS_X)
#undef LS_X
            0};
    (void)size;
    if (grid[0] > INT32_MAX || grid[1] > UINT16_MAX || grid[2] > UINT16_MAX)
        return ls_fail(err, LS_EINVAL, "%zu x %zu x %zu blocks are more than CUDA allows", grid[0],
                       grid[1], grid[2]);
    if (shared > dev->limits.shared)
        return ls_fail(err, LS_EINVAL, "%zu bytes of shared memory are more than the %zu of %s",
                       shared, dev->limits.shared, dev->base.info.name);
    void *arguments[] = {(void *)(uintptr_t)params};
    const cu_result r = dev->driver.cuLaunchKernel(
        dev->functions[f], (unsigned)grid[0], (unsigned)grid[1], (unsigned)grid[2], threads[f], 1,
        1, (unsigned)shared, dev->work, arguments, NULL);
    return ls_cuda_failed(dev, r, err, "start a kernel");
}

/* Waits, and takes stock of what is done. */
static int collect(cuda_device *dev, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    const size_t n = dev->node_count;
    dev->node_count = 0;
    cu_result r = n ? d->cuMemcpyDtoHAsync(dev->flags_read, dev->flags, n * sizeof *dev->flags_read,
                                           dev->work)
                    : 0;
    if (!r && n)
        r = d->cuMemsetD32Async(dev->flags, 0, n, dev->work);
    int ret = ls_cuda_failed(dev, r, err, "tell what became of its work");
    if (!ret)
        ret = ls_cuda_wait(dev, err);
    for (size_t i = 0; !ret && i < n && !*dev->bad.name; i++)
        if (dev->flags_read[i])
            dev->bad = dev->nodes[i];
    for (size_t i = 0; !ret && dev->measured && i < n; i++) {
        float milliseconds = 0;
        r = d->cuEventElapsedTime(&milliseconds, dev->marks[i], dev->marks[i + 1]);
        ret = ls_cuda_failed(dev, r, err, "measure its work");
        dev->seconds[dev->nodes[i].op] += (double)milliseconds / 1000;
    }
    return ret;
}

/* The time before node i, or after the last. */
static int mark(cuda_device *dev, size_t i, ls_error *err)
{
    const cuda_driver *d = &dev->driver;
    if (!dev->marks)
        dev->marks = ls_calloc_array(CUDA_NODES_MAX + 1, sizeof *dev->marks);
    if (!dev->marks)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    cu_result r = dev->marks[i] ? 0 : d->cuEventCreate(&dev->marks[i], 0);
    if (!r)
        r = d->cuEventRecord(dev->marks[i], dev->work);
    dev->measured = !r;
    return ls_cuda_failed(dev, r, err, "measure its work");
}

/* Before the first node of a submission. */
static int begin(cuda_device *dev, ls_error *err)
{
    dev->measured = false;
    return dev->base.profile ? mark(dev, 0, err) : 0;
}

static int enqueue(cuda_device *dev, const ls_kernel *k, cuda_places *at, ls_error *err)
{
    int ret = dev->node_count == CUDA_NODES_MAX ? collect(dev, err) : 0;
    if (!ret && !dev->node_count)
        ret = begin(dev, err);
    if (ret)
        return ret;
    const size_t i = dev->node_count++;
    memcpy(dev->nodes[i].name, k->name, sizeof k->name);
    dev->nodes[i].op = k->op;
    at->bad = dev->flags + i * sizeof(uint32_t);
    ret = k->enqueue(dev, k, at, err);
    const int left = ls_cuda_leave_half(dev, ret ? NULL : err);
    ret = ret ? ret : left;
    const int marked = dev->measured ? mark(dev, i + 1, ret ? NULL : err) : 0;
    return ret ? ret : marked;
}

int ls_cuda_enqueue(ls_device *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                    void *scratch, ls_error *err)
{
    cuda_device *dev = (cuda_device *)base;
    cuda_places at = {.out = (cuda_address)(uintptr_t)out,
                      .scratch = (cuda_address)(uintptr_t)scratch};
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        at.in[i] = (cuda_address)(uintptr_t)in[i];
    int ret = ls_cuda_enter(dev, err);
    if (ret)
        return ret;
    ret = enqueue(dev, k, &at, err);
    ls_cuda_leave(dev);
    return ret ? ls_fail_context(err, ret, "%s", k->name) : 0;
}

int ls_cuda_finish(ls_device *base, double seconds[LS_OP_COUNT], ls_error *err)
{
    cuda_device *dev = (cuda_device *)base;
    int ret = ls_cuda_enter(dev, err);
    if (ret)
        return ret;
    ret = collect(dev, err);
    ls_cuda_leave(dev);
    for (size_t i = 0; i < LS_OP_COUNT; i++) {
        seconds[i] += dev->seconds[i];
        dev->seconds[i] = 0;
    }
    if (!ret && *dev->bad.name)
        ret =
            ls_fail(err, LS_EBACKEND,
                    "the values of %s (%s) are not finite in float16 on %s: the inputs or weights "
                    "are damaged, or need the wider range that the CPU computes in",
                    dev->bad.name, ls_op_name(dev->bad.op), base->info.name);
    *dev->bad.name = '\0';
    return ret;
}
