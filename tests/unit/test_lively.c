#include "recording.h"

#include "pipeline/lively.h"

#include <math.h>
#include <stdlib.h>

#define RATE 16000

static uint32_t random_state = 1;

static double noise(void)
{
    random_state = random_state * 1664525u + 1013904223u;
    return (double)(random_state >> 8) / (1 << 23) - 1;
}

/* Bursts of noise and buzz, as syllables are, for `seconds` from `start` on. */
static void say(int16_t *pcm, double start, double seconds, double gain)
{
    for (size_t i = 0; i < (size_t)(seconds * RATE); i++) {
        const double t = (double)i / RATE, open = fmax(0, sin(2 * M_PI * 4 * t));
        const double buzz = fmod(t * 120, 1) - 0.5, hiss = fmod(t, 0.5) > 0.4 ? noise() : 0;
        pcm[(size_t)(start * RATE) + i] = (int16_t)lrint(gain * 16000 * (open * buzz + 0.3 * hiss));
    }
}

static double at_25(const void *opaque, uint64_t chunk)
{
    (void)opaque;
    return (double)chunk * 0.64;
}

static ls_log_mel *open_mel(recording *r)
{
    ls_log_mel *m;
    ls_error err;
    if (ls_log_mel_open(&m, &(ls_pcm_source){r->samples, read_pcm, r}, NULL, &err))
        fail_msg("%s", err.message);
    return m;
}

static size_t find(ls_lively_window w[LS_LIVELY_SECTIONS], ls_log_mel *m, ls_lively_chunks c)
{
    size_t n;
    c.seconds = at_25;
    assert_int_equal(ls_lively_find(w, &n, m, &c, NULL, NULL), 0);
    return n;
}

static void loud_speech_and_not_silence_hum_or_noise(void **state)
{
    (void)state;
    const size_t samples = 40 * RATE;
    int16_t *pcm = calloc(samples, sizeof *pcm);
    for (size_t i = 0; i < samples; i++)
        if (i < 8 * RATE) // hum, then noise as loud, then silence
            pcm[i] = (int16_t)lrint(9000 * sin(2 * M_PI * 220 * (double)i / RATE));
        else if (i < 16 * RATE)
            pcm[i] = (int16_t)lrint(12000 * noise());
    say(pcm, 20, 2.6, 0.02);   // a whisper
    say(pcm, 25.6, 2.56, 0.5); // chunks 40 to 43
    say(pcm, 35, 1, 0.5);
    recording r = {pcm, samples};
    ls_log_mel *m = open_mel(&r);
    ls_lively_window w[LS_LIVELY_SECTIONS];
    size_t n = find(w, m, (ls_lively_chunks){.first = 0, .end = 62, .window = 4});
    assert_true(n >= 4 && n <= LS_LIVELY_SECTIONS);
    assert_int_equal(w[0].first, 40);
    for (size_t i = 1; i < n; i++)
        assert_true(w[i].score <= w[i - 1].score);
    // silence alone is dull
    n = find(w, m, (ls_lively_chunks){.first = 45, .end = 53, .window = 4});
    assert_true(n > 0 && w[0].score == 0 && w[0].first == 45);
    // no more than there are
    n = find(w, m, (ls_lively_chunks){.first = 41, .end = 43, .window = 4});
    assert_true(n == 1 && w[0].first == 41);
    ls_log_mel_close(&m);
    free(pcm);
}

static double change(const float *rows, size_t step, double floor)
{
    double all = 0;
    for (int band = 0; band < 6; band++) {
        double sum[2] = {0, 0};
        for (size_t side = 0; side < 2; side++)
            for (size_t row = 4 * (step - side); row < 4 * (step - side) + 4; row++)
                for (int k = 0; k < 10; k++) {
                    const double x = rows[row * LS_MEL_BANDS + 4 + 10 * (size_t)band + (size_t)k];
                    sum[side] += x < floor ? floor : x; // of 40 values that are 40 dB each
                }
        all += fabs(sum[0] - sum[1]) / 6;
    }
    return all;
}

/* Every window from its own steps, from all rows in memory. */
static void as_by_trying_all(void **state)
{
    (void)state;
    const size_t samples = 70 * RATE + 77;
    int16_t *pcm = calloc(samples, sizeof *pcm);
    for (int i = 0; i < 40; i++)
        say(pcm, (noise() + 1) * 33, (noise() + 1.1), 0.1 + 0.4 * fabs(noise()));
    recording r = {pcm, samples};
    ls_log_mel *m = open_mel(&r);
    const size_t frames = ls_log_mel_frames(m);
    float *rows = malloc(frames * LS_MEL_BANDS * sizeof *rows);
    assert_int_equal(ls_log_mel_read(m, 0, frames, rows, NULL), 0);
    float least = rows[0];
    for (size_t i = 0; i < frames * LS_MEL_BANDS; i++)
        least = fminf(least, rows[i]);
    const struct {
        uint64_t first, end, window;
    } cases[] = {{0, 109, 4}, {3, 100, 1}, {7, 20, 9}, {0, 110, 16}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double best[LS_LIVELY_SECTIONS] = {0};
        uint64_t where[LS_LIVELY_SECTIONS] = {0};
        const uint64_t starts = cases[i].end - cases[i].first - cases[i].window + 1;
        for (uint64_t s = 0; s < starts; s++) {
            double sum = 0;
            const uint64_t begin = 16 * (cases[i].first + s), end = begin + 16 * cases[i].window;
            for (uint64_t step = begin; step < end && step < frames / 4; step++)
                sum += step ? change(rows, step, (double)least + 0.75) : 0;
            const size_t section = (size_t)(s * LS_LIVELY_SECTIONS / starts);
            if (sum > best[section] + 1e-6) {
                best[section] = sum;
                where[section] = cases[i].first + s;
            }
        }
        ls_lively_window w[LS_LIVELY_SECTIONS];
        const size_t n =
            find(w, m,
                 (ls_lively_chunks){
                     .first = cases[i].first, .end = cases[i].end, .window = cases[i].window});
        size_t top = 0, met = 0;
        for (size_t k = 0; k < LS_LIVELY_SECTIONS; k++)
            top = best[k] > best[top] ? k : top;
        assert_int_equal(w[0].first, where[top]);
        for (size_t k = 0; k < n; k++)
            for (size_t section = 0; section < LS_LIVELY_SECTIONS; section++)
                if (w[k].first == where[section]) {
                    assert_float_equal(w[k].score, best[section], 1e-6 * best[section]);
                    met++;
                }
        assert_int_equal(met, n);
    }
    free(rows);
    ls_log_mel_close(&m);
    free(pcm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loud_speech_and_not_silence_hum_or_noise),
        cmocka_unit_test(as_by_trying_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
