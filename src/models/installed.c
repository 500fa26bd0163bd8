#include "models/models.h"

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
    const bool given = data && *data == '/'; // a relative one is to be ignored
    if (!given && (!home || *home != '/'))
        return ls_fail(err, LS_ENOENT, "neither XDG_DATA_HOME nor HOME says where models are");
    const int n = given ? snprintf(dir, size, "%s/latentsync", data)
                        : snprintf(dir, size, "%s/.local/share/latentsync", home);
    return n < (int)size ? 0 : ls_fail(err, LS_EINVAL, "the path of the home folder is too long");
}

int ls_models_find(char *dir, size_t size, ls_error *err)
{
    char home[4096];
    const char *p = getenv("XDG_DATA_DIRS");
    if (!ls_models_home(home, sizeof home, NULL) &&
        find_in(home, strlen(home) - strlen("/latentsync"), dir, size))
        return 0;
    for (p = p && *p ? p : "/usr/local/share:/usr/share"; *p; p += strspn(p, ":")) {
        const size_t n = strcspn(p, ":");
        if (find_in(p, n, dir, size))
            return 0;
        p += n;
    }
    return ls_fail(err, LS_ENOENT,
                   "no model is installed: \"latentsync models pull\" downloads one (5.8 GB), or "
                   "--models names the directory of one");
}
