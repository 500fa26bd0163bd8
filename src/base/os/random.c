#include "base/os/random.h"

#include <sys/random.h>

int ls_os_random(void *p, size_t bytes)
{
    return getrandom(p, bytes, 0) == (ssize_t)bytes ? 0 : -1;
}
