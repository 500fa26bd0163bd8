#include "golden.h"

#include "face/align.h"
#include "face/lanczos.h"

#include <math.h>

static bool align_next(ls_align *a, const ls_face *face, ls_matrix *m)
{
    double p[3][2];
    if (!ls_face_three_points(face, p))
        return false;
    ls_align_next(a, (const double(*)[2])p, m);
    return true;
}

static ls_rgb rgb_of(const uint8_t *p, size_t w, size_t h)
{
    return (ls_rgb){(uint8_t *)p, (ptrdiff_t)w * 3, w, h};
}

static ls_matrix matrix_of(const float *m)
{
    return (ls_matrix){{{m[0], m[1], m[2]}, {m[3], m[4], m[5]}}};
}

/* 106 landmarks whose groups are the three points. */
static ls_face face_of(const double p[3][2])
{
    ls_face f = {.kind = LS_FACE_LANDMARKS106};
    for (size_t i = 0; i < 106; i++)
        for (size_t c = 0; c < 2; c++)
            f.points[i][c] = p[i < 60 ? 0 : i < 90 ? 2 : 1][c];
    return f;
}

static void check_align(const char *name, size_t resolution)
{
    golden *g = golden_open(name);
    ls_align a = {.resolution = resolution};
    size_t w, h;
    ls_crop_size(resolution, &w, &h);
    assert_int_equal(w, golden_i64(g, "face_size_wh", NULL)[0]);
    assert_int_equal(h, golden_i64(g, "face_size_wh", NULL)[1]);
    for (int k = 0; k < 3; k++) {
        char key[32];
        snprintf(key, sizeof(key), "landmarks_%d", k);
        ls_face f = face_of((const double(*)[2])golden_f64(g, key, NULL));
        ls_matrix m;
        assert_true(align_next(&a, &f, &m));
        snprintf(key, sizeof(key), "matrix_%d", k);
        double e = golden_error(m.m[0], golden_f32(g, key, NULL), 6);
        snprintf(key, sizeof(key), "p_bias_%d", k);
        const float bias[2] = {(float)a.bias[0], (float)a.bias[1]};
        double eb = golden_error(bias, golden_f32(g, key, NULL), 2);
        print_message("%s matrix_%d: %.2e, bias %.2e\n", name, k, e, eb);
        assert_true(e < 1e-6 && eb < 1e-4);
    }
    golden_close(g);
}

static void matrices_are_the_originals(void **state)
{
    (void)state;
    check_align("face_align_256.safetensors", 256);
    check_align("face_align_512.safetensors", 512);
}

static void check_crops(const char *name, size_t resolution, int crops)
{
    golden *g = golden_open(name), *gf = golden_open("face_frame_640x480.safetensors");
    const uint8_t *frame = golden_u8(gf, "frame", NULL);
    size_t w, h, n = resolution;
    ls_crop_size(resolution, &w, &h);
    uint8_t *crop = malloc(w * h * 3), *face = malloc(n * n * 3);
    for (int k = 0; k < crops; k++) {
        char key[32];
        snprintf(key, sizeof(key), "matrix_%d", k);
        ls_matrix m = matrix_of(golden_f32(g, key, NULL));
        ls_rgb whole = rgb_of(frame, 640, 480);
        ls_crop(crop, resolution, &m, &whole, 0, 0);
        snprintf(key, sizeof(key), "crop_%d", k);
        golden_assert_u8(key, crop, golden_u8(g, key, NULL), w * h * 3, 0.998);

        /* the needed rectangle alone gives the same bytes */
        uint8_t *again = malloc(w * h * 3);
        ls_rect r = ls_crop_bounds(&m, resolution, 640, 480);
        assert_true(r.w && r.h && r.x + r.w <= 640 && r.y + r.h <= 480);
        uint8_t *copy = malloc(r.w * r.h * 3);
        for (size_t y = 0; y < r.h; y++)
            memcpy(copy + y * r.w * 3, frame + ((r.y + y) * 640 + r.x) * 3, r.w * 3);
        ls_rgb part = rgb_of(copy, r.w, r.h);
        ls_crop(again, resolution, &m, &part, r.x, r.y);
        assert_memory_equal(again, crop, w * h * 3);
        free(copy);
        free(again);
    }
    ls_lanczos *l;
    assert_int_equal(ls_lanczos_open(&l, w, h, n, n, 3, NULL), 0);
    ls_lanczos_run(l, face, golden_u8(g, "crop_0", NULL));
    assert_memory_equal(face, golden_u8(g, "face_lanczos", NULL), n * n * 3);
    ls_lanczos_close(&l);
    free(crop);
    free(face);
    golden_close(g);
    golden_close(gf);
}

