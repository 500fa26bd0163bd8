#include "test.h"

#include "face/pace.h"

enum { HEIGHT = 200 };

static ls_face face_at(double x)
{
    ls_face f = {.box = {x, 100, x + 160, 100 + HEIGHT}, .score = 0.9, .kind = LS_FACE_POINTS5};
    for (int i = 0; i < 5; i++) {
        f.points[i][0] = x + 30 * i;
        f.points[i][1] = 180;
    }
    return f;
}

/* Examines `frames` frames of a face that moves so much a frame; returns how many are examined, and
 * the last distance between two of them. */
static size_t examine(ls_pace *p, int64_t from, size_t frames, double speed, int64_t *distance)
{
    size_t examined = 0;
    for (int64_t i = from; i < from + (int64_t)frames; i++) {
        const ls_face f = face_at(300 + speed * (double)(i - from));
        if (!ls_pace_is_due(p, i, false))
            continue;
        *distance = i - p->last;
        ls_pace_take(p, i, false, &f, 1, 80);
        examined++;
    }
    return examined;
}

static void faces_that_move_are_looked_at_more_often(void **state)
{
    (void)state;
    const struct {
        double speed;
        int64_t distance;
    } cases[] = {{0, LS_PACE_MOST},
                 {LS_PACE_MOTION * HEIGHT / 3.5, 3},
                 {LS_PACE_MOTION * HEIGHT / 2.5, 2},
                 {LS_PACE_MOTION * HEIGHT * 1.1, 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_pace p = {0};
        int64_t distance = 0;
        const size_t n = examine(&p, 0, 100, cases[i].speed, &distance);
        assert_int_equal(distance, cases[i].distance);
        assert_in_range(n, 100 / (size_t)distance, 100 / (size_t)distance + 4);
    }
}

static void what_comes_goes_or_is_cut_is_looked_at_at_once(void **state)
{
    (void)state;
    ls_pace p = {0};
    int64_t distance;
    const ls_face two[] = {face_at(300), face_at(700)}, small = {.box = {0, 0, 20, 30}};
    examine(&p, 0, 50, 0, &distance);
    assert_false(ls_pace_is_due(&p, p.last + 1, false));
    assert_true(ls_pace_is_due(&p, p.last + 1, true)); // a cut
    ls_pace_take(&p, p.due, false, two, 2, 80);
    assert_int_equal(p.due, p.last + 1); // one has come
    ls_pace_take(&p, p.due, false, two, 2, 80);
    assert_int_equal(p.due, p.last + 2);
    ls_pace_take(&p, p.due, false, &small, 1, 80); // both are gone
    assert_int_equal(p.due, p.last + 1);
    ls_pace_take(&p, p.due, false, NULL, 0, 80); // a face that is too small is none
    assert_int_equal(p.due, p.last + 2);
    ls_pace_take(&p, p.due, true, two, 2, 80);
    assert_int_equal(p.due, p.last + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(faces_that_move_are_looked_at_more_often),
        cmocka_unit_test(what_comes_goes_or_is_cut_is_looked_at_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
