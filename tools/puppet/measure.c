/* measure: measures from pixels alone whether a drawn speaker's lips follow the speech. */
#include "face/record.h"
#include "media/frame.h"
#include "media/video.h"

#include "puppet.h"

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
#define BAND 0.06     /* half width of the band along the jaw, in units of the face */

static const char usage[] =
    "usage: measure [--source VIDEO] [--ideal FOLDER] [--frames] OUTPUT TRACK MOUTH\n"
    "\n"
    "Measures the opening of the mouth in each frame of OUTPUT: the area that is dark, or as\n"
    "white as teeth, in the rectangle where TRACK, that of the source video, has the mouth.\n"
    "Prints as JSON its correlation with the first column of MOUTH (mouth.txt of puppet), the\n"
    "lag in frames where that is highest, and with --source the PSNR of luma outside the\n"
    "face's rectangle and around the eyes. With --ideal, a folder where puppet drew the same\n"
    "speaker saying what OUTPUT should, the PSNR of luma around the mouth and in a band along the\n"
    "jaw. With --frames, of each frame the opening, and how much luma around the mouth differs\n"
    "from the frame before.\n";

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

/* `mouth` receives the luma of the mouth's rectangle. */
static double opening(const ls_picture *p, const face_frame *f, double mouth[GRID * GRID])
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
            mouth[i * GRID + j] = c.luma;
        }
    return open / (GRID * GRID);
}

typedef struct difference {
    double squares; /* their sum */
    uint64_t count;
} difference;

static void add(difference *d, double e)
{
    d->squares += e * e;
    d->count++;
}

static double psnr(const difference *d)
{
    return d->count && d->squares > 0 ? 10 * log10(255.0 * 255.0 * (double)d->count / d->squares)
                                      : 99;
}

typedef struct regions {
    difference around, eyes; /* to the source */
    difference mouth, jaw;   /* to the ideal */
} regions;

typedef double outline[PUPPET_JAW][2];

/* Whether a pixel is within `reach` pixels of the outline. */
static bool near(const double (*points)[2], double x, double y, double reach)
{
    for (int k = 0; k + 1 < PUPPET_JAW; k++) {
        const double *p = points[k], *q = points[k + 1];
        const double dx = q[0] - p[0], dy = q[1] - p[1], length = dx * dx + dy * dy;
        const double t = length > 0 ? ((x - p[0]) * dx + (y - p[1]) * dy) / length : 0;
        const double to = fmin(fmax(t, 0), 1);
        if (hypot(x - p[0] - to * dx, y - p[1] - to * dy) <= reach)
            return true;
    }
    return false;
}

/* `jaw` is that of b where b is the ideal, else NULL. */
static void compare(const ls_picture *a, const ls_picture *b, const face_frame *f,
                    const double (*jaw)[2], regions *r)
{
    for (size_t y = 0; y < a->h; y++)
        for (size_t x = 0; x < a->w; x++) {
            const double e = a->data[0][(ptrdiff_t)y * a->stride[0] + (ptrdiff_t)x] -
                             (double)b->data[0][(ptrdiff_t)y * b->stride[0] + (ptrdiff_t)x];
            const double dx = ((double)x - f->x) / f->unit, dy = ((double)y - f->y) / f->unit;
            const double u = dx * f->c + dy * f->s, v = dy * f->c - dx * f->s;
            if (jaw) {
                if (fabs(u) < 0.30 && v > 0.08 && v < 0.52)
                    add(&r->mouth, e);
                if (fabs(u) < 0.80 && v > -0.40 && v < 1.05 &&
                    near(jaw, (double)x, (double)y, BAND * f->unit))
                    add(&r->jaw, e);
            } else if (fabs(u) < 0.42 && v > -0.55 && v < -0.22) {
                add(&r->eyes, e);
            } else if (fabs(u) > 0.75 || v < -0.95 || v > 1.05) {
                add(&r->around, e);
            }
        }
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

static bool read_jaws(const char *folder, outline *jaws, size_t *count)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/jaw.txt", folder);
    FILE *f = fopen(path, "r");
    int got = 2;
    for (*count = 0; f && got == 2 && *count < MAX_FRAMES; *count += got == 2)
        for (int k = 0; k < PUPPET_JAW && got == 2; k++)
            got = fscanf(f, "%lf %lf", &jaws[*count][k][0], &jaws[*count][k][1]);
    if (f && !fclose(f) && *count)
        return true;
    fprintf(stderr, "measure: cannot read %s\n", path);
    return false;
}

/* A video that the output is compared with, as long as the two go together. */
typedef struct other {
    ls_video *video; /* may be NULL */
    outline *jaws;   /* the ideal's, or NULL */
    size_t frames;
} other;

