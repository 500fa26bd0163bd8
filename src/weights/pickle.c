#include "weights/pickle.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_VALUES ((size_t)1 << 23)
#define MAX_TEXT ((size_t)1 << 20)

struct ls_pickle {
    const uint8_t *data;
    size_t size, at, op_at;
    ls_pickle_value *all;
    size_t value_count;
    ls_pickle_value **stack, **memo;
    size_t depth, stack_capacity, memo_capacity;
    ls_error *err;
};

/* Storage classes and their types. */
static const struct {
    const char *name;
    ls_dtype dtype;
} storages[] = {
    {"torch FloatStorage", LS_F32},     {"torch HalfStorage", LS_F16},
    {"torch BFloat16Storage", LS_BF16}, {"torch DoubleStorage", LS_F64},
    {"torch LongStorage", LS_I64},      {"torch IntStorage", LS_I32},
    {"torch ShortStorage", LS_I16},     {"torch CharStorage", LS_I8},
    {"torch ByteStorage", LS_U8},       {"torch BoolStorage", LS_BOOL},
};

static const char *const globals[] = {"torch._utils _rebuild_tensor_v2",
                                      "torch._utils _rebuild_parameter",
                                      "collections OrderedDict",
                                      "torch Size",
                                      "torch device",
                                      "_codecs encode",
                                      "__builtin__ dict",
                                      "builtins dict"};

static int damaged(ls_pickle *p)
{
    return ls_fail(p->err, LS_EFORMAT, "the pickle is truncated or damaged at byte %zu", p->op_at);
}

static ls_pickle_value *new_value(ls_pickle *p, ls_pickle_kind kind)
{
    ls_pickle_value *v = p->value_count < MAX_VALUES ? ls_calloc_array(1, sizeof *v) : NULL;
    if (!v) {
        ls_fail(p->err, LS_ENOMEM, "the pickle holds too many objects");
        return NULL;
    }
    p->value_count++;
    v->kind = kind;
    v->next = p->all;
    p->all = v;
    return v;
}

static bool reserve(void *array, size_t *capacity, size_t count)
{
    if (count < *capacity)
        return true;
    size_t n = *capacity ? *capacity * 2 : 16, bytes;
    while (n <= count)
        n *= 2;
    void *grown = ls_mul_size(n, sizeof(void *), &bytes) ? realloc(*(void **)array, bytes) : NULL;
    if (!grown)
        return false;
    *(void **)array = grown;
    *capacity = n;
    return true;
}

static int append(ls_pickle *p, ls_pickle_value *list, ls_pickle_value *v)
{
    if (!reserve(&list->items, &list->capacity, list->count))
        return ls_fail(p->err, LS_ENOMEM, "out of memory for a pickle");
    list->items[list->count++] = v;
    return 0;
}

static int push(ls_pickle *p, ls_pickle_value *v)
{
    if (!v || p->depth >= MAX_VALUES || !reserve(&p->stack, &p->stack_capacity, p->depth))
        return ls_fail(p->err, LS_ENOMEM, "out of memory for a pickle");
    p->stack[p->depth++] = v;
    return 0;
}

/* NULL for an empty stack or a mark. */
static ls_pickle_value *pop(ls_pickle *p)
{
    if (!p->depth || p->stack[p->depth - 1]->kind == LS_PICKLE_MARK)
        return NULL;
    return p->stack[--p->depth];
}

static ls_pickle_value *top(ls_pickle *p, ls_pickle_kind kind)
{
    ls_pickle_value *v = p->depth ? p->stack[p->depth - 1] : NULL;
    return v && v->kind == kind ? v : NULL;
}

/* Index of what follows the newest mark; SIZE_MAX when there is none. */
static size_t find_mark(const ls_pickle *p)
{
    for (size_t i = p->depth; i-- > 0;)
        if (p->stack[i]->kind == LS_PICKLE_MARK)
            return i + 1;
    return SIZE_MAX;
}

static bool take(ls_pickle *p, size_t n, const uint8_t **bytes)
{
    if (n > p->size - p->at)
        return false;
    *bytes = p->data + p->at;
    p->at += n;
    return true;
}

