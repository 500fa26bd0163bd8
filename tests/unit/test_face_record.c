#include "test.h"

#include "base/system.h"
#include "face/record.h"

#include <locale.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

static char folder[64], path[80];

static int make_folder(void **state)
{
    (void)state;
    strcpy(folder, "/tmp/ls_record_XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/track.jsonl", folder);
    return 0;
}

/* Fails when something but the track is left in the folder. */
static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* What the reader makes of a text: its number of records, or the error. The last record read and
 * the timeline stay in *rec and *timeline. */
static int read_text(const char *text, size_t n, ls_face_record *rec, ls_record_timeline *timeline,
                     ls_error *err)
{
    FILE *f = n ? fmemopen((void *)(uintptr_t)text, n, "rb") : fopen("/dev/null", "rb");
    assert_non_null(f);
    ls_record_reader *r;
    ls_face_record next;
    int ret = ls_record_reader_open_file(&r, f, "a track", err), count = 0;
    assert_true(!ret == !!r);
    if (ret)
        return ret;
    if (timeline && ls_record_reader_timeline(r))
        *timeline = *ls_record_reader_timeline(r);
    for (; (ret = ls_record_read(r, &next, err)) > 0; count++)
        *rec = next;
    if (!ret)
        assert_int_equal(ls_record_read(r, &next, err), 0);
    ls_record_reader_close(&r);
    ls_record_reader_close(&r);
    return ret ? ret : count;
}

static size_t put_points(char *to, size_t size, int n)
{
    size_t length = 0;
    for (int i = 0; i < n; i++)
        length +=
            (size_t)snprintf(to + length, size - length, "%s[%d.5, %d]", i ? "," : "[", i, 2 * i);
    return length + (size_t)snprintf(to + length, size - length, "]");
}

#define P4 "[1,2],[3,4],[5,6],[7,8]"
#define P5 "[" P4 ",[9,10]]"
#define FACE(id) "{\"id\": " id ", \"points5\": " P5 "}"

static void single_faces(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(
        text, sizeof(text),
        "{\"frame\": 3, \"box\": [1, 2.5, 3, 4], \"score\": 0.75, \"points5\": [" P4
        ",[-9.5,1e1]], \"name\": {\"a\": [null]}}\r\n"
        "\n  \t \r\n"
        "{\"frame\": 5}\n"
        "{\"frame\": 6, \"points5\": null, \"score\": null, \"box\": null, \"faces\": null}\n"
        "{\"frame\": 7, \"box\": [1,2,3,4]}\n"
        "{\"frame\": 8, \"id\": 12, \"points5\": " P5 ", \"landmarks106\": ");
    n += put_points(text + n, sizeof(text) - n, 106);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "}"); /* no newline at the end */
    FILE *f = fmemopen(text, n, "rb");
    ls_record_reader *r;
    ls_face_record rec;
    assert_int_equal(ls_record_reader_open_file(&r, f, "x", NULL), 0);
    assert_null(ls_record_reader_timeline(r));
    assert_int_equal(ls_record_read(r, &rec, NULL), 1);
    const ls_face *face = &rec.faces[0].face;
    assert_true(rec.frame == 3 && rec.count == 1 && !rec.cut);
    assert_true(rec.faces[0].id == 1 && !rec.faces[0].interpolated);
    assert_true(face->kind == LS_FACE_POINTS5 && face->score == 0.75);
    assert_true(face->box[1] == 2.5 && face->box[3] == 4);
    assert_true(face->points[4][0] == -9.5 && face->points[4][1] == 10);
    for (int64_t frame = 5; frame < 8; frame++) {
        assert_int_equal(ls_record_read(r, &rec, NULL), 1);
        assert_true(rec.frame == frame && rec.count == 0);
    }
    assert_int_equal(ls_record_read(r, &rec, NULL), 1);
    assert_true(rec.frame == 8 && rec.count == 1 && rec.faces[0].id == 12);
    assert_true(face->kind == LS_FACE_LANDMARKS106 && face->score == 1 && face->box[2] == 0);
    assert_true(face->points[0][0] == 0.5 && face->points[105][0] == 105.5);
    assert_true(face->points[105][1] == 210);
    assert_int_equal(ls_record_read(r, &rec, NULL), 0);
    assert_int_equal(ls_record_read(r, &rec, NULL), 0);
    ls_record_reader_close(&r);
}

