#include "test.h"
#include "golden.h"

#include "models/whisper/features.h"

#include <math.h>

typedef struct recording {
    const int16_t *pcm;
    size_t samples;
} recording;

static int read_pcm(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    (void)err;
    const recording *r = opaque;
    assert_true(start + n <= r->samples);
    memcpy(dst, r->pcm + start, n * sizeof *dst);
    return 0;
}

static void filters_are_slaneys(void **state)
{
    (void)state;
    golden *g = golden_open("whisper_mel_short.safetensors");
    static float filters[LS_MEL_BANDS][LS_MEL_BINS];
    size_t n;
    const float *want = golden_f32(g, "mel_80", &n);
    assert_int_equal(n, LS_MEL_BANDS * LS_MEL_BINS);
    ls_mel_filters(filters);
    for (size_t i = 0; i < n; i++)
        assert_true(fabsf(filters[0][i] - want[i]) <= 1e-7f);
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
    ls_log_mel *m;
    assert_int_equal(ls_log_mel_open(&m, &(ls_pcm_source){samples, read_pcm, &r}, NULL, NULL), 0);
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
        cmocka_unit_test(chunk_counts_are_the_originals),
        cmocka_unit_test(windows_give_50_rows_a_second),
        cmocka_unit_test(pieces_are_the_whole),
    };
    return cmocka_run_group_tests_name("whisper_audio", tests, NULL, NULL);
}
