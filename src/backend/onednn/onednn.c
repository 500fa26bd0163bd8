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
static int check_room(const ls_backend *base, size_t code, bool *started, ls_error *err)
{
    const size_t stacks = *started ? 0 : (size_t)base->threads * ls_thread_stack();
    *started = true;
    return !(code + stacks) || ls_os_can_map(code + stacks)
               ? 0
               : ls_fail(err, LS_ENOMEM,
                         "no memory can be mapped for the networks: is the address space of this "
                         "process limited (ulimit -v)?");
}

static int compile(ls_backend *base, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err)
{
    onednn_backend *be = (onednn_backend *)base;
    *out = NULL;
    *scratch = 0;
    int ret = check_room(base, CODE, &be->compiled, err);
    if (ret)
        return ret;
    const ls_team before = ls_team_enter(base->threads);
    if (node->op == LS_OP_CONV2D)
        ret = ls_onednn_compile_conv2d(be, node, out, scratch, err);
    else if (node->op == LS_OP_LINEAR)
        ret = ls_onednn_compile_linear(be, node, out, scratch, err);
    else if (node->op == LS_OP_POOL || node->op == LS_OP_BINARY || node->op == LS_OP_TAKE)
        ret = ls_onednn_compile_image_op(be, node, out, scratch, err);
    else
        ret = ls_onednn_compile_op(be, node, out, scratch, err);
    ls_team_leave(before);
    return ret ? ls_fail_context(err, ret, "%s", ls_op_name(node->op)) : 0;
}

static int run(ls_backend *base, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
               void *scratch, ls_error *err)
{
    onednn_backend *be = (onednn_backend *)base;
    if (check_room(base, 0, &be->ran, err))
        return LS_ENOMEM;
    const ls_team before = ls_team_enter(base->threads);
    const int ret = k->run(be, k, in, out, scratch, err);
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

static void close_backend(ls_backend *base)
{
    onednn_backend *be = (onednn_backend *)base;
    ls_onednn_free_packed(be);
    dnnl_stream_destroy(be->stream);
    dnnl_engine_destroy(be->engine);
    free(be);
}

static const ls_backend_vtable vtable = {"onednn",    compile,  run,
                                         free_kernel, in_place, close_backend};

void ls_backend_onednn_version(char *text, size_t size)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, size, "oneDNN %d.%d.%d", v->major, v->minor, v->patch);
}

int ls_backend_onednn_open(ls_backend **out, ls_error *err)
{
    *out = NULL;
    onednn_backend *be = ls_calloc_array(1, sizeof *be);
    if (!be)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    be->base.vtable = &vtable;
    be->base.threads = 1;
    be->kernels = ls_kernels_get();
    dnnl_status_t s = dnnl_engine_create(&be->engine, dnnl_cpu, 0);
    if (!s)
        s = dnnl_stream_create(&be->stream, be->engine, dnnl_stream_in_order);
    int ret = ls_onednn_check(s, "open the CPU", err);
    if (ret) {
        close_backend(&be->base);
        return ret;
    }
    *out = &be->base;
    return 0;
}
