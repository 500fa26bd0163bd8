#include "test.h"

#include "face/choose.h"

#define FRAMES 400

/* A person: seen in frames from .. to - 1, centre, side of a square box. */
typedef struct person {
    uint32_t id;
    int64_t from, to;
    double x, y, side;
    double vx; /* pixels per frame, from frame 0 on */
} person;

typedef struct scene {
    int64_t length, cuts[4]; /* 0: no more */
    person people[8];
} scene;

static void make_record(ls_face_record *rec, const scene *s, int64_t frame)
{
    *rec = (ls_face_record){.frame = frame};
    for (size_t i = 0; i < 4; i++)
        rec->cut |= frame && s->cuts[i] == frame;
    for (const person *p = s->people; p < s->people + 8 && p->id; p++) {
        if (frame < p->from || frame >= p->to)
            continue;
        ls_tracked_face *f = &rec->faces[rec->count++];
        double x = p->x + p->vx * (double)frame, r = p->side / 2;
        *f = (ls_tracked_face){.id = p->id,
                               .interpolated = frame % 3 == 1,
                               .face = {.box = {x - r, p->y - r, x + r, p->y + r},
                                        .score = 1,
                                        .kind = LS_FACE_POINTS5}};
        f->face.points[0][0] = (double)(1000 * p->id) + (double)frame;
    }
}

/* The ids that are chosen, frame by frame. How pushes and pops alternate must not matter. */
static void run(const scene *s, const char *choice, uint32_t out[FRAMES])
{
    ls_choice c;
    assert_true(ls_choice_parse(&c, choice));
    assert_true(s->length <= FRAMES);
    uint64_t seed = 5;
    for (int way = 0; way < 4; way++) {
        ls_chooser *ch;
        ls_face_record rec;
        ls_chosen_face got;
        int64_t next = 0;
        assert_int_equal(ls_chooser_open(&ch, &c, NULL), 0);
        for (int64_t i = 0; i <= s->length; i++) {
            if (i < s->length) {
                make_record(&rec, s, i);
                while (ls_chooser_push(ch, &rec, NULL)) { /* full: at least one comes out */
                    assert_true(way > 0 && ls_chooser_pop(ch, &got));
                    assert_int_equal(got.id, out[next++]);
                }
            } else {
                ls_chooser_finish(ch);
            }
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            bool all = way == 0 || i == s->length || (way == 2 && seed >> 60 == 0);
            bool one = all || way == 3;
            while (one && ls_chooser_pop(ch, &got)) {
                one = all;
                assert_int_equal(got.frame, next);
                assert_true(i - next < LS_CHOOSE_WINDOW || way);
                make_record(&rec, s, next);
                assert_int_equal(got.cut, rec.cut);
                if (way == 0)
                    out[next] = got.id;
                assert_int_equal(got.id, out[next]);
                if (!got.id) {
                    assert_int_equal(got.face.kind, LS_FACE_NONE);
                } else {
                    assert_int_equal(got.interpolated, next % 3 == 1);
                    assert_true(got.face.points[0][0] == (double)(1000 * got.id) + (double)next);
                }
                next++;
            }
        }
        assert_int_equal(next, s->length);
        ls_chooser_close(&ch);
        ls_chooser_close(&ch);
    }
}

/* `expected`: "from-to:id ..." of what is chosen; the frames between have none. */
static void check(const scene *s, const char *choice, const char *expected)
{
    uint32_t ids[FRAMES];
    char got[512] = "";
    size_t n = 0;
    run(s, choice, ids);
    for (int64_t i = 0, from = 0; i < s->length; i++) {
        if (i + 1 < s->length && ids[i + 1] == ids[i])
            continue;
        if (ids[i] && n < sizeof got - 40)
            n += (size_t)sprintf(got + n, "%s%lld-%lld:%u", n ? " " : "", (long long)from,
                                 (long long)i, ids[i]);
        from = i + 1;
    }
    if (strcmp(got, expected))
        fail_msg("%s gives %s, not %s", choice, got, expected);
}

static void who_is_chosen(void **state)
{
    (void)state;
    const scene s = {100,
                     {0},
                     {{1, 0, 100, 500, 300, 100, 0},
                      {2, 0, 100, 200, 300, 90, 0},
                      {3, 0, 100, 800, 300, 80, 0}}};
    check(&s, "largest", "0-99:1");
    check(&s, "left", "0-99:2");
    check(&s, "right", "0-99:3");
    check(&s, "2", "0-99:2");
    check(&s, "4", "");
    check(&s, "840,340", "0-99:3"); /* within its box, on the corner */
    check(&s, "349,300", "0-99:2"); /* the nearest */
    check(&s, "351,-500.5", "0-99:1");

    /* boxes that overlap: the nearest centre of those around the point, although a third's is
     * nearer; and measured where each is first seen */
    const scene o = {
        40,
        {0},
        {{1, 0, 40, 500, 300, 400, 0}, {2, 0, 40, 640, 300, 200, 50}, {3, 5, 40, 410, 410, 20, 0}}};
    check(&o, "560,300", "0-39:1");
    check(&o, "580,300", "0-39:2");
    check(&o, "425,425", "0-39:1");
    /* equals */
    const scene e = {10, {0}, {{7, 0, 10, 300, 300, 100, 0}, {4, 0, 10, 300, 300, 100, 0}}};
    check(&e, "largest", "0-9:4");
    check(&e, "left", "0-9:4");
    check(&e, "300,300", "0-9:4");
}

