/* What a probe says of files against ffprobe, and against what decoding them gives. */
#include "ffmpeg.h"
#include "media.h"

#include "base/cancel.h"
#include "latentsync/probe.h"
#include "media/codecs.h"
#include "media/video.h"

#include <jansson.h>
#include <math.h>

static const ls_probe *open_probe(const char *path)
{
    const ls_probe *p;
    ls_error err = {0};
    if (ls_probe_open(&p, path, NULL, &err))
        fail_msg("%s", err.message);
    return p;
}

static double number(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? atof(s) : json_number_value(json_object_get(object, key));
}

static void same_stream(const ls_probe_stream *s, const json_t *j)
{
    assert_int_equal(s->index, number(j, "index"));
    const json_t *cover = json_object_get(json_object_get(j, "disposition"), "attached_pic");
    const char *type = json_string_value(json_object_get(j, "codec_type"));
    assert_string_equal(strcmp(s->type, "image") ? s->type : "video", type);
    assert_true(!json_integer_value(cover) || !strcmp(s->type, "image"));
    assert_string_equal(s->codec, json_string_value(json_object_get(j, "codec_name")));
    if (fabs(s->seconds - number(j, "duration")) > 1e-6)
        fail_msg("%f seconds instead of %f", s->seconds, number(j, "duration"));
    if (!strcmp(type, "video")) {
        char rate[64];
        snprintf(rate, sizeof rate, "%d/%d", s->fps_num, s->fps_den);
        if (s->fps_num)
            assert_string_equal(rate, json_string_value(json_object_get(j, "avg_frame_rate")));
        assert_int_equal(s->width, number(j, "width"));
        assert_int_equal(s->height, number(j, "height"));
        assert_string_equal(s->pixel_format, json_string_value(json_object_get(j, "pix_fmt")));
        const json_t *side = json_array_get(json_object_get(j, "side_data_list"), 0);
        assert_int_equal(((int)number(side, "rotation") + s->rotation + 360) % 360, 0);
    } else if (!strcmp(type, "audio")) {
        assert_int_equal(s->sample_rate, number(j, "sample_rate"));
        assert_int_equal(s->channels, number(j, "channels"));
    }
}

static void same_as_ffprobe(const ls_probe *p)
{
    FILE *f = media_pipe("ffprobe -v error -show_format -show_streams -of json '%s'", p->path);
    json_t *j = json_loadf(f, 0, NULL);
    pclose(f);
    assert_non_null(j);
    const json_t *format = json_object_get(j, "format"), *streams = json_object_get(j, "streams");
    const char *name = json_string_value(json_object_get(format, "format_name"));
    assert_int_equal(p->bytes, number(format, "size"));
    assert_int_equal(p->stream_count, json_array_size(streams));
    const bool is_named =
        !strcmp(name, "image2"); // what it goes by is that; nothing is to be compared
    if (!is_named) {
        assert_string_equal(p->format, name);
        assert_true(fabs(p->seconds - number(format, "duration")) < 1e-6);
    }
    for (size_t i = 0; i < p->stream_count && !is_named; i++)
        same_stream(&p->streams[i], json_array_get(streams, i));
    json_decref(j);
}

static bool has_note(const ls_probe *p, const char *words)
{
    for (size_t i = 0; i < p->note_count; i++)
        if (strstr(p->notes[i], words))
            return true;
    return false;
}

/* Size and length are those that a job finds. */
static void same_as_decoded(const ls_probe *p)
{
    ls_video *v;
    ls_error err = {0};
    if (ls_video_open(&v, p->path, &(ls_video_settings){.threads = 1}, &err))
        fail_msg("%s", err.message);
    assert_int_equal(p->width, ls_video_get_info(v)->width);
    assert_int_equal(p->height, ls_video_get_info(v)->height);
    assert_int_equal(ls_video_seek(v, UINT64_MAX, &err), LS_EOF);
    const double error = (double)p->frames - (double)ls_video_length(v);
    if (fabs(error) > 3)
        fail_msg("%d frames instead of %d", (int)p->frames, (int)ls_video_length(v));
    ls_video_close(&v);
}

#define LAVFI "ffmpeg -v error -nostdin -y -f lavfi -i "
#define X264 " -c:v libx264 -preset ultrafast -pix_fmt yuv420p "

