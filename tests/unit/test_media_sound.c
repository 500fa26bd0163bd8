/* When a sound is heard: in the speech as samples and in the output, against where the ffmpeg
 * programs put it in the file that it came from. */
#include "media.h"

#include "media/codecs.h"
#include "media/join.h"
#include "media/pcm.h"
#include "media/segment.h"

#include <math.h>
#include <stdlib.h>

#define RATE 16000
#define CHIRP (RATE / 25)
#define CLOSE 0.001 /* s */

/* 40 ms that rise from 500 to 3500 Hz, for ffmpeg's aevalsrc. */
#define CHIRP_AT(t)                                                                                \
    "if(between(t," t "," t "+0.04),0.5*sin(2*PI*(500*(t-" t ")+37500*(t-" t ")*(t-" t "))),0)"

/* Where the chirp begins, in samples; with the share of the energy there that is its. */
static long find_chirp(const int16_t *pcm, long n, double *share)
{
    double chirp[CHIRP], own = 0, most = 0;
    long best = -1;
    for (int k = 0; k < CHIRP; k++) {
        const double t = (double)k / RATE;
        chirp[k] = sin(2 * M_PI * (500 * t + 37500 * t * t));
        own += chirp[k] * chirp[k];
    }
    for (long i = 0; i + CHIRP <= n; i++) {
        double product = 0, energy = 1e-9;
        for (int k = 0; k < CHIRP; k++) {
            product += pcm[i + k] * chirp[k];
            energy += (double)pcm[i + k] * pcm[i + k];
        }
        const double found = product * fabs(product) / own; // energy that the chirp explains
        if (found > most) {
            most = found;
            best = i;
            *share = found / energy;
        }
    }
    return best;
}

static int16_t *decode(const char *file, long *n)
{
    FILE *p = media_pipe("ffmpeg -v quiet -nostdin -i '%s' -map 0:a:0 -ac 1 -ar %d -f s16le -",
                         file, RATE);
    int16_t *pcm = malloc(60 * RATE * sizeof *pcm);
    assert_non_null(pcm);
    *n = (long)fread(pcm, sizeof *pcm, 60 * RATE, p);
    pclose(p);
    return pcm;
}

/* Seconds from where a player starts the file, or in an output from its first picture, to the
 * chirp: its place among the samples, and the time stamp of the frame with that sample. */
static double heard_at(const char *file, bool from_picture)
{
    char line[4096], row[256];
    long n;
    double share, start = 0, first = NAN, pts, at = 0, heard = NAN;
    int rate = atoi(media_line(line,
                               "ffprobe -v quiet -select_streams a:0 -show_entries "
                               "stream=sample_rate -of csv=p=0 '%s'",
                               file)),
        count;
    int16_t *pcm = decode(file, &n);
    const double place = (double)find_chirp(pcm, n, &share) / RATE;
    free(pcm);
    if (place < 0 || share < 0.5)
        fail_msg("%s: the chirp is not heard, %.2f of it", file, share);
    FILE *p = media_pipe("ffprobe -v quiet -select_streams a:0 -show_entries "
                         "frame=pts_time,nb_samples -of csv=p=0 '%s'",
                         file);
    while (fgets(row, sizeof row, p))
        if (sscanf(row, "%lf,%d", &pts, &count) == 2) {
            first = isnan(first) ? pts : first;
            if (place >= at - 1e-9)
                heard = pts + place - at;
            at += (double)count / rate;
        }
    pclose(p);
    media_line(line,
               "ffprobe -v quiet -select_streams V:0 -show_entries frame=pts_time -of csv=p=0 '%s' "
               "| grep '[0-9]' | sort -g | head -n 1",
               file);
    start = *line ? atof(line) : first;
    return heard - (from_picture || start < first ? start : first);
}

static ls_sound_settings sound_of(const char *path)
{
    return (ls_sound_settings){.path = path, .stream = -1};
}

