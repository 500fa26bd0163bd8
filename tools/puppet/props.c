#include "puppet.h"

#include <math.h>

#define PI 3.14159265358979
#define WAY 6    /* frames that a prop or a turn takes to come, and to go */
#define TURN 1.2 /* radians */
#define GRID 24

static double clamp(double v)
{
    return fmin(fmax(v, 0), 1);
}

static double smooth(double v)
{
    v = clamp(v);
    return v * v * (3 - 2 * v);
}

double puppet_presence(const puppet_span *s, size_t frame)
{
    const double at = (double)frame, from = (double)s->from, to = (double)s->to;
    return s->to > s->from ? smooth(fmin((at - from + WAY) / WAY, (to - 1 - at + WAY) / WAY)) : 0;
}

void puppet_turn(const puppet_speaker *s, puppet_pose *p, double amount)
{
    puppet_random r = {s->motion ^ 0x707};
    const double side = puppet_uniform(&r, -1, 1) > 0 ? 1 : -1;
    p->yaw += amount * (side * TURN - p->yaw);
}

static void ink(cairo_t *cr, puppet_colour c, double by)
{
    cairo_set_source_rgb(cr, fmin(c.r * by, 1), fmin(c.g * by, 1), fmin(c.b * by, 1));
}

static void capsule(cairo_t *cr, double x, double y, double length, double radius, double angle)
{
    cairo_save(cr);
    cairo_translate(cr, x, y);
    cairo_rotate(cr, angle);
    cairo_new_sub_path(cr);
    cairo_arc(cr, 0, -length, radius, PI, 2 * PI);
    cairo_arc(cr, 0, 0, radius, 0, PI);
    cairo_close_path(cr);
    cairo_restore(cr);
}

/* Where a prop is, in units of the face, its tip at the mouth when it is there. */
static void place(cairo_t *cr, const puppet_speaker *s, const puppet_pose *p, double amount,
                  double *lean)
{
    puppet_random r = {s->motion ^ 0x4a4d};
    const double side = puppet_uniform(&r, -1, 1), up = puppet_uniform(&r, -0.05, 0.07);
    *lean = -0.55 * side;
    cairo_translate(cr, p->x, p->y);
    cairo_scale(cr, p->scale, p->scale);
    cairo_translate(cr, side * (0.06 + 1.3 * (1 - amount)), s->mouth_y + up + 1.7 * (1 - amount));
    cairo_rotate(cr, *lean);
}

/* Calls for each part of a prop with its path set. */
typedef void part_function(cairo_t *cr, puppet_colour c, double by, void *opaque);

static void hand(cairo_t *cr, const puppet_speaker *s, part_function *f, void *opaque)
{
    static const double fingers[4][3] = {
        {-0.24, 0.30, -0.10}, {-0.08, 0.36, -0.03}, {0.08, 0.34, 0.03}, {0.24, 0.25, 0.12}};
    capsule(cr, 0, 1.7, 1.2, 0.20, 0);
    f(cr, s->shirt, 0.9, opaque);
    capsule(cr, -0.30, 0.42, 0.34, 0.085, -0.75);
    f(cr, s->skin, 0.86, opaque);
    capsule(cr, 0, 0.45, 0.30, 0.33, 0);
    f(cr, s->skin, 0.93, opaque);
    for (int i = 0; i < 4; i++) {
        capsule(cr, fingers[i][0], 0.12, fingers[i][1], 0.082, fingers[i][2]);
        f(cr, s->skin, 0.95 - 0.03 * i, opaque);
    }
}

static void microphone(cairo_t *cr, const puppet_speaker *s, part_function *f, void *opaque)
{
    const puppet_colour dark = {.16, .16, .18};
    (void)s;
    capsule(cr, 0, 1.5, 1.3, 0.085, 0);
    f(cr, dark, 0.8, opaque);
    capsule(cr, 0, 0.14, 0.17, 0.20, 0);
    f(cr, dark, 1.5, opaque);
    cairo_rectangle(cr, -0.19, 0.13, 0.38, 0.055);
    f(cr, dark, 2.6, opaque);
}

static void paint(cairo_t *cr, puppet_colour c, double by, void *opaque)
{
    (void)opaque;
    ink(cr, c, by);
    cairo_fill_preserve(cr);
    ink(cr, c, by * 0.62);
    cairo_set_line_width(cr, 0.022);
    cairo_stroke(cr);
}

static void draw(puppet_prop prop, cairo_t *cr, const puppet_speaker *s, part_function *f,
                 void *opaque)
{
    (prop == PUPPET_HAND ? hand : microphone)(cr, s, f, opaque);
}

void puppet_draw_prop(cairo_t *cr, puppet_prop prop, const puppet_speaker *s, const puppet_pose *p,
                      double amount)
{
    double lean;
    if (amount <= 0)
        return;
    cairo_save(cr);
    place(cr, s, p, amount, &lean);
    draw(prop, cr, s, paint, NULL);
    cairo_restore(cr);
}

typedef struct samples {
    double x[GRID * GRID], y[GRID * GRID]; /* of the mouth, in pixels */
    bool covered[GRID * GRID];
} samples;

static void mark(cairo_t *cr, puppet_colour c, double by, void *opaque)
{
    samples *m = opaque;
    (void)c, (void)by;
    for (int i = 0; i < GRID * GRID; i++) {
        double x = m->x[i], y = m->y[i];
        cairo_device_to_user(cr, &x, &y);
        m->covered[i] |= cairo_in_fill(cr, x, y);
    }
    cairo_new_path(cr);
}

double puppet_covered(cairo_t *cr, puppet_prop prop, const puppet_speaker *s, const puppet_pose *p,
                      double amount)
{
    samples m = {0};
    double lean, sum = 0;
    if (amount <= 0)
        return 0;
    for (int i = 0; i < GRID * GRID; i++) {
        const double u = 0.24 * (2.0 * (i % GRID) / (GRID - 1) - 1),
                     v = s->mouth_y - 0.06 + 0.22 * (i / GRID) / (GRID - 1);
        m.x[i] = p->x + p->scale * (u * cos(p->roll) - v * sin(p->roll));
        m.y[i] = p->y + p->scale * (u * sin(p->roll) + v * cos(p->roll));
    }
    cairo_save(cr);
    place(cr, s, p, amount, &lean);
    draw(prop, cr, s, mark, &m);
    cairo_restore(cr);
    for (int i = 0; i < GRID * GRID; i++)
        sum += m.covered[i];
    return sum / (GRID * GRID);
}
