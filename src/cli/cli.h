/* What the commands share. */
#ifndef LS_CLI_CLI_H
#define LS_CLI_CLI_H

#include "latentsync/latentsync.h"

#include <stdbool.h>
#include <stddef.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

/* Prints "latentsync: message" on standard error; returns EXIT_FAILED. */
int cli_fail(const ls_error *err);
/* As cli_fail for a misuse, with a pointer to --help; returns EXIT_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole number, or a number, within bounds; false after a message. */
bool cli_int(const char *command, const char *option, const char *text, long long min,
             long long max, long long *out);
bool cli_float(const char *command, const char *option, const char *text, double min, double max,
               double *out);

/* The commands: argv[0] is the command's own name. */
int cmd_sync(int argc, char **argv);
int cmd_models(int argc, char **argv);
int cmd_info(int argc, char **argv);

#endif
