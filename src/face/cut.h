/* Where a new shot begins. */
#ifndef LS_FACE_CUT_H
#define LS_FACE_CUT_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One thread at a time. */
typedef struct ls_cut ls_cut;

int ls_cut_open(ls_cut **out, ls_error *err);
void ls_cut_close(ls_cut **c);

/* The next frame's luma: rows `stride` bytes apart, samples of `bits`, 8..16, in the low bits;
 * above 8 two bytes, native order. Its size may change. True: it has little to do with the frame
 * before, and the change came at once, so that neither motion nor a fade is one. The first frame of
 * all is no cut. Costs the same at every size. */
bool ls_cut_next(ls_cut *c, const uint8_t *luma, ptrdiff_t stride, size_t w, size_t h,
                 unsigned bits);

#endif
