#include "cli/cli.h"
#include "cli/event.h"
#include "latentsync/probe.h"

#include <inttypes.h>
#include <string.h>

static void print_stream(const ls_probe_stream *s)
{
    printf("  stream %d: %s, %s", s->index, s->type, s->codec);
    if (s->width)
        printf(", %zu x %zu", s->width, s->height);
    if (s->width && s->pixel_format)
        printf(", %s", s->pixel_format);
    if (s->fps_num && s->fps_den)
        printf(", %.5g frames/s", (double)s->fps_num / s->fps_den);
    if (s->rotation)
        printf(", turned by %d degrees", s->rotation);
    if (s->sample_rate)
        printf(", %d Hz, %d channel%s", s->sample_rate, s->channels, s->channels == 1 ? "" : "s");
    if (s->seconds > 0)
        printf(", %.1f s", s->seconds);
    puts(s->used ? " (used)" : "");
}

static void print_probe(const ls_probe *p)
{
    printf("%s: %s", p->path, p->format);
    if (p->seconds > 0)
        printf(", %.1f s", p->seconds);
    if (p->bytes)
        printf(", %.1f MB", (double)p->bytes / 1e6);
    putchar('\n');
    for (size_t i = 0; i < p->stream_count; i++)
        print_stream(&p->streams[i]);
    printf("as the video of a job: ");
    if (p->is_video)
        printf("%zu x %zu, about %" PRIu64 " frames at 25 frames/s\n", p->width, p->height,
               p->frames);
    else
        puts("no");
    printf("as the speech of a job: %s\n", p->is_speech ? "yes" : "no");
    for (size_t i = 0; i < p->note_count; i++)
        printf("note: %s\n", p->notes[i]);
}

static json_t *stream_json(const ls_probe_stream *s)
{
    return json_pack("{s:i, s:o, s:o, s:f, s:I, s:I, s:[i,i], s:o, s:i, s:i, s:i, s:b}", "index",
                     s->index, "type", cli_json(s->type), "codec", cli_json(s->codec), "seconds",
                     s->seconds, "width", (json_int_t)s->width, "height", (json_int_t)s->height,
                     "fps", s->fps_num, s->fps_den, "pixel_format", cli_json(s->pixel_format),
                     "rotation", s->rotation, "sample_rate", s->sample_rate, "channels",
                     s->channels, "used", s->used);
}

static json_t *probe_json(const ls_probe *p)
{
    json_t *streams = json_array(), *notes = json_array();
    for (size_t i = 0; i < p->stream_count; i++)
        json_array_append_new(streams, stream_json(&p->streams[i]));
    for (size_t i = 0; i < p->note_count; i++)
        json_array_append_new(notes, cli_json(p->notes[i]));
    return json_pack("{s:o, s:o, s:I, s:f, s:o, s:I, s:I, s:I, s:b, s:b, s:o}", "path",
                     cli_json(p->path), "format", cli_json(p->format), "bytes",
                     (json_int_t)p->bytes, "seconds", p->seconds, "streams", streams, "width",
                     (json_int_t)p->width, "height", (json_int_t)p->height, "frames",
                     (json_int_t)p->frames, "is_video", p->is_video, "is_speech", p->is_speech,
                     "notes", notes);
}

int cmd_probe(cli_call *call)
{
    const ls_probe *p = NULL;
    ls_error err = {0};
    cli_event_start(call, NULL, NULL);
    if (ls_probe_open(&p, cli_text(call, "file"), cli_cancel(), &err))
        return cli_fail(call, &err, NULL);
    if (cli_has(call, "json"))
        cli_json_print(probe_json(p));
    else if (!cli_event(call, "done", probe_json(p)))
        print_probe(p);
    ls_probe_free(&p);
    return cli_flush();
}
