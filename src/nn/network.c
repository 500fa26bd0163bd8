#include "nn/network.h"
#include "base/alloc.h"
#include "latentsync/version.h"
#include "weights/packed.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAX_PLANS 8
#define KEPT_LEAST 10000000 /* bytes; fewer are packed in 30 ms */

typedef struct shaped_plan {
    size_t key[LS_NETWORK_KEY];
    ls_plan *plan;
    size_t runs; /* of a plan that is only counted */
} shaped_plan;

struct ls_network {
    ls_weights *weights;
    ls_params *params;
    void *config;
    ls_network_build build;
    ls_store *store, *dry; /* the second: only during an estimate */
    unsigned store_flags;
    ls_dtype dtype;
    ls_workspace *workspace;
    shaped_plan plans[MAX_PLANS];              /* most recently used first */
    size_t plan_count, activations, estimated; /* bytes of the largest plan */
    shaped_plan counted[MAX_PLANS];            /* during an estimate */
    size_t counted_count;
    uint64_t kept_most; /* bytes; 0: none are kept */
    ls_packed_before *before;
    char kept_key[512], kept_path[LS_PATH_SIZE]; /* empty until the first plan, and without */
    ls_error refused;
    bool settled; /* whether they are kept */
};

int ls_workspace_open(ls_workspace *ws, const char *device, int threads, ls_error *err)
{
    *ws = (ls_workspace){0};
    return ls_device_open(&ws->device, device, threads, err);
}

static void free_activations(ls_workspace *ws)
{
    if (ws->device)
        ws->device->vtable->release(ws->device, ws->data);
    ws->data = NULL;
    ws->bytes = 0;
}

void ls_workspace_close(ls_workspace *ws)
{
    free_activations(ws);
    ls_device_close(&ws->device);
}

int ls_network_table(ls_params **out, const void *config, ls_network_build build,
                     const size_t key[LS_NETWORK_KEY], ls_error *err)
{
    *out = ls_params_new();
    ls_graph *g = ls_graph_new(LS_F32, false);
    int ret = 0;
    if (!*out || !g) {
        ret = ls_fail(err, LS_ENOMEM, "out of memory for the table of weights");
    } else {
        ls_nn nn = {.g = g, .params = *out};
        build(config, &nn, key);
        ret = ls_graph_error(g, err);
        if (!ret)
            ret = ls_params_error(*out, err);
    }
    ls_graph_free(&g);
    if (ret)
        ls_params_free(out);
    return ret;
}

int ls_network_open(ls_network **out, ls_weights **w, const void *config, size_t config_size,
                    ls_network_build build, const size_t key[LS_NETWORK_KEY],
                    const ls_params_rules *rules, const ls_compute *compute, ls_error *err)
{
    *out = NULL;
    ls_network *net = ls_calloc_array(1, sizeof *net);
    if (!net) {
        ls_weights_close(w);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    net->weights = *w;
    *w = NULL;
    net->build = build;
    const bool int8 = compute->dtype == LS_I8;
    net->dtype = int8 ? LS_BF16 : compute->dtype;
    net->store_flags = int8 ? LS_STORE_INT8 : 0;
    net->workspace = compute->workspace;
    net->config = malloc(config_size);
    int ret = net->config ? ls_network_table(&net->params, config, build, key, err)
                          : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        memcpy(net->config, config, config_size);
        ret = ls_params_bind(net->params, net->weights, rules, err);
    }
    if (ret)
        ls_network_close(&net);
    *out = net;
    return ret;
}

void ls_network_close(ls_network **pnet)
{
    ls_network *net = *pnet;
    if (!net)
        return;
    for (size_t i = 0; i < net->plan_count; i++)
        ls_plan_close(&net->plans[i].plan);
    ls_store_close(&net->store);
    ls_store_close(&net->dry);
    ls_packed_close(&net->before);
    ls_params_free(&net->params);
    ls_weights_close(&net->weights);
    free(net->config);
    free(net);
    *pnet = NULL;
}

static int compile(ls_network *net, ls_store *st, const size_t *key, bool taps, ls_plan **plan,
                   ls_error *err)
{
    ls_graph *g = ls_graph_new(net->dtype, taps);
    if (!g)
        return ls_fail(err, LS_ENOMEM, "out of memory while building a graph");
    ls_nn nn = {.g = g, .params = net->params};
    net->build(net->config, &nn, key);
    int ret = ls_params_error(net->params, err);
    if (ret) {
        ls_graph_free(&g);
        return ret;
    }
    return ls_plan_compile(plan, &g, st, err);
}

static int reserve(ls_network *net, size_t bytes, ls_error *err)
{
    if (bytes > net->activations)
        net->activations = bytes;
    ls_workspace *ws = net->workspace;
    if (bytes <= ws->bytes)
        return 0;
    free_activations(ws);
    int ret = ws->device->vtable->alloc(ws->device, bytes, &ws->data, err);
    if (ret)
        return ls_fail_context(err, ret, "%zu MB for activations", bytes >> 20);
    ws->bytes = bytes;
    return 0;
}

