/* Speech as samples, against those that the ffmpeg program gives. */
#include "media_oracle.h"

#include "media/pcm.h"

#include <math.h>

/* A number that ffprobe gives; `none` if it gives nothing. */
static double probed(const char *path, const char *what, double none)
{
    char *text = output_of(NULL, "ffprobe -v quiet %s -of csv=p=0 %s | head -n 1", what, path);
    const double value = *text && *text != '\n' ? atof(text) : none;
    free(text);
    return value;
}

/* Samples, at the rate of the file, by which the sound begins later than the pictures do. */
static long late_by(const char *path)
{
    const double rate = probed(path, "-select_streams a:0 -show_entries stream=sample_rate", 0),
                 audio = probed(path, "-select_streams a:0 -show_entries frame=pts_time", 0),
                 video = probed(path, "-select_streams v:0 -show_entries stream=start_time", audio);
    return audio > video ? lrint((audio - video) * rate) : 0;
}

static void same_samples(const char *path)
{
    ls_error err = {0};
    ls_pcm *p;
    if (ls_pcm_open(&p, &(ls_sound_settings){.path = path, .stream = -1}, NULL, &err))
        fail_msg("%s", err.message);
    size_t bytes, n = (size_t)ls_pcm_samples(p);
    char *want = output_of(
        &bytes,
        "ffmpeg -v quiet -nostdin -i %s -vn -af adelay=%ldS:all=1 -ac 1 -ar 16000 -f s16le -", path,
        late_by(path));
    assert_true(n > 0);
    if (n != bytes / 2)
        fail_msg("%s: %zu samples, ffmpeg gives %zu", path, n, bytes / 2);
    int16_t *got = malloc(n * sizeof *got);
    assert_non_null(got);
    assert_int_equal(ls_pcm_read(p, 0, n, got, &err), 0);
    for (size_t i = 0; i < n; i++)
        if (memcmp(got + i, want + 2 * i, 2))
            fail_msg("%s: sample %zu of %zu is %d", path, i, n, got[i]);
    free(got);
    free(want);
    ls_pcm_close(&p);
    assert_null(p);
}

static void real_files_as_ffmpeg(void **state)
{
    char path[4096];
    same_samples(test_shared(path, *state));
}

static void made_files_as_ffmpeg(void **state)
{
    static const char *const lines[][2] = {
        {"start.ts", "-f lavfi -i sine=d=1:sample_rate=22050 -c:a mp2 -output_ts_offset 7"},
        {"six.wav", "-f lavfi -i aevalsrc='sin(t*300)|sin(t*400)|0.1|0|sin(t*90)|sin(t*500):c=5.1:"
                    "s=48000:d=1' -c:a pcm_s24le"},
        {"cinema.wav",
         "-f lavfi -i 'aevalsrc=sin(t*300)|sin(t*400)|0.1:s=44100:d=0.7' -c:a pcm_f32le"},
        {"telephone.wav", "-f lavfi -i sine=d=1:sample_rate=8000 -c:a pcm_mulaw"},
        {"book.mp3", "-f lavfi -i sine=d=1:sample_rate=24000 -c:a libmp3lame"},
        {"vorbis.ogg", "-f lavfi -i sine=d=1:sample_rate=96000 -c:a libvorbis"},
        {"same.wav", "-f lavfi -i sine=d=1:sample_rate=16000"},
        {"aac.m4a", "-f lavfi -i sine=d=1:sample_rate=48000 -ac 2"},
        {"late.mkv", "-f lavfi -i testsrc2=s=64x64:d=1 -f lavfi -i sine=d=1 -filter_complex "
                     "'[1:a]asetpts=PTS+0.7/TB[a]' -map 0:v -map '[a]'"},
        {"a:b.wav", "-f lavfi -i sine=d=1"},
        {"odd_rate.flac", "-f lavfi -i sine=d=1:sample_rate=38400"},
        {"voice.opus", "-f lavfi -i sine=d=1:sample_rate=48000 -ac 2 -c:a libopus"},
        {"ima.wav", "-f lavfi -i sine=d=1:sample_rate=22050 -c:a adpcm_ima_wav"},
        {"rf64.wav", "-f lavfi -i sine=d=1:sample_rate=44100 -ac 2 -rf64 always"},
        {"fragments.mp4",
         "-f lavfi -i testsrc2=s=64x64:d=1 -f lavfi -i sine=d=1 -c:v mpeg4 -c:a mp3 -movflags "
         "frag_keyframe+empty_moov"},
        {"sound.ts", "-f lavfi -i testsrc2=s=64x64:d=1 -f lavfi -i sine=d=1 -c:a mp2"},
    };
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        shell("ffmpeg -v error -nostdin -y %s file:%s/%s", lines[i][1], folder, lines[i][0]);
        same_samples(made(path, lines[i][0]));
    }
}

