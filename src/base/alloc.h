#ifndef LS_BASE_ALLOC_H
#define LS_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

#define LS_ALIGN 64 /* cache line, and the widest vector */

/* False on overflow; *out is then unspecified. */
static inline bool ls_mul_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_mul_overflow(a, b, out);
}
static inline bool ls_add_size(size_t a, size_t b, size_t *out)
{
    return !__builtin_add_overflow(a, b, out);
}

/* n * size bytes, uninitialised or zeroed; NULL on overflow or lack of memory. free() them. */
void *ls_malloc_array(size_t n, size_t size);
void *ls_calloc_array(size_t n, size_t size);

/* Uninitialised, aligned to LS_ALIGN; large blocks ask for huge pages. Free with ls_aligned_free.
 */
void *ls_aligned_alloc(size_t bytes);
void ls_aligned_free(void *p);

#endif
