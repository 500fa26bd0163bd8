#ifndef LS_BASE_OS_RANDOM_H
#define LS_BASE_OS_RANDOM_H

#include <stddef.h>

/* Fills `p` with up to 256 random bytes; 0, or -1 with errno. Any thread. */
int ls_os_random(void *p, size_t bytes);

#endif
