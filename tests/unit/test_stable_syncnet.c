/* StableSyncNet and its spectrogram against PyTorch and numpy: tests/data/make_stable_syncnet.py.
 */
#include "test.h"
#include "golden.h"
#include "media.h"
#include "recording.h"

#include "latentsync/check.h"
#include "media/pcm.h"
#include "media/video.h"
#include "pipeline/check_stable.h"

#include <math.h>

#define FACES 26
#define MOST_WIDTH 96

/* Of make_stable_syncnet.py. */
static const ls_stable_syncnet_config small[] = {{16,
                                                  {8,
                                                   {{32, true, false},
                                                    {32, true, false},
                                                    {64, true, false},
                                                    {64, true, false},
                                                    {64, true, true},
                                                    {64, true, true},
                                                    {64, true, false},
                                                    {96, true, false}}},
                                                  {7,
                                                   {{32, true, false},
                                                    {32, true, false},
                                                    {64, true, false},
                                                    {64, false, true},
                                                    {64, true, true},
                                                    {64, true, false},
                                                    {96, true, false}}}},
                                                 {25,
                                                  {8,
                                                   {{32, true, false},
                                                    {32, true, false},
                                                    {32, true, false},
                                                    {32, true, false},
                                                    {64, true, false},
                                                    {64, true, false},
                                                    {64, true, false},
                                                    {64, true, false}}},
                                                  {6,
                                                   {{32, true, false},
                                                    {64, true, false},
                                                    {64, true, false},
                                                    {64, true, false},
                                                    {64, true, false},
                                                    {64, true, false}}}}};

static ls_weights *formula(const ls_stable_syncnet_config *c)
{
    ls_params *table;
    ls_weights *w;
    ls_error err;
    if (ls_stable_syncnet_table(&table, c, &err) ||
        ls_params_formula(&w, &table, false, NULL, &err))
        fail_msg("%s", err.message);
    return w;
}

static ls_stable_syncnet *open_net(const ls_stable_syncnet_config *c)
{
    ls_stable_syncnet *s;
    ls_error err;
    ls_weights *w = formula(c);
    if (ls_stable_syncnet_open(&s, &w, 0, &err))
        fail_msg("%s", err.message);
    assert_null(w);
    return s;
}

static void spectrogram_is_numpys(void **state)
{
    (void)state;
    golden *g = golden_open("stable_syncnet.safetensors");
    recording r;
    r.pcm = golden_i16(g, "pcm", &r.samples);
    size_t n;
    const float *want = golden_f32(g, "mel", &n);
    ls_stable_mel *m;
    ls_error err;
    assert_int_equal(ls_stable_mel_open(&m, &(ls_pcm_source){r.samples, read_pcm, &r}, &err), 0);
    const size_t rows = r.samples / 200 + 1;
    assert_int_equal(rows * LS_MEL_BANDS, n);
    float *got = malloc(n * sizeof *got), beside[2 * LS_MEL_BANDS];
    assert_int_equal(ls_stable_mel_read(m, 0, 10, got, &err), 0);
    assert_int_equal(ls_stable_mel_read(m, 10, rows - 10, got + 10 * LS_MEL_BANDS, &err), 0);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5f))
            fail_msg("row %zu, band %zu: %g instead of %g", i / LS_MEL_BANDS, i % LS_MEL_BANDS,
                     (double)got[i], (double)want[i]);
    // silence: before, after, and far away
    assert_int_equal(ls_stable_mel_read(m, -3, 1, beside, &err), 0);
    assert_int_equal(ls_stable_mel_read(m, INT32_MAX, 1, beside + LS_MEL_BANDS, &err), 0);
    for (size_t i = 0; i < 2 * LS_MEL_BANDS; i++)
        assert_true(beside[i] == -4);
    free(got);
    ls_stable_mel_close(&m);
    golden_close(g);
}

static uint8_t *made_up_faces(void)
{
    const size_t n = (size_t)FACES * LS_STABLE_SYNCNET_FACE;
    float *values = malloc(n * sizeof *values);
    uint8_t *faces = malloc(n);
    golden_fill("faces", n, 127.5, 128, values);
    for (size_t i = 0; i < n; i++)
        faces[i] = (uint8_t)values[i];
    free(values);
    return faces;
}

