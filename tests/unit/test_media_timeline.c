/* The decoder's timeline against `ffmpeg -r`, frame by frame; and what it says of bad files. */
#include "ffmpeg.h"
#include "media.h"

#include "media/codecs.h"
#include "media/video.h"

#include <inttypes.h>
#include <math.h>
#include <libavutil/adler32.h>

static const ls_video_settings quiet = {.threads = 2};

/* Every frame equals the one of ffmpeg's rawvideo output, and there are as many. */
static uint64_t same_as_ffmpeg(const char *path, const char *options)
{
    ls_video *v;
    ls_error err = {0};
    ls_video_settings s = quiet;
    s.source_fps = !strstr(options, "-r 25");
    if (ls_video_open(&v, path, &s, &err))
        fail_msg("%s", err.message);
    FILE *p = media_pipe("ffmpeg -v quiet -nostdin -i '%s' -an %s -f rawvideo -", path, options);
    uint64_t n = 0;
    uint8_t *other = NULL;
    int ret;
    for (ls_frame *f; !(ret = ls_video_next(v, &f, &err)); n++) {
        assert_int_equal(ls_video_position(v), n + 1);
        size_t bytes;
        uint8_t *own = media_pack(f, &bytes);
        other = realloc(other, bytes);
        if (fread(other, 1, bytes, p) != bytes)
            fail_msg("%s: ffmpeg ends before frame %d", path, (int)n);
        if (memcmp(own, other, bytes))
            fail_msg("%s: frame %d differs", path, (int)n);
        free(own);
        ls_frame_unref(&f);
    }
    if (ret != LS_EOF)
        fail_msg("%s", err.message);
    assert_int_equal(ls_video_next(v, &(ls_frame *){NULL}, &err), LS_EOF);
    if (fgetc(p) != EOF)
        fail_msg("%s: ffmpeg has more than %d frames", path, (int)n);
    pclose(p);
    free(other);
    ls_video_close(&v);
    assert_null(v);
    return n;
}

static uint64_t at_25_fps(const char *path)
{
    if (ffmpeg_has_our_rules())
        return same_as_ffmpeg(path, "-r 25");
    print_message("# only counted: this ffmpeg converts frame rates by other rules\n");
    ls_video *v;
    ls_error err = {0};
    if (ls_video_open(&v, path, &quiet, &err) || ls_video_seek(v, UINT64_MAX, &err) != LS_EOF)
        fail_msg("%s", err.message);
    const uint64_t n = ls_video_length(v);
    ls_video_close(&v);
    return n;
}

/* `-an` and a test pattern in which every frame differs. */
#define PATTERN "ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=s=160x96:r=%s:d=%s "

static void made_files_at_25_fps(void **state)
{
    (void)state;
    static const struct {
        const char *rate, *seconds, *options;
    } made[] = {
        {"25", "2", "-c:v libx264 -pix_fmt yuv420p m.mp4"},
        {"24000/1001", "3", "-c:v libx264 -pix_fmt yuv420p m.mp4"},
        {"60", "2", "-c:v libx264 -pix_fmt yuv420p -bf 3 m.mkv"},
        {"10", "3", "-c:v libx264 -pix_fmt yuv422p m.mp4"},
        {"30", "1", "-c:v libx264 -pix_fmt yuv444p10 m.mkv"},
        {"25", "1", "-c:v ffv1 -pix_fmt yuv422p16le m.mkv"},
        {"25", "1", "-c:v ffv1 -pix_fmt yuv444p12le m.mkv"},
        {"25", "0.04", "-c:v libx264 -pix_fmt yuv420p m.mp4"},
        {"30", "2", "-c:v mpeg4 -q:v 4 m.avi"},
        {"30", "2", "-c:v mpeg2video -q:v 4 -bf 2 m.ts"},
        {"30", "2", "-c:v libx264 -pix_fmt yuv420p m.h264"},
        {"29.97", "2", "-c:v libx264 -pix_fmt yuv420p -output_ts_offset 3.21 m.ts"},
        {"30", "2", "-c:v libx264 -pix_fmt yuv420p -output_ts_offset 1.017 m.mkv"},
        {"30", "4",
         "-vf select='not(between(n\\,20\\,70))' -fps_mode vfr -c:v libx264 -pix_fmt yuv420p "
         "m.mkv"},
        {"30", "4",
         "-vf select='gt(random(1)\\,0.6)' -fps_mode vfr -c:v libx264 -pix_fmt yuv420p m.mp4"},
        {"30", "4",
         "-vf setpts=\"N/30/TB+0.02*random(1)/TB\" -fps_mode vfr -enc_time_base 1:90000 "
         "-c:v libx264 -pix_fmt yuv420p m.mp4"},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        media_run(PATTERN "%s", made[i].rate, made[i].seconds, made[i].options);
        media_path(path, strrchr(made[i].options, ' ') + 1);
        print_message("# %s\n", made[i].options);
        at_25_fps(path);
    }
}

