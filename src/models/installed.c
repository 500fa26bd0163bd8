#define _GNU_SOURCE // dladdr
#include "models/models.h"
#include "base/os/program.h"

#include <dlfcn.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_complete(const char *dir)
{
    static const char *const files[] = {"latentsync_unet.pt", "whisper/tiny.pt",
                                        "vae/diffusion_pytorch_model.safetensors"};
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        if (snprintf(path, sizeof path, "%s/%s", dir, files[i]) >= (int)sizeof path ||
            access(path, R_OK))
            return false;
    return true;
}

static bool find_in(const char *data, size_t n, char *dir, size_t size)
{
    static const char *const versions[] = {"1.6", "1.5"};
    for (size_t i = 0; n && *data == '/' && i < sizeof versions / sizeof *versions; i++)
        if (snprintf(dir, size, "%.*s/latentsync/%s", (int)n, data, versions[i]) < (int)size &&
            is_complete(dir))
            return true;
    return false;
}

int ls_models_home(char *dir, size_t size, ls_error *err)
{
    const char *data = getenv("XDG_DATA_HOME"), *home = getenv("HOME");
    const bool given = data && *data == '/'; // a relative path must be ignored
    if (!given && (!home || *home != '/'))
        return ls_fail(err, LS_ENOENT,
                       "neither XDG_DATA_HOME nor HOME is set, so there is no folder for models");
    const int n = given ? snprintf(dir, size, "%s/latentsync", data)
                        : snprintf(dir, size, "%s/.local/share/latentsync", home);
    return n < (int)size ? 0
                         : ls_fail(err, LS_EINVAL, "the path of the home directory is too long");
}

/* Near a program or library: where it is installed, or in its source or build folder. */
static bool find_near(const char *file, char *dir, size_t size)
{
    static const char *const places[] = {"../share/latentsync/models/mini",
                                         "../../share/latentsync/models/mini", "../models/mini",
                                         "../../models/mini", "models/mini"};
    char real[PATH_MAX];
    char *slash = realpath(file, real) ? strrchr(real, '/') : NULL;
    if (slash)
        *slash = '\0';
    for (size_t i = 0; slash && i < sizeof places / sizeof *places; i++)
        if (snprintf(dir, size, "%s/%s", real, places[i]) < (int)size && is_complete(dir))
            return true;
    return false;
}

static bool find_built_in(char *dir, size_t size)
{
    static const char here;
    char program[PATH_MAX];
    Dl_info library;
    return (dladdr(&here, &library) && library.dli_fname &&
            find_near(library.dli_fname, dir, size)) ||
           (ls_os_program(program, sizeof program) && find_near(program, dir, size)) ||
           (snprintf(dir, size, "%s/latentsync/models/mini", LS_DATADIR) < (int)size &&
            is_complete(dir));
}

int ls_models_find(char *dir, size_t size, int *built_in, ls_error *err)
{
    char home[4096];
    const char *p = getenv("XDG_DATA_DIRS");
    *built_in = 0;
    if (!ls_models_home(home, sizeof home, NULL) &&
        find_in(home, strlen(home) - strlen("/latentsync"), dir, size))
        return 0;
    for (p = p && *p ? p : "/usr/local/share:/usr/share"; *p; p += strspn(p, ":")) {
        const size_t n = strcspn(p, ":");
        if (find_in(p, n, dir, size))
            return 0;
        p += n;
    }
    *built_in = find_built_in(dir, size);
    if (*built_in && realpath(dir, home) && strlen(home) < size)
        snprintf(dir, size, "%s", home);
    if (*built_in)
        return 0;
    return ls_advise(err, ls_fail(err, LS_EMODEL, "no model is installed"), LS_HINT_INSTALL_MODEL,
                     "models");
}

int ls_models_defaults(const char *dir, size_t *resolution, float *guidance_scale, ls_error *err)
{
    char path[4096];
    json_error_t why;
    *resolution = 0;
    *guidance_scale = 1.5f;
    if (snprintf(path, sizeof path, "%s/model.json", dir) >= (int)sizeof path)
        return ls_fail(err, LS_EINVAL, "%s: the path is too long", dir);
    if (access(path, F_OK))
        return 0;
    json_t *d = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    const json_t *guidance = json_object_get(d, "guidance_scale");
    const json_int_t side = json_integer_value(json_object_get(d, "resolution"));
    const double scale = guidance ? json_number_value(guidance) : *guidance_scale;
    const bool ok = side >= 64 && side <= 4096 && side % 64 == 0 && scale > 0 && scale <= 100;
    if (ok) {
        *resolution = (size_t)side;
        *guidance_scale = (float)scale;
    }
    json_decref(d);
    if (ok)
        return 0;
    return ls_advise(
        err,
        ls_fail(err, LS_EMODEL,
                "%s: expected \"resolution\", a multiple of 64, and optionally "
                "\"guidance_scale\", above 0 and up to 100; correct or remove the file",
                path),
        LS_HINT_MODEL_DIRECTORY, "models");
}
