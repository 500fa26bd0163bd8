#include "pipeline/settings.h"
#include "base/alloc.h"
#include "diffusion/ddim.h"
#include "face/follow.h"
#include "face/restore.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void ls_sync_default_settings(ls_sync_settings *s)
{
    *s = (ls_sync_settings){.face = "largest",
                            .max_gap = ls_follow_default_settings().max_gap,
                            .detect_every = 1,
                            .steps = 20,
                            .cache_interval = 3,
                            .seed = 1247,
                            .compute_type = LS_COMPUTE_AUTO,
                            .video_codec = "libx264",
                            .preset = "medium",
                            .crf = 18};
}

/* The output must not replace what it is made from. */
static int check_output(const ls_sync_settings *s, ls_error *err)
{
    const char *inputs[] = {s->video, s->audio, s->face_track, s->detector};
    const char *outputs[] = {s->output, s->save_track, s->stats};
    struct stat out, in;
    for (int o = 0; o < 3; o++) {
        if (!outputs[o] || stat(outputs[o], &out))
            continue;
        for (int i = 0; i < 4; i++)
            if (inputs[i] && !stat(inputs[i], &in) && in.st_dev == out.st_dev &&
                in.st_ino == out.st_ino)
                return ls_fail(err, LS_EINVAL,
                               "%s is an input; what is written needs a name of its own",
                               outputs[o]);
    }
    if (s->save_track && !strcmp(s->output, s->save_track))
        return ls_fail(err, LS_EINVAL, "%s: the track needs another name than the video",
                       s->save_track);
    return 0;
}

int ls_settings_check(const ls_sync_settings *s, ls_error *err)
{
    if (!s->video || !s->audio || !s->output)
        return ls_fail(err, LS_EINVAL, "video, audio and output are required");
    if (s->max_gap > LS_FOLLOW_MAX_GAP || !s->detect_every || s->detect_every > LS_FOLLOW_MAX_EVERY)
        return ls_fail(err, LS_EINVAL,
                       "a gap of %zu frames, detection every %zu: up to %d and %d are possible",
                       s->max_gap, s->detect_every, LS_FOLLOW_MAX_GAP, LS_FOLLOW_MAX_EVERY);
    if (s->face_track && (s->save_track || s->detector))
        return ls_fail(err, LS_EINVAL,
                       "with a face track nothing is looked for: it goes with neither a track to "
                       "save nor a detector");
    if (s->resolution && (!ls_resolution_valid(s->resolution) || s->resolution % 64))
        return ls_fail(err, LS_EINVAL, "resolution %zu: a multiple of 64 is expected, 256 or 512",
                       s->resolution);
    if (!(s->guidance_scale >= 0 && s->guidance_scale <= 100))
        return ls_fail(err, LS_EINVAL, "guidance %g: a number from 0 to 100 is expected",
                       (double)s->guidance_scale);
    if (s->steps < 1 || s->steps > LS_DDIM_TRAIN_STEPS || s->cache_interval < 1)
        return ls_fail(
            err, LS_EINVAL,
            "%zu steps with a cache interval of %zu: 1 to %d steps and an interval of at "
            "least 1 are expected",
            s->steps, s->cache_interval, LS_DDIM_TRAIN_STEPS);
    if (!(s->segment_seconds >= 0 && s->segment_seconds <= 86400))
        return ls_fail(err, LS_EINVAL, "segments of %g s: 0 to 86400 are possible",
                       s->segment_seconds);
    return check_output(s, err);
}

#define STRINGS 12

static void list_strings(ls_sync_settings *s, const char **strings[STRINGS])
{
    const char **list[STRINGS] = {&s->models,      &s->video,      &s->audio,      &s->output,
                                  &s->face,        &s->face_track, &s->save_track, &s->detector,
                                  &s->video_codec, &s->preset,     &s->job,        &s->stats};
    memcpy(strings, list, sizeof list);
}

