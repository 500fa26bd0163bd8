#include "cli/cli.h"
#include "cli/text.h"

#include <string.h>

enum { COLUMN = 26, NAMES = 15 };

void cli_print_overview(FILE *out)
{
    const cli_command *c;
    fputs("usage: latentsync COMMAND [OPTIONS] [ARGUMENTS]\n"
          "Moves the lips of a person in a video to any recording of speech.\n"
          "example: latentsync sync interview.mp4 speech.wav -o dubbed.mp4\n\n",
          out);
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        if (c->is_hidden || !cli_is_of_family(c, NULL))
            continue;
        fprintf(out, "  %-*s", NAMES - 2, c->name);
        cli_wrap(out, c->summary, NAMES, NAMES);
    }
    fputs("\n\"latentsync help COMMAND\" shows the options of a command;\n\"latentsync --version\" "
          "prints the version.\n\nExit status\n",
          out);
#define CLI_X(name, value, text) fprintf(out, "  %-*d%s\n", NAMES - 2, value, text);
    CLI_STATUS_MAP(CLI_X)
#undef CLI_X
}

void cli_print_arguments(const cli_command *c, FILE *out)
{
    const ls_option *o;
    fputs("[OPTIONS]", out);
    for (size_t i = 0; (o = cli_operand_at(c, i)); i++)
        fprintf(out, o->is_required ? " %s" : " [%s]", o->value);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        if (o->is_required && o->letter)
            fprintf(out, " -%c %s", o->letter, o->value);
        else if (o->is_required)
            fprintf(out, " --%s %s", o->name, o->value);
    }
}

static void print_row(const ls_option *o, bool is_operand, FILE *out)
{
    char name[64], text[512];
    const char *initial = o->initial ? o->initial : o->automatic;
    if (is_operand)
        snprintf(name, sizeof name, "  %s", o->value);
    else
        snprintf(name, sizeof name, "  %c%c%s --%s%s%s%s", o->letter ? '-' : ' ',
                 o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
                 o->implied ? " ["
                 : o->value ? " "
                            : "",
                 o->value ? o->value : "", o->implied ? "]" : "");
    snprintf(text, sizeof text, "%s%s%s%s%s", o->help, initial ? " [" : "",
             o->initial || !o->automatic ? "" : "auto: ", initial ? initial : "",
             initial ? "]" : "");
    fputs(name, out);
    size_t column = strlen(name);
    if (column + 2 > COLUMN) {
        fputc('\n', out);
        column = 0;
    }
    fprintf(out, "%*s", (int)(COLUMN - column), "");
    cli_wrap(out, text, COLUMN, COLUMN);
}

static void print_options(const cli_command *c, FILE *out)
{
    const ls_option *o;
    const char *group = "";
    fputc('\n', out);
    for (size_t i = 0; (o = cli_operand_at(c, i)); i++)
        print_row(o, true, out);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        const char *its = o->group ? o->group : "";
        if (strcmp(its, group))
            fprintf(out, "\n%s\n", its);
        group = its;
        print_row(o, false, out);
    }
}

static void print_family(const cli_command *family, FILE *out)
{
    const cli_command *c;
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        if (!cli_is_of_family(c, family))
            continue;
        fprintf(out, "  %-*s", NAMES - 2, cli_word(c));
        cli_wrap(out, c->summary, NAMES, NAMES);
    }
}

static void print_capitalised(const char *phrase, FILE *out)
{
    char text[256];
    snprintf(text, sizeof text, "%s.", phrase);
    if (*text >= 'a' && *text <= 'z')
        *text = (char)(*text - 'a' + 'A');
    cli_wrap(out, text, 0, 0);
}

static void print_examples(const char *examples, FILE *out)
{
    while (examples && *examples) {
        const size_t n = strcspn(examples, "\n");
        fprintf(out, "example: %.*s\n", (int)n, examples);
        examples += n + (examples[n] != '\0');
    }
}

void cli_print_help(const cli_command *c, FILE *out)
{
    fprintf(out, "usage: latentsync %s ", c->name);
    if (c->run)
        cli_print_arguments(c, out);
    else
        fputs("COMMAND [OPTIONS] [ARGUMENTS]", out);
    fputc('\n', out);
    print_capitalised(c->summary, out);
    print_examples(c->examples, out);
    if (!c->run) {
        fputc('\n', out);
        print_family(c, out);
    }
    if (c->description) {
        fputc('\n', out);
        cli_wrap(out, c->description, 0, 0);
    }
    if (c->run)
        print_options(c, out);
}

int cmd_help(cli_call *call)
{
    const char *name = cli_text(call, "command"), *more = cli_text(call, "subcommand");
    char both[128];
    if (!name) {
        cli_print_overview(stdout);
        return cli_flush();
    }
    snprintf(both, sizeof both, "%s%s%s", name, more ? " " : "", more ? more : "");
    const cli_command *c = cli_command_find(both);
    if (!c)
        return cli_usage(NULL, "there is no command \"%s\"", both);
    cli_print_help(c, stdout);
    return cli_flush();
}

int cmd_version(cli_call *call)
{
    (void)call;
    printf("latentsync %s\n", ls_version());
    return cli_flush();
}
