#include "pipeline/options.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
    if (!text && o->implied)
        text = out->text = o->implied;
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
