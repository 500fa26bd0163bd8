#include "test.h"
#include "golden.h"
#include "recording.h"

#include "models/whisper/features.h"

#include <math.h>

#define BINS 201 /* of 400 points */

static void filters_are_slaneys(void **state)
{
    (void)state;
    golden *g = golden_open("whisper_mel_short.safetensors");
    static ls_mel_bank bank;
    size_t n;
    const float *want = golden_f32(g, "mel_80", &n);
    assert_int_equal(n, LS_MEL_BANDS * BINS);
    ls_mel_bank_init(&bank, 400, 0, 8000);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(bank.filters[i / BINS][i % BINS] - want[i]) <= 1e-7f);
    golden_close(g);
}

static ls_log_mel *open_mel(recording *r)
{
    ls_log_mel *m;
    ls_error err;
    if (ls_log_mel_open(&m, &(ls_pcm_source){r->samples, read_pcm, r}, NULL, &err))
        fail_msg("%s", err.message);
    return m;
}

static void mel_is_the_originals(void **state)
{
    (void)state;
    golden *g = golden_open("whisper_mel_short.safetensors");
    recording r;
    r.pcm = golden_i16(g, "pcm", &r.samples);
    size_t n, frames = 321;
    const float *want = golden_f32(g, "mel", &n); // [80, frames]
    assert_int_equal(n, frames * LS_MEL_BANDS);
    float *got = malloc(n * sizeof *got);
    ls_log_mel *m = open_mel(&r);
    assert_int_equal(ls_log_mel_frames(m), frames);
    assert_int_equal(ls_log_mel_read(m, 0, frames, got, NULL), 0);
    for (size_t i = 0; i < n; i++)
        assert_float_equal(got[i], want[i % LS_MEL_BANDS * frames + i / LS_MEL_BANDS], 1e-5);
    free(got);
    ls_log_mel_close(&m);
    golden_close(g);
}

/* The float32 values of a .npy file of version 1, as they lie there; to be freed. */
static float *read_npy(const char *name, size_t *count)
{
    char path[4096];
    uint8_t head[10];
    FILE *f = fopen(test_data(path, name), "rb");
    assert_non_null(f);
    assert_int_equal(fread(head, 1, 10, f), 10);
    assert_memory_equal(head, "\x93NUMPY\1\0", 8);
    long begin = 10 + head[8] + 256 * head[9];
    fseek(f, 0, SEEK_END);
    *count = (size_t)(ftell(f) - begin) / sizeof(float);
    float *values = malloc(*count * sizeof *values);
    assert_non_null(values);
    fseek(f, begin, SEEK_SET);
    assert_int_equal(fread(values, sizeof *values, *count, f), *count);
    fclose(f);
    return values;
}

/* Bumblebee (Elixir) fills the recording up to 30 s with zeros, before the transform. */
static void mel_is_another_implementations(void **state)
{
    (void)state;
    size_t samples, n, frames = 3000;
    float *wave = read_npy("bumblebee_test_input_raw_1.npy", &samples);
    float *want = read_npy("bumblebee_test_output_featurized_1.npy", &n); // [80, frames]
    assert_int_equal(n, frames * LS_MEL_BANDS);
    int16_t *pcm = calloc(frames * 160, sizeof *pcm);
    float *got = malloc(n * sizeof *got);
    for (size_t i = 0; i < samples; i++) {
        pcm[i] = (int16_t)(wave[i] * 32768);
        assert_true(pcm[i] / 32768.f == wave[i]);
    }
    recording r = {pcm, frames * 160};
    ls_log_mel *m = open_mel(&r);
    assert_int_equal(ls_log_mel_frames(m), frames);
    assert_int_equal(ls_log_mel_read(m, 0, frames, got, NULL), 0);
    for (size_t i = 0; i < n; i++)
        assert_float_equal(got[i], want[i % LS_MEL_BANDS * frames + i / LS_MEL_BANDS], 1e-5);
    ls_log_mel_close(&m);
    free(pcm);
    free(got);
    free(wave);
    free(want);
}

