#include "weights/pickle.h"
#include "base/alloc.h"

#include <stdlib.h>

#define CHUNK ((size_t)64 << 10)
#define MAX_MEMORY ((size_t)256 << 20)

typedef struct chunk {
    struct chunk *next;
    _Alignas(16) uint8_t bytes[];
} chunk;

struct ls_pickle {
    chunk *chunks;
    size_t used, size, total; // of the newest chunk; of all
    ls_storage *storages;
};

typedef enum global_kind {
    STORAGE_TYPE,
    ORDERED_DICT,
    REBUILD_TENSOR,
    REBUILD_PARAMETER,
    TORCH_SIZE,
    TORCH_DEVICE,
    TORCH_DTYPE,
    ENCODE,
} global_kind;

struct ls_global {
    const char *module, *name;
    global_kind kind;
    ls_dtype dtype;
};

static const struct ls_global globals[] = {
    {"collections", "OrderedDict", ORDERED_DICT, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor", REBUILD_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", REBUILD_PARAMETER, 0},
    {"torch", "FloatStorage", STORAGE_TYPE, LS_F32},
    {"torch", "HalfStorage", STORAGE_TYPE, LS_F16},
    {"torch", "BFloat16Storage", STORAGE_TYPE, LS_BF16},
    {"torch", "DoubleStorage", STORAGE_TYPE, LS_F64},
    {"torch", "LongStorage", STORAGE_TYPE, LS_I64},
    {"torch", "IntStorage", STORAGE_TYPE, LS_I32},
    {"torch", "ShortStorage", STORAGE_TYPE, LS_I16},
    {"torch", "CharStorage", STORAGE_TYPE, LS_I8},
    {"torch", "ByteStorage", STORAGE_TYPE, LS_U8},
    {"torch", "BoolStorage", STORAGE_TYPE, LS_BOOL},
    {"_codecs", "encode", ENCODE, 0}, // bytes, before protocol 3
    {"torch", "Size", TORCH_SIZE, 0},
    {"torch", "device", TORCH_DEVICE, 0},
    {"torch", "float32", TORCH_DTYPE, LS_F32},
    {"torch", "float16", TORCH_DTYPE, LS_F16},
    {"torch", "bfloat16", TORCH_DTYPE, LS_BF16},
    {"torch", "float64", TORCH_DTYPE, LS_F64},
    {"torch", "int64", TORCH_DTYPE, LS_I64},
    {"torch", "int32", TORCH_DTYPE, LS_I32},
    {"torch", "int16", TORCH_DTYPE, LS_I16},
    {"torch", "int8", TORCH_DTYPE, LS_I8},
    {"torch", "uint8", TORCH_DTYPE, LS_U8},
    {"torch", "bool", TORCH_DTYPE, LS_BOOL},
};

ls_pickle *ls_pickle_new(void)
{
    return ls_calloc_array(1, sizeof(ls_pickle));
}

void ls_pickle_close(ls_pickle **pp)
{
    ls_pickle *p = *pp;
    if (!p)
        return;
    for (chunk *c = p->chunks, *next; c; c = next) {
        next = c->next;
        free(c);
    }
    free(p);
    *pp = NULL;
}

ls_storage *ls_pickle_storages(const ls_pickle *p)
{
    return p->storages;
}

/* Zeroed; NULL beyond MAX_MEMORY or when out of memory. */
static void *take(ls_pickle *p, size_t bytes)
{
    bytes = (bytes + 15) & ~(size_t)15;
    if (bytes > p->size - p->used) {
        size_t size = bytes > CHUNK ? bytes : CHUNK;
        if (size > MAX_MEMORY - p->total)
            return NULL;
        chunk *c = calloc(1, sizeof *c + size);
        if (!c)
            return NULL;
        c->next = p->chunks;
        p->chunks = c;
        p->used = 0;
        p->size = size;
        p->total += size;
    }
    void *out = p->chunks->bytes + p->used;
    p->used += bytes;
    return out;
}

/* A stack or table of values that grows inside the arena. */
typedef struct list {
    ls_value **items;
    size_t n, capacity;
} list;

typedef struct machine {
    ls_pickle *p;
    const uint8_t *data;
    size_t size, pos, at; // `at`: the opcode being run
    list stack, memo;
    ls_error *err;
} machine;

static int bad(const machine *m, const char *what)
{
    return ls_fail(m->err, LS_EFORMAT, "pickle: %s at byte %zu", what, m->at);
}

static int no_memory(const machine *m)
{
    return ls_fail(m->err, LS_ENOMEM,
                   "pickle: out of memory, or needs more than %zu MB, at byte %zu",
                   MAX_MEMORY >> 20, m->at);
}

