/* The decoder's timeline against `ffmpeg -r`, frame by frame; and what it says of bad files. */
#include "media.h"

#include "media/codecs.h"
#include "media/video.h"

static const ls_video_settings quiet = {.threads = 2};

/* Every frame equals the one of ffmpeg's rawvideo output, and there are as many. */
static uint64_t same_as_ffmpeg(const char *path, const char *options)
{
    ls_video *v;
    ls_error err = {0};
    if (ls_video_open(&v, path, &quiet, &err))
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

static void real_files_at_25_fps(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int frames;
    } files[] = {
        {"media/demo1_video.mp4", 250},
        {"media/retalking_face_2.mp4", 125},
        {"media/odd/bt709_full_range.mp4", 27},
        {"media/odd/h264_10bits.mp4", 27},
        {"media/odd/mkv_sample_with_htc_rotation_track_name.mkv", 26},
        {"media/odd/mp4_hdr10-video-with-sdr-container.mp4", 27},
        {"media/odd/mp4_midroll-5s.mp4", 125},
        {"media/odd/mp4_sample_android_slow_motion.mp4", 14},
        {"media/odd/mp4_sample_fragmented.mp4", 28},
        {"media/odd/mp4_sample_mdat_too_long.mp4", 27},
        {"media/odd/mp4_sample_with_color_info.mp4", 9},
        {"media/odd/nasa_13013.mp4", 327},
        {"media/odd/ts_sample_h264_mpeg_audio.ts", 3},
        {"media/odd/vp9_bear-vp9-odd-dimensions.webm", 27},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        test_shared(path, files[i].name);
        assert_int_equal(same_as_ffmpeg(path, "-r 25"), files[i].frames);
    }
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
         "-vf select='not(between(n\\,20\\,70))' -vsync vfr -c:v libx264 -pix_fmt yuv420p m.mkv"},
        {"30", "4",
         "-vf select='gt(random(1)\\,0.6)' -vsync vfr -c:v libx264 -pix_fmt yuv420p m.mp4"},
        {"30", "4",
         "-vf setpts=\"N/30/TB+0.02*random(1)/TB\" -vsync vfr -enc_time_base 1:90000 "
         "-c:v libx264 -pix_fmt yuv420p m.mp4"},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof made / sizeof *made; i++) {
        media_run(PATTERN "%s", made[i].rate, made[i].seconds, made[i].options);
        media_path(path, strrchr(made[i].options, ' ') + 1);
        print_message("# %s\n", made[i].options);
        same_as_ffmpeg(path, "-r 25");
    }
}

int main(void)
{
    ls_media_show_libav_messages(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_files_at_25_fps),
        cmocka_unit_test(made_files_at_25_fps),
    };
    return cmocka_run_group_tests_name("media_timeline", tests, media_setup, media_teardown);
}
