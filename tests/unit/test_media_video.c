/* The decoded timeline against the pictures that the ffmpeg program gives for the same file. */
#include "ffmpeg.h"
#include "media_oracle.h"

#include "media/avframe.h"
#include "media/intermediate.h"
#include "media/pingpong.h"

/* Reference pictures are converted with accurate rounding, as ours; the range of grey, which is
 * full, is kept, where the program would narrow that of more than 8 bits. */
#define ACCURATE "-sws_flags bicubic+accurate_rnd"
#define FULL "-vf scale=out_range=full:flags=bicubic+accurate_rnd"

static void keep_lines(void *opaque, int level, const char *line)
{
    char *lines = opaque;
    (void)level;
    snprintf(lines + strlen(lines), 512 - strlen(lines), "%s\n", line);
}

static ls_video *open_video(const char *path, bool source_fps)
{
    ls_error err = {0};
    ls_video *v;
    if (ls_video_open(&v, path, &(ls_video_settings){.source_fps = source_fps}, &err))
        fail_msg("%s", err.message);
    return v;
}

/* All pictures of the timeline; returns the shape of the first. */
static ls_picture hash_video(hashes *h, const char *path, bool source_fps)
{
    ls_error err = {0};
    ls_video *v = open_video(path, source_fps);
    const ls_video_info *info = ls_video_get_info(v);
    ls_frame *f;
    ls_picture p = {0};
    int ret;
    for (h->count = 0; !(ret = ls_video_next(v, &f, &err)); h->count++) {
        assert_true(h->count < MAX_FRAMES);
        assert_int_equal(ls_video_position(v), h->count + 1);
        p = ls_frame_picture(f);
        assert_int_equal(p.w, info->width);
        assert_int_equal(p.h, info->height);
        assert_int_equal(p.depth, info->depth);
        h->at[h->count] = hash_frame(f);
        ls_frame_unref(&f);
    }
    if (ret != LS_EOF)
        fail_msg("%s", err.message);
    assert_int_equal(ls_video_next(v, &f, &err), LS_EOF);
    assert_null(f);
    ls_video_close(&v);
    assert_null(v);
    return p;
}

static void same_as_ffmpeg(const char *path, bool source_fps, const char *rate, const char *options)
{
    static hashes ours, theirs;
    char format[32];
    ls_picture p = hash_video(&ours, path, source_fps);
    assert_true(ours.count > 0);
    hash_pipe(&theirs, picture_bytes(&p),
              "ffmpeg -v quiet -nostdin -i %s -an -r %s %s -f rawvideo -pix_fmt %s -", path, rate,
              options, pixel_format(format, &p));
    if (!strcmp(rate, "25") && !ffmpeg_has_our_rules()) { // only as many, then, or one more
        assert_in_range(ours.count, theirs.count ? theirs.count - 1 : 0, theirs.count + 1);
        return;
    }
    size_t n = ours.count < theirs.count ? ours.count : theirs.count, bad = 0, where = n;
    for (size_t i = n; i--;)
        if (ours.at[i] != theirs.at[i]) {
            bad++;
            where = i;
        }
    if (ours.count != theirs.count || bad)
        fail_msg("%s: %zu frames, ffmpeg gives %zu; %zu differ, the first is %zu", path, ours.count,
                 theirs.count, bad, where);
}

static void real_files_as_ffmpeg(void **state)
{
    char path[4096];
    same_as_ffmpeg(test_shared(path, *state), false, "25", "");
}

static void expect_info(const char *path, size_t width, size_t height, unsigned depth, int frames)
{
    ls_video *v = open_video(path, false);
    const ls_video_info *i = ls_video_get_info(v);
    assert_int_equal(i->width, width);
    assert_int_equal(i->height, height);
    assert_int_equal(i->depth, depth);
    assert_int_equal(i->frames, frames);
    assert_int_equal(i->fps_num, 25);
    ls_video_close(&v);
}

static void real_sizes_after_rotation(void **state)
{
    (void)state;
    char path[4096];
    expect_info(test_shared(path, "media/odd/mp4_sample_with_color_info.mp4"), 1080, 1920, 10,
                7); // an estimate, of 0.298 s
    expect_info(test_shared(path, "media/demo1_video.mp4"), 1080, 1920, 8, 250);
}

static const char *make(char path[static 4096], const char *name);

static void sizes_after_rotation(void **state)
{
    (void)state;
    char path[4096];
    expect_info(make(path, "turned90.mp4"), 118, 162, 8, 10);
    expect_info(make(path, "turned180.mp4"), 162, 118, 10, 10);
    expect_info(make(path, "odd_size.webm"), 161, 119, 8, 13);
    expect_info(make(path, "long.mp4"), 160, 120, 8, 150);
}

/* The times of such a file begin with the first of the streams that are used. The original uses
 * the sound, so the program decodes it as well, into nothing. */
#define WITH_SOUND "-t 0 -f null - -map 0:a -f null - -map 0:v -r 25"

typedef struct recipe {
    const char *name;
    const char *make;    /* a line of the shell, in the folder, with F for ffmpeg */
    const char *options; /* of ffmpeg; NULL: others test it */
    const char *needs;   /* another of these */
} recipe;

#define SOURCE "-f lavfi -i testsrc2=s=160x120:r="
#define X264 " -pix_fmt yuv420p -c:v libx264 -preset veryfast "
#define X264_LONG                                                                                  \
    "F -f lavfi -i testsrc2=s=64x48:r=25:d=76 -pix_fmt yuv420p -c:v libx264 -preset ultrafast "    \
    "-bf 0 "
