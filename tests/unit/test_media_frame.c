/* Frames: parts of them as RGB against ffmpeg's conversion of whole pictures, and copy on write. */
#include "media.h"

#include "media/codecs.h"
#include "media/video.h"

static ls_frame *first_frame(const char *path)
{
    ls_error err = {0};
    ls_video *v;
    ls_frame *f = NULL;
    if (ls_video_open(&v, path, &(ls_video_settings){.source_fps = true}, &err) ||
        ls_video_next(v, &f, &err))
        fail_msg("%s", err.message);
    ls_video_close(&v);
    return f;
}

/* The largest difference to `whole` (RGB24, `width` wide) of what a rectangle is converted to,
 * `border` pixels away from its own borders that are not the frame's. */
static int part_differs(ls_rgb_converter *c, const ls_frame *f, const uint8_t *whole, size_t x,
                        size_t y, size_t w, size_t h, size_t border)
{
    ls_error err = {0};
    const ls_picture p = ls_frame_picture(f);
    ls_rect part = {x, y, w, h};
    ls_rgb rgb;
    if (ls_rgb_convert(c, f, &part, &rgb, &err))
        fail_msg("%s", err.message);
    const size_t px = part.x, py = part.y, pw = part.w, ph = part.h;
    assert_true(px <= x && py <= y && px + pw >= x + w && py + ph >= y + h);
    assert_true(px + pw <= p.w && py + ph <= p.h);
    assert_true(px % (1u << p.sub_x) == 0 && py % (1u << p.sub_y) == 0);
    assert_true(rgb.w == pw && rgb.h == ph);
    int worst = 0;
    for (size_t j = py ? border : 0; j < ph - (py + ph < p.h ? border : 0); j++)
        for (size_t i = px ? border : 0; i < pw - (px + pw < p.w ? border : 0); i++)
            for (size_t k = 0; k < 3; k++) {
                int d = rgb.data[(ptrdiff_t)j * rgb.stride + (ptrdiff_t)(3 * i + k)] -
                        whole[((py + j) * p.w + px + i) * 3 + k];
                worst = abs(d) > worst ? abs(d) : worst;
            }
    return worst;
}

static const struct {
    const char *format, *options, *matrix;
} kinds[] = {
    {"yuv420p", "-colorspace bt709", "bt709"},
    {"yuv420p", "-colorspace smpte170m", "bt601"},
    {"yuv420p", "-colorspace bt709 -color_range pc", "bt709"},
    {"yuv422p", "-colorspace bt709", "bt709"},
    {"yuv444p", "-colorspace smpte170m", "bt601"},
    {"yuv420p10", "-colorspace bt2020nc", "bt2020"},
    {"yuv422p10", "-colorspace bt709", "bt709"},
    {"gray", "-color_range pc", "bt601"},
};

static uint8_t *whole_rgb(size_t i, size_t bytes)
{
    uint8_t *rgb = malloc(bytes);
    assert_non_null(rgb);
    FILE *p =
        media_pipe("ffmpeg -v error -nostdin -i m.mkv -frames:v 1 -vf "
                   "scale=in_color_matrix=%s:out_color_matrix=%s:in_range=%s:"
                   "flags=bilinear+full_chroma_int+accurate_rnd "
                   "-pix_fmt rgb24 -f rawvideo -",
                   kinds[i].matrix, kinds[i].matrix, strstr(kinds[i].options, "pc") ? "pc" : "tv");
    assert_int_equal(fread(rgb, 1, bytes, p), bytes);
    pclose(p);
    return rgb;
}

static void make_clip(size_t i, const char *size)
{
    media_run(
        "ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=d=0.04,scale=%s -pix_fmt %s %s -c:v "
        "ffv1 m.mkv",
        size, kinds[i].format, kinds[i].options);
}

