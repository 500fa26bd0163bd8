#include "nn/onnx/importer.h"
#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A weight of the graph: constants, relaid or folded. */
typedef struct weight {
    ls_param param;
    float *data;
    struct weight *next;
} weight;

struct ls_onnx_import {
    weight *weights;
    ls_onnx_output *outputs;
    ls_onnx_value *constants; /* of outputs */
    char **names;
    size_t output_count;
};

int ls_im_fail(ls_importer *s, int code, const char *fmt, ...)
{
    char text[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    const char *name = s->node->name && *s->node->name ? s->node->name
                       : s->node->n_output             ? s->node->output[0]
                                                       : "";
    return ls_fail(s->err, code, "node \"%s\" (%s): %s", name, s->node->op_type, text);
}

/* Names */

static size_t hash(const char *s)
{
    size_t h = 5381;
    while (*s)
        h = h * 33 + (unsigned char)*s++;
    return h;
}

static size_t slot_of(const ls_importer *s, const char *name)
{
    size_t i = hash(name) % s->table_size;
    while (s->table[i] && strcmp(s->values[s->table[i] - 1].name, name))
        i = (i + 1) % s->table_size;
    return i;
}

int ls_im_spend(ls_importer *s, size_t elements)
{
    if (elements > s->budget)
        return ls_im_fail(s, LS_EFORMAT, "weights and activations of more than %zu elements in all",
                          LS_IM_MAX_ELEMENTS);
    s->budget -= elements;
    return 0;
}

ls_im_value *ls_im_find(const ls_importer *s, const char *name)
{
    size_t i = s->table[slot_of(s, name)];
    return i ? &s->values[i - 1] : NULL;
}

/* Finds or adds the value of that name. The arrays are large enough for every name in the file. */
static ls_im_value *mention(ls_importer *s, const char *name)
{
    size_t slot = slot_of(s, name);
    if (!s->table[slot]) {
        s->values[s->value_count] = (ls_im_value){.name = name};
        s->table[slot] = ++s->value_count;
    }
    return &s->values[s->table[slot] - 1];
}

/* Attributes */

const LsOnnx__AttributeProto *ls_im_attribute(const ls_importer *s, const char *name)
{
    for (size_t i = 0; i < s->node->n_attribute; i++)
        if (s->node->attribute[i]->name && !strcmp(s->node->attribute[i]->name, name))
            return s->node->attribute[i];
    return NULL;
}

int64_t ls_im_attr_int(const ls_importer *s, const char *name, int64_t otherwise)
{
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, name);
    return a && a->has_i ? a->i : a ? 0 : otherwise;
}

float ls_im_attr_float(const ls_importer *s, const char *name, float otherwise)
{
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, name);
    return a && a->has_f ? a->f : a ? 0 : otherwise;
}

bool ls_im_attr_is(const ls_importer *s, const char *name, const char *text)
{
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, name);
    return a && a->has_s && a->s.len == strlen(text) && !memcmp(a->s.data, text, a->s.len);
}

int ls_im_attr_sizes(ls_importer *s, const char *name, size_t n, size_t *out)
{
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, name);
    if (!a)
        return 0;
    if (a->n_ints != n)
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "%s has %zu numbers; only images are supported, with %zu", name,
                          a->n_ints, n);
    for (size_t i = 0; i < n; i++) {
        if (a->ints[i] < 0 || a->ints[i] > 65536)
            return ls_im_fail(s, LS_EFORMAT, "%s holds %lld", name, (long long)a->ints[i]);
        out[i] = (size_t)a->ints[i];
    }
    return 0;
}

int ls_im_axis_of(ls_importer *s, int64_t axis, size_t ndim, size_t *out)
{
    *out = 0;
    if (axis < 0)
        axis += (int64_t)ndim;
    if (axis < 0 || (uint64_t)axis >= ndim)
        return ls_im_fail(s, LS_EFORMAT, "dimension %lld is out of range for %zu dimensions",
                          (long long)axis, ndim);
    *out = (size_t)axis;
    return 0;
}

/* Inputs and outputs of the current node */

