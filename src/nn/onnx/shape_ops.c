/* Operators that move elements, mostly of constants. */
#include "nn/onnx/importer.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Reordered elements: transposes, slices, gathers, resizes */

void ls_im_steps_of(size_t ndim, const size_t *shape, size_t *step)
{
    size_t n = 1;
    for (size_t d = ndim; d-- > 0; n *= shape[d])
        step[d] = n;
}

size_t *ls_im_take_dimension(ls_importer *s, ls_im_take *t, size_t n)
{
    size_t total, bytes;
    size_t *table = NULL;
    const bool fits = ls_add_size(t->used, n, &total) && total <= LS_IM_MAX_ELEMENTS &&
                      ls_mul_size(total ? total : 1, sizeof *table, &bytes) &&
                      t->ndim < LS_MAX_DIMS;
    if (fits && !(table = realloc(t->table, bytes)))
        ls_im_fail(s, LS_ENOMEM, "out of memory");
    else if (!fits)
        ls_im_fail(s, LS_EFORMAT, "%zu elements or %zu dimensions are too many", n, t->ndim + 1);
    if (!table)
        return NULL;
    t->table = table;
    t->shape[t->ndim++] = n;
    table += t->used;
    t->used = total;
    return table;
}

int ls_im_take_steps(ls_importer *s, ls_im_take *t, size_t n, size_t start, int64_t step)
{
    size_t *table = ls_im_take_dimension(s, t, n);
    if (!table)
        return s->err->code;
    for (size_t i = 0; i < n; i++)
        table[i] = start + i * (size_t)step; /* modulo 2^64, as negative steps need */
    return 0;
}

static ls_onnx_value evaluate_take(ls_importer *s, const ls_onnx_value *x, const ls_im_take *t,
                                   int *ret)
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

ls_tensor *ls_im_channels_last(ls_importer *s, const ls_im_value *v)
{
    const size_t *n = v->constant.shape;
    if (v->last)
        return v->tensor;
    const size_t shape[4] = {n[0], n[2], n[3], n[1]};
    const size_t step[4] = {n[1] * n[2] * n[3], n[3], 1, n[2] * n[3]};
    ls_im_take t = {0};
    ls_tensor *out = NULL;
    if (n[1] == 1 || n[2] * n[3] == 1)
        return ls_view(s->g, v->tensor, 4, shape);
    for (size_t d = 0; d < 4; d++)
        if (ls_im_take_steps(s, &t, shape[d], 0, (int64_t)step[d]))
            goto done;
    out = ls_take(s->g, v->tensor, 4, shape, t.table);
done:
    free(t.table);
    return out;
}

ls_tensor *ls_im_plain(ls_importer *s, const ls_im_value *v)
{
    const size_t *n = v->constant.shape;
    if (!v->last)
        return v->tensor;
    const size_t step[4] = {n[1] * n[2] * n[3], 1, n[3] * n[1], n[1]};
    ls_im_take t = {0};
    ls_tensor *out = NULL;
    if (n[1] == 1 || n[2] * n[3] == 1)
        return ls_view(s->g, v->tensor, 4, n);
    for (size_t d = 0; d < 4; d++)
        if (ls_im_take_steps(s, &t, n[d], 0, (int64_t)step[d]))
            goto done;
    out = ls_take(s->g, v->tensor, 4, n, t.table);
done:
    free(t.table);
    return out;
}

/* Defines the output as elements of `v` in its plain order. Frees the table. */
static int define_take(ls_importer *s, const ls_im_value *v, ls_im_take *t)
{
    int ret = 0;
    if (v->tensor) {
        ls_tensor *x = ls_im_plain(s, v);
        ret = ls_im_define_tensor(s, ls_take(s->g, x, t->ndim, t->shape, t->table), false);
    } else {
        ls_im_value y = {.constant = evaluate_take(s, &v->constant, t, &ret)};
        if (!ret)
            ret = ls_im_define(s, &y);
    }
    free(t->table);
    return ret;
}

