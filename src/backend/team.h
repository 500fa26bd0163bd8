/* OpenMP in a host process: keeping the caller's settings, and how idle threads wait. */
#ifndef LS_BACKEND_TEAM_H
#define LS_BACKEND_TEAM_H

#include "latentsync/error.h"

/* The calling thread's previous OpenMP settings. */
typedef struct ls_team {
    int threads, blocktime;
} ls_team;

/* From here to ls_team_leave, in the same thread, parallel regions have `threads` threads. */
ls_team ls_team_enter(int threads);
void ls_team_leave(ls_team before);

/* Between two parallel regions the threads of GNU's runtime spin for some milliseconds, on cores
 * that decoder, encoder and other programs could use; on a busy machine networks are then slower by
 * an order of magnitude. While an ls_quiet is open, idle OpenMP threads of this process, the host's
 * too, go to sleep at once. For that it holds one sleeping thread per CPU, and one more.
 *
 * *out is NULL if there is nothing to do: if the environment says how to wait (OMP_WAIT_POLICY,
 * GOMP_SPINCOUNT), which is respected, or with LLVM's runtime, where ls_team_enter does it. Several
 * may be open; any thread may open and close one at any time. Do not close it in a child after
 * fork. */
typedef struct ls_quiet ls_quiet;
int ls_quiet_open(ls_quiet **out, ls_error *err);
/* Sets *q to NULL; takes NULL. */
void ls_quiet_close(ls_quiet **q);

#endif
