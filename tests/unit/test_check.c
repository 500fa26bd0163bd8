/* Lips and sound: the lag of made-up series, the opening of made-up mouths. */
#include "base/alloc.h"
#include "face/mouth.h"
#include "pipeline/check_sound.h"
#include "pipeline/lag.h"
#include "test.h"

#include <math.h>
#include <string.h>

#define N 250
#define LONG (N + 2 * LS_LAG_MOST)

/* Noise that remembers, as speech does; another for each seed. */
static void make_series(double *x, size_t n, uint32_t seed)
{
    double v = 0;
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525 + 1013904223;
        v = 0.7 * v + (seed >> 8) / 8388608.0 - 1;
        x[i] = v;
    }
}

static void finds_every_lag(void **state)
{
    (void)state;
    double sound[LONG], lips[N], noise[N];
    make_series(sound, LONG, 1);
    make_series(noise, N, 2);
    for (int lag = 1 - LS_LAG_MOST; lag < LS_LAG_MOST; lag++) {
        ls_lag_sum sum = {0};
        for (int i = 0; i < N; i++)
            lips[i] = i % 7 ? 3 - 2 * noise[i] + 2.5 * sound[i + LS_LAG_MOST + lag] : NAN;
        ls_lag_correlate(&sum, lips, sound, N);
        const ls_lag found = ls_lag_of_correlation(&sum);
        assert_true(found.is_clear);
        assert_true(fabs(found.frames - lag) < 0.5);
        assert_true(found.confidence > 5);
    }
}

static void finds_a_lag_between_frames(void **state)
{
    (void)state;
    double sound[LONG], lips[N];
    ls_lag_sum sum = {0};
    for (int i = 0; i < LONG; i++)
        sound[i] = sin(i * 0.31) + sin(i * 0.43);
    for (int i = 0; i < N; i++) {
        const double at = i + LS_LAG_MOST - 3.4;
        lips[i] = sin(at * 0.31) + sin(at * 0.43);
    }
    ls_lag_correlate(&sum, lips, sound, N);
    assert_true(fabs(ls_lag_of_correlation(&sum).frames + 3.4) < 0.1);
}

/* What is told apart by chance must stay below the command's limit, 4.5. */
static void trusts_no_chance(void **state)
{
    (void)state;
    double sound[LONG], lips[N], highest = 0;
    for (uint32_t seed = 0; seed < 200; seed++) {
        ls_lag_sum sum = {0};
        make_series(lips, N, 1000 + seed);
        make_series(sound, LONG, 5000 + seed);
        ls_lag_correlate(&sum, lips, sound, N);
        highest = fmax(highest, ls_lag_of_correlation(&sum).confidence);
    }
    assert_true(highest > 2); // the best of 31 is always above 1 or so
    assert_true(highest < 4.5);
}

static void has_no_confidence_without_change(void **state)
{
    (void)state;
    double sound[LONG], lips[N], silence[LONG], nothing[LONG];
    make_series(sound, LONG, 1);
    for (int i = 0; i < LONG; i++) {
        silence[i] = -1.5;
        nothing[i] = NAN;
    }
    for (int i = 0; i < N; i++)
        lips[i] = 0.25;
    ls_lag_sum sum = {0};
    ls_lag_correlate(&sum, lips, sound, N);
    ls_lag_correlate(&sum, sound, silence, N);
    ls_lag_correlate(&sum, sound, nothing, N);
    ls_lag_correlate(&sum, sound + LS_LAG_MOST, sound, LS_LAG_LEAST - 1);
    assert_true(sum.frames == 0 && ls_lag_of_correlation(&sum).confidence == 0);
}

static void the_end_of_the_range_is_not_inside(void **state)
{
    (void)state;
    double sound[LONG], lips[N];
    ls_lag_sum sum = {0};
    make_series(sound, LONG, 1);
    memcpy(lips, sound, sizeof lips); // the sound is 15 frames early
    ls_lag_correlate(&sum, lips, sound, N);
    const ls_lag found = ls_lag_of_correlation(&sum);
    assert_true(found.frames == -LS_LAG_MOST && !found.is_clear);
}

/* Two stretches that are half as sure of the same lag are together surer than either. */
static void stretches_add_up(void **state)
{
    (void)state;
    double sound[LONG], lips[N], noise[N];
    ls_lag_sum whole = {0};
    double best = 0;
    for (uint32_t k = 0; k < 4; k++) {
        ls_lag_sum sum = {0};
        make_series(sound, LONG, 11 + k);
        make_series(noise, N, 21 + k);
        for (int i = 0; i < N; i++)
            lips[i] = 2 * noise[i] + sound[i + LS_LAG_MOST + 4];
        ls_lag_correlate(&sum, lips, sound, N);
        best = fmax(best, ls_lag_of_correlation(&sum).confidence);
        ls_lag_add(&whole, &sum);
    }
    const ls_lag found = ls_lag_of_correlation(&whole);
    assert_true(fabs(found.frames - 4) < 0.5);
    assert_true(found.confidence > best);
}

