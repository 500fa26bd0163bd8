/* System memory functions beyond C's heap; no-ops where not available. Any thread. */
#ifndef LS_BASE_OS_MEMORY_H
#define LS_BASE_OS_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* Whether so much more memory can be mapped now: limits of the address space are not reached. */
bool ls_os_can_map(size_t bytes);
/* Requests huge pages for a large block. */
void ls_os_huge_pages(void *p, size_t bytes);
/* Whether such requests of this process have an effect; they do unless told otherwise. For
 * measurements. */
void ls_os_allow_huge_pages(bool allow);
/* Gives the pages of a mapped file back to the system; they stay in its cache. */
void ls_os_release_pages(const void *p, size_t bytes);
/* Returns free heap memory to the system. */
void ls_os_trim_heap(void);

#endif
