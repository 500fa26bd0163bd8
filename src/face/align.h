/* From a face's points to the image that the networks see: template, similarity transform with the
 * original's smoothing, crop. The functions are pure, except that an ls_align or ls_cropper serves
 * one thread at a time. */
#ifndef LS_FACE_ALIGN_H
#define LS_FACE_ALIGN_H

#include "base/error.h"
#include "face/face.h"

#define LS_MAX_RESOLUTION 4096

/* Affine map of frame pixels to crop pixels: u = m[0][0] x + m[0][1] y + m[0][2], v likewise.
 * Pixel centres are integers on both sides. */
typedef struct ls_matrix {
    float m[2][3];
} ls_matrix;

/* The networks work on R x R images, R a multiple of 8 from 8 to LS_MAX_RESOLUTION. The face is cut
 * out and pasted back at a different size: 420 x 560 for R = 512. */
bool ls_resolution_valid(size_t resolution);
void ls_crop_size(size_t resolution, size_t *w, size_t *h);

/* The three points of a face (left brow, right brow, nose; left and right as in the image): from
 * 106 landmarks, rounded to whole pixels as in the original; from five points, by the least-squares
 * similarity of mean points, with subpixel precision. False, with p unspecified, if there are no
 * points, or they are not finite, lie beyond a million pixels, or coincide. */
bool ls_face_three_points(const ls_face *face, double p[3][2]);

/* Smooths the crop's offset over the frames of one run. Zero-initialise all but `resolution`; clear
 * `started` to restart after a gap or a scene cut. */
typedef struct ls_align {
    size_t resolution;
    bool started;
    double bias[2]; /* not float: rounding would leave traces of the past in still points */
} ls_align;

static inline void ls_align_reset(ls_align *a)
{
    a->started = false;
}

/* The matrix of the next frame, in order, from the points found by ls_face_three_points. */
void ls_align_next(ls_align *a, const double points[3][2], ls_matrix *m);

/* The rectangle of the w x h frame that covers the crop's area u0 .. u1, v0 .. v1 with a margin of
 * at least one pixel; empty if that lies outside the frame, or m cannot be inverted. */
ls_rect ls_map_bounds(const ls_matrix *m, double u0, double v0, double u1, double v1, size_t w,
                      size_t h);
/* A rectangle of the w x h frame with every pixel that the crop reads; empty if the crop lies
 * outside. */
ls_rect ls_crop_bounds(const ls_matrix *m, size_t resolution, size_t w, size_t h);

/* Cuts out the crop (ls_crop_size; RGB24, rows without padding) from `part`, a part of the frame
 * whose first pixel is (x, y). Pixels outside it read as grey 127, so the result equals that of the
 * whole frame if it covers ls_crop_bounds. */
void ls_crop(uint8_t *crop, size_t resolution, const ls_matrix *m, const ls_rgb *part, size_t x,
             size_t y);

/* ls_crop, then Lanczos resampling to R x R. Owns the scratch memory. */
typedef struct ls_cropper ls_cropper;

int ls_cropper_open(ls_cropper **out, size_t resolution, ls_error *err);
void ls_cropper_close(ls_cropper **c);
/* face: [R, R, 3], RGB. */
void ls_cropper_run(ls_cropper *c, uint8_t *face, const ls_matrix *m, const ls_rgb *part, size_t x,
                    size_t y);

#endif
