#include "test.h"

#include "base/alloc.h"
#include "face/mask.h"
#include "face/paste.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A grey-coded picture of 8 bits, 4:4:4, full range: its planes are Y, Cb, Cr of RGB in 0..255. */
typedef struct picture {
    size_t w, h, sub;
    uint8_t *data[3], *rgb;
    ls_picture p;
} picture;

static picture make_picture(size_t w, size_t h, unsigned sub)
{
    picture f = {.w = w, .h = h, .sub = sub, .rgb = malloc(w * h * 3)};
    f.p = (ls_picture){.w = w,
                       .h = h,
                       .depth = 8,
                       .sub_x = sub,
                       .sub_y = sub,
                       .matrix = LS_COLOR_BT601,
                       .full_range = true};
    for (size_t i = 0; i < 3; i++) {
        const size_t row = i ? (w + sub) >> sub : w, rows = i ? (h + sub) >> sub : h;
        f.p.data[i] = f.data[i] = malloc(row * rows);
        f.p.stride[i] = (ptrdiff_t)row;
    }
    return f;
}

static void free_picture(picture *f)
{
    for (size_t i = 0; i < 3; i++)
        free(f->data[i]);
    free(f->rgb);
}

static picture copy_picture(const picture *f)
{
    picture c = make_picture(f->w, f->h, (unsigned)f->sub);
    for (size_t i = 0; i < 3; i++)
        memcpy(c.data[i], f->data[i],
               (size_t)f->p.stride[i] * (i ? (f->h + f->sub) >> f->sub : f->h));
    memcpy(c.rgb, f->rgb, f->w * f->h * 3);
    return c;
}

/* Grey of `value` at every pixel. */
static picture draw(size_t w, size_t h, double (*value)(double x, double y))
{
    picture f = make_picture(w, h, 0);
    for (size_t i = 0; i < w * h; i++) {
        const uint8_t v = (uint8_t)lrint(value((double)(i % w), (double)(i / w)));
        f.data[0][i] = v;
        f.data[1][i] = f.data[2][i] = 128;
        memset(f.rgb + 3 * i, v, 3);
    }
    return f;
}

static ls_matrix place(size_t resolution, double scale, double angle, double x, double y)
{
    size_t w, h;
    ls_crop_size(resolution, &w, &h);
    const double c = scale * cos(angle), s = scale * sin(angle);
    return (ls_matrix){{{(float)c, (float)-s, (float)((double)w / 2 - c * x + s * y)},
                        {(float)s, (float)c, (float)((double)h / 2 - s * x - c * y)}}};
}

/* Where a pixel of the frame lies in the face image. */
static void in_face(size_t resolution, const ls_matrix *m, size_t x, size_t y, double at[2])
{
    size_t size[2];
    ls_crop_size(resolution, &size[0], &size[1]);
    for (size_t k = 0; k < 2; k++)
        at[k] = (m->m[k][0] * (double)x + m->m[k][1] * (double)y + m->m[k][2] + 0.5) *
                    (double)resolution / (double)size[k] -
                0.5;
}

/* The face that the networks get of a picture, and as what they would return if nothing changed. */
static void cut_out(const picture *f, size_t resolution, const ls_matrix *m, uint8_t *face,
                    float *image)
{
    ls_cropper *c;
    const ls_rgb rgb = {f->rgb, (ptrdiff_t)f->w * 3, f->w, f->h};
    assert_int_equal(ls_cropper_open(&c, resolution, NULL), 0);
    ls_cropper_run(c, face, m, &rgb, 0, 0);
    ls_cropper_close(&c);
    for (size_t i = 0; i < resolution * resolution * 3; i++)
        image[i] = (float)face[i] / 127.5f - 1;
}

static ls_paste_view paste(size_t resolution, double sharpen, const float *image,
                           const uint8_t *face, const ls_matrix *m, double opacity, picture *f)
{
    ls_paste *p;
    assert_int_equal(ls_paste_open(&p, resolution, sharpen, NULL), 0);
    assert_int_equal(ls_paste_yuv(p, image, face, m, opacity, &f->p, NULL), 0);
    const ls_paste_view view = ls_paste_last(p);
    ls_paste_close(&p);
    assert_null(p);
    return view;
}

