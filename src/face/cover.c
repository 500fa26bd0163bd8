#include "face/cover.h"

#include <math.h>
#include <string.h>

#define CELL 0.1   /* side, in units of the mean face */
#define SAMPLES 4  /* along each side of a cell */
#define FIRST 12   /* looks before anything can be unusual */
#define RATE 0.04  /* of what a look changes in the means, a frame; */
#define SLOW 0.002 /* where many cells differ */
#define MANY 0.25
#define SPREADS 3 /* mean deviations that are usual, beside: */
static const double least[LS_LOOK_FEATURES] = {0.08, 0.04, 0.04, 0.35};

/* Eye centres and nose tip of a 68-point mean face. */
static const double mean3[3][2] = {{-0.275, -0.317}, {0.258, -0.317}, {-0.010, -0.140}};

static void mean_of(const ls_face *f, size_t first, size_t end, double p[2])
{
    p[0] = p[1] = 0;
    for (size_t i = first; i < end; i++)
        for (size_t c = 0; c < 2; c++)
            p[c] += f->points[i][c] / (double)(end - first);
}

bool ls_face_five_points(const ls_face *face, double points[5][2])
{
    if (face->kind == LS_FACE_POINTS5) {
        memcpy(points, face->points, 5 * sizeof *points);
    } else if (face->kind == LS_FACE_LANDMARKS106) {
        mean_of(face, 33, 43, points[0]);
        mean_of(face, 87, 97, points[1]);
        mean_of(face, 86, 87, points[2]);
        mean_of(face, 52, 53, points[3]);
        mean_of(face, 61, 62, points[4]);
    }
    return face->kind != LS_FACE_NONE;
}

/* x = a u - b v + x0, y = b u + a v + y0 */
typedef struct similarity {
    double a, b, x, y;
} similarity;

/* By least squares from eyes and nose: what covers the mouth moves its corners. */
static bool place(const ls_face *face, similarity *s)
{
    double p[5][2], from[2] = {0}, to[2] = {0}, norm = 0;
    *s = (similarity){0};
    if (!ls_face_five_points(face, p))
        return false;
    for (size_t i = 0; i < 3; i++)
        for (size_t c = 0; c < 2; c++) {
            from[c] += mean3[i][c] / 3;
            to[c] += p[i][c] / 3;
        }
    for (size_t i = 0; i < 3; i++) {
        const double u = mean3[i][0] - from[0], v = mean3[i][1] - from[1];
        const double x = p[i][0] - to[0], y = p[i][1] - to[1];
        s->a += u * x + v * y;
        s->b += u * y - v * x;
        norm += u * u + v * v;
    }
    s->a /= norm;
    s->b /= norm;
    s->x = to[0] - s->a * from[0] + s->b * from[1];
    s->y = to[1] - s->b * from[0] - s->a * from[1];
    return hypot(s->a, s->b) >= 1 && isfinite(s->x) && isfinite(s->y);
}

typedef struct cell {
    double r, g, b, luma, deviation;
} cell;

static double clamp(double v, size_t size)
{
    return fmin(fmax(v, 0), (double)size - 1);
}

static double luma_of(double r, double g, double b)
{
    return 0.299 * r + 0.587 * g + 0.114 * b;
}

/* The cell whose first corner is (u, v). */
static cell cell_at(const ls_rgb *frame, const similarity *s, double u, double v)
{
    cell c = {0};
    double squares = 0;
    for (size_t i = 0; i < (size_t)SAMPLES * SAMPLES; i++) {
        const double p = u + CELL * ((double)(i % SAMPLES) + 0.5) / SAMPLES,
                     q = v + CELL * ((double)(i / SAMPLES) + 0.5) / SAMPLES;
        const long x = lrint(clamp(s->a * p - s->b * q + s->x, frame->w)),
                   y = lrint(clamp(s->b * p + s->a * q + s->y, frame->h));
        const uint8_t *pixel = frame->data + y * frame->stride + 3 * x;
        const double luma = luma_of(pixel[0], pixel[1], pixel[2]);
        c.r += pixel[0];
        c.g += pixel[1];
        c.b += pixel[2];
        squares += luma * luma;
    }
    const double n = (double)SAMPLES * SAMPLES;
    c.r /= n;
    c.g /= n;
    c.b /= n;
    c.luma = luma_of(c.r, c.g, c.b);
    c.deviation = sqrt(fmax(squares / n - c.luma * c.luma, 0));
    return c;
}

/* The mean of nose and cheeks. */
static cell cheeks(const ls_rgb *frame, const similarity *s)
{
    cell sum = {0};
    for (int i = 0; i < 12; i++) {
        const cell c = cell_at(frame, s, -0.3 + CELL * (i % 6), -0.2 + CELL * (i / 6));
        sum.r += c.r / 12;
        sum.g += c.g / 12;
        sum.b += c.b / 12;
    }
    sum.luma = luma_of(sum.r, sum.g, sum.b);
    return sum;
}

/* The offsets keep the noise of dark pixels small. */
static void features_of(const cell *c, const cell *cheek, float to[LS_LOOK_FEATURES])
{
    const double light = cheek->luma + 8;
    to[0] = (float)log((c->luma + 8) / light);
    to[1] = (float)((c->r - c->g) / (c->luma + 16) - (cheek->r - cheek->g) / light);
    to[2] = (float)((c->b - c->g) / (c->luma + 16) - (cheek->b - cheek->g) / light);
    to[3] = (float)log((c->deviation + 3) / (0.04 * light + 3));
}

void ls_look_take(ls_look *look, const ls_rgb *frame, const ls_face *face)
{
    similarity s;
    size_t n = 0;
    *look = (ls_look){.known = frame->w && frame->h && place(face, &s)};
    if (!look->known)
        return;
    const cell cheek = cheeks(frame, &s);
    for (int i = 0; i < 30; i++) {
        const int row = i / 6, column = i % 6;
        if ((row == 2 || row == 3) && column > 0 && column < 5) // the mouth
            continue;
        const cell c = cell_at(frame, &s, -0.3 + CELL * column, CELL * row);
        features_of(&c, &cheek, look->cells[n++]);
    }
}

static bool differs(const ls_cover *c, const ls_look *look, size_t i)
{
    for (size_t k = 0; k < LS_LOOK_FEATURES; k++)
        if (fabs((double)look->cells[i][k] - c->mean[i][k]) >
            least[k] + SPREADS * (double)c->spread[i][k])
            return true;
    return false;
}

double ls_cover_next(ls_cover *c, const ls_look *look, double frames)
{
    size_t unusual = 0;
    if (!look->known)
        return 0;
    for (size_t i = 0; i < LS_LOOK_CELLS; i++)
        unusual += c->looks >= FIRST && differs(c, look, i);
    const double share = (double)unusual / LS_LOOK_CELLS;
    const double rate = fmax(fmin((share < MANY ? RATE : SLOW) * frames, 0.5),
                             c->looks < FIRST ? 1 / (double)(c->looks + 1) : 0);
    c->looks++;
    for (size_t i = 0; i < LS_LOOK_CELLS; i++)
        for (size_t k = 0; k < LS_LOOK_FEATURES; k++) {
            const double by = (double)look->cells[i][k] - c->mean[i][k];
            c->mean[i][k] += (float)(rate * by);
            if (c->looks > 1)
                c->spread[i][k] += (float)(rate * (fabs(by) - c->spread[i][k]));
        }
    return share;
}
