/* Many jobs, from a list: one after the other, with the same models. */
#include "cli/cli.h"
#include "cli/csv.h"
#include "cli/event.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define PATH 4096

typedef struct batch {
    cli_call *call;
    cli_csv list;
    char folder[PATH]; /* of the list, with a slash; or empty */
    const ls_option **options;
    ls_engine *engine;
    FILE *results;
    size_t failed;
} batch;

static int refuse(batch *b, const char *message)
{
    ls_error err = {.code = LS_EINVAL};
    snprintf(err.message, sizeof err.message, "%s: %s", cli_text(b->call, "list"), message);
    return cli_fail(b->call, &err, NULL);
}

/* A column is the name of an option; "speech" is the usual word for one. */
static const ls_option *option_of(const char *column)
{
    const ls_option *o = ls_option_find(strcmp(column, "speech") ? column : "audio");
    return o && o->used_by & LS_OPTION_SYNC ? o : NULL;
}

static bool has_column(const batch *b, const char *name)
{
    for (size_t i = 0; i < b->list.columns; i++)
        if (!strcmp(b->options[i]->name, name))
            return true;
    return false;
}

static int read_head(batch *b)
{
    char text[256];
    b->options = calloc(b->list.columns, sizeof *b->options);
    if (!b->options)
        return refuse(b, "out of memory");
    for (size_t i = 0; i < b->list.columns; i++) {
        const char *name = cli_csv_at(&b->list, 0, i);
        b->options[i] = option_of(name);
        snprintf(text, sizeof text, "the column \"%.60s\" is no option of \"latentsync sync\"",
                 name);
        for (size_t k = 0; k < i; k++)
            if (b->options[k] == b->options[i])
                snprintf(text, sizeof text, "the column \"%.60s\" is there twice", name),
                    b->options[i] = NULL;
        if (!b->options[i])
            return refuse(b, text);
    }
    return has_column(b, "video") && has_column(b, "audio") && has_column(b, "output")
               ? CLI_OK
               : refuse(b, "the first line must name the columns, at least video, speech, output");
}

/* The value of a column; a path is relative to the list. "" is none. */
static const char *value_at(const batch *b, size_t row, size_t column, char path[PATH])
{
    const char *text = cli_csv_at(&b->list, row, column);
    const int type = b->options[column]->type;
    if (!*text || *text == '/' || type < LS_OPTION_INPUT)
        return text;
    snprintf(path, PATH, "%s%s", b->folder, text);
    return path;
}

static const char *output_at(const batch *b, size_t row, char path[PATH])
{
    size_t i = 0;
    while (strcmp(b->options[i]->name, "output"))
        i++;
    return value_at(b, row, i, path);
}

static int check_outputs(batch *b)
{
    char one[PATH], other[PATH], text[256];
    for (size_t i = 1; i < b->list.rows; i++)
        for (size_t k = 1; k < i; k++) {
            const char *path = output_at(b, i, one);
            if (*path && !strcmp(path, output_at(b, k, other))) {
                snprintf(text, sizeof text, "rows %zu and %zu have the same output", k, i);
                return refuse(b, text);
            }
        }
    return CLI_OK;
}

/* `paths` has PATH bytes for each column. */
static int set_row(const batch *b, size_t row, ls_sync_settings *s, char *paths, ls_error *err)
{
    int ret = 0;
    ls_sync_default_settings(s, sizeof *s);
    s->engine = b->engine;
    s->cancel = cli_cancel();
    s->message = cli_message;
    s->progress = cli_progress;
    s->opaque = b->call;
    for (size_t i = 0; !ret && i < b->list.columns; i++) {
        const char *value = value_at(b, row, i, paths + i * PATH);
        if (*value)
            ret = ls_sync_set(s, b->options[i]->name, value, err);
    }
    if (cli_has(b->call, "restart"))
        s->restart = 1;
    return ret;
}

/* The output is there, and no folder of a job that is still to make it. */
static bool is_complete(const ls_sync_settings *s)
{
    char folder[PATH + 8];
    struct stat st;
    snprintf(folder, sizeof folder, "%s%s", s->job ? s->job : s->output, s->job ? "" : ".lsjob");
    return !s->restart && s->output && !stat(s->output, &st) && stat(folder, &st);
}

