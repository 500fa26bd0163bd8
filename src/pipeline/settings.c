#include "pipeline/settings.h"
#include "base/alloc.h"
#include "diffusion/scheduler.h"
#include "face/choose.h"
#include "face/paste.h"
#include "latentsync/models.h"
#include "media/encoder.h"
#include "media/glyphs.h"
#include "pipeline/options.h"
#include "pipeline/device_choice.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAX_GAIN 120 /* dB */

static int take(void *to, const void *from, size_t own_size, ls_error *err)
{
    size_t size;
    memcpy(&size, from, sizeof size);
    if (size < sizeof size || size > own_size)
        return ls_fail(err, LS_EINVAL,
                       size > own_size ? "the settings are of a newer version of the library"
                                       : "the settings were not initialised");
    memcpy(to, from, size);
    return 0;
}

void ls_sync_default_settings(ls_sync_settings *s, size_t size)
{
    ls_sync_settings all = {.size = size};
    ls_options_set_defaults(&all, NULL);
    memcpy(s, &all, size < sizeof all ? size : sizeof all);
}

int ls_settings_take(ls_sync_settings *to, const ls_sync_settings *from, ls_error *err)
{
    ls_sync_default_settings(to, sizeof *to);
    return take(to, from, sizeof *to, err);
}

void ls_faces_default_settings(ls_faces_settings *s, size_t size)
{
    ls_faces_settings all = {.size = size};
    ls_options_set_defaults(NULL, &all);
    memcpy(s, &all, size < sizeof all ? size : sizeof all);
}

int ls_settings_take_faces(ls_faces_settings *to, const ls_faces_settings *from, ls_error *err)
{
    ls_faces_default_settings(to, sizeof *to);
    return take(to, from, sizeof *to, err);
}

/* A file can only be written where there is a folder for it. */
static int check_folder(const char *path, const char *option, ls_error *err)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    if (!slash || slash == path)
        return 0;
    char *folder = strndup(path, (size_t)(slash - path));
    if (!folder)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    struct stat st;
    int ret = 0;
    if (stat(folder, &st))
        ret = ls_fail_errno(err, errno, "cannot write %s: the folder %s", path, folder);
    else if (!S_ISDIR(st.st_mode))
        ret = ls_fail(err, LS_EINVAL, "cannot write %s: %s is not a folder", path, folder);
    else if (access(folder, W_OK | X_OK))
        ret = ls_fail_errno(err, errno, "cannot write %s: the folder %s", path, folder);
    free(folder);
    return ret ? ls_advise(err, ret, LS_HINT_OTHER_OUTPUT, option) : 0;
}

int ls_settings_preview_path(const char *output, char path[PATH_MAX], ls_error *err)
{
    const char *slash = strrchr(output, '/'), *name = slash ? slash + 1 : output,
               *dot = strrchr(name, '.');
    const size_t stem = dot ? (size_t)(dot - output) : strlen(output);
    const int n = snprintf(path, PATH_MAX, "%.*s.preview%s", (int)stem, output, output + stem);
    return stem < PATH_MAX && n < PATH_MAX
               ? 0
               : ls_fail(err, LS_EINVAL, "output: the name of a preview of it is too long");
}

