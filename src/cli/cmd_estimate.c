/* What a job will take, for each quality that the library knows, or as it was asked for. */
#include "cli/cli.h"
#include "cli/event.h"

#include <inttypes.h>
#include <string.h>

static void print_head(const ls_estimate *e)
{
    printf("%" PRIu64 " frames, %.2f s; may hold %.1f GB of memory%s\n", e->frames, e->seconds,
           (double)e->max_memory / 1e9,
           e->is_computed ? "; networks by the speed of their ops" : "");
    printf("%-10s %14s %9s %9s %11s %9s", "", "as busy as now", "if idle", "CPU, s", "memory, GB",
           "disk, MB");
    if (e->card_memory)
        printf(" %7s, GB", e->device);
    putchar('\n');
}

static void print_row(const ls_estimate *e, const char *quality)
{
    char clock[40], idle[40];
    printf("%-10s %14s %9s %9.1f %11.2f %9.1f", quality,
           cli_clock(e->run_seconds, clock, sizeof clock),
           cli_clock(e->idle_seconds, idle, sizeof idle), e->cpu_seconds, (double)e->memory / 1e9,
           (double)e->disk / 1e6);
    if (e->card_memory)
        printf(" %11.2f", (double)e->card_memory / 1e9);
    putchar('\n');
    fflush(stdout);
}

static json_t *to_json(const ls_estimate *e, const char *quality)
{
    return json_pack("{s:o, s:I, s:f, s:f, s:f, s:f, s:f, s:b, s:b, s:I, s:I, s:I, s:I, s:s}",
                     "quality", cli_json(quality), "frames", (json_int_t)e->frames, "seconds",
                     e->seconds, "run_seconds", e->run_seconds, "idle_seconds", e->idle_seconds,
                     "cpu_seconds", e->cpu_seconds, "frame_seconds", e->frame_seconds,
                     "networks_computed", e->is_computed, "known", e->is_known, "memory_bytes",
                     (json_int_t)e->memory, "max_memory_bytes", (json_int_t)e->max_memory,
                     "card_memory_bytes", (json_int_t)e->card_memory, "disk_bytes",
                     (json_int_t)e->disk, "device", e->device);
}

typedef struct report {
    bool json, begun;
    json_t *events; /* what is reported at the end; NULL: each is printed */
} report;

static void print(void *opaque, int quality, const ls_estimate *e)
{
    report *r = opaque;
    const char *name = ls_option_find("quality")->choices[quality];
    if (r->json) {
        cli_json_print(to_json(e, name));
        return;
    }
    if (r->events) {
        json_array_append_new(r->events, to_json(e, name));
        return;
    }
    if (!r->begun)
        print_head(e);
    r->begun = true;
    print_row(e, name);
}

int cli_estimate(cli_call *call, const ls_sync_settings *s)
{
    report r = {.json = cli_has(call, "json")};
    ls_error err = {0};
    ls_estimate e;
    int ret;
    if (!r.json && call->console.mode == CLI_PROGRESS_JSON)
        r.events = json_array();
    if (cli_has(call, "quality")) {
        ret = ls_estimate_sync(&e, sizeof e, s, 0, &err);
        if (!ret)
            print(&r, s->quality, &e);
    } else {
        ret = ls_estimate_qualities(print, &r, s, 0, &err);
    }
    if (!ret && r.events)
        cli_event(call, "done", json_pack("{s:O}", "estimates", r.events));
    json_decref(r.events);
    return ret ? cli_fail(call, &err, NULL) : cli_flush();
}

int cmd_estimate(cli_call *call)
{
    ls_sync_settings s;
    ls_error err = {0};
    cli_event_start(call, NULL, NULL);
    ls_sync_default_settings(&s, sizeof s);
    s.cancel = cli_cancel();
    return cli_set_sync(call, &s, &err) ? cli_fail(call, &err, NULL) : cli_estimate(call, &s);
}
