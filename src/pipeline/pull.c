#include "pipeline/pull.h"
#include "base/output.h"
#include "base/digest.h"
#include "models/models.h"
#include "pipeline/known.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zip.h>

#define HUB "https://huggingface.co"
#define ARCHIVE "buffalo_l.zip"

static const char *const versions[] = {"1.6", "1.5"};

/* Of the hub's files; %s is the version. */
static const struct {
    const char *file, *known, *url;
} files[] = {
    {"latentsync_unet.pt", "%s/latentsync_unet.pt",
     HUB "/ByteDance/LatentSync-%s/resolve/main/latentsync_unet.pt"},
    {"whisper/tiny.pt", "whisper/tiny.pt",
     HUB "/ByteDance/LatentSync-%s/resolve/main/whisper/tiny.pt"},
    {"vae/diffusion_pytorch_model.safetensors", "vae/diffusion_pytorch_model.safetensors",
     HUB "/stabilityai/sd-vae-ft-mse/resolve/main/diffusion_pytorch_model.safetensors"},
};

static const char archive_url[] =
    "https://github.com/deepinsight/insightface/releases/download/v0.7/" ARCHIVE;
static const char *const faces[] = {"face/det_10g.onnx", "face/2d106det.onnx"};

static const ls_pull_item items[] = {
    {"LatentSync's UNet, of ByteDance", "OpenRAIL++: use with the restrictions it lists",
     5072222488},
    {"Whisper tiny, of OpenAI", "MIT", 75572083},
    {"the VAE sd-vae-ft-mse, of Stability AI", "MIT", 334643276},
    {"the face networks det_10g and 2d106det, of InsightFace's " ARCHIVE,
     "for non-commercial research only", 288621354},
};

typedef struct pull {
    const ls_pull_settings *s;
    const ls_cancel *cancel;
    char dir[PATH_MAX - 128];
    ls_log log;
} pull;

void ls_pull_default_settings(ls_pull_settings *s)
{
    *s = (ls_pull_settings){
        .version = versions[0], .faces = true, .stall_seconds = 30, .retries = 5};
}

const ls_pull_item *ls_pull_get_item(size_t index)
{
    return index < sizeof items / sizeof *items ? &items[index] : NULL;
}

int ls_pull_directory(const ls_pull_settings *s, char *dir, size_t size, ls_error *err)
{
    char home[PATH_MAX];
    if (strcmp(s->version, versions[0]) && strcmp(s->version, versions[1]))
        return ls_fail(err, LS_EINVAL, "there is no LatentSync \"%s\" here: 1.6 or 1.5",
                       s->version);
    int ret = s->folder ? 0 : ls_models_home(home, sizeof home, err);
    if (!ret && snprintf(dir, size, "%s/%s", s->folder ? s->folder : home, s->version) >= (int)size)
        ret = ls_fail(err, LS_EINVAL, "the path of the folder is too long");
    return ret;
}

static bool has_size(const char *path, uint64_t size)
{
    struct stat st;
    return !stat(path, &st) && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
}

bool ls_pull_has_faces(const char *dir)
{
    char path[PATH_MAX];
    bool all = true;
    for (size_t i = 0; i < sizeof faces / sizeof *faces; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, faces[i]);
        all = all && has_size(path, ls_known_file_find(faces[i])->size);
    }
    return all;
}

/* Makes the folders in front of the last '/'. */
static int make_folders(char *path, ls_error *err)
{
    for (char *p = path + 1; *p; p++)
        if (*p == '/') {
            *p = 0;
            const int failed = mkdir(path, 0777) ? errno : 0;
            if (failed && access(path, F_OK))
                return ls_fail_errno(err, failed, "cannot make the folder %s", path);
            *p = '/';
        }
    return 0;
}

/* The URL with the mirror in place of scheme and host. */
static int place_url(const pull *p, char *out, size_t size, const char *url, ls_error *err)
{
    const char *mirror = p->s->mirror;
    const char *path = mirror ? strchr(url + sizeof "https://" - 1, '/') : url;
    size_t n = mirror ? strlen(mirror) : 0;
    while (n && mirror[n - 1] == '/')
        n--;
    if (snprintf(out, size, "%.*s%s", (int)n, mirror ? mirror : "", path) >= (int)size)
        return ls_fail(err, LS_EINVAL, "the URL of the mirror is too long");
    return 0;
}

static ls_download describe(const pull *p, const char *name, const char *path,
                            const ls_known_file *known)
{
    return (ls_download){.name = name,
                         .path = path,
                         .sha256 = known->sha256,
                         .size = known->size,
                         .stall_seconds = p->s->stall_seconds,
                         .retries = p->s->retries,
                         .cancel = p->cancel,
                         .log = p->log,
                         .progress = p->s->progress,
                         .opaque = p->s->opaque};
}

