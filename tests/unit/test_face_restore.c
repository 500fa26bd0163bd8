#include "golden.h"

#include "face/bicubic.h"
#include "face/restore.h"

#include <math.h>

/* input.face of the goldens, as [R, R, 3]. */
static float *golden_face(size_t resolution)
{
    size_t n = resolution * resolution;
    float *planar = malloc(n * 3 * sizeof(float)), *image = malloc(n * 3 * sizeof(float));
    golden_fill("input.face", n * 3, 1.2, 0, planar);
    for (size_t i = 0; i < n * 3; i++)
        image[i] = planar[i % 3 * n + i / 3];
    free(planar);
    return image;
}

static ls_matrix matrix_of(const float *m)
{
    return (ls_matrix){{{m[0], m[1], m[2]}, {m[3], m[4], m[5]}}};
}

/* A crop at `scale` crop pixels a frame pixel, turned by `angle`, whose middle lies at (x, y). */
static ls_matrix place(size_t resolution, double scale, double angle, double x, double y)
{
    size_t w, h;
    ls_crop_size(resolution, &w, &h);
    double c = scale * cos(angle), s = scale * sin(angle);
    return (ls_matrix){{{(float)c, (float)-s, (float)((double)w / 2 - c * x + s * y)},
                        {(float)s, (float)c, (float)((double)h / 2 - s * x - c * y)}}};
}

static void resize_is_the_originals(void **state)
{
    (void)state;
    golden *g = golden_open("face_resize_256.safetensors");
    size_t n;
    const float *want = golden_f32(g, "resized", &n);
    assert_int_equal(n, 3 * 210 * 280);
    float *image = golden_face(256), *got = malloc(n / 3 * 4 * sizeof(float));
    ls_bicubic *b;
    assert_int_equal(ls_bicubic_open(&b, 256, 256, 210, 280, NULL), 0);
    ls_bicubic_run(b, got, 210 * 4, image);
    double worst = 0, d = 0, norm = 0;
    for (size_t i = 0; i < n / 3; i++) {
        assert_true(got[4 * i + 3] == 1);
        for (size_t c = 0; c < 3; c++) {
            double v = want[c * (n / 3) + i], e = got[4 * i + c] - v;
            worst = fmax(worst, fabs(e));
            d += e * e;
            norm += v * v;
        }
    }
    print_message("resize: %.2e, max %.2e\n", sqrt(d / norm), worst);
    assert_true(sqrt(d / norm) < 1e-6);
    ls_bicubic_close(&b);
    free(image);
    free(got);
    golden_close(g);
}

static void check_restore(size_t resolution)
{
    char name[64];
    snprintf(name, sizeof(name), "face_align_%zu.safetensors", resolution);
    golden *ga = golden_open(name), *gf = golden_open("face_frame_640x480.safetensors");
    snprintf(name, sizeof(name), "face_restore_%zu.safetensors", resolution);
    golden *g = golden_open(name);
    snprintf(name, sizeof(name), "face_restore_%zu_masks.safetensors", resolution);
    golden *gm = golden_open(name);
    const size_t n = 640 * 480;
    const uint8_t *before = golden_u8(gf, "frame", NULL);
    uint8_t *frame = malloc(n * 3);
    memcpy(frame, before, n * 3);
    float *image = golden_face(resolution);
    ls_matrix m = matrix_of(golden_f32(ga, "matrix_0", NULL));
    ls_rgb rgb = {frame, 640 * 3, 640, 480};
    ls_restore *r;
    assert_int_equal(ls_restore_open(&r, resolution, NULL), 0);
    assert_int_equal(ls_restore_rgb(r, image, &m, 1, &rgb, NULL), 0);
    golden_assert_u8("frame", frame, golden_u8(g, "out", NULL), n * 3, 0.998);

    ls_restore_view v = ls_restore_last(r);
    assert_int_equal(2 * v.radius + 1, (int)golden_f64(g, "blur_size_sigma", NULL)[0]);
    assert_int_equal(2 * v.radius, golden_i64(g, "erosion_radius", NULL)[0]);
    unsigned top, bottom, left, right;
    assert_int_equal(
        sscanf(golden_meta(gm, "window"), "rows %u:%u, cols %u:%u", &top, &bottom, &left, &right),
        4);
    const float *soft = golden_f32(g, "soft_mask", NULL);
    const float *edge = golden_f32(gm, "inv_mask_erosion", NULL);
    double worst = 0, worst_edge = 0, d = 0, norm = 0, d_edge = 0, norm_edge = 0;
    for (size_t y = 0; y < 480; y++)
        for (size_t x = 0; x < 640; x++) {
            size_t rx = x - v.rect.x, ry = y - v.rect.y;
            bool inside = rx < v.rect.w && ry < v.rect.h;
            float s = inside ? v.soft[ry * v.rect.w + rx] : 0;
            float e = inside ? v.edge[ry * v.rect.w + rx] : 0;
            worst = fmax(worst, fabs(s - soft[y * 640 + x]));
            d += pow(s - soft[y * 640 + x], 2);
            norm += pow(soft[y * 640 + x], 2);
            if (y >= top && y < bottom && x >= left && x < right) {
                float want = edge[(y - top) * (right - left) + x - left];
                worst_edge = fmax(worst_edge, fabs(e - want));
                d_edge += pow(e - want, 2);
                norm_edge += pow(want, 2);
            }
            if (s == 0)
                assert_memory_equal(frame + 3 * (y * 640 + x), before + 3 * (y * 640 + x), 3);
        }
    d = sqrt(d / norm);
    d_edge = sqrt(d_edge / norm_edge);
    print_message("%zu: radius %zu, soft mask %.2e, max %.2e; edge %.2e, max %.2e\n", resolution,
                  v.radius, d, worst, d_edge, worst_edge);
    assert_true(d < 1e-5 && d_edge < 1e-5);
    ls_restore_close(&r);
    assert_null(r);
    free(frame);
    free(image);
    golden_close(ga);
    golden_close(gf);
    golden_close(g);
    golden_close(gm);
}

