/* PNG files, against what the ffmpeg programs read from them. */
#include "media.h"

#include "media/codecs.h"
#include "media/png.h"

#include <dirent.h>
#include <errno.h>
#include <sys/resource.h>
#include <signal.h>

static int setup(void **state)
{
    ls_media_show_libav_messages(false);
    return media_setup(state);
}

/* Noise in rows of `stride` bytes, of which the last are not pixels. free() it. */
static uint8_t *noise(size_t stride, size_t h)
{
    uint32_t seed = 1;
    uint8_t *p = malloc(stride * h);
    assert_non_null(p);
    for (size_t i = 0; i < stride * h; i++)
        p[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
    return p;
}

/* What a test leaves in the folder, hidden files too. */
static size_t count_files(void)
{
    size_t n = 0;
    DIR *d = opendir(media_dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
    closedir(d);
    return n;
}

static void assert_reads_as(const char *name, const uint8_t *rgb, ptrdiff_t stride, size_t w,
                            size_t h)
{
    char line[4096], want[4096];
    snprintf(want, sizeof want, "png,%zu,%zu,rgb24", w, h);
    assert_string_equal(
        media_line(line,
                   "ffprobe -v error -show_entries stream=codec_name,width,height,pix_fmt -of "
                   "csv=p=0 'file:%s'",
                   name),
        want);
    uint8_t *got = malloc(3 * w * h + 1);
    assert_non_null(got);
    FILE *p =
        media_pipe("ffmpeg -v error -nostdin -i 'file:%s' -f rawvideo -pix_fmt rgb24 -", name);
    assert_int_equal(fread(got, 1, 3 * w * h + 1, p), 3 * w * h);
    assert_int_equal(pclose(p), 0);
    for (size_t y = 0; y < h; y++)
        assert_memory_equal(got + 3 * w * y, rgb + (ptrdiff_t)y * stride, 3 * w);
    free(got);
}

static void every_pixel_arrives(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1},   {2, 1},     {1, 7},     {17, 31},
                                      {64, 48}, {333, 257}, {1921, 33}, {3, LS_PNG_MAX_SIDE}};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        char path[4096];
        ls_error err = {0};
        size_t w = sizes[i / 2][0], h = sizes[i / 2][1], row = 3 * w + (i % 2 ? 5 : 0);
        uint8_t *p = noise(row, h), *top = i % 2 ? p + row * (h - 1) : p;
        ptrdiff_t stride = i % 2 ? -(ptrdiff_t)row : (ptrdiff_t)row;
        if (ls_png_write(media_path(path, "a picture.png"), top, stride, w, h, &err))
            fail_msg("%zu x %zu: %s", w, h, err.message);
        assert_reads_as("a picture.png", top, stride, w, h);
        assert_int_equal(count_files(), 1);
        free(p);
    }
}

static void a_failure_names_the_file_and_changes_nothing(void **state)
{
    (void)state;
    char path[4096], *name = path + strlen(media_dir) + 1;
    ls_error err = {0};
    uint8_t *p = noise(3 * 64, 64);
    media_path(path, "keep.png");
    assert_int_equal(ls_png_write(path, p, 3 * 64, 64, 64, &err), 0);
    const size_t files = count_files();

    static const size_t bad[][2] = {{0, 4},
                                    {4, 0},
                                    {0, 0},
                                    {SIZE_MAX, 1},
                                    {1, SIZE_MAX},
                                    {SIZE_MAX / 3 + 1, 4},
                                    {(size_t)1 << 32, (size_t)1 << 32},
                                    {((size_t)1 << 32) + 64, 64},
                                    {LS_PNG_MAX_SIDE + 1, 1}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(ls_png_write(path, p, 3 * 64, bad[i][0], bad[i][1], &err), LS_EINVAL);
        assert_non_null(strstr(err.message, path));
    }
    strcpy(name, "no such folder/a.png");
    assert_int_equal(ls_png_write(path, p, 3 * 64, 64, 64, &err), LS_ENOENT);
    assert_non_null(strstr(err.message, path));
    strcpy(name, "folder.png");
    assert_int_equal(mkdir(path, 0777), 0);
    assert_int_equal(ls_png_write(path, p, 3 * 64, 64, 64, &err), LS_EIO);
    assert_non_null(strstr(err.message, path));
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(ls_png_write("/proc/a.png", p, 3 * 64, 64, 64, &err), LS_ENOENT);
    assert_int_equal(ls_png_write("/proc/a.png", p, 3 * 64, 64, 64, NULL), LS_ENOENT);

    /* a disk that is full after 1000 bytes */
    struct rlimit old, small;
    strcpy(name, "keep.png");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 1000;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int ret = ls_png_write(path, p + 3, 3 * 64, 60, 64, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(ret, LS_ENOSPC);
    assert_non_null(strstr(err.message, path));

    assert_int_equal(count_files(), files);
    assert_reads_as("keep.png", p, 3 * 64, 64, 64);
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_pixel_arrives),
        cmocka_unit_test(a_failure_names_the_file_and_changes_nothing),
    };
    return cmocka_run_group_tests(tests, setup, media_teardown);
}
