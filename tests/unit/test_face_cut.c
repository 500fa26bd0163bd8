#include "drawn.h"

#include "face/cut.h"

enum { SIDE = 320 };

/* The cuts in what ffmpeg makes of a graph, as " 7 12 ...". */
static void find_cuts(char out[static 4096], const char *inputs, const char *graph,
                      const char *format, unsigned bits)
{
    size_t bytes = SIDE * SIDE * (bits > 8 ? 2 : 1), n = 0;
    FILE *p = media_pipe("ffmpeg -v error %s -filter_complex \"%s\" -pix_fmt %s -f rawvideo -",
                         inputs, graph, format);
    uint8_t *luma = malloc(bytes);
    ls_cut *c;
    assert_non_null(luma);
    assert_int_equal(ls_cut_open(&c, NULL), 0);
    *out = 0;
    int frame = 0;
    for (; fread(luma, 1, bytes, p) == bytes; frame++)
        if (ls_cut_next(c, luma, (ptrdiff_t)bytes / SIDE, SIDE, SIDE, bits) && n < 4000)
            n += (size_t)sprintf(out + n, " %d", frame);
    assert_int_equal(pclose(p), 0);
    assert_true(frame > 20);
    ls_cut_close(&c);
    ls_cut_close(&c);
    free(luma);
}

/* The same by ffmpeg's own measure. */
static void find_cuts_ffmpeg(char out[static 4096], const char *inputs, const char *graph)
{
    FILE *p =
        media_pipe("ffmpeg -v error %s -filter_complex \"%s,setpts=N/25/TB,"
                   "select='gt(scene,0.3)'\" -an -sn -fps_mode passthrough -enc_time_base 1/25 "
                   "-pix_fmt gray -f framecrc -",
                   inputs, graph);
    char line[512];
    size_t n = 0;
    *out = 0;
    while (fgets(line, sizeof line, p))
        if (*line != '#' && n < 4000)
            n += (size_t)sprintf(out + n, " %d", atoi(strchr(line, ',') + 1));
    assert_int_equal(pclose(p), 0);
}

typedef struct clip {
    const char *graph, *cuts;
    bool both;     /* ffmpeg's measure, which is for plain cuts, finds the same */
    bool textured; /* not for a drawing, whose large flat areas change at once */
} clip;

#define SMALL "scale=320:320,setsar=1,fps=25"
#define A "[0:v]" SMALL
#define B "[1:v]" SMALL
#define BLACK(n) "drawbox=color=black:t=fill:enable='between(n," n ")'"
#define PAN(v)                                                                                     \
    "loop=40:1:0,trim=end_frame=40,crop=160:160:'min(max(0,(n-5)*" v "),160)':80,scale=320:320"

/* In a.nut of 250 frames and b.nut of 125: somebody who talks, and somebody else. */
static void expect_cuts(bool photographed)
{
    static const clip clips[] = {
        {A, "", true, false},
        {B, "", true, false},
        {A "[a];" B "[b];[a][b]concat", " 250", true, false},
        {B "[b];" A "[a];[b][a]concat", " 125", true, false},
        {A "," BLACK("100,139"), " 100 140", true, false},
        {B "," BLACK("50,89"), " 50 90", true, false},
        /* other framings of the same scene */
        {A ",split[a][b];[a]trim=end_frame=50[c];[b]crop=iw/1.5:ih/1.5," SMALL
           ",trim=start_frame=50,setpts=PTS-STARTPTS[d];[c][d]concat",
         " 50", false, false},
        {B ",split[a][b];[a]trim=end_frame=50[c];[b]hflip,trim=start_frame=50,setpts=PTS-STARTPTS"
           "[d];[c][d]concat",
         " 50", false, false},
        /* dark and flat */
        {A ",trim=end_frame=50[a];" B "[b];[a][b]concat,eq=brightness=-0.25:contrast=0.5", " 50",
         false, false},
        /* fades and a dissolve */
        {A ",fade=out:50:25,fade=in:0:25", "", true, false},
        {B ",fade=out:50:25:color=white,fade=in:0:25:color=white", "", true, false},
        {A ",trim=end_frame=75,settb=1/25[a];" B ",settb=1/25[b];[a][b]xfade=duration=0.4:offset=2",
         "", true, false},
        /* pans from a standstill by 1/25 and 1/16 of the picture in each frame
         */
        {"[0:v]" PAN("6.4"), "", false, false},
        {"[0:v]" PAN("10"), "", false, false},
        {"[1:v]" PAN("10"), "", false, true},
        /* a flash: a cut there, none when the same picture is back */
        {A ",drawbox=color=white:t=fill:enable='eq(n,30)'", " 30", false, false},
    };
    const char *inputs = "-i a.nut -i b.nut";
    char theirs[4096], cuts[4096];
    for (size_t i = 0; i < sizeof clips / sizeof *clips; i++) {
        if (clips[i].textured && !photographed)
            continue;
        find_cuts(cuts, inputs, clips[i].graph, "gray", 8);
        if (strcmp(cuts, clips[i].cuts))
            fail_msg("%s: cuts at%s, not at%s", clips[i].graph, cuts, clips[i].cuts);
        if (!clips[i].both)
            continue;
        find_cuts_ffmpeg(theirs, inputs, clips[i].graph);
        if (strcmp(theirs, cuts))
            fail_msg("%s: cuts at%s, ffmpeg's at%s", clips[i].graph, cuts, theirs);
    }
}

