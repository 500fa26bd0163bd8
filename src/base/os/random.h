#ifndef LS_BASE_OS_RANDOM_H
#define LS_BASE_OS_RANDOM_H

#include <stddef.h>

/* Fills up to 256 bytes with random ones; 0, or -1 and errno. Any thread. */
int ls_os_random(void *p, size_t bytes);

#endif