static void crops_are_the_originals(void **state)
{
    (void)state;
    check_crops("face_align_256.safetensors", 256, 3);
    check_crops("face_align_512.safetensors", 512, 1);
}

static void frames_to_faces(void **state)
{
    (void)state;
    golden *g = golden_open("e2e_inputs.safetensors");
    const int64_t *landmarks = golden_i64(g, "landmarks106", NULL);
    const uint8_t *frames = golden_u8(g, "frames", NULL), *faces = golden_u8(g, "faces", NULL);
    const float *matrices = golden_f32(g, "matrices", NULL);
    const size_t n = 128 * 128;
    ls_align a = {.resolution = 128};
    ls_cropper *c;
    size_t w, h;
    ls_crop_size(128, &w, &h);
    assert_true(w == 105 && h == 140);
    assert_int_equal(ls_cropper_open(&c, 128, NULL), 0);
    double worst = 0;
    uint8_t *got = malloc(12 * n * 3), *want = malloc(12 * n * 3);
    for (size_t k = 0; k < 12; k++) {
        ls_face f = {.kind = LS_FACE_LANDMARKS106};
        for (size_t i = 0; i < 212; i++)
            f.points[i / 2][i % 2] = (double)landmarks[k * 212 + i];
        ls_matrix m;
        assert_true(align_next(&a, &f, &m));
        worst = fmax(worst, golden_error(m.m[0], matrices + 6 * k, 6));
        ls_rgb frame = rgb_of(frames + k * 192 * 256 * 3, 256, 192);
        ls_cropper_run(c, got + k * n * 3, &m, &frame, 0, 0);
        for (size_t i = 0; i < n * 3; i++)
            want[k * n * 3 + i] = faces[(k * 3 + i % 3) * n + i / 3];
    }
    print_message("matrices: %.2e\n", worst);
    assert_true(worst < 1e-6);
    golden_assert_u8("faces", got, want, 12 * n * 3, 0.998);
    ls_cropper_close(&c);
    assert_null(c);
    free(got);
    free(want);
    golden_close(g);
}

static void parts_of_the_frame_serve_faces_across_its_border(void **state)
{
    (void)state;
    golden *gf = golden_open("face_frame_640x480.safetensors");
    const uint8_t *frame = golden_u8(gf, "frame", NULL);
    ls_rgb whole = rgb_of(frame, 640, 480);
    static uint8_t a[210 * 280 * 3], b[210 * 280 * 3];
    const double moves[][2] = {{0, 0}, {-60, 10}, {600, 440}, {300, -90}, {639, 479}, {3000, 0}};
    for (size_t k = 0; k < sizeof(moves) / sizeof(*moves); k++) {
        double x = moves[k][0], y = moves[k][1];
        const double p[3][2] = {{x + 30, y + 31}, {x + 130, y + 40}, {x + 77, y + 90}};
        ls_face f = face_of(p);
        ls_align s = {.resolution = 256};
        ls_matrix m;
        assert_true(align_next(&s, &f, &m));
        ls_crop(a, 256, &m, &whole, 0, 0);
        ls_rect r = ls_crop_bounds(&m, 256, 640, 480);
        /* one more pixel where there is one, as alignment to chroma would take */
        r.x -= r.x > 0;
        ls_rgb part = {(uint8_t *)frame + (r.y * 640 + r.x) * 3, 640 * 3, r.w, r.h};
        part.w += part.w && r.x + part.w < 640;
        ls_crop(b, 256, &m, &part, r.x, r.y);
        assert_memory_equal(a, b, sizeof(a));
    }
    for (size_t i = 0; i < sizeof(a); i++)
        assert_int_equal(a[i], 127);
    golden_close(gf);
}