#define FIELDS SOURCE "50,interlace=lowpass=off -t "
#define DEINTERLACED "-vf bwdif=mode=send_frame:deint=interlaced"
#define SMALL "-f lavfi -i testsrc2=s=162x118:r=25:d=0.4 "

static const recipe recipes[] = {
    {"late.mkv", /* the sound begins 0.7 s before the picture */
     "F " SOURCE
     "30:d=3 -f lavfi -i sine=d=4 -filter_complex '[0:v]setpts=PTS+0.7/TB[v]' -map '[v]' "
     "-map 1:a" X264 "late.mkv",
     "", NULL},
    {"late.mp4", "F -i late.mkv -c copy late.mp4", "", "late.mkv"},
    {"late_sound.mkv",
     "F " SOURCE
     "30:d=2 -f lavfi -i sine=d=2 -filter_complex '[1:a]asetpts=PTS+0.7/TB[a]' -map 0:v "
     "-map '[a]'" X264 "late_sound.mkv",
     "", NULL},
    {"12fps.mp4", "F " SOURCE "12:d=3" X264 "12fps.mp4", "", NULL},
    {"60fps.mp4", "F " SOURCE "60:d=2" X264 "60fps.mp4", "", NULL},
    {"film.mp4", "F " SOURCE "24000/1001:d=3" X264 "film.mp4", "", NULL},
    {"1fps.mp4", "F " SOURCE "1:d=5" X264 "1fps.mp4", "", NULL},
    {"uneven.mkv",
     "F " SOURCE "50:d=3 -vf \"select='lt(mod(t,0.5),0.13)+gt(t,2)',setpts=PTS+0.01*random(0)/TB\" "
     "-fps_mode vfr" X264 "uneven.mkv",
     "", NULL},
    {"gap.mp4",
     "F " SOURCE "50:d=6 -vf \"select='lt(t,0.5)+gt(t,4.3)'\" -fps_mode vfr" X264 "gap.mp4", "",
     NULL},
    {"two_days.mkv", /* a second part 55 hours later counts as following */
     "F " SOURCE "25:d=2 -vf \"setpts=PTS+gte(N\\,25)*200000/TB\" -fps_mode passthrough" X264
     "-bf 0 two_days.mkv",
     "", NULL},
    {"long.mp4", "F " SOURCE "30:d=6" X264 "-g 1000 -bf 3 long.mp4", "", NULL},
    {"edit.mp4", "F -ss 0.9 -i long.mp4 -c copy edit.mp4", "", "long.mp4"},
    {"open.ts",
     "F " SOURCE "30:d=6 -pix_fmt yuv420p -c:v libx265 -preset superfast -x265-params "
     "log-level=none:open-gop=1:keyint=20:min-keyint=20 open.ts",
     "", NULL},
    {"middle.ts", /* one stream, and what comes first lacks its key frame */
     "F " SOURCE "30:d=3" X264
     "-g 25 -bf 3 -x264-params open-gop=1 m.ts && dd if=m.ts of=middle.ts "
     "bs=188 skip=20 2>/dev/null",
     "", NULL},
    {"again.ts", "F " SOURCE "25:d=1" X264 "a.ts && cat a.ts a.ts > again.ts", "", NULL},
    {"sizes.ts",
     "F " SOURCE "25:d=1" X264
     "a.ts && F -f lavfi -i testsrc2=s=192x128:r=25:d=1 -output_ts_offset 1" X264
     "b.ts && cat a.ts b.ts > sizes.ts",
     ACCURATE, NULL},
    {"interlaced.ts", "F " FIELDS "3 -c:v mpeg2video -bf 2 -g 20 -flags +ilme+ildct interlaced.ts",
     DEINTERLACED, NULL},
    {"interlaced.mkv", /* the bottom fields first */
     "F " SOURCE "50,interlace=scan=bff -t 3" X264
     "-x264-params bff=1 -g 30 -flags +ilme+ildct interlaced.mkv",
     DEINTERLACED, NULL},
    {"interlaced.mov", /* every frame a key frame, of 10 bits and 4:2:2 */
     "F " FIELDS "2 -c:v prores_ks -profile:v 0 -flags +ilme+ildct interlaced.mov", DEINTERLACED,
     NULL},
    {"interlaced_packed.mov",
     "F " FIELDS "0.4 -pix_fmt uyvy422 -c:v rawvideo -flags +ilme+ildct interlaced_packed.mov",
     "-vf format=yuv422p,bwdif=mode=send_frame:deint=interlaced", NULL},
    {"interlaced_later.ts", /* and not at the end */
     "F " SOURCE "25:d=1 -c:v mpeg2video a.ts && F " FIELDS
     "2 -c:v mpeg2video -flags +ilme+ildct -output_ts_offset 1 b.ts && F " SOURCE
     "25:d=1 -c:v mpeg2video -output_ts_offset 3 c.ts && cat a.ts b.ts c.ts > interlaced_later.ts",
     DEINTERLACED, NULL},
    {"interlaced_turned.mp4",
     "F " FIELDS "1" X264
     "-flags +ilme+ildct t.mp4 && " ROTATE("t.mp4", "90", "interlaced_turned.mp4"),
     NULL, NULL}, /* ffmpeg would turn it first */
    {"progressive_turned.mov",
     "F -i t.mp4 " DEINTERLACED
     " -c:v ffv1 -strict experimental p.mov && " ROTATE("p.mov", "90", "progressive_turned.mov"),
     NULL, "interlaced_turned.mp4"},
    {"alpha_turned.mov",
     "F " SMALL "-vf \"format=yuva420p,geq=lum='p(X,Y)':a='mod(X+2*Y+8*N,256)'\" -c:v ffv1 "
     "-strict experimental t.mov && " ROTATE("t.mov", "90", "alpha_turned.mov"),
     NULL, NULL},
    {"raw.h264", "F " SOURCE "25:d=2" X264 "-bf 2 raw.h264", "", NULL},
    {"raw_long.h264", "F " SOURCE "25:d=4" X264 "-bf 2 raw_long.h264", "", NULL},
    {"piped.mkv", /* without an index */
     "F " SOURCE "25:d=4" X264 "-g 100000 -bf 3 -f matroska - | cat > piped.mkv", "", NULL},
    {"fragments.mp4",
     "F " SOURCE "25:d=4" X264 "-g 30 -bf 3 -movflags frag_keyframe+empty_moov -f mp4 - | cat > "
     "fragments.mp4",
     "", NULL},
    {"packed.avi", "F " SOURCE "30:d=2 -c:v mpeg4 -bf 2 packed.avi", "", NULL},
    {"screen.gif", "F " SOURCE "30:d=2 screen.gif", "", NULL},
    {"three.mkv", /* the largest of the two that are marked as the default */
     "F " SMALL SOURCE "25:d=0.4 -f lavfi -i testsrc2=s=64x64:d=0.4 -map 0 -map 1 -map 2 "
     "-disposition:v:0 0 -disposition:v:1 default -disposition:v:2 default" X264 "three.mkv",
     "", NULL},
    {"a:b.mkv", "F " SOURCE "25:d=1" X264 "file:a:b.mkv", "", NULL},
    {"cut.mp4", /* its index at the start, its end missing */
     "F -i long.mp4 -c copy -movflags +faststart c.mp4 && head -c 40000 c.mp4 > cut.mp4", "",
     "long.mp4"},
    {"turned90.mp4",
     "F " SMALL "-pix_fmt yuv420p -c:v libx264 t.mp4 && " ROTATE("t.mp4", "90", "turned90.mp4"), "",
     NULL},
    {"turned180.mp4",
     "F " SMALL
     "-pix_fmt yuv420p10le -c:v libx264 t.mp4 && " ROTATE("t.mp4", "180", "turned180.mp4"),
     "", NULL},
    {"turned270.mp4",
     "F " SMALL "-pix_fmt yuv422p -c:v libx264 t.mp4 && " ROTATE("t.mp4", "270", "turned270.mp4"),
     "", NULL},
    {"gbrp10.mkv", "F " SMALL "-pix_fmt gbrp10le -c:v ffv1 gbrp10.mkv", ACCURATE, NULL},
    {"rgb.mov", "F " SMALL "-pix_fmt rgb24 -c:v png rgb.mov", ACCURATE, NULL},
    {"palette.gif", "F " SMALL "palette.gif", ACCURATE, NULL},
    {"gray10.mkv", "F " SMALL "-pix_fmt gray10le -c:v ffv1 gray10.mkv", FULL, NULL},
    {"gray.mkv", "F " SMALL "-pix_fmt gray -c:v ffv1 gray.mkv", "", NULL},
    {"yuva.mkv", "F " SMALL "-pix_fmt yuva420p -c:v ffv1 yuva.mkv", "", NULL},
    {"yuv410.mkv", "F " SMALL "-pix_fmt yuv410p -c:v ffv1 yuv410.mkv", ACCURATE, NULL},
    {"yuv440.mkv", "F " SMALL "-pix_fmt yuv440p -c:v ffv1 yuv440.mkv", ACCURATE, NULL},
    {"yuv444p12.mkv", "F " SMALL "-pix_fmt yuv444p12le -c:v ffv1 yuv444p12.mkv", "", NULL},
    {"nv12.nut", "F " SMALL "-pix_fmt nv12 -c:v rawvideo nv12.nut", "", NULL},
    {"full_range.mp4",
     "F " SMALL "-pix_fmt yuvj420p -c:v libx264 -color_range pc -colorspace bt709 full_range.mp4",
     "", NULL},
    {"hdr.mov",
     "F " SMALL "-pix_fmt yuv420p10le -c:v libx265 -x265-params log-level=none -tag:v hvc1 "
     "-color_primaries bt2020 -color_trc smpte2084 -colorspace bt2020nc hdr.mov",
     "", NULL},
    {"120fps.mp4", "F " SOURCE "120:d=0.5" X264 "120fps.mp4", "", NULL},
    {"odd_size.webm",
     "F -f lavfi -i testsrc=s=161x119:r=30:d=0.5 -pix_fmt yuv420p -c:v libvpx-vp9 -deadline "
     "realtime -cpu-used 8 odd_size.webm",
     "", NULL},
    {"sound.ts", /* which begins before the picture */
     "F " SOURCE "30:d=1 -f lavfi -i sine=d=1 -c:a mp2" X264 "sound.ts", WITH_SOUND, NULL},
    {"ntsc_fragments.mp4",
     "F " SOURCE "30000/1001:d=1" X264 "-g 10 -movflags frag_keyframe+empty_moov "
     "ntsc_fragments.mp4",
     "", NULL},
    {"too_long.mp4", /* what the file says of its media's size is more than there is */
     "F -i 12fps.mp4 -c copy -movflags +faststart t.mp4 && python3 -c \"d=bytearray(open('t.mp4',"
     "'rb').read()); i=d.index(b'mdat')-4; d[i:i+4]=(10**6).to_bytes(4,'big'); "
     "open('too_long.mp4','wb').write(d)\"",
     "", "12fps.mp4"},
};

