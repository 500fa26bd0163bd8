#ifndef LS_BASE_OS_PROGRAM_H
#define LS_BASE_OS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* The path of the running program; false if it is unknown or does not fit. Any thread. */
bool ls_os_program(char *path, size_t size);

#endif
