#include "server/tasks.h"
#include "server/fail.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct tasks {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    task *first, **last;
    bool is_closing;
};

static task *next(tasks *t)
{
    task *found;
    pthread_mutex_lock(&t->lock);
    while (!t->first && !t->is_closing)
        pthread_cond_wait(&t->changed, &t->lock);
    found = t->first;
    if (found && !(t->first = found->next))
        t->last = &t->first;
    pthread_mutex_unlock(&t->lock);
    return found;
}

static void *work(void *opaque)
{
    task *t;
    while ((t = next(opaque)))
        t->run(t);
    return NULL;
}

int tasks_open(tasks **out, ls_error *err)
{
    tasks *t = calloc(1, sizeof *t);
    *out = NULL;
    if (!t)
        return server_fail(err, LS_ENOMEM, "out of memory");
    t->last = &t->first;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->changed, NULL);
    if (pthread_create(&t->thread, NULL, work, t)) {
        free(t);
        return server_fail(err, LS_ENOMEM, "cannot start a thread");
    }
    *out = t;
    return 0;
}

void tasks_add(tasks *t, task *added)
{
    added->next = NULL;
    pthread_mutex_lock(&t->lock);
    *t->last = added;
    t->last = &added->next;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
}

void tasks_close(tasks **closed)
{
    tasks *t = *closed;
    if (!t)
        return;
    pthread_mutex_lock(&t->lock);
    t->is_closing = true;
    pthread_cond_signal(&t->changed);
    pthread_mutex_unlock(&t->lock);
    pthread_join(t->thread, NULL);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->changed);
    free(t);
    *closed = NULL;
}
