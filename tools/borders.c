/* borders: measures what shows that a lower face was pasted. */
#include "face/align.h"
#include "face/blend.h"
#include "face/mask.h"
#include "face/paste.h"
#include "face/record.h"
#include "face/restore.h"
#include "media/frame.h"
#include "media/png.h"
#include "media/video.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_BORDER 4096
#define REACH 16 /* of 256: how far from the border a step is looked for */
#define HALF 3   /* of 256: half of what counts as a step */
#define OFFSETS (2 * REACH + 1)

static const char usage[] =
    "usage: borders RESOLUTION SOURCE TRACK OUTPUT\n"
    "       borders RESOLUTION SOURCE TRACK --again MODEL crop|mask [SHARPEN] [FOLDER]\n"
    "\n"
    "Compares OUTPUT with SOURCE, whose faces TRACK has, around the mask's border. --again makes\n"
    "the output itself: pastes back what MODEL makes of each face, and writes every tenth frame\n"
    "to FOLDER. MODEL ideal returns the face as the networks get it; flawed blurs it and shifts\n"
    "its colors, a bit differently in every frame, within the mask.\n"
    "\n"
    "Prints as JSON: step_luma and step_chroma, the median over the border of the largest jump\n"
    "across it that the source does not have, in levels; flicker, how much the jumps change from\n"
    "a frame to the next; psnr_eyes and psnr_kept, of luma around the eyes and wherever the mask\n"
    "keeps the face; sharp and sharp_kept, the output's mean gradient over the source's where\n"
    "the mask repaints and where it keeps.\n";

/* A point of the mask's border in the face image, and the direction out of the mask. */
typedef struct border_point {
    double x, y, nx, ny;
} border_point;

typedef struct job {
    size_t resolution, w, h;
    double unit; /* 1 of 256 in pixels of the face image */
    ls_mask *mask;
    border_point border[MAX_BORDER];
    size_t count;
    /* of --again */
    const char *model, *folder;
    ls_cropper *cropper;
    ls_rgb_converter *rgb;
    ls_restore *restore;
    ls_paste *paste;
    float *image;
    uint8_t *face;
    /* sums */
    double (*jumps)[OFFSETS][2], (*before)[OFFSETS][2]; /* of each point: luma and chroma */
    double step[2], flicker[2];
    double eyes, kept, gradients[2][2]; /* repainted, kept; source, output */
    uint64_t frames, changes, eye_count, kept_count;
    double ms;
} job;

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t n)
{
    qsort(v, n, sizeof *v, compare);
    return n ? v[n / 2] : 0;
}

static double mask_at(const job *j, long x, long y)
{
    const long last = (long)j->resolution - 1;
    x = x < 0 ? 0 : x > last ? last : x;
    y = y < 0 ? 0 : y > last ? last : y;
    return ls_mask_pixels(j->mask)[(size_t)y * j->resolution + (size_t)x] / 255.;
}

/* Where the mask, averaged over a few pixels, is a half. */
static void find_border(job *j)
{
    const long n = (long)j->resolution, r = (long)ceil(3 * j->unit);
    for (long y = 0; y < n; y++)
        for (long x = 0; x < n; x++) {
            double gx = 0, gy = 0;
            if (mask_at(j, x, y) >= 0.5 ||
                (mask_at(j, x - 1, y) < 0.5 && mask_at(j, x + 1, y) < 0.5 &&
                 mask_at(j, x, y - 1) < 0.5 && mask_at(j, x, y + 1) < 0.5))
                continue;
            for (long v = -r; v <= r; v++)
                for (long u = -r; u <= r; u++) {
                    gx += (double)u * mask_at(j, x + u, y + v);
                    gy += (double)v * mask_at(j, x + u, y + v);
                }
            const double length = hypot(gx, gy);
            if (j->count < MAX_BORDER && length > 0)
                j->border[j->count++] =
                    (border_point){(double)x, (double)y, gx / length, gy / length};
        }
}

