#include "face/detector.h"
#include "base/alloc.h"
#include "base/path.h"
#include "face/detect.h"
#include "models/face/face_net.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LANDMARKS "2d106det.onnx"
#define MAX_CANDIDATES 64
#define THRESHOLD 0.5 /* of a face's score */
#define OVERLAP 0.4   /* at most, of two faces */

struct ls_detector {
    ls_face_net *net, *landmarks; /* landmarks may be NULL */
    ls_letterbox *letterbox;
    char text[512];
};

/* The rank of a file name; the lowest is the best. */
static int rank(const char *name)
{
    static const char *const starts[] = {"det_10g", "det_2.5g",  "det_500m",
                                         "det_",    "scrfd_10g", "scrfd_2.5g",
                                         "scrfd",   "yunet",     "face_detection_yunet"};
    const int count = (int)(sizeof starts / sizeof *starts);
    for (int i = 0; i < count; i++)
        if (!strncmp(name, starts[i], strlen(starts[i])))
            return i;
    return count;
}

static int compare(const void *a, const void *b)
{
    const char *x = *(char *const *)a, *y = *(char *const *)b;
    int d = rank(x) - rank(y);
    return d ? d : strcmp(x, y);
}

static bool is_onnx(const char *name)
{
    size_t n = strlen(name);
    return n > 5 && !strcmp(name + n - 5, ".onnx") && *name != '.' && strcmp(name, LANDMARKS);
}

