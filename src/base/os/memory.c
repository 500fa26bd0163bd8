#include "base/os/memory.h"

#include <malloc.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

bool ls_os_can_map(size_t bytes)
{
    void *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return p != MAP_FAILED && !munmap(p, bytes);
}

void ls_os_huge_pages(void *p, size_t bytes)
{
    madvise(p, bytes, MADV_HUGEPAGE);
}

void ls_os_release_pages(const void *p, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = (uintptr_t)p & ~(page - 1);
    madvise((void *)from, (uintptr_t)p + bytes - from, MADV_DONTNEED);
}

void ls_os_trim_heap(void)
{
#if HAVE_MALLOC_TRIM
    malloc_trim(0);
#endif
}

void ls_os_allow_huge_pages(bool allow)
{
#ifdef PR_SET_THP_DISABLE
    prctl(PR_SET_THP_DISABLE, allow ? 0UL : 1UL, 0UL, 0UL, 0UL);
#else
    (void)allow;
#endif
}