static double sample(const ls_picture *p, size_t plane, double x, double y)
{
    const size_t w = plane ? (p->w + p->sub_x) >> p->sub_x : p->w,
                 h = plane ? (p->h + p->sub_y) >> p->sub_y : p->h;
    if (plane) {
        x = (x + 0.5) / (1 << p->sub_x) - 0.5;
        y = (y + 0.5) / (1 << p->sub_y) - 0.5;
    }
    x = fmin(fmax(x, 0), (double)w - 1.001);
    y = fmin(fmax(y, 0), (double)h - 1.001);
    const uint8_t *at =
        p->data[plane] + (ptrdiff_t)y * p->stride[plane] + (ptrdiff_t)x; /* 8 bits */
    const double ax = x - floor(x), ay = y - floor(y);
    const double top = at[0] + ax * (at[1] - at[0]);
    at += p->stride[plane];
    return top + ay * (at[0] + ax * (at[1] - at[0]) - top);
}

/* Pixels of the face image to the frame's. */
static void to_frame(const job *j, const ls_matrix *m, double u, double v, double *x, double *y)
{
    const double a = m->m[0][0], b = m->m[0][1], c = m->m[1][0], d = m->m[1][1],
                 det = a * d - b * c;
    u = (u + 0.5) * (double)j->w / (double)j->resolution - 0.5 - m->m[0][2];
    v = (v + 0.5) * (double)j->h / (double)j->resolution - 0.5 - m->m[1][2];
    *x = (d * u - b * v) / det;
    *y = (a * v - c * u) / det;
}

static void to_face(const job *j, const ls_matrix *m, double x, double y, double *u, double *v)
{
    *u = (m->m[0][0] * x + m->m[0][1] * y + m->m[0][2] + 0.5) * (double)j->resolution /
             (double)j->w -
         0.5;
    *v = (m->m[1][0] * x + m->m[1][1] * y + m->m[1][2] + 0.5) * (double)j->resolution /
             (double)j->h -
         0.5;
}

/* What the output has more than the source. */
static void excess(const job *j, const ls_matrix *m, const ls_picture *a, const ls_picture *b,
                   const border_point *at, double offset, double d[3])
{
    double x, y;
    to_frame(j, m, at->x + at->nx * offset * j->unit, at->y + at->ny * offset * j->unit, &x, &y);
    for (size_t i = 0; i < 3; i++)
        d[i] = sample(b, i, x, y) - sample(a, i, x, y);
}

static void look_at_border(job *j, const ls_matrix *m, const ls_picture *a, const ls_picture *b)
{
    double largest[2][MAX_BORDER], change[2][MAX_BORDER];
    double d[OFFSETS + 2 * HALF][3];
    for (size_t i = 0; i < j->count; i++) {
        for (int k = 0; k < OFFSETS + 2 * HALF; k++)
            excess(j, m, a, b, &j->border[i], k - REACH - HALF, d[k]);
        largest[0][i] = largest[1][i] = change[0][i] = change[1][i] = 0;
        for (int k = 0; k < OFFSETS; k++) {
            const double *in = d[k], *out = d[k + 2 * HALF];
            const double jump[2] = {out[0] - in[0], hypot(out[1] - in[1], out[2] - in[2])};
            for (size_t c = 0; c < 2; c++) {
                largest[c][i] = fmax(largest[c][i], fabs(jump[c]));
                change[c][i] += fabs(jump[c] - j->before[i][k][c]) / OFFSETS;
                j->jumps[i][k][c] = jump[c];
            }
        }
    }
    for (size_t c = 0; c < 2; c++) {
        j->step[c] += median(largest[c], j->count);
        j->flicker[c] += j->frames ? median(change[c], j->count) : 0;
    }
    void *swap = j->before;
    j->before = j->jumps;
    j->jumps = swap;
    j->changes += j->frames > 0;
}

static double gradient(const ls_picture *p, size_t x, size_t y)
{
    const uint8_t *at = p->data[0] + (ptrdiff_t)y * p->stride[0] + (ptrdiff_t)x;
    return hypot(at[1] - at[-1], at[p->stride[0]] - at[-p->stride[0]]);
}