static void the_choice_is_kept(void **state)
{
    (void)state;
    /* a small bystander is there first; a larger one while the chosen one is yet to come */
    const scene bystander = {100,
                             {0},
                             {{1, 3, 100, 100, 300, 60, 0},
                              {2, 10, 100, 500, 300, 200, 0},
                              {3, 30, 100, 900, 300, 2000, 0}}};
    check(&bystander, "largest", "10-99:2");
    check(&bystander, "left", "3-99:1");
    const scene second_shot = {200,
                               {90},
                               {{1, 103, 200, 100, 300, 60, 0},
                                {2, 110, 200, 500, 300, 200, 0},
                                {3, 130, 200, 900, 300, 2000, 0}}};
    check(&second_shot, "largest", "110-199:2");
    /* a larger one comes later than the window */
    const scene later = {100, {0}, {{1, 0, 100, 100, 300, 60, 0}, {2, 25, 100, 500, 300, 200, 0}}};
    check(&later, "largest", "0-99:1");
    check(&later, "right", "0-99:1");
    /* in the last frame of the window, but its sum is less; then large enough */
    const scene sum = {100, {0}, {{1, 0, 100, 100, 300, 60, 0}, {2, 24, 100, 500, 300, 200, 0}}};
    check(&sum, "largest", "0-99:1");
    const scene sum2 = {100, {0}, {{1, 0, 100, 100, 300, 60, 0}, {2, 24, 100, 500, 300, 301, 0}}};
    check(&sum2, "largest", "24-99:2");
    /* they change sides after a second */
    const scene swap = {200, {0}, {{1, 0, 200, 100, 300, 90, 8}, {2, 0, 200, 700, 300, 80, -8}}};
    check(&swap, "left", "0-199:1");
    check(&swap, "right", "0-199:2");
    check(&swap, "largest", "0-199:1");
    check(&swap, "700,300", "0-199:2");
    /* the mean counts, not the first frame */
    const scene mean = {60, {0}, {{1, 0, 60, 100, 300, 90, 40}, {2, 0, 60, 200, 300, 80, 0}}};
    check(&mean, "left", "0-59:2");
}

static void the_chosen_one_leaves(void **state)
{
    (void)state;
    const scene leaves = {200,
                          {0},
                          {{1, 0, 50, 100, 300, 200, 0},
                           {2, 10, 200, 500, 300, 100, 0},
                           {3, 60, 200, 800, 300, 150, 0},
                           {1, 150, 200, 100, 300, 200, 0}}};
    check(&leaves, "largest", "0-49:1 60-199:3");
    check(&leaves, "left", "0-49:1 50-199:2");
    check(&leaves, "1", "0-49:1 150-199:1");
    /* away for as long as may be, and for one frame more */
    for (int64_t back = 74; back <= 75; back++) {
        const scene away = {120,
                            {0},
                            {{1, 0, 50, 100, 300, 200, 0},
                             {1, back, 120, 100, 300, 200, 0},
                             {2, 0, 120, 500, 300, 100, 0}}};
        check(&away, "largest", back == 74 ? "0-49:1 74-119:1" : "0-49:1 50-119:2");
        check(&away, "left", back == 74 ? "0-49:1 74-119:1" : "0-49:1 50-119:2");
        /* the same when nobody else is there meanwhile */
        const scene alone = {120,
                             {0},
                             {{1, 0, 50, 100, 300, 200, 0},
                              {1, back, 120, 100, 300, 200, 0},
                              {2, 60, 120, 500, 300, 300, 0}}};
        check(&alone, "left", back == 74 ? "0-49:1 74-119:1" : "0-49:1 75-119:1");
    }
    /* all leave; the choice waits for the next one, and sees a whole window then */
    const scene empty = {200,
                         {0},
                         {{1, 0, 50, 100, 300, 200, 0},
                          {2, 100, 200, 500, 300, 100, 0},
                          {3, 110, 200, 900, 300, 150, 0}}};
    check(&empty, "largest", "0-49:1 110-199:3");
    check(&empty, "left", "0-49:1 100-199:2");
    const scene none = {100, {30}, {{0}}};
    check(&none, "largest", "");
}

