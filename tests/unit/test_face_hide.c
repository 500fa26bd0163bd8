/* Which mouths stay as they are: turned heads, covered faces, and from when to when. */
#include "test.h"

#include "face/cover.h"
#include "face/hide.h"

#include <math.h>
#include <stdlib.h>

#define MAX 200

/* A frame for each letter: S, w a strong and a weak reason, T a turned head, . none, h and s hidden
 * and shown by the face itself, - no face; | before a letter is a cut, / another face. */
static size_t frames_from(const char *text, ls_chosen_face frames[MAX])
{
    size_t n = 0;
    uint32_t id = 1;
    bool cut = false;
    for (; *text; text++) {
        if (*text == '|' || *text == '/') {
            cut |= *text == '|';
            id += *text == '/';
            continue;
        }
        ls_chosen_face *c = &frames[n];
        *c = (ls_chosen_face){.frame = (int64_t)n, .id = *text == '-' ? 0 : id, .cut = cut};
        c->face = (ls_face){.score = 1, .kind = LS_FACE_POINTS5};
        c->face.covered = *text == 'S' ? 0.45 : *text == 'w' ? 0.3 : 0.29;
        c->face.hidden = *text == 'h' ? 1 : *text == 's' ? -1 : 0;
        const double nose = *text == 'T' ? 151 : 120;
        const double five[5][2] = {{90, 100}, {150, 100}, {nose, 120}, {100, 160}, {140, 160}};
        memcpy(c->face.points, five, sizeof five);
        cut = false;
        n++;
    }
    return n;
}

static void run(const char *text, char out[MAX + 1])
{
    static ls_chosen_face in[MAX];
    static ls_hider h;
    ls_chosen_face got;
    size_t n = frames_from(text, in), done = 0;
    h = (ls_hider){0};
    for (size_t i = 0; i <= n; i++) {
        if (i < n)
            ls_hider_push(&h, &in[i]);
        else
            ls_hider_finish(&h);
        while (ls_hider_pop(&h, &got)) {
            assert_int_equal(got.frame, done);
            out[done++] = ".ctg"[got.hidden];
        }
        assert_true(i == n || i + 1 - done <= LS_HIDE_AHEAD);
    }
    assert_int_equal(done, n);
    out[n] = 0;
}

static void intervals_by_hand(void **state)
{
    static const struct {
        const char *shown, *hidden;
    } cases[] = {
        {"......SSS......", "....ccccccc...."}, /* two frames more on both sides */
        {"......SS.......", "..............."}, /* two are too few */
        {"......TTT......", "....ttttttt...."},
        {"......wwwww....", "..............."}, /* never strong */
        {"....wwSwww.....", "....cccccccc..."}, /* strong to begin, weak to go on */
        {"......S.S.S.S..", "..............."}, /* nothing lasts */
        {"SSS............", "ccccc.........."},
        {"............SSS", "..........ccccc"},
        {".....|.SSSS....", ".....ccccccc.."}, /* not across a cut */
        {"....SSS|.......", "..ccccc......."},
        {".....SSS/......", "...ccccc......"}, /* nor on another face */
        {".....SSS--.....", "...ccccc......."},
        {".....S---S.....", "...ccc...ccc..."}, /* few will do where the face is lost */
        {".....S.--.S....", "..............."},
        {".....|--S......", ".......ccc...."},
        {".....S|--......", ".............."},
        {".....h.........", ".....g........."}, /* what the face says counts at once */
        {"....SSsSS......", "..............."}, /* and ends what is seen */
        {"....SSSSs......", "..cccccc.c....."},
        {"SSS.............SSS", "ccccccccccccccccccc"},         /* twelve between are joined */
        {"SSS.................SSS", "ccccc.............ccccc"}, /* thirteen are not */
    };
    char out[MAX + 1];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        run(cases[i].shown, out);
        assert_string_equal(out, cases[i].hidden);
    }
}

/* The same over a whole video at once: stretches of one face, in them lasting reasons, widened,
 * then joined. */
