/* What a file says about itself, carried over to the output. */
#ifndef LS_MEDIA_TAGS_H
#define LS_MEDIA_TAGS_H

#include "media/av.h"

/* Copies the tags of the file `from` to `mux`, those of its stream `index` to `video`, and its time
 * code, at the rate of `video`, of the frame `first`. Left out is what describes the old file's
 * encoding. The container decides what of it is written. LS_ENOMEM. */
int ls_tags_copy(AVFormatContext *mux, AVStream *video, const AVFormatContext *from, int index,
                 uint64_t first, ls_error *err);
/* Title and language of a stream. LS_ENOMEM. */
int ls_tags_copy_stream(AVStream *to, const AVStream *from, ls_error *err);
/* Chapters of the `seconds` that follow `after`, the time of the first frame being 0. LS_ENOMEM. */
int ls_tags_copy_chapters(AVFormatContext *mux, const AVFormatContext *from, double after,
                          double seconds, ls_error *err);

#endif
