/* PyTorch's two containers: zip archives, and the older run of pickles. Source:
 * torch/serialization.py and caffe2/serialize. */
#include "weights/file.h"
#include "weights/pickle.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <zip.h>

#define MAX_DEPTH 32
#define MAX_VISITS ((size_t)1 << 24) /* a container may refer to another often, or to itself */

/* Where a storage's elements lie in the file. */
typedef struct storage_place {
    const char *key;
    size_t begin, end;
} storage_place;

/* Finds the data of a storage; 0, or an error. */
typedef int (*find_storage)(void *opaque, const ls_pickle_value *storage, storage_place *place,
                            ls_error *err);

typedef struct walker {
    ls_weights *w;
    find_storage find;
    void *opaque;
    ls_error *err;
    size_t visits;
} walker;

static int add_tensor(walker *k, const char *name, const ls_pickle_value *t)
{
    storage_place place;
    int ret = k->find(k->opaque, t->storage, &place, k->err);
    size_t size = ls_dtype_size(t->dtype), skip, bytes;
    if (ret)
        return ret;
    if (!ls_mul_size(t->storage->numel, size, &bytes) || bytes > place.end - place.begin ||
        !ls_add_size(t->storage->view_offset, (size_t)t->integer, &skip) ||
        !ls_mul_size(skip, size, &skip) || skip > place.end - place.begin)
        return ls_fail(k->err, LS_EFORMAT,
                       "the storage of tensor %s is shorter than it says; the file is truncated or "
                       "damaged",
                       name);
    return ls_weights_add(k->w, name, t->dtype, t->ndim, t->shape, place.begin + skip, t->strides,
                          place.begin, place.end, k->err);
}

static int walk(walker *k, const ls_pickle_value *v, const char *path, int depth);

static int walk_item(walker *k, const ls_pickle_value *key, size_t index, const ls_pickle_value *v,
                     const char *path, int depth)
{
    char name[512], number[32];
    const char *part = number;
    if (key && key->kind == LS_PICKLE_TEXT)
        part = key->text;
    else
        snprintf(number, sizeof number, "%lld",
                 key && key->kind == LS_PICKLE_INT ? (long long)key->integer : (long long)index);
    /* The published files keep their tensors one level down; the level is no part of their names.
     */
    bool root = !*path && (!strcmp(part, "state_dict") || !strcmp(part, "model_state_dict")) &&
                v->kind == LS_PICKLE_DICT;
    if (root)
        return walk(k, v, "", depth + 1);
    if (snprintf(name, sizeof name, "%s%s%s", path, *path ? "." : "", part) >= (int)sizeof name)
        return ls_fail(k->err, LS_EFORMAT, "a name is longer than %zu bytes", sizeof name - 1);
    return walk(k, v, name, depth + 1);
}

static int walk(walker *k, const ls_pickle_value *v, const char *path, int depth)
{
    json_t *meta = k->w->meta;
    int ret = 0;
    if (depth > MAX_DEPTH || ++k->visits > MAX_VISITS)
        return ls_fail(k->err, LS_EFORMAT, "containers are nested more than %d deep at %s",
                       MAX_DEPTH, path);
    switch (v->kind) {
    case LS_PICKLE_TENSOR:
        return add_tensor(k, *path ? path : "tensor", v);
    case LS_PICKLE_DICT:
        for (size_t i = 0; !ret && i + 1 < v->count; i += 2)
            ret = walk_item(k, v->items[i], i / 2, v->items[i + 1], path, depth);
        return ret;
    case LS_PICKLE_LIST:
        for (size_t i = 0; !ret && i < v->count; i++)
            ret = walk_item(k, NULL, i, v->items[i], path, depth);
        return ret;
    case LS_PICKLE_INT:
    case LS_PICKLE_BOOL:
        return json_object_set_new(meta, path, json_integer(v->integer)) ? LS_ENOMEM : 0;
    case LS_PICKLE_FLOAT:
        json_object_set_new(meta, path, json_real(v->real)); // not for NaN and infinity
        return 0;
    case LS_PICKLE_TEXT:
        json_object_set_new(meta, path, json_string(v->text)); // not for invalid UTF-8
        return 0;
    case LS_PICKLE_STORAGE:
        return ls_fail(k->err, LS_EUNSUPPORTED,
                       "%s is a bare storage, not a tensor; save tensors or a state_dict instead",
                       *path ? path : "the file's object");
    case LS_PICKLE_GLOBAL:
    case LS_PICKLE_NONE:
    case LS_PICKLE_MARK:
        return 0;
    }
    return 0;
}

/* libzip reads the archive from the mapping, and tells by what it reads where a member's data lies.
 */
typedef struct zip_view {
    const uint8_t *data;
    zip_uint64_t size, at, last_read;
    zip_error_t error;
} zip_view;