static int16_t *read_all(const char *name, uint64_t *n)
{
    char path[4096];
    ls_error err = {0};
    ls_pcm *p;
    const ls_sound_settings s = {.path = made(path, name), .stream = -1};
    if (ls_pcm_open(&p, &s, NULL, &err))
        fail_msg("%s", err.message);
    *n = ls_pcm_samples(p);
    int16_t *pcm = malloc((size_t)*n * sizeof *pcm);
    assert_non_null(pcm);
    assert_int_equal(ls_pcm_read(p, 0, (size_t)*n, pcm, &err), 0);
    ls_pcm_close(&p);
    return pcm;
}

/* A voice that the mix of the channels would cancel or bury is taken from its channel. */
static void no_mix_cancels_the_voice(void **state)
{
    (void)state;
    static const char *const filters[] = {
        "pan=stereo|c0=c0|c1=-1*c0",   // out of phase
        "pan=stereo|c0=c0|c1=-0.7*c0", // almost
        "pan=stereo|c0=c0|c1=0*c0",    // in one channel
        "pan=stereo|c0=0*c0|c1=c0",    // in the other
        "pan=5.1|FC=c0",               // in the centre
        "pan=7.1|FC=c0|FL=0.01*c0|FR=-0.01*c0",
    };
    uint64_t n, m;
    shell("ffmpeg -v error -nostdin -y -f lavfi -i "
          "'aevalsrc=0.5*sin(2*PI*(200+300*t)*t):s=16000:d=1' "
          "%s/voice.wav",
          folder);
    int16_t *voice = read_all("voice.wav", &n);
    for (size_t i = 0; i < sizeof filters / sizeof *filters; i++) {
        shell("ffmpeg -v error -nostdin -y -i %s/voice.wav -af '%s' %s/mixed.wav", folder,
              filters[i], folder);
        int16_t *got = read_all("mixed.wav", &m);
        assert_int_equal(m, n);
        for (uint64_t k = 0; k < n; k++)
            if (abs(got[k] - voice[k]) > 1)
                fail_msg("%s: sample %d is %d and not %d", filters[i], (int)k, got[k], voice[k]);
        free(got);
    }
    free(voice);
    // two voices in a channel each, one of them weak, are both heard
    char path[4096];
    shell("ffmpeg -v error -nostdin -y -f lavfi -i 'aevalsrc=0.5*sin(2000*t)|0.05*sin(3000*t):"
          "s=44100:d=1' %s/two.wav",
          folder);
    same_samples(made(path, "two.wav"));
}

static void a_recording_is_cut_or_goes_on_in_silence(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_pcm *p;
    int16_t block[64];
    shell("ffmpeg -v error -nostdin -y -f lavfi -i sine=d=1:sample_rate=16000 %s/fit.wav", folder);
    const ls_sound_settings s = {.path = made(path, "fit.wav"), .stream = -1};
    assert_int_equal(ls_pcm_open(&p, &s, NULL, &err), 0);
    ls_pcm_fit(p, 15000);
    assert_int_equal(ls_pcm_samples(p), 15000);
    assert_int_equal(ls_pcm_read(p, 14990, 64, block, &err), LS_EINVAL);
    ls_pcm_fit(p, 20000);
    assert_int_equal(ls_pcm_read(p, 14968, 64, block, &err), 0);
    for (int i = 0; i < 64; i++)
        assert_true(i < 32 || !block[i]);
    assert_true(block[30] || block[31]);
    assert_int_equal(ls_pcm_read(p, 20000 - 64, 64, block, &err), 0);
    assert_int_equal(block[0], 0);
    ls_pcm_close(&p);
}

static void reading_stays_within_the_recording(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_pcm *p;
    int16_t whole[16000], part[64];
    shell("ffmpeg -v error -nostdin -y -f lavfi -i sine=d=1:sample_rate=16000 %s/second.wav",
          folder);
    assert_int_equal(
        ls_pcm_open(&p, &(ls_sound_settings){.path = made(path, "second.wav"), .stream = -1}, NULL,
                    &err),
        0);
    assert_int_equal(ls_pcm_samples(p), 16000);
    assert_int_equal(ls_pcm_read(p, 0, 16000, whole, &err), 0);
    for (uint64_t start = 0; start <= 16000 - 64; start += 997) {
        assert_int_equal(ls_pcm_read(p, start, 64, part, &err), 0);
        assert_memory_equal(part, whole + start, sizeof part);
    }
    assert_int_equal(ls_pcm_read(p, 16000, 0, part, &err), 0);
    static const struct {
        uint64_t start;
        size_t n;
    } outside[] = {{16000, 1},
                   {15999, 2},
                   {16001, 0},
                   {0, 16001},
                   {0, SIZE_MAX},
                   {UINT64_MAX, 2},
                   {UINT64_MAX - 63, 64},
                   {1, SIZE_MAX}};
    for (size_t i = 0; i < sizeof outside / sizeof *outside; i++)
        assert_int_equal(ls_pcm_read(p, outside[i].start, outside[i].n, part, &err), LS_EINVAL);
    ls_pcm_close(&p);
    ls_pcm_close(&p);
}

