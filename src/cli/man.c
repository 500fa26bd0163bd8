/* Manual pages, in roff with the macros of man(7). */
#include "cli/cli.h"
#include "cli/text.h"

#include <ctype.h>
#include <string.h>

static void put(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '-' || text[i] == '\\')
            fputs(text[i] == '-' ? "\\-" : "\\e", stdout);
        else if (text[i] == '~')
            fputs("\\(ti", stdout);
        else if (!i && (text[i] == '.' || text[i] == '\''))
            printf("\\&%c", text[i]);
        else
            putchar(text[i]);
    }
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

/* Paragraphs as for cli_wrap. */
static void put_paragraphs(const char *text)
{
    bool is_verbatim = false;
    while (*text) {
        const size_t n = strcspn(text, "\n");
        if ((*text == ' ') != is_verbatim) {
            puts(is_verbatim ? ".fi" : ".nf");
            is_verbatim = !is_verbatim;
        }
        if (n) {
            put(text, n);
            putchar('\n');
        } else {
            puts(".PP");
        }
        text += n + (text[n] != '\0');
    }
    if (is_verbatim)
        puts(".fi");
}

static void put_lines(const char *text)
{
    puts(".nf");
    while (*text) {
        const size_t n = strcspn(text, "\n");
        put(text, n);
        putchar('\n');
        text += n + (text[n] != '\0');
    }
    puts(".fi");
}

/* "\\-models\\-pull" of "models pull". */
static void put_name(const char *name, int (*letter)(int))
{
    if (*name)
        fputs("\\-", stdout);
    for (; *name; name++) {
        if (*name == ' ')
            fputs("\\-", stdout);
        else
            putchar(letter((unsigned char)*name));
    }
}

static void put_title(const char *name)
{
    fputs(".TH LATENTSYNC", stdout);
    put_name(name, toupper);
    printf(" 1 \"\" \"latentsync %s\" \"User Commands\"\n", ls_version());
}

static void put_option(const ls_option *o, bool is_operand)
{
    puts(".TP");
    if (is_operand) {
        printf("\\fI%s\\fR\n", o->value);
    } else {
        if (o->letter)
            printf("\\fB\\-%c\\fR, ", o->letter);
        fputs("\\fB\\-\\-", stdout);
        put_text(o->name);
        printf(o->implied ? "\\fR [\\fI%s\\fR]\n"
               : o->value ? "\\fR \\fI%s\\fR\n"
                          : "\\fR\n",
               o->value);
    }
    put_text(o->help);
    puts(".");
    if ((o->type == LS_OPTION_INTEGER || o->type == LS_OPTION_NUMBER) && o->max < 0x1p62)
        printf("From %g to %g%s%s.\n", o->min, o->max, o->unit ? " " : "", o->unit ? o->unit : "");
    if (o->automatic || o->initial) {
        fputs(o->initial ? "Default: " : "Automatic: ", stdout);
        put_text(o->initial ? o->initial : o->automatic);
        puts(".");
    }
}

static void put_options(const cli_command *c)
{
    const ls_option *o;
    const char *group = "";
    if (cli_operand_at(c, 0))
        puts(".SH ARGUMENTS");
    for (size_t i = 0; (o = cli_operand_at(c, i)); i++)
        put_option(o, true);
    puts(".SH OPTIONS");
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        const char *its = o->group ? o->group : "";
        if (strcmp(its, group))
            printf(".SS %s\n", its);
        group = its;
        put_option(o, false);
    }
}

static void put_commands(const cli_command *family)
{
    const cli_command *c;
    puts(".SH COMMANDS");
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        if (c->is_hidden || !cli_is_of_family(c, family))
            continue;
        printf(".TP\n\\fB%s\\fR\n", c->name);
        put_text(c->summary);
        putchar('\n');
    }
}

static void put_end(void)
{
    puts(".SH EXIT STATUS");
#define CLI_X(name, value, text) printf(".TP\n%d\n%s\n", value, text);
    CLI_STATUS_MAP(CLI_X)
#undef CLI_X
}

static void put_program(void)
{
    put_title("");
    puts(".SH NAME\nlatentsync \\- move the lips of a person in a video to speech\n"
         ".SH SYNOPSIS\n.B latentsync\n.I COMMAND\n[\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]\n"
         ".SH DESCRIPTION\n"
         "Makes a video of a person talking and a recording of speech into the video with the "
         "lips moving to the speech. Memory does not depend on the length of the video.\n"
         ".PP\nEach command has a manual page of its own, as \\fBlatentsync\\-sync\\fR(1).");
    put_commands(NULL);
    put_end();
    puts(".SH ENVIRONMENT\n"
         ".TP\n\\fBXDG_DATA_HOME\\fR, \\fBXDG_DATA_DIRS\\fR\nWhere models are looked for, in "
         "folders named latentsync.\n"
         ".TP\n\\fBTMPDIR\\fR\nWhere unnamed temporary files are made.\n"
         ".SH FILES\n.TP\n\\fI\\(ti/.local/share/latentsync/1.6\\fR\nThe model directory that "
         "\"latentsync models pull\" makes.");
}

static void put_command(const cli_command *c)
{
    put_title(c->name);
    fputs(".SH NAME\nlatentsync", stdout);
    put_name(c->name, tolower);
    fputs(" \\- ", stdout);
    put_text(c->summary);
    printf("\n.SH SYNOPSIS\n.B latentsync %s\n", c->name);
    if (c->run)
        cli_print_arguments(c, stdout);
    else
        fputs("COMMAND [OPTIONS] [ARGUMENTS]", stdout);
    puts("");
    if (c->description) {
        puts(".SH DESCRIPTION");
        put_paragraphs(c->description);
    }
    if (c->run)
        put_options(c);
    else
        put_commands(c);
    if (c->examples) {
        puts(".SH EXAMPLES");
        put_lines(c->examples);
    }
    put_end();
    puts(".SH SEE ALSO\n.BR latentsync (1)");
}

int cmd_man(cli_call *call)
{
    const char *name = cli_text(call, "command"), *more = cli_text(call, "subcommand");
    char both[128];
    snprintf(both, sizeof both, "%s%s%s", name ? name : "", more ? " " : "", more ? more : "");
    const cli_command *c = cli_command_find(both);
    if (name && !c)
        return cli_usage(NULL, "there is no command \"%s\"", both);
    if (c)
        put_command(c);
    else
        put_program();
    return cli_flush();
}