/* Defines the output as `v` in another shape of as many elements. */
static int define_view(ls_importer *s, const ls_im_value *v, size_t ndim, const size_t *shape)
{
    if (v->tensor)
        return ls_im_define_tensor(s, ls_view(s->g, ls_im_plain(s, v), ndim, shape), false);
    ls_im_value y = {0};
    int ret = ls_onnx_value_new(&y.constant, v->constant.i, ndim, shape, s->err);
    if (ret)
        return ret;
    if (y.constant.count != v->constant.count) {
        ls_onnx_value_free(&y.constant);
        return ls_im_fail(s, LS_EFORMAT, "%zu elements do not fit the requested shape",
                          v->constant.count);
    }
    if (y.constant.i)
        memcpy(y.constant.i, v->constant.i, y.constant.count * sizeof *y.constant.i);
    else
        memcpy(y.constant.f, v->constant.f, y.constant.count * sizeof *y.constant.f);
    return ls_im_define(s, &y);
}

/* Operators. Each has input 0, unless it takes none, known and checked. */

int ls_import_same(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    if (!x->tensor)
        return define_view(s, x, x->constant.ndim, x->constant.shape);
    return ls_im_define_tensor(s, x->tensor, x->last);
}

int ls_import_activation(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    if (!x->tensor)
        return ls_im_fail(s, LS_EUNSUPPORTED, "a constant input is not supported");
    bool relu = !strcmp(s->node->op_type, "Relu");
    return ls_im_define_tensor(
        s, ls_activation(s->g, x->tensor, relu ? LS_ACT_RELU : LS_ACT_SIGMOID), x->last);
}

int ls_import_constant(ls_importer *s)
{
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, "value");
    ls_im_value v = {0};
    if (!a || !a->t)
        return ls_im_fail(s, LS_EUNSUPPORTED, "only tensors are supported as constants");
    int ret = ls_onnx_read_tensor(&v.constant, a->t, s->err);
    return ret ? ls_im_fail(s, ret, "%s", s->err->message) : ls_im_define(s, &v);
}

int ls_import_shape(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    ls_im_value y = {0};
    if (ls_im_attribute(s, "start") || ls_im_attribute(s, "end"))
        return ls_im_fail(s, LS_EUNSUPPORTED, "start and end are not supported");
    int ret = ls_onnx_value_new(&y.constant, true, 1, &x->constant.ndim, s->err);
    for (size_t i = 0; !ret && i < x->constant.ndim; i++)
        y.constant.i[i] = (int64_t)x->constant.shape[i];
    return ret ? ret : ls_im_define(s, &y);
}

int ls_import_cast(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const int64_t to = ls_im_attr_int(s, "to", 0);
    const bool whole = to == 6 || to == 7, real = to == 1 || to == 11;
    if (!whole && !real)
        return ls_im_fail(s, LS_EUNSUPPORTED, "a cast to type %lld is not supported",
                          (long long)to);
    if (x->tensor)
        return real ? ls_import_same(s)
                    : ls_im_fail(s, LS_EUNSUPPORTED,
                                 "a cast to integers is supported for constants only");
    ls_im_value y = {0};
    const ls_onnx_value *c = &x->constant;
    int ret = ls_onnx_value_new(&y.constant, whole, c->ndim, c->shape, s->err);
    for (size_t i = 0; !ret && i < c->count; i++) {
        if (!whole)
            y.constant.f[i] = c->i ? (float)c->i[i] : c->f[i];
        else if (c->i)
            y.constant.i[i] = c->i[i];
        else if (fabsf(c->f[i]) < 1e18f) /* not for NaN */
            y.constant.i[i] = (int64_t)c->f[i];
        else
            ret = ls_im_fail(s, LS_EFORMAT, "%g is not an integer", (double)c->f[i]);
    }
    if (!ret)
        return ls_im_define(s, &y);
    ls_onnx_value_free(&y.constant);
    return ret;
}