static void embeddings_are_pytorchs(void **state)
{
    (void)state;
    golden *g = golden_open("stable_syncnet.safetensors");
    uint8_t *faces = made_up_faces();
    ls_error err;
    size_t n;
    const float *mel = golden_f32(g, "mel", &n);
    for (size_t i = 0; i < 2; i++) {
        ls_stable_syncnet *s = open_net(&small[i]);
        const size_t frames = small[i].frames, width = ls_stable_syncnet_width(s);
        const float *lips = golden_f32(g, i ? "lips25" : "lips16", &n),
                    *sound = golden_f32(g, i ? "sound25" : "sound16", &n);
        assert_int_equal(n, 2 * width);
        assert_int_equal(ls_stable_syncnet_columns(s), i ? 80 : 52);
        for (size_t k = 0; k < 2; k++) {
            const uint8_t *window[LS_STABLE_SYNCNET_MOST_FRAMES];
            float got[MOST_WIDTH];
            for (size_t t = 0; t < frames; t++)
                window[t] = faces + (k + t) * LS_STABLE_SYNCNET_FACE;
            assert_int_equal(ls_stable_syncnet_lips(s, window, got, NULL, &err), 0);
            const double lips_off = golden_error(got, lips + k * width, width);
            assert_int_equal(
                ls_stable_syncnet_sound(s, mel + 3 * k * LS_MEL_BANDS, got, NULL, &err), 0);
            const double sound_off = golden_error(got, sound + k * width, width);
            print_message("%zu frames, relative errors: lips %.2e, sound %.2e\n", frames, lips_off,
                          sound_off);
            assert_true(lips_off < 1e-5 && sound_off < 1e-5);
        }
        ls_stable_syncnet_close(&s);
    }
    free(faces);
    golden_close(g);
}

/* The published file has these weights, and room for little else. */
static void the_published_size_is_right(void **state)
{
    (void)state;
    ls_stable_syncnet_config c = small[0], found;
    static const size_t visual[] = {64, 128, 256, 256, 512, 1024, 2048, 2048},
                        audio[] = {32, 64, 128, 256, 512, 1024, 2048};
    for (size_t i = 0; i < c.visual.count; i++)
        c.visual.blocks[i].channels = visual[i];
    for (size_t i = 0; i < c.audio.count; i++)
        c.audio.blocks[i].channels = audio[i];
    ls_weights *w = formula(&c);
    ls_error err;
    size_t bytes = 0;
    for (size_t i = 0; i < ls_weights_count(w); i++)
        bytes += ls_weights_at(w, i)->count * sizeof(float);
    assert_int_equal(bytes, 1605224320);
    assert_true(bytes < 1605328746 && 1605328746 - bytes < 1000 * ls_weights_count(w));
    assert_true(ls_stable_syncnet_is(w));
    assert_int_equal(ls_stable_syncnet_detect(&found, w, &err), 0);
    assert_memory_equal(&found, &c, sizeof c);
    ls_weights_close(&w);
}

typedef struct fault {
    const char *tensor; /* this one is changed: */
    int dimension;      /* of its shape; -1: it is left out; -2: it has another name */
    size_t size;
    int code;
    const char *word; /* of the message */
} fault;

static void try_fault(const fault *f)
{
    ls_weights *w = formula(&small[0]);
    ls_stable_syncnet *s;
    ls_error err;
    size_t n = 0, count = ls_weights_count(w);
    bool met = false;
    ls_weight_spec *specs = calloc(count, sizeof *specs);
    for (size_t i = 0; i < count; i++) {
        const ls_weight_info *t = ls_weights_at(w, i);
        ls_weight_spec *to = &specs[n++];
        snprintf(to->name, sizeof to->name, "%s", t->name);
        to->ndim = t->ndim;
        memcpy(to->shape, t->shape, t->ndim * sizeof *t->shape);
        if (strcmp(t->name, f->tensor))
            continue;
        met = true;
        if (f->dimension >= 0)
            to->shape[f->dimension] = f->size;
        else if (f->dimension == -2)
            memcpy(to->name, "x", 2);
        else
            n--;
    }
    assert_true(met);
    ls_weights_close(&w);
    assert_int_equal(ls_weights_open_formula(&w, specs, n, false, NULL, &err), 0);
    const int ret = ls_stable_syncnet_open(&s, &w, 1, &err);
    if (ret != f->code || !strstr(err.message, f->word))
        fail_msg("%s: %d, %s", f->tensor, ret, ret ? err.message : "accepted");
    assert_null(s);
    assert_null(w);
    free(specs);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    static const fault faults[] = {
        {"visual_encoder.conv_in.weight", -1, 0, LS_ENOENT, "visual_encoder.conv_in.weight"},
        {"visual_encoder.conv_in.weight", 1, 64, LS_ESHAPE, "of latents"},
        {"visual_encoder.conv_in.weight", 1, 0, LS_ESHAPE, "takes 0 channels"},
        {"visual_encoder.conv_in.bias", -1, 0, LS_ENOENT, "visual_encoder.conv_in.bias [32]"},
        {"visual_encoder.down_blocks.0.conv1.weight", -1, 0, LS_ENOENT, "down_blocks.0.conv1"},
        {"visual_encoder.down_blocks.2.conv1.weight", 0, 33, LS_ESHAPE, "33 output channels"},
        {"visual_encoder.down_blocks.2.conv1.weight", 0, 8192, LS_ESHAPE, "8192 output channels"},
        {"visual_encoder.down_blocks.0.conv1.weight", 0, 0, LS_ESHAPE, "0 output channels"},
        {"visual_encoder.down_blocks.3.downsample_conv.weight", -1, 0, LS_ESHAPE, "one point"},
        {"visual_encoder.down_blocks.5.attn.to_q.weight", -1, 0, LS_ESHAPE, "64 and 96"},
        {"visual_encoder.down_blocks.5.attn.to_v.weight", 1, 65, LS_ESHAPE, "65"},
        {"visual_encoder.down_blocks.9.conv1.weight", 0, 64, LS_ESHAPE, "64 and 96"},
        {"audio_encoder.conv_in.weight", 1, 3, LS_ESHAPE, "audio_encoder.conv_in.weight"},
        {"audio_encoder.down_blocks.6.ff.net.2.bias", 0, 63, LS_ESHAPE, "ff.net.2.bias"},
        {"audio_encoder.norm_out.bias", -2, 0, LS_ENOENT, "audio_encoder.norm_out.bias"},
    };
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++)
        try_fault(&faults[i]);
}

