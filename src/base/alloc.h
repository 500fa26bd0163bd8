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
 * What is large comes from here, and is counted for the module, the folder of src/, that asks. */
#define ls_aligned_alloc(bytes) ls_aligned_alloc_for(__FILE__, bytes)
void *ls_aligned_alloc_for(const char *file, size_t bytes);
void ls_aligned_free(void *p);

/* Bytes of such blocks, and of decoded frames, in this process, as its resident size is: over all
 * jobs. */
typedef struct ls_memory_tally {
    const char *module;
    size_t now, peak;
} ls_memory_tally;

/* Modules that have asked for any; their number. Any thread. */
enum { LS_MEMORY_MODULES = 12 };
size_t ls_memory_tallies(ls_memory_tally tallies[LS_MEMORY_MODULES]);
/* Adds to the tally of a source file's module, or takes away. Any thread. */
void ls_memory_count(const char *file, ptrdiff_t bytes);

#endif
