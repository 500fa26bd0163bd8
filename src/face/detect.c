#include "face/detect.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SIDE 32768
#define MAX_CANDIDATES 1024
#define INSIDE 0.9 /* of a box: what is part of another face */

/* Letterbox: cv::resize for 8-bit images */

#define COEF_BITS 11 /* INTER_RESIZE_COEF_BITS */

typedef struct tap {
    ptrdiff_t at;  /* first of two pixels, or rows */
    int weight[2]; /* sum to 1 << COEF_BITS */
} tap;

struct ls_letterbox {
    size_t w, h;
    size_t to_w, to_h; /* the image in it */
    tap *columns;      /* [w] */
    int *row[2];       /* [3 w]: source rows, scaled across */
    size_t row_of[2];
};

int ls_letterbox_open(ls_letterbox **out, size_t w, size_t h, ls_error *err)
{
    ls_letterbox *l = *out = ls_calloc_array(1, sizeof *l);
    if (l) {
        l->w = w;
        l->h = h;
        l->columns = ls_calloc_array(w, sizeof *l->columns);
        l->row[0] = ls_calloc_array(w, 3 * sizeof(int));
        l->row[1] = ls_calloc_array(w, 3 * sizeof(int));
    }
    if (l && l->columns && l->row[0] && l->row[1])
        return 0;
    ls_letterbox_close(out);
    return ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_letterbox_close(ls_letterbox **l)
{
    if (!*l)
        return;
    free((*l)->columns);
    free((*l)->row[0]);
    free((*l)->row[1]);
    free(*l);
    *l = NULL;
}

/* Tap `i` of `to`, which may lie outside. Each weight is rounded separately, half to even. */
static tap tap_of(size_t i, size_t from, size_t to)
{
    const double scale = 1 / ((double)to / (double)from);
    float f = (float)(((double)i + 0.5) * scale - 0.5);
    const float whole = floorf(f);
    f -= whole;
    return (tap){(ptrdiff_t)whole,
                 {(int)lrintf((1 - f) * (1 << COEF_BITS)), (int)lrintf(f * (1 << COEF_BITS))}};
}

/* Horizontally, taps at the edges use one pixel; vertically they keep both weights, whose products
 * are truncated separately. */
static tap column_tap(size_t i, size_t from, size_t to)
{
    const tap t = tap_of(i, from, to);
    const ptrdiff_t last = (ptrdiff_t)from - 1;
    if (t.at >= 0 && t.at < last)
        return t;
    return (tap){t.at < 0 ? 0 : last, {1 << COEF_BITS, 0}};
}

static const int *scaled_row(ls_letterbox *l, const ls_rgb *p, ptrdiff_t at)
{
    const size_t y = at < 0 ? 0 : (size_t)at < p->h ? (size_t)at : p->h - 1;
    const size_t k = y & 1; /* neighbouring rows use different buffers */
    if (l->row_of[k] == y)
        return l->row[k];
    const uint8_t *row = p->data + (ptrdiff_t)y * p->stride;
    for (size_t x = 0; x < l->to_w; x++) {
        const tap *t = &l->columns[x];
        const uint8_t *a = row + 3 * t->at, *b = t->weight[1] ? a + 3 : a;
        for (size_t c = 0; c < 3; c++)
            l->row[k][3 * x + c] = a[c] * t->weight[0] + b[c] * t->weight[1];
    }
    l->row_of[k] = y;
    return l->row[k];
}

/* InsightFace compares height / width and truncates the computed side. */
static ls_fit place(ls_letterbox *l, const ls_rgb *p, bool border)
{
    const size_t w = l->w >> border, h = l->h >> border;
    const double ratio = (double)p->h / (double)p->w;
    const bool tall = ratio > (double)h / (double)w;
    l->to_h = tall ? h : (size_t)((double)w * ratio);
    l->to_w = tall ? (size_t)((double)h / ratio) : w;
    l->to_h = l->to_h ? l->to_h : 1;
    l->to_w = l->to_w ? l->to_w : 1;
    return (ls_fit){(double)l->to_h / (double)p->h, border ? (l->w - l->to_w) / 2 : 0,
                    border ? (l->h - l->to_h) / 2 : 0};
}

int ls_letterbox_run(ls_letterbox *l, const ls_rgb *p, bool border, ls_levels levels, float *dst,
                     ls_fit *fit, ls_error *err)
{
    if (!p->w || !p->h || p->w > MAX_SIDE || p->h > MAX_SIDE)
        return ls_fail(err, LS_EINVAL, "unsupported image size %zu x %zu", p->w, p->h);
    *fit = place(l, p, border);
    for (size_t x = 0; x < l->to_w; x++)
        l->columns[x] = column_tap(x, p->w, l->to_w);
    l->row_of[0] = l->row_of[1] = SIZE_MAX;
    const float empty = (0 - levels.mean) * levels.scale;
    for (size_t y = 0; y < l->h; y++) {
        float *out = dst + y * l->w * 3;
        size_t done = 0, before = 0;
        if (y >= fit->y && y - fit->y < l->to_h) {
            const tap t = tap_of(y - fit->y, p->h, l->to_h);
            const int *a = scaled_row(l, p, t.at);
            const int *b = t.weight[1] ? scaled_row(l, p, t.at + 1) : a;
            for (before = 0; before < 3 * fit->x; before++)
                *out++ = empty;
            done = 3 * l->to_w;
            for (size_t i = 0; i < done; i += 3) {
                for (size_t c = 0; c < 3; c++) { /* cv::VResizeLinear, with its shifts */
                    int v = ((t.weight[0] * (a[i + c] >> 4)) >> 16) +
                            ((t.weight[1] * (b[i + c] >> 4)) >> 16);
                    out[i + 2 - c] = ((float)((v + 2) >> 2) - levels.mean) * levels.scale;
                }
            }
        }
        for (size_t i = done; i < 3 * l->w - before; i++)
            out[i] = empty;
    }
    return 0;
}

/* Decoding */

static bool finite_face(const ls_face *f)
{
    double sum = f->score;
    for (size_t i = 0; i < 4; i++)
        sum += f->box[i];
    for (size_t i = 0; i < (size_t)f->kind; i++)
        sum += f->points[i][0] + f->points[i][1];
    return isfinite(sum);
}

/* The face of one row of a grid: cell `x`, `y`. */
static bool decode_row(const ls_face_grid *g, bool yunet, size_t row, size_t x, size_t y,
                       ls_face *f)
{
    const float *b = g->box + 4 * row, *p = g->points ? g->points + 10 * row : NULL;
    const double s = (double)g->stride, cx = (double)x, cy = (double)y;
    f->kind = p ? LS_FACE_POINTS5 : LS_FACE_NONE;
    if (yunet) {
        const double w = exp((double)b[2]) * s, h = exp((double)b[3]) * s;
        f->box[0] = (cx + (double)b[0]) * s - w / 2;
        f->box[1] = (cy + (double)b[1]) * s - h / 2;
        f->box[2] = f->box[0] + w;
        f->box[3] = f->box[1] + h;
    } else {
        for (int i = 0; i < 4; i++)
            f->box[i] = ((i % 2 ? cy : cx) + (i < 2 ? -1 : 1) * (double)b[i]) * s;
    }
    for (int i = 0; p && i < 5; i++) {
        f->points[i][0] = (cx + (double)p[2 * i]) * s;
        f->points[i][1] = (cy + (double)p[2 * i + 1]) * s;
    }
    return finite_face(f);
}

/* Candidates, kept sorted by score. */
typedef struct candidate {
    double score;
    size_t grid, row;
} candidate;

static int surest_first(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->score != y->score)
        return x->score < y->score ? 1 : -1;
    if (x->grid != y->grid)
        return x->grid < y->grid ? -1 : 1;
    return x->row < y->row ? -1 : 1;
}