/* A little-endian number of n bytes. */
static bool number(ls_pickle *p, size_t n, bool is_signed, int64_t *out)
{
    const uint8_t *b;
    if (n > 8 || !take(p, n, &b))
        return false;
    uint64_t v = 0;
    for (size_t i = n; i-- > 0;)
        v = v << 8 | b[i];
    if (is_signed && n && n < 8 && b[n - 1] & 0x80)
        v |= UINT64_MAX << 8 * n;
    *out = (int64_t)v;
    return true;
}

static int push_text(ls_pickle *p, ls_pickle_kind kind, const uint8_t *bytes, size_t n)
{
    ls_pickle_value *v = n <= MAX_TEXT ? new_value(p, kind) : NULL;
    if (!v)
        return damaged(p);
    v->text = malloc(n + 1);
    if (!v->text)
        return ls_fail(p->err, LS_ENOMEM, "out of memory for a pickle");
    memcpy(v->text, bytes, n);
    v->text[n] = 0;
    return push(p, v);
}

static int sized_text(ls_pickle *p, size_t length_bytes)
{
    int64_t n;
    const uint8_t *b;
    if (!number(p, length_bytes, false, &n) || n < 0 || !take(p, (size_t)n, &b))
        return damaged(p);
    return push_text(p, LS_PICKLE_TEXT, b, (size_t)n);
}

static int push_int(ls_pickle *p, ls_pickle_kind kind, bool ok, int64_t value)
{
    if (!ok)
        return damaged(p);
    ls_pickle_value *v = new_value(p, kind);
    if (v)
        v->integer = value;
    return push(p, v);
}

static int long_int(ls_pickle *p, size_t length_bytes)
{
    int64_t n, v = 0;
    const uint8_t *b;
    if (!number(p, length_bytes, false, &n) || n < 0)
        return damaged(p);
    if (n > 8) { // only the legacy magic number is that long: its low bytes tell
        if (!take(p, (size_t)n, &b))
            return damaged(p);
        memcpy(&v, b, 8);
        return push_int(p, LS_PICKLE_INT, true, v);
    }
    bool ok = number(p, (size_t)n, true, &v);
    return push_int(p, LS_PICKLE_INT, ok, v);
}

static int check_global(ls_pickle *p, const char *name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (!strcmp(name, globals[i]))
            return 0;
    for (size_t i = 0; i < sizeof storages / sizeof *storages; i++)
        if (!strcmp(name, storages[i].name))
            return 0;
    return ls_fail(p->err, LS_EUNSUPPORTED,
                   "the pickle refers to \"%.200s\" (byte %zu), which is not a tensor or container "
                   "of one; it is not loaded, for no code of a pickle is run",
                   name, p->op_at);
}

/* "module\nname\n" */
static int global(ls_pickle *p)
{
    char name[512];
    size_t n = 0;
    for (int lines = 0; lines < 2; p->at++) {
        if (p->at == p->size || n + 1 >= sizeof name)
            return damaged(p);
        bool end = p->data[p->at] == '\n';
        lines += end;
        name[n++] = end ? ' ' : (char)p->data[p->at];
    }
    name[n - 1] = 0;
    int ret = check_global(p, name);
    return ret ? ret : push_text(p, LS_PICKLE_GLOBAL, (const uint8_t *)name, n - 1);
}

static int stack_global(ls_pickle *p)
{
    char name[512];
    const ls_pickle_value *n = pop(p), *m = pop(p);
    if (!n || !m || n->kind != LS_PICKLE_TEXT || m->kind != LS_PICKLE_TEXT ||
        snprintf(name, sizeof name, "%s %s", m->text, n->text) >= (int)sizeof name)
        return damaged(p);
    int ret = check_global(p, name);
    return ret ? ret : push_text(p, LS_PICKLE_GLOBAL, (const uint8_t *)name, strlen(name));
}

static bool is_global(const ls_pickle_value *v, const char *name)
{
    return v && v->kind == LS_PICKLE_GLOBAL && !strcmp(v->text, name);
}

