#include "media/label.h"
#include "media/avframe.h"
#include "media/format.h"
#include "media/glyphs.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define HEIGHT 20   /* the shorter side is so many times as high as a letter */
#define SMALLEST 16 /* pixels of a letter, whatever the side */
#define MARGIN 0.05 /* of width and height: what is within is shown by every screen */
#define LEAST 0.55  /* of its usual size: what is smaller cannot be read */
#define PEN 2.6     /* width of a line; this and what follows are in units of the glyphs' grid */
#define PAD_X 9
#define PAD_Y 7
#define CORNER 6
#define GROUND 0.62 /* opacity of what is behind the text */
#define ONE 256

/* What a pixel becomes: so much of it, and so much white; of ONE. */
typedef struct share {
    uint16_t keep, ink;
} share;

struct ls_label {
    size_t x, y, w, h; /* even, so that it has whole samples of chroma */
    share *shares;
};

/* From the grid to pixels. */
typedef struct scale {
    double x, y;           /* pixels of a unit; they differ where pixels are not square */
    double left, baseline; /* of the text, in the label */
} scale;

static double segment_distance(double x, double y, const ls_glyph_stroke *s)
{
    const double dx = s->x1 - s->x0, dy = s->y1 - s->y0, length = dx * dx + dy * dy;
    double t = length > 0 ? ((x - s->x0) * dx + (y - s->y0) * dy) / length : 0;
    t = fmin(fmax(t, 0), 1);
    const double a = x - s->x0 - t * dx, b = y - s->y0 - t * dy;
    return sqrt(a * a + b * b);
}

/* How much of a pixel lies within a border that is so many units away; negative: inside. */
static double coverage(const scale *c, double distance)
{
    return fmin(fmax(0.5 - distance * c->y, 0), 1);
}

static double box_distance(double x, double y, double w, double h)
{
    const double dx = fabs(x - w / 2) - w / 2 + CORNER, dy = fabs(y - h / 2) - h / 2 + CORNER;
    return (dx > 0 && dy > 0 ? sqrt(dx * dx + dy * dy) : fmax(dx, dy)) - CORNER;
}

static size_t clip(double at, size_t size)
{
    return at <= 0 ? 0 : at >= (double)size ? size : (size_t)at;
}

static void draw_stroke(ls_label *l, const scale *c, const ls_glyph_stroke *s)
{
    const double reach = PEN / 2 + 1 / fmin(c->x, c->y);
    const size_t x0 = clip((fmin(s->x0, s->x1) - reach) * c->x + c->left, l->w),
                 x1 = clip((fmax(s->x0, s->x1) + reach) * c->x + c->left + 1, l->w),
                 y0 = clip((fmin(s->y0, s->y1) - reach) * c->y + c->baseline, l->h),
                 y1 = clip((fmax(s->y0, s->y1) + reach) * c->y + c->baseline + 1, l->h);
    for (size_t y = y0; y < y1; y++)
        for (size_t x = x0; x < x1; x++) {
            const double d = segment_distance(((double)x + 0.5 - c->left) / c->x,
                                              ((double)y + 0.5 - c->baseline) / c->y, s);
            const uint16_t ink = (uint16_t)lrint(ONE * coverage(c, d - PEN / 2));
            share *p = &l->shares[y * l->w + x];
            p->ink = p->ink > ink ? p->ink : ink;
        }
}

/* White text on its ground: what is kept of the picture. */
static void draw_ground(ls_label *l, const scale *c, double w, double h)
{
    for (size_t y = 0; y < l->h; y++)
        for (size_t x = 0; x < l->w; x++) {
            share *p = &l->shares[y * l->w + x];
            const double d = box_distance(((double)x + 0.5) / c->x, ((double)y + 0.5) / c->y, w, h);
            p->keep = (uint16_t)lrint((ONE - p->ink) * (1 - GROUND * coverage(c, d)));
        }
}

static int lay_out(ls_label *l, const char *text, const ls_video *like, ls_glyph_stroke **strokes,
                   ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(like);
    const AVRational sar = ls_video_model(like)->sample_aspect_ratio;
    const double aspect = sar.num > 0 && sar.den > 0 ? av_q2d(sar) : 1,
                 wide = (double)v->width * aspect, high = (double)v->height;
    double width;
    size_t count;
    int ret = ls_glyphs_lay(strokes, &count, &width, text, err);
    if (ret)
        return ret;
    const double w = width + 2 * PAD_X, h = LS_GLYPHS_BOTTOM - LS_GLYPHS_TOP + 2 * PAD_Y,
                 usual = fmax(fmin(wide, high) / HEIGHT, SMALLEST) / LS_GLYPHS_EM,
                 unit = fmin(usual, (1 - 2 * MARGIN) * fmin(wide / w, high / h));
    if (unit < LEAST * usual)
        return ls_fail(err, LS_EINVAL, "the text is too long to be read in a picture of %zu x %zu",
                       v->width, v->height);
    const scale c = {.x = unit / aspect,
                     .y = unit,
                     .left = PAD_X * unit / aspect,
                     .baseline = (PAD_Y - LS_GLYPHS_TOP) * unit};
    l->x = (size_t)(MARGIN * (double)v->width) / 4 * 4;
    l->y = (size_t)(MARGIN * high) / 4 * 4;
    l->w = ((size_t)ceil(w * c.x) + 3) / 4 * 4;
    l->h = ((size_t)ceil(h * c.y) + 3) / 4 * 4;
    l->w = l->w < v->width - l->x ? l->w : v->width - l->x;
    l->h = l->h < v->height - l->y ? l->h : v->height - l->y;
    l->shares = ls_calloc_array(l->w * l->h, sizeof *l->shares);
    if (!l->shares)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        draw_stroke(l, &c, &(*strokes)[i]);
    draw_ground(l, &c, w, h);
    return 0;
}

