/* Faces of any size in the frames of a video. A detector does not find a face that fills the
 * picture; it finds it with a border around. Both views of every frame would take twice the time,
 * so the one with a border is looked at where it can be expected to show more. */
#ifndef LS_FACE_SEARCH_H
#define LS_FACE_SEARCH_H

#include "face/follow.h"

/* Zero-initialise before the first frame. */
typedef struct ls_search {
    bool plain, border; /* views that showed the faces of the last frame */
    size_t want;        /* frames in which the plain view was not enough */
    size_t large;       /* large faces of the last frame, and their boxes: */
    double boxes[LS_MAX_FACES][4];
    ls_face bordered[LS_MAX_FACES];
} ls_search;

/* The two views of a frame. */
typedef struct ls_views {
    /* As ls_detector_run. */
    int (*find)(void *opaque, bool border, ls_face *faces, size_t max, size_t *count,
                ls_error *err);
    void *opaque;
    double side;     /* the longer one of the frame, in pixels */
    size_t min_face; /* see ls_face_eligible */
} ls_views;

/* The faces of the next frame that is examined, at most LS_MAX_FACES; `cut`: a new shot has begun
 * since the last. The view with a border counts for faces of half the picture's longer side or
 * more. It is looked at, and then as long as it shows one, where the plain view
 *   - shows no eligible face, or one of more than 0.7 of the side: in the first such frame of a
 *     shot or after a large face, and in every eighth of a row;
 *   - no longer shows a large face of the frame before, but others.
 * The result depends on the frames of the shot alone. */
int ls_search_frame(ls_search *s, const ls_views *v, bool cut, ls_face faces[LS_MAX_FACES],
                    size_t *count, ls_error *err);

#endif
