#include "pull/store.h"
#include "base/alloc.h"
#include "base/output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define HUB "https://huggingface.co"

static const char *const versions[] = {"1.6", "1.5"};

/* What is downloaded; %s is the version. */
static const struct {
    const char *file, *known, *url;
} downloads[LS_MODEL_STORE_ARCHIVE + 1] = {
    {"latentsync_unet.pt", "%s/latentsync_unet.pt",
     HUB "/ByteDance/LatentSync-%s/resolve/main/latentsync_unet.pt"},
    {"whisper/tiny.pt", "whisper/tiny.pt",
     HUB "/ByteDance/LatentSync-%s/resolve/main/whisper/tiny.pt"},
    {"vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
     HUB "/stabilityai/sd-vae-ft-mse/resolve/main/diffusion_pytorch_model.safetensors"},
    {"auxiliary/syncnet_v2.model", "auxiliary/syncnet_v2.model",
     HUB "/ByteDance/LatentSync-%s/resolve/main/auxiliary/syncnet_v2.model"},
    {"stable_syncnet.pt", "stable_syncnet.pt",
     HUB "/ByteDance/LatentSync-1.6/resolve/main/stable_syncnet.pt"},
    {"face/buffalo_l.zip", "buffalo_l.zip",
     "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip"},
};
static const char *const faces[] = {"face/det_10g.onnx", "face/2d106det.onnx"};

static const ls_known_file *known_of(const char *version, size_t i)
{
    char name[128];
    snprintf(name, sizeof name, downloads[i].known, version);
    return ls_known_file_find(name);
}

void ls_model_store_say(const ls_model_store *st, int level, const char *fmt, ...)
{
    char line[3 * PATH_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    if (st->log.write)
        st->log.write(st->log.opaque, level, line);
}

void ls_pull_default_settings(ls_pull_settings *s, size_t size)
{
    const ls_pull_settings all = {
        .size = size, .version = versions[0], .stall_seconds = 30, .retries = 5};
    memcpy(s, &all, size < sizeof all ? size : sizeof all);
}

static int complete_settings(ls_pull_settings *all, const ls_pull_settings *s, ls_error *err)
{
    ls_pull_default_settings(all, sizeof *all);
    if (!s->size || s->size > sizeof *all)
        return ls_fail(err, LS_EINVAL,
                       "the settings have size %zu: use ls_pull_default_settings of this version",
                       s->size);
    memcpy(all, s, s->size);
    all->version = all->version ? all->version : versions[0];
    if (strcmp(all->version, versions[0]) && strcmp(all->version, versions[1]))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL, "unknown version \"%s\" of LatentSync: 1.6 or 1.5",
                                 all->version),
                         LS_HINT_NONE, "version");
    return 0;
}

int ls_pull_directory(const ls_pull_settings *s, char *dir, size_t size, ls_error *err)
{
    ls_pull_settings all;
    char home[PATH_MAX];
    int ret = complete_settings(&all, s, err);
    if (!ret && !all.folder)
        ret = ls_models_home(home, sizeof home, err);
    const char *folder = all.folder ? all.folder : home;
    if (!ret && snprintf(dir, size, "%s/%s", folder, all.version) >= (int)size)
        ret = ls_fail(err, LS_EINVAL, "%s: the path is too long", folder);
    return ret;
}

static bool has_size(const char *path, uint64_t size)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

int ls_pull_has_faces(const char *dir)
{
    char path[PATH_MAX];
    bool all = true;
    for (size_t i = 0; i < LS_COUNT(faces); i++)
        all = all && snprintf(path, sizeof path, "%s/%s", dir, faces[i]) < (int)sizeof path &&
              has_size(path, ls_known_file_find(faces[i])->size);
    return all;
}

int ls_model_store_make_folders(const char *path, ls_error *err)
{
    char folder[PATH_MAX];
    for (const char *end = path; (end = strchr(end + 1, '/'));) {
        snprintf(folder, sizeof folder, "%.*s", (int)(end - path), path);
        const int failed = mkdir(folder, 0777) ? errno : 0;
        if (failed && access(folder, F_OK))
            return ls_fail_errno(err, failed, "cannot create the folder %s", folder);
    }
    return 0;
}

/* "http[s]://HOST..." */
static int check_server(const ls_model_store *st, const char *url, const char *option,
                        ls_error *err)
{
    if (!url)
        return 0;
    if (strncasecmp(url, "https://", 8) && strncasecmp(url, "http://", 7))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "\"%s\" as the mirror: https://HOST or http://HOST is expected",
                                 url),
                         LS_HINT_NONE, option);
    if (st->s.insecure || !ls_url_is_open(url))
        return 0;
    return ls_advise(err,
                     ls_fail(err, LS_EINVAL,
                             "the mirror %s: by http anybody on the way can see and alter what is "
                             "sent; use https",
                             url),
                     LS_HINT_ALLOW_HTTP, option);
}