static void whole(const ls_chosen_face *f, size_t n, bool hidden[MAX])
{
    memset(hidden, 0, MAX * sizeof *hidden);
    for (size_t begin = 0, end; begin < n; begin = end) {
        for (end = begin + 1; end < n && !f[end].cut && f[end].id == f[begin].id; end++)
            ;
        for (size_t i = begin; f[begin].id && i < end; i++) {
            size_t last = i;
            while (last < end && f[last].face.covered >= (last == i ? 0.45 : 0.3))
                last++;
            const bool lost = (last == end && end < n && !f[end].cut && !f[end].id) ||
                              (i == begin && i && !f[i].cut && !f[i - 1].id);
            if (last - i >= 3 || (last > i && lost))
                for (size_t k = i < begin + 2 ? begin : i - 2; k < last + 2 && k < end; k++)
                    hidden[k] = true;
            i = last > i ? last - 1 : i;
        }
        for (size_t i = begin + 1; i < end; i++) {
            size_t last = i;
            while (last < end && !hidden[last])
                last++;
            if (hidden[i - 1] && last < end && last - i <= 12)
                memset(&hidden[i], true, last - i);
        }
    }
}

static void as_if_the_whole_video_were_known(void **state)
{
    static ls_chosen_face in[MAX];
    (void)state;
    srand(3);
    for (int round = 0; round < 3000; round++) {
        char text[2 * MAX + 1] = "", out[MAX + 1];
        bool hidden[MAX];
        size_t length = 0;
        for (int frames = 0; frames < 120;) { /* runs of a letter */
            const char c = "..SSww.S-"[rand() % 9];
            if (rand() % 12 == 0)
                text[length++] = rand() % 2 ? '|' : '/';
            for (int k = 1 + rand() % (c == '.' ? 20 : 6); k && frames < 120; k--, frames++)
                text[length++] = c;
        }
        run(text, out);
        whole(in, frames_from(text, in), hidden);
        for (size_t i = 0; i < 120; i++)
            if (hidden[i] != (out[i] == 'c'))
                fail_msg("frame %zu of %s: %s", i, text, out);
    }
}

/* A head of which the tip of the nose is in front of the plane of eyes and mouth. */
static ls_face turned(double yaw, double pitch, double roll, bool landmarks)
{
    static const double head[5][3] = {
        {-32, -35, 0}, {32, -35, 0}, {0, 0, 29}, {-25, 30, 0}, {25, 30, 0}};
    ls_face f = {.score = 1, .kind = landmarks ? LS_FACE_LANDMARKS106 : LS_FACE_POINTS5};
    for (int i = 0; i < 5; i++) {
        const double x = head[i][0] * cos(yaw) + head[i][2] * sin(yaw),
                     z = head[i][2] * cos(yaw) - head[i][0] * sin(yaw),
                     y = head[i][1] * cos(pitch) + z * sin(pitch);
        const double u = 300 + x * cos(roll) - y * sin(roll),
                     v = 200 + x * sin(roll) + y * cos(roll);
        static const struct {
            size_t first, end;
        } groups[5] = {{33, 43}, {87, 97}, {86, 87}, {52, 53}, {61, 62}};
        for (size_t k = landmarks ? groups[i].first : (size_t)i;
             k < (landmarks ? groups[i].end : (size_t)i + 1); k++) {
            f.points[k][0] = u;
            f.points[k][1] = v;
        }
    }
    return f;
}

static void a_turn_by_five_points_or_106(void **state)
{
    (void)state;
    for (int landmarks = 0; landmarks < 2; landmarks++)
        for (double roll = -1; roll <= 1; roll += 0.5) {
            for (double yaw = -1.2; yaw <= 1.2; yaw += 0.2) {
                const ls_face f = turned(yaw, 0, roll, landmarks);
                assert_float_equal(ls_face_turn_of(&f).yaw, 29.0 / 32 * tan(yaw), 1e-9);
            }
            const ls_face level = turned(0, 0, roll, landmarks),
                          up = turned(0, -0.9, roll, landmarks),
                          down = turned(0, 0.9, roll, landmarks);
            assert_float_equal(ls_face_turn_of(&level).pitch, 35.0 / 65, 1e-9);
            assert_float_equal(ls_face_turn_of(&up).pitch, (35 - 29 * tan(0.9)) / 65, 1e-9);
            assert_float_equal(ls_face_turn_of(&down).pitch, (35 + 29 * tan(0.9)) / 65, 1e-9);
        }
    const ls_face none = {0}, point = {.kind = LS_FACE_POINTS5};
    assert_true(!ls_face_turn_of(&none).yaw && !ls_face_turn_of(&point).yaw);
    assert_true(ls_face_turn_of(&none).pitch == 0.4 && ls_face_turn_of(&point).pitch == 0.4);
}

