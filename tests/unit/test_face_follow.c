#include "test.h"

#include "face/follow.h"

#include <math.h>

#define FRAMES 400

/* What came out, by frame. */
static ls_face_record *got;
static size_t got_count;
static int64_t pushed, worst_delay;

static int setup(void **state)
{
    (void)state;
    got = calloc(FRAMES, sizeof *got);
    return got ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    free(got);
    return 0;
}

static ls_follow *start(size_t max_gap, size_t every)
{
    ls_follow *f;
    ls_follow_settings s = {max_gap, every, 80};
    assert_int_equal(ls_follow_open(&f, &s, NULL), 0);
    got_count = 0;
    pushed = worst_delay = 0;
    return f;
}

static void take(ls_follow *f)
{
    while (ls_follow_pop(f, &got[got_count])) {
        assert_int_equal(got[got_count].frame, got_count);
        if (pushed - 1 - (int64_t)got_count > worst_delay)
            worst_delay = pushed - 1 - (int64_t)got_count;
        got_count++;
    }
}

static void push(ls_follow *f, bool cut, bool examined, ls_face *faces, size_t count)
{
    assert_true(pushed < FRAMES);
    assert_int_equal(ls_follow_push(f, pushed++, cut, examined, faces, NULL, count, NULL), 0);
    take(f);
}

static void finish(ls_follow **f)
{
    ls_follow_finish(*f);
    take(*f);
    assert_int_equal(got_count, pushed);
    ls_follow_close(f);
    ls_follow_close(f);
}

static uint64_t seed;

static double draw(double from, double to)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return from + (to - from) * (double)(seed >> 11) / 9007199254740992.0;
}

/* A face 100 wide and 130 high at a scale of 1, every number of it off by up to `noise`. */
static ls_face face_at(double x, double y, double scale, double noise)
{
    static const double at[5][2] = {{-20, -20}, {20, -20}, {0, 5}, {-15, 30}, {15, 30}};
    ls_face f = {.score = 0.9, .kind = LS_FACE_POINTS5};
    for (size_t i = 0; i < 4; i++)
        f.box[i] = (i % 2 ? y + scale * (i == 1 ? -65 : 65) : x + scale * (i ? 50 : -50)) +
                   draw(-noise, noise);
    for (size_t i = 0; i < 5; i++) {
        f.points[i][0] = x + scale * at[i][0] + draw(-noise, noise);
        f.points[i][1] = y + scale * at[i][1] + draw(-noise, noise);
    }
    return f;
}

/* The id of the face whose nose is within 40 pixels of a place; 0: none. */
static uint32_t id_at(int64_t frame, double x, double y)
{
    for (size_t i = 0; i < got[frame].count; i++) {
        const ls_face *f = &got[frame].faces[i].face;
        if (hypot(f->points[2][0] - x, f->points[2][1] - y - 5) < 40)
            return got[frame].faces[i].id;
    }
    return 0;
}

static void assert_near(const ls_face *a, const ls_face *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(fabs(a->score - b->score) < 1e-12);
    for (size_t i = 0; i < 4; i++)
        assert_true(fabs(a->box[i] - b->box[i]) < 1e-9);
    for (size_t i = 0; i < (size_t)a->kind; i++)
        assert_true(hypot(a->points[i][0] - b->points[i][0], a->points[i][1] - b->points[i][1]) <
                    1e-9);
}

static void short_gaps_are_filled(void **state)
{
    (void)state;
    for (int missing = 1; missing <= 14; missing++) {
        ls_follow *f = start(12, 1);
        for (int64_t i = 0; i < 60; i++) {
            ls_face face = face_at(200 + 3.0 * (double)i, 300 - (double)i, 1 + 0.01 * (double)i, 0);
            face.score = 0.5 + 0.005 * (double)i;
            push(f, false, true, &face, i < 20 || i >= 20 + missing);
        }
        finish(&f);
        assert_int_equal(worst_delay, missing < 12 ? missing : 12);
        for (int64_t i = 0; i < 60; i++) {
            bool gap = i >= 20 && i < 20 + missing;
            ls_face face = face_at(200 + 3.0 * (double)i, 300 - (double)i, 1 + 0.01 * (double)i, 0);
            face.score = 0.5 + 0.005 * (double)i;
            if (gap && missing > 12) {
                assert_int_equal(got[i].count, 0);
                continue;
            }
            assert_int_equal(got[i].count, 1);
            assert_int_equal(got[i].faces[0].id, missing > 12 && i > 20 ? 2 : 1);
            assert_int_equal(got[i].faces[0].interpolated, gap);
            assert_near(&got[i].faces[0].face, &face);
        }
    }
}

