#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>

static const char usage[] =
    "usage: latentsync report FILE.jsonl -o REPORT.html\n"
    "\n"
    "Draws what \"latentsync sync --stats FILE.jsonl\" recorded, also of a run that still goes on "
    "or\n"
    "was killed: memory and CPU over time, how busy each stage was and how full the queues.\n"
    "REPORT.html is one file that any browser shows.\n"
    "\n"
    "  -o, --out FILE   the page to write\n";

int cmd_report(int argc, char **argv)
{
    static const struct option options[] = {
        {"out", required_argument, NULL, 'o'}, {"help", no_argument, NULL, 'h'}, {0}};
    const char *out = NULL;
    ls_error err = {0};
    for (int c; (c = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
        if (c == 'o') {
            out = optarg;
        } else if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        } else {
            return cli_usage("report", "the options were not understood");
        }
    }
    if (argc - optind != 1)
        return cli_usage("report", "one FILE.jsonl is expected, not %d arguments", argc - optind);
    if (!out)
        return cli_usage("report", "-o REPORT.html is missing");
    return ls_report_write(argv[optind], out, &err) ? cli_fail(&err) : EXIT_OK;
}