static void several_faces(void **state)
{
    (void)state;
    const char *text =
        "{\"timeline\": {\"width\": 1280, \"height\": 720, \"fps\": \"30000/1001\"}}\n"
        "{\"track\": 1, \"first\": 0, \"frames\": [], \"share\": null}\n"
        "{\"frame\": 7, \"cut\": true, \"track\": 9, \"faces\": [" FACE(
            "2147483648") ", {\"id\": 3}, "
                          "{\"id\": 2, \"interpolated\": true, \"score\": 0.5, \"points5\": " P5
                          "}]}\n"
                          "{\"track\": 2}\n";
    ls_face_record rec = {0};
    ls_record_timeline t = {0};
    ls_error err = {0};
    assert_int_equal(read_text(text, strlen(text), &rec, &t, &err), 1);
    assert_true(t.width == 1280 && t.height == 720 && t.fps_num == 30000 && t.fps_den == 1001);
    assert_true(rec.frame == 7 && rec.cut && rec.count == 2);
    assert_true(rec.faces[0].id == 2147483648 && !rec.faces[0].interpolated);
    assert_true(rec.faces[1].id == 2 && rec.faces[1].interpolated);
    assert_true(rec.faces[1].face.score == 0.5 && rec.faces[0].face.score == 1);
}

static void nothing_in_it(void **state)
{
    (void)state;
    const char *empty[] = {"", "\n\r\n \n", "{\"track\": 1}\n"};
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(read_text(empty[i], strlen(empty[i]), NULL, NULL, NULL), 0);
}

