#include "fuzz.h"

#include "backend/plan.h"
#include "nn/onnx/onnx.h"
#include "store.h"

#define MAX_INPUTS 8

/* Every input of the file as a small picture, or as what the file says of it when that is small. */
static size_t choose_inputs(const ls_onnx_graph *g, ls_onnx_input inputs[MAX_INPUTS])
{
    size_t count = 0;
    for (size_t i = 0; i < g->n_input && count < MAX_INPUTS; i++) {
        const LsOnnx__TypeProto *t = g->input[i]->type;
        const LsOnnx__TensorShapeProto *s = t && t->tensor_type ? t->tensor_type->shape : NULL;
        ls_onnx_input in = {.name = g->input[i]->name, .ndim = 4, .shape = {1, 3, 32, 32}};
        in.channels_last = i % 2;
        if (!in.name)
            continue;
        for (size_t d = 0; s && s->n_dim <= LS_MAX_DIMS && d < s->n_dim; d++) {
            in.ndim = s->n_dim;
            int64_t n = s->dim[d]->has_dim_value ? s->dim[d]->dim_value : 1;
            in.shape[d] = n > 0 && n <= 64 ? (size_t)n : 8;
        }
        inputs[count++] = in;
    }
    return count;
}

/* Reads the bytes as a network and imports it; what can be imported can be compiled. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ls_onnx *m;
    ls_onnx_import *im;
    ls_onnx_input inputs[MAX_INPUTS];
    ls_error err = {0};
    if (ls_onnx_open_memory(&m, "fuzz", data, size, &err))
        return 0;
    ls_graph *g = ls_graph_new(LS_F32, false);
    size_t count = choose_inputs(ls_onnx_get_graph(m), inputs);
    if (!ls_onnx_import_graph(&im, g, m, inputs, count, &err)) {
        ls_store *st;
        ls_plan *plan;
        if (test_store_open(&st, "ref", 1, &err))
            abort();
        if (ls_graph_node_count(g) && !ls_plan_compile(&plan, &g, st, &err))
            ls_plan_close(&plan);
        test_store_close(&st);
        ls_onnx_import_free(&im);
    } else if (!err.code || !*err.message) {
        abort();
    }
    ls_graph_free(&g);
    ls_onnx_close(&m);
    return 0;
}