/* Five points that lie exactly as the mean face's give three that do, at any place and angle. */
static void five_points_give_the_mean_faces_three(void **state)
{
    (void)state;
    const double m5[5][2] = {
        {-0.275, -0.317}, {0.258, -0.317}, {-0.010, -0.140}, {-0.200, 0.240}, {0.220, 0.240}};
    const double m3[3][2] = {{-0.334, -0.466}, {0.282, -0.472}, {-0.005, -0.120}};
    for (int k = 0; k < 8; k++) {
        double s = 37.3 * (k + 1), t = 0.7 * k, x = 311.25 - 40 * k, y = 97.5 + k;
        ls_face f = {.kind = LS_FACE_POINTS5};
        double p[3][2];
        for (int i = 0; i < 5; i++) {
            f.points[i][0] = s * (cos(t) * m5[i][0] - sin(t) * m5[i][1]) + x;
            f.points[i][1] = s * (sin(t) * m5[i][0] + cos(t) * m5[i][1]) + y;
        }
        assert_true(ls_face_three_points(&f, p));
        for (int i = 0; i < 3; i++) {
            assert_true(fabs(p[i][0] - (s * (cos(t) * m3[i][0] - sin(t) * m3[i][1]) + x)) < 1e-9);
            assert_true(fabs(p[i][1] - (s * (sin(t) * m3[i][0] + cos(t) * m3[i][1]) + y)) < 1e-9);
        }
    }
}

static void landmarks_round_half_to_even(void **state)
{
    (void)state;
    double p[3][2] = {{0, 0}, {0, 0}, {0, 0}};
    ls_face f = face_of((const double(*)[2])p);
    f.points[43][0] = 52.5; /* 52, not 53; the mean of 52 and four zeros is 10.4 */
    f.points[48][0] = 0.5;
    f.points[101][1] = 43.5; /* 44 / 5 = 8.8 */
    f.points[74][0] = 10;    /* 10 / 4 = 2.5 */
    f.points[77][1] = 13.6;  /* 14 / 4 = 3.5 */
    assert_true(ls_face_three_points(&f, p));
    const double want[3][2] = {{10, 0}, {0, 9}, {2, 4}};
    assert_memory_equal(p, want, sizeof(p));
}

/* A run-up of 24 frames gives what the whole run does, though the face stands still: the state to
 * far less than a float's last bit, and so the matrix. */
static void smoothing_forgets(void **state)
{
    (void)state;
    float noise[20 * 10];
    for (int t = 0; t < 200; t++) {
        char name[32];
        snprintf(name, sizeof(name), "smoothing.%d", t);
        golden_fill(name, 200, 4, 0, noise);
        ls_face still = {.kind = LS_FACE_POINTS5,
                         .points = {{300, 300}, {400, 300}, {350, 360}, {310, 420}, {390, 420}}};
        for (size_t i = 0; i < 10; i++)
            still.points[i / 2][i % 2] += noise[i];
        ls_align whole = {.resolution = 512}, short_run = whole;
        ls_matrix a, b;
        for (size_t f = 1; f < 20; f++) {
            ls_face moving = still;
            for (size_t i = 0; i < 10; i++)
                moving.points[i / 2][i % 2] += noise[10 * f + i];
            assert_true(align_next(&whole, &moving, &a));
        }
        for (size_t f = 0; f < 25; f++)
            assert_true(align_next(&whole, &still, &a) && align_next(&short_run, &still, &b));
        assert_memory_equal(&a, &b, sizeof(a));
        for (size_t c = 0; c < 2; c++)
            assert_true(fabs(whole.bias[c] - short_run.bias[c]) < 1e-14);
    }
}

