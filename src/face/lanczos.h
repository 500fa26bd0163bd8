/* Lanczos resampling with 8 taps in fixed point, bit-identical to OpenCV's INTER_LANCZOS4 on uint8:
 * no low-pass filter when shrinking, borders replicated. */
#ifndef LS_FACE_LANCZOS_H
#define LS_FACE_LANCZOS_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

/* Tables and scratch for one pair of sizes; one thread at a time. */
typedef struct ls_lanczos ls_lanczos;

int ls_lanczos_open(ls_lanczos **out, size_t src_w, size_t src_h, size_t dst_w, size_t dst_h,
                    size_t channels, ls_error *err);
void ls_lanczos_close(ls_lanczos **l);
/* src [src_h, src_w, channels] to dst [dst_h, dst_w, channels], rows without padding; they must not
 * overlap. */
void ls_lanczos_run(ls_lanczos *l, uint8_t *dst, const uint8_t *src);

#endif
