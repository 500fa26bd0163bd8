/* Reading a command's arguments by its table. Long options are never abbreviated, so that a new one
 * changes the meaning of no script. */
#include "cli/cli.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char standard_input[] = "/dev/stdin";

typedef struct reader {
    cli_call *call;
    char **next, **end;
    size_t operands;
    int status;
} reader;

static bool refuse(reader *r, int status)
{
    r->status = status;
    return false;
}

static bool is_named(const ls_option *o, const char *name, size_t n)
{
    return strlen(o->name) == n && !strncmp(o->name, name, n);
}

static bool take(reader *r, const ls_option *o, const char *text)
{
    cli_call *call = r->call;
    ls_error err = {0};
    cli_given given = {.option = o};
    size_t kept = 0;
    const bool can_send = !strcmp(o->name, "access-log") ||
                          (call->command->run == cmd_sync && !strcmp(o->name, "output"));
    if (o->type == LS_OPTION_OUTPUT && !can_send && !strcmp(text, "-"))
        return refuse(r, cli_usage(call->command,
                                   "%s cannot be standard output; name a file, or ./- for one of "
                                   "this name",
                                   o->value));
    if (o->type == LS_OPTION_INPUT && !strcmp(text, "-"))
        text = standard_input;
    for (size_t i = 0; text == standard_input && i < call->count; i++)
        if (call->given[i].option != o && call->given[i].value.text == text)
            return refuse(r, cli_usage(call->command, "%s and %s cannot both be standard input",
                                       call->given[i].option->value, o->value));
    if (ls_option_parse(o, text, &given.value, &err))
        return refuse(r, cli_fail(call, &err, NULL));
    for (size_t i = 0; i < call->count; i++)
        if (call->given[i].option != o)
            call->given[kept++] = call->given[i];
    call->given[kept++] = given;
    call->count = kept;
    return true;
}

static bool is_number(const char *text)
{
    char *end;
    strtod(text, &end);
    return end != text && !*end;
}

/* What follows an option that can do without a value is one if it is a number. */
static const char *implied(reader *r, const ls_option *o)
{
    return r->next < r->end && is_number(*r->next) ? *r->next++ : o->implied;
}

/* `text`: what is attached to the option, or NULL. */
static bool take_option(reader *r, const ls_option *o, const char *text)
{
    if (o->letter == 'h') {
        cli_print_help(r->call->command, stdout);
        return refuse(r, cli_flush());
    }
    if (!text && o->implied)
        text = implied(r, o);
    if (o->type != LS_OPTION_FLAG && !text) {
        if (r->next == r->end)
            return refuse(r,
                          cli_usage(r->call->command, "--%s needs a value, %s", o->name, o->value));
        text = *r->next++;
    }
    return take(r, o, text);
}

static bool refuse_name(reader *r, const char *name, size_t n)
{
    const cli_command *c = r->call->command;
    const ls_option *o, *best = NULL;
    char word[64];
    size_t least = SIZE_MAX;
    snprintf(word, sizeof word, "%.*s", (int)n, name);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        const size_t distance = cli_distance(word, o->name);
        if (distance < least) {
            least = distance;
            best = o;
        }
    }
    if (cli_is_near(word, least))
        return refuse(
            r, cli_usage(c, "there is no option --%s; did you mean --%s?", word, best->name));
    return refuse(r, cli_usage(c, "there is no option --%s", word));
}

static bool take_long(reader *r, const char *name)
{
    const ls_option *o;
    const size_t n = strcspn(name, "=");
    for (size_t i = 0; (o = cli_option_at(r->call->command, i)); i++)
        if (is_named(o, name, n))
            return take_option(r, o, name[n] ? name + n + 1 : NULL);
    return refuse_name(r, name, n);
}

static bool take_letters(reader *r, const char *letters)
{
    while (*letters) {
        const ls_option *o;
        const char letter = *letters++;
        size_t i = 0;
        while ((o = cli_option_at(r->call->command, i)) && o->letter != letter)
            i++;
        if (!o)
            return refuse(r, cli_usage(r->call->command, "there is no option -%c", letter));
        if (o->type != LS_OPTION_FLAG)
            return take_option(r, o, *letters ? letters : NULL);
        if (!take_option(r, o, NULL))
            return false;
    }
    return true;
}

static bool take_operand(reader *r, const char *text)
{
    const ls_option *o = cli_operand_at(r->call->command, r->operands++);
    if (!o)
        return refuse(r, cli_usage(r->call->command, "unexpected argument \"%s\"", text));
    return take(r, o, text);
}

static bool take_all(reader *r)
{
    bool ok = true, only_operands = false;
    while (ok && r->next < r->end) {
        const char *arg = *r->next++;
        if (only_operands || *arg != '-' || !arg[1])
            ok = take_operand(r, arg);
        else if (!strcmp(arg, "--"))
            only_operands = true;
        else
            ok = arg[1] == '-' ? take_long(r, arg + 2) : take_letters(r, arg + 1);
    }
    return ok;
}

