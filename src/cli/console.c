#include "cli/cli.h"
#include "media/codecs.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

cli_console cli_console_new(void)
{
    return (cli_console){.level = LS_MESSAGE_INFO, .terminal = isatty(STDERR_FILENO)};
}

bool cli_choose(const char *command, const char *option, const char *text, const char *const *names,
                int *out)
{
    for (*out = 0; names[*out]; ++*out)
        if (!strcmp(text, names[*out]))
            return true;
    char list[128] = "";
    for (int i = 0; names[i]; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    cli_usage(command, "--%s %s: one of %s is expected", option, text, list);
    return false;
}

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void end_line(cli_console *c)
{
    if (c->line_open)
        fputc('\n', stderr);
    c->line_open = false;
}

void cli_message(void *opaque, int level, const char *line)
{
    cli_console *c = opaque;
    if (level > c->level)
        return;
    end_line(c);
    fprintf(stderr, "latentsync: %s%s\n", level == LS_MESSAGE_WARNING ? "warning: " : "", line);
}

static void format_left(char *out, size_t size, double seconds)
{
    const unsigned long long s = (unsigned long long)(seconds + 0.5);
    if (seconds > 0)
        snprintf(out, size, ", %llu:%02llu:%02llu left", s / 3600, s / 60 % 60, s % 60);
}

/* As much of a line as fits; 0: nobody knows how wide the terminal is. */
static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2 ? 0 : size.ws_col - 1u;
}

__attribute__((format(printf, 3, 4))) static void add(char *line, size_t size, const char *fmt, ...)
{
    const size_t n = strlen(line);
    va_list args;
    va_start(args, fmt);
    vsnprintf(line + n, size - n, fmt, args);
    va_end(args);
}

static void show_line(cli_console *c, const ls_progress *p)
{
    char line[512] = "", left[40] = "";
    const char *before = "; ms a frame: ";
    format_left(left, sizeof left, p->seconds_left);
    add(line, sizeof line, "%s: frame %" PRIu64 " of %" PRIu64 ", %.2f frames/s%s", p->stage,
        p->frame, p->frames, p->frames_per_second, left);
    if (p->cpu_percent > 0)
        add(line, sizeof line, ", CPU %.0f %%", p->cpu_percent);
    add(line, sizeof line, ", %.0f MB", (double)p->resident_bytes / 1e6);
    if (p->budget_bytes)
        add(line, sizeof line, " of %.0f", (double)p->budget_bytes / 1e6);
    for (size_t i = 0; i < p->stage_count; i++) {
        if (!p->stages[i].frames)
            continue;
        add(line, sizeof line, "%s%s %.0f", before, p->stages[i].name,
            1000 * p->stages[i].busy_seconds / (double)p->stages[i].frames);
        before = ", ";
    }
    for (size_t i = 0; i < p->queue_count; i++)
        add(line, sizeof line, "%s%s %zu", i ? ", " : "; queued: ", p->queues[i].name,
            p->queues[i].items);
    const size_t width = c->terminal ? terminal_width() : 0;
    if (width && strlen(line) > width) // a line that wraps cannot be drawn over
        line[width] = '\0';
    fprintf(stderr, "%s%s%s", c->terminal ? "\r" : "", line, c->terminal ? "\x1b[K" : "\n");
    c->line_open = c->terminal;
    fflush(stderr);
}

static void print_json(const ls_progress *p)
{
    fprintf(stderr,
            "{\"stage\": \"%s\", \"frame\": %" PRIu64 ", \"frames\": %" PRIu64
            ", \"fps\": %.4f, \"seconds_left\": %.1f, \"cpu_percent\": %.0f, "
            "\"resident_bytes\": %" PRIu64 ", \"budget_bytes\": %" PRIu64 ", \"stages\": {",
            p->stage, p->frame, p->frames, p->frames_per_second, p->seconds_left, p->cpu_percent,
            p->resident_bytes, p->budget_bytes);
    for (size_t i = 0; i < p->stage_count; i++)
        fprintf(stderr, "%s\"%s\": {\"busy_seconds\": %.3f, \"frames\": %" PRIu64 "}",
                i ? ", " : "", p->stages[i].name, p->stages[i].busy_seconds, p->stages[i].frames);
    fputs("}, \"queues\": {", stderr);
    for (size_t i = 0; i < p->queue_count; i++)
        fprintf(stderr, "%s\"%s\": {\"items\": %zu, \"max_items\": %zu, \"bytes\": %zu}",
                i ? ", " : "", p->queues[i].name, p->queues[i].items, p->queues[i].max_items,
                p->queues[i].bytes);
    fputs("}}\n", stderr);
}

