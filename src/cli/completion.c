/* Completions for shells. Each script knows all commands and options; none calls the program. */
#include "cli/cli.h"

#include <string.h>

static void print_words(const cli_command *family)
{
    const cli_command *c;
    const char *before = "";
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        if (c->is_hidden || !cli_is_of_family(c, family))
            continue;
        printf("%s%s", before, cli_word(c));
        before = " ";
    }
}

static void print_choices(const ls_option *o)
{
    for (size_t i = 0; o->choices[i]; i++)
        printf("%s%s", i ? " " : "", o->choices[i]);
}

/* A quote in a quoted word. */
static const char zsh_quote[] = "'\\''", fish_quote[] = "\\'";

/* `text` for a quoted word, with a backslash before each of `special` and `quote` for a quote. */
static void print_escaped(const char *text, const char *special, const char *quote)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs(quote, stdout);
        else
            printf(strchr(special, *text) ? "\\%c" : "%c", *text);
    }
}

static void bash_value(const ls_option *o)
{
    if (o->choices) {
        fputs("_latentsync_reply -W '", stdout);
        print_choices(o);
        puts("'");
    } else if (o->type == LS_OPTION_INPUT || o->type == LS_OPTION_OUTPUT) {
        puts("_latentsync_files -f");
    } else {
        puts(o->type == LS_OPTION_DIRECTORY ? "_latentsync_files -d" : ":");
    }
}

static void bash_command(const cli_command *c)
{
    const ls_option *o;
    printf("    '%s')\n        case $prev in\n", c->name);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        if (o->type == LS_OPTION_FLAG || o->implied)
            continue;
        if (o->letter)
            printf("        -%c | --%s) ", o->letter, o->name);
        else
            printf("        --%s) ", o->name);
        bash_value(o);
        puts("            return ;;");
    }
    fputs("        esac\n        options='", stdout);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++)
        printf("%s--%s", i ? " " : "", o->name);
    fputs("'\n        words='", stdout);
    if (c->run == cmd_help)
        print_words(NULL);
    o = cli_operand_at(c, 0);
    if (o && o->choices)
        print_choices(o);
    puts("' ;;");
}

static void print_bash(void)
{
    const cli_command *c;
    fputs("# bash completion for latentsync\n"
          "_latentsync_reply() {\n"
          "    mapfile -t COMPREPLY < <(compgen \"$@\" -- \"$cur\")\n"
          "}\n\n"
          "_latentsync_files() {\n"
          "    compopt -o filenames 2>/dev/null\n"
          "    _latentsync_reply \"$1\"\n"
          "}\n\n"
          "_latentsync() {\n"
          "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]}\n"
          "    local command=${COMP_WORDS[1]} first=1 options='' words=''\n"
          "    case $command in\n",
          stdout);
    for (size_t i = 0; (c = cli_command_at(i)); i++)
        if (!c->run)
            printf("    %s)\n        command=\"%s ${COMP_WORDS[2]}\" first=2 ;;\n", c->name,
                   c->name);
    fputs("    esac\n    if ((COMP_CWORD == 1)); then\n        words='", stdout);
    print_words(NULL);
    puts("' options='--help --version'");
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        if (c->run)
            continue;
        printf("    elif ((COMP_CWORD == 2)) && [[ ${COMP_WORDS[1]} == %s ]]; then\n"
               "        options=--help words='",
               c->name);
        print_words(c);
        puts("'");
    }
    puts("    fi\n    ((COMP_CWORD > first)) && case $command in");
    for (size_t i = 0; (c = cli_command_at(i)); i++)
        if (c->run && !c->is_hidden)
            bash_command(c);
    puts("    esac\n"
         "    if [[ $cur == -* ]]; then\n"
         "        _latentsync_reply -W \"$options\"\n"
         "    elif [[ $words ]]; then\n"
         "        _latentsync_reply -W \"$words\"\n"
         "    else\n"
         "        _latentsync_files -f\n"
         "    fi\n"
         "}\n"
         "complete -F _latentsync latentsync");
}

static void zsh_value(const ls_option *o)
{
    printf("%s:%s:", o->implied ? ":" : "", o->value);
    if (o->choices) {
        putchar('(');
        print_choices(o);
        putchar(')');
    } else if (o->type == LS_OPTION_INPUT || o->type == LS_OPTION_OUTPUT) {
        fputs("_files", stdout);
    } else if (o->type == LS_OPTION_DIRECTORY) {
        fputs("_files -/", stdout);
    }
}

