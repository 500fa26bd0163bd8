/* Media files that are read. */
#ifndef LS_MEDIA_INPUT_H
#define LS_MEDIA_INPUT_H

#include "base/cancel.h"
#include "media/av.h"

/* Whether a path names what can be opened as media: 0, LS_ENOENT, LS_EFORMAT for a directory or an
 * empty file, LS_EUNSUPPORTED for what cannot be read more than once. */
int ls_input_check_file(const char *path, ls_error *err);
/* Opens a media file and reads its headers; close it with avformat_close_input. `cancel`, which may
 * be NULL, also interrupts later reads, and outlives it. Files that it refers to are not opened. On
 * failure *out is NULL, and the message names what is wrong: as ls_input_check_file, LS_EFORMAT,
 * LS_EUNSUPPORTED, LS_EIO, LS_ECANCELED. */
int ls_input_open(AVFormatContext **out, const char *path, const ls_cancel *cancel, ls_error *err);
/* Fails for a file that cannot be decoded: LS_EUNSUPPORTED if it is of a kind that FFmpeg is known
 * not to read, else LS_EFORMAT with the path and `otherwise`. */
int ls_input_fail_format(const char *path, const char *otherwise, ls_error *err);
/* After av_read_frame has failed: an error if the file could not be read, 0 at its end. */
int ls_input_check_read(const AVFormatContext *format, const char *path, ls_error *err);
/* The index of a stream of that type: `wanted`, or with -1 the best one. Of several that is one
 * that can be decoded, has more than one frame, lasts at least half as long as the longest and has
 * at least a quarter of the highest frame rate; among those the one that the ffmpeg program takes:
 * default streams first, then the largest picture or the most channels. Pictures attached to a file
 * are taken only if wanted. LS_EFORMAT when there is none, LS_EINVAL for one that is not there or
 * of another type. */
int ls_input_choose_stream(const AVFormatContext *format, const char *path, enum AVMediaType type,
                           int wanted, ls_error *err);
/* Streams of that type, without attached pictures. */
size_t ls_input_count_streams(const AVFormatContext *format, enum AVMediaType type);
/* Whether a stream of VP8 or VP9 has transparency beside its packets. */
bool ls_input_has_alpha(const AVStream *st);
/* Opens the decoder of a stream, one that decodes transparency if there is any. `threads` 0: as
 * many as libavcodec likes. */
int ls_decoder_open(AVCodecContext **out, const AVStream *st, int threads, ls_error *err);
/* Opens a file for the packets of one stream alone, see ls_input_choose_stream, and the decoder for
 * them. The stream's index, or a negative error code; what is open then, the caller closes in any
 * case. */
int ls_input_open_stream(AVFormatContext **format, AVCodecContext **decoder, const char *path,
                         enum AVMediaType type, int wanted, int threads, const ls_cancel *cancel,
                         ls_error *err);

/* Frames of more pixels are refused. */
#define LS_MAX_FRAME_PIXELS ((int64_t)1 << 28)

#endif
