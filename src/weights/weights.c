#include "weights/file.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_TENSORS ((size_t)1 << 20)

static bool grow(ls_weights *w)
{
    if (w->count < w->capacity)
        return true;
    size_t n = w->capacity ? 2 * w->capacity : 256;
    ls_weight_info *infos = realloc(w->infos, n * sizeof *infos);
    if (infos)
        w->infos = infos;
    ls_weight_source *sources = realloc(w->sources, n * sizeof *sources);
    if (sources)
        w->sources = sources;
    if (!infos || !sources)
        return false;
    w->capacity = n;
    return true;
}

/* The bytes from a tensor's first element to the end of its last; false on overflow. */
static bool extent(const ls_weight_info *t, const size_t *strides, size_t *bytes)
{
    size_t last = 0, step;
    for (size_t i = 0; i < t->ndim; i++)
        if (!ls_mul_size(t->shape[i] - 1, strides[i], &step) || !ls_add_size(last, step, &last))
            return false;
    return ls_add_size(last, 1, &last) && ls_mul_size(last, ls_dtype_size(t->dtype), bytes);
}

int ls_weights_add(ls_weights *w, const char *name, ls_dtype dtype, size_t ndim,
                   const size_t *shape, size_t offset, const size_t *strides, size_t begin,
                   size_t end, ls_error *err)
{
    ls_weight_info t = {.dtype = dtype, .ndim = ndim, .count = 1};
    ls_weight_source s = {.offset = offset};
    if (ndim > LS_MAX_DIMS)
        return ls_fail(err, LS_EFORMAT, "tensor %s has %zu dimensions; %d is the most", name, ndim,
                       LS_MAX_DIMS);
    if (w->count == MAX_TENSORS)
        return ls_fail(err, LS_EFORMAT, "there are more than %zu tensors", MAX_TENSORS);
    size_t bytes;
    for (size_t i = ndim; i-- > 0;) {
        t.shape[i] = shape[i];
        s.strides[i] = strides ? strides[i] : t.count;
        if (!ls_mul_size(t.count, shape[i], &t.count))
            return ls_fail(err, LS_EFORMAT, "tensor %s has an impossible shape", name);
    }
    /* An expanded tensor is larger than its file; nobody has one of this size. */
    if (!ls_mul_size(t.count, 8, &bytes) || bytes > SIZE_MAX / 4 ||
        (w->map && t.count / 4096 > w->map_size))
        return ls_fail(err, LS_EFORMAT, "tensor %s has an impossible shape", name);
    if (w->map && t.count &&
        (!extent(&t, s.strides, &bytes) || offset < begin || offset > end || bytes > end - offset))
        return ls_fail(err, LS_EFORMAT,
                       "tensor %s reaches beyond its data; the file is truncated or damaged", name);
    if (!grow(w) || !(t.name = strdup(name)))
        return ls_fail(err, LS_ENOMEM, "out of memory for the table of tensors");
    w->infos[w->count] = t;
    w->sources[w->count++] = s;
    return 0;
}

static int by_name(const void *a, const void *b, void *infos)
{
    const ls_weight_info *t = infos;
    return strcmp(t[*(const size_t *)a].name, t[*(const size_t *)b].name);
}

/* qsort_r is not in C11 or POSIX 2008; a heap sort needs no state but its arguments. */
static void sift(size_t *v, size_t i, size_t n, void *infos)
{
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && by_name(&v[child], &v[child + 1], infos) < 0)
            child++;
        if (by_name(&v[i], &v[child], infos) >= 0)
            return;
        size_t t = v[i];
        v[i] = v[child];
        v[child] = t;
    }
}

int ls_weights_seal(ls_weights *w, ls_error *err)
{
    w->by_name = ls_malloc_array(w->count, sizeof *w->by_name);
    if (!w->by_name)
        return ls_fail(err, LS_ENOMEM, "out of memory for the table of tensors");
    size_t *v = w->by_name;
    for (size_t i = 0; i < w->count; i++)
        v[i] = i;
    for (size_t i = w->count / 2; i-- > 0;)
        sift(v, i, w->count, w->infos);
    for (size_t n = w->count; n-- > 1;) {
        size_t t = v[0];
        v[0] = v[n];
        v[n] = t;
        sift(v, 0, n, w->infos);
    }
    for (size_t i = 1; i < w->count; i++)
        if (!by_name(&v[i - 1], &v[i], w->infos))
            return ls_fail(err, LS_EFORMAT, "there are two tensors named %s", w->infos[v[i]].name);
    return 0;
}