/* Frames that were not examined are no misses. */
static void some_frames_examined(void **state)
{
    (void)state;
    static const size_t all[] = {2, 3, 5, 25};
    for (size_t e = 0; e < 4; e++)
        for (size_t max_gap = 0; max_gap < 6; max_gap++)
            for (size_t missed = 0; missed < 5; missed++) {
                size_t every = all[e], absence = (missed + 1) * every - 1;
                ls_follow *f = start(max_gap, every);
                size_t last = every * (7 + missed);
                for (size_t i = 0; i < last + every; i++) {
                    ls_face face = face_at(100 + (double)i, 300, 1, 0);
                    bool lost = i > 3 * every && i <= (3 + missed) * every;
                    push(f, false, i % every == 0, &face, !lost);
                }
                finish(&f);
                bool joined = absence <= max_gap + every - 1;
                assert_true(worst_delay <= (int64_t)(max_gap + every - 1));
                for (size_t i = 0; i < last + every; i++) {
                    ls_face face = face_at(100 + (double)i, 300, 1, 0);
                    size_t from = every * (3 + missed + 1);
                    bool none = i > last || (!joined && i > 3 * every && i < from);
                    assert_int_equal(got[i].count, !none);
                    if (none)
                        continue;
                    assert_int_equal(got[i].faces[0].id, joined || i < from ? 1 : 2);
                    assert_int_equal(got[i].faces[0].interpolated,
                                     i % every != 0 || (i > 3 * every && i < from));
                    assert_near(&got[i].faces[0].face, &face);
                }
            }
}

typedef struct path {
    double x, y, vx, vy, scale;
} path;

static bool overlaps(const ls_face *a, const ls_face *b, double by)
{
    double w = fmin(a->box[2], b->box[2]) - fmax(a->box[0], b->box[0]);
    double h = fmin(a->box[3], b->box[3]) - fmax(a->box[1], b->box[1]);
    double both = fmax(w, 0) * fmax(h, 0);
    double sum = (a->box[2] - a->box[0]) * (a->box[3] - a->box[1]) +
                 (b->box[2] - b->box[0]) * (b->box[3] - b->box[1]);
    return both > by * (sum - both);
}

/* People of whom a later one is hidden where it overlaps one in front by more than `hide`, in
 * frames of which one of `every` is examined, and from which faces are missing at random, no longer
 * than an identity lasts. Every face that is found must come out with the id that its person has in
 * the first frame. */
static void walk(const path *p, size_t n, double hide, double noise, size_t every, double miss)
{
    enum { LENGTH = 80 };
    ls_follow *f = start(12, every);
    size_t missed[4] = {0}, found[LENGTH] = {0};
    double nose[LENGTH][4][2]; /* tells who it is */
    for (int64_t i = 0; i < LENGTH; i++) {
        ls_face faces[4], all[4];
        bool examined = i % (int64_t)every == 0;
        size_t count = 0;
        for (size_t k = 0; k < n; k++) {
            double t = (double)i;
            all[k] = face_at(p[k].x + t * p[k].vx, p[k].y + t * p[k].vy, p[k].scale, noise);
            memcpy(nose[i][k], all[k].points[2], sizeof nose[i][k]);
            bool seen = i == 0 || missed[k] == 12 / every || draw(0, 1) >= miss;
            if (examined)
                missed[k] = seen ? 0 : missed[k] + 1;
            for (size_t j = 0; j < k; j++)
                seen &= !overlaps(&all[j], &all[k], hide);
            if (seen)
                faces[count++] = all[k];
        }
        if (count > 1 && draw(0, 1) < 0.5) { /* the detector's order means nothing */
            ls_face swap = faces[0];
            faces[0] = faces[count - 1];
            faces[count - 1] = swap;
        }
        push(f, false, examined, faces, count);
        found[i] = examined ? count : 0;
    }
    finish(&f);
    uint32_t ids[4] = {0};
    for (int64_t i = 0; i < LENGTH; i++) {
        size_t known = 0;
        for (size_t k = 0; k < got[i].count; k++) {
            const ls_tracked_face *t = &got[i].faces[k];
            assert_in_range(t->id, 1, n);
            for (size_t j = 0; j < n && !t->interpolated; j++) {
                if (memcmp(t->face.points[2], nose[i][j], sizeof nose[i][j]))
                    continue;
                ids[j] = i ? ids[j] : t->id;
                if (t->id != ids[j])
                    fail_msg("person %zu of %zu, from %g, %g: id %u is %u in frame %lld (every "
                             "%zu, hidden %g, noise %g)",
                             j, n, p[j].x, p[j].y, ids[j], t->id, (long long)i, every, hide, noise);
                known++;
            }
        }
        assert_int_equal(known, found[i]);
    }
}