static void frames_are_the_originals(void **state)
{
    (void)state;
    check_restore(256);
    check_restore(512);
}

/* What the original's run decoded and composed, back into its 27 frames of a video of 12 that plays
 * forwards and backwards. */
static void runs_are_the_originals(void **state)
{
    (void)state;
    golden *gi = golden_open("e2e_inputs.safetensors");
    golden *gl = golden_open("e2e_plain_cfg1.5_latents.safetensors");
    golden *gf = golden_open("e2e_plain_cfg1.5_frames.safetensors");
    const size_t size = 192 * 256 * 3, n = 128 * 128,
                 source[][2] = {{0, 0}, {5, 5}, {15, 8}, {16, 7}, {26, 2}};
    uint8_t *frame = malloc(size);
    float *image = malloc(n * 3 * sizeof(float));
    ls_restore *r;
    assert_int_equal(ls_restore_open(&r, 128, NULL), 0);
    for (size_t k = 0; k < 5; k++) {
        char key[32];
        snprintf(key, sizeof(key), "combined_%zu", source[k][0]);
        const float *combined = golden_f32(gl, key, NULL);
        for (size_t i = 0; i < n * 3; i++)
            image[i] = combined[i % 3 * n + i / 3];
        memcpy(frame, golden_u8(gi, "frames", NULL) + source[k][1] * size, size);
        ls_matrix m = matrix_of(golden_f32(gi, "matrices", NULL) + 6 * source[k][1]);
        ls_rgb rgb = {frame, 256 * 3, 256, 192};
        assert_int_equal(ls_restore_rgb(r, image, &m, 1, &rgb, NULL), 0);
        golden_assert_u8(key, frame, golden_u8(gf, "frames", NULL) + source[k][0] * size, size,
                         0.998);
    }
    ls_restore_close(&r);
    free(frame);
    free(image);
    golden_close(gi);
    golden_close(gl);
    golden_close(gf);
}

/* The whole frame, by the formulas: cov, E, D and S in double. */
typedef struct plain {
    size_t w, h, radius;
    double *edge, *soft;
    double (*face)[3]; /* 0..255, without E */
} plain;

static double plain_min(const double *p, ptrdiff_t w, ptrdiff_t h, ptrdiff_t x, ptrdiff_t y,
                        ptrdiff_t back, ptrdiff_t forward)
{
    double v = 1;
    for (ptrdiff_t j = y - back < 0 ? 0 : y - back; j <= y + forward && j < h; j++)
        for (ptrdiff_t i = x - back < 0 ? 0 : x - back; i <= x + forward && i < w; i++)
            v = fmin(v, p[j * w + i]);
    return v;
}