/* The output must not replace what it is made from. */
static int check_outputs(const ls_sync_settings *s, ls_error *err)
{
    char preview[PATH_MAX];
    int ret = s->preview > 0 ? ls_settings_preview_path(s->output, preview, err) : 0;
    const char *inputs[] = {s->video, s->audio, s->face_track, s->detector, s->features_from},
               *target = s->preview > 0 ? preview : s->output;
    const struct {
        const char *path, *option;
    } outputs[] = {{s->output, "output"},
                   {target, "output"},
                   {s->save_track, "save-track"},
                   {s->stats, "stats"},
                   {s->newest_frame, "newest-frame"}};
    struct stat out, in;
    for (size_t o = 0; !ret && o < LS_COUNT(outputs); o++) {
        const char *path = outputs[o].path;
        ret = check_folder(path, outputs[o].option, err);
        if (ret || !path || stat(path, &out))
            continue;
        for (size_t i = 0; !ret && i < LS_COUNT(inputs); i++)
            if (inputs[i] && !stat(inputs[i], &in) && in.st_dev == out.st_dev &&
                in.st_ino == out.st_ino)
                ret = ls_advise(err, ls_fail(err, LS_EINVAL, "%s would overwrite an input", path),
                                LS_HINT_OTHER_OUTPUT, outputs[o].option);
    }
    if (!ret && s->no_overwrite && !stat(target, &out))
        ret = ls_advise(err, ls_fail(err, LS_EINVAL, "%s exists", target), LS_HINT_OTHER_OUTPUT,
                        "no-overwrite");
    if (!ret && s->save_track && !strcmp(s->output, s->save_track))
        ret = ls_advise(err,
                        ls_fail(err, LS_EINVAL, "%s: the track needs another name than the video",
                                s->save_track),
                        LS_HINT_OTHER_OUTPUT, "save-track");
    if (!ret && s->stream && !stat(s->stream, &out) && !S_ISDIR(out.st_mode))
        ret = ls_advise(err, ls_fail(err, LS_EINVAL, "stream: %s is not a folder", s->stream),
                        LS_HINT_OTHER_OUTPUT, "stream");
    if (!ret)
        ret = check_folder(s->stream, "stream", err);
    return ret ? ret : check_folder(s->job, "job", err);
}

double ls_settings_gain(const char *text)
{
    char *end;
    const double gain = strtod(text, &end);
    const bool ok = end != text && (!*end || !strcasecmp(end, "dB")) && fabs(gain) <= MAX_GAIN;
    return ok ? pow(10, gain / 20) : -1;
}

bool ls_settings_interval(const char *text, double *start, double *end)
{
    char *rest;
    *start = strtod(text, &rest);
    if (rest == text || *rest != ':')
        return false;
    text = rest + 1;
    *end = strtod(text, &rest);
    return rest != text && !*rest && *start >= 0 && *start < *end && *end <= 1;
}

double ls_settings_sharpen(const char *text)
{
    char *end;
    if (!text)
        return LS_SHARPEN_AUTO;
    const double most = strtod(text, &end);
    return end != text && !*end && most >= 0 && most <= 1 ? most : NAN;
}

bool ls_settings_marks(const char *mark)
{
    return !mark || strcmp(mark, "none");
}

const char *ls_settings_label(const char *mark)
{
    if (!mark || strncmp(mark, "visible", 7))
        return NULL;
    return !mark[7] ? "AI-generated" : mark[7] == '=' && mark[8] ? mark + 8 : NULL;
}

static int check_mark(const char *mark, ls_error *err)
{
    ls_glyph_stroke *strokes;
    size_t count;
    double width;
    const char *label = ls_settings_label(mark);
    if (label) {
        const int ret = ls_glyphs_lay(&strokes, &count, &width, label, err);
        free(strokes);
        return ret ? ls_advise(err, ls_fail_context(err, ret, "mark"), LS_HINT_NONE, "mark") : 0;
    }
    if (!mark || !strcmp(mark, "metadata") || !strcmp(mark, "none"))
        return 0;
    return ls_advise(err,
                     ls_fail(err, LS_EINVAL,
                             "mark: expected metadata, visible, visible=TEXT or none, not \"%s\"",
                             mark),
                     LS_HINT_NONE, "mark");
}

static int check_blend(const ls_sync_settings *s, ls_error *err)
{
    const double sharpen = ls_settings_sharpen(s->sharpen);
    if (isnan(sharpen))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "sharpen: expected auto or a number from 0 to 1, not \"%s\"",
                                 s->sharpen),
                         LS_HINT_NONE, "sharpen");
    if (s->blend == LS_BLEND_CROP && sharpen > 0)
        return ls_advise(
            err,
            ls_fail(err, LS_EINVAL, "sharpen: only what is blended by the mask can be sharpened"),
            LS_HINT_NONE, "sharpen");
    return 0;
}

