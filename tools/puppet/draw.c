#include "puppet.h"

#include <math.h>

#define PI 3.14159265358979

typedef struct painter {
    cairo_t *cr;
    const puppet_speaker *s;
    const puppet_pose *p;
    double size;
} painter;

/* A point of the head, z towards the viewer, as seen: in units of the face. */
static void turned(const puppet_pose *p, double x, double y, double z, double *u, double *v)
{
    double front = z * cos(p->yaw) - x * sin(p->yaw);
    *u = x * cos(p->yaw) + z * sin(p->yaw);
    *v = y * cos(p->pitch) - front * sin(p->pitch) * 0.6;
}

/* How far the front of the head protrudes at a point. */
static double bulge(const puppet_speaker *s, double x, double y)
{
    double r = pow(x / (s->cheek * 1.08), 2) + pow((y + 0.1) / 0.95, 2);
    return 0.34 * sqrt(fmax(0, 1 - r)) - 0.12;
}

static void at(const painter *t, double x, double y, double z, double *u, double *v)
{
    turned(t->p, x, y, bulge(t->s, x, y) + z, u, v);
}

static void move_to(const painter *t, double x, double y)
{
    double u, v;
    at(t, x, y, 0, &u, &v);
    cairo_move_to(t->cr, u, v);
}

static void line_to(const painter *t, double x, double y)
{
    double u, v;
    at(t, x, y, 0, &u, &v);
    cairo_line_to(t->cr, u, v);
}

static void curve_to(const painter *t, double x1, double y1, double x2, double y2, double x3,
                     double y3)
{
    double u1, v1, u2, v2, u3, v3;
    at(t, x1, y1, 0, &u1, &v1);
    at(t, x2, y2, 0, &u2, &v2);
    at(t, x3, y3, 0, &u3, &v3);
    cairo_curve_to(t->cr, u1, v1, u2, v2, u3, v3);
}

static void oval(const painter *t, double x, double y, double z, double rx, double ry)
{
    double u, v;
    at(t, x, y, z, &u, &v);
    cairo_save(t->cr);
    cairo_translate(t->cr, u, v);
    cairo_scale(t->cr, rx, ry);
    cairo_new_sub_path(t->cr);
    cairo_arc(t->cr, 0, 0, 1, 0, 2 * PI);
    cairo_restore(t->cr);
}

static puppet_colour shade(puppet_colour c, double by)
{
    return (puppet_colour){fmin(c.r * by, 1), fmin(c.g * by, 1), fmin(c.b * by, 1)};
}

