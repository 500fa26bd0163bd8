/* Frames stored losslessly, each by itself, in unnamed files: for videos that are slow to seek in.
 */
#ifndef LS_MEDIA_INTERMEDIATE_H
#define LS_MEDIA_INTERMEDIATE_H

#include "media/avframe.h"

typedef struct ls_intermediate ls_intermediate;

/* For frames of the size, format and colors of `model`. Files are made in `folder`, as
 * ls_temporary_file. */
int ls_intermediate_open(ls_intermediate **out, const AVFrame *model, const char *folder,
                         ls_error *err);
void ls_intermediate_close(ls_intermediate **i);
/* The next frame, from 0 on. */
int ls_intermediate_add(ls_intermediate *i, const AVFrame *f, ls_error *err);
/* A frame that was added; the caller owns it. */
int ls_intermediate_get(ls_intermediate *i, uint64_t index, ls_frame **out, ls_error *err);

#endif
