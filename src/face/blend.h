/* Blends the rows of a face into a planar Y'CbCr frame, in its own samples: rounded to nearest; a
 * chroma sample uses the means of face and weight over its luma samples. Samples whose weight is 0
 * keep their bits. */
#ifndef LS_FACE_BLEND_H
#define LS_FACE_BLEND_H

#include "base/error.h"
#include "face/align.h"

/* Y'CbCr of a frame, from R'G'B' in 0..255: code values above black and around neutral. */
typedef struct ls_colors {
    float y[3], cb[3], cr[3];
    float neutral, black, max;
    bool wide; /* two bytes a sample */
} ls_colors;

/* Zero-initialise; ls_blender_free at the end. One thread at a time. */
typedef struct ls_blender {
    ls_picture frame;
    ls_rect rect;
    ls_colors colors;
    float *row;    /* [rect.w, 4]: room for a row's R, G, B in 0..255 */
    float *chroma; /* three rows of sums: weight, and weight times Cb, Cr */
    size_t size;   /* floats of a row of sums */
} ls_blender;

void ls_blender_free(ls_blender *b);

/* Makes room for rows of `rect`, which lies in the frame. LS_ENOMEM. */
int ls_blender_reserve(ls_blender *b, const ls_rect *rect, ls_error *err);
/* LS_EINVAL for a frame that is no planar one of 8 to 16 bits. */
int ls_blender_check(const ls_picture *frame, ls_error *err);
/* LS_EINVAL for an image [R, R, 3] that is not finite, a matrix that has no inverse, an opacity
 * outside 0..1. */
int ls_blender_check_face(const float *image, size_t resolution, const ls_matrix *m, double opacity,
                          ls_error *err);
/* Starts on a frame; then ls_blender_put for every row of `rect` in order. */
void ls_blender_begin(ls_blender *b, const ls_picture *frame, const ls_rect *rect);
/* Row `y` of the rectangle: its columns [from, to) from `row`, with the weight of column x at
 * weight[x * step]. */
void ls_blender_put(ls_blender *b, size_t y, size_t from, size_t to, const float *weight,
                    size_t step);

static inline float ls_color_dot(const float *k, const float *rgb)
{
    return k[0] * rgb[0] + k[1] * rgb[1] + k[2] * rgb[2];
}

#endif
