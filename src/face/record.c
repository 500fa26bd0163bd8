#include "face/record.h"
#include "base/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct ls_record_reader {
    char *name;
    FILE *file;
    uint64_t line; /* the one being read, from 1 */
    int64_t last_frame;
    ls_record_timeline timeline;
    bool has_timeline;
    int pending; /* result of reading the first record; -1 once consumed */
    ls_face_record first;
    char text[LS_TRACK_MAX_LINE];
};

static int fail_line(const ls_record_reader *r, ls_error *err, const char *what)
{
    return ls_fail(err, LS_EFORMAT, "%s, line %llu: %s", r->name, (unsigned long long)r->line,
                   what);
}

/* The value of a key; NULL if it is missing or null. */
static json_t *get(json_t *object, const char *key)
{
    json_t *v = json_object_get(object, key);
    return json_is_null(v) ? NULL : v;
}

/* Reads a line, without its newline, into r->text. 1, 0 at the end of the file, or an error. */
static int read_line(ls_record_reader *r, size_t *length, ls_error *err)
{
    size_t n = 0;
    int c;
    r->line++;
    while ((c = getc_unlocked(r->file)) != EOF && c != '\n') {
        if (n == LS_TRACK_MAX_LINE)
            return fail_line(r, err, "longer than 65536 bytes; expected one frame per line");
        r->text[n++] = (char)c;
    }
    if (c == EOF && ferror(r->file))
        return ls_fail_errno(err, errno, "%s: read", r->name);
    *length = n;
    return c != EOF || n;
}

/* `what` as in "box must be 4 numbers". */
static int read_numbers(const ls_record_reader *r, json_t *array, double *out, size_t n,
                        const char *what, ls_error *err)
{
    if (json_array_size(array) != n)
        return fail_line(r, err, what);
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_array_get(array, i);
        if (!json_is_number(v))
            return fail_line(r, err, what);
        out[i] = json_number_value(v);
        if (!(fabs(out[i]) <= LS_MAX_COORDINATE))
            return fail_line(r, err, "a coordinate beyond a million pixels");
    }
    return 0;
}

static int read_points(const ls_record_reader *r, json_t *array, ls_face *face, ls_face_kind kind,
                       ls_error *err)
{
    const char *what = kind == LS_FACE_POINTS5 ? "\"points5\" must be 5 points [x, y]"
                                               : "\"landmarks106\" must be 106 points [x, y]";
    if (json_array_size(array) != (size_t)kind)
        return fail_line(r, err, what);
    for (size_t i = 0; i < (size_t)kind; i++) {
        int ret = read_numbers(r, json_array_get(array, i), face->points[i], 2, what, err);
        if (ret)
            return ret;
    }
    face->kind = kind;
    return 0;
}

static int read_bool(const ls_record_reader *r, json_t *v, bool *out, const char *what,
                     ls_error *err)
{
    *out = json_is_true(v);
    return !v || json_is_boolean(v) ? 0 : fail_line(r, err, what);
}

static int read_face(const ls_record_reader *r, json_t *object, ls_tracked_face *out, ls_error *err)
{
    json_t *id = get(object, "id"), *box = get(object, "box"), *score = get(object, "score");
    json_t *covered = get(object, "covered"), *hidden = get(object, "hidden");
    json_t *p5 = get(object, "points5"), *p106 = get(object, "landmarks106");
    ls_face *face = &out->face;
    *out = (ls_tracked_face){.id = 1, .face.score = 1};
    if (id) {
        json_int_t v = json_integer_value(id);
        if (!json_is_integer(id) || v < 1 || v > LS_MAX_FACE_ID)
            return fail_line(r, err, "\"id\" must be a whole number, 1 to 2147483648");
        out->id = (uint32_t)v;
    }
    if (score) {
        face->score = json_number_value(score);
        if (!json_is_number(score) || !(fabs(face->score) <= 1e6))
            return fail_line(r, err, "\"score\" must be a number up to a million");
    }
    if (covered) {
        face->covered = json_number_value(covered);
        if (!json_is_number(covered) || !(face->covered >= 0 && face->covered <= 1))
            return fail_line(r, err, "\"covered\" must be a number from 0 to 1");
    }
    bool is_hidden;
    int ret = read_bool(r, hidden, &is_hidden, "\"hidden\" must be true or false", err);
    if (ret)
        return ret;
    face->hidden = hidden ? is_hidden ? 1 : -1 : 0;
    ret = read_bool(r, get(object, "interpolated"), &out->interpolated,
                    "\"interpolated\" must be true or false", err);
    if (!ret && box)
        ret = read_numbers(r, box, face->box, 4, "\"box\" must be 4 numbers", err);
    if (!ret && p5)
        ret = read_points(r, p5, face, LS_FACE_POINTS5, err);
    if (!ret && p106)
        ret = read_points(r, p106, face, LS_FACE_LANDMARKS106, err);
    return ret;
}