static const char *make(char path[static 4096], const char *name)
{
    const recipe *r = recipes;
    while (strcmp(r->name, name))
        r++;
    if (r->needs)
        make(path, r->needs);
    if (access(made(path, name), R_OK))
        shell("cd %s && F() { ffmpeg -v error -nostdin -y \"$@\"; } && %s", folder, r->make);
    return path;
}

static void made_files_as_ffmpeg(void **state)
{
    const recipe *r = *state;
    char path[4096];
    if (make(path, r->name) && r->options)
        same_as_ffmpeg(path, false, "25", r->options);
}

static void interlaced_before_it_is_turned(void **state)
{
    static hashes ours, theirs;
    (void)state;
    char path[4096];
    hash_video(&ours, make(path, "interlaced_turned.mp4"), false);
    hash_video(&theirs, make(path, "progressive_turned.mov"), false);
    assert_int_equal(ours.count, 25);
    assert_int_equal(theirs.count, 25);
    assert_memory_equal(ours.at, theirs.at, 25 * sizeof *ours.at);
}

static void interlaced_if_wanted(void **state)
{
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    hashes theirs;
    (void)state;
    char path[4096];
    assert_int_equal(ls_video_open(&v, make(path, "interlaced.ts"),
                                   &(ls_video_settings){.keep_interlaced = true}, &err),
                     0);
    hash_pipe(&theirs, ls_video_get_info(v)->frame_bytes,
              "ffmpeg -v quiet -nostdin -i %s -f rawvideo -", path);
    for (size_t i = 0; !ls_video_next(v, &f, &err); i++) {
        assert_int_equal(hash_frame(f), theirs.at[i]);
        ls_frame_unref(&f);
    }
    ls_video_close(&v);
}

