#include "nn/onnx.h"
#include "base/alloc.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ELEMENTS ((size_t)1 << 28) /* of one activation */

/* A weight of the graph: constants, relaid or folded. */
typedef struct weight {
    ls_param param;
    float *data;
    struct weight *next;
} weight;

/* A named value of the network: constant, or computed by the graph. */
typedef struct value {
    const char *name; /* the file's */
    size_t uses;      /* by nodes and as an output */
    bool known;
    ls_onnx_value constant; /* has its shape in any case */
    ls_tensor *tensor;      /* NULL: constant */
    bool last;              /* the tensor is [N, H, W, C], the value [N, C, H, W] */
} value;

struct ls_onnx_import {
    weight *weights;
    ls_onnx_output *outputs;
    ls_onnx_value *constants; /* of outputs */
    char **names;
    size_t output_count;
};

typedef struct importer {
    ls_onnx_import *im;
    ls_graph *g;
    const ls_onnx_graph *file;
    value *values;
    size_t value_count, *table; /* hash of names: index + 1 into values */
    size_t table_size;
    bool *done; /* nodes that an earlier one has taken in */
    size_t current;
    const ls_onnx_node *node;
    const char *output; /* name of what the node, or the last one it has taken in, computes */
    size_t budget;      /* elements that constants, weights and activations may still have */
    ls_error *err;
} importer;

__attribute__((format(printf, 3, 4))) static int fail(importer *s, int code, const char *fmt, ...)
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

static size_t slot_of(const importer *s, const char *name)
{
    size_t i = hash(name) % s->table_size;
    while (s->table[i] && strcmp(s->values[s->table[i] - 1].name, name))
        i = (i + 1) % s->table_size;
    return i;
}

/* A file must not lead to memory out of all proportion. */
static int spend(importer *s, size_t elements)
{
    if (elements > s->budget)
        return fail(s, LS_EFORMAT, "weights and activations of more than %zu elements in all",
                    MAX_ELEMENTS);
    s->budget -= elements;
    return 0;
}

static value *find(const importer *s, const char *name)
{
    size_t i = s->table[slot_of(s, name)];
    return i ? &s->values[i - 1] : NULL;
}

/* The value of that name, which is new or was only mentioned so far. The arrays are large enough
 * for every name in the file. */
static value *mention(importer *s, const char *name)
{
    size_t slot = slot_of(s, name);
    if (!s->table[slot]) {
        s->values[s->value_count] = (value){.name = name};
        s->table[slot] = ++s->value_count;
    }
    return &s->values[s->table[slot] - 1];
}

/* Attributes */

static const LsOnnx__AttributeProto *attribute(const importer *s, const char *name)
{
    for (size_t i = 0; i < s->node->n_attribute; i++)
        if (s->node->attribute[i]->name && !strcmp(s->node->attribute[i]->name, name))
            return s->node->attribute[i];
    return NULL;
}

static int64_t attr_int(const importer *s, const char *name, int64_t otherwise)
{
    const LsOnnx__AttributeProto *a = attribute(s, name);
    return a && a->has_i ? a->i : a ? 0 : otherwise;
}

static float attr_float(const importer *s, const char *name, float otherwise)
{
    const LsOnnx__AttributeProto *a = attribute(s, name);
    return a && a->has_f ? a->f : a ? 0 : otherwise;
}

static bool attr_is(const importer *s, const char *name, const char *text)
{
    const LsOnnx__AttributeProto *a = attribute(s, name);
    return a && a->has_s && a->s.len == strlen(text) && !memcmp(a->s.data, text, a->s.len);
}

/* Two or four whole numbers of a window, each 0 .. 65536. */
static int attr_sizes(importer *s, const char *name, size_t n, size_t *out)
{
    const LsOnnx__AttributeProto *a = attribute(s, name);
    if (!a)
        return 0;
    if (a->n_ints != n)
        return fail(s, LS_EUNSUPPORTED, "%s has %zu numbers; only images are supported, with %zu",
                    name, a->n_ints, n);
    for (size_t i = 0; i < n; i++) {
        if (a->ints[i] < 0 || a->ints[i] > 65536)
            return fail(s, LS_EFORMAT, "%s holds %lld", name, (long long)a->ints[i]);
        out[i] = (size_t)a->ints[i];
    }
    return 0;
}

/* A dimension counted from the start or, when negative, from the end. */
static int axis_of(importer *s, int64_t axis, size_t ndim, size_t *out)
{
    *out = 0;
    if (axis < 0)
        axis += (int64_t)ndim;
    if (axis < 0 || (uint64_t)axis >= ndim)
        return fail(s, LS_EFORMAT, "there is no dimension %lld of %zu", (long long)axis, ndim);
    *out = (size_t)axis;
    return 0;
}

/* Inputs and outputs of the current node */

static value *input(const importer *s, size_t i)
{
    bool given = i < s->node->n_input && s->node->input[i] && *s->node->input[i];
    return given ? find(s, s->node->input[i]) : NULL;
}

/* The i-th input as a constant; `whole`: of whole numbers. */
static int constant_input(importer *s, size_t i, bool whole, const ls_onnx_value **out)
{
    value *v = input(s, i);
    if (!v)
        return fail(s, LS_EFORMAT, "input %zu is missing", i);
    if (v->tensor)
        return fail(s, LS_EUNSUPPORTED, "input %zu (\"%s\") has to be a constant", i, v->name);
    if (whole != !!v->constant.i)
        return fail(s, LS_EFORMAT, "input %zu (\"%s\") is of the wrong type", i, v->name);
    *out = &v->constant;
    return 0;
}

/* The list of whole numbers that newer operator sets take as an input and older ones as an
 * attribute. *n is 0 when there is neither. */
static int int_list(importer *s, size_t i, const char *name, const int64_t **list, size_t *n)
{
    const LsOnnx__AttributeProto *a = attribute(s, name);
    *list = NULL;
    *n = 0;
    if (a || !input(s, i)) {
        *list = a ? a->ints : NULL;
        *n = a ? a->n_ints : 0;
        return 0;
    }
    const ls_onnx_value *v;
    int ret = constant_input(s, i, true, &v);
    if (ret)
        return ret;
    *list = v->i;
    *n = v->count;
    return 0;
}

