#include "base/os/program.h"

#include <unistd.h>

#define SELF "/proc/self/exe"

bool ls_os_program(char *path, size_t size)
{
    const ssize_t n = readlink(SELF, path, size);
    if (n <= 0 || (size_t)n == size)
        return false;
    path[n] = '\0';
    return true;
}

void ls_os_restart(char **argv)
{
    execv(SELF, argv);
}
