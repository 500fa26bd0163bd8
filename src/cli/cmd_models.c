#include "cli/cli.h"
#include "cli/event.h"

#include <ctype.h>
#include <unistd.h>

typedef struct check {
    bool is_json;
    json_t *files;
} check;

static void add_report(void *opaque, const ls_models_report *r)
{
    check *c = opaque;
    if (c->is_json) {
        json_array_append_new(
            c->files, json_pack("{s:o, s:o, s:o, s:I, s:I}", "role", cli_json(r->role), "path",
                                cli_json(r->path), "summary", cli_json(r->summary), "tensors",
                                (json_int_t)r->tensors, "parameters", (json_int_t)r->parameters));
        return;
    }
    if (!r->path) {
        printf("%-8s none: sync needs a face track\n", r->role);
        return;
    }
    printf("%-8s %s\n         ", r->role, r->path);
    if (r->tensors)
        printf("%zu tensors, %.1f million parameters; ", r->tensors, (double)r->parameters / 1e6);
    puts(r->summary);
    fflush(stdout);
}

int cmd_models_check(cli_call *call)
{
    ls_error err = {0};
    const char *dir = cli_text(call, "directory");
    check c = {call->console.mode == CLI_PROGRESS_JSON, json_array()};
    const ls_cancel *cancel = cli_cancel();
    cli_event_start(call, dir, NULL);
    int ret = ls_models_check(dir, add_report, &c, cancel, &err);
    json_t *done = json_pack("{s:o, s:o}", "directory", cli_json(dir), "files", c.files);
    if (ret) {
        json_decref(done);
        return cli_fail(call, &err, NULL);
    }
    if (cli_event(call, "done", done))
        return CLI_OK;
    puts("ok");
    return cli_flush();
}

int cmd_random(cli_call *call)
{
    ls_error err = {0};
    const char *size = cli_text(call, "size"), *out = cli_text(call, "out");
    if (ls_models_random(out, size, &err))
        return cli_fail(call, &err, NULL);
    printf("%s now holds a %s model with made-up weights: lips will be meaningless.\n", out, size);
    return cli_flush();
}

static void print_terms(cli_call *call, const ls_pull_settings *s)
{
    const ls_pull_item *item;
    char line[256];
    for (size_t i = 0; (item = ls_pull_get_item(i)); i++) {
        if ((item->when == LS_PULL_FACES && !s->faces) ||
            (item->when == LS_PULL_SYNCNET && !s->syncnet))
            continue;
        snprintf(line, sizeof line, "%s (%.2f GB): licence %s", item->what,
                 (double)item->bytes / 1e9, item->licence);
        cli_message(call, LS_MESSAGE_INFO, line);
    }
}

static bool ask(void)
{
    char answer[16] = "";
    fputs("InsightFace's networks are for non-commercial research only. Download them under these "
          "terms? [y/N] ",
          stderr);
    return fgets(answer, sizeof answer, stdin) && tolower((unsigned char)*answer) == 'y';
}

/* CLI_OK if InsightFace's terms are accepted, or need not be. */
static int settle_terms(cli_call *call, const char *dir)
{
    static const ls_error refusal = {
        .code = LS_EINVAL,
        .hint = LS_HINT_ACCEPT_LICENCE,
        .message = "InsightFace's face networks are for non-commercial research only"};
    const bool is_asked =
        isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && call->console.mode != CLI_PROGRESS_JSON;
    if (cli_has(call, "accept-licence") || ls_pull_has_faces(dir) || (is_asked && ask()))
        return CLI_OK;
    return cli_fail(call, &refusal, NULL);
}

static int finish(cli_call *call, const ls_pull_settings *s, const char *dir)
{
    cli_end_line(&call->console);
    if (cli_event(call, "done",
                  json_pack("{s:o, s:o, s:b}", "directory", cli_json(dir), "version",
                            cli_json(s->version), "faces", s->faces)))
        return CLI_OK;
    if (call->console.level >= LS_MESSAGE_INFO)
        printf("LatentSync %s%s %s into %s\n", s->version, s->faces ? "" : " without face networks",
               call->command->run == cmd_pull ? "downloaded" : "imported", dir);
    return cli_flush();
}

static void fill(cli_call *call, ls_pull_settings *s)
{
    ls_pull_default_settings(s, sizeof *s);
    s->version = cli_text(call, "version");
    s->folder = cli_text(call, "out");
    s->faces = !cli_has(call, "without-faces");
    s->syncnet = cli_has(call, "syncnet");
    s->message = cli_message;
    s->progress = cli_transfer;
    s->opaque = call;
}

int cmd_pull(cli_call *call)
{
    ls_pull_settings s;
    ls_error err = {0};
    char dir[4096];
    fill(call, &s);
    s.mirror = cli_text(call, "mirror");
    s.insecure = cli_has(call, "insecure");
    s.stall_seconds = (int)cli_integer(call, "timeout");
    s.retries = (int)cli_integer(call, "retries");
    if (cli_has(call, "accept-licence") && !s.faces)
        return cli_usage(call->command, "--accept-licence and --without-faces exclude each other");
    if (ls_pull_directory(&s, dir, sizeof dir, &err))
        return cli_fail(call, &err, NULL);
    cli_event_start(call, dir, NULL);
    if (access(dir, F_OK)) // said once
        cli_message(call, LS_MESSAGE_INFO,
                    "make people say only what they agreed to say, and tell those who watch that "
                    "AI made it");
    print_terms(call, &s);
    const int status = s.faces ? settle_terms(call, dir) : CLI_OK;
    if (status != CLI_OK)
        return status;
    s.cancel = cli_cancel();
    return ls_models_pull(&s, &err) ? cli_fail(call, &err, NULL) : finish(call, &s, dir);
}

int cmd_import(cli_call *call)
{
    ls_pull_settings s;
    ls_error err = {0};
    char dir[4096];
    fill(call, &s);
    if (ls_pull_directory(&s, dir, sizeof dir, &err))
        return cli_fail(call, &err, NULL);
    s.cancel = cli_cancel();
    cli_event_start(call, dir, NULL);
    return ls_models_import(&s, cli_text(call, "folder"), &err) ? cli_fail(call, &err, NULL)
                                                                : finish(call, &s, dir);
}
