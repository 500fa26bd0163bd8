/* SyncNet and its MFCC against PyTorch and numpy: tests/data/make_syncnet.py. */
#include "test.h"
#include "golden.h"
#include "media.h"
#include "recording.h"

#include "latentsync/check.h"
#include "media/pcm.h"
#include "media/video.h"
#include "pipeline/check_syncnet.h"

#include <math.h>

#define FACES 6

static void mfcc_is_numpys(void **state)
{
    (void)state;
    golden *g = golden_open("syncnet.safetensors");
    recording r;
    r.pcm = golden_i16(g, "pcm", &r.samples);
    size_t n;
    const float *want = golden_f32(g, "mfcc", &n);
    ls_mfcc *m;
    ls_error err;
    assert_int_equal(ls_mfcc_open(&m, &(ls_pcm_source){r.samples, read_pcm, &r}, &err), 0);
    const size_t frames = ls_mfcc_frames(m);
    assert_int_equal(frames * LS_MFCC_COUNT, n);
    float *got = malloc(n * sizeof *got);
    assert_int_equal(ls_mfcc_read(m, 0, 10, got, &err), 0);
    assert_int_equal(ls_mfcc_read(m, 10, frames - 10, got + 10 * LS_MFCC_COUNT, &err), 0);
    for (size_t i = 0; i < n; i++)
        if (!(fabsf(got[i] - want[i]) <= 1e-5f * fmaxf(1, fabsf(want[i]))))
            fail_msg("window %zu, coefficient %zu: %g instead of %g", i / LS_MFCC_COUNT,
                     i % LS_MFCC_COUNT, (double)got[i], (double)want[i]);
    free(got);
    ls_mfcc_close(&m);
    golden_close(g);
}

static ls_weights *formula(void)
{
    ls_weights *w;
    ls_error err;
    const size_t count = ls_syncnet_specs(NULL);
    ls_weight_spec *specs = calloc(count, sizeof *specs);
    assert_int_equal(ls_syncnet_specs(specs), count);
    assert_int_equal(ls_weights_open_formula(&w, specs, count, false, NULL, &err), 0);
    free(specs);
    return w;
}

static void embeddings_are_pytorchs(void **state)
{
    (void)state;
    golden *g = golden_open("syncnet.safetensors");
    ls_syncnet *s;
    ls_error err;
    ls_weights *w = formula();
    size_t n;
    if (ls_syncnet_open(&s, &w, 0, &err))
        fail_msg("%s", err.message);
    const float *lips = golden_f32(g, "lips", &n), *sound = golden_f32(g, "sound", &n),
                *mfcc = golden_f32(g, "mfcc", &n);
    float *values = malloc((size_t)FACES * LS_SYNCNET_FACE * sizeof *values);
    uint8_t *faces = malloc((size_t)FACES * LS_SYNCNET_FACE);
    golden_fill("faces", (size_t)FACES * LS_SYNCNET_FACE, 127.5, 128, values);
    for (size_t i = 0; i < (size_t)FACES * LS_SYNCNET_FACE; i++)
        faces[i] = (uint8_t)values[i];
    for (size_t k = 0; k < 2; k++) {
        const uint8_t *window[LS_SYNCNET_FRAMES];
        float got[LS_SYNCNET_WIDTH];
        for (size_t t = 0; t < LS_SYNCNET_FRAMES; t++)
            window[t] = faces + (k + t) * LS_SYNCNET_FACE;
        assert_int_equal(ls_syncnet_lips(s, window, got, NULL, &err), 0);
        const double lips_off = golden_error(got, lips + k * LS_SYNCNET_WIDTH, LS_SYNCNET_WIDTH);
        assert_int_equal(ls_syncnet_sound(s, mfcc + 4 * k * LS_MFCC_COUNT, got, NULL, &err), 0);
        const double sound_off = golden_error(got, sound + k * LS_SYNCNET_WIDTH, LS_SYNCNET_WIDTH);
        print_message("relative errors: lips %.2e, sound %.2e\n", lips_off, sound_off);
        assert_true(lips_off < 1e-5 && sound_off < 1e-5);
    }
    free(values);
    free(faces);
    ls_syncnet_close(&s);
    golden_close(g);
}

static void another_file_is_refused(void **state)
{
    (void)state;
    ls_syncnet *s;
    ls_error err;
    const size_t count = ls_syncnet_specs(NULL);
    ls_weight_spec *specs = calloc(count, sizeof *specs);
    for (int fault = 0; fault < 2; fault++) {
        ls_weights *w;
        ls_syncnet_specs(specs);
        if (fault)
            specs[0].shape[0]++;
        assert_int_equal(
            ls_weights_open_formula(&w, specs, fault ? count : count - 1, false, NULL, &err), 0);
        assert_int_equal(ls_syncnet_open(&s, &w, 1, &err), fault ? LS_ESHAPE : LS_ENOENT);
        assert_null(s);
        assert_null(w);
        assert_non_null(strstr(err.message, fault ? "netcnnlip.0.weight" : "netfcaud.3.bias"));
    }
    free(specs);
}

