#include "weights/file.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <zip.h>

/* One tensor at a time in the type of the file. */
typedef struct tensor_buffer {
    ls_weights *w;
    ls_dtype dtype;
    float *values; /* room for the largest tensor */
    ls_error *err;
} tensor_buffer;

static int open_buffer(tensor_buffer *b, ls_weights *w, ls_dtype dtype, ls_error *err)
{
    size_t most = 1;
    for (size_t i = 0; i < w->count; i++)
        most = w->infos[i].count > most ? w->infos[i].count : most;
    *b = (tensor_buffer){w, dtype, ls_malloc_array(most, sizeof(float)), err};
    if (dtype != LS_F32 && dtype != LS_F16 && dtype != LS_BF16)
        return ls_fail(err, LS_EINVAL, "weights are written as float32, float16 or bfloat16");
    return b->values ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for the largest tensor");
}

/* b->values then holds the tensor in b->dtype. */
static int fill_buffer(tensor_buffer *b, const ls_weight_info *t)
{
    int ret = ls_weights_read_f32(b->w, t, b->values, b->err);
    uint16_t *half = (uint16_t *)(void *)b->values;
    for (size_t i = 0; !ret && b->dtype != LS_F32 && i < t->count; i++)
        half[i] = b->dtype == LS_F16 ? ls_f32_to_f16(b->values[i]) : ls_f32_to_bf16(b->values[i]);
    return ret;
}

static json_t *header_entry(const ls_weight_info *t, const char *dtype, size_t begin, size_t end)
{
    json_t *shape = json_array();
    for (size_t i = 0; i < t->ndim; i++)
        json_array_append_new(shape, json_integer((json_int_t)t->shape[i]));
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype, "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

/* Text for every value, as the format wants its metadata. */
static json_t *text_metadata(const json_t *meta)
{
    json_t *out = json_object(), *v;
    const char *key;
    json_object_foreach((json_t *)meta, key, v)
    {
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        json_object_set_new(out, key,
                            json_string(json_is_string(v) ? json_string_value(v) : number));
    }
    return out;
}

static char *make_header(const tensor_buffer *b, size_t *length)
{
    static const char *const names[] = {[LS_F32] = "F32", [LS_BF16] = "BF16", [LS_F16] = "F16"};
    json_t *header = json_object();
    size_t at = 0, size = ls_dtype_size(b->dtype);
    if (json_object_size(b->w->meta))
        json_object_set_new(header, "__metadata__", text_metadata(b->w->meta));
    for (size_t i = 0; i < b->w->count; i++) {
        const ls_weight_info *t = &b->w->infos[i];
        json_object_set_new(header, t->name,
                            header_entry(t, names[b->dtype], at, at + t->count * size));
        at += t->count * size;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    *length = text ? (strlen(text) + 7) / 8 * 8 : 0; // data begins aligned
    return text;
}

static int write_safetensors(FILE *f, tensor_buffer *b, const char *path)
{
    size_t length;
    char *text = make_header(b, &length);
    if (!text)
        return ls_fail(b->err, LS_ENOMEM, "out of memory for the header of %s", path);
    uint8_t prefix[8];
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)length >> 8 * i);
    bool ok = fwrite(prefix, 8, 1, f) == 1 && fprintf(f, "%-*s", (int)length, text) >= 0;
    free(text);
    int ret = 0;
    for (size_t i = 0; ok && !ret && i < b->w->count; i++) {
        ret = fill_buffer(b, &b->w->infos[i]);
        if (!ret)
            ok = fwrite(b->values, ls_dtype_size(b->dtype), b->w->infos[i].count, f) ==
                 b->w->infos[i].count;
    }
    return ret ? ret : ok ? 0 : ls_fail_errno(b->err, errno, "cannot write %s", path);
}

