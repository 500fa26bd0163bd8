#include "base/cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int ls_cache_path(char *path, size_t size, const char *name, bool make, ls_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const bool given = cache && *cache == '/'; // a relative path must be ignored
    char dir[LS_PATH_SIZE];
    if (!given && (!home || *home != '/'))
        return ls_fail(err, LS_ENOENT,
                       "neither XDG_CACHE_HOME nor HOME is set, so there is no cache folder");
    int ret = ls_path_join(dir, sizeof dir, given ? cache : home, given ? "" : ".cache", err);
    if (!ret)
        ret = ls_path_join(path, size, dir, name, err);
    if (ret || !make)
        return ret;
    const size_t known = strlen(dir) - given; // without the slash at its end
    for (char *slash = strchr(path + (known ? known : 1), '/'); slash && !ret;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        if (mkdir(path, 0700) && errno != EEXIST)
            ret = ls_fail_errno(err, errno, "cannot make %s", path);
        *slash = '/';
    }
    return ret;
}
