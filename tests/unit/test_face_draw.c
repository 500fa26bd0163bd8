/* Faces drawn into pictures: what is touched and what is not, and whether digits can be read. */
#include "test.h"

#include "face/draw.h"

#include <inttypes.h>
#include <math.h>

#define GREY 128

/* A picture within a block of memory of its own size, so that sanitizers see its ends. */
static ls_rgb make_picture(size_t w, size_t h, bool upwards)
{
    ls_rgb p = {malloc(3 * w * h), 3 * (ptrdiff_t)w, w, h};
    assert_non_null(p.data);
    memset(p.data, GREY, 3 * w * h);
    if (upwards) {
        p.data += p.stride * (ptrdiff_t)(h - 1);
        p.stride = -p.stride;
    }
    return p;
}

static void free_picture(ls_rgb *p)
{
    free(p->stride < 0 ? p->data + p->stride * (ptrdiff_t)(p->h - 1) : p->data);
}

static const uint8_t *pixel(const ls_rgb *p, size_t x, size_t y)
{
    return p->data + (ptrdiff_t)y * p->stride + 3 * x;
}

static bool touched(const ls_rgb *p, size_t x, size_t y)
{
    const uint8_t *v = pixel(p, x, y);
    return v[0] != GREY || v[1] != GREY || v[2] != GREY;
}

static size_t count_touched(const ls_rgb *p)
{
    size_t n = 0;
    for (size_t y = 0; y < p->h; y++)
        for (size_t x = 0; x < p->w; x++)
            n += touched(p, x, y);
    return n;
}

static void outlines_lie_on_the_edges(void **state)
{
    (void)state;
    ls_rgb p = make_picture(1280, 720, false);
    uint8_t color[3];
    ls_draw_color(3, color);
    assert_true(ls_draw_line(1280, 720) == 2 && ls_draw_line(720, 1280) == 2);
    ls_draw_face(&p, &(ls_face){.box = {300, 200, 700, 600}}, 3);
    for (size_t i = 320; i <= 580; i++) {
        assert_memory_equal(pixel(&p, 300, i), color, 3);
        assert_memory_equal(pixel(&p, 700, i), color, 3);
        assert_memory_equal(pixel(&p, i + 50, 200), color, 3);
        assert_memory_equal(pixel(&p, i + 50, 600), color, 3);
    }
    for (size_t y = 0; y < p.h; y++)
        for (size_t x = 0; x < p.w; x++) {
            bool near = x > 296 && x < 704 && y > 196 && y < 604;
            bool within = x > 303 && x < 697 && y > 203 && y < 597;
            bool tab = x > 296 && x < 330 && y > 170 && y <= 200;
            if (touched(&p, x, y) && (!near || within) && !tab)
                fail_msg("pixel %zu, %zu is touched", x, y);
        }
    assert_true(touched(&p, 302, 400) && !touched(&p, 320, 400)); // the rim, and beyond
    free_picture(&p);
}

static double ink(const ls_rgb *p)
{
    double sum = 0;
    for (size_t y = 0; y < p->h; y++)
        for (size_t x = 0; x < p->w; x++)
            sum += pixel(p, x, y)[2];
    return sum;
}

static void points_are_round_and_move_smoothly(void **state)
{
    (void)state;
    double first = 0;
    for (int i = 0; i < 8; i++) {
        ls_rgb p = make_picture(1280, 720, i % 2);
        memset(i % 2 ? p.data + p.stride * 719 : p.data, 0, (size_t)3 * 1280 * 720);
        const double x = 100 + i / 8., y = 50 + i / 3.;
        ls_face f = {.kind = LS_FACE_POINTS5};
        for (size_t k = 0; k < 5; k++)
            f.points[k][0] = x + 40 * (double)k, f.points[k][1] = y;
        uint8_t color[3];
        ls_draw_color(2, color);
        ls_draw_face(&p, &f, 2);
        double area = ink(&p) / color[2] / 5, r = sqrt(area / acos(-1));
        assert_true(r > 2 && r < 6);
        first = i ? first : area;
        assert_true(fabs(area - first) < 0.02 * first);
        assert_memory_equal(pixel(&p, (size_t)lrint(x), (size_t)lrint(y)), color, 3);
        for (size_t v = 0; v < p.h; v++)
            for (size_t u = 0; u < p.w; u++) {
                double nearest = 1e9;
                for (size_t k = 0; k < 5; k++)
                    nearest = fmin(nearest, hypot((double)u - f.points[k][0], (double)v - y));
                if (nearest > r + 1)
                    assert_int_equal(pixel(&p, u, v)[2], 0);
                if (nearest < r - 1)
                    assert_memory_equal(pixel(&p, u, v), color, 3);
            }
        free_picture(&p);
    }
}

