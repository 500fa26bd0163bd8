/* How often faces need to be looked for: rarely where they move little. */
#ifndef LS_FACE_PACE_H
#define LS_FACE_PACE_H

#include "face/record.h"

#define LS_PACE_MOST 5 /* frames from one that is examined to the next, at most */
/* Between two frames that are examined, faces that went on as before move by this part of their
 * height, at most; so an interpolated point is off by half of that, unless the face stops, turns
 * or starts in between. */
#define LS_PACE_MOTION 0.02

/* Zeros at the start. Depends on the frames alone. */
typedef struct ls_pace {
    int64_t last, due; /* frames */
    size_t stride, count;
    ls_face faces[LS_MAX_FACES]; /* of frame `last` */
} ls_pace;

/* Whether a frame is to be examined: the first ones of a shot are, and as long as faces move, come
 * or go every one. */
bool ls_pace_is_due(const ls_pace *p, int64_t frame, bool cut);
/* The faces of a frame that was examined, of which those count that are `min_face` pixels tall. */
void ls_pace_take(ls_pace *p, int64_t frame, bool cut, const ls_face *faces, size_t count,
                  size_t min_face);

#endif