static void each_shot_is_its_own(void **state)
{
    (void)state;
    const scene s = {150,
                     {50, 60, 100},
                     {{1, 0, 50, 100, 300, 200, 0},
                      {2, 45, 50, 500, 300, 900, 0}, /* within the window of nobody's choice */
                      {3, 50, 60, 300, 300, 100, 0},
                      {4, 60, 100, 700, 300, 300, 0}, /* after a cut: no candidate before it */
                      {5, 50, 58, 400, 300, 90, 0},
                      {6, 60, 100, 100, 300, 100, 0},
                      {7, 130, 150, 100, 300, 100, 0}}};
    check(&s, "largest", "0-49:1 50-59:3 60-99:4 130-149:7");
    check(&s, "left", "0-49:1 50-59:3 60-99:6 130-149:7");
    check(&s, "right", "0-49:1 50-57:5 58-59:3 60-99:4 130-149:7");
    check(&s, "4", "60-99:4");
    /* the same ids in both shots, by hand: chosen anew */
    const scene again = {
        80,
        {40},
        {{1, 0, 80, 300, 300, 100, 0}, {2, 0, 40, 500, 300, 90, 0}, {2, 40, 80, 500, 300, 110, 0}}};
    check(&again, "largest", "0-39:1 40-79:2");
    /* gone before the cut, another there: not taken for absent because of who follows the cut */
    const scene gone = {
        80,
        {40},
        {{1, 0, 38, 300, 300, 100, 0}, {2, 5, 40, 500, 300, 50, 0}, {1, 40, 80, 500, 300, 110, 0}}};
    check(&gone, "largest", "0-37:1 38-39:2 40-79:1");
}

static void points_without_boxes(void **state)
{
    (void)state;
    ls_chooser *c;
    ls_choice choice = {.kind = LS_CHOOSE_LARGEST};
    ls_face_record rec = {.frame = 3, .count = 2};
    ls_chosen_face got;
    for (size_t i = 0; i < 2; i++) {
        rec.faces[i] = (ls_tracked_face){.id = (uint32_t)i + 1, .face.kind = LS_FACE_POINTS5};
        for (size_t k = 0; k < 5; k++)
            rec.faces[i].face.points[k][0] = rec.faces[i].face.points[k][1] =
                100 + (double)(k * (i + 1));
    }
    assert_int_equal(ls_chooser_open(&c, &choice, NULL), 0);
    assert_int_equal(ls_chooser_push(c, &rec, NULL), 0);
    assert_false(ls_chooser_pop(c, &got));
    ls_chooser_finish(c);
    assert_true(ls_chooser_pop(c, &got));
    assert_true(got.id == 2 && got.frame == 3);
    assert_false(ls_chooser_pop(c, &got));
    ls_error err = {0};
    assert_int_equal(ls_chooser_push(c, &rec, &err), LS_EINVAL);
    assert_non_null(strstr(err.message, "got frame 3, expected 4"));
    ls_chooser_close(&c);
}

static void what_can_be_asked_for(void **state)
{
    (void)state;
    ls_choice c;
    assert_true(ls_choice_parse(&c, "largest") && c.kind == LS_CHOOSE_LARGEST);
    assert_true(ls_choice_parse(&c, "left") && c.kind == LS_CHOOSE_LEFT);
    assert_true(ls_choice_parse(&c, "right") && c.kind == LS_CHOOSE_RIGHT);
    assert_true(ls_choice_parse(&c, "1") && c.kind == LS_CHOOSE_ID && c.id == 1);
    assert_true(ls_choice_parse(&c, "2147483648") && c.id == 2147483648);
    assert_true(ls_choice_parse(&c, "640,360") && c.kind == LS_CHOOSE_POINT);
    assert_true(c.x == 640 && c.y == 360);
    assert_true(ls_choice_parse(&c, "-1.5,.25") && c.x == -1.5 && c.y == 0.25);
    static const char *const wrong[] = {
        "",           "Largest",
        "largest ",   "0",
        "2147483649", "-1",
        "1.5",        "+1",
        " 1",         "1,",
        ",1",         "1,2,3",
        "1,2 ",       "1, 2",
        "a,b",        "1,nan",
        "inf,1",      "0x1,2",
        "1e3,2",      "1;2",
        "2000000,1",  "1,--2",
        ".,.",        "-,-",
        "1,2px",      "99999999999999999999999999999999",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (ls_choice_parse(&c, wrong[i]))
            fail_msg("\"%s\" is taken", wrong[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_is_chosen),         cmocka_unit_test(the_choice_is_kept),
        cmocka_unit_test(the_chosen_one_leaves), cmocka_unit_test(each_shot_is_its_own),
        cmocka_unit_test(points_without_boxes),  cmocka_unit_test(what_can_be_asked_for),
    };
    return cmocka_run_group_tests_name("face_choose", tests, NULL, NULL);
}
