#include "cli/cli.h"
#include "base/os/memory.h"
#include "base/os/program.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: latentsync COMMAND [OPTIONS]\n"
    "\n"
    "Moves the lips of a person in a video to any speech recording.\n"
    "\n"
    "  sync     make a lip-synced video\n"
    "  resume   go on with a job that was interrupted\n"
    "  plan, render, join\n"
    "           the same in pieces, for several processes or machines\n"
    "  faces    list the faces in a video, for sync to choose from\n"
    "  models   download the published model, check one, or make one with random weights\n"
    "  report   draw the statistics of a run as a page\n"
    "  info     what this machine offers: CPU, memory, codecs\n"
    "\n"
    "  latentsync COMMAND --help tells the options of a command.\n"
    "  latentsync --version\n";

int cli_fail(const ls_error *err)
{
    fprintf(stderr, "latentsync: %s%s\n", err->code ? err->message : "failed",
            err->hint == LS_HINT_INSTALL_MODEL
                ? ": \"latentsync models pull\" downloads one (5.8 GB), or --models names the "
                  "directory of one"
                : "");
    return EXIT_FAILED;
}

int cli_usage(const char *command, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("latentsync: ", stderr);
    vfprintf(stderr, fmt, ap);
    fprintf(stderr, "\nTry \"latentsync%s%s --help\".\n", *command ? " " : "", command);
    va_end(ap);
    return EXIT_USAGE;
}

bool cli_int(const char *command, const char *option, const char *text, long long min,
             long long max, long long *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    if (!errno && end != text && !*end && *out >= min && *out <= max)
        return true;
    cli_usage(command, "--%s %s: a whole number from %lld to %lld is expected", option, text, min,
              max);
    return false;
}

bool cli_float(const char *command, const char *option, const char *text, double min, double max,
               double *out)
{
    char *end;
    *out = strtod(text, &end);
    if (end != text && !*end && isfinite(*out) && *out >= min && *out <= max)
        return true;
    cli_usage(command, "--%s %s: a number from %g to %g is expected", option, text, min, max);
    return false;
}

bool cli_size(const char *command, const char *option, const char *text, uint64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    const double x = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    const double bytes = ldexp(x, unit ? 10 * (int)(unit - units + 1) : 0);
    if (end != text && (!*end || (unit && !end[1])) && bytes >= 1 && bytes <= 0x1p62) {
        *out = (uint64_t)bytes;
        return true;
    }
    cli_usage(command, "--%s %s: bytes are expected, like 4G or 900M", option, text);
    return false;
}

/* Codec threads and the networks' threads share the cores; OpenMP teams that wait by spinning would
 * take them from the others. The runtime reads this once, when the program is loaded. */
static void wait_passively(char **argv)
{
    if (!getenv("OMP_WAIT_POLICY") && !setenv("OMP_WAIT_POLICY", "passive", 1))
        ls_os_restart(argv);
}

int main(int argc, char **argv)
{
    wait_passively(argv);
    ls_os_tune_heap();
    signal(SIGXFSZ, SIG_IGN); // a file-size limit is an error to be told, not the end
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {{"sync", cmd_sync},     {"resume", cmd_job},    {"plan", cmd_plan},
                    {"render", cmd_job},    {"join", cmd_job},      {"faces", cmd_faces},
                    {"models", cmd_models}, {"report", cmd_report}, {"info", cmd_info}};
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "--help") || !strcmp(name, "-h") || !strcmp(name, "help")) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    if (!strcmp(name, "--version")) {
        puts("latentsync " LS_VERSION_STRING);
        return EXIT_OK;
    }
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(name, commands[i].name))
            return commands[i].run(argc - 1, argv + 1);
    if (argc > 1)
        return cli_usage("", "there is no command \"%s\"", name);
    fputs(usage, stderr);
    return EXIT_USAGE;
}