static void no_face_leaves_the_state_alone(void **state)
{
    (void)state;
    const double p[3][2] = {{100, 100}, {200, 101}, {150, 160}};
    const double same[3][2] = {{100, 100}, {100, 100}, {100, 100}};
    ls_face good = face_of(p), bad[8];
    for (size_t i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].kind = LS_FACE_NONE;
    bad[1].points[105][1] = NAN;
    bad[2].points[0][0] = INFINITY;
    bad[3].points[0][0] = -1e300;
    bad[4] = face_of(same);
    bad[5].kind = (ls_face_kind)7;
    bad[6] = (ls_face){.kind = LS_FACE_POINTS5};
    bad[7] = (ls_face){.kind = LS_FACE_POINTS5};
    bad[7].points[3][0] = NAN;
    ls_align a = {.resolution = 256}, fresh = a;
    ls_matrix m, first, second;
    assert_true(align_next(&a, &good, &first));
    for (size_t i = 0; i < 8; i++) {
        ls_align before = a;
        assert_false(align_next(&a, &bad[i], &m));
        assert_memory_equal(&a, &before, sizeof(a));
        assert_false(align_next(&fresh, &bad[i], &m));
        assert_false(fresh.started);
    }
    good.points[74][1] += 40; /* moves the nose, hence the offset */
    assert_true(align_next(&a, &good, &m));
    ls_align_reset(&a);
    assert_true(align_next(&a, &good, &second));
    assert_true(fabsf(m.m[1][2] - second.m[1][2]) > 0.01f);
    assert_true(align_next(&fresh, &good, &m));
    assert_memory_equal(&m, &second, sizeof(m));
}

/* A matrix that cannot be inverted reads nothing. */
static void crop_without_inverse(void **state)
{
    (void)state;
    static uint8_t crop[6 * 8 * 3], frame[3];
    ls_matrix m = {{{0}}};
    ls_rgb whole = {frame, 3, 1, 1};
    ls_crop(crop, 8, &m, &whole, 0, 0);
    assert_int_equal(ls_crop_bounds(&m, 8, 1, 1).w, 0);
    for (size_t i = 0; i < sizeof(crop); i++)
        assert_int_equal(crop[i], 127);
}

static void resolutions(void **state)
{
    (void)state;
    ls_cropper *c;
    ls_error err = {0};
    for (size_t i = 0; i < 5; i++) {
        const size_t bad[] = {0, 12, 4104, SIZE_MAX, 7};
        assert_int_equal(ls_cropper_open(&c, bad[i], &err), LS_EINVAL);
        assert_null(c);
        assert_non_null(strstr(err.message, "multiple of 8"));
    }
    size_t w, h;
    ls_crop_size(8, &w, &h);
    assert_true(w == 6 && h == 8);
    assert_int_equal(ls_cropper_open(&c, 8, &err), 0);
    ls_cropper_close(&c);
    ls_cropper_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matrices_are_the_originals),
        cmocka_unit_test(crops_are_the_originals),
        cmocka_unit_test(frames_to_faces),
        cmocka_unit_test(parts_of_the_frame_serve_faces_across_its_border),
        cmocka_unit_test(five_points_give_the_mean_faces_three),
        cmocka_unit_test(landmarks_round_half_to_even),
        cmocka_unit_test(smoothing_forgets),
        cmocka_unit_test(no_face_leaves_the_state_alone),
        cmocka_unit_test(crop_without_inverse),
        cmocka_unit_test(resolutions),
    };
    return cmocka_run_group_tests_name("face_align", tests, NULL, NULL);
}
