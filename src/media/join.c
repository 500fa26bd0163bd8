#include "media/join.h"
#include "media/audio_out.h"
#include "media/encoder.h"
#include "base/alloc.h"
#include "base/output.h"

#include <libavutil/avstring.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct ls_join {
    ls_join_settings s;
    ls_output_file file; /* its path is NULL while there is none */
    AVFormatContext *mux;
    AVCodecContext *encoder; /* as those of the segments; makes nothing here */
    AVStream *stream;
    ls_audio_out *audio;
    AVPacket *packet;
    uint64_t frames; /* of the segments so far */
};

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int guess_format(const AVOutputFormat **format, const ls_join_settings *s, ls_error *err)
{
    struct stat st;
    *format = av_guess_format(NULL, s->path, NULL);
    if (!stat(s->path, &st) && S_ISDIR(st.st_mode))
        return ls_fail(err, LS_EINVAL, "%s is a directory; name a file to write", s->path);
    if (is_same_file(s->path, s->audio) || is_same_file(s->path, ls_video_path(s->encoding->like)))
        return ls_fail(err, LS_EINVAL, "%s is an input; give the output another name", s->path);
    if (!*format || (*format)->video_codec == AV_CODEC_ID_NONE ||
        !((*format)->flags & AVFMT_GLOBALHEADER))
        return ls_fail(err, LS_EINVAL,
                       "%s: the kind of file is told by the extension; use .mp4, .mkv or .mov",
                       s->path);
    return 0;
}

static bool is_mp4(const ls_join *j)
{
    return strstr(j->mux->oformat->name, "mp4") || strstr(j->mux->oformat->name, "mov");
}

/* The muxer and its two streams. */
static int open_streams(ls_join *j, const ls_log *log, ls_error *err)
{
    const AVOutputFormat *format;
    int ret = guess_format(&format, &j->s, err);
    if (ret)
        return ret;
    j->packet = av_packet_alloc();
    if (!j->packet || avformat_alloc_output_context2(&j->mux, format, NULL, NULL) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    j->mux->flags |= AVFMT_FLAG_BITEXACT;
    j->mux->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL; // FLAC in mp4
    ret = ls_encoder_open(&j->encoder, j->s.encoding, log, err);
    if (ret)
        return ret;
    j->stream = ls_encoder_stream(j->mux, j->encoder);
    if (!j->stream)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (j->encoder->codec_id == AV_CODEC_ID_HEVC && !strcmp(format->name, "mp4"))
        j->stream->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1'); // what Apple's players want
    return ls_audio_out_open(&j->audio, j->s.audio, j->mux, err);
}

int ls_join_check(const ls_join_settings *s, ls_error *err)
{
    ls_join *j = ls_calloc_array(1, sizeof *j);
    if (!j)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    j->s = *s;
    uint8_t *header = NULL;
    int ret = open_streams(j, s->log, err);
    if (!ret && avio_open_dyn_buf(&j->mux->pb) < 0)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        int tried = avformat_write_header(j->mux, NULL);
        if (tried < 0)
            ret = ls_fail_av(err, tried, "%s cannot hold what %s encodes; use .mkv", s->path,
                             s->encoding->codec);
        avio_close_dyn_buf(j->mux->pb, &header);
        j->mux->pb = NULL;
        av_free(header);
    }
    ls_join_close(&j);
    return ret;
}

static int open_file(ls_join *j, ls_error *err)
{
    int ret = ls_output_open(&j->file, j->s.path, err);
    if (ret)
        j->file.path = NULL;
    if (ret)
        return ret;
    AVDictionary *options = NULL;
    j->mux->url = av_asprintf("file:%s", j->file.temporary);
    if (!j->mux->url)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ret = avio_open(&j->mux->pb, j->mux->url, AVIO_FLAG_WRITE);
    if (is_mp4(j))
        av_dict_set(&options, "movflags", "+faststart", 0);
    if (ret >= 0)
        ret = avformat_write_header(j->mux, &options);
    av_dict_free(&options);
    return ret < 0 ? ls_fail_av(err, ret, "cannot write %s", j->s.path) : 0;
}

