/* The user's cache folder: XDG_CACHE_HOME, or ~/.cache. */
#ifndef LS_BASE_CACHE_H
#define LS_BASE_CACHE_H

#include "base/path.h"

#include <stdbool.h>

/* Where `name`, like "latentsync/file", is in that folder. `make`: its folders are made, for the
 * user alone. LS_ENOENT where the environment names no such folder. */
int ls_cache_path(char *path, size_t size, const char *name, bool make, ls_error *err);

#endif
