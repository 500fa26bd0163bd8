/* Decoding a video onto a timeline of constant frame rate. */
#ifndef LS_MEDIA_VIDEO_H
#define LS_MEDIA_VIDEO_H

#include "base/cancel.h"
#include "base/log.h"
#include "media/frame.h"
#include "media/times.h"

typedef struct ls_video_settings {
    int threads;     /* of the decoder; 0: its own choice */
    bool source_fps; /* the source's own rate instead of 25; where it varies, its times */
    int stream;      /* 1 + the index of the wanted stream in the file; 0: the best */
    const ls_log *log;
    const ls_cancel *cancel; /* NULL, or ends every call with LS_ECANCELED; outlives the video */
    bool keep_interlaced;    /* instead of making such frames progressive (deinterlace.h) */
    bool alpha;              /* frames keep their transparency, which is dropped otherwise */
} ls_video_settings;

typedef struct ls_video_info {
    size_t width, height; /* after rotation */
    unsigned depth;
    size_t frame_bytes;   /* of a decoded frame */
    int fps_num, fps_den; /* of the timeline; the average, where frames have times */
    uint64_t frames;      /* estimate; 0 when unknown */
    int stream;           /* index in the file */
    size_t streams;       /* of video in the file */
    bool transparent;     /* the stream has transparency */
    bool deinterlaced;    /* as far as the beginning shows */
} ls_video_info;

/* One thread at a time. */
typedef struct ls_video ls_video;

/* Opens a video stream of a file (see ls_input_choose_stream) and decodes its first frame. Frames
 * are rotated as the file asks for, and dropped or repeated as `ffmpeg -r 25` does (fftools'
 * constant frame rate), or where they have times of their own given once each; then the frame
 * before one that cannot be decoded takes its place. On failure *out is NULL: LS_EFORMAT if the
 * file has no video, LS_EUNSUPPORTED, LS_EIO, ... */
int ls_video_open(ls_video **out, const char *path, const ls_video_settings *s, ls_error *err);
/* Sets *v to NULL; takes NULL. */
void ls_video_close(ls_video **v);
const ls_video_info *ls_video_get_info(const ls_video *v);
const char *ls_video_path(const ls_video *v);

/* When the frames are shown; NULL: at the constant rate. Belongs to the video. */
const ls_times *ls_video_times(const ls_video *v);
/* Seconds that the first `frames` frames of its timeline last, there and back again without an end.
 */
double ls_video_seconds(const ls_video *v, uint64_t frames);
/* Tells the log what of the file is used: which of several streams, and whose times. */
void ls_video_log_choice(const ls_video *v, const ls_log *log);

/* The next frame of the timeline, which the caller then owns; LS_EOF after the last. Damaged parts
 * are skipped with a warning. */
int ls_video_next(ls_video *v, ls_frame **out, ls_error *err);
/* Index of the frame that ls_video_next gives next. */
uint64_t ls_video_position(const ls_video *v);
/* Makes frame `index` the next: from the checkpoint before it if there is one that decoding can be
 * resumed from, otherwise from where decoding stands, or from the start. LS_EOF, without a message,
 * when the video ends before that frame. */
int ls_video_seek(ls_video *v, uint64_t index, ls_error *err);
/* Frames of the timeline; 0 until its end has been reached or read from an index, unless they have
 * times of their own. */
uint64_t ls_video_length(const ls_video *v);
/* How many frames the last ls_video_seek has decoded. */
uint64_t ls_video_sought(const ls_video *v);

/* Keeps the checkpoints and the length in a file (index.h), so that another process can seek at
 * once. Loading one that is damaged or of another video is LS_EFORMAT and changes nothing; each
 * checkpoint is compared with the decoded frame when it is used. */
int ls_video_save_index(const ls_video *v, const char *path, ls_error *err);
int ls_video_load_index(ls_video *v, const char *path, ls_error *err);

/* The first frame, rotated: format, size, colors and sample aspect ratio of all of them. Belongs to
 * the video; for the media module only. */
struct AVFrame;
const struct AVFrame *ls_video_model(const ls_video *v);

#endif