static void mistakes_are_named(void **state)
{
    (void)state;
#define OK "{\"frame\": 1}\n\n"
#define F2 OK "{\"frame\": 2, "
#define TL(w, h, fps) "{\"timeline\": {\"width\": " w ", \"height\": " h ", \"fps\": " fps "}}\n"
    static const struct {
        const char *text, *message;
    } cases[] = {
        {OK "{\"frame\": 2", "line 3, column"},
        {OK "frame 2", "not JSON"},
        {OK "[1, 2]", "line 3: not a JSON object"},
        {"7", "line 1: not a JSON object"},
        {"null", "not a JSON object"},
        {OK "{}", "line 3: \"frame\" must be a whole number"},
        {OK "{\"first\": 3}", "line 3: \"frame\" must be a whole number"},
        {OK "{\"frame\": 2.5}", "\"frame\" must be"},
        {OK "{\"frame\": \"2\"}", "\"frame\" must be"},
        {OK "{\"frame\": null}", "\"frame\" must be"},
        {OK "{\"frame\": -2}", "\"frame\" must be"},
        {OK "{\"frame\": 1e3}", "\"frame\" must be"},
        {OK "{\"frame\": 281474976710657}", "\"frame\" must be"},
        {OK "{\"frame\": 99999999999999999999}", "too big integer"},
        {OK "{\"frame\": 1}", "line 3: frame 1 after frame 1; frames must increase"},
        {OK "{\"frame\": 0}", "frame 0 after frame 1"},
        {F2 "\"frame\": 3}", "duplicate"},
        {F2 "\"points5\": [" P4 "]}", "line 3: \"points5\" must be 5 points"},
        {F2 "\"points5\": [" P4 ",[1,2],[3,4]]}", "must be 5 points"},
        {F2 "\"points5\": [" P4 ",[1]]}", "must be 5 points"},
        {F2 "\"points5\": [" P4 ",[1,2,3]]}", "must be 5 points"},
        {F2 "\"points5\": [" P4 ",[1,null]]}", "must be 5 points"},
        {F2 "\"points5\": [" P4 ",[1,\"2\"]]}", "must be 5 points"},
        {F2 "\"points5\": [" P4 ",9]}", "must be 5 points"},
        {F2 "\"points5\": [1,2,3,4,5,6,7,8,9,10]}", "must be 5 points"},
        {F2 "\"points5\": {}}", "must be 5 points"},
        {F2 "\"points5\": [" P4 ",[1,NaN]]}", "not JSON"},
        {F2 "\"points5\": [" P4 ",[1,-Infinity]]}", "not JSON"},
        {F2 "\"points5\": [" P4 ",[1,1e999]]}", "overflow"},
        {F2 "\"points5\": [" P4 ",[1,-1e7]]}", "beyond a million"},
        {F2 "\"landmarks106\": [" P4 "]}", "must be 106 points"},
        {F2 "\"box\": [1,2,3]}", "\"box\" must be 4 numbers"},
        {F2 "\"box\": 5}", "\"box\" must be 4 numbers"},
        {F2 "\"box\": [1,2,3,1e30]}", "beyond a million"},
        {F2 "\"score\": \"high\"}", "\"score\" must be a number"},
        {F2 "\"score\": 1e30}", "\"score\" must be a number"},
        {OK "{\"frame\": 2} {\"frame\": 3}", "end of file expected"},
        {F2 "\"a\": \"\xff\"}", "unable to decode byte"},
        {F2 "\"cut\": 1}", "line 3: \"cut\" must be true or false"},
        {F2 "\"id\": 0}", "line 3: \"id\" must be a whole number, 1 to 2147483648"},
        {F2 "\"id\": -1}", "\"id\" must be a whole number"},
        {F2 "\"id\": 1.5}", "\"id\" must be a whole number"},
        {F2 "\"id\": 2147483649}", "\"id\" must be a whole number"},
        {F2 "\"interpolated\": 0}", "\"interpolated\" must be true or false"},
        {F2 "\"faces\": 3}", "\"faces\" must be a list"},
        {F2 "\"faces\": {}}", "\"faces\" must be a list"},
        {F2 "\"faces\": [3]}", "\"faces\" must be a list"},
        {F2 "\"faces\": [null]}", "\"faces\" must be a list"},
        {F2 "\"faces\": [{\"points5\": " P5 "}]}", "must have an \"id\""},
        {F2 "\"faces\": [" FACE("0") "]}", "\"id\" must be a whole number"},
        {F2 "\"faces\": [" FACE("4") "," FACE("3") "," FACE("4") "]}",
         "line 3: two faces have the id 4"},
        {F2 "\"faces\": [{\"id\": 1, \"box\": [0,0,1,-1e7]}]}", "beyond a million"},
        {F2 "\"faces\": [], \"points5\": " P5 "}", "line 3: points outside \"faces\""},
        {OK TL("1", "1", "\"1/1\""), "line 3: \"timeline\" must come once, before all frames"},
        {TL("1", "1", "\"1/1\"") TL("1", "1", "\"1/1\""), "line 2: \"timeline\" must come once"},
        {TL("0", "1", "\"1/1\""), "\"width\" and \"height\" must be whole numbers, 1 to 65535"},
        {TL("1", "-1", "\"1/1\""), "\"width\" and \"height\""},
        {TL("65536", "1", "\"1/1\""), "\"width\" and \"height\""},
        {TL("1", "2.0", "\"1/1\""), "\"width\" and \"height\""},
        {"{\"timeline\": 3}", "\"width\" and \"height\""},
        {TL("1", "1", "25"), "\"fps\" must be like"},
        {TL("1", "1", "\"25\""), "\"fps\" must be like"},
        {TL("1", "1", "\"25/0\""), "\"fps\" must be like"},
        {TL("1", "1", "\"/1\""), "\"fps\" must be like"},
        {TL("1", "1", "\"-25/1\""), "\"fps\" must be like"},
        {TL("1", "1", "\"25/1 \""), "\"fps\" must be like"},
        {TL("1", "1", "\"99999999999999999999999/1\""), "\"fps\" must be like"},
    };
    ls_face_record rec;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ls_error err = {0};
        int ret = read_text(cases[i].text, strlen(cases[i].text), &rec, NULL, &err);
        if (ret != LS_EFORMAT || err.code != ret || !strstr(err.message, cases[i].message) ||
            !strstr(err.message, "a track, line "))
            fail_msg("%s gives: %s", cases[i].text, err.message);
    }
    ls_error err = {0};
    assert_int_equal(read_text("{\"frame\": 1}\0", 13, &rec, NULL, &err), LS_EFORMAT);
    assert_non_null(strstr(err.message, "line 1"));

    for (int faces = LS_MAX_FACES; faces <= LS_MAX_FACES + 1; faces++) {
        char text[4096];
        size_t n = (size_t)sprintf(text, "{\"frame\": 0, \"faces\": [");
        for (int i = 1; i <= faces; i++)
            n += (size_t)sprintf(text + n, "%s{\"id\": %d, \"points5\": " P5 "}", i > 1 ? "," : "",
                                 i);
        n += (size_t)sprintf(text + n, "]}");
        int ret = read_text(text, n, &rec, NULL, &err);
        assert_int_equal(ret, faces == LS_MAX_FACES ? 1 : LS_EFORMAT);
        assert_int_equal(rec.count, LS_MAX_FACES);
    }
    assert_non_null(strstr(err.message, "more than 16 faces"));

    /* a line as long as allowed, and one longer; deep nesting */
    char *line = malloc(LS_TRACK_MAX_LINE + 2);
    for (size_t more = 0; more < 2; more++) {
        size_t n = LS_TRACK_MAX_LINE + more;
        memset(line, ' ', n);
        memcpy(line, "{\"frame\": 0", 11);
        line[n - 1] = '}';
        assert_int_equal(read_text(line, n, &rec, NULL, &err), more ? LS_EFORMAT : 1);
    }
    assert_non_null(strstr(err.message, "longer than 65536 bytes"));
    memset(line, '[', LS_TRACK_MAX_LINE);
    assert_int_equal(read_text(line, LS_TRACK_MAX_LINE, &rec, NULL, &err), LS_EFORMAT);
    free(line);

    ls_record_reader *r;
    assert_int_equal(ls_record_reader_open(&r, "/nowhere/track.jsonl", &err), LS_ENOENT);
    assert_non_null(strstr(err.message, "/nowhere/track.jsonl"));
    assert_int_equal(ls_record_reader_open(&r, "/tmp", &err), LS_EIO);
    assert_null(r);
}