int ls_import_reshape(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const ls_onnx_value *want;
    size_t shape[LS_MAX_DIMS], known = 1, open = SIZE_MAX;
    int ret = ls_im_constant_input(s, 1, true, &want);
    if (ret)
        return ret;
    if (want->ndim != 1 || want->count > LS_MAX_DIMS)
        return ls_im_fail(s, LS_EFORMAT, "%zu dimensions are requested", want->count);
    for (size_t i = 0; i < want->count; i++) {
        int64_t n = want->i[i];
        if (n == -1 && open == SIZE_MAX)
            open = i;
        else if (n == 0 && !ls_im_attr_int(s, "allowzero", 0) && i < x->constant.ndim)
            n = (int64_t)x->constant.shape[i];
        if (n < (open == i ? -1 : 0))
            return ls_im_fail(s, LS_EFORMAT, "the invalid dimension %lld is requested",
                              (long long)n);
        shape[i] = open == i ? 1 : (size_t)n;
        if (!ls_mul_size(known, shape[i], &known))
            return ls_im_fail(s, LS_EFORMAT, "the requested shape is too large");
    }
    if (open != SIZE_MAX && known)
        shape[open] = x->constant.count / known;
    return define_view(s, x, want->count, shape);
}

int ls_import_flatten(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const int64_t ndim = (int64_t)x->constant.ndim;
    int64_t axis = ls_im_attr_int(s, "axis", 1);
    if (axis < -ndim || axis > ndim)
        return ls_im_fail(s, LS_EFORMAT, "dimension %lld is out of range for %lld dimensions",
                          (long long)axis, (long long)ndim);
    size_t shape[2] = {1, 1}, first = (size_t)(axis < 0 ? axis + ndim : axis);
    for (size_t i = 0; i < x->constant.ndim; i++) /* a part of a count that did not overflow */
        shape[i >= first] *= x->constant.shape[i];
    return define_view(s, x, 2, shape);
}