/* Takes over the constant in `v`, on success and on failure. */
static int define(importer *s, value *v)
{
    value *slot = find(s, s->output);
    int ret = slot->known ? fail(s, LS_EFORMAT, "\"%s\" is computed twice", s->output)
                          : spend(s, v->constant.count);
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

/* A tensor of the graph as the output; NULL after an error. */
static int define_tensor(importer *s, ls_tensor *t, bool last)
{
    int ret = ls_graph_error(s->g, s->err);
    if (ret)
        return fail(s, ret == LS_ENOMEM ? LS_ENOMEM : LS_EFORMAT, "%s", s->err->message);
    if (!t)
        return s->err->code;
    value v = {.tensor = t, .last = last, .constant = {.ndim = t->ndim, .count = t->count}};
    memcpy(v.constant.shape, t->shape, sizeof v.constant.shape);
    if (last) {
        v.constant.shape[1] = t->shape[3];
        v.constant.shape[2] = t->shape[1];
        v.constant.shape[3] = t->shape[2];
    }
    return define(s, &v);
}

/* Constants as weights */

static int read_weight(const ls_param *p, float *dst, ls_error *err)
{
    (void)err;
    memcpy(dst, p->opaque, p->count * sizeof *dst);
    return 0;
}

/* Takes `data` over, on success and on failure. NULL after an error. */
static ls_tensor *add_weight(importer *s, float *data, size_t ndim, const size_t *shape)
{
    weight *w = ls_calloc_array(1, sizeof *w);
    char *name = strdup(s->node->output[0]);
    if (!w || !data || !name || ndim > 4) {
        free(w);
        free(data);
        free(name);
        if (!s->err->code)
            fail(s, ndim > 4 ? LS_EUNSUPPORTED : LS_ENOMEM,
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

static float *copy_floats(const float *from, size_t n)
{
    float *to = ls_malloc_array(n ? n : 1, sizeof *to);
    if (to && n)
        memcpy(to, from, n * sizeof *to);
    return to;
}

/* Elements elsewhere: transposes, slices, gathers, resizes */

/* Offsets of a row-major tensor along each dimension. */
static void steps_of(size_t ndim, const size_t *shape, size_t *step)
{
    size_t n = 1;
    for (size_t d = ndim; d-- > 0; n *= shape[d])
        step[d] = n;
}

/* A table for ls_take, filled one dimension after the other. */
typedef struct take {
    size_t ndim, shape[LS_MAX_DIMS], count;
    size_t *table, used;
} take;

/* Room for one more dimension of the result; NULL after an error. */
static size_t *take_dimension(importer *s, take *t, size_t n)
{
    size_t total, bytes;
    size_t *table = NULL;
    if (ls_add_size(t->used, n, &total) && total <= MAX_ELEMENTS &&
        ls_mul_size(total ? total : 1, sizeof *table, &bytes) && t->ndim < LS_MAX_DIMS)
        table = realloc(t->table, bytes);
    if (!table) {
        fail(s, LS_EFORMAT, "%zu elements or %zu dimensions are too many", n, t->ndim + 1);
        return NULL;
    }
    t->table = table;
    t->shape[t->ndim++] = n;
    table += t->used;
    t->used = total;
    return table;
}

/* A dimension that is copied as it is, or in equal steps. */
static int take_steps(importer *s, take *t, size_t n, size_t start, int64_t step)
{
    size_t *table = take_dimension(s, t, n);
    if (!table)
        return LS_EFORMAT;
    for (size_t i = 0; i < n; i++)
        table[i] = start + i * (size_t)step; /* modulo 2^64, as negative steps need */
    return 0;
}

static ls_onnx_value evaluate_take(importer *s, const ls_onnx_value *x, const take *t, int *ret)
{
    ls_onnx_value y = {0};
    *ret = ls_onnx_value_new(&y, x->i, t->ndim, t->shape, s->err);
    for (size_t k = 0; !*ret && k < y.count; k++) {
        const size_t *table = t->table;
        size_t at = 0, inner = y.count;
        for (size_t d = 0; d < y.ndim; table += y.shape[d++]) {
            inner /= y.shape[d];
            at += table[k / inner % y.shape[d]];
        }
        if (x->i)
            y.i[k] = x->i[at];
        else
            y.f[k] = x->f[at];
    }
    return y;
}

/* Image [N, C, H, W] at hand as [N, H, W, C]. */
static ls_tensor *channels_last(importer *s, const value *v)
{
    const size_t *n = v->constant.shape;
    if (v->last)
        return v->tensor;
    const size_t shape[4] = {n[0], n[2], n[3], n[1]};
    const size_t step[4] = {n[1] * n[2] * n[3], n[3], 1, n[2] * n[3]};
    take t = {0};
    ls_tensor *out = NULL;
    if (n[1] == 1 || n[2] * n[3] == 1)
        return ls_view(s->g, v->tensor, 4, shape);
    for (size_t d = 0; d < 4; d++)
        if (take_steps(s, &t, shape[d], 0, (int64_t)step[d]))
            goto done;
    out = ls_take(s->g, v->tensor, 4, shape, t.table);
done:
    free(t.table);
    return out;
}

/* A tensor in the network's own order. */
static ls_tensor *plain(importer *s, const value *v)
{
    const size_t *n = v->constant.shape;
    if (!v->last)
        return v->tensor;
    const size_t step[4] = {n[1] * n[2] * n[3], 1, n[3] * n[1], n[1]};
    take t = {0};
    ls_tensor *out = NULL;
    if (n[1] == 1 || n[2] * n[3] == 1)
        return ls_view(s->g, v->tensor, 4, n);
    for (size_t d = 0; d < 4; d++)
        if (take_steps(s, &t, n[d], 0, (int64_t)step[d]))
            goto done;
    out = ls_take(s->g, v->tensor, 4, n, t.table);
done:
    free(t.table);
    return out;
}

/* Defines the output as elements of `v` in its plain order. Frees the table. */
static int define_take(importer *s, const value *v, take *t)
{
    int ret = 0;
    if (v->tensor) {
        ls_tensor *x = plain(s, v);
        ret = define_tensor(s, ls_take(s->g, x, t->ndim, t->shape, t->table), false);
    } else {
        value y = {.constant = evaluate_take(s, &v->constant, t, &ret)};
        if (!ret)
            ret = define(s, &y);
    }
    free(t->table);
    return ret;
}

/* Defines the output as `v` in another shape of as many elements. */
static int define_view(importer *s, const value *v, size_t ndim, const size_t *shape)
{
    if (v->tensor)
        return define_tensor(s, ls_view(s->g, plain(s, v), ndim, shape), false);
    value y = {0};
    int ret = ls_onnx_value_new(&y.constant, v->constant.i, ndim, shape, s->err);
    if (ret)
        return ret;
    if (y.constant.count != v->constant.count) {
        ls_onnx_value_free(&y.constant);
        return fail(s, LS_EFORMAT, "%zu elements do not fit the shape asked for",
                    v->constant.count);
    }
    if (y.constant.i)
        memcpy(y.constant.i, v->constant.i, y.constant.count * sizeof *y.constant.i);
    else
        memcpy(y.constant.f, v->constant.f, y.constant.count * sizeof *y.constant.f);
    return define(s, &y);
}

/* Operators. Each has input 0, unless it takes none, known and checked. */

static int same(importer *s)
{
    const value *x = input(s, 0);
    if (!x->tensor)
        return define_view(s, x, x->constant.ndim, x->constant.shape);
    return define_tensor(s, x->tensor, x->last);
}

static int activation(importer *s)
{
    const value *x = input(s, 0);
    if (!x->tensor)
        return fail(s, LS_EUNSUPPORTED, "of a constant");
    bool relu = !strcmp(s->node->op_type, "Relu");
    return define_tensor(s, ls_activation(s->g, x->tensor, relu ? LS_ACT_RELU : LS_ACT_SIGMOID),
                         x->last);
}

static int constant(importer *s)
{
    const LsOnnx__AttributeProto *a = attribute(s, "value");
    value v = {0};
    if (!a || !a->t)
        return fail(s, LS_EUNSUPPORTED, "only tensors are supported as constants");
    int ret = ls_onnx_read_tensor(&v.constant, a->t, s->err);
    return ret ? fail(s, ret, "%s", s->err->message) : define(s, &v);
}

static int shape(importer *s)
{
    const value *x = input(s, 0);
    value y = {0};
    if (attribute(s, "start") || attribute(s, "end"))
        return fail(s, LS_EUNSUPPORTED, "start and end are not supported");
    int ret = ls_onnx_value_new(&y.constant, true, 1, &x->constant.ndim, s->err);
    for (size_t i = 0; !ret && i < x->constant.ndim; i++)
        y.constant.i[i] = (int64_t)x->constant.shape[i];
    return ret ? ret : define(s, &y);
}

static int cast(importer *s)
{
    const value *x = input(s, 0);
    const int64_t to = attr_int(s, "to", 0);
    const bool whole = to == 6 || to == 7, real = to == 1 || to == 11;
    if (!whole && !real)
        return fail(s, LS_EUNSUPPORTED, "to type %lld", (long long)to);
    if (x->tensor)
        return real ? same(s) : fail(s, LS_EUNSUPPORTED, "to whole numbers, of no constant");
    value y = {0};
    const ls_onnx_value *c = &x->constant;
    int ret = ls_onnx_value_new(&y.constant, whole, c->ndim, c->shape, s->err);
    for (size_t i = 0; !ret && i < c->count; i++) {
        if (!whole)
            y.constant.f[i] = c->i ? (float)c->i[i] : c->f[i];
        else if (c->i)
            y.constant.i[i] = c->i[i];
        else if (fabsf(c->f[i]) < 1e18f) /* not so for what is no number */
            y.constant.i[i] = (int64_t)c->f[i];
        else
            ret = fail(s, LS_EFORMAT, "%g is no whole number", (double)c->f[i]);
    }
    if (!ret)
        return define(s, &y);
    ls_onnx_value_free(&y.constant);
    return ret;
}

static int reshape(importer *s)
{
    const value *x = input(s, 0);
    const ls_onnx_value *want;
    size_t shape[LS_MAX_DIMS], known = 1, open = SIZE_MAX;
    int ret = constant_input(s, 1, true, &want);
    if (ret)
        return ret;
    if (want->ndim != 1 || want->count > LS_MAX_DIMS)
        return fail(s, LS_EFORMAT, "%zu dimensions are asked for", want->count);
    for (size_t i = 0; i < want->count; i++) {
        int64_t n = want->i[i];
        if (n == -1 && open == SIZE_MAX)
            open = i;
        else if (n == 0 && !attr_int(s, "allowzero", 0) && i < x->constant.ndim)
            n = (int64_t)x->constant.shape[i];
        if (n < (open == i ? -1 : 0))
            return fail(s, LS_EFORMAT, "a dimension of %lld is asked for", (long long)n);
        shape[i] = open == i ? 1 : (size_t)n;
        if (!ls_mul_size(known, shape[i], &known))
            return fail(s, LS_EFORMAT, "too large a shape is asked for");
    }
    if (open != SIZE_MAX && known)
        shape[open] = x->constant.count / known;
    return define_view(s, x, want->count, shape);
}

static int flatten(importer *s)
{
    const value *x = input(s, 0);
    const int64_t ndim = (int64_t)x->constant.ndim;
    int64_t axis = attr_int(s, "axis", 1);
    if (axis < -ndim || axis > ndim)
        return fail(s, LS_EFORMAT, "there is no dimension %lld of %lld", (long long)axis,
                    (long long)ndim);
    size_t shape[2] = {1, 1}, first = (size_t)(axis < 0 ? axis + ndim : axis);
    for (size_t i = 0; i < x->constant.ndim; i++) /* a part of a count that did not overflow */
        shape[i >= first] *= x->constant.shape[i];
    return define_view(s, x, 2, shape);
}

static int squeeze(importer *s)
{
    const value *x = input(s, 0);
    const bool insert = !strcmp(s->node->op_type, "Unsqueeze");
    const int64_t *axes;
    size_t n, axis, from = 0, ndim = x->constant.ndim, shape[LS_MAX_DIMS];
    bool named[LS_MAX_DIMS] = {false};
    int ret = int_list(s, 1, "axes", &axes, &n);
    if (ret)
        return ret;
    if (insert ? !n || n > LS_MAX_DIMS - ndim : n > ndim)
        return fail(s, LS_EFORMAT, "%zu axes for %zu dimensions", n, ndim);
    for (size_t i = 0; i < n; i++) {
        if ((ret = axis_of(s, axes[i], insert ? ndim + n : ndim, &axis)))
            return ret;
        if (named[axis])
            return fail(s, LS_EFORMAT, "dimension %zu is named twice", axis);
        named[axis] = true;
    }
    if (insert) {
        for (size_t i = 0; i < ndim + n; i++)
            shape[i] = named[i] ? 1 : x->constant.shape[from++];
        return define_view(s, x, ndim + n, shape);
    }
    for (size_t i = 0; i < ndim; i++)
        if (!(n ? named[i] : x->constant.shape[i] == 1))
            shape[from++] = x->constant.shape[i];
    return define_view(s, x, from, shape); /* refuses what is not 1 long */
}

static int transpose(importer *s)
{
    const value *x = input(s, 0);
    const LsOnnx__AttributeProto *a = attribute(s, "perm");
    const size_t ndim = x->constant.ndim;
    size_t from[LS_MAX_DIMS], step[LS_MAX_DIMS];
    bool seen[LS_MAX_DIMS] = {false};
    if (a && a->n_ints != ndim)
        return fail(s, LS_EFORMAT, "perm has %zu numbers for %zu dimensions", a->n_ints, ndim);
    for (size_t i = 0; i < ndim; i++) {
        from[i] = a ? (size_t)a->ints[i] : ndim - 1 - i;
        if (from[i] >= ndim || seen[from[i]])
            return fail(s, LS_EFORMAT, "perm is no permutation");
        seen[from[i]] = true;
    }
    if (x->last && from[0] == 0 && from[1] == 2 && from[2] == 3 && from[3] == 1)
        return define_tensor(s, x->tensor, false);
    take t = {0};
    steps_of(ndim, x->constant.shape, step);
    for (size_t i = 0; i < ndim; i++) {
        if (take_steps(s, &t, x->constant.shape[from[i]], 0, (int64_t)step[from[i]])) {
            free(t.table);
            return LS_EFORMAT;
        }
    }
    return define_take(s, x, &t);
}

static int gather(importer *s)
{
    const value *x = input(s, 0);
    const ls_onnx_value *index;
    size_t axis, step[LS_MAX_DIMS], shape[LS_MAX_DIMS], ndim = 0;
    take t = {0};
    int ret = axis_of(s, attr_int(s, "axis", 0), x->constant.ndim, &axis);
    if (!ret)
        ret = constant_input(s, 1, true, &index);
    if (ret)
        return ret;
    if (index->ndim + x->constant.ndim - 1 > LS_MAX_DIMS)
        return fail(s, LS_EUNSUPPORTED, "of more than %d dimensions", LS_MAX_DIMS);
    steps_of(x->constant.ndim, x->constant.shape, step);
    for (size_t d = 0; !ret && d < x->constant.ndim; d++) {
        const size_t n = x->constant.shape[d];
        if (d != axis) {
            ret = take_steps(s, &t, n, 0, (int64_t)step[d]);
            continue;
        }
        size_t *table = take_dimension(s, &t, index->count);
        ret = table ? 0 : LS_EFORMAT;
        for (size_t i = 0; !ret && i < index->count; i++) {
            int64_t k = index->i[i] < 0 ? index->i[i] + (int64_t)n : index->i[i];
            if (k < 0 || (uint64_t)k >= n)
                ret = fail(s, LS_EFORMAT, "index %lld of %zu", (long long)index->i[i], n);
            else
                table[i] = (size_t)k * step[d];
        }
    }
    if (ret || index->ndim == 1) {
        if (!ret)
            return define_take(s, x, &t);
        free(t.table);
        return ret;
    }
    /* the indices' own dimensions in place of the one that they run over */
    if (x->tensor || x->constant.ndim + index->ndim == 0) {
        free(t.table);
        return fail(s, LS_EUNSUPPORTED, "by a tensor of %zu dimensions", index->ndim);
    }
    value y = {.constant = evaluate_take(s, &x->constant, &t, &ret)};
    free(t.table);
    for (size_t d = 0; d < x->constant.ndim; d++) {
        if (d != axis)
            shape[ndim++] = x->constant.shape[d];
        for (size_t i = 0; d == axis && i < index->ndim; i++)
            shape[ndim++] = index->shape[i];
    }
    y.constant.ndim = ndim;
    memcpy(y.constant.shape, shape, ndim * sizeof *shape);
    return ret ? ret : define(s, &y);
}

/* One dimension of a slice: bounds as ONNX defines them, clamped to the dimension. */
static int slice_dimension(importer *s, take *t, size_t n, size_t step_of_dim, int64_t start,
                           int64_t end, int64_t step)
{
    const int64_t len = (int64_t)n, low = step < 0 ? -1 : 0, high = step < 0 ? len - 1 : len;
    if (step == 0 || step == INT64_MIN)
        return fail(s, LS_EFORMAT, "a step of %lld", (long long)step);
    start = start < 0 && start >= -len ? start + len : start;
    end = end < 0 && end >= -len ? end + len : end;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > len ? len : end;
    int64_t span = step > 0 ? end - start : start - end, by = step > 0 ? step : -step;
    size_t count = span > 0 ? (size_t)((span - 1) / by + 1) : 0;
    if (!count)
        return fail(s, LS_EUNSUPPORTED, "an empty slice");
    return take_steps(s, t, count, (size_t)start * step_of_dim,
                      count > 1 ? step * (int64_t)step_of_dim : 0);
}

static int slice(importer *s)
{
    const value *x = input(s, 0);
    const size_t ndim = x->constant.ndim;
    const int64_t *starts, *ends, *axes, *steps;
    size_t n, n_ends, n_axes, n_steps, axis, step[LS_MAX_DIMS], which[LS_MAX_DIMS];
    int ret = int_list(s, 1, "starts", &starts, &n);
    if (!ret)
        ret = int_list(s, 2, "ends", &ends, &n_ends);
    if (!ret)
        ret = int_list(s, 3, "axes", &axes, &n_axes);
    if (!ret)
        ret = int_list(s, 4, "steps", &steps, &n_steps);
    if (ret)
        return ret;
    if (n > ndim || n_ends != n || (axes && n_axes != n) || (steps && n_steps != n))
        return fail(s, LS_EFORMAT, "starts, ends, axes and steps do not fit each other");
    memset(which, 0xff, sizeof which);
    for (size_t i = 0; i < n; i++) {
        if ((ret = axis_of(s, axes ? axes[i] : (int64_t)i, ndim, &axis)))
            return ret;
        which[axis] = i;
    }
    take t = {0};
    steps_of(ndim, x->constant.shape, step);
    for (size_t d = 0; !ret && d < ndim; d++) {
        size_t i = which[d], len = x->constant.shape[d];
        ret = i == SIZE_MAX
                  ? take_steps(s, &t, len, 0, (int64_t)step[d])
                  : slice_dimension(s, &t, len, step[d], starts[i], ends[i], steps ? steps[i] : 1);
    }
    if (!ret)
        return define_take(s, x, &t);
    free(t.table);
    return ret;
}

static int concat_constants(importer *s, size_t axis)
{
    const ls_onnx_value *first = &input(s, 0)->constant;
    size_t shape[LS_MAX_DIMS], inner = 1, outer = 1, at = 0;
    memcpy(shape, first->shape, sizeof shape);
    shape[axis] = 0;
    for (size_t i = 0; i < s->node->n_input; i++)
        if (!ls_add_size(shape[axis], input(s, i)->constant.shape[axis], &shape[axis]))
            return fail(s, LS_EFORMAT, "the result is too large");
    value y = {0};
    int ret = ls_onnx_value_new(&y.constant, first->i, first->ndim, shape, s->err);
    if (ret)
        return ret;
    for (size_t d = 0; d < first->ndim; d++)
        *(d < axis ? &outer : &inner) *= d == axis ? 1 : shape[d];
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < s->node->n_input; i++) {
            const ls_onnx_value *c = &input(s, i)->constant;
            size_t n = c->shape[axis] * inner;
            if (c->i)
                memcpy(y.constant.i + at, c->i + o * n, n * sizeof *c->i);
            else
                memcpy(y.constant.f + at, c->f + o * n, n * sizeof *c->f);
            at += n;
        }
    }
    return define(s, &y);
}

/* Joins along any dimension: that is the last one of what is seen as a matrix. */
static ls_tensor *join(importer *s, ls_tensor *a, ls_tensor *b, size_t axis)
{
    const size_t ndim = a->ndim;
    size_t outer = 1, shape[LS_MAX_DIMS];
    for (size_t d = 0; d < axis; d++)
        outer *= a->shape[d];
    memcpy(shape, a->shape, sizeof shape);
    shape[axis] += b->shape[axis];
    a = ls_view(s->g, a, 2, (size_t[]){outer, a->count / outer});
    b = ls_view(s->g, b, 2, (size_t[]){outer, b->count / outer});
    return ls_view(s->g, ls_concat(s->g, a, b), ndim, shape);
}

static int concat(importer *s)
{
    const value *first = input(s, 0);
    const size_t ndim = first->constant.ndim;
    size_t axis, variable = 0;
    bool last = true;
    int ret = axis_of(s, attr_int(s, "axis", INT64_MIN), ndim, &axis);
    for (size_t i = 0; !ret && i < s->node->n_input; i++) {
        const value *v = input(s, i);
        bool fits = v && v->constant.ndim == ndim && !!v->constant.i == !!first->constant.i;
        for (size_t d = 0; fits && d < ndim; d++)
            fits = d == axis || v->constant.shape[d] == first->constant.shape[d];
        if (!fits)
            return fail(s, LS_EFORMAT, "input %zu does not fit the first", i);
        variable += v->tensor != NULL;
        last = last && v->last;
    }
    if (ret)
        return ret;
    if (!variable)
        return concat_constants(s, axis);
    if (variable != s->node->n_input)
        return fail(s, LS_EUNSUPPORTED, "of constants and other values");
    const size_t at = !last ? axis : axis == 0 ? 0 : axis == 1 ? 3 : axis - 1;
    ls_tensor *t = last ? first->tensor : plain(s, first);
    for (size_t i = 1; t && i < s->node->n_input; i++) {
        const value *v = input(s, i);
        ls_tensor *other = last ? v->tensor : plain(s, v);
        t = other ? join(s, t, other, at) : NULL;
    }
    return define_tensor(s, t, last);
}

/* Operations of two tensors */

/* The value as an operand of `ndim` dimensions, channels-last when `last`. NULL after an error. */
static ls_tensor *operand(importer *s, const value *v, size_t ndim, bool last)
{
    size_t full[LS_MAX_DIMS] = {0};
    for (size_t d = 0; d < ndim; d++)
        full[d] =
            d < ndim - v->constant.ndim ? 1 : v->constant.shape[d - (ndim - v->constant.ndim)];
    if (v->tensor) {
        value wide = *v;
        memcpy(wide.constant.shape, full, sizeof full);
        if (v->constant.ndim < ndim) {
            wide.tensor = ls_view(s->g, plain(s, v), ndim, full);
            wide.last = false;
        }
        return !wide.tensor ? NULL : last ? channels_last(s, &wide) : plain(s, &wide);
    }
    if (!v->constant.f) {
        fail(s, LS_EFORMAT, "whole numbers with others");
        return NULL;
    }
    float *data =
        spend(s, v->constant.count) ? NULL : copy_floats(v->constant.f, v->constant.count);
    if (last && data) {
        const size_t pixels = full[2] * full[3], c = full[1];
        for (size_t n = 0; n < full[0]; n++)
            for (size_t k = 0; k < c * pixels; k++)
                data[n * c * pixels + k % pixels * c + k / pixels] =
                    v->constant.f[n * c * pixels + k];
        const size_t h = full[2], w = full[3];
        full[1] = h;
        full[2] = w;
        full[3] = c;
    }
    return add_weight(s, data, ndim, full);
}

static int evaluate_binary(importer *s, ls_binary op, const ls_onnx_value *a,
                           const ls_onnx_value *b)
{
    value y = {0};
    const ls_onnx_value *large = a->ndim >= b->ndim && a->count >= b->count ? a : b;
    const bool equal =
        a->ndim == b->ndim && !memcmp(a->shape, b->shape, a->ndim * sizeof *a->shape);
    const bool fits = a->i && b->i && (equal || a->count == 1 || b->count == 1);
    if (!fits || op == LS_BINARY_PRELU)
        return fail(s, LS_EUNSUPPORTED, "of these constants");
    int ret = ls_onnx_value_new(&y.constant, true, large->ndim, large->shape, s->err);
    for (size_t k = 0; !ret && k < y.constant.count; k++) {
        uint64_t p = (uint64_t)a->i[a->count == 1 ? 0 : k];
        uint64_t q = (uint64_t)b->i[b->count == 1 ? 0 : k];
        y.constant.i[k] = (int64_t)(op == LS_BINARY_ADD   ? p + q
                                    : op == LS_BINARY_SUB ? p - q
                                                          : p * q);
    }
    return ret ? ret : define(s, &y);
}

static int binary_of(importer *s, ls_binary op, const value *a, const value *b)
{
    if (!a->tensor && !b->tensor)
        return evaluate_binary(s, op, &a->constant, &b->constant);
    const size_t ndim = a->constant.ndim > b->constant.ndim ? a->constant.ndim : b->constant.ndim;
    const bool last = ndim == 4 && ((a->tensor && a->last) || (b->tensor && b->last));
    if (!ndim)
        return fail(s, LS_EUNSUPPORTED, "of single numbers");
    ls_tensor *x = operand(s, a, ndim, last), *y = x ? operand(s, b, ndim, last) : NULL;
    if (!x || !y)
        return s->err->code ? s->err->code : LS_EFORMAT;
    bool equal = !memcmp(x->shape, y->shape, ndim * sizeof *x->shape);
    if (op == LS_BINARY_ADD && equal && !x->param && !y->param)
        return define_tensor(s, ls_add(s->g, x, y), last);
    return define_tensor(s, ls_binary_op(s->g, op, x, y), last);
}

static int binary(importer *s)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "PRelu"};
    size_t op = 0;
    while (strcmp(names[op], s->node->op_type))
        op++;
    const value *b = input(s, 1);
    return b ? binary_of(s, (ls_binary)op, input(s, 0), b)
             : fail(s, LS_EFORMAT, "input 1 is missing");
}

