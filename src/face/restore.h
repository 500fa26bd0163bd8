/* Pastes a generated face back into its frame: bicubic resize to the crop's size, warp, soft mask
 * by erosion and Gaussian blur, blend. The result equals that of working on the whole frame, but
 * only the face's rectangle is touched, and the cost does not grow with the mask's radius. */
#ifndef LS_FACE_RESTORE_H
#define LS_FACE_RESTORE_H

#include "base/error.h"
#include "face/align.h"
#include "face/face.h"

/* Scratch memory, kept at the size of the largest face seen; one thread at a time. */
typedef struct ls_restore ls_restore;

int ls_restore_open(ls_restore **out, size_t resolution, ls_error *err);
void ls_restore_close(ls_restore **r);

/* image: [R, R, 3] RGB in -1..1 (ls_mask_composite). m: frame to crop, with which the crop was cut.
 * opacity scales the soft mask: 0 leaves the frame unchanged, 1 gives the original's result. Frames
 * are changed in place; samples whose soft mask is 0 keep their value. On errors the frame is
 * unchanged: LS_EINVAL for an invalid image, matrix, opacity or frame; LS_ENOMEM. */

/* Exactly the original's arithmetic: truncated to whole levels. */
int ls_restore_rgb(ls_restore *r, const float *image, const ls_matrix *m, double opacity,
                   const ls_rgb *frame, ls_error *err);
/* Blends in the frame's own Y'CbCr, rounded to nearest; a chroma sample uses the means of face and
 * soft mask over its luma samples. */
int ls_restore_yuv(ls_restore *r, const float *image, const ls_matrix *m, double opacity,
                   const ls_picture *frame, ls_error *err);

/* Intermediate results of the last call, for tests and diagnosis; valid until the next call. The
 * planes have `rect.w` floats per row and start at the rectangle's first pixel; outside it they are
 * 0. */
typedef struct ls_restore_view {
    ls_rect rect;
    size_t radius;     /* w of the original: erosion by 2w x 2w, blur over 2w + 1 */
    const float *edge; /* coverage of the crop, eroded by 2 x 2 */
    const float *soft; /* the soft mask, opacity included */
} ls_restore_view;

ls_restore_view ls_restore_last(const ls_restore *r);

#endif
