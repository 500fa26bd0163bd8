#ifndef LS_BASE_TEMPORARY_H
#define LS_BASE_TEMPORARY_H

#include "base/error.h"

/* A file without a name in `folder`, or where the system has such files when that is NULL; it goes
 * when it is closed, however the process ends. The descriptor, for reading and writing, or a
 * negative code. */
int ls_temporary_file(const char *folder, ls_error *err);

#endif