/* Makes room for `n` items. */
static bool reserve(machine *m, ls_value ***items, size_t *capacity, size_t have, size_t n)
{
    if (n <= *capacity)
        return true;
    size_t want = *capacity ? 2 * *capacity : 8;
    while (want < n)
        want *= 2;
    ls_value **p = take(m->p, want * sizeof *p);
    if (!p)
        return false;
    if (have)
        memcpy(p, *items, have * sizeof *p);
    *items = p;
    *capacity = want;
    return true;
}

static ls_value *new_value(machine *m, ls_value_kind kind)
{
    ls_value *v = take(m->p, sizeof *v);
    if (v)
        v->kind = kind;
    return v;
}

static int push(machine *m, ls_value *v)
{
    list *s = &m->stack;
    if (!v || !reserve(m, &s->items, &s->capacity, s->n, s->n + 1))
        return no_memory(m);
    s->items[s->n++] = v;
    return 0;
}

static int push_int(machine *m, ls_value_kind kind, int64_t i)
{
    ls_value *v = new_value(m, kind);
    if (v)
        v->integer = i;
    return push(m, v);
}

/* The value on top, or NULL if that is a mark or the stack is empty. */
static ls_value *top(const machine *m)
{
    ls_value *v = m->stack.n ? m->stack.items[m->stack.n - 1] : NULL;
    return v && v->kind != LS_VALUE_MARK ? v : NULL;
}

static ls_value *pop(machine *m)
{
    ls_value *v = top(m);
    m->stack.n -= v != NULL;
    return v;
}

/* Pops everything above the topmost mark, and the mark; *items stays valid until the next push. */
static bool pop_mark(machine *m, ls_value ***items, size_t *n)
{
    size_t i = m->stack.n;
    while (i && m->stack.items[i - 1]->kind != LS_VALUE_MARK)
        i--;
    if (!i)
        return false;
    *items = m->stack.items + i;
    *n = m->stack.n - i;
    m->stack.n = i - 1;
    return true;
}

/* Appends to a sequence; `items` is not part of its storage. */
static int extend(machine *m, ls_value *seq, ls_value *const *items, size_t n)
{
    if (!reserve(m, &seq->seq.items, &seq->seq.capacity, seq->seq.n, seq->seq.n + n))
        return no_memory(m);
    if (n)
        memcpy(seq->seq.items + seq->seq.n, items, n * sizeof *items);
    seq->seq.n += n;
    return 0;
}

static int push_tuple(machine *m, ls_value *const *items, size_t n)
{
    ls_value *v = new_value(m, LS_VALUE_TUPLE);
    if (!v)
        return no_memory(m);
    int ret = extend(m, v, items, n);
    return ret ? ret : push(m, v);
}

/* The next `n` bytes, or NULL past the end. */
static const uint8_t *bytes(machine *m, size_t n)
{
    if (n > m->size - m->pos)
        return NULL;
    m->pos += n;
    return m->data + m->pos - n;
}

/* The next `n` <= 8 bytes as a little-endian number. */
static bool number(machine *m, size_t n, uint64_t *out)
{
    const uint8_t *b = bytes(m, n);
    *out = 0;
    for (size_t i = n; b && i--;)
        *out = *out << 8 | b[i];
    return b;
}

/* A length of `width` bytes and that many bytes. */
static int push_text(machine *m, ls_value_kind kind, size_t width)
{
    uint64_t n;
    const uint8_t *b = number(m, width, &n) && n <= SIZE_MAX ? bytes(m, (size_t)n) : NULL;
    if (!b)
        return bad(m, "a string runs past the end");
    ls_value *v = new_value(m, kind);
    if (v)
        v->text = (ls_text){(const char *)b, (size_t)n};
    return push(m, v);
}

static int push_long(machine *m)
{
    int ret = push_text(m, LS_VALUE_LONG, 1);
    ls_value *v = top(m);
    if (ret || v->text.n > 8)
        return ret;
    uint64_t u = 0;
    const uint8_t *b = (const uint8_t *)v->text.s;
    size_t n = v->text.n;
    for (size_t i = 0; i < n; i++)
        u |= (uint64_t)b[i] << 8 * i;
    if (n && n < 8 && b[n - 1] & 0x80)
        u |= UINT64_MAX << 8 * n;
    v->kind = LS_VALUE_INT;
    v->integer = (int64_t)u;
    return 0;
}

