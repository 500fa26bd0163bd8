#include "models/face/face_net.h"
#include "backend/plan.h"
#include "base/alloc.h"
#include "nn/onnx/onnx.h"

#include <stdlib.h>
#include <string.h>

#define DEFAULT_SIZE 512
#define MAX_SIZE 4096
#define MAX_OUTPUTS (4 * LS_FACE_STRIDES)

enum { SCORE, OBJECTNESS, BOX, POINTS, ROLES };

struct ls_face_net {
    char *path, *input_name;
    ls_face_net_kind kind;
    size_t width, height;
    ls_onnx_import *im;
    ls_device *dev;
    ls_store *store;
    ls_plan *plan;
    void *arena;
    float *input;
    ls_binding bindings[1 + MAX_OUTPUTS];
    size_t bound;
    const float *role[ROLES][LS_FACE_STRIDES];
    size_t anchors[LS_FACE_STRIDES];
    const float *landmarks;
};

static bool is_initializer(const ls_onnx_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n_initializer; i++)
        if (g->initializer[i]->name && !strcmp(g->initializer[i]->name, name))
            return true;
    return false;
}

/* A dimension if the file fixes it, else 0. */
static int64_t fixed(const LsOnnx__TensorShapeProto *s, size_t i)
{
    return s->dim[i]->has_dim_value && s->dim[i]->dim_value > 0 ? s->dim[i]->dim_value : 0;
}

/* Finds the input, an image. */
static int choose_input(ls_face_net *net, const ls_onnx_graph *g, ls_onnx_input *in, ls_error *err)
{
    const LsOnnx__ValueInfoProto *picture = NULL;
    for (size_t i = 0; i < g->n_input; i++) {
        if (!g->input[i]->name || is_initializer(g, g->input[i]->name))
            continue;
        if (picture)
            return ls_fail(err, LS_EUNSUPPORTED, "%s: expected a network with one input",
                           net->path);
        picture = g->input[i];
    }
    const LsOnnx__TensorShapeProto *s = picture && picture->type && picture->type->tensor_type
                                            ? picture->type->tensor_type->shape
                                            : NULL;
    if (!s || s->n_dim != 4 || fixed(s, 0) > 1 || fixed(s, 1) != 3)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "%s: expected a network whose input is one image, [1, 3, height, width]",
                       net->path);
    const bool open = !fixed(s, 2) || !fixed(s, 3);
    net->height = open ? DEFAULT_SIZE : (size_t)fixed(s, 2);
    net->width = open ? DEFAULT_SIZE : (size_t)fixed(s, 3);
    if (net->width > MAX_SIZE || net->height > MAX_SIZE || net->width % 32 || net->height % 32)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "%s: input images of %zu x %zu; only multiples of 32 up to %d are supported",
                       net->path, net->width, net->height, MAX_SIZE);
    if (!(net->input_name = strdup(picture->name)))
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", net->path);
    *in = (ls_onnx_input){.name = net->input_name,
                          .ndim = 4,
                          .shape = {1, 3, net->height, net->width},
                          .channels_last = true};
    return 0;
}

/* Which grid an output of `rows` belongs to; LS_FACE_STRIDES for none. */
static size_t grid_of(const ls_face_net *net, size_t rows, size_t *anchors)
{
    for (size_t i = 0; i < LS_FACE_STRIDES; i++) {
        size_t cells = (net->width >> (3 + i)) * (net->height >> (3 + i));
        for (*anchors = 1; *anchors <= 2; ++*anchors)
            if (rows == cells * *anchors)
                return i;
    }
    return LS_FACE_STRIDES;
}

static bool take_output(ls_face_net *net, const ls_onnx_output *o, const float *data)
{
    size_t rows = 1, columns = o->ndim ? o->shape[o->ndim - 1] : 0, anchors;
    for (size_t d = 0; d + 1 < o->ndim; d++)
        rows *= o->shape[d];
    if (rows == 1 && columns == 2 * 106) {
        net->landmarks = data;
        return true;
    }
    const size_t grid = grid_of(net, rows, &anchors);
    const size_t role = columns == 4                  ? BOX
                        : columns == 10               ? POINTS
                        : columns != 1                ? ROLES
                        : !strncmp(o->name, "obj", 3) ? OBJECTNESS
                                                      : SCORE;
    if (grid == LS_FACE_STRIDES || role == ROLES || net->role[role][grid] ||
        (net->anchors[grid] && net->anchors[grid] != anchors))
        return false;
    net->role[role][grid] = data;
    net->anchors[grid] = anchors;
    return true;
}

/* Whether all three grids have the role (1), none has (0), or some (-1). */
static int complete(const ls_face_net *net, int role)
{
    int have = 0;
    for (size_t i = 0; i < LS_FACE_STRIDES; i++)
        have += net->role[role][i] != NULL;
    return have == LS_FACE_STRIDES ? 1 : have ? -1 : 0;
}

static int recognise(ls_face_net *net, ls_error *err)
{
    const int score = complete(net, SCORE), box = complete(net, BOX);
    const int points = complete(net, POINTS), objectness = complete(net, OBJECTNESS);
    if (net->landmarks && !score && !box && !points && !objectness)
        net->kind = LS_FACE_NET_LANDMARKS106;
    else if (net->landmarks || score != 1 || box != 1 || points < 0 || objectness < 0)
        return ls_fail(
            err, LS_EUNSUPPORTED,
            "%s: its outputs are those of neither an SCRFD or YuNet face detector nor 2d106det",
            net->path);
    else
        net->kind = objectness ? LS_FACE_NET_YUNET : LS_FACE_NET_SCRFD;
    return 0;
}

