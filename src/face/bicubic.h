/* Bicubic resampling of float images with antialiasing (a = -0.5, support widened when shrinking),
 * as in torchvision. */
#ifndef LS_FACE_BICUBIC_H
#define LS_FACE_BICUBIC_H

#include "base/error.h"
#include <stddef.h>

/* Tables and scratch for one pair of sizes; one thread at a time. */
typedef struct ls_bicubic ls_bicubic;

int ls_bicubic_open(ls_bicubic **out, size_t src_w, size_t src_h, size_t dst_w, size_t dst_h,
                    ls_error *err);
void ls_bicubic_close(ls_bicubic **b);
/* Resamples src [src_h, src_w, 3], rows without padding, to dst [dst_h, dst_w, 4], whose fourth
 * channel is set to 1. `stride`: floats from one row of dst to the next. Not clamped. */
void ls_bicubic_run(ls_bicubic *b, float *dst, size_t stride, const float *src);

#endif