static bool require(reader *r)
{
    const cli_command *c = r->call->command;
    const ls_option *o;
    for (size_t i = 0; (o = cli_operand_at(c, i)); i++)
        if (o->is_required && !cli_has(r->call, o->name))
            return refuse(r, cli_usage(c, "%s is missing", o->value));
    for (size_t i = 0; (o = cli_option_at(c, i)); i++)
        if (o->is_required && !cli_has(r->call, o->name))
            return refuse(r, o->letter ? cli_usage(c, "-%c %s is missing", o->letter, o->value)
                                       : cli_usage(c, "--%s %s is missing", o->name, o->value));
    return true;
}

/* The last of -q and -v counts; --progress does not depend on its place among them. */
static void set_console(cli_call *call)
{
    cli_console *c = &call->console;
    for (size_t i = 0; i < call->count; i++) {
        if (!strcmp(call->given[i].option->name, "quiet"))
            c->level = LS_MESSAGE_NOTICE;
        else if (!strcmp(call->given[i].option->name, "verbose"))
            c->level = LS_MESSAGE_DEBUG;
    }
    c->mode = cli_has(call, "progress")       ? (int)cli_integer(call, "progress")
              : c->level == LS_MESSAGE_NOTICE ? CLI_PROGRESS_NONE
                                              : CLI_PROGRESS_LINE;
    ls_codec_messages(c->level == LS_MESSAGE_DEBUG);
    if (c->level != LS_MESSAGE_DEBUG)
        setenv("SVT_LOG", "0", 0); // SVT-AV1 writes to standard error itself: fatal errors only
}

/* What is printed or reported has standard output, what is read or watched standard input. */
static bool share(reader *r)
{
    cli_call *call = r->call;
    if (cli_has(call, "json") && call->console.mode == CLI_PROGRESS_JSON)
        return refuse(
            r, cli_usage(call->command, "--json and --progress json both use standard output"));
    if (!cli_has(call, "watch-stdin"))
        return true;
    for (size_t i = 0; i < call->count; i++)
        if (call->given[i].value.text == standard_input)
            return refuse(r, cli_usage(call->command,
                                       "--watch-stdin and %s cannot both use standard "
                                       "input",
                                       call->given[i].option->value));
    if (cli_watch_stdin())
        return true;
    fputs("latentsync: there is no thread to watch standard input\n", stderr);
    return refuse(r, CLI_RESOURCES);
}

bool cli_parse(cli_call *call, int argc, char **argv, int *status)
{
    reader r = {.call = call, .next = argv, .end = argv + argc};
    call->console = (cli_console){.level = LS_MESSAGE_INFO, .is_terminal = isatty(STDERR_FILENO)};
    ls_codec_messages(0);
    const bool complete = take_all(&r) && require(&r);
    if (complete)
        set_console(call);
    const bool ok = complete && share(&r);
    *status = r.status;
    return ok;
}

static const cli_given *find(const cli_call *call, const char *name)
{
    for (size_t i = 0; i < call->count; i++)
        if (!strcmp(call->given[i].option->name, name))
            return &call->given[i];
    return NULL;
}

static ls_option_value value_of(const cli_call *call, const char *name)
{
    const cli_given *given = find(call, name);
    const ls_option *o = cli_option_find(call->command, name);
    ls_option_value v = {0};
    if (!given && o && o->initial)
        ls_option_parse(o, o->initial, &v, NULL);
    return given ? given->value : v;
}

const char *cli_text(const cli_call *call, const char *name)
{
    return value_of(call, name).text;
}

int64_t cli_integer(const cli_call *call, const char *name)
{
    return value_of(call, name).integer;
}

bool cli_has(const cli_call *call, const char *name)
{
    const cli_given *given = find(call, name);
    return given && (given->option->type != LS_OPTION_FLAG || given->value.integer);
}

/* What ls_sync_set or ls_faces_set is to read again: NULL was "auto", or sets a flag. */
static const char *text_of(const cli_given *g)
{
    if (g->option->type == LS_OPTION_FLAG)
        return g->value.integer ? "1" : "0";
    return g->value.text ? g->value.text : "auto";
}

int cli_set_sync(const cli_call *call, ls_sync_settings *s, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < call->count; i++)
        if (call->given[i].option->used_by & call->command->library)
            ret = ls_sync_set(s, call->given[i].option->name, text_of(&call->given[i]), err);
    return ret;
}

int cli_set_faces(const cli_call *call, ls_faces_settings *s, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < call->count; i++)
        if (call->given[i].option->used_by & call->command->library)
            ret = ls_faces_set(s, call->given[i].option->name, text_of(&call->given[i]), err);
    return ret;
}

const char *cli_job(const cli_call *call, char *out, size_t size)
{
    const char *job = cli_text(call, "job"), *output = cli_text(call, "output");
    if (!job && !output)
        return NULL;
    snprintf(out, size, "%s%s", job ? job : output, job ? "" : ".lsjob");
    return out;
}