static void turned_as_the_file_asks(void **state)
{
    (void)state;
    static const char *const turn[] = {ROTATE("plain.mp4", "90", "turned.mov"),
                                       ROTATE("plain.mp4", "180", "turned.mov"),
                                       ROTATE("plain.mp4", "270", "turned.mov")};
    char path[4096];
    for (size_t i = 0; i < sizeof turn / sizeof *turn; i++) {
        media_run(PATTERN "-c:v libx264 -pix_fmt yuv420p plain.mp4 && %s", "25", "0.4", turn[i]);
        media_path(path, "turned.mov");
        assert_int_equal(same_as_ffmpeg(path, "-r 25"), 10);
    }
    /* libav* cannot write a mirroring matrix, so one is put where the identity was. */
    static const struct {
        const char *a, *b, *c, *d, *filter;
    } mirrors[] = {{"-1", "0", "0", "1", "hflip"},
                   {"1", "0", "0", "-1", "vflip"},
                   {"0", "1", "1", "0", "transpose=0"},
                   {"0", "-1", "-1", "0", "transpose=3"}};
    for (size_t i = 0; i < sizeof mirrors / sizeof *mirrors; i++) {
        media_run("python3 -c \"import struct; d=bytearray(open('plain.mp4','rb').read()); "
                  "m=struct.pack('>9i',65536,0,0,0,65536,0,0,0,1<<30); i=d.rindex(m); "
                  "d[i:i+36]=struct.pack('>9i',%s<<16,%s<<16,0,%s<<16,%s<<16,0,0,0,1<<30); "
                  "open('mirrored.mp4','wb').write(d)\"",
                  mirrors[i].a, mirrors[i].b, mirrors[i].c, mirrors[i].d);
        char options[64];
        snprintf(options, sizeof options, "-r 25 -vf %s", mirrors[i].filter);
        ls_error err = {0};
        ls_video *v;
        ls_frame *f;
        media_path(path, "mirrored.mp4");
        assert_int_equal(ls_video_open(&v, path, &quiet, &err), 0);
        assert_int_equal(ls_video_next(v, &f, &err), 0);
        size_t bytes;
        uint8_t *own = media_pack(f, &bytes), *other = malloc(bytes);
        FILE *p = media_pipe("ffmpeg -v quiet -nostdin -noautorotate -i mirrored.mp4 %s -f "
                             "rawvideo -",
                             options);
        assert_int_equal(fread(other, 1, bytes, p), bytes);
        pclose(p);
        if (memcmp(own, other, bytes))
            fail_msg("%s", mirrors[i].filter);
        free(own);
        free(other);
        ls_frame_unref(&f);
        ls_video_close(&v);
    }
}

static void source_fps_gives_each_frame_once(void **state)
{
    (void)state;
    char path[4096];
    media_run(PATTERN "-c:v libx264 -pix_fmt yuv420p m.mp4", "24000/1001", "3");
    ls_error err = {0};
    ls_video *v;
    media_path(path, "m.mp4");
    assert_int_equal(same_as_ffmpeg(path, ""), 72);
    assert_int_equal(ls_video_open(&v, path, &(ls_video_settings){.source_fps = true}, &err), 0);
    const ls_video_info *i = ls_video_get_info(v);
    assert_int_equal(i->fps_num, 24000);
    assert_int_equal(i->fps_den, 1001);
    assert_int_equal(i->frames, 72);
    ls_video_close(&v);
}