static ptrdiff_t plain_mirror(ptrdiff_t i, ptrdiff_t n)
{
    while (n > 1 && (i < 0 || i >= n))
        i = i < 0 ? -i : 2 * (n - 1) - i;
    return n > 1 ? i : 0;
}

static void plain_blur(double *out, const double *in, ptrdiff_t w, ptrdiff_t h, ptrdiff_t radius,
                       bool along_x)
{
    double k[512], sum = 0, sigma = 0.3 * ((double)radius - 1) + 0.8;
    for (ptrdiff_t i = -radius; i <= radius; i++)
        sum += k[i + radius] = exp(-(double)(i * i) / (2 * sigma * sigma));
    for (ptrdiff_t y = 0; y < h; y++)
        for (ptrdiff_t x = 0; x < w; x++) {
            double v = 0;
            for (ptrdiff_t i = -radius; i <= radius; i++)
                v += k[i + radius] / sum *
                     (along_x ? in[y * w + plain_mirror(x + i, w)]
                              : in[plain_mirror(y + i, h) * w + x]);
            out[y * w + x] = v;
        }
}

static plain plain_run(size_t resolution, const float *image, const ls_matrix *m, size_t fw,
                       size_t fh)
{
    size_t cw, ch, n = fw * fh;
    ls_crop_size(resolution, &cw, &ch);
    float *crop = malloc(cw * ch * 4 * sizeof(float));
    ls_bicubic *b;
    assert_int_equal(ls_bicubic_open(&b, resolution, resolution, cw, ch, NULL), 0);
    ls_bicubic_run(b, crop, cw * 4, image);
    ls_bicubic_close(&b);
    plain p = {fw,
               fh,
               0,
               malloc(n * sizeof(double)),
               malloc(n * sizeof(double)),
               malloc(n * sizeof(double[3]))};
    double *cov = malloc(n * sizeof(double)), area = 0;
    for (size_t i = 0; i < n; i++) {
        double x = (double)(i % fw), y = (double)(i / fw), val[3] = {0};
        double u = m->m[0][0] * x + m->m[0][1] * y + m->m[0][2];
        double v = m->m[1][0] * x + m->m[1][1] * y + m->m[1][2];
        cov[i] = 0;
        for (int k = 0; k < 4; k++) {
            double tu = floor(u) + (k & 1), tv = floor(v) + (k >> 1);
            double wt = (1 - fabs(u - tu)) * (1 - fabs(v - tv));
            if (tu < 0 || tv < 0 || tu >= (double)cw || tv >= (double)ch)
                continue;
            cov[i] += wt;
            for (int c = 0; c < 3; c++)
                val[c] += wt * crop[((size_t)tv * cw + (size_t)tu) * 4 + (size_t)c];
        }
        for (int c = 0; c < 3; c++)
            p.face[i][c] = fmin(fmax((val[c] + (1 - cov[i]) * 127) / 2 + 0.5, 0), 1) * 255;
    }
    ptrdiff_t w = (ptrdiff_t)fw, h = (ptrdiff_t)fh;
    for (ptrdiff_t i = 0; i < w * h; i++)
        area += p.edge[i] = plain_min(cov, w, h, i % w, i / w, 1, 0);
    ptrdiff_t radius = (ptrdiff_t)sqrt(area) / 20;
    p.radius = (size_t)radius;
    for (ptrdiff_t i = 0; i < w * h; i++)
        p.soft[i] = radius ? plain_min(p.edge, w, h, i % w, i / w, radius, radius - 1)
                           : plain_min(p.edge, w, h, i % w, i / w, 1, 1);
    if (radius) {
        plain_blur(cov, p.soft, w, h, radius, true);
        plain_blur(p.soft, cov, w, h, radius, false);
    }
    free(cov);
    free(crop);
    return p;
}

static void plain_free(plain *p)
{
    free(p->edge);
    free(p->soft);
    free(p->face);
}

/* Faces inside, across every border, filling the frame, outside it; small radii and large, frames
 * of one row and one column. */