int ls_settings_own(ls_sync_settings *s, ls_error *err)
{
    const char **strings[STRINGS];
    bool ok = true;
    list_strings(s, strings);
    s->face = s->face ? s->face : "largest";
    for (size_t i = 0; i < STRINGS; i++)
        if (*strings[i])
            ok = (*strings[i] = strdup(*strings[i])) && ok;
    if (!s->job) {
        const size_t size = strlen(s->output) + sizeof ".lsjob";
        char *job = malloc(size);
        if (job)
            snprintf(job, size, "%s.lsjob", s->output);
        s->job = job;
    }
    return ok && s->job ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_settings_free(ls_sync_settings *s)
{
    const char **strings[STRINGS];
    list_strings(s, strings);
    for (size_t i = 0; i < STRINGS; i++)
        free((char *)*strings[i]);
    *s = (ls_sync_settings){0};
}

/* Of an input the file itself, of an output the name in its folder. NULL becomes null. */
static json_t *absolute(const char *path, bool output)
{
    if (!path)
        return json_null();
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    char *folder = slash ? strndup(path, (size_t)(name - path)) : strdup(".");
    char *whole = output ? folder ? realpath(folder, NULL) : NULL : realpath(path, NULL);
    json_t *text = !whole   ? NULL
                   : output ? json_sprintf("%s/%s", strcmp(whole, "/") ? whole : "", name)
                            : json_string(whole);
    free(folder);
    free(whole);
    return text;
}

/* Every setting that decides about the output: name, type and place. */
enum type { SIZE, INTEGER, REAL, TEXT, SEED };

#define FIELD(name, type, member)                                                                  \
    {                                                                                              \
        name, type, offsetof(ls_sync_settings, member)                                             \
    }

static const struct {
    const char *name;
    enum type type;
    size_t offset;
} fields[] = {
    FIELD("face", TEXT, face),
    FIELD("max_gap", SIZE, max_gap),
    FIELD("detect_every", SIZE, detect_every),
    FIELD("resolution", SIZE, resolution),
    FIELD("steps", SIZE, steps),
    FIELD("guidance_scale", REAL, guidance_scale),
    FIELD("cache_interval", SIZE, cache_interval),
    FIELD("seed", SEED, seed),
    FIELD("compute_type", INTEGER, compute_type),
    FIELD("source_fps", INTEGER, source_fps),
    FIELD("video_codec", TEXT, video_codec),
    FIELD("preset", TEXT, preset),
    FIELD("crf", INTEGER, crf),
};

static const struct {
    const char *name;
    bool output;
    size_t offset;
} paths[] = {
    {"models", false, offsetof(ls_sync_settings, models)},
    {"video", false, offsetof(ls_sync_settings, video)},
    {"speech", false, offsetof(ls_sync_settings, audio)},
    {"output", true, offsetof(ls_sync_settings, output)},
    {"face_track", false, offsetof(ls_sync_settings, face_track)},
    {"save_track", true, offsetof(ls_sync_settings, save_track)},
    {"detector", false, offsetof(ls_sync_settings, detector)},
};

#define COUNT(list) (sizeof(list) / sizeof *(list))

static json_t *value_of(const void *p, enum type type)
{
    switch (type) {
    case SIZE:
        return json_integer((json_int_t) * (const size_t *)p);
    case SEED:
        return json_integer((json_int_t) * (const uint64_t *)p);
    case INTEGER:
        return json_integer(*(const int *)p);
    case REAL:
        return json_real((double)*(const float *)p);
    default:
        return json_string(*(const char *const *)p);
    }
}

int ls_settings_describe(json_t **out, const ls_sync_settings *s, ls_error *err)
{
    json_t *inputs = json_object(), *values = json_object();
    int ret = inputs && values ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < COUNT(paths); i++) {
        const char *path = *(const char *const *)((const char *)s + paths[i].offset);
        if (json_object_set_new(inputs, paths[i].name, absolute(path, paths[i].output)))
            ret = ls_fail_errno(err, errno, "%s", path);
    }
    for (size_t i = 0; !ret && i < COUNT(fields); i++)
        if (json_object_set_new(values, fields[i].name,
                                value_of((const char *)s + fields[i].offset, fields[i].type)))
            ret = ls_fail(err, LS_EINVAL, "%s: not text that can be kept", fields[i].name);
    *out = ret ? NULL : json_pack("{s:O, s:O}", "inputs", inputs, "settings", values);
    json_decref(inputs);
    json_decref(values);
    return ret || *out ? ret : ls_fail(err, LS_ENOMEM, "out of memory");
}

static bool take_value(void *p, enum type type, const json_t *v)
{
    if (type == TEXT ? !json_is_string(v) : type == REAL ? !json_is_number(v) : !json_is_integer(v))
        return false;
    const json_int_t n = json_integer_value(v);
    switch (type) {
    case SIZE:
        *(size_t *)p = (size_t)n;
        return n >= 0;
    case SEED:
        *(uint64_t *)p = (uint64_t)n;
        return true;
    case INTEGER:
        *(int *)p = (int)n;
        return n >= INT_MIN && n <= INT_MAX;
    case REAL:
        *(float *)p = (float)json_number_value(v);
        return true;
    default:
        *(const char **)p = json_string_value(v);
        return true;
    }
}

int ls_settings_parse(ls_sync_settings *s, const json_t *description, const char *folder,
                      ls_error *err)
{
    const json_t *inputs = json_object_get(description, "inputs"),
                 *values = json_object_get(description, "settings");
    for (size_t i = 0; i < COUNT(paths); i++) {
        const json_t *v = json_object_get(inputs, paths[i].name);
        if (!json_is_string(v) && !json_is_null(v))
            return ls_fail(err, LS_EFORMAT, "%s/job.json: \"%s\" is not a path", folder,
                           paths[i].name);
        *(const char **)((char *)s + paths[i].offset) = json_string_value(v);
    }
    for (size_t i = 0; i < COUNT(fields); i++)
        if (!take_value((char *)s + fields[i].offset, fields[i].type,
                        json_object_get(values, fields[i].name)))
            return ls_fail(err, LS_EFORMAT, "%s/job.json: \"%s\" is missing or wrong", folder,
                           fields[i].name);
    return 0;
}
