#include "face/record.h"
#include "base/alloc.h"
#include "base/digest.h"
#include "base/output.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHA256_LINE "{\"sha256\": \"%s\""

struct ls_record_writer {
    ls_line_sink sink;
    int64_t last_frame;
    char *path; /* NULL: a sink, or finished */
    ls_output_file output;
    ls_sha256 sha; /* of the file so far */
    size_t length;
    char line[LS_TRACK_MAX_LINE];
};

static void put(ls_record_writer *w, const char *text)
{
    size_t n = strlen(text);
    memcpy(w->line + w->length, text, n);
    w->length += n;
}

static void put_integer(ls_record_writer *w, const char *key, int64_t v)
{
    put(w, key);
    w->length += (size_t)sprintf(w->line + w->length, "%lld", (long long)v);
}

enum {
    POINT5_UNIT = 1000,
    LANDMARK_UNIT = 100,
    BOX_UNIT = 1000,
    SCORE_UNIT = 10000,
    COVERED_UNIT = 100
};

static void round_numbers(double *v, size_t n, double unit)
{
    for (size_t i = 0; i < n; i++)
        v[i] = round(v[i] * unit) / unit;
}

void ls_record_round(ls_face_record *rec)
{
    for (size_t i = 0; i < rec->count; i++) {
        ls_face *f = &rec->faces[i].face;
        round_numbers(f->box, 4, BOX_UNIT);
        round_numbers(&f->score, 1, SCORE_UNIT);
        round_numbers(&f->covered, 1, COVERED_UNIT);
        round_numbers(f->points[0], 2 * (size_t)f->kind,
                      f->kind == LS_FACE_POINTS5 ? POINT5_UNIT : LANDMARK_UNIT);
    }
}

/* Rounded to 1/unit, a power of ten; whatever the locale. */
static void put_number(ls_record_writer *w, const char *key, double v, int64_t unit)
{
    int64_t n = llround(v * (double)unit), part = llabs(n) % unit;
    put(w, key);
    put_integer(w, n < 0 ? "-" : "", llabs(n) / unit);
    if (part)
        put(w, ".");
    for (; part; part %= unit) {
        unit /= 10;
        w->line[w->length++] = (char)('0' + part / unit);
    }
}

static void put_numbers(ls_record_writer *w, const char *key, const double *v, size_t n,
                        int64_t unit)
{
    put(w, key);
    for (size_t i = 0; i < n; i++)
        put_number(w, i ? "," : "[", v[i], unit);
    put(w, "]");
}

static void put_face(ls_record_writer *w, const ls_tracked_face *f)
{
    const ls_face *face = &f->face;
    bool five = face->kind == LS_FACE_POINTS5;
    const double *box = face->box;
    put_integer(w, "{\"id\": ", f->id);
    if (box[0] || box[1] || box[2] || box[3])
        put_numbers(w, ", \"box\": ", box, 4, BOX_UNIT);
    if (face->score != 1)
        put_number(w, ", \"score\": ", face->score, SCORE_UNIT);
    if (face->covered > 0)
        put_number(w, ", \"covered\": ", face->covered, COVERED_UNIT);
    if (face->hidden)
        put(w, face->hidden > 0 ? ", \"hidden\": true" : ", \"hidden\": false");
    put(w, five ? ", \"points5\": [" : ", \"landmarks106\": [");
    for (size_t i = 0; i < (size_t)face->kind; i++)
        put_numbers(w, i ? "," : "", face->points[i], 2, five ? POINT5_UNIT : LANDMARK_UNIT);
    put(w, f->interpolated ? "], \"interpolated\": true}" : "]}");
}

static int flush_line(ls_record_writer *w, ls_error *err)
{
    put(w, "}\n");
    size_t n = w->length;
    w->length = 0;
    return w->sink.write(w->sink.opaque, w->line, n, err);
}

static bool in_range(const double *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!(fabs(v[i]) <= LS_MAX_COORDINATE))
            return false;
    return true;
}

static bool face_is_valid(const ls_tracked_face *f)
{
    const ls_face *face = &f->face;
    return f->id && f->id <= LS_MAX_FACE_ID &&
           (face->kind == LS_FACE_POINTS5 || face->kind == LS_FACE_LANDMARKS106) &&
           in_range(face->box, 4) && in_range(&face->score, 1) && face->covered >= 0 &&
           face->covered <= 1 && in_range(face->points[0], 2 * (size_t)face->kind);
}

int ls_record_write(ls_record_writer *w, const ls_face_record *rec, ls_error *err)
{
    if (rec->frame <= w->last_frame || rec->frame > LS_MAX_FRAME || rec->count > LS_MAX_FACES)
        return ls_fail(err, LS_EINVAL, "frame %lld with %zu faces cannot follow frame %lld",
                       (long long)rec->frame, rec->count, (long long)w->last_frame);
    for (size_t i = 0; i < rec->count; i++) {
        bool valid = face_is_valid(&rec->faces[i]);
        for (size_t k = 0; k < i; k++)
            valid &= rec->faces[k].id != rec->faces[i].id;
        if (!valid)
            return ls_fail(
                err, LS_EINVAL,
                "frame %lld: a face without points, with an invalid id, or beyond a million pixels",
                (long long)rec->frame);
    }
    w->last_frame = rec->frame;
    put_integer(w, "{\"frame\": ", rec->frame);
    if (rec->cut)
        put(w, ", \"cut\": true");
    for (size_t i = 0; i < rec->count; i++) {
        put(w, i ? ", " : ", \"faces\": [");
        put_face(w, &rec->faces[i]);
    }
    if (rec->count)
        put(w, "]");
    return flush_line(w, err);
}