/* The shortest recordings, reflected at both ends within one frame, by the formula itself. */
static void short_recordings_are_reflected(void **state)
{
    (void)state;
    static ls_mel_bank bank;
    ls_mel_bank_init(&bank, 400, 0, 8000);
    int16_t pcm[399];
    for (int samples = 201; samples < 400; samples += 33) {
        double power[2][BINS], want[2][LS_MEL_BANDS], max = -10;
        float got[2 * LS_MEL_BANDS];
        int frames = samples / 160;
        for (int i = 0; i < samples; i++)
            pcm[i] = (int16_t)(i * 7919 % 20011 - 10000);
        for (int t = 0; t < frames; t++) {
            for (int k = 0; k < BINS; k++) {
                double re = 0, im = 0;
                for (int i = 0; i < 400; i++) {
                    int at = t * 160 + i - 200;
                    at = at < 0 ? -at : at >= samples ? 2 * (samples - 1) - at : at;
                    double x = pcm[at] / 32768. * (0.5 - 0.5 * cos(2 * M_PI * i / 400));
                    re += x * cos(2 * M_PI * i * k / 400);
                    im += x * sin(2 * M_PI * i * k / 400);
                }
                power[t][k] = re * re + im * im;
            }
            for (int b = 0; b < LS_MEL_BANDS; b++) {
                double sum = 0;
                for (int k = 0; k < BINS; k++)
                    sum += (double)bank.filters[b][k] * power[t][k];
                want[t][b] = log10(fmax(sum, 1e-10));
                max = fmax(max, want[t][b]);
            }
        }
        recording r = {pcm, (size_t)samples};
        ls_log_mel *m = open_mel(&r);
        assert_int_equal(ls_log_mel_frames(m), frames);
        assert_int_equal(ls_log_mel_read(m, 0, (size_t)frames, got, NULL), 0);
        for (int i = 0; i < frames * LS_MEL_BANDS; i++)
            assert_float_equal(
                got[i], (fmax(want[i / LS_MEL_BANDS][i % LS_MEL_BANDS], max - 8) + 4) / 4, 1e-5);
        ls_log_mel_close(&m);
    }
}

static int read_until_500(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    (void)opaque;
    if (start + n > 500)
        return ls_fail(err, LS_EIO, "the disk is gone");
    memset(dst, 0, n * sizeof *dst);
    return 0;
}

static void a_failing_source_and_cancel_end_it(void **state)
{
    (void)state;
    ls_log_mel *m;
    ls_error err;
    ls_pcm_source s = {16000, read_until_500, NULL};
    assert_int_equal(ls_log_mel_open(&m, &s, NULL, &err), LS_EIO);
    assert_null(m);
    assert_string_equal(err.message, "the disk is gone");
    ls_cancel cancel = {0};
    ls_cancel_request(&cancel);
    assert_int_equal(ls_log_mel_open(&m, &s, &cancel, &err), LS_ECANCELED);
    assert_null(m);
}

/* Feature rows of a frame, at both ends and between, as in feature2chunks. */
static void frames_hear_the_rows_around_them(void **state)
{
    (void)state;
    golden *g = golden_open("whisper_tiny_short_chunks.safetensors");
    size_t n, rows[LS_FEATURE_ROWS];
    const int64_t *want = golden_i64(g, "chunk_idx", &n);
    assert_int_equal(n, 82 * LS_FEATURE_ROWS);
    assert_int_equal(ls_feature_frames(160, 25), 82);
    for (size_t i = 0; i < 82; i++) {
        ls_feature_indices(i, 160, 25, rows);
        for (size_t k = 0; k < LS_FEATURE_ROWS; k++)
            assert_int_equal(rows[k], *want++);
    }
    golden_close(g);
}

static void chunk_counts_are_the_originals(void **state)
{
    (void)state;
    golden *g = golden_open("whisper_chunk_counts.safetensors");
    size_t n;
    const double *row = golden_f64(g, "table", &n); // fps, rows, frames
    assert_true(n >= 3);
    for (size_t i = 0; i < n; i += 3)
        assert_int_equal(ls_feature_frames((size_t)row[i + 1], row[i]), (size_t)row[i + 2]);
    golden_close(g);
}

static uint64_t row_at_rate(const void *opaque, uint64_t frame)
{
    return (uint64_t)((double)frame * 50 / *(const double *)opaque);
}

static uint64_t row_listed(const void *opaque, uint64_t frame)
{
    return frame < 6 ? ((const uint64_t *)opaque)[frame] : 100 + frame;
}