static void parts_are_as_the_whole(void **state)
{
    (void)state;
    static const char *const sizes[] = {"322:242", "98:62", "640:360"};
    static const size_t rects[][4] = {{0, 0, 1, 1},    {3, 5, 40, 30},  {17, 11, 64, 48},
                                      {33, 1, 20, 59}, {90, 50, 8, 12}, {0, 0, 98, 62}};
    char path[4096];
    ls_error err = {0};
    ls_rgb_converter *c;
    assert_int_equal(ls_rgb_converter_open(&c, &err), 0);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            make_clip(i, sizes[s]);
            ls_frame *f = first_frame(media_path(path, "m.mkv"));
            const ls_picture p = ls_frame_picture(f);
            uint8_t *whole = whole_rgb(i, p.w * p.h * 3);
            for (size_t r = 0; r < sizeof rects / sizeof *rects; r++) {
                int d = part_differs(c, f, whole, rects[r][0], rects[r][1], rects[r][2],
                                     rects[r][3], 2);
                if (d > 1)
                    fail_msg("%s %s, %s, rectangle %zu: differs by %d", kinds[i].format,
                             kinds[i].options, sizes[s], r, d);
            }
            int d = part_differs(c, f, whole, 0, 0, p.w, p.h, 0);
            if (d > 1)
                fail_msg("%s %s, %s: differs by %d", kinds[i].format, kinds[i].options, sizes[s],
                         d);
            free(whole);
            ls_frame_unref(&f);
        }
    ls_rgb_converter_close(&c);
    assert_null(c);
}

/* swscale stretches the chroma of odd sizes a little, so these are held to their luma in grey. */
static void odd_sizes_reach_the_last_pixel(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_rgb_converter *c;
    assert_int_equal(ls_rgb_converter_open(&c, &err), 0);
    media_run("ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=d=0.04,scale=97:61,format=gray "
              "-pix_fmt yuv420p -colorspace bt709 -c:v ffv1 m.mkv");
    ls_frame *f = first_frame(media_path(path, "m.mkv"));
    uint8_t *whole = whole_rgb(0, 97 * 61 * 3);
    for (size_t x = 0; x < 97; x += 12)
        for (size_t y = 0; y < 61; y += 12)
            assert_in_range(part_differs(c, f, whole, x, y, 97 - x, 61 - y, 0), 0, 1);
    free(whole);
    ls_frame_unref(&f);
    ls_rgb_converter_close(&c);
}

static void parts_outside_are_refused(void **state)
{
    (void)state;
    static const ls_rect rects[] = {{0, 0, 0, 1},  {0, 0, 1, 0},         {97, 0, 1, 1},
                                    {0, 0, 98, 1}, {SIZE_MAX, 0, 2, 1},  {1, 0, SIZE_MAX, 1},
                                    {0, 60, 1, 2}, {0, SIZE_MAX, 1, 62}, {0, 2, 1, SIZE_MAX - 1}};
    char path[4096];
    ls_error err = {0};
    ls_rgb_converter *c;
    ls_rgb rgb;
    make_clip(0, "97:61");
    ls_frame *f = first_frame(media_path(path, "m.mkv"));
    assert_int_equal(ls_rgb_converter_open(&c, &err), 0);
    for (size_t r = 0; r < sizeof rects / sizeof *rects; r++) {
        ls_rect part = rects[r];
        assert_int_equal(ls_rgb_convert(c, f, &part, &rgb, &err), LS_EINVAL);
    }
    ls_rgb_converter_close(&c);
    ls_frame_unref(&f);
}

static void writing_leaves_other_references_alone(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    make_clip(0, "97:61");
    ls_frame *a = first_frame(media_path(path, "m.mkv")), *b = ls_frame_ref(a);
    assert_non_null(b);
    assert_ptr_equal(ls_frame_picture(a).data[0], ls_frame_picture(b).data[0]);
    size_t bytes;
    uint8_t *before = media_pack(a, &bytes);
    assert_int_equal(bytes, 97 * 61 + 2 * 49 * 31);
    assert_int_equal(ls_frame_make_writable(b, &err), 0);
    for (int i = 0; i < 3; i++) {
        ls_picture p = ls_frame_picture(b);
        assert_int_equal(*p.data[i], *ls_frame_picture(a).data[i]);
        *p.data[i] ^= 255;
        assert_int_equal(*ls_frame_picture(a).data[i] ^ 255, *p.data[i]);
    }
    ls_frame_unref(&b);
    assert_null(b);
    uint8_t *after = media_pack(a, &bytes);
    assert_memory_equal(before, after, bytes);
    free(before);
    free(after);
    ls_frame_unref(&a);
}

int main(void)
{
    ls_media_show_libav_messages(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_as_the_whole),
        cmocka_unit_test(odd_sizes_reach_the_last_pixel),
        cmocka_unit_test(parts_outside_are_refused),
        cmocka_unit_test(writing_leaves_other_references_alone),
    };
    return cmocka_run_group_tests_name("media_frame", tests, media_setup, media_teardown);
}
