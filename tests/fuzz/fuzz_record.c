#include "fuzz.h"

#include "face/record.h"

#include <math.h>
#include <string.h>

typedef struct text {
    char line[LS_TRACK_MAX_LINE];
    size_t n;
} text;

static int keep(void *opaque, const char *line, size_t n, ls_error *err)
{
    (void)err;
    text *t = opaque;
    memcpy(t->line, line, n);
    t->n = n;
    return 0;
}

static ls_record_reader *open_bytes(const void *data, size_t size)
{
    FILE *f = size ? fmemopen((void *)(uintptr_t)data, size, "rb") : fopen("/dev/null", "rb");
    ls_record_reader *r;
    if (!f)
        abort();
    return ls_record_reader_open_file(&r, f, "fuzz", NULL) ? NULL : r;
}

static void check(const ls_face_record *rec)
{
    if (rec->count > LS_MAX_FACES)
        abort();
    for (size_t i = 0; i < rec->count; i++) {
        const ls_tracked_face *f = &rec->faces[i];
        if (!f->id || (f->face.kind != LS_FACE_POINTS5 && f->face.kind != LS_FACE_LANDMARKS106))
            abort();
        for (size_t k = 0; k < (size_t)f->face.kind; k++)
            if (!isfinite(f->face.points[k][0]) || !isfinite(f->face.points[k][1]))
                abort();
    }
}

/* Reads the bytes as a face track. What is read can be written, and reads back as the same faces.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    ls_record_reader *r = open_bytes(data, size), *again;
    ls_record_writer *w;
    ls_face_record rec, back;
    static text t;
    int64_t last = -1;
    if (!r)
        return 0;
    if (ls_record_writer_open_sink(&w, (ls_line_sink){keep, &t}, ls_record_reader_timeline(r),
                                   NULL))
        abort();
    while (ls_record_read(r, &rec, NULL) == 1) {
        check(&rec);
        if (rec.frame <= last || ls_record_write(w, &rec, NULL))
            abort();
        last = rec.frame;
        if (!(again = open_bytes(t.line, t.n)) || ls_record_read(again, &back, NULL) != 1 ||
            back.frame != rec.frame || back.count != rec.count || back.cut != rec.cut)
            abort();
        ls_record_reader_close(&again);
    }
    ls_record_writer_close(&w);
    ls_record_reader_close(&r);
    return 0;
}