/* The original's rule on made-up embeddings: zeros beside the ends, mean distances, median minus
 * least. */
static void the_lag_is_the_originals(void **state)
{
    (void)state;
    enum { N = 40, WIDTH = 8 };
    golden *g = golden_open("syncnet.safetensors");
    size_t n;
    const float *want = golden_f32(g, "distances", &n),
                *confidence = golden_f32(g, "confidence", &n);
    float lips[N][WIDTH], sound[N][WIDTH], noise[N][WIDTH];
    ls_lag_sum sum = {0};
    golden_fill("embeddings", N * WIDTH, 1, 0, *lips);
    golden_fill("noise", N * WIDTH, 1, 0, *noise);
    for (int i = 0; i < N; i++)
        for (int c = 0; c < WIDTH; c++)
            sound[(i + 3) % N][c] = lips[i][c] + 0.3f * noise[(i + 3) % N][c];
    for (int i = 0; i < N; i++) {
        double distances[LS_LAGS] = {0};
        for (int k = 0; k < LS_LAGS; k++) {
            const int at = i + k - LS_LAG_MOST;
            for (int c = 0; c < WIDTH; c++) {
                const float there = at >= 0 && at < N ? sound[at][c] : 0;
                distances[k] += pow((double)(lips[i][c] - there), 2);
            }
            distances[k] = sqrt(distances[k]);
        }
        ls_lag_add_distances(&sum, distances);
    }
    for (int k = 0; k < LS_LAGS; k++)
        assert_true(fabs(-sum.fit[k] / sum.frames - (double)want[k]) < 1e-4);
    const ls_lag lag = ls_lag_of_distances(&sum);
    assert_true(lag.is_clear && fabs(lag.frames - 3) < 0.5);
    assert_true(fabs(lag.confidence - (double)*confidence) < 1e-4);
    golden_close(g);
}

/* With half a box of 80 pixels the crop is 224 x 224, so pixels are copied. */
static void crops_are_the_originals(void **state)
{
    (void)state;
    enum { W = 300, H = 200 };
    static uint8_t pixels[H][W][3], face[LS_SYNCNET_RESOLUTION][LS_SYNCNET_RESOLUTION][3];
    const ls_rgb rgb = {**pixels, W * 3, W, H};
    const double box[3] = {100.25, 90, 80}, twice[3] = {200, 150, 160};
    for (int y = 0; y < H; y++)
        for (int x = 0; x < W; x++)
            memcpy(pixels[y][x], (uint8_t[]){(uint8_t)x, (uint8_t)y, (uint8_t)(x + y)}, 3);
    ls_check_syncnet_crop(**face, box, &rgb, 0, 0);
    const ls_rect r = ls_check_syncnet_region(box, W, H);
    assert_true(r.x == 0 && r.y == 10 && r.w == 212 && r.h == 190);
    for (int v = 0; v < LS_SYNCNET_RESOLUTION; v++)
        for (int u = 0; u < LS_SYNCNET_RESOLUTION; u++) {
            const int x = u - 12, y = v + 10; // 100.25 - 1.4 * 80, 90 - 80
            const bool inside = x >= 0 && y < H;
            assert_int_equal(face[v][u][2], inside ? (uint8_t)x : 110);
            assert_int_equal(face[v][u][1], inside ? (uint8_t)y : 110);
            assert_int_equal(face[v][u][0], inside ? (uint8_t)(x + y) : 110);
        }
    // every pixel is the mean of four
    ls_check_syncnet_crop(**face, twice, &rgb, 0, 0);
    assert_true(abs(face[80][20][2] - (2 * 20 - 24)) <= 1); // x = 200 - 224 + 2 u
    assert_true(abs(face[80][20][1] - (2 * 80 - 10)) <= 1); // y = 150 - 160 + 2 v
}

#define CLIP 36 /* frames */

static const double clip_box[3] = {160, 110, 60};