/* The names of a folder's ONNX files, best first; the caller frees each, on failure too. */
static int list_files(const char *dir, char *names[MAX_CANDIDATES], size_t *count, ls_error *err)
{
    struct dirent *e = NULL;
    int ret = 0;
    *count = 0;
    DIR *d = opendir(dir);
    if (!d)
        return errno == ENOENT || errno == ENOTDIR ? 0 : ls_fail_errno(err, errno, "%s", dir);
    while (!ret && *count < MAX_CANDIDATES && (errno = 0, e = readdir(d))) {
        if (!is_onnx(e->d_name))
            continue;
        if ((names[*count] = strdup(e->d_name)))
            ++*count;
        else
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    if (!ret && !e && errno)
        ret = ls_fail_errno(err, errno, "%s", dir);
    closedir(d);
    qsort(names, *count, sizeof *names, compare);
    return ret;
}

/* The best detector of a folder; files of other kinds are skipped. */
static int open_best(ls_detector *d, const char *dir, const ls_detector_settings *s, ls_error *err)
{
    char *names[MAX_CANDIDATES], path[LS_PATH_SIZE];
    size_t count;
    int ret = list_files(dir, names, &count, err);
    ret = ret ? ret : LS_ENOENT;
    for (size_t i = 0; i < count; i++) {
        if (!d->net && (ret == LS_ENOENT || ret == LS_EUNSUPPORTED) &&
            !(ret = ls_path_join(path, sizeof path, dir, names[i], err)))
            ret = ls_face_net_open(&d->net, path, s->dtype, s->threads, err);
        if (d->net && ls_face_net_get_kind(d->net) == LS_FACE_NET_LANDMARKS106) {
            ls_face_net_close(&d->net);
            ret = LS_ENOENT;
        }
        free(names[i]);
    }
    if (ret == LS_ENOENT)
        ls_fail(err, ret,
                "%s: no face detector found; add an SCRFD (det_10g.onnx) or YuNet network, or use "
                "a face track",
                dir);
    return ret;
}

/* Optional if the detector finds points. `dir`: the models' face folder, or else the detector's
 * folder. */
static int open_landmarks(ls_detector *d, const char *dir, const ls_detector_settings *s,
                          ls_error *err)
{
    char path[LS_PATH_SIZE];
    int ret = ls_path_join(path, sizeof path, dir, LANDMARKS, err);
    if (!ret)
        ret = ls_face_net_open(&d->landmarks, path, LS_F32, s->threads, err);
    if (ret == LS_ENOENT) {
        if (ls_face_net_has_points(d->net))
            return 0;
        return ls_fail(err, LS_EUNSUPPORTED,
                       "%s finds faces without points, and %s, which would add them, is missing",
                       ls_face_net_path(d->net), path);
    }
    if (!ret && ls_face_net_get_kind(d->landmarks) != LS_FACE_NET_LANDMARKS106)
        ret = ls_fail(err, LS_EUNSUPPORTED, "%s is not the network for 106 landmarks", path);
    return ret;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int open_networks(ls_detector *d, const ls_detector_settings *s, ls_error *err)
{
    char dir[LS_PATH_SIZE] = ".";
    int ret = 0;
    if (s->models) {
        ret = ls_path_join(dir, sizeof dir, s->models, "face", err);
    } else if (strchr(s->path, '/')) {
        int n = (int)(base_name(s->path) - s->path);
        if (snprintf(dir, sizeof dir, "%.*s", n, s->path) >= LS_PATH_SIZE)
            ret = ls_fail(err, LS_EINVAL, "%s: the path is too long", s->path);
    }
    if (!ret && s->path)
        ret = ls_face_net_open(&d->net, s->path, s->dtype, s->threads, err);
    else if (!ret)
        ret = open_best(d, dir, s, err);
    if (!ret && ls_face_net_get_kind(d->net) == LS_FACE_NET_LANDMARKS106)
        ret = ls_fail(err, LS_EUNSUPPORTED, "%s finds landmarks, not faces", s->path);
    return ret ? ret : open_landmarks(d, dir, s, err);
}

int ls_detector_open(ls_detector **out, const ls_detector_settings *s, ls_error *err)
{
    ls_detector *d = *out = ls_calloc_array(1, sizeof *d);
    if (!d)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    size_t w, h;
    int ret = open_networks(d, s, err);
    if (!ret) {
        ls_face_net_size(d->net, &w, &h);
        ret = ls_letterbox_open(&d->letterbox, w, h, err);
    }
    if (ret) {
        ls_detector_close(out);
        return ret;
    }
    snprintf(d->text, sizeof d->text, "%.240s, %s%s", base_name(ls_face_net_path(d->net)),
             d->landmarks ? "106 landmarks by " : "five points", d->landmarks ? LANDMARKS : "");
    return 0;
}

void ls_detector_close(ls_detector **pd)
{
    ls_detector *d = *pd;
    if (!d)
        return;
    ls_face_net_close(&d->net);
    ls_face_net_close(&d->landmarks);
    ls_letterbox_close(&d->letterbox);
    free(d);
    *pd = NULL;
}

size_t ls_detector_files(const ls_detector *d, const char *files[LS_DETECTOR_FILES])
{
    files[0] = ls_face_net_path(d->net);
    files[1] = d->landmarks ? ls_face_net_path(d->landmarks) : NULL;
    return d->landmarks ? 2 : 1;
}

const char *ls_detector_describe(const ls_detector *d)
{
    return d->text;
}

/* Replaces a face's five points with its landmarks; false if those are not usable. */
static int find_landmarks(ls_detector *d, const ls_rgb *picture, ls_face *face, bool *ok,
                          const ls_cancel *cancel, ls_error *err)
{
    ls_square square;
    *ok = ls_landmarks_square(face->box, &square);
    if (!*ok)
        return 0;
    ls_landmarks_crop(picture, &square, ls_face_net_input(d->landmarks));
    int ret = ls_face_net_run(d->landmarks, cancel, err);
    if (!ret)
        *ok = ls_landmarks_decode(ls_face_net_landmarks(d->landmarks), &square, face);
    return ret;
}

int ls_detector_run(ls_detector *d, const ls_rgb *picture, bool border, ls_face *faces, size_t max,
                    size_t *count, const ls_cancel *cancel, ls_error *err)
{
    const bool yunet = ls_face_net_get_kind(d->net) == LS_FACE_NET_YUNET;
    const ls_levels levels = yunet ? (ls_levels){0, 1} : (ls_levels){127.5f, 1 / 128.0f};
    ls_fit fit;
    *count = 0;
    int ret = ls_letterbox_run(d->letterbox, picture, border, levels, ls_face_net_input(d->net),
                               &fit, err);
    if (!ret)
        ret = ls_face_net_run(d->net, cancel, err);
    if (ret)
        return ret;
    size_t found = ls_detect_decode(d->net, THRESHOLD, OVERLAP, fit, faces, max);
    for (size_t i = 0; !ret && i < found; i++) {
        bool ok = true;
        if (d->landmarks)
            ret = find_landmarks(d, picture, &faces[i], &ok, cancel, err);
        if (!ret && ok) {
            faces[*count] = faces[i];
            ++*count;
        }
    }
    return ret;
}