int ls_join_open(ls_join **out, const ls_join_settings *s, ls_error *err)
{
    ls_join *j = *out = ls_calloc_array(1, sizeof *j);
    if (!j)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    j->s = *s;
    int ret = open_streams(j, NULL, err);
    if (!ret)
        ret = open_file(j, err);
    if (ret)
        ls_join_close(out);
    return ret;
}

void ls_join_close(ls_join **pj)
{
    ls_join *j = *pj;
    if (!j)
        return;
    ls_audio_out_close(&j->audio);
    avcodec_free_context(&j->encoder);
    if (j->mux)
        avio_closep(&j->mux->pb);
    if (j->file.path)
        ls_output_close(&j->file, LS_ECANCELED, NULL);
    avformat_free_context(j->mux);
    av_packet_free(&j->packet);
    free(j);
    *pj = NULL;
}

const char *ls_join_audio_mode(const ls_join *j)
{
    return ls_audio_out_copies(j->audio) ? "copied" : "AAC";
}

static int check_file(const ls_join *j, int ret, ls_error *err)
{
    if (ret >= 0 && j->mux->pb->error < 0)
        ret = j->mux->pb->error;
    return ret < 0 ? ls_fail_av(err, ret, "cannot write %s", j->s.path) : 0;
}

/* The packet in j->packet, the `n`th of its segment. Segments are closed, so decoding runs through
 * all of them with the same lead. */
static int write_packet(ls_join *j, uint64_t n, ls_error *err)
{
    AVPacket *p = j->packet;
    p->stream_index = j->stream->index;
    p->pts += (int64_t)j->frames;
    p->dts = (int64_t)(j->frames + n) - (int64_t)j->s.delay;
    p->duration = 1;
    p->pos = -1;
    av_packet_rescale_ts(p, j->encoder->time_base, j->stream->time_base);
    int ret =
        ls_audio_out_write_until(j->audio, (double)p->dts * av_q2d(j->stream->time_base), err);
    return ret ? ls_fail_context(err, ret, "cannot write %s", j->s.path)
               : check_file(j, av_interleaved_write_frame(j->mux, p), err);
}

/* A segment as it was written: packets are not looked into. */
static int open_segment(AVFormatContext **in, const char *path, ls_error *err)
{
    char *url = av_asprintf("file:%s", path);
    *in = avformat_alloc_context();
    if (!url || !*in) {
        av_free(url);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    (*in)->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    int ret = avformat_open_input(in, url, av_find_input_format("nut"), NULL);
    av_free(url);
    return ret < 0 ? ls_fail_av(err, ret, "cannot read %s", path) : 0;
}

int ls_join_add(ls_join *j, const char *segment, uint64_t frames, const ls_cancel *cancel,
                ls_error *err)
{
    AVFormatContext *in = NULL;
    int ret = open_segment(&in, segment, err);
    uint64_t n = 0;
    while (!ret && av_read_frame(in, j->packet) >= 0) {
        AVPacket *p = j->packet;
        p->pts =
            av_rescale_q(p->pts, in->streams[p->stream_index]->time_base, j->encoder->time_base);
        if (ls_canceled(cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
        else if (p->pts < 0 || (uint64_t)p->pts >= frames || n == frames)
            ret = ls_fail(err, LS_EFORMAT, "%s is not the segment that was made", segment);
        else
            ret = write_packet(j, n++, err);
        av_packet_unref(j->packet);
    }
    if (!ret)
        ret = ls_av_check_read(in, segment, err);
    avformat_close_input(&in);
    if (!ret && n != frames)
        ret = ls_fail(err, LS_EFORMAT, "%s holds %llu frames instead of %llu", segment,
                      (unsigned long long)n, (unsigned long long)frames);
    j->frames += frames;
    return ret;
}

int ls_join_finish(ls_join *j, ls_error *err)
{
    int ret = ls_audio_out_write_until(j->audio, INFINITY, err);
    if (!ret)
        ret = check_file(j, av_write_trailer(j->mux), err);
    if (!ret) {
        avio_flush(j->mux->pb);
        ret = check_file(j, 0, err);
    }
    if (ret)
        return ret;
    int closed = avio_closep(&j->mux->pb);
    if (closed < 0)
        ret = ls_fail_av(err, closed, "cannot write %s", j->s.path);
    ret = ls_output_close(&j->file, ret, err);
    j->file.path = NULL;
    return ret;
}