#define SIDE 200

/* A face of skin whose mouth opens, and which something may cover from `row` down. */
static void paint(uint8_t *rgb, int frame, double light, int row, bool fingers)
{
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            const double noise = (double)((x * 7919 + y * 104729 + frame * 31) % 7) - 3;
            const bool mouth = hypot((x - 100) / 18.0, (y - 124) / (3.0 + frame % 9)) < 1;
            double c[3] = {200, 150, 120};
            if (mouth)
                c[0] = 90, c[1] = 30, c[2] = 30;
            if (y >= row && fingers) /* the skin again, with edges */
                c[0] = 190 - 60 * (x / 6 % 3 == 0), c[1] = 140 - 50 * (x / 6 % 3 == 0), c[2] = 112;
            else if (y >= row)
                c[0] = c[1] = c[2] = 40;
            for (int k = 0; k < 3; k++)
                rgb[3 * (y * SIDE + x) + k] = (uint8_t)fmin(fmax(light * c[k] + noise, 0), 255);
        }
}

static double cover_of(ls_cover *c, int frame, double light, int row, bool fingers)
{
    static uint8_t rgb[3 * SIDE * SIDE];
    ls_face f = {.kind = LS_FACE_POINTS5};
    const double five[5][2] = {{72, 68}, {126, 68}, {99, 86}, {80, 124}, {122, 124}};
    const ls_rgb frame_of = {rgb, 3 * SIDE, SIDE, SIDE};
    ls_look look;
    memcpy(f.points, five, sizeof five);
    paint(rgb, frame, light, row, fingers);
    ls_look_take(&look, &frame_of, &f);
    assert_true(look.known);
    return ls_cover_next(c, &look, 1);
}

static void what_covers_the_mouth_differs_from_before(void **state)
{
    (void)state;
    for (int fingers = 0; fingers < 2; fingers++) {
        ls_cover c = {0};
        for (int i = 0; i < 60; i++)
            assert_true(cover_of(&c, i, 1, SIDE, false) < 0.1);
        for (int i = 0; i < 40; i++) /* as it gets darker */
            assert_true(cover_of(&c, i, 1 - 0.015 * i, SIDE, false) < 0.1);
        for (int i = 0; i < 40; i++)
            assert_true(cover_of(&c, i, 0.4, 104, fingers) > 0.5);
        assert_true(cover_of(&c, 0, 0.4, SIDE, false) < 0.1);
        int lasted = 0; /* what stays becomes usual, after seconds */
        while (cover_of(&c, lasted, 0.4, 104, fingers) >= 0.3)
            lasted++;
        print_message("# taken for usual after %d frames\n", lasted);
        assert_true(lasted > 50 && lasted < 250);
    }
}

static void looks_outside_the_picture_and_of_no_face(void **state)
{
    static uint8_t rgb[3 * 4];
    const ls_rgb tiny = {rgb, 6, 2, 2};
    ls_look look;
    ls_cover c = {0};
    (void)state;
    ls_face f = {.kind = LS_FACE_POINTS5};
    ls_look_take(&look, &tiny, &f);
    assert_false(look.known);
    assert_true(ls_cover_next(&c, &look, 1) == 0 && !c.looks);
    for (size_t i = 0; i < 5; i++)
        f.points[i][0] = f.points[i][1] = 1e6 * (i & 1 ? 1.0 : -1.0);
    ls_look_take(&look, &tiny, &f);
    assert_true(look.known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_by_hand),
        cmocka_unit_test(as_if_the_whole_video_were_known),
        cmocka_unit_test(a_turn_by_five_points_or_106),
        cmocka_unit_test(what_covers_the_mouth_differs_from_before),
        cmocka_unit_test(looks_outside_the_picture_and_of_no_face),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
