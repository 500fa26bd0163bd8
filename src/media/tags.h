/* What a file says about itself, carried over to the output. */
#ifndef LS_MEDIA_TAGS_H
#define LS_MEDIA_TAGS_H

#include "media/av.h"

/* Copies the tags of the file `from` to `mux`, those of its stream `index` to `video`, and its time
 * code, at the rate of `video`. Left out is what describes the old file's encoding. The container
 * decides what of it is written. LS_ENOMEM. */
int ls_tags_copy(AVFormatContext *mux, AVStream *video, const AVFormatContext *from, int index,
                 ls_error *err);
/* Title and language of a stream. LS_ENOMEM. */
int ls_tags_copy_stream(AVStream *to, const AVStream *from, ls_error *err);
/* Chapters that begin before `seconds`, the time of the first frame being 0. LS_ENOMEM. */
int ls_tags_copy_chapters(AVFormatContext *mux, const AVFormatContext *from, double seconds,
                          ls_error *err);

#endif
