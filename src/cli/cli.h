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

/* The text's place in the list `names`, which ends with NULL; false after a message. */
bool cli_choose(const char *command, const char *option, const char *text, const char *const *names,
                int *out);

typedef enum cli_progress_mode {
    CLI_PROGRESS_LINE,
    CLI_PROGRESS_JSON,
    CLI_PROGRESS_NONE
} cli_progress_mode;

extern const char *const cli_progress_modes[]; /* for cli_choose */

/* Standard error as progress and messages share it. */
typedef struct cli_console {
    cli_progress_mode mode;
    int level;
    bool line_open; /* a progress line that the next output has to end or overwrite */
    double last;    /* when progress was shown */
    bool terminal;
} cli_console;

cli_console cli_console_new(void);
/* `console` is a cli_console: for the functions of ls_sync_settings. */
void cli_message(void *console, int level, const char *line);
void cli_progress(void *console, const ls_progress *p);
void cli_end_line(cli_console *c);

/* The commands: argv[0] is the command's own name. */
int cmd_sync(int argc, char **argv);
int cmd_faces(int argc, char **argv);
int cmd_models(int argc, char **argv);
int cmd_info(int argc, char **argv);

#endif