/* ("storage", class, key, location, numel[, view]); view None or (key, offset, numel). */
static int persistent(ls_pickle *p)
{
    const ls_pickle_value *t = pop(p), *view = NULL;
    if (!t || t->kind != LS_PICKLE_LIST || t->count < 5 || t->items[0]->kind != LS_PICKLE_TEXT ||
        strcmp(t->items[0]->text, "storage") || t->items[1]->kind != LS_PICKLE_GLOBAL ||
        t->items[2]->kind != LS_PICKLE_TEXT || t->items[4]->kind != LS_PICKLE_INT ||
        t->items[4]->integer < 0)
        return ls_fail(p->err, LS_EFORMAT, "an unknown persistent object at byte %zu", p->op_at);
    if (t->count > 5 && t->items[5]->kind == LS_PICKLE_LIST)
        view = t->items[5];
    size_t k = 0;
    while (k < sizeof storages / sizeof *storages && !is_global(t->items[1], storages[k].name))
        k++;
    if (k == sizeof storages / sizeof *storages)
        return ls_fail(p->err, LS_EUNSUPPORTED, "storages of %s are not supported",
                       t->items[1]->text);
    ls_pickle_value *s = new_value(p, LS_PICKLE_STORAGE);
    if (!s || !(s->text = strdup(t->items[2]->text)))
        return ls_fail(p->err, LS_ENOMEM, "out of memory for a pickle");
    s->dtype = storages[k].dtype;
    s->numel = (size_t)t->items[4]->integer;
    if (view &&
        (view->count < 3 || view->items[1]->kind != LS_PICKLE_INT || view->items[1]->integer < 0))
        return damaged(p);
    if (view)
        s->view_offset = (size_t)view->items[1]->integer;
    return push(p, s);
}

static bool sizes(const ls_pickle_value *list, size_t *out, size_t *count)
{
    if (list->kind != LS_PICKLE_LIST || list->count > LS_MAX_DIMS)
        return false;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i]->kind != LS_PICKLE_INT || list->items[i]->integer < 0)
            return false;
        out[i] = (size_t)list->items[i]->integer;
    }
    *count = list->count;
    return true;
}

/* (storage, offset, size, stride, requires_grad, hooks[, metadata]) */
static int rebuild_tensor(ls_pickle *p, const ls_pickle_value *args)
{
    ls_pickle_value *t = new_value(p, LS_PICKLE_TENSOR);
    size_t strides;
    if (!t)
        return LS_ENOMEM;
    if (args->count < 4 || args->items[0]->kind != LS_PICKLE_STORAGE ||
        args->items[1]->kind != LS_PICKLE_INT || args->items[1]->integer < 0 ||
        !sizes(args->items[2], t->shape, &t->ndim) ||
        !sizes(args->items[3], t->strides, &strides) || strides != t->ndim)
        return ls_fail(p->err, LS_EFORMAT,
                       "a tensor at byte %zu has more than %d dimensions or makes no sense",
                       p->op_at, LS_MAX_DIMS);
    t->storage = args->items[0];
    t->dtype = t->storage->dtype;
    t->integer = args->items[1]->integer;
    return push(p, t);
}

/* What calling one of the known globals would give. */
static int reduce(ls_pickle *p)
{
    ls_pickle_value *args = pop(p), *f = pop(p);
    if (!args || !f || args->kind != LS_PICKLE_LIST || f->kind != LS_PICKLE_GLOBAL)
        return damaged(p);
    if (is_global(f, "torch._utils _rebuild_tensor_v2"))
        return rebuild_tensor(p, args);
    if (is_global(f, "torch._utils _rebuild_parameter"))
        return args->count && args->items[0]->kind == LS_PICKLE_TENSOR ? push(p, args->items[0])
                                                                       : damaged(p);
    if (is_global(f, "torch Size"))
        return args->count == 1 && args->items[0]->kind == LS_PICKLE_LIST ? push(p, args->items[0])
                                                                          : damaged(p);
    if (is_global(f, "torch device") || is_global(f, "_codecs encode")) // bytes, in protocol 2
        return push(p, new_value(p, LS_PICKLE_NONE));
    if (!is_global(f, "collections OrderedDict") && !strstr(f->text, " dict"))
        return ls_fail(p->err, LS_EUNSUPPORTED, "the pickle calls \"%s\" at byte %zu", f->text,
                       p->op_at);
    ls_pickle_value *d = new_value(p, LS_PICKLE_DICT);
    const ls_pickle_value *pairs = args->count ? args->items[0] : NULL;
    if (!d || (pairs && pairs->kind != LS_PICKLE_LIST))
        return damaged(p);
    for (size_t i = 0; pairs && i < pairs->count; i++) {
        const ls_pickle_value *pair = pairs->items[i];
        if (pair->kind != LS_PICKLE_LIST || pair->count != 2 || append(p, d, pair->items[0]) ||
            append(p, d, pair->items[1]))
            return damaged(p);
    }
    return push(p, d);
}