static const struct place {
    size_t resolution, w, h;
    double scale, angle, x, y;
} places[] = {
    {256, 320, 240, 2.1, 0.3, 160, 120},  {256, 320, 240, 1.1, -0.2, 20, 30},
    {256, 320, 240, 0.9, 2.5, 300, 220},  {256, 320, 240, 1.0, 0, 160, 250},
    {512, 331, 247, 0.8, 0.1, 150, 120},  {128, 320, 240, 3.0, 0.05, 310, 5},
    {256, 320, 240, 0.1, 0, 160, 120},    {256, 320, 240, 30, 0.7, 100, 100},
    {256, 320, 240, 1, 0, 5000, 100},     {256, 300, 1, 0.5, 0, 150, 0},
    {256, 1, 300, 0.5, 0, 0, 150},        {256, 1, 1, 0.5, 0, 0, 0},
    {256, 640, 480, 0.32, 0.2, 330, 240}, {256, 400, 12, 1, 0.1, 200, 6},
    {128, 320, 240, -1.5, 0.4, 100, 90},
};

static void rectangles_do_what_whole_frames_do(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(places) / sizeof(*places); k++) {
        struct place q = places[k];
        ls_matrix m = place(q.resolution, q.scale, q.angle, q.x, q.y);
        float *image = golden_face(q.resolution);
        plain p = plain_run(q.resolution, image, &m, q.w, q.h);
        uint8_t *frame = malloc(q.w * q.h * 3), *before = malloc(q.w * q.h * 3);
        for (size_t i = 0; i < q.w * q.h * 3; i++)
            before[i] = frame[i] = (uint8_t)(i * 2654435761u >> 13);
        ls_restore *r;
        ls_rgb rgb = {frame, (ptrdiff_t)q.w * 3, q.w, q.h};
        assert_int_equal(ls_restore_open(&r, q.resolution, NULL), 0);
        assert_int_equal(ls_restore_rgb(r, image, &m, 1, &rgb, NULL), 0);
        ls_restore_view v = ls_restore_last(r);
        size_t equal = 0;
        double worst = 0, soft = 0, covered = 0;
        for (size_t i = 0; i < q.w * q.h; i++) {
            size_t rx = i % q.w - v.rect.x, ry = i / q.w - v.rect.y;
            bool inside = rx < v.rect.w && ry < v.rect.h;
            float s = inside ? v.soft[ry * v.rect.w + rx] : 0;
            soft = fmax(soft, fabs(s - p.soft[i]));
            covered += p.soft[i];
            for (size_t c = 0; c < 3; c++) {
                double want =
                    p.soft[i] * p.edge[i] * p.face[i][c] + (1 - p.soft[i]) * before[3 * i + c];
                double d = fabs(frame[3 * i + c] - floor(want));
                worst = fmax(worst, d);
                equal += d == 0;
                if (s == 0)
                    assert_int_equal(frame[3 * i + c], before[3 * i + c]);
            }
        }
        print_message(
            "place %zu: radius %zu, mean mask %.3f, soft mask off by %.1e, %.3f %% equal\n", k,
            p.radius, covered / (double)(q.w * q.h), soft,
            100. * (double)equal / (double)(q.w * q.h * 3));
        if (v.rect.w)
            assert_int_equal(v.radius, p.radius);
        assert_true(soft < 1e-5 && worst <= 1);
        assert_true((double)equal >= 0.995 * (double)(q.w * q.h * 3));
        ls_restore_close(&r);
        plain_free(&p);
        free(image);
        free(frame);
        free(before);
    }
}

/* One Y'CbCr picture in memory with guard bytes around every row, and reading it. */
typedef struct yuv_case {
    unsigned depth, sub_x, sub_y;
    ls_color_matrix matrix;
    bool full;
    size_t w, h;
    double opacity;
} yuv_case;

static unsigned sample(const ls_picture *f, size_t plane, size_t x, size_t y)
{
    const uint8_t *p = f->data[plane] + (ptrdiff_t)y * f->stride[plane];
    uint16_t v = p[x];
    if (f->depth > 8)
        memcpy(&v, p + 2 * x, 2);
    return v;
}

static size_t plane_w(const ls_picture *f, size_t plane)
{
    return plane ? (f->w + ((size_t)1 << f->sub_x) - 1) >> f->sub_x : f->w;
}

static size_t plane_h(const ls_picture *f, size_t plane)
{
    return plane ? (f->h + ((size_t)1 << f->sub_y) - 1) >> f->sub_y : f->h;
}

