#include "weights/internal.h"
#include "base/alloc.h"
#include "base/digest.h"
#include "base/os/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK ((size_t)4 << 20) // bytes converted before their pages are released
#define MIN_RELEASE ((size_t)64 << 10)
#define MAX_NAME 512

ls_weights *ls_weights_new(const char *path)
{
    ls_weights *w = ls_calloc_array(1, sizeof *w);
    if (!w)
        return NULL;
    w->fd = -1;
    pthread_mutex_init(&w->lock, NULL);
    w->path = strdup(path);
    w->meta = json_object();
    if (!w->path || !w->meta)
        ls_weights_close(&w);
    return w;
}

void ls_weights_close(ls_weights **pw)
{
    ls_weights *w = *pw;
    if (!w)
        return;
    for (size_t i = 0; i < w->count; i++)
        free((char *)w->entries[i].info.name);
    free(w->entries);
    free((void *)w->by_name);
    json_decref(w->meta);
    if (w->fd >= 0) {
        munmap((void *)w->data, w->size);
        close(w->fd);
    }
    pthread_mutex_destroy(&w->lock);
    free(w->path);
    free(w);
    *pw = NULL;
}

bool ls_shape_count(const size_t *shape, size_t ndim, size_t *count)
{
    size_t n = 1, bytes;
    bool empty = false;
    for (size_t i = 0; i < ndim; i++)
        empty |= !shape[i];
    for (size_t i = 0; i < ndim && !empty; i++)
        if (!ls_mul_size(n, shape[i], &n))
            return false;
    *count = empty ? 0 : n;
    return ls_mul_size(*count, 8, &bytes);
}

void ls_contiguous(ls_weight_entry *e)
{
    size_t stride = 1;
    for (size_t i = e->info.ndim; i--; stride *= e->info.shape[i])
        e->stride[i] = stride;
}

int ls_weights_add(ls_weights *w, const ls_weight_entry *e, const char *name, size_t name_len,
                   ls_error *err)
{
    if (w->count == w->capacity) {
        size_t capacity = w->capacity ? 2 * w->capacity : 64, bytes;
        ls_weight_entry *p =
            ls_mul_size(capacity, sizeof *p, &bytes) ? realloc(w->entries, bytes) : NULL;
        if (!p)
            return ls_fail(err, LS_ENOMEM, "out of memory for %zu tensor entries", capacity);
        w->entries = p;
        w->capacity = capacity;
    }
    ls_weight_entry *dst = &w->entries[w->count];
    *dst = *e;
    if (!ls_shape_count(e->info.shape, e->info.ndim, &dst->info.count))
        return ls_fail(err, LS_EFORMAT, "tensor %.*s: the shape has too many elements",
                       (int)(name_len < MAX_NAME ? name_len : MAX_NAME), name);
    json_t *text = name_len <= MAX_NAME && !memchr(name, 0, name_len)
                       ? json_stringn(name, name_len) // rejects invalid UTF-8
                       : NULL;
    json_decref(text);
    if (!text)
        return ls_fail(err, LS_EFORMAT, "tensor %zu: its name is not text of up to %d bytes",
                       w->count, MAX_NAME);
    if (!(dst->info.name = strndup(name, name_len)))
        return ls_fail(err, LS_ENOMEM, "out of memory for a tensor's name");
    w->count++;
    return 0;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp((*(const ls_weight_info *const *)a)->name,
                  (*(const ls_weight_info *const *)b)->name);
}

int ls_weights_index(ls_weights *w, ls_error *err)
{
    if (!(w->by_name = ls_malloc_array(w->count, sizeof *w->by_name)))
        return ls_fail(err, LS_ENOMEM, "out of memory for %zu names", w->count);
    for (size_t i = 0; i < w->count; i++)
        w->by_name[i] = &w->entries[i].info;
    qsort(w->by_name, w->count, sizeof *w->by_name, compare_names);
    for (size_t i = 1; i < w->count; i++)
        if (!compare_names(&w->by_name[i - 1], &w->by_name[i]))
            return ls_fail(err, LS_EFORMAT, "tensor %s occurs twice", w->by_name[i]->name);
    return 0;
}