/* Takes the file from another version's directory, if that has it as it has to be: 1, 0 or an
 * error. */
static int take_from_other(const pull *p, const char *name, const char *path,
                           const ls_known_file *known, ls_error *err)
{
    char other[PATH_MAX];
    const int parent = (int)(strrchr(p->dir, '/') - p->dir);
    for (size_t i = 0; i < sizeof versions / sizeof *versions; i++) {
        const ls_download d = describe(p, name, other, known);
        if (!strcmp(versions[i], p->s->version) || !access(path, F_OK) ||
            snprintf(other, sizeof other, "%.*s/%s/%s", parent, p->dir, versions[i], name) >=
                (int)sizeof other ||
            !has_size(other, known->size))
            continue;
        int ret = ls_download_check(&d, other, known->sha256, err);
        if (ret == 1 && link(other, path))
            ret = ls_output_copy(other, path, NULL, err) ? err->code : 1;
        if (ret == 1)
            ls_log_msg(&p->log, LS_LOG_INFO, "%s: the same as in %s", name, versions[i]);
        if (ret)
            return ret;
    }
    return 0;
}

static int pull_file(const pull *p, size_t i, ls_error *err)
{
    char path[PATH_MAX], url[4096], name[128], place[256];
    const char *file = files[i].file;
    bool there;
    snprintf(name, sizeof name, files[i].known, p->s->version);
    snprintf(place, sizeof place, files[i].url, p->s->version);
    snprintf(path, sizeof path, "%s/%s", p->dir, file);
    const ls_known_file *known = ls_known_file_find(name);
    ls_download d = describe(p, file, path, known);
    d.url = url;
    int ret = place_url(p, url, sizeof url, place, err);
    if (!ret)
        ret = make_folders(path, err);
    if (!ret && (ret = take_from_other(p, file, path, known, err)) == 1)
        return 0;
    if (!ret && !(ret = ls_download_file(&d, &there, err)))
        ls_log_msg(&p->log, LS_LOG_INFO,
                   there ? "%s: there already, checked" : "%s: complete, checked", file);
    return ret;
}

/* A file of the archive by its name, in whatever folder: what else the archive holds, and where it
 * says that it belongs, does not matter. */
static int extract(zip_t *zip, const char *path, const ls_known_file *known, ls_error *err)
{
    const char *name = strrchr(known->name, '/') + 1;
    const zip_int64_t i = zip_name_locate(zip, name, ZIP_FL_NODIR);
    zip_stat_t st;
    ls_output_file o;
    uint8_t block[65536], sha256[LS_SHA256_BYTES];
    char text[LS_SHA256_TEXT] = "";
    uint64_t left = known->size;
    zip_int64_t n = -1;
    if (i < 0 || zip_stat_index(zip, (zip_uint64_t)i, 0, &st))
        return ls_fail(err, LS_EFORMAT, ARCHIVE " has no %s", name);
    if (st.size != known->size)
        return ls_fail(err, LS_EFORMAT,
                       "%s in " ARCHIVE " has %" PRIu64 " bytes instead of %" PRIu64, name, st.size,
                       known->size);
    ls_digest *sha = ls_digest_new();
    zip_file_t *f = sha ? zip_fopen_index(zip, (zip_uint64_t)i, 0) : NULL;
    ls_output_remove_stale(path);
    int ret = !sha ? ls_fail(err, LS_ENOMEM, "out of memory") : ls_output_open(&o, path, err);
    const bool opened = !ret;
    while (!ret && f && (n = zip_fread(f, block, sizeof block)) > 0 && (uint64_t)n <= left) {
        ls_digest_add(sha, block, (size_t)n);
        left -= (uint64_t)n;
        ret = ls_output_write(&o, block, (size_t)n, err);
    }
    if (!ret && (n != 0 || left))
        ret = ls_fail(err, LS_EFORMAT, "%s in " ARCHIVE " cannot be read: %s", name,
                      f ? zip_file_strerror(f) : zip_strerror(zip));
    if (!ret) {
        ls_digest_end(sha, sha256);
        ls_digest_text(text, sha256);
        if (strcmp(text, known->sha256))
            ret = ls_fail(err, LS_EFORMAT, "%s in " ARCHIVE " has the SHA-256 %s instead of %s",
                          name, text, known->sha256);
    }
    if (opened)
        ret = ls_output_close(&o, ret, err);
    if (f)
        zip_fclose(f);
    ls_digest_free(&sha);
    return ret;
}

