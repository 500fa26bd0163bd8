/* A file that gets its name only when it is complete. */
#ifndef LS_BASE_OUTPUT_H
#define LS_BASE_OUTPUT_H

#include "base/cancel.h"
#include "base/error.h"

#include <stddef.h>

typedef struct ls_output_file {
    const char *path; /* the caller's; must live as long as the output is open */
    char *temporary;  /* hidden, in the same folder */
    int fd;           /* others may close and reopen it; they then update this */
} ls_output_file;

/* On failure there is nothing to close. */
int ls_output_open(ls_output_file *o, const char *path, ls_error *err);
int ls_output_write(const ls_output_file *o, const void *data, size_t size, ls_error *err);
/* If `ret` is 0, syncs the file and gives it its name, replacing an existing file; otherwise, and
 * on failure, removes it. Returns `ret`, or the error that occurred here. */
int ls_output_close(ls_output_file *o, int ret, ls_error *err);

/* The same without forcing anything to the disk, for what is of no use after a power failure. */
int ls_output_place(ls_output_file *o, int ret, ls_error *err);

/* Removes what killed processes have left of attempts to write this file. Only for use while no
 * other process may be writing it. */
void ls_output_remove_stale(const char *path);

/* Whether `name`, without its folder, is that of a temporary file; the name it was to get (its
 * first 200 bytes) then starts at name + 1 and has *n bytes. */
bool ls_output_is_temporary(const char *name, size_t *n);

/* Whether 5 % of the disk, or 1 GB, would stay free if so much more were written. */
bool ls_output_has_room(const ls_output_file *o, uint64_t bytes);

/* Writes what a file contains, or what comes through a pipe until its end, which may never come:
 * LS_ENOSPC while 5 % of the disk, or 1 GB, are still free. `cancel` may be NULL. */
int ls_output_fill(const ls_output_file *o, const char *from, const ls_cancel *cancel,
                   ls_error *err);
/* Copies a file in the same way. */
int ls_output_copy(const char *from, const char *to, const ls_cancel *cancel, ls_error *err);

/* Makes a new name survive a power failure, where the system can. */
void ls_output_sync_name(const char *path);

#endif
