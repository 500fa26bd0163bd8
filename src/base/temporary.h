#ifndef LS_BASE_TEMPORARY_H
#define LS_BASE_TEMPORARY_H

#include "base/error.h"

/* Creates a file without a name in `folder`, or in the system's temporary folder if that is NULL;
 * it disappears when closed, however the process ends. Returns a descriptor for reading and
 * writing, or a negative code. */
int ls_temporary_file(const char *folder, ls_error *err);

#endif