static ls_lag lag_of(double right, double others)
{
    ls_lag_sum sum = {0};
    for (int i = 0; i < 10; i++) {
        double distances[LS_LAGS];
        for (int k = 0; k < LS_LAGS; k++)
            distances[k] = 1 - (k == LS_LAG_MOST + 4 ? right : others);
        ls_lag_add_distances(&sum, distances);
    }
    return ls_lag_of_cosines(&sum, 0.5);
}

static void a_lag_that_fits_like_many_is_not_clear(void **state)
{
    (void)state;
    ls_lag lag = lag_of(0.8, 0.2);
    assert_true(lag.is_clear && lag.frames == 4 && fabs(lag.confidence - 0.8) < 1e-9);
    lag = lag_of(0.9, 0.6);
    assert_true(!lag.is_clear && lag.frames == 4 && fabs(lag.confidence - 0.9) < 1e-9);
}

#define CLIP 44 /* frames */
#define CLIP_HEARD (CLIP + 2 * LS_LAG_MOST)

/* The clip's rows by other means: a copy of the sound with silence on both sides. */
static ls_lag lag_of_clip(const char *video, const ls_matrix *m)
{
    enum { BESIDE = 16000 };
    static uint8_t faces[CLIP][2 * LS_STABLE_SYNCNET_FACE];
    static float sound[CLIP_HEARD][MOST_WIDTH];
    const ls_video_settings settings = {.threads = 1};
    const ls_sound_settings from = {.path = video, .stream = -1};
    ls_video *v;
    ls_pcm *pcm;
    ls_stable_mel *mel;
    ls_rgb_converter *converter;
    ls_cropper *cropper;
    ls_error err;
    ls_lag_sum sum = {0};
    ls_stable_syncnet *net = open_net(&small[0]);
    assert_int_equal(ls_video_open(&v, video, &settings, &err), 0);
    assert_int_equal(ls_pcm_open(&pcm, &from, NULL, &err), 0);
    const size_t samples = ls_pcm_samples(pcm);
    recording r = {.samples = samples + 2 * (size_t)BESIDE};
    int16_t *padded = calloc(r.samples, sizeof *padded);
    assert_int_equal(ls_pcm_read(pcm, 0, samples, padded + BESIDE, &err), 0);
    r.pcm = padded;
    assert_int_equal(ls_stable_mel_open(&mel, &(ls_pcm_source){r.samples, read_pcm, &r}, &err), 0);
    assert_int_equal(ls_rgb_converter_open(&converter, &err), 0);
    assert_int_equal(ls_cropper_open(&cropper, LS_STABLE_SYNCNET_RESOLUTION, &err), 0);
    for (int i = 0; i < CLIP; i++) {
        ls_frame *f;
        ls_rgb rgb;
        assert_int_equal(ls_video_next(v, &f, &err), 0);
        ls_rect all = {0, 0, ls_frame_picture(f).w, ls_frame_picture(f).h};
        assert_int_equal(ls_rgb_convert(converter, f, &all, &rgb, &err), 0);
        ls_cropper_run(cropper, faces[i], m, &rgb, 0, 0);
        ls_frame_unref(&f);
    }
    for (int i = 0; i < CLIP_HEARD; i++) {
        float rows[52 * LS_MEL_BANDS];
        const double row = floor(80 * ((i - LS_LAG_MOST) / 25.0) + 1e-9);
        assert_int_equal(ls_stable_mel_read(mel, BESIDE / 200 + (int)row, 52, rows, &err), 0);
        assert_int_equal(ls_stable_syncnet_sound(net, rows, sound[i], NULL, &err), 0);
    }
    for (int i = 0; i + 16 <= CLIP; i += LS_CHECK_STABLE_STEP) {
        const uint8_t *window[16];
        float lips[MOST_WIDTH];
        double distances[LS_LAGS];
        for (int t = 0; t < 16; t++)
            window[t] = faces[i + t] + LS_STABLE_SYNCNET_FACE;
        assert_int_equal(ls_stable_syncnet_lips(net, window, lips, NULL, &err), 0);
        for (int k = 0; k < LS_LAGS; k++) {
            distances[k] = 1;
            for (int c = 0; c < MOST_WIDTH; c++)
                distances[k] -= (double)lips[c] * (double)sound[i + k][c];
        }
        ls_lag_add_distances(&sum, distances);
    }
    ls_stable_syncnet_close(&net);
    ls_cropper_close(&cropper);
    ls_rgb_converter_close(&converter);
    ls_stable_mel_close(&mel);
    ls_pcm_close(&pcm);
    ls_video_close(&v);
    free(padded);
    return ls_lag_of_cosines(&sum, 0.5);
}