static uint64_t seed;

static double draw(double from, double to)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return from + (to - from) * (double)(seed >> 11) / 9007199254740992.0;
}

static void draw_record(ls_face_record *rec, int64_t frame, size_t count)
{
    double reach = frame % 5 ? 4000 : LS_MAX_COORDINATE;
    *rec = (ls_face_record){.frame = frame, .cut = frame % 7 == 2, .count = count};
    for (size_t i = 0; i < count; i++) {
        ls_tracked_face *f = &rec->faces[i];
        *f = (ls_tracked_face){.id = (uint32_t)(LS_MAX_FACE_ID - i), .interpolated = i % 3 == 1};
        f->face.kind = frame % 2 ? LS_FACE_POINTS5 : LS_FACE_LANDMARKS106;
        f->face.score = i % 4 == 3 ? 1 : draw(-1, 1);
        for (size_t k = 0; k < 4 && i % 5; k++)
            f->face.box[k] = draw(-reach, reach);
        for (size_t k = 0; k < (size_t)f->face.kind; k++)
            for (size_t c = 0; c < 2; c++)
                f->face.points[k][c] = draw(-reach, reach);
    }
    if (count) {
        rec->faces[0].face.points[0][0] = -LS_MAX_COORDINATE;
        rec->faces[0].face.points[0][1] = 0.004;
        rec->faces[0].face.points[1][0] = -0.0004;
        rec->faces[0].face.points[1][1] = 10;
    }
}

static void assert_record(const ls_face_record *a, const ls_face_record *b, double point_unit)
{
    assert_true(a->frame == b->frame && a->cut == b->cut && a->count == b->count);
    for (size_t i = 0; i < a->count; i++) {
        const ls_tracked_face *f = &a->faces[i], *g = &b->faces[i];
        assert_true(f->id == g->id && f->interpolated == g->interpolated);
        assert_int_equal(f->face.kind, g->face.kind);
        assert_true(fabs(f->face.score - g->face.score) <= 0.5001e-4);
        for (size_t k = 0; k < 4; k++)
            assert_true(fabs(f->face.box[k] - g->face.box[k]) <= 0.5001e-3);
        for (size_t k = 0; k < (size_t)f->face.kind; k++)
            for (size_t c = 0; c < 2; c++)
                assert_true(fabs(f->face.points[k][c] - g->face.points[k][c]) <=
                            0.5001 * point_unit);
    }
}

