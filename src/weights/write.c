#include "weights/internal.h"
#include "base/alloc.h"
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

/* Tensors as written: one buffer, large enough for the largest. */
typedef struct tensors {
    ls_weights *w;
    ls_dtype dtype;
    uint8_t *buf;
} tensors;

static bool is_float(ls_dtype t)
{
    return t == LS_F32 || t == LS_F16 || t == LS_BF16 || t == LS_F64;
}

/* Integers and booleans keep their type. */
static ls_dtype out_dtype(const tensors *t, const ls_weight_info *info)
{
    return is_float(info->dtype) ? t->dtype : info->dtype;
}

static size_t out_bytes(const tensors *t, const ls_weight_info *info)
{
    return info->count * ls_dtype_size(out_dtype(t, info));
}

static int tensors_open(tensors *t, ls_weights *w, ls_dtype dtype, ls_error *err)
{
    size_t most = 1;
    *t = (tensors){.w = w, .dtype = dtype};
    if (dtype != LS_F32 && dtype != LS_F16 && dtype != LS_BF16)
        return ls_fail(err, LS_EINVAL,
                       "weights can only be written as float32, float16 or bfloat16");
    for (size_t i = 0; i < ls_weights_count(w); i++) {
        const ls_weight_info *info = ls_weights_at(w, i);
        size_t n = info->count * (is_float(info->dtype) ? 4 : ls_dtype_size(info->dtype));
        most = n > most ? n : most;
    }
    if (!(t->buf = malloc(most)))
        return ls_fail(err, LS_ENOMEM, "out of memory for a tensor of %zu bytes", most);
    return 0;
}

/* float32 to a 16-bit type, in place. */
static void narrow(uint8_t *buf, ls_dtype t, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float f;
        memcpy(&f, buf + 4 * i, 4);
        uint16_t v = t == LS_F16 ? ls_f32_to_f16(f) : ls_f32_to_bf16(f);
        memcpy(buf + 2 * i, &v, 2);
    }
}

static int tensors_load(tensors *t, const ls_weight_info *info, ls_error *err)
{
    ls_dtype to = out_dtype(t, info);
    if (info->dtype == to)
        return ls_weights_read(t->w, info, t->buf, err);
    int ret = ls_weights_read_f32(t->w, info, (float *)(void *)t->buf, err);
    if (!ret && to != LS_F32)
        narrow(t->buf, to, info->count);
    return ret;
}

/* safetensors: text only; numbers in decimal. */
static json_t *text_meta(json_t *meta)
{
    json_t *out = json_object(), *v;
    const char *key;
    json_object_foreach(meta, key, v)
    {
        char text[40];
        const char *s = json_is_string(v) ? json_string_value(v) : text;
        if (json_is_integer(v))
            snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
        else if (json_is_real(v))
            snprintf(text, sizeof text, "%.17g", json_real_value(v));
        json_object_set_new(out, key, json_string(s));
    }
    return out;
}

static json_t *json_sizes(const size_t *v, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++)
        json_array_append_new(a, json_integer((json_int_t)v[i]));
    return a;
}

/* Writes the length field and the header; `order` is that of the data. */
static int write_header(const ls_output_file *o, const tensors *t, const size_t *order,
                        ls_error *err)
{
    json_t *header = json_object();
    if (json_object_size(t->w->meta))
        json_object_set_new(header, "__metadata__", text_meta(t->w->meta));
    size_t pos = 0, count = ls_weights_count(t->w);
    for (size_t i = 0; i < count; i++) {
        const ls_weight_info *info = ls_weights_at(t->w, order[i]);
        size_t range[2] = {pos, pos + out_bytes(t, info)};
        json_object_set_new(
            header, info->name,
            json_pack("{s:s, s:o, s:o}", "dtype", ls_safetensors_dtype(out_dtype(t, info)), "shape",
                      json_sizes(info->shape, info->ndim), "data_offsets", json_sizes(range, 2)));
        pos = range[1];
    }
    char *text = json_dumps(header, JSON_COMPACT);
    bool whole = json_object_size(header) == count + (json_object_size(t->w->meta) > 0);
    json_decref(header);
    int ret = text && whole ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for the header");
    size_t n = text ? strlen(text) : 0, pad = (8 - n % 8) % 8;
    uint8_t length[8];
    for (size_t i = 0; i < 8; i++)
        length[i] = (uint8_t)((n + pad) >> 8 * i);
    if (!ret && !(ret = ls_output_write(o, length, 8, err)) &&
        !(ret = ls_output_write(o, text, n, err)))
        ret = ls_output_write(o, "        ", pad, err);
    free(text);
    return ret;
}

