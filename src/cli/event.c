#include "cli/event.h"
#include "cli/text.h"

#include <stdlib.h>
#include <string.h>

json_t *cli_json(const char *text)
{
    char *clean = text ? cli_utf8(text) : NULL;
    json_t *string = clean ? json_string(clean) : json_null();
    free(clean);
    return string;
}

void cli_json_print(json_t *object)
{
    char *line = json_dumps(object, JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(6));
    if (line)
        printf("%s\n", line);
    fflush(stdout);
    free(line);
    json_decref(object);
}

bool cli_event(cli_call *call, const char *name, json_t *members)
{
    if (call->console.mode != CLI_PROGRESS_JSON) {
        json_decref(members);
        return false;
    }
    json_t *event = json_pack("{s:s}", "event", name);
    json_object_update(event, members);
    json_decref(members);
    cli_json_print(event);
    return true;
}

void cli_event_start(cli_call *call, const char *output, const char *job)
{
    char program[64];
    snprintf(program, sizeof program, "latentsync %s", ls_version());
    cli_event(call, "start",
              json_pack("{s:i, s:s, s:s, s:o, s:o}", "schema", CLI_EVENT_SCHEMA, "program", program,
                        "command", call->command->name, "output", cli_json(output), "job",
                        cli_json(job)));
}

static json_t *times(const ls_progress_time *t, size_t count)
{
    json_t *all = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(all, json_pack("{s:s, s:f, s:f, s:f, s:I}", "name", t[i].name,
                                             "busy_seconds", t[i].busy_seconds, "input_seconds",
                                             t[i].input_seconds, "room_seconds", t[i].room_seconds,
                                             "frames", (json_int_t)t[i].frames));
    return all;
}

void cli_event_progress(cli_call *call, const ls_progress *p)
{
    json_t *queues = json_array();
    for (size_t i = 0; i < p->queue_count; i++)
        json_array_append_new(queues, json_pack("{s:s, s:I, s:I, s:I}", "name", p->queues[i].name,
                                                "items", (json_int_t)p->queues[i].items,
                                                "max_items", (json_int_t)p->queues[i].max_items,
                                                "bytes", (json_int_t)p->queues[i].bytes));
    json_t *event = json_pack(
        "{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I, "
        "s:o, s:o, s:o}",
        "stage", p->stage, "frame", (json_int_t)p->frame, "frames", (json_int_t)p->frames, "chunk",
        (json_int_t)p->chunk, "chunks", (json_int_t)p->chunks, "step", (json_int_t)p->step, "steps",
        (json_int_t)p->steps, "fraction", p->fraction, "frames_per_second", p->frames_per_second,
        "seconds_left", p->seconds_left, "seconds", p->seconds, "cpu_percent", p->cpu_percent,
        "resident_bytes", (json_int_t)p->resident_bytes, "budget_bytes",
        (json_int_t)p->budget_bytes, "stages", times(p->times, p->time_count), "devices",
        times(p->devices, p->device_count), "queues", queues);
    if (p->gpu_total_bytes) {
        json_object_set_new(event, "gpu_bytes", json_integer((json_int_t)p->gpu_bytes));
        json_object_set_new(event, "gpu_total_bytes", json_integer((json_int_t)p->gpu_total_bytes));
    }
    if (p->gpu_total_bytes && p->gpu_percent >= 0)
        json_object_set_new(event, "gpu_percent", json_real(p->gpu_percent));
    cli_event(call, "progress", event);
}

void cli_event_error(cli_call *call, const ls_error *err, const char *message, const char *hint,
                     const char *folder)
{
    cli_event(call, "error",
              json_pack("{s:s, s:i, s:o, s:o, s:o, s:b, s:o}", "code", ls_error_name(err->code),
                        "status", cli_status_of(err), "message", cli_json(message), "hint",
                        cli_json(*hint ? hint : NULL), "option",
                        cli_json(*err->option ? err->option : NULL), "retry",
                        ls_error_is_temporary(err->code), "job", cli_json(folder)));
}
