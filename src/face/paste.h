/* Pastes only what was repainted: the generated face where the mask lets it be generated, with a
 * soft edge inside the mask's border. Every pixel outside the mask keeps its bits.
 *
 * - The colors of the patch are moved by a smooth offset, at most 20 levels, that takes what the
 *   networks made along the mask's border to what the frame has there: six terms of x and y for
 *   each of R, G, B, fitted by iteratively reweighted least squares (Holland and Welsch, 1977) with
 *   the weights of Geman and McClure (1985), so that a jaw or hair that has moved counts little.
 *   The chin does not count at all: it would have the light follow the jaw.
 * - Where the frame is finer than the face image, the patch is sharpened (its difference from a
 *   Gaussian of one pixel is added, hardly beyond the values around), as far as its gradients along
 *   the border then have no more energy than the frame's own there. Where the frame is coarser, the
 *   patch is smoothed instead.
 * - The patch is sampled with Catmull and Rom's cubic at the frame's pixels, without a step
 *   between.
 *
 * Everything is a function of one frame and its face. */
#ifndef LS_FACE_PASTE_H
#define LS_FACE_PASTE_H

#include "base/error.h"
#include "face/align.h"

#define LS_SHARPEN_AUTO (-1.)

/* Scratch memory; one thread at a time. */
typedef struct ls_paste ls_paste;

/* sharpen: how much of the difference is added at most, 0 to 1; LS_SHARPEN_AUTO: 0 where a pixel of
 * the frame is as large as one of the face image, growing to 1 where it is half as large. */
int ls_paste_open(ls_paste **out, size_t resolution, double sharpen, ls_error *err);
void ls_paste_close(ls_paste **p);
/* Bytes that one takes, without a row of the frame. */
size_t ls_paste_bytes(size_t resolution);

/* image: [R, R, 3] in -1..1 (ls_mask_composite), face: [R, R, 3], what it was made from
 * (ls_cropper_run). m, opacity and frame as for ls_restore_yuv, with its errors. */
int ls_paste_yuv(ls_paste *p, const float *image, const uint8_t *face, const ls_matrix *m,
                 double opacity, const ls_picture *frame, ls_error *err);

/* Of the last call, for tests and diagnosis. */
typedef struct ls_paste_view {
    ls_rect rect;     /* outside it nothing was changed; empty: nothing at all */
    double offset[3]; /* of R, G, B in the middle of the mask, in levels of 0..255 */
    double sharpened; /* how much of the difference was added; below 0: smoothed */
    double own;       /* energy of the frame's gradients around the border */
    double patch;     /* of the patch's as it was pasted */
} ls_paste_view;

ls_paste_view ls_paste_last(const ls_paste *p);
/* [R, R]: the weight of the face image's pixels, 0 to 1. */
const float *ls_paste_weights(const ls_paste *p);

#endif