static void what_cannot_be_seen_changes_nothing(void **state)
{
    (void)state;
    static const double boxes[][4] = {
        {0, 0, 0, 0},
        {NAN, 1, 30, 30},
        {1, 1, 30, NAN},
        {50, 10, 20, 40},
        {10, 40, 50, 20},
        {20, 20, 20, 40},
        {INFINITY, 0, INFINITY, 30},
        {INFINITY, INFINITY, -INFINITY, -INFINITY},
        {-90, 10, -20, 40},
        {10, -90, 40, -20},
        {140, 10, 190, 40},
        {10, 140, 40, 190},
        {1e300, 1e300, INFINITY, INFINITY},
        {-INFINITY, -INFINITY, -1e300, -1e300},
        {-1e18, -1e18, -1e17, 1e18},
    };
    ls_rgb p = make_picture(120, 90, false);
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        ls_face f = {.kind = LS_FACE_LANDMARKS106};
        memcpy(f.box, boxes[i], sizeof f.box);
        for (size_t k = 0; k < 106; k++) {
            f.points[k][0] = (double[]){NAN, INFINITY, -INFINITY, 1e300, -1e19, 1e10, 20}[k % 7];
            f.points[k][1] = k % 7 == 6 ? -1e6 : k % 2 ? 20 : 1e30;
        }
        ls_draw_face(&p, &f, 1);
        if (count_touched(&p))
            fail_msg("box %zu is seen", i);
    }
    free_picture(&p);
}

static void all_is_cut_off_at_the_borders(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {2, 900}, {900, 2}, {37, 23}, {64, 64}};
    static const double at[] = {-1e300, -2000, -30,  -0.5, 0,    1,
                                20.3,   63,    64.2, 500,  1e18, INFINITY};
    enum { N = sizeof at / sizeof *at };
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        ls_rgb p = make_picture(sizes[s][0], sizes[s][1], s % 2);
        for (size_t i = 0; i<N * N * N * N; i += s> 2 ? 1 : 7) {
            ls_face f = {.box = {at[i % N], at[i / N % N], at[i / N / N % N], at[i / N / N / N]},
                         .kind = LS_FACE_POINTS5};
            for (size_t k = 0; k < 5; k++)
                f.points[k][0] = at[(i + k) % N], f.points[k][1] = at[(i + 3 * k) % N];
            ls_draw_face(&p, &f, (uint32_t)(i * 2654435761u));
        }
        assert_true(count_touched(&p) > 0);
        free_picture(&p);
    }
}

static void successive_ids_differ_in_colour(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 40; i++)
        for (uint32_t j = i + 1; j < i + LS_DRAW_COLORS; j++) {
            uint8_t a[3], b[3];
            ls_draw_color(i, a);
            ls_draw_color(j, b);
            assert_true(abs(a[0] - b[0]) + abs(a[1] - b[1]) + abs(a[2] - b[2]) > 120);
        }
}

/* The digits as every terminal of 5 x 7 dots has shown them. */
static const char *const dots[10][7] = {
    {" ### ", "#   #", "#   #", "#   #", "#   #", "#   #", " ### "},
    {"  #  ", " ##  ", "  #  ", "  #  ", "  #  ", "  #  ", " ### "},
    {" ### ", "#   #", "    #", "   # ", "  #  ", " #   ", "#####"},
    {" ### ", "#   #", "    #", "  ## ", "    #", "#   #", " ### "},
    {"   # ", "  ## ", " # # ", "#  # ", "#####", "   # ", "   # "},
    {"#####", "#    ", "#### ", "    #", "    #", "#   #", " ### "},
    {" ### ", "#   #", "#    ", "#### ", "#   #", "#   #", " ### "},
    {"#####", "    #", "   # ", "  #  ", "  #  ", "  #  ", "  #  "},
    {" ### ", "#   #", "#   #", " ### ", "#   #", "#   #", " ### "},
    {" ### ", "#   #", "#   #", " ####", "    #", "#   #", " ### "},
};

static bool is_ink(const ls_rgb *p, const uint8_t tab[3], size_t x, size_t y)
{
    const uint8_t *v = pixel(p, x, y);
    bool black = v[0] < 30 && v[1] < 30 && v[2] < 30;
    return black || (tab[0] < 200 && v[0] > 250 && v[1] > 250 && v[2] > 250);
}

/* How well the ink, in cells of the size of the dots, correlates with the dots of a digit. */
static double likeness(double cells[7][5], int digit)
{
    double sum[5] = {0};
    for (size_t i = 0; i < 35; i++) {
        double a = cells[i / 5][i % 5], b = dots[digit][i / 5][i % 5] == '#';
        sum[0] += a, sum[1] += b, sum[2] += a * a, sum[3] += b * b, sum[4] += a * b;
    }
    return (sum[4] - sum[0] * sum[1] / 35) /
           sqrt((sum[2] - sum[0] * sum[0] / 35) * (sum[3] - sum[1] * sum[1] / 35));
}

/* Holes in the ink of a rectangle, which is in one piece: 1 less Euler's number, which is a sum
 * over squares of 2 x 2 pixels. */
