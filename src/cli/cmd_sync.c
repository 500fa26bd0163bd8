/* The commands of a job: all of it, what remains of it, and its pieces. */
#include "cli/cli.h"
#include "cli/event.h"
#include "cli/text.h"

#include <inttypes.h>
#include <string.h>

enum work { RUN, PLAN, RENDER, JOIN };

/* Whether the quality of a preview was left open. */
static bool is_quality_open(const cli_call *call)
{
    static const char *const names[] = {"quality", "sampler", "steps", "cache-interval",
                                        "guidance-interval"};
    bool open = true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        open = open && !cli_has(call, names[i]);
    return open;
}

static int read_settings(const cli_call *call, ls_sync_settings *s, ls_error *err)
{
    const int ret = cli_set_sync(call, s, err);
    if (s->preview > 0 && is_quality_open(call))
        s->quality = LS_QUALITY_FAST;
    return ret;
}

/* What the whole can make of a preview. */
static void print_use(const cli_call *call, const ls_sync_summary *s)
{
    char folder[4096], quoted[4200];
    if (!s->chunks_kept)
        return;
    cli_job(call, folder, sizeof folder);
    fprintf(stderr,
            "latentsync: \"latentsync resume %s\", or this command without --preview%s, makes the "
            "whole and uses these %" PRIu64 " chunks; another quality makes them again\n",
            cli_quote(folder, quoted, sizeof quoted),
            is_quality_open(call) ? " and with --quality fast" : "", s->chunks_kept);
}

static void print_summary(const ls_sync_summary *s, const char *output)
{
    char clock[40];
    fprintf(stderr, "latentsync: %s: %" PRIu64 " frames, %.1f s, in %s", output, s->frames,
            s->seconds, cli_clock(s->elapsed_seconds, clock, sizeof clock));
    if (s->frames_generated) {
        if (s->elapsed_seconds > 0)
            fprintf(stderr, " (%.2f frames/s)", (double)s->frames_generated / s->elapsed_seconds);
        fprintf(stderr, ", face in %" PRIu64, s->frames_with_face);
        if (s->frames_with_face < s->frames_generated)
            fprintf(stderr, " of %" PRIu64, s->frames_generated);
        fputs(" frames", stderr);
    }
    fprintf(stderr, ", peak %.1f GB, audio %s\n", (double)s->peak_resident_bytes / 1e9, s->audio);
}

/* `sent`: the output, if it goes to standard output; NULL: it does not. */
static int finish(cli_call *call, const ls_sync *job, enum work work, uint64_t segments,
                  const char *sent)
{
    const ls_sync_summary *s = ls_sync_get_summary(job);
    json_t *done = json_object();
    if (s)
        json_object_update_new(
            done, json_pack("{s:o, s:I, s:f, s:f, s:f, s:I, s:I, s:I, s:o, s:I, s:I, s:I, s:I}",
                            "output", cli_json(s->output), "frames", (json_int_t)s->frames, "start",
                            s->start, "seconds", s->seconds, "elapsed_seconds", s->elapsed_seconds,
                            "frames_generated", (json_int_t)s->frames_generated, "frames_with_face",
                            (json_int_t)s->frames_with_face, "peak_resident_bytes",
                            (json_int_t)s->peak_resident_bytes, "audio", cli_json(s->audio), "seed",
                            (json_int_t)s->seed, "frames_covered", (json_int_t)s->frames_covered,
                            "frames_turned", (json_int_t)s->frames_turned, "frames_hidden",
                            (json_int_t)s->frames_hidden));
    if (s && cli_has(call, "preview"))
        json_object_set_new(done, "chunks_kept", json_integer((json_int_t)s->chunks_kept));
    if (work == PLAN)
        json_object_set_new(done, "segments", json_integer((json_int_t)segments));
    if (work == RENDER)
        json_object_set_new(done, "segment", json_integer(cli_integer(call, "segment")));
    cli_end_line(&call->console);
    if (cli_event(call, "done", done))
        return CLI_OK;
    if (s && call->console.level >= LS_MESSAGE_INFO) {
        print_summary(s, sent ? "standard output" : s->output);
        print_use(call, s);
    }
    if (work == PLAN)
        printf("%" PRIu64 "\n", segments);
    return sent ? cli_stdout_send(sent) : cli_flush();
}