/* The fourth plane is turned with the others. */
static void transparency_is_kept_if_wanted(void **state)
{
    static hashes theirs;
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    size_t n = 0;
    (void)state;
    char path[4096];
    assert_int_equal(ls_video_open(&v, make(path, "alpha_turned.mov"),
                                   &(ls_video_settings){.alpha = true}, &err),
                     0);
    assert_true(ls_video_get_info(v)->transparent);
    hash_pipe(&theirs, (size_t)118 * 162,
              "ffmpeg -v quiet -nostdin -i %s -vf alphaextract -f rawvideo -pix_fmt gray -", path);
    for (; !ls_video_next(v, &f, &err); n++) {
        const AVFrame *a = f->av;
        uint8_t plane[118 * 162];
        assert_int_equal(a->width, 118);
        assert_int_equal(a->format, AV_PIX_FMT_YUVA420P);
        for (size_t y = 0; y < 162; y++)
            memcpy(plane + y * 118, a->data[3] + (ptrdiff_t)y * a->linesize[3], 118);
        assert_int_equal(hash_bytes(0, plane, sizeof plane), theirs.at[n]);
        ls_frame_unref(&f);
    }
    assert_int_equal(n, theirs.count);
    ls_video_close(&v);
}

static void interlaced_is_said_once(void **state)
{
    static const char *const said[] = {"interlaced.ts", "interlaced_later.ts", "long.mp4"};
    (void)state;
    char path[4096];
    for (size_t i = 0; i < 3; i++) {
        ls_error err = {0};
        char lines[512] = "";
        const ls_log log = {LS_LOG_INFO, keep_lines, lines};
        ls_frame *f;
        ls_video *v;
        assert_int_equal(
            ls_video_open(&v, make(path, said[i]), &(ls_video_settings){.log = &log}, &err), 0);
        for (int again = 0; again < 2; again++) {
            while (!ls_video_next(v, &f, &err))
                ls_frame_unref(&f);
            assert_int_equal(ls_video_seek(v, 0, &err), 0);
        }
        ls_video_close(&v);
        const char *found = strstr(lines, "is interlaced: its frames are deinterlaced");
        assert_int_equal(!found, i == 2);
        assert_true(!found || !strstr(found + 10, "is interlaced:"));
    }
}

/* What `ffmpeg -r 25 out.mp4` of the original writes: the muxer's rules are rawvideo's. */
static void as_many_as_in_an_mp4(void **state)
{
    static const char *const names[] = {"late.mkv", "middle.ts", "uneven.mkv"};
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        static hashes h;
        hash_video(&h, make(path, names[i]), false);
        shell("ffmpeg -v quiet -nostdin -y -i %s -r 25 -crf 18 -preset ultrafast %s/o.mp4", path,
              folder);
        char *n = output_of(NULL,
                            "ffprobe -v error -select_streams v -count_packets -show_entries "
                            "stream=nb_read_packets -of csv=p=0 %s/o.mp4",
                            folder);
        assert_int_equal(atoi(n), h.count);
        free(n);
    }
}

static void expect_ntsc(const char *path)
{
    same_as_ffmpeg(path, true, "30000/1001", "");
    ls_video *v = open_video(path, true);
    assert_int_equal(ls_video_get_info(v)->fps_num, 30000);
    assert_int_equal(ls_video_get_info(v)->fps_den, 1001);
    ls_video_close(&v);
}

static void source_rate(void **state)
{
    (void)state;
    char path[4096];
    same_as_ffmpeg(make(path, "60fps.mp4"), true, "60", "");
    same_as_ffmpeg(make(path, "film.mp4"), true, "24000/1001", "");
    expect_ntsc(make(path, "ntsc_fragments.mp4"));
}

static void source_rate_of_a_real_file(void **state)
{
    (void)state;
    char path[4096];
    expect_ntsc(test_shared(path, "media/odd/mp4_sample_fragmented.mp4"));
}

