#include "base/path.h"

#include <stdio.h>
#include <string.h>

int ls_path_join(char *path, size_t size, const char *dir, const char *name, ls_error *err)
{
    const size_t n = dir ? strlen(dir) : 0;
    const char *slash = n && dir[n - 1] != '/' ? "/" : "";
    const int length = snprintf(path, size, "%s%s%s", n ? dir : "", slash, name);
    return length >= 0 && (size_t)length < size
               ? 0
               : ls_fail(err, LS_EINVAL, "%s%s%s: the path is too long", n ? dir : "", slash, name);
}