/* Convolutions and what follows them */

/* The scale and shift per channel of a normalisation. NULLs to be freed by the caller too. */
static int normalisation(importer *s, size_t channels, float **scale, float **shift)
{
    const ls_onnx_value *p[4] = {NULL};
    *scale = ls_malloc_array(channels, sizeof **scale);
    *shift = ls_malloc_array(channels, sizeof **shift);
    int ret = *scale && *shift ? 0 : fail(s, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < 4; i++) {
        ret = constant_input(s, i + 1, false, &p[i]);
        if (!ret && p[i]->count != channels)
            ret = fail(s, LS_EFORMAT, "input %zu has %zu values for %zu channels", i + 1,
                       p[i]->count, channels);
    }
    if (!ret && attr_int(s, "training_mode", 0))
        ret = fail(s, LS_EUNSUPPORTED, "training mode");
    double eps = (double)attr_float(s, "epsilon", 1e-5f);
    for (size_t c = 0; !ret && c < channels; c++) {
        double k = p[0]->f[c] / sqrt(p[3]->f[c] + eps);
        (*scale)[c] = (float)k;
        (*shift)[c] = (float)(p[1]->f[c] - p[2]->f[c] * k);
    }
    return ret;
}

static int batch_normalization(importer *s)
{
    const value *x = input(s, 0);
    float *scale, *shift;
    if (!x->tensor || x->constant.ndim < 2 || x->constant.ndim > 4)
        return fail(s, LS_EUNSUPPORTED, "of a constant, or of other than 2 to 4 dimensions");
    const size_t c = x->constant.shape[1], ndim = x->last ? 4 : x->constant.ndim;
    size_t wide[4] = {1, 1, 1, 1};
    wide[x->last ? 3 : 1] = c;
    int ret = normalisation(s, c, &scale, &shift);
    if (ret) {
        free(scale);
        free(shift);
        return ret;
    }
    ls_tensor *a = add_weight(s, scale, ndim, wide), *b = add_weight(s, shift, ndim, wide);
    ls_tensor *y = ls_binary_op(s->g, LS_BINARY_MUL, x->tensor, a);
    y = ls_binary_op(s->g, LS_BINARY_ADD, y, b);
    return define_tensor(s, y, x->last);
}

