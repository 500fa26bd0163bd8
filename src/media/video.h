/* Decoding a video onto a timeline of constant frame rate. */
#ifndef LS_MEDIA_VIDEO_H
#define LS_MEDIA_VIDEO_H

#include "base/cancel.h"
#include "base/log.h"
#include "media/frame.h"

typedef struct ls_video_settings {
    int threads;     /* of the decoder; 0: its own choice */
    bool source_fps; /* the source's own rate instead of 25 */
    const ls_log *log;
    const ls_cancel *cancel; /* NULL, or ends ls_video_next and ls_video_seek with LS_ECANCELED */
} ls_video_settings;

typedef struct ls_video_info {
    size_t width, height; /* after rotation */
    unsigned depth;
    size_t frame_bytes;   /* of a decoded frame */
    int fps_num, fps_den; /* of the timeline */
    uint64_t frames;      /* estimate; 0 when unknown */
} ls_video_info;

/* One thread at a time. */
typedef struct ls_video ls_video;

/* Opens the best video stream of a file and decodes its first frame. Frames are rotated as the file
 * asks for, and dropped or repeated as `ffmpeg -r 25` does (fftools' constant frame rate). */
int ls_video_open(ls_video **out, const char *path, const ls_video_settings *s, ls_error *err);
void ls_video_close(ls_video **v);
const ls_video_info *ls_video_get_info(const ls_video *v);
const char *ls_video_path(const ls_video *v);

/* The next frame of the timeline, which the caller then owns; LS_EOF after the last. Damaged parts
 * are skipped with a warning. */
int ls_video_next(ls_video *v, ls_frame **out, ls_error *err);
/* Index of the frame that ls_video_next gives next. */
uint64_t ls_video_position(const ls_video *v);
/* Makes ls_video_next go on with frame `index`, by way of a key frame before it if it is known
 * where those are, otherwise from where decoding stands, or from the start. LS_EOF, without a
 * message, when the video ends before that frame. */
int ls_video_seek(ls_video *v, uint64_t index, ls_error *err);
/* Frames of the timeline; 0 before its end was met or read from an index. */
uint64_t ls_video_length(const ls_video *v);
/* How many frames the last ls_video_seek decoded on its way. */
uint64_t ls_video_sought(const ls_video *v);

/* What is known of the ways to frames, and of the length, so that another process can seek at once.
 * The file: "LSINDEX2", width, height, rate, size of the video file in bytes (0 when unknown),
 * length, number of ways and a CRC-32 of all else, then the ways, all 64-bit numbers of this
 * machine's byte order. One that is damaged or of another video is LS_EFORMAT and changes nothing;
 * each way is checked against the picture when it is taken. */
int ls_video_save_index(const ls_video *v, const char *path, ls_error *err);
int ls_video_load_index(ls_video *v, const char *path, ls_error *err);

/* What the encoder copies to its output: an AVCodecParameters-like summary that stays inside the
 * media module. */
struct AVFrame;
const struct AVFrame *ls_video_model(const ls_video *v);

/* The timeline forwards, backwards, forwards, ... without an end: 0 .. V-1, V-1 .. 0, 0 .. */
typedef struct ls_pingpong ls_pingpong;

/* Takes `*v` over, on success and on failure. `window_bytes` bounds what going backwards holds; a
 * file in which the way to a frame is long, for want of key frames or of a way to them, is decoded
 * into a lossless one of single pictures in `folder` (see ls_temporary_file; copied). */
int ls_pingpong_open(ls_pingpong **out, ls_video **v, size_t window_bytes, const char *folder,
                     ls_error *err);
void ls_pingpong_close(ls_pingpong **p);
/* The next frame, and its index on the timeline of the file. */
int ls_pingpong_next(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err);
/* Makes ls_pingpong_next go on with the frame of that place in the endless sequence. */
int ls_pingpong_seek(ls_pingpong *p, uint64_t place, ls_error *err);
/* Of windows from now on. */
void ls_pingpong_set_window(ls_pingpong *p, size_t bytes);
ls_video *ls_pingpong_video(const ls_pingpong *p);

#endif