/* The times of its frames as ffprobe has them, from the start of the file or of the only stream. */
static void same_times_as_ffprobe(const char *path, bool alone)
{
    ls_video *v;
    ls_error err = {0};
    if (ls_video_open(&v, path, &(ls_video_settings){.source_fps = true}, &err))
        fail_msg("%s", err.message);
    const ls_times *t = ls_video_times(v);
    if (!t)
        fail_msg("%s: a constant rate", path);
    double start = 0;
    FILE *p = media_pipe("ffprobe -v error -show_entries format=start_time -of csv=p=0 '%s'", path);
    assert_int_equal(fscanf(p, "%lf", &start), 1);
    pclose(p);
    p = media_pipe("ffprobe -v error -select_streams v -show_entries frame=pts -of csv=p=0 '%s'",
                   path);
    const AVRational tb = ls_times_base(t);
    char line[200];
    int64_t pts, first = 0;
    uint64_t n = 0;
    while (fgets(line, sizeof line, p)) {
        if (sscanf(line, "%" SCNd64, &pts) != 1) // of side data
            continue;
        first = n ? first : alone ? pts : llrint(start * tb.den / tb.num);
        if (ls_times_at(t, n) != (n ? pts - first : 0))
            fail_msg("%s: frame %d at %d instead of %d", path, (int)n, (int)ls_times_at(t, n),
                     (int)(pts - first));
        n++;
    }
    pclose(p);
    assert_int_equal(ls_times_frames(t), n);
    assert_int_equal(ls_video_get_info(v)->frames, n);
    ls_video_close(&v);
}

static uint32_t sum_of(const ls_frame *f)
{
    size_t bytes;
    uint8_t *packed = media_pack(f, &bytes);
    const uint32_t sum = av_adler32_update(1, packed, bytes);
    free(packed);
    return sum;
}

/* Any frame is found again, whatever its time. */
static void seeks_lead_to_frames(const char *path)
{
    static const int places[] = {50, 3, 33, 32, 0, 57, 34};
    uint32_t sums[60];
    ls_video *v;
    ls_frame *f;
    ls_error err = {0};
    if (ls_video_open(&v, path, &(ls_video_settings){.source_fps = true}, &err))
        fail_msg("%s", err.message);
    int n = 0;
    for (; n < 60 && !ls_video_next(v, &f, &err); n++) {
        sums[n] = sum_of(f);
        ls_frame_unref(&f);
    }
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (places[i] >= n)
            continue;
        assert_int_equal(ls_video_seek(v, (uint64_t)places[i], &err), 0);
        assert_int_equal(ls_video_next(v, &f, &err), 0);
        assert_int_equal(sum_of(f), sums[places[i]]);
        ls_frame_unref(&f);
    }
    ls_video_close(&v);
}

/* Where times vary every frame is given once, with the time that the file has for it. */
static void varying_times_give_each_frame_once(void **state)
{
    (void)state;
#define UNEVEN                                                                                     \
    "-vf 'settb=1/90000,setpts=N*3000+600*mod(N*7\\,4)' -enc_time_base 1/90000 -fps_mode "         \
    "passthrough "
#define H264 "-c:v libx264 -preset fast -g 20 -bf 2 -pix_fmt yuv420p "
    static const struct {
        const char *file, *make;
        bool alone;
    } cases[] = {
        {"phone.mp4", PATTERN UNEVEN H264 "-video_track_timescale 90000 phone.mp4", true},
        {"hole.mkv",
         PATTERN "-vf 'select=not(between(n\\,20\\,30))' -fps_mode passthrough " H264 "hole.mkv",
         true},
        {"phone.ts", PATTERN UNEVEN H264 "phone.ts", true},
        {"edited.mp4",
         PATTERN UNEVEN H264 "-video_track_timescale 90000 w.mp4 && ffmpeg -v error -nostdin -y "
                             "-ss 0.45 -i w.mp4 -c copy edited.mp4",
         true},
        {"late.mkv",
         PATTERN UNEVEN H264 "w.mkv && ffmpeg -v error -nostdin -y -f lavfi -i sine=d=2 -itsoffset "
                             "0.5 -i w.mkv -map 0 -map 1 -c:v copy late.mkv",
         false},
        {"slides.gif",
         PATTERN
         "-vf 'settb=1/100,setpts=N*5+3*mod(N*7\\,4)' -enc_time_base 1/100 -fps_mode passthrough "
         "-f gif slides.gif",
         true},
        {"hidden.webm",
         PATTERN UNEVEN "-c:v libvpx -b:v 200k -auto-alt-ref 1 -lag-in-frames 16 hidden.webm",
         true},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media_run(cases[i].make, "30", "2");
        print_message("# %s\n", cases[i].file);
        same_times_as_ffprobe(media_path(path, cases[i].file), cases[i].alone);
        if (!strstr(path, ".gif")) // which becomes planar
            same_as_ffmpeg(path, "-fps_mode passthrough");
        seeks_lead_to_frames(path);
    }
}