/* A terminal is redrawn a few times a second; a log gets a line now and then. */
static bool is_due(cli_console *c, const char *stage, bool last)
{
    const double now = seconds_now();
    const double every = c->mode == CLI_PROGRESS_JSON ? 0.5 : c->terminal ? 0.2 : 10;
    if (c->mode == CLI_PROGRESS_NONE ||
        (!(last && stage != c->stage) && c->last > 0 && now - c->last < every))
        return false;
    c->last = now;
    c->stage = stage;
    return true;
}

void cli_progress(void *opaque, const ls_progress *p)
{
    cli_console *c = opaque;
    if ((!p->frames && c->mode == CLI_PROGRESS_LINE) ||
        !is_due(c, p->stage, p->frames && p->frame == p->frames))
        return;
    if (c->mode == CLI_PROGRESS_JSON)
        print_json(p);
    else
        show_line(c, p);
}

void cli_transfer(void *opaque, const ls_models_progress *p)
{
    cli_console *c = opaque;
    const char *stage = p->checking ? "check" : "download";
    const double left = p->bytes_per_second > 0 && p->total >= p->bytes
                            ? (double)(p->total - p->bytes) / p->bytes_per_second
                            : 0;
    char rate[32] = "", time[40] = "";
    const bool complete = p->bytes == p->total && !p->checking;
    if (!is_due(c, complete ? p->name : stage, complete))
        return;
    if (c->mode == CLI_PROGRESS_JSON) {
        fprintf(stderr,
                "{\"stage\": \"%s\", \"file\": \"%s\", \"bytes\": %" PRIu64
                ", \"total_bytes\": %" PRIu64
                ", \"bytes_per_second\": %.0f, \"seconds_left\": %.1f}\n",
                stage, p->name, p->bytes, p->total, p->bytes_per_second, left);
        return;
    }
    if (p->bytes_per_second > 0)
        snprintf(rate, sizeof rate, ", %.1f MB/s", p->bytes_per_second / 1e6);
    format_left(time, sizeof time, left);
    fprintf(stderr, "%s%s: %s%.1f of %.1f MB%s%s%s", c->terminal ? "\r" : "", p->name,
            p->checking ? "checking, " : "", (double)p->bytes / 1e6, (double)p->total / 1e6, rate,
            time, c->terminal ? "\x1b[K" : "\n");
    c->line_open = c->terminal;
    fflush(stderr);
}

bool cli_console_option(const char *command, cli_console *c, int option, const char *text)
{
    static const char *const modes[] = {"line", "json", "none", NULL};
    int mode;
    switch (option) {
    case CLI_OPT_PROGRESS:
        if (!cli_choose(command, "progress", text, modes, &mode))
            return false;
        c->mode = mode;
        return true;
    case 'q':
        c->level = LS_MESSAGE_ERROR;
        c->mode = CLI_PROGRESS_NONE;
        return true;
    case 'v':
        c->level = LS_MESSAGE_DEBUG;
        ls_media_show_libav_messages(true);
        return true;
    default:
        cli_usage(command, "the options were not understood");
        return false;
    }
}

/* What a signal stops. The job is set last and cleared first. */
static void (*_Atomic cancel_running)(void *job);
static _Atomic(void *) running;

static void on_signal(int number)
{
    signal(number, SIG_DFL); // a second one ends the program at once
    void *job = atomic_load(&running);
    if (job)
        atomic_load (&cancel_running)(job);
}

int cli_run_job(cli_console *c, void *job, int (*run)(void *job, void *argument, ls_error *err),
                void *argument, void (*cancel)(void *job), ls_error *err)
{
    atomic_store(&cancel_running, cancel);
    atomic_store(&running, job);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    int ret = run(job, argument, err);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    atomic_store(&running, NULL);
    end_line(c);
    return ret;
}

ls_cancel *cli_cancel(void)
{
    static ls_cancel *token;
    if (!token)
        token = ls_cancel_new();
    return token;
}

static void cancel_sync(void *job)
{
    (void)job;
    ls_cancel_request(cli_cancel());
}

int cli_run_sync(cli_console *c, ls_sync *job, int opened,
                 int (*run)(void *job, void *argument, ls_error *err), void *argument,
                 ls_error *err)
{
    int ret = opened ? opened : cli_run_job(c, job, run, argument, cancel_sync, err);
    const char *folder = job ? ls_sync_folder(job) : NULL;
    if (ret == LS_ECANCELED)
        fputs("latentsync: interrupted\n", stderr);
    else if (ret)
        cli_fail(err);
    if (folder)
        fprintf(stderr,
                "latentsync: what is finished is kept; go on with \"latentsync resume %s\"\n",
                folder);
    ls_sync_close(&job);
    return ret == LS_ECANCELED ? EXIT_INTERRUPTED : ret ? EXIT_FAILED : EXIT_OK;
}
