#include "pull/store.h"
#include "base/alloc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_DEPTH 16
#define MAX_ENTRIES 200000

typedef struct walk {
    ls_model_store *st;
    char path[PATH_MAX];
    size_t entries, found;
    const char *other; /* a version whose UNet seems to be there, though another is asked for */
    struct {
        dev_t dev;
        ino_t ino;
    } above[MAX_DEPTH]; /* the folders that lead to `path` */
} walk;

/* Whether the file at w->path, of the right size, is the known one: 1, 0 or LS_ECANCELED. */
static int matches(const walk *w, const char *name, const ls_known_file *known, ls_error *err)
{
    const ls_pull_settings *s = &w->st->s;
    const ls_download d = {
        .name = name, .cancel = s->cancel, .progress = s->progress, .opaque = s->opaque};
    const int ret = ls_download_check(&d, w->path, known->sha256, err);
    if (ret == LS_ECANCELED)
        return ret;
    if (ret < 0)
        ls_model_store_say(w->st, LS_LOG_WARN, "%s: not read: %s", w->path, err->message);
    else if (!ret)
        ls_model_store_say(w->st, LS_LOG_WARN,
                           "%s has the size of %s but not its SHA-256, so it is ignored", w->path,
                           name);
    return ret == 1;
}

static void note_other_version(walk *w, uint64_t size)
{
    static const char *const names[] = {"1.6/latentsync_unet.pt", "1.5/latentsync_unet.pt"};
    for (size_t i = 0; i < LS_COUNT(names); i++)
        if (strncmp(names[i], w->st->s.version, 3) && size == ls_known_file_find(names[i])->size)
            w->other = i ? "1.5" : "1.6";
}

static int consider(walk *w, uint64_t size, ls_error *err)
{
    ls_model_store *st = w->st;
    const ls_known_file *archive = ls_known_file_find("buffalo_l.zip");
    int ret = 0;
    for (size_t i = 0; !ret && i < LS_MODEL_STORE_FILES; i++) {
        if (st->files[i].there || size != st->files[i].known->size)
            continue;
        ret = matches(w, st->files[i].name, st->files[i].known, err);
        if (ret == 1) {
            w->found++;
            return ls_model_store_place(st, i, w->path, err);
        }
    }
    if (!ret && size == archive->size &&
        ls_model_store_lacks(st, LS_MODEL_STORE_FACES, LS_MODEL_STORE_FILES) &&
        (ret = matches(w, archive->name, archive, err)) == 1) {
        w->found++;
        return ls_model_store_extract(st, w->path, err);
    }
    note_other_version(w, size);
    return ret;
}

/* Also what is not wanted is taken where it is. */
static bool is_complete(const ls_model_store *st)
{
    for (size_t i = 0; i < LS_MODEL_STORE_FILES; i++)
        if (!st->files[i].there)
            return false;
    return true;
}

static bool is_above(const walk *w, size_t depth, const struct stat *st)
{
    for (size_t i = 0; i < depth; i++)
        if (w->above[i].dev == st->st_dev && w->above[i].ino == st->st_ino)
            return true;
    return false;
}

/* Looks through the folder w->path, which is `depth` below the first. Links are followed, but not
 * to a folder that leads here. */
static int visit(walk *w, size_t depth, ls_error *err)
{
    const size_t n = strlen(w->path);
    struct stat st;
    DIR *d = opendir(w->path);
    int ret = 0;
    if (!d || fstat(dirfd(d), &st)) {
        const int failed = errno;
        if (d)
            closedir(d);
        return depth ? 0 : ls_fail_errno(err, failed, "%s", w->path);
    }
    w->above[depth].dev = st.st_dev;
    w->above[depth].ino = st.st_ino;
    for (struct dirent *e;
         !ret && !is_complete(w->st) && w->entries < MAX_ENTRIES && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        w->entries++;
        if (ls_canceled(w->st->s.cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
        else if (snprintf(w->path + n, sizeof w->path - n, "/%s", e->d_name) >=
                     (int)(sizeof w->path - n) ||
                 stat(w->path, &st))
            continue;
        else if (S_ISREG(st.st_mode))
            ret = consider(w, (uint64_t)st.st_size, err);
        else if (S_ISDIR(st.st_mode) && depth + 1 < MAX_DEPTH && !is_above(w, depth + 1, &st))
            ret = visit(w, depth + 1, err);
    }
    w->path[n] = '\0';
    closedir(d);
    return ret;
}

static int import(ls_model_store *st, const char *from, ls_error *err)
{
    walk w = {.st = st};
    if (snprintf(w.path, sizeof w.path, "%s", from) >= (int)sizeof w.path)
        return ls_fail(err, LS_EINVAL, "%s: the path is too long", from);
    int ret = visit(&w, 0, err);
    if (!ret && w.entries >= MAX_ENTRIES)
        ls_model_store_say(st, LS_LOG_WARN,
                           "%s: only the first %d files and folders were looked at", from,
                           MAX_ENTRIES);
    if (!ret && w.found)
        ret = ls_model_store_write_about(st, err);
    if (ret || !ls_model_store_lacks(st, 0, LS_MODEL_STORE_FILES))
        return ret;
    if (!st->files[0].there && w.other)
        ls_model_store_say(st, LS_LOG_NOTICE,
                           "%s seems to have the UNet of LatentSync %s, not of %s", from, w.other,
                           st->s.version);
    if (!w.found)
        ret = ls_fail(err, LS_ENOENT, "%s has no published file that %s lacks", from, st->dir);
    ls_model_store_list_missing(
        st, LS_LOG_NOTICE,
        "still missing, by URL, SHA-256 and path (buffalo_l.zip has the face "
        "networks, for non-commercial research only):");
    return ret;
}

int ls_models_import(const ls_pull_settings *s, const char *from, ls_error *err)
{
    ls_model_store st;
    ls_error own;
    err = err ? err : &own;
    int ret = ls_model_store_open(&st, s, true, err);
    if (!ret)
        ret = import(&st, from, err);
    ls_model_store_close(&st);
    return ret;
}