typedef struct convolution {
    size_t co, per; /* weights for each output channel */
    float *w, *b;
    ls_act act;
    ls_tensor *residual;
    bool act_last;
    const char *output; /* name that the result goes by */
} convolution;

static void scale_outputs(convolution *k, const float *scale, size_t step, const float *shift)
{
    for (size_t c = 0; c < k->co; c++) {
        for (size_t i = 0; i < k->per; i++)
            k->w[c * k->per + i] *= scale[c * step];
        k->b[c] = k->b[c] * scale[c * step] + (shift ? shift[c] : 0);
    }
}

static bool standard(const ls_onnx_node *n)
{
    return n->op_type && (!n->domain || !*n->domain || !strcmp(n->domain, "ai.onnx"));
}

/* The node that alone uses `name`, or NULL. */
static const ls_onnx_node *only_user(const importer *s, const char *name, size_t *index)
{
    if (find(s, name)->uses != 1)
        return NULL;
    for (*index = s->current + 1; *index < s->file->n_node; ++*index) {
        const ls_onnx_node *n = s->file->node[*index];
        for (size_t i = 0; !s->done[*index] && i < n->n_input; i++)
            if (!strcmp(n->input[i], name))
                return n->n_output == 1 && *n->output[0] && standard(n) ? n : NULL;
    }
    return NULL; /* it is an output of the network */
}

