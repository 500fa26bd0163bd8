/* A video without an end: forwards, backwards, forwards ... */
#ifndef LS_MEDIA_PINGPONG_H
#define LS_MEDIA_PINGPONG_H

#include "media/video.h"

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
