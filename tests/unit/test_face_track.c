#include "test.h"

#include "face/track.h"

static char path[64];

static FILE *create(void)
{
    strcpy(path, "/tmp/ls_track_XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    return fdopen(fd, "wb");
}

static int remove_file(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

static ls_track *open_text(const char *text, size_t n, ls_error *err)
{
    FILE *f = create();
    fwrite(text, 1, n, f);
    fclose(f);
    ls_track *t;
    int ret = ls_track_open(&t, path, err);
    assert_true(!ret == !!t);
    unlink(path);
    return t;
}

static void formats(void **state)
{
    (void)state;
    char text[8192];
    size_t n = (size_t)snprintf(
        text, sizeof(text),
        "{\"frame\": 3, \"box\": [1, 2.5, 3, 4], \"score\": 0.75, \"points5\": [[1,2],[3,4],[5,6],"
        "[7,8],[-9.5,1e1]], \"id\": {\"a\": [null]}}\r\n"
        "\n  \t \r\n"
        "{\"frame\": 5}\n"
        "{\"frame\": 6, \"points5\": null, \"score\": null, \"box\": null}\n"
        "{\"frame\": 8, \"points5\": [[1,2],[3,4],[5,6],[7,8],[9,10]], \"landmarks106\": [");
    for (int i = 0; i < 106; i++)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s[%d.5, %d]", i ? "," : "", i, 2 * i);
    n += (size_t)snprintf(text + n, sizeof(text) - n, "]}"); /* no newline at the end */
    ls_error err = {0};
    ls_track *t = open_text(text, n, &err);
    assert_non_null(t);
    ls_track_info info = ls_track_get_info(t);
    assert_true(info.lines == 4 && info.faces == 2);
    assert_true(info.first_frame == 3 && info.last_frame == 8);
    ls_face f;
    assert_int_equal(ls_track_get(t, 3, &f, &err), 1);
    assert_true(f.kind == LS_FACE_POINTS5 && f.score == 0.75 && f.box[1] == 2.5 && f.box[3] == 4);
    assert_true(f.points[4][0] == -9.5 && f.points[4][1] == 10);
    assert_int_equal(ls_track_get(t, 8, &f, &err), 1);
    assert_true(f.kind == LS_FACE_LANDMARKS106 && f.score == 1 && f.box[2] == 0);
    assert_true(f.points[0][0] == 0.5 && f.points[105][0] == 105.5 && f.points[105][1] == 210);
    for (int64_t i = -2; i < 12; i++)
        assert_int_equal(ls_track_get(t, i, &f, &err), i == 3 || i == 8);
    assert_int_equal(ls_track_get(t, INT64_MAX, &f, &err), 0);
    assert_int_equal(ls_track_get(t, INT64_MIN, &f, &err), 0);
    assert_int_equal(f.kind, LS_FACE_NONE);
    ls_track_close(&t);
    ls_track_close(&t);
}

static void nothing_in_it(void **state)
{
    (void)state;
    const char *empty[] = {"", "\n\r\n \n"};
    for (size_t i = 0; i < 2; i++) {
        ls_track *t = open_text(empty[i], strlen(empty[i]), NULL);
        assert_non_null(t);
        ls_face f;
        assert_int_equal(ls_track_get(t, 0, &f, NULL), 0);
        assert_int_equal(ls_track_get(t, -1, &f, NULL), 0);
        assert_int_equal(ls_track_get_info(t).last_frame, -1);
        ls_track_close(&t);
    }
}

static void mistakes_are_named(void **state)
{
    (void)state;
#define P4 "[1,2],[3,4],[5,6],[7,8]"
#define OK "{\"frame\": 1}\n\n"
    static const struct {
        const char *text, *message;
    } cases[] = {
        {OK "{\"frame\": 2", "line 3, column"},
        {OK "frame 2", "not JSON"},
        {OK "[1, 2]", "line 3: not a JSON object"},
        {"7", "line 1: not a JSON object"},
        {"null", "not a JSON object"},
        {OK "{}", "line 3: \"frame\" must be a whole number"},
        {OK "{\"frame\": 2.5}", "\"frame\" must be"},
        {OK "{\"frame\": \"2\"}", "\"frame\" must be"},
        {OK "{\"frame\": -2}", "\"frame\" must be"},
        {OK "{\"frame\": 1e3}", "\"frame\" must be"},
        {OK "{\"frame\": 99999999999999999999}", "too big integer"},
        {OK "{\"frame\": 1}", "line 3: frame 1 after frame 1; frames must increase"},
        {OK "{\"frame\": 0}", "frame 0 after frame 1"},
        {OK "{\"frame\": 2, \"frame\": 3}", "duplicate"},
        {OK "{\"frame\": 2, \"points5\": [" P4 "]}", "line 3: \"points5\" must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,2],[3,4]]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1]]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,2,3]]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,null]]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,\"2\"]]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",9]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [1,2,3,4,5,6,7,8,9,10]}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": {}}", "must be 5 points"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,NaN]]}", "not JSON"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,-Infinity]]}", "not JSON"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,1e999]]}", "overflow"},
        {OK "{\"frame\": 2, \"points5\": [" P4 ",[1,-1e7]]}", "beyond a million"},
        {OK "{\"frame\": 2, \"landmarks106\": [" P4 "]}", "must be 106 points"},
        {OK "{\"frame\": 2, \"box\": [1,2,3]}", "\"box\" must be 4 numbers"},
        {OK "{\"frame\": 2, \"box\": 5}", "\"box\" must be 4 numbers"},
        {OK "{\"frame\": 2, \"box\": [1,2,3,1e30]}", "beyond a million"},
        {OK "{\"frame\": 2, \"score\": \"high\"}", "\"score\" must be a number"},
        {OK "{\"frame\": 2} {\"frame\": 3}", "end of file expected"},
        {OK "{\"frame\": 2, \"a\": \"\xff\"}", "unable to decode byte"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ls_error err = {0};
        ls_track *t = open_text(cases[i].text, strlen(cases[i].text), &err);
        if (t || err.code != LS_EFORMAT || !strstr(err.message, cases[i].message) ||
            !strstr(err.message, path) || !strstr(err.message, ", line "))
            fail_msg("%s gives: %s", cases[i].text, err.message);
    }
    ls_error err = {0};
    assert_null(open_text("{\"frame\": 1}\0", 13, &err));
    assert_non_null(strstr(err.message, "line 1"));

    /* a line as long as allowed, and one longer; deep nesting */
    char *line = malloc(LS_TRACK_MAX_LINE + 2);
    for (size_t more = 0; more < 2; more++) {
        size_t n = LS_TRACK_MAX_LINE + more;
        memset(line, ' ', n);
        memcpy(line, "{\"frame\": 0", 11);
        line[n - 1] = '}';
        ls_track *t = open_text(line, n, &err);
        assert_int_equal(!t, more);
        ls_track_close(&t);
    }
    assert_non_null(strstr(err.message, "longer than 65536 bytes"));
    memset(line, '[', LS_TRACK_MAX_LINE);
    assert_null(open_text(line, LS_TRACK_MAX_LINE, &err));
    free(line);

    ls_track *t;
    assert_int_equal(ls_track_open(&t, "/nowhere/track.jsonl", &err), LS_ENOENT);
    assert_non_null(strstr(err.message, "/nowhere/track.jsonl"));
    assert_int_equal(ls_track_open(&t, "/tmp", &err), LS_EIO);
    assert_null(t);
}

