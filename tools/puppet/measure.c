/* measure: measures from pixels alone whether a drawn speaker's lips follow the speech. */
#include "face/record.h"
#include "media/frame.h"
#include "media/video.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FRAMES 100000
#define MAX_LAG 5
#define EYES 0.53     /* between the eyes, in units of the face: see puppet.h */
#define EYES_Y -0.317 /* of the eyes */
#define GRID 48       /* samples along each side of the mouth's rectangle */
#define DARK 0.42     /* of the cheeks' luma: lips are never as dark */
#define TEETH 0.45    /* of the cheeks' redness: lips are never as pale */

static const char usage[] =
    "usage: measure [--source VIDEO] OUTPUT TRACK MOUTH\n"
    "\n"
    "Measures the opening of the mouth in each frame of OUTPUT: the area that is dark, or as\n"
    "white as teeth, in the rectangle where TRACK, that of the source video, has the mouth.\n"
    "Prints as JSON its correlation with the first column of MOUTH (mouth.txt of puppet), the\n"
    "lag in frames where that is highest, and with --source the PSNR of luma outside the\n"
    "face's rectangle and around the eyes.\n";

typedef struct face_frame {
    double x, y, unit, c, s; /* of the face's origin, pixels; cosine and sine of its roll */
} face_frame;

typedef struct series {
    double *at;
    size_t count;
} series;

static bool place(const ls_face *f, face_frame *to)
{
    const double dx = f->points[1][0] - f->points[0][0], dy = f->points[1][1] - f->points[0][1];
    const double eyes = hypot(dx, dy);
    if (f->kind != LS_FACE_POINTS5 || eyes < 1)
        return false;
    to->unit = eyes / EYES;
    to->c = dx / eyes;
    to->s = dy / eyes;
    to->x = (f->points[0][0] + f->points[1][0]) / 2 + to->s * EYES_Y * to->unit;
    to->y = (f->points[0][1] + f->points[1][1]) / 2 - to->c * EYES_Y * to->unit;
    return true;
}

typedef struct colour {
    double luma, red; /* 0..255 of full range, and Cr without its offset */
} colour;

static colour colour_at(const ls_picture *p, const face_frame *f, double u, double v)
{
    const double x = f->x + f->unit * (u * f->c - v * f->s),
                 y = f->y + f->unit * (u * f->s + v * f->c);
    if (x < 0 || y < 0 || x > (double)p->w - 1 || y > (double)p->h - 1)
        return (colour){255, 255};
    const long column = lrint(x), row = lrint(y);
    const uint8_t luma = p->data[0][row * p->stride[0] + column],
                  cr = p->data[2][(row >> p->sub_y) * p->stride[2] + (column >> p->sub_x)];
    return p->full_range ? (colour){luma, cr - 128.0}
                         : (colour){fmax(luma - 16, 0) * 255 / 219, (cr - 128.0) * 255 / 224};
}

static double opening(const ls_picture *p, const face_frame *f)
{
    double light = 0, red = 0, open = 0;
    for (int k = 0; k < 20; k++) {
        const colour c = colour_at(p, f, (k < 10 ? -0.36 : 0.30) + 0.006 * (k % 10), 0.06);
        light += c.luma / 20;
        red += c.red / 20;
    }
    for (int i = 0; i < GRID; i++)
        for (int j = 0; j < GRID; j++) {
            const colour c =
                colour_at(p, f, -0.20 + 0.40 * j / (GRID - 1), 0.12 + 0.38 * i / (GRID - 1));
            const double dark = (DARK * light - c.luma) / (0.2 * light),
                         teeth = (TEETH * red - c.red) / (0.3 * red);
            open += fmin(fmax(fmax(dark, teeth), 0), 1);
        }
    return open / (GRID * GRID);
}

typedef struct difference {
    double around, eyes; /* sums of squares */
    uint64_t around_count, eyes_count;
} difference;

static void compare(const ls_picture *a, const ls_picture *b, const face_frame *f, difference *d)
{
    for (size_t y = 0; y < a->h; y++)
        for (size_t x = 0; x < a->w; x++) {
            const double e = a->data[0][(ptrdiff_t)y * a->stride[0] + (ptrdiff_t)x] -
                             (double)b->data[0][(ptrdiff_t)y * b->stride[0] + (ptrdiff_t)x];
            const double dx = ((double)x - f->x) / f->unit, dy = ((double)y - f->y) / f->unit;
            const double u = dx * f->c + dy * f->s, v = dy * f->c - dx * f->s;
            if (fabs(u) < 0.42 && v > -0.55 && v < -0.22) {
                d->eyes += e * e;
                d->eyes_count++;
            } else if (fabs(u) > 0.75 || v < -0.95 || v > 1.05) {
                d->around += e * e;
                d->around_count++;
            }
        }
}