static int write_tensors(const ls_output_file *o, tensors *t, ls_error *err)
{
    size_t count = ls_weights_count(t->w), n = 0;
    size_t *order = ls_malloc_array(count, sizeof *order);
    if (!order)
        return ls_fail(err, LS_ENOMEM, "out of memory for %zu tensors", count);
    for (size_t size = 8; size; size /= 2) // widest first, which aligns every tensor
        for (size_t i = 0; i < count; i++)
            if (ls_dtype_size(out_dtype(t, ls_weights_at(t->w, i))) == size)
                order[n++] = i;
    int ret = write_header(o, t, order, err);
    for (size_t i = 0; i < n && !ret; i++) {
        const ls_weight_info *info = ls_weights_at(t->w, order[i]);
        if (!(ret = tensors_load(t, info, err)))
            ret = ls_output_write(o, t->buf, out_bytes(t, info), err);
    }
    free(order);
    return ret;
}

int ls_weights_write_safetensors(const char *path, ls_weights *w, ls_dtype dtype, ls_error *err)
{
    tensors t;
    ls_output_file o;
    int ret = tensors_open(&t, w, dtype, err);
    if (!ret && !(ret = ls_output_open(&o, path, err)))
        ret = ls_output_close(&o, write_tensors(&o, &t, err), err);
    free(t.buf);
    return ret;
}

/* A pickle being built; `failed` is set when out of memory. */
typedef struct pickle {
    uint8_t *p;
    size_t n, capacity;
    bool failed;
} pickle;

static void put(pickle *k, const void *data, size_t n)
{
    if (n > k->capacity - k->n) {
        size_t capacity = 2 * (k->n + n);
        uint8_t *p = realloc(k->p, capacity);
        if (!p) {
            k->failed = true;
            return;
        }
        k->p = p;
        k->capacity = capacity;
    }
    memcpy(k->p + k->n, data, n);
    k->n += n;
}

static void put_op(pickle *k, int op)
{
    put(k, &(uint8_t){(uint8_t)op}, 1);
}

static void put_number(pickle *k, int op, uint64_t v, size_t width)
{
    uint8_t b[9] = {(uint8_t)op};
    for (size_t i = 0; i < width; i++)
        b[1 + i] = (uint8_t)(v >> 8 * i);
    put(k, b, 1 + width);
}

static void put_text(pickle *k, const char *s, size_t n)
{
    put_number(k, 'X', n, 4); // BINUNICODE
    put(k, s, n);
}

static void put_int(pickle *k, int64_t v)
{
    if (v == (int32_t)v) {
        put_number(k, 'J', (uint64_t)v, 4); // BININT
    } else {
        put(k, "\x8a", 1); // LONG1
        put_number(k, 8, (uint64_t)v, 8);
    }
}

static void put_global(pickle *k, const char *text)
{
    put_op(k, 'c');
    put(k, text, strlen(text));
}

static void put_sizes(pickle *k, const size_t *v, size_t n)
{
    put_op(k, '(');
    for (size_t i = 0; i < n; i++)
        put_int(k, (int64_t)v[i]);
    put_op(k, 't');
}

