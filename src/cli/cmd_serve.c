#include "cli/cli.h"
#include "server/server.h"
#include "server/slurm.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static atomic_bool stop;

static void on_signal(int number)
{
    (void)number;
    signal(SIGINT, SIG_DFL); // a second one ends the program at once
    signal(SIGTERM, SIG_DFL);
    atomic_store(&stop, true);
}

static void show_address(void *opaque, const char *url)
{
    (void)opaque;
    printf("latentsync: ready at %s\n", url);
    fflush(stdout);
}

/* "7d", "12h", "30m", "90s" or "90"; seconds. */
static bool read_duration(const char *text, double *out)
{
    static const struct {
        const char *unit;
        double seconds;
    } units[] = {{"", 1}, {"s", 1}, {"m", 60}, {"h", 3600}, {"d", 86400}};
    char *end;
    *out = strtod(text, &end);
    for (size_t i = 0; end != text && i < sizeof units / sizeof *units; i++)
        if (!strcmp(end, units[i].unit) && *out >= 0 && *out <= 1e9) {
            *out *= units[i].seconds;
            return true;
        }
    return false;
}

/* LS_ENOENT: the user has no folder for data. */
static int find_folder(char *out, size_t size, ls_error *err)
{
    const int ret = ls_models_home(out, size, err);
    const size_t n = ret ? 0 : strlen(out);
    if (!ret)
        snprintf(out + n, size - n, "/server");
    return ret;
}

int cmd_serve(cli_call *call)
{
    ls_error err = {0};
    char folder[4096];
    server_settings s = {
        .listen = cli_text(call, "listen"),
        .data = cli_text(call, "data"),
        .program = "/proc/self/exe",
        .models = cli_text(call, "models"),
        .device = cli_text(call, "device"),
        .token_file = cli_text(call, "token-file"),
        .hosts = cli_text(call, "host"),
        .prefix = cli_has(call, "prefix") ? cli_text(call, "prefix") : "",
        .access_log = cli_text(call, "access-log"),
        .executor = cli_text(call, "executor"),
        .webhook_hosts = cli_text(call, "webhook-hosts"),
        .webhook_secret = cli_text(call, "webhook-secret"),
        .workers = (size_t)cli_integer(call, "workers"),
        .max_queue = (size_t)cli_integer(call, "max-queue"),
        .max_upload = (uint64_t)cli_integer(call, "max-upload"),
        .max_pixels = (uint64_t)cli_integer(call, "max-pixels"),
        .max_memory = (uint64_t)cli_integer(call, "max-memory"),
        .max_seconds = (double)cli_integer(call, "max-seconds"),
        .message = cli_message,
        .opaque = call,
    };
    if (!read_duration(cli_text(call, "keep"), &s.keep_seconds))
        return cli_usage(call->command, "--keep: expected a time such as 7d, 12h or 0 (never)");
    if (!s.data && find_folder(folder, sizeof folder, &err))
        return cli_usage(call->command, "--data is needed: %s", err.message);
    s.data = s.data ? s.data : folder;
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    return server_run(&s, &stop, show_address, &err) ? cli_fail(call, &err, NULL) : CLI_OK;
}

/* For the server alone. */
int cmd_slurm_job(cli_call *call)
{
    signal(SIGTERM, on_signal);
    return slurm_follow(cli_text(call, "folder"), &stop);
}
