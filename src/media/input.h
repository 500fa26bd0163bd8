/* Media files that are read. */
#ifndef LS_MEDIA_INPUT_H
#define LS_MEDIA_INPUT_H

#include "base/cancel.h"
#include "media/av.h"

/* Opens a media file and reads its headers; close it with avformat_close_input. `cancel`, which may
 * be NULL, also interrupts later reads, and outlives it. Files that it refers to are not opened. On
 * failure *out is NULL, and the message names what is wrong: LS_ENOENT, LS_EINVAL for a directory,
 * LS_EFORMAT, LS_EIO, LS_ECANCELED. */
int ls_input_open(AVFormatContext **out, const char *path, const ls_cancel *cancel, ls_error *err);
/* After av_read_frame has failed: an error if the file could not be read, 0 at its end. */
int ls_input_check_read(const AVFormatContext *format, const char *path, ls_error *err);
/* The stream that the ffmpeg program would take: among those that have data, default streams
 * first, then the largest picture or the most channels. Negative when there is none. */
int ls_input_choose_stream(const AVFormatContext *format, enum AVMediaType type);
/* Opens the decoder of a stream. `threads` 0: as many as libavcodec likes. */
int ls_decoder_open(AVCodecContext **out, const AVStream *st, int threads, ls_error *err);
/* Opens a file for the packets of its best video or audio stream alone, and the decoder for them.
 * The stream's index, or a negative error code; what is open then, the caller closes in any case.
 */
int ls_input_open_stream(AVFormatContext **format, AVCodecContext **decoder, const char *path,
                         enum AVMediaType type, int threads, const ls_cancel *cancel,
                         ls_error *err);

/* Frames of more pixels are refused. */
#define LS_MAX_FRAME_PIXELS ((int64_t)1 << 28)

#endif
