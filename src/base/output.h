/* A file that gets its name when it is complete. */
#ifndef LS_BASE_OUTPUT_H
#define LS_BASE_OUTPUT_H

#include "base/cancel.h"
#include "base/error.h"

#include <stddef.h>

typedef struct ls_output_file {
    const char *path; /* the caller's, as long as the output is open */
    char *temporary;  /* hidden, in the same folder */
    int fd;           /* may be closed and opened anew by others, who then set it */
} ls_output_file;

/* On failure there is nothing to close. */
int ls_output_open(ls_output_file *o, const char *path, ls_error *err);
int ls_output_write(const ls_output_file *o, const void *data, size_t size, ls_error *err);
/* If `ret` is 0, gives the file its name, over a file that has it, when the data is on the disk;
 * otherwise, and on failure, removes it. Returns `ret`, or what failed here. */
int ls_output_close(ls_output_file *o, int ret, ls_error *err);

/* Removes what killed processes have left of attempts to write this file. Only when no other
 * process may be at it. */
void ls_output_remove_stale(const char *path);

/* Whether a file of that name, without its folder, is a temporary one; *n is then the length of the
 * name it was to get, which starts at name + 1 (of its first 200 bytes). */
bool ls_output_is_temporary(const char *name, size_t *n);

/* Copies a file, or what comes through a pipe, likewise. `cancel` may be NULL. */
int ls_output_copy(const char *from, const char *to, const ls_cancel *cancel, ls_error *err);

/* Makes a new name last through a loss of power, where the system can. */
void ls_output_sync_name(const char *path);

#endif