static int check_sampling(const ls_sync_settings *s, ls_error *err)
{
    double start, end;
    if (s->guidance_interval && !ls_settings_interval(s->guidance_interval, &start, &end))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "guidance-interval: expected two fractions of the steps, such as "
                                 "0.2:1, not \"%s\"",
                                 s->guidance_interval),
                         LS_HINT_NONE, "guidance-interval");
    if (s->sampler > LS_SAMPLER_DDIM && s->steps > LS_MULTISTEP_MAX_STEPS)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL, "steps: this sampler takes up to %d, not %zu",
                                 LS_MULTISTEP_MAX_STEPS, s->steps),
                         LS_HINT_NONE, "steps");
    return 0;
}

int ls_settings_check(const ls_sync_settings *s, ls_error *err)
{
    ls_choice choice;
    int ret = ls_options_check(s, NULL, err);
    if (ret)
        return ret;
    if (s->face_track && (s->save_track || s->detector))
        return ls_advise(
            err,
            ls_fail(err, LS_EINVAL,
                    "face-track: cannot be combined with save-track or detector, since "
                    "nothing is detected"),
            LS_HINT_NONE, "face-track");
    if (s->keep_sound && ls_settings_gain(s->keep_sound) < 0)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "keep-sound: expected decibels from -%d to %d, such as -20dB, not "
                                 "\"%s\"",
                                 MAX_GAIN, MAX_GAIN, s->keep_sound),
                         LS_HINT_NONE, "keep-sound");
    if (s->resolution && (!ls_resolution_valid(s->resolution) || s->resolution % 64))
        return ls_advise(
            err,
            ls_fail(err, LS_EINVAL,
                    "resolution: expected a multiple of 64, such as 256 or 512, not %zu",
                    s->resolution),
            LS_HINT_NONE, "resolution");
    if (s->face && !ls_choice_parse(&choice, s->face))
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "face: expected largest, left, right, the number of a track or a "
                                 "point x,y, not \"%s\"",
                                 s->face),
                         LS_HINT_NONE, "face");
    ls_device_wish wish;
    ret = check_sampling(s, err);
    if (!ret)
        ret = check_blend(s, err);
    if (!ret)
        ret = check_mark(s->mark, err);
    if (!ret)
        ret = ls_device_wish_parse(&wish, s->device, err);
    return ret ? ret : check_outputs(s, err);
}

int ls_settings_replace(const char **string, const char *value, ls_error *err)
{
    char *copy = strdup(value);
    if (!copy)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    free((char *)*string);
    *string = copy;
    return 0;
}

int ls_settings_find_models(const char **models, const ls_log *log, ls_error *err)
{
    char dir[PATH_MAX];
    int built_in = 0;
    if (*models)
        return 0;
    int ret = ls_models_find(dir, sizeof dir, &built_in, err);
    if (!ret && built_in)
        ls_log_msg(log, LS_LOG_NOTICE,
                   "no model is installed: using the built-in one, which knows drawn faces only");
    return ret ? ret : ls_settings_replace(models, dir, err);
}

/* Calls for every string member that has one. */
static void for_strings(void *settings, bool faces, void (*f)(const char **string))
{
    const ls_option_row *row;
    for (size_t i = 0; (row = ls_option_row_at(i)); i++) {
        const size_t offset = faces ? row->faces : row->sync;
        const char **string = (const char **)((char *)settings + offset);
        if (offset && row->member == LS_MEMBER_STRING && *string)
            f(string);
    }
}

static void copy(const char **string)
{
    *string = strdup(*string);
}

static void release(const char **string)
{
    free((char *)*string);
    *string = NULL;
}

static size_t count_strings(const void *settings, bool faces)
{
    const ls_option_row *row;
    size_t n = 0;
    for (size_t i = 0; (row = ls_option_row_at(i)); i++) {
        const size_t offset = faces ? row->faces : row->sync;
        n += offset && row->member == LS_MEMBER_STRING &&
             *(const char *const *)((const char *)settings + offset);
    }
    return n;
}