/* Likewise in the speech as samples. */
static double followed_at(const char *file, ls_sound_facts *facts)
{
    ls_error err = {0};
    ls_pcm *p;
    const ls_sound_settings s = sound_of(file);
    if (ls_pcm_open(&p, &s, NULL, &err))
        fail_msg("%s", err.message);
    const size_t n = (size_t)ls_pcm_samples(p);
    int16_t *pcm = malloc(n * sizeof *pcm);
    assert_non_null(pcm);
    assert_int_equal(ls_pcm_read(p, 0, n, pcm, &err), 0);
    double share = 0;
    const double at = (double)find_chirp(pcm, (long)n, &share) / RATE;
    if (share < 0.5)
        fail_msg("%s: the chirp is not heard, %.2f of it", file, share);
    *facts = *ls_pcm_facts(p);
    free(pcm);
    ls_pcm_close(&p);
    return at;
}

static ls_video *video;
static ls_segment_info segment;

/* One second of pictures, in a segment that all outputs share. */
static int make_pictures(void **state)
{
    ls_error err = {0};
    char path[4096];
    ls_segment *g;
    ls_frame *f;
    ls_media_show_libav_messages(false);
    if (media_setup(state))
        return -1;
    media_run("ffmpeg -v error -nostdin -f lavfi -i testsrc2=s=64x48:r=25:d=1 -c:v libx264 -crf 10 "
              "-pix_fmt yuv420p v.mp4 && ffmpeg -v error -nostdin -f lavfi -i \"aevalsrc='%s"
              "':s=48000:d=1.5\" chirp.wav",
              CHIRP_AT("0.7"));
    assert_int_equal(
        ls_video_open(&video, media_path(path, "v.mp4"), &(ls_video_settings){.threads = 1}, &err),
        0);
    const ls_encoding e = {.codec = "libx264", .preset = "veryfast", .crf = 18, .like = video};
    assert_int_equal(ls_segment_open(&g, media_path(path, "s.nut"), &e, &err), 0);
    for (int i = 0; i < 25; i++) {
        assert_int_equal(ls_video_next(video, &f, &err), 0);
        assert_int_equal(ls_segment_write(g, f, &err), 0);
        ls_frame_unref(&f);
    }
    assert_int_equal(ls_segment_finish(g, &segment, &err), 0);
    ls_segment_close(&g);
    return 0;
}

static int remove_pictures(void **state)
{
    ls_video_close(&video);
    return media_teardown(state);
}

static const char *write_output(char path[static 4096], const char *name, const char *audio,
                                const ls_sound_facts *facts)
{
    ls_error err = {0};
    char nut[4096];
    ls_join *j = NULL;
    const ls_encoding e = {.codec = "libx264", .preset = "veryfast", .crf = 18, .like = video};
    const ls_join_settings s = {.path = media_path(path, name),
                                .audio = audio,
                                .audio_stream = -1,
                                .facts = facts,
                                .delay = segment.delay,
                                .encoding = &e};
    int ret = ls_join_open(&j, &s, &err);
    if (!ret)
        ret = ls_join_add(j, media_path(nut, "s.nut"), segment.frames, NULL, &err);
    if (!ret)
        ret = ls_join_finish(j, &err);
    if (ret)
        fail_msg("%s with %s: %s", name, audio, err.message);
    const char *mode = ls_join_audio_mode(j);
    ls_join_close(&j);
    return mode;
}

#define FROM_CHIRP "-i chirp.wav "
/* Time stamps that leave half a second out from the packet `n` on. */
#define HOLE_FROM(n) "-c copy -bsf:a \"setts=ts='TS+if(gte(N," n "),0.5/TB,0)'\" "
#define LATE "-i v.mp4 -itsoffset 0.3 -i chirp.wav -map 0:v -map 1:a "

