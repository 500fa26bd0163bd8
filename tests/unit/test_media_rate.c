/* The rate conversion and the packet clock by themselves: times in, frame numbers out. */
#include "test.h"

#include "media/timeline.h"
#include "media/times.h"

#include <libavutil/avutil.h>
#include <string.h>

#define NONE AV_NOPTS_VALUE
#define MAX_FRAMES 16

typedef struct rate_case {
    const char *name;
    AVRational source; /* frames/s; {0} for unknown */
    bool alone;
    int64_t duration; /* of every frame, ms */
    int64_t pts[MAX_FRAMES];
    int frames;
    const char *emitted; /* the decoded frame, from 'a', that each frame of the timeline is */
} rate_case;

/* As a decoder would call it; a timeline at 25 frames/s, times in ms. */
static void emit(char *to, const rate_case *c)
{
    const ls_stream_times s = {
        .rate = {25, 1}, .source_rate = c->source, .time_base = {1, 1000}, .alone = c->alone};
    ls_timeline t = ls_timeline_start;
    char last = 0;
    for (int i = 0; i <= c->frames; i++) {
        ls_emission e = {.last = ls_timeline_end(&t)};
        if (i < c->frames)
            e = ls_timeline_place(&t, &s, c->pts[i], c->duration, last);
        for (; e.last > 0; e.last--, ls_timeline_count(&t))
            *to++ = last;
        for (; e.current > 0; e.current--, ls_timeline_count(&t))
            *to++ = (char)('a' + i);
        if (!e.ignore)
            last = (char)('a' + i);
    }
    *to = 0;
}

