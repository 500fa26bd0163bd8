#include "weights/torch.h"
#include "base/alloc.h"

#include <inttypes.h>

#define MAX_DEPTH 64
#define MAX_STEPS ((size_t)1 << 18) // values may share parts: a small file can expand without end
#define MAX_PATH 512

typedef struct walk {
    ls_weights *w;
    ls_locate_fn locate;
    void *opaque;
    size_t steps, length; // of the path
    char path[MAX_PATH + 1];
    ls_error *err;
} walk;

/* The path without a leading level that only says "here are the tensors". */
static const char *name_of(const walk *k)
{
    static const char *const levels[] = {"state_dict.", "model_state_dict."};
    for (size_t i = 0; i < 2; i++)
        if (!strncmp(k->path, levels[i], strlen(levels[i])))
            return k->path + strlen(levels[i]);
    return k->path;
}

/* The last element that the view reaches lies inside its storage. */
static bool view_fits(const ls_view *t, size_t numel)
{
    size_t end = t->offset, step;
    for (size_t i = 0; i < t->ndim; i++) {
        if (!t->shape[i])
            return true;
        if (!ls_mul_size(t->shape[i] - 1, t->stride[i], &step) || !ls_add_size(end, step, &end))
            return false;
    }
    return end < numel;
}

static int add_tensor(walk *k, const ls_view *t)
{
    const char *name = k->length ? name_of(k) : "tensor";
    ls_storage *s = t->storage;
    ls_weight_entry e = {.info = {.dtype = s->dtype, .ndim = t->ndim}};
    memcpy(e.info.shape, t->shape, sizeof t->shape);
    memcpy(e.stride, t->stride, sizeof t->stride);
    if (!view_fits(t, s->view_numel)) {
        char text[200];
        return ls_fail(
            k->err, LS_EFORMAT,
            "tensor %s: %s from element %zu of storage %.*s reaches outside its %zu elements", name,
            ls_shape_text(text, sizeof text, t->shape, t->ndim), t->offset,
            (int)(s->key.n < 100 ? s->key.n : 100), s->key.s, s->view_numel);
    }
    int ret = ls_weights_add(k->w, &e, name, strlen(name), k->err);
    if (ret)
        return ret;
    ls_weight_entry *added = &k->w->entries[k->w->count - 1];
    if (!added->info.count)
        return 0;
    if ((ret = k->locate(k->opaque, s, k->err)))
        return ls_fail_context(k->err, ret, "tensor %s", name);
    added->offset = s->offset + (s->view + t->offset) * ls_dtype_size(s->dtype);
    return 0;
}

/* Strings that are not UTF-8 are left out; the last of two equal paths wins, as in Python. */
static int add_meta(walk *k, json_t *v)
{
    if (v && k->length && json_object_set(k->w->meta, name_of(k), v)) {
        json_decref(v);
        return ls_fail(k->err, LS_EFORMAT,
                       "the name of a number or string is not UTF-8, or out of memory");
    }
    json_decref(v);
    return 0;
}

/* Appends a level to the path. */
static int enter(walk *k, const char *s, size_t n)
{
    size_t at = k->length + (k->length > 0);
    if (!n || at + n > MAX_PATH || memchr(s, 0, n))
        return ls_fail(k->err, LS_EFORMAT,
                       "a name below \"%.*s\" is empty, contains a zero byte or makes a path "
                       "longer than %d bytes",
                       (int)k->length, k->path, MAX_PATH);
    if (k->length)
        k->path[k->length] = '.';
    memcpy(k->path + at, s, n);
    k->length = at + n;
    k->path[k->length] = 0;
    return 0;
}

static int enter_key(walk *k, const ls_value *key)
{
    if (key->kind == LS_VALUE_TEXT)
        return enter(k, key->text.s, key->text.n);
    if (key->kind != LS_VALUE_INT && key->kind != LS_VALUE_BOOL)
        return ls_fail(k->err, LS_EUNSUPPORTED,
                       "below \"%s\": a dictionary key that is neither text nor integer", k->path);
    char text[24];
    return enter(k, text, (size_t)snprintf(text, sizeof text, "%" PRId64, key->integer));
}

static int visit(walk *k, const ls_value *v, int depth);

static int visit_sequence(walk *k, const ls_value *v, int depth)
{
    size_t length = k->length, width = v->kind == LS_VALUE_DICT ? 2 : 1;
    for (size_t i = 0; i < v->seq.n; i += width) {
        ls_value index = {.kind = LS_VALUE_INT, .integer = (int64_t)i};
        int ret = enter_key(k, width == 2 ? v->seq.items[i] : &index);
        if (ret || (ret = visit(k, v->seq.items[i + width - 1], depth + 1)))
            return ret;
        k->length = length;
        k->path[length] = 0;
    }
    return 0;
}

static int visit(walk *k, const ls_value *v, int depth)
{
    if (depth > MAX_DEPTH || k->steps++ > MAX_STEPS)
        return ls_fail(k->err, LS_EFORMAT,
                       "below \"%.100s\": nested deeper than %d levels, or more than %zu values",
                       k->path, MAX_DEPTH, MAX_STEPS);
    switch (v->kind) {
    case LS_VALUE_TENSOR:
        return add_tensor(k, v->tensor);
    case LS_VALUE_TUPLE:
    case LS_VALUE_LIST:
    case LS_VALUE_DICT:
        return visit_sequence(k, v, depth);
    case LS_VALUE_BOOL:
    case LS_VALUE_INT:
        return add_meta(k, json_integer(v->integer));
    case LS_VALUE_FLOAT:
        return add_meta(k, json_real(v->real)); // NULL for infinities and NaN
    case LS_VALUE_TEXT:
        return add_meta(k, json_stringn(v->text.s, v->text.n));
    case LS_VALUE_STORAGE:
        return ls_fail(k->err, LS_EUNSUPPORTED,
                       "\"%s\" is a bare storage, without the shape of a tensor", k->path);
    case LS_VALUE_NONE:
    case LS_VALUE_LONG:
    case LS_VALUE_BYTES:
    case LS_VALUE_GLOBAL:
    case LS_VALUE_OTHER:
    case LS_VALUE_MARK:
        break;
    }
    return 0;
}

int ls_torch_collect(ls_weights *w, const ls_value *top, ls_locate_fn locate, void *opaque,
                     ls_error *err)
{
    walk k = {.w = w, .locate = locate, .opaque = opaque, .err = err};
    return visit(&k, top, 0);
}