/* Takes one more node in; false when it is not of a kind that can be, or not yet. */
static bool take_in(importer *s, convolution *k, const ls_onnx_node *n, const size_t *image,
                    int *ret)
{
    const bool own_first = !strcmp(n->input[0], k->output);
    const value *other = n->n_input == 2 ? find(s, n->input[own_first]) : NULL;
    const bool bare = !k->act && !k->residual;
    if (!strcmp(n->op_type, "BatchNormalization") && bare && own_first) {
        const ls_onnx_node *node = s->node;
        float *scale, *shift;
        s->node = n;
        *ret = normalisation(s, k->co, &scale, &shift);
        s->node = node;
        if (!*ret)
            scale_outputs(k, scale, 1, shift);
        free(scale);
        free(shift);
        return true;
    }
    if (!k->act && own_first && (!strcmp(n->op_type, "Relu") || !strcmp(n->op_type, "Sigmoid"))) {
        k->act_last = k->residual;
        k->act = *n->op_type == 'R' ? LS_ACT_RELU : LS_ACT_SIGMOID;
        return true;
    }
    if (!strcmp(n->op_type, "Mul") && bare && other && other->known && other->constant.f &&
        other->constant.count == 1 && other->constant.ndim <= 4) {
        scale_outputs(k, other->constant.f, 0, NULL);
        return true;
    }
    if (!strcmp(n->op_type, "Add") && bare && other && other->known && other->tensor &&
        other->constant.ndim == 4 && !memcmp(other->constant.shape, image, 4 * sizeof *image)) {
        k->residual = channels_last(s, other);
        return k->residual;
    }
    return false;
}

