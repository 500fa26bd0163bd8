#include "base/turn.h"
#include "latentsync/error.h"

#include <time.h>

static void leave(ls_turn *t, const ls_turn_waiter *w)
{
    ls_turn_waiter **p = &t->first;
    while (*p != w)
        p = &(*p)->next;
    *p = w->next;
    pthread_cond_broadcast(&t->passed);
}

static void wait_a_moment(ls_turn *t)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 100000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    pthread_cond_timedwait(&t->passed, &t->mutex, &until);
}

int ls_turn_take(ls_turn *t, const ls_cancel *cancel)
{
    int ret = 0;
    pthread_mutex_lock(&t->mutex);
    if (!t->depth || !pthread_equal(t->owner, pthread_self())) {
        ls_turn_waiter w = {NULL}, **last = &t->first;
        while (*last)
            last = &(*last)->next;
        *last = &w;
        while ((t->depth || t->first != &w) && !ls_canceled(cancel))
            wait_a_moment(t);
        if (t->depth || t->first != &w)
            ret = LS_ECANCELED;
        else
            t->owner = pthread_self();
        leave(t, &w);
    }
    t->depth += !ret;
    pthread_mutex_unlock(&t->mutex);
    return ret;
}

void ls_turn_give(ls_turn *t)
{
    pthread_mutex_lock(&t->mutex);
    if (!--t->depth)
        pthread_cond_broadcast(&t->passed);
    pthread_mutex_unlock(&t->mutex);
}