int ls_import_squeeze(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const bool insert = !strcmp(s->node->op_type, "Unsqueeze");
    const int64_t *axes;
    size_t n, axis, from = 0, ndim = x->constant.ndim, shape[LS_MAX_DIMS];
    bool named[LS_MAX_DIMS] = {false};
    int ret = ls_im_int_list(s, 1, "axes", &axes, &n);
    if (ret)
        return ret;
    if (insert ? !n || n > LS_MAX_DIMS - ndim : n > ndim)
        return ls_im_fail(s, LS_EFORMAT, "%zu axes for %zu dimensions", n, ndim);
    for (size_t i = 0; i < n; i++) {
        if ((ret = ls_im_axis_of(s, axes[i], insert ? ndim + n : ndim, &axis)))
            return ret;
        if (named[axis])
            return ls_im_fail(s, LS_EFORMAT, "dimension %zu is named twice", axis);
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
    return define_view(s, x, from, shape); /* rejects sizes other than 1 */
}

int ls_import_transpose(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const LsOnnx__AttributeProto *a = ls_im_attribute(s, "perm");
    const size_t ndim = x->constant.ndim;
    size_t from[LS_MAX_DIMS] = {0}, step[LS_MAX_DIMS];
    bool seen[LS_MAX_DIMS] = {false};
    if (a && a->n_ints != ndim)
        return ls_im_fail(s, LS_EFORMAT, "perm has %zu numbers for %zu dimensions", a->n_ints,
                          ndim);
    for (size_t i = 0; i < ndim; i++) {
        from[i] = a ? (size_t)a->ints[i] : ndim - 1 - i;
        if (from[i] >= ndim || seen[from[i]])
            return ls_im_fail(s, LS_EFORMAT, "perm is not a permutation");
        seen[from[i]] = true;
    }
    if (x->last && from[0] == 0 && from[1] == 2 && from[2] == 3 && from[3] == 1)
        return ls_im_define_tensor(s, x->tensor, false);
    ls_im_take t = {0};
    ls_im_steps_of(ndim, x->constant.shape, step);
    for (size_t i = 0; i < ndim; i++) {
        if (ls_im_take_steps(s, &t, x->constant.shape[from[i]], 0, (int64_t)step[from[i]])) {
            free(t.table);
            return s->err->code;
        }
    }
    return define_take(s, x, &t);
}

int ls_import_gather(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const ls_onnx_value *index;
    size_t axis, step[LS_MAX_DIMS], shape[LS_MAX_DIMS], ndim = 0;
    ls_im_take t = {0};
    int ret = ls_im_axis_of(s, ls_im_attr_int(s, "axis", 0), x->constant.ndim, &axis);
    if (!ret)
        ret = ls_im_constant_input(s, 1, true, &index);
    if (ret)
        return ret;
    if (index->ndim + x->constant.ndim - 1 > LS_MAX_DIMS)
        return ls_im_fail(s, LS_EUNSUPPORTED, "more than %d dimensions are not supported",
                          LS_MAX_DIMS);
    ls_im_steps_of(x->constant.ndim, x->constant.shape, step);
    for (size_t d = 0; !ret && d < x->constant.ndim; d++) {
        const size_t n = x->constant.shape[d];
        if (d != axis) {
            ret = ls_im_take_steps(s, &t, n, 0, (int64_t)step[d]);
            continue;
        }
        size_t *table = ls_im_take_dimension(s, &t, index->count);
        ret = table ? 0 : s->err->code;
        for (size_t i = 0; !ret && i < index->count; i++) {
            int64_t k = index->i[i] < 0 ? index->i[i] + (int64_t)n : index->i[i];
            if (k < 0 || (uint64_t)k >= n)
                ret = ls_im_fail(s, LS_EFORMAT, "index %lld of %zu", (long long)index->i[i], n);
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
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "indices of %zu dimensions are supported for constants only",
                          index->ndim);
    }
    ls_im_value y = {.constant = evaluate_take(s, &x->constant, &t, &ret)};
    free(t.table);
    for (size_t d = 0; d < x->constant.ndim; d++) {
        if (d != axis)
            shape[ndim++] = x->constant.shape[d];
        for (size_t i = 0; d == axis && i < index->ndim; i++)
            shape[ndim++] = index->shape[i];
    }
    y.constant.ndim = ndim;
    memcpy(y.constant.shape, shape, ndim * sizeof *shape);
    return ret ? ret : ls_im_define(s, &y);
}

/* One dimension of a slice: bounds as ONNX defines them, clamped to the dimension. */
static int slice_dimension(ls_importer *s, ls_im_take *t, size_t n, size_t step_of_dim,
                           int64_t start, int64_t end, int64_t step)
{
    const int64_t len = (int64_t)n, low = step < 0 ? -1 : 0, high = step < 0 ? len - 1 : len;
    if (step == 0 || step == INT64_MIN)
        return ls_im_fail(s, LS_EFORMAT, "the step %lld is not valid", (long long)step);
    start = start < 0 && start >= -len ? start + len : start;
    end = end < 0 && end >= -len ? end + len : end;
    start = start < 0 ? 0 : start > high ? high : start;
    end = end < low ? low : end > len ? len : end;
    int64_t span = step > 0 ? end - start : start - end, by = step > 0 ? step : -step;
    size_t count = span > 0 ? (size_t)((span - 1) / by + 1) : 0;
    if (!count)
        return ls_im_fail(s, LS_EUNSUPPORTED, "an empty slice is not supported");
    return ls_im_take_steps(s, t, count, (size_t)start * step_of_dim,
                            count > 1 ? step * (int64_t)step_of_dim : 0);
}

int ls_import_slice(ls_importer *s)
{
    const ls_im_value *x = ls_im_input(s, 0);
    const size_t ndim = x->constant.ndim;
    const int64_t *starts, *ends, *axes, *steps;
    size_t n, n_ends, n_axes, n_steps, axis, step[LS_MAX_DIMS], which[LS_MAX_DIMS];
    int ret = ls_im_int_list(s, 1, "starts", &starts, &n);
    if (!ret)
        ret = ls_im_int_list(s, 2, "ends", &ends, &n_ends);
    if (!ret)
        ret = ls_im_int_list(s, 3, "axes", &axes, &n_axes);
    if (!ret)
        ret = ls_im_int_list(s, 4, "steps", &steps, &n_steps);
    if (ret)
        return ret;
    if (n > ndim || n_ends != n || (axes && n_axes != n) || (steps && n_steps != n))
        return ls_im_fail(s, LS_EFORMAT, "starts, ends, axes and steps do not fit each other");
    memset(which, 0xff, sizeof which);
    for (size_t i = 0; i < n; i++) {
        if ((ret = ls_im_axis_of(s, axes ? axes[i] : (int64_t)i, ndim, &axis)))
            return ret;
        which[axis] = i;
    }
    ls_im_take t = {0};
    ls_im_steps_of(ndim, x->constant.shape, step);
    for (size_t d = 0; !ret && d < ndim; d++) {
        size_t i = which[d], len = x->constant.shape[d];
        ret = i == SIZE_MAX
                  ? ls_im_take_steps(s, &t, len, 0, (int64_t)step[d])
                  : slice_dimension(s, &t, len, step[d], starts[i], ends[i], steps ? steps[i] : 1);
    }
    if (!ret)
        return define_take(s, x, &t);
    free(t.table);
    return ret;
}

static int concat_constants(ls_importer *s, size_t axis)
{
    const ls_onnx_value *first = &ls_im_input(s, 0)->constant;
    size_t shape[LS_MAX_DIMS], inner = 1, outer = 1, at = 0;
    memcpy(shape, first->shape, sizeof shape);
    shape[axis] = 0;
    for (size_t i = 0; i < s->node->n_input; i++)
        if (!ls_add_size(shape[axis], ls_im_input(s, i)->constant.shape[axis], &shape[axis]))
            return ls_im_fail(s, LS_EFORMAT, "the result is too large");
    ls_im_value y = {0};
    int ret = ls_onnx_value_new(&y.constant, first->i, first->ndim, shape, s->err);
    if (ret)
        return ret;
    for (size_t d = 0; d < first->ndim; d++)
        *(d < axis ? &outer : &inner) *= d == axis ? 1 : shape[d];
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < s->node->n_input; i++) {
            const ls_onnx_value *c = &ls_im_input(s, i)->constant;
            size_t n = c->shape[axis] * inner;
            if (c->i)
                memcpy(y.constant.i + at, c->i + o * n, n * sizeof *c->i);
            else
                memcpy(y.constant.f + at, c->f + o * n, n * sizeof *c->f);
            at += n;
        }
    }
    return ls_im_define(s, &y);
}

