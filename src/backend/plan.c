#include "backend/plan.h"
#include "base/alloc.h"
#include "base/time.h"
#include "tensor/arena.h"

#include <stdlib.h>

typedef struct step {
    ls_kernel *kernel;
    size_t scratch; /* offset in the arena */
} step;

struct ls_plan {
    ls_graph *graph;
    ls_device *device;
    step *steps;
    void **memory;  /* per tensor of the graph, for the current run */
    size_t *offset; /* per tensor: offset in the arena, SIZE_MAX for those in bound memory */
    size_t arena_bytes;
    double seconds[LS_OP_COUNT];
};

/* Whether the caller's memory is used where it is, instead of a copy on the device. */
static bool is_bound(const ls_plan *p, const ls_tensor *t)
{
    return (t->kind == LS_TENSOR_INPUT || t->output) && (t->resident || p->device->info.host);
}

/* The last node that reads each tensor; the number of nodes for one that is read after the run. */
static void find_last_uses(const ls_plan *p, size_t *last)
{
    const ls_graph *g = p->graph;
    const size_t nodes = ls_graph_node_count(g);
    for (size_t i = 0; i < nodes; i++) {
        const ls_node *node = ls_graph_node(g, i);
        for (size_t j = 0; j < LS_MAX_INPUTS; j++) {
            const ls_tensor *root = node->in[j] ? ls_tensor_root(node->in[j]) : NULL;
            if (root && last[root->index] < i)
                last[root->index] = i;
        }
        last[node->out->index] = node->out->tapped || node->out->output ? nodes : i;
    }
}

/* The input of node `i` whose memory the output may reuse because nothing reads it later; NULL if
 * there is none. */
static const ls_tensor *overwritten(const ls_plan *p, size_t i, const size_t *last)
{
    const ls_node *node = ls_graph_node(p->graph, i);
    const ls_device_vtable *vt = p->device->vtable;
    const int j = vt->in_place ? vt->in_place(p->steps[i].kernel) : -1;
    const ls_tensor *root = j >= 0 ? ls_tensor_root(node->in[j]) : NULL;
    bool fits = root && root->kind == LS_TENSOR_VALUE && !root->output && !node->out->output &&
                last[root->index] == i && ls_tensor_bytes(root) == ls_tensor_bytes(node->out);
    for (int k = 0; fits && k < LS_MAX_INPUTS; k++)
        fits = k == j || !node->in[k] || ls_tensor_root(node->in[k]) != root;
    return fits ? root : NULL;
}

/* Intermediates live from the node that writes them to the last that reads them, inputs from the
 * start. */
static int place(ls_plan *p, const size_t *scratch, ls_error *err)
{
    const ls_graph *g = p->graph;
    size_t nodes = ls_graph_node_count(g), tensors = ls_graph_tensor_count(g), n = 0;
    ls_interval *iv = ls_calloc_array(tensors + nodes, sizeof *iv);
    size_t *slot = ls_malloc_array(tensors, sizeof *slot),
           *last = ls_calloc_array(tensors, sizeof *last);
    size_t *pad = ls_malloc_array(nodes, sizeof *pad); /* slots of working memory */
    int ret = iv && slot && last && pad
                  ? 0
                  : ls_fail(err, LS_ENOMEM, "out of memory while planning a graph");
    if (!ret)
        find_last_uses(p, last);
    for (size_t i = 0; !ret && i < tensors; i++) {
        const ls_tensor *t = ls_graph_tensor(g, i);
        if (t->kind != LS_TENSOR_INPUT || is_bound(p, t))
            continue;
        slot[i] = n;
        iv[n++] = (ls_interval){0, last[i], ls_tensor_bytes(t), 0};
    }
    for (size_t i = 0; !ret && i < nodes; i++) {
        const ls_tensor *out = ls_graph_node(g, i)->out;
        const ls_tensor *over = overwritten(p, i, last);
        if (over) {
            slot[out->index] = slot[over->index];
            iv[slot[out->index]].last = last[out->index];
        } else if (!is_bound(p, out)) {
            slot[out->index] = n;
            iv[n++] = (ls_interval){i, last[out->index], ls_tensor_bytes(out), 0};
        }
        pad[i] = n;
        if (scratch[i])
            iv[n++] = (ls_interval){i, i, scratch[i], 0};
    }
    if (!ret) {
        p->arena_bytes = ls_arena_plan(iv, n);
        if (p->arena_bytes == SIZE_MAX)
            ret = ls_fail(err, LS_ENOMEM, "the activations of a graph do not fit in memory");
    }
    for (size_t i = 0; !ret && i < tensors; i++) {
        const ls_tensor *t = ls_graph_tensor(g, i);
        if ((t->kind == LS_TENSOR_INPUT || t->kind == LS_TENSOR_VALUE) && !is_bound(p, t))
            p->offset[i] = iv[slot[i]].offset;
    }
    for (size_t i = 0; !ret && i < nodes; i++)
        if (scratch[i])
            p->steps[i].scratch = iv[pad[i]].offset;
    free(iv);
    free(slot);
    free(last);
    free(pad);
    return ret;
}