static double score_of(const ls_face_grid *g, size_t row)
{
    double s = (double)g->score[row];
    if (g->objectness)
        s = sqrt(fmin(fmax(s, 0), 1) * fmin(fmax((double)g->objectness[row], 0), 1));
    return s;
}

static double area_of(const double a[4])
{
    return (a[2] - a[0] + 1) * (a[3] - a[1] + 1);
}

/* Whether `a` is the face `b` again, or part of it, as an eye: no other face fits into its box. */
static bool belongs_to(const double a[4], const double b[4], double overlap)
{
    double w = fmin(a[2], b[2]) - fmax(a[0], b[0]) + 1, h = fmin(a[3], b[3]) - fmax(a[1], b[1]) + 1;
    double both = fmax(w, 0) * fmax(h, 0);
    return !(both / (area_of(a) + area_of(b) - both) <= overlap) || both > INSIDE * area_of(a);
}

static void unfit(ls_face *f, ls_fit fit)
{
    const double origin[2] = {(double)fit.x, (double)fit.y};
    for (size_t i = 0; i < 4; i++)
        f->box[i] = (f->box[i] - origin[i % 2]) / fit.scale;
    for (size_t i = 0; i < (size_t)f->kind; i++)
        for (size_t c = 0; c < 2; c++)
            f->points[i][c] = (f->points[i][c] - origin[c]) / fit.scale;
}