static ls_picture make_yuv(const yuv_case *c)
{
    ls_picture f = {.w = c->w,
                    .h = c->h,
                    .depth = c->depth,
                    .sub_x = c->sub_x,
                    .sub_y = c->sub_y,
                    .matrix = c->matrix,
                    .full_range = c->full};
    uint64_t seed = 1;
    for (size_t p = 0; p < 3; p++) {
        size_t bytes = c->depth > 8 ? 2 : 1, w = plane_w(&f, p), h = plane_h(&f, p);
        f.stride[p] = (ptrdiff_t)(w * bytes);
        f.data[p] = malloc(w * h * bytes);
        for (size_t i = 0; i < w * h; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint16_t v = (uint16_t)(seed >> 40 & ((1u << c->depth) - 1));
            if (bytes == 2)
                memcpy(f.data[p] + 2 * i, &v, 2);
            else
                f.data[p][i] = (uint8_t)v;
        }
    }
    return f;
}

static void free_yuv(ls_picture *f)
{
    for (size_t p = 0; p < 3; p++)
        free(f->data[p]);
}

/* R'G'B' in 0..1 to code values above black or around neutral, by the definitions of BT.601, 709
 * and 2020. */
static void to_yuv(const yuv_case *c, const double rgb[3], double yuv[3])
{
    static const double kr[] = {0.299, 0.2126, 0.2627}, kb[] = {0.114, 0.0722, 0.0593};
    double r = kr[c->matrix], b = kb[c->matrix], peak = pow(2, c->depth) - 1;
    double y = r * rgb[0] + (1 - r - b) * rgb[1] + b * rgb[2];
    double step = pow(2, c->depth - 8.);
    yuv[0] = y * (c->full ? peak : 219 * step);
    yuv[1] = (rgb[2] - y) / (2 - 2 * b) * (c->full ? peak : 224 * step);
    yuv[2] = (rgb[0] - y) / (2 - 2 * r) * (c->full ? peak : 224 * step);
}

static void check_yuv(const yuv_case *c, const ls_matrix *m, size_t resolution)
{
    float *image = golden_face(resolution);
    plain p = plain_run(resolution, image, m, c->w, c->h);
    ls_picture f = make_yuv(c), before = make_yuv(c);
    ls_restore *r;
    assert_int_equal(ls_restore_open(&r, resolution, NULL), 0);
    assert_int_equal(ls_restore_yuv(r, image, m, c->opacity, &f, NULL), 0);
    double step = pow(2, c->depth - 8.), worst = 0;
    size_t changed = 0;
    for (size_t plane = 0; plane < 3; plane++)
        for (size_t y = 0; y < plane_h(&f, plane); y++)
            for (size_t x = 0; x < plane_w(&f, plane); x++) {
                double s = 0, face = 0;
                size_t bx = plane ? (size_t)1 << c->sub_x : 1,
                       by = plane ? (size_t)1 << c->sub_y : 1;
                size_t count = 0;
                for (size_t j = y * by; j < (y + 1) * by && j < c->h; j++)
                    for (size_t i = x * bx; i < (x + 1) * bx && i < c->w; i++, count++) {
                        size_t at = j * c->w + i;
                        double soft = p.soft[at] < 1e-6 ? 0 : p.soft[at] * c->opacity, rgb[3],
                               yuv[3];
                        for (size_t k = 0; k < 3; k++)
                            rgb[k] = p.face[at][k] / 255 * p.edge[at];
                        to_yuv(c, rgb, yuv);
                        s += soft;
                        face += soft * yuv[plane];
                    }
                s /= (double)count;
                face /= (double)count;
                double zero = plane ? 128 * step : c->full ? 0 : 16 * step;
                unsigned was = sample(&before, plane, x, y), is = sample(&f, plane, x, y);
                double want = face + s * zero + (1 - s) * was;
                want = fmin(fmax(want, 0), pow(2, c->depth) - 1);
                worst = fmax(worst, fabs(is - want));
                changed += is != was;
                if (s == 0)
                    assert_int_equal(is, was);
            }
    print_message("%u bit, %u:%u, matrix %d, %s: max %.4f from the exact value, %zu changed\n",
                  c->depth, c->sub_x, c->sub_y, c->matrix, c->full ? "full" : "limited", worst,
                  changed);
    /* rounding to nearest, and the mask's 1e-6 of the range */
    assert_true(worst < 0.5 + 1e-5 * pow(2, c->depth) + 0.001);
    assert_int_equal(changed > 0, c->opacity > 0);
    ls_restore_close(&r);
    free_yuv(&f);
    free_yuv(&before);
    plain_free(&p);
    free(image);
}

