#include "media/input.h"

#include <errno.h>
#include <libavutil/avstring.h>
#include <string.h>
#include <sys/stat.h>

/* Playlists, and movies that keep their data elsewhere, may not name other files. */
static int open_this_file_only(AVFormatContext *s, AVIOContext **pb, const char *url, int flags,
                               AVDictionary **options)
{
    return pb == &s->pb ? avio_open2(pb, url, flags, &s->interrupt_callback, options)
                        : AVERROR(EPERM);
}

static int is_canceled(void *opaque)
{
    return ls_canceled(opaque);
}

int ls_input_open(AVFormatContext **out, const char *path, const ls_cancel *cancel, ls_error *err)
{
    struct stat st;
    *out = NULL;
    if (stat(path, &st))
        return ls_fail_errno(err, errno, "cannot open %s", path);
    if (S_ISDIR(st.st_mode))
        return ls_fail(err, LS_EFORMAT, "%s is a directory; a video or audio file is expected",
                       path);
    if (!st.st_size && S_ISREG(st.st_mode))
        return ls_fail(err, LS_EFORMAT, "%s is empty", path);
    char *url = av_asprintf("file:%s", path); // so that a colon in the name is part of it
    if (!url)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    *out = avformat_alloc_context();
    int ret = AVERROR(ENOMEM);
    if (*out) {
        (*out)->io_open = open_this_file_only;
        (*out)->interrupt_callback = (AVIOInterruptCB){is_canceled, (void *)cancel};
        ret = avformat_open_input(out, url, NULL, NULL);
    }
    av_free(url);
    if (ret == AVERROR_INVALIDDATA)
        return ls_fail(err, LS_EFORMAT,
                       "%s is not a video or audio file that can be read, or it is cut off (an mp4 "
                       "file without its end has no index)",
                       path);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot open %s", path);
    const char *kind = (*out)->iformat->name;
    if (!strcmp(kind, "tty") || !strcmp(kind, "concat")) {
        avformat_close_input(out);
        return ls_fail(err, LS_EFORMAT, "%s is a text file, not a video or audio file", path);
    }
    ret = avformat_find_stream_info(*out, NULL);
    if (ret < 0) {
        avformat_close_input(out);
        return ls_fail_av(err, ret, "cannot read %s", path);
    }
    return 0;
}

int ls_input_check_read(const AVFormatContext *format, const char *path, ls_error *err)
{
    const int error = format->pb ? format->pb->error : 0;
    return error < 0 && error != AVERROR_EOF ? ls_fail_av(err, error, "cannot read %s", path) : 0;
}

int ls_decoder_open(AVCodecContext **out, const AVStream *st, int threads, ls_error *err)
{
    const AVCodec *codec = avcodec_find_decoder(st->codecpar->codec_id);
    if (!codec)
        return ls_fail(err, LS_EUNSUPPORTED, "there is no decoder for %s",
                       avcodec_get_name(st->codecpar->codec_id));
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
