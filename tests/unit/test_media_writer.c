/* Names of outputs, and what must not be in them. */
#include "media.h"

#include "media/codecs.h"
#include "media/join.h"
#include "media/segment.h"

static void write_five_frames(const char *out, const char *codec)
{
    char video[4096], audio[4096];
    ls_error err = {0};
    ls_video *v = NULL;
    ls_segment *g = NULL;
    ls_join *w = NULL;
    ls_frame *f;
    ls_segment_info info;
    int ret = ls_video_open(&v, media_path(video, "v.mp4"), &(ls_video_settings){0}, &err);
    const ls_encoding e = {codec, "veryfast", 30, v, NULL};
    if (!ret)
        ret = ls_segment_open(&g, "a: segment.nut", &e, &err);
    for (int i = 0; !ret && i < 5; i++) {
        ret = ls_video_next(v, &f, &err);
        if (!ret)
            ret = ls_segment_write(g, f, &err);
        ls_frame_unref(&f);
    }
    if (!ret)
        ret = ls_segment_finish(g, &info, &err);
    const ls_join_settings s = {
        .path = out, .audio = media_path(audio, "a.wav"), .delay = info.delay, .encoding = &e};
    if (!ret)
        ret = ls_join_open(&w, &s, &err);
    if (!ret)
        ret = ls_join_add(w, "a: segment.nut", 5, NULL, &err);
    if (!ret)
        ret = ls_join_finish(w, &err);
    if (ret)
        fail_msg("%s: %s", out, err.message);
    ls_segment_close(&g);
    ls_join_close(&w);
    ls_video_close(&v);
}

static int setup(void **state)
{
    if (media_setup(state) || chdir(media_dir))
        return -1;
    media_run("ffmpeg -v error -nostdin -f lavfi -i testsrc2=s=96x64:d=1 -c:v libx264 v.mp4 && "
              "ffmpeg -v error -nostdin -f lavfi -i sine=d=1 a.wav");
    return 0;
}

/* mp4 is read a second time by its name when it is finished. */
static void a_name_is_a_file_whatever_it_holds(void **state)
{
    (void)state;
    static const char *const names[] = {"a:b.mp4", "pipe:1.mkv", "-x %d.mov", "ü, [1].mp4"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char line[4096];
        write_five_frames(names[i], "libx264");
        media_line(line,
                   "ffprobe -v error -count_packets -select_streams v -show_entries "
                   "stream=nb_read_packets -of csv=p=0 'file:%s'",
                   names[i]);
        assert_int_equal(atoi(line), 5);
        assert_int_equal(unlink(names[i]), 0);
    }
}

/* x265 writes the CPU's features and its threads into the stream unless told otherwise. */
static void no_machine_is_named(void **state)
{
    (void)state;
    char line[4096];
    write_five_frames("o.mp4", "libx265");
    assert_string_equal(media_line(line, "grep -c -a -E 'cpuid|x265|Lavf' o.mp4"), "0");
}

int main(void)
{
    ls_media_show_libav_messages(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_name_is_a_file_whatever_it_holds),
        cmocka_unit_test(no_machine_is_named),
    };
    return cmocka_run_group_tests_name("media_writer", tests, setup, media_teardown);
}