static double psnr(double squares, uint64_t count)
{
    return count && squares > 0 ? 10 * log10(255.0 * 255.0 * (double)count / squares) : 99;
}

static double correlation(const series *a, const series *b, long lag)
{
    double n = 0, sa = 0, sb = 0, aa = 0, bb = 0, ab = 0;
    for (long i = 0; i < (long)a->count; i++) {
        if (i - lag < 0 || i - lag >= (long)b->count)
            continue;
        const double x = a->at[i], y = b->at[i - lag];
        n++, sa += x, sb += y, aa += x * x, bb += y * y, ab += x * y;
    }
    const double va = aa - sa * sa / n, vb = bb - sb * sb / n;
    return n > 2 && va > 0 && vb > 0 ? (ab - sa * sb / n) / sqrt(va * vb) : 0;
}

static bool read_mouths(const char *path, series *to)
{
    FILE *f = fopen(path, "r");
    char line[256];
    while (f && to->count < MAX_FRAMES && fgets(line, sizeof line, f))
        to->at[to->count++] = strtod(line, NULL);
    if (!f || fclose(f) || !to->count) {
        fprintf(stderr, "measure: cannot read %s\n", path);
        return false;
    }
    return true;
}

static size_t read_track(const char *path, face_frame *faces, ls_error *err)
{
    static ls_face_record record;
    ls_record_reader *r = NULL;
    size_t n = 0;
    int ret = ls_record_reader_open(&r, path, err);
    while (!ret && n < MAX_FRAMES && ls_record_read(r, &record, err) > 0 && record.count &&
           record.frame == (int64_t)n && place(&record.faces[0].face, &faces[n]))
        n++;
    ls_record_reader_close(&r);
    return n;
}

/* `source` may be NULL; the output is as long as its speech, so the video may be played back and
 * forth. */
static int measure(ls_video *output, ls_video *source, const face_frame *faces, size_t known,
                   series *to, difference *d, ls_error *err)
{
    int ret = 0;
    for (ls_frame *f, *s = NULL; !ret && to->count < MAX_FRAMES;) {
        ret = ls_video_next(output, &f, err);
        if (ret)
            break;
        const size_t k = to->count % (2 * known), at = k < known ? k : 2 * known - 1 - k;
        const ls_picture p = ls_frame_picture(f);
        to->at[to->count++] = opening(&p, &faces[at]);
        if (source && to->count <= known && !ls_video_next(source, &s, err)) {
            const ls_picture q = ls_frame_picture(s);
            if (q.w == p.w && q.h == p.h)
                compare(&p, &q, &faces[at], d);
            ls_frame_unref(&s);
        }
        ls_frame_unref(&f);
    }
    return ret == LS_EOF ? 0 : ret;
}

int main(int argc, char **argv)
{
    const char *path = NULL;
    if (argc == 6 && !strcmp(argv[1], "--source")) {
        path = argv[2];
        argv += 2;
        argc -= 2;
    }
    if (argc != 4) {
        fputs(usage, stderr);
        return 2;
    }
    const ls_video_settings settings = {.threads = 1};
    ls_error err = {0};
    ls_video *output = NULL, *source = NULL;
    difference d = {0};
    face_frame *faces = calloc(MAX_FRAMES, sizeof *faces);
    series seen = {calloc(MAX_FRAMES, sizeof(double)), 0},
           said = {calloc(MAX_FRAMES, sizeof(double)), 0};
    bool ok = faces && seen.at && said.at && read_mouths(argv[3], &said);
    const size_t known = ok ? read_track(argv[2], faces, &err) : 0;
    if (ok && !known)
        fprintf(stderr, "measure: %s does not have five points for each frame\n", argv[2]);
    ok = ok && known && !ls_video_open(&output, argv[1], &settings, &err) &&
         (!path || !ls_video_open(&source, path, &settings, &err)) &&
         !measure(output, source, faces, known, &seen, &d, &err);
    if (ok) {
        long best = 0;
        for (long lag = -MAX_LAG; lag <= MAX_LAG; lag++)
            best = correlation(&seen, &said, lag) > correlation(&seen, &said, best) ? lag : best;
        printf("{\"frames\": %zu, \"correlation\": %.4f, \"lag\": %ld, \"best\": %.4f", seen.count,
               correlation(&seen, &said, 0), best, correlation(&seen, &said, best));
        if (path)
            printf(", \"psnr_outside\": %.2f, \"psnr_eyes\": %.2f", psnr(d.around, d.around_count),
                   psnr(d.eyes, d.eyes_count));
        puts("}");
    } else if (err.message[0]) {
        fprintf(stderr, "measure: %s\n", err.message);
    }
    ls_video_close(&output);
    ls_video_close(&source);
    free(faces);
    free(seen.at);
    free(said.at);
    return ok ? 0 : 1;
}