static void yuv_blends_exactly(void **state)
{
    (void)state;
    const yuv_case cases[] = {
        {8, 1, 1, LS_COLOR_BT709, false, 161, 121, 1},
        {8, 0, 0, LS_COLOR_BT601, true, 160, 120, 1},
        {10, 1, 1, LS_COLOR_BT2020, false, 163, 123, 1},
        {8, 2, 0, LS_COLOR_BT601, false, 163, 120, 1},
        {12, 1, 0, LS_COLOR_BT709, true, 161, 120, 0.5},
        {16, 0, 1, LS_COLOR_BT709, false, 160, 121, 1},
        {8, 2, 2, LS_COLOR_BT601, false, 162, 121, 0.25},
        {9, 0, 0, LS_COLOR_BT2020, true, 160, 120, 0},
    };
    const double at[][2] = {{80, 60}, {5, 10}, {158, 118}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        ls_matrix m = place(128, 1.3, 0.25, at[i % 3][0], at[i % 3][1]);
        check_yuv(&cases[i], &m, 128);
    }
}

/* 4:4:4 full range against the RGB writer: convert the frame, blend, convert back. */
static void yuv_agrees_with_rgb(void **state)
{
    (void)state;
    golden *gf = golden_open("face_frame_640x480.safetensors"),
           *ga = golden_open("face_align_256.safetensors");
    const uint8_t *frame = golden_u8(gf, "frame", NULL);
    const size_t n = 640 * 480;
    yuv_case c = {16, 0, 0, LS_COLOR_BT709, true, 640, 480, 1};
    ls_picture f = make_yuv(&c);
    for (size_t i = 0; i < n; i++) {
        double rgb[3], yuv[3];
        for (size_t k = 0; k < 3; k++)
            rgb[k] = frame[3 * i + k] / 255.;
        to_yuv(&c, rgb, yuv);
        for (size_t k = 0; k < 3; k++) {
            uint16_t v = (uint16_t)fmin(lrint(yuv[k] + (k ? 32768 : 0)), 65535);
            memcpy(f.data[k] + 2 * i, &v, 2);
        }
    }
    uint8_t *rgb_frame = malloc(n * 3);
    memcpy(rgb_frame, frame, n * 3);
    ls_rgb rgb = {rgb_frame, 640 * 3, 640, 480};
    ls_matrix m = matrix_of(golden_f32(ga, "matrix_0", NULL));
    float *image = golden_face(256);
    ls_restore *r;
    assert_int_equal(ls_restore_open(&r, 256, NULL), 0);
    assert_int_equal(ls_restore_rgb(r, image, &m, 1, &rgb, NULL), 0);
    assert_int_equal(ls_restore_yuv(r, image, &m, 1, &f, NULL), 0);
    double least = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        double y = sample(&f, 0, i % 640, i / 640) / 65535.;
        double cb = (sample(&f, 1, i % 640, i / 640) - 32768.) / 65535 * (2 - 2 * 0.0722);
        double cr = (sample(&f, 2, i % 640, i / 640) - 32768.) / 65535 * (2 - 2 * 0.2126);
        double b = y + cb, red = y + cr, g = (y - 0.2126 * red - 0.0722 * b) / 0.7152;
        const double got[3] = {red, g, b};
        for (size_t k = 0; k < 3; k++) { /* what the RGB writer cuts off is less than a level */
            double d = got[k] * 255 - rgb_frame[3 * i + k];
            least = fmin(least, d);
            most = fmax(most, d);
        }
    }
    print_message("YUV above RGB: %.3f to %.3f levels\n", least, most);
    /* two roundings to 16 bits, of which blue takes 1 + 1.86 halves each */
    assert_true(least > -0.012 && most < 1.012);
    ls_restore_close(&r);
    free(image);
    free(rgb_frame);
    free_yuv(&f);
    golden_close(gf);
    golden_close(ga);
}

