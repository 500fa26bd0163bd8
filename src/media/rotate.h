/* Rotating and mirroring frames by a display matrix. */
#ifndef LS_MEDIA_ROTATE_H
#define LS_MEDIA_ROTATE_H

#include "media/av.h"

#include <stdbool.h>

/* First the transposition, then the flips. */
typedef struct ls_rotation {
    bool transpose, flip_x, flip_y;
} ls_rotation;

static inline bool ls_rotation_turns(ls_rotation r)
{
    return r.transpose;
}

/* From the display matrix of a stream; angles other than quarter turns are ignored. */
ls_rotation ls_rotation_of(const AVStream *st);

/* Replaces the pixels of a planar frame. A transposed frame must have equal chroma subsampling in
 * both directions. */
int ls_rotate(ls_rotation r, AVFrame *f, ls_error *err);

#endif
