#ifndef LS_BASE_OS_PROGRAM_H
#define LS_BASE_OS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* The path of the running program; false where it is unknown or longer. Any thread. */
bool ls_os_program(char *path, size_t size);

#endif
