#include "face/draw.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* In line widths; for the digits, in units of their grid. */
#define RIM 0.6
#define CORNER 2.0
#define POINT_RADIUS 1.6
#define LANDMARK_RADIUS 0.8
#define DIGIT_UNIT 1.0
#define TAB_BORDER 2.0
#define DIGIT_LINE 1.3
#define DIGIT_NARROW 0.85
#define DIGIT_W (6 * DIGIT_NARROW)
#define DIGIT_H 8
#define DIGIT_ADVANCE 7.4
#define MAX_SEGMENTS 256

static const uint8_t black[3] = {0, 0, 0}, white[3] = {255, 255, 255};

static const uint8_t palette[LS_DRAW_COLORS][3] = {
    {245, 245, 245}, {255, 210, 0},  {0, 180, 255},  {255, 70, 180},
    {70, 225, 90},   {255, 100, 20}, {130, 90, 255}, {20, 70, 200},
};

/* Strokes of the digits: control points of quadratic B-splines on the grid, which begin at the
 * first and end at the last; a point given twice is a corner. */
static const char *const digits[10] = {
    "30 60 68 08 00 30",
    "22 40 40 48",
    "02 00 60 64 08 08 68",
    "01 00 60 64 24 24 64 68 08 07",
    "48 40 40 06 06 66",
    "60 10 10 04 04 62 68 08 07",
    "61 60 00 08 68 64 04 06",
    "00 60 60 28",
    "30 50 54 14 10 30|34 64 68 08 04 34",
    "07 08 68 60 00 04 64 62",
};

typedef struct point {
    double x, y;
} point;

/* A rectangle with round corners, filled or its outline, or a number of segments. */
typedef struct shape {
    point centre, half; /* of the rectangle, or of what holds the segments */
    double radius;      /* of the corners */
    double line;        /* half of its width; 0: filled */
    size_t count;
    point (*segments)[2];
} shape;

static double segment_distance(point p, const point s[2])
{
    double dx = s[1].x - s[0].x, dy = s[1].y - s[0].y, length = dx * dx + dy * dy;
    double t = length > 0 ? ((p.x - s[0].x) * dx + (p.y - s[0].y) * dy) / length : 0;
    t = fmin(fmax(t, 0), 1);
    return hypot(p.x - s[0].x - t * dx, p.y - s[0].y - t * dy);
}

/* Negative inside. */
static double distance(const shape *s, point p)
{
    if (s->count) {
        double least = INFINITY;
        for (size_t i = 0; i < s->count; i++)
            least = fmin(least, segment_distance(p, s->segments[i]));
        return least - s->line;
    }
    double x = fabs(p.x - s->centre.x) - s->half.x + s->radius,
           y = fabs(p.y - s->centre.y) - s->half.y + s->radius;
    double out = x > 0 && y > 0 ? sqrt(x * x + y * y) : fmax(x, y);
    return s->line > 0 ? fabs(out - s->radius) - s->line : out - s->radius;
}

/* Pixels, of 0 .. size-1, within `reach` of `at`. False: none. */
static bool clip(double at, double reach, size_t size, size_t *from, size_t *to)
{
    double a = fmax(ceil(at - reach), 0), b = fmin(floor(at + reach), (double)size - 1);
    if (isnan(at) || a > b)
        return false;
    *from = (size_t)a;
    *to = (size_t)b + 1;
    return true;
}

static void paint(const ls_rgb *picture, const shape *s, double grow, const uint8_t color[3],
                  double opacity)
{
    size_t x0, x1, y0, y1;
    double reach = s->line + grow + 0.5;
    if (!clip(s->centre.x, s->half.x + reach, picture->w, &x0, &x1) ||
        !clip(s->centre.y, s->half.y + reach, picture->h, &y0, &y1))
        return;
    for (size_t y = y0; y < y1; y++) {
        uint8_t *row = picture->data + (ptrdiff_t)y * picture->stride;
        for (size_t x = x0; x < x1; x++) {
            double cover = 0.5 + grow - distance(s, (point){(double)x, (double)y});
            if (cover <= 0)
                continue;
            double a = opacity * fmin(cover, 1);
            for (size_t c = 0; c < 3; c++)
                row[3 * x + c] = (uint8_t)lrint(row[3 * x + c] + a * (color[c] - row[3 * x + c]));
        }
    }
}

/* In its colour, on a dark rim that sets it off from any background. */
static void paint_rimmed(const ls_rgb *picture, const shape *s, double line, const uint8_t color[3])
{
    paint(picture, s, RIM * line, black, 0.5);
    paint(picture, s, 0, color, 1);
}

static point middle(point a, point b)
{
    return (point){(a.x + b.x) / 2, (a.y + b.y) / 2};
}

