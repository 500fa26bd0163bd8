#include "golden.h"

#include "face/mask.h"

#include <math.h>

static void masks_are_the_originals_bit_for_bit(void **state)
{
    (void)state;
    for (size_t k = 0; k < 3; k++) {
        size_t r = (size_t)128 << k, n;
        char name[64];
        snprintf(name, sizeof(name), "mask_%zu.safetensors", r);
        golden *g = golden_open(name);
        ls_mask *m;
        assert_int_equal(ls_mask_open(&m, r, NULL), 0);
        const uint8_t *pixels = golden_u8(g, "mask_u8", &n);
        assert_int_equal(n, r * r);
        assert_memory_equal(ls_mask_pixels(m), pixels, n);
        const float *latent = golden_f32(g, "latent", &n);
        assert_int_equal(n, r * r / 64);
        assert_memory_equal(ls_mask_latent(m), latent, n * sizeof(float));
        ls_mask_close(&m);
        assert_null(m);
        golden_close(g);
    }
}

static void inputs_are_the_originals_bit_for_bit(void **state)
{
    (void)state;
    golden *g = golden_open("prepare_256.safetensors"),
           *ga = golden_open("face_align_256.safetensors");
    const size_t n = 256 * 256;
    float *pixels = malloc(n * 3 * sizeof(float)), *masked = malloc(n * 3 * sizeof(float));
    const float *want = golden_f32(g, "pixel_values", NULL);
    const float *want_masked = golden_f32(g, "masked_pixel_values", NULL);
    ls_mask *m;
    assert_int_equal(ls_mask_open(&m, 256, NULL), 0);
    const uint8_t *face = golden_u8(ga, "face_lanczos", NULL);
    ls_mask_prepare(m, face, pixels, masked);
    for (size_t i = 0; i < n * 3; i++) {
        size_t at = i % 3 * n + i / 3;
        if (pixels[i] != want[at] || masked[i] != want_masked[at])
            fail_msg("%zu: %.9g %.9g, not %.9g %.9g", i, pixels[i], masked[i], want[at],
                     want_masked[at]);
    }
    ls_mask_prepare(m, face, NULL, NULL);
    ls_mask_close(&m);
    free(pixels);
    free(masked);
    golden_close(g);
    golden_close(ga);
}

/* Kept pixels are the face's, generated ones the decoder's; fractional ones lie between. */
static void composite_keeps_and_generates(void **state)
{
    (void)state;
    const size_t n = 512 * 512;
    uint8_t *face = malloc(n * 3);
    float *image = malloc(n * 3 * sizeof(float));
    ls_mask *m;
    assert_int_equal(ls_mask_open(&m, 512, NULL), 0);
    for (size_t i = 0; i < n * 3; i++) {
        face[i] = (uint8_t)(i * 7);
        image[i] = 3.f - (float)(i % 11);
    }
    ls_mask_composite(m, image, image, face);
    size_t fractional = 0;
    for (size_t i = 0; i < n * 3; i++) {
        double f = face[i] / 127.5 - 1, d = 3. - (double)(i % 11);
        double keep = ls_mask_pixels(m)[i / 3] / 255.;
        fractional += keep > 0 && keep < 1;
        assert_true(fabs(image[i] - (d + keep * (f - d))) < 3e-6);
    }
    assert_true(fractional > 3 * 9000 && fractional < 3 * 9400);
    ls_mask_close(&m);
    free(face);
    free(image);
}

static void wrong_resolutions_are_refused(void **state)
{
    (void)state;
    ls_mask *m;
    ls_error err = {0};
    assert_int_equal(ls_mask_open(&m, 0, &err), LS_EINVAL);
    assert_int_equal(ls_mask_open(&m, 260, &err), LS_EINVAL);
    assert_null(m);
    assert_non_null(strstr(err.message, "260"));
    ls_mask_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(masks_are_the_originals_bit_for_bit),
        cmocka_unit_test(inputs_are_the_originals_bit_for_bit),
        cmocka_unit_test(composite_keeps_and_generates),
        cmocka_unit_test(wrong_resolutions_are_refused),
    };
    return cmocka_run_group_tests_name("face_mask", tests, NULL, NULL);
}