static void files_are_described(void **state)
{
    (void)state;
    static const struct {
        const char *file, *make; /* after LAVFI */
        int video, speech;
        size_t w, h;         /* upright */
        const char *note[2]; /* words of notes that must be there */
    } cases[] = {
        {"plain.mp4", "testsrc2=s=64x48:r=25:d=1" X264 "plain.mp4", 1, 0, 64, 48, {0}},
        {"turned.mp4",
         "testsrc2=s=64x48:r=25:d=1" X264 "t.mp4 && " ROTATE("t.mp4", "270", "turned.mp4"),
         1,
         0,
         48,
         64,
         {"turned", "48 x 64"}},
        {"rate.mp4", "testsrc2=s=64x48:r=30:d=1" X264 "rate.mp4", 1, 0, 64, 48, {"dropped"}},
        {"slow.mkv", "testsrc2=s=64x48:r=12:d=1" X264 "slow.mkv", 1, 0, 64, 48, {"repeated"}},
        {"vfr.mp4",
         "testsrc2=s=64x48:r=30:d=2 -vf \"select='not(mod(n,3))+lt(n,20)'\" -fps_mode vfr" X264
         "vfr.mp4",
         1,
         0,
         64,
         48,
         {"varies"}},
        {"vfr.mkv", /* whose header does not say so */
         "testsrc2=s=64x48:r=30:d=2 -vf \"select='not(mod(n,3))+lt(n,20)'\" -fps_mode vfr" X264
         "vfr.mkv",
         1,
         0,
         64,
         48,
         {"become 25"}},
        {"odd.mkv",
         "testsrc2=s=64x48:r=25:d=1 -vf scale=65:49 -c:v ffv1 -pix_fmt yuv444p odd.mkv",
         1,
         0,
         65,
         49,
         {"66 x 50"}},
        {"audio.wav", "sine=d=1:r=44100 -ac 2 audio.wav", 0, 1, 0, 0, {"mixed to mono"}},
        {"image.png",
         "testsrc2=s=64x48:r=25 -frames:v 1 -pix_fmt rgb24 image.png",
         1,
         0,
         64,
         48,
         {"still image", "converted from rgb24"}},
        {"photo.jpg", /* more than is looked at first */
         "testsrc2=s=1280x720:r=25 -frames:v 1 -vf noise=alls=60 -q:v 2 photo.jpg",
         1,
         0,
         1280,
         720,
         {"still image"}},
        {"photo.bmp", "testsrc2=s=64x48:r=25 -frames:v 1 photo.bmp", 1, 0, 64, 48, {"still image"}},
        {"cover.mp3",
         "sine=d=1:r=44100 -f lavfi -i testsrc2=s=64x48:d=0.04 -map 0 -map 1 -c:v png "
         "-c:a libmp3lame -disposition:v attached_pic cover.mp3",
         0,
         1,
         0,
         0,
         {0}},
        {"fields.mkv",
         "testsrc2=s=64x48:r=25:d=1 -vf setfield=tff -c:v mpeg2video -flags +ildct+ilme fields.mkv",
         1,
         0,
         64,
         48,
         {"deinterlaced"}},
        {"text.mkv",
         "testsrc2=s=64x48:r=25:d=1" X264 "v.mp4 && printf "
         "'1\\n00:00:00,000 --> 00:00:01,000\\nText\\n' > t.srt && printf "
         "';FFMETADATA1\\n[CHAPTER]\\nSTART=0\\nEND=1000000000\\n' > c.txt && ffmpeg -v error "
         "-nostdin -y -i v.mp4 -i t.srt -i c.txt -map 0 -map 1 -c:v copy text.mkv",
         1,
         0,
         64,
         48,
         {"1 stream of subtitles", "1 chapter:"}},
        {"alpha.mov",
         "testsrc2=s=64x48:r=25:d=1 -c:v qtrle -pix_fmt argb alpha.mov",
         1,
         0,
         64,
         48,
         {"Transparency", "converted from argb"}},
        {"two.mkv",
         "testsrc2=s=64x48:r=25:d=1 -f lavfi -i testsrc2=s=96x64:r=25:d=1 -f lavfi -i "
         "sine=d=1 -map 0 -map 1 -map 2" X264 "-disposition:v 0 two.mkv",
         1,
         1,
         96,
         64,
         {"Of 2 video streams, stream 1"}},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media_run(LAVFI "%s", cases[i].make);
        const ls_probe *p = open_probe(media_path(path, cases[i].file));
        print_message("# %s: %s\n", cases[i].file, p->note_count ? p->notes[0] : "");
        same_as_ffprobe(p);
        assert_int_equal(p->is_video, cases[i].video);
        assert_int_equal(p->is_speech, cases[i].speech);
        assert_int_equal(p->width, cases[i].w);
        assert_int_equal(p->height, cases[i].h);
        int used = 0;
        for (size_t k = 0; k < p->stream_count; k++)
            used += p->streams[k].used;
        assert_int_equal(used, cases[i].video + cases[i].speech);
        if (cases[i].video)
            same_as_decoded(p);
        for (int k = 0; k < 2 && cases[i].note[k]; k++)
            if (!has_note(p, cases[i].note[k]))
                fail_msg("%s: no note says \"%s\"", cases[i].file, cases[i].note[k]);
        assert_true(cases[i].note[0] || !p->note_count);
        ls_probe_free(&p);
        assert_null(p);
    }
}