static void seek_anywhere(const char *path, bool source_fps)
{
    static hashes all;
    ls_error err = {0};
    ls_frame *f;
    hash_video(&all, path, source_fps);
    ls_video *v = open_video(path, source_fps);
    while (!ls_video_next(v, &f, &err))
        ls_frame_unref(&f);
    uint32_t r = 1;
    for (size_t k = 0; k < 24; k++) {
        r = r * 1664525u + 1013904223u;
        size_t at = k ? (r >> 8) % all.count : all.count - 1;
        if (ls_video_seek(v, at, &err))
            fail_msg("%s: %s", path, err.message);
        assert_int_equal(ls_video_position(v), at);
        for (size_t i = at; i < all.count && i < at + 3; i++) {
            assert_int_equal(ls_video_next(v, &f, &err), 0);
            if (hash_frame(f) != all.at[i])
                fail_msg("%s: frame %zu after a seek to %zu is another", path, i, at);
            ls_frame_unref(&f);
        }
    }
    ls_video_close(&v);
}

static void back_and_forth(const char *path, bool source_fps, size_t window_bytes)
{
    static hashes all;
    ls_error err = {0};
    ls_pingpong *p;
    hash_video(&all, path, source_fps);
    ls_video *v = open_video(path, source_fps);
    assert_int_equal(ls_pingpong_open(&p, &v, window_bytes, NULL, &err), 0);
    assert_null(v);
    for (size_t n = 0; n < 3 * all.count + 2; n++) {
        size_t m = n % (2 * all.count), want = m < all.count ? m : 2 * all.count - 1 - m;
        uint64_t index;
        ls_frame *f;
        if (ls_pingpong_next(p, &f, &index, &err))
            fail_msg("%s: %s", path, err.message);
        assert_int_equal(index, want);
        if (hash_frame(f) != all.at[want])
            fail_msg("%s: frame %zu is another on the way %zu", path, want, n / all.count);
        ls_frame_unref(&f);
    }
    ls_pingpong_close(&p);
    assert_null(p);
}

static void same_frames_again(void **state)
{
    static const char *const names[] = {
        "long.mp4",       "late.mkv",           "open.ts",       "1fps.mp4",      "sizes.ts",
        "again.ts",       "middle.ts",          "raw.h264",      "turned90.mp4",  "edit.mp4",
        "two_days.mkv",   "sound.ts",           "odd_size.webm", "interlaced.ts", "interlaced.mkv",
        "interlaced.mov", "interlaced_later.ts"};
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        seek_anywhere(make(path, names[i]), i == 2);
        back_and_forth(path, i == 2, i % 2 ? 1 : 400000);
    }
}

static void same_frames_of_real_files_again(void **state)
{
    (void)state;
    char path[4096];
    seek_anywhere(test_shared(path, "media/odd/nasa_13013.mp4"), true);
    back_and_forth(path, false, 8 << 20);
    back_and_forth(test_shared(path, "media/odd/vp9_bear-vp9-odd-dimensions.webm"), true, 1);
    back_and_forth(test_shared(path, "media/odd/ts_sample_h264_mpeg_audio.ts"), false, 1);
}

static void refused(const char *path, int code, const char *why)
{
    ls_error err = {0};
    ls_video *v = (ls_video *)&err;
    int ret = ls_video_open(&v, path, &(ls_video_settings){0}, &err);
    if (ret != code || !strstr(err.message, path) || !strstr(err.message, why))
        fail_msg("%s: %d, \"%s\" and not %d, \"%s\"", path, ret, err.message, code, why);
    assert_null(v);
}

static void what_is_no_video_is_refused(void **state)
{
    (void)state;
    char path[4096], text[4096];
    make(path, "long.mp4");
    refused("/nowhere/at_all.mp4", LS_ENOENT, "No such file");
    refused(folder, LS_EFORMAT, "directory");
    test_write(made(path, "empty.mp4"), "", 0);
    refused(path, LS_EFORMAT, "empty");
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 40 == 39 ? '\n' : (char)('a' + i % 23);
    test_write(made(path, "notes.txt"), text, sizeof text);
    refused(path, LS_EFORMAT, "is a text");
    test_write(made(path, "notes.mp4"), text, sizeof text);
    refused(path, LS_EFORMAT, "is not a video");
    shell("head -c 40000 %s/long.mp4 > %s/end_missing.mp4", folder, folder);
    refused(made(path, "end_missing.mp4"), LS_EFORMAT, "cut off");
    shell("ffmpeg -v error -nostdin -y -f lavfi -i sine=d=1 %s/sound.m4a", folder);
    refused(made(path, "sound.m4a"), LS_EFORMAT, "no video stream");
    shell("printf '#EXTM3U\\n#EXTINF:1,\\nlong.mp4\\n#EXT-X-ENDLIST\\n' > %s/list.m3u8", folder);
    refused(made(path, "list.m3u8"), LS_EFORMAT, "not a video");
    shell("printf 'ffconcat version 1.0\\nfile long.mp4\\n' > %s/list.txt", folder);
    refused(made(path, "list.txt"), LS_EFORMAT, "is a text");
}

static void a_file_without_a_whole_frame_is_refused(void **state)
{
    (void)state;
    char path[4096];
    make(path, "12fps.mp4");
    shell("cd %s && python3 -c \"d=bytearray(open('12fps.mp4','rb').read()); i=d.index(b'mdat')+4; "
          "n=int.from_bytes(d[i-8:i-4],'big')-8; d[i:i+n]=bytes(k*k%%251 for k in range(n)); "
          "open('hopeless.mp4','wb').write(d)\"",
          folder);
    refused(made(path, "hopeless.mp4"), LS_EFORMAT, "no frame of the video can be decoded");
}

static void a_hopeless_real_file_is_refused(void **state)
{
    (void)state;
    char path[4096];
    refused(test_shared(path, "media/odd/vp9_invalid-bitstream.webm"), LS_EFORMAT,
            "no frame of the video can be decoded");
}

