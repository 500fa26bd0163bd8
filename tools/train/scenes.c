/* Pictures with drawn faces in known places, and without, for the training of the detector. */
#include "../puppet/puppet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SIDE 320
#define MAX_FACES 4
#define LABEL 15 /* 1 if there is a face, its box, five points */
#define TOP_OF_HEAD -0.85

static const char usage[] =
    "usage: scenes FOLDER FIRST-SEED COUNT\n"
    "\n"
    "Into FOLDER, for tools/train/train_detector.py: scenes.u8, COUNT pictures of 320 x 320 RGB, "
    "and\n"
    "scenes.f32, four times 15 numbers for each: whether there is a face, box, five points.\n";

/* What is no face: ovals of skin, boxes, lines. */
static void draw_clutter(cairo_t *cr, puppet_random *r, double side)
{
    for (int n = (int)puppet_uniform(r, 2, 14); n; n--) {
        const double tone = puppet_uniform(r, 0.2, 1), x = puppet_uniform(r, 0, side),
                     y = puppet_uniform(r, 0, side), w = puppet_uniform(r, 0.02, 0.3) * side,
                     h = puppet_uniform(r, 0.02, 0.3) * side;
        if (puppet_next(r) % 2)
            cairo_set_source_rgb(cr, tone, tone * 0.8, tone * 0.7);
        else
            cairo_set_source_rgb(cr, puppet_uniform(r, 0, 1), puppet_uniform(r, 0, 1),
                                 puppet_uniform(r, 0, 1));
        switch (puppet_next(r) % 3) {
        case 0:
            cairo_rectangle(cr, x, y, w, h);
            cairo_fill(cr);
            break;
        case 1:
            cairo_save(cr);
            cairo_translate(cr, x, y);
            cairo_scale(cr, w / 2, h / 2);
            cairo_arc(cr, 0, 0, 1, 0, 6.2832);
            cairo_restore(cr);
            cairo_fill(cr);
            break;
        default:
            cairo_move_to(cr, x, y);
            cairo_line_to(cr, puppet_uniform(r, 0, side), puppet_uniform(r, 0, side));
            cairo_set_line_width(cr, puppet_uniform(r, 0.5, 5));
            cairo_stroke(cr);
        }
    }
}

/* A speaker in the square at (left, top), or only the wall behind it. */
static void draw_tile(cairo_t *cr, puppet_random *r, double left, double top, double side,
                      float label[LABEL])
{
    puppet_speaker s;
    puppet_speaker_from(&s, puppet_next(r));
    puppet_pose p = puppet_pose_at(&s, puppet_uniform(r, 0, 30), (size_t)side);
    const bool face = puppet_uniform(r, 0, 1) < 0.75;
    const double open = puppet_uniform(r, -0.6, 1);
    const puppet_mouth m = {fmax(open, 0),
                            puppet_uniform(r, -0.2, 0.9),
                            puppet_uniform(r, -0.8, 1) > 0 ? puppet_uniform(r, 0, 1) : 0,
                            puppet_uniform(r, 0, 1),
                            puppet_uniform(r, 0, 0.8),
                            0};
    p.scale = side * 0.08 * exp(puppet_uniform(r, 0, log(0.5 / 0.08)));
    p.x = face ? puppet_uniform(r, fmin(0.6 * p.scale, side / 2),
                                fmax(side - 0.6 * p.scale, side / 2))
               : -9 * side;
    p.y = puppet_uniform(r, fmin(0.9 * p.scale, side / 2), fmax(side - 0.7 * p.scale, side / 2));
    p.roll = puppet_uniform(r, -0.4, 0.4);
    p.yaw = puppet_uniform(r, -0.5, 0.5);
    p.pitch = puppet_uniform(r, -0.3, 0.3);
    cairo_save(cr);
    cairo_rectangle(cr, left, top, side, side);
    cairo_clip(cr);
    cairo_translate(cr, left, top);
    puppet_draw(cr, &s, &p, &m, (size_t)side);
    if (!face)
        draw_clutter(cr, r, side);
    cairo_restore(cr);
    memset(label, 0, LABEL * sizeof *label);
    if (!face)
        return;
    double at[PUPPET_POINTS][2];
    puppet_points(&s, &p, &m, at);
    const double middle = (TOP_OF_HEAD + s.chin) / 2, half = (s.chin - TOP_OF_HEAD) / 2;
    const double x = left + p.x - middle * sin(p.roll) * p.scale,
                 y = top + p.y + middle * cos(p.roll) * p.scale;
    label[0] = 1;
    label[1] = (float)(x - s.cheek * p.scale);
    label[2] = (float)(y - half * p.scale);
    label[3] = (float)(x + s.cheek * p.scale);
    label[4] = (float)(y + half * p.scale);
    for (int k = 0; k < 5; k++) {
        label[5 + 2 * k] = (float)(left + at[k][0]);
        label[6 + 2 * k] = (float)(top + at[k][1]);
    }
}

static bool write_scene(cairo_surface_t *surface, uint64_t seed, FILE *pictures, FILE *labels)
{
    static uint8_t rgb[SIDE * SIDE * 3];
    float label[MAX_FACES][LABEL] = {{0}};
    puppet_random r = {seed * 2654435761u + 99};
    cairo_t *cr = cairo_create(surface);
    const int n = puppet_next(&r) % 3 == 0 ? 2 : 1; // tiles a side
    for (int i = 0; i < n * n; i++)
        draw_tile(cr, &r, i % n * SIDE / n, i / n * SIDE / n, (double)SIDE / n, label[i]);
    cairo_destroy(cr);
    cairo_surface_flush(surface);
    const uint32_t *pixels = (const uint32_t *)(void *)cairo_image_surface_get_data(surface);
    for (size_t k = 0; k < SIDE * SIDE; k++)
        for (unsigned c = 0; c < 3; c++)
            rgb[3 * k + c] = (uint8_t)(pixels[k] >> (16 - 8 * c));
    return fwrite(rgb, sizeof rgb, 1, pictures) == 1 && fwrite(label, sizeof label, 1, labels) == 1;
}

int main(int argc, char **argv)
{
    char path[4096];
    if (argc != 4) {
        fputs(usage, stderr);
        return 2;
    }
    const uint64_t first = strtoull(argv[2], NULL, 10), count = strtoull(argv[3], NULL, 10);
    mkdir(argv[1], 0777);
    snprintf(path, sizeof path, "%s/scenes.u8", argv[1]);
    FILE *pictures = fopen(path, "wb");
    snprintf(path, sizeof path, "%s/scenes.f32", argv[1]);
    FILE *labels = fopen(path, "wb");
    cairo_surface_t *surface = cairo_image_surface_create(CAIRO_FORMAT_RGB24, SIDE, SIDE);
    bool ok = pictures && labels;
    for (uint64_t i = 0; ok && i < count; i++)
        ok = write_scene(surface, first + i, pictures, labels);
    ok = pictures && !fclose(pictures) && ok;
    ok = labels && !fclose(labels) && ok;
    cairo_surface_destroy(surface);
    if (!ok)
        perror(argv[1]);
    return ok ? 0 : 1;
}
