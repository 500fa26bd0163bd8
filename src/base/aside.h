/* A thread that does one thing at a time beside its owner. */
#ifndef LS_BASE_ASIDE_H
#define LS_BASE_ASIDE_H

#include "base/error.h"

/* Of one thread, its owner. */
typedef struct ls_aside ls_aside;

int ls_aside_open(ls_aside **out, ls_error *err);
/* Waits for what was started. Sets *a to NULL; takes NULL. */
void ls_aside_close(ls_aside **a);

/* Waits for what was started before, then starts `run`. */
void ls_aside_start(ls_aside *a, void (*run)(void *opaque), void *opaque);
/* Until what was started has been done. */
void ls_aside_wait(ls_aside *a);

#endif