static void look_at_pixels(job *j, const ls_matrix *m, const ls_picture *a, const ls_picture *b)
{
    for (size_t y = 1; y + 1 < a->h; y++)
        for (size_t x = 1; x + 1 < a->w; x++) {
            double u, v;
            to_face(j, m, (double)x, (double)y, &u, &v);
            const double s = u / j->unit, t = v / j->unit; /* of 256 */
            if (s < 0 || t < 30 || s > 255 || t > 255)
                continue;
            const double e = a->data[0][(ptrdiff_t)y * a->stride[0] + (ptrdiff_t)x] -
                             (double)b->data[0][(ptrdiff_t)y * b->stride[0] + (ptrdiff_t)x];
            const double keep = mask_at(j, lrint(u), lrint(v));
            if (s > 30 && s < 226 && t > 35 && t < 90) {
                j->eyes += e * e;
                j->eye_count++;
            }
            if (keep > 0.5) {
                j->kept += e * e;
                j->kept_count++;
            }
            const bool inside = s > 40 && s < 216 && t > 140 && t < 215;
            if (inside || (keep > 0.5 && t < 120)) {
                j->gradients[!inside][0] += gradient(a, x, y);
                j->gradients[!inside][1] += gradient(b, x, y);
            }
        }
}

/* [1 2 1] along both axes, colors that are off by a plane, and that by another amount each frame.
 */
static void flaw(job *j, uint64_t frame)
{
    const size_t n = j->resolution;
    const double wobble = (double)(frame * 2654435761u % 1000) / 250 - 2;
    static const double cast[3] = {7, 1, -4};
    for (size_t y = 0; y < n; y++)
        for (size_t x = 0; x < n; x++)
            for (size_t c = 0; c < 3; c++) {
                double sum = 0;
                for (int k = 0; k < 9; k++) {
                    const size_t v = y + (size_t)(k / 3), u = x + (size_t)(k % 3);
                    const size_t at = (v < 1   ? 0
                                       : v > n ? n - 1
                                               : v - 1) *
                                          n +
                                      (u < 1   ? 0
                                       : u > n ? n - 1
                                               : u - 1);
                    sum += j->face[3 * at + c] * (k % 2 ? 2. : k == 4 ? 4. : 1.) / 16;
                }
                sum += cast[c] + wobble + 4 * ((double)x / (double)n - 0.5);
                j->image[3 * (y * n + x) + c] = (float)(sum / 127.5 - 1);
            }
}

static int make_again(job *j, const ls_frame *source, ls_frame *output, const ls_matrix *m,
                      ls_error *err)
{
    const ls_picture p = ls_frame_picture(output);
    ls_rect part = ls_crop_bounds(m, j->resolution, p.w, p.h);
    ls_rgb rgb;
    int ret = ls_rgb_convert(j->rgb, source, &part, &rgb, err);
    if (ret || (ret = ls_frame_make_writable(output, err)))
        return ret;
    const ls_picture to = ls_frame_picture(output);
    ls_cropper_run(j->cropper, j->face, m, &rgb, part.x, part.y);
    if (!strcmp(j->model, "flawed"))
        flaw(j, j->frames);
    else
        ls_mask_prepare(j->mask, j->face, j->image, NULL);
    ls_mask_composite(j->mask, j->image, j->image, j->face);
    ret = j->paste ? ls_paste_yuv(j->paste, j->image, j->face, m, 1, &to, err)
                   : ls_restore_yuv(j->restore, j->image, m, 1, &to, err);
    if (j->paste && getenv("LS_SEAMS_VIEW")) {
        const ls_paste_view v = ls_paste_last(j->paste);
        fprintf(stderr, "offset %.2f %.2f %.2f sharpened %.3f own %.2f patch %.2f\n", v.offset[0],
                v.offset[1], v.offset[2], v.sharpened, v.own, v.patch);
    }
    return ret;
}

static int save(job *j, const ls_frame *f, ls_error *err)
{
    char path[4096];
    const ls_picture p = ls_frame_picture(f);
    ls_rect all = {0, 0, p.w, p.h};
    ls_rgb rgb;
    snprintf(path, sizeof path, "%s/%05llu.png", j->folder, (unsigned long long)j->frames);
    int ret = ls_rgb_convert(j->rgb, f, &all, &rgb, err);
    return ret ? ret : ls_png_write(path, rgb.data, rgb.stride, rgb.w, rgb.h, err);
}

