#ifndef LS_BASE_CANCEL_H
#define LS_BASE_CANCEL_H

#include "latentsync/cancel.h"

#include <stdatomic.h>
#include <stdbool.h>

/* Set once, from any thread or a signal handler; read by every stage. Zero-initialise. A request
 * made of `parent`, unless it is NULL, applies here too; a parent must outlive its children. */
struct ls_cancel {
    atomic_bool requested;
    const ls_cancel *parent;
};

/* `c` may be NULL. */
static inline bool ls_canceled(const ls_cancel *c)
{
    for (; c; c = c->parent)
        if (atomic_load_explicit(&((ls_cancel *)c)->requested, memory_order_relaxed))
            return true;
    return false;
}

#endif
