#define _GNU_SOURCE // F_OFD_SETLK
#include "base/os/lock.h"

#include <fcntl.h>
#include <unistd.h>

static struct flock range(short type, off_t start, off_t bytes)
{
    return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = bytes};
}

int ls_os_lock(int fd, off_t start, off_t bytes, bool wait)
{
    struct flock all = range(F_WRLCK, start, bytes);
    return fcntl(fd, wait ? F_OFD_SETLKW : F_OFD_SETLK, &all);
}

void ls_os_unlock(int fd, off_t start, off_t bytes)
{
    struct flock all = range(F_UNLCK, start, bytes);
    fcntl(fd, F_OFD_SETLK, &all);
}

off_t ls_os_lock_in_the_way(int fd, off_t start, off_t bytes)
{
    struct flock other = range(F_WRLCK, start, bytes);
    return !fcntl(fd, F_OFD_GETLK, &other) && other.l_type != F_UNLCK ? other.l_start : -1;
}
