/* A lock to be held for long: granted in the order of arrival, waiting can be canceled, and the
 * owning thread may take it again. Zero-initialise. */
#ifndef LS_BASE_TURN_H
#define LS_BASE_TURN_H

#include "base/cancel.h"

#include <pthread.h>
#include <stddef.h>

typedef struct ls_turn_waiter {
    struct ls_turn_waiter *next;
} ls_turn_waiter;

typedef struct ls_turn {
    pthread_mutex_t mutex;
    pthread_cond_t passed;
    ls_turn_waiter *first; /* the owner, or who is next */
    pthread_t owner;
    size_t depth; /* how often the owner has taken it */
} ls_turn;

/* 0, or LS_ECANCELED. `cancel` may be NULL. */
int ls_turn_take(ls_turn *t, const ls_cancel *cancel);
/* Once per ls_turn_take. */
void ls_turn_give(ls_turn *t);

#endif