/* Moves what follows the mark (or the last `n` values) into `into`, or into a new value. */
static int collect(ls_pickle *p, ls_pickle_kind kind, size_t n, bool existing)
{
    size_t first = n == SIZE_MAX ? find_mark(p) : p->depth >= n ? p->depth - n : SIZE_MAX;
    if (first == SIZE_MAX)
        return damaged(p);
    size_t end = n == SIZE_MAX ? first - 1 : first; // the mark goes too
    ls_pickle_value *into = NULL;
    if (existing)
        into = end && p->stack[end - 1]->kind == kind ? p->stack[end - 1] : NULL;
    else
        into = new_value(p, kind);
    if (!into || (kind == LS_PICKLE_DICT && (p->depth - first) % 2))
        return damaged(p);
    for (size_t i = first; i < p->depth; i++) {
        int ret = p->stack[i]->kind == LS_PICKLE_MARK ? damaged(p) : append(p, into, p->stack[i]);
        if (ret)
            return ret;
    }
    p->depth = end;
    return existing ? 0 : push(p, into);
}

static int remember(ls_pickle *p, bool ok, int64_t index)
{
    if (!ok || index < 0 || (size_t)index >= MAX_VALUES || !p->depth)
        return damaged(p);
    size_t had = p->memo_capacity;
    if (!reserve(&p->memo, &p->memo_capacity, (size_t)index))
        return ls_fail(p->err, LS_ENOMEM, "out of memory for a pickle");
    memset(p->memo + had, 0, (p->memo_capacity - had) * sizeof *p->memo);
    p->memo[index] = p->stack[p->depth - 1];
    return 0;
}

static int recall(ls_pickle *p, bool ok, int64_t index)
{
    if (!ok || index < 0 || (size_t)index >= p->memo_capacity || !p->memo[index])
        return damaged(p);
    return push(p, p->memo[index]);
}

static int push_float(ls_pickle *p)
{
    const uint8_t *b;
    uint64_t bits = 0;
    if (!take(p, 8, &b))
        return damaged(p);
    for (int i = 0; i < 8; i++)
        bits = bits << 8 | b[i];
    ls_pickle_value *v = new_value(p, LS_PICKLE_FLOAT);
    if (v)
        memcpy(&v->real, &bits, 8);
    return push(p, v);
}

static size_t memo_size(const ls_pickle *p)
{
    size_t n = p->memo_capacity;
    while (n && !p->memo[n - 1])
        n--;
    return n;
}