static int extract_faces(const pull *p, const char *archive, ls_error *err)
{
    char path[PATH_MAX];
    int code = 0, ret = 0;
    zip_t *zip = zip_open(archive, ZIP_RDONLY, &code);
    if (!zip) {
        zip_error_t e;
        zip_error_init_with_code(&e, code);
        ret = ls_fail(err, LS_EFORMAT, ARCHIVE " cannot be read: %s", zip_error_strerror(&e));
        zip_error_fini(&e);
        return ret;
    }
    for (size_t i = 0; !ret && i < sizeof faces / sizeof *faces; i++) {
        snprintf(path, sizeof path, "%s/%s", p->dir, faces[i]);
        ret = extract(zip, path, ls_known_file_find(faces[i]), err);
        if (!ret)
            ls_log_msg(&p->log, LS_LOG_INFO, "%s: complete, checked", faces[i]);
    }
    zip_discard(zip);
    return ret;
}

static int pull_faces(const pull *p, ls_error *err)
{
    char path[PATH_MAX], url[4096];
    int have = 0, ret = 0;
    bool there;
    for (int i = 0; ret >= 0 && i < 2; i++) {
        const ls_known_file *known = ls_known_file_find(faces[i]);
        snprintf(path, sizeof path, "%s/%s", p->dir, faces[i]);
        const ls_download d = describe(p, faces[i], path, known);
        ret = make_folders(path, err);
        if (!ret)
            ret = take_from_other(p, faces[i], path, known, err);
        if (!ret && (ret = ls_download_check(&d, path, known->sha256, err)) == 1)
            ls_log_msg(&p->log, LS_LOG_INFO, "%s: there already, checked", faces[i]);
        have += ret == 1;
    }
    if (ret < 0 || have == 2)
        return ret < 0 ? ret : 0;
    snprintf(path, sizeof path, "%s/face/" ARCHIVE, p->dir);
    ls_download d = describe(p, ARCHIVE, path, ls_known_file_find(ARCHIVE));
    d.url = url;
    d.fixed = true;
    ret = place_url(p, url, sizeof url, archive_url, err);
    if (!ret && (ret = ls_download_file(&d, &there, err)) == LS_ENOENT && p->s->mirror) {
        const ls_error why = *err;
        ls_fail(err, ret, "%s; what is complete stays: run it again without the mirror",
                why.message);
    }
    if (!ret && !(ret = extract_faces(p, path, err)))
        unlink(path);
    if (ret == LS_EFORMAT)
        unlink(path);
    return ret;
}

/* The folder itself is what is locked. */
static int lock(const char *dir, int *fd, ls_error *err)
{
    *fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0)
        return ls_fail_errno(err, errno, "%s", dir);
    if (flock(*fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK)
        return ls_fail(err, LS_EBUSY, "another process is downloading into %s", dir);
    return 0;
}

/* What the files do not say: see ls_models_defaults. */
static int write_about(const pull *p, ls_error *err)
{
    char path[PATH_MAX], text[32];
    ls_output_file o;
    const int n = snprintf(text, sizeof text, "{\"resolution\": %d}\n",
                           strcmp(p->s->version, "1.5") ? 512 : 256);
    if (snprintf(path, sizeof path, "%s/model.json", p->dir) >= PATH_MAX)
        return ls_fail(err, LS_EINVAL, "%s: the path is too long", p->dir);
    int ret = ls_output_open(&o, path, err);
    if (!ret)
        ret = ls_output_close(&o, ls_output_write(&o, text, (size_t)n, err), err);
    return ret;
}

int ls_pull(const ls_pull_settings *s, const ls_cancel *cancel, ls_error *err)
{
    pull p = {.s = s, .cancel = cancel, .log = s->log};
    char path[PATH_MAX];
    ls_error own;
    int fd = -1;
    err = err ? err : &own;
    if (s->mirror && strncasecmp(s->mirror, "https://", 8) && strncasecmp(s->mirror, "http://", 7))
        return ls_fail(err, LS_EINVAL, "the mirror %s: https://HOST or http://HOST is expected",
                       s->mirror);
    int ret = ls_pull_directory(s, p.dir, sizeof p.dir, err);
    if (ret)
        return ret;
    snprintf(path, sizeof path, "%s/", p.dir);
    if (!(ret = make_folders(path, err)))
        ret = lock(p.dir, &fd, err);
    for (size_t i = 0; !ret && i < sizeof files / sizeof *files; i++)
        ret = pull_file(&p, i, err);
    if (!ret)
        ret = write_about(&p, err);
    if (!ret && s->faces)
        ret = pull_faces(&p, err);
    if (fd >= 0)
        close(fd);
    return ret;
}