static int count_holes(const ls_rgb *p, const uint8_t tab[3], size_t x0, size_t x1, size_t y0,
                       size_t y1)
{
    int euler = 0;
    for (size_t y = y0 - 1; y < y1; y++)
        for (size_t x = x0 - 1; x < x1; x++) {
            int a = is_ink(p, tab, x, y), b = is_ink(p, tab, x + 1, y);
            int c = is_ink(p, tab, x, y + 1), d = is_ink(p, tab, x + 1, y + 1), n = a + b + c + d;
            euler += n == 1 ? 1 : n == 3 ? -1 : n == 2 && a == d ? -2 : 0;
        }
    return 1 - euler / 4;
}

/* The digit with as many holes that is most like the ink of a rectangle, its height scaled to that
 * of the dots. */
static int read_digit(const ls_rgb *p, const uint8_t tab[3], size_t x0, size_t x1, size_t y0,
                      size_t y1)
{
    double cells[7][5] = {{0}}, all[7][5] = {{0}}, cell = (double)(y1 - y0) / 7;
    bool narrow = (double)(x1 - x0) < 3 * cell; // a "1" without a foot: its stem is in the middle
    double left = narrow ? (double)x1 - 3 * cell : (double)(x0 + x1) / 2 - 2.5 * cell;
    static const int holes[10] = {1, 0, 0, 0, 1, 0, 1, 0, 2, 1};
    int best = -1, has = count_holes(p, tab, x0, x1, y0, y1);
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++) {
            double column = fmin(fmax(floor(((double)x + 0.5 - left) / cell), 0), 4);
            size_t i = (size_t)(((double)(y - y0) + 0.5) / cell);
            cells[i][(size_t)column] += is_ink(p, tab, x, y);
            all[i][(size_t)column] += 1;
        }
    for (size_t i = 0; i < 35; i++)
        cells[i / 5][i % 5] /= fmax(all[i / 5][i % 5], 1);
    for (int d = 0; d < 10; d++)
        if (holes[d] == has && (best < 0 || likeness(cells, d) > likeness(cells, best)))
            best = d;
    assert_true(best >= 0);
    return best;
}

/* The number that the picture shows; columns without ink part the digits. */
static uint64_t read_number(const ls_rgb *p, const uint8_t tab[3])
{
    uint64_t number = 0;
    size_t y0 = p->h, y1 = 0, begun = p->w;
    for (size_t y = 0; y < p->h; y++)
        for (size_t x = 0; x < p->w; x++)
            if (is_ink(p, tab, x, y)) {
                y0 = y < y0 ? y : y0;
                y1 = y + 1;
            }
    assert_true(y0 < y1);
    for (size_t x = 0; x < p->w; x++) {
        bool any = false;
        for (size_t y = y0; y < y1; y++)
            any |= is_ink(p, tab, x, y);
        if (any && begun == p->w)
            begun = x;
        if (!any && begun < p->w) {
            number = 10 * number + (uint64_t)read_digit(p, tab, begun, x, y0, y1);
            begun = p->w;
        }
    }
    return number;
}

static void assert_label_reads(size_t w, size_t h, const double box[4], uint32_t id)
{
    uint8_t color[3];
    ls_rgb p = make_picture(w, h, id % 2);
    ls_face f = {0};
    memcpy(f.box, box, sizeof f.box);
    ls_draw_color(id, color);
    ls_draw_face(&p, &f, id);
    uint64_t got = read_number(&p, color);
    if (got != id)
        fail_msg("%" PRIu32 " reads as %" PRIu64, id, got);
    free_picture(&p);
}

static void ids_can_be_read(void **state)
{
    (void)state;
    static const uint32_t ids[] = {10, 12, 34, 56, 78, 90, 4071, 1234567890, UINT32_MAX};
    for (uint32_t i = 0; i < 10; i++) {
        assert_label_reads(1440, 1440, (double[]){200, 200, 500, 500}, i);
        assert_label_reads(1000, 1400, (double[]){300.4, 300.7, 600, 700}, i);
    }
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++)
        assert_label_reads(1440, 1600, (double[]){100, 200, 400, 500}, ids[i]);
}

/* Wherever a part of the box is. */
static void labels_stay_inside(void **state)
{
    (void)state;
    static const double boxes[][4] = {
        {0, 0, 300, 300},      {-50, -50, 200, 200},         {100, 5, 400, 300},
        {1300, 30, 1340, 200}, {1435, 600, 1900, 900},       {300, 1439, 400, 4000},
        {-400, 300, 10, 400},  {-1e9, -1e9, 1e9, 1e9},       {1420, 1420, INFINITY, INFINITY},
        {200, -900, 300, 3},   {-1e300, 0, 1e300, INFINITY},
    };
    for (size_t i = 0; i < sizeof boxes / sizeof *boxes; i++) {
        assert_label_reads(1440, 1440, boxes[i], 25);
        assert_label_reads(1440, 1440, boxes[i], 1987654321);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outlines_lie_on_the_edges),
        cmocka_unit_test(points_are_round_and_move_smoothly),
        cmocka_unit_test(what_cannot_be_seen_changes_nothing),
        cmocka_unit_test(all_is_cut_off_at_the_borders),
        cmocka_unit_test(successive_ids_differ_in_colour),
        cmocka_unit_test(ids_can_be_read),
        cmocka_unit_test(labels_stay_inside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
