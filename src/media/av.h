/* The inside of the media module: what its files share of libav*. */
#ifndef LS_MEDIA_AV_H
#define LS_MEDIA_AV_H

#include "media/frame.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

struct ls_frame {
    AVFrame *av;
};

/* Untagged pictures of this size are taken for BT.709, smaller ones for BT.601. */
static inline bool ls_is_high_definition(const AVFrame *f)
{
    return f->height >= 720 || f->width >= 1280;
}

/* Takes `av` over; NULL (and `av` freed) when out of memory. */
ls_frame *ls_frame_wrap(AVFrame *av);

/* The error of a libav* call, after the message. */
int ls_fail_av(ls_error *err, int averror, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Tells swscale the matrices and ranges of both ends. */
int ls_sws_colors(struct SwsContext *sws, const AVFrame *src, bool full_range_out);

/* Opens a file of media; the message names what is wrong with it. */
int ls_av_open_input(AVFormatContext **out, const char *path, ls_error *err);
/* After av_read_frame has given nothing: whether the file could not be read, which is not its end.
 */
int ls_av_check_read(const AVFormatContext *format, const char *path, ls_error *err);
/* The stream that the ffmpeg program would take: among those that have data, the default ones
 * first, the largest picture or the most channels. Negative when there is none. */
int ls_av_choose_stream(const AVFormatContext *format, enum AVMediaType type);
/* Opens the decoder of a stream. */
int ls_av_open_decoder(AVCodecContext **out, const AVStream *st, int threads, ls_error *err);

#endif