static void people_keep_their_ids(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        path p[4];
    } scenes[] = {
        /* crossing at different speeds */
        {2, {{100, 300, 8, 0, 1}, {700, 310, -8, 0, 1}}},
        {2, {{100, 300, 12, 0, 1}, {800, 310, -5, 0, 1.2}}},
        {2, {{200, 300, 15, 1, 1}, {600, 300, 0, 0, 1}}},
        /* overtaking, on the same line */
        {2, {{300, 300, 2, 0, 1}, {92, 300.01, 18, 0, 1}}},
        /* a small one passes behind a large one */
        {2, {{500, 320, 0, 0, 2}, {100, 300, 14, 0, 1}}},
        /* a row that moves together, one that crosses it */
        {4,
         {{100, 300, 4, 1, 1}, {400, 300, 4, 1, 1}, {700, 300, 4, 1, 1}, {1300, 340, -16, 0, 1}}},
        /* a small one on a large one */
        {2, {{500, 320, 0, 0, 1.7}, {500, 320.01, 0, 0, 1}}},
        /* standing close */
        {3, {{100, 300, 0, 0, 1}, {200, 300, 0, 0, 1}, {150, 420, 0, 0, 1}}},
    };
    static const size_t every[] = {1, 2, 3};
    for (size_t s = 0; s < sizeof scenes / sizeof *scenes; s++)
        for (size_t e = 0; e < 3; e++)
            for (seed = 1; seed < 1000; seed += 50) {
                uint64_t kept = seed;
                walk(scenes[s].p, scenes[s].n, 0.4, 0, every[e], 0);
                walk(scenes[s].p, scenes[s].n, 0.4, 2, every[e], 0);
                if (every[e] == 1)
                    walk(scenes[s].p, scenes[s].n, 0.15, 2, 1, 0);
                seed = kept;
            }
}

/* Both found all along, or one missing at random; standing apart. */
static void jitter_and_misses(void **state)
{
    (void)state;
    const path p[] = {{100, 300, 3, 0, 1}, {300, 300, 3, 0, 1}, {520, 300, 2, 0.5, 1.5}};
    for (seed = 1; seed < 5000; seed += 100) {
        uint64_t kept = seed;
        walk(p, 3, 0.4, 6, 1, 0.3);
        walk(p, 3, 0.4, 4, 5, 0.2);
        seed = kept;
    }
}

