/* https://github.com/huggingface/safetensors: u64 length, JSON header, data. */
#include "weights/file.h"
#include "base/alloc.h"

#include <stdlib.h>

#define MAX_HEADER ((uint64_t)100 << 20)

static const struct {
    const char *name;
    ls_dtype dtype;
} dtypes[] = {{"F32", LS_F32}, {"F16", LS_F16},  {"BF16", LS_BF16}, {"F64", LS_F64},
              {"I64", LS_I64}, {"I32", LS_I32},  {"I16", LS_I16},   {"I8", LS_I8},
              {"U8", LS_U8},   {"BOOL", LS_BOOL}};

static bool size_of(const json_t *j, size_t *out)
{
    json_int_t v = json_integer_value(j);
    *out = (size_t)v;
    return json_is_integer(j) && v >= 0;
}

static int add_tensor(ls_weights *w, const char *name, const json_t *j, size_t data, ls_error *err)
{
    const char *type = json_string_value(json_object_get(j, "dtype"));
    const json_t *shape = json_object_get(j, "shape"), *range = json_object_get(j, "data_offsets");
    size_t dims[LS_MAX_DIMS], ndim = json_array_size(shape), begin, end, k = 0, bytes;
    size_t available = w->map_size - data;
    if (!type || !json_is_array(shape) || json_array_size(range) != 2 ||
        !size_of(json_array_get(range, 0), &begin) || !size_of(json_array_get(range, 1), &end))
        return ls_fail(err, LS_EFORMAT, "tensor %s lacks dtype, shape or data_offsets", name);
    while (k < sizeof dtypes / sizeof *dtypes && strcmp(type, dtypes[k].name))
        k++;
    if (k == sizeof dtypes / sizeof *dtypes)
        return ls_fail(err, LS_EUNSUPPORTED, "tensor %s has the type %s, which is not supported",
                       name, type);
    if (ndim > LS_MAX_DIMS)
        return ls_fail(err, LS_EFORMAT, "tensor %s has %zu dimensions; %d is the most", name, ndim,
                       LS_MAX_DIMS);
    bytes = ls_dtype_size(dtypes[k].dtype);
    for (size_t i = 0; i < ndim; i++)
        if (!size_of(json_array_get(shape, i), &dims[i]) || !ls_mul_size(bytes, dims[i], &bytes))
            return ls_fail(err, LS_EFORMAT, "tensor %s has an impossible shape", name);
    if (begin > end || end > available || end - begin != bytes)
        return ls_fail(
            err, LS_EFORMAT,
            "tensor %s takes %zu bytes, its data_offsets are [%zu, %zu] of %zu; the file "
            "is truncated or damaged",
            name, bytes, begin, end, available);
    return ls_weights_add(w, name, dtypes[k].dtype, ndim, dims, data + begin, NULL, data + begin,
                          data + end, err);
}

static int by_offset(const void *a, const void *b)
{
    const ls_weight_source *x = a, *y = b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* The format demands that tensors cover the data without holes and without overlap. */
static int check_cover(const ls_weights *w, size_t data, ls_error *err)
{
    size_t at = data;
    ls_weight_source *s = ls_malloc_array(w->count, sizeof *s); // strides[0]: bytes
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory for the table of tensors");
    size_t n = 0;
    for (size_t i = 0; i < w->count; i++)
        if (w->infos[i].count)
            s[n++] = (ls_weight_source){w->sources[i].offset,
                                        {w->infos[i].count * ls_dtype_size(w->infos[i].dtype)}};
    qsort(s, n, sizeof *s, by_offset);
    bool ok = true;
    for (size_t i = 0; i < n; i++) {
        ok = ok && s[i].offset == at;
        at = s[i].offset + s[i].strides[0];
    }
    free(s);
    if (!ok || at != w->map_size)
        return ls_fail(err, LS_EFORMAT,
                       "the tensors do not cover the data exactly; the file is damaged");
    return 0;
}

int ls_read_safetensors(ls_weights *w, ls_error *err)
{
    uint64_t length = 0;
    for (int i = 7; i >= 0 && w->map_size >= 8; i--)
        length = length << 8 | w->map[i];
    if (w->map_size < 10 || w->map[8] != '{')
        return ls_fail(err, LS_EFORMAT,
                       "neither a safetensors nor a PyTorch file; a checkpoint is expected");
    if (length > MAX_HEADER || length > w->map_size - 8)
        return ls_fail(err, LS_EFORMAT,
                       "the safetensors header claims %llu bytes; the file is truncated or damaged",
                       (unsigned long long)length);
    size_t data = 8 + (size_t)length;
    json_error_t je;
    json_t *header =
        json_loadb((const char *)w->map + 8, (size_t)length, JSON_REJECT_DUPLICATES, &je);
    if (!json_is_object(header)) {
        json_decref(header);
        return ls_fail(err, LS_EFORMAT, "the safetensors header is not valid JSON: %s", je.text);
    }
    const char *name;
    json_t *j;
    int ret = 0;
    json_object_foreach(header, name, j)
    {
        if (!strcmp(name, "__metadata__")) {
            if (json_is_object(j))
                json_object_update(w->meta, j);
        } else if (!ret) {
            ret = add_tensor(w, name, j, data, err);
        }
    }
    json_decref(header);
    return ret ? ret : check_cover(w, data, err);
}