static int window_of(importer *s, ls_window *w)
{
    size_t dilations[2] = {1, 1};
    *w = (ls_window){.kernel = {1, 1}, .stride = {1, 1}};
    int ret = attr_sizes(s, "kernel_shape", 2, w->kernel);
    if (!ret)
        ret = attr_sizes(s, "strides", 2, w->stride);
    if (!ret)
        ret = attr_sizes(s, "pads", 4, w->pad);
    if (!ret)
        ret = attr_sizes(s, "dilations", 2, dilations);
    if (!ret && attribute(s, "auto_pad") && !attr_is(s, "auto_pad", "NOTSET"))
        ret = fail(s, LS_EUNSUPPORTED, "auto_pad; explicit pads are supported");
    if (!ret && (dilations[0] != 1 || dilations[1] != 1))
        ret = fail(s, LS_EUNSUPPORTED, "dilations");
    if (!ret && (!w->stride[0] || !w->stride[1] || !w->kernel[0] || !w->kernel[1]))
        ret = fail(s, LS_EFORMAT, "a stride or kernel of 0");
    return ret;
}

static int image_input(importer *s, ls_tensor **x)
{
    const value *v = input(s, 0);
    *x = NULL;
    if (!v->tensor || v->constant.ndim != 4)
        return fail(s, LS_EUNSUPPORTED, "of %zu dimensions; images that vary are supported",
                    v->constant.ndim);
    *x = channels_last(s, v);
    return *x ? 0 : define_tensor(s, NULL, false);
}

static int open_convolution(importer *s, convolution *k, const ls_onnx_value *w)
{
    const ls_onnx_value *b = NULL;
    int ret = input(s, 2) ? constant_input(s, 2, false, &b) : 0;
    if (ret)
        return ret;
    if (w->ndim != 4 || !w->count)
        return fail(s, LS_EFORMAT, "the weight has %zu dimensions", w->ndim);
    if (b && b->count != w->shape[0])
        return fail(s, LS_EFORMAT, "%zu biases for %zu channels", b->count, w->shape[0]);
    if ((ret = spend(s, w->count)))
        return ret;
    *k = (convolution){.co = w->shape[0],
                       .per = w->count / w->shape[0],
                       .w = copy_floats(w->f, w->count),
                       .b = ls_calloc_array(w->shape[0], sizeof(float)),
                       .output = s->node->output[0]};
    if (k->b && b)
        memcpy(k->b, b->f, b->count * sizeof *b->f);
    return k->w && k->b ? 0 : fail(s, LS_ENOMEM, "out of memory");
}

static int conv(importer *s)
{
    convolution k = {0};
    ls_window window;
    const ls_onnx_value *w;
    ls_tensor *x;
    const int64_t groups = attr_int(s, "group", 1);
    int ret = constant_input(s, 1, false, &w);
    if (!ret)
        ret = window_of(s, &window);
    if (!ret)
        ret = image_input(s, &x);
    if (!ret)
        ret = open_convolution(s, &k, w);
    if (!ret && (groups < 1 || (uint64_t)groups > k.co ||
                 (attribute(s, "kernel_shape") &&
                  (window.kernel[0] != w->shape[2] || window.kernel[1] != w->shape[3]))))
        ret = fail(s, LS_EFORMAT, "the groups or the kernel do not fit the weight");
    size_t image[4] = {0, k.co}, index;
    for (int i = 0; !ret && i < 2; i++) {
        size_t padded = x->shape[i + 1] + window.pad[i] + window.pad[i + 2];
        if (padded < w->shape[i + 2])
            ret = fail(s, LS_EFORMAT, "the kernel is larger than the padded image");
        else
            image[i + 2] = (padded - w->shape[i + 2]) / window.stride[i] + 1;
    }
    if (!ret)
        image[0] = x->shape[0];
    const ls_onnx_node *user;
    while (!ret && (user = only_user(s, k.output, &index)) && take_in(s, &k, user, image, &ret)) {
        s->done[index] = true;
        k.output = user->output[0];
    }
    if (ret) {
        free(k.w);
        free(k.b);
        return ret;
    }
    ls_tensor *wt = add_weight(s, k.w, 4, w->shape), *bias = add_weight(s, k.b, 1, &k.co);
    ls_tensor *y = ls_conv2d_grouped(s->g, x, wt, bias, k.residual, &window, (size_t)groups, k.act,
                                     k.act_last);
    s->output = k.output;
    return define_tensor(s, y, true);
}