int ls_weights_write_safetensors(const char *path, ls_weights *w, ls_dtype dtype, ls_error *err)
{
    char temporary[4096];
    tensor_buffer b;
    int ret = open_buffer(&b, w, dtype, err);
    if (!ret && snprintf(temporary, sizeof temporary, "%s.XXXXXX", path) >= (int)sizeof temporary)
        ret = ls_fail(err, LS_EINVAL, "%s: the path is too long", path);
    int fd = ret ? -1 : mkstemp(temporary);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "wb");
    if (!ret && !f)
        ret = ls_fail_errno(err, errno, "cannot write %s", path);
    if (!ret) {
        ret = write_safetensors(f, &b, path);
        if (!ret && (fflush(f) || fsync(fd)))
            ret = ls_fail_errno(err, errno, "cannot write %s", path);
        if (fclose(f) && !ret)
            ret = ls_fail_errno(err, errno, "cannot write %s", path);
        if (!ret && rename(temporary, path))
            ret = ls_fail_errno(err, errno, "cannot write %s", path);
        if (ret)
            unlink(temporary);
    }
    free(b.values);
    return ret;
}

/* Pickle protocol 2, as torch.save writes it. */

static void put_text(FILE *f, const char *s)
{
    size_t n = strlen(s);
    fprintf(f, "X%c%c%c%c%s", (int)(n & 255), (int)(n >> 8 & 255), (int)(n >> 16 & 255),
            (int)(n >> 24 & 255), s);
}

static void put_int(FILE *f, uint64_t v)
{
    fputc(0x8a, f); // LONG1
    fputc(8, f);
    for (int i = 0; i < 8; i++)
        fputc((int)(v >> 8 * i & 255), f);
}

static void put_sizes(FILE *f, const size_t *v, size_t n)
{
    fputc('(', f);
    for (size_t i = 0; i < n; i++)
        put_int(f, v[i]);
    fputc('t', f);
}

static void put_tensor(FILE *f, const ls_weight_info *t, ls_dtype dtype, size_t key)
{
    char number[24];
    size_t strides[LS_MAX_DIMS], step = 1;
    snprintf(number, sizeof number, "%zu", key);
    for (size_t i = t->ndim; i-- > 0; step *= t->shape[i])
        strides[i] = step;
    fputs("ctorch._utils\n_rebuild_tensor_v2\n((", f);
    put_text(f, "storage");
    fprintf(f, "ctorch\n%sStorage\n",
            dtype == LS_F32   ? "Float"
            : dtype == LS_F16 ? "Half"
                              : "BFloat16");
    put_text(f, number);
    put_text(f, "cpu");
    put_int(f, t->count);
    fputs("tQ", f);
    put_int(f, 0);
    put_sizes(f, t->shape, t->ndim);
    put_sizes(f, strides, t->ndim);
    fputs("\x89"
          "ccollections\nOrderedDict\n)RtR",
          f);
}

static void put_meta(FILE *f, const json_t *j)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)j, key, v)
    {
        put_text(f, key);
        if (json_is_object(v)) {
            fputs("}(", f);
            put_meta(f, v);
            fputc('u', f);
        } else if (json_is_integer(v)) {
            put_int(f, (uint64_t)json_integer_value(v));
        } else {
            put_text(f, json_is_string(v) ? json_string_value(v) : "");
        }
    }
}

/* {"a.b": 1} as {"a": {"b": 1}}. */
static json_t *unflatten(const json_t *flat)
{
    json_t *out = json_object(), *v;
    const char *key;
    json_object_foreach((json_t *)flat, key, v)
    {
        json_t *at = out;
        char path[256], *part = path, *dot;
        snprintf(path, sizeof path, "%s", key);
        for (; (dot = strchr(part, '.')); part = dot + 1) {
            *dot = 0;
            json_t *next = json_object_get(at, part);
            if (!json_is_object(next)) {
                next = json_object();
                json_object_set_new(at, part, next);
            }
            at = next;
        }
        json_object_set(at, part, v);
    }
    return out;
}

static char *make_pickle(const ls_weights *w, const char *dict_key, ls_dtype dtype, size_t *size)
{
    char *text = NULL;
    FILE *f = open_memstream(&text, size);
    if (!f)
        return NULL;
    json_t *meta = unflatten(w->meta);
    fputs("\x80\x02}(", f);
    put_meta(f, meta);
    json_decref(meta);
    put_text(f, dict_key);
    fputs("}(", f);
    for (size_t i = 0; i < w->count; i++) {
        put_text(f, w->infos[i].name);
        put_tensor(f, &w->infos[i], dtype, i);
    }
    fputs("uu.", f);
    bool ok = !ferror(f);
    if (fclose(f) || !ok) {
        free(text);
        return NULL;
    }
    return text;
}