int ls_plan_compile(ls_plan **out, ls_graph **g, ls_store *st, ls_error *err)
{
    *out = NULL;
    ls_plan *p = ls_calloc_array(1, sizeof *p);
    if (!p || !*g) {
        ls_graph_free(g);
        free(p);
        return ls_fail(err, LS_ENOMEM, "out of memory while compiling a graph");
    }
    p->graph = *g;
    p->device = st->device;
    *g = NULL;
    size_t nodes = ls_graph_node_count(p->graph), tensors = ls_graph_tensor_count(p->graph);
    p->steps = ls_calloc_array(nodes, sizeof *p->steps);
    p->memory = ls_calloc_array(tensors, sizeof *p->memory);
    p->offset = ls_malloc_array(tensors, sizeof *p->offset);
    size_t *scratch = ls_calloc_array(nodes, sizeof *scratch);
    int ret = ls_graph_error(p->graph, err);
    if (!ret && (!p->steps || !p->memory || !p->offset || !scratch))
        ret = ls_fail(err, LS_ENOMEM, "out of memory while compiling a graph");
    for (size_t i = 0; !ret && i < tensors; i++)
        p->offset[i] = SIZE_MAX;
    for (size_t i = 0; !ret && i < nodes; i++)
        ret = p->device->vtable->compile(st, ls_graph_node(p->graph, i), &p->steps[i].kernel,
                                         &scratch[i], err);
    if (!ret)
        ret = place(p, scratch, err);
    free(scratch);
    if (ret)
        ls_plan_close(&p);
    *out = p;
    return ret;
}

void ls_plan_close(ls_plan **pp)
{
    ls_plan *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; p->steps && i < ls_graph_node_count(p->graph); i++)
        p->device->vtable->free_kernel(p->steps[i].kernel);
    ls_graph_free(&p->graph);
    free(p->steps);
    free(p->memory);
    free(p->offset);
    free(p);
    *pp = NULL;
}

size_t ls_plan_arena_bytes(const ls_plan *p)
{
    return p->arena_bytes;
}

const double *ls_plan_op_seconds(const ls_plan *p)
{
    return p->seconds;
}

const ls_graph *ls_plan_graph(const ls_plan *p)
{
    return p->graph;
}

/* Finds the places of all tensors. */
static int bind(ls_plan *p, char *arena, const ls_binding *bindings, size_t count, ls_error *err)
{
    const ls_graph *g = p->graph;
    bool tap;
    for (size_t i = 0; i < ls_graph_tensor_count(g); i++)
        p->memory[i] = NULL;
    for (size_t i = 0; i < count; i++) {
        const ls_tensor *t = ls_graph_find(g, bindings[i].name, &tap);
        if (!t || ls_tensor_bytes(t) != bindings[i].bytes)
            return ls_fail(err, LS_EINVAL, "cannot bind %zu bytes to %s, which needs %zu",
                           bindings[i].bytes, bindings[i].name, t ? ls_tensor_bytes(t) : 0);
        if (!tap)
            p->memory[t->index] = bindings[i].data;
    }
    const char *name;
    for (size_t i = 0; (name = ls_graph_name(g, i)); i++) {
        const ls_tensor *t = ls_graph_find(g, name, &tap);
        if (!tap && !p->memory[t->index])
            return ls_fail(err, LS_EINVAL, "%s is not bound to memory", name);
    }
    for (size_t i = 0; i < ls_graph_tensor_count(g); i++)
        if (p->offset[i] != SIZE_MAX)
            p->memory[i] = arena + p->offset[i];
    return 0;
}

static int write_inputs(ls_plan *p, const ls_binding *bindings, size_t count, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < count; i++) {
        const ls_tensor *t = ls_graph_find(p->graph, bindings[i].name, NULL);
        if (t->kind == LS_TENSOR_INPUT && !is_bound(p, t))
            ret = p->device->vtable->write(p->device, p->memory[t->index], bindings[i].data,
                                           bindings[i].bytes, err);
    }
    return ret;
}

static int read_outputs(ls_plan *p, const ls_binding *bindings, size_t count, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < count; i++) {
        bool tap;
        const ls_tensor *t = ls_graph_find(p->graph, bindings[i].name, &tap);
        if (tap || (t->output && !is_bound(p, t)))
            ret = p->device->vtable->read(p->device, bindings[i].data,
                                          p->memory[ls_tensor_root(t)->index], bindings[i].bytes,
                                          err);
    }
    return ret;
}

static int enqueue(ls_plan *p, size_t i, char *arena, ls_error *err)
{
    const ls_node *node = ls_graph_node(p->graph, i);
    void *in[LS_MAX_INPUTS];
    for (size_t j = 0; j < LS_MAX_INPUTS; j++)
        in[j] = node->in[j] ? p->memory[ls_tensor_root(node->in[j])->index] : NULL;
    const double start = ls_time_now();
    int ret =
        p->device->vtable->enqueue(p->device, p->steps[i].kernel, in, p->memory[node->out->index],
                                   arena + p->steps[i].scratch, err);
    if (p->device->info.host)
        p->seconds[node->op] += ls_time_now() - start;
    return ret;
}

int ls_plan_run(ls_plan *p, void *arena, const ls_binding *bindings, size_t count,
                const ls_cancel *cancel, ls_error *err)
{
    const ls_device_vtable *vt = p->device->vtable;
    int ret = bind(p, arena, bindings, count, err);
    if (!ret)
        ret = write_inputs(p, bindings, count, err);
    for (size_t i = 0; !ret && i < ls_graph_node_count(p->graph); i++)
        ret = ls_canceled(cancel) ? ls_fail(err, LS_ECANCELED, "canceled")
                                  : enqueue(p, i, arena, err);
    if (vt->finish) { // after an error too: nothing may be left running in the arena
        const int late = vt->finish(p->device, p->seconds, ret ? NULL : err);
        ret = ret ? ret : late;
    }
    return ret ? ret : read_outputs(p, bindings, count, err);
}
