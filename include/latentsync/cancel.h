/* Canceling: a token that any number of jobs and other calls watch. */
#ifndef LATENTSYNC_CANCEL_H
#define LATENTSYNC_CANCEL_H

#include "latentsync/common.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct ls_cancel ls_cancel;

/* NULL when out of memory. */
LS_API ls_cancel *ls_cancel_new(void);
/* Not while a call that watches it is running. Sets *c to NULL; takes NULL. */
LS_API void ls_cancel_free(ls_cancel **c);

/* Every call that watches `c` ends soon with LS_ECANCELED, also those that start later. Any thread,
 * or a signal handler. */
LS_API void ls_cancel_request(ls_cancel *c);

#ifdef __cplusplus
}
#endif
#endif
