/* What the commands share: the table that describes them, the arguments of a call, and how a call
 * reports what it does and how it ended. */
#ifndef LS_CLI_CLI_H
#define LS_CLI_CLI_H

#include "latentsync/latentsync.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define CLI_STATUS_MAP(X)                                                                          \
    X(CLI_OK, 0, "success")                                                                        \
    X(CLI_FAILED, 1, "any other failure")                                                          \
    X(CLI_USAGE, 2, "wrong usage: an option or a setting")                                         \
    X(CLI_INPUT, 3, "a file or a server cannot be used")                                           \
    X(CLI_MODEL, 4, "the model is missing or unusable")                                            \
    X(CLI_NO_FACE, 5, "there is no face to work on")                                               \
    X(CLI_RESOURCES, 6, "not enough space or memory")                                              \
    X(CLI_BUSY, 7, "another process works on it")                                                  \
    X(CLI_INTERRUPTED, 130, "interrupted")

enum cli_status {
#define CLI_X(name, value, text) name = value,
    CLI_STATUS_MAP(CLI_X)
#undef CLI_X
};

typedef struct cli_call cli_call;

typedef struct cli_command {
    const char *name;         /* "sync"; "models pull" of the family "models" */
    const char *summary;      /* a phrase for the list of commands */
    const char *description;  /* paragraphs, see cli_wrap; or NULL */
    const char *examples;     /* command lines; or NULL */
    int library;              /* takes the library's options with this LS_OPTION_*; 0: none */
    const ls_option *reports; /* --progress, --quiet, --verbose, --watch-stdin or some; or NULL */
    bool is_hidden;
    const ls_option *operands;  /* its own, in order; name NULL past the last; or NULL */
    const ls_option *options;   /* likewise */
    int (*run)(cli_call *call); /* the exit status; NULL: a family */
} cli_command;

/* NULL past the last. */
const cli_command *cli_command_at(size_t index);
/* NULL for an unknown name. */
const cli_command *cli_command_find(const char *name);
/* The last word of its name, "pull" of "models pull". */
const char *cli_word(const cli_command *c);
/* Whether `c` belongs to the family: "models pull" to "models"; NULL: to none. */
bool cli_is_of_family(const cli_command *c, const cli_command *family);

/* What a command takes, the library's first: operands, and options in the order to list them; NULL
 * past the last. */
const ls_option *cli_operand_at(const cli_command *c, size_t index);
const ls_option *cli_option_at(const cli_command *c, size_t index);
/* An option or operand by name. */
const ls_option *cli_option_find(const cli_command *c, const char *name);
bool cli_is_operand(const cli_command *c, const ls_option *o);

/* The screen, or whatever reads the messages and the events. */
typedef struct cli_console {
    enum { CLI_PROGRESS_LINE, CLI_PROGRESS_JSON, CLI_PROGRESS_NONE } mode;
    int level;                      /* messages above it are not shown */
    bool is_terminal, is_line_open; /* a line that the next output has to remove */
    double last;                    /* when progress was shown, */
    char stage[64];                 /* of what, */
    bool is_last_shown;             /* and whether it was complete */
} cli_console;

enum { CLI_MAX_GIVEN = 64 };

typedef struct cli_given {
    const ls_option *option;
    ls_option_value value;
} cli_given;

struct cli_call {
    const cli_command *command;
    cli_given given[CLI_MAX_GIVEN]; /* each option once */
    size_t count;
    cli_console console;
};

/* Reads the arguments that follow the command's name. False after a message, with CLI_USAGE or,
 * when help was asked for and printed, CLI_OK in *status. */
bool cli_parse(cli_call *call, int argc, char **argv, int *status);

/* What was given, else the default. */
const char *cli_text(const cli_call *call, const char *name);
int64_t cli_integer(const cli_call *call, const char *name);
bool cli_has(const cli_call *call, const char *name);

/* Sets the library's options that were given. */
int cli_set_sync(const cli_call *call, ls_sync_settings *s, ls_error *err);
int cli_set_faces(const cli_call *call, ls_faces_settings *s, ls_error *err);

/* Prints "latentsync: MESSAGE" and where to find help; returns CLI_USAGE. `command` may be NULL. */
int cli_usage(const cli_command *command, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Reports the failure of a call, with what would help. `folder` is that of a job that can be
 * resumed, or NULL. Returns the exit status. */
int cli_fail(cli_call *call, const ls_error *err, const char *folder);
int cli_status_of(const ls_error *err);
/* CLI_OK if all of standard output was written; otherwise CLI_FAILED after a message. */
int cli_flush(void);

/* Prints what a job would take. */
int cli_estimate(cli_call *call, const ls_sync_settings *s);

/* Where the output of "-o -" goes until it is complete, in a new temporary folder; CLI_OK, or the
 * exit status after a message. */
int cli_stdout_open(const cli_call *call, char *path, size_t size);
/* Sends that file and removes it; the exit status, after a message if it is not CLI_OK. */
int cli_stdout_send(const char *path);
/* Removes the folder, unless something is left in it. Changes `path`. */
void cli_stdout_close(char *path);

/* The library's callbacks; `call` is a cli_call. */
void cli_message(void *call, int level, const char *line);
void cli_progress(void *call, const ls_progress *p);
void cli_transfer(void *call, const ls_models_progress *p);
/* Removes a line that is redrawn, for other output to take its place. */
void cli_end_line(cli_console *c);
/* Seconds of a clock that only goes forward. */
double cli_now(void);
/* "0:04:12" */
const char *cli_clock(double seconds, char *out, size_t size);

/* The token that SIGINT and SIGTERM request from now on; a second signal ends the program. NULL
 * when out of memory. */
ls_cancel *cli_cancel(void);
/* Sends this process SIGTERM when standard input ends. False when there is no memory or thread for
 * that. */
bool cli_watch_stdin(void);

/* The folder of the job that a call names, by itself or by its output; NULL: none. */
const char *cli_job(const cli_call *call, char *out, size_t size);

void cli_print_overview(FILE *out);
void cli_print_help(const cli_command *c, FILE *out);
/* "-o FILE", "VIDEO", "[VERSION]": the arguments of a command, for its usage. */
void cli_print_arguments(const cli_command *c, FILE *out);

int cmd_batch(cli_call *call);
int cmd_bench_gpu(cli_call *call);
int cmd_check(cli_call *call);
int cmd_sync(cli_call *call);
int cmd_resume(cli_call *call);
int cmd_plan(cli_call *call);
int cmd_render(cli_call *call);
int cmd_join(cli_call *call);
int cmd_estimate(cli_call *call);
int cmd_tune(cli_call *call);
int cmd_faces(cli_call *call);
int cmd_probe(cli_call *call);
int cmd_pull(cli_call *call);
int cmd_import(cli_call *call);
int cmd_models_check(cli_call *call);
int cmd_random(cli_call *call);
int cmd_report(cli_call *call);
int cmd_serve(cli_call *call);
int cmd_slurm_job(cli_call *call);
int cmd_info(cli_call *call);
int cmd_help(cli_call *call);
int cmd_version(cli_call *call);
int cmd_completion(cli_call *call);
int cmd_man(cli_call *call);

#endif