/* The hash of a place in the endless sequence. */
static uint64_t hash_at(const hashes *all, uint64_t place)
{
    place %= 2 * all->count;
    return all->at[place < all->count ? place : 2 * all->count - 1 - place];
}

static void expect_place(ls_pingpong *p, const hashes *all, uint64_t place, const char *path)
{
    ls_error err = {0};
    ls_frame *f;
    uint64_t index;
    if (ls_pingpong_next(p, &f, &index, &err))
        fail_msg("%s, place %d: %s", path, (int)place, err.message);
    if (hash_frame(f) != hash_at(all, place))
        fail_msg("%s: another frame at place %d", path, (int)place);
    ls_frame_unref(&f);
}

/* Places of three turns in any order, in a video of which all, nothing, or what another has found
 * is known. */
static void starts_anywhere(const char *path, const hashes *all, const char *index)
{
    ls_error err = {0};
    ls_pingpong *p;
    uint32_t r = 7;
    ls_video *v = open_video(path, false);
    if (index && ls_video_load_index(v, index, &err))
        fail_msg("%s: %s", index, err.message);
    if (index)
        assert_int_equal(ls_video_length(v), all->count);
    assert_int_equal(ls_pingpong_open(&p, &v, 1, NULL, &err), 0);
    for (int k = 0; k < 10; k++) {
        r = r * 1664525u + 1013904223u;
        uint64_t place = (r >> 8) % (3 * all->count);
        if (ls_pingpong_seek(p, place, &err))
            fail_msg("%s, place %d: %s", path, (int)place, err.message);
        for (uint64_t i = 0; i < 7; i++)
            expect_place(p, all, place + i, path);
    }
    ls_pingpong_close(&p);
}

/* Reading goes back by a window: where it stands tells how many frames that holds. */
static size_t window_of(const char *path, size_t bytes)
{
    ls_error err = {0};
    ls_pingpong *p;
    ls_frame *f;
    uint64_t index, length = 0;
    ls_video *v = open_video(path, false);
    assert_int_equal(ls_pingpong_open(&p, &v, bytes, NULL, &err), 0);
    while (!length || ls_video_position(ls_pingpong_video(p)) == length) {
        assert_int_equal(ls_pingpong_next(p, &f, &index, &err), 0);
        ls_frame_unref(&f);
        length = ls_video_length(ls_pingpong_video(p));
    }
    const uint64_t at = ls_video_position(ls_pingpong_video(p));
    ls_pingpong_close(&p);
    return length - at;
}

/* Once there and back, the frames being those of `all`: where reading stands then. It stays at the
 * end where the way back leads through a copy, and is within the last window otherwise. */
static uint64_t position_after_way_back(const char *path, const hashes *all, size_t window_bytes)
{
    ls_error err = {0};
    ls_pingpong *p;
    ls_video *v = open_video(path, false);
    assert_int_equal(ls_pingpong_open(&p, &v, window_bytes, folder, &err), 0);
    for (uint64_t place = 0; place < 2 * all->count; place++)
        expect_place(p, all, place, path);
    const uint64_t at = ls_video_position(ls_pingpong_video(p));
    expect_place(p, all, 0, path);
    assert_int_equal(ls_pingpong_seek(p, 3 * all->count / 2, &err), 0);
    expect_place(p, all, 3 * all->count / 2, path);
    ls_pingpong_close(&p);
    return at;
}

static void long_ways_back_are_taken_once(void **state)
{
    static const struct {
        const char *name, *make;
        bool copied;
    } files[] = {
        {"one_key.mp4", X264_LONG "-g 100000 -keyint_min 100000 -sc_threshold 0 one_key.mp4", true},
        {"usual.mp4", X264_LONG "-sc_threshold 0 usual.mp4", false},
        {"no_way.h264", "F -i usual.mp4 -c copy no_way.h264", true},
    };
    (void)state;
    static hashes all;
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        shell("cd %s && F() { ffmpeg -v error -nostdin -y \"$@\"; } && %s", folder, files[i].make);
        same_as_ffmpeg(made(path, files[i].name), false, "25", "");
        hash_video(&all, path, false);
        assert_int_equal(all.count, 1900);
        const uint64_t at = position_after_way_back(path, &all, 16 * 64 * 48 * 3 / 2);
        if (files[i].copied)
            assert_int_equal(at, all.count);
        else
            assert_in_range(at, 1, 16);
        starts_anywhere(path, &all, NULL);
    }
    assert_in_range(position_after_way_back(made(path, "usual.mp4"), &all, 0), 1, 4);
}

static void windows_hold_as_many_as_fit(void **state)
{
    static const struct {
        const char *name;
        size_t bytes; /* of a frame of 162 x 118 */
    } files[] = {{"gray.mkv", 162 * 118},
                 {"yuva.mkv", 162 * 118 * 3 / 2},
                 {"turned180.mp4", 162 * 118 * 3},
                 {"turned270.mp4", 162 * 118 * 3}, // 4:4:4, for 4:2:2 would be 4:4:0
                 {"yuv444p12.mkv", 162 * 118 * 6}};
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        make(path, files[i].name);
        assert_int_equal(window_of(path, 6 * files[i].bytes), 6);
        assert_int_equal(window_of(path, 6 * files[i].bytes - 1), 5);
        assert_int_equal(window_of(path, 0), 4);
    }
}

static const char *const turned[] = {"long.mp4",  "open.ts",       "middle.ts",  "raw_long.h264",
                                     "piped.mkv", "fragments.mp4", "uneven.mkv", "two_days.mkv"};