#define TO_NUT "-an -vf " SMALL " -pix_fmt gray -c:v rawvideo "

static void in_real_videos(void **state)
{
    (void)state;
    char path[4096];
    media_run("ffmpeg -v error -y -i '%s' " TO_NUT "a.nut",
              test_shared(path, "media/demo1_video.mp4"));
    media_run("ffmpeg -v error -y -i '%s' " TO_NUT "b.nut",
              test_shared(path, "media/retalking_face_2.mp4"));
    expect_cuts(true);
}

static void in_drawn_videos(void **state)
{
    (void)state;
    drawn_speaker(1);
    drawn_speaker(2);
    media_run(
        "ffmpeg -v error -y -stream_loop -1 -i speaker1/face.mp4 -frames:v 250 " TO_NUT
        "a.nut && ffmpeg -v error -y -stream_loop -1 -i speaker2/face.mp4 -frames:v 125 " TO_NUT
        "b.nut");
    expect_cuts(false);
}

static void deep_samples(void **state)
{
    (void)state;
    char cuts[4096];
    drawn_speaker(1);
    find_cuts(cuts, "-i speaker1/face.mp4", "[0:v]" SMALL "," BLACK("20,59"), "gray10le", 10);
    assert_string_equal(cuts, " 20 60");
    find_cuts(cuts, "-i speaker1/face.mp4", "[0:v]" SMALL "," BLACK("20,59"), "gray16le", 16);
    assert_string_equal(cuts, " 20 60");
}

static void deep_samples_of_a_real_video(void **state)
{
    (void)state;
    char a[4096], inputs[4200], cuts[4096];
    snprintf(inputs, sizeof inputs, "-i '%s'", test_shared(a, "media/odd/nasa_13013.mp4"));
    find_cuts(cuts, inputs, "[0:v]scale=320:320", "gray12le", 12);
    find_cuts_ffmpeg(a, inputs, "[0:v]scale=320:320");
    assert_true(strlen(cuts) > 2);
    assert_string_equal(cuts, a);
}

/* Pictures of 1 x 1 to odd sizes, upside down, of samples beyond their bits. */
static void any_picture(void **state)
{
    (void)state;
    static const size_t sizes[][2] = {{1, 1}, {3, 200}, {161, 91}, {4097, 2}};
    for (size_t i = 0; i < 4; i++)
        for (unsigned bits = 8; bits <= 16; bits += 4) {
            size_t w = sizes[i][0], h = sizes[i][1], row = w * (bits > 8 ? 2 : 1);
            uint8_t *luma = calloc(h, row);
            ls_cut *c;
            assert_int_equal(ls_cut_open(&c, NULL), 0);
            uint8_t *bottom = luma + (h - 1) * row;
            assert_false(ls_cut_next(c, luma, (ptrdiff_t)row, w, h, bits));
            assert_false(ls_cut_next(c, bottom, -(ptrdiff_t)row, w, h, bits));
            memset(luma, 0xff, h * row);
            assert_true(ls_cut_next(c, bottom, -(ptrdiff_t)row, w, h, bits));
            assert_false(ls_cut_next(c, luma, (ptrdiff_t)row, w, h, bits));
            assert_false(ls_cut_next(c, luma, (ptrdiff_t)row, 1, 1, bits));
            ls_cut_close(&c);
            free(luma);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_real_videos), cmocka_unit_test(in_drawn_videos),
        cmocka_unit_test(deep_samples),   cmocka_unit_test(deep_samples_of_a_real_video),
        cmocka_unit_test(any_picture),
    };
    return cmocka_run_group_tests_name("face_cut", tests, media_setup, media_teardown);
}