static puppet_colour blend(puppet_colour a, puppet_colour b, double t)
{
    return (puppet_colour){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static void ink(const painter *t, puppet_colour c, double alpha)
{
    cairo_set_source_rgba(t->cr, c.r, c.g, c.b, alpha);
}

static void fill(const painter *t, puppet_colour c)
{
    ink(t, c, 1);
    cairo_fill(t->cr);
}

static void stroke(const painter *t, puppet_colour c, double alpha, double width)
{
    ink(t, c, alpha);
    cairo_set_line_width(t->cr, width);
    cairo_stroke(t->cr);
}

/* Paints the path with a soft spot: `inner` at the middle, fading to nothing at `radius`. */
static void spot(const painter *t, double x, double y, double radius, puppet_colour c, double alpha)
{
    cairo_pattern_t *g = cairo_pattern_create_radial(x, y, 0, x, y, radius);
    cairo_pattern_add_color_stop_rgba(g, 0, c.r, c.g, c.b, alpha);
    cairo_pattern_add_color_stop_rgba(g, 1, c.r, c.g, c.b, 0);
    cairo_set_source(t->cr, g);
    cairo_pattern_destroy(g);
}

static void draw_wall(const painter *t)
{
    const puppet_speaker *s = t->s;
    puppet_random r = {s->motion ^ 0x3a11};
    const double n = t->size;
    cairo_pattern_t *g = cairo_pattern_create_linear(0, 0, n * (0.5 + s->light / 2), n);
    cairo_pattern_add_color_stop_rgb(g, 0, s->wall.r, s->wall.g, s->wall.b);
    cairo_pattern_add_color_stop_rgb(g, 1, s->wall2.r, s->wall2.g, s->wall2.b);
    cairo_set_source(t->cr, g);
    cairo_paint(t->cr);
    cairo_pattern_destroy(g);
    for (int i = 0; s->wall_style == 1 && i < 14; i++) { // lights out of focus
        double x = puppet_uniform(&r, 0, n), y = puppet_uniform(&r, 0, n * 0.8),
               rad = puppet_uniform(&r, 0.03, 0.10) * n;
        cairo_arc(t->cr, x, y, rad, 0, 2 * PI);
        ink(t, shade(blend(s->wall, s->wall2, puppet_uniform(&r, -1, 2)), 1.25),
            puppet_uniform(&r, 0.15, 0.4));
        cairo_fill(t->cr);
    }
    if (s->wall_style == 2) { // a shelf with books
        for (int row = 0; row < 3; row++) {
            double y = n * (0.12 + 0.27 * row), x = 0;
            while (x < n) {
                double w = puppet_uniform(&r, 0.02, 0.055) * n,
                       h = puppet_uniform(&r, 0.11, 0.20) * n;
                cairo_rectangle(t->cr, x, y + 0.2 * n - h, w * 0.94, h);
                fill(t, shade(blend(s->wall2, s->shirt, puppet_uniform(&r, 0, 1)),
                              puppet_uniform(&r, 0.6, 1.15)));
                x += w;
            }
            cairo_rectangle(t->cr, 0, y + 0.2 * n, n, 0.02 * n);
            fill(t, shade(s->wall, 0.55));
        }
    }
    if (s->wall_style == 3) { // a window
        double x = puppet_uniform(&r, 0.02, 0.6) * n, w = 0.36 * n;
        for (int i = 0; i < 4; i++) {
            cairo_rectangle(t->cr, x + (i & 1) * w * 0.52, 0.06 * n + (i / 2) * w * 0.62, w * 0.48,
                            w * 0.58);
            fill(t, blend(s->wall, (puppet_colour){.85, .93, 1}, 0.7));
        }
    }
}

static void draw_body(const painter *t)
{
    const puppet_speaker *s = t->s;
    cairo_t *cr = t->cr;
    puppet_colour neck = shade(s->skin, 0.86);
    cairo_move_to(cr, -1.5, 2.6);
    cairo_curve_to(cr, -1.35, 1.25, -1.1, 1.05, -0.38, 0.92);
    cairo_line_to(cr, 0.38, 0.92);
    cairo_curve_to(cr, 1.1, 1.05, 1.35, 1.25, 1.5, 2.6);
    cairo_close_path(cr);
    fill(t, s->shirt);
    cairo_move_to(cr, -0.36, 0.20);
    cairo_line_to(cr, -0.36, 0.85);
    cairo_curve_to(cr, -0.3, 1.25, 0.3, 1.25, 0.36, 0.85);
    cairo_line_to(cr, 0.36, 0.20);
    cairo_close_path(cr);
    fill(t, neck);
    cairo_move_to(cr, -0.38, 0.84);
    cairo_curve_to(cr, -0.32, 1.28, 0.32, 1.28, 0.38, 0.84);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    stroke(t, shade(s->shirt, 0.75), 1, 0.07);
}

/* Styles: 0 bald, 1 short, 2 parted, 3 long, 4 curls, 5 bun. */
static void draw_back_hair(const painter *t)
{
    const puppet_speaker *s = t->s;
    puppet_colour dark = shade(s->hair, 0.8);
    if (s->hair_style == 3) {
        move_to(t, -s->cheek - 0.12, -0.5);
        curve_to(t, -s->cheek - 0.3, 0.3, -s->cheek - 0.15, 0.9, -0.42, 1.05);
        line_to(t, 0.42, 1.05);
        curve_to(t, s->cheek + 0.15, 0.9, s->cheek + 0.3, 0.3, s->cheek + 0.12, -0.5);
        curve_to(t, 0.55, -1.35, -0.55, -1.35, -s->cheek - 0.12, -0.5);
        fill(t, dark);
    }
    if (s->hair_style == 5) {
        oval(t, 0.05, s->forehead - 0.3, -0.3, 0.27, 0.24);
        fill(t, dark);
    }
    for (int i = 0; s->hair_style == 4 && i < 15; i++) {
        double a = PI * (1.05 + 0.9 * i / 14.0) + (i % 2 ? 0.03 : -0.03);
        oval(t, cos(a) * (s->cheek + 0.1), -0.35 + sin(a) * 0.72, -0.1, 0.2, 0.2);
        fill(t, i % 2 ? dark : s->hair);
    }
}

static void draw_front_hair(const painter *t)
{
    const puppet_speaker *s = t->s;
    const double w = s->cheek, top = s->forehead;
    if (s->hair_style == 0)
        return;
    double side = s->hair_style == 3 ? 0.1 : -0.28;
    move_to(t, -w - 0.035, side);
    curve_to(t, -w - 0.12, top * 0.7, -w * 0.75, top - 0.24, 0, top - 0.24);
    curve_to(t, w * 0.75, top - 0.24, w + 0.12, top * 0.7, w + 0.035, side);
    if (s->hair_style == 2 || s->hair_style == 3) { // parted
        curve_to(t, w * 0.92, -0.55, w * 0.80, top + 0.16, w * 0.3, top + 0.04);
        curve_to(t, 0.05, top + 0.22, -w * 0.75, top + 0.2, -w - 0.035, side);
    } else {
        curve_to(t, w * 0.95, -0.62, w * 0.72, top + 0.10, 0, top + 0.13);
        curve_to(t, -w * 0.72, top + 0.10, -w * 0.95, -0.62, -w - 0.035, side);
    }
    fill(t, s->hair);
    move_to(t, -w * 0.6, top - 0.08);
    curve_to(t, -0.3, top - 0.2, 0.1, top - 0.2, 0.3, top - 0.15);
    stroke(t, shade(s->hair, 1.5), 0.35, 0.05);
}

/* From ear to ear along the jaw: four curves, the end of one being the beginning of the next. The
 * chin follows the jaw: `drop` is how far that has opened. */
enum { JAW_CURVES = 4 };
static void jaw_controls(const puppet_speaker *s, double drop, double c[3 * JAW_CURVES + 1][2])
{
    const double w = s->cheek, chin = s->chin + 0.55 * drop, low = 0.40 + 0.4 * drop;
    const double half[7][2] = {{w, -0.22},
                               {w * 0.99, 0.12},
                               {w * 0.95, 0.26 + 0.3 * drop},
                               {s->jaw * 0.93, low},
                               {s->jaw * 0.70, chin - 0.06},
                               {0.17, chin},
                               {0, chin}};
    for (int i = 0; i <= 6; i++) {
        c[i][0] = half[i][0];
        c[12 - i][0] = -half[i][0];
        c[i][1] = c[12 - i][1] = half[i][1];
    }
}

static void face_path(const painter *t, double drop)
{
    const puppet_speaker *s = t->s;
    const double w = s->cheek;
    double c[3 * JAW_CURVES + 1][2];
    jaw_controls(s, drop, c);
    move_to(t, 0, s->forehead);
    curve_to(t, w * 0.75, s->forehead, w * 1.02, -0.62, w, -0.22);
    for (int i = 0; i < 3 * JAW_CURVES; i += 3)
        curve_to(t, c[i + 1][0], c[i + 1][1], c[i + 2][0], c[i + 2][1], c[i + 3][0], c[i + 3][1]);
    curve_to(t, -w * 1.02, -0.62, -w * 0.75, s->forehead, 0, s->forehead);
    cairo_close_path(t->cr);
}

static void draw_ears(const painter *t)
{
    const puppet_speaker *s = t->s;
    for (int side = -1; side <= 1; side += 2) {
        oval(t, side * (s->cheek + 0.015), -0.2, 0, 0.075, 0.135);
        fill(t, shade(s->skin, 0.92));
        oval(t, side * (s->cheek + 0.02), -0.2, 0, 0.035, 0.08);
        fill(t, shade(s->skin, 0.78));
        if (s->earrings) {
            oval(t, side * (s->cheek + 0.03), -0.04, 0, 0.025, 0.03);
            fill(t, (puppet_colour){.95, .85, .45});
        }
    }
}

static void draw_face(const painter *t, double drop)
{
    const puppet_speaker *s = t->s;
    const puppet_colour dark = shade(s->skin, 0.55), bright = {1, .97, .92};
    cairo_t *cr = t->cr;
    cairo_save(cr); // shadow on the neck
    cairo_translate(cr, 0, 0.06);
    face_path(t, drop);
    ink(t, shade(s->skin, 0.5), 0.35);
    cairo_fill(cr);
    cairo_restore(cr);
    face_path(t, drop);
    fill(t, s->skin);
    face_path(t, drop);
    cairo_save(cr);
    cairo_clip(cr);
    cairo_pattern_t *g = cairo_pattern_create_linear(-0.6 * s->light, 0, 0.6 * s->light, 0.1);
    cairo_pattern_add_color_stop_rgba(g, 0, bright.r, bright.g, bright.b, s->contrast * 0.5);
    cairo_pattern_add_color_stop_rgba(g, 0.45, bright.r, bright.g, bright.b, 0);
    cairo_pattern_add_color_stop_rgba(g, 0.55, dark.r, dark.g, dark.b, 0);
    cairo_pattern_add_color_stop_rgba(g, 1, dark.r, dark.g, dark.b, s->contrast * 1.5);
    cairo_set_source(cr, g);
    cairo_paint(cr);
    cairo_pattern_destroy(g);
    const puppet_colour blush = blend(s->skin, (puppet_colour){.85, .25, .22}, 0.6);
    for (int side = -1; side <= 1; side += 2) {
        double u, v;
        at(t, side * 0.34, 0.05, 0, &u, &v);
        spot(t, u, v, 0.2, blush, 0.32);
        cairo_paint(cr);
        at(t, side * s->eye_x, s->eye_y, 0, &u, &v);
        spot(t, u, v, 0.2, dark, 0.22);
        cairo_paint(cr);
    }
    for (int i = 0; s->freckles && i < 22; i++) {
        puppet_random r = {s->motion + 31 * (uint64_t)i};
        puppet_next(&r);
        double x = puppet_uniform(&r, -0.42, 0.42), y = puppet_uniform(&r, -0.14, 0.1);
        oval(t, x, y, 0, 0.010, 0.010);
        ink(t, shade(s->skin, 0.6), 0.5);
        cairo_fill(cr);
    }
    double u, v;
    at(t, 0, s->chin - 0.13 + 0.5 * drop, 0, &u, &v);
    spot(t, u, v, 0.13, bright, 0.14);
    cairo_paint(cr);
    cairo_restore(cr);
}

static void draw_eye(const painter *t, int side)
{
    const puppet_speaker *s = t->s;
    cairo_t *cr = t->cr;
    const double open = fmax(0.06, 1 - fmin(t->p->blink, 1)), w = s->eye_w, h = s->eye_h * open;
    double u, v;
    at(t, side * s->eye_x, s->eye_y, 0, &u, &v);
    cairo_save(cr);
    cairo_translate(cr, u, v);
    cairo_scale(cr, cos(t->p->yaw + side * 0.25), 1);
    cairo_move_to(cr, -w, 0.1 * h);
    cairo_curve_to(cr, -w * 0.5, -1.45 * h, w * 0.5, -1.45 * h, w, 0.1 * h);
    cairo_curve_to(cr, w * 0.5, 1.25 * h, -w * 0.5, 1.25 * h, -w, 0.1 * h);
    cairo_path_t *lid = cairo_copy_path(cr);
    ink(t, (puppet_colour){.96, .96, .95}, 1);
    cairo_fill_preserve(cr);
    cairo_save(cr);
    cairo_clip(cr);
    const double x = 0.035 * t->p->gaze, r = s->eye_h * 0.92;
    cairo_arc(cr, x, 0, r, 0, 2 * PI);
    fill(t, s->iris);
    cairo_arc(cr, x, 0, r * 0.5, 0, 2 * PI);
    fill(t, (puppet_colour){.04, .03, .04});
    cairo_arc(cr, x - r * 0.32, -r * 0.35, r * 0.24, 0, 2 * PI);
    fill(t, (puppet_colour){1, 1, 1});
    cairo_restore(cr);
    cairo_append_path(cr, lid);
    stroke(t, shade(s->skin, 0.35), 0.5, 0.010);
    cairo_path_destroy(lid);
    cairo_move_to(cr, -w, 0.1 * h);
    cairo_curve_to(cr, -w * 0.5, -1.45 * h, w * 0.5, -1.45 * h, w, 0.1 * h);
    cairo_set_line_cap(cr, CAIRO_LINE_CAP_ROUND);
    stroke(t, shade(blend(s->hair, s->skin, 0.2), 0.35), 1, 0.022);
    cairo_restore(cr);
}

static void draw_brow(const painter *t, int side)
{
    const puppet_speaker *s = t->s;
    const double y = s->brow_y - 0.025 * t->p->brow, h = s->brow_h, x = s->eye_x + 0.04;
    const double in = x - 0.155, out = x + 0.15;
    move_to(t, side * in, y + s->brow_tilt + h * 0.6);
    curve_to(t, side * (in + 0.08), y - h - 0.01, side * (out - 0.1), y - h - 0.02, side * out,
             y - s->brow_tilt + 0.025);
    curve_to(t, side * (out - 0.1), y - 0.2 * h, side * (in + 0.08), y + 0.4 * h, side * in,
             y + s->brow_tilt + h * 0.6);
    fill(t, shade(blend(s->hair, s->skin, s->hair.r > 0.7 ? 0.45 : 0.1), 0.8));
}

static void draw_nose(const painter *t)
{
    const puppet_speaker *s = t->s;
    const puppet_colour dark = shade(s->skin, 0.58);
    const double w = s->nose_w, y = s->nose_y, lean = t->p->yaw;
    const double side = s->light > 0 ? 1 : -1;
    double u, v;
    cairo_set_line_cap(t->cr, CAIRO_LINE_CAP_ROUND);
    if (s->nose_style != 1) { // the bridge, on the dark side
        double u2, v2;
        at(t, side * 0.055, s->eye_y + 0.04, 0.02, &u, &v);
        at(t, side * w * 0.75, y - 0.02, 0.1, &u2, &v2);
        cairo_move_to(t->cr, u, v);
        cairo_curve_to(t->cr, u, v + 0.1, u2 - 0.2 * w * side, v2 - 0.08, u2, v2);
        stroke(t, dark, 0.28, 0.022);
    }
    at(t, 0, y, 0.13, &u, &v);
    spot(t, u, v, w * 1.5, (puppet_colour){1, .95, .9}, 0.30);
    cairo_arc(t->cr, u, v, w * 1.5, 0, 2 * PI);
    cairo_fill(t->cr);
    at(t, 0, y + 0.055, 0.1, &u, &v);
    cairo_move_to(t->cr, u - w * (1.15 - lean), v - 0.035);
    cairo_curve_to(t->cr, u - w * 1.1, v + 0.03, u - w * 0.5, v + 0.015, u, v + 0.03);
    cairo_curve_to(t->cr, u + w * 0.5, v + 0.015, u + w * 1.1, v + 0.03, u + w * (1.15 + lean),
                   v - 0.035);
    stroke(t, dark, 0.75, 0.020);
    for (int k = -1; k <= 1 && s->nose_style == 2; k += 2) {
        cairo_arc(t->cr, u + k * w * 0.5, v + 0.008, 0.016, 0, 2 * PI);
        ink(t, dark, 0.8);
        cairo_fill(t->cr);
    }
}

/* Where the lips are: corners at (-w, y) and (w, y); the opening from y - up to y + down. */
typedef struct lips {
    double w, y, up, down, upper, lower;
} lips;

static lips lips_of(const puppet_speaker *s, const puppet_mouth *m)
{
    const double h = 0.29 * m->open;
    return (lips){.w = s->mouth_w * (1 + 0.16 * m->width - 0.36 * m->round),
                  .y = s->mouth_y + 0.12 * h - 0.012 * m->width,
                  .up = 0.22 * h + 0.012 * m->tuck,
                  .down = 0.78 * h - 0.012 * m->tuck,
                  .upper = s->upper_lip * (1 + 0.35 * m->round - 0.12 * m->width),
                  .lower = s->lower_lip * (1 + 0.30 * m->round - 0.12 * m->width - 0.45 * m->tuck)};
}

static void opening_path(const painter *t, const lips *l)
{
    const double w = l->w * 0.90;
    move_to(t, -w, l->y);
    curve_to(t, -w * 0.55, l->y - l->up * 1.25, -w * 0.25, l->y - l->up, 0, l->y - l->up * 0.92);
    curve_to(t, w * 0.25, l->y - l->up, w * 0.55, l->y - l->up * 1.25, w, l->y);
    curve_to(t, w * 0.62, l->y + l->down * 1.12, w * 0.3, l->y + l->down, 0, l->y + l->down);
    curve_to(t, -w * 0.3, l->y + l->down, -w * 0.62, l->y + l->down * 1.12, -w, l->y);
    cairo_close_path(t->cr);
}

static void lips_path(const painter *t, const lips *l)
{
    const double top = l->y - l->up - l->upper, low = l->y + l->down + l->lower, w = l->w;
    move_to(t, -w, l->y);
    curve_to(t, -w * 0.65, l->y - l->up * 0.6 - l->upper * 0.55, -w * 0.35, top - 0.006, -w * 0.17,
             top);
    curve_to(t, -w * 0.08, top, -w * 0.05, top + 0.014, 0, top + 0.014);
    curve_to(t, w * 0.05, top + 0.014, w * 0.08, top, w * 0.17, top);
    curve_to(t, w * 0.35, top - 0.006, w * 0.65, l->y - l->up * 0.6 - l->upper * 0.55, w, l->y);
    curve_to(t, w * 0.72, l->y + l->down * 0.9 + l->lower * 0.7, w * 0.38, low, 0, low);
    curve_to(t, -w * 0.38, low, -w * 0.72, l->y + l->down * 0.9 + l->lower * 0.7, -w, l->y);
    cairo_close_path(t->cr);
}

static void draw_mouth(const painter *t, const puppet_mouth *m)
{
    const puppet_speaker *s = t->s;
    cairo_t *cr = t->cr;
    const lips l = lips_of(s, m);
    const puppet_colour line = shade(s->lip, 0.42);
    double u, v;
    at(t, 0, l.y + l.down + l.lower + 0.035, 0, &u, &v); // shadow under the lip
    spot(t, u, v, 0.12, shade(s->skin, 0.55), 0.30);
    cairo_arc(cr, u, v, 0.12, 0, 2 * PI);
    cairo_fill(cr);
    lips_path(t, &l);
    fill(t, s->lip);
    lips_path(t, &l);
    cairo_save(cr);
    cairo_clip(cr);
    at(t, 0, l.y + l.down + l.lower * 0.45, 0, &u, &v);
    spot(t, u, v, 0.10, (puppet_colour){1, .9, .9}, 0.28);
    cairo_paint(cr);
    at(t, 0, l.y - l.up - l.upper, 0, &u, &v);
    spot(t, u, v, 0.16, line, 0.22);
    cairo_paint(cr);
    cairo_restore(cr);
    opening_path(t, &l);
    cairo_save(cr);
    cairo_clip_preserve(cr);
    fill(t, (puppet_colour){.17, .04, .05});
    const double h = l.up + l.down;
    oval(t, 0, l.y + l.down + 0.03 - 0.6 * m->tongue * h, 0, l.w * 0.55,
         0.055 + 0.10 * h + 0.25 * m->tongue * h);
    fill(t, (puppet_colour){.70, .30, .32});
    const double teeth = fmin(0.02 + 0.045 * m->teeth, fmax(h * (0.30 + 0.45 * m->teeth), 0));
    if (m->teeth > 0.1) {
        move_to(t, -l.w * 0.72, l.y - l.up * 1.3 - 0.02);
        line_to(t, l.w * 0.72, l.y - l.up * 1.3 - 0.02);
        curve_to(t, l.w * 0.6, l.y - l.up + teeth * 0.9, l.w * 0.3, l.y - l.up + teeth * 1.15, 0,
                 l.y - l.up + teeth * 1.15);
        curve_to(t, -l.w * 0.3, l.y - l.up + teeth * 1.15, -l.w * 0.6, l.y - l.up + teeth * 0.9,
                 -l.w * 0.72, l.y - l.up * 1.3 - 0.02);
        fill(t, (puppet_colour){.95, .94, .90});
    }
    cairo_restore(cr);
    opening_path(t, &l);
    cairo_set_line_join(cr, CAIRO_LINE_JOIN_ROUND);
    stroke(t, line, 0.85, 0.014);
    for (int side = -1; side <= 1; side += 2) {
        at(t, side * l.w, l.y, 0, &u, &v);
        spot(t, u, v, 0.045, line, 0.45);
        cairo_arc(cr, u, v, 0.045, 0, 2 * PI);
        cairo_fill(cr);
    }
}

static void draw_glasses(const painter *t)
{
    const puppet_speaker *s = t->s;
    for (int side = -1; side <= 1; side += 2) {
        oval(t, side * s->eye_x, s->eye_y + 0.01, 0.05, 0.185, 0.145);
        ink(t, (puppet_colour){.9, .95, 1}, 0.12);
        cairo_fill_preserve(t->cr);
        stroke(t, s->frame, 0.95, 0.022);
        move_to(t, side * (s->eye_x + 0.185), s->eye_y);
        line_to(t, side * (s->cheek + 0.01), s->eye_y - 0.03);
        stroke(t, s->frame, 0.95, 0.022);
    }
    move_to(t, -s->eye_x + 0.17, s->eye_y);
    curve_to(t, -0.05, s->eye_y - 0.04, 0.05, s->eye_y - 0.04, s->eye_x - 0.17, s->eye_y);
    stroke(t, s->frame, 0.95, 0.022);
}

void puppet_draw(cairo_t *cr, const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m,
                 size_t size)
{
    const painter t = {cr, s, p, (double)size};
    const lips l = lips_of(s, m);
    const double drop = l.up + l.down;
    draw_wall(&t);
    cairo_save(cr);
    cairo_translate(cr, p->x, p->y);
    cairo_scale(cr, p->scale, p->scale);
    cairo_rotate(cr, p->roll * 0.4);
    draw_body(&t);
    cairo_rotate(cr, p->roll * 0.6);
    draw_back_hair(&t);
    draw_ears(&t);
    draw_face(&t, drop);
    draw_nose(&t);
    draw_mouth(&t, m);
    draw_eye(&t, -1);
    draw_eye(&t, 1);
    draw_brow(&t, -1);
    draw_brow(&t, 1);
    draw_front_hair(&t);
    if (s->glasses)
        draw_glasses(&t);
    cairo_restore(cr);
}

static void place(const puppet_pose *p, double u, double v, double pixel[2])
{
    pixel[0] = p->x + p->scale * (u * cos(p->roll) - v * sin(p->roll));
    pixel[1] = p->y + p->scale * (u * sin(p->roll) + v * cos(p->roll));
}

void puppet_points(const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m,
                   double points[PUPPET_POINTS][2])
{
    const painter t = {NULL, s, p, 0};
    const lips l = lips_of(s, m);
    const double brow = s->brow_y - 0.025 * p->brow - 0.3 * s->brow_h;
    const double head[PUPPET_POINTS][3] = {{-s->eye_x, s->eye_y, 0},
                                           {s->eye_x, s->eye_y, 0},
                                           {0, s->nose_y, 0.1},
                                           {-l.w, l.y, 0},
                                           {l.w, l.y, 0},
                                           {-s->eye_x - 0.04, brow, 0},
                                           {s->eye_x + 0.04, brow, 0}};
    for (size_t i = 0; i < PUPPET_POINTS; i++) {
        double u, v;
        at(&t, head[i][0], head[i][1], head[i][2], &u, &v);
        place(p, u, v, points[i]);
    }
}

void puppet_jaw(const puppet_speaker *s, const puppet_pose *p, const puppet_mouth *m,
                double points[PUPPET_JAW][2])
{
    enum { EACH = (PUPPET_JAW - 1) / JAW_CURVES };
    const painter t = {NULL, s, p, 0};
    const lips l = lips_of(s, m);
    double c[3 * JAW_CURVES + 1][2], on[3 * JAW_CURVES + 1][2];
    jaw_controls(s, l.up + l.down, c);
    for (int i = 0; i <= 3 * JAW_CURVES; i++)
        at(&t, c[i][0], c[i][1], 0, &on[i][0], &on[i][1]);
    for (int i = 0; i < PUPPET_JAW; i++) {
        const int curve = i / EACH < JAW_CURVES ? i / EACH : JAW_CURVES - 1;
        const double b = (double)(i - curve * EACH) / EACH, a = 1 - b;
        const double w[4] = {a * a * a, 3 * a * a * b, 3 * a * b * b, b * b * b};
        double u = 0, v = 0;
        for (int k = 0; k < 4; k++) {
            u += w[k] * on[3 * curve + k][0];
            v += w[k] * on[3 * curve + k][1];
        }
        place(p, u, v, points[i]);
    }
}
