/* A lock for long holds: it passes in the order of arrival, waiting for it can be canceled, and the
 * thread that has it may take it again. Zero-initialise. */
#ifndef LS_BASE_TURN_H
#define LS_BASE_TURN_H

#include "base/cancel.h"

#include <pthread.h>
#include <stddef.h>

struct ls_turn_waiter;

typedef struct ls_turn {
    pthread_mutex_t mutex;
    pthread_cond_t passed;
    struct ls_turn_waiter *first; /* who has it, or is next */
    pthread_t owner;
    size_t depth; /* how often the owner has taken it */
} ls_turn;

/* 0, or LS_ECANCELED. `cancel` may be NULL. */
int ls_turn_take(ls_turn *t, const ls_cancel *cancel);
/* Once for each time it was taken. */
void ls_turn_give(ls_turn *t);

#endif
