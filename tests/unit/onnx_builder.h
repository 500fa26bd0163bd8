/* ONNX networks made in memory, a node at a time. */
#ifndef LS_TESTS_ONNX_BUILDER_H
#define LS_TESTS_ONNX_BUILDER_H

#include "test.h"

#include "weights/onnx.h"

#define MANY 24

/* A network under construction; its memory lives as long as the test. */
typedef struct builder {
    LsOnnx__ModelProto model;
    LsOnnx__GraphProto graph;
    LsOnnx__OperatorSetIdProto opset, *opsets[1];
    LsOnnx__NodeProto node[MANY], *nodes[MANY];
    LsOnnx__AttributeProto attr[MANY * 4], *attrs[MANY][4];
    LsOnnx__TensorProto tensor[MANY], *tensors[MANY];
    LsOnnx__ValueInfoProto info[MANY], *inputs[MANY], *outputs[MANY];
    LsOnnx__TypeProto type[MANY];
    LsOnnx__TypeProto__Tensor elem[MANY];
    LsOnnx__TensorShapeProto shape[MANY];
    LsOnnx__TensorShapeProto__Dimension dim[MANY * 4], *dims[MANY][4];
    char *names[MANY][6], *results[MANY][2];
    int64_t numbers[MANY][4];
    size_t attr_count, info_count;
    char text[4096];
    size_t used;
} builder;

static inline char *keep(builder *b, const char *text)
{
    char *at = b->text + b->used;
    b->used += strlen(text) + 1;
    assert_true(b->used <= sizeof b->text);
    return strcpy(at, text);
}

static inline builder *new_builder(void)
{
    builder *b = calloc(1, sizeof *b);
    ls_onnx__model_proto__init(&b->model);
    ls_onnx__graph_proto__init(&b->graph);
    ls_onnx__operator_set_id_proto__init(&b->opset);
    b->model.graph = &b->graph;
    b->model.n_opset_import = 1;
    b->model.opset_import = b->opsets;
    b->opsets[0] = &b->opset;
    b->opset.has_version = true;
    b->opset.version = 13;
    b->graph.node = b->nodes;
    b->graph.initializer = b->tensors;
    b->graph.input = b->inputs;
    b->graph.output = b->outputs;
    return b;
}

/* `inputs` are words; "-" is one that is left out. */
static inline LsOnnx__NodeProto *node(builder *b, const char *op, const char *inputs,
                                      const char *output)
{
    size_t i = b->graph.n_node++;
    LsOnnx__NodeProto *n = b->nodes[i] = &b->node[i];
    char words[256];
    ls_onnx__node_proto__init(n);
    n->op_type = op ? keep(b, op) : NULL;
    n->input = b->names[i];
    n->output = b->results[i];
    n->attribute = b->attrs[i];
    n->name = keep(b, (char[]){'n', (char)('0' + i), 0});
    snprintf(words, sizeof words, "%s", inputs);
    for (char *w = strtok(words, " "); w; w = strtok(NULL, " "))
        n->input[n->n_input++] = keep(b, *w == '-' ? "" : w);
    n->output[n->n_output++] = keep(b, output);
    return n;
}

static inline LsOnnx__AttributeProto *attribute(builder *b, const char *name)
{
    size_t i = b->graph.n_node - 1;
    LsOnnx__NodeProto *n = b->nodes[i];
    LsOnnx__AttributeProto *a = n->attribute[n->n_attribute++] = &b->attr[b->attr_count++];
    ls_onnx__attribute_proto__init(a);
    a->name = keep(b, name);
    return a;
}

static inline void attr_int(builder *b, const char *name, int64_t v)
{
    LsOnnx__AttributeProto *a = attribute(b, name);
    a->has_i = true;
    a->i = v;
}

static inline void attr_ints(builder *b, const char *name, size_t n, int64_t *v)
{
    LsOnnx__AttributeProto *a = attribute(b, name);
    a->n_ints = n;
    a->ints = v;
}

static inline void attr_text(builder *b, const char *name, const char *v)
{
    LsOnnx__AttributeProto *a = attribute(b, name);
    a->has_s = true;
    a->s.data = (uint8_t *)keep(b, v);
    a->s.len = strlen(v);
}

static inline LsOnnx__TensorProto *tensor(builder *b, const char *name, size_t ndim, int64_t *dims)
{
    size_t i = b->graph.n_initializer++;
    LsOnnx__TensorProto *t = b->tensors[i] = &b->tensor[i];
    ls_onnx__tensor_proto__init(t);
    t->name = keep(b, name);
    t->n_dims = ndim;
    t->dims = dims;
    t->has_data_type = true;
    return t;
}

static inline LsOnnx__TensorProto *floats(builder *b, const char *name, size_t ndim, int64_t *dims,
                                          size_t n, float *v)
{
    LsOnnx__TensorProto *t = tensor(b, name, ndim, dims);
    t->data_type = 1;
    t->n_float_data = n;
    t->float_data = v;
    return t;
}

static inline LsOnnx__TensorProto *ints(builder *b, const char *name, size_t n, int64_t *v)
{
    size_t i = b->graph.n_initializer;
    b->numbers[i][0] = (int64_t)n;
    LsOnnx__TensorProto *t = tensor(b, name, 1, b->numbers[i]);
    t->data_type = 7;
    t->n_int64_data = n;
    t->int64_data = v;
    return t;
}

static inline void describe(builder *b, LsOnnx__ValueInfoProto **list, size_t *count,
                            const char *name)
{
    size_t i = b->info_count++;
    LsOnnx__ValueInfoProto *v = list[(*count)++] = &b->info[i];
    ls_onnx__value_info_proto__init(v);
    ls_onnx__type_proto__init(&b->type[i]);
    ls_onnx__type_proto__tensor__init(&b->elem[i]);
    v->name = keep(b, name);
    v->type = &b->type[i];
    b->type[i].tensor_type = &b->elem[i];
    b->elem[i].has_elem_type = true;
    b->elem[i].elem_type = 1;
}

static inline void output(builder *b, const char *name)
{
    describe(b, b->outputs, &b->graph.n_output, name);
}

static const size_t picture[4] = {1, 2, 6, 8};

/* The picture "x" of [1, 2, 6, 8] as the one input. */
static inline builder *with_picture(void)
{
    builder *b = new_builder();
    describe(b, b->inputs, &b->graph.n_input, "x");
    return b;
}

static inline uint8_t *pack(const builder *b, size_t *size)
{
    *size = ls_onnx__model_proto__get_packed_size(&b->model);
    uint8_t *data = malloc(*size + 1);
    ls_onnx__model_proto__pack(&b->model, data);
    return data;
}

#endif
