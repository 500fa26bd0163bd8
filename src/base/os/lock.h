/* Locks on ranges of a file's bytes, held by an open descriptor: they end when it is closed,
 * however the process ends, and other machines see them where the file system passes them on. */
#ifndef LS_BASE_OS_LOCK_H
#define LS_BASE_OS_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

/* 0, or -1 with errno, EAGAIN or EACCES if another descriptor holds part of the range and `wait`
 * is false. `bytes` 0: to the end of the file, even as it grows. */
int ls_os_lock(int fd, off_t start, off_t bytes, bool wait);
void ls_os_unlock(int fd, off_t start, off_t bytes);
/* Start of the lock that prevents this one; -1 if there is none. */
off_t ls_os_lock_in_the_way(int fd, off_t start, off_t bytes);

#endif