static int read_faces(const ls_record_reader *r, json_t *array, ls_face_record *rec, ls_error *err)
{
    if (!json_is_array(array))
        return fail_line(r, err, "\"faces\" must be a list of faces");
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *object = json_array_get(array, i);
        ls_tracked_face face;
        if (!json_is_object(object))
            return fail_line(r, err, "\"faces\" must be a list of faces");
        if (!get(object, "id"))
            return fail_line(r, err, "a face in \"faces\" must have an \"id\"");
        int ret = read_face(r, object, &face, err);
        if (ret)
            return ret;
        for (size_t k = 0; k < rec->count; k++)
            if (rec->faces[k].id == face.id)
                return ls_fail(err, LS_EFORMAT, "%s, line %llu: two faces have the id %lu", r->name,
                               (unsigned long long)r->line, (unsigned long)face.id);
        if (face.face.kind == LS_FACE_NONE)
            continue;
        if (rec->count == LS_MAX_FACES)
            return fail_line(r, err, "more than 16 faces");
        rec->faces[rec->count++] = face;
    }
    return 0;
}

static int read_frame(ls_record_reader *r, json_t *object, ls_face_record *rec, ls_error *err)
{
    json_t *number = json_object_get(object, "frame"), *faces = get(object, "faces");
    rec->frame = json_integer_value(number);
    rec->count = 0;
    if (!json_is_integer(number) || rec->frame < 0 || rec->frame > LS_MAX_FRAME)
        return fail_line(r, err, "\"frame\" must be a whole number, 0 or more and below 2^48");
    if (rec->frame <= r->last_frame)
        return ls_fail(err, LS_EFORMAT,
                       "%s, line %llu: frame %lld after frame %lld; frames must increase, one line "
                       "each",
                       r->name, (unsigned long long)r->line, (long long)rec->frame,
                       (long long)r->last_frame);
    r->last_frame = rec->frame;
    int ret = read_bool(r, get(object, "cut"), &rec->cut, "\"cut\" must be true or false", err);
    if (ret)
        return ret;
    if (!faces) {
        ret = read_face(r, object, &rec->faces[0], err);
        rec->count = !ret && rec->faces[0].face.kind != LS_FACE_NONE;
        return ret;
    }
    if (get(object, "points5") || get(object, "landmarks106"))
        return fail_line(r, err, "points outside \"faces\"; they belong to one of its faces");
    return read_faces(r, faces, rec, err);
}

/* The digits up to `end` as a number 1 .. INT_MAX; 0 if they are not one. */
static int read_count(const char *text, const char *end)
{
    int64_t v = 0;
    for (; text < end && v <= INT32_MAX; text++) {
        if (*text < '0' || *text > '9')
            return 0;
        v = 10 * v + (*text - '0');
    }
    return v <= INT32_MAX ? (int)v : 0;
}

