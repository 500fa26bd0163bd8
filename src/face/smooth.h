/* Erosion and Gaussian blur of a rectangle of a frame, at a cost that does not depend on their
 * radius. Each call filters along y and transposes, so two calls filter both axes. */
#ifndef LS_FACE_SMOOTH_H
#define LS_FACE_SMOOTH_H

#include <stddef.h>

/* A plane of w x h floats. It lies in a larger frame, with `above` rows of zeros before it and
 * `below` rows of zeros after it. */
typedef struct ls_strip {
    size_t w, h, above, below;
} ls_strip;

/* Bytes of scratch memory that the calls below need. */
size_t ls_smooth_scratch(const ls_strip *s, size_t radius);

/* dst [w, h] = minima of src [h, w] over rows y - before .. y - before + length - 1; those outside
 * the frame are ignored. Values are at most 1. */
void ls_erode(float *dst, const float *src, const ls_strip *s, size_t before, size_t length,
              void *scratch);

#define LS_BLUR_TERMS 6
#define LS_BLUR_DIRECT 8 /* up to this radius the weights themselves are used */

/* Weights exp(-k^2 / 2 sigma^2), |k| <= radius, normalised; beyond LS_BLUR_DIRECT fitted to 1e-6 by
 * a sum of cosines with a period longer than the kernel, each of which is one recursion along the
 * line. */
typedef struct ls_blur_kernel {
    size_t radius;
    double direct[LS_BLUR_DIRECT + 1];
    double feedback[LS_BLUR_TERMS]; /* 2 cos(f) */
    double outer[LS_BLUR_TERMS];    /* a cos(f r): for the first samples outside the window */
    double flat[LS_BLUR_TERMS];     /* a sum of cos(f k): the result of a line of ones */
    double inner[LS_BLUR_TERMS];    /* a cos(f (r + 1)): for the last samples inside it */
} ls_blur_kernel;

void ls_blur_make(ls_blur_kernel *k, size_t radius, double sigma);

/* dst [w, h] = src [h, w] blurred along y; the frame is mirrored at its borders, without repeating
 * the border row. */
void ls_blur(float *dst, const float *src, const ls_strip *s, const ls_blur_kernel *k,
             void *scratch);

#endif
