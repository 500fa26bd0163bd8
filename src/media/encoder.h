/* The encoder of the output, as the segments and the file made of them share it. */
#ifndef LS_MEDIA_ENCODER_H
#define LS_MEDIA_ENCODER_H

#include "media/segment.h"
#include "media/av.h"

/* Opens the encoder. What the output will lack of the source is told to `log`, which may be NULL.
 */
int ls_encoder_open(AVCodecContext **out, const ls_encoding *e, const ls_log *log, ls_error *err);

/* A stream of `mux` for what the encoder makes, its time base one frame. */
AVStream *ls_encoder_stream(AVFormatContext *mux, const AVCodecContext *encoder);

#endif
