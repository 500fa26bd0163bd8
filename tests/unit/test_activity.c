/* The detector of speech on sounds that are made here, whose ends are known. */
#include "recording.h"

#include "models/whisper/activity.h"

#include <math.h>

#define RATE 16000
#define MOST (70 * RATE)
#define NEAR 10 /* frames, 100 ms */

static double wave[MOST];
static int16_t pcm[MOST];
static float parts[MOST / 160];
static uint32_t noise_state;

static double noise(void)
{
    noise_state = noise_state * 1664525 + 1013904223;
    return (double)(int32_t)noise_state / 0x1p31 * sqrt(3);
}

/* Noise of so much RMS, throughout. */
static void begin(double db)
{
    noise_state = 1;
    for (size_t i = 0; i < MOST; i++)
        wave[i] = db > -200 ? pow(10, db / 20) * noise() : 0;
}

static double gain(double from, double to, double t)
{
    const double edge = fmin(t - from, to - t) / 0.01;
    return edge <= 0 ? 0 : edge < 1 ? edge : 1;
}

/* As a vowel: a pulse of 120 to 160 Hz through resonances at 600 and 1300 Hz; `db`: of its RMS. */
static void add_voice(double from, double to, double db)
{
    double phase = 0;
    for (size_t i = (size_t)(from * RATE); i < (size_t)(to * RATE); i++) {
        const double t = (double)i / RATE, f0 = 140 + 20 * sin(2 * M_PI * 1.3 * t);
        double sum = 0;
        phase += f0 / RATE;
        for (int h = 1; h < 28; h++) {
            const double f = h * f0, formants = 1 / (1 + pow((f - 600) / 120, 2)) +
                                                0.4 / (1 + pow((f - 1300) / 150, 2)) + 0.01;
            sum += formants * sin(2 * M_PI * h * phase);
        }
        wave[i] += gain(from, to, t) * pow(10, db / 20) * sum;
    }
}

static void add_noise(double from, double to, double db)
{
    for (size_t i = (size_t)(from * RATE); i < (size_t)(to * RATE); i++)
        wave[i] += gain(from, to, (double)i / RATE) * pow(10, db / 20) * noise();
}

static void add_tones(double from, double to, double db)
{
    static const double hz[] = {220, 277.18, 329.63};
    for (size_t i = (size_t)(from * RATE); i < (size_t)(to * RATE); i++)
        for (int k = 0; k < 3; k++)
            wave[i] += gain(from, to, (double)i / RATE) * pow(10, db / 20) *
                       sin(2 * M_PI * hz[k] * (double)i / RATE) * sqrt(2. / 3);
}

/* The parts of all frames, in as many calls as it takes. */
static size_t detect(double seconds)
{
    recording r = {pcm, (size_t)(seconds * RATE)};
    ls_log_mel *mel;
    ls_activity *a;
    for (size_t i = 0; i < r.samples; i++)
        pcm[i] = (int16_t)lrint(fmax(-1, fmin(wave[i], 1)) * 32767);
    assert_int_equal(ls_log_mel_open(&mel, &(ls_pcm_source){r.samples, read_pcm, &r}, NULL, NULL),
                     0);
    assert_int_equal(ls_activity_open(&a, mel, NULL), 0);
    const size_t frames = ls_log_mel_frames(mel);
    for (size_t at = 0; at < frames; at += LS_ACTIVITY_MOST)
        assert_int_equal(
            ls_activity_read(a, at, frames - at < LS_ACTIVITY_MOST ? frames - at : LS_ACTIVITY_MOST,
                             parts + at, NULL),
            0);
    ls_activity_close(&a);
    ls_log_mel_close(&mel);
    return frames;
}

/* `ends`: where speech begins and ends, in turns, in seconds. */
static void assert_speech(size_t frames, const double *ends, size_t count)
{
    size_t k = 0;
    bool speaks = false;
    for (size_t t = 0; t < frames; t++) {
        if ((parts[t] > 0.5f) == speaks)
            continue;
        speaks = !speaks;
        if (k == count || fabs((double)t - 100 * ends[k]) > NEAR)
            fail_msg("speech %s at %.2f s, not at %.2f", speaks ? "begins" : "ends",
                     (double)t / 100, k < count ? ends[k] : -1);
        k++;
    }
    assert_int_equal(k, count);
}

#define ASSERT_SPEECH(frames, ...)                                                                 \
    assert_speech(frames, (const double[]){__VA_ARGS__},                                           \
                  sizeof((const double[]){__VA_ARGS__}) / sizeof(double))

static void ends_are_found(void **state)
{
    (void)state;
    static const double noises[] = {-300, -60, -50}, voices[] = {-15, -20, -35};
    for (size_t n = 0; n < 3; n++)
        for (size_t v = 0; v < (noises[n] > -60 ? 2 : 3); v++) {
            begin(noises[n]);
            add_voice(1.0, 2.4, voices[v]);
            add_voice(2.55, 3.2, voices[v] - 8);
            add_voice(4.0, 5.5, voices[v]);
            ASSERT_SPEECH(detect(8), 1.0, 3.2, 4.0, 5.5);
        }
}

