/* Commands that work on the folder of a job. */
#include "cli/cli.h"
#include "media/codecs.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: latentsync resume JOB [OPTIONS]\n"
    "       latentsync render JOB --segment K [OPTIONS]\n"
    "       latentsync join JOB [OPTIONS]\n"
    "\n"
    "JOB is the folder, OUTPUT.lsjob, of a job that \"latentsync sync\" or \"latentsync plan\" "
    "began;\n"
    "inputs, models and settings are those it was begun with.\n"
    "\n"
    "  resume   do what is left and write the output\n"
    "  render   make one segment, unless it is finished; any number of processes on machines that\n"
    "           see the folder may do so at once\n"
    "  join     write the output of the finished segments\n"
    "\n"
    "      --segment K        0 to the number that \"latentsync plan\" printed, less one\n"
    "      --keep-job         leave the folder there when the output is complete\n"
    "      --threads N        threads of the networks [all cores]\n"
    "      --max-memory SIZE  what the program may hold, like 4G [70 % of what is free]\n"
    "      --stats FILE       append a line of JSON every second, for \"latentsync report\"\n"
    "      --progress MODE    line, json (one object a line on standard error) or none [line]\n"
    "  -q, --quiet            errors only\n"
    "  -v, --verbose          more, also from the codecs\n";

enum { OPT_SEGMENT = 256, OPT_KEEP, OPT_THREADS, OPT_MEMORY, OPT_STATS };

static const struct option options[] = {
    {"segment", required_argument, NULL, OPT_SEGMENT},
    {"keep-job", no_argument, NULL, OPT_KEEP},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"max-memory", required_argument, NULL, OPT_MEMORY},
    {"stats", required_argument, NULL, OPT_STATS},
    CLI_CONSOLE_OPTIONS,
    {"help", no_argument, NULL, 'h'},
    {0},
};

typedef struct request {
    ls_sync_settings s;
    long long segment; /* -1: not named */
} request;

static bool take_option(const char *command, int c, const char *text, request *r, cli_console *con)
{
    long long n;
    switch (c) {
    case OPT_SEGMENT:
        return cli_int(command, "segment", text, 0, 1000000, &r->segment);
    case OPT_KEEP:
        r->s.keep_job = 1;
        return true;
    case OPT_THREADS:
        if (!cli_int(command, "threads", text, 0, 1024, &n))
            return false;
        r->s.threads = (int)n;
        return true;
    case OPT_MEMORY:
        return cli_size(command, "max-memory", text, &r->s.max_memory);
    case OPT_STATS:
        r->s.stats = text;
        return true;
    default:
        return cli_console_option(command, con, c, text);
    }
}

/* 0: go on. */
static int take_arguments(int argc, char **argv, request *r, cli_console *con)
{
    const bool renders = !strcmp(argv[0], "render");
    ls_sync_default_settings(&r->s, sizeof r->s);
    r->s.cancel = cli_cancel();
    r->s.message = cli_message;
    r->s.progress = cli_progress;
    r->s.opaque = con;
    r->segment = -1;
    ls_media_show_libav_messages(false);
    for (int c; (c = getopt_long(argc, argv, "qvh", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return CLI_HELPED;
        }
        if (!take_option(argv[0], c, optarg, r, con))
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return cli_usage(argv[0], "the folder of a JOB is expected, not %d arguments",
                         argc - optind);
    if (renders != (r->segment >= 0))
        return cli_usage(argv[0], renders ? "--segment K is missing"
                                          : "--segment is an option of \"latentsync render\"");
    r->s.job = argv[optind];
    return 0;
}

static int run_resume(void *job, void *r, ls_error *err)
{
    (void)r;
    return ls_sync_run(job, err);
}

static int run_render(void *job, void *r, ls_error *err)
{
    return ls_sync_render(job, (uint64_t)((const request *)r)->segment, err);
}

static int run_join(void *job, void *r, ls_error *err)
{
    (void)r;
    return ls_sync_join(job, err);
}

int cmd_job(int argc, char **argv)
{
    cli_console con = cli_console_new();
    request r;
    ls_sync *job;
    ls_error err = {0};
    int ret = take_arguments(argc, argv, &r, &con);
    if (ret)
        return ret == CLI_HELPED ? EXIT_OK : ret;
    ret = ls_sync_open_job(&job, r.s.job, &r.s, &err);
    return cli_run_sync(&con, job, ret,
                        !strcmp(argv[0], "join")     ? run_join
                        : !strcmp(argv[0], "render") ? run_render
                                                     : run_resume,
                        &r, &err);
}