static void any_place_of_the_sequence(void **state)
{
    (void)state;
    char path[4096], index[4096];
    made(index, "index");
    for (size_t i = 0; i < sizeof turned / sizeof *turned; i++) {
        static hashes all;
        ls_error err = {0};
        ls_frame *f;
        hash_video(&all, make(path, turned[i]), false);
        starts_anywhere(path, &all, NULL);
        ls_video *v = open_video(path, false);
        while (!ls_video_next(v, &f, &err))
            ls_frame_unref(&f);
        assert_int_equal(ls_video_save_index(v, index, &err), 0);
        ls_video_close(&v);
        starts_anywhere(path, &all, index);
        back_and_forth(path, false, i % 2 ? 1 : 200000);
    }
}

/* With an index a place is reached without reading the file from its start. */
static void an_index_leads_to_frames(void **state)
{
    (void)state;
    char path[4096], index[4096];
    ls_error err = {0};
    ls_frame *f;
    shell("cd %s && ffmpeg -v error -nostdin -y -f lavfi -i testsrc2=s=160x120:r=25:d=20 -c:v "
          "libx264 -preset ultrafast -g 50 seekable.mp4",
          folder);
    for (int saved = 0; saved < 2; saved++) {
        ls_video *v = open_video(made(path, "seekable.mp4"), false);
        if (saved)
            assert_int_equal(ls_video_load_index(v, made(index, "index"), &err), 0);
        while (!saved && !ls_video_next(v, &f, &err))
            ls_frame_unref(&f);
        assert_int_equal(ls_video_length(v), 500);
        assert_int_equal(ls_video_seek(v, 300, &err), 0);
        assert_in_range(ls_video_sought(v), 1, 100); // of 50 a key frame, 32 a way
        assert_int_equal(ls_video_save_index(v, made(index, "index"), &err), 0);
        ls_video_close(&v);
    }
}

/* Refused, and the video as it was. */
static void index_refused(ls_video *v, const char *index)
{
    ls_error err = {0};
    const uint64_t length = ls_video_length(v);
    assert_int_equal(ls_video_load_index(v, index, &err), LS_EFORMAT);
    assert_non_null(strstr(err.message, index));
    assert_int_equal(ls_video_length(v), length);
}

static void damaged_indices_are_refused(void **state)
{
    (void)state;
    char path[4096], index[4096], bad[4096];
    ls_error err = {0};
    ls_frame *f;
    ls_video *v = open_video(make(path, "long.mp4"), false);
    while (!ls_video_next(v, &f, &err))
        ls_frame_unref(&f);
    const uint64_t length = ls_video_length(v);
    assert_int_equal(ls_video_save_index(v, made(index, "good"), &err), 0);
    ls_video_close(&v);
    size_t size;
    char *data = output_of(&size, "cat %s", index);
    assert_int_equal(size, 8 + 8 * 8 + (length + 31) / 32 * 64);
    made(bad, "bad");
    v = open_video(path, false);
    for (size_t cut = 0; cut < size; cut += 5) {
        test_write(bad, data, cut);
        index_refused(v, bad);
    }
    for (size_t bit = 0; bit < 8 * size; bit++) {
        data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
        test_write(bad, data, size);
        index_refused(v, bad);
        data[bit / 8] = (char)(data[bit / 8] ^ 1 << bit % 8);
    }
    char *longer = calloc(size + 1, 1);
    memcpy(longer, data, size);
    test_write(bad, longer, size + 1);
    free(longer);
    index_refused(v, bad);
    test_write(bad, data, size);
    free(data);
    assert_int_equal(ls_video_load_index(v, bad, &err), 0);
    assert_int_equal(ls_video_length(v), length);
    ls_video_close(&v);
}

static void indices_of_others_are_refused(void **state)
{
    static const char *const others[] = {"fragments.mp4", "12fps.mp4", "sizes.ts"};
    (void)state;
    char path[4096], index[4096];
    ls_error err = {0};
    ls_video *v = open_video(make(path, "long.mp4"), false);
    const ls_video_info was = *ls_video_get_info(v);
    assert_int_equal(ls_video_save_index(v, made(index, "good"), &err), 0);
    ls_video_close(&v);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        v = open_video(make(path, others[i]), false);
        const ls_video_info *info = ls_video_get_info(v);
        assert_int_equal(info->width, was.width);
        assert_int_equal(info->height, was.height);
        assert_int_equal(info->fps_num, was.fps_num);
        index_refused(v, index);
        ls_video_close(&v);
    }
    v = open_video(make(path, "long.mp4"), true); // at another rate
    index_refused(v, index);
    assert_int_equal(ls_video_load_index(v, made(index, "nowhere"), &err), LS_ENOENT);
    ls_video_close(&v);
}

/* Every kind of picture that the module passes comes back bit by bit. */
static void frames_are_kept_losslessly(void **state)
{
    static const char *const names[] = {"gray.mkv",      "gray10.mkv",    "yuv444p12.mkv",
                                        "turned180.mp4", "turned270.mp4", "gbrp10.mkv",
                                        "long.mp4"};
    (void)state;
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        static hashes all;
        ls_error err = {0};
        ls_intermediate *kept = NULL;
        ls_frame *f;
        hash_video(&all, make(path, names[i]), false);
        ls_video *v = open_video(path, false);
        if (ls_intermediate_open(&kept, ls_video_model(v), folder, &err))
            fail_msg("%s: %s", path, err.message);
        ls_picture was = {0};
        while (!ls_video_next(v, &f, &err)) {
            was = ls_frame_picture(f);
            if (ls_intermediate_add(kept, f->av, &err))
                fail_msg("%s: %s", path, err.message);
            ls_frame_unref(&f);
        }
        for (size_t k = all.count; k-- > 0;) {
            if (ls_intermediate_get(kept, k, &f, &err))
                fail_msg("%s: %s", path, err.message);
            const ls_picture is = ls_frame_picture(f);
            assert_int_equal(is.matrix, was.matrix);
            assert_int_equal(is.full_range, was.full_range);
            assert_true(hash_frame(f) == all.at[k]);
            ls_frame_unref(&f);
        }
        assert_int_equal(ls_intermediate_get(kept, all.count, &f, &err), LS_EINVAL);
        ls_intermediate_close(&kept);
        ls_video_close(&v);
    }
}

