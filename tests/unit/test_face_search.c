/* Which views of a frame are looked at, and what they give, with a detector that follows a script.
 */
#include "test.h"

#include "face/search.h"

#define SIDE 400

/* What a detector finds in one frame: heights of faces, in the order of their columns. */
typedef struct script {
    double plain[2], border[2]; /* 0: none */
    size_t looks[2];            /* counted by view */
} script;

static ls_face face_of(double x, double height)
{
    return (ls_face){.box = {x, 10, x + height * 0.75, 10 + height}, .score = 0.8, .kind = 5};
}

static int find(void *opaque, bool border, ls_face *faces, size_t max, size_t *count, ls_error *err)
{
    script *s = opaque;
    (void)err;
    assert_int_equal(max, LS_MAX_FACES);
    s->looks[border]++;
    *count = 0;
    for (size_t i = 0; i < 2; i++)
        if ((border ? s->border : s->plain)[i] > 0)
            faces[(*count)++] = face_of(i ? 250 : 5, (border ? s->border : s->plain)[i]);
    return 0;
}

/* Looks at `frames` frames that are alike, the first a cut if `cut`; faces of the last. */
static size_t look(ls_search *s, script *detector, size_t frames, bool cut, ls_face *faces)
{
    const ls_views v = {find, detector, SIDE, 80};
    size_t count = 0;
    detector->looks[0] = detector->looks[1] = 0;
    for (size_t i = 0; i < frames; i++)
        assert_int_equal(ls_search_frame(s, &v, cut && !i, faces, &count, NULL), 0);
    return count;
}

static void ordinary_faces_need_one_look(void **state)
{
    (void)state;
    ls_search s = {0};
    ls_face f[LS_MAX_FACES];
    script d = {.plain = {180, 100}, .border = {180}};
    assert_int_equal(look(&s, &d, 1000, true, f), 2);
    assert_int_equal(d.looks[0], 1000);
    assert_int_equal(d.looks[1], 0);
    d.plain[0] = 0; /* one goes, which was not large */
    assert_int_equal(look(&s, &d, 100, false, f), 1);
    assert_int_equal(d.looks[1], 0);
}

static void no_face_costs_an_eighth_more(void **state)
{
    (void)state;
    ls_search s = {0};
    ls_face f[LS_MAX_FACES];
    script d = {.plain = {60}}; /* too small to count */
    assert_int_equal(look(&s, &d, 800, false, f), 1);
    assert_int_equal(d.looks[0], 800);
    assert_int_equal(d.looks[1], 100);
    /* after a small face the first of eight, so that its return is waited for */
    d = (script){.plain = {120}};
    look(&s, &d, 1, false, f);
    d = (script){0};
    assert_int_equal(look(&s, &d, 7, false, f), 0);
    assert_int_equal(d.looks[1], 0);
    look(&s, &d, 1, false, f);
    assert_int_equal(d.looks[1], 1);
}

static void a_face_too_large_is_found_at_once(void **state)
{
    (void)state;
    ls_search s = {0};
    ls_face f[LS_MAX_FACES];
    script d = {.border = {330}};
    assert_int_equal(look(&s, &d, 100, false, f), 1);
    assert_true(f[0].box[3] - f[0].box[1] == 330);
    assert_int_equal(d.looks[0], 1);
    assert_int_equal(d.looks[1], 100);
    /* it leaves, and the next shot has another */
    d = (script){.plain = {120}};
    assert_int_equal(look(&s, &d, 10, false, f), 1);
    assert_true(f[0].box[3] - f[0].box[1] == 120);
    assert_int_equal(d.looks[0], 10);
    assert_int_equal(d.looks[1], 1);
    d = (script){.border = {350}};
    assert_int_equal(look(&s, &d, 1, true, f), 1);
    assert_int_equal(d.looks[1], 1);
}

static void a_face_that_grows_is_kept(void **state)
{
    (void)state;
    ls_search s = {0};
    ls_face f[LS_MAX_FACES];
    script d = {.plain = {260}, .border = {265}};
    look(&s, &d, 10, false, f);
    assert_true(f[0].box[3] == 270);
    assert_int_equal(d.looks[1], 0);
    d = (script){.plain = {285}, .border = {300}}; /* the plain view is at its limit */
    assert_int_equal(look(&s, &d, 10, false, f), 1);
    assert_true(f[0].box[3] == 310);
    assert_int_equal(d.looks[0], 1);
    /* beside one that the plain view still shows */
    s = (ls_search){0};
    d = (script){.plain = {260, 100}};
    look(&s, &d, 5, false, f);
    d = (script){.plain = {0, 100}, .border = {300}};
    assert_int_equal(look(&s, &d, 1, false, f), 2);
    assert_true(f[0].box[3] == 110 && f[1].box[3] == 310);
    assert_int_equal(look(&s, &d, 5, false, f), 2);
    assert_int_equal(d.looks[0], 5);
    assert_int_equal(d.looks[1], 5);
}

static void a_border_shows_no_small_faces(void **state)
{
    (void)state;
    ls_search s = {0};
    ls_face f[LS_MAX_FACES];
    script d = {.border = {190, 120}};
    assert_int_equal(look(&s, &d, 100, false, f), 0);
    assert_int_equal(d.looks[1], 13);
}

static void parts_of_a_face_are_not_faces(void **state)
{
    (void)state;
    ls_search s = {0};
    ls_face f[LS_MAX_FACES];
    script d = {.plain = {282}, .border = {380}}; /* as of a face that is larger than the picture */
    assert_int_equal(look(&s, &d, 1, false, f), 1);
    assert_true(f[0].box[3] == 390);
}

static int fails(void *opaque, bool border, ls_face *faces, size_t max, size_t *count,
                 ls_error *err)
{
    (void)faces;
    (void)max;
    *count = 0;
    return border == *(bool *)opaque ? ls_fail(err, LS_ENOMEM, "no") : 0;
}

static void errors_end_it(void **state)
{
    (void)state;
    for (int border = 0; border < 2; border++) {
        ls_search s = {0};
        ls_face f[LS_MAX_FACES];
        ls_error err = {0};
        size_t count;
        bool which = border;
        const ls_views v = {fails, &which, SIDE, 80};
        assert_int_equal(ls_search_frame(&s, &v, false, f, &count, &err), LS_ENOMEM);
        assert_string_equal(err.message, "no");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ordinary_faces_need_one_look),
        cmocka_unit_test(no_face_costs_an_eighth_more),
        cmocka_unit_test(a_face_too_large_is_found_at_once),
        cmocka_unit_test(a_face_that_grows_is_kept),
        cmocka_unit_test(a_border_shows_no_small_faces),
        cmocka_unit_test(parts_of_a_face_are_not_faces),
        cmocka_unit_test(errors_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