/* One context, faces of many sizes in turn: as a fresh context for each. Strides of any sign. */
static void contexts_are_reusable(void **state)
{
    (void)state;
    float *image = golden_face(128);
    ls_restore *r, *fresh;
    assert_int_equal(ls_restore_open(&r, 128, NULL), 0);
    static uint8_t a[240][320][3], b[240][320][3];
    for (int k = 0; k < 12; k++) {
        memset(a, k, sizeof(a));
        memset(b, k, sizeof(b));
        ls_matrix m = place(128, 0.5 + k * 7 % 12 * 0.4, k, 30 * k, 20 * k);
        ls_rgb ra = {a[0][0], sizeof(a[0]), 320, 240};
        ls_rgb rb = {b[239][0], -(ptrdiff_t)sizeof(b[0]), 320, 240};
        assert_int_equal(ls_restore_rgb(r, image, &m, 1, &ra, NULL), 0);
        assert_int_equal(ls_restore_open(&fresh, 128, NULL), 0);
        assert_int_equal(ls_restore_rgb(fresh, image, &m, 1, &rb, NULL), 0);
        for (size_t y = 0; y < 240; y++)
            assert_memory_equal(a[y], b[239 - y], sizeof(a[0]));
        ls_restore_close(&fresh);
    }
    ls_restore_close(&r);
    ls_restore_close(&r);
    free(image);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    float *image = golden_face(128);
    uint8_t data[4 * 4 * 3];
    memset(data, 9, sizeof(data));
    ls_rgb frame = {data, 12, 4, 4}, bad = {data, 11, 4, 4};
    ls_picture yuv = {.data = {data, data, data}, .stride = {4, 4, 4}, .w = 4, .h = 4, .depth = 8};
    ls_matrix m = place(128, 30, 0, 2, 2), flat = {{{0}}}, nan = m, huge = m;
    nan.m[1][2] = NAN;
    huge.m[0][0] = 1e30f;
    ls_restore *r;
    ls_error err = {0};
    assert_int_equal(ls_restore_open(&r, 100, &err), LS_EINVAL);
    assert_int_equal(ls_restore_open(&r, 128, &err), 0);
    assert_int_equal(ls_restore_rgb(r, image, &m, 1, &bad, &err), LS_EINVAL);
    assert_int_equal(ls_restore_rgb(r, image, &flat, 1, &frame, &err), LS_EINVAL);
    assert_int_equal(ls_restore_rgb(r, image, &nan, 1, &frame, &err), LS_EINVAL);
    assert_int_equal(ls_restore_rgb(r, image, &huge, 1, &frame, &err), LS_EINVAL);
    assert_int_equal(ls_restore_rgb(r, image, &m, 1.5, &frame, &err), LS_EINVAL);
    assert_int_equal(ls_restore_rgb(r, image, &m, NAN, &frame, &err), LS_EINVAL);
    for (unsigned depth = 7; depth <= 17; depth += 5) {
        yuv.depth = depth; /* 7, 12 with too short rows, 17 */
        assert_int_equal(ls_restore_yuv(r, image, &m, 1, &yuv, &err), LS_EINVAL);
    }
    yuv.depth = 8;
    yuv.sub_y = 3;
    assert_int_equal(ls_restore_yuv(r, image, &m, 1, &yuv, &err), LS_EINVAL);
    yuv.sub_y = 0;
    yuv.data[2] = NULL;
    assert_int_equal(ls_restore_yuv(r, image, &m, 1, &yuv, &err), LS_EINVAL);
    yuv.data[1] = NULL; /* grey is a picture */
    assert_int_equal(ls_restore_yuv(r, image, &m, 0, &yuv, &err), 0);
    image[77] = NAN;
    assert_int_equal(ls_restore_rgb(r, image, &m, 1, &frame, &err), LS_EINVAL);
    assert_non_null(strstr(err.message, "not finite"));
    for (size_t i = 0; i < sizeof(data); i++)
        assert_int_equal(data[i], 9);
    image[77] = 3e38f; /* finite, far outside the range: clamped */
    assert_int_equal(ls_restore_rgb(r, image, &m, 1, &frame, &err), 0);
    ls_restore_close(&r);
    free(image);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(resize_is_the_originals),
        cmocka_unit_test(frames_are_the_originals),
        cmocka_unit_test(runs_are_the_originals),
        cmocka_unit_test(rectangles_do_what_whole_frames_do),
        cmocka_unit_test(yuv_blends_exactly),
        cmocka_unit_test(yuv_agrees_with_rgb),
        cmocka_unit_test(contexts_are_reusable),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests_name("face_restore", tests, NULL, NULL);
}