static const struct {
    size_t resolution, w, h;
    double scale, angle, x, y;
} places[] = {
    {256, 320, 240, 2.1, 0.3, 160, 120}, {256, 320, 240, 1.1, -0.2, 20, 30},
    {256, 321, 241, 0.9, 2.5, 300, 220}, {512, 331, 247, 0.8, 0.1, 150, 120},
    {128, 320, 240, 0.3, 0.05, 160, 90}, {64, 320, 240, 0.4, 0, 160, 120},
    {256, 320, 240, 30, 0.7, 100, 100},  {256, 320, 240, 1, 0, 5000, 100},
    {256, 300, 1, 0.5, 0, 150, 0},       {256, 1, 300, 0.5, 0, 0, 150},
    {128, 320, 240, -1.5, 0.4, 100, 90}, {8, 320, 240, 0.1, 0, 160, 120},
};

/* White faces into frames of noise. */
static void what_the_mask_keeps_is_exact(void **state)
{
    (void)state;
    for (size_t k = 0; k < LS_COUNT(places) * 2; k++) {
        const size_t n = places[k / 2].resolution, w = places[k / 2].w, h = places[k / 2].h;
        picture f = make_picture(w, h, k % 2);
        for (size_t i = 0; i < 3; i++)
            for (size_t j = 0; j < (i ? ((w + f.sub) >> f.sub) * ((h + f.sub) >> f.sub) : w * h);
                 j++)
                f.data[i][j] = (uint8_t)(64 + ((j * 2654435761u + i) >> 13) % 100);
        picture before = copy_picture(&f);
        const ls_matrix m =
            place(n, places[k / 2].scale, places[k / 2].angle, places[k / 2].x, places[k / 2].y);
        float *image = malloc(n * n * 3 * sizeof(float));
        uint8_t *face = malloc(n * n * 3);
        for (size_t i = 0; i < n * n * 3; i++)
            image[i] = 1;
        memset(face, 128, n * n * 3);
        ls_mask *mask;
        assert_int_equal(ls_mask_open(&mask, n, NULL), 0);
        const ls_paste_view view = paste(n, 1, image, face, &m, 1, &f);
        size_t white = 0, repainted = 0;
        for (size_t y = 0; y < h; y++)
            for (size_t x = 0; x < w; x++) {
                double at[2];
                in_face(n, &m, x, y, at);
                const long u = lrint(at[0]), v = lrint(at[1]);
                const bool inside = u >= 0 && v >= 0 && u < (long)n && v < (long)n,
                           kept = !inside || ls_mask_pixels(mask)[(size_t)v * n + (size_t)u] >= 128;
                repainted += !kept;
                white += f.data[0][y * w + x] > 230;
                if (kept || x < view.rect.x || y < view.rect.y || x >= view.rect.x + view.rect.w ||
                    y >= view.rect.y + view.rect.h)
                    assert_int_equal(f.data[0][y * w + x], before.data[0][y * w + x]);
                if (kept && !f.sub)
                    for (size_t i = 1; i < 3; i++)
                        assert_int_equal(f.data[i][y * w + x], before.data[i][y * w + x]);
            }
        print_message("place %zu: %zu pixels repainted, %zu of them entirely\n", k / 2, repainted,
                      white);
        if (n >= 64 && repainted > 1000)
            assert_true((double)white > 0.5 * (double)repainted);
        ls_mask_close(&mask);
        free(image);
        free(face);
        free_picture(&f);
        free_picture(&before);
    }
}

static double waves(double x, double y)
{
    return 128 + 50 * sin(x / 31 + y / 77) + 30 * cos(y / 23 - x / 90);
}

