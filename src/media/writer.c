#include "media/writer.h"
#include "media/audio_out.h"
#include "media/codecs.h"
#include "base/alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <libavutil/avstring.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* x264's output depends on its number of threads, so it is the same everywhere. */
#define ENCODER_THREADS 4
#define MAX_TEMPORARIES 1000

struct ls_writer {
    char *path;
    const char
        *temporary; /* within mux->url; NULL before it is created, and when it has its name */
    const ls_log *log;
    AVFormatContext *mux;
    AVCodecContext *encoder;
    AVStream *stream;
    ls_audio_out *audio;
    struct SwsContext *sws;
    AVFrame *frame; /* in the encoder's format, where that is not the source's */
    AVPacket *packet;
    int64_t next_pts;
};

/* Creates "dir/.name.PID.N.part" for "dir/name": the same file system, hidden, nobody else's. */
static int create_temporary(ls_writer *w, ls_error *err)
{
    const char *slash = strrchr(w->path, '/'), *base = slash ? slash + 1 : w->path;
    int fd = -1;
    for (unsigned n = 0; fd < 0 && n < MAX_TEMPORARIES; n++) {
        av_freep(&w->mux->url);
        w->mux->url = av_asprintf("file:%.*s.%.200s.%ld.%u.part", (int)(base - w->path), w->path,
                                  base, (long)getpid(), n);
        if (!w->mux->url)
            return ls_fail(err, LS_ENOMEM, "out of memory");
        fd = open(w->mux->url + 5, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (fd < 0 && errno != EEXIST)
            break;
    }
    if (fd < 0)
        return ls_fail_errno(err, errno, "cannot write %s", w->path);
    w->temporary = w->mux->url + 5;
    close(fd);
    return 0;
}

static int list_encoders(ls_error *err, const char *name)
{
    char list[256] = "";
    size_t n = 0;
    const char *e;
    for (int i = 0; (e = ls_media_encoder(i)) && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", e);
    return ls_fail(err, LS_EINVAL, "there is no video encoder \"%s\"; there are: %s", name, list);
}

static bool supports(const AVCodec *codec, enum AVPixelFormat f)
{
    const enum AVPixelFormat *p = codec->pix_fmts;
    while (p && *p != AV_PIX_FMT_NONE && *p != f)
        p++;
    return !p || *p == f;
}

static enum AVPixelFormat encoder_format(const ls_writer *w, const AVCodec *codec,
                                         const AVFrame *model)
{
    if (av_pix_fmt_desc_get(model->format)->comp[0].depth > 8) {
        if (supports(codec, AV_PIX_FMT_YUV420P10))
            return AV_PIX_FMT_YUV420P10;
        ls_log_msg(w->log, LS_LOG_WARN, "%s has no 10-bit mode: the output will have 8 bits",
                   codec->name);
    }
    if (supports(codec, AV_PIX_FMT_YUV420P))
        return AV_PIX_FMT_YUV420P;
    return avcodec_find_best_pix_fmt_of_list(codec->pix_fmts, model->format, 0, NULL);
}

static int open_encoder(ls_writer *w, const ls_writer_settings *s, ls_error *err)
{
    const AVFrame *model = ls_video_model(s->like);
    const ls_video_info *info = ls_video_get_info(s->like);
    const AVCodec *codec = avcodec_find_encoder_by_name(s->codec);
    if (!codec || codec->type != AVMEDIA_TYPE_VIDEO)
        return list_encoders(err, s->codec);
    AVCodecContext *c = w->encoder = avcodec_alloc_context3(codec);
    w->stream = avformat_new_stream(w->mux, NULL);
    if (!c || !w->stream)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    c->pix_fmt = encoder_format(w, codec, model);
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(c->pix_fmt);
    c->width = FFALIGN(model->width, 1 << d->log2_chroma_w);
    c->height = FFALIGN(model->height, 1 << d->log2_chroma_h);
    if (c->width != model->width || c->height != model->height)
        ls_log_msg(w->log, LS_LOG_WARN,
                   "the video is %d x %d; the output will be %d x %d, for this kind of video has "
                   "even sizes only",
                   model->width, model->height, c->width, c->height);
    c->time_base = (AVRational){info->fps_den, info->fps_num};
    c->framerate = (AVRational){info->fps_num, info->fps_den};
    c->sample_aspect_ratio = model->sample_aspect_ratio;
    c->color_range = model->color_range;
    c->color_primaries = model->color_primaries;
    c->color_trc = model->color_trc;
    c->colorspace = model->colorspace;
    c->chroma_sample_location = model->chroma_location;
    c->thread_count = ENCODER_THREADS;
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    if (w->mux->oformat->flags & AVFMT_GLOBALHEADER)
        c->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set_int(c->priv_data, "crf", s->crf, 0); // where the encoder has it
    if (av_opt_find(c->priv_data, "preset", NULL, 0, 0))
        av_opt_set(c->priv_data, "preset", s->preset, 0);
    /* x265 would choose threads, and with them its output, by the machine */
    av_opt_set(c->priv_data, "x265-params", "log-level=none:info=0:pools=4:frame-threads=2", 0);
    int ret = avcodec_open2(c, codec, NULL);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot open the encoder %s with preset %s and crf %d",
                          codec->name, s->preset, s->crf);
    ret = avcodec_parameters_from_context(w->stream->codecpar, c);
    w->stream->time_base = c->time_base;
    w->stream->avg_frame_rate = c->framerate;
    w->stream->sample_aspect_ratio = c->sample_aspect_ratio;
    if (c->codec_id == AV_CODEC_ID_HEVC && !strcmp(w->mux->oformat->name, "mp4"))
        w->stream->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1'); // what Apple's players want
    return ret < 0 ? ls_fail_av(err, ret, "cannot describe the video") : 0;
}

/* Where the encoder's format or size is not the source's. */
static int open_converter(ls_writer *w, const AVFrame *model, ls_error *err)
{
    const AVCodecContext *c = w->encoder;
    if (c->pix_fmt == model->format && c->width == model->width && c->height == model->height)
        return 0;
    w->frame = av_frame_alloc();
    if (!w->frame)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    w->frame->format = c->pix_fmt;
    w->frame->width = c->width;
    w->frame->height = c->height;
    int ret = av_frame_get_buffer(w->frame, 0);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot make a frame");
    if (c->pix_fmt == model->format)
        return 0;
    w->sws = sws_getContext(model->width, model->height, model->format, model->width, model->height,
                            c->pix_fmt, SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (!w->sws)
        return ls_fail(err, LS_EUNSUPPORTED, "frames of %s cannot be converted for %s",
                       av_get_pix_fmt_name(model->format), c->codec->name);
    ls_sws_colors(w->sws, model, model->color_range == AVCOL_RANGE_JPEG);
    return 0;
}

static int open_file(ls_writer *w, ls_error *err)
{
    int ret = create_temporary(w, err);
    if (ret)
        return ret;
    ret = avio_open(&w->mux->pb, w->mux->url, AVIO_FLAG_WRITE);
    if (ret < 0)
        return ls_fail_av(err, ret, "cannot write %s", w->path);
    AVDictionary *options = NULL;
    if (strstr(w->mux->oformat->name, "mp4") || strstr(w->mux->oformat->name, "mov"))
        av_dict_set(&options, "movflags", "+faststart", 0);
    ret = avformat_write_header(w->mux, &options);
    av_dict_free(&options);
    return ret < 0 ? ls_fail_av(err, ret, "cannot write %s", w->path) : 0;
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

int ls_writer_open(ls_writer **out, const ls_writer_settings *s, ls_error *err)
{
    struct stat st;
    *out = NULL;
    const AVOutputFormat *format = av_guess_format(NULL, s->path, NULL);
    if (!stat(s->path, &st) && S_ISDIR(st.st_mode))
        return ls_fail(err, LS_EINVAL, "%s is a directory; name a file to write", s->path);
    if (is_same_file(s->path, s->audio) || is_same_file(s->path, ls_video_path(s->like)))
        return ls_fail(err, LS_EINVAL, "%s is an input; give the output another name", s->path);
    if (!format || format->video_codec == AV_CODEC_ID_NONE)
        return ls_fail(err, LS_EINVAL,
                       "%s: the kind of file is told by the extension; use .mp4, .mkv or .mov",
                       s->path);
    ls_writer *w = ls_calloc_array(1, sizeof *w);
    if (!w)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    w->log = s->log;
    w->path = strdup(s->path);
    w->packet = av_packet_alloc();
    int ret =
        w->path && w->packet && avformat_alloc_output_context2(&w->mux, format, NULL, NULL) >= 0
            ? 0
            : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        w->mux->flags |= AVFMT_FLAG_BITEXACT;
        w->mux->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL; // FLAC in mp4
        ret = open_encoder(w, s, err);
    }
    if (!ret)
        ret = open_converter(w, ls_video_model(s->like), err);
    if (!ret)
        ret = ls_audio_out_open(&w->audio, s->audio, w->mux, err);
    if (!ret)
        ret = open_file(w, err);
    if (ret)
        ls_writer_close(&w);
    *out = w;
    return ret;
}

void ls_writer_close(ls_writer **pw)
{
    ls_writer *w = *pw;
    if (!w)
        return;
    ls_audio_out_close(&w->audio);
    avcodec_free_context(&w->encoder);
    if (w->mux)
        avio_closep(&w->mux->pb);
    if (w->temporary)
        unlink(w->temporary);
    avformat_free_context(w->mux);
    sws_freeContext(w->sws);
    av_frame_free(&w->frame);
    av_packet_free(&w->packet);
    free(w->path);
    free(w);
    *pw = NULL;
}

const char *ls_writer_audio_mode(const ls_writer *w)
{
    return ls_audio_out_copies(w->audio) ? "copied" : "AAC";
}

static int check_file(const ls_writer *w, int ret, ls_error *err)
{
    if (ret >= 0 && w->mux->pb->error < 0)
        ret = w->mux->pb->error;
    return ret < 0 ? ls_fail_av(err, ret, "cannot write %s", w->path) : 0;
}

static int drain(ls_writer *w, ls_error *err)
{
    int ret;
    while (!(ret = avcodec_receive_packet(w->encoder, w->packet))) {
        if (!w->packet->duration)
            w->packet->duration = 1;
        av_packet_rescale_ts(w->packet, w->encoder->time_base, w->stream->time_base);
        w->packet->stream_index = w->stream->index;
        int bad = ls_audio_out_write_until(
            w->audio, (double)w->packet->dts * av_q2d(w->stream->time_base), err);
        if (bad)
            return ls_fail_context(err, bad, "cannot write %s", w->path);
        bad = check_file(w, av_interleaved_write_frame(w->mux, w->packet), err);
        if (bad)
            return bad;
    }
    return ret == AVERROR(EAGAIN) || ret == AVERROR_EOF
               ? 0
               : ls_fail_av(err, ret, "cannot encode the video");
}

/* Repeats the last column or row of a plane that was one short. */
static void extend(AVFrame *f, int plane, int w, int h, int full_w, int full_h, size_t size)
{
    for (int y = 0; y < h && w < full_w; y++) {
        uint8_t *row = f->data[plane] + (ptrdiff_t)y * f->linesize[plane];
        memcpy(row + (size_t)w * size, row + (size_t)(w - 1) * size, size);
    }
    if (h < full_h) {
        uint8_t *last = f->data[plane] + (ptrdiff_t)(h - 1) * f->linesize[plane];
        memcpy(last + f->linesize[plane], last, (size_t)full_w * size);
    }
}

/* The frame in the encoder's format and size; w->frame, or `src` itself. */
static const AVFrame *convert(ls_writer *w, const AVFrame *src, ls_error *err)
{
    if (!w->frame)
        return src;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(w->frame->format);
    int ret = av_frame_make_writable(w->frame);
    if (ret < 0) {
        ls_fail_av(err, ret, "cannot make a frame");
        return NULL;
    }
    if (w->sws)
        sws_scale(w->sws, (const uint8_t *const *)src->data, src->linesize, 0, src->height,
                  w->frame->data, w->frame->linesize);
    size_t size = d->comp[0].depth > 8 ? 2 : 1;
    for (int i = 0; i < d->nb_components && i < 3; i++) {
        int sx = i ? d->log2_chroma_w : 0, sy = i ? d->log2_chroma_h : 0;
        int cw = AV_CEIL_RSHIFT(src->width, sx), ch = AV_CEIL_RSHIFT(src->height, sy);
        for (int y = 0; y < ch && !w->sws; y++)
            memcpy(w->frame->data[i] + (ptrdiff_t)y * w->frame->linesize[i],
                   src->data[i] + (ptrdiff_t)y * src->linesize[i], (size_t)cw * size);
        extend(w->frame, i, cw, ch, AV_CEIL_RSHIFT(w->frame->width, sx),
               AV_CEIL_RSHIFT(w->frame->height, sy), size);
    }
    return w->frame;
}

int ls_writer_write(ls_writer *w, const ls_frame *f, ls_error *err)
{
    const AVFrame *src = convert(w, f->av, err);
    AVFrame *send = src ? av_frame_clone(src) : NULL;
    if (!send)
        return src ? ls_fail(err, LS_ENOMEM, "out of memory for a frame") : LS_EIO;
    send->pts = w->next_pts++;
    send->pict_type = AV_PICTURE_TYPE_NONE;
    send->key_frame = 0;
    int ret = avcodec_send_frame(w->encoder, send);
    av_frame_free(&send);
    return ret < 0 ? ls_fail_av(err, ret, "cannot encode the video") : drain(w, err);
}

static int sync_path(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    int ret = fd < 0 || fsync(fd) ? -1 : 0;
    if (fd >= 0)
        close(fd);
    return ret;
}

/* Makes a new name last, where the system can. */
static void sync_folder(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? av_asprintf("%.*s/", (int)(slash - path), path) : NULL;
    sync_path(folder ? folder : ".", O_RDONLY | O_DIRECTORY);
    av_free(folder);
}

int ls_writer_finish(ls_writer *w, ls_error *err)
{
    avcodec_send_frame(w->encoder, NULL);
    int ret = drain(w, err);
    if (!ret)
        ret = ls_audio_out_write_until(w->audio, INFINITY, err);
    if (!ret)
        ret = check_file(w, av_write_trailer(w->mux), err);
    if (!ret) {
        avio_flush(w->mux->pb);
        ret = check_file(w, 0, err);
    }
    if (ret)
        return ret;
    int closed = avio_closep(&w->mux->pb);
    if (closed < 0)
        ret = ls_fail_av(err, closed, "cannot write %s", w->path);
    /* the data must be on the disk before the name points to it */
    if (!ret && (sync_path(w->temporary, O_RDWR) || rename(w->temporary, w->path)))
        ret = ls_fail_errno(err, errno, "cannot write %s", w->path);
    if (!ret) {
        w->temporary = NULL;
        sync_folder(w->path);
    }
    return ret;
}
