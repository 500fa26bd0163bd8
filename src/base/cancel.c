#include "base/cancel.h"
#include "base/alloc.h"

#include <stdlib.h>

ls_cancel *ls_cancel_new(void)
{
    return ls_calloc_array(1, sizeof(ls_cancel));
}

void ls_cancel_free(ls_cancel **c)
{
    free(*c);
    *c = NULL;
}

void ls_cancel_request(ls_cancel *c)
{
    atomic_store(&c->requested, true);
}
