#include "pipeline/options.h"
#include "diffusion/ddim.h"
#include "face/follow.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYNC(field) .sync = offsetof(ls_sync_settings, field)
#define FACES(field) .faces = offsetof(ls_faces_settings, field)

static const char *const dtypes[] = {"auto", "f32", "bf16", NULL};
static const char *const rates[] = {"25", "source", NULL};

enum { NEW = LS_OPTION_SYNC, JOB = LS_OPTION_RESUME, LIST = LS_OPTION_FACES };

/* Every default, range and description, once. */
static const ls_option_row rows[] = {
    {{.name = "video",
      .type = LS_OPTION_INPUT,
      .used_by = NEW | LIST,
      .is_required = 1,
      .is_result = 1,
      .value = "VIDEO",
      .help = "video of the person who is to speak"},
     LS_MEMBER_STRING,
     SYNC(video),
     FACES(video)},
    {{.name = "audio",
      .type = LS_OPTION_INPUT,
      .used_by = NEW,
      .is_required = 1,
      .is_result = 1,
      .value = "SPEECH",
      .help = "recording of the speech"},
     LS_MEMBER_STRING,
     SYNC(audio)},
    {{.name = "output",
      .type = LS_OPTION_OUTPUT,
      .used_by = NEW,
      .is_required = 1,
      .is_result = 1,
      .letter = 'o',
      .value = "FILE",
      .help = "video to write: .mp4, .mkv or .mov"},
     LS_MEMBER_STRING,
     SYNC(output)},
    {{.name = "models",
      .type = LS_OPTION_DIRECTORY,
      .used_by = NEW | LIST,
      .is_result = 1,
      .letter = 'm',
      .value = "DIR",
      .automatic = "the installed model, else the built-in one, for drawn faces only",
      .help = "model directory"},
     LS_MEMBER_STRING,
     SYNC(models),
     FACES(models)},

    {{.name = "face",
      .type = LS_OPTION_TEXT,
      .used_by = NEW,
      .is_result = 1,
      .value = "WHICH",
      .initial = "largest",
      .group = "Face",
      .help = "largest, left, right, the number of a track, or x,y: a point of the picture; the "
              "choice is kept within a shot"},
     LS_MEMBER_STRING,
     SYNC(face)},
    {{.name = "max-gap",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW | LIST,
      .is_result = 1,
      .value = "N",
      .initial = "12",
      .max = LS_FOLLOW_MAX_GAP,
      .unit = "frames",
      .group = "Face",
      .help = "longest gap without a detection to interpolate; frames of longer gaps stay "
              "unchanged, with the new mouth fading out and in"},
     LS_MEMBER_SIZE,
     SYNC(max_gap),
     FACES(max_gap)},
    {{.name = "detect-every",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW | LIST,
      .is_result = 1,
      .value = "N",
      .initial = "1",
      .min = 1,
      .max = LS_FOLLOW_MAX_EVERY,
      .unit = "frames",
      .group = "Face",
      .help = "run detection on every Nth frame and interpolate between"},
     LS_MEMBER_SIZE,
     SYNC(detect_every),
     FACES(detect_every)},
    {{.name = "detector",
      .type = LS_OPTION_INPUT,
      .used_by = NEW | LIST,
      .is_result = 1,
      .value = "FILE",
      .automatic = "the best one in DIR/face",
      .group = "Face",
      .help = "ONNX file of the face detector"},
     LS_MEMBER_STRING,
     SYNC(detector),
     FACES(detector)},
    {{.name = "save-track",
      .type = LS_OPTION_OUTPUT,
      .used_by = NEW,
      .is_result = 1,
      .value = "FILE",
      .group = "Face",
      .help = "save the faces found, so that another run needs no detection"},
     LS_MEMBER_STRING,
     SYNC(save_track)},
    {{.name = "face-track",
      .type = LS_OPTION_INPUT,
      .used_by = NEW,
      .is_result = 1,
      .letter = 't',
      .value = "FILE",
      .group = "Face",
      .help = "use the faces of this file (JSON lines, see docs/FORMATS.md) instead of detecting"},
     LS_MEMBER_STRING,
     SYNC(face_track)},

    {{.name = "resolution",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW,
      .is_result = 1,
      .value = "N",
      .automatic = "the model's own, 512 if it names none",
      .min = 64,
      .max = 4096,
      .unit = "pixels",
      .group = "Model",
      .help = "side of the face image: 256 for LatentSync 1.5, 512 for 1.6"},
     LS_MEMBER_SIZE,
     SYNC(resolution)},
    {{.name = "steps",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW,
      .is_result = 1,
      .value = "N",
      .initial = "20",
      .min = 1,
      .max = LS_DDIM_TRAIN_STEPS,
      .group = "Model",
      .help = "denoising steps"},
     LS_MEMBER_SIZE,
     SYNC(steps)},
    {{.name = "guidance",
      .type = LS_OPTION_NUMBER,
      .used_by = NEW,
      .is_result = 1,
      .value = "X",
      .automatic = "the model's own, 1.5 if it names none",
      .max = 100,
      .group = "Model",
      .help = "guidance scale; 1 turns guidance off"},
     LS_MEMBER_FLOAT,
     SYNC(guidance_scale)},
    {{.name = "cache-interval",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW,
      .is_result = 1,
      .value = "N",
      .initial = "3",
      .min = 1,
      .max = LS_DDIM_TRAIN_STEPS,
      .unit = "steps",
      .group = "Model",
      .help = "run the whole UNet every Nth step; 1: always"},
     LS_MEMBER_SIZE,
     SYNC(cache_interval)},
    {{.name = "seed",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW,
      .is_result = 1,
      .value = "N",
      .initial = "1247",
      .min = -1,
      .max = 0x1p63,
      .group = "Model",
      .help = "seed of the noise; -1 draws one and prints it"},
     LS_MEMBER_INT64,
     SYNC(seed)},
    {{.name = "dtype",
      .type = LS_OPTION_CHOICE,
      .used_by = NEW,
      .is_result = 1,
      .value = "TYPE",
      .initial = "auto",
      .choices = dtypes,
      .group = "Model",
      .help = "number type: auto, f32 or bf16; auto is bf16 where the CPU supports it"},
     LS_MEMBER_INT,
     SYNC(compute_type)},
    {{.name = "threads",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW | JOB | LIST,
      .value = "N",
      .automatic = "all cores",
      .min = 1,
      .max = 1024,
      .group = "Model",
      .help = "threads of the networks"},
     LS_MEMBER_INT,
     SYNC(threads),
     FACES(threads)},

    {{.name = "fps",
      .type = LS_OPTION_CHOICE,
      .used_by = NEW | LIST,
      .is_result = 1,
      .value = "RATE",
      .initial = "25",
      .choices = rates,
      .group = "Output",
      .help = "25, the model's own frame rate, or source: the video's"},
     LS_MEMBER_INT,
     SYNC(source_fps),
     FACES(source_fps)},
    {{.name = "video-codec",
      .type = LS_OPTION_TEXT,
      .used_by = NEW,
      .is_result = 1,
      .value = "NAME",
      .initial = "libx264",
      .group = "Output",
      .help = "encoder, one that \"latentsync info\" lists"},
     LS_MEMBER_STRING,
     SYNC(video_codec)},
    {{.name = "crf",
      .type = LS_OPTION_INTEGER,
      .used_by = NEW,
      .is_result = 1,
      .value = "N",
      .initial = "18",
      .max = 63,
      .group = "Output",
      .help = "quality; lower is better"},
     LS_MEMBER_INT,
     SYNC(crf)},
    {{.name = "preset",
      .type = LS_OPTION_TEXT,
      .used_by = NEW,
      .is_result = 1,
      .value = "NAME",
      .initial = "medium",
      .group = "Output",
      .help = "speed of the encoder"},
     LS_MEMBER_STRING,
     SYNC(preset)},
    {{.name = "no-overwrite",
      .type = LS_OPTION_FLAG,
      .used_by = NEW,
      .group = "Output",
      .help = "fail if the output exists, instead of replacing it"},
     LS_MEMBER_INT,
     SYNC(no_overwrite)},

    {{.name = "segment-seconds",
      .type = LS_OPTION_NUMBER,
      .used_by = NEW,
      .value = "X",
      .automatic = "9.6 at 25 frames/s",
      .min = 0.1,
      .max = 86400,
      .unit = "seconds",
      .group = "Job",
      .help = "length of the segments that are kept when a job is interrupted; each starts with a "
              "key frame"},
     LS_MEMBER_DOUBLE,
     SYNC(segment_seconds)},
    {{.name = "job",
      .type = LS_OPTION_OUTPUT,
      .used_by = NEW,
      .value = "DIR",
      .automatic = "FILE.lsjob",
      .group = "Job",
      .help = "folder of the job, FILE being the output"},
     LS_MEMBER_STRING,
     SYNC(job)},
    {{.name = "keep-job",
      .type = LS_OPTION_FLAG,
      .used_by = NEW | JOB,
      .group = "Job",
      .help = "keep the job's folder when the output is complete"},
     LS_MEMBER_INT,
     SYNC(keep_job)},
    {{.name = "restart",
      .type = LS_OPTION_FLAG,
      .used_by = NEW,
      .group = "Job",
      .help = "discard what an earlier run left in the job's folder, and start again"},
     LS_MEMBER_INT,
     SYNC(restart)},
    {{.name = "max-memory",
      .type = LS_OPTION_BYTES,
      .used_by = NEW | JOB,
      .value = "SIZE",
      .automatic = "70 % of what is free",
      .min = 1,
      .max = 0x1p62,
      .unit = "bytes",
      .group = "Job",
      .help = "memory limit, like 4G or 900M; work is cut into smaller pieces to fit"},
     LS_MEMBER_UINT64,
     SYNC(max_memory)},
    {{.name = "stats",
      .type = LS_OPTION_OUTPUT,
      .used_by = NEW | JOB,
      .value = "FILE",
      .group = "Job",
      .help = "append a line of JSON every second, for \"latentsync report\""},
     LS_MEMBER_STRING,
     SYNC(stats)},
};