ls_im_value *ls_im_input(const ls_importer *s, size_t i)
{
    bool given = i < s->node->n_input && s->node->input[i] && *s->node->input[i];
    return given ? ls_im_find(s, s->node->input[i]) : NULL;
}

int ls_im_constant_input(ls_importer *s, size_t i, bool whole, const ls_onnx_value **out)
{
    ls_im_value *v = ls_im_input(s, i);
    if (!v)
        return ls_im_fail(s, LS_EFORMAT, "input %zu is missing", i);
    if (v->tensor)
        return ls_im_fail(s, LS_EUNSUPPORTED, "input %zu (\"%s\") must be a constant", i, v->name);
    if (whole != !!v->constant.i)
        return ls_im_fail(s, LS_EFORMAT, "input %zu (\"%s\") is of the wrong type", i, v->name);
    *out = &v->constant;
    return 0;
}

int ls_im_int_list(ls_importer *s, size_t i, const char *name, const int64_t **list, size_t *n)
{
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, name);
    *list = NULL;
    *n = 0;
    if (a || !ls_im_input(s, i)) {
        *list = a ? a->ints : NULL;
        *n = a ? a->n_ints : 0;
        return 0;
    }
    const ls_onnx_value *v;
    int ret = ls_im_constant_input(s, i, true, &v);
    if (ret)
        return ret;
    *list = v->i;
    *n = v->count;
    return 0;
}

int ls_im_define(ls_importer *s, ls_im_value *v)
{
    ls_im_value *slot = ls_im_find(s, s->output);
    int ret = slot->known ? ls_im_fail(s, LS_EFORMAT, "\"%s\" is computed twice", s->output)
                          : ls_im_spend(s, v->constant.count);
    if (ret) {
        ls_onnx_value_free(&v->constant);
        return ret;
    }
    v->name = slot->name;
    v->uses = slot->uses;
    v->known = true;
    *slot = *v;
    return 0;
}

int ls_im_define_tensor(ls_importer *s, ls_tensor *t, bool last)
{
    if (s->err->code) /* of an operand, which the graph took for one that is not given */
        return s->err->code;
    int ret = ls_graph_error(s->g, s->err);
    if (ret || !t)
        return ls_im_fail(s, ret == LS_ENOMEM ? LS_ENOMEM : LS_EFORMAT, "%s", s->err->message);
    ls_im_value v = {.tensor = t, .last = last, .constant = {.ndim = t->ndim, .count = t->count}};
    memcpy(v.constant.shape, t->shape, sizeof v.constant.shape);
    if (last) {
        v.constant.shape[1] = t->shape[3];
        v.constant.shape[2] = t->shape[1];
        v.constant.shape[3] = t->shape[2];
    }
    return ls_im_define(s, &v);
}

/* Constants as weights */

static int read_weight(const ls_param *p, float *dst, ls_error *err)
{
    (void)err;
    memcpy(dst, p->opaque, p->count * sizeof *dst);
    return 0;
}

ls_tensor *ls_im_add_weight(ls_importer *s, float *data, size_t ndim, const size_t *shape)
{
    weight *w = ls_calloc_array(1, sizeof *w);
    char *name = strdup(s->node->output[0]);
    if (!w || !data || !name || ndim > 4) {
        free(w);
        free(data);
        free(name);
        if (!s->err->code)
            ls_im_fail(s, ndim > 4 ? LS_EUNSUPPORTED : LS_ENOMEM,
                       ndim > 4 ? "a constant of more than four dimensions" : "out of memory");
        return NULL;
    }
    w->data = data;
    w->param =
        (ls_param){.name = name, .ndim = ndim, .count = 1, .read = read_weight, .opaque = data};
    for (size_t i = 0; i < ndim; i++) {
        w->param.shape[i] = shape[i];
        w->param.count *= shape[i];
    }
    w->next = s->im->weights;
    s->im->weights = w;
    return ls_weight(s->g, &w->param);
}

float *ls_im_copy_floats(const float *from, size_t n)
{
    float *to = ls_malloc_array(n ? n : 1, sizeof *to);
    if (to && n)
        memcpy(to, from, n * sizeof *to);
    return to;
}