static int bind(ls_face_net *net, ls_error *err)
{
    const ls_onnx_output *outputs;
    const size_t count = ls_onnx_import_outputs(net->im, &outputs);
    const size_t bytes = net->width * net->height * 3 * sizeof(float);
    net->input = ls_aligned_alloc(LS_MEM_MODELS, bytes);
    if (!net->input)
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", net->path);
    memset(net->input, 0, bytes);
    net->bindings[net->bound++] = (ls_binding){net->input_name, net->input, bytes};
    for (size_t i = 0; i < count; i++) {
        size_t values = 1;
        for (size_t d = 0; d < outputs[i].ndim; d++)
            values *= outputs[i].shape[d];
        float *data = NULL;
        if (!outputs[i].constant && count <= MAX_OUTPUTS) {
            data = ls_aligned_alloc(LS_MEM_MODELS, values * sizeof *data);
            if (!data)
                return ls_fail(err, LS_ENOMEM, "%s: out of memory", net->path);
            net->bindings[net->bound++] =
                (ls_binding){outputs[i].name, data, values * sizeof *data};
        }
        if (!data || !take_output(net, &outputs[i], data))
            return ls_fail(err, LS_EUNSUPPORTED,
                           "%s: output \"%s\" is not one of a face detector or of 2d106det",
                           net->path, outputs[i].name);
    }
    return recognise(net, err);
}

static int open_net(ls_face_net *net, const ls_onnx *m, ls_dtype dtype, int threads, ls_error *err)
{
    ls_onnx_input in;
    ls_graph *g = NULL;
    int ret = choose_input(net, ls_onnx_get_graph(m), &in, err);
    if (ret)
        return ret;
    if (!(g = ls_graph_new(dtype, false)))
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", net->path);
    ret = ls_onnx_import_graph(&net->im, g, m, &in, 1, err);
    const ls_tensor *t = ret ? NULL : ls_graph_find(g, in.name, NULL);
    if (!ret && !t)
        ret = ls_fail(err, LS_EUNSUPPORTED, "%s: the input image is not used", net->path);
    if (!ret)
        ret = bind(net, err);
    if (!ret)
        ret = ls_device_open(&net->dev, "cpu", threads, err);
    if (!ret)
        ret = ls_store_open(&net->store, net->dev, 0, err);
    if (!ret)
        ret = ls_plan_compile(&net->plan, &g, net->store, err);
    ls_graph_free(&g);
    if (!ret && !(net->arena = ls_aligned_alloc(LS_MEM_MODELS, ls_plan_arena_bytes(net->plan))))
        ret = ls_fail(err, LS_ENOMEM, "%s: out of memory", net->path);
    return ret;
}

int ls_face_net_open(ls_face_net **out, const char *path, ls_dtype dtype, int threads,
                     ls_error *err)
{
    ls_onnx *m = NULL;
    ls_face_net *net = *out = ls_calloc_array(1, sizeof *net);
    if (!net || !(net->path = strdup(path))) {
        ls_face_net_close(out);
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", path);
    }
    int ret = ls_onnx_open(&m, path, err);
    if (!ret)
        ret = open_net(net, m, dtype, threads, err);
    ls_onnx_close(&m);
    if (ret)
        ls_face_net_close(out);
    return ret;
}

void ls_face_net_close(ls_face_net **pnet)
{
    ls_face_net *net = *pnet;
    if (!net)
        return;
    ls_plan_close(&net->plan);
    ls_store_close(&net->store);
    ls_device_close(&net->dev);
    ls_onnx_import_free(&net->im);
    for (size_t i = 0; i < net->bound; i++)
        ls_aligned_free(net->bindings[i].data);
    ls_aligned_free(net->arena);
    free(net->input_name);
    free(net->path);
    free(net);
    *pnet = NULL;
}

const char *ls_face_net_path(const ls_face_net *net)
{
    return net->path;
}

ls_face_net_kind ls_face_net_get_kind(const ls_face_net *net)
{
    return net->kind;
}

bool ls_face_net_has_points(const ls_face_net *net)
{
    return net->kind == LS_FACE_NET_LANDMARKS106 || net->role[POINTS][0];
}

void ls_face_net_size(const ls_face_net *net, size_t *width, size_t *height)
{
    *width = net->width;
    *height = net->height;
}

size_t ls_face_net_bytes(const ls_face_net *net)
{
    size_t bytes = net->store->bytes + ls_plan_arena_bytes(net->plan);
    for (size_t i = 0; i < net->bound; i++)
        bytes += net->bindings[i].bytes;
    return bytes;
}

float *ls_face_net_input(ls_face_net *net)
{
    return net->input;
}

int ls_face_net_run(ls_face_net *net, const ls_cancel *cancel, ls_error *err)
{
    int ret = ls_plan_run(net->plan, net->arena, net->bindings, net->bound, cancel, err);
    return ret && ret != LS_ECANCELED ? ls_fail_context(err, ret, "%s", net->path) : ret;
}

ls_face_grid ls_face_net_grid(const ls_face_net *net, size_t i)
{
    return (ls_face_grid){.stride = (size_t)8 << i,
                          .width = net->width >> (3 + i),
                          .height = net->height >> (3 + i),
                          .anchors = net->anchors[i],
                          .score = net->role[SCORE][i],
                          .objectness = net->role[OBJECTNESS][i],
                          .box = net->role[BOX][i],
                          .points = net->role[POINTS][i]};
}

const float *ls_face_net_landmarks(const ls_face_net *net)
{
    return net->landmarks;
}