static void compare_next(other *o, const ls_picture *p, const face_frame *faces, size_t at,
                         regions *r, ls_error *err)
{
    ls_frame *f = NULL;
    if (!o->video || at >= o->frames || ls_video_next(o->video, &f, err))
        return;
    const ls_picture q = ls_frame_picture(f);
    if (q.w == p->w && q.h == p->h)
        compare(p, &q, &faces[at], o->jaws ? (const double(*)[2])o->jaws[at] : NULL, r);
    ls_frame_unref(&f);
}

/* The output is as long as its speech, so the source's frames may be played back and forth. */
static int measure(ls_video *output, other others[2], const face_frame *faces, size_t known,
                   series *to, series *changes, regions *r, ls_error *err)
{
    double mouths[2][GRID * GRID];
    int ret = 0;
    for (ls_frame *f; !ret && to->count < MAX_FRAMES;) {
        ret = ls_video_next(output, &f, err);
        if (ret)
            break;
        const size_t n = to->count++, k = n % (2 * known), at = k < known ? k : 2 * known - 1 - k;
        const ls_picture p = ls_frame_picture(f);
        to->at[n] = opening(&p, &faces[at], mouths[n % 2]);
        for (int i = 0; n && i < GRID * GRID; i++)
            changes->at[n] += fabs(mouths[0][i] - mouths[1][i]) / (GRID * GRID);
        for (int i = 0; i < 2 && n < known; i++)
            compare_next(&others[i], &p, faces, n, r, err);
        ls_frame_unref(&f);
    }
    return ret == LS_EOF ? 0 : ret;
}

int main(int argc, char **argv)
{
    const char *paths[2] = {NULL, NULL}, *const options[2] = {"--source", "--ideal"};
    for (int i = 0; i < 2; i++)
        if (argc > 5 && !strcmp(argv[1], options[i])) {
            paths[i] = argv[2];
            argv += 2;
            argc -= 2;
        }
    const bool lists = argc > 4 && !strcmp(argv[1], "--frames");
    argv += lists;
    argc -= lists;
    if (argc != 4) {
        fputs(usage, stderr);
        return 2;
    }
    const ls_video_settings settings = {.threads = 1};
    ls_error err = {0};
    ls_video *output = NULL;
    other others[2] = {{.frames = MAX_FRAMES}, {0}};
    regions r = {0};
    char ideal[4096] = "";
    face_frame *faces = calloc(MAX_FRAMES, sizeof *faces);
    series seen = {calloc(MAX_FRAMES, sizeof(double)), 0},
           changes = {calloc(MAX_FRAMES, sizeof(double)), 0},
           said = {calloc(MAX_FRAMES, sizeof(double)), 0};
    bool ok = faces && seen.at && changes.at && said.at && read_mouths(argv[3], &said);
    const size_t known = ok ? read_track(argv[2], faces, &err) : 0;
    if (ok && !known)
        fprintf(stderr, "measure: %s does not have five points for each frame\n", argv[2]);
    ok = ok && known && !ls_video_open(&output, argv[1], &settings, &err) &&
         (!paths[0] || !ls_video_open(&others[0].video, paths[0], &settings, &err));
    if (ok && paths[1]) {
        snprintf(ideal, sizeof ideal, "%s/face.mp4", paths[1]);
        others[1].jaws = calloc(MAX_FRAMES, sizeof *others[1].jaws);
        ok = others[1].jaws && read_jaws(paths[1], others[1].jaws, &others[1].frames) &&
             !ls_video_open(&others[1].video, ideal, &settings, &err);
    }
    ok = ok && !measure(output, others, faces, known, &seen, &changes, &r, &err);
    if (ok) {
        long best = 0;
        for (long lag = -MAX_LAG; lag <= MAX_LAG; lag++)
            best = correlation(&seen, &said, lag) > correlation(&seen, &said, best) ? lag : best;
        printf("{\"frames\": %zu, \"correlation\": %.4f, \"lag\": %ld, \"best\": %.4f", seen.count,
               correlation(&seen, &said, 0), best, correlation(&seen, &said, best));
        if (paths[0])
            printf(", \"psnr_outside\": %.2f, \"psnr_eyes\": %.2f", psnr(&r.around), psnr(&r.eyes));
        if (paths[1])
            printf(", \"psnr_mouth\": %.2f, \"psnr_jaw\": %.2f", psnr(&r.mouth), psnr(&r.jaw));
        for (size_t i = 0; lists && i < seen.count; i++)
            printf("%s%.4f", i ? ", " : ", \"openings\": [", seen.at[i]);
        for (size_t i = 0; lists && i < seen.count; i++)
            printf("%s%.3f", i ? ", " : "], \"changes\": [", changes.at[i]);
        puts(lists ? "]}" : "}");
    } else if (err.message[0]) {
        fprintf(stderr, "measure: %s\n", err.message);
    }
    ls_video_close(&output);
    for (int i = 0; i < 2; i++)
        ls_video_close(&others[i].video);
    free(others[1].jaws);
    free(faces);
    free(seen.at);
    free(changes.at);
    free(said.at);
    return ok ? 0 : 1;
}