static void jumps_and_fast_motion(void **state)
{
    (void)state;
    ls_follow *f = start(12, 1);
    for (int64_t i = 0; i < 20; i++) { /* from 10 on elsewhere */
        ls_face face = face_at(i < 10 ? 200 : 350, 300, 1, 0);
        push(f, false, true, &face, 1);
    }
    finish(&f);
    for (int64_t i = 0; i < 20; i++) {
        assert_int_equal(got[i].count, 1);
        assert_int_equal(got[i].faces[0].id, i < 10 ? 1 : 2);
    }
    f = start(12, 1);
    for (int64_t i = 0; i < 20; i++) { /* four fifths of its width in each frame, at once; stops */
        ls_face face = face_at(i < 10 ? 200 : 200 + 80 * fmin((double)i - 9, 5), 300, 1, 0);
        push(f, false, true, &face, 1);
    }
    finish(&f);
    for (int64_t i = 0; i < 20; i++)
        assert_true(got[i].count == 1 && got[i].faces[0].id == 1);
    f = start(12, 3);
    for (int64_t i = 0; i < 19; i++) { /* one and a tenth of it between frames that are examined */
        ls_face face = face_at(i < 10 ? 200 : 200 + 40 * ((double)i - 9), 300, 1, 0);
        push(f, false, i % 3 == 0, &face, 1);
    }
    finish(&f);
    for (int64_t i = 0; i < 19; i++)
        assert_true(got[i].count == 1 && got[i].faces[0].id == 1);
    f = start(12, 1);
    for (int64_t i = 0; i < 20; i++) { /* the same place, another size */
        ls_face face = face_at(200, 300, i < 10 ? 1 : 2.5, 0);
        push(f, false, true, &face, 1);
    }
    finish(&f);
    assert_int_equal(got[19].faces[0].id, 2);
    f = start(12, 1);
    for (int64_t i = 0; i < 20; i++) { /* a pan moves all by 0.7 of a width */
        double pan = i < 10 ? 0 : -70;
        ls_face faces[] = {face_at(300 + pan, 300, 1, 0), face_at(420 + pan, 300, 1, 0)};
        push(f, false, true, faces, 2);
    }
    finish(&f);
    assert_int_equal(id_at(19, 230, 300), 1);
    assert_int_equal(id_at(19, 350, 300), 2);
}

/* Where nobody is seen: a crossing goes on, and who moved may have stopped. */
static void out_of_sight(void **state)
{
    (void)state;
    for (seed = 1; seed < 1000; seed += 20) {
        uint64_t kept = seed;
        ls_follow *f = start(12, 1);
        for (int64_t i = 0; i < 60; i++) {
            double x = 10 * ((double)i - 30);
            ls_face faces[] = {face_at(500 + x, 300, 1, 1), face_at(500 - x, 300, 1, 1)};
            push(f, false, true, faces, i > 24 && i < 36 ? 0 : 2);
        }
        finish(&f);
        assert_int_equal(id_at(0, 200, 300), 1);
        assert_int_equal(id_at(59, 210, 300), 2);
        assert_int_equal(id_at(59, 790, 300), 1);
        f = start(12, 1);
        for (int64_t i = 0; i < 60; i++) {
            ls_face face = face_at(200 + 20 * fmin((double)i, 21), 300, 1, 2);
            push(f, false, true, &face, i < 20 || i > 31);
        }
        finish(&f);
        for (int64_t i = 0; i < 60; i++)
            assert_true(got[i].count == 1 && got[i].faces[0].id == 1);
        seed = kept;
    }
}

static void cuts_end_everything(void **state)
{
    (void)state;
    ls_follow *f = start(12, 1);
    for (int64_t i = 0; i < 30; i++) {
        ls_face faces[] = {face_at(400, 300, 1, 0), face_at(200, 300, 1, 0)};
        push(f, i == 10 || i == 20, true, faces, i >= 18 && i < 22 ? 0 : 2);
        if (i == 20) /* nothing keeps what lies before a cut waiting */
            assert_int_equal(got_count, 21);
    }
    finish(&f);
    for (int64_t i = 0; i < 30; i++) {
        uint32_t shot = i < 10 ? 0 : i < 20 ? 1 : 2;
        assert_int_equal(got[i].cut, i == 10 || i == 20);
        assert_int_equal(got[i].count, i >= 18 && i < 22 ? 0 : 2);
        if (!got[i].count)
            continue;
        assert_int_equal(id_at(i, 200, 300), 2 * shot + 1); /* from left to right */
        assert_int_equal(id_at(i, 400, 300), 2 * shot + 2);
        assert_true(got[i].faces[0].id < got[i].faces[1].id);
    }
}

static void found_twice(void **state)
{
    (void)state;
    ls_follow *f = start(12, 1);
    for (int64_t i = 0; i < 60; i++) {
        double x = 200 + 4 * (double)i;
        ls_face faces[] = {face_at(x + 9, 303, 1.05, 3), face_at(x, 300, 1, 0),
                           face_at(x - 6, 296, 0.95, 3)};
        faces[0].score = 0.7;
        faces[2].score = 0.6;
        push(f, false, true, faces, 3);
    }
    finish(&f);
    for (int64_t i = 0; i < 60; i++) {
        ls_face face = face_at(200 + 4 * (double)i, 300, 1, 0);
        assert_true(got[i].count == 1 && got[i].faces[0].id == 1);
        assert_near(&got[i].faces[0].face, &face); /* the best */
    }
}