static zip_int64_t serve_zip(void *opaque, void *data, zip_uint64_t len, zip_source_cmd_t cmd)
{
    zip_view *v = opaque;
    switch (cmd) {
    case ZIP_SOURCE_OPEN:
        v->at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        if (len > v->size - v->at)
            len = v->size - v->at;
        v->last_read = v->at;
        memcpy(data, v->data + v->at, len);
        v->at += len;
        return (zip_int64_t)len;
    case ZIP_SOURCE_SEEK: {
        zip_int64_t to = zip_source_seek_compute_offset(v->at, v->size, data, len, &v->error);
        if (to < 0)
            return -1;
        v->at = (zip_uint64_t)to;
        return 0;
    }
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)v->at;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *st = data;
        zip_stat_init(st);
        st->size = v->size;
        st->valid = ZIP_STAT_SIZE;
        return sizeof *st;
    }
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&v->error, data, len);
    case ZIP_SOURCE_SUPPORTS:
        return ZIP_SOURCE_SUPPORTS_SEEKABLE;
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    default:
        zip_error_set(&v->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

typedef struct archive {
    zip_view view;
    zip_t *zip;
    char root[256]; /* what comes before "/data.pkl" */
} archive;

/* The place of a stored member in the mapping. */
static int locate(archive *a, const char *name, storage_place *place, ls_error *err)
{
    zip_stat_t st;
    zip_int64_t index = zip_name_locate(a->zip, name, 0);
    const zip_uint64_t need = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if (index < 0 || zip_stat_index(a->zip, (zip_uint64_t)index, 0, &st) ||
        (st.valid & need) != need)
        return ls_fail(err, LS_EFORMAT, "member %s is missing; the file is incomplete", name);
    if (st.comp_method != ZIP_CM_STORE || st.comp_size != st.size)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "member %s is compressed; torch.save stores tensors uncompressed: load the "
                       "file and save it again",
                       name);
    *place = (storage_place){name, 0, 0};
    if (!st.size)
        return 0;
    zip_file_t *f = zip_fopen_index(a->zip, (zip_uint64_t)index, ZIP_FL_COMPRESSED);
    uint8_t first;
    bool ok = f && zip_fread(f, &first, 1) == 1;
    size_t begin = (size_t)a->view.last_read;
    ok = ok && begin < a->view.size && st.size <= a->view.size - begin &&
         a->view.data[begin] == first;
    zip_error_t *e = f ? zip_file_get_error(f) : zip_get_error(a->zip);
    int ret =
        ok ? 0
           : ls_fail(err, LS_EFORMAT, "member %s cannot be read: %s", name, zip_error_strerror(e));
    if (f)
        zip_fclose(f);
    place->begin = begin;
    place->end = begin + (size_t)st.size;
    return ret;
}

static int find_in_zip(void *opaque, const ls_pickle_value *s, storage_place *place, ls_error *err)
{
    archive *a = opaque;
    char name[512];
    if (snprintf(name, sizeof name, "%s/data/%s", a->root, s->text) >= (int)sizeof name)
        return ls_fail(err, LS_EFORMAT, "a storage has an impossible name");
    return locate(a, name, place, err);
}

static int find_root(archive *a, ls_error *err)
{
    zip_int64_t n = zip_get_num_entries(a->zip, 0);
    for (zip_int64_t i = 0; i < n; i++) {
        const char *name = zip_get_name(a->zip, (zip_uint64_t)i, 0);
        size_t length = name ? strlen(name) : 0;
        if (length <= 9 || length - 9 >= sizeof a->root || strcmp(name + length - 9, "/data.pkl"))
            continue;
        snprintf(a->root, sizeof a->root, "%.*s", (int)(length - 9), name);
        return 0;
    }
    return ls_fail(err, LS_EFORMAT,
                   "a zip archive, but not one of torch.save: there is no data.pkl in it");
}

static int check_byteorder(archive *a, const ls_weights *w, ls_error *err)
{
    char name[512];
    storage_place place;
    snprintf(name, sizeof name, "%s/byteorder", a->root);
    if (zip_name_locate(a->zip, name, 0) < 0)
        return 0;
    int ret = locate(a, name, &place, err);
    if (!ret && (place.end - place.begin < 6 || memcmp(w->map + place.begin, "little", 6)))
        ret = ls_fail(err, LS_EUNSUPPORTED,
                      "the file was saved on a big-endian machine; save it again on another one");
    return ret;
}

bool ls_is_torch_zip(const uint8_t *data, size_t size)
{
    return size >= 4 && !memcmp(data, "PK\3\4", 4);
}

