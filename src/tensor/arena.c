#include "tensor/arena.h"
#include "base/alloc.h"

#include <stdint.h>
#include <stdlib.h>

static int larger_first(const void *a, const void *b)
{
    const ls_interval *x = *(ls_interval *const *)a, *y = *(ls_interval *const *)b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->first < y->first ? -1 : x->first > y->first;
}

static int lower_first(const void *a, const void *b)
{
    const ls_interval *x = *(ls_interval *const *)a, *y = *(ls_interval *const *)b;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

size_t ls_arena_plan(ls_interval *intervals, size_t count)
{
    ls_interval **order = ls_malloc_array(count, sizeof *order);
    ls_interval **live = ls_malloc_array(count, sizeof *live);
    size_t total = order && live ? 0 : SIZE_MAX;
    for (size_t i = 0; i < count && total != SIZE_MAX; i++) {
        order[i] = &intervals[i];
        if (!ls_add_size(intervals[i].bytes, LS_ALIGN - 1, &intervals[i].bytes))
            total = SIZE_MAX;
        intervals[i].bytes &= ~(size_t)(LS_ALIGN - 1);
    }
    if (total != SIZE_MAX)
        qsort(order, count, sizeof *order, larger_first);
    for (size_t i = 0; i < count && total != SIZE_MAX; i++) {
        ls_interval *x = order[i];
        size_t n = 0, end;
        for (size_t j = 0; j < i; j++)
            if (order[j]->first <= x->last && x->first <= order[j]->last)
                live[n++] = order[j];
        qsort(live, n, sizeof *live, lower_first);
        x->offset = 0;
        for (size_t j = 0; j < n && live[j]->offset < x->offset + x->bytes; j++)
            if (live[j]->offset + live[j]->bytes > x->offset)
                x->offset = live[j]->offset + live[j]->bytes;
        if (!ls_add_size(x->offset, x->bytes, &end))
            total = SIZE_MAX;
        else if (end > total)
            total = end;
    }
    free(order);
    free(live);
    return total;
}