int ls_record_write_summary(ls_record_writer *w, const ls_track_summary *s, ls_error *err)
{
    if (!in_range(s->box, 4) || !in_range(&s->score, 1) || !in_range(&s->share, 1))
        return ls_fail(err, LS_EINVAL, "track %lu: a number beyond a million",
                       (unsigned long)s->id);
    put_integer(w, "{\"track\": ", s->id);
    put_integer(w, ", \"first\": ", s->first);
    put_integer(w, ", \"last\": ", s->last);
    put_number(w, ", \"share\": ", s->share, 10000);
    put_numbers(w, ", \"box\": ", s->box, 4, BOX_UNIT);
    put_number(w, ", \"score\": ", s->score, SCORE_UNIT);
    return flush_line(w, err);
}

static int write_timeline(ls_record_writer *w, const ls_record_timeline *t, ls_error *err)
{
    if (!t)
        return 0;
    if (t->width - 1 >= 65535 || t->height - 1 >= 65535 || t->fps_num < 1 || t->fps_den < 1)
        return ls_fail(err, LS_EINVAL, "invalid timeline: %zu x %zu at %d/%d frames per second",
                       t->width, t->height, t->fps_num, t->fps_den);
    put_integer(w, "{\"timeline\": {\"width\": ", (int64_t)t->width);
    put_integer(w, ", \"height\": ", (int64_t)t->height);
    put_integer(w, ", \"fps\": \"", t->fps_num);
    put_integer(w, "/", t->fps_den);
    put(w, "\"}");
    return flush_line(w, err);
}

static int write_file(void *opaque, const char *line, size_t n, ls_error *err)
{
    ls_record_writer *w = opaque;
    ls_sha256_add(&w->sha, line, n);
    return ls_output_write(&w->output, line, n, err);
}

/* The first nonzero `ret` removes the file. */
static int close_file(ls_record_writer *w, int ret, ls_error *err)
{
    if (!w->path)
        return ret;
    ret = ls_output_close(&w->output, ret, err);
    free(w->path);
    w->path = NULL;
    return ret;
}

int ls_record_writer_open_sink(ls_record_writer **out, ls_line_sink sink,
                               const ls_record_timeline *timeline, ls_error *err)
{
    ls_record_writer *w = *out = ls_calloc_array(1, sizeof(*w));
    if (!w)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    w->sink = sink;
    w->last_frame = -1;
    int ret = write_timeline(w, timeline, err);
    if (ret)
        ls_record_writer_close(out);
    return ret;
}

int ls_record_writer_open(ls_record_writer **out, const char *path,
                          const ls_record_timeline *timeline, ls_error *err)
{
    int ret = ls_record_writer_open_sink(out, (ls_line_sink){0}, NULL, err);
    ls_record_writer *w = *out;
    if (ret)
        return ret;
    w->sink = (ls_line_sink){write_file, w};
    ls_sha256_begin(&w->sha);
    char *copy = strdup(path);
    ret = copy ? ls_output_open(&w->output, copy, err)
               : ls_fail(err, LS_ENOMEM, "%s: out of memory", path);
    if (ret) {
        free(copy);
    } else {
        w->path = copy;
        ret = write_timeline(w, timeline, err);
    }
    if (ret)
        ls_record_writer_close(out);
    return ret;
}

void ls_record_writer_close(ls_record_writer **w)
{
    if (!*w)
        return;
    close_file(*w, LS_ECANCELED, NULL);
    free(*w);
    *w = NULL;
}

int ls_record_finish(ls_record_writer *w, ls_error *err)
{
    uint8_t sha256[LS_SHA256_BYTES];
    char text[LS_SHA256_TEXT];
    if (!w->path)
        return 0;
    ls_sha256_end(&w->sha, sha256);
    ls_digest_text(text, sha256);
    w->length = (size_t)sprintf(w->line, SHA256_LINE, text);
    return close_file(w, flush_line(w, err), err);
}

bool ls_record_is_whole(const char *path)
{
    char line[LS_TRACK_MAX_LINE + 1], last[sizeof SHA256_LINE + LS_SHA256_TEXT],
        text[LS_SHA256_TEXT];
    uint8_t sha256[LS_SHA256_BYTES];
    ls_sha256 sha;
    bool ended = false;
    FILE *f = fopen(path, "re");
    ls_sha256_begin(&sha);
    while (f && !ended && fgets(line, sizeof line, f)) {
        ended = !strncmp(line, SHA256_LINE, 10);
        if (!ended)
            ls_sha256_add(&sha, line, strlen(line));
    }
    ls_sha256_end(&sha, sha256);
    ls_digest_text(text, sha256);
    snprintf(last, sizeof last, SHA256_LINE "}\n", text);
    const bool whole = ended && !strcmp(line, last) && fgetc(f) == EOF;
    if (f)
        fclose(f);
    return whole;
}