/* Appends the span of a spline about its control point `b`. */
static void add_span(shape *s, point a, point b, point c)
{
    enum { STEPS = 8 };
    point from = middle(a, b), to = middle(b, c), last = from;
    for (int i = 1; i <= STEPS && s->count < MAX_SEGMENTS; i++) {
        double t = (double)i / STEPS;
        point left = {from.x + t * (b.x - from.x), from.y + t * (b.y - from.y)},
              right = {b.x + t * (to.x - b.x), b.y + t * (to.y - b.y)};
        point next = {left.x + t * (right.x - left.x), left.y + t * (right.y - left.y)};
        s->segments[s->count][0] = last;
        s->segments[s->count++][1] = last = next;
    }
}

/* `corner`: the grid's origin in the image. */
static void paint_digit(const ls_rgb *picture, char digit, point corner, double unit,
                        const uint8_t color[3])
{
    point segments[MAX_SEGMENTS][2];
    shape s = {.centre = {corner.x + DIGIT_W * unit / 2, corner.y + DIGIT_H * unit / 2},
               .half = {DIGIT_W * unit / 2, DIGIT_H * unit / 2},
               .line = DIGIT_LINE * unit / 2,
               .segments = segments};
    point before = {0}, at = {0};
    bool begun = false;
    for (const char *p = digits[digit - '0'];; p += 3) {
        point next = {corner.x + (p[0] - '0') * DIGIT_NARROW * unit,
                      corner.y + (p[1] - '0') * unit};
        if (begun)
            add_span(&s, before, at, next);
        before = begun ? at : next;
        at = next;
        begun = p[2] == ' ';
        if (!begun)
            add_span(&s, before, at, at);
        if (!p[2])
            break;
    }
    paint(picture, &s, 0, color, 1);
}

static void paint_tab(const ls_rgb *picture, const double box[4], double line, uint32_t id,
                      const uint8_t color[3])
{
    char text[16];
    double n = snprintf(text, sizeof text, "%" PRIu32, id), unit = DIGIT_UNIT * line;
    double w = ((n - 1) * DIGIT_ADVANCE + DIGIT_W + DIGIT_LINE) * unit + 2 * TAB_BORDER * line,
           h = (DIGIT_H + DIGIT_LINE) * unit + 2 * TAB_BORDER * line;
    double x = box[0] - line / 2, y = box[1] + line / 2 - h;
    if (y < 0)
        y = box[1] - line / 2;
    x = fmax(fmin(x, (double)picture->w - 1 - w), 0);
    y = fmax(fmin(y, (double)picture->h - 1 - h), 0);
    shape tab = {.centre = {x + w / 2, y + h / 2}, .half = {w / 2, h / 2}, .radius = CORNER * line};
    paint_rimmed(picture, &tab, line, color);
    double luma = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2];
    point corner = {x + TAB_BORDER * line + DIGIT_LINE * unit / 2,
                    y + TAB_BORDER * line + DIGIT_LINE * unit / 2};
    for (const char *p = text; *p; p++, corner.x += DIGIT_ADVANCE * unit)
        paint_digit(picture, *p, corner, unit, luma > 128 ? black : white);
}

double ls_draw_line(size_t w, size_t h)
{
    return fmax((double)(w < h ? w : h) / 360, 1);
}

void ls_draw_color(uint32_t id, uint8_t color[3])
{
    memcpy(color, palette[id % LS_DRAW_COLORS], 3);
}

void ls_draw_face(const ls_rgb *picture, const ls_face *face, uint32_t id)
{
    uint8_t color[3];
    ls_draw_color(id, color);
    double line = ls_draw_line(picture->w, picture->h), far = 100 * line, box[4];
    double radius = line * (face->kind == LS_FACE_POINTS5 ? POINT_RADIUS : LANDMARK_RADIUS);
    for (size_t i = 0; i < 4; i++) /* anything farther out is just as invisible */
        box[i] = isnan(face->box[i]) ? NAN
                                     : fmin(fmax(face->box[i], -far),
                                            (double)(i % 2 ? picture->h : picture->w) + far);
    bool known = box[0] < box[2] && box[1] < box[3];
    if (known) {
        shape outline = {.centre = {(box[0] + box[2]) / 2, (box[1] + box[3]) / 2},
                         .half = {(box[2] - box[0]) / 2, (box[3] - box[1]) / 2},
                         .line = line / 2};
        outline.radius = fmin(CORNER * line, fmin(outline.half.x, outline.half.y));
        paint_rimmed(picture, &outline, line, color);
    }
    for (size_t i = 0; i < (size_t)face->kind; i++) {
        shape disc = {.centre = {face->points[i][0], face->points[i][1]},
                      .half = {radius, radius},
                      .radius = radius};
        paint_rimmed(picture, &disc, line, color);
    }
    if (known && box[0] < (double)picture->w && box[1] < (double)picture->h && box[2] >= 0 &&
        box[3] >= 0)
        paint_tab(picture, box, line, id, color);
}
