/* What the processes that open media may do. */
#ifndef LS_SERVER_SANDBOX_H
#define LS_SERVER_SANDBOX_H

#include "latentsync/error.h"

#include <stdint.h>
#include <sys/types.h>

typedef struct sandbox sandbox;

/* LS_EUNSUPPORTED where the kernel has no such filter, or the program was built without it. */
int sandbox_open(sandbox **out, ls_error *err);
/* Takes NULL. */
void sandbox_close(sandbox *s);

/* In a child between fork and exec: it gets no sockets, no look into other processes, no core file,
 * and no file longer than `file_bytes`; it ends with `parent`, by `signal`; it is the first to go
 * when memory runs out. `s` may be NULL: then it has a network. 0 or -1. */
int sandbox_enter(const sandbox *s, pid_t parent, int signal, uint64_t file_bytes);

#endif