static const char *storage_type(ls_dtype t)
{
    static const char *const names[LS_DTYPE_COUNT] = {
        [LS_F32] = "torch\nFloatStorage\n", [LS_BF16] = "torch\nBFloat16Storage\n",
        [LS_F16] = "torch\nHalfStorage\n",  [LS_F64] = "torch\nDoubleStorage\n",
        [LS_I64] = "torch\nLongStorage\n",  [LS_I32] = "torch\nIntStorage\n",
        [LS_I16] = "torch\nShortStorage\n", [LS_I8] = "torch\nCharStorage\n",
        [LS_U8] = "torch\nByteStorage\n",   [LS_BOOL] = "torch\nBoolStorage\n",
    };
    return names[t];
}

/* _rebuild_tensor_v2(storage `key`, 0, shape, stride, False, OrderedDict()) */
static void put_tensor(pickle *k, const ls_weight_info *info, ls_dtype t, size_t key)
{
    char text[24];
    ls_weight_entry e = {.info = *info};
    ls_contiguous(&e);
    put_global(k, "torch._utils\n_rebuild_tensor_v2\n");
    put(k, "((", 2);
    put_text(k, "storage", 7);
    put_global(k, storage_type(t));
    put_text(k, text, (size_t)snprintf(text, sizeof text, "%zu", key));
    put_text(k, "cpu", 3);
    put_int(k, (int64_t)info->count);
    put(k, "tQ", 2);
    put_int(k, 0);
    put_sizes(k, info->shape, info->ndim);
    put_sizes(k, e.stride, info->ndim);
    put_op(k, 0x89); // NEWFALSE
    put_global(k, "collections\nOrderedDict\n");
    put(k, ")RtR", 4);
}

static void put_json(pickle *k, const json_t *v);

static void put_items(pickle *k, const json_t *object)
{
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)object, key, item)
    {
        put_text(k, key, strlen(key));
        put_json(k, item);
    }
}

static void put_json(pickle *k, const json_t *v)
{
    if (json_is_object(v)) {
        put(k, "}(", 2);
        put_items(k, v);
        put_op(k, 'u');
    } else if (json_is_integer(v)) {
        put_int(k, json_integer_value(v));
    } else if (json_is_real(v)) {
        double d = json_real_value(v);
        uint64_t u;
        memcpy(&u, &d, 8);
        put_number(k, 'G', __builtin_bswap64(u), 8); // BINFLOAT is big endian
    } else {
        put_text(k, json_string_value(v), json_string_length(v));
    }
}

/* Turns paths "a.b" back into nested objects; a path through anything but an object stays whole. */
static json_t *nest(json_t *meta)
{
    json_t *top = json_object(), *v;
    const char *key;
    json_object_foreach(meta, key, v)
    {
        json_t *at = top;
        const char *s = key;
        for (const char *dot; (dot = strchr(s, '.')); s = dot + 1) {
            char level[600];
            snprintf(level, sizeof level, "%.*s", (int)(dot - s), s);
            json_t *below = json_object_get(at, level);
            if (!below)
                json_object_set_new(at, level, below = json_object());
            if (!json_is_object(below))
                break;
            at = below;
        }
        json_object_set(at, s, v);
    }
    return top;
}

/* {..metadata.., dict_key: {name: tensor}} */
static void put_checkpoint(pickle *k, const tensors *t, const char *dict_key)
{
    json_t *meta = nest(t->w->meta);
    put(k, "\x80\x02}(", 4);
    put_items(k, meta);
    json_decref(meta);
    put_text(k, dict_key, strlen(dict_key));
    put(k, "}(", 2);
    for (size_t i = 0; i < ls_weights_count(t->w); i++) {
        const ls_weight_info *info = ls_weights_at(t->w, i);
        put_text(k, info->name, strlen(info->name));
        put_tensor(k, info, out_dtype(t, info), i);
    }
    put(k, "uu.", 3);
}

/* One tensor as a libzip source; libzip opens one source at a time. */
typedef struct member {
    tensors *t;
    const ls_weight_info *info;
    size_t pos;
    ls_error *why; // for the whole archive
} member;

