/* Files cut short and with flipped bits: decoded or refused with a message, always to an end. */
#include "media.h"

#include "media/codecs.h"
#include "media/pcm.h"
#include "media/video.h"

#define MAX_FRAMES 400 /* a broken time stamp may repeat a frame up to ffmpeg's own limit */

static uint32_t next_random(uint32_t *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 17;
    return *s ^= *s << 5;
}

/* Frames decoded, or -1 where the file is refused. */
static int watch(const char *path)
{
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    int n = 0, ret = ls_video_open(&v, path, &(ls_video_settings){.threads = 1}, &err);
    if (ret) {
        assert_null(v);
        if (ret >= 0 || err.code != ret || !strstr(err.message, path))
            fail_msg("%d: %s", ret, err.message);
        return -1;
    }
    const ls_video_info info = *ls_video_get_info(v);
    for (; n < MAX_FRAMES && !(ret = ls_video_next(v, &f, &err)); n++) {
        ls_picture p = ls_frame_picture(f);
        assert_int_equal(p.w, info.width);
        assert_int_equal(p.h, info.height);
        ls_frame_unref(&f);
    }
    assert_true(n == MAX_FRAMES || ret == LS_EOF || err.message[0]);
    ls_video_close(&v);
    return n;
}

/* Samples, or -1. */
static long listen_to(const char *path)
{
    ls_error err = {0};
    ls_pcm *p;
    int ret = ls_pcm_open(&p, &(ls_sound_settings){.path = path, .stream = -1}, NULL, &err);
    if (ret) {
        assert_null(p);
        if (ret >= 0 || err.code != ret || !strstr(err.message, path))
            fail_msg("%d: %s", ret, err.message);
        return -1;
    }
    long n = (long)ls_pcm_samples(p);
    int16_t last;
    assert_true(n > 0);
    assert_int_equal(ls_pcm_read(p, (uint64_t)n - 1, 1, &last, &err), 0);
    assert_int_equal(ls_pcm_read(p, (uint64_t)n, 1, &last, &err), LS_EINVAL);
    ls_pcm_close(&p);
    return n;
}

static const struct {
    const char *name, *options;
    bool video;
} files[] = {
    {"v.mp4", "-f lavfi -i testsrc2=s=96x64:d=1 -c:v libx264 -movflags +faststart", true},
    {"v.mkv", "-f lavfi -i testsrc2=s=96x64:d=1 -c:v mpeg4 -g 5", true},
    {"v.webm", "-f lavfi -i testsrc2=s=96x64:d=1 -c:v libvpx-vp9 -deadline realtime", true},
    {"v.ts", "-f lavfi -i testsrc2=s=96x64:d=1 -c:v mpeg2video", true},
    {"v.avi", "-f lavfi -i testsrc2=s=96x64:d=1 -c:v mjpeg -pix_fmt yuvj420p", true},
    {"a.wav", "-f lavfi -i sine=d=1 -c:a adpcm_ima_wav", false},
    {"a.flac", "-f lavfi -i sine=d=1", false},
    {"a.mp3", "-f lavfi -i sine=d=1", false},
    {"a.m4a", "-f lavfi -i sine=d=1 -c:a aac -movflags +faststart", false},
    {"a.ogg", "-f lavfi -i sine=d=1 -c:a libopus -page_duration 20000", false},
};

static uint8_t *make(size_t i, const char *path, size_t *size)
{
    media_run("ffmpeg -v error -nostdin -y %s -fflags +bitexact %s", files[i].options,
              files[i].name);
    assert_true(files[i].video ? watch(path) >= 25 : listen_to(path) >= 16000);
    return test_read(path, size);
}

static long decode(size_t i, const char *path)
{
    return files[i].video ? watch(path) : listen_to(path);
}

static void cut_files_end(void **state)
{
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        uint8_t *data = make(i, media_path(path, files[i].name), &size);
        long whole = decode(i, path);
        for (size_t k = 0; k < 16; k++) {
            test_write(path, data, size * k / 16);
            long n = decode(i, path);
            if (!k)
                assert_int_equal(n, -1);
            if (n > whole)
                fail_msg("%s: %ld of %ld from a part of the file", files[i].name, n, whole);
            if (k == 12 && n < whole / 4)
                fail_msg("%s: %ld of %ld from three quarters", files[i].name, n, whole);
        }
        free(data);
    }
}

static void flipped_bits_do_no_harm(void **state)
{
    (void)state;
    char path[4096];
    uint32_t random = 2463534242u;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        size_t size;
        uint8_t *data = make(i, media_path(path, files[i].name), &size);
        int decoded = 0;
        for (int k = 0; k < 40; k++) {
            uint8_t *hurt = malloc(size);
            assert_non_null(hurt);
            memcpy(hurt, data, size);
            size_t near = k % 2 ? size : size < 1500 ? size : 1500; /* headers in every second */
            for (int b = 0; b < 1 + k / 4; b++)
                hurt[next_random(&random) % near] ^= (uint8_t)(1u << next_random(&random) % 8);
            test_write(path, hurt, size);
            decoded += decode(i, path) > 0;
            free(hurt);
        }
        if (decoded < 5)
            fail_msg("%s: only %d of 40 files gave anything", files[i].name, decoded);
        free(data);
    }
}

/* A picture of more pixels than any machine should be asked to hold, told by a small file. */
static void giant_pictures_are_refused(void **state)
{
    (void)state;
    char path[4096];
    media_run("ffmpeg -v error -nostdin -y -f lavfi -i color=s=64x64:d=0.04 -c:v png g.png && "
              "python3 -c \"import zlib\nd=bytearray(open('g.png','rb').read())\n"
              "d[16:24]=(65500).to_bytes(4,'big')*2\n"
              "d[29:33]=zlib.crc32(bytes(d[12:29])).to_bytes(4,'big')\n"
              "open('g.png','wb').write(d)\"");
    assert_int_equal(watch(media_path(path, "g.png")), -1);
}

int main(void)
{
    ls_media_show_libav_messages(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cut_files_end),
        cmocka_unit_test(flipped_bits_do_no_harm),
        cmocka_unit_test(giant_pictures_are_refused),
    };
    return cmocka_run_group_tests_name("media_damage", tests, media_setup, media_teardown);
}
