#include "base/os/program.h"

#include <unistd.h>

bool ls_os_program(char *path, size_t size)
{
    const ssize_t n = readlink("/proc/self/exe", path, size);
    if (n <= 0 || (size_t)n == size)
        return false;
    path[n] = '\0';
    return true;
}