size_t ls_detect_decode(const ls_face_net *net, double threshold, double overlap, ls_fit fit,
                        ls_face *faces, size_t max)
{
    const bool yunet = ls_face_net_get_kind(net) == LS_FACE_NET_YUNET;
    candidate c[MAX_CANDIDATES];
    size_t count = 0, found = 0;
    for (size_t i = 0; i < LS_FACE_STRIDES; i++) {
        const ls_face_grid g = ls_face_net_grid(net, i);
        for (size_t row = 0; row < g.width * g.height * g.anchors; row++) {
            double s = score_of(&g, row);
            if (s >= threshold && s <= 1 && count < MAX_CANDIDATES)
                c[count++] = (candidate){s, i, row};
        }
    }
    qsort(c, count, sizeof *c, surest_first);
    for (size_t i = 0; i < count && found < max; i++) {
        const ls_face_grid g = ls_face_net_grid(net, c[i].grid);
        ls_face *f = &faces[found];
        const size_t cell = c[i].row / g.anchors;
        *f = (ls_face){.score = c[i].score};
        bool keep = decode_row(&g, yunet, c[i].row, cell % g.width, cell / g.width, f);
        unfit(f, fit);
        for (size_t k = 0; keep && k < found; k++)
            keep = !belongs_to(f->box, faces[k].box, overlap);
        found += keep;
    }
    return found;
}

/* 106 landmarks: cv::warpAffine for 8-bit images */

bool ls_landmarks_square(const double box[4], ls_square *square)
{
    const double w = box[2] - box[0], h = box[3] - box[1], side = fmax(w, h) * 1.5;
    if (!(w > 0 && h > 0 && side < 1e6) || !(fabs(box[0]) < 1e6 && fabs(box[1]) < 1e6))
        return false;
    square->scale = LS_LANDMARKS_SIZE / side;
    square->x = LS_LANDMARKS_SIZE / 2.0 - (box[0] + box[2]) / 2 * square->scale;
    square->y = LS_LANDMARKS_SIZE / 2.0 - (box[1] + box[3]) / 2 * square->scale;
    return true;
}

/* A pixel's level, 0 outside. */
static int level(const ls_rgb *p, long x, long y, size_t c)
{
    bool inside = x >= 0 && y >= 0 && (size_t)x < p->w && (size_t)y < p->h;
    return inside ? p->data[(ptrdiff_t)y * p->stride + 3 * (ptrdiff_t)x + (ptrdiff_t)c] : 0;
}

void ls_landmarks_crop(const ls_rgb *p, const ls_square *square, float *dst)
{
    /* 10 bits of fraction along an axis, of which 5 go into the weights */
    const double step = 1 / square->scale, x0 = -square->x * step, y0 = -square->y * step;
    for (long v = 0; v < LS_LANDMARKS_SIZE; v++) {
        const long y = (lrint((step * (double)v + y0) * 1024) + 16) >> 5, fy = y & 31;
        for (long u = 0; u < LS_LANDMARKS_SIZE; u++, dst += 3) {
            const long x = (lrint(x0 * 1024) + 16 + lrint(step * (double)u * 1024)) >> 5;
            const long fx = x & 31;
            for (size_t c = 0; c < 3; c++) {
                long sum = (32 - fx) * (32 - fy) * level(p, x >> 5, y >> 5, c) +
                           fx * (32 - fy) * level(p, (x >> 5) + 1, y >> 5, c) +
                           (32 - fx) * fy * level(p, x >> 5, (y >> 5) + 1, c) +
                           fx * fy * level(p, (x >> 5) + 1, (y >> 5) + 1, c);
                dst[2 - c] = (float)((sum + 512) >> 10);
            }
        }
    }
}

bool ls_landmarks_decode(const float *points, const ls_square *square, ls_face *face)
{
    const float half = LS_LANDMARKS_SIZE / 2;
    for (size_t i = 0; i < 106; i++) {
        face->points[i][0] = ((double)((points[2 * i] + 1) * half) - square->x) / square->scale;
        face->points[i][1] = ((double)((points[2 * i + 1] + 1) * half) - square->y) / square->scale;
        if (!isfinite(face->points[i][0]) || !isfinite(face->points[i][1]))
            return false;
    }
    face->kind = LS_FACE_LANDMARKS106;
    return true;
}