/* What the networks did not change does not change. */
static void the_same_face_gives_the_frame(void **state)
{
    (void)state;
    static const double scales[] = {0.45, 0.7, 1, 1.6};
    const size_t n = 128;
    float *image = malloc(n * n * 3 * sizeof(float));
    uint8_t *face = malloc(n * n * 3);
    for (size_t k = 0; k < LS_COUNT(scales); k++) {
        picture f = draw(400, 400, waves), before = copy_picture(&f);
        const ls_matrix m = place(n, scales[k], 0.2, 200, 190);
        cut_out(&f, n, &m, face, image);
        paste(n, LS_SHARPEN_AUTO, image, face, &m, 1, &f);
        int worst = 0;
        double sum = 0, squares = 0;
        for (size_t p = 0; p < 3; p++)
            for (size_t i = 0; i < f.w * f.h; i++) {
                const int d = f.data[p][i] - before.data[p][i];
                worst = abs(d) > worst ? abs(d) : worst;
                sum += p ? 0 : d;
                squares += p ? 0 : d * d;
            }
        print_message("scale %.2f: off by %d at most, %.3f on average, %.4f rms\n", scales[k],
                      worst, sum / (double)(f.w * f.h), sqrt(squares / (double)(f.w * f.h)));
        assert_true(worst <= 2 && fabs(sum) < 0.02 * (double)(f.w * f.h));
        free_picture(&f);
        free_picture(&before);
    }
    free(image);
    free(face);
}

static double flat(double x, double y)
{
    return 120 + x / 20 - y / 30;
}

/* Adds to the image of a face: `level` everywhere and `tilt` from the top left to the bottom right.
 */
static void discolor(float *image, size_t n, const double level[3], double tilt)
{
    for (size_t i = 0; i < n * n * 3; i++) {
        const double x = (double)(i / 3 % n), y = (double)(i / 3 / n), across = (x + y) / (double)n;
        image[i] += (float)((level[i % 3] + tilt * (across - 1)) / 127.5);
    }
}

/* The largest difference of luma in the middle of the mask, with its sign. */
static double largest_change(const picture *f, const picture *before, size_t n, const ls_matrix *m)
{
    double largest = 0;
    for (size_t i = 0; i < f->w * f->h; i++) {
        double at[2];
        in_face(n, m, i % f->w, i / f->w, at);
        const double u = at[0] * 256 / (double)n, v = at[1] * 256 / (double)n;
        const double d = (double)f->data[0][i] - before->data[0][i];
        if (u > 60 && u < 196 && v > 150 && v < 200 && fabs(d) > fabs(largest))
            largest = d;
    }
    return largest;
}

static void foreign_light_is_taken_away(void **state)
{
    (void)state;
    static const struct {
        double level[3], tilt, least, most; /* of the change that is left */
        bool jaw;                           /* the lower edge shows another jaw */
    } cases[] = {
        {{0, 0, 0}, 0, -1, 1, false},     {{9, 9, 9}, 0, -1, 1, false},
        {{-15, 4, 12}, 0, -1, 1, false},  {{6, 6, 6}, 16, -1.5, 1.5, false},
        {{60, 60, 60}, 0, 39, 61, false}, /* too much to be light */
        {{8, 8, 8}, 0, -2, 2, true},
    };
    const size_t n = 256;
    float *image = malloc(n * n * 3 * sizeof(float));
    uint8_t *face = malloc(n * n * 3);
    const ls_matrix m = place(n, 0.8, -0.1, 200, 190);
    for (size_t k = 0; k < LS_COUNT(cases); k++) {
        picture f = draw(400, 400, flat), before = copy_picture(&f);
        cut_out(&f, n, &m, face, image);
        discolor(image, n, cases[k].level, cases[k].tilt);
        for (size_t i = n * n * 3 / 256 * 215; cases[k].jaw && i < n * n * 3; i++)
            image[i] -= 0.6f;
        const ls_paste_view v = paste(n, 0, image, face, &m, 1, &f);
        const double left = largest_change(&f, &before, n, &m);
        print_message("case %zu: offset %.2f %.2f %.2f, %.0f levels left\n", k, v.offset[0],
                      v.offset[1], v.offset[2], left);
        assert_true(left >= cases[k].least && left <= cases[k].most);
        for (size_t c = 0; c < 3; c++)
            assert_true(fabs(v.offset[c]) < 20.001);
        free_picture(&f);
        free_picture(&before);
    }
    free(image);
    free(face);
}

/* A jaw that is open in the video and closed in what is pasted, or the other way round, changes no
 * light above it. */
