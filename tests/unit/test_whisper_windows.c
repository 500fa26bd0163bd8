/* Features over several windows, with the reduced encoder of the golden files, against windows that
 * are encoded here. */
#include "golden.h"
#include "recording.h"

#include "models/whisper/features.h"

#include <math.h>

enum { SAMPLES = 59 * 16000, ROWS = 59 * 50, WINDOW_ROWS = 1500, HOP = 1400, WINDOWS = 3 };

static ls_workspace workspace;
static ls_whisper *whisper;
static int16_t pcm[SAMPLES];
static recording rec = {pcm, SAMPLES};
static ls_log_mel *mel;
static size_t row_size;
static float *windows[WINDOWS]; /* [WINDOW_ROWS, row_size], from row HOP * i on */

static int setup(void **state)
{
    (void)state;
    const ls_whisper_config c = {80, WINDOW_ROWS, 64, 4, 2};
    ls_params *table;
    ls_weights *w;
    ls_error err;
    if (ls_workspace_open(&workspace, "onednn", 0, &err) || ls_whisper_table(&table, &c, &err) ||
        ls_params_formula(&w, &table, false, NULL, &err) ||
        ls_whisper_open(&whisper, &w, &c, &(ls_compute){&workspace, LS_F32}, &err))
        fail_msg("%s", err.message);
    uint32_t noise = 1;
    for (size_t i = 0; i < SAMPLES; i++) {
        noise = noise * 1664525 + 1013904223;
        pcm[i] = (int16_t)((int32_t)(noise >> 17) - 16384) / (int16_t)(1 + i / 3200 % 7);
    }
    assert_int_equal(ls_log_mel_open(&mel, &(ls_pcm_source){SAMPLES, read_pcm, &rec}, NULL, NULL),
                     0);
    row_size = (c.n_audio_layer + 1) * c.n_audio_state;
    float *input = malloc(3000 * LS_MEL_BANDS * sizeof *input);
    for (size_t i = 0; i < WINDOWS; i++) {
        windows[i] = malloc(WINDOW_ROWS * row_size * sizeof(float));
        assert_true(input && windows[i]);
        assert_int_equal(ls_log_mel_read(mel, 2 * HOP * i, 3000, input, NULL), 0);
        assert_int_equal(ls_whisper_encode(whisper, input, windows[i], NULL, NULL), 0);
    }
    free(input);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < WINDOWS; i++)
        free(windows[i]);
    ls_log_mel_close(&mel);
    ls_whisper_close(&whisper);
    ls_workspace_close(&workspace);
    return 0;
}

static ls_features *open_as(ls_log_mel *of, const ls_feature_settings *s)
{
    ls_features *f;
    assert_int_equal(ls_features_open(&f, whisper, of, s, NULL), 0);
    return f;
}

static ls_features *open_features(bool overlap, ls_log_mel *of)
{
    return open_as(of, &(ls_feature_settings){.fps = 50, .overlap = overlap});
}

/* At 50 frames/s frame r has row r in place 4; those at the ends are the first and the last. */
static void read_row(ls_features *f, size_t row, float *dst)
{
    float *block = malloc(LS_FEATURE_ROWS * row_size * sizeof *block);
    assert_int_equal(ls_features_read(f, row, 1, block, NULL, NULL), 0);
    memcpy(dst, block + 4 * row_size, row_size * sizeof *dst);
    free(block);
}

/* Row `row` by the formula: in the 2 s that two windows share, the later one's part rises as half a
 * period of a cosine. */
static void assert_row(ls_features *f, size_t row)
{
    float *got = malloc(row_size * sizeof *got);
    read_row(f, row, got);
    size_t k = row / HOP < WINDOWS ? row / HOP : WINDOWS - 1;
    const size_t at = row - k * HOP;
    const bool both = k && at < WINDOW_ROWS - HOP;
    const double part = both ? pow(sin(M_PI / 2 * ((double)at + 0.5) / (WINDOW_ROWS - HOP)), 2) : 1;
    double largest = 0, off = 0;
    for (size_t i = 0; i < row_size; i++) {
        double want = part * windows[k][at * row_size + i];
        if (both)
            want += (1 - part) * windows[k - 1][(at + HOP) * row_size + i];
        largest = fmax(largest, fabs(want));
        off = fmax(off, fabs(got[i] - want));
    }
    assert_true(largest > 0.1 && off <= 1e-6 * largest);
    free(got);
}