#define WINDOWS 200

typedef struct listener {
    int heard[WINDOWS + LS_LAGS], fails_at;
} listener;

/* Embeddings that say which window they are of. */
static int hear(void *opaque, int64_t window, float *embedding, const ls_cancel *cancel,
                ls_error *err)
{
    (void)cancel;
    listener *l = opaque;
    if (window == l->fails_at)
        return ls_fail(err, LS_EFORMAT, "damaged");
    l->heard[window + LS_LAG_MOST]++;
    embedding[0] = (float)window;
    embedding[1] = (float)(window * window);
    return 0;
}

static double distance(const float *lips, const float *sound, size_t width)
{
    double d = 0;
    for (size_t i = 0; i < width; i++)
        d += fabs((double)lips[i] - (double)sound[i]);
    return d;
}

static void every_window_is_compared_with_its_neighbours(void **state)
{
    (void)state;
    static const int64_t windows[] = {0, 4, 8, 9, 40, 140, 144}; // with gaps
    listener l = {.fails_at = WINDOWS};
    ls_check_sound sound = {.hear = hear, .distance = distance, .opaque = &l, .width = 2};
    ls_error err;
    assert_int_equal(ls_check_sound_open(&sound, &err), 0);
    for (size_t i = 0; i < LS_COUNT(windows); i++) {
        const int64_t w = windows[i];
        const float lips[] = {(float)w, (float)(w * w)};
        ls_lag_sum sum = {0}, want = {0};
        double distances[LS_LAGS];
        assert_int_equal(ls_check_sound_compare(&sound, w, lips, &sum, NULL, &err), 0);
        for (int64_t k = 0; k < LS_LAGS; k++) {
            const int64_t other = w + k - LS_LAG_MOST;
            distances[k] = fabs((double)(w - other)) + fabs((double)(w * w - other * other));
        }
        ls_lag_add_distances(&want, distances);
        assert_memory_equal(&sum, &want, sizeof sum);
    }
    for (int64_t w = -LS_LAG_MOST; w < WINDOWS; w++) {
        int needed = 0;
        for (size_t i = 0; i < LS_COUNT(windows); i++)
            needed |= w >= windows[i] - LS_LAG_MOST && w <= windows[i] + LS_LAG_MOST;
        assert_int_equal(l.heard[w + LS_LAG_MOST], needed); // once
    }
    const float lips[2] = {0};
    ls_lag_sum sum = {0};
    l.fails_at = 160;
    assert_int_equal(ls_check_sound_compare(&sound, 148, lips, &sum, NULL, &err), LS_EFORMAT);
    assert_true(sum.frames == 0);
    ls_check_sound_close(&sound);
}

/* A face of one colour with a dark ellipse for a mouth. */
static double opening_of(uint8_t skin, int half_height)
{
    static uint8_t face[LS_MOUTH_RESOLUTION * LS_MOUTH_RESOLUTION * 3];
    memset(face, skin, sizeof face);
    for (int y = -half_height; y <= half_height; y++)
        for (int x = -16; x <= 16; x++)
            if (half_height &&
                x * x * half_height * half_height + y * y * 256 <= 256 * half_height * half_height)
                memset(face + ((88 + y) * LS_MOUTH_RESOLUTION + 64 + x) * 3, skin / 8, 3);
    return ls_mouth_opening(face);
}

static void the_opening_grows_with_the_mouth(void **state)
{
    (void)state;
    for (int skin = 40; skin <= 240; skin += 100) {
        const double closed = opening_of((uint8_t)skin, 0), open = opening_of((uint8_t)skin, 6);
        assert_true(closed < 0.01 && opening_of((uint8_t)skin, 1) > closed + 0.1);
        assert_true(fabs(open - 0.875) < 0.02); // whatever the skin
    }
    static const uint8_t black[LS_MOUTH_RESOLUTION * LS_MOUTH_RESOLUTION * 3];
    assert_true(isfinite(ls_mouth_opening(black)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_lag),
        cmocka_unit_test(finds_a_lag_between_frames),
        cmocka_unit_test(trusts_no_chance),
        cmocka_unit_test(has_no_confidence_without_change),
        cmocka_unit_test(the_end_of_the_range_is_not_inside),
        cmocka_unit_test(stretches_add_up),
        cmocka_unit_test(every_window_is_compared_with_its_neighbours),
        cmocka_unit_test(the_opening_grows_with_the_mouth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
