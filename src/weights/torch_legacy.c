/* "torch.save" before 1.6: pickles of a magic number, a protocol number, system information, the
 * object, and the list of storage keys; then for each key an int64 count and the elements. */
#include "weights/torch.h"
#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>

#define PROTOCOL 1001
static const uint8_t magic[] = {0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19};

static int compare_keys(const void *a, const void *b)
{
    const ls_text *x = &(*(ls_storage *const *)a)->key, *y = &(*(ls_storage *const *)b)->key;
    int c = memcmp(x->s, y->s, x->n < y->n ? x->n : y->n);
    return c ? c : x->n < y->n ? -1 : x->n > y->n;
}

/* Places the elements of the storage `s` (and of n - 1 neighbours with the same key) at *pos. */
static int place(const ls_weights *w, ls_storage **s, size_t n, size_t *pos, ls_error *err)
{
    uint64_t count = 0;
    size_t bytes;
    if (w->size - *pos < 8)
        return ls_fail(err, LS_EFORMAT, "the file is truncated before storage %.*s",
                       (int)(s[0]->key.n < 100 ? s[0]->key.n : 100), s[0]->key.s);
    for (size_t i = 8; i--;)
        count = count << 8 | w->data[*pos + i];
    for (size_t i = 0; i < n; i++) {
        if (s[i]->numel != count || s[i]->dtype != s[0]->dtype)
            return ls_fail(err, LS_EFORMAT,
                           "storage %.*s holds %" PRIu64
                           " elements in the file, but is declared with %zu of %s",
                           (int)(s[0]->key.n < 100 ? s[0]->key.n : 100), s[0]->key.s, count,
                           s[i]->numel, ls_dtype_name(s[i]->dtype));
        s[i]->offset = *pos + 8;
    }
    *pos += 8;
    if (!ls_mul_size((size_t)count, ls_dtype_size(s[0]->dtype), &bytes) || bytes > w->size - *pos)
        return ls_fail(err, LS_EFORMAT, "the file is truncated inside storage %.*s",
                       (int)(s[0]->key.n < 100 ? s[0]->key.n : 100), s[0]->key.s);
    *pos += bytes;
    return 0;
}

/* Places the storages in the order of `keys`; the first starts at `pos`. */
static int place_all(const ls_weights *w, const ls_value *keys, ls_storage **sorted, size_t count,
                     size_t pos, ls_error *err)
{
    for (size_t i = 0; i < keys->seq.n; i++) {
        const ls_value *v = keys->seq.items[i];
        if (v->kind != LS_VALUE_TEXT)
            return ls_fail(err, LS_EFORMAT, "storage key %zu is not text", i);
        ls_storage want = {.key = v->text}, *p = &want;
        size_t lo = 0, n = 0;
        for (size_t hi = count; lo < hi;) {
            size_t mid = lo + (hi - lo) / 2;
            if (compare_keys(&sorted[mid], &p) < 0)
                lo = mid + 1;
            else
                hi = mid;
        }
        while (lo + n < count && !compare_keys(&sorted[lo + n], &p))
            n++;
        if (!n || sorted[lo]->offset)
            return ls_fail(err, LS_EFORMAT, "storage key %.*s is listed twice or used by no tensor",
                           (int)(v->text.n < 100 ? v->text.n : 100), v->text.s);
        int ret = place(w, sorted + lo, n, &pos, err);
        if (ret)
            return ret;
    }
    return pos == w->size
               ? 0
               : ls_fail(err, LS_EFORMAT, "%zu bytes after the last storage belong to none",
                         w->size - pos);
}

static int locate(void *opaque, ls_storage *s, ls_error *err)
{
    (void)opaque;
    return s->offset ? 0
                     : ls_fail(err, LS_EFORMAT, "storage %.*s is not in the file",
                               (int)(s->key.n < 100 ? s->key.n : 100), s->key.s);
}

static int read_object(ls_weights *w, ls_pickle *p, const ls_value *object, const ls_value *keys,
                       size_t pos, ls_error *err)
{
    size_t count = 0, i = 0;
    for (ls_storage *s = ls_pickle_storages(p); s; s = s->next)
        count++;
    ls_storage **sorted = ls_malloc_array(count, sizeof(ls_storage *));
    if (!sorted)
        return ls_fail(err, LS_ENOMEM, "out of memory for %zu storages", count);
    for (ls_storage *s = ls_pickle_storages(p); s; s = s->next)
        sorted[i++] = s;
    qsort(sorted, count, sizeof *sorted, compare_keys);
    int ret = place_all(w, keys, sorted, count, pos, err);
    free(sorted);
    return ret ? ret : ls_torch_collect(w, object, locate, NULL, err);
}

int ls_torch_legacy_read(ls_weights *w, ls_error *err)
{
    static const char *const parts[] = {"magic number", "protocol number", "system information",
                                        "object", "list of storage keys"};
    const ls_value *v[5];
    size_t pos = 0, used;
    ls_pickle *p = ls_pickle_new();
    int ret = p ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for the unpickler");
    for (size_t i = 0; i < 5 && !ret; i++, pos += used) {
        if ((ret = ls_pickle_load(p, w->data + pos, w->size - pos, &v[i], &used, err)))
            ls_fail_context(err, ret, "%s, from byte %zu", parts[i], pos);
        else if (i == 0 && (v[0]->kind != LS_VALUE_LONG || v[0]->text.n != sizeof magic ||
                            memcmp(v[0]->text.s, magic, sizeof magic)))
            ret = ls_fail(err, LS_EFORMAT, "a pickle, but not written by torch.save");
        else if (i == 1 && (v[1]->kind != LS_VALUE_INT || v[1]->integer != PROTOCOL))
            ret = ls_fail(err, LS_EUNSUPPORTED, "not version %d of the PyTorch format", PROTOCOL);
        else if (i == 4 && v[4]->kind != LS_VALUE_LIST)
            ret = ls_fail(err, LS_EFORMAT, "the storage keys are not a list");
    }
    if (!ret)
        ret = read_object(w, p, v[3], v[4], pos, err);
    ls_pickle_close(&p);
    return ret;
}