static const char *given(const char *setting, const char *variable)
{
    const char *value = setting ? setting : getenv(variable);
    return value && (setting || *value) ? value : NULL;
}

static int choose_servers(ls_model_store *st, ls_error *err)
{
    st->archive = st->s.mirror;
    st->hub = given(st->s.mirror, "HF_ENDPOINT");
    st->token = given(st->s.token, "HF_TOKEN");
    for (const char *c = st->token; c && *c; c++)
        if (*c <= ' ' || *c >= 0x7f)
            return ls_advise(
                err, ls_fail(err, LS_EINVAL, "the token for Hugging Face holds a space or worse"),
                LS_HINT_NONE, "token");
    return check_server(st, st->hub, st->s.mirror ? "mirror" : NULL, err);
}

int ls_model_store_describe(ls_model_store *st, size_t i, ls_model_store_paths *paths,
                            ls_download *d, ls_error *err)
{
    const bool archive = i == LS_MODEL_STORE_ARCHIVE;
    const char *mirror = archive ? st->archive : st->hub;
    char url[256];
    snprintf(url, sizeof url, downloads[i].url, st->s.version);
    const char *end = mirror ? strchr(url + sizeof "https://" - 1, '/') : url;
    size_t n = mirror ? strlen(mirror) : 0;
    while (n && mirror[n - 1] == '/')
        n--;
    if (snprintf(paths->url, sizeof paths->url, "%.*s%s", (int)n, mirror ? mirror : "", end) >=
        (int)sizeof paths->url)
        return ls_fail(err, LS_EINVAL, "the URL of the mirror is too long");
    snprintf(paths->path, sizeof paths->path, "%s/%s", st->dir, downloads[i].file);
    const ls_known_file *known = known_of(st->s.version, i);
    const bool secret = st->token && !archive && !strncasecmp(paths->url, "https:", 6);
    *d = (ls_download){.name = archive ? known->name : downloads[i].file,
                       .url = paths->url,
                       .path = paths->path,
                       .sha256 = known->sha256,
                       .size = known->size,
                       .insecure = st->s.insecure,
                       .token = secret ? st->token : NULL,
                       .reached = &st->reached[archive && !st->archive],
                       .stall_seconds = st->s.stall_seconds,
                       .retries = st->s.retries,
                       .cancel = st->s.cancel,
                       .log = st->log,
                       .progress = st->s.progress,
                       .opaque = st->s.opaque};
    return 0;
}

/* Whether the file at `path` is file `i` of the store: 1, 0 or an error. */
static int is_file(const ls_model_store *st, size_t i, const char *path, ls_error *err)
{
    const ls_download d = {.name = st->files[i].name,
                           .cancel = st->s.cancel,
                           .progress = st->s.progress,
                           .opaque = st->s.opaque};
    return has_size(path, st->files[i].known->size)
               ? ls_download_check(&d, path, st->files[i].known->sha256, err)
               : 0;
}

int ls_model_store_place(ls_model_store *st, size_t i, const char *from, ls_error *err)
{
    char path[PATH_MAX], temporary[PATH_MAX], real[PATH_MAX];
    const char *how = "hard link to";
    snprintf(path, sizeof path, "%s/%s", st->dir, st->files[i].name);
    snprintf(temporary, sizeof temporary, "%s/%s.link", st->dir, st->files[i].name);
    int ret = ls_model_store_make_folders(path, err);
    if (!ret && !realpath(from, real))
        ret = ls_fail_errno(err, errno, "%s", from);
    if (ret)
        return ret;
    unlink(temporary);
    if (link(real, temporary)) {
        how = symlink(real, temporary) ? "copy of" : "symbolic link to";
        if (*how == 'c')
            ret = ls_output_copy(real, temporary, NULL, err);
    }
    if (!ret && rename(temporary, path))
        ret = ls_fail_errno(err, errno, "cannot write %s", path);
    unlink(temporary); // which is there still if both were the same file
    if (ret)
        return ret;
    st->files[i].there = true;
    ls_model_store_say(st, LS_LOG_INFO, "%s: checked, %s %s", st->files[i].name, how, real);
    return 0;
}