static int push_float(machine *m)
{
    const uint8_t *b = bytes(m, 8);
    if (!b)
        return bad(m, "a float runs past the end");
    uint64_t u = 0;
    for (size_t i = 0; i < 8; i++)
        u = u << 8 | b[i];
    ls_value *v = new_value(m, LS_VALUE_FLOAT);
    if (v)
        memcpy(&v->real, &u, 8);
    return push(m, v);
}

static bool text_is(ls_text t, const char *s)
{
    return t.n == strlen(s) && !memcmp(t.s, s, t.n);
}

static int push_global(machine *m, ls_text module, ls_text name)
{
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++)
        if (text_is(module, globals[i].module) && text_is(name, globals[i].name)) {
            ls_value *v = new_value(m, LS_VALUE_GLOBAL);
            if (v)
                v->global = &globals[i];
            return push(m, v);
        }
    return ls_fail(m->err, LS_EUNSUPPORTED,
                   "pickle: %.*s.%.*s at byte %zu is refused: only tensors of real numbers, "
                   "containers, numbers and strings are read, and no code is run",
                   (int)(module.n < 200 ? module.n : 200), module.s,
                   (int)(name.n < 200 ? name.n : 200), name.s, m->at);
}

/* "module\nname\n" */
static int op_global(machine *m)
{
    ls_text part[2];
    for (size_t i = 0; i < 2; i++) {
        const uint8_t *s = m->data + m->pos, *end = memchr(s, '\n', m->size - m->pos);
        if (!end)
            return bad(m, "a name runs past the end");
        part[i] = (ls_text){(const char *)s, (size_t)(end - s)};
        m->pos += part[i].n + 1;
    }
    return push_global(m, part[0], part[1]);
}

static bool to_size(const ls_value *v, size_t *out)
{
    if (v->kind != LS_VALUE_INT || v->integer < 0)
        return false;
    *out = (size_t)v->integer;
    return true;
}

/* ("storage", type, key, device, numel[, None or (view key, offset, numel)]) */
static int op_persid(machine *m)
{
    const ls_value *v = pop(m);
    if (!v || v->kind != LS_VALUE_TUPLE || v->seq.n < 5 || v->seq.n > 6)
        return bad(m, "a reference that is not to a storage");
    ls_value **a = v->seq.items;
    ls_storage s = {.next = m->p->storages};
    if (a[0]->kind != LS_VALUE_TEXT || !text_is(a[0]->text, "storage") ||
        a[1]->kind != LS_VALUE_GLOBAL || a[1]->global->kind != STORAGE_TYPE ||
        a[2]->kind != LS_VALUE_TEXT || !to_size(a[4], &s.numel))
        return bad(m, "a malformed reference to a storage");
    s.key = a[2]->text;
    s.dtype = a[1]->global->dtype;
    s.view_numel = s.numel;
    const ls_value *view = v->seq.n == 6 ? a[5] : NULL;
    if (view && view->kind != LS_VALUE_NONE &&
        (view->kind != LS_VALUE_TUPLE || view->seq.n != 3 ||
         !to_size(view->seq.items[1], &s.view) || !to_size(view->seq.items[2], &s.view_numel) ||
         s.view > s.numel || s.view_numel > s.numel - s.view))
        return bad(m, "a malformed view of a storage");
    ls_value *out = new_value(m, LS_VALUE_STORAGE);
    if (!out || !(out->storage = take(m->p, sizeof s)))
        return no_memory(m);
    *out->storage = s;
    m->p->storages = out->storage;
    return push(m, out);
}

/* (storage, offset, size, stride[, requires_grad, hooks[, metadata]]) */
static int rebuild_tensor(machine *m, const ls_value *args)
{
    ls_value **a = args->seq.items;
    size_t n = args->seq.n;
    if (n < 4 || n > 7 || a[0]->kind != LS_VALUE_STORAGE || a[2]->kind != LS_VALUE_TUPLE ||
        a[3]->kind != LS_VALUE_TUPLE || a[2]->seq.n != a[3]->seq.n)
        return bad(m, "a malformed tensor");
    if (n == 7 && a[6]->kind != LS_VALUE_NONE && !(a[6]->kind == LS_VALUE_DICT && !a[6]->seq.n))
        return ls_fail(m->err, LS_EUNSUPPORTED,
                       "pickle: a tensor with a conjugate or negative bit at byte %zu", m->at);
    ls_view t = {.storage = a[0]->storage, .ndim = a[2]->seq.n};
    if (t.ndim > LS_MAX_DIMS)
        return ls_fail(m->err, LS_EUNSUPPORTED,
                       "pickle: a tensor of %zu dimensions at byte %zu, at most %d are supported",
                       t.ndim, m->at, LS_MAX_DIMS);
    bool ok = to_size(a[1], &t.offset);
    for (size_t i = 0; i < t.ndim && ok; i++)
        ok = to_size(a[2]->seq.items[i], &t.shape[i]) && to_size(a[3]->seq.items[i], &t.stride[i]);
    if (!ok)
        return bad(m, "a tensor with an invalid offset, size or stride");
    ls_value *v = new_value(m, LS_VALUE_TENSOR);
    if (!v || !(v->tensor = take(m->p, sizeof t)))
        return no_memory(m);
    *v->tensor = t;
    return push(m, v);
}