static void round_trip(void **state)
{
    (void)state;
    const ls_record_timeline timeline = {1080, 65535, 30000, 1001};
    const ls_track_summary summary = {7, 0, 39, 0.97561, {1, 2, 3, 4.5}, 0.9};
    ls_record_writer *w;
    ls_record_reader *r;
    ls_face_record rec, got;
    ls_error err = {0};
    seed = 1;
    assert_int_equal(ls_record_writer_open(&w, path, &timeline, &err), 0);
    for (int64_t i = 0; i < 40; i++) {
        draw_record(&rec, i * i, (size_t)i % 18 % (LS_MAX_FACES + 1));
        assert_int_equal(ls_record_write(w, &rec, &err), 0);
    }
    assert_int_equal(ls_record_write_summary(w, &summary, &err), 0);
    assert_int_not_equal(access(path, F_OK), 0);
    assert_int_equal(ls_record_finish(w, &err), 0);
    ls_record_writer_close(&w);
    ls_record_writer_close(&w);
    assert_true(ls_record_is_whole(path));

    assert_int_equal(ls_record_reader_open(&r, path, &err), 0);
    const ls_record_timeline *t = ls_record_reader_timeline(r);
    assert_non_null(t);
    assert_memory_equal(t, &timeline, sizeof timeline);
    seed = 1;
    for (int64_t i = 0; i < 40; i++) {
        draw_record(&rec, i * i, (size_t)i % 18 % (LS_MAX_FACES + 1));
        assert_int_equal(ls_record_read(r, &got, &err), 1);
        assert_record(&rec, &got, rec.frame % 2 ? 1e-3 : 1e-2);
    }
    assert_int_equal(ls_record_read(r, &got, &err), 0);
    ls_record_reader_close(&r);
}

typedef struct lines {
    char text[4096];
    size_t count, longest;
    int fail;
} lines;

static int keep_line(void *opaque, const char *line, size_t n, ls_error *err)
{
    lines *l = opaque;
    assert_true(n && line[n - 1] == '\n' && !memchr(line, '\n', n - 1));
    l->longest = n > l->longest ? n : l->longest;
    l->count++;
    if (n < sizeof l->text) {
        memcpy(l->text, line, n);
        l->text[n] = 0;
    }
    return l->fail ? ls_fail(err, LS_EIO, "the pipe broke") : 0;
}

static void wholeness(void **state)
{
    (void)state;
    static char text[4096], with[sizeof text + 8];
    ls_record_writer *w;
    ls_face_record rec;
    ls_error err = {0};
    seed = 1;
    assert_int_equal(ls_record_writer_open(&w, path, NULL, &err), 0);
    for (int64_t i = 0; i < 3; i++) {
        draw_record(&rec, 2 * i + 1, 1);
        assert_int_equal(ls_record_write(w, &rec, &err), 0);
    }
    assert_int_equal(ls_record_finish(w, &err), 0);
    ls_record_writer_close(&w);
    assert_true(ls_record_is_whole(path));
    FILE *f = fopen(path, "rb");
    const size_t n = fread(text, 1, sizeof text, f);
    fclose(f);
    assert_in_range(n, 1, sizeof text - 1);
    for (size_t i = 0; i <= n; i++) { // cut off, altered, longer
        for (int kind = 0; kind < 3; kind++) {
            const size_t size = kind == 0 ? i : kind == 1 ? n : n + 1;
            memcpy(with, text, n);
            if (kind == 1 && i < n)
                with[i] ^= 1;
            if (kind == 2) {
                memmove(with + i + 1, with + i, n - i);
                with[i] = '\n';
            }
            f = fopen(path, "wb");
            fwrite(with, 1, size, f);
            fclose(f);
            assert_int_equal(ls_record_is_whole(path), size == n && !memcmp(with, text, n));
        }
    }
    remove(path);
    assert_false(ls_record_is_whole(path));
}

