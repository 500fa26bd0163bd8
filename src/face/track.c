#include "face/track.h"
#include "base/alloc.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK 64     /* faces parsed and kept together */
#define ENTRIES 4096 /* places in the index; when they are used up, every second one is dropped */

/* A place in the file where a line starts. */
typedef struct place {
    int64_t frame; /* of the first face at or after it */
    off_t offset;
    uint64_t line; /* lines before it */
} place;

struct ls_track {
    char *path;
    FILE *file;
    char *text; /* one line */
    off_t offset;
    uint64_t line; /* lines read before `offset` */
    int64_t last_frame;
    ls_track_info info;
    place *index;
    size_t entries, interval; /* frames from one entry to the next */
    struct block_face {
        int64_t frame;
        ls_face face;
    } * block; /* what the file says of the frames before+1 .. last_frame, read up to `offset` */
    size_t count;
    int64_t before;
};

static int fail_line(const ls_track *t, ls_error *err, const char *what)
{
    return ls_fail(err, LS_EFORMAT, "%s, line %llu: %s", t->path, (unsigned long long)t->line,
                   what);
}

static int seek(ls_track *t, const place *p, ls_error *err)
{
    if (fseeko(t->file, p->offset, SEEK_SET))
        return ls_fail_errno(err, errno, "%s: cannot seek; a face track must be a file", t->path);
    t->offset = p->offset;
    t->line = p->line;
    t->before = t->last_frame = p->frame - 1;
    t->count = 0;
    return 0;
}

/* The next line without its end into t->text. 1, 0 at the end of the file, or an error. */
static int read_line(ls_track *t, size_t *length, ls_error *err)
{
    size_t n = 0;
    int c;
    t->line++;
    while ((c = getc_unlocked(t->file)) != EOF && c != '\n') {
        if (n == LS_TRACK_MAX_LINE)
            return fail_line(t, err, "longer than 65536 bytes; one frame a line is expected");
        t->text[n++] = (char)c;
    }
    if (c == EOF && ferror(t->file))
        return ls_fail_errno(err, errno, "%s: read", t->path);
    t->offset += (off_t)n + (c == '\n');
    *length = n;
    return c != EOF || n;
}

/* `what` as in "box must be 4 numbers". */
static int read_numbers(const ls_track *t, json_t *array, double *out, size_t n, const char *what,
                        ls_error *err)
{
    if (json_array_size(array) != n)
        return fail_line(t, err, what);
    for (size_t i = 0; i < n; i++) {
        json_t *v = json_array_get(array, i);
        if (!json_is_number(v))
            return fail_line(t, err, what);
        out[i] = json_number_value(v);
        if (!(fabs(out[i]) <= 1e6))
            return fail_line(t, err, "a coordinate lies beyond a million pixels");
    }
    return 0;
}

static int read_points(const ls_track *t, json_t *array, ls_face *face, ls_face_kind kind,
                       ls_error *err)
{
    const char *what = kind == LS_FACE_POINTS5 ? "\"points5\" must be 5 points [x, y]"
                                               : "\"landmarks106\" must be 106 points [x, y]";
    if (json_array_size(array) != (size_t)kind)
        return fail_line(t, err, what);
    for (size_t i = 0; i < (size_t)kind; i++) {
        int ret = read_numbers(t, json_array_get(array, i), face->points[i], 2, what, err);
        if (ret)
            return ret;
    }
    face->kind = kind;
    return 0;
}

static int read_face(ls_track *t, json_t *object, int64_t *frame, ls_face *face, ls_error *err)
{
    *face = (ls_face){.score = 1};
    if (!json_is_object(object))
        return fail_line(t, err, "not a JSON object like {\"frame\": 0, \"points5\": [...]}");
    json_t *number = json_object_get(object, "frame"), *box = json_object_get(object, "box");
    json_t *score = json_object_get(object, "score"), *p5 = json_object_get(object, "points5");
    json_t *p106 = json_object_get(object, "landmarks106");
    if (!json_is_integer(number) || json_integer_value(number) < 0)
        return fail_line(t, err, "\"frame\" must be a whole number, 0 or more");
    *frame = json_integer_value(number);
    if (*frame <= t->last_frame)
        return ls_fail(err, LS_EFORMAT,
                       "%s, line %llu: frame %lld after frame %lld; frames must increase, one line "
                       "each",
                       t->path, (unsigned long long)t->line, (long long)*frame,
                       (long long)t->last_frame);
    if (score && !json_is_null(score)) {
        face->score = json_number_value(score);
        if (!json_is_number(score))
            return fail_line(t, err, "\"score\" must be a number");
    }
    int ret = 0;
    if (box && !json_is_null(box))
        ret = read_numbers(t, box, face->box, 4, "\"box\" must be 4 numbers", err);
    if (!ret && p5 && !json_is_null(p5))
        ret = read_points(t, p5, face, LS_FACE_POINTS5, err);
    if (!ret && p106 && !json_is_null(p106))
        ret = read_points(t, p106, face, LS_FACE_LANDMARKS106, err);
    return ret;
}

