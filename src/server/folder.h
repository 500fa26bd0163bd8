/* The folders of the server. */
#ifndef LS_SERVER_FOLDER_H
#define LS_SERVER_FOLDER_H

#include "latentsync/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes a folder for this user alone, and those above it; one that exists stays as it is. */
int folder_make(const char *path, ls_error *err);
/* Removes what has this name, with all that is in it; no link is followed. What does not exist is
 * no failure. */
int folder_remove(const char *path, ls_error *err);
/* Removes what in `path` `is_kept` does not name. */
void folder_sweep(const char *path, bool (*is_kept)(void *opaque, const char *name), void *opaque);
/* Opens a file to read it, without following a link anywhere on its absolute path, and without
 * waiting for what is no file. -1: errno says why. */
int folder_open(const char *path);
/* The folder's own lock, until *fd is closed; LS_EBUSY. */
int folder_lock(int *fd, const char *path, ls_error *err);

typedef struct folder_space {
    uint64_t free, reserve; /* bytes; what should stay free: 5 %, 1 GB at most */
} folder_space;
int folder_get_space(folder_space *out, const char *path, ls_error *err);

#endif
