#include "base/alloc.h"
#include "base/os/memory.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

static const char *const modules[LS_MEMORY_MODULES] = {"base",      "monitor", "media",    "tensor",
                                                       "backend",   "weights", "nn",       "models",
                                                       "diffusion", "face",    "pipeline", "other"};

/* Of the process, like its resident size; nothing depends on it. */
static struct {
    atomic_size_t now, peak;
} tallies[LS_MEMORY_MODULES];

static size_t module_of(const char *file)
{
    const char *at = strstr(file, "src/");
    for (size_t i = 0; at && i + 1 < LS_MEMORY_MODULES; i++) {
        const size_t n = strlen(modules[i]);
        if (!strncmp(at + 4, modules[i], n) && at[4 + n] == '/')
            return i;
    }
    return LS_MEMORY_MODULES - 1;
}

static void count(size_t module, ptrdiff_t bytes)
{
    const size_t now = atomic_fetch_add(&tallies[module].now, (size_t)bytes) + (size_t)bytes;
    size_t peak = atomic_load(&tallies[module].peak);
    while (bytes > 0 && now > peak &&
           !atomic_compare_exchange_weak(&tallies[module].peak, &peak, now))
        ;
}

void ls_memory_count(const char *file, ptrdiff_t bytes)
{
    count(module_of(file), bytes);
}

size_t ls_memory_tallies(ls_memory_tally out[LS_MEMORY_MODULES])
{
    size_t n = 0;
    for (size_t i = 0; i < LS_MEMORY_MODULES; i++)
        if (atomic_load(&tallies[i].peak))
            out[n++] = (ls_memory_tally){modules[i], atomic_load(&tallies[i].now),
                                         atomic_load(&tallies[i].peak)};
    return n;
}

/* The module is kept in the last byte of the block. */
void *ls_aligned_alloc_for(const char *file, size_t bytes)
{
    size_t align = bytes >= 4 * HUGE_PAGE ? HUGE_PAGE : LS_ALIGN, size;
    void *p = NULL;
    if (!ls_add_size(bytes, 1, &size) || posix_memalign(&p, align, size))
        return NULL;
    if (align == HUGE_PAGE)
        ls_os_huge_pages(p, bytes);
    const size_t usable = ls_os_block_bytes(p), module = module_of(file);
    ((uint8_t *)p)[usable - 1] = (uint8_t)module;
    count(module, (ptrdiff_t)usable);
    return p;
}

void ls_aligned_free(void *p)
{
    if (!p)
        return;
    const size_t usable = ls_os_block_bytes(p);
    count(((const uint8_t *)p)[usable - 1], -(ptrdiff_t)usable);
    free(p);
}