/* Files of several streams, the one that is meant, and what says so. */
static void the_stream_that_moves_and_lasts_is_chosen(void **state)
{
    (void)state;
#define STILL LAVFI "testsrc2=s=128x96:r=25 -frames:v 1 -c:v mjpeg s.mkv && "
#define CLIP LAVFI "testsrc2=s=64x48:r=25:d=2" X264 "v.mp4 && "
#define BOTH "ffmpeg -v error -nostdin -y -i s.mkv -i v.mp4 -map 0 -map 1 -c copy "
    static const struct {
        const char *file, *make, *type;
        int stream;
    } cases[] = {
        {"cover.mp4", STILL CLIP BOTH "cover.mp4", "video", 1},
        {"cover.mkv", STILL CLIP BOTH "cover.mkv", "video", 1},
        {"untold.mkv", STILL CLIP BOTH "-f matroska - | cat > untold.mkv", "video", 1},
        {"cover.nut", STILL CLIP BOTH "cover.nut", "video", 1},
        {"still.mp4", STILL "ffmpeg -v error -nostdin -y -i s.mkv -c copy still.mp4", "video", 0},
        {"slow.mp4", LAVFI "testsrc2=s=128x96:r=1:d=2 -c:v mjpeg s.mkv && " CLIP BOTH "slow.mp4",
         "video", 1},
        {"brief.mkv",
         LAVFI "testsrc2=s=128x96:r=25:d=0.4 -c:v mjpeg s.mkv && " CLIP BOTH "brief.mkv", "video",
         1},
        {"larger.mkv",
         LAVFI "testsrc2=s=128x96:r=25:d=1.5 -c:v mjpeg s.mkv && " CLIP BOTH
               "-disposition:v default larger.mkv",
         "video", 0},
        {"default.mkv",
         LAVFI "testsrc2=s=128x96:r=25:d=1.5 -c:v mjpeg s.mkv && " CLIP BOTH
               "-disposition:v:0 0 -disposition:v:1 default default.mkv",
         "video", 1},
        {"brief.mka",
         LAVFI "sine=d=0.2 -f lavfi -i sine=d=2 -map 0 -map 1 -ac:a:0 2 -c:a flac brief.mka",
         "audio", 1},
        {"channels.mka",
         LAVFI "sine=d=2 -f lavfi -i sine=d=1.5 -map 0 -map 1 -ac:a:1 2 -c:a flac "
               "-disposition:a default channels.mka",
         "audio", 1},
        {"unknown.m4a",
         LAVFI "sine=d=1 -map 0 -map 0 -ac:a:0 2 -c:a aac unknown.m4a && "
               "LC_ALL=C sed -i '0,/mp4a/s//zzzz/;0,/esds/s//zsds/' unknown.m4a",
         "audio", 1},
    };
    char path[4096];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        media_run("%s", cases[i].make);
        const ls_probe *p = open_probe(media_path(path, cases[i].file));
        int used = -1;
        for (size_t k = 0; k < p->stream_count; k++)
            if (p->streams[k].used && !strcmp(p->streams[k].type, cases[i].type))
                used = p->streams[k].index;
        if (used != cases[i].stream)
            fail_msg("%s: stream %d instead of %d", cases[i].file, used, cases[i].stream);
        ls_probe_free(&p);
    }
}

