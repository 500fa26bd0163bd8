/* Finds where new shots begin. */
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

/* The next frame's luma: rows `stride` bytes apart; samples of `bits` bits, 8..16, in the low bits
 * of one byte, or above 8 of two in native order. The size may change. True if the frame has little
 * in common with the one before and the change is abrupt: neither motion nor a fade is a cut, nor
 * is the very first frame. The cost does not depend on the size. */
bool ls_cut_next(ls_cut *c, const uint8_t *luma, ptrdiff_t stride, size_t w, size_t h,
                 unsigned bits);

#endif
