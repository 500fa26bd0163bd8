/* What the files of the media module share of libav*, among it all that differs between the
 * versions of FFmpeg that are supported, 5.1 to 8. */
#ifndef LS_MEDIA_AV_H
#define LS_MEDIA_AV_H

#include "base/error.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdbool.h>

/* Fails with the text of `averror`, a libav* error, after the message. */
int ls_fail_av(ls_error *err, int averror, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

int64_t ls_av_duration(const AVFrame *f); /* in the stream's time base; 0: unknown */
void ls_av_set_duration(AVFrame *f, int64_t duration);
bool ls_av_is_key(const AVFrame *f);
void ls_av_clear_key(AVFrame *f);
/* Whether the muxer of Matroska moves packets by the delay of Opus that it notes. */
bool ls_av_matroska_adds_delay(void);
bool ls_av_is_interlaced(const AVFrame *f);
/* Data that a stream has beside its packets; NULL if it has none of the type. */
const void *ls_av_stream_data(const AVStream *st, enum AVPacketSideDataType type, size_t *size);
/* Adds a copy to a stream of a muxer; a negative AVERROR code. */
int ls_av_add_stream_data(AVStream *st, enum AVPacketSideDataType type, const void *data,
                          size_t size);
/* Nine numbers in 16.16 (libavutil/display.h); NULL if the stream has none. */
const int32_t *ls_av_display_matrix(const AVStream *st);
/* Copies what decoders need besides packets; nonzero when out of memory. */
int ls_av_set_extradata(AVCodecParameters *p, const void *data, size_t size);
/* What an encoder takes, ended by AV_PIX_FMT_NONE or 0; NULL: anything, or unknown. */
const enum AVPixelFormat *ls_av_pixel_formats(const AVCodec *codec);
const int *ls_av_sample_rates(const AVCodec *codec);

#endif