bool ls_im_standard(const ls_onnx_node *n)
{
    return n->op_type && (!n->domain || !*n->domain || !strcmp(n->domain, "ai.onnx"));
}

static const struct {
    const char *name;
    int (*import)(ls_importer *s);
} operators[] = {{"Add", ls_import_binary},
                 {"AveragePool", ls_import_pool},
                 {"BatchNormalization", ls_import_batch_normalization},
                 {"Cast", ls_import_cast},
                 {"Concat", ls_import_concat},
                 {"Constant", ls_import_constant},
                 {"Conv", ls_import_conv},
                 {"Dropout", ls_import_same},
                 {"Flatten", ls_import_flatten},
                 {"Gather", ls_import_gather},
                 {"Gemm", ls_import_gemm},
                 {"GlobalAveragePool", ls_import_pool},
                 {"Identity", ls_import_same},
                 {"MaxPool", ls_import_pool},
                 {"Mul", ls_import_binary},
                 {"PRelu", ls_import_binary},
                 {"Relu", ls_import_activation},
                 {"Reshape", ls_import_reshape},
                 {"Resize", ls_import_resize},
                 {"Shape", ls_import_shape},
                 {"Sigmoid", ls_import_activation},
                 {"Slice", ls_import_slice},
                 {"Squeeze", ls_import_squeeze},
                 {"Sub", ls_import_binary},
                 {"Transpose", ls_import_transpose},
                 {"Unsqueeze", ls_import_squeeze},
                 {"Upsample", ls_import_resize}};

/* Inputs must be computed earlier in the file, so in a cycle the first node fails. */
static int check_node(ls_importer *s)
{
    const ls_onnx_node *n = s->node;
    if (!ls_im_standard(n))
        return ls_im_fail(s, LS_EUNSUPPORTED, "operators of %s are not supported", n->domain);
    if (!n->n_output || !*n->output[0])
        return ls_im_fail(s, LS_EFORMAT, "it has no output");
    for (size_t i = 1; i < n->n_output; i++)
        if (*n->output[i] && ls_im_find(s, n->output[i])->uses)
            return ls_im_fail(s, LS_EUNSUPPORTED, "output %zu (\"%s\") is used", i, n->output[i]);
    for (size_t i = 0; i < n->n_input; i++)
        if (*n->input[i] && !ls_im_find(s, n->input[i])->known)
            return ls_im_fail(
                s, LS_EFORMAT,
                "\"%s\" is used before it is computed: the nodes are out of order or form a cycle",
                n->input[i]);
    if (!n->n_input && strcmp(n->op_type, "Constant"))
        return ls_im_fail(s, LS_EFORMAT, "it has no input");
    return n->n_input && !*n->input[0] ? ls_im_fail(s, LS_EFORMAT, "input 0 is missing") : 0;
}

static int import_node(ls_importer *s)
{
    if (!s->node->op_type)
        return ls_fail(s->err, LS_EFORMAT, "a node without an operator");
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!strcmp(operators[i].name, s->node->op_type)) {
            int ret = check_node(s);
            return ret ? ret : operators[i].import(s);
        }
    }
    return ls_im_fail(s, LS_EUNSUPPORTED, "this operator is not supported");
}

/* Names and how often each is used. */
static int read_names(ls_importer *s)
{
    const ls_onnx_graph *f = s->file;
    size_t names = f->n_initializer + f->n_input + f->n_output;
    for (size_t i = 0; i < f->n_node; i++)
        names += f->node[i]->n_input + f->node[i]->n_output;
    s->table_size = 2 * names + 1;
    s->values = ls_calloc_array(names, sizeof *s->values);
    s->table = ls_calloc_array(s->table_size, sizeof *s->table);
    s->done = ls_calloc_array(f->n_node ? f->n_node : 1, sizeof *s->done);
    if (!s->values || !s->table || !s->done)
        return ls_fail(s->err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; i < f->n_node; i++) {
        for (size_t k = 0; k < f->node[i]->n_input; k++)
            mention(s, f->node[i]->input[k])->uses++;
        for (size_t k = 0; k < f->node[i]->n_output; k++)
            mention(s, f->node[i]->output[k]);
    }
    for (size_t i = 0; i < f->n_output; i++)
        if (f->output[i]->name)
            mention(s, f->output[i]->name)->uses += 2; /* never absorbed */
    return 0;
}

