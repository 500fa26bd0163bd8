/* "torch.save" since 1.6: a zip archive of stored members ROOT/data.pkl and ROOT/data/KEY. libzip
 * reads the directory out of the mapping; tensors are then read from the mapping itself. */
#include "weights/torch.h"
#include "base/alloc.h"

#include <inttypes.h>
#include <stdlib.h>
#include <zip.h>

#define MAX_PICKLE ((uint64_t)64 << 20)

/* The mapping as a libzip source. `last` records where it last read, which shows where a member's
 * data starts without parsing zip headers here. */
typedef struct mapping {
    const uint8_t *data;
    size_t size, pos, last;
    zip_error_t error;
} mapping;

typedef struct archive {
    mapping m;
    zip_t *zip;
    char *root;
    size_t root_len;
} archive;

static zip_int64_t serve(void *opaque, void *data, zip_uint64_t len, zip_source_cmd_t cmd)
{
    mapping *m = opaque;
    zip_stat_t *st = data;
    zip_int64_t pos;
    switch (cmd) {
    case ZIP_SOURCE_OPEN:
        m->pos = 0;
        return 0;
    case ZIP_SOURCE_READ:
        if (len > m->size - m->pos)
            len = m->size - m->pos;
        memcpy(data, m->data + m->pos, (size_t)len);
        m->last = m->pos;
        m->pos += (size_t)len;
        return (zip_int64_t)len;
    case ZIP_SOURCE_SEEK:
        if ((pos = zip_source_seek_compute_offset(m->pos, m->size, data, len, &m->error)) < 0)
            return -1;
        m->pos = (size_t)pos;
        return 0;
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)m->pos;
    case ZIP_SOURCE_STAT:
        zip_stat_init(st);
        st->size = m->size;
        st->valid |= ZIP_STAT_SIZE;
        return sizeof *st;
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&m->error, data, len);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    default:
        zip_error_set(&m->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

/* *index: of ROOT/`name`; -1 if there is none. */
static int find(const archive *a, const char *name, size_t name_len, zip_int64_t *index,
                ls_error *err)
{
    char *path = malloc(a->root_len + name_len + 1);
    *index = -1;
    if (path) {
        memcpy(path, a->root, a->root_len);
        memcpy(path + a->root_len, name, name_len);
        path[a->root_len + name_len] = 0;
        *index = zip_name_locate(a->zip, path, 0);
    }
    const bool failed =
        !path || (*index < 0 && zip_error_code_zip(zip_get_error(a->zip)) == ZIP_ER_MEMORY);
    free(path);
    return failed ? ls_fail(err, LS_ENOMEM, "out of memory") : 0;
}

/* Reads a whole member, inflated if necessary, into memory that the caller frees. */
static int read_member(const archive *a, const char *name, uint8_t **out, size_t *size,
                       ls_error *err)
{
    zip_stat_t st;
    zip_int64_t i;
    int ret = find(a, name, strlen(name), &i, err);
    if (ret)
        return ret;
    if (i < 0 || zip_stat_index(a->zip, (zip_uint64_t)i, 0, &st))
        return ls_fail(err, LS_EFORMAT, "a zip archive without %s%s: not written by torch.save",
                       a->root, name);
    if (st.encryption_method != ZIP_EM_NONE)
        return ls_fail(err, LS_EUNSUPPORTED, "%s%s is encrypted", a->root, name);
    if (st.size > MAX_PICKLE)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "%s%s: %" PRIu64 " bytes; at most %" PRIu64 " are supported", a->root, name,
                       st.size, MAX_PICKLE);
    if (!(*out = malloc(st.size ? st.size : 1)))
        return ls_fail(err, LS_ENOMEM, "out of memory for %s%s", a->root, name);
    zip_file_t *f = zip_fopen_index(a->zip, (zip_uint64_t)i, 0);
    bool ok = f && zip_fread(f, *out, st.size) == (zip_int64_t)st.size;
    /* The read that hits the end verifies the checksum. */
    ok = ok && zip_fread(f, &(char){0}, 1) == 0;
    *size = st.size;
    if (!ok) {
        ls_fail(err, LS_EFORMAT, "%s%s cannot be read: %s", a->root, name,
                f ? zip_file_strerror(f) : zip_strerror(a->zip));
        free(*out);
        *out = NULL;
    }
    if (f)
        zip_fclose(f);
    return ok ? 0 : LS_EFORMAT;
}

