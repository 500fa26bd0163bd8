#include "cli/cli.h"
#include "cli/event.h"

#include <inttypes.h>

static int print_line(void *opaque, const char *line, size_t bytes)
{
    (void)opaque;
    return fwrite(line, 1, bytes, stdout) == bytes ? 0 : LS_EIO;
}

static void print_tracks(const ls_faces *job)
{
    const ls_faces_track *t;
    for (size_t i = 0; (t = ls_faces_get_track(job, i)); i++) {
        char frames[48];
        if (!i)
            puts("track   frames         share   score   left   top  width  height");
        snprintf(frames, sizeof frames, "%" PRId64 "-%" PRId64, t->first, t->last);
        printf("%-7" PRIu32 " %-13s %4.0f %%   %5.2f  %5.0f %5.0f  %5.0f   %5.0f\n", t->id, frames,
               t->share * 100, t->score, t->box[0], t->box[1], t->box[2] - t->box[0],
               t->box[3] - t->box[1]);
    }
}

static json_t *list_tracks(const ls_faces *job)
{
    const ls_faces_track *t;
    json_t *tracks = json_array();
    for (size_t i = 0; (t = ls_faces_get_track(job, i)); i++)
        json_array_append_new(tracks,
                              json_pack("{s:I, s:I, s:I, s:I, s:f, s:f, s:[f,f,f,f]}", "track",
                                        (json_int_t)t->id, "first", (json_int_t)t->first, "last",
                                        (json_int_t)t->last, "frames", (json_int_t)t->frames,
                                        "share", t->share, "score", t->score, "box", t->box[0],
                                        t->box[1], t->box[2], t->box[3]));
    return json_pack("{s:I, s:o}", "frames", (json_int_t)ls_faces_frames(job), "tracks", tracks);
}

/* A face is smaller in other frames than where it is largest, by an eighth, say. */
static void report_none(cli_call *call, const ls_faces *job)
{
    char text[128] = "no face was found";
    size_t w, h, allow = 0;
    if (ls_faces_get_small(job, &w, &h))
        allow = (8 * w / 5 < h ? 8 * w / 5 : h) * 7 / 8;
    if ((double)allow >= cli_option_find(call->command, "min-face")->min)
        snprintf(text, sizeof text,
                 "no face is large enough: the largest is %zu x %zu pixels; try --min-face %zu", w,
                 h, allow);
    cli_message(call, LS_MESSAGE_WARNING, text);
}

static int finish(cli_call *call, const ls_faces *job)
{
    if (!ls_faces_get_track(job, 0))
        report_none(call, job);
    cli_end_line(&call->console);
    if (cli_event(call, "done", list_tracks(job)))
        return CLI_OK;
    if (!cli_has(call, "json"))
        print_tracks(job);
    return cli_flush();
}

int cmd_faces(cli_call *call)
{
    ls_faces_settings s;
    ls_faces *job = NULL;
    ls_error err = {0};
    ls_faces_default_settings(&s, sizeof s);
    s.cancel = cli_cancel();
    s.message = cli_message;
    s.progress = cli_progress;
    s.opaque = call;
    s.preview = cli_text(call, "preview");
    s.line = cli_has(call, "json") ? print_line : NULL;
    cli_event_start(call, NULL, NULL);
    int ret = cli_set_faces(call, &s, &err);
    if (!ret)
        ret = ls_faces_open(&job, &s, &err);
    if (!ret)
        ret = ls_faces_run(job, &err);
    const int status = ferror(stdout) ? cli_flush()
                       : ret          ? cli_fail(call, &err, NULL)
                                      : finish(call, job);
    ls_faces_close(&job);
    return status;
}
