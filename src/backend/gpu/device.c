/* Cards as devices: memory and compilation, above what their drivers do. */
#include "backend/gpu/card.h"
#include "backend/gpu/params/act.h"

#include <stdlib.h>

static int alloc_memory(ls_device *base, size_t bytes, void **out, ls_error *err)
{
    gpu_device *dev = (gpu_device *)base;
    gpu_address memory = 0;
    int ret = dev->api->enter(dev, err);
    if (!ret) {
        ret = dev->api->alloc(dev, bytes, &memory, err);
        dev->api->leave(dev);
    }
    *out = (void *)(uintptr_t)memory;
    return ret;
}

static void release_memory(ls_device *base, void *memory)
{
    gpu_device *dev = (gpu_device *)base;
    if (!memory)
        return;
    const bool entered = !dev->api->enter(dev, NULL);
    dev->api->release(dev, (gpu_address)(uintptr_t)memory);
    if (entered)
        dev->api->leave(dev);
}

static int write_memory(ls_device *base, void *to, const void *from, size_t bytes, ls_error *err)
{
    gpu_device *dev = (gpu_device *)base;
    int ret = dev->api->enter(dev, err);
    if (!ret) {
        ret = dev->api->write(dev, (gpu_address)(uintptr_t)to, from, bytes, err);
        dev->api->leave(dev);
    }
    return ret;
}

static int read_memory(ls_device *base, void *to, const void *from, size_t bytes, ls_error *err)
{
    gpu_device *dev = (gpu_device *)base;
    int ret = dev->api->enter(dev, err);
    if (!ret) {
        ret = dev->api->read(dev, to, (gpu_address)(uintptr_t)from, bytes, err);
        dev->api->leave(dev);
    }
    return ret;
}

_Static_assert((int)ACT_SILU == LS_ACT_SILU && (int)ACT_GELU == LS_ACT_GELU &&
                   (int)ACT_RELU == LS_ACT_RELU && (int)ACT_SIGMOID == LS_ACT_SIGMOID,
               "kernels number activations as graphs do");

static gpu_compile *const compilers[LS_OP_COUNT] = {
    [LS_OP_GROUP_NORM] = ls_gpu_compile_group_norm, [LS_OP_LAYER_NORM] = ls_gpu_compile_layer_norm,
    [LS_OP_CONV2D] = ls_gpu_compile_conv2d,         [LS_OP_LINEAR] = ls_gpu_compile_linear,
    [LS_OP_ATTENTION] = ls_gpu_compile_attention,   [LS_OP_GEGLU] = ls_gpu_compile_elementwise,
    [LS_OP_ACT] = ls_gpu_compile_elementwise,       [LS_OP_ADD] = ls_gpu_compile_elementwise,
    [LS_OP_CONCAT] = ls_gpu_compile_elementwise,    [LS_OP_UPSAMPLE] = ls_gpu_compile_elementwise,
    [LS_OP_TIMESTEP] = ls_gpu_compile_elementwise,  [LS_OP_CAST] = ls_gpu_compile_elementwise,
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
    gpu_store *st = (gpu_store *)base;
    gpu_device *dev = (gpu_device *)base->device;
    const char *op = ls_op_name(node->op);
    const ls_tensor *odd = unsupported_tensor(node);
    *out = NULL;
    *scratch = 0;
    if (odd || !compilers[node->op])
        return ls_fail(err, LS_EUNSUPPORTED, "%s does not compute %s in %s", dev->api->name, op,
                       ls_dtype_name(odd ? odd->dtype : node->out->dtype));
    if (node->op == LS_OP_CONV2D && node->u.conv.groups > 1)
        return ls_fail(err, LS_EUNSUPPORTED, "%s does not compute %s with groups", dev->api->name,
                       op);
    int ret = dev->api->enter(dev, err);
    if (ret)
        return ret;
    ls_gpu_begin_node(st);
    ret = compilers[node->op](st, node, out, scratch, err);
    if (!ret && dev->api->expect)
        dev->api->expect(dev, (*out)->functions);
    dev->api->leave(dev);
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
    gpu_device *dev = (gpu_device *)base;
    dev->api->close(dev);
}

const ls_device_vtable ls_gpu_vtable = {
    .alloc = alloc_memory,
    .release = release_memory,
    .write = write_memory,
    .read = read_memory,
    .open_store = ls_gpu_open_store,
    .close_store = ls_gpu_close_store,
    .compile = compile,
    .in_place = in_place,
    .free_kernel = free_kernel,
    .enqueue = ls_gpu_enqueue,
    .finish = ls_gpu_finish,
    .close = close_device,
};

const gpu_limits *ls_gpu_limits(const gpu_store *st)
{
    return &((const gpu_device *)((const ls_store *)st)->device)->limits;
}
