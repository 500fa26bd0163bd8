/* What a media file is, and what a job would make of it. */
#ifndef LATENTSYNC_PROBE_H
#define LATENTSYNC_PROBE_H

#include "latentsync/cancel.h"
#include "latentsync/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Later versions may add members at the end of these structs. */
typedef struct ls_probe_stream {
    int index;         /* in the file */
    const char *type;  /* "video", "audio", "subtitle", "data", "attachment", "image" */
    const char *codec; /* libavcodec's name, "h264"; "unknown" */
    double seconds;    /* 0: unknown */
    /* video and images */
    size_t width, height; /* as stored, before rotation */
    int fps_num, fps_den; /* the mean rate; 0/1: unknown */
    const char *pixel_format;
    int rotation; /* degrees clockwise by which players turn it: 0, 90, 180 or 270 */
    /* audio */
    int sample_rate, channels;
    int used; /* 1: the stream a job takes from this file as its video or its speech, unless another
                 is wanted: of several one that can be decoded, moves, and lasts; among such the
                 default one, then the one with the largest picture or the most channels */
} ls_probe_stream;

typedef struct ls_probe {
    const char *path;
    const char *format; /* libavformat's name, "mov,mp4,m4a,3gp,3g2,mj2" */
    uint64_t bytes;
    double seconds; /* 0: unknown */
    size_t stream_count;
    const ls_probe_stream *streams;
    /* As the video of a job: upright size and frames on the 25 frames/s timeline, 0 if it has no
     * usable video; frames are an estimate from the file's header. */
    size_t width, height;
    uint64_t frames;
    int is_video, is_speech; /* whether it can be a job's video, its speech */
    /* What a job does about it that a user may want to know, one sentence each: turned upright,
     * resampled to 25 frames/s, odd sizes, alpha dropped, deinterlaced, speech mixed to mono ... */
    size_t note_count;
    const char *const *notes;
} ls_probe;

/* Reads headers and decodes the first frames of the used streams. `cancel` may be NULL. On failure
 * *out is NULL: LS_ENOENT; LS_EUNSUPPORTED for a pipe, which can be read but once;
 * LS_EFORMAT for what is not a media file; LS_EIO, LS_ENOMEM, LS_ECANCELED. A file without usable
 * video and audio is no failure. Any thread. */
LS_API int ls_probe_open(const ls_probe **out, const char *path, const ls_cancel *cancel,
                         ls_error *err);
/* Sets *p to NULL; takes NULL. */
LS_API void ls_probe_free(const ls_probe **p);

#ifdef __cplusplus
}
#endif
#endif
