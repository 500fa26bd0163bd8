/* When each frame of a video is shown, where its frame rate varies. */
#ifndef LS_MEDIA_TIMES_H
#define LS_MEDIA_TIMES_H

#include "base/cancel.h"
#include "media/av.h"
#include "media/timeline.h"

#include <stddef.h>

/* Eight bytes a frame. Once it is complete any thread may read it. */
typedef struct ls_times ls_times;

typedef enum ls_times_kind {
    LS_TIMES_CONSTANT, /* one frame, or all nearest to their places at the stream's rate */
    LS_TIMES_VARY,
    LS_TIMES_UNUSABLE /* times are missing, jump, repeat or are less than 1 ms apart */
} ls_times_kind;

/* From the time stamps of a stream's packets, which are all read. *out is NULL unless they vary. */
int ls_times_open(ls_times **out, ls_times_kind *kind, const char *path, int stream,
                  const ls_stream_times *s, const ls_cancel *cancel, ls_error *err);
/* The same of a list of packets' times in any order; pts AV_NOPTS_VALUE: unknown. */
int ls_times_make(ls_times **out, ls_times_kind *kind, const int64_t *pts, size_t count,
                  int64_t duration, const ls_stream_times *s, ls_error *err);
/* Sets *t to NULL; takes NULL. */
void ls_times_close(ls_times **t);

uint64_t ls_times_frames(const ls_times *t);
AVRational ls_times_base(const ls_times *t);
/* The average, frames/s. */
AVRational ls_times_rate(const ls_times *t);
/* Index of the frame of that pts; -1: there is none. */
int64_t ls_times_find(const ls_times *t, int64_t pts);

/* When the frame at a place of the endless sequence (pingpong.h) is shown, in ls_times_base; 0 for
 * the first. Going backwards a frame lasts as long as it did forwards. */
int64_t ls_times_at(const ls_times *t, uint64_t place);
/* The same in seconds. */
double ls_times_seconds(const ls_times *t, uint64_t place);
/* How many whole periods of 1/`rate` seconds have passed by then. */
uint64_t ls_times_periods(const ls_times *t, uint64_t place, int rate);
/* Frames of the sequence that are shown before `seconds`. */
uint64_t ls_times_before(const ls_times *t, double seconds);

#endif