/* Frame i of the large file: listed, with a face, and where. */
static bool listed(int64_t i)
{
    return i % 1000 < 900;
}
static bool has_face(int64_t i)
{
    return listed(i) && i % 7 != 3;
}

static void check_frame(ls_track *t, int64_t i)
{
    ls_face f;
    ls_error err = {0};
    int ret = ls_track_get(t, i, &f, &err);
    if (ret != has_face(i) || (ret && f.points[4][1] != (double)(i % 5000) + 0.25))
        fail_msg("frame %lld: %d, %f, %s", (long long)i, ret, f.points[4][1], err.message);
}

/* Longer than the index holds at its finest. In order, backwards, back and forth, at random. */
static void any_order(void **state)
{
    (void)state;
    enum { N = 330000 };
    FILE *file = create();
    for (int64_t i = 0; i < N; i++) {
        if (!listed(i))
            continue;
        fprintf(file, "{\"frame\": %lld", (long long)i);
        if (has_face(i))
            fprintf(file, ", \"points5\": [[1,2],[3,4],[5,6],[7,8],[9,%lld.25]]",
                    (long long)(i % 5000));
        fprintf(file, i % 11 ? "}\n" : "}\r\n\n");
    }
    fclose(file);
    ls_track *t;
    assert_int_equal(ls_track_open(&t, path, NULL), 0);
    assert_int_equal(ls_track_get_info(t).lines, N / 10 * 9);
    for (int64_t i = 0; i < 5000; i++)
        check_frame(t, i);
    for (int64_t i = 5000; i-- > 0;)
        check_frame(t, i);
    for (int64_t i = N + 100; i > N - 5000; i--)
        check_frame(t, i < N ? i : 900);
    for (int64_t i = N - 3000; i < N - 2000; i++)
        check_frame(t, i);
    uint64_t seed = 7;
    for (int i = 0; i < 300; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        check_frame(t, (int64_t)(seed >> 33) % N);
    }
    /* shortened while open: an error, not a face that is not there */
    assert_int_equal(truncate(path, 1000), 0);
    ls_error err = {0};
    ls_face f;
    assert_true(ls_track_get(t, 100000, &f, &err) < 0);
    assert_non_null(strstr(err.message, path));
    ls_track_close(&t);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats),
        cmocka_unit_test(nothing_in_it),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test_teardown(any_order, remove_file),
    };
    return cmocka_run_group_tests_name("face_track", tests, NULL, NULL);
}