static int read_initializers(ls_importer *s)
{
    for (size_t i = 0; i < s->file->n_initializer; i++) {
        const LsOnnx__TensorProto *t = s->file->initializer[i];
        if (!t->name || !*t->name)
            return ls_fail(s->err, LS_EFORMAT, "a weight without a name");
        ls_im_value *v = mention(s, t->name);
        if (v->known)
            return ls_fail(s->err, LS_EFORMAT, "weight \"%s\" occurs twice", t->name);
        int ret = v->uses ? ls_onnx_read_tensor(&v->constant, t, s->err) : 0;
        if (ret)
            return ret;
        v->known = v->uses;
    }
    return 0;
}

/* Checks the shape given for an input against the file's. */
static int check_input(ls_importer *s, const LsOnnx__ValueInfoProto *info, const ls_onnx_input *in)
{
    const LsOnnx__TypeProto__Tensor *t = info->type ? info->type->tensor_type : NULL;
    bool fits = t && in->ndim <= LS_MAX_DIMS && (!t->shape || t->shape->n_dim == in->ndim);
    for (size_t i = 0; fits && t->shape && i < in->ndim; i++) {
        const LsOnnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        fits = !d->has_dim_value || d->dim_value <= 0 || (uint64_t)d->dim_value == in->shape[i];
    }
    if (!fits || (!in->constant && t->elem_type != 1))
        return ls_fail(s->err, LS_EFORMAT, "input \"%s\" does not have the expected shape or type",
                       info->name);
    return 0;
}

static int read_input(ls_importer *s, const LsOnnx__ValueInfoProto *info, const ls_onnx_input *in)
{
    ls_im_value *v = mention(s, info->name);
    int ret = check_input(s, info, in);
    if (ret)
        return ret;
    if (in->constant) {
        const ls_onnx_value *c = in->constant;
        ret = ls_onnx_value_new(&v->constant, c->i, c->ndim, c->shape, s->err);
        if (!ret && c->i)
            memcpy(v->constant.i, c->i, c->count * sizeof *c->i);
        else if (!ret)
            memcpy(v->constant.f, c->f, c->count * sizeof *c->f);
        v->known = !ret;
        return ret;
    }
    const bool last = in->channels_last && in->ndim == 4;
    const size_t *n = in->shape, turned[] = {n[0], n[2], n[3], n[1]};
    v->tensor = ls_input(s->g, info->name, LS_F32, in->ndim, last ? turned : n);
    v->tensor = ls_cast(s->g, v->tensor, ls_graph_compute(s->g));
    v->last = last;
    v->known = true;
    v->constant = (ls_onnx_value){.ndim = in->ndim, .count = v->tensor ? v->tensor->count : 0};
    memcpy(v->constant.shape, n, in->ndim * sizeof *n);
    return v->tensor ? 0 : ls_graph_error(s->g, s->err);
}

static int read_inputs(ls_importer *s, const ls_onnx_input *inputs, size_t count)
{
    for (size_t i = 0; i < s->file->n_input; i++) {
        const LsOnnx__ValueInfoProto *info = s->file->input[i];
        const ls_onnx_input *given = NULL;
        if (!info->name || ls_im_find(s, info->name) == NULL || ls_im_find(s, info->name)->known)
            continue; /* not used, or an initializer */
        for (size_t k = 0; k < count; k++)
            if (!strcmp(inputs[k].name, info->name))
                given = &inputs[k];
        int ret = given ? read_input(s, info, given)
                        : ls_fail(s->err, LS_EFORMAT, "the network has the unexpected input \"%s\"",
                                  info->name);
        if (ret)
            return ret;
    }
    return 0;
}

/* A float32 tensor that can be bound to an output's name: for a view its source, and a copy of what
 * is an output already or not computed by a node. */