static int pool(importer *s)
{
    ls_window w;
    ls_tensor *x;
    size_t out[2];
    const bool mean = *s->node->op_type != 'M', ceil_mode = attr_int(s, "ceil_mode", 0);
    int ret = image_input(s, &x);
    if (ret)
        return ret;
    if (!strcmp(s->node->op_type, "GlobalAveragePool"))
        w = (ls_window){.kernel = {x->shape[1], x->shape[2]}, .stride = {1, 1}};
    else if ((ret = window_of(s, &w)))
        return ret;
    for (int i = 0; i < 2; i++) {
        size_t padded = x->shape[i + 1] + w.pad[i] + w.pad[i + 2];
        if (padded < w.kernel[i])
            return fail(s, LS_EFORMAT, "the window is larger than the padded image");
        size_t room = padded - w.kernel[i];
        out[i] = (ceil_mode ? room + w.stride[i] - 1 : room) / w.stride[i] + 1;
        if ((out[i] - 1) * w.stride[i] >= x->shape[i + 1] + w.pad[i])
            out[i]--; /* as ONNX has it: a window does not start in the padding at the end */
    }
    return define_tensor(
        s, ls_pool(s->g, x, &w, out[0], out[1], mean, attr_int(s, "count_include_pad", 0)), true);
}

static int gemm(importer *s)
{
    const value *x = input(s, 0);
    const ls_onnx_value *b, *c = NULL;
    const float alpha = attr_float(s, "alpha", 1), beta = attr_float(s, "beta", 1);
    const bool across = attr_int(s, "transB", 0);
    int ret = constant_input(s, 1, false, &b);
    if (!ret && input(s, 2))
        ret = constant_input(s, 2, false, &c);
    if (ret)
        return ret;
    if (!x->tensor || x->constant.ndim != 2 || b->ndim != 2 || !b->count)
        return fail(s, LS_EUNSUPPORTED, "of other than a matrix that varies and a constant one");
    const size_t co = b->shape[!across], ci = b->shape[across];
    if ((ret = spend(s, b->count)))
        return ret;
    if (c && c->count != co && c->count != 1)
        return fail(s, LS_EUNSUPPORTED, "input 2 has %zu values for %zu columns", c->count, co);
    float *w = ls_malloc_array(b->count, sizeof *w), *bias = ls_calloc_array(co, sizeof *bias);
    for (size_t o = 0; w && o < co; o++)
        for (size_t i = 0; i < ci; i++)
            w[o * ci + i] = alpha * b->f[across ? o * ci + i : i * co + o];
    for (size_t o = 0; c && bias && o < co; o++)
        bias[o] = beta * c->f[c->count == 1 ? 0 : o];
    ls_tensor *a = x->tensor, *wt = add_weight(s, w, 2, (size_t[]){co, ci});
    ls_tensor *bt = add_weight(s, bias, 1, &co);
    if (attr_int(s, "transA", 0)) {
        const size_t *n = x->constant.shape;
        take t = {0};
        if (!take_steps(s, &t, n[1], 0, 1) && !take_steps(s, &t, n[0], 0, (int64_t)n[1]))
            a = ls_take(s->g, a, 2, t.shape, t.table);
        free(t.table);
    }
    return define_tensor(s, ls_linear(s->g, a, wt, bt, NULL, LS_ACT_NONE, a ? a->dtype : LS_F32),
                         false);
}

/* Where a nearest resize takes row or column `i` of `out` from, `in` long, as ONNX defines it. */
static int nearest(importer *s, size_t i, double scale, size_t in, size_t out, size_t *from)
{
    const bool default_mode = !attribute(s, "coordinate_transformation_mode");
    double x;
    if (attr_is(s, "coordinate_transformation_mode", "asymmetric") ||
        !strcmp(s->node->op_type, "Upsample"))
        x = (double)i / scale;
    else if (default_mode || attr_is(s, "coordinate_transformation_mode", "half_pixel"))
        x = ((double)i + 0.5) / scale - 0.5;
    else if (attr_is(s, "coordinate_transformation_mode", "align_corners"))
        x = out > 1 ? (double)i * (double)(in - 1) / (double)(out - 1) : 0;
    else
        return fail(s, LS_EUNSUPPORTED, "this coordinate_transformation_mode");
    if (attr_is(s, "nearest_mode", "floor") || !strcmp(s->node->op_type, "Upsample"))
        x = floor(x);
    else if (attr_is(s, "nearest_mode", "ceil"))
        x = ceil(x);
    else if (attr_is(s, "nearest_mode", "round_prefer_ceil"))
        x = floor(x + 0.5);
    else
        x = ceil(x - 0.5);
    *from = x < 0 ? 0 : x > (double)(in - 1) ? in - 1 : (size_t)x;
    return 0;
}

static int resize(importer *s)
{
    const value *x = input(s, 0);
    const ls_onnx_value *scales = NULL, *sizes = NULL;
    const bool two_inputs = s->node->n_input == 2; /* operator set 10 and before: X, scales */
    const size_t *in = x->constant.shape;
    size_t out[4], step[4], order[4] = {0, 2, 3, 1};
    double scale[4];
    int ret = 0;
    if (attribute(s, "mode") && !attr_is(s, "mode", "nearest"))
        return fail(s, LS_EUNSUPPORTED, "modes other than nearest");
    if (attribute(s, "axes"))
        return fail(s, LS_EUNSUPPORTED, "axes");
    if (input(s, 3))
        ret = constant_input(s, 3, true, &sizes);
    else
        ret = constant_input(s, two_inputs ? 1 : 2, false, &scales);
    if (ret)
        return ret;
    if (!x->tensor || x->constant.ndim != 4 || (sizes ? sizes : scales)->count != 4)
        return fail(s, LS_EUNSUPPORTED, "of other than images that vary");
    for (size_t d = 0; d < 4; d++) {
        double n = sizes ? (double)sizes->i[d] : floor((double)in[d] * (double)scales->f[d]);
        if (!(n >= 1 && n <= 65536))
            return fail(s, LS_EFORMAT, "to a size of %g", n);
        out[d] = (size_t)n;
        scale[d] = sizes ? n / (double)in[d] : (double)scales->f[d];
    }
    ls_tensor *t = channels_last(s, x);
    take table = {0};
    if (t)
        steps_of(4, t->shape, step);
    for (size_t d = 0; t && !ret && d < 4; d++) {
        const size_t k = order[d];
        size_t *entries = take_dimension(s, &table, out[k]);
        ret = entries ? 0 : LS_EFORMAT;
        for (size_t i = 0; !ret && i < out[k]; i++) {
            ret = nearest(s, i, scale[k], in[k], out[k], &entries[i]);
            entries[i] *= step[d];
        }
    }
    if (!ret)
        ret = define_tensor(s, ls_take(s->g, t, 4, table.shape, table.table), true);
    free(table.table);
    return ret;
}

