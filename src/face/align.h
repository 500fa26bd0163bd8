/* From the points of a face to the picture that the networks see: template, similarity transform
 * with the original's smoothing, crop. Pure functions but for ls_align and ls_cropper, each used by
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

/* The networks' pictures are R x R, R a multiple of 8 from 8 to LS_MAX_RESOLUTION. The face is cut
 * out and put back at a size of its own: 420 x 560 for R = 512. */
bool ls_resolution_valid(size_t resolution);
void ls_crop_size(size_t resolution, size_t *w, size_t *h);

/* The three points (brow image left, brow image right, nose) of a face: from 106 landmarks rounded
 * to whole pixels as the original does, from five by the least-squares similarity of mean points,
 * sub-pixel. False, with p unspecified, for a face without points, with points that are not finite
 * or beyond a million pixels, or that fall together. */
bool ls_face_three_points(const ls_face *face, double p[3][2]);

/* Smoothing of the crop's offset along the frames of one run. Zero-initialise but for `resolution`;
 * zero `started` to restart after a gap or a scene cut. */
typedef struct ls_align {
    size_t resolution;
    bool started;
    double bias[2]; /* rounded to float at each frame, still points would keep traces of the past */
} ls_align;

static inline void ls_align_reset(ls_align *a)
{
    a->started = false;
}

/* The matrix of the next frame in order, from the points that ls_face_three_points has found. */
void ls_align_next(ls_align *a, const double points[3][2], ls_matrix *m);

/* The rectangle of the w x h frame that holds the crop's area u0 .. u1, v0 .. v1 with a border of
 * at least one pixel; empty when that lies outside, or m cannot be inverted. */
ls_rect ls_map_bounds(const ls_matrix *m, double u0, double v0, double u1, double v1, size_t w,
                      size_t h);
/* A rectangle of the w x h frame that holds every pixel that the crop reads; empty when the crop
 * lies outside. */
ls_rect ls_crop_bounds(const ls_matrix *m, size_t resolution, size_t w, size_t h);

/* Cuts out the crop (ls_crop_size; tight rows of RGB24) from `part`, the pixels of the frame that
 * start at (x, y). What lies outside of them is grey 127, so the result is that of the whole frame
 * if they cover ls_crop_bounds. */
void ls_crop(uint8_t *crop, size_t resolution, const ls_matrix *m, const ls_rgb *part, size_t x,
             size_t y);

/* ls_crop, then Lanczos to R x R. Holds the scratch memory for that. */
typedef struct ls_cropper ls_cropper;

int ls_cropper_open(ls_cropper **out, size_t resolution, ls_error *err);
void ls_cropper_close(ls_cropper **c);
/* face: [R, R, 3], RGB. */
void ls_cropper_run(ls_cropper *c, uint8_t *face, const ls_matrix *m, const ls_rgb *part, size_t x,
                    size_t y);

#endif