const ls_option_row *ls_option_row_at(size_t index)
{
    return index < sizeof rows / sizeof *rows ? &rows[index] : NULL;
}

const ls_option *ls_option_at(size_t index)
{
    const ls_option_row *row = ls_option_row_at(index);
    return row ? &row->option : NULL;
}

static const ls_option_row *find_row(const char *name)
{
    const ls_option_row *row;
    for (size_t i = 0; (row = ls_option_row_at(i)); i++)
        if (!strcmp(row->option.name, name))
            return row;
    return NULL;
}

const ls_option *ls_option_find(const char *name)
{
    const ls_option_row *row = find_row(name);
    return row ? &row->option : NULL;
}

static void list_choices(const ls_option *o, char *text, size_t size)
{
    *text = '\0';
    for (size_t i = 0, n = 0; o->choices[i] && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s%s",
                              !i                  ? ""
                              : o->choices[i + 1] ? ", "
                                                  : " or ",
                              o->choices[i]);
}

static int fail_value(const ls_option *o, const char *text, ls_error *err)
{
    char wanted[160];
    if (o->type == LS_OPTION_CHOICE)
        list_choices(o, wanted, sizeof wanted);
    else if (o->type == LS_OPTION_BYTES)
        snprintf(wanted, sizeof wanted, "a number of bytes, like 4G or 900M");
    else if (o->type == LS_OPTION_FLAG)
        snprintf(wanted, sizeof wanted, "0 or 1");
    else if (o->type >= LS_OPTION_TEXT)
        snprintf(wanted, sizeof wanted, "%s",
                 o->type == LS_OPTION_TEXT ? "a text" : "the name of a file or folder");
    else if (o->type == LS_OPTION_INTEGER && o->max >= 0x1p63)
        snprintf(wanted, sizeof wanted, "a whole number, %.0f or more", o->min);
    else
        snprintf(wanted, sizeof wanted, "a %s from %g to %g",
                 o->type == LS_OPTION_INTEGER ? "whole number" : "number", o->min, o->max);
    return ls_advise(err,
                     ls_fail(err, LS_EINVAL, "%s: expected %s, not \"%s\"", o->name, wanted, text),
                     LS_HINT_NONE, o->name);
}

