/* The encoder of the output, shared by the segments and the file that they are joined to. */
#ifndef LS_MEDIA_ENCODER_H
#define LS_MEDIA_ENCODER_H

#include "base/log.h"
#include "media/video.h"

typedef struct ls_encoding {
    const char *codec;        /* "libx264", one of encoder_table.h */
    const char *preset;       /* "medium", or a number of the encoder's own */
    int crf;                  /* on the encoder's own scale */
    const ls_video *like;     /* size, format, color tags, sample aspect and frame rate */
    const char *pixel_format; /* "auto", NULL, or one that the encoder takes (pixel_choice.h) */
} ls_encoding;

struct AVCodecContext;
struct AVFormatContext;

/* Opens the encoder; LS_EINVAL if there is none of that name, or it has no such preset or crf. What
 * the output loses is reported to `log`, which may be NULL. */
int ls_encoder_open(struct AVCodecContext **out, const ls_encoding *e, const ls_log *log,
                    ls_error *err);

/* Whether it can encode transparency. */
bool ls_encoder_takes_alpha(const char *codec);

/* As ls_encoder_open, for smaller pictures unless the encoder is hardware: what a trial, which some
 * encoders need seconds for, may take. */
int ls_encoder_open_small(struct AVCodecContext **out, const ls_encoding *e, ls_error *err);
/* Ends and frees the encoder, wherever it is in its work: some wait forever when they are only
 * freed. Sets *c to NULL; takes NULL. */
void ls_encoder_close(struct AVCodecContext **c);

/* What the encoder holds at most, in bytes; 0 if ls_encoder_open refuses it. */
uint64_t ls_encoder_memory(const ls_encoding *e);

/* Whether the encoder makes packets of small pictures on this machine. */
bool ls_encoder_works(const char *codec);

/* Adds a stream for the encoder's packets to `mux`, its time base one frame; NULL when out of
 * memory. */
struct AVStream *ls_encoder_stream(struct AVFormatContext *mux,
                                   const struct AVCodecContext *encoder);

#endif
