#include "puppet.h"

#include <math.h>

uint64_t puppet_next(puppet_random *r)
{
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

double puppet_uniform(puppet_random *r, double from, double to)
{
    return from + (to - from) * (double)(puppet_next(r) >> 11) * 0x1p-53;
}

static int pick(puppet_random *r, int n)
{
    return (int)(puppet_next(r) % (uint64_t)n);
}

static puppet_colour varied(puppet_random *r, puppet_colour c, double by)
{
    double all = puppet_uniform(r, -by, by);
    double *v[] = {&c.r, &c.g, &c.b};
    for (int k = 0; k < 3; k++)
        *v[k] = fmin(fmax(*v[k] + all + puppet_uniform(r, -by, by) / 3, 0), 1);
    return c;
}

static puppet_colour mixed(puppet_colour a, puppet_colour b, double t)
{
    return (puppet_colour){a.r + (b.r - a.r) * t, a.g + (b.g - a.g) * t, a.b + (b.b - a.b) * t};
}

static puppet_colour any_wall(puppet_random *r)
{
    double hue = puppet_uniform(r, 0, 6.283), chroma = puppet_uniform(r, 0.02, 0.22),
           light = puppet_uniform(r, 0.25, 0.85);
    puppet_colour c = {light + chroma * cos(hue), light + chroma * cos(hue - 2.094),
                       light + chroma * cos(hue + 2.094)};
    return varied(r, c, 0);
}

void puppet_speaker_from(puppet_speaker *s, uint64_t seed)
{
    static const puppet_colour skins[] = {{.98, .87, .79}, {.96, .81, .70}, {.92, .75, .62},
                                          {.87, .68, .53}, {.78, .58, .43}, {.66, .46, .33},
                                          {.54, .37, .27}, {.45, .31, .23}};
    static const puppet_colour hairs[] = {{.10, .08, .08}, {.20, .13, .09}, {.36, .22, .12},
                                          {.55, .36, .18}, {.82, .66, .38}, {.62, .26, .12},
                                          {.62, .60, .60}, {.86, .85, .83}};
    static const puppet_colour irises[] = {
        {.30, .18, .08}, {.42, .28, .12}, {.25, .42, .60}, {.30, .48, .32}, {.40, .42, .44}};
    static const puppet_colour red = {.80, .22, .26};
    puppet_random r = {seed * 2654435761u + 17};
    for (int i = 0; i < 4; i++)
        puppet_next(&r);
    s->skin = varied(&r, skins[pick(&r, 8)], 0.025);
    s->hair = varied(&r, hairs[pick(&r, 8)], 0.03);
    s->iris = varied(&r, irises[pick(&r, 5)], 0.04);
    s->lip = mixed(s->skin, red, puppet_uniform(&r, 0.28, 0.62));
    s->shirt = any_wall(&r);
    s->wall = any_wall(&r);
    s->wall2 = mixed(s->wall, any_wall(&r), puppet_uniform(&r, 0.2, 0.6));
    s->frame = varied(&r, (puppet_colour){.15, .13, .14}, 0.12);
    s->cheek = puppet_uniform(&r, 0.52, 0.61);
    s->jaw = puppet_uniform(&r, 0.40, 0.50);
    s->chin = puppet_uniform(&r, 0.60, 0.70);
    s->forehead = puppet_uniform(&r, -0.98, -0.86);
    s->eye_x = puppet_uniform(&r, 0.245, 0.285);
    s->eye_y = puppet_uniform(&r, -0.335, -0.300);
    s->eye_w = puppet_uniform(&r, 0.095, 0.125);
    s->eye_h = puppet_uniform(&r, 0.048, 0.075);
    s->brow_y = s->eye_y - puppet_uniform(&r, 0.125, 0.165);
    s->brow_h = puppet_uniform(&r, 0.020, 0.048);
    s->brow_tilt = puppet_uniform(&r, -0.03, 0.035);
    s->nose_w = puppet_uniform(&r, 0.065, 0.110);
    s->nose_y = puppet_uniform(&r, -0.150, -0.105);
    s->mouth_y = puppet_uniform(&r, 0.215, 0.265);
    s->mouth_w = puppet_uniform(&r, 0.175, 0.230);
    s->upper_lip = puppet_uniform(&r, 0.032, 0.058);
    s->lower_lip = puppet_uniform(&r, 0.045, 0.075);
    s->light = puppet_uniform(&r, 0.4, 1);
    s->light *= pick(&r, 2) ? 1 : -1;
    s->contrast = puppet_uniform(&r, 0.10, 0.32);
    s->hair_style = pick(&r, 6);
    s->wall_style = pick(&r, 4);
    s->nose_style = pick(&r, 3);
    s->glasses = pick(&r, 5) == 0;
    s->freckles = pick(&r, 6) == 0;
    s->earrings = pick(&r, 6) == 0;
    s->motion = puppet_next(&r);
}

/* A slow wandering between -1 and 1. */
static double wander(uint64_t seed, int which, double time)
{
    puppet_random r = {seed + (uint64_t)which * 7919};
    double sum = 0;
    for (int k = 0; k < 3; k++) {
        double hz = puppet_uniform(&r, 0.08, 0.45), at = puppet_uniform(&r, 0, 6.283);
        sum += sin(6.283 * hz * time + at) / 3;
    }
    return sum;
}

static double blink(uint64_t seed, double time)
{
    puppet_random r = {seed ^ 0xb11c};
    double closed = 0;
    for (double at = puppet_uniform(&r, 0.3, 3); at < time + 0.2;
         at += puppet_uniform(&r, 1.6, 4.5))
        closed = fmax(closed, 1 - fabs(time - at) / 0.10);
    return closed;
}

puppet_pose puppet_pose_at(const puppet_speaker *s, double time, size_t size)
{
    puppet_random r = {s->motion};
    const double px = (double)size;
    puppet_pose p = {.x = px * puppet_uniform(&r, 0.46, 0.54),
                     .y = px * puppet_uniform(&r, 0.47, 0.53),
                     .scale = px * puppet_uniform(&r, 0.31, 0.37),
                     .roll = puppet_uniform(&r, -0.07, 0.07),
                     .yaw = puppet_uniform(&r, -0.22, 0.22)};
    p.x += px * 0.022 * wander(s->motion, 0, time);
    p.y += px * 0.014 * wander(s->motion, 1, time);
    p.scale *= 1 + 0.02 * wander(s->motion, 2, time);
    p.roll += 0.06 * wander(s->motion, 3, time);
    p.yaw += 0.14 * wander(s->motion, 4, time);
    p.pitch = 0.08 * wander(s->motion, 5, time);
    p.brow = wander(s->motion, 6, time);
    p.gaze = wander(s->motion, 7, 1.4 * time);
    p.blink = blink(s->motion, time);
    return p;
}
