/* The encoder of the output, shared by the segments and the file that they are joined to. */
#ifndef LS_MEDIA_ENCODER_H
#define LS_MEDIA_ENCODER_H

#include "base/log.h"
#include "media/video.h"

typedef struct ls_encoding {
    const char *codec; /* an encoder of libavcodec, "libx264" */
    const char *preset;
    int crf;
    const ls_video *like; /* size, format, color tags, sample aspect and frame rate */
} ls_encoding;

struct AVCodecContext;
struct AVFormatContext;

/* Opens the encoder. What the output loses is reported to `log`, which may be NULL. */
int ls_encoder_open(struct AVCodecContext **out, const ls_encoding *e, const ls_log *log,
                    ls_error *err);

/* Adds a stream for the encoder's packets to `mux`, its time base one frame; NULL when out of
 * memory. */
struct AVStream *ls_encoder_stream(struct AVFormatContext *mux,
                                   const struct AVCodecContext *encoder);

#endif