static int op_reduce(machine *m)
{
    const ls_value *args = pop(m), *f = args ? pop(m) : NULL;
    if (!f || f->kind != LS_VALUE_GLOBAL || args->kind != LS_VALUE_TUPLE)
        return bad(m, "a call of an unknown global");
    ls_value **a = args->seq.items;
    size_t n = args->seq.n;
    switch (f->global->kind) {
    case ORDERED_DICT:
        return n ? bad(m, "an OrderedDict with arguments") : push(m, new_value(m, LS_VALUE_DICT));
    case REBUILD_TENSOR:
        return rebuild_tensor(m, args);
    case REBUILD_PARAMETER:
        return n < 1 || n > 3 || a[0]->kind != LS_VALUE_TENSOR ? bad(m, "a malformed parameter")
                                                               : push(m, a[0]);
    case TORCH_SIZE:
        return n != 1 || a[0]->kind != LS_VALUE_TUPLE ? bad(m, "a malformed size") : push(m, a[0]);
    case TORCH_DEVICE:
    case ENCODE:
        return push(m, new_value(m, LS_VALUE_OTHER));
    case STORAGE_TYPE:
    case TORCH_DTYPE:
        break;
    }
    return ls_fail(m->err, LS_EUNSUPPORTED, "pickle: a call of %s.%s at byte %zu is refused",
                   f->global->module, f->global->name, m->at);
}

/* Attributes of an object: an OrderedDict's carry module versions, which are not used. */
static int op_build(machine *m)
{
    const ls_value *state = pop(m), *v = top(m);
    if (!state || !v || v->kind != LS_VALUE_DICT)
        return bad(m, "attributes of an object that is not a dictionary");
    return 0;
}

/* Every put takes two bytes or more, or follows one, so the table is bounded by the pickle. */
static int put(machine *m, uint64_t i)
{
    ls_value *v = top(m);
    if (!v || i >= m->size)
        return bad(m, "an invalid memo");
    if (!reserve(m, &m->memo.items, &m->memo.capacity, m->memo.n, (size_t)i + 1))
        return no_memory(m);
    m->memo.items[i] = v;
    if (i >= m->memo.n)
        m->memo.n = (size_t)i + 1;
    return 0;
}

static int get(machine *m, uint64_t i)
{
    if (i >= m->memo.n || !m->memo.items[i])
        return bad(m, "a memo that was never set");
    return push(m, m->memo.items[i]);
}

static int op_container(machine *m, int op)
{
    ls_value **items, *one[2];
    size_t n = op == 's' ? 2 : 1;
    ls_value_kind want = op == 'a' || op == 'e' ? LS_VALUE_LIST : LS_VALUE_DICT;
    if (op == 'a' || op == 's') {
        for (size_t i = n; i--;)
            if (!(one[i] = pop(m)))
                return bad(m, "an item is missing");
        items = one;
    } else if (!pop_mark(m, &items, &n)) {
        return bad(m, "no mark");
    }
    ls_value *seq = top(m);
    if (!seq || seq->kind != want || (want == LS_VALUE_DICT && n % 2))
        return bad(m, "items for something that is not a list or dictionary");
    return extend(m, seq, items, n);
}

static int op_tuple(machine *m, int op)
{
    ls_value **items, *some[3];
    size_t n = op == ')' ? 0 : (size_t)(op - 0x84);
    if (op == 't') {
        if (!pop_mark(m, &items, &n))
            return bad(m, "no mark");
        return push_tuple(m, items, n);
    }
    for (size_t i = n; i--;)
        if (!(some[i] = pop(m)))
            return bad(m, "an item is missing");
    return push_tuple(m, some, n);
}

static int op_int(machine *m, size_t width)
{
    uint64_t u;
    if (!number(m, width, &u))
        return bad(m, "an integer runs past the end");
    return push_int(m, LS_VALUE_INT, width == 4 ? (int32_t)(uint32_t)u : (int64_t)u);
}