static ls_tensor *bindable(ls_importer *s, const ls_im_value *v)
{
    ls_tensor *t = ls_cast(s->g, ls_im_plain(s, v), LS_F32);
    ls_tensor *root = t && t->kind == LS_TENSOR_VIEW ? t->source : t;
    if (root && root->kind == LS_TENSOR_VALUE && !root->output)
        return root;
    return ls_activation(s->g, t, LS_ACT_NONE);
}

static int write_output(ls_importer *s, size_t i)
{
    const char *name = s->file->output[i]->name;
    ls_im_value *v = name ? ls_im_find(s, name) : NULL;
    ls_onnx_output *o = &s->im->outputs[i];
    if (!v || !v->known)
        return ls_fail(s->err, LS_EFORMAT, "output \"%s\" is not computed", name ? name : "");
    o->name = s->im->names[i] = strdup(name);
    if (!o->name)
        return ls_fail(s->err, LS_ENOMEM, "out of memory");
    o->ndim = v->constant.ndim;
    memcpy(o->shape, v->constant.shape, sizeof o->shape);
    if (v->tensor) {
        ls_output(s->g, name, bindable(s, v));
        return s->err->code ? s->err->code : ls_graph_error(s->g, s->err);
    }
    o->constant = &s->im->constants[i];
    s->im->constants[i] = v->constant;
    v->constant = (ls_onnx_value){0};
    v->known = false;
    return 0;
}

static int run_import(ls_importer *s, const ls_onnx_input *inputs, size_t count)
{
    ls_onnx_import *im = s->im;
    int ret = read_names(s);
    if (!ret)
        ret = read_initializers(s);
    if (!ret)
        ret = read_inputs(s, inputs, count);
    for (s->current = 0; !ret && s->current < s->file->n_node; s->current++) {
        s->node = s->file->node[s->current];
        s->output = s->node->n_output ? s->node->output[0] : NULL;
        if (!s->done[s->current])
            ret = import_node(s);
    }
    im->outputs = ls_calloc_array(s->file->n_output, sizeof *im->outputs);
    im->constants = ls_calloc_array(s->file->n_output, sizeof *im->constants);
    im->names = ls_calloc_array(s->file->n_output, sizeof *im->names);
    if (!ret && (!im->outputs || !im->constants || !im->names))
        ret = ls_fail(s->err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < s->file->n_output; i++) {
        im->output_count++;
        ret = write_output(s, i);
    }
    return ret;
}

int ls_onnx_import_graph(ls_onnx_import **out, ls_graph *g, const ls_onnx *m,
                         const ls_onnx_input *inputs, size_t count, ls_error *err)
{
    ls_error own = {0};
    ls_importer s = {
        .g = g, .file = ls_onnx_get_graph(m), .err = &own, .budget = LS_IM_MAX_ELEMENTS};
    *out = s.im = ls_calloc_array(1, sizeof *s.im);
    if (!s.im)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = run_import(&s, inputs, count);
    for (size_t i = 0; i < s.value_count; i++)
        ls_onnx_value_free(&s.values[i].constant);
    free(s.values);
    free(s.table);
    free(s.done);
    if (!ret)
        return 0;
    ls_onnx_import_free(out);
    return ls_fail(err, ret, "%s: %s", ls_onnx_path(m), own.message);
}

void ls_onnx_import_free(ls_onnx_import **pim)
{
    ls_onnx_import *im = *pim;
    if (!im)
        return;
    for (weight *w = im->weights, *next; w; w = next) {
        next = w->next;
        free((char *)w->param.name);
        free(w->data);
        free(w);
    }
    for (size_t i = 0; i < im->output_count; i++) {
        free(im->names[i]);
        ls_onnx_value_free(&im->constants[i]);
    }
    free(im->outputs);
    free(im->constants);
    free(im->names);
    free(im);
    *pim = NULL;
}

size_t ls_onnx_import_outputs(const ls_onnx_import *im, const ls_onnx_output **outputs)
{
    *outputs = im->outputs;
    return im->output_count;
}