/* A wanted stream is used even if another would be chosen; one that is not there is refused. */
static void the_wanted_stream_is_used(void **state)
{
    (void)state;
    static const int index[] = {0, 1, 2, 3}, width[] = {128, 64, 0, 0};
    char path[4096];
    media_run(STILL CLIP "ffmpeg -v error -nostdin -y -i s.mkv -i v.mp4 -f lavfi -i sine=d=1 "
                         "-map 0 -map 1 -map 2 -c:v copy wanted.mp4");
    for (size_t i = 0; i < sizeof index / sizeof *index; i++) {
        ls_video *v;
        ls_error err = {0};
        const int ret = ls_video_open(&v, media_path(path, "wanted.mp4"),
                                      &(ls_video_settings){.stream = 1 + index[i]}, &err);
        if (width[i]) {
            assert_int_equal(ret, 0);
            assert_int_equal(ls_video_get_info(v)->width, width[i]);
            assert_int_equal(ls_video_get_info(v)->stream, index[i]);
            assert_int_equal(ls_video_get_info(v)->streams, 2);
        } else {
            assert_int_equal(ret, LS_EINVAL);
            assert_string_equal(err.option, "video-stream");
            assert_non_null(strstr(err.message, "0 is video (mjpeg), 1 is video (h264), 2 is "
                                                "audio (aac)"));
        }
        ls_video_close(&v);
    }
}

static void broken_streams_are_no_failure(void **state)
{
    (void)state;
    char path[4096];
    media_run(LAVFI "testsrc2=s=64x48:r=25:d=1 -f lavfi -i sine=d=1" X264
                    "-c:a pcm_s16le b.mkv && ffmpeg -v error -nostdin -y -i b.mkv -map 0 -c copy "
                    "-bsf:v noise=amount=1 broken.mkv");
    const ls_probe *p = open_probe(media_path(path, "broken.mkv"));
    assert_int_equal(p->is_speech, 1);
    assert_int_equal(p->stream_count, 2);
    if (!p->is_video)
        assert_true(has_note(p, "no frame of the video can be decoded"));
    ls_probe_free(&p);
}

static void other_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int code;
    } cases[] = {{"text.txt", LS_EFORMAT},   {"empty.mp4", LS_EFORMAT}, {"cut.mp4", LS_EFORMAT},
                 {"missing.mp4", LS_ENOENT}, {"folder", LS_EFORMAT},    {"pipe", LS_EUNSUPPORTED}};
    char path[4096];
    media_run("echo 'Just a line of text.' > text.txt && : > empty.mp4 && mkdir folder && "
              "mkfifo pipe && " LAVFI "testsrc2=s=64x48:r=25:d=1" X264
              "w.mp4 && head -c 2000 w.mp4 > cut.mp4");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const ls_probe *p = (const ls_probe *)path;
        ls_error err = {0};
        assert_int_equal(ls_probe_open(&p, media_path(path, cases[i].file), NULL, &err),
                         cases[i].code);
        assert_null(p);
        assert_non_null(strstr(err.message, cases[i].file));
        ls_probe_free(&p);
    }
}

static void a_canceled_probe_ends(void **state)
{
    (void)state;
    char path[4096];
    media_run(LAVFI "testsrc2=s=64x48:r=25:d=1" X264 "c.mp4");
    ls_cancel *c = ls_cancel_new();
    const ls_probe *p;
    ls_error err = {0};
    assert_int_equal(ls_probe_open(&p, media_path(path, "c.mp4"), c, &err), 0);
    ls_probe_free(&p);
    ls_cancel_request(c);
    assert_int_equal(ls_probe_open(&p, path, c, &err), LS_ECANCELED);
    assert_null(p);
    ls_cancel_free(&c);
}

int main(void)
{
    ls_media_show_libav_messages(false);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_described),
        cmocka_unit_test(the_stream_that_moves_and_lasts_is_chosen),
        cmocka_unit_test(the_wanted_stream_is_used),
        cmocka_unit_test(broken_streams_are_no_failure),
        cmocka_unit_test(other_files_are_refused),
        cmocka_unit_test(a_canceled_probe_ends),
    };
    return cmocka_run_group_tests_name("media_probe", tests, media_setup, media_teardown);
}
