#include "weights/internal.h"
#include "base/alloc.h"

#include <stdlib.h>

/* The format allows 100 MB, but parsed JSON takes up to 50 times its size; the header of a thousand
 * tensors has a few hundred kilobytes. */
#define MAX_HEADER ((size_t)8 * 1000 * 1000)

static const struct {
    const char *name;
    ls_dtype dtype;
} dtypes[] = {{"F32", LS_F32}, {"BF16", LS_BF16}, {"F16", LS_F16}, {"F64", LS_F64},
              {"I64", LS_I64}, {"I32", LS_I32},   {"I16", LS_I16}, {"I8", LS_I8},
              {"U8", LS_U8},   {"BOOL", LS_BOOL}};

const char *ls_safetensors_dtype(ls_dtype t)
{
    for (size_t i = 0; i < sizeof dtypes / sizeof *dtypes; i++)
        if (dtypes[i].dtype == t)
            return dtypes[i].name;
    return "?";
}

static bool to_size(const json_t *v, size_t *out)
{
    *out = (size_t)json_integer_value(v);
    return json_is_integer(v) && json_integer_value(v) >= 0;
}

/* One member of the header; `base` is where the data starts. */
static int add_tensor(ls_weights *w, const char *name, const json_t *v, size_t base, ls_error *err)
{
    const char *dtype = json_string_value(json_object_get(v, "dtype"));
    const json_t *shape = json_object_get(v, "shape"), *range = json_object_get(v, "data_offsets");
    size_t begin, end, i, bytes;
    if (!dtype || !json_is_array(shape) || json_array_size(range) != 2 ||
        !to_size(json_array_get(range, 0), &begin) || !to_size(json_array_get(range, 1), &end))
        return ls_fail(err, LS_EFORMAT, "tensor %s: no valid dtype, shape and data_offsets", name);
    ls_weight_entry e = {.info.ndim = json_array_size(shape)};
    for (i = 0; i < sizeof dtypes / sizeof *dtypes && strcmp(dtype, dtypes[i].name); i++)
        ;
    if (i == sizeof dtypes / sizeof *dtypes)
        return ls_fail(err, LS_EUNSUPPORTED, "tensor %s: dtype %s is not supported", name, dtype);
    e.info.dtype = dtypes[i].dtype;
    if (e.info.ndim > LS_MAX_DIMS)
        return ls_fail(err, LS_EUNSUPPORTED, "tensor %s: %zu dimensions, at most %d are supported",
                       name, e.info.ndim, LS_MAX_DIMS);
    for (i = 0; i < e.info.ndim; i++)
        if (!to_size(json_array_get(shape, i), &e.info.shape[i]))
            return ls_fail(err, LS_EFORMAT, "tensor %s: dimension %zu is not a valid size", name,
                           i);
    if (begin > end || end > w->size - base)
        return ls_fail(
            err, LS_EFORMAT,
            "tensor %s: its data, bytes %zu to %zu, lies outside the file's %zu bytes of "
            "data; the file may be truncated",
            name, begin, end, w->size - base);
    e.offset = base + begin;
    ls_contiguous(&e);
    int ret = ls_weights_add(w, &e, name, strlen(name), err);
    if (ret)
        return ret;
    bytes = w->entries[w->count - 1].info.count * ls_dtype_size(e.info.dtype);
    if (bytes != end - begin) {
        char text[200];
        return ls_fail(
            err, LS_EFORMAT, "tensor %s: %s %s needs %zu bytes, its data_offsets hold %zu", name,
            dtype, ls_shape_text(text, sizeof text, e.info.shape, e.info.ndim), bytes, end - begin);
    }
    return 0;
}

static size_t entry_end(const ls_weight_entry *e)
{
    return e->offset + e->info.count * ls_dtype_size(e->info.dtype);
}

static int compare_place(const void *a, const void *b)
{
    const ls_weight_entry *x = a, *y = b;
    if (x->offset != y->offset)
        return x->offset < y->offset ? -1 : 1;
    if (entry_end(x) != entry_end(y)) // an empty tensor comes before others at its offset
        return entry_end(x) < entry_end(y) ? -1 : 1;
    return strcmp(x->info.name, y->info.name);
}

/* Every byte of the data belongs to exactly one tensor. */
static int check_cover(ls_weights *w, size_t base, ls_error *err)
{
    if (w->count)
        qsort(w->entries, w->count, sizeof *w->entries, compare_place);
    size_t pos = base;
    for (size_t i = 0; i < w->count; pos = entry_end(&w->entries[i++]))
        if (w->entries[i].offset != pos)
            return ls_fail(err, LS_EFORMAT, "tensor %s: its data starts at byte %zu, %s byte %zu",
                           w->entries[i].info.name, w->entries[i].offset - base,
                           w->entries[i].offset < pos ? "inside other data that ends at"
                                                      : "leaving a hole from",
                           pos - base);
    if (pos != w->size)
        return ls_fail(err, LS_EFORMAT, "%zu bytes after the last tensor belong to none",
                       w->size - pos);
    return 0;
}

static int add_metadata(ls_weights *w, json_t *v, ls_error *err)
{
    const char *key;
    json_t *text;
    json_object_foreach(v, key, text)
    {
        if (!json_is_string(text))
            return ls_fail(err, LS_EFORMAT, "__metadata__ has a value other than text under %s",
                           key);
    }
    return json_is_object(v) && !json_object_update(w->meta, v)
               ? 0
               : ls_fail(err, LS_EFORMAT, "__metadata__ is not an object of strings");
}

static int read_header(ls_weights *w, json_t *header, size_t base, ls_error *err)
{
    const char *name;
    json_t *v;
    json_object_foreach(header, name, v)
    {
        int ret = strcmp(name, "__metadata__") ? add_tensor(w, name, v, base, err)
                                               : add_metadata(w, v, err);
        if (ret)
            return ret;
    }
    return check_cover(w, base, err);
}

int ls_safetensors_read(ls_weights *w, ls_error *err)
{
    uint64_t length = 0;
    for (size_t i = 8; i--;)
        length = length << 8 | w->data[i];
    if (length > MAX_HEADER)
        return ls_fail(err, LS_EFORMAT, "safetensors header of %llu bytes, at most %zu are allowed",
                       (unsigned long long)length, MAX_HEADER);
    if (length > w->size - 8)
        return ls_fail(err, LS_EFORMAT,
                       "safetensors header of %llu bytes in a file of %zu: the file is truncated",
                       (unsigned long long)length, w->size);
    json_error_t why;
    json_t *header =
        json_loadb((const char *)w->data + 8, (size_t)length, JSON_REJECT_DUPLICATES, &why);
    if (!header)
        return ls_fail(err, LS_EFORMAT, "safetensors header, byte %d: %s", why.position, why.text);
    int ret = json_is_object(header) ? read_header(w, header, 8 + (size_t)length, err)
                                     : ls_fail(err, LS_EFORMAT, "the header is not an object");
    json_decref(header);
    return ret;
}
