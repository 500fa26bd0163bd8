/* What the commands share. */
#ifndef LS_CLI_CLI_H
#define LS_CLI_CLI_H

#include "latentsync/latentsync.h"
#include "latentsync/models.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130, CLI_HELPED = -1 };

/* Prints "latentsync: message" on standard error; returns EXIT_FAILED. */
int cli_fail(const ls_error *err);
/* As cli_fail for a misuse, with a pointer to --help; returns EXIT_USAGE. */
int cli_usage(const char *command, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A whole number, or a number, within bounds; false after a message. */
bool cli_int(const char *command, const char *option, const char *text, long long min,
             long long max, long long *out);
bool cli_float(const char *command, const char *option, const char *text, double min, double max,
               double *out);

/* Bytes: a number, and K, M, G or T for powers of 1024; false after a message. */
bool cli_size(const char *command, const char *option, const char *text, uint64_t *out);

/* The text's place in the list `names`, which ends with NULL; false after a message. */
bool cli_choose(const char *command, const char *option, const char *text, const char *const *names,
                int *out);

/* Standard error as progress and messages share it. */
typedef struct cli_console {
    enum { CLI_PROGRESS_LINE, CLI_PROGRESS_JSON, CLI_PROGRESS_NONE } mode;
    int level;
    bool line_open; /* a progress line that the next output has to end or overwrite */
    double last;    /* when progress was shown, and of what stage */
    const char *stage;
    bool terminal;
} cli_console;

cli_console cli_console_new(void);
ls_cancel *cli_cancel(void);
/* `console` is a cli_console: for the functions of ls_sync_settings. */
void cli_message(void *console, int level, const char *line);
void cli_progress(void *console, const ls_progress *p);
/* The same for ls_pull_settings. */
void cli_transfer(void *console, const ls_models_progress *p);

/* The options that every job has, for getopt_long ("qv" among the short ones), and what they do;
 * false after a message, also for any other option. */
enum { CLI_OPT_PROGRESS = 1000 };
#define CLI_CONSOLE_OPTIONS                                                                        \
    {"progress", required_argument, NULL, CLI_OPT_PROGRESS}, {"quiet", no_argument, NULL, 'q'},    \
    {                                                                                              \
        "verbose", no_argument, NULL, 'v'                                                          \
    }
bool cli_console_option(const char *command, cli_console *c, int option, const char *text);

/* Runs a job that SIGINT and SIGTERM cancel; a second signal ends the program. One at a time. */
int cli_run_job(cli_console *c, void *job, int (*run)(void *job, void *argument, ls_error *err),
                void *argument, void (*cancel)(void *job), ls_error *err);

/* The same with a job that ls_sync_open or ls_sync_open_job gave, with what it returned; closes it
 * and tells how it ended. Returns the exit status. */
int cli_run_sync(cli_console *c, ls_sync *job, int opened,
                 int (*run)(void *job, void *argument, ls_error *err), void *argument,
                 ls_error *err);

/* The commands: argv[0] is the command's own name. */
int cmd_sync(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_job(int argc, char **argv);
int cmd_faces(int argc, char **argv);
int cmd_models(int argc, char **argv);
int cmd_pull(int argc, char **argv); /* argv[0] is "pull" or "import" of "models" */
int cmd_report(int argc, char **argv);
int cmd_info(int argc, char **argv);

#endif