static void a_video_is_checked_with_it(void **state)
{
    (void)state;
    char video[4096], track[4096], weights[4096];
    ls_error err = {0};
    ls_sync_settings s;
    const ls_check *c = NULL;
    const ls_face face = {.kind = LS_FACE_POINTS5,
                          .points = {{130, 90}, {190, 90}, {160, 110}, {140, 140}, {180, 140}}};
    double three[3][2];
    ls_align align = {.resolution = LS_STABLE_SYNCNET_RESOLUTION};
    ls_matrix m;
    media_run(
        "ffmpeg -v error -y -f lavfi -i testsrc2=s=320x240:r=25:d=%g -f lavfi -i "
        "\"aevalsrc=0.2*sin(2*PI*(300+200*t)*t)*(1+sin(15*t))*(1.5-t):s=16000:d=1.5\" -c:v libx264 "
        "-preset ultrafast -c:a pcm_s16le clip.mkv",
        CLIP / 25.0);
    FILE *f = fopen(media_path(track, "clip.jsonl"), "w");
    for (int i = 0; i < CLIP; i++)
        fprintf(f,
                "{\"frame\": %d, \"box\": [110, 50, 210, 170], \"points5\": [[130, 90], [190, 90], "
                "[160, 110], [140, 140], [180, 140]]}\n",
                i);
    assert_int_equal(fclose(f), 0);
    ls_weights *w = formula(&small[0]);
    media_path(weights, "stable_syncnet.pt");
    assert_int_equal(ls_weights_write_torch(weights, w, "state_dict", LS_F32, &err), 0);
    ls_weights_close(&w);
    ls_sync_default_settings(&s, sizeof s);
    s.video = media_path(video, "clip.mkv");
    s.face_track = track;
    s.syncnet = weights;
    if (ls_check_video(&c, &s, &err))
        fail_msg("%s", err.message);
    assert_true(ls_face_three_points(&face, three));
    ls_align_next(&align, three, &m);
    const ls_lag want = lag_of_clip(video, &m);
    assert_string_equal(c->method, "StableSyncNet");
    assert_string_equal(c->why, "its weights were given");
    assert_true(c->whole.frames == CLIP && c->stretch_count == 1 && c->least == 0.5);
    assert_true(want.confidence > 0.1 && fabs(c->whole.confidence - want.confidence) < 1e-4);
    assert_true(fabs(c->whole.lag - want.frames / 25) < 1e-2);
    ls_check_free(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spectrogram_is_numpys),
        cmocka_unit_test(embeddings_are_pytorchs),
        cmocka_unit_test(the_published_size_is_right),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(a_lag_that_fits_like_many_is_not_clear),
        cmocka_unit_test(a_video_is_checked_with_it),
    };
    return cmocka_run_group_tests(tests, media_setup, media_teardown);
}