/* On failure what was copied is owned, the rest NULL. */
static int own(void *settings, bool faces, ls_error *err)
{
    const size_t before = count_strings(settings, faces);
    for_strings(settings, faces, copy);
    return count_strings(settings, faces) == before ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

int ls_settings_own(ls_sync_settings *s, ls_error *err)
{
    s->face = s->face ? s->face : ls_option_find("face")->initial;
    int ret = own(s, false, err);
    if (ret || s->job)
        return ret;
    const size_t size = strlen(s->output) + sizeof ".lsjob";
    char *job = malloc(size);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    snprintf(job, size, "%s.lsjob", s->output);
    s->job = job;
    return 0;
}

void ls_settings_free(ls_sync_settings *s)
{
    for_strings(s, false, release);
}

int ls_settings_own_faces(ls_faces_settings *s, ls_error *err)
{
    int ret = own(s, true, err);
    if (!ret && s->preview && !(s->preview = strdup(s->preview)))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    return ret;
}

void ls_settings_free_faces(ls_faces_settings *s)
{
    for_strings(s, true, release);
    release(&s->preview);
}

/* A path as JSON: a string, or if it is not UTF-8 its bytes in hexadecimal. NULL: out of memory. */
static json_t *path_json(const char *path)
{
    char hex[2 * PATH_MAX + 1] = "";
    json_t *text = json_string(path);
    for (size_t i = 0; !text && path[i] && i < PATH_MAX; i++)
        snprintf(hex + 2 * i, 3, "%02x", (unsigned char)path[i]);
    return text ? text : json_pack("{s:s}", "bytes", hex);
}

/* Puts a string in the place of a path's bytes, so that it belongs to the description too. */
static void take_bytes(json_t *part, const char *key)
{
    const char *hex = json_string_value(json_object_get(json_object_get(part, key), "bytes"));
    const size_t n = hex ? strlen(hex) / 2 : 0;
    char path[PATH_MAX];
    if (!n || n >= sizeof path || strlen(hex) != 2 * n || strspn(hex, "0123456789abcdef") != 2 * n)
        return;
    for (size_t i = 0; i < n; i++) {
        const char byte[] = {hex[2 * i], hex[2 * i + 1], 0};
        path[i] = (char)strtoul(byte, NULL, 16);
    }
    if (!memchr(path, 0, n))
        json_object_set_new_nocheck(part, key, json_stringn_nocheck(path, n));
}

/* Of an input the file itself, of an output the name in its folder. NULL becomes null. */
static json_t *absolute(const char *path, bool output)
{
    char whole[PATH_MAX], folder[PATH_MAX] = ".", named[PATH_MAX];
    if (!path)
        return json_null();
    if (!output)
        return realpath(path, whole) ? path_json(whole) : NULL;
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    if ((slash && snprintf(folder, sizeof folder, "%.*s", (int)(name - path), path) >= PATH_MAX) ||
        !realpath(folder, whole))
        return NULL;
    const int n = snprintf(named, sizeof named, "%s/%s", strcmp(whole, "/") ? whole : "", name);
    if (n >= PATH_MAX)
        errno = ENAMETOOLONG;
    return n < PATH_MAX ? path_json(named) : NULL;
}

static bool is_path(const ls_option *o)
{
    return o->type == LS_OPTION_INPUT || o->type == LS_OPTION_OUTPUT ||
           o->type == LS_OPTION_DIRECTORY;
}

/* "max_gap" of "max-gap". */
static void key_of(const ls_option *o, char *key, size_t size)
{
    snprintf(key, size, "%s", o->name);
    for (char *c = key; *c; c++)
        *c = *c == '-' ? '_' : *c;
}

static json_t *value_of(const ls_option_row *row, const ls_sync_settings *s)
{
    const ls_option *o = &row->option;
    const ls_option_value v = ls_option_get(row, s, row->sync);
    switch (o->type) {
    case LS_OPTION_FLAG:
        return json_boolean(v.integer);
    case LS_OPTION_INTEGER:
    case LS_OPTION_BYTES:
        return json_integer((json_int_t)v.integer);
    case LS_OPTION_NUMBER:
        return json_real(v.number);
    case LS_OPTION_CHOICE:
        return json_string(o->choices[v.integer]);
    case LS_OPTION_TEXT:
        return v.text ? json_string(v.text) : json_null();
    default:
        return absolute(v.text, o->type == LS_OPTION_OUTPUT);
    }
}

int ls_settings_describe(json_t **out, const ls_sync_settings *s, ls_error *err)
{
    json_t *inputs = json_object(), *values = json_object();
    const ls_option_row *row;
    char key[32];
    int ret = inputs && values ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && (row = ls_option_row_at(i)); i++) {
        if (!row->option.is_result || !row->sync)
            continue;
        key_of(&row->option, key, sizeof key);
        if (!json_object_set_new(is_path(&row->option) ? inputs : values, key, value_of(row, s)))
            continue;
        const char *text = ls_option_get(row, s, row->sync).text;
        ret = is_path(&row->option)
                  ? ls_fail_errno(err, errno, "%s", text)
                  : ls_fail(err, LS_EINVAL, "%s: \"%s\" is not UTF-8", row->option.name, text);
    }
    *out = ret ? NULL : json_pack("{s:O, s:O}", "inputs", inputs, "settings", values);
    json_decref(inputs);
    json_decref(values);
    return ret || *out ? ret : ls_fail(err, LS_ENOMEM, "out of memory");
}