static void source_fps_of_real_files(void **state)
{
    (void)state;
    char path[4096];
    assert_int_equal(same_as_ffmpeg(test_shared(path, "media/odd/bt709_full_range.mp4"), ""), 30);
    assert_int_equal(same_as_ffmpeg(test_shared(path, "media/odd/nasa_13013.mp4"), ""), 390);
}

/* Other formats become planar once; grey levels and colours stay near those of ffmpeg's own
 * conversion. */
static void other_formats_become_planar(void **state)
{
    (void)state;
    static const struct {
        const char *options, *nearest;
        unsigned depth;
    } made[] = {
        {"-pix_fmt rgb24 -c:v png -f mov m", "yuv444p", 8},
        {"-pix_fmt rgba -c:v qtrle -f mov m", "yuv444p", 8},
        {"-pix_fmt pal8 -f gif m", "yuv444p", 8},
        {"-pix_fmt yuv411p -c:v dvvideo -s 720x480 -r 30000/1001 -f avi m", "yuv422p", 8},
        {"-pix_fmt yuva420p -c:v libvpx-vp9 -f webm m", "yuv420p", 8},
        {"-pix_fmt gray -c:v ffv1 -f matroska m", "gray", 8},
        {"-pix_fmt gray10 -c:v ffv1 -f matroska m", "yuv420p10 -vf scale=out_range=pc", 10},
        {"-pix_fmt gbrp12 -c:v ffv1 -f matroska m", "yuv444p16", 16},
        {"-pix_fmt yuyv422 -c:v rawvideo -f avi m", "yuv422p", 8},
        {"-pix_fmt yuv420p9 -c:v ffv1 -f matroska m", "yuv420p9", 9},
    };
    char path[4096];
    media_path(path, "m");
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        media_run(PATTERN "%s", "25", "0.2", made[i].options);
        ls_error err = {0};
        ls_video *v;
        ls_frame *f;
        if (ls_video_open(&v, path, &quiet, &err) || ls_video_next(v, &f, &err))
            fail_msg("%s: %s", made[i].options, err.message);
        ls_picture pic = ls_frame_picture(f);
        assert_int_equal(pic.depth, made[i].depth);
        size_t bytes;
        uint8_t *own = media_pack(f, &bytes), *other = malloc(bytes);
        FILE *p = media_pipe("ffmpeg -v quiet -nostdin %s -i m -r 25 -pix_fmt %s -f rawvideo -",
                             strstr(made[i].options, "vp9") ? "-c:v vp9" : "", made[i].nearest);
        if (fread(other, 1, bytes, p) != bytes)
            fail_msg("%s: ffmpeg's frames are smaller", made[i].options);
        pclose(p);
        double sum = 0;
        size_t n = bytes / (pic.depth > 8 ? 2 : 1);
        for (size_t k = 0; k < n; k++)
            sum += pic.depth > 8
                       ? abs(((uint16_t *)(void *)own)[k] - ((uint16_t *)(void *)other)[k]) >>
                             (pic.depth - 8)
                       : abs(own[k] - other[k]);
        if (sum / (double)n > 1)
            fail_msg("%s: differs by %f a sample", made[i].options, sum / (double)n);
        free(own);
        free(other);
        ls_frame_unref(&f);
        ls_video_close(&v);
    }
}

static void changes_in_mid_stream_are_scaled(void **state)
{
    (void)state;
    media_run(PATTERN "-c:v libx264 -pix_fmt yuv420p a.h264 && " PATTERN
                      "-s 96x128 -c:v libx264 -pix_fmt yuv422p b.h264 && cat a.h264 b.h264 >m.h264",
              "25", "1", "25", "1");
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    char path[4096];
    assert_int_equal(ls_video_open(&v, media_path(path, "m.h264"), &quiet, &err), 0);
    int ret, n = 0;
    for (; !(ret = ls_video_next(v, &f, &err)); n++) {
        ls_picture p = ls_frame_picture(f);
        assert_int_equal(p.w, 160);
        assert_int_equal(p.h, 96);
        assert_int_equal(p.sub_y, 1);
        ls_frame_unref(&f);
    }
    assert_int_equal(ret, LS_EOF);
    assert_true(n >= 49);
    ls_video_close(&v);
}