/* By a clock as by a rate; and frames at times of their own hear the rows of those times. */
static void frames_hear_the_rows_of_their_times(void **state)
{
    (void)state;
    static const double rates[] = {23.976, 25, 30, 59.94, 120};
    static const uint64_t listed[] = {0, 0, 3, 9, 40, 41};
    for (size_t i = 0; i < sizeof rates / sizeof *rates; i++) {
        const ls_feature_clock clock = {row_at_rate, &rates[i]};
        for (size_t rows = 1; rows < 400; rows += 7) {
            size_t a[LS_FEATURE_ROWS], b[LS_FEATURE_ROWS];
            const size_t frames = ls_feature_frames(rows, rates[i]);
            assert_int_equal(ls_feature_frames_by(rows, &clock), frames);
            ls_feature_indices(frames / 2, rows, rates[i], a);
            ls_feature_indices_by(frames / 2, rows, &clock, b);
            assert_memory_equal(a, b, sizeof a);
        }
    }
    const ls_feature_clock clock = {row_listed, listed};
    assert_int_equal(ls_feature_frames_by(41, &clock), 7);
    assert_int_equal(ls_feature_frames_by(40, &clock), 6);
    assert_int_equal(ls_feature_frames_by(2, &clock), 3);
    for (size_t frame = 0; frame < 6; frame++) {
        size_t rows[LS_FEATURE_ROWS];
        ls_feature_indices_by(frame, 42, &clock, rows);
        for (int k = 0; k < LS_FEATURE_ROWS; k++) {
            const int64_t want = (int64_t)listed[frame] + k - 4;
            assert_int_equal(rows[k], want < 0 ? 0 : want > 41 ? 41 : want);
        }
    }
}

static void windows_give_50_rows_a_second(void **state)
{
    (void)state;
    assert_int_equal(ls_feature_rows(100), 50);
    assert_int_equal(ls_feature_rows(3000), 1500);
    assert_int_equal(ls_feature_rows(3001), 1500);
    assert_int_equal(ls_feature_rows(6543), 3271);
    assert_int_equal(ls_feature_rows(1), 0);
}

/* Reading in any pieces gives the same values, and a recording shorter than the padding is refused.
 */
static void pieces_are_the_whole(void **state)
{
    (void)state;
    golden *g = golden_open("whisper_mel_short.safetensors");
    size_t samples, n = 321;
    const int16_t *pcm = golden_i16(g, "pcm", &samples);
    recording r = {pcm, samples};
    ls_log_mel *m = open_mel(&r);
    assert_int_equal(ls_log_mel_frames(m), n);
    float *whole = malloc(n * LS_MEL_BANDS * sizeof *whole), piece[7 * LS_MEL_BANDS];
    assert_int_equal(ls_log_mel_read(m, 0, n, whole, NULL), 0);
    for (size_t at = 0; at + 7 <= n; at += 7) {
        assert_int_equal(ls_log_mel_read(m, at, 7, piece, NULL), 0);
        assert_memory_equal(piece, whole + at * LS_MEL_BANDS, sizeof piece);
    }
    assert_int_equal(ls_log_mel_read(m, n - 3, 7, piece, NULL), 0);
    for (size_t i = 3 * LS_MEL_BANDS; i < 7 * LS_MEL_BANDS; i++)
        assert_true(piece[i] == 0);
    free(whole);
    ls_log_mel_close(&m);
    ls_error err;
    assert_int_equal(ls_log_mel_open(&m, &(ls_pcm_source){200, read_pcm, &r}, NULL, &err),
                     LS_EFORMAT);
    assert_non_null(strstr(err.message, "200 samples"));
    golden_close(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_are_slaneys),
        cmocka_unit_test(mel_is_the_originals),
        cmocka_unit_test(mel_is_another_implementations),
        cmocka_unit_test(short_recordings_are_reflected),
        cmocka_unit_test(a_failing_source_and_cancel_end_it),
        cmocka_unit_test(frames_hear_the_rows_around_them),
        cmocka_unit_test(chunk_counts_are_the_originals),
        cmocka_unit_test(frames_hear_the_rows_of_their_times),
        cmocka_unit_test(windows_give_50_rows_a_second),
        cmocka_unit_test(pieces_are_the_whole),
    };
    return cmocka_run_group_tests_name("whisper_audio", tests, NULL, NULL);
}