static int locate(void *opaque, ls_storage *s, ls_error *err)
{
    archive *a = opaque;
    zip_stat_t st;
    char name[128];
    size_t bytes;
    if (s->offset)
        return 0;
    int n =
        snprintf(name, sizeof name, "data/%.*s", (int)(s->key.n < 100 ? s->key.n : 100), s->key.s);
    zip_int64_t i = -1;
    int ret = s->key.n > 100 ? 0 : find(a, name, (size_t)n, &i, err);
    if (ret)
        return ret;
    if (i < 0 || zip_stat_index(a->zip, (zip_uint64_t)i, 0, &st))
        return ls_fail(err, LS_EFORMAT, "the archive has no member %s%s", a->root, name);
    if (st.comp_method != ZIP_CM_STORE || st.encryption_method != ZIP_EM_NONE)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "member %s%s is compressed or encrypted; save it again with torch.save",
                       a->root, name);
    if (!ls_mul_size(s->numel, ls_dtype_size(s->dtype), &bytes) || bytes > st.size ||
        st.comp_size != st.size)
        return ls_fail(err, LS_EFORMAT, "member %s%s has %" PRIu64 " bytes for %zu elements of %s",
                       a->root, name, st.size, s->numel, ls_dtype_name(s->dtype));
    zip_file_t *f = zip_fopen_index(a->zip, (zip_uint64_t)i, ZIP_FL_COMPRESSED);
    bool ok = f && zip_fread(f, &(char){0}, 1) == 1;
    s->offset = a->m.last;
    if (f)
        zip_fclose(f);
    if (!ok || s->offset > a->m.size || bytes > a->m.size - s->offset)
        return ls_fail(err, LS_EFORMAT, "member %s%s lies outside the file", a->root, name);
    return 0;
}

/* All members lie in one folder, whatever its name. */
static int find_root(archive *a, ls_error *err)
{
    const char *first = zip_get_num_entries(a->zip, 0) > 0 ? zip_get_name(a->zip, 0, 0) : NULL;
    const char *slash = first ? strchr(first, '/') : NULL;
    if (!slash)
        return ls_fail(err, LS_EFORMAT, "a zip archive, but not written by torch.save");
    a->root_len = (size_t)(slash + 1 - first);
    a->root = strndup(first, a->root_len);
    return a->root ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

static int check_byteorder(const archive *a, ls_error *err)
{
    uint8_t *text = NULL;
    size_t size;
    zip_int64_t i;
    int ret = find(a, "byteorder", 9, &i, err);
    if (ret || i < 0)
        return ret; // older than torch 2.0: little
    ret = read_member(a, "byteorder", &text, &size, err);
    if (!ret && (size != 6 || memcmp(text, "little", 6)))
        ret = ls_fail(err, LS_EUNSUPPORTED, "byte order \"%.*s\"; only little endian is supported",
                      (int)(size < 20 ? size : 20), text);
    free(text);
    return ret;
}

static int read_archive(ls_weights *w, archive *a, ls_error *err)
{
    uint8_t *data = NULL;
    size_t size, used;
    const ls_value *top;
    int ret = find_root(a, err);
    if (ret || (ret = check_byteorder(a, err)) ||
        (ret = read_member(a, "data.pkl", &data, &size, err)))
        return ret;
    ls_pickle *p = ls_pickle_new();
    if (!p)
        ret = ls_fail(err, LS_ENOMEM, "out of memory for the unpickler");
    else if ((ret = ls_pickle_load(p, data, size, &top, &used, err)))
        ls_fail_context(err, ret, "%sdata.pkl", a->root);
    else
        ret = ls_torch_collect(w, top, locate, a, err);
    ls_pickle_close(&p);
    free(data);
    return ret;
}

int ls_torch_zip_read(ls_weights *w, ls_error *err)
{
    archive a = {.m = {.data = w->data, .size = w->size}};
    zip_error_t why;
    zip_error_init(&why);
    zip_error_init(&a.m.error);
    int ret = 0;
    zip_source_t *source = zip_source_function_create(serve, &a.m, &why);
    if (!source || !(a.zip = zip_open_from_source(source, ZIP_RDONLY, &why))) {
        ret = ls_fail(err, LS_EFORMAT, "zip archive: %s; the file may be truncated",
                      zip_error_strerror(&why));
        if (source)
            zip_source_free(source);
    } else {
        ret = read_archive(w, &a, err);
        zip_discard(a.zip);
    }
    free(a.root);
    zip_error_fini(&why);
    zip_error_fini(&a.m.error);
    return ret;
}
