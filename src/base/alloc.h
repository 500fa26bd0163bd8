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

/* The number of elements of an array. */
#define LS_COUNT(a) (sizeof(a) / sizeof *(a))

/* Who owns a large block. */
#define LS_MEMORY_MAP(X)                                                                           \
    X(LS_MEM_MEDIA, "media")                                                                       \
    X(LS_MEM_BACKEND, "backend")                                                                   \
    X(LS_MEM_NN, "nn")                                                                             \
    X(LS_MEM_MODELS, "models")                                                                     \
    X(LS_MEM_DIFFUSION, "diffusion")                                                               \
    X(LS_MEM_PIPELINE, "pipeline")                                                                 \
    X(LS_MEM_OTHER, "other")

typedef enum ls_memory_tag {
#define LS_X(tag, name) tag,
    LS_MEMORY_MAP(LS_X)
#undef LS_X
        LS_MEMORY_TAGS
} ls_memory_tag;

/* Uninitialised, aligned to LS_ALIGN; large blocks ask for huge pages. Free with ls_aligned_free.
 * All large blocks come from here and are counted under their tag. */
void *ls_aligned_alloc(ls_memory_tag tag, size_t bytes);
void ls_aligned_free(void *p);

/* Bytes of such blocks and of decoded frames, over all jobs of this process, like its resident
 * size. */
typedef struct ls_memory_tally {
    const char *module;
    size_t now, peak;
} ls_memory_tally;

/* Fills in the modules that have allocated any and returns their number. Any thread. */
size_t ls_memory_tallies(ls_memory_tally tallies[LS_MEMORY_TAGS]);
/* Adds to a tally, or subtracts. Any thread. */
void ls_memory_count(ls_memory_tag tag, ptrdiff_t bytes);

#endif
