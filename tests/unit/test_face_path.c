/* Where the chosen face is, frame by frame, whatever the order of the questions. */
#include "test.h"

#include "pipeline/face_path.h"

#include <math.h>
#include <pthread.h>

#define R 256

/* A face that wanders; shift makes it another person. */
static ls_chosen_face face_at(int64_t frame, uint32_t id, bool cut)
{
    static const double five[5][2] = {{100, 100}, {140, 100}, {120, 122}, {105, 145}, {136, 145}};
    ls_chosen_face c = {.frame = frame, .id = id, .cut = cut};
    if (!id)
        return c;
    c.face.kind = LS_FACE_POINTS5;
    for (size_t i = 0; i < 5; i++) {
        c.face.points[i][0] = five[i][0] + 10 * sin((double)frame) + 200 * id;
        c.face.points[i][1] = five[i][1] + 3 * cos((double)frame * 2);
    }
    return c;
}

static ls_face_path *open_path(void)
{
    ls_face_path *p;
    ls_error err = {0};
    if (ls_face_path_open(&p, R, NULL, &err))
        fail_msg("%s", err.message);
    return p;
}

static void put(ls_face_path *p, int64_t frame, uint32_t id, bool cut)
{
    ls_error err = {0};
    ls_chosen_face c = face_at(frame, id, cut);
    if (ls_face_path_put(p, &c, &err))
        fail_msg("%s", err.message);
}

static int get(ls_face_path *p, int64_t frame, ls_placement *out)
{
    ls_error err = {0};
    int ret = ls_face_path_get(p, frame, out, &err);
    if (ret < 0)
        fail_msg("%s", err.message);
    return ret;
}

static double opacity(ls_face_path *p, int64_t frame)
{
    ls_placement at;
    return get(p, frame, &at) ? at.opacity : 0;
}

static void the_mouth_fades_at_gaps_within_a_shot(void **state)
{
    (void)state;
    ls_face_path *p = open_path();
    for (int64_t f = 0; f < 60; f++)
        put(p, f, f >= 20 && f < 40 ? 0 : 1, false);
    ls_face_path_finish(p, 60, 0);
    const double falls[] = {1, 0.8, 0.6, 0.4, 0.2, 0};
    for (int64_t i = 0; i < 6; i++) {
        assert_float_equal(opacity(p, 15 + i), falls[i], 1e-12);
        assert_float_equal(opacity(p, 44 - i), falls[i], 1e-12);
    }
    assert_float_equal(opacity(p, 0), 1, 0);
    assert_float_equal(opacity(p, 59), 1, 0);
    assert_int_equal(ls_face_path_first(p), 0);
    assert_int_equal(ls_face_path_count(p), 60);
    ls_face_path_close(&p);
}

static void it_fades_at_a_hidden_mouth_whose_crop_goes_on(void **state)
{
    (void)state;
    ls_face_path *p = open_path(), *shown = open_path();
    ls_error err;
    for (int64_t f = 0; f < 60; f++) {
        ls_chosen_face c = face_at(f, 1, false);
        assert_int_equal(ls_face_path_put(shown, &c, &err), 0);
        c.hidden = f >= 20 && f < 48 ? LS_HIDDEN_COVERED : LS_SHOWN; /* 48: a chunk begins */
        assert_int_equal(ls_face_path_put(p, &c, &err), 0);
    }
    ls_face_path_finish(p, 60, 0);
    ls_face_path_finish(shown, 60, 0);
    const double falls[] = {1, 0.8, 0.6, 0.4, 0.2, 0};
    for (int64_t i = 0; i < 6; i++) {
        assert_float_equal(opacity(p, 15 + i), falls[i], 1e-12);
        assert_float_equal(opacity(p, 52 - i), falls[i], 1e-12);
    }
    for (int64_t f = 0; f < 60; f++) {
        ls_placement a, b;
        assert_int_equal(get(shown, f, &b), 1);
        assert_int_equal(get(p, f, &a), f < 20 || f >= 48);
        assert_int_equal(a.hidden, f < 20 || f >= 48 ? LS_SHOWN : LS_HIDDEN_COVERED);
        assert_memory_equal(&a.matrix, &b.matrix, sizeof a.matrix);
    }
    ls_face_path_close(&p);
    ls_face_path_close(&shown);
}

static void nothing_fades_across_a_cut(void **state)
{
    (void)state;
    ls_face_path *p = open_path();
    for (int64_t f = 0; f < 10; f++) /* a face, cut, nobody, cut, another face */
        put(p, f, 1, false);
    for (int64_t f = 10; f < 20; f++)
        put(p, f, 0, f == 10);
    for (int64_t f = 20; f < 30; f++)
        put(p, f, 2, f == 20);
    ls_face_path_finish(p, 30, 0);
    for (int64_t f = 0; f < 30; f++)
        assert_float_equal(opacity(p, f), f >= 10 && f < 20 ? 0 : 1, 0);
    ls_face_path_close(&p);
}