/* The embeddings of the clip, by the same parts but all at once. */
static double confidence_of_clip(const char *video, double *lag)
{
    static float lips[CLIP][LS_SYNCNET_WIDTH], sound[CLIP][LS_SYNCNET_WIDTH];
    static uint8_t faces[CLIP][LS_SYNCNET_FACE];
    const ls_video_settings settings = {.threads = 1};
    const ls_sound_settings from = {.path = video, .stream = -1};
    ls_video *v;
    ls_pcm *pcm;
    ls_mfcc *mfcc;
    ls_rgb_converter *converter;
    ls_syncnet *net;
    ls_error err;
    ls_weights *w = formula();
    ls_lag_sum sum = {0};
    assert_int_equal(ls_video_open(&v, video, &settings, &err), 0);
    assert_int_equal(ls_pcm_open(&pcm, &from, NULL, &err), 0);
    recording r = {.samples = ls_pcm_samples(pcm)};
    int16_t *samples = malloc(r.samples * sizeof *samples);
    assert_int_equal(ls_pcm_read(pcm, 0, r.samples, samples, &err), 0);
    r.pcm = samples;
    assert_int_equal(ls_mfcc_open(&mfcc, &(ls_pcm_source){r.samples, read_pcm, &r}, &err), 0);
    assert_int_equal(ls_rgb_converter_open(&converter, &err), 0);
    assert_int_equal(ls_syncnet_open(&net, &w, 0, &err), 0);
    for (int i = 0; i < CLIP; i++) {
        ls_frame *f;
        ls_rgb rgb;
        assert_int_equal(ls_video_next(v, &f, &err), 0);
        ls_rect all = {0, 0, ls_frame_picture(f).w, ls_frame_picture(f).h};
        assert_int_equal(ls_rgb_convert(converter, f, &all, &rgb, &err), 0);
        ls_check_syncnet_crop(faces[i], clip_box, &rgb, 0, 0);
        ls_frame_unref(&f);
    }
    const int sounds = (int)(r.samples / 640) - LS_SYNCNET_FRAMES, windows = CLIP - 4;
    assert_true(sounds > 20 && sounds <= CLIP);
    for (int i = 0; i < windows; i++) {
        const uint8_t *window[] = {faces[i], faces[i + 1], faces[i + 2], faces[i + 3],
                                   faces[i + 4]};
        assert_int_equal(ls_syncnet_lips(net, window, lips[i], NULL, &err), 0);
    }
    for (int i = 0; i < sounds; i++) {
        float rows[LS_SYNCNET_ROWS * LS_MFCC_COUNT];
        assert_int_equal(ls_mfcc_read(mfcc, (size_t)i * 4, LS_SYNCNET_ROWS, rows, &err), 0);
        assert_int_equal(ls_syncnet_sound(net, rows, sound[i], NULL, &err), 0);
    }
    for (int i = 0; i < windows && i < sounds; i++) {
        double distances[LS_LAGS] = {0};
        for (int k = 0; k < LS_LAGS; k++) {
            const int at = i + k - LS_LAG_MOST;
            for (int c = 0; c < LS_SYNCNET_WIDTH; c++)
                distances[k] += pow(
                    (double)lips[i][c] - (at >= 0 && at < sounds ? (double)sound[at][c] : 0), 2);
            distances[k] = sqrt(distances[k]);
        }
        ls_lag_add_distances(&sum, distances);
    }
    ls_syncnet_close(&net);
    ls_rgb_converter_close(&converter);
    ls_mfcc_close(&mfcc);
    ls_pcm_close(&pcm);
    ls_video_close(&v);
    free(samples);
    const ls_lag found = ls_lag_of_distances(&sum);
    *lag = found.frames / 25;
    return found.confidence;
}

static void a_video_is_checked_with_it(void **state)
{
    (void)state;
    char video[4096], track[4096], weights[4096];
    ls_error err = {0};
    ls_sync_settings s;
    const ls_check *c = NULL;
    double lag;
    media_run("ffmpeg -v error -y -f lavfi -i testsrc2=s=320x240:r=25:d=%g -f lavfi -i "
              "\"aevalsrc=0.4*sin(2*PI*(300+200*t)*t)*(1+sin(15*t)):s=16000:d=1.3\" -c:v libx264 "
              "-preset ultrafast -c:a pcm_s16le clip.mkv",
              CLIP / 25.0);
    FILE *f = fopen(media_path(track, "clip.jsonl"), "w");
    for (int i = 0; i < CLIP; i++)
        fprintf(f,
                "{\"frame\": %d, \"box\": [110, 50, 210, 170], \"points5\": [[130, 90], [190, 90], "
                "[160, 110], [140, 140], [180, 140]]}\n",
                i);
    assert_int_equal(fclose(f), 0);
    ls_weights *w = formula();
    media_path(weights, "syncnet.model");
    assert_int_equal(ls_weights_write_torch(weights, w, "state_dict", LS_F32, &err), 0);
    ls_weights_close(&w);
    ls_sync_default_settings(&s, sizeof s);
    s.video = media_path(video, "clip.mkv");
    s.face_track = track;
    s.syncnet = weights;
    if (ls_check_video(&c, &s, &err))
        fail_msg("%s", err.message);
    const double confidence = confidence_of_clip(video, &lag);
    assert_string_equal(c->method, "SyncNet");
    assert_true(c->whole.frames == CLIP && c->stretch_count == 1);
    assert_true(confidence > 0 && fabs(c->whole.confidence - confidence) < 1e-3 * confidence);
    assert_true(fabs(c->whole.lag - lag) < 1e-3);
    ls_check_free(&c);
    s.syncnet = track; // which holds no weights
    assert_int_equal(ls_check_video(&c, &s, &err), LS_EMODEL);
    assert_null(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mfcc_is_numpys),          cmocka_unit_test(embeddings_are_pytorchs),
        cmocka_unit_test(another_file_is_refused), cmocka_unit_test(the_lag_is_the_originals),
        cmocka_unit_test(crops_are_the_originals), cmocka_unit_test(a_video_is_checked_with_it),
    };
    return cmocka_run_group_tests(tests, media_setup, media_teardown);
}
