#include "media/input.h"

#include <errno.h>
#include <libavutil/avstring.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#define NOT_MEDIA                                                                                  \
    "is not a video or audio file that can be read, or it is cut off (an mp4 file without its "    \
    "end "                                                                                         \
    "has no index)"

/* Movies that keep their data elsewhere may not name other files. */
static int open_no_file(AVFormatContext *s, AVIOContext **pb, const char *url, int flags,
                        AVDictionary **options)
{
    (void)s, (void)pb, (void)url, (void)flags, (void)options;
    return AVERROR(EPERM);
}

static int is_canceled(void *opaque)
{
    return ls_canceled(opaque);
}

int ls_input_check_file(const char *path, ls_error *err)
{
    struct stat st;
    if (stat(path, &st) && strstr(path, "://"))
        return ls_fail(err, LS_ENOENT, "%s is a URL; only files are read, so download it first",
                       path);
    if (stat(path, &st))
        return ls_fail_errno(err, errno, "cannot open %s", path);
    if (S_ISDIR(st.st_mode))
        return ls_fail(err, LS_EFORMAT, "%s is a directory; a video or audio file is expected",
                       path);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return ls_fail(err, LS_EUNSUPPORTED,
                       "%s can be read only once, which is not enough; save it to a file first",
                       path);
    if (!st.st_size && S_ISREG(st.st_mode))
        return ls_fail(err, LS_EFORMAT, "%s is empty", path);
    return 0;
}

int ls_input_fail_format(const char *path, const char *otherwise, ls_error *err)
{
    uint8_t head[32] = {0};
    FILE *f = fopen(path, "rbe");
    const char *kind = NULL;
    if (f && fread(head, 1, sizeof head, f) == sizeof head) {
        if (!memcmp(head, "RIFF", 4) && !memcmp(head + 8, "WEBPVP8X", 8) && head[20] & 2)
            kind = "an animated WebP";
        else if (!memcmp(head + 4, "ftypavif", 8) || !memcmp(head + 4, "ftypavis", 8))
            kind = "an AVIF picture";
        else if (!memcmp(head + 4, "ftyphei", 7) || !memcmp(head + 4, "ftypmif1", 8))
            kind = "an HEIF picture";
    }
    if (f)
        fclose(f);
    return kind ? ls_fail(err, LS_EUNSUPPORTED,
                          "%s is %s, which FFmpeg %s cannot decode; convert it to a video first",
                          path, kind, av_version_info())
                : ls_fail(err, LS_EFORMAT, "%s %s", path, otherwise);
}

/* The container, by the file's beginning. What names other files is refused before it could open
 * them. */
static int find_format(const AVInputFormat **format, AVIOContext *pb, const char *path,
                       ls_error *err)
{
    static const char *const lists[] = {"concat", "dash", "hls",    "imf", "rtsp",
                                        "sap",    "sdp",  "vobsub", NULL};
    const char *name = strpbrk(path, "%*?{") ? "" : path; // would be a pattern of names
    int ret = av_probe_input_buffer2(pb, format, name, NULL, 0, 0);
    if (ret >= 0 && (*format)->flags & AVFMT_NOFILE) { // a picture's name; it is what it holds
        *format = NULL;
        ret = av_probe_input_buffer2(pb, format, "", NULL, 0, 0);
    }
    if (ret < 0 && ret != AVERROR_INVALIDDATA)
        return ls_fail_av(err, ret, "cannot read %s", path);
    if (ret < 0 || (*format)->flags & AVFMT_NOFILE)
        return ls_input_fail_format(path, NOT_MEDIA, err);
    if (!strcmp((*format)->name, "tty"))
        return ls_fail(err, LS_EFORMAT, "%s is a text file, not a video or audio file", path);
    for (int i = 0; lists[i]; i++)
        if (!strcmp((*format)->name, lists[i]))
            return ls_fail(err, LS_EFORMAT,
                           "%s is a text that names other files; give the video or audio itself",
                           path);
    return 0;
}