static int do_work(ls_sync *job, enum work work, const cli_call *call, uint64_t *segments,
                   ls_error *err)
{
    switch (work) {
    case PLAN:
        return ls_sync_plan(job, segments, err);
    case RENDER:
        return ls_sync_render(job, (uint64_t)cli_integer(call, "segment"), err);
    case JOIN:
        return ls_sync_join(job, err);
    default:
        return ls_sync_run(job, err);
    }
}

/* The library has said that the built-in model is used; what would help is this command's word. */
static void point_to_models(cli_call *call)
{
    char dir[4096];
    int built_in = 0;
    if (!cli_has(call, "models") && !ls_models_find(dir, sizeof dir, &built_in, NULL) && built_in)
        cli_message(call, LS_MESSAGE_NOTICE,
                    "\"latentsync models pull\" downloads a published model, for real faces");
}

/* `sent`: where the output is made that goes to standard output; NULL: it has a name. */
static int run_to(cli_call *call, enum work work, const char *sent)
{
    char folder[4096];
    const char *named = cli_job(call, folder, sizeof folder);
    ls_sync_settings s;
    ls_sync *job = NULL;
    uint64_t segments = 0;
    ls_error err = {0};
    ls_sync_default_settings(&s, sizeof s);
    s.cancel = cli_cancel();
    s.message = cli_message;
    s.progress = cli_progress;
    s.opaque = call;
    cli_event_start(call, cli_text(call, "output"), named);
    const bool is_new = call->command->library & LS_OPTION_SYNC;
    int ret = read_settings(call, &s, &err);
    if (sent)
        s.output = sent;
    if (!ret)
        ret = is_new ? ls_sync_open(&job, &s, &err) : ls_sync_open_job(&job, named, &s, &err);
    if (!ret && is_new)
        point_to_models(call);
    if (!ret)
        ret = do_work(job, work, call, &segments, &err);
    const int status = ret ? cli_fail(call, &err, job ? ls_sync_folder(job) : NULL)
                           : finish(call, job, work, segments, sent);
    ls_sync_close(&job);
    return status;
}

static int run(cli_call *call, enum work work)
{
    return run_to(call, work, NULL);
}

static int dry_run(cli_call *call)
{
    ls_sync_settings s;
    ls_sync *job = NULL;
    ls_error err = {0};
    ls_sync_default_settings(&s, sizeof s);
    s.cancel = cli_cancel();
    cli_event_start(call, cli_text(call, "output"), NULL);
    int ret = read_settings(call, &s, &err);
    if (!strcmp(s.output, "-"))
        s.output = NULL;
    if (!ret && s.output)
        ret = ls_sync_open(&job, &s, &err);
    ls_sync_close(&job);
    return ret ? cli_fail(call, &err, NULL) : cli_estimate(call, &s);
}

int cmd_sync(cli_call *call)
{
    char path[4096];
    if (cli_has(call, "dry-run"))
        return dry_run(call);
    if (cli_has(call, "preview") && !strcmp(cli_text(call, "output"), "-"))
        return cli_usage(call->command, "--preview keeps chunks for the whole beside the output: "
                                        "name a FILE");
    if (strcmp(cli_text(call, "output"), "-"))
        return run(call, RUN);
    int status = cli_stdout_open(call, path, sizeof path);
    if (status == CLI_OK) {
        status = run_to(call, RUN, path);
        cli_stdout_close(path);
    }
    return status;
}

int cmd_resume(cli_call *call)
{
    return run(call, RUN);
}

int cmd_plan(cli_call *call)
{
    return run(call, PLAN);
}

int cmd_render(cli_call *call)
{
    return run(call, RENDER);
}

int cmd_join(cli_call *call)
{
    return run(call, JOIN);
}
