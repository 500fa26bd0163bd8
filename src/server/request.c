#include "server/request.h"
#include "server/fail.h"
#include "server/queue.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_SIZE = 300 };

bool queue_takes_option(const ls_option *o)
{
    return o && (o->used_by & LS_OPTION_SYNC) && o->type != LS_OPTION_INPUT &&
           o->type != LS_OPTION_OUTPUT && o->type != LS_OPTION_DIRECTORY &&
           (o->is_result || !strcmp(o->name, "quality"));
}

static int refuse(ls_error *err, const char *name, const char *what)
{
    return server_fail(err, LS_EINVAL, "%s: %s", name, what);
}

/* A value as the command takes it. */
static bool to_text(const json_t *value, char out[TEXT_SIZE])
{
    int n = -1;
    if (json_is_string(value) && strlen(json_string_value(value)) == json_string_length(value))
        n = snprintf(out, TEXT_SIZE, "%s", json_string_value(value));
    else if (json_is_boolean(value))
        n = snprintf(out, TEXT_SIZE, "%d", json_is_true(value));
    else if (json_is_integer(value))
        n = snprintf(out, TEXT_SIZE, "%lld", (long long)json_integer_value(value));
    else if (json_is_real(value))
        n = snprintf(out, TEXT_SIZE, "%.9g", json_real_value(value));
    for (int i = 0; i < n && n < TEXT_SIZE; i++)
        if ((unsigned char)out[i] < ' ' || out[i] == 127)
            return false;
    return n > 0 && n < TEXT_SIZE;
}

static int check_option(const char *name, const json_t *value, ls_error *err)
{
    char text[TEXT_SIZE];
    ls_option_value parsed;
    const ls_option *o = ls_option_find(name);
    int ret = 0;
    if (!queue_takes_option(o))
        ret = refuse(err, name, "there is no such option");
    else if (!to_text(value, text))
        ret = refuse(err, name,
                     "the value is a string of 1 to 299 characters, a number, true or false");
    else
        ret = ls_option_parse(o, text, &parsed, err);
    if (ret && err)
        snprintf(err->option, sizeof err->option, "%s", name);
    return ret;
}

static int check_options(json_t *out, const json_t *options, ls_error *err)
{
    const char *name;
    json_t *value;
    if (!json_is_object(options))
        return refuse(err, "options", "an object is expected");
    json_object_foreach((json_t *)options, name, value)
    {
        const int ret = check_option(name, value, err);
        if (ret)
            return ret;
    }
    json_object_update(json_object_get(out, "options"), (json_t *)options);
    return 0;
}

static int check_preview(json_t *out, const json_t *value, ls_error *err)
{
    char text[TEXT_SIZE];
    ls_option_value parsed;
    const ls_option *o = ls_option_find("preview");
    if (json_is_false(value))
        return 0;
    const bool is_open = json_is_true(value);
    if (!is_open && (!(json_number_value(value) > 0) || !to_text(value, text)))
        return refuse(err, "preview", "true or a number of seconds is expected");
    const int ret = ls_option_parse(o, is_open ? o->implied : text, &parsed, err);
    if (!ret)
        json_object_set_new(out, "preview", json_real(parsed.number));
    return ret;
}

static int check_text(json_t *out, const char *name, const json_t *value, size_t most,
                      ls_error *err)
{
    const char *text = json_string_value(value);
    char what[80];
    snprintf(what, sizeof what, "a string of 1 to %zu bytes is expected", most);
    if (!text || !*text || strlen(text) != json_string_length(value) || strlen(text) > most)
        return refuse(err, name, what);
    json_object_set_new(out, name, json_string(text));
    return 0;
}

static int check_upload(json_t *out, const char *name, const json_t *value, ls_error *err)
{
    const char *id = json_string_value(value);
    if (!id || !queue_is_id(id))
        return refuse(err, name, "the id of an upload is expected");
    json_object_set_new(out, name, json_string(id));
    return 0;
}

static int check_member(json_t *out, const char *name, const json_t *value, ls_error *err)
{
    if (!json_object_get(out, name))
        return refuse(err, name, "there is no such member");
    if (json_is_null(value))
        return 0;
    if (!strcmp(name, "video") || !strcmp(name, "audio") || !strcmp(name, "features_from"))
        return check_upload(out, name, value, err);
    if (!strcmp(name, "options"))
        return check_options(out, value, err);
    if (!strcmp(name, "preview"))
        return check_preview(out, value, err);
    if (strcmp(name, "priority"))
        return check_text(out, name, value, strcmp(name, "name") ? 2000 : 255, err);
    const json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || number < -10 || number > 10)
        return refuse(err, name, "a whole number from -10 to 10 is expected");
    return json_object_set_new(out, name, json_integer(number));
}

json_t *request_check(const json_t *given, ls_error *err)
{
    json_t *out =
        json_pack("{s:n, s:n, s:n, s:n, s:i, s:n, s:{}, s:n}", "video", "audio", "features_from",
                  "name", "priority", 0, "preview", "options", "webhook");
    const char *name;
    json_t *value;
    int ret = json_is_object(given) ? 0 : server_fail(err, LS_EINVAL, "an object is expected");
    json_object_foreach((json_t *)given, name, value)
    {
        if (!ret)
            ret = check_member(out, name, value, err);
    }
    for (int i = 0; i < 2 && !ret; i++)
        if (json_is_null(json_object_get(out, i ? "audio" : "video")))
            ret = refuse(err, i ? "audio" : "video", "it is missing");
    if (!ret)
        return out;
    json_decref(out);
    return NULL;
}

const char *request_extension(const json_t *request)
{
    const char *codec =
        json_string_value(json_object_get(json_object_get(request, "options"), "video-codec"));
    if (codec && !strcmp(codec, "prores_ks"))
        return ".mov";
    return codec && (!strcmp(codec, "ffv1") || !strcmp(codec, "png")) ? ".mkv" : ".mp4";
}

void arguments_add(arguments *a, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *text = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (text && a->count + 1 < sizeof a->list / sizeof *a->list) {
        vsnprintf(text, (size_t)n + 1, fmt, again);
        a->list[a->count++] = text;
    } else {
        a->is_incomplete = true;
        free(text);
    }
    va_end(again);
}

void arguments_add_options(arguments *a, const json_t *request, int use)
{
    char text[TEXT_SIZE];
    const char *name;
    json_t *value;
    json_object_foreach(json_object_get(request, "options"), name, value)
    {
        const ls_option *o = ls_option_find(name);
        if (o && (o->used_by & use) && to_text(value, text)) {
            if (o->type != LS_OPTION_FLAG)
                arguments_add(a, "--%s=%s", name, text);
            else if (strcmp(text, "0"))
                arguments_add(a, "--%s", name);
        }
    }
    const json_t *preview = json_object_get(request, "preview");
    if (use == LS_OPTION_SYNC && json_is_number(preview))
        arguments_add(a, "--preview=%.9g", json_number_value(preview));
}

void arguments_free(arguments *a)
{
    for (size_t i = 0; i < a->count; i++)
        free(a->list[i]);
    *a = (arguments){0};
}
