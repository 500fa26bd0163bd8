#include "base/aside.h"
#include "base/alloc.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct ls_aside {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*run)(void *opaque); /* NULL: nothing to do */
    void *opaque;
    bool closing;
};

static void *work(void *opaque)
{
    ls_aside *a = opaque;
    pthread_mutex_lock(&a->lock);
    while (a->run || !a->closing) {
        if (!a->run) {
            pthread_cond_wait(&a->changed, &a->lock);
            continue;
        }
        pthread_mutex_unlock(&a->lock);
        a->run(a->opaque);
        pthread_mutex_lock(&a->lock);
        a->run = NULL;
        pthread_cond_signal(&a->changed);
    }
    pthread_mutex_unlock(&a->lock);
    return NULL;
}

int ls_aside_open(ls_aside **out, ls_error *err)
{
    ls_aside *a = *out = ls_calloc_array(1, sizeof *a);
    if (!a)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    if (!pthread_create(&a->thread, NULL, work, a))
        return 0;
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
    *out = NULL;
    return ls_fail(err, LS_ENOMEM, "cannot start a thread");
}

void ls_aside_close(ls_aside **pa)
{
    ls_aside *a = *pa;
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->closing = true;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    free(a);
    *pa = NULL;
}

void ls_aside_start(ls_aside *a, void (*run)(void *opaque), void *opaque)
{
    ls_aside_wait(a);
    pthread_mutex_lock(&a->lock);
    a->opaque = opaque;
    a->run = run;
    pthread_cond_signal(&a->changed);
    pthread_mutex_unlock(&a->lock);
}

void ls_aside_wait(ls_aside *a)
{
    pthread_mutex_lock(&a->lock);
    while (a->run)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}