int ls_weights_open_memory(ls_weights **out, const void *data, size_t size, const char *path,
                           ls_error *err)
{
    *out = NULL;
    ls_weights *w = ls_calloc_array(1, sizeof *w);
    if (!w || !(w->path = strdup(path)) || !(w->meta = json_object())) {
        ls_weights_close(&w);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    w->map = data;
    w->map_size = size;
    int ret;
    if (ls_is_torch_zip(data, size))
        ret = ls_read_torch_zip(w, err);
    else if (ls_is_torch_legacy(data, size))
        ret = ls_read_torch_legacy(w, err);
    else
        ret = ls_read_safetensors(w, err);
    if (!ret)
        ret = ls_weights_seal(w, err);
    if (ret) {
        ls_weights_close(&w);
        return ls_fail_context(err, ret, "%s", path);
    }
    *out = w;
    return 0;
}

static int map_file(const char *path, void **map, size_t *size, ls_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ls_fail_errno(err, errno, "cannot open %s", path);
    int ret = fstat(fd, &st) ? ls_fail_errno(err, errno, "cannot read %s", path) : 0;
    if (!ret && !S_ISREG(st.st_mode))
        ret = ls_fail(err, LS_EFORMAT, "%s is not a file", path);
    if (!ret && (uintmax_t)st.st_size < 8)
        ret = ls_fail(err, LS_EFORMAT, "%s: the file is empty or truncated (%lld bytes)", path,
                      (long long)st.st_size);
    if (!ret) {
        *size = (size_t)st.st_size;
        *map = mmap(NULL, *size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (*map == MAP_FAILED)
            ret = ls_fail_errno(err, errno, "cannot map %s", path);
    }
    close(fd);
    return ret;
}

int ls_weights_open(ls_weights **out, const char *path, ls_error *err)
{
    void *map = NULL;
    size_t size = 0;
    *out = NULL;
    int ret = map_file(path, &map, &size, err);
    if (ret)
        return ret;
    ret = ls_weights_open_memory(out, map, size, path, err);
    if (ret)
        munmap(map, size);
    else
        (*out)->mapped = true;
    return ret;
}

void ls_weights_close(ls_weights **pw)
{
    ls_weights *w = *pw;
    if (!w)
        return;
    if (w->mapped)
        munmap((void *)w->map, w->map_size);
    for (size_t i = 0; i < w->count; i++)
        free((char *)w->infos[i].name);
    free(w->infos);
    free(w->sources);
    free(w->by_name);
    json_decref(w->meta);
    free(w->path);
    free(w);
    *pw = NULL;
}

size_t ls_weights_count(const ls_weights *w)
{
    return w->count;
}

const ls_weight_info *ls_weights_at(const ls_weights *w, size_t i)
{
    return &w->infos[i];
}

const ls_weight_info *ls_weights_find(const ls_weights *w, const char *name)
{
    for (size_t lo = 0, hi = w->count; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const ls_weight_info *t = &w->infos[w->by_name[mid]];
        int order = strcmp(name, t->name);
        if (!order)
            return t;
        if (order < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return NULL;
}

const char *ls_weights_path(const ls_weights *w)
{
    return w->path;
}

bool ls_weights_meta_int(const ls_weights *w, const char *key, int64_t *value)
{
    const json_t *j = json_object_get(w->meta, key);
    if (!json_is_integer(j))
        return false;
    *value = json_integer_value(j);
    return true;
}

const char *ls_weights_meta_text(const ls_weights *w, const char *key)
{
    return json_string_value(json_object_get(w->meta, key));
}

/* Whether the elements follow one another in row-major order. */
static bool is_dense(const ls_weight_info *t, const ls_weight_source *s)
{
    size_t step = 1;
    for (size_t i = t->ndim; i-- > 0; step *= t->shape[i])
        if (t->shape[i] > 1 && s->strides[i] != step)
            return false;
    return true;
}

/* Elements one by one, along odometer counts of the dimensions. `to_f32` converts, else copies. */
static void gather(const ls_weights *w, const ls_weight_info *t, const ls_weight_source *s,
                   bool to_f32, uint8_t *dst)
{
    size_t at[LS_MAX_DIMS] = {0}, element = 0, size = ls_dtype_size(t->dtype);
    size_t step = to_f32 ? sizeof(float) : size;
    for (size_t n = 0; n < t->count; n++, dst += step) {
        const uint8_t *src = w->map + s->offset + element * size;
        if (to_f32)
            ls_convert_to_f32((float *)(void *)dst, src, t->dtype, 1);
        else
            memcpy(dst, src, size);
        for (size_t i = t->ndim; i-- > 0;) {
            element += s->strides[i];
            if (++at[i] < t->shape[i])
                break;
            element -= at[i] * s->strides[i];
            at[i] = 0;
        }
    }
}

/* Gives the pages back that only this tensor covers. */
static void release(const ls_weights *w, const ls_weight_info *t, const ls_weight_source *s)
{
    size_t bytes, page = (size_t)sysconf(_SC_PAGESIZE);
    if (!w->mapped || !t->count || !extent(t, s->strides, &bytes))
        return;
    size_t begin = (s->offset + page - 1) / page * page, end = (s->offset + bytes) / page * page;
    if (begin < end)
        madvise((void *)(w->map + begin), end - begin, MADV_DONTNEED);
}

static int read_tensor(ls_weights *w, const ls_weight_info *info, bool to_f32, void *dst,
                       ls_error *err)
{
    if (info < w->infos || info >= w->infos + w->count)
        return ls_fail(err, LS_EINVAL, "%s: tensor %s is another file's", w->path, info->name);
    const ls_weight_source *s = &w->sources[info - w->infos];
    if (w->formula) {
        ls_formula_read(w, info, dst);
        return 0;
    }
    if (!info->count)
        return 0;
    if (!is_dense(info, s))
        gather(w, info, s, to_f32, dst);
    else if (to_f32)
        ls_convert_to_f32(dst, w->map + s->offset, info->dtype, info->count);
    else
        memcpy(dst, w->map + s->offset, info->count * ls_dtype_size(info->dtype));
    release(w, info, s);
    return 0;
}

int ls_weights_read(ls_weights *w, const ls_weight_info *info, void *dst, ls_error *err)
{
    return read_tensor(w, info, false, dst, err);
}

int ls_weights_read_f32(ls_weights *w, const ls_weight_info *info, float *dst, ls_error *err)
{
    return read_tensor(w, info, true, dst, err);
}
