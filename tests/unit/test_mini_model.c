/* The built-in model: its published formats are read, and the graphs compute what its training's
 * networks in PyTorch do, on the trained weights. */
#include "golden.h"
#include "models/models.h"
#include "models/whisper/features.h"

#include <math.h>

#define FRAMES 4
#define LIMIT 1e-4

static ls_models models;
static golden *want;

static int setup(void **state)
{
    char path[4096];
    ls_error err;
    (void)state;
    if (ls_models_open(&models, test_data(path, "../../models/mini"),
                       &(ls_devices){"onednn", "onednn", "onednn", LS_F32, 2}, &err))
        fail_msg("%s", err.message);
    want = golden_open("mini_model.safetensors");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    golden_close(want);
    ls_models_close(&models);
    return 0;
}

static void assert_equals(const char *key, const float *got)
{
    size_t n;
    const float *w = golden_f32(want, key, &n);
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)got[i] - w[i]) * ((double)got[i] - w[i]);
        norm += (double)w[i] * w[i];
    }
    print_message("%s: %.1e\n", key, sqrt(difference / norm));
    assert_true(norm > 0 && sqrt(difference / norm) <= LIMIT);
}

static float *filled(const char *name, size_t n, double scale)
{
    float *x = malloc(n * sizeof *x);
    assert_non_null(x);
    golden_fill(name, n, scale, 0, x);
    return x;
}

static void whisper_hears_as_in_training(void **state)
{
    const ls_whisper_config *c = ls_whisper_get_config(models.whisper);
    const size_t row = (c->n_audio_layer + 1) * c->n_audio_state;
    float *mel = filled("input.mel", 2 * c->n_audio_ctx * c->n_mels, sqrt(3) / 4);
    float *out = malloc(c->n_audio_ctx * row * sizeof *out);
    ls_error err;
    (void)state;
    assert_non_null(out);
    assert_int_equal(ls_whisper_encode(models.whisper, mel, out, NULL, &err), 0);
    assert_equals("embeddings", out + 190 * row);
    free(mel);
    free(out);
}

static void unet_denoises_as_in_training(void **state)
{
    const ls_unet_config *c = ls_unet_get_config(models.unet);
    const ls_unet_shape shape = {1, FRAMES, 16, 16, ls_feature_tokens(models.whisper)};
    float *sample = filled("input.sample", FRAMES * 16 * 16 * c->in_channels, sqrt(3));
    float *out = malloc(FRAMES * 16 * 16 * c->out_channels * sizeof *out);
    size_t n;
    const float *tokens = golden_f32(want, "tokens", &n);
    ls_error err;
    (void)state;
    assert_int_equal(n, FRAMES * shape.audio_tokens * c->cross_attention_dim);
    assert_int_equal(ls_unet_run(models.unet, &shape, LS_UNET_STEP_FULL, 501, sample, tokens, out,
                                 NULL, NULL, &err),
                     0);
    assert_equals("noise", out);
    free(sample);
    free(out);
}

static void vae_codes_as_in_training(void **state)
{
    float *image = filled("input.image", 128 * 128 * 3, sqrt(3) / 2);
    float *z = filled("input.latent", 16 * 16 * 4, sqrt(3) * 5);
    float *out = malloc(128 * 128 * 3 * sizeof *out);
    ls_error err;
    (void)state;
    assert_non_null(out);
    assert_int_equal(ls_vae_encode(models.vae, 1, 16, 16, image, out, NULL, &err), 0);
    assert_equals("moments", out);
    assert_int_equal(ls_vae_decode(models.vae, 1, 16, 16, z, out, NULL, &err), 0);
    assert_equals("decoded", out);
    free(image);
    free(z);
    free(out);
}

static void it_is_small(void **state)
{
    static const char *const files[] = {"latentsync_unet.pt", "whisper/tiny.pt",
                                        "vae/diffusion_pytorch_model.safetensors",
                                        "face/drawn.onnx"};
    off_t bytes = 0;
    (void)state;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char dir[4096], path[8192];
        struct stat st;
        snprintf(path, sizeof path, "%s/%s", test_data(dir, "../../models/mini"), files[i]);
        assert_int_equal(stat(path, &st), 0);
        bytes += st.st_size;
    }
    assert_true(bytes <= 12000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whisper_hears_as_in_training),
        cmocka_unit_test(unet_denoises_as_in_training),
        cmocka_unit_test(vae_codes_as_in_training),
        cmocka_unit_test(it_is_small),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