static bool read_integer(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll(text, &end, 10);
    return !errno && end != text && !*end;
}

static bool read_bytes(const char *text, int64_t *out)
{
    static const char units[] = "KMGT";
    char *end;
    const double x = strtod(text, &end);
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    const double bytes = ldexp(x, unit ? 10 * (int)(unit - units + 1) : 0);
    if (end == text || (*end && (!unit || end[1])) || !(bytes >= 0 && bytes <= 0x1p62))
        return false;
    *out = (int64_t)bytes;
    return true;
}

static bool read_number(const char *text, double *out)
{
    char *end;
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out);
}

static bool read_choice(const ls_option *o, const char *text, int64_t *out)
{
    for (*out = 0; o->choices[*out]; ++*out)
        if (!strcmp(text, o->choices[*out]))
            return true;
    return false;
}

static bool is_within(const ls_option *o, double x)
{
    return (x >= o->min && x <= o->max) || (o->automatic && x == 0);
}

int ls_option_parse(const ls_option *o, const char *text, ls_option_value *out, ls_error *err)
{
    bool ok = true;
    *out = (ls_option_value){.text = text};
    if (o->type == LS_OPTION_FLAG && !text) {
        out->integer = 1;
        return 0;
    }
    if (!text)
        return fail_value(o, "", err);
    if (o->automatic && !strcmp(text, "auto")) {
        out->text = NULL;
        return 0;
    }
    switch (o->type) {
    case LS_OPTION_FLAG:
        ok = read_integer(text, &out->integer) && (out->integer == 0 || out->integer == 1);
        break;
    case LS_OPTION_INTEGER:
        ok = read_integer(text, &out->integer) && is_within(o, (double)out->integer);
        break;
    case LS_OPTION_BYTES:
        ok = read_bytes(text, &out->integer) && is_within(o, (double)out->integer);
        break;
    case LS_OPTION_NUMBER:
        ok = read_number(text, &out->number) && is_within(o, out->number);
        break;
    case LS_OPTION_CHOICE:
        ok = read_choice(o, text, &out->integer);
        break;
    default:
        ok = *text;
    }
    return ok ? 0 : fail_value(o, text, err);
}