static int read_table(ls_weights *w, ls_error *err)
{
    const uint8_t *d = w->data;
    int ret;
    if (w->size >= 9 && d[8] == '{')
        ret = ls_safetensors_read(w, err);
    else if (w->size >= 4 && (!memcmp(d, "PK\3\4", 4) || !memcmp(d, "PK\5\6", 4)))
        ret = ls_torch_zip_read(w, err);
    else if (w->size >= 2 && d[0] == 0x80)
        ret = ls_torch_legacy_read(w, err);
    else if (w->size >= 19 && !memcmp(d, "version https://git", 19))
        return ls_fail(
            err, LS_EFORMAT,
            "only a Git LFS pointer, not the file itself: fetch it with \"git lfs pull\"");
    else
        return ls_fail(err, LS_EFORMAT, "neither a safetensors nor a PyTorch file (%zu bytes)",
                       w->size);
    return ret ? ret : ls_weights_index(w, err);
}

int ls_weights_open_memory(ls_weights **out, const char *name, const uint8_t *data, size_t size,
                           ls_error *err)
{
    *out = NULL;
    ls_weights *w = ls_weights_new(name);
    if (!w)
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", name);
    w->data = data;
    w->size = size;
    int ret = read_table(w, err);
    if (ret) {
        ls_weights_close(&w);
        return ls_fail_context(err, ret, "%s", name);
    }
    *out = w;
    return 0;
}

int ls_weights_open(ls_weights **out, const char *path, ls_error *err)
{
    *out = NULL;
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); // a FIFO must not block here
    return fd < 0 ? ls_fail_errno(err, errno, "%s: cannot open the weights", path)
                  : ls_weights_open_fd(out, fd, path, err);
}

int ls_weights_open_fd(ls_weights **out, int fd, const char *path, ls_error *err)
{
    *out = NULL;
    struct stat st;
    void *data = MAP_FAILED;
    int ret = 0;
    if (fstat(fd, &st))
        ret = ls_fail_errno(err, errno, "%s", path);
    else if (!S_ISREG(st.st_mode))
        ret = ls_fail(err, LS_EINVAL, "%s: not a regular file", path);
    else if (!st.st_size)
        ret = ls_fail(err, LS_EFORMAT, "%s: the file is empty", path);
    else if ((data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0)) == MAP_FAILED)
        ret = ls_fail_errno(err, errno, "%s: cannot map the file", path);
    else
        ret = ls_weights_open_memory(out, path, data, (size_t)st.st_size, err);
    if (ret) {
        if (data != MAP_FAILED)
            munmap(data, (size_t)st.st_size);
        close(fd);
        return ret;
    }
    (*out)->fd = fd;
    return 0;
}

size_t ls_weights_count(const ls_weights *w)
{
    return w->count;
}

const ls_weight_info *ls_weights_at(const ls_weights *w, size_t i)
{
    return i < w->count ? &w->entries[i].info : NULL;
}