static void heard_where_a_player_puts_it(void **state)
{
    (void)state;
    static const struct {
        const char *name, *options;
        double after; /* s that the chirp is later than in chirp.wav */
    } cases[] = {
        {"plain.wav", FROM_CHIRP, 0},
        {"mono.mp3", FROM_CHIRP "-ar 44100", 0},
        {"low.mp3", FROM_CHIRP "-ar 22050", 0},
        {"aac.m4a", FROM_CHIRP, 0},
        {"alac.m4a", FROM_CHIRP "-c:a alac", 0},
        {"opus.mp4", FROM_CHIRP "-c:a libopus", 0},
        {"mp3.mp4", FROM_CHIRP "-c:a libmp3lame", 0},
        {"voice.opus", FROM_CHIRP, 0},
        {"opus.webm", FROM_CHIRP "-c:a libopus", 0},
        {"opus.mka", FROM_CHIRP "-c:a libopus", 0},
        {"vorbis.ogg", FROM_CHIRP "-c:a libvorbis", 0},
        {"vorbis.webm", FROM_CHIRP "-c:a libvorbis", 0},
        {"mp3.mka", FROM_CHIRP "-c:a libmp3lame", 0.023},
        {"aac.mka", FROM_CHIRP "-c:a aac", 0.021},
        {"adts.aac", FROM_CHIRP, 0.021},
        {"plain.flac", FROM_CHIRP, 0},
        {"flac.mka", FROM_CHIRP "-c:a flac", 0},
        {"pcm.mov", FROM_CHIRP "-c:a pcm_s16le", 0},
        {"mp2.ts", FROM_CHIRP "-output_ts_offset 7", 0.01},
        {"aac.ts", FROM_CHIRP "-c:a aac", 0.021},
        // pictures before the sound
        {"late.mp4", LATE, 0.3},
        {"late.mkv", LATE "-c:a libopus", 0.3},
        {"late.ts", LATE "-c:a mp2", 0.31},
        {"pictures.mp4", "-i v.mp4 -i chirp.wav", 0},
        {"pictures.ts", "-i v.mp4 -i chirp.wav -c:a mp2", 0.01},
        // holes
        {"hole.mka",
         FROM_CHIRP "-c:a pcm_s16le p.mka && ffmpeg -v error -nostdin -y -i p.mka " HOLE_FROM("5"),
         0.5},
        {"hole.m4a", "-i aac.m4a " HOLE_FROM("10"), 0.5},
        {"hole.mp3.mka", "-i mp3.mka " HOLE_FROM("9"), 0.523},
        // edit lists and their like
        {"cut.m4a", "-ss 0.25 -i aac.m4a -c copy", -0.25},
        {"cut.mov", "-ss 0.4 -i pcm.mov -c copy", -0.4},
        {"cut.mp4", "-ss 0.3 -i late.mp4 -c copy", 0},
        {"cut.opus.mp4", "-ss 0.25 -i opus.mp4 -c copy", -0.25},
    };
    static const char *const containers[] = {"o.mp4", "o.mkv", "o.mov"};
    char path[4096], out[4096];
    int failed = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_sound_facts facts;
        media_run("ffmpeg -v error -nostdin -y %s %s", cases[i].options, cases[i].name);
        media_path(path, cases[i].name);
        const double want = heard_at(path, false), got = followed_at(path, &facts);
        print_message("# %-14s %.4f, %+.2f ms", cases[i].name, want, 1000 * (got - want));
        failed += fabs(got - want) > CLOSE || fabs(want - 0.7 - cases[i].after) > 0.05;
        for (size_t c = 0; c < (i % 3 ? 2 : 3); c++) { // .mov is much like .mp4
            const char *mode = write_output(out, containers[c], path, &facts);
            const double there = heard_at(out, true);
            print_message(", %s %s %+.2f", containers[c] + 2, mode, 1000 * (there - want));
            failed += fabs(there - want) > CLOSE;
            unlink(out);
        }
        print_message(", lasts %.4f\n", facts.seconds);
    }
    assert_int_equal(failed, 0);
}

/* Gives a file with an edit list another one: so many samples from `media_time` on. */
static void edit(const char *name, uint32_t media_time, uint32_t milliseconds)
{
    char path[4096];
    size_t size;
    uint8_t *data = test_read(media_path(path, name), &size), *at = data;
    while (at + 24 < data + size && memcmp(at, "elst", 4))
        at++;
    assert_true(at + 24 < data + size);
    for (int i = 0; i < 4; i++) {
        at[12 + i] = (uint8_t)(milliseconds >> (24 - 8 * i));
        at[16 + i] = (uint8_t)(media_time >> (24 - 8 * i));
    }
    test_write(path, data, size);
    free(data);
}

