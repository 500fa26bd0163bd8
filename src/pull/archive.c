#include "base/output.h"
#include "base/digest.h"
#include "pull/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <zip.h>

#define ARCHIVE "buffalo_l.zip"

/* Writes an entry to `o`, and its SHA-256 to `text`. */
static int unpack(zip_t *zip, zip_uint64_t entry, const ls_known_file *known,
                  const ls_output_file *o, char text[LS_SHA256_TEXT], ls_error *err)
{
    uint8_t block[65536], sha256[LS_SHA256_BYTES];
    uint64_t left = known->size;
    zip_int64_t n = -1;
    int ret = 0;
    ls_digest *sha = ls_digest_new();
    zip_file_t *f = sha ? zip_fopen_index(zip, entry, 0) : NULL;
    if (!sha)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    while (!ret && f && (n = zip_fread(f, block, sizeof block)) > 0 && (uint64_t)n <= left) {
        ls_digest_add(sha, block, (size_t)n);
        left -= (uint64_t)n;
        ret = ls_output_write(o, block, (size_t)n, err);
    }
    if (!ret && (n != 0 || left))
        ret = ls_fail(err, LS_EFORMAT, "%s in " ARCHIVE " cannot be read: %s", known->name,
                      f ? zip_file_strerror(f) : zip_strerror(zip));
    ls_digest_end(sha, sha256);
    ls_digest_text(text, sha256);
    if (f)
        zip_fclose(f);
    ls_digest_free(&sha);
    return ret;
}

/* The entry is found by its name in whatever folder; neither the other entries nor where the
 * archive says that they belong matters. */
static int extract(zip_t *zip, const char *path, const ls_known_file *known, ls_error *err)
{
    const char *name = strrchr(known->name, '/') + 1;
    const zip_int64_t i = zip_name_locate(zip, name, ZIP_FL_NODIR);
    char text[LS_SHA256_TEXT] = "";
    zip_stat_t st;
    ls_output_file o;
    if (i < 0 || zip_stat_index(zip, (zip_uint64_t)i, 0, &st))
        return ls_fail(err, LS_EFORMAT, ARCHIVE " has no %s", name);
    if (st.size != known->size)
        return ls_fail(err, LS_EFORMAT,
                       "%s in " ARCHIVE " has %" PRIu64 " bytes instead of %" PRIu64, name, st.size,
                       known->size);
    ls_output_remove_stale(path);
    int ret = ls_output_open(&o, path, err);
    if (ret)
        return ret;
    ret = unpack(zip, (zip_uint64_t)i, known, &o, text, err);
    if (!ret && strcmp(text, known->sha256))
        ret = ls_fail(err, LS_EFORMAT, "%s in " ARCHIVE " has SHA-256 %s instead of %s", name, text,
                      known->sha256);
    return ls_output_close(&o, ret, err);
}

int ls_model_store_extract(ls_model_store *st, const char *archive, ls_error *err)
{
    char path[PATH_MAX];
    int code = 0, ret = 0;
    zip_t *zip = zip_open(archive, ZIP_RDONLY, &code);
    if (!zip) {
        zip_error_t e;
        zip_error_init_with_code(&e, code);
        ret = ls_fail(err, LS_EFORMAT, "%s cannot be read: %s", archive, zip_error_strerror(&e));
        zip_error_fini(&e);
        return ret;
    }
    for (size_t i = LS_MODEL_STORE_FACES; !ret && i < LS_MODEL_STORE_FILES; i++) {
        if (st->files[i].there)
            continue;
        snprintf(path, sizeof path, "%s/%s", st->dir, st->files[i].name);
        ret = ls_model_store_make_folders(path, err);
        if (!ret && !(ret = extract(zip, path, st->files[i].known, err))) {
            st->files[i].there = true;
            ls_model_store_say(st, LS_LOG_INFO, "%s: complete, checked, from %s", st->files[i].name,
                               archive);
        }
    }
    zip_discard(zip);
    return ret;
}
