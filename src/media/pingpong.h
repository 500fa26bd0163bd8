/* A video without an end: forwards, backwards, forwards ... */
#ifndef LS_MEDIA_PINGPONG_H
#define LS_MEDIA_PINGPONG_H

#include "media/video.h"

/* Frames of a window, whatever its bytes. */
enum { LS_PINGPONG_LEAST = 4, LS_PINGPONG_MOST = 64 };

/* The timeline forwards, backwards, forwards, ... without an end: 0 .. V-1, V-1 .. 0, 0 .. */
typedef struct ls_pingpong ls_pingpong;

/* Takes `*v` over, on success and on failure. Going backwards decodes windows of frames, which
 * `window_bytes` bounds. If seeking turns out to be slow, for lack of key frames or of timestamps
 * that lead to them, all frames are stored losslessly in `folder` (see ls_temporary_file; copied).
 */
int ls_pingpong_open(ls_pingpong **out, ls_video **v, size_t window_bytes, const char *folder,
                     ls_error *err);
void ls_pingpong_close(ls_pingpong **p);
/* The next frame, and its index on the timeline of the file. */
int ls_pingpong_next(ls_pingpong *p, ls_frame **out, uint64_t *index, ls_error *err);
/* Makes frame `place` of the endless sequence the next. */
int ls_pingpong_seek(ls_pingpong *p, uint64_t place, ls_error *err);
/* Changes the size of later windows. */
void ls_pingpong_set_window(ls_pingpong *p, size_t bytes);
/* The video, which still belongs to the sequence: for its info, path, model and index. */
ls_video *ls_pingpong_video(const ls_pingpong *p);

#endif
