#include "media/encoder.h"
#include "media/av.h"
#include "media/codecs.h"

#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>

/* x264's output depends on its number of threads, so that is the same everywhere. */
#define ENCODER_THREADS 2
/* Each frame of an encoder's look-ahead costs 7 MB at 1080p; more than ten gain little. */
#define LOOK_AHEAD 10

static int list_encoders(ls_error *err, const char *name)
{
    char list[256] = "";
    size_t n = 0;
    const char *e;
    for (int i = 0; (e = ls_media_encoder(i)) && n < sizeof list; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s", i ? ", " : "", e);
    ls_fail(err, LS_EINVAL, "unknown video encoder \"%s\"; available: %s", name, list);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, "video-codec");
}

static bool supports(const AVCodec *codec, enum AVPixelFormat f)
{
    const enum AVPixelFormat *p = ls_av_pixel_formats(codec);
    while (p && *p != AV_PIX_FMT_NONE && *p != f)
        p++;
    return !p || *p == f;
}

static enum AVPixelFormat encoder_format(const AVCodec *codec, const AVFrame *model,
                                         const ls_log *log)
{
    if (av_pix_fmt_desc_get(model->format)->comp[0].depth > 8) {
        if (supports(codec, AV_PIX_FMT_YUV420P10))
            return AV_PIX_FMT_YUV420P10;
        ls_log_msg(log, LS_LOG_WARN, "%s cannot encode 10 bits: the output will have 8",
                   codec->name);
    }
    if (supports(codec, AV_PIX_FMT_YUV420P))
        return AV_PIX_FMT_YUV420P;
    return avcodec_find_best_pix_fmt_of_list(ls_av_pixel_formats(codec), model->format, 0, NULL);
}

/* Bounds the look-ahead of x264 and x265. x265 would also choose its threads by the machine, and
 * its output depends on them. */
static void limit_memory(AVCodecContext *c, const char *preset)
{
    static const char *const shorter[] = {"ultrafast", "superfast", NULL}; // than LOOK_AHEAD
    char params[128];
    bool quick = false;
    for (int i = 0; shorter[i]; i++)
        quick = quick || !strcmp(preset, shorter[i]);
    snprintf(params, sizeof params, quick ? "sync-lookahead=0" : "sync-lookahead=0:rc-lookahead=%d",
             LOOK_AHEAD);
    av_opt_set(c->priv_data, "x264-params", params, 0);
    snprintf(params, sizeof params,
             quick ? "log-level=none:info=0:pools=4:frame-threads=1"
                   : "log-level=none:info=0:pools=4:frame-threads=1:rc-lookahead=%d",
             LOOK_AHEAD);
    av_opt_set(c->priv_data, "x265-params", params, 0);
}

int ls_encoder_open(AVCodecContext **out, const ls_encoding *e, const ls_log *log, ls_error *err)
{
    const AVFrame *model = ls_video_model(e->like);
    const ls_video_info *info = ls_video_get_info(e->like);
    const AVCodec *codec = avcodec_find_encoder_by_name(e->codec);
    if (!codec || codec->type != AVMEDIA_TYPE_VIDEO)
        return list_encoders(err, e->codec);
    AVCodecContext *c = *out = avcodec_alloc_context3(codec);
    if (!c)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    c->pix_fmt = encoder_format(codec, model, log);
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(c->pix_fmt);
    c->width = FFALIGN(model->width, 1 << d->log2_chroma_w);
    c->height = FFALIGN(model->height, 1 << d->log2_chroma_h);
    if (c->width != model->width || c->height != model->height)
        ls_log_msg(log, LS_LOG_WARN,
                   "the video is %d x %d; the output will be %d x %d, because 4:2:0 video has even "
                   "sizes only",
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
    c->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    av_opt_set_int(c->priv_data, "crf", e->crf, 0); // where the encoder has it
    if (av_opt_find(c->priv_data, "preset", NULL, 0, 0))
        av_opt_set(c->priv_data, "preset", e->preset, 0);
    limit_memory(c, e->preset);
    int ret = avcodec_open2(c, codec, NULL);
    if (ret >= 0)
        return 0;
    ret = ls_fail_av(err, ret, "cannot open the encoder %s with preset %s and crf %d", codec->name,
                     e->preset, e->crf);
    avcodec_free_context(out);
    return ls_advise(err, ret, LS_HINT_NONE, "preset");
}

AVStream *ls_encoder_stream(AVFormatContext *mux, const AVCodecContext *encoder)
{
    AVStream *st = avformat_new_stream(mux, NULL);
    if (!st || avcodec_parameters_from_context(st->codecpar, encoder) < 0)
        return NULL;
    st->time_base = encoder->time_base;
    st->avg_frame_rate = encoder->framerate;
    st->sample_aspect_ratio = encoder->sample_aspect_ratio;
    return st;
}
