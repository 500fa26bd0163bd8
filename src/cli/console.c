/* What a call shows while it works: messages, and a line of progress that a terminal redraws and a
 * log gets now and then. */
#include "cli/cli.h"
#include "cli/event.h"

#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

double cli_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void cli_end_line(cli_console *c)
{
    if (c->is_line_open)
        fputs("\r\x1b[K", stderr);
    c->is_line_open = false;
}

void cli_message(void *opaque, int level, const char *line)
{
    static const char *const names[] = {"error", "notice", "warning", "info", "debug"};
    cli_call *call = opaque;
    cli_console *c = &call->console;
    if (level > c->level)
        return;
    if (c->mode == CLI_PROGRESS_JSON) {
        cli_event(call, "message",
                  json_pack("{s:s, s:o}", "level", names[level], "text", cli_json(line)));
        return;
    }
    cli_end_line(c);
    fprintf(stderr, "latentsync: %s%s\n", level == LS_MESSAGE_WARNING ? "warning: " : "", line);
}

const char *cli_clock(double seconds, char *out, size_t size)
{
    const unsigned long long s = (unsigned long long)(seconds + 0.5);
    snprintf(out, size, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
    return out;
}

/* As much of a line as fits; 0: nobody knows how wide the terminal is. */
static size_t terminal_width(void)
{
    struct winsize size;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) || size.ws_col < 2 ? 0 : size.ws_col - 1u;
}

typedef struct line {
    char text[512];
    size_t length;
} line;

__attribute__((format(printf, 2, 3))) static void add(line *l, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(l->text + l->length, sizeof l->text - l->length, fmt, args);
    va_end(args);
    l->length += n > 0 ? (size_t)n : 0;
    if (l->length >= sizeof l->text)
        l->length = sizeof l->text - 1;
}

static void draw(cli_console *c, line *l)
{
    const size_t width = c->is_terminal ? terminal_width() : 0;
    if (width && l->length > width) // a line that wraps cannot be drawn over
        l->text[width] = '\0';
    fprintf(stderr, "%s%s%s", c->is_terminal ? "\r" : "", l->text,
            c->is_terminal ? "\x1b[K" : "\n");
    c->is_line_open = c->is_terminal;
    fflush(stderr);
}

static bool makes_frames(const ls_progress *p)
{
    return !strcmp(p->stage, "frames") || !strcmp(p->stage, "preview");
}

static void add_stage(line *l, const ls_progress *p)
{
    if (!strcmp(p->stage, "prepare"))
        add(l, "preparing");
    else if (!strcmp(p->stage, "finish"))
        add(l, "writing output");
    else if (!strcmp(p->stage, "faces"))
        add(l, "finding faces  %" PRIu64, p->frame);
    else if (p->chunk)
        add(l, "chunk %" PRIu64 "/%" PRIu64 " step %" PRIu64 "/%" PRIu64, p->chunk, p->chunks,
            p->step, p->steps);
    else
        add(l, "frame %" PRIu64, p->frame);
    if (p->frames && (!strcmp(p->stage, "faces") || (makes_frames(p) && !p->chunk)))
        add(l, "/%" PRIu64, p->frames);
}

static void add_details(line *l, const ls_progress *p)
{
    const char *before = "  ms/frame: ";
    if (p->cpu_percent > 0)
        add(l, "  CPU %.0f %%", p->cpu_percent);
    for (size_t i = 0; i < p->stage_count; i++) {
        if (!p->stages[i].frames)
            continue;
        add(l, "%s%s %.0f", before, p->stages[i].name,
            1000 * p->stages[i].busy_seconds / (double)p->stages[i].frames);
        before = ", ";
    }
    for (size_t i = 0; i < p->device_count; i++) {
        const ls_progress_time *d = &p->devices[i];
        const double all = d->busy_seconds + d->input_seconds + d->room_seconds;
        if (d->frames && all > 0)
            add(l, "  %s %.0f %% busy", d->name, 100 * d->busy_seconds / all);
    }
    for (size_t i = 0; i < p->queue_count; i++)
        add(l, "%s%s %zu", i ? ", " : "  queued: ", p->queues[i].name, p->queues[i].items);
}