static int measure(ls_network *net, const size_t *key, bool taps, ls_error *err)
{
    ls_plan *plan;
    int ret = compile(net, net->dry, key, taps, &plan, err);
    if (!ret && ls_plan_arena_bytes(plan) > net->estimated)
        net->estimated = ls_plan_arena_bytes(plan);
    ls_plan_close(&plan);
    return ret;
}

/* What packed weights were made of, and by whom; that their layouts are those that are needed is
 * seen when each is sought. Empty if the checkpoint is not a file. */
static void name_kept(const ls_network *net, char *key, size_t size)
{
    char source[160];
    const bool int8 = net->store_flags & LS_STORE_INT8;
    *key = '\0';
    if (!ls_weights_identity(net->weights, source, sizeof source, NULL))
        snprintf(key, size, "latentsync %s, %s, %s, of %s", LS_VERSION_STRING, net->store->packing,
                 ls_dtype_name(int8 ? LS_I8 : net->dtype), source);
}

/* Without them all is as if there were none. */
static void find_kept(ls_network *net)
{
    if (!net->kept_most || !*net->store->packing)
        return;
    name_kept(net, net->kept_key, sizeof net->kept_key);
    if (!*net->kept_key || ls_packed_path(net->kept_path, net->kept_key, NULL)) {
        *net->kept_path = '\0';
        return;
    }
    if (ls_packed_open(&net->before, net->kept_path, net->kept_key, net->workspace->device->threads,
                       &net->refused) == LS_ENOENT)
        net->refused = (ls_error){0};
    net->store->before = net->before;
}

static int prepare(ls_network *net, const size_t *key, bool taps, ls_plan **plan, ls_error *err)
{
    if (plan)
        *plan = NULL;
    if (net->dry)
        return measure(net, key, taps, err);
    size_t i = 0;
    while (i < net->plan_count && memcmp(net->plans[i].key, key, sizeof net->plans[i].key))
        i++;
    shaped_plan found = {.plan = NULL};
    int ret = 0;
    if (i < net->plan_count) {
        found = net->plans[i];
    } else {
        memcpy(found.key, key, sizeof found.key);
        if (!net->store) {
            ret = ls_store_open(&net->store, net->workspace->device, net->store_flags, err);
            if (!ret)
                find_kept(net);
        }
        if (!ret)
            ret = compile(net, net->store, key, taps, &found.plan, err);
        if (ret)
            return ret;
        if (net->plan_count == MAX_PLANS)
            ls_plan_close(&net->plans[--i].plan);
        else
            net->plan_count++;
    }
    memmove(net->plans + 1, net->plans, i * sizeof *net->plans);
    net->plans[0] = found;
    if (plan)
        *plan = found.plan;
    return reserve(net, ls_plan_arena_bytes(found.plan), err);
}

int ls_network_prepare(ls_network *net, const size_t key[LS_NETWORK_KEY], bool taps, ls_plan **plan,
                       ls_error *err)
{
    ls_turn_take(&net->workspace->turn, NULL);
    int ret = prepare(net, key, taps, plan, err);
    ls_turn_give(&net->workspace->turn);
    return ret;
}

void ls_network_set_kept(ls_network *net, uint64_t most)
{
    ls_turn_take(&net->workspace->turn, NULL);
    net->kept_most = most;
    ls_turn_give(&net->workspace->turn);
}

static int keep(ls_network *net, ls_network_kept *out, const ls_cancel *cancel, ls_error *err)
{
    const ls_store *st = net->store;
    char key[sizeof net->kept_key];
    *out = (ls_network_kept){.path = *net->kept_path ? net->kept_path : NULL,
                             .mapped = st ? st->found_bytes : 0,
                             .refused =
                                 net->refused.code && !net->settled ? net->refused.message : NULL};
    if (net->settled || !out->path)
        return 0;
    net->settled = true;
    if (st->bytes - st->found_bytes < KEPT_LEAST)
        return 0;
    if (!net->before && !out->refused && !access(out->path, F_OK)) // another process was faster
        return 0;
    name_kept(net, key, sizeof key);
    if (strcmp(key, net->kept_key))
        return ls_fail(err, LS_EIO, "%s has changed", ls_weights_path(net->weights));
    const int ret =
        ls_packed_write(out->path, key, st->packed, net->before, net->kept_most, cancel, err);
    out->written = ret ? 0 : st->bytes - st->found_bytes;
    return ret;
}

int ls_network_keep(ls_network *net, ls_network_kept *out, const ls_cancel *cancel, ls_error *err)
{
    ls_turn_take(&net->workspace->turn, NULL);
    const int ret = keep(net, out, cancel, err);
    ls_turn_give(&net->workspace->turn);
    return ret;
}

static ls_network_memory memory_of(const ls_store *st, size_t activations)
{
    return st ? (ls_network_memory){st->bytes, activations, st->pinned_bytes, st->found_bytes}
              : (ls_network_memory){.activations = activations};
}