static void note_result(batch *b, size_t row, const char *status, double seconds,
                        const char *message)
{
    char path[PATH];
    const char *output = output_at(b, row, path);
    fprintf(b->results, "%zu,", row);
    cli_csv_write(b->results, output);
    fprintf(b->results, ",%s,%.1f,", status, seconds);
    cli_csv_write(b->results, message);
    fputs("\r\n", b->results);
    fflush(b->results);
    cli_end_line(&b->call->console);
    if (cli_event(b->call, "row",
                  json_pack("{s:I, s:I, s:o, s:s, s:f, s:o}", "row", (json_int_t)row, "rows",
                            (json_int_t)b->list.rows - 1, "output", cli_json(output), "status",
                            status, "seconds", seconds, "error",
                            cli_json(*message ? message : NULL))))
        return;
    char line[sizeof((ls_error *)0)->message + PATH + 64];
    snprintf(line, sizeof line, "row %zu of %zu: %s, %s%s%s", row, b->list.rows - 1, output, status,
             *message ? ": " : "", message);
    cli_message(b->call, *message ? LS_MESSAGE_ERROR : LS_MESSAGE_INFO, line);
}

/* LS_ECANCELED, or 0 also where the row failed. */
static int run_row(batch *b, size_t row, char *paths, ls_error *err)
{
    const double start = cli_now();
    ls_sync_settings s;
    ls_sync *job = NULL;
    *err = (ls_error){0};
    int ret = set_row(b, row, &s, paths, err);
    if (!ret && is_complete(&s)) {
        note_result(b, row, "skipped", 0, "");
        return 0;
    }
    if (!ret)
        ret = ls_sync_open(&job, &s, err);
    if (!ret)
        ret = ls_sync_run(job, err);
    ls_sync_close(&job);
    err->code = ret;
    b->failed += ret != 0;
    note_result(b, row,
                !ret                  ? "done"
                : ret == LS_ECANCELED ? "canceled"
                                      : "failed",
                cli_now() - start,
                !ret            ? ""
                : *err->message ? err->message
                                : ls_error_text(ret));
    return ret == LS_ECANCELED ? ret : 0;
}

/* LIST.results.csv for LIST.csv, unless there is another name. */
static bool open_results(batch *b)
{
    char path[PATH];
    const char *list = cli_text(b->call, "list"), *given = cli_text(b->call, "results"),
               *dot = strrchr(list, '.');
    const int stem = dot && !strchr(dot, '/') ? (int)(dot - list) : (int)strlen(list);
    snprintf(path, sizeof path, "%.*s.results.csv", stem, list);
    b->results = fopen(given ? given : path, "w");
    if (b->results)
        fputs("row,output,status,seconds,error\r\n", b->results);
    return b->results;
}

static int run_all(batch *b)
{
    ls_error err = {0};
    char *paths = calloc(b->list.columns, PATH);
    int ret = paths ? ls_engine_open(&b->engine, &err) : LS_ENOMEM;
    cli_event_start(b->call, NULL, NULL);
    for (size_t row = 1; !ret && row < b->list.rows; row++)
        ret = run_row(b, row, paths, &err);
    ls_engine_close(&b->engine);
    free(paths);
    err.code = ret;
    if (ret)
        return cli_fail(b->call, &err, NULL);
    cli_event(b->call, "done",
              json_pack("{s:I, s:I}", "rows", (json_int_t)b->list.rows - 1, "failed",
                        (json_int_t)b->failed));
    return b->failed ? CLI_FAILED : CLI_OK;
}

int cmd_batch(cli_call *call)
{
    batch b = {.call = call};
    char why[256];
    const char *path = cli_text(call, "list"), *slash = strrchr(path, '/');
    if (slash)
        snprintf(b.folder, sizeof b.folder, "%.*s", (int)(slash - path) + 1, path);
    int status = CLI_OK;
    if (cli_csv_read(&b.list, path, why, sizeof why)) {
        ls_error err = {.code = LS_EFORMAT};
        snprintf(err.message, sizeof err.message, "%s: %s", path, why);
        status = cli_fail(call, &err, NULL);
    }
    if (status == CLI_OK)
        status = read_head(&b);
    if (status == CLI_OK)
        status = check_outputs(&b);
    if (status == CLI_OK && !open_results(&b))
        status = refuse(&b, "the file of results cannot be written; --results names another");
    if (status == CLI_OK)
        status = run_all(&b);
    if (b.results && fclose(b.results) && status == CLI_OK)
        status = refuse(&b, "the file of results is incomplete");
    free(b.options);
    cli_csv_free(&b.list);
    return status;
}