/* Concatenates along any dimension, treating the tensors as matrices. */
static ls_tensor *join(ls_importer *s, ls_tensor *a, ls_tensor *b, size_t axis)
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

int ls_import_concat(ls_importer *s)
{
    const ls_im_value *first = ls_im_input(s, 0);
    const size_t ndim = first->constant.ndim;
    size_t axis, variable = 0;
    bool last = true;
    int ret = ls_im_axis_of(s, ls_im_attr_int(s, "axis", INT64_MIN), ndim, &axis);
    for (size_t i = 0; !ret && i < s->node->n_input; i++) {
        const ls_im_value *v = ls_im_input(s, i);
        bool fits = v && v->constant.ndim == ndim && !!v->constant.i == !!first->constant.i;
        for (size_t d = 0; fits && d < ndim; d++)
            fits = d == axis || v->constant.shape[d] == first->constant.shape[d];
        if (!fits)
            return ls_im_fail(s, LS_EFORMAT, "input %zu does not fit the first", i);
        variable += v->tensor != NULL;
        last = last && v->last;
    }
    if (ret)
        return ret;
    if (!variable)
        return concat_constants(s, axis);
    if (variable != s->node->n_input)
        return ls_im_fail(s, LS_EUNSUPPORTED,
                          "constants together with other values are not supported");
    const size_t at = !last ? axis : axis == 0 ? 0 : axis == 1 ? 3 : axis - 1;
    ls_tensor *t = last ? first->tensor : ls_im_plain(s, first);
    for (size_t i = 1; t && i < s->node->n_input; i++) {
        const ls_im_value *v = ls_im_input(s, i);
        ls_tensor *other = last ? v->tensor : ls_im_plain(s, v);
        t = other ? join(s, t, other, at) : NULL;
    }
    return ls_im_define_tensor(s, t, last);
}