static void damage_is_skipped_with_a_warning(void **state)
{
    (void)state;
    media_run(PATTERN "-c:v libx264 -g 5 whole.mp4 && python3 -c \""
                      "d=bytearray(open('whole.mp4','rb').read()); n=len(d)//2\n"
                      "for i in range(n,n+4000): d[i]=(i*7919)>>3&255\n"
                      "open('hurt.mp4','wb').write(d)\"",
              "25", "4");
    media_log log = {0};
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    char path[4096];
    const ls_log to = {LS_LOG_WARN, media_log_write, &log};
    assert_int_equal(
        ls_video_open(&v, media_path(path, "hurt.mp4"), &(ls_video_settings){.log = &to}, &err), 0);
    int ret, n = 0;
    for (; !(ret = ls_video_next(v, &f, &err)); n++)
        ls_frame_unref(&f);
    assert_int_equal(ret, LS_EOF);
    assert_in_range(n, 90, 101);
    ls_video_close(&v);
    assert_in_range(log.warnings, 1, 3);
    assert_non_null(strstr(log.last, "hurt.mp4"));
}

static void refuse(const char *path, int code, const char *word)
{
    ls_video *v = (ls_video *)(void *)path;
    ls_error err = {0};
    if (ls_video_open(&v, path, &quiet, &err) != code)
        fail_msg("%s: %s", path, err.message);
    assert_null(v);
    assert_int_equal(err.code, code);
    if (!strstr(err.message, word) || !strstr(err.message, strrchr(path, '/')))
        fail_msg("%s", err.message);
}

static void bad_files_are_refused(void **state)
{
    (void)state;
    char path[4096];
    media_run("touch empty.mp4; echo 'not a video, but text' >text.mp4");
    media_run(PATTERN "-c:v libx264 m.mp4; head -c 8000 m.mp4 >cut.mp4", "25", "2");
    refuse(media_path(path, "none.mp4"), LS_ENOENT, "No such file");
    refuse(media_path(path, "empty.mp4"), LS_EFORMAT, "empty");
    refuse(media_path(path, "text.mp4"), LS_EFORMAT, "not a video");
    refuse(media_path(path, "cut.mp4"), LS_EFORMAT, "cut off");
    refuse(media_dir, LS_EFORMAT, "directory");
    media_run("ffmpeg -v error -nostdin -y -f lavfi -i sine=d=1 speech.wav");
    refuse(media_path(path, "speech.wav"), LS_EFORMAT, "no video stream");
    /* a cover picture is no video */
    media_run(PATTERN "-frames:v 1 cover.png && ffmpeg -v error -nostdin -y -f lavfi -i "
                      "sine=d=1 -i cover.png -map 0 -map 1 -c:v copy -disposition:v attached_pic "
                      "-c:a flac song.flac",
              "25", "1");
    refuse(media_path(path, "song.flac"), LS_EFORMAT, "no video stream");
}

static void names_and_streams(void **state)
{
    (void)state;
    char path[4096];
    /* the larger picture wins */
    media_run(PATTERN "-f lavfi -i testsrc2=s=320x192:d=1 -map 0 -map 1 -c:v libx264 "
                      "-disposition:v 0 two.mkv && cp two.mkv 'a:b.mkv'",
              "25", "1");
    assert_int_equal(same_as_ffmpeg(media_path(path, "two.mkv"), "-r 25"), 25);
    /* a name with a colon is a name */
    ls_error err = {0};
    ls_video *v;
    char here[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(media_dir), 0);
    int ret = ls_video_open(&v, "a:b.mkv", &quiet, &err);
    assert_int_equal(chdir(here), 0);
    assert_int_equal(ret, 0);
    assert_int_equal(ls_video_get_info(v)->width, 320);
    ls_video_close(&v);
}

int main(void)
{
    ls_media_show_libav_messages(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_files_at_25_fps),
        cmocka_unit_test(turned_as_the_file_asks),
        cmocka_unit_test(source_fps_gives_each_frame_once),
        cmocka_unit_test(varying_times_give_each_frame_once),
        cmocka_unit_test(source_fps_of_real_files),
        cmocka_unit_test(other_formats_become_planar),
        cmocka_unit_test(changes_in_mid_stream_are_scaled),
        cmocka_unit_test(damage_is_skipped_with_a_warning),
        cmocka_unit_test(bad_files_are_refused),
        cmocka_unit_test(names_and_streams),
    };
    return cmocka_run_group_tests_name("media_timeline", tests, media_setup, media_teardown);
}