/* The next frame of the file. 1, 0 at its end, or an error. */
static int read_frame(ls_track *t, struct block_face *out, ls_error *err)
{
    size_t length;
    int ret;
    do {
        if ((ret = read_line(t, &length, err)) <= 0)
            return ret;
        while (length && memchr(" \t\r", t->text[length - 1], 3))
            length--;
    } while (!length);
    json_error_t bad;
    json_t *object = json_loadb(t->text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &bad);
    if (!object)
        return ls_fail(err, LS_EFORMAT, "%s, line %llu, column %d: not JSON: %s", t->path,
                       (unsigned long long)t->line, bad.column, bad.text);
    ret = read_face(t, object, &out->frame, &out->face, err);
    json_decref(object);
    if (ret)
        return ret;
    t->last_frame = out->frame;
    return 1;
}

static void remember(ls_track *t, const place *p)
{
    if (t->info.lines % t->interval)
        return;
    if (t->entries == ENTRIES) {
        for (size_t i = 0; i < ENTRIES / 2; i++)
            t->index[i] = t->index[2 * i];
        t->entries = ENTRIES / 2;
        t->interval *= 2;
    }
    if (t->info.lines % t->interval == 0)
        t->index[t->entries++] = *p;
}

static int scan(ls_track *t, ls_error *err)
{
    int ret;
    t->info.first_frame = t->info.last_frame = -1;
    for (;;) {
        place p = {0, t->offset, t->line};
        struct block_face *f = &t->block[0];
        if ((ret = read_frame(t, f, err)) <= 0)
            return ret;
        p.frame = f->frame;
        remember(t, &p);
        if (!t->info.lines++)
            t->info.first_frame = f->frame;
        t->info.faces += f->face.kind != LS_FACE_NONE;
        t->info.last_frame = f->frame;
    }
}

int ls_track_open(ls_track **out, const char *path, ls_error *err)
{
    ls_track *t = *out = ls_calloc_array(1, sizeof(*t));
    if (!t || !(t->path = strdup(path)) || !(t->text = ls_malloc_array(LS_TRACK_MAX_LINE, 1)) ||
        !(t->index = ls_malloc_array(ENTRIES, sizeof(*t->index))) ||
        !(t->block = ls_malloc_array(BLOCK, sizeof(*t->block)))) {
        ls_track_close(out);
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", path);
    }
    int ret;
    t->interval = BLOCK;
    t->last_frame = -1;
    if (!(t->file = fopen(path, "rb")))
        ret = ls_fail_errno(err, errno, "%s: cannot open the face track", path);
    else if (!(ret = seek(t, &(place){0}, err)) && !(ret = scan(t, err)) && t->entries)
        ret = seek(t, &t->index[0], err);
    if (ret)
        ls_track_close(out);
    return ret;
}

void ls_track_close(ls_track **t)
{
    if (!*t)
        return;
    if ((*t)->file)
        fclose((*t)->file);
    free((*t)->path);
    free((*t)->text);
    free((*t)->index);
    free((*t)->block);
    free(*t);
    *t = NULL;
}

ls_track_info ls_track_get_info(const ls_track *t)
{
    return t->info;
}

/* Reads on until the block covers `frame`, which the file does: from the index or from where the
 * file is now, whichever is nearer. */
static int load(ls_track *t, int64_t frame, ls_error *err)
{
    size_t lo = 0, hi = t->entries;
    while (hi - lo > 1) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->index[mid].frame <= frame)
            lo = mid;
        else
            hi = mid;
    }
    int ret = 0;
    if (t->last_frame >= frame || t->offset < t->index[lo].offset)
        ret = seek(t, &t->index[lo], err);
    while (!ret && t->last_frame < frame) {
        if (t->count == BLOCK) {
            t->count = 0;
            t->before = t->last_frame;
        }
        ret = read_frame(t, &t->block[t->count], err);
        if (!ret)
            return ls_fail(err, LS_EIO, "%s: the file changed while in use", t->path);
        t->count += ret > 0;
        ret = ret > 0 ? 0 : ret;
    }
    return ret;
}

int ls_track_get(ls_track *t, int64_t frame, ls_face *face, ls_error *err)
{
    *face = (ls_face){0};
    if (frame < t->info.first_frame || frame > t->info.last_frame || !t->entries)
        return 0;
    if (frame <= t->before || frame > t->last_frame) {
        int ret = load(t, frame, err);
        if (ret)
            return ret;
    }
    size_t lo = 0, hi = t->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->block[mid].frame < frame)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo == t->count || t->block[lo].frame != frame || t->block[lo].face.kind == LS_FACE_NONE)
        return 0;
    *face = t->block[lo].face;
    return 1;
}
