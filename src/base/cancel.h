#ifndef LS_BASE_CANCEL_H
#define LS_BASE_CANCEL_H

#include <stdatomic.h>
#include <stdbool.h>

/* Set once, from any thread or a signal handler; read by every stage. Zero-initialise. */
typedef struct ls_cancel {
    atomic_bool requested;
} ls_cancel;

static inline void ls_cancel_request(ls_cancel *c)
{
    atomic_store(&c->requested, true);
}
static inline bool ls_canceled(const ls_cancel *c)
{
    return c && atomic_load_explicit(&((ls_cancel *)c)->requested, memory_order_relaxed);
}

#endif