int ls_read_torch_zip(ls_weights *w, ls_error *err)
{
    archive a = {.view = {.data = w->map, .size = w->map_size}};
    zip_error_init(&a.view.error);
    zip_error_t ze;
    zip_error_init(&ze);
    zip_source_t *source = zip_source_function_create(serve_zip, &a.view, &ze);
    a.zip = source ? zip_open_from_source(source, ZIP_RDONLY, &ze) : NULL;
    int ret = 0;
    if (!a.zip) {
        ret = ls_fail(err, LS_EFORMAT, "the archive cannot be read (%s); is the download complete?",
                      zip_error_strerror(&ze));
        zip_source_free(source);
    }
    char name[512];
    storage_place pkl;
    ls_pickle *p = NULL;
    if (!ret)
        ret = find_root(&a, err);
    if (!ret)
        ret = check_byteorder(&a, w, err);
    snprintf(name, sizeof name, "%s/data.pkl", a.root);
    if (!ret)
        ret = locate(&a, name, &pkl, err);
    size_t at = 0;
    if (!ret)
        ret = ls_pickle_read(&p, w->map + pkl.begin, pkl.end - pkl.begin, &at, err);
    if (!ret) {
        walker k = {w, find_in_zip, &a, err, 0};
        ret = walk(&k, ls_pickle_root(p), "", 0);
    }
    ls_pickle_free(&p);
    zip_error_fini(&ze);
    if (a.zip)
        zip_discard(a.zip);
    zip_error_fini(&a.view.error);
    return ret;
}

/* Low 64 bits of 0x1950a86a20f9469cfc6c. */
#define LEGACY_MAGIC 0xa86a20f9469cfc6c
#define LEGACY_PROTOCOL 1001

typedef struct legacy {
    storage_place *places;
    size_t count;
} legacy;

static int find_in_legacy(void *opaque, const ls_pickle_value *s, storage_place *place,
                          ls_error *err)
{
    const legacy *l = opaque;
    for (size_t i = 0; i < l->count; i++) {
        if (!strcmp(l->places[i].key, s->text)) {
            *place = l->places[i];
            return 0;
        }
    }
    return ls_fail(err, LS_EFORMAT, "storage %s is missing; the file is truncated or damaged",
                   s->text);
}

/* For each key an element count and the elements. */
static int read_places(legacy *l, const ls_weights *w, const ls_pickle_value *keys,
                       const ls_pickle *object, size_t at, ls_error *err)
{
    if (keys->kind != LS_PICKLE_LIST ||
        !(l->places = ls_calloc_array(keys->count, sizeof *l->places)))
        return ls_fail(err, LS_EFORMAT, "the list of storages is damaged");
    for (size_t i = 0; i < keys->count; i++) {
        uint64_t numel = 0;
        size_t bytes;
        if (keys->items[i]->kind != LS_PICKLE_TEXT || w->map_size - at < 8)
            return ls_fail(err, LS_EFORMAT, "the storages are missing; the file is truncated");
        for (int k = 8; k-- > 0;)
            numel = numel << 8 | w->map[at + (size_t)k];
        at += 8;
        const ls_pickle_value *s = ls_pickle_find_storage(object, keys->items[i]->text);
        size_t size = s ? ls_dtype_size(s->dtype) : 0;
        if (!size || !ls_mul_size((size_t)numel, size, &bytes) || bytes > w->map_size - at)
            return ls_fail(err, LS_EFORMAT,
                           "storage %s reaches beyond the file; it is truncated or damaged",
                           keys->items[i]->text);
        l->places[l->count++] = (storage_place){keys->items[i]->text, at, at + bytes};
        at += bytes;
    }
    return 0;
}

bool ls_is_torch_legacy(const uint8_t *data, size_t size)
{
    bool safetensors = size > 8 && data[8] == '{'; // its length may begin with the same bytes
    return !safetensors && size >= 4 && data[0] == 0x80 && data[1] >= 2 && data[1] <= 5;
}

int ls_read_torch_legacy(ls_weights *w, ls_error *err)
{
    enum { MAGIC, PROTOCOL, SYS_INFO, OBJECT, KEYS, PICKLES };
    ls_pickle *p[PICKLES] = {NULL};
    legacy l = {0};
    size_t at = 0;
    int ret = 0;
    for (int i = 0; !ret && i < PICKLES; i++) {
        ret = ls_pickle_read(&p[i], w->map, w->map_size, &at, err);
        if (!ret && i == MAGIC &&
            (ls_pickle_root(p[i])->kind != LS_PICKLE_INT ||
             (uint64_t)ls_pickle_root(p[i])->integer != LEGACY_MAGIC))
            ret = ls_fail(err, LS_EFORMAT, "a pickle, but not one of torch.save");
        if (!ret && i == PROTOCOL && ls_pickle_root(p[i])->integer != LEGACY_PROTOCOL)
            ret = ls_fail(err, LS_EUNSUPPORTED, "an unknown version of torch.save's old format");
    }
    if (!ret)
        ret = read_places(&l, w, ls_pickle_root(p[KEYS]), p[OBJECT], at, err);
    if (!ret) {
        walker k = {w, find_in_legacy, &l, err, 0};
        ret = walk(&k, ls_pickle_root(p[OBJECT]), "", 0);
    }
    free(l.places);
    for (int i = 0; i < PICKLES; i++)
        ls_pickle_free(&p[i]);
    return ret;
}