static void lines_are_as_described(void **state)
{
    (void)state;
    lines l = {.count = 0};
    ls_record_writer *w;
    ls_error err = {0};
    const ls_record_timeline timeline = {1280, 720, 25, 1};
    const ls_track_summary summary = {1, 0, 241, 0.98, {1, 2, 3, 4.25}, 0.8125};
    /* a locale with a decimal comma, where there is one */
    char *locale = setlocale(LC_ALL, "de_DE.UTF-8");
    assert_int_equal(ls_record_writer_open_sink(&w, (ls_line_sink){keep_line, &l}, &timeline, &err),
                     0);
    assert_string_equal(l.text,
                        "{\"timeline\": {\"width\": 1280, \"height\": 720, \"fps\": \"25/1\"}}\n");
    ls_face_record rec = {.frame = 7};
    assert_int_equal(ls_record_write(w, &rec, &err), 0);
    assert_string_equal(l.text, "{\"frame\": 7}\n");
    rec = (ls_face_record){.frame = 8, .cut = true, .count = 2};
    rec.faces[0] = (ls_tracked_face){.id = 1, .face = {.score = 1, .kind = LS_FACE_POINTS5}};
    rec.faces[1] = (ls_tracked_face){.id = 4,
                                     .interpolated = true,
                                     .face = {.box = {-1.0625, 2.9996, 3.05, 1e6},
                                              .score = 0.90004,
                                              .covered = 0.456,
                                              .hidden = 1,
                                              .kind = LS_FACE_POINTS5}};
    rec.faces[0].face.points[4][1] = -0.0004;
    rec.faces[1].face.points[0][0] = 12345.0101;
    assert_int_equal(ls_record_write(w, &rec, &err), 0);
    assert_string_equal(
        l.text, "{\"frame\": 8, \"cut\": true, \"faces\": ["
                "{\"id\": 1, \"points5\": [[0,0],[0,0],[0,0],[0,0],[0,0]]}, "
                "{\"id\": 4, \"box\": [-1.063,3,3.05,1000000], \"score\": 0.9, "
                "\"covered\": 0.46, \"hidden\": true, "
                "\"points5\": [[12345.01,0],[0,0],[0,0],[0,0],[0,0]], \"interpolated\": true}]}\n");
    assert_int_equal(ls_record_write_summary(w, &summary, &err), 0);
    assert_string_equal(l.text, "{\"track\": 1, \"first\": 0, \"last\": 241, \"share\": 0.98, "
                                "\"box\": [1,2,3,4.25], \"score\": 0.8125}\n");
    if (locale)
        setlocale(LC_ALL, "C");

    /* the longest there can be is one that can be read */
    rec = (ls_face_record){.frame = LS_MAX_FRAME, .cut = true, .count = LS_MAX_FACES};
    for (size_t i = 0; i < LS_MAX_FACES; i++) {
        ls_tracked_face *f = &rec.faces[i];
        *f = (ls_tracked_face){(uint32_t)(LS_MAX_FACE_ID - i), true, {.kind = 106}};
        f->face.score = -999999.8765;
        for (size_t k = 0; k < 4; k++)
            f->face.box[k] = -999999.876;
        for (size_t k = 0; k < 106; k++)
            f->face.points[k][0] = f->face.points[k][1] = -999999.87;
    }
    assert_int_equal(ls_record_write(w, &rec, &err), 0);
    assert_in_range(l.longest, 40000, 48000);

    /* what cannot be read is not written */
    size_t before = l.count;
    assert_int_equal(ls_record_write(w, &rec, &err), LS_EINVAL);
    ls_record_writer_close(&w);
    assert_int_equal(ls_record_writer_open_sink(&w, (ls_line_sink){keep_line, &l}, NULL, &err), 0);
    for (int bad = 0; bad < 8; bad++) {
        ls_face_record b = {.frame = 1, .count = 2};
        b.faces[0] = b.faces[1] = rec.faces[0];
        b.faces[1].id = 5;
        if (bad == 0)
            b.faces[1].id = b.faces[0].id;
        if (bad == 1)
            b.faces[0].id = 0;
        if (bad == 2)
            b.faces[1].face.kind = LS_FACE_NONE;
        if (bad == 3)
            b.faces[1].face.points[105][1] = NAN;
        if (bad == 4)
            b.faces[1].face.box[3] = INFINITY;
        if (bad == 5)
            b.faces[1].face.score = NAN;
        if (bad == 6)
            b.count = LS_MAX_FACES + 1;
        if (bad == 7)
            b.frame = -1;
        assert_int_equal(ls_record_write(w, &b, &err), LS_EINVAL);
    }
    assert_int_equal(l.count, before);
    l.fail = 1;
    assert_int_equal(ls_record_write(w, &rec, &err), LS_EIO);
    assert_string_equal(err.message, "the pipe broke");
    ls_record_writer_close(&w);
}