static void add_rate(line *l, const ls_progress *p)
{
    char left[40];
    if (makes_frames(p))
        add(l, "  %.0f %%", 100 * p->fraction);
    if (p->frames_per_second >= 0.095)
        add(l, "  %.*f frames/s", p->frames_per_second < 9.95, p->frames_per_second);
    else if (p->frames_per_second > 0)
        add(l, "  %.1g frames/s", p->frames_per_second);
    if (p->seconds_left > 0)
        add(l, "  %s left", cli_clock(p->seconds_left, left, sizeof left));
}

static void show_line(cli_console *c, const ls_progress *p)
{
    line l = {.length = 0};
    add_stage(&l, p);
    if (makes_frames(p) || !strcmp(p->stage, "faces"))
        add_rate(&l, p);
    add(&l, "  %.1f", (double)p->resident_bytes / 1e9);
    if (c->level >= LS_MESSAGE_DEBUG && p->budget_bytes)
        add(&l, " of %.1f", (double)p->budget_bytes / 1e9);
    add(&l, " GB");
    if (c->level >= LS_MESSAGE_DEBUG)
        add_details(&l, p);
    draw(c, &l);
}

/* A terminal is redrawn a few times a second, and as soon as something else is being done; a log
 * gets a line now and then; both get what completes a stage. */
static bool is_due(cli_console *c, const char *stage, bool is_last)
{
    const double now = cli_now();
    const double every = c->mode == CLI_PROGRESS_JSON ? 0.5 : c->is_terminal ? 0.2 : 10;
    const bool is_new = strcmp(stage, c->stage) != 0;
    if (c->mode == CLI_PROGRESS_NONE)
        return false;
    if (c->last <= 0 && every >= 10)
        c->last = now;
    if (is_new) {
        snprintf(c->stage, sizeof c->stage, "%s", stage);
        c->is_last_shown = false;
    }
    if (c->last > 0 && now - c->last < every && !(is_new && every < 10) &&
        !(is_last && !c->is_last_shown))
        return false;
    c->is_last_shown = is_last;
    c->last = now;
    return true;
}

void cli_progress(void *opaque, const ls_progress *p)
{
    cli_call *call = opaque;
    cli_console *c = &call->console;
    const bool is_line_of_log = c->mode == CLI_PROGRESS_LINE && !c->is_terminal;
    if ((is_line_of_log && !p->frames) || !is_due(c, p->stage, p->frames && p->frame == p->frames))
        return;
    if (c->mode == CLI_PROGRESS_JSON)
        cli_event_progress(call, p);
    else
        show_line(c, p);
}

void cli_transfer(void *opaque, const ls_models_progress *p)
{
    cli_call *call = opaque;
    cli_console *c = &call->console;
    line l = {.length = 0};
    char clock[40];
    const bool is_complete = p->bytes == p->total && !p->checking;
    const double left = p->bytes_per_second > 0 && p->total >= p->bytes
                            ? (double)(p->total - p->bytes) / p->bytes_per_second
                            : 0;
    if (!is_due(c, p->name, is_complete))
        return;
    if (cli_event(call, "transfer",
                  json_pack("{s:o, s:b, s:I, s:I, s:f, s:f}", "file", cli_json(p->name), "checking",
                            p->checking, "bytes", (json_int_t)p->bytes, "total_bytes",
                            (json_int_t)p->total, "bytes_per_second", p->bytes_per_second,
                            "seconds_left", left)))
        return;
    add(&l, "%s%s  %.1f of %.1f MB", p->checking ? "checking " : "", p->name,
        (double)p->bytes / 1e6, (double)p->total / 1e6);
    if (p->bytes_per_second > 0)
        add(&l, "  %.1f MB/s", p->bytes_per_second / 1e6);
    if (left > 0)
        add(&l, "  %s left", cli_clock(left, clock, sizeof clock));
    draw(c, &l);
}