int ls_label_open(ls_label **out, const char *text, const ls_video *like, ls_error *err)
{
    ls_label *l = *out = ls_calloc_array(1, sizeof *l);
    ls_glyph_stroke *strokes = NULL;
    int ret = l ? lay_out(l, text, like, &strokes, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    free(strokes);
    if (ret)
        ls_label_close(out);
    return ret;
}

void ls_label_close(ls_label **pl)
{
    ls_label *l = *pl;
    if (!l)
        return;
    free(l->shares);
    free(l);
    *pl = NULL;
}

/* White as bright as that of graphics beside a picture: BT.2408's 203 cd/m2 in HDR. */
static double white_of(const AVFrame *f)
{
    return f->color_trc == AVCOL_TRC_SMPTE2084      ? 0.58
           : f->color_trc == AVCOL_TRC_ARIB_STD_B67 ? 0.75
                                                    : 0.95;
}

/* What the label makes of the samples of a plane: each the middle of a block of pixels. */
typedef struct plane {
    uint8_t *data;
    ptrdiff_t stride;
    unsigned sub_x, sub_y;
    bool is_wide;     /* two bytes a sample */
    int ground, rise; /* the value of the ground, and by how much white is above it */
} plane;

static share mean(const ls_label *l, const plane *p, size_t x, size_t y)
{
    unsigned keep = 0, ink = 0, n = 0;
    for (size_t j = y << p->sub_y; j < (y + 1) << p->sub_y && j < l->h; j++)
        for (size_t i = x << p->sub_x; i < (x + 1) << p->sub_x && i < l->w; i++, n++) {
            keep += l->shares[j * l->w + i].keep;
            ink += l->shares[j * l->w + i].ink;
        }
    return (share){(uint16_t)((keep + n / 2) / n), (uint16_t)((ink + n / 2) / n)};
}

static int mix(const plane *p, share s, int value)
{
    return (p->ground * ONE + (value - p->ground) * s.keep + p->rise * s.ink + ONE / 2) / ONE;
}

static void draw_plane(const ls_label *l, const plane *p)
{
    const size_t w = (l->w + (1u << p->sub_x) - 1) >> p->sub_x,
                 h = (l->h + (1u << p->sub_y) - 1) >> p->sub_y;
    for (size_t y = 0; y < h; y++) {
        uint8_t *row = p->data + (ptrdiff_t)((l->y >> p->sub_y) + y) * p->stride;
        for (size_t x = 0; x < w; x++) {
            const size_t at = (l->x >> p->sub_x) + x;
            const share s = mean(l, p, x, y);
            if (p->is_wide)
                ((uint16_t *)row)[at] = (uint16_t)mix(p, s, ((uint16_t *)row)[at]);
            else
                row[at] = (uint8_t)mix(p, s, row[at]);
        }
    }
}

int ls_label_draw(const ls_label *l, ls_frame *f, ls_error *err)
{
    int ret = ls_frame_make_writable(f, err);
    if (ret)
        return ret;
    const ls_picture pic = ls_frame_picture(f);
    const int one = 1 << (pic.depth - 8), most = (1 << pic.depth) - 1,
              black = pic.full_range ? 0 : 16 * one, white = pic.full_range ? most : 235 * one;
    for (size_t i = 0; i < 3 && pic.data[i]; i++)
        draw_plane(l, &(plane){.data = pic.data[i],
                               .stride = pic.stride[i],
                               .sub_x = i ? pic.sub_x : 0,
                               .sub_y = i ? pic.sub_y : 0,
                               .is_wide = pic.depth > 8,
                               .ground = i ? 128 * one : black,
                               .rise = i ? 0 : (int)lrint(white_of(f->av) * (white - black))});
    if (ls_format_has_alpha(f->av->format))
        draw_plane(l, &(plane){.data = f->av->data[3],
                               .stride = f->av->linesize[3],
                               .is_wide = pic.depth > 8,
                               .ground = most});
    return 0;
}
