/* Whether the lips of a video follow its sound. */
#include "cli/cli.h"
#include "cli/event.h"

#include <inttypes.h>
#include <math.h>

static const char *verdict_of(const ls_check_stretch *s, char *text, size_t size)
{
    switch (s->verdict) {
    case LS_CHECK_IN_SYNC:
        return "in sync";
    case LS_CHECK_LATE:
    case LS_CHECK_EARLY:
        snprintf(text, size, "%s by %.0f ms", s->verdict == LS_CHECK_LATE ? "late" : "early",
                 fabs(s->lag) * 1000);
        return text;
    default:
        return "cannot tell";
    }
}

/* With the digits that its scale needs. */
static const char *confidence_of(const ls_check *c, const ls_check_stretch *s, char *text,
                                 size_t size)
{
    snprintf(text, size, "%.*f", c->least < 1 ? 2 : 1, s->confidence);
    return text;
}

static void print_stretch(const ls_check *c, const ls_check_stretch *s)
{
    char begin[40], end[40], text[40], number[40];
    printf("%s-%s  %-16s  confidence %s\n", cli_clock(s->start, begin, sizeof begin),
           cli_clock(s->start + s->seconds, end, sizeof end), verdict_of(s, text, sizeof text),
           confidence_of(c, s, number, sizeof number));
}

static void print_check(const ls_check *c)
{
    char text[40], number[40];
    const bool told = c->whole.verdict != LS_CHECK_UNKNOWN;
    printf("%s", verdict_of(&c->whole, text, sizeof text));
    if (told)
        printf(": the sound is %.0f ms %s the lips", fabs(c->whole.lag) * 1000,
               c->whole.lag < 0 ? "before" : "behind");
    printf(" (confidence %s, at least %g is needed; by %s, as %s; %" PRIu64
           " frames with a face)\n",
           confidence_of(c, &c->whole, number, sizeof number), c->least, c->method, c->why,
           c->whole.frames);
    for (size_t i = 0; c->stretch_count > 1 && i < c->stretch_count; i++)
        print_stretch(c, &c->stretches[i]);
}

static json_t *stretch_json(const ls_check_stretch *s)
{
    static const char *const verdicts[] = {"cannot tell", "in sync", "late", "early"};
    const json_int_t ms = (json_int_t)lrint(s->lag * 1000);
    return json_pack("{s:f, s:f, s:I, s:s, s:o, s:f}", "start", s->start, "seconds", s->seconds,
                     "frames_with_face", (json_int_t)s->frames, "verdict", verdicts[s->verdict],
                     "lag_ms", s->verdict == LS_CHECK_UNKNOWN ? json_null() : json_integer(ms),
                     "confidence", s->confidence);
}

static json_t *check_json(const ls_check *c)
{
    json_t *whole = stretch_json(&c->whole), *stretches = json_array();
    for (size_t i = 0; i < c->stretch_count; i++)
        json_array_append_new(stretches, stretch_json(&c->stretches[i]));
    json_object_set_new(whole, "method", json_string(c->method));
    json_object_set_new(whole, "reason", json_string(c->why));
    json_object_set_new(whole, "least_confidence", json_real(c->least));
    json_object_set_new(whole, "stretches", stretches);
    return whole;
}

static int finish(cli_call *call, const ls_check *c)
{
    cli_end_line(&call->console);
    if (cli_has(call, "json"))
        cli_json_print(check_json(c));
    else if (!cli_event(call, "done", check_json(c)))
        print_check(c);
    const int status = cli_flush();
    return status || c->whole.verdict == LS_CHECK_IN_SYNC ? status : CLI_FAILED;
}

int cmd_check(cli_call *call)
{
    ls_sync_settings s;
    const ls_check *c = NULL;
    ls_error err = {0};
    ls_sync_default_settings(&s, sizeof s);
    s.cancel = cli_cancel();
    s.message = cli_message;
    s.progress = cli_progress;
    s.opaque = call;
    cli_event_start(call, NULL, NULL);
    int ret = cli_set_sync(call, &s, &err);
    if (!ret)
        ret = ls_check_video(&c, &s, &err);
    const int status = ret ? cli_fail(call, &err, NULL) : finish(call, c);
    ls_check_free(&c);
    return status;
}