static const struct {
    const char *name;
    int (*import)(importer *s);
} operators[] = {
    {"Add", binary},          {"AveragePool", pool},  {"BatchNormalization", batch_normalization},
    {"Cast", cast},           {"Concat", concat},     {"Constant", constant},
    {"Conv", conv},           {"Dropout", same},      {"Flatten", flatten},
    {"Gather", gather},       {"Gemm", gemm},         {"GlobalAveragePool", pool},
    {"Identity", same},       {"MaxPool", pool},      {"Mul", binary},
    {"PRelu", binary},        {"Relu", activation},   {"Reshape", reshape},
    {"Resize", resize},       {"Shape", shape},       {"Sigmoid", activation},
    {"Slice", slice},         {"Squeeze", squeeze},   {"Sub", binary},
    {"Transpose", transpose}, {"Unsqueeze", squeeze}, {"Upsample", resize}};

/* Every input of a node comes before it in the file; so a cycle has a first node that fails. */
static int check_node(importer *s)
{
    const ls_onnx_node *n = s->node;
    if (!standard(n))
        return fail(s, LS_EUNSUPPORTED, "an operator of %s", n->domain);
    if (!n->n_output || !*n->output[0])
        return fail(s, LS_EFORMAT, "it has no output");
    for (size_t i = 1; i < n->n_output; i++)
        if (*n->output[i] && find(s, n->output[i])->uses)
            return fail(s, LS_EUNSUPPORTED, "output %zu (\"%s\") is used", i, n->output[i]);
    for (size_t i = 0; i < n->n_input; i++)
        if (*n->input[i] && !find(s, n->input[i])->known)
            return fail(s, LS_EFORMAT,
                        "\"%s\" is not there yet: the nodes are not in order, or form a cycle",
                        n->input[i]);
    if (!n->n_input && strcmp(n->op_type, "Constant"))
        return fail(s, LS_EFORMAT, "it has no input");
    return n->n_input && !*n->input[0] ? fail(s, LS_EFORMAT, "input 0 is missing") : 0;
}

static int import_node(importer *s)
{
    if (!s->node->op_type)
        return ls_fail(s->err, LS_EFORMAT, "a node without an operator");
    for (size_t i = 0; i < sizeof operators / sizeof *operators; i++) {
        if (!strcmp(operators[i].name, s->node->op_type)) {
            int ret = check_node(s);
            return ret ? ret : operators[i].import(s);
        }
    }
    return fail(s, LS_EUNSUPPORTED, "this operator is not supported");
}

/* Names and how often each is used. */
static int read_names(importer *s)
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
            mention(s, f->output[i]->name)->uses += 2; /* never taken in */
    return 0;
}

static int read_initializers(importer *s)
{
    for (size_t i = 0; i < s->file->n_initializer; i++) {
        const LsOnnx__TensorProto *t = s->file->initializer[i];
        if (!t->name || !*t->name)
            return ls_fail(s->err, LS_EFORMAT, "a weight without a name");
        value *v = mention(s, t->name);
        if (v->known)
            return ls_fail(s->err, LS_EFORMAT, "weight \"%s\" is there twice", t->name);
        int ret = v->uses ? ls_onnx_read_tensor(&v->constant, t, s->err) : 0;
        if (ret)
            return ret;
        v->known = v->uses;
    }
    return 0;
}

/* What the file says of an input's shape against the one given. */
static int check_input(importer *s, const LsOnnx__ValueInfoProto *info, const ls_onnx_input *in)
{
    const LsOnnx__TypeProto__Tensor *t = info->type ? info->type->tensor_type : NULL;
    bool fits = t && in->ndim <= LS_MAX_DIMS && (!t->shape || t->shape->n_dim == in->ndim);
    for (size_t i = 0; fits && t->shape && i < in->ndim; i++) {
        const LsOnnx__TensorShapeProto__Dimension *d = t->shape->dim[i];
        fits = !d->has_dim_value || d->dim_value <= 0 || (uint64_t)d->dim_value == in->shape[i];
    }
    if (!fits || (!in->constant && t->elem_type != 1))
        return ls_fail(s->err, LS_EFORMAT,
                       "input \"%s\" has another shape or type than is needed here", info->name);
    return 0;
}

static int read_input(importer *s, const LsOnnx__ValueInfoProto *info, const ls_onnx_input *in)
{
    value *v = mention(s, info->name);
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

static int read_inputs(importer *s, const ls_onnx_input *inputs, size_t count)
{
    for (size_t i = 0; i < s->file->n_input; i++) {
        const LsOnnx__ValueInfoProto *info = s->file->input[i];
        const ls_onnx_input *given = NULL;
        if (!info->name || find(s, info->name) == NULL || find(s, info->name)->known)
            continue; /* not used, or an initializer */
        for (size_t k = 0; k < count; k++)
            if (!strcmp(inputs[k].name, info->name))
                given = &inputs[k];
        int ret = given ? read_input(s, info, given)
                        : ls_fail(s->err, LS_EFORMAT,
                                  "the network has an input \"%s\" that is not "
                                  "expected here",
                                  info->name);
        if (ret)
            return ret;
    }
    return 0;
}

/* A tensor that can be bound to an output's name: a value of its own, float32. Views and casts
 * reach to what they show. */
static ls_tensor *bindable(importer *s, const value *v)
{
    ls_tensor *t = ls_cast(s->g, plain(s, v), LS_F32);
    ls_tensor *root = t && t->kind == LS_TENSOR_VIEW ? t->source : t;
    if (root && root->kind == LS_TENSOR_VALUE && !root->output)
        return root;
    return ls_activation(s->g, t, LS_ACT_NONE);
}

static int write_output(importer *s, size_t i)
{
    const char *name = s->file->output[i]->name;
    value *v = name ? find(s, name) : NULL;
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
        return ls_graph_error(s->g, s->err);
    }
    o->constant = &s->im->constants[i];
    s->im->constants[i] = v->constant;
    v->constant = (ls_onnx_value){0};
    v->known = false;
    return 0;
}

static int run_import(importer *s, const ls_onnx_input *inputs, size_t count)
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
    importer s = {.g = g, .file = ls_onnx_get_graph(m), .err = &own, .budget = MAX_ELEMENTS};
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