const ls_weight_info *ls_weights_find(const ls_weights *w, const char *name)
{
    for (size_t lo = 0, hi = w->count; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        const ls_weight_info *info = w->by_name[mid];
        int c = strcmp(name, info->name);
        if (!c)
            return info;
        if (c < 0)
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

int ls_weights_digest(ls_weights *w, uint8_t sha256[LS_SHA256_BYTES], ls_error *err)
{
    if (w->fd < 0)
        return ls_fail(err, LS_EUNSUPPORTED, "%s are not a file", w->path);
    pthread_mutex_lock(&w->lock);
    const int ret = w->has_digest ? 0 : ls_digest_sample_of(w->fd, w->path, w->sha256, err);
    w->has_digest = !ret;
    memcpy(sha256, w->sha256, LS_SHA256_BYTES);
    pthread_mutex_unlock(&w->lock);
    return ret;
}

int ls_weights_identity(ls_weights *w, char *text, size_t size, ls_error *err)
{
    uint8_t sha256[LS_SHA256_BYTES];
    char digest[LS_SHA256_TEXT];
    struct stat st;
    const int ret = ls_weights_digest(w, sha256, err);
    if (ret)
        return ret;
    if (fstat(w->fd, &st))
        return ls_fail_errno(err, errno, "%s", w->path);
    ls_digest_text(digest, sha256);
    snprintf(text, size, "%lld bytes of %lld.%09ld, %s", (long long)st.st_size,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, digest);
    return 0;
}

bool ls_weights_meta_int(const ls_weights *w, const char *key, int64_t *value)
{
    const json_t *v = json_object_get(w->meta, key);
    if (json_is_integer(v)) {
        *value = json_integer_value(v);
        return true;
    }
    const char *text = json_string_value(v);
    if (!text || !*text || strspn(text, "-0123456789") != strlen(text))
        return false;
    char *end;
    errno = 0;
    *value = strtoll(text, &end, 10);
    return !*end && !errno;
}

const char *ls_weights_meta_text(const ls_weights *w, const char *key)
{
    return json_string_value(json_object_get(w->meta, key));
}

/* Small pieces stay until the file is closed: they are few bytes, and a call each is many calls. */
static void release(const ls_weights *w, const uint8_t *p, size_t n)
{
    if (w->fd >= 0 && n >= MIN_RELEASE)
        ls_os_release_pages(p, n);
}

/* `n` elements at `src`, `stride` elements apart, into a contiguous dst. */
static void copy_run(void *dst, const uint8_t *src, ls_dtype t, size_t stride, size_t n,
                     bool to_f32)
{
    size_t size = ls_dtype_size(t);
    if (stride == 1) {
        if (to_f32)
            ls_convert_to_f32(dst, src, t, n);
        else
            memcpy(dst, src, n * size);
        return;
    }
    uint8_t gather[2048];
    for (size_t i = 0, m; i < n; i += m) {
        m = n - i < sizeof gather / size ? n - i : sizeof gather / size;
        for (size_t j = 0; j < m; j++)
            memcpy(gather + j * size, src + (i + j) * stride * size, size);
        copy_run((uint8_t *)dst + i * (to_f32 ? 4 : size), gather, t, 1, m, to_f32);
    }
}

static void read_contiguous(const ls_weights *w, const ls_weight_entry *e, uint8_t *dst,
                            bool to_f32)
{
    size_t size = ls_dtype_size(e->info.dtype), block = BLOCK / size;
    const uint8_t *src = w->data + e->offset;
    for (size_t i = 0, n; i < e->info.count; i += n) {
        n = e->info.count - i < block ? e->info.count - i : block;
        copy_run(dst + i * (to_f32 ? 4 : size), src + i * size, e->info.dtype, 1, n, to_f32);
        release(w, src + i * size, n * size);
    }
}

static void read_strided(const ls_weights *w, const ls_weight_entry *e, uint8_t *dst, bool to_f32)
{
    size_t size = ls_dtype_size(e->info.dtype), last = e->info.ndim - 1, run = e->info.shape[last];
    size_t index[LS_MAX_DIMS] = {0}, pos = 0, extent = 1;
    for (size_t d = 0; d <= last; d++)
        extent += (e->info.shape[d] - 1) * e->stride[d];
    for (size_t done = 0; done < e->info.count; done += run) {
        copy_run(dst + done * (to_f32 ? 4 : size), w->data + e->offset + pos * size, e->info.dtype,
                 e->stride[last], run, to_f32);
        for (size_t d = last; d--;) {
            pos += e->stride[d];
            if (++index[d] < e->info.shape[d])
                break;
            pos -= index[d] * e->stride[d];
            index[d] = 0;
        }
    }
    release(w, w->data + e->offset, extent * size);
}

static bool is_contiguous(const ls_weight_entry *e)
{
    size_t stride = 1;
    for (size_t i = e->info.ndim; i--; stride *= e->info.shape[i])
        if (e->info.shape[i] > 1 && e->stride[i] != stride)
            return false;
    return true;
}

static int read_tensor(ls_weights *w, const ls_weight_info *info, void *dst, bool to_f32,
                       ls_error *err)
{
    const ls_weight_entry *e = (const ls_weight_entry *)info;
    if (e < w->entries || e >= w->entries + w->count)
        return ls_fail(err, LS_EINVAL, "%s: the tensor belongs to another file", w->path);
    struct stat st;
    if (w->fd >= 0 && (fstat(w->fd, &st) || (uint64_t)st.st_size < w->size))
        return ls_fail(err, LS_EIO, "%s: the file has shrunk since it was opened", w->path);
    if (!info->count)
        return 0;
    if (w->formula)
        ls_formula_tensor(info, w->low_gain, dst);
    else if (is_contiguous(e))
        read_contiguous(w, e, dst, to_f32);
    else
        read_strided(w, e, dst, to_f32);
    return 0;
}

int ls_weights_read(ls_weights *w, const ls_weight_info *info, void *dst, ls_error *err)
{
    return read_tensor(w, info, dst, false, err);
}

int ls_weights_read_f32(ls_weights *w, const ls_weight_info *info, float *dst, ls_error *err)
{
    return read_tensor(w, info, dst, true, err);
}
