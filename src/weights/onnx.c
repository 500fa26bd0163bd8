#include "weights/onnx.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tensor data types, as numbered in the format. */
enum { FLOAT = 1, INT32 = 6, INT64 = 7, BOOL = 9, FLOAT16 = 10, DOUBLE = 11 };

struct ls_onnx {
    char *path;
    LsOnnx__ModelProto *model;
    /* Parsed messages take more memory than in the file; this bounds how much more. */
    ProtobufCAllocator allocator;
    size_t allocated, allowed;
    bool out_of_memory;
};

static void *allocate(void *opaque, size_t size)
{
    ls_onnx *m = opaque;
    if (size > m->allowed - m->allocated)
        return NULL;
    m->allocated += size;
    void *p = malloc(size ? size : 1);
    m->out_of_memory |= !p;
    return p;
}

static void release(void *opaque, void *p)
{
    (void)opaque;
    free(p);
}

static int check(const ls_onnx *m, ls_error *err)
{
    const LsOnnx__ModelProto *model = m->model;
    const ls_onnx_graph *g = model->graph;
    if (!g || !g->n_output)
        return ls_fail(err, LS_EFORMAT, "%s: not an ONNX network: it has no graph", m->path);
    if (g->n_node > LS_ONNX_MAX_NODES || g->n_initializer > LS_ONNX_MAX_NODES ||
        g->n_input > LS_ONNX_MAX_NODES || g->n_output > LS_ONNX_MAX_NODES)
        return ls_fail(err, LS_EUNSUPPORTED, "%s: networks of up to %d nodes are supported",
                       m->path, LS_ONNX_MAX_NODES);
    for (size_t i = 0; i < model->n_opset_import; i++) {
        const LsOnnx__OperatorSetIdProto *o = model->opset_import[i];
        bool standard = !o->domain || !*o->domain || !strcmp(o->domain, "ai.onnx");
        if (standard && (o->version < 7 || o->version > 25))
            return ls_fail(err, LS_EUNSUPPORTED,
                           "%s: operator set %lld; versions 7 to 25 are supported", m->path,
                           (long long)o->version);
    }
    return 0;
}

static ls_onnx *new_onnx(const char *path)
{
    ls_onnx *m = ls_calloc_array(1, sizeof *m);
    if (m && !(m->path = strdup(path))) {
        free(m);
        return NULL;
    }
    if (m)
        m->allocator = (ProtobufCAllocator){allocate, release, m};
    return m;
}

int ls_onnx_open_memory(ls_onnx **out, const char *name, const void *data, size_t size,
                        ls_error *err)
{
    ls_onnx *m = *out = new_onnx(name);
    if (!m)
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", name);
    int ret;
    m->allowed = ((size_t)4 << 20) + 4 * (size < LS_ONNX_MAX_BYTES ? size : 0);
    if (size > LS_ONNX_MAX_BYTES)
        ret = ls_fail(err, LS_EUNSUPPORTED, "%s: ONNX files of up to 256 MB are supported", name);
    else if (!(m->model = ls_onnx__model_proto__unpack(&m->allocator, size, data)) &&
             m->out_of_memory)
        ret = ls_fail(err, LS_ENOMEM, "%s: out of memory", name);
    else if (!m->model)
        ret = ls_fail(err, LS_EFORMAT, "%s: not an ONNX file, or damaged or truncated", name);
    else
        ret = check(m, err);
    if (ret)
        ls_onnx_close(out);
    return ret;
}

static int read_all(FILE *f, const char *path, void **data, size_t *size, ls_error *err)
{
    struct stat st;
    if (fstat(fileno(f), &st))
        return ls_fail_errno(err, errno, "%s: cannot read the file's size", path);
    if (!S_ISREG(st.st_mode) || st.st_size <= 0 || (uintmax_t)st.st_size > LS_ONNX_MAX_BYTES)
        return ls_fail(err, LS_EFORMAT, "%s: expected an ONNX file of 1 byte to 256 MB", path);
    *size = (size_t)st.st_size;
    if (!(*data = malloc(*size)))
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", path);
    if (fread(*data, 1, *size, f) != *size)
        return ls_fail(err, LS_EIO, "%s: read failed", path);
    return 0;
}

int ls_onnx_open(ls_onnx **out, const char *path, ls_error *err)
{
    void *data = NULL;
    size_t size = 0;
    *out = NULL;
    struct stat st;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a FIFO must not block here
    FILE *f = fd < 0 ? NULL : fdopen(fd, "rb");
    int ret = !f                     ? ls_fail_errno(err, errno, "%s: cannot open", path)
              : fstat(fd, &st)       ? ls_fail_errno(err, errno, "%s", path)
              : !S_ISREG(st.st_mode) ? ls_fail(err, LS_EINVAL, "%s: not a regular file", path)
                                     : read_all(f, path, &data, &size, err);
    if (f)
        fclose(f);
    else if (fd >= 0)
        close(fd);
    if (!ret)
        ret = ls_onnx_open_memory(out, path, data, size, err);
    free(data);
    return ret;
}

void ls_onnx_close(ls_onnx **pm)
{
    ls_onnx *m = *pm;
    if (!m)
        return;
    if (m->model)
        ls_onnx__model_proto__free_unpacked(m->model, &m->allocator);
    free(m->path);
    free(m);
    *pm = NULL;
}

const char *ls_onnx_path(const ls_onnx *m)
{
    return m->path;
}