/* One opcode; *stop at the end of the pickle. */
static int step(ls_pickle *p, bool *stop)
{
    int64_t n = 0;
    bool ok;
    p->op_at = p->at;
    if (p->at == p->size)
        return damaged(p);
    uint8_t op = p->data[p->at++];
    switch (op) {
    case 0x80: // PROTO
        ok = number(p, 1, false, &n);
        return ok && n >= 2 && n <= 5 ? 0 : damaged(p);
    case 0x95: // FRAME
        return number(p, 8, false, &n) ? 0 : damaged(p);
    case '.': // STOP
        *stop = true;
        return 0;
    case '(': // MARK
        return push(p, new_value(p, LS_PICKLE_MARK));
    case '0': // POP
        return pop(p) ? 0 : damaged(p);
    case 'N': // NONE
        return push(p, new_value(p, LS_PICKLE_NONE));
    case 0x88: // NEWTRUE
    case 0x89: // NEWFALSE
        return push_int(p, LS_PICKLE_BOOL, true, op == 0x88);
    case 'J': // BININT
        ok = number(p, 4, true, &n);
        return push_int(p, LS_PICKLE_INT, ok, n);
    case 'K': // BININT1
        ok = number(p, 1, false, &n);
        return push_int(p, LS_PICKLE_INT, ok, n);
    case 'M': // BININT2
        ok = number(p, 2, false, &n);
        return push_int(p, LS_PICKLE_INT, ok, n);
    case 0x8a: // LONG1
        return long_int(p, 1);
    case 0x8b: // LONG4
        return long_int(p, 4);
    case 'G': // BINFLOAT
        return push_float(p);
    case 'X': // BINUNICODE
    case 'T': // BINSTRING
        return sized_text(p, 4);
    case 0x8c: // SHORT_BINUNICODE
    case 'U':  // SHORT_BINSTRING
        return sized_text(p, 1);
    case 0x8d: // BINUNICODE8
        return sized_text(p, 8);
    case 'c': // GLOBAL
        return global(p);
    case 0x93: // STACK_GLOBAL
        return stack_global(p);
    case '}': // EMPTY_DICT
        return push(p, new_value(p, LS_PICKLE_DICT));
    case ']': // EMPTY_LIST
    case ')': // EMPTY_TUPLE
        return push(p, new_value(p, LS_PICKLE_LIST));
    case 't': // TUPLE
    case 'l': // LIST
        return collect(p, LS_PICKLE_LIST, SIZE_MAX, false);
    case 0x85: // TUPLE1
    case 0x86: // TUPLE2
    case 0x87: // TUPLE3
        return collect(p, LS_PICKLE_LIST, op - 0x84u, false);
    case 'd': // DICT
        return collect(p, LS_PICKLE_DICT, SIZE_MAX, false);
    case 'a': // APPEND
        return collect(p, LS_PICKLE_LIST, 1, true);
    case 'e': // APPENDS
        return collect(p, LS_PICKLE_LIST, SIZE_MAX, true);
    case 's': // SETITEM
        return collect(p, LS_PICKLE_DICT, 2, true);
    case 'u': // SETITEMS
        return collect(p, LS_PICKLE_DICT, SIZE_MAX, true);
    case 'q': // BINPUT
        ok = number(p, 1, false, &n);
        return remember(p, ok, n);
    case 'r': // LONG_BINPUT
        ok = number(p, 4, false, &n);
        return remember(p, ok, n);
    case 0x94: // MEMOIZE
        return remember(p, true, (int64_t)memo_size(p));
    case 'h': // BINGET
        ok = number(p, 1, false, &n);
        return recall(p, ok, n);
    case 'j': // LONG_BINGET
        ok = number(p, 4, false, &n);
        return recall(p, ok, n);
    case 'Q': // BINPERSID
        return persistent(p);
    case 'R': // REDUCE
        return reduce(p);
    case 'b': // BUILD: attributes of an OrderedDict, such as _metadata
        return pop(p) && top(p, LS_PICKLE_DICT) ? 0 : damaged(p);
    default:
        return ls_fail(p->err, LS_EUNSUPPORTED,
                       "the pickle uses opcode 0x%02x at byte %zu, which torch.save does not write",
                       op, p->op_at);
    }
}

int ls_pickle_read(ls_pickle **out, const uint8_t *data, size_t size, size_t *at, ls_error *err)
{
    ls_pickle *p = *out = ls_calloc_array(1, sizeof *p);
    if (!p)
        return ls_fail(err, LS_ENOMEM, "out of memory for a pickle");
    ls_error own = {0};
    p->data = data;
    p->size = size;
    p->at = *at;
    p->err = err ? err : &own;
    bool stop = false;
    int ret = 0;
    while (!ret && !stop)
        ret = step(p, &stop);
    if (!ret && (p->depth != 1 || p->stack[0]->kind == LS_PICKLE_MARK))
        ret = damaged(p);
    *at = p->at;
    p->err = NULL;
    if (ret)
        ls_pickle_free(out);
    return ret;
}

void ls_pickle_free(ls_pickle **pp)
{
    ls_pickle *p = *pp;
    if (!p)
        return;
    for (ls_pickle_value *v = p->all, *next; v; v = next) {
        next = v->next;
        free(v->text);
        free(v->items);
        free(v);
    }
    free(p->stack);
    free(p->memo);
    free(p);
    *pp = NULL;
}

const ls_pickle_value *ls_pickle_root(const ls_pickle *p)
{
    return p->stack[0];
}

const ls_pickle_value *ls_pickle_find_storage(const ls_pickle *p, const char *key)
{
    const ls_pickle_value *v = p->all;
    while (v && (v->kind != LS_PICKLE_STORAGE || strcmp(v->text, key)))
        v = v->next;
    return v;
}