/* A recording may begin and end with speech. */
static void there_may_be_no_silence(void **state)
{
    (void)state;
    begin(-60);
    add_voice(0, 6, -20);
    size_t frames = detect(6);
    for (size_t t = 0; t < frames; t++)
        assert_true(parts[t] == 1);
}

static void zeros_and_noise_are_silence(void **state)
{
    (void)state;
    for (int db = -300; db <= -30; db += 270) {
        begin(db);
        const size_t frames = detect(6);
        for (size_t t = 0; t < frames; t++)
            assert_true(parts[t] == 0);
    }
}

/* A weak sound belongs to a strong one that it follows, for a while, but is none by itself. */
static void weak_sounds_need_strong_ones(void **state)
{
    (void)state;
    begin(-80);
    add_voice(1, 2, -20);
    add_noise(2, 2.2, -45);
    add_noise(4, 4.4, -55); // breath
    add_voice(6, 7, -20);
    add_noise(7, 8.5, -45);
    ASSERT_SPEECH(detect(10), 1, 2.2, 6, 7.25);
    begin(-80);
    add_voice(1, 2, -20);
    add_noise(4, 4.4, -30); // as loud as speech
    ASSERT_SPEECH(detect(7), 1, 2, 4, 4.4);
}

static void clicks_are_no_speech(void **state)
{
    (void)state;
    begin(-70);
    add_voice(1, 2, -20);
    for (int k = 0; k < 4; k++)
        wave[(size_t)((3 + 0.9 * k) * RATE)] = 0.9;
    add_voice(7, 8, -20);
    ASSERT_SPEECH(detect(9), 1, 2, 7, 8);
}

/* Sounds that rise above what counts again and again are one stretch of speech, also where they are
 * faint in between. */
static void it_does_not_flicker(void **state)
{
    (void)state;
    begin(-70);
    for (int k = 0; k < 12; k++) {
        add_voice(1 + 0.25 * k, 1.1 + 0.25 * k, -20);
        add_noise(1.1 + 0.25 * k, 1.25 + 0.25 * k, k % 2 ? -45 : -300);
    }
    ASSERT_SPEECH(detect(6), 1, 4.0);
}

static void singing_and_music_are_speech(void **state)
{
    (void)state;
    begin(-60);
    add_voice(1, 2, -20);
    add_voice(5, 25, -25); // one note, longer than noise is sought around
    add_tones(28, 36, -35);
    ASSERT_SPEECH(detect(38), 1, 2, 5, 25, 28, 36);
}

/* The noise may change; what is louder than before is not taken for speech for long. */
static void noise_is_followed(void **state)
{
    (void)state;
    begin(-70);
    add_voice(1, 4, -20);
    add_noise(8, 24, -50);
    add_voice(26, 29, -20);
    ASSERT_SPEECH(detect(32), 1, 4, 26, 29);
}

static void it_does_not_matter_where_reading_begins(void **state)
{
    (void)state;
    static float whole[MOST / 160], piece[LS_ACTIVITY_MOST];
    begin(-60);
    for (int k = 0; k < 22; k++)
        add_voice(0.7 + 3 * k + 0.05 * k, 2 + 3 * k, -20 - k % 5);
    const size_t frames = detect(68);
    memcpy(whole, parts, sizeof whole);
    recording r = {pcm, 68 * RATE};
    ls_log_mel *mel;
    ls_activity *a;
    assert_int_equal(ls_log_mel_open(&mel, &(ls_pcm_source){r.samples, read_pcm, &r}, NULL, NULL),
                     0);
    assert_int_equal(ls_activity_open(&a, mel, NULL), 0);
    static const size_t starts[] = {5601, 2800, 17, 1333, 4199, 3049, 2151};
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        const size_t n = i % 2 ? LS_ACTIVITY_MOST : 333;
        assert_int_equal(ls_activity_read(a, starts[i], n, piece, NULL), 0);
        for (size_t t = 0; t < n; t++)
            assert_true(piece[t] == (starts[i] + t < frames ? whole[starts[i] + t] : 1));
    }
    ls_activity_close(&a);
    ls_log_mel_close(&mel);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ends_are_found),
        cmocka_unit_test(there_may_be_no_silence),
        cmocka_unit_test(zeros_and_noise_are_silence),
        cmocka_unit_test(weak_sounds_need_strong_ones),
        cmocka_unit_test(clicks_are_no_speech),
        cmocka_unit_test(it_does_not_flicker),
        cmocka_unit_test(singing_and_music_are_speech),
        cmocka_unit_test(noise_is_followed),
        cmocka_unit_test(it_does_not_matter_where_reading_begins),
    };
    return cmocka_run_group_tests_name("activity", tests, NULL, NULL);
}
