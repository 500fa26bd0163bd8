/* SyncNet and its MFCC against PyTorch and numpy: tests/data/make_syncnet.py. */
#include "test.h"
#include "golden.h"
#include "recording.h"

#include "models/syncnet/syncnet.h"
#include "pipeline/lag.h"

#include <math.h>

#define FACES 6

static double error_of(const float *got, const float *want, size_t n)
{
    double diff = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        diff += pow((double)got[i] - (double)want[i], 2);
        norm += pow((double)want[i], 2);
    }
    return sqrt(diff / norm);
}

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
        const double lips_off = error_of(got, lips + k * LS_SYNCNET_WIDTH, LS_SYNCNET_WIDTH);
        assert_int_equal(ls_syncnet_sound(s, mfcc + 4 * k * LS_MFCC_COUNT, got, NULL, &err), 0);
        const double sound_off = error_of(got, sound + k * LS_SYNCNET_WIDTH, LS_SYNCNET_WIDTH);
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
    assert_true(lag.is_inside && fabs(lag.frames - 3) < 0.5);
    assert_true(fabs(lag.confidence - (double)*confidence) < 1e-4);
    golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mfcc_is_numpys),
        cmocka_unit_test(embeddings_are_pytorchs),
        cmocka_unit_test(another_file_is_refused),
        cmocka_unit_test(the_lag_is_the_originals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