/* What an edit list hides may be private: it is not in the output, not even hidden. */
static void hidden_sound_is_gone(void **state)
{
    (void)state;
    static const struct {
        uint32_t from, milliseconds;
    } edits[] = {{1024 + 38400, 700}, {1024, 600}}; // past the chirp, and up to before it
    static const char *const containers[] = {"o.mp4", "o.mkv", "o.mov"};
    char path[4096], out[4096];
    media_run("ffmpeg -v error -nostdin -y " FROM_CHIRP "-c:a aac h.m4a");
    for (size_t i = 0; i < 2; i++) {
        ls_error err = {0};
        ls_sound_facts facts;
        edit("h.m4a", edits[i].from, edits[i].milliseconds);
        const ls_sound_settings s = sound_of(media_path(path, "h.m4a"));
        assert_int_equal(ls_sound_scan(&facts, &s, &err), 0);
        if (fabs(facts.seconds - edits[i].milliseconds / 1000.0) > 0.025)
            fail_msg("lasts %f", facts.seconds);
        for (size_t c = 0; c < 3; c++) {
            char line[4096];
            write_output(out, containers[c], path, &facts);
            const double db =
                atof(media_line(line,
                                "ffmpeg -nostdin %s -i '%s' -map 0:a -af volumedetect -f null - "
                                "2>&1 | sed -n 's/.*max_volume: //p'",
                                strstr(out, ".mkv") ? "" : "-ignore_editlist 1", out));
            if (db > -60)
                fail_msg("%s: hidden sound is there, %s", out, line);
            unlink(out);
        }
    }
}

static void scan(const char *path, ls_sound_facts *facts, media_log *heard)
{
    ls_error err = {0};
    ls_log log = {LS_LOG_INFO, media_log_write, heard};
    ls_sound_settings s = sound_of(path);
    *heard = (media_log){0};
    s.log = &log;
    if (ls_sound_scan(facts, &s, &err))
        fail_msg("%s", err.message);
}

static void clocks_that_jump_are_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *shift; /* of the time stamps of packet N */
        int warnings;
        double seconds;
    } cases[] = {
        {"if(gte(N,30),36000/TB,0)", 1, 1.5}, // ten hours ahead
        {"if(eq(N,30),36000/TB,0)", 0, 1.5},  // one packet of them
        {"if(lt(N,30),0.6/TB,0)", 0, 0.9},    // an overlap
        {"if(eq(N,30),0.05/TB,0)", 0, 1.5},   // a guess of a demuxer
        {"if(gte(N,30),100/TB,0)", 0, 101.5}, // a pause
        {"if(gte(N,30),0.001/TB,0)", 0, 1.5}, // rounding
    };
    char path[4096];
    media_run("ffmpeg -v error -nostdin -y " FROM_CHIRP "-c:a flac -frame_size 1024 k.mka");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ls_sound_facts facts;
        media_log heard;
        const char *one = strstr(cases[i].shift, "eq("); // the muxer would mend those after it
        media_run("ffmpeg -v error -nostdin -y -i k.mka -c copy -bsf:a \"setts=%s+%s'\" j.mka",
                  one ? "pts='PTS" : "ts='TS", cases[i].shift);
        scan(media_path(path, "j.mka"), &facts, &heard);
        if (heard.warnings != cases[i].warnings || fabs(facts.seconds - cases[i].seconds) > 0.005)
            fail_msg("%s: %d warnings, %f s, %s", cases[i].shift, heard.warnings, facts.seconds,
                     heard.last);
    }
}