static void windows_fade_into_each_other(void **state)
{
    (void)state;
    ls_features *f = open_features(true, mel);
    assert_int_equal(ls_feature_rows(ls_log_mel_frames(mel)), ROWS);
    for (size_t row = 0; row < ROWS; row += row % HOP < 110 || row % HOP > 1390 ? 1 : 97)
        assert_row(f, row);
    ls_features_close(&f);
}

/* From any row on, as after an interruption, and backwards. */
static void rows_do_not_depend_on_what_was_read(void **state)
{
    (void)state;
    static const size_t rows[][2] = {{2850, 1450}, {ROWS - 1, 1400}};
    for (size_t i = 0; i < 2; i++) {
        ls_features *f = open_features(true, mel);
        assert_row(f, rows[i][0]);
        assert_row(f, rows[i][1]);
        ls_features_close(&f);
    }
}

/* The original's windows until the first overlap, and throughout a recording of 30 s. */
static void the_first_window_is_the_originals(void **state)
{
    (void)state;
    recording half = {pcm, 30 * 16000};
    ls_log_mel *m;
    assert_int_equal(
        ls_log_mel_open(&m, &(ls_pcm_source){half.samples, read_pcm, &half}, NULL, NULL), 0);
    ls_features *f[] = {open_features(false, mel), open_features(true, mel),
                        open_features(false, m), open_features(true, m)};
    float *a = malloc(row_size * sizeof *a), *b = malloc(row_size * sizeof *b);
    for (size_t row = 0; row < WINDOW_ROWS; row += 7)
        for (size_t k = row < HOP ? 0 : 2; k < 4; k += 2) {
            read_row(f[k], row, a);
            read_row(f[k + 1], row, b);
            assert_memory_equal(a, b, row_size * sizeof *a);
        }
    read_row(f[0], WINDOW_ROWS, a);
    read_row(f[1], WINDOW_ROWS, b);
    assert_memory_not_equal(a, b, row_size * sizeof *a);
    for (size_t k = 0; k < 4; k++)
        ls_features_close(&f[k]);
    ls_log_mel_close(&m);
    free(a);
    free(b);
}

static double distance(const float *a, const float *b)
{
    double sum = 0;
    for (size_t i = 0; i < row_size; i++)
        sum += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
    return sqrt(sum);
}

/* Noise around a tone is heard nearly as zeros there would be; what differs is the noise within
 * the tone, which attention reaches from everywhere. */
static void noise_is_heard_as_silence(void **state)
{
    (void)state;
    enum { SECONDS = 6 };
    static int16_t noisy[SECONDS * 16000], clean[SECONDS * 16000];
    recording r[] = {{noisy, SECONDS * 16000}, {clean, SECONDS * 16000}};
    for (size_t i = 0; i < SECONDS * 16000; i++) {
        const double t = (double)i / 16000;
        clean[i] = (int16_t)(i / 32000 == 1 ? 9000 * sin(2 * M_PI * 300 * t) : 0);
        noisy[i] = (int16_t)(clean[i] + pcm[i] % 64);
    }
    ls_log_mel *m[2];
    for (size_t k = 0; k < 2; k++)
        assert_int_equal(
            ls_log_mel_open(&m[k], &(ls_pcm_source){r[k].samples, read_pcm, &r[k]}, NULL, NULL), 0);
    ls_features *f[] = {open_as(m[0], &(ls_feature_settings){.fps = 50, .close = true}),
                        open_as(m[0], &(ls_feature_settings){.fps = 50}),
                        open_as(m[1], &(ls_feature_settings){.fps = 50})};
    float *rows[3];
    for (size_t k = 0; k < 3; k++)
        rows[k] = malloc(row_size * sizeof(float));
    for (size_t row = 0; row < SECONDS * 50; row += 11) {
        const bool speaks = row / 100 == 1, near = row > 85 && row < 215 && !speaks;
        for (size_t k = 0; k < 3; k++)
            read_row(f[k], row, rows[k]);
        const double closed = distance(rows[0], rows[2]), left = distance(rows[1], rows[2]);
        if (speaks)
            assert_true(closed <= left);
        else if (!near)
            assert_true(closed < left / 3);
    }
    for (size_t k = 0; k < 3; k++) {
        free(rows[k]);
        ls_features_close(&f[k]);
    }
    for (size_t k = 0; k < 2; k++)
        ls_log_mel_close(&m[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_fade_into_each_other),
        cmocka_unit_test(rows_do_not_depend_on_what_was_read),
        cmocka_unit_test(the_first_window_is_the_originals),
        cmocka_unit_test(noise_is_heard_as_silence),
    };
    return cmocka_run_group_tests_name("whisper_windows", tests, setup, teardown);
}
