#include "backend/onednn/onednn.h"
#include "backend/team.h"
#include "base/os/memory.h"
#include "base/system.h"

#include <stdio.h>
#include <stdlib.h>

#define CODE ((size_t)8 << 20) /* more than a node's code takes */

/* oneDNN writes to the memory of its code without looking whether it got any, and OpenMP ends the
 * process when it cannot start a thread, as it does for the first call: so there must be room
 * before either. */
static int check_room(const ls_device *base, size_t code, bool *started, ls_error *err)
{
    const size_t stacks = *started ? 0 : (size_t)base->threads * ls_thread_stack();
    *started = true;
    return !(code + stacks) || ls_os_can_map(code + stacks)
               ? 0
               : ls_fail(err, LS_ENOMEM,
                         "no memory can be mapped for the networks: is the address space of this "
                         "process limited (ulimit -v)?");
}

static int compile(ls_store *base, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err)
{
    onednn_store *st = (onednn_store *)base;
    *out = NULL;
    *scratch = 0;
    int ret = check_room(base->device, CODE, &st->dev->compiled, err);
    if (ret)
        return ret;
    const ls_team before = ls_team_enter(base->device->threads);
    const bool product = node->op == LS_OP_CONV2D || node->op == LS_OP_LINEAR;
    if (product && ls_onednn_suits_int8(st, node))
        ret = ls_onednn_compile_int8(st, node, out, scratch, err);
    if (ret || *out)
        ;
    else if (node->op == LS_OP_CONV2D)
        ret = ls_onednn_compile_conv2d(st, node, out, scratch, err);
    else if (node->op == LS_OP_LINEAR)
        ret = ls_onednn_compile_linear(st, node, out, scratch, err);
    else if (node->op == LS_OP_POOL || node->op == LS_OP_BINARY || node->op == LS_OP_TAKE)
        ret = ls_onednn_compile_image_op(st, node, out, scratch, err);
    else
        ret = ls_onednn_compile_op(st, node, out, scratch, err);
    ls_team_leave(before);
    return ret ? ls_fail_context(err, ret, "%s", ls_op_name(node->op)) : 0;
}

static int enqueue(ls_device *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                   void *scratch, ls_error *err)
{
    onednn_device *dev = (onednn_device *)base;
    if (check_room(base, 0, &dev->ran, err))
        return LS_ENOMEM;
    const ls_team before = ls_team_enter(base->threads);
    const int ret = k->run(dev, k, in, out, scratch, err);
    ls_team_leave(before);
    return ret;
}

static void free_kernel(ls_kernel *k)
{
    if (k)
        k->free(k);
}

static int in_place(const ls_kernel *k)
{
    return k->in_place;
}

static int open_store(ls_device *base, unsigned flags, ls_store **out, ls_error *err)
{
    if (ls_store_new(out, base, flags, sizeof(onednn_store), err))
        return LS_ENOMEM;
    ((onednn_store *)*out)->dev = (onednn_device *)base;
    const dnnl_version_t *v = dnnl_version();
    snprintf((*out)->packing, sizeof(*out)->packing, "oneDNN %d.%d.%d %.7s, isa %x", v->major,
             v->minor, v->patch, v->hash, (unsigned)dnnl_get_effective_cpu_isa());
    return 0;
}

static void close_store(ls_store *base)
{
    ls_onednn_free_packed((onednn_store *)base);
}

static void close_device(ls_device *base)
{
    onednn_device *dev = (onednn_device *)base;
    dnnl_stream_destroy(dev->stream);
    dnnl_engine_destroy(dev->engine);
    free(dev);
}

static const ls_device_vtable vtable = {.alloc = ls_host_alloc,
                                        .release = ls_host_release,
                                        .write = ls_host_write,
                                        .read = ls_host_read,
                                        .open_store = open_store,
                                        .close_store = close_store,
                                        .compile = compile,
                                        .in_place = in_place,
                                        .free_kernel = free_kernel,
                                        .enqueue = enqueue,
                                        .close = close_device};

void ls_device_onednn_version(char *text, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

int ls_device_onednn_open(ls_device **out, ls_error *err)
{
    *out = NULL;
    onednn_device *dev = ls_calloc_array(1, sizeof *dev);
    if (!dev)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    dev->base.vtable = &vtable;
    dev->kernels = ls_kernels_get();
    dnnl_status_t s = dnnl_engine_create(&dev->engine, dnnl_cpu, 0);
    if (!s)
        s = dnnl_stream_create(&dev->stream, dev->engine, dnnl_stream_in_order);
    int ret = ls_onednn_check(s, "open the CPU", err);
    if (ret) {
        close_device(&dev->base);
        return ret;
    }
    *out = &dev->base;
    return 0;
}