ls_option_value ls_option_get(const ls_option_row *row, const void *settings, size_t offset)
{
    const void *p = (const char *)settings + offset;
    switch (row->member) {
    case LS_MEMBER_INT:
        return (ls_option_value){.integer = *(const int *)p};
    case LS_MEMBER_SIZE:
        return (ls_option_value){.integer = (int64_t) * (const size_t *)p};
    case LS_MEMBER_INT64:
        return (ls_option_value){.integer = *(const int64_t *)p};
    case LS_MEMBER_UINT64:
        return (ls_option_value){.integer = (int64_t) * (const uint64_t *)p};
    case LS_MEMBER_FLOAT:
        return (ls_option_value){.number = (double)*(const float *)p};
    case LS_MEMBER_DOUBLE:
        return (ls_option_value){.number = *(const double *)p};
    default:
        return (ls_option_value){.text = *(const char *const *)p};
    }
}

void ls_option_put(const ls_option_row *row, void *settings, size_t offset,
                   const ls_option_value *v)
{
    void *p = (char *)settings + offset;
    switch (row->member) {
    case LS_MEMBER_INT:
        *(int *)p = (int)v->integer;
        break;
    case LS_MEMBER_SIZE:
        *(size_t *)p = (size_t)v->integer;
        break;
    case LS_MEMBER_INT64:
        *(int64_t *)p = v->integer;
        break;
    case LS_MEMBER_UINT64:
        *(uint64_t *)p = (uint64_t)v->integer;
        break;
    case LS_MEMBER_FLOAT:
        *(float *)p = (float)v->number;
        break;
    case LS_MEMBER_DOUBLE:
        *(double *)p = v->number;
        break;
    case LS_MEMBER_STRING:
        *(const char **)p = v->text;
    }
}

static int set(void *settings, bool faces, const char *name, const char *value, ls_error *err)
{
    const ls_option_row *row = find_row(name);
    const size_t offset = !row ? 0 : faces ? row->faces : row->sync;
    ls_option_value v;
    if (!offset)
        return ls_fail(err, LS_ENOENT, "there is no option \"%s\"", name);
    int ret = ls_option_parse(&row->option, value, &v, err);
    if (!ret)
        ls_option_put(row, settings, offset, &v);
    return ret;
}

int ls_sync_set(ls_sync_settings *s, const char *name, const char *value, ls_error *err)
{
    return set(s, false, name, value, err);
}

int ls_faces_set(ls_faces_settings *s, const char *name, const char *value, ls_error *err)
{
    return set(s, true, name, value, err);
}

void ls_options_set_defaults(ls_sync_settings *sync, ls_faces_settings *faces)
{
    const ls_option_row *row;
    for (size_t i = 0; (row = ls_option_row_at(i)); i++) {
        const size_t offset = sync ? row->sync : row->faces;
        ls_option_value v = {0};
        if (row->option.initial)
            ls_option_parse(&row->option, row->option.initial, &v, NULL);
        if (offset)
            ls_option_put(row, sync ? (void *)sync : (void *)faces, offset, &v);
    }
}

static int check(const ls_option_row *row, const void *settings, size_t offset, ls_error *err)
{
    const ls_option *o = &row->option;
    const ls_option_value v = ls_option_get(row, settings, offset);
    char text[40];
    size_t choices = 0;
    switch (o->type) {
    case LS_OPTION_INTEGER:
    case LS_OPTION_BYTES:
        snprintf(text, sizeof text, "%lld", (long long)v.integer);
        return is_within(o, (double)v.integer) ? 0 : fail_value(o, text, err);
    case LS_OPTION_NUMBER:
        snprintf(text, sizeof text, "%g", v.number);
        return is_within(o, v.number) ? 0 : fail_value(o, text, err);
    case LS_OPTION_CHOICE:
        while (o->choices[choices])
            choices++;
        snprintf(text, sizeof text, "%lld", (long long)v.integer);
        return v.integer >= 0 && (size_t)v.integer < choices ? 0 : fail_value(o, text, err);
    default:
        return !o->is_required || v.text
                   ? 0
                   : ls_advise(err, ls_fail(err, LS_EINVAL, "%s: a file is required", o->name),
                               LS_HINT_NONE, o->name);
    }
}

int ls_options_check(const ls_sync_settings *sync, const ls_faces_settings *faces, ls_error *err)
{
    const ls_option_row *row;
    int ret = 0;
    for (size_t i = 0; !ret && (row = ls_option_row_at(i)); i++) {
        const size_t offset = sync ? row->sync : row->faces;
        if (offset)
            ret = check(row, sync ? (const void *)sync : (const void *)faces, offset, err);
    }
    return ret;
}