static void which_faces_count(void **state)
{
    (void)state;
    static const struct {
        double w, h, score;
        bool eligible;
    } cases[] = {
        {50, 80, 0.5, true},    {49.9, 80, 0.9, false}, {50, 79.9, 0.9, false},
        {50, 80, 0.499, false}, {150, 100, 0.9, true},  {151, 100, 0.9, false},
        {60, 300, 0.9, true},   {60, 301, 0.9, false},  {-60, -90, 0.9, false},
        {60, 90, NAN, false},   {NAN, 90, 0.9, false},  {INFINITY, INFINITY, 0.9, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_face face = {.box = {10, 10, 10 + cases[i].w, 10 + cases[i].h}, .kind = LS_FACE_POINTS5};
        face.score = cases[i].score;
        assert_int_equal(ls_face_eligible(&face, 80), cases[i].eligible);
        ls_follow *f = start(12, 1);
        push(f, false, true, &face, 1);
        finish(&f);
        assert_int_equal(got[0].count, cases[i].eligible);
    }
    /* a box is cut to whole pixels first */
    ls_face face = {.box = {10.9, 10, 60.1, 100}, .score = 1, .kind = LS_FACE_POINTS5};
    assert_true(ls_face_eligible(&face, 80));
    face.box[0] = 11;
    assert_false(ls_face_eligible(&face, 80));
    /* smaller ones if wanted, in the same proportion */
    static const double small[][3] = {
        {57, 74, true}, {47, 74, true}, {46, 74, false}, {57, 73, false}};
    for (size_t i = 0; i < 4; i++) {
        face.box[2] = face.box[0] + small[i][0];
        face.box[3] = face.box[1] + small[i][1];
        assert_int_equal(ls_face_eligible(&face, 74), (int)small[i][2]);
    }
    assert_true(ls_face_eligible(&face, 16));
    /* unknown boxes pass, and have an extent */
    face = face_at(100, 100, 1, 0);
    memset(face.box, 0, sizeof face.box);
    face.score = 0.1;
    double box[4];
    ls_face_extent(&face, box);
    assert_true(box[0] == 80 && box[1] == 80 && box[2] == 120 && box[3] == 130);
    ls_face bad[3] = {face, face, face};
    bad[1].kind = LS_FACE_NONE;
    bad[2].points[4][1] = NAN;
    ls_follow *f = start(12, 1);
    push(f, false, true, bad, 3);
    push(f, false, false, bad, 3);
    push(f, false, true, &face, 1);
    finish(&f);
    assert_true(got[0].count == 1 && got[1].count == 1 && got[2].count == 1);
    assert_true(got[1].faces[0].interpolated && got[1].faces[0].id == 1);

    /* the largest of too many */
    ls_face many[20];
    for (size_t i = 0; i < 20; i++)
        many[i] =
            face_at(100 + 300 * (double)(i * 7 % 20), 400, 1 + 0.05 * (double)(i * 3 % 20), 0);
    f = start(12, 1);
    for (int i = 0; i < 3; i++)
        push(f, false, true, many, 20);
    finish(&f);
    for (int64_t i = 0; i < 3; i++) {
        assert_int_equal(got[i].count, LS_MAX_FACES);
        for (size_t k = 0; k < LS_MAX_FACES; k++) {
            assert_int_equal(got[i].faces[k].id, k + 1);
            box[0] = got[i].faces[k].face.box[2] - got[i].faces[k].face.box[0];
            assert_true(box[0] > 119);
            if (k)
                assert_true(got[i].faces[k].face.box[0] > got[i].faces[k - 1].face.box[0]);
        }
    }
}

static void kinds_of_points_differ(void **state)
{
    (void)state;
    ls_follow *f = start(12, 1);
    ls_face five = face_at(200, 300, 1, 0), many = five;
    many.kind = LS_FACE_LANDMARKS106;
    many.box[0] += 4;
    for (size_t i = 0; i < 106; i++)
        many.points[i][0] = (double)i;
    push(f, false, true, &five, 1);
    for (int i = 0; i < 4; i++)
        push(f, false, true, NULL, 0);
    push(f, false, true, &many, 1);
    finish(&f);
    for (int64_t i = 0; i < 6; i++) {
        assert_true(got[i].count == 1 && got[i].faces[0].id == 1);
        assert_near(&got[i].faces[0].face, i < 3 ? &five : &many);
    }
}

/* Anything may be found: every frame comes out once, in order, in time, with ids that rise. */
static void nonsense(void **state)
{
    (void)state;
    for (uint64_t round = 1; round <= 12; round++) {
        size_t max_gap = round % 4 * 7, every = 1 + round % 3;
        ls_follow *f = start(max_gap, every);
        uint32_t most = 0;
        seed = round * 99;
        for (int64_t i = 0; i < FRAMES; i++) {
            ls_face faces[40];
            size_t count = (size_t)draw(0, 41);
            for (size_t k = 0; k < count; k++) {
                faces[k] = face_at(draw(-500, 3000), draw(-500, 2000), draw(0.5, 5), 30);
                faces[k].score = draw(0.3, 1);
                if (draw(0, 1) < 0.05)
                    faces[k].box[1] = draw(0, 1) < 0.5 ? NAN : INFINITY;
                if (draw(0, 1) < 0.1)
                    memset(faces[k].box, 0, sizeof faces[k].box);
            }
            push(f, draw(0, 1) < 0.02, i % (int64_t)every == 0, faces, count);
        }
        finish(&f);
        assert_true(worst_delay <= (int64_t)(max_gap + every - 1));
        for (int64_t i = 0; i < FRAMES; i++) {
            assert_true(got[i].count <= LS_MAX_FACES);
            for (size_t k = 0; k < got[i].count; k++) {
                const ls_tracked_face *t = &got[i].faces[k];
                assert_true(t->id > (k ? got[i].faces[k - 1].id : 0));
                assert_true(isfinite(t->face.box[0] + t->face.box[1] + t->face.points[4][1]));
                most = t->id > most ? t->id : most;
            }
        }
        assert_true(most > 200);
    }
}

static void misuse(void **state)
{
    (void)state;
    ls_error err = {0};
    ls_follow *f;
    static const ls_follow_settings bad[] = {{251, 1, 80}, {12, 0, 80}, {12, 251, 80}};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(ls_follow_open(&f, &bad[i], &err), LS_EINVAL);
        assert_null(f);
    }
    ls_follow_settings s = ls_follow_default_settings();
    assert_true(s.max_gap == 12 && s.every == 1 && s.min_face == 80);
    assert_int_equal(ls_follow_open(&f, &s, &err), 0);
    assert_int_equal(ls_follow_push(f, 5, false, true, NULL, NULL, 0, &err), 0);
    assert_int_equal(ls_follow_push(f, 7, false, true, NULL, NULL, 0, &err), LS_EINVAL);
    assert_int_equal(ls_follow_push(f, 5, false, true, NULL, NULL, 0, &err), LS_EINVAL);
    int64_t frame = 6;
    while (!ls_follow_push(f, frame, false, true, NULL, NULL, 0, &err))
        frame++;
    assert_int_equal(frame - 5, 13); /* the memory there is */
    assert_non_null(strstr(err.message, "must be taken first"));
    ls_face_record rec;
    for (int64_t i = 5; i < frame; i++) {
        assert_true(ls_follow_pop(f, &rec));
        assert_int_equal(rec.frame, i);
    }
    assert_false(ls_follow_pop(f, &rec));
    assert_int_equal(ls_follow_push(f, frame, false, true, NULL, NULL, 0, &err), 0);
    ls_follow_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(short_gaps_are_filled),
        cmocka_unit_test(some_frames_examined),
        cmocka_unit_test(people_keep_their_ids),
        cmocka_unit_test(jitter_and_misses),
        cmocka_unit_test(jumps_and_fast_motion),
        cmocka_unit_test(out_of_sight),
        cmocka_unit_test(cuts_end_everything),
        cmocka_unit_test(found_twice),
        cmocka_unit_test(which_faces_count),
        cmocka_unit_test(kinds_of_points_differ),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(misuse),
    };
    return cmocka_run_group_tests_name("face_follow", tests, setup, teardown);
}