static int look(job *j, ls_video *source, ls_video *output, const char *track, ls_error *err)
{
    static ls_face_record record;
    ls_record_reader *r = NULL;
    ls_align align = {.resolution = j->resolution};
    int ret = ls_record_reader_open(&r, track, err);
    while (!ret && ls_record_read(r, &record, err) > 0) {
        ls_frame *a = NULL, *b = NULL;
        double three[3][2];
        ls_matrix m;
        if (ls_video_next(source, &a, err))
            break;
        b = output ? NULL : ls_frame_ref(a);
        if (!b && ls_video_next(output, &b, err)) {
            ls_frame_unref(&a);
            break;
        }
        if (record.count && ls_face_three_points(&record.faces[0].face, three)) {
            ls_align_next(&align, (const double(*)[2])three, &m);
            ret = output ? 0 : make_again(j, a, b, &m, err);
            if (!ret && j->folder && j->frames % 10 == 0)
                ret = save(j, b, err);
            const ls_picture pa = ls_frame_picture(a), pb = ls_frame_picture(b);
            look_at_border(j, &m, &pa, &pb);
            look_at_pixels(j, &m, &pa, &pb);
            j->frames++;
        } else {
            ls_align_reset(&align);
        }
        ls_frame_unref(&a);
        ls_frame_unref(&b);
    }
    ls_record_reader_close(&r);
    return ret;
}

static double psnr(double squares, uint64_t count)
{
    return squares > 0 ? 10 * log10(255. * 255. * (double)count / squares) : 99;
}

static int open_job(job *j, int argc, char **argv, ls_error *err)
{
    const size_t n = j->resolution;
    j->unit = (double)n / 256;
    ls_crop_size(n, &j->w, &j->h);
    j->jumps = calloc(MAX_BORDER, sizeof *j->jumps);
    j->before = calloc(MAX_BORDER, sizeof *j->before);
    int ret = j->jumps && j->before ? ls_mask_open(&j->mask, n, err) : LS_ENOMEM;
    if (ret)
        return ret;
    find_border(j);
    if (argc < 7 || strcmp(argv[4], "--again"))
        return 0;
    j->model = argv[5];
    j->folder = argc > 8 ? argv[8] : NULL;
    j->image = calloc(n * n, 3 * sizeof(float));
    j->face = calloc(n * n, 3);
    ret = j->image && j->face ? ls_cropper_open(&j->cropper, n, err) : LS_ENOMEM;
    if (!ret)
        ret = ls_rgb_converter_open(&j->rgb, err);
    if (!ret && !strcmp(argv[6], "crop"))
        return ls_restore_open(&j->restore, n, err);
    const double sharpen = argc > 7 && strcmp(argv[7], "auto") ? atof(argv[7]) : LS_SHARPEN_AUTO;
    return ret ? ret : ls_paste_open(&j->paste, n, sharpen, err);
}

int main(int argc, char **argv)
{
    static job j;
    const ls_video_settings settings = {.threads = 1};
    ls_error err = {0};
    ls_video *source = NULL, *output = NULL;
    if (argc < 5) {
        fputs(usage, stderr);
        return 2;
    }
    j.resolution = strtoul(argv[1], NULL, 10);
    int ret = open_job(&j, argc, argv, &err);
    if (!ret)
        ret = ls_video_open(&source, argv[2], &settings, &err);
    if (!ret && !j.model)
        ret = ls_video_open(&output, argv[4], &settings, &err);
    if (!ret)
        ret = look(&j, source, output, argv[3], &err);
    if (!ret && j.frames) {
        const double n = (double)j.frames, c = j.changes ? (double)j.changes : 1;
        printf("{\"frames\": %.0f, \"step_luma\": %.3f, \"step_chroma\": %.3f, "
               "\"flicker_luma\": %.3f, \"flicker_chroma\": %.3f, \"psnr_eyes\": %.2f, "
               "\"psnr_kept\": %.2f, \"sharp\": %.3f, \"sharp_kept\": %.3f}\n",
               n, j.step[0] / n, j.step[1] / n, j.flicker[0] / c, j.flicker[1] / c,
               psnr(j.eyes, j.eye_count), psnr(j.kept, j.kept_count),
               j.gradients[0][1] / j.gradients[0][0], j.gradients[1][1] / j.gradients[1][0]);
    } else {
        fprintf(stderr, "borders: %s\n", ret ? err.message : "no faces");
    }
    ls_video_close(&source);
    ls_video_close(&output);
    ls_cropper_close(&j.cropper);
    ls_rgb_converter_close(&j.rgb);
    ls_restore_close(&j.restore);
    ls_paste_close(&j.paste);
    ls_mask_close(&j.mask);
    free(j.image);
    free(j.face);
    free(j.jumps);
    free(j.before);
    return ret || !j.frames;
}