/* Takes the file from another version's directory, if it has it. */
static int take_from_other(ls_model_store *st, size_t i, ls_error *err)
{
    char other[PATH_MAX];
    const int parent = (int)(strrchr(st->dir, '/') - st->dir);
    for (size_t v = 0; v < LS_COUNT(versions); v++) {
        if (!strcmp(versions[v], st->s.version) ||
            snprintf(other, sizeof other, "%.*s/%s/%s", parent, st->dir, versions[v],
                     st->files[i].name) >= (int)sizeof other)
            continue;
        const int ret = is_file(st, i, other, err);
        if (ret)
            return ret == 1 ? ls_model_store_place(st, i, other, err) : ret;
    }
    return 0;
}

static int look(ls_model_store *st, size_t i, ls_error *err)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s", st->dir, st->files[i].name);
    const int ret = is_file(st, i, path, err);
    st->files[i].there = ret == 1;
    if (ret == 1)
        ls_model_store_say(st, LS_LOG_INFO, "%s: there already, checked", st->files[i].name);
    else if (!ret && !access(path, F_OK))
        ls_model_store_say(st, LS_LOG_WARN, "%s: not the published file", path);
    return ret ? (ret == 1 ? 0 : ret) : take_from_other(st, i, err);
}

/* The folder itself is what is locked. */
static int lock(ls_model_store *st, ls_error *err)
{
    st->lock = open(st->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (st->lock < 0)
        return ls_fail_errno(err, errno, "%s", st->dir);
    if (flock(st->lock, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return ls_advise(
            err,
            ls_fail(err, LS_EBUSY, "another process is downloading or importing into %s", st->dir),
            LS_HINT_WAIT, NULL);
    return 0;
}

int ls_model_store_open(ls_model_store *st, const ls_pull_settings *s, bool all, ls_error *err)
{
    char path[PATH_MAX];
    *st = (ls_model_store){.lock = -1};
    int ret = complete_settings(&st->s, s, err);
    if (!ret)
        ret = choose_servers(st, err);
    if (!ret)
        ret = ls_pull_directory(&st->s, st->dir, sizeof st->dir, err);
    if (ret)
        return ret;
    st->log = (ls_log){LS_LOG_DEBUG, st->s.message, st->s.opaque};
    for (size_t i = 0; i < LS_MODEL_STORE_FILES; i++) {
        const bool face = i >= LS_MODEL_STORE_FACES;
        st->files[i].wanted = face                          ? all || st->s.faces
                              : i >= LS_MODEL_STORE_SYNCNET ? st->s.syncnet
                                                            : true;
        st->files[i].name = face ? faces[i - LS_MODEL_STORE_FACES] : downloads[i].file;
        st->files[i].known =
            face ? ls_known_file_find(st->files[i].name) : known_of(st->s.version, i);
    }
    snprintf(path, sizeof path, "%s/", st->dir);
    ret = ls_model_store_make_folders(path, err);
    if (!ret)
        ret = lock(st, err);
    for (size_t i = 0; !ret && i < LS_MODEL_STORE_FILES; i++)
        if (all || st->files[i].wanted)
            ret = look(st, i, err);
    return ret;
}

void ls_model_store_close(ls_model_store *st)
{
    if (st->lock >= 0)
        close(st->lock);
}

bool ls_model_store_lacks(const ls_model_store *st, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++)
        if (st->files[i].wanted && !st->files[i].there)
            return true;
    return false;
}

/* What the files do not say: see ls_models_defaults. */
int ls_model_store_write_about(const ls_model_store *st, ls_error *err)
{
    char path[PATH_MAX], text[32];
    ls_output_file o;
    const int n = snprintf(text, sizeof text, "{\"resolution\": %d}\n",
                           strcmp(st->s.version, "1.5") ? 512 : 256);
    snprintf(path, sizeof path, "%s/model.json", st->dir);
    int ret = ls_output_open(&o, path, err);
    return ret ? ret : ls_output_close(&o, ls_output_write(&o, text, (size_t)n, err), err);
}

void ls_model_store_list_missing(ls_model_store *st, int level, const char *heading)
{
    ls_model_store_paths paths;
    ls_download d;
    ls_model_store_say(st, level, "%s", heading);
    for (size_t i = 0; i <= LS_MODEL_STORE_ARCHIVE; i++)
        if (ls_model_store_lacks(st, i,
                                 i == LS_MODEL_STORE_ARCHIVE ? LS_MODEL_STORE_FILES : i + 1) &&
            !ls_model_store_describe(st, i, &paths, &d, NULL)) {
            ls_model_store_make_folders(paths.path, NULL);
            ls_model_store_say(st, level, "%s %s %s", d.url, d.sha256, d.path);
        }
}
