#include "media/muxer.h"

#include <libavutil/avstring.h>

int ls_muxer_open(ls_muxer *m, const AVOutputFormat *format, ls_error *err)
{
    const int ret = avformat_alloc_output_context2(&m->format, format, NULL, NULL);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot write such a file");
    m->format->flags |= AVFMT_FLAG_BITEXACT;
    return 0;
}

static int write_header(AVFormatContext *f, const char *movflags)
{
    AVDictionary *options = NULL;
    if (movflags)
        av_dict_set(&options, "movflags", movflags, 0);
    const int ret = avformat_write_header(f, &options);
    av_dict_free(&options);
    return ret;
}

int ls_muxer_start_memory(ls_muxer *m, const char *movflags, ls_error *err)
{
    if (avio_open_dyn_buf(&m->format->pb) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    const int ret = write_header(m->format, movflags);
    return ret < 0 ? ls_fail_av(err, ret, "cannot begin the stream") : 0;
}

int ls_muxer_start(ls_muxer *m, const char *path, const char *movflags, ls_error *err)
{
    int ret = ls_output_open(&m->file, path, err);
    if (ret) {
        m->file.path = NULL;
        return ret;
    }
    AVFormatContext *f = m->format;
    f->url = av_asprintf("file:%s", m->file.temporary);
    if (!f->url)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ret = avio_open(&f->pb, f->url, AVIO_FLAG_WRITE);
    if (ret >= 0)
        ret = write_header(f, movflags);
    return ret < 0 ? ls_fail_av(err, ret, "cannot write %s", path) : 0;
}

int ls_muxer_check(const ls_muxer *m, int averror, ls_error *err)
{
    if (averror >= 0 && m->format->pb->error < 0)
        averror = m->format->pb->error;
    const char *path = m->file.path ? m->file.path : "a part of it";
    return averror < 0 ? ls_fail_av(err, averror, "cannot write %s", path) : 0;
}

int ls_muxer_end(ls_muxer *m, ls_error *err)
{
    int ret = ls_muxer_check(m, av_write_trailer(m->format), err);
    if (ret)
        return ret;
    AVIOContext *pb = m->format->pb;
    avio_flush(pb);
    const int64_t end = m->append ? avio_seek(pb, avio_size(pb), SEEK_SET) : 0;
    if (m->append && end >= 0) {
        m->append(m->format);
        avio_flush(pb);
    }
    ret = ls_muxer_check(m, end < 0 ? (int)end : 0, err);
    const int closed = ret ? 0 : avio_closep(&m->format->pb);
    return closed < 0 ? ls_fail_av(err, closed, "cannot write %s", m->file.path) : ret;
}

int ls_muxer_name(ls_muxer *m, int ret, ls_error *err)
{
    ret = ls_output_close(&m->file, ret, err);
    m->file.path = NULL;
    return ret;
}

void ls_muxer_close(ls_muxer *m)
{
    if (m->format)
        avio_closep(&m->format->pb);
    if (m->file.path)
        ls_muxer_name(m, LS_ECANCELED, NULL);
    avformat_free_context(m->format);
    m->format = NULL;
}
