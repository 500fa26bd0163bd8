#ifndef LS_BASE_OS_PROGRAM_H
#define LS_BASE_OS_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

/* The path of the running program; false where it is unknown or longer. Any thread. */
bool ls_os_program(char *path, size_t size);
/* Starts the program again in this process, with the environment as it is now. Returns only when
 * that fails. */
void ls_os_restart(char **argv);

#endif
