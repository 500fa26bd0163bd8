#include "media/av.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int ls_fail_av(ls_error *err, int averror, const char *fmt, ...)
{
    char what[512], why[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (averror == AVERROR_EXIT)
        return ls_fail(err, LS_ECANCELED, "canceled");
    av_strerror(averror, why, sizeof why);
    int code = averror == AVERROR(ENOMEM)             ? LS_ENOMEM
               : averror == AVERROR(ENOSPC)           ? LS_ENOSPC
               : averror == AVERROR(EDQUOT)           ? LS_ENOSPC
               : averror == AVERROR(EFBIG)            ? LS_ENOSPC
               : averror == AVERROR(ENOENT)           ? LS_ENOENT
               : averror == AVERROR_INVALIDDATA       ? LS_EFORMAT
               : averror == AVERROR_DECODER_NOT_FOUND ? LS_EUNSUPPORTED
                                                      : LS_EIO;
    ls_fail(err, code, "%s: %s", what, why);
    return code == LS_ENOSPC ? ls_advise(err, code, LS_HINT_FREE_SPACE, NULL) : code;
}

int64_t ls_av_duration(const AVFrame *f)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100) // FFmpeg 6.0
    return f->duration;
#else
    return f->pkt_duration;
#endif
}

void ls_av_set_duration(AVFrame *f, int64_t duration)
{
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100) // FFmpeg 6.0
    f->duration = duration;
#else
    f->pkt_duration = duration;
#endif
}

#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(58, 7, 100) // FFmpeg 6.1

bool ls_av_is_key(const AVFrame *f)
{
    return f->flags & AV_FRAME_FLAG_KEY;
}

void ls_av_clear_key(AVFrame *f)
{
    f->flags &= ~AV_FRAME_FLAG_KEY;
}

bool ls_av_is_interlaced(const AVFrame *f)
{
    return f->flags & AV_FRAME_FLAG_INTERLACED;
}

#else

bool ls_av_is_key(const AVFrame *f)
{
    return f->key_frame;
}

void ls_av_clear_key(AVFrame *f)
{
    f->key_frame = 0;
}

bool ls_av_is_interlaced(const AVFrame *f)
{
    return f->interlaced_frame;
}

#endif

#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(60, 15, 100) // FFmpeg 6.1

const void *ls_av_stream_data(const AVStream *st, enum AVPacketSideDataType type, size_t *size)
{
    const AVCodecParameters *p = st->codecpar;
    const AVPacketSideData *found =
        av_packet_side_data_get(p->coded_side_data, p->nb_coded_side_data, type);
    *size = found ? found->size : 0;
    return found ? found->data : NULL;
}

int ls_av_add_stream_data(AVStream *st, enum AVPacketSideDataType type, const void *data,
                          size_t size)
{
    AVCodecParameters *p = st->codecpar;
    AVPacketSideData *to =
        av_packet_side_data_new(&p->coded_side_data, &p->nb_coded_side_data, type, size, 0);
    if (!to)
        return AVERROR(ENOMEM);
    memcpy(to->data, data, size);
    return 0;
}

#else

const void *ls_av_stream_data(const AVStream *st, enum AVPacketSideDataType type, size_t *size)
{
    return av_stream_get_side_data(st, type, size);
}

int ls_av_add_stream_data(AVStream *st, enum AVPacketSideDataType type, const void *data,
                          size_t size)
{
    uint8_t *to = av_stream_new_side_data(st, type, size);
    if (!to)
        return AVERROR(ENOMEM);
    memcpy(to, data, size);
    return 0;
}

#endif

bool ls_av_matroska_adds_delay(void)
{
    return LIBAVFORMAT_VERSION_MAJOR >= 61; // FFmpeg 7.0
}

const int32_t *ls_av_display_matrix(const AVStream *st)
{
    size_t size = 0;
    const void *data = ls_av_stream_data(st, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return size >= 9 * sizeof(int32_t) ? data : NULL;
}

int ls_av_set_extradata(AVCodecParameters *p, const void *data, size_t size)
{
    const size_t padding = AV_INPUT_BUFFER_PADDING_SIZE;
    uint8_t *copy = size <= INT_MAX - padding ? av_mallocz(size + padding) : NULL;
    if (!copy)
        return -1;
    memcpy(copy, data, size);
    av_freep(&p->extradata);
    p->extradata = copy;
    p->extradata_size = (int)size;
    return 0;
}

#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(61, 13, 100) // FFmpeg 7.1

static const void *supported(const AVCodec *codec, enum AVCodecConfig config)
{
    const void *list = NULL;
    return avcodec_get_supported_config(NULL, codec, config, 0, &list, NULL) < 0 ? NULL : list;
}

const enum AVPixelFormat *ls_av_pixel_formats(const AVCodec *codec)
{
    return supported(codec, AV_CODEC_CONFIG_PIX_FORMAT);
}

const int *ls_av_sample_rates(const AVCodec *codec)
{
    return supported(codec, AV_CODEC_CONFIG_SAMPLE_RATE);
}

#else

const enum AVPixelFormat *ls_av_pixel_formats(const AVCodec *codec)
{
    return codec->pix_fmts;
}

const int *ls_av_sample_rates(const AVCodec *codec)
{
    return codec->supported_samplerates;
}

#endif