int ls_input_open(AVFormatContext **out, const char *path, const ls_cancel *cancel, ls_error *err)
{
    const AVInputFormat *format = NULL;
    AVIOContext *pb = NULL;
    *out = NULL;
    int ret = ls_input_check_file(path, err);
    if (ret)
        return ret;
    const AVIOInterruptCB interrupt = {is_canceled, (void *)cancel};
    char *url = av_asprintf("file:%s", path); // so that a colon in the name is part of it
    AVFormatContext *f = avformat_alloc_context();
    int tried = url && f ? avio_open2(&pb, url, AVIO_FLAG_READ, &interrupt, NULL) : AVERROR(ENOMEM);
    if (tried < 0)
        ret = ls_fail_av(err, tried, "cannot open %s", path);
    else
        ret = find_format(&format, pb, path, err);
    if (!ret) {
        f->pb = pb;
        f->io_open = open_no_file;
        f->interrupt_callback = interrupt;
        tried = avformat_open_input(&f, url, format, NULL);
        if (tried == AVERROR_INVALIDDATA)
            ret = ls_input_fail_format(path, NOT_MEDIA, err);
        else if (tried < 0)
            ret = ls_fail_av(err, tried, "cannot open %s", path);
    }
    if (ret && ls_canceled(cancel)) // what was read is then too short for any format
        ret = ls_fail(err, LS_ECANCELED, "canceled");
    av_free(url);
    if (ret) {
        avformat_free_context(f); // NULL if it could not be opened
        avio_close(pb);
        return ret;
    }
    f->flags &= ~AVFMT_FLAG_CUSTOM_IO; // avformat_close_input closes the file
    tried = avformat_find_stream_info(f, NULL);
    if (tried < 0) {
        avformat_close_input(&f);
        return ls_fail_av(err, tried, "cannot read %s", path);
    }
    *out = f;
    return 0;
}

int ls_input_check_read(const AVFormatContext *format, const char *path, ls_error *err)
{
    const int error = format->pb ? format->pb->error : 0;
    return error < 0 && error != AVERROR_EOF ? ls_fail_av(err, error, "cannot read %s", path) : 0;
}

bool ls_input_has_alpha(const AVStream *st)
{
    const AVDictionaryEntry *mode = av_dict_get(st->metadata, "alpha_mode", NULL, 0);
    return mode && !strcmp(mode->value, "1");
}

/* libavcodec's own decoders of VP8 and VP9 know no transparency. */
static const AVCodec *find_decoder(const AVStream *st)
{
    const enum AVCodecID id = st->codecpar->codec_id;
    const AVCodec *codec = !ls_input_has_alpha(st) ? NULL
                           : id == AV_CODEC_ID_VP9 ? avcodec_find_decoder_by_name("libvpx-vp9")
                           : id == AV_CODEC_ID_VP8 ? avcodec_find_decoder_by_name("libvpx")
                                                   : NULL;
    return codec ? codec : avcodec_find_decoder(id);
}

int ls_decoder_open(AVCodecContext **out, const AVStream *st, int threads, ls_error *err)
{
    const AVCodec *codec = find_decoder(st);
    const char *tag = av_fourcc2str(st->codecpar->codec_tag);
    if (!codec && st->codecpar->codec_id == AV_CODEC_ID_NONE)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "FFmpeg %s does not know the codec of stream %d, marked \"%s\"",
                       av_version_info(), st->index, tag);
    if (!codec)
        return ls_fail(err, LS_EUNSUPPORTED,
                       "FFmpeg %s has no decoder for %s, the codec of stream %d, marked \"%s\"",
                       av_version_info(), avcodec_get_name(st->codecpar->codec_id), st->index, tag);
    AVCodecContext *c = *out = avcodec_alloc_context3(codec);
    if (!c)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = avcodec_parameters_to_context(c, st->codecpar);
    c->pkt_timebase = st->time_base;
    c->thread_count = threads;
    c->max_pixels = LS_MAX_FRAME_PIXELS;
    if (ret >= 0)
        ret = avcodec_open2(c, codec, NULL);
    if (ret < 0) {
        avcodec_free_context(out);
        return ls_fail_av(err, ret, "cannot open the decoder for %s", codec->name);
    }
    return 0;
}

int ls_input_open_stream(AVFormatContext **format, AVCodecContext **decoder, const char *path,
                         enum AVMediaType type, int wanted, int threads, const ls_cancel *cancel,
                         ls_error *err)
{
    int ret = ls_input_open(format, path, cancel, err);
    if (ret)
        return ret;
    const int stream = ls_input_choose_stream(*format, path, type, wanted, err);
    if (stream < 0)
        return stream;
    for (unsigned i = 0; i < (*format)->nb_streams; i++)
        if ((int)i != stream)
            (*format)->streams[i]->discard = AVDISCARD_ALL;
    ret = ls_decoder_open(decoder, (*format)->streams[stream], threads, err);
    return ret ? ls_fail_context(err, ret, "%s", path) : stream;
}
