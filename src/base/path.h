/* Names of files. */
#ifndef LS_BASE_PATH_H
#define LS_BASE_PATH_H

#include "base/error.h"

#include <limits.h>

#define LS_PATH_SIZE PATH_MAX /* of a buffer for any path, with the final 0 */

/* Writes "dir/name" to `path`, which has room for `size` bytes; `name` alone when `dir` is NULL or
 * empty. LS_EINVAL when it does not fit. */
int ls_path_join(char *path, size_t size, const char *dir, const char *name, ls_error *err);

#endif
