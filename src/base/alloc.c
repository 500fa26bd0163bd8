#include "base/alloc.h"
#include "base/os/memory.h"

#include <stdatomic.h>
#include <stdlib.h>

#define HUGE_PAGE ((size_t)2 << 20)

void *ls_malloc_array(size_t n, size_t size)
{
    size_t bytes;
    return ls_mul_size(n, size, &bytes) ? malloc(bytes ? bytes : 1) : NULL;
}

void *ls_calloc_array(size_t n, size_t size)
{
    return calloc(n ? n : 1, size ? size : 1);
}

/* Process-wide, like the resident size; nothing depends on it. */
static struct {
    atomic_size_t now, peak;
} tallies[LS_MEMORY_TAGS];

void ls_memory_count(ls_memory_tag tag, ptrdiff_t bytes)
{
    const size_t now = atomic_fetch_add(&tallies[tag].now, (size_t)bytes) + (size_t)bytes;
    size_t peak = atomic_load(&tallies[tag].peak);
    while (bytes > 0 && now > peak && !atomic_compare_exchange_weak(&tallies[tag].peak, &peak, now))
        ;
}

size_t ls_memory_tallies(ls_memory_tally out[LS_MEMORY_TAGS])
{
    static const char *const names[] = {
#define LS_X(tag, name) name,
        LS_MEMORY_MAP(LS_X)
#undef LS_X
    };
    size_t n = 0;
    for (size_t i = 0; i < LS_MEMORY_TAGS; i++)
        if (atomic_load(&tallies[i].peak))
            out[n++] = (ls_memory_tally){names[i], atomic_load(&tallies[i].now),
                                         atomic_load(&tallies[i].peak)};
    return n;
}

/* Lies in the LS_ALIGN bytes before a block. */
typedef struct header {
    size_t bytes;
    ls_memory_tag tag;
} header;

void *ls_aligned_alloc(ls_memory_tag tag, size_t bytes)
{
    size_t align = bytes >= 4 * HUGE_PAGE ? HUGE_PAGE : LS_ALIGN, size;
    void *p = NULL;
    if (!ls_add_size(bytes, LS_ALIGN, &size) || posix_memalign(&p, align, size))
        return NULL;
    if (align == HUGE_PAGE)
        ls_os_huge_pages(p, size);
    *(header *)p = (header){size, tag};
    ls_memory_count(tag, (ptrdiff_t)size);
    return (char *)p + LS_ALIGN;
}

void ls_aligned_free(void *p)
{
    if (!p)
        return;
    header *h = (header *)((char *)p - LS_ALIGN);
    ls_memory_count(h->tag, -(ptrdiff_t)h->bytes);
    free(h);
}