static void another_face_in_the_same_shot_fades_too(void **state)
{
    (void)state;
    ls_face_path *p = open_path();
    for (int64_t f = 0; f < 20; f++)
        put(p, f, f < 10 ? 1 : 2, false);
    ls_face_path_finish(p, 20, 0);
    assert_float_equal(opacity(p, 9), 0.2, 1e-12);
    assert_float_equal(opacity(p, 10), 0.2, 1e-12);
    assert_float_equal(opacity(p, 14), 1, 0);
    ls_face_path_close(&p);
}

static void a_track_that_ends_before_the_video_fades_out(void **state)
{
    (void)state;
    for (int64_t frames = 0; frames <= 50; frames += 50) {
        ls_face_path *p = open_path();
        for (int64_t f = 0; f < 20; f++)
            put(p, f, 1, false);
        ls_face_path_finish(p, frames, 0); /* 0: nobody knows how many */
        assert_float_equal(opacity(p, 19), frames ? 0.2 : 1, 1e-12);
        assert_float_equal(opacity(p, 20), 0, 0);
        assert_float_equal(opacity(p, 1000000), 0, 0);
        ls_face_path_close(&p);
    }
}

/* What a whole run from the first frame gives. */
static void expect_run(ls_face_path *p, int64_t from, int64_t to)
{
    ls_align a = {.resolution = R};
    for (int64_t f = from; f < to; f++) {
        double points[3][2];
        ls_matrix m;
        ls_placement at;
        ls_chosen_face c = face_at(f, 1 + (from > 0), false);
        assert_true(ls_face_three_points(&c.face, points));
        ls_align_next(&a, (const double(*)[2])points, &m);
        assert_int_equal(get(p, f, &at), 1);
        assert_memory_equal(&m, &at.matrix, sizeof m);
    }
}

static void assert_same(const ls_placement *a, const ls_placement *b)
{
    assert_memory_equal(&a->matrix, &b->matrix, sizeof a->matrix);
    assert_true(a->opacity == b->opacity && a->hidden == b->hidden);
}

static void smoothing_starts_anew_at_a_cut_and_needs_no_order(void **state)
{
    (void)state;
    ls_face_path *p = open_path();
    for (int64_t f = 0; f < 300; f++)
        put(p, f, 1 + (f >= 150), f == 150);
    ls_face_path_finish(p, 300, 0);
    expect_run(p, 0, 150);
    expect_run(p, 150, 300);
    ls_placement in_order[300], at;
    for (int64_t f = 0; f < 300; f++)
        get(p, f, &in_order[f]);
    for (int64_t f = 299; f >= 0; f--) { /* backwards, and in leaps */
        get(p, f, &at);
        assert_same(&at, &in_order[f]);
        int64_t leap = f * 7919 % 300;
        get(p, leap, &at);
        assert_same(&at, &in_order[leap]);
    }
    ls_face_path_close(&p);
}

static void *put_slowly(void *opaque)
{
    for (int64_t f = 0; f < 200; f++) {
        put(opaque, f, 1, false);
        if (f % 20 == 0)
            usleep(1000);
    }
    ls_face_path_finish(opaque, 200, 0);
    return NULL;
}

static void a_question_waits_for_its_answer(void **state)
{
    (void)state;
    pthread_t t;
    ls_face_path *p = open_path();
    assert_int_equal(pthread_create(&t, NULL, put_slowly, p), 0);
    expect_run(p, 0, 200);
    pthread_join(t, NULL);
    ls_face_path_close(&p);
}

static void an_error_ends_the_waiting(void **state)
{
    (void)state;
    ls_placement at;
    ls_face_path *p = open_path();
    put(p, 0, 1, false);
    ls_face_path_finish(p, 0, LS_EIO);
    assert_int_equal(ls_face_path_get(p, 0, &at, NULL), LS_EIO);
    assert_int_equal(ls_face_path_get(p, 7, &at, NULL), LS_EIO);
    ls_face_path_close(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mouth_fades_at_gaps_within_a_shot),
        cmocka_unit_test(it_fades_at_a_hidden_mouth_whose_crop_goes_on),
        cmocka_unit_test(nothing_fades_across_a_cut),
        cmocka_unit_test(another_face_in_the_same_shot_fades_too),
        cmocka_unit_test(a_track_that_ends_before_the_video_fades_out),
        cmocka_unit_test(smoothing_starts_anew_at_a_cut_and_needs_no_order),
        cmocka_unit_test(a_question_waits_for_its_answer),
        cmocka_unit_test(an_error_ends_the_waiting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