/* Recordings in one file after another, each with a clock of its own. */
static void clocks_that_start_anew_go_on(void **state)
{
    (void)state;
    char path[4096];
    ls_sound_facts one, both;
    media_log heard;
    media_run("ffmpeg -v error -nostdin -y " FROM_CHIRP
              "-t 0.8 -c:a mp2 one.ts && cat one.ts one.ts > "
              "both.ts");
    scan(media_path(path, "one.ts"), &one, &heard);
    assert_int_equal(heard.warnings, 0);
    scan(media_path(path, "both.ts"), &both, &heard);
    assert_int_equal(heard.warnings, 1);
    if (fabs(both.seconds - 2 * one.seconds) > 0.05)
        fail_msg("%f s and twice %f", both.seconds, one.seconds);
}

static void damage_is_silent(void **state)
{
    (void)state;
    char path[4096];
    size_t size;
    ls_sound_facts facts;
    media_log heard;
    media_run("ffmpeg -v error -nostdin -y " FROM_CHIRP
              "-f lavfi -i anoisesrc=d=1.5:a=0.02:r=48000:seed=1 -filter_complex amix "
              "-c:a flac -frame_size 1024 d.mka");
    scan(media_path(path, "d.mka"), &facts, &heard);
    assert_int_equal(heard.warnings, 0);
    assert_true(facts.is_plain);
    uint8_t *data = test_read(path, &size);
    const uint8_t header[] = {0xff, 0xf8, 0xaa}; // of a frame; two of them are lost
    int places = 0;
    for (size_t at = size / 4; at + 16 < size && places < 2; at++)
        if (!memcmp(data + at, header, sizeof header)) {
            memset(data + at, 0, 12);
            places++;
            at = 3 * size / 5;
        }
    assert_int_equal(places, 2);
    test_write(path, data, size);
    free(data);
    scan(path, &facts, &heard);
    assert_int_equal(heard.warnings, 1);
    if (!strstr(heard.last, "d.mka is damaged in 2 places") || facts.is_plain ||
        fabs(facts.seconds - 1.5) > 0.002)
        fail_msg("%s; %f s", heard.last, facts.seconds);
    assert_true(fabs(followed_at(path, &facts) - 0.7) < CLOSE);
}

/* Silence before the recording, or a part of it left out. */
static void offsets_move_all(void **state)
{
    (void)state;
    static const double offsets[] = {0.25, -0.25, 0.0104, -0.69};
    char path[4096], out[4096];
    media_run("ffmpeg -v error -nostdin -y " FROM_CHIRP "-c:a aac a.m4a");
    media_path(path, "a.m4a");
    for (size_t i = 0; i < 4; i++) {
        ls_error err = {0};
        ls_sound_facts facts;
        char nut[4096];
        ls_join *j = NULL;
        ls_sound_settings s = sound_of(path);
        s.offset = offsets[i];
        assert_int_equal(ls_sound_scan(&facts, &s, &err), 0);
        assert_true(fabs(facts.seconds - 1.5 - offsets[i]) < 0.0001 && !facts.is_plain);
        const ls_encoding e = {.codec = "libx264", .preset = "veryfast", .crf = 18, .like = video};
        const ls_join_settings js = {.path = media_path(out, "o.mp4"),
                                     .audio = path,
                                     .audio_stream = -1,
                                     .facts = &facts,
                                     .offset = offsets[i],
                                     .delay = segment.delay,
                                     .encoding = &e};
        assert_int_equal(ls_join_open(&j, &js, &err), 0);
        assert_int_equal(ls_join_add(j, media_path(nut, "s.nut"), segment.frames, NULL, &err), 0);
        assert_int_equal(ls_join_finish(j, &err), 0);
        ls_join_close(&j);
        const double at = heard_at(out, true);
        if (fabs(at - 0.7 - offsets[i]) > CLOSE)
            fail_msg("offset %f: %f", offsets[i], at);
        unlink(out);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heard_where_a_player_puts_it),
        cmocka_unit_test(hidden_sound_is_gone),
        cmocka_unit_test(clocks_that_jump_are_wrong),
        cmocka_unit_test(clocks_that_start_anew_go_on),
        cmocka_unit_test(damage_is_silent),
        cmocka_unit_test(offsets_move_all),
    };
    return cmocka_run_group_tests_name("media_sound", tests, make_pictures, remove_pictures);
}