/* A member that libzip asks for when it writes the archive. */
typedef struct member {
    tensor_buffer *b;
    const ls_weight_info *info;
    size_t at, bytes;
    zip_error_t error;
} member;

static zip_int64_t serve_tensor(void *opaque, void *data, zip_uint64_t len, zip_source_cmd_t cmd)
{
    member *m = opaque;
    switch (cmd) {
    case ZIP_SOURCE_OPEN:
        m->at = 0;
        if (fill_buffer(m->b, m->info)) {
            zip_error_set(&m->error, ZIP_ER_READ, EIO);
            return -1;
        }
        return 0;
    case ZIP_SOURCE_READ:
        if (len > m->bytes - m->at)
            len = m->bytes - m->at;
        memcpy(data, (const uint8_t *)m->b->values + m->at, len);
        m->at += len;
        return (zip_int64_t)len;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *st = data;
        zip_stat_init(st);
        st->size = m->bytes;
        st->mtime = 315532800; // 1980: the same file for the same weights
        st->valid = ZIP_STAT_SIZE | ZIP_STAT_MTIME;
        return sizeof *st;
    }
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&m->error, data, len);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE,
                                              ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE,
                                              -1);
    default:
        return 0;
    }
}

static int add_member(zip_t *z, const char *name, zip_source_t *source)
{
    zip_int64_t i = source ? zip_file_add(z, name, source, 0) : -1;
    if (i < 0) {
        zip_source_free(source);
        return -1;
    }
    return zip_set_file_compression(z, (zip_uint64_t)i, ZIP_CM_STORE, 0) ||
           zip_file_set_mtime(z, (zip_uint64_t)i, 315532800, 0);
}

static int add_members(zip_t *z, tensor_buffer *b, member *members, const char *pickle, size_t size)
{
    int failed = add_member(z, "archive/data.pkl", zip_source_buffer(z, pickle, size, 0));
    for (size_t i = 0; !failed && i < b->w->count; i++) {
        char name[64];
        members[i] = (member){.b = b, .info = &b->w->infos[i]};
        members[i].bytes = members[i].info->count * ls_dtype_size(b->dtype);
        zip_error_init(&members[i].error);
        snprintf(name, sizeof name, "archive/data/%zu", i);
        failed = add_member(z, name, zip_source_function(z, serve_tensor, &members[i]));
    }
    return failed || add_member(z, "archive/version", zip_source_buffer(z, "3\n", 2, 0));
}

int ls_weights_write_torch(const char *path, ls_weights *w, const char *dict_key, ls_dtype dtype,
                           ls_error *err)
{
    tensor_buffer b;
    size_t size = 0;
    int code = 0, ret = open_buffer(&b, w, dtype, err);
    member *members = ls_calloc_array(w->count, sizeof *members);
    char *pickle = make_pickle(w, dict_key, dtype, &size);
    zip_t *z = NULL;
    if (!ret && (!members || !pickle))
        ret = ls_fail(err, LS_ENOMEM, "out of memory for %s", path);
    if (!ret && !(z = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &code))) {
        zip_error_t ze;
        zip_error_init_with_code(&ze, code);
        ret = ls_fail(err, LS_EIO, "cannot write %s: %s", path, zip_error_strerror(&ze));
        zip_error_fini(&ze);
    }
    /* libzip writes a temporary file beside `path` and renames it at the end. */
    if (!ret && (add_members(z, &b, members, pickle, size) || zip_close(z))) {
        bool full = zip_error_system_type(zip_get_error(z)) == ZIP_ET_SYS &&
                    zip_error_code_system(zip_get_error(z)) == ENOSPC;
        ret = ls_fail(err, full ? LS_ENOSPC : LS_EIO, "cannot write %s: %s", path, zip_strerror(z));
        zip_discard(z);
    }
    free(members);
    free(pickle);
    free(b.values);
    return ret;
}
