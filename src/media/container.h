/* The containers of the output, and what each of them holds. */
#ifndef LS_MEDIA_CONTAINER_H
#define LS_MEDIA_CONTAINER_H

#include "media/av.h"

typedef struct ls_container {
    const char *extension, *muxer; /* ".mp4", and the name of libavformat's muxer */
    const enum AVCodecID *video; /* ended by AV_CODEC_ID_NONE; NULL: all that encoders here make */
    const enum AVCodecID *audio; /* that are copied; NULL: what the muxer takes */
    bool takes_pcm;              /* besides those */
    const char *audio_encoder;   /* for all other sound */
    const char *audio_name;      /* of what that makes, for people */
    const char *movflags;
} ls_container;

/* Fragments of a stream (hls.h); has no extension. */
extern const ls_container ls_container_hls;

/* Of the output's name; LS_EINVAL, naming those there are. */
int ls_container_choose(const ls_container **out, const char *path, ls_error *err);

/* LS_EINVAL, with what could be done, if it cannot hold what an encoder of that name and codec
 * makes. `path` is for the message. */
int ls_container_check_video(const ls_container *c, const char *path, const char *encoder,
                             enum AVCodecID codec, ls_error *err);
/* The same for a stream. */
int ls_container_check_hls(const char *encoder, ls_error *err);
/* Whether sound of that codec may be copied, as far as the codec alone tells. */
bool ls_container_takes_audio(const ls_container *c, enum AVCodecID codec);

#endif