json_t *ls_settings_of_faces(const json_t *settings)
{
    json_t *some = json_object();
    const ls_option_row *row;
    char key[32];
    for (size_t i = 0; some && (row = ls_option_row_at(i)); i++) {
        key_of(&row->option, key, sizeof key);
        json_t *value = json_object_get(settings, key);
        if (value && !row->is_later)
            json_object_set(some, key, value);
    }
    /* frames are decoded with transparency or without it */
    const char *codec = json_string_value(json_object_get(settings, "video_codec"));
    json_object_set_new(some, "video_codec", json_boolean(codec && ls_encoder_takes_alpha(codec)));
    return some;
}

static bool value_from(const ls_option *o, const json_t *v, ls_option_value *out)
{
    *out = (ls_option_value){.integer = json_integer_value(v),
                             .number = json_number_value(v),
                             .text = json_string_value(v)};
    switch (o->type) {
    case LS_OPTION_FLAG:
        out->integer = json_is_true(v);
        return json_is_boolean(v);
    case LS_OPTION_INTEGER:
    case LS_OPTION_BYTES:
        return json_is_integer(v);
    case LS_OPTION_NUMBER:
        return json_is_number(v);
    case LS_OPTION_CHOICE:
        return json_is_string(v) && !ls_option_parse(o, out->text, out, NULL);
    default:
        return json_is_string(v) || json_is_null(v);
    }
}

/* Ranges are checked when the job is opened. */
int ls_settings_parse(ls_sync_settings *s, json_t *description, const char *folder, ls_error *err)
{
    const ls_option_row *row;
    ls_option_value v;
    char key[32];
    for (size_t i = 0; (row = ls_option_row_at(i)); i++) {
        if (!row->option.is_result || !row->sync)
            continue;
        key_of(&row->option, key, sizeof key);
        json_t *part = json_object_get(description, is_path(&row->option) ? "inputs" : "settings");
        if (is_path(&row->option) && json_is_object(json_object_get(part, key)))
            take_bytes(part, key);
        if (!value_from(&row->option, json_object_get(part, key), &v))
            return ls_fail(err, LS_EFORMAT, "%s/job.json: \"%s\" is missing or wrong", folder, key);
        ls_option_put(row, s, row->sync, &v);
    }
    return 0;
}