static int read_timeline(ls_record_reader *r, json_t *object, ls_error *err)
{
    json_t *w = json_object_get(object, "width"), *h = json_object_get(object, "height");
    const char *fps = json_string_value(json_object_get(object, "fps"));
    const char *slash = fps ? strchr(fps, '/') : NULL;
    ls_record_timeline *t = &r->timeline;
    if (r->has_timeline || r->last_frame >= 0)
        return fail_line(r, err, "\"timeline\" must come once, before all frames");
    if (!json_is_integer(w) || json_integer_value(w) < 1 || json_integer_value(w) > 65535 ||
        !json_is_integer(h) || json_integer_value(h) < 1 || json_integer_value(h) > 65535)
        return fail_line(r, err, "\"width\" and \"height\" must be whole numbers, 1 to 65535");
    if (slash) {
        t->fps_num = read_count(fps, slash);
        t->fps_den = read_count(slash + 1, fps + strlen(fps));
    }
    if (!slash || !t->fps_num || !t->fps_den)
        return fail_line(r, err, "\"fps\" must be like \"25/1\"");
    t->width = (size_t)json_integer_value(w);
    t->height = (size_t)json_integer_value(h);
    r->has_timeline = true;
    return 0;
}

/* 1: a frame. 0: a line without one. */
static int read_object(ls_record_reader *r, json_t *object, ls_face_record *rec, ls_error *err)
{
    if (!json_is_object(object))
        return fail_line(r, err, "not a JSON object like {\"frame\": 0, \"points5\": [...]}");
    if (!json_object_get(object, "frame")) {
        if (json_object_get(object, "timeline"))
            return read_timeline(r, json_object_get(object, "timeline"), err);
        if (json_object_get(object, "track") || json_object_get(object, "sha256"))
            return 0;
    }
    int ret = read_frame(r, object, rec, err);
    return ret ? ret : 1;
}

static int read_record(ls_record_reader *r, ls_face_record *rec, ls_error *err)
{
    size_t length = 0;
    int ret;
    for (;;) {
        if ((ret = read_line(r, &length, err)) <= 0)
            return ret;
        while (length && memchr(" \t\r", r->text[length - 1], 3))
            length--;
        if (!length)
            continue;
        json_error_t bad;
        json_t *object =
            json_loadb(r->text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &bad);
        if (!object)
            return ls_fail(err, LS_EFORMAT, "%s, line %llu, column %d: not JSON: %s", r->name,
                           (unsigned long long)r->line, bad.column, bad.text);
        ret = read_object(r, object, rec, err);
        json_decref(object);
        if (ret)
            return ret;
    }
}

int ls_record_reader_open_file(ls_record_reader **out, FILE *file, const char *name, ls_error *err)
{
    ls_record_reader *r = *out = ls_calloc_array(1, sizeof(*r));
    if (r)
        r->file = file;
    else
        fclose(file);
    if (!r || !(r->name = strdup(name))) {
        ls_record_reader_close(out);
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", name);
    }
    r->last_frame = -1;
    r->pending = read_record(r, &r->first, err);
    if (r->pending >= 0)
        return 0;
    int ret = r->pending;
    ls_record_reader_close(out);
    return ret;
}

int ls_record_reader_open(ls_record_reader **out, const char *path, ls_error *err)
{
    FILE *file = fopen(path, "rb");
    *out = NULL;
    if (!file)
        return ls_fail_errno(err, errno, "%s: cannot open the face track", path);
    return ls_record_reader_open_file(out, file, path, err);
}

void ls_record_reader_close(ls_record_reader **r)
{
    if (!*r)
        return;
    fclose((*r)->file);
    free((*r)->name);
    free(*r);
    *r = NULL;
}

const ls_record_timeline *ls_record_reader_timeline(const ls_record_reader *r)
{
    return r->has_timeline ? &r->timeline : NULL;
}

int ls_record_read(ls_record_reader *r, ls_face_record *rec, ls_error *err)
{
    int ret = r->pending;
    if (ret == 0)
        return 0;
    if (ret < 0)
        return read_record(r, rec, err);
    *rec = r->first;
    r->pending = -1;
    return ret;
}