static void frames_are_dropped_and_repeated(void **state)
{
    (void)state;
    static const rate_case cases[] = {
        {"the same rate", {25, 1}, true, 40, {0, 40, 80, 120}, 4, "abcd"},
        {"half the rate", {25, 2}, true, 80, {0, 80, 160, 240}, 4, "aabbccdd"},
        {"twice the rate",
         {50, 1},
         true,
         20,
         {0, 20, 40, 60, 80, 100, 120, 140, 160, 180},
         10,
         "abcdfhj"},
        {"30 frames/s",
         {30, 1},
         true,
         33,
         {0, 33, 67, 100, 133, 167, 200, 233, 267, 300, 333, 367, 400, 433, 467, 500},
         16,
         "abcdefghijklmop"},
        {"24 frames/s",
         {24, 1},
         true,
         42,
         {0, 42, 83, 125, 167, 208, 250, 292, 333, 375, 417, 458, 500, 542, 583, 625},
         16,
         "abcdefghijklmmnop"},
        {"a gap", {25, 1}, true, 40, {0, 40, 280, 320}, 4, "abbbbbccd"},
        {"a gap, durations unknown", {0, 1}, true, 0, {0, 40, 280, 320}, 4, "abbbbbcd"},
        {"a late start of the only stream", {25, 1}, true, 40, {400, 440, 480}, 3, "abc"},
        {"a late start beside audio", {25, 1}, false, 40, {400, 440, 480}, 3, "aaaaaaaaaaabc"},
        {"times unknown", {25, 1}, true, 40, {NONE, NONE, NONE}, 3, "abc"},
        {"a step back", {25, 1}, true, 40, {0, 40, 0, 40, 80, 120}, 6, "abcdef"},
        {"a gap beyond reason", {25, 1}, true, 40, {0, 40, 3000000000, 80, 120}, 5, "abde"},
        {"gaps to the end", {25, 1}, true, 40, {0, 120, 240, 360}, 4, "aabbbcccddd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char emitted[256];
        emit(emitted, &cases[i]);
        if (strcmp(emitted, cases[i].emitted))
            fail_msg("%s: %s instead of %s", cases[i].name, emitted, cases[i].emitted);
    }
}

static void only_rising_times_are_unique(void **state)
{
    (void)state;
    static const int64_t pts[] = {0, 40, 80, 40, 80, 120, NONE, 4000000000, 200};
    static const bool unique[] = {true, true, true, false, false, true, true, false, false};
    const ls_stream_times s = {.rate = {25, 1}, .source_rate = {25, 1}, .time_base = {1, 1000}};
    ls_timeline t = ls_timeline_start;
    for (size_t i = 0; i < sizeof pts / sizeof *pts; i++) {
        ls_timeline_place(&t, &s, pts[i], 40, i);
        assert_int_equal(t.unique, unique[i]);
    }
    assert_int_equal(t.previous_pts, 200);
    assert_int_equal(t.highest_pts, 4000000000);
}

/* Any state that a file could lead to, and any times, give counts that are not negative. */
static void extreme_times_are_harmless(void **state)
{
    (void)state;
    static const int64_t times[] = {INT64_MIN + 1, -1, 0, 1, INT64_MAX - 1, INT64_MAX, NONE};
    const size_t n = sizeof times / sizeof *times;
    for (size_t k = 0; k < n * n * n; k++) {
        const ls_stream_times s = {.rate = {25, 1},
                                   .source_rate = {k % 2 ? 1000 : 0, 1},
                                   .time_base = {1, k % 3 ? 90000 : INT32_MAX},
                                   .start = times[k % n] == NONE ? 0 : times[k % n],
                                   .alone = k % 2};
        ls_timeline t = ls_timeline_start;
        for (size_t i = 0; i < 3; i++) {
            const int64_t at = times[(i == 0 ? k : i == 1 ? k / n : k / n / n) % n];
            const ls_emission e = ls_timeline_place(&t, &s, at, k % 5 ? 0 : 1, i);
            assert_true(e.last >= 0 && e.current >= 0 && e.last + e.current <= 3600 * 30 * 30);
        }
        assert_true(ls_timeline_end(&t) >= 0);
    }
}

static void clocks_are_mended(void **state)
{
    (void)state;
    enum { N = 6 };
    static const struct {
        bool discontinuous;
        int64_t in[N], out[N];
        int jumps;
    } cases[] = {
        /* a transport stream that jumps ahead, and one that starts again: 1 s packets in ms */
        {true, {0, 1000, 60000, 61000, 62000, 63000}, {0, 1000, 2000, 3000, 4000, 5000}, 1},
        {true, {5000, 6000, 0, 1000, 2000, 3000}, {5000, 6000, 7000, 8000, 9000, 10000}, 1},
        /* within ten seconds it is a pause */
        {true, {0, 1000, 9000, 10000, 11000, 12000}, {0, 1000, 9000, 10000, 11000, 12000}, 0},
        /* other files: only beyond thirty hours */
        {false, {0, 1000, 60000, 61000, 62000, 63000}, {0, 1000, 60000, 61000, 62000, 63000}, 0},
        {false, {0, 1000, 200000000, 3000, 4000, 5000}, {0, 1000, 2000, 3000, 4000, 5000}, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ls_stream_times s = {
            .source_rate = {1, 1}, .time_base = {1, 1000}, .discontinuous = cases[i].discontinuous};
        ls_packet_clock c = {.next_dts = NONE};
        int jumps = 0;
        for (int k = 0; k < N; k++) {
            AVPacket p = {.pts = cases[i].in[k], .dts = cases[i].in[k]};
            jumps += ls_packet_clock_mend(&c, &s, &p);
            assert_int_equal(p.dts, cases[i].out[k]);
            if (p.pts != NONE) // dropped where nothing tells it
                assert_int_equal(p.pts, cases[i].out[k]);
        }
        assert_int_equal(jumps, cases[i].jumps);
    }
}

/* Times by their kind; what varies is then asked for forwards and backwards, against a plain list.
 */
static void times_are_judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        AVRational rate;
        int64_t pts[MAX_FRAMES];
        int frames;
        ls_times_kind kind;
    } cases[] = {
        {"constant", {25, 1}, {0, 40, 80, 120, 160}, 5, LS_TIMES_CONSTANT},
        {"in decoding order", {25, 1}, {500, 620, 540, 580, 660}, 5, LS_TIMES_CONSTANT},
        {"rounded to ms", {30000, 1001}, {0, 33, 67, 100, 133, 167}, 6, LS_TIMES_CONSTANT},
        {"one", {25, 1}, {80}, 1, LS_TIMES_CONSTANT},
        {"a hole", {25, 1}, {0, 40, 160, 200}, 4, LS_TIMES_VARY},
        {"a base rate", {120, 1}, {0, 33, 67, 108, 133}, 5, LS_TIMES_VARY},
        {"a drift", {25, 1}, {0, 44, 88, 132, 176, 220, 264}, 7, LS_TIMES_VARY},
        {"no rate", {0, 0}, {0, 40, 80}, 3, LS_TIMES_VARY},
        {"reordered", {30, 1}, {100, 250, 133, 190, 400, 300}, 6, LS_TIMES_VARY},
        {"repeated", {25, 1}, {0, 40, 40, 80}, 4, LS_TIMES_UNUSABLE},
        {"unknown", {25, 1}, {0, NONE, 80}, 3, LS_TIMES_UNUSABLE},
        {"extreme", {25, 1}, {INT64_MAX - 1, INT64_MIN + 1, 0}, 3, LS_TIMES_UNUSABLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ls_stream_times s = {
            .source_rate = cases[i].rate, .time_base = {1, 1000}, .alone = true};
        ls_times *t;
        ls_times_kind kind;
        assert_int_equal(
            ls_times_make(&t, &kind, cases[i].pts, (size_t)cases[i].frames, 0, &s, NULL), 0);
        if (kind != cases[i].kind || !t != (kind != LS_TIMES_VARY))
            fail_msg("%s: %d instead of %d", cases[i].name, kind, cases[i].kind);
        ls_times_close(&t);
    }
}

/* Of frames 0 to 5 some are not decoded, twice, or not known; the one before takes their places. */
static void missing_frames_are_replaced(void **state)
{
    (void)state;
    static const int64_t index[] = {1, 2, -1, 2, 5};
    static const char want[] = "aabdde";
    char emitted[16] = "";
    ls_timeline t = ls_timeline_start;
    for (int i = 0; i < 5; i++) {
        const ls_emission e = ls_timeline_place_at(&t, index[i], index[i], i > 0);
        for (int64_t k = 0; k < e.last + e.current; k++) {
            emitted[t.emitted] = (char)('a' + i - (k < e.last));
            ls_timeline_count(&t);
        }
    }
    assert_string_equal(emitted, want);
}

/* What a file says of its start may be anything. */
static void extreme_starts_are_harmless(void **state)
{
    (void)state;
    static const int64_t pts[] = {0, 40, 160}, starts[] = {INT64_MIN + 1, INT64_MAX, -1000000};
    for (int i = 0; i < 3; i++) {
        const ls_stream_times s = {
            .source_rate = {25, 1}, .time_base = {1, 1000}, .start = starts[i]};
        ls_times *t;
        ls_times_kind kind;
        assert_int_equal(ls_times_make(&t, &kind, pts, 3, 0, &s, NULL), 0);
        assert_int_equal(kind, LS_TIMES_VARY);
        assert_int_equal(ls_times_at(t, 2) - ls_times_at(t, 1), 120);
        assert_true(ls_times_at(t, 1) >= 40);
        ls_times_close(&t);
    }
}

static void times_go_back_as_they_came(void **state)
{
    (void)state;
    /* at 0, 100, 150, 400 ms after the file's start, the last one for 30 ms; frame 0 is shown from
     * the start */
    static const int64_t pts[] = {1020, 1150, 1100, 1400}, shown[] = {0, 100, 150, 400, 430};
    const ls_stream_times s = {
        .source_rate = {25, 1}, .time_base = {1, 1000}, .start = 1000000, .alone = false};
    ls_times *t;
    ls_times_kind kind;
    assert_int_equal(ls_times_make(&t, &kind, pts, 4, 30, &s, NULL), 0);
    assert_int_equal(kind, LS_TIMES_VARY);
    assert_int_equal(ls_times_frames(t), 4);
    assert_int_equal(ls_times_rate(t).num, 400);
    assert_int_equal(ls_times_rate(t).den, 43);
    assert_int_equal(ls_times_find(t, 1150), 2);
    assert_int_equal(ls_times_find(t, 1151), -1);
    int64_t at = 0;
    for (uint64_t place = 0; place < 40; place++) {
        const uint64_t i = place % 8, frame = i < 4 ? i : 7 - i;
        assert_int_equal(ls_times_at(t, place), at);
        assert_int_equal(ls_times_periods(t, place, 50), at / 20);
        assert_int_equal(ls_times_before(t, (double)at / 1000), place);
        assert_int_equal(ls_times_before(t, (double)at / 1000 + 0.001), place + 1);
        at += shown[frame + 1] - shown[frame];
    }
    ls_times_close(&t);
    assert_null(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_dropped_and_repeated),
        cmocka_unit_test(only_rising_times_are_unique),
        cmocka_unit_test(extreme_times_are_harmless),
        cmocka_unit_test(clocks_are_mended),
        cmocka_unit_test(times_are_judged),
        cmocka_unit_test(missing_frames_are_replaced),
        cmocka_unit_test(extreme_starts_are_harmless),
        cmocka_unit_test(times_go_back_as_they_came),
    };
    return cmocka_run_group_tests_name("media_rate", tests, NULL, NULL);
}