static int op_memo(machine *m, int op)
{
    uint64_t i;
    if (op == 0x94) // MEMOIZE
        return put(m, m->memo.n);
    if (!number(m, op == 'q' || op == 'h' ? 1 : 4, &i))
        return bad(m, "a memo number runs past the end");
    return op == 'q' || op == 'r' ? put(m, i) : get(m, i);
}

static int op_stack_global(machine *m)
{
    const ls_value *name = pop(m), *module = pop(m);
    if (!name || !module || name->kind != LS_VALUE_TEXT || module->kind != LS_VALUE_TEXT)
        return bad(m, "a global without a name");
    return push_global(m, module->text, name->text);
}

static int run(machine *m, int op)
{
    uint64_t u;
    ls_value **items;
    size_t n;
    switch (op) {
    case 0x80: // PROTO
        if (!number(m, 1, &u) || u < 2 || u > 5)
            return bad(m, "a protocol other than 2 to 5");
        return 0;
    case 0x95: // FRAME
        return number(m, 8, &u) ? 0 : bad(m, "a frame runs past the end");
    case '(': // MARK
        return push(m, new_value(m, LS_VALUE_MARK));
    case '0': // POP
        if (m->stack.n)
            m->stack.n--;
        return 0;
    case '1': // POP_MARK
        return pop_mark(m, &items, &n) ? 0 : bad(m, "no mark");
    case 'N': // NONE
        return push(m, new_value(m, LS_VALUE_NONE));
    case 0x88: // NEWTRUE, NEWFALSE
    case 0x89:
        return push_int(m, LS_VALUE_BOOL, op == 0x88);
    case 'J': // BININT, BININT1, BININT2
        return op_int(m, 4);
    case 'K':
        return op_int(m, 1);
    case 'M':
        return op_int(m, 2);
    case 0x8a: // LONG1
        return push_long(m);
    case 'G': // BINFLOAT
        return push_float(m);
    case 0x8c: // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
        return push_text(m, LS_VALUE_TEXT, 1);
    case 'X':
        return push_text(m, LS_VALUE_TEXT, 4);
    case 0x8d:
        return push_text(m, LS_VALUE_TEXT, 8);
    case 'U': // SHORT_BINSTRING, BINSTRING: Python 2's strings
        return push_text(m, LS_VALUE_TEXT, 1);
    case 'T':
        return push_text(m, LS_VALUE_TEXT, 4);
    case 'C': // SHORT_BINBYTES, BINBYTES
        return push_text(m, LS_VALUE_BYTES, 1);
    case 'B':
        return push_text(m, LS_VALUE_BYTES, 4);
    case ']': // EMPTY_LIST, EMPTY_DICT
        return push(m, new_value(m, LS_VALUE_LIST));
    case '}':
        return push(m, new_value(m, LS_VALUE_DICT));
    case ')': // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
    case 0x85:
    case 0x86:
    case 0x87:
    case 't':
        return op_tuple(m, op);
    case 'a': // APPEND, APPENDS, SETITEM, SETITEMS
    case 'e':
    case 's':
    case 'u':
        return op_container(m, op);
    case 'q': // BINPUT, LONG_BINPUT, MEMOIZE, BINGET, LONG_BINGET
    case 'r':
    case 0x94:
    case 'h':
    case 'j':
        return op_memo(m, op);
    case 'c': // GLOBAL
        return op_global(m);
    case 0x93:
        return op_stack_global(m);
    case 'Q': // BINPERSID
        return op_persid(m);
    case 'R': // REDUCE
        return op_reduce(m);
    case 'b': // BUILD
        return op_build(m);
    }
    return ls_fail(m->err, LS_EUNSUPPORTED, "pickle: opcode 0x%02x at byte %zu is refused", op,
                   m->at);
}

int ls_pickle_load(ls_pickle *p, const uint8_t *data, size_t size, const ls_value **out,
                   size_t *used, ls_error *err)
{
    machine m = {.p = p, .data = data, .size = size, .err = err};
    if (!size || data[0] != 0x80)
        return bad(&m, "no protocol 2 to 5");
    while (m.pos < size) {
        m.at = m.pos;
        int op = data[m.pos++];
        if (op == '.') { // STOP
            if (m.stack.n != 1 || !(*out = top(&m)))
                return bad(&m, "not exactly one value is left");
            *used = m.pos;
            return 0;
        }
        int ret = run(&m, op);
        if (ret)
            return ret;
    }
    return ls_fail(err, LS_EFORMAT, "pickle: its %zu bytes end without a stop: truncated", size);
}