static zip_int64_t serve(void *opaque, void *data, zip_uint64_t len, zip_source_cmd_t cmd)
{
    member *m = opaque;
    size_t size = out_bytes(m->t, m->info);
    zip_stat_t *st = data;
    switch (cmd) {
    case ZIP_SOURCE_OPEN:
        m->pos = 0;
        return tensors_load(m->t, m->info, m->why) ? -1 : 0;
    case ZIP_SOURCE_READ:
        len = len < size - m->pos ? len : size - m->pos;
        memcpy(data, m->t->buf + m->pos, len);
        m->pos += len;
        return (zip_int64_t)len;
    case ZIP_SOURCE_STAT:
        zip_stat_init(st);
        st->size = size;
        st->valid |= ZIP_STAT_SIZE;
        return sizeof *st;
    case ZIP_SOURCE_ERROR:
        if (len < 2 * sizeof(int))
            return -1;
        memcpy(data, (int[2]){ZIP_ER_READ, 0}, 2 * sizeof(int));
        return 2 * sizeof(int);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              -1);
    default:
        return -1;
    }
}

/* Takes ownership of the source; no timestamp, so that equal tensors give identical files. */
static bool add_member(zip_t *z, const char *name, zip_source_t *source)
{
    zip_int64_t i = source ? zip_file_add(z, name, source, ZIP_FL_ENC_UTF_8) : -1;
    if (i < 0 && source)
        zip_source_free(source);
    return i >= 0 && !zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0) &&
           !zip_file_set_dostime(z, (zip_uint64_t)i, 0, 0x21, 0);
}

static bool add_members(zip_t *z, const pickle *k, member *members, size_t count)
{
    bool ok = add_member(z, "archive/data.pkl", zip_source_buffer(z, k->p, k->n, 0)) &&
              add_member(z, "archive/byteorder", zip_source_buffer(z, "little", 6, 0));
    for (size_t i = 0; i < count && ok; i++) {
        char name[40];
        snprintf(name, sizeof name, "archive/data/%zu", i);
        ok = add_member(z, name, zip_source_function(z, serve, &members[i]));
    }
    return ok && add_member(z, "archive/version", zip_source_buffer(z, "3\n", 2, 0));
}

static int write_archive(const ls_output_file *o, tensors *t, const char *dict_key, ls_error *err)
{
    size_t count = ls_weights_count(t->w);
    pickle k = {0};
    ls_error why = {0};
    int ret = 0, code = 0;
    put_checkpoint(&k, t, dict_key);
    member *members = ls_calloc_array(count, sizeof *members);
    zip_t *z =
        members && !k.failed ? zip_open(o->temporary, ZIP_CREATE | ZIP_TRUNCATE, &code) : NULL;
    for (size_t i = 0; i < count && z; i++)
        members[i] = (member){t, ls_weights_at(t->w, i), 0, &why};
    if (!z) {
        ret = ls_fail(err, LS_ENOMEM, "%s: out of memory for the archive", o->path);
    } else if (!add_members(z, &k, members, count) || zip_close(z)) {
        int sys = zip_error_code_system(zip_get_error(z));
        if (why.code) {
            ret = why.code;
            if (err)
                *err = why;
        } else if (sys) {
            ret = ls_fail_errno(err, sys, "%s: cannot write", o->path);
        } else {
            ret = ls_fail(err, LS_EIO, "%s: cannot write: %s", o->path, zip_strerror(z));
        }
        zip_discard(z);
    }
    free(members);
    free(k.p);
    return ret;
}

int ls_weights_write_torch(const char *path, ls_weights *w, const char *dict_key, ls_dtype dtype,
                           ls_error *err)
{
    tensors t;
    ls_output_file o;
    int ret = tensors_open(&t, w, dtype, err);
    if (ret || (ret = ls_output_open(&o, path, err))) {
        free(t.buf);
        return ret;
    }
    close(o.fd); // libzip writes by name
    o.fd = -1;
    ret = write_archive(&o, &t, dict_key, err);
    if (!ret && (o.fd = open(o.temporary, O_RDWR | O_CLOEXEC)) < 0)
        ret = ls_fail_errno(err, errno, "%s: cannot finish writing", path);
    ret = ls_output_close(&o, ret, err);
    free(t.buf);
    return ret;
}
