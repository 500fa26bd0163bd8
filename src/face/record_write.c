#include "face/record.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_TEMPORARIES 100

struct ls_record_writer {
    ls_line_sink sink;
    int64_t last_frame;
    char *path, *temporary; /* NULL: a sink; without a file under the name */
    FILE *file;
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

/* Rounded to 1/unit, a power of ten; in any locale. */
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
        put_numbers(w, ", \"box\": ", box, 4, 1000);
    if (face->score != 1)
        put_number(w, ", \"score\": ", face->score, 10000);
    put(w, five ? ", \"points5\": [" : ", \"landmarks106\": [");
    for (size_t i = 0; i < (size_t)face->kind; i++)
        put_numbers(w, i ? "," : "", face->points[i], 2, five ? 1000 : 100);
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
           in_range(face->box, 4) && in_range(&face->score, 1) &&
           in_range(face->points[0], 2 * (size_t)face->kind);
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
            return ls_fail(err, LS_EINVAL,
                           "frame %lld: a face without points, with an id of no use, or beyond a "
                           "million pixels",
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
    put_numbers(w, ", \"box\": ", s->box, 4, 1000);
    put_number(w, ", \"score\": ", s->score, 10000);
    return flush_line(w, err);
}

static int write_timeline(ls_record_writer *w, const ls_record_timeline *t, ls_error *err)
{
    if (!t)
        return 0;
    if (t->width - 1 >= 65535 || t->height - 1 >= 65535 || t->fps_num < 1 || t->fps_den < 1)
        return ls_fail(err, LS_EINVAL, "a timeline of %zu x %zu at %d/%d frames a second", t->width,
                       t->height, t->fps_num, t->fps_den);
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
    if (fwrite(line, 1, n, w->file) != n)
        return ls_fail_errno(err, errno, "%s: cannot write", w->path);
    return 0;
}

/* Creates "dir/.name.PID.N.part" for "dir/name": the same file system, hidden, nobody else's. */
static int create_temporary(ls_record_writer *w, ls_error *err)
{
    const char *slash = strrchr(w->path, '/'), *base = slash ? slash + 1 : w->path;
    size_t size = strlen(w->path) + 64;
    char *name = malloc(size);
    int fd = -1;
    if (!name)
        return ls_fail(err, LS_ENOMEM, "%s: out of memory", w->path);
    errno = EEXIST;
    for (int n = 0; n < MAX_TEMPORARIES && fd < 0 && errno == EEXIST; n++) {
        snprintf(name, size, "%.*s.%.200s.%ld.%d.part", (int)(base - w->path), w->path, base,
                 (long)getpid(), n);
        fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    }
    if (fd >= 0 && (w->file = fdopen(fd, "wb"))) {
        w->temporary = name;
        return 0;
    }
    int ret = ls_fail_errno(err, errno, "cannot write %s", w->path);
    if (fd >= 0) {
        unlink(name);
        close(fd);
    }
    free(name);
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
    if (!(w->path = strdup(path)))
        ret = ls_fail(err, LS_ENOMEM, "%s: out of memory", path);
    else if (!(ret = create_temporary(w, err)))
        ret = write_timeline(w, timeline, err);
    if (ret)
        ls_record_writer_close(out);
    return ret;
}

void ls_record_writer_close(ls_record_writer **w)
{
    if (!*w)
        return;
    if ((*w)->file)
        fclose((*w)->file);
    if ((*w)->temporary)
        unlink((*w)->temporary);
    free((*w)->temporary);
    free((*w)->path);
    free(*w);
    *w = NULL;
}

int ls_record_finish(ls_record_writer *w, ls_error *err)
{
    if (!w->file)
        return 0;
    errno = EIO;
    bool failed = ferror(w->file);
    failed |= fclose(w->file) != 0;
    w->file = NULL;
    if (failed || rename(w->temporary, w->path))
        return ls_fail_errno(err, errno, "%s: cannot finish writing", w->path);
    free(w->temporary);
    w->temporary = NULL;
    return 0;
}
