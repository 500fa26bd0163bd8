#include "cli/cli.h"
#include "cli/text.h"

#if HAVE_MALLOPT
#include <malloc.h>
#endif
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int refuse(const cli_command *family, const char *word)
{
    const cli_command *c, *best = NULL;
    const char *name = family ? family->name : "", *space = family ? " " : "";
    size_t least = SIZE_MAX;
    if (*word == '-')
        return cli_usage(family, "there is no option %s", word);
    for (size_t i = 0; (c = cli_command_at(i)); i++) {
        const size_t distance = cli_distance(word, cli_word(c));
        if (distance < least && !c->is_hidden && (!family || cli_is_of_family(c, family))) {
            least = distance;
            best = c;
        }
    }
    if (cli_is_near(word, least))
        return cli_usage(family, "there is no command \"%s%s%s\"; did you mean \"%s\"?", name,
                         space, word, best->name);
    return cli_usage(family, "there is no command \"%s%s%s\"", name, space, word);
}

static bool is_help(const char *word)
{
    return !strcmp(word, "--help") || !strcmp(word, "-h");
}

/* `argv` is what follows the command's name. */
static int run(const char *name, int argc, char **argv)
{
    cli_call call = {.command = cli_command_find(name)};
    char both[64];
    int status;
    if (!call.command || strchr(name, ' '))
        return refuse(NULL, name);
    if (!call.command->run) {
        const cli_command *family = call.command;
        if (!argc)
            return cli_usage(family, "a command of \"%s\" is missing", name);
        if (is_help(argv[0])) {
            cli_print_help(family, stdout);
            return cli_flush();
        }
        snprintf(both, sizeof both, "%s %s", name, argv[0]);
        call.command = cli_command_find(both);
        if (!call.command)
            return refuse(family, argv[0]);
        argc--;
        argv++;
    }
    return cli_parse(&call, argc, argv, &status) ? call.command->run(&call) : status;
}

/* A libcurl built on one distribution does not know where another has its certificates. */
static void find_certificates(void)
{
    static const char *const places[] = {"/etc/ssl/certs/ca-certificates.crt", // Debian
                                         "/etc/pki/tls/certs/ca-bundle.crt",   // Fedora
                                         "/etc/ssl/ca-bundle.pem", "/etc/ssl/cert.pem"};
    for (size_t i = 0; i < sizeof places / sizeof *places && !getenv("SSL_CERT_FILE"); i++)
        if (!access(places[i], R_OK))
            setenv("SSL_CERT_FILE", places[i], 0);
}

int main(int argc, char **argv)
{
#if HAVE_MALLOPT
    mallopt(M_MMAP_THRESHOLD, 64 << 10); // images go back to the system instead of leaving holes
    mallopt(M_ARENA_MAX, 2);
#endif
    signal(SIGXFSZ, SIG_IGN); // a file-size limit and a closed pipe are errors to report
    signal(SIGPIPE, SIG_IGN);
    find_certificates();
    if (argc < 2) {
        cli_print_overview(stderr);
        return CLI_USAGE;
    }
    const bool is_version = !strcmp(argv[1], "--version") || !strcmp(argv[1], "-V");
    return run(is_help(argv[1]) ? "help" : is_version ? "version" : argv[1], argc - 2, argv + 2);
}
