/* A stream of a job's finished segments, to be watched while others are made: HLS (RFC 8216) with
 * fragmented MP4, as a playlist that grows. */
#ifndef LS_MEDIA_HLS_H
#define LS_MEDIA_HLS_H

#include "media/join.h"
#include "media/segment.h"

/* One thread at a time. */
typedef struct ls_hls ls_hls;

/* Whether the encoder of that name makes what a stream holds; LS_EINVAL, naming those that do. */
int ls_hls_check(const char *encoder, ls_error *err);

/* Makes the folder `join->path` unless it exists. Of the other settings, those of the output; path
 * and sink are the stream's own. `longest`: seconds of its longest segment. Strings must outlive
 * *out. */
int ls_hls_open(ls_hls **out, const ls_join_settings *join, double longest, ls_error *err);
/* Sets *h to NULL; takes NULL. What is under its name stays. */
void ls_hls_close(ls_hls **h);

/* Writes the next segment of `seconds`, 00000.m4s and so on, and before the first one init.mp4;
 * each replaces a file of that name when it is complete. The same segments give the same bytes. */
int ls_hls_add(ls_hls *h, const char *segment, const ls_segment_info *info, double seconds,
               bool is_last, const ls_cancel *cancel, ls_error *err);
/* Replaces stream.m3u8 by the list of all that were added; without any, removes it. */
int ls_hls_publish(ls_hls *h, ls_error *err);

#endif