const ls_onnx_graph *ls_onnx_get_graph(const ls_onnx *m)
{
    return m->model->graph;
}

int ls_onnx_value_new(ls_onnx_value *out, bool whole, size_t ndim, const size_t *shape,
                      ls_error *err)
{
    *out = (ls_onnx_value){.ndim = ndim, .count = 1};
    bool fits = ndim <= LS_MAX_DIMS;
    for (size_t i = 0; fits && i < ndim; i++) {
        out->shape[i] = shape[i];
        fits = ls_mul_size(out->count, shape[i], &out->count);
    }
    if (!fits || out->count > LS_ONNX_MAX_BYTES / sizeof(float)) {
        *out = (ls_onnx_value){0};
        return ls_fail(err, LS_EFORMAT, "a constant of more than %d dimensions or 256 MB",
                       LS_MAX_DIMS);
    }
    size_t n = out->count ? out->count : 1;
    if (whole)
        out->i = ls_calloc_array(n, sizeof *out->i);
    else
        out->f = ls_calloc_array(n, sizeof *out->f);
    if (out->i || out->f)
        return 0;
    *out = (ls_onnx_value){0};
    return ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_onnx_value_free(ls_onnx_value *v)
{
    free(v->f);
    free(v->i);
    *v = (ls_onnx_value){0};
}

/* One element of raw little-endian data. */
static void from_raw(ls_onnx_value *v, size_t k, const uint8_t *raw, int type)
{
    int64_t i64;
    int32_t i32;
    double d;
    uint16_t h;
    switch (type) {
    case FLOAT:
        memcpy(&v->f[k], raw + 4 * k, 4);
        break;
    case DOUBLE:
        memcpy(&d, raw + 8 * k, 8);
        v->f[k] = (float)d;
        break;
    case FLOAT16:
        memcpy(&h, raw + 2 * k, 2);
        ls_convert_to_f32(&v->f[k], &h, LS_F16, 1);
        break;
    case INT64:
        memcpy(&i64, raw + 8 * k, 8);
        v->i[k] = i64;
        break;
    case INT32:
        memcpy(&i32, raw + 4 * k, 4);
        v->i[k] = i32;
        break;
    default:
        v->i[k] = raw[k] != 0;
    }
}

/* One element of the field that holds this type; the caller has compared the counts. */
static void from_field(ls_onnx_value *v, size_t k, const LsOnnx__TensorProto *t, int type)
{
    if (type == FLOAT) {
        v->f[k] = t->float_data[k];
    } else if (type == DOUBLE) {
        v->f[k] = (float)t->double_data[k];
    } else if (type == FLOAT16) {
        uint16_t h = (uint16_t)t->int32_data[k];
        ls_convert_to_f32(&v->f[k], &h, LS_F16, 1);
    } else if (type == INT64) {
        v->i[k] = t->int64_data[k];
    } else {
        v->i[k] = t->int32_data[k];
    }
}

int ls_onnx_read_tensor(ls_onnx_value *out, const LsOnnx__TensorProto *t, ls_error *err)
{
    static const uint8_t sizes[] = {
        [FLOAT] = 4, [INT32] = 4, [INT64] = 8, [BOOL] = 1, [FLOAT16] = 2, [DOUBLE] = 8};
    const char *name = t->name ? t->name : "";
    const int type = t->data_type;
    size_t shape[LS_MAX_DIMS];
    *out = (ls_onnx_value){0};
    if (t->data_location)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "tensor \"%s\" is stored in another file; only files that include their "
                       "weights are supported",
                       name);
    if (type < 0 || (size_t)type >= sizeof sizes || !sizes[type])
        return ls_fail(err, LS_EUNSUPPORTED, "tensor \"%s\" has type %d, which is not supported",
                       name, type);
    if (t->n_dims > LS_MAX_DIMS)
        return ls_fail(err, LS_EFORMAT, "tensor \"%s\" has %zu dimensions", name, t->n_dims);
    for (size_t i = 0; i < t->n_dims; i++) {
        if (t->dims[i] < 0 || (uint64_t)t->dims[i] > SIZE_MAX / 2)
            return ls_fail(err, LS_EFORMAT, "tensor \"%s\" has a dimension of %lld", name,
                           (long long)t->dims[i]);
        shape[i] = (size_t)t->dims[i];
    }
    const size_t given = type == FLOAT    ? t->n_float_data
                         : type == DOUBLE ? t->n_double_data
                         : type == INT64  ? t->n_int64_data
                                          : t->n_int32_data;
    const size_t have = t->has_raw_data ? t->raw_data.len / sizes[type] : given;
    size_t want = 1;
    for (size_t i = 0; i < t->n_dims; i++)
        if (!ls_mul_size(want, shape[i], &want))
            want = SIZE_MAX;
    if (have != want || (t->has_raw_data && t->raw_data.len % sizes[type]))
        return ls_fail(err, LS_EFORMAT, "tensor \"%s\" has %zu values; its shape requires %zu",
                       name, have, want);
    int ret = ls_onnx_value_new(out, type == INT64 || type == INT32 || type == BOOL, t->n_dims,
                                shape, err);
    for (size_t k = 0; !ret && k < out->count; k++) {
        if (t->has_raw_data)
            from_raw(out, k, t->raw_data.data, type);
        else
            from_field(out, k, t, type);
    }
    return ret ? ls_fail_context(err, ret, "tensor \"%s\"", name) : 0;
}