static void light_does_not_follow_the_jaw(void **state)
{
    (void)state;
    static const float changes[] = {-0.3f, -0.1f, 0.1f, 0.3f};
    const size_t n = 256;
    const ls_matrix m = place(n, 0.8, -0.1, 200, 190);
    float *image = malloc(n * n * 3 * sizeof(float));
    uint8_t *face = malloc(n * n * 3);
    picture source = draw(400, 400, flat), still = copy_picture(&source);
    cut_out(&source, n, &m, face, image);
    discolor(image, n, (double[]){8, 4, -3}, 6);
    paste(n, LS_SHARPEN_AUTO, image, face, &m, 1, &still);
    for (size_t k = 0; k < LS_COUNT(changes); k++) {
        picture f = copy_picture(&source);
        for (size_t i = n * 205 * 3; i < n * n * 3; i++)
            image[i] += changes[k] - (k ? changes[k - 1] : 0);
        paste(n, LS_SHARPEN_AUTO, image, face, &m, 1, &f);
        const double left = largest_change(&f, &still, n, &m);
        print_message("jaw %+.1f: %.0f levels\n", (double)changes[k], left);
        assert_true(fabs(left) <= 1);
        free_picture(&f);
    }
    free_picture(&source);
    free_picture(&still);
    free(image);
    free(face);
}

static double texture(double x, double y)
{
    uint32_t h = (uint32_t)((long)(x / 2) * 73856093 ^ (long)(y / 2) * 19349663);
    h = (h ^ h >> 13) * 2654435761u;
    return 128 + 20 * sin(x / 3) * cos(y / 4) + (h >> 16) % 24;
}

/* Energy of luma's gradients where the mask repaints, 20 of 256 pixels and more within it. */
static double energy(const picture *f, size_t n, const ls_matrix *m)
{
    double sum = 0, count = 0;
    for (size_t y = 1; y + 1 < f->h; y++)
        for (size_t x = 1; x + 1 < f->w; x++) {
            const uint8_t *at = f->data[0] + y * f->w + x;
            double p[2];
            in_face(n, m, x, y, p);
            const double u = p[0] * 256 / (double)n, v = p[1] * 256 / (double)n;
            if (u < 60 || u > 196 || v < 130 || v > 200)
                continue;
            sum += pow(at[1] - at[-1], 2) + pow(at[f->w] - at[-(ptrdiff_t)f->w], 2);
            count++;
        }
    return sum / count;
}

static void nothing_gets_sharper_than_the_face(void **state)
{
    (void)state;
    static const double amounts[] = {0, 0.3, LS_SHARPEN_AUTO, 1}, scales[] = {0.5, 0.8, 1.5};
    const size_t n = 128;
    float *image = malloc(n * n * 3 * sizeof(float)), *sharp = malloc(n * n * 3 * sizeof(float));
    uint8_t *face = malloc(n * n * 3);
    for (size_t k = 0; k < LS_COUNT(scales); k++) {
        const ls_matrix m = place(n, scales[k], 0.1, 200, 190);
        picture source = draw(400, 400, texture);
        const double own = energy(&source, n, &m);
        double last = 0;
        cut_out(&source, n, &m, face, sharp);
        for (size_t i = 0; i < n * n * 3; i++) /* as soft as what networks make */
            image[i] =
                i < 3 * n + 3 || i + 3 * n + 3 >= n * n * 3
                    ? sharp[i]
                    : sharp[i] / 2 +
                          (sharp[i - 3] + sharp[i + 3] + sharp[i - 3 * n] + sharp[i + 3 * n]) / 8;
        cut_out(&source, n, &m, face, sharp);
        for (size_t i = 0; i < n * n * 3; i++) /* what is sharper than the face stays as it is */
            sharp[i] *= 2;
        for (size_t a = 0; a < LS_COUNT(amounts); a++) {
            picture f = copy_picture(&source), g = copy_picture(&source);
            const ls_paste_view v = paste(n, amounts[a], image, face, &m, 1, &f);
            const double got = energy(&f, n, &m);
            print_message("scale %.1f, amount %.1f: %.2f of the difference, energy %.1f of %.1f\n",
                          scales[k], amounts[a], v.sharpened, got, own);
            assert_true(got <= own && v.patch <= v.own * 1.0001);
            assert_true(v.sharpened <= (amounts[a] < 0 ? 1 : amounts[a]));
            if (scales[k] < 0.6) /* there is much to gain */
                assert_true(a ? v.sharpened > 0.2 && got > 1.05 * last : v.sharpened == 0);
            if (scales[k] > 1)
                assert_true(v.sharpened < 0);
            last = a ? last : got;
            if (scales[k] < 1)
                assert_true(paste(n, amounts[a], sharp, face, &m, 1, &g).sharpened == 0);
            free_picture(&f);
            free_picture(&g);
        }
        free_picture(&source);
    }
    free(image);
    free(sharp);
    free(face);
}