static void zsh_command(const cli_command *c)
{
    const ls_option *o;
    printf("  '%s')\n    _arguments -s -S", c->name);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        fputs(" \\\n      ", stdout);
        if (o->letter)
            printf("'(-%c --%s)'{-%c,--%s}'[", o->letter, o->name, o->letter, o->name);
        else
            printf("'--%s[", o->name);
        print_escaped(o->help, "[]:\\", zsh_quote);
        putchar(']');
        if (o->type != LS_OPTION_FLAG)
            zsh_value(o);
        putchar('\'');
    }
    for (size_t i = 0; (o = cli_operand_at(c, i)); i++) {
        printf(" \\\n      '%zu:", i + 1);
        if (c->run == cmd_help && !i) {
            fputs("command:(", stdout);
            print_words(NULL);
            putchar(')');
        } else {
            zsh_value(o);
        }
        putchar('\'');
    }
    puts("\n    ;;");
}

static void zsh_list(const char *condition, const cli_command *family)
{
    const cli_command *c;
    printf("  if %s; then\n    words_known=(\n", condition);
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        if (c->is_hidden || !cli_is_of_family(c, family))
            continue;
        printf("      '%s:", cli_word(c));
        print_escaped(c->summary, ":\\", zsh_quote);
        puts("'");
    }
    puts("    )\n    _describe command words_known\n    return\n  fi");
}

static void print_zsh(void)
{
    const cli_command *c;
    puts("#compdef latentsync\n"
         "_latentsync() {\n"
         "  local -a words_known\n"
         "  local command=$words[2]");
    zsh_list("((CURRENT == 2))", NULL);
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        char condition[128];
        if (c->run)
            continue;
        snprintf(condition, sizeof condition, "[[ $command == %s ]] && ((CURRENT == 3))", c->name);
        zsh_list(condition, c);
        printf("  if [[ $command == %s ]]; then\n"
               "    command=\"%s $words[3]\"\n    shift words\n    ((CURRENT--))\n  fi\n",
               c->name, c->name);
    }
    puts("  shift words\n  ((CURRENT--))\n  case $command in");
    for (size_t i = 0; (c = cli_command_at(i)); i++)
        if (c->run && !c->is_hidden)
            zsh_command(c);
    puts("  esac\n}\n"
         "if [[ $funcstack[1] == _latentsync ]]; then\n"
         "  _latentsync \"$@\"\n"
         "else\n"
         "  compdef _latentsync latentsync\n"
         "fi");
}

static void fish_command(const cli_command *c)
{
    const char *space = strchr(c->name, ' ');
    const ls_option *o;
    char condition[160];
    if (space)
        snprintf(condition, sizeof condition,
                 "__fish_seen_subcommand_from %.*s; and __fish_seen_subcommand_from %s",
                 (int)(space - c->name), c->name, space + 1);
    else
        snprintf(condition, sizeof condition, "__fish_seen_subcommand_from %s", c->name);
    for (size_t i = 0; (o = cli_option_at(c, i)); i++) {
        printf("complete -c latentsync -n '%s' -l %s", condition, o->name);
        if (o->letter)
            printf(" -s %c", o->letter);
        if (o->choices) {
            fputs(" -x -a '", stdout);
            print_choices(o);
            putchar('\'');
        } else if (o->type == LS_OPTION_DIRECTORY) {
            fputs(" -x -a '(__fish_complete_directories)'", stdout);
        } else if (o->type != LS_OPTION_FLAG && !o->implied) {
            fputs(o->type == LS_OPTION_INPUT || o->type == LS_OPTION_OUTPUT ? " -r -F" : " -x",
                  stdout);
        }
        fputs(" -d '", stdout);
        print_escaped(o->help, "\\", fish_quote);
        puts("'");
    }
    o = cli_operand_at(c, 0);
    if (o && o->choices) {
        printf("complete -c latentsync -n '%s' -a '", condition);
        print_choices(o);
        puts("'");
    } else if (o && o->type != LS_OPTION_TEXT) {
        printf("complete -c latentsync -n '%s' -F\n", condition);
    }
}

static void print_fish(void)
{
    const cli_command *c;
    puts("complete -c latentsync -f");
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        const char *space = strchr(c->name, ' ');
        if (c->is_hidden)
            continue;
        if (space)
            printf("complete -c latentsync -n '__fish_seen_subcommand_from %.*s' -a %s -d '",
                   (int)(space - c->name), c->name, space + 1);
        else
            printf("complete -c latentsync -n __fish_use_subcommand -a %s -d '", c->name);
        print_escaped(c->summary, "\\", fish_quote);
        puts("'");
        if (c->run)
            fish_command(c);
    }
}

int cmd_completion(cli_call *call)
{
    static void (*const print[])(void) = {print_bash, print_zsh, print_fish};
    print[cli_integer(call, "shell")]();
    return cli_flush();
}
