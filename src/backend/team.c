#include "backend/team.h"
#include "base/alloc.h"
#include "base/error.h"

#include <omp.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>

/* LLVM's runtime only: how many milliseconds the calling thread's teams spin before they sleep. */
extern void kmp_set_blocktime(int ms) __attribute__((weak));
extern int kmp_get_blocktime(void) __attribute__((weak));
#define LLVM_DEFAULT_BLOCKTIME 200 /* any other value was set deliberately */

ls_team ls_team_enter(int threads)
{
    const ls_team before = {omp_get_max_threads(), kmp_set_blocktime ? kmp_get_blocktime() : 0};
    omp_set_num_threads(threads);
    if (before.blocktime == LLVM_DEFAULT_BLOCKTIME)
        kmp_set_blocktime(0);
    return before;
}

void ls_team_leave(ls_team before)
{
    omp_set_num_threads(before.threads);
    if (before.blocktime == LLVM_DEFAULT_BLOCKTIME)
        kmp_set_blocktime(before.blocktime);
}

struct ls_quiet {
    pthread_t thread;
    sem_t held, end;
};

/* GNU's runtime spins 100 times instead of 300,000 while it has more threads than there are CPUs,
 * even idle ones. Those of a region sleep until the thread that opened it ends. */
static void *hold(void *arg)
{
    ls_quiet *q = arg;
    omp_set_dynamic(0);
#pragma omp parallel num_threads(omp_get_num_procs() + 1)
#pragma omp master
    sem_post(&q->held);
    while (sem_wait(&q->end))
        ; // interrupted by a signal
    return NULL;
}

int ls_quiet_open(ls_quiet **out, ls_error *err)
{
    *out = NULL;
    if (kmp_set_blocktime || getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT"))
        return 0;
    ls_quiet *q = ls_calloc_array(1, sizeof *q);
    if (!q)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    sem_init(&q->held, 0, 0);
    sem_init(&q->end, 0, 0);
    if (pthread_create(&q->thread, NULL, hold, q)) {
        free(q);
        return ls_fail(err, LS_ENOMEM, "no more threads can be created");
    }
    while (sem_wait(&q->held))
        ;
    *out = q;
    return 0;
}

void ls_quiet_close(ls_quiet **pq)
{
    ls_quiet *q = *pq;
    if (!q)
        return;
    sem_post(&q->end);
    pthread_join(q->thread, NULL);
    sem_destroy(&q->held);
    sem_destroy(&q->end);
    free(q);
    *pq = NULL;
}