int ls_network_estimate_begin(ls_network *net, ls_error *err)
{
    net->estimated = 0;
    return ls_store_open(&net->dry, net->workspace->device, net->store_flags | LS_STORE_DRY, err);
}

ls_network_memory ls_network_estimate_end(ls_network *net)
{
    ls_network_memory m = memory_of(net->dry, net->estimated);
    for (size_t i = 0; i < net->counted_count; i++)
        ls_plan_close(&net->counted[i].plan);
    net->counted_count = 0;
    ls_store_close(&net->dry);
    return m;
}

const ls_plan *ls_network_counted_plan(const ls_network *net, size_t i, size_t *runs)
{
    if (i >= net->counted_count)
        return NULL;
    *runs = net->counted[i].runs;
    return net->counted[i].plan;
}

/* Counts a run, and makes its results zeros. */
static int count_run(ls_network *net, const size_t *key, const ls_binding *bindings, size_t count,
                     ls_error *err)
{
    size_t i = 0;
    while (i < net->counted_count && memcmp(net->counted[i].key, key, sizeof net->counted[i].key))
        i++;
    shaped_plan *found = &net->counted[i];
    if (i == MAX_PLANS)
        return ls_fail(err, LS_EUNSUPPORTED, "more than %d shapes are measured", MAX_PLANS);
    if (i == net->counted_count) {
        *found = (shaped_plan){.runs = 0};
        const int ret = compile(net, net->dry, key, false, &found->plan, err);
        if (ret)
            return ret;
        memcpy(found->key, key, sizeof found->key);
        net->counted_count++;
    }
    found->runs++;
    for (size_t b = 0; b < count; b++) {
        const ls_tensor *t = ls_graph_find(ls_plan_graph(found->plan), bindings[b].name, NULL);
        if (t && t->kind == LS_TENSOR_VALUE && !t->resident)
            memset(bindings[b].data, 0, bindings[b].bytes);
    }
    return 0;
}

void ls_network_stream(ls_network *net, bool streamed)
{
    ls_turn_take(&net->workspace->turn, NULL);
    if (!net->store)
        net->store_flags =
            (net->store_flags & ~(unsigned)LS_STORE_STREAMED) | (streamed ? LS_STORE_STREAMED : 0);
    ls_turn_give(&net->workspace->turn);
}

int ls_network_alloc(ls_network *net, size_t bytes, void **out, ls_error *err)
{
    ls_device *dev = net->workspace->device;
    return dev->vtable->alloc(dev, bytes, out, err);
}

void ls_network_release(ls_network *net, void *memory)
{
    ls_device *dev = net->workspace->device;
    dev->vtable->release(dev, memory);
}

int ls_network_write(ls_network *net, void *to, const void *from, size_t bytes, ls_error *err)
{
    ls_device *dev = net->workspace->device;
    const bool wait = !dev->info.host;
    if (wait)
        ls_turn_take(&net->workspace->turn, NULL);
    int ret = dev->vtable->write(dev, to, from, bytes, err);
    if (wait)
        ls_turn_give(&net->workspace->turn);
    return ret;
}

int ls_network_run(ls_network *net, const size_t key[LS_NETWORK_KEY], const ls_binding *bindings,
                   size_t count, const ls_cancel *cancel, ls_error *err)
{
    ls_plan *plan;
    int ret = ls_turn_take(&net->workspace->turn, cancel);
    if (ret)
        return ls_fail(err, ret, "canceled");
    ret =
        net->dry ? count_run(net, key, bindings, count, err) : prepare(net, key, false, &plan, err);
    if (!ret && !net->dry)
        ret = ls_plan_run(plan, net->workspace->data, bindings, count, cancel, err);
    ls_turn_give(&net->workspace->turn);
    return ret;
}

const ls_device_info *ls_network_device(const ls_network *net)
{
    return &net->workspace->device->info;
}

ls_weights *ls_network_weights(const ls_network *net)
{
    return net->weights;
}

const void *ls_network_config(const ls_network *net)
{
    return net->config;
}

ls_dtype ls_network_dtype(const ls_network *net)
{
    return net->dtype;
}

int ls_network_read(ls_network *net, const char *name, size_t ndim, const size_t *shape,
                    float **out, ls_error *err)
{
    const ls_param *p = ls_params_get(net->params, ndim, shape, name);
    if (!p)
        return ls_params_error(net->params, err);
    *out = ls_malloc_array(p->count, sizeof **out);
    if (!*out)
        return ls_fail(err, LS_ENOMEM, "out of memory for %s", name);
    int ret = p->read(p, *out, err);
    if (ret) {
        free(*out);
        *out = NULL;
    }
    return ret;
}

ls_network_memory ls_network_usage(const ls_network *net)
{
    return memory_of(net->store, net->activations);
}

void ls_network_op_seconds(const ls_network *net, double *seconds)
{
    for (size_t i = 0; i < net->plan_count; i++)
        for (size_t j = 0; j < LS_OP_COUNT; j++)
            seconds[j] += ls_plan_op_seconds(net->plans[i].plan)[j];
}
