#include "base/alloc.h"

#include <stdlib.h>
#include <sys/mman.h>

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

void *ls_aligned_alloc(size_t bytes)
{
    size_t align = bytes >= 4 * HUGE_PAGE ? HUGE_PAGE : LS_ALIGN;
    void *p = NULL;
    if (posix_memalign(&p, align, bytes ? bytes : 1))
        return NULL;
    if (align == HUGE_PAGE)
        madvise(p, bytes, MADV_HUGEPAGE);
    return p;
}

void ls_aligned_free(void *p)
{
    free(p);
}