/* Nothing is left of a file that is not finished, and what stood under its name stays. */
static void unfinished(void **state)
{
    (void)state;
    ls_record_writer *w;
    ls_error err = {0};
    ls_face_record rec;
    char text[32] = "";
    FILE *f = fopen(path, "wb");
    fputs("older", f);
    fclose(f);
    draw_record(&rec, 3, 3);
    assert_int_equal(ls_record_writer_open(&w, path, NULL, &err), 0);
    assert_int_equal(ls_record_write(w, &rec, &err), 0);
    ls_record_writer_close(&w);

    /* a full disk */
    struct rlimit limit, small;
    getrlimit(RLIMIT_FSIZE, &limit);
    small = limit;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(ls_record_writer_open(&w, path, NULL, &err), 0);
    setrlimit(RLIMIT_FSIZE, &small);
    int ret = 0;
    for (int64_t i = 0; i < 1000 && !ret; i++) {
        draw_record(&rec, i, 3);
        ret = ls_record_write(w, &rec, &err);
    }
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_true(ret < 0 && err.code == ret);
    assert_non_null(strstr(err.message, path));
    ls_record_writer_close(&w);

    f = fopen(path, "rb");
    assert_int_equal(fread(text, 1, sizeof text - 1, f), 5);
    fclose(f);
    assert_string_equal(text, "older");
    assert_int_equal(ls_record_writer_open(&w, "/nowhere/x", NULL, &err), LS_ENOENT);
    assert_null(w);
    const ls_record_timeline none = {0, 720, 25, 1};
    assert_int_equal(ls_record_writer_open(&w, path, &none, &err), LS_EINVAL);
    assert_null(w);
}

static void memory_stays_flat(void **state)
{
    (void)state;
    enum { N = 100000 };
    ls_record_writer *w;
    ls_record_reader *r;
    ls_face_record rec, got;
    ls_error err = {0};
    uint64_t start = 0;
    assert_int_equal(ls_record_writer_open(&w, path, NULL, &err), 0);
    seed = 3;
    for (int64_t i = 0; i < N; i++) {
        draw_record(&rec, 2 * i + 1, 2);
        assert_int_equal(ls_record_write(w, &rec, &err), 0);
    }
    assert_int_equal(ls_record_finish(w, &err), 0);
    ls_record_writer_close(&w);
    assert_int_equal(ls_record_reader_open(&r, path, &err), 0);
    for (int64_t i = 0; i < N; i++) {
        assert_int_equal(ls_record_read(r, &got, &err), 1);
        assert_true(got.frame == 2 * i + 1 && got.count == 2);
        if (i == 1000)
            start = ls_process_memory_now().resident;
    }
    assert_int_equal(ls_record_read(r, &got, &err), 0);
    assert_record(&rec, &got, 1e-3);
#ifdef __SANITIZE_ADDRESS__
    const uint64_t most = UINT64_C(512) << 20; /* what is freed is kept for a while */
#else
    const uint64_t most = 1 << 20;
#endif
    assert_true(ls_process_memory_now().resident < start + most);
    ls_record_reader_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(single_faces),
        cmocka_unit_test(several_faces),
        cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test_setup_teardown(round_trip, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(wholeness, make_folder, remove_folder),
        cmocka_unit_test(lines_are_as_described),
        cmocka_unit_test_setup_teardown(unfinished, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(memory_stays_flat, make_folder, remove_folder),
    };
    return cmocka_run_group_tests_name("face_record", tests, NULL, NULL);
}
