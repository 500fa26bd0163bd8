/* Kernels on their way to a card, and what became of them. */
#include "backend/gpu/card.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FLAGS_BYTES (GPU_NODES_MAX * sizeof(uint32_t))

int ls_gpu_open_submission(gpu_device *dev, ls_error *err)
{
    dev->nodes = ls_calloc_array(GPU_NODES_MAX, sizeof *dev->nodes);
    int ret = dev->nodes ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = dev->api->pin(dev, FLAGS_BYTES, &dev->flags_read, err);
    if (!ret)
        ret = dev->api->alloc(dev, FLAGS_BYTES, &dev->flags, err);
    return ret ? ret : dev->api->clear(dev, dev->flags, FLAGS_BYTES, err);
}

void ls_gpu_close_submission(gpu_device *dev)
{
    dev->api->release(dev, dev->flags);
    dev->api->unpin(dev, dev->flags_read, FLAGS_BYTES);
    free(dev->nodes);
}

ls_kernel *ls_gpu_kernel_new(const ls_node *node, size_t size,
                             int (*enqueue)(gpu_device *, const ls_kernel *, const gpu_places *,
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

int ls_gpu_launch(gpu_device *dev, gpu_function f, const size_t grid[3], size_t shared,
                  const void *params, size_t size, ls_error *err)
{
    return dev->api->launch(dev, f, grid, shared, params, size, err);
}

/* Waits, and takes stock of what is done. */
static int collect(gpu_device *dev, ls_error *err)
{
    const size_t n = dev->node_count, bytes = n * sizeof *dev->flags_read;
    dev->node_count = 0;
    int ret = n ? dev->api->fetch(dev, dev->flags_read, dev->flags, bytes, err) : 0;
    if (!ret && n)
        ret = dev->api->clear(dev, dev->flags, bytes, err);
    if (!ret)
        ret = dev->api->wait(dev, err);
    for (size_t i = 0; !ret && i < n && !*dev->bad.name; i++)
        if (dev->flags_read[i])
            dev->bad = dev->nodes[i];
    for (size_t i = 0; !ret && dev->measured && i < n; i++) {
        double seconds = 0;
        ret = dev->api->elapsed(dev, i, &seconds, err);
        dev->seconds[dev->nodes[i].op] += seconds;
    }
    return ret;
}

static int mark(gpu_device *dev, size_t i, ls_error *err)
{
    const int ret = dev->api->mark(dev, i, err);
    dev->measured = !ret;
    return ret;
}

/* Before the first node of a submission. */
static int begin(gpu_device *dev, ls_error *err)
{
    dev->measured = false;
    return dev->base.profile ? mark(dev, 0, err) : 0;
}

static int enqueue(gpu_device *dev, const ls_kernel *k, gpu_places *at, ls_error *err)
{
    int ret = dev->node_count == GPU_NODES_MAX ? collect(dev, err) : 0;
    if (!ret && !dev->node_count)
        ret = begin(dev, err);
    if (ret)
        return ret;
    const size_t i = dev->node_count++;
    memcpy(dev->nodes[i].name, k->name, sizeof k->name);
    dev->nodes[i].op = k->op;
    at->bad = dev->flags + i * sizeof(uint32_t);
    ret = k->enqueue(dev, k, at, err);
    const int left = ls_gpu_leave_half(dev, ret ? NULL : err);
    ret = ret ? ret : left;
    const int marked = dev->measured ? mark(dev, i + 1, ret ? NULL : err) : 0;
    return ret ? ret : marked;
}

int ls_gpu_enqueue(ls_device *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                   void *scratch, ls_error *err)
{
    gpu_device *dev = (gpu_device *)base;
    gpu_places at = {.out = (gpu_address)(uintptr_t)out,
                     .scratch = (gpu_address)(uintptr_t)scratch};
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        at.in[i] = (gpu_address)(uintptr_t)in[i];
    int ret = dev->api->enter(dev, err);
    if (ret)
        return ret;
    ret = enqueue(dev, k, &at, err);
    dev->api->leave(dev);
    return ret ? ls_fail_context(err, ret, "%s", k->name) : 0;
}

int ls_gpu_finish(ls_device *base, double seconds[LS_OP_COUNT], ls_error *err)
{
    gpu_device *dev = (gpu_device *)base;
    int ret = dev->api->enter(dev, err);
    if (ret)
        return ret;
    ret = collect(dev, err);
    dev->api->leave(dev);
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