static void refused(const char *path, int code, const char *why)
{
    ls_error err = {0};
    ls_pcm *p = (ls_pcm *)&err;
    int ret = ls_pcm_open(&p, &(ls_sound_settings){.path = path, .stream = -1}, NULL, &err);
    if (ret != code || !strstr(err.message, path) || !strstr(err.message, why))
        fail_msg("%s: %d, \"%s\" and not %d, \"%s\"", path, ret, err.message, code, why);
    assert_null(p);
}

static void what_has_no_sound_is_refused(void **state)
{
    (void)state;
    char path[4096];
    refused("/nowhere/speech.wav", LS_ENOENT, "No such file");
    refused(folder, LS_EFORMAT, "directory");
    test_write(made(path, "empty.wav"), "", 0);
    refused(path, LS_EFORMAT, "empty");
    shell("ffmpeg -v error -nostdin -y -f lavfi -i sine=d=1 -t 0 -bitexact %s/zero.wav", folder);
    refused(made(path, "zero.wav"), LS_EFORMAT, "no audio");
    shell("ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=d=1:s=64x64 %s/silent.mp4", folder);
    refused(made(path, "silent.mp4"), LS_EFORMAT, "no audio stream");
    shell("for i in 1 2 3 4 5 6 7 8 9; do echo 'a line of a letter'; done > %s/letter.wav", folder);
    refused(made(path, "letter.wav"), LS_EFORMAT, "not a video or audio file");
    shell("head -c 30 %s/zero.wav > %s/header.wav", folder, folder);
    refused(made(path, "header.wav"), LS_EFORMAT, "");
}

static void cancel_ends_it(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_cancel cancel = {0};
    ls_pcm *p;
    ls_cancel_request(&cancel);
    shell("ffmpeg -v error -nostdin -y -f lavfi -i sine=d=1 %s/canceled.wav", folder);
    assert_int_equal(ls_pcm_open(&p,
                                 &(ls_sound_settings){.path = made(path, "canceled.wav"),
                                                      .stream = -1,
                                                      .cancel = &cancel},
                                 NULL, &err),
                     LS_ECANCELED);
    assert_null(p);
}

#define REAL(path) cmocka_unit_test_prestate(real_files_as_ffmpeg, (void *)(uintptr_t)path)

int main(void)
{
    const struct CMUnitTest tests[] = {
        REAL("media/demo1_audio.wav"),
        REAL("media/jfk.wav"),
        REAL("media/retalking_audio_2.wav"),
        REAL("media/demo1_video.mp4"),
        REAL("media/retalking_face_2.mp4"),
        REAL("media/odd/flac_bear_uncommon_sample_rate.flac"),
        REAL("media/odd/mkv_sample_with_htc_rotation_track_name.mkv"),
        REAL("media/odd/mp4_hdr10-video-with-sdr-container.mp4"),
        REAL("media/odd/mp4_midroll-5s.mp4"),
        REAL("media/odd/mp4_sample_fragmented.mp4"),
        REAL("media/odd/mp4_sample_mdat_too_long.mp4"),
        REAL("media/odd/mp4_sample_with_color_info.mp4"),
        REAL("media/odd/nasa_13013.mp4"),
        REAL("media/odd/ogg_bear.opus"),
        REAL("media/odd/ts_sample_h264_mpeg_audio.ts"),
        REAL("media/odd/wav_sample_ima_adpcm.wav"),
        REAL("media/odd/wav_sample_rf64.wav"),
        cmocka_unit_test(made_files_as_ffmpeg),
        cmocka_unit_test(no_mix_cancels_the_voice),
        cmocka_unit_test(a_recording_is_cut_or_goes_on_in_silence),
        cmocka_unit_test(reading_stays_within_the_recording),
        cmocka_unit_test(what_has_no_sound_is_refused),
        cmocka_unit_test(cancel_ends_it),
    };
    return cmocka_run_group_tests_name("media_pcm", tests, make_folder, remove_folder);
}