typedef struct warnings {
    int count;
    char last[512];
} warnings;

static void keep_warning(void *opaque, int level, const char *line)
{
    warnings *w = opaque;
    assert_int_equal(level, LS_LOG_WARN);
    w->count++;
    snprintf(w->last, sizeof w->last, "%s", line);
}

/* Reads a file forwards and back to its start; what was said about it. */
static warnings warnings_of(const char *path)
{
    warnings w = {0};
    ls_log log = {.level = LS_LOG_WARN, .write = keep_warning, .opaque = &w};
    ls_error err = {0};
    ls_video *v;
    ls_frame *f;
    assert_int_equal(ls_video_open(&v, path, &(ls_video_settings){.log = &log}, &err), 0);
    for (int i = 0; i < 2; i++) {
        while (!ls_video_next(v, &f, &err))
            ls_frame_unref(&f);
        assert_int_equal(ls_video_seek(v, 0, &err), 0);
    }
    ls_video_close(&v);
    return w;
}

/* Zeros in the middle: the rest is decoded, as ffmpeg does, and a warning says so. */
static void damage_is_skipped_with_a_warning(void **state)
{
    (void)state;
    char path[4096];
    make(path, "long.mp4");
    assert_int_equal(warnings_of(path).count, 0);
    shell("cd %s && cp long.mp4 damaged.mp4 && dd if=/dev/zero of=damaged.mp4 bs=1 seek=20000 "
          "count=6000 conv=notrunc 2>/dev/null",
          folder);
    same_as_ffmpeg(made(path, "damaged.mp4"), false, "25", "");
    warnings w = warnings_of(path);
    assert_int_equal(w.count, 2); // at the first, and the sum
    assert_non_null(strstr(w.last, "damaged.mp4: "));
    w = warnings_of(make(path, "cut.mp4"));
    assert_true(w.count > 0);
    assert_non_null(strstr(w.last, "cut.mp4"));
}

#define REAL(path) cmocka_unit_test_prestate(real_files_as_ffmpeg, (void *)(uintptr_t)path)
#define RECIPES (sizeof recipes / sizeof *recipes)

int main(void)
{
    const struct CMUnitTest real[] = {
        REAL("media/demo1_video.mp4"),
        REAL("media/retalking_face_2.mp4"),
        REAL("media/odd/bt709_full_range.mp4"),
        REAL("media/odd/h264_10bits.mp4"),
        REAL("media/odd/mkv_sample_with_htc_rotation_track_name.mkv"),
        REAL("media/odd/mp4_hdr10-video-with-sdr-container.mp4"),
        REAL("media/odd/mp4_midroll-5s.mp4"),
        REAL("media/odd/mp4_sample_android_slow_motion.mp4"),
        REAL("media/odd/mp4_sample_fragmented.mp4"),
        REAL("media/odd/mp4_sample_mdat_too_long.mp4"),
        REAL("media/odd/mp4_sample_with_color_info.mp4"),
        REAL("media/odd/nasa_13013.mp4"),
        REAL("media/odd/ts_sample_h264_mpeg_audio.ts"),
        REAL("media/odd/vp9_bear-vp9-odd-dimensions.webm"),
        cmocka_unit_test(real_sizes_after_rotation),
        cmocka_unit_test(sizes_after_rotation),
        cmocka_unit_test(interlaced_before_it_is_turned),
        cmocka_unit_test(interlaced_if_wanted),
        cmocka_unit_test(interlaced_is_said_once),
        cmocka_unit_test(transparency_is_kept_if_wanted),
        cmocka_unit_test(as_many_as_in_an_mp4),
        cmocka_unit_test(source_rate),
        cmocka_unit_test(source_rate_of_a_real_file),
        cmocka_unit_test(same_frames_again),
        cmocka_unit_test(same_frames_of_real_files_again),
        cmocka_unit_test(long_ways_back_are_taken_once),
        cmocka_unit_test(windows_hold_as_many_as_fit),
        cmocka_unit_test(any_place_of_the_sequence),
        cmocka_unit_test(an_index_leads_to_frames),
        cmocka_unit_test(damaged_indices_are_refused),
        cmocka_unit_test(indices_of_others_are_refused),
        cmocka_unit_test(frames_are_kept_losslessly),
        cmocka_unit_test(what_is_no_video_is_refused),
        cmocka_unit_test(a_file_without_a_whole_frame_is_refused),
        cmocka_unit_test(a_hopeless_real_file_is_refused),
        cmocka_unit_test(damage_is_skipped_with_a_warning),
    };
    enum { REAL_TESTS = sizeof real / sizeof *real };
    struct CMUnitTest tests[RECIPES + REAL_TESTS];
    for (size_t i = 0; i < RECIPES; i++)
        tests[i] = (struct CMUnitTest){.name = recipes[i].name,
                                       .test_func = made_files_as_ffmpeg,
                                       .initial_state = (void *)(uintptr_t)&recipes[i]};
    memcpy(tests + RECIPES, real, sizeof real);
    return cmocka_run_group_tests_name("media_video", tests, make_folder, remove_folder);
}