/* One context, faces of many sizes in turn: as a fresh context for each. Half an opacity is half
 * the change. */
static void only_the_frame_counts(void **state)
{
    (void)state;
    const size_t n = 128;
    float *image = malloc(n * n * 3 * sizeof(float));
    uint8_t *face = malloc(n * n * 3);
    picture source = draw(320, 240, texture);
    ls_paste *p;
    assert_int_equal(ls_paste_open(&p, n, LS_SHARPEN_AUTO, NULL), 0);
    for (int k = 0; k < 12; k++) {
        const ls_matrix m = place(n, 0.4 + k * 7 % 12 * 0.2, k, 30 * k, 20 * k);
        picture a = copy_picture(&source), b = copy_picture(&source), c = copy_picture(&source);
        cut_out(&source, n, &m, face, image);
        for (size_t i = 0; i < n * n * 3; i++)
            image[i] = image[i] / 2 - 0.2f + (float)(i % 7) / 50;
        assert_int_equal(ls_paste_yuv(p, image, face, &m, 1, &a.p, NULL), 0);
        paste(n, LS_SHARPEN_AUTO, image, face, &m, 1, &b);
        paste(n, LS_SHARPEN_AUTO, image, face, &m, 0.5, &c);
        for (size_t i = 0; i < 3; i++) {
            assert_memory_equal(a.data[i], b.data[i], a.w * a.h);
            for (size_t j = 0; j < a.w * a.h; j++)
                assert_true(abs(2 * c.data[i][j] - a.data[i][j] - source.data[i][j]) <= 2);
        }
        paste(n, LS_SHARPEN_AUTO, image, face, &m, 0, &c);
        free_picture(&a);
        free_picture(&b);
        free_picture(&c);
    }
    ls_paste_close(&p);
    ls_paste_close(&p);
    free_picture(&source);
    free(image);
    free(face);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    const size_t n = 64;
    float *image = calloc(n * n * 3, sizeof(float));
    uint8_t *face = calloc(n * n, 3);
    picture f = draw(100, 100, flat), before = copy_picture(&f);
    ls_matrix m = place(n, 0.5, 0, 50, 50), none = {{{0}}};
    ls_paste *p;
    ls_error err = {0};
    assert_int_equal(ls_paste_open(&p, 100, 0, &err), LS_EINVAL);
    assert_int_equal(ls_paste_open(&p, n, 0, &err), 0);
    assert_int_equal(ls_paste_yuv(p, image, face, &none, 1, &f.p, &err), LS_EINVAL);
    assert_int_equal(ls_paste_yuv(p, image, face, &m, 1.5, &f.p, &err), LS_EINVAL);
    assert_int_equal(ls_paste_yuv(p, image, face, &m, 0, &f.p, &err), 0);
    f.p.depth = 17;
    assert_int_equal(ls_paste_yuv(p, image, face, &m, 1, &f.p, &err), LS_EINVAL);
    f.p.depth = 8;
    image[77] = NAN;
    assert_int_equal(ls_paste_yuv(p, image, face, &m, 1, &f.p, &err), LS_EINVAL);
    assert_memory_equal(f.data[0], before.data[0], f.w * f.h);
    image[77] = 3e38f; /* clamped */
    assert_int_equal(ls_paste_yuv(p, image, face, &m, 1, &f.p, &err), 0);
    ls_paste_close(&p);
    free_picture(&f);
    free_picture(&before);
    free(image);
    free(face);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_the_mask_keeps_is_exact),
        cmocka_unit_test(the_same_face_gives_the_frame),
        cmocka_unit_test(foreign_light_is_taken_away),
        cmocka_unit_test(light_does_not_follow_the_jaw),
        cmocka_unit_test(nothing_gets_sharper_than_the_face),
        cmocka_unit_test(only_the_frame_counts),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests_name("face_paste", tests, NULL, NULL);
}
