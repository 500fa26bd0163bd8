/* Images owned elsewhere, and rectangles of them. */
#ifndef LS_BASE_PICTURE_H
#define LS_BASE_PICTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Pixels x .. x+w-1, y .. y+h-1 of a frame; empty when w or h is 0. */
typedef struct ls_rect {
    size_t x, y, w, h;
} ls_rect;

/* Packed RGB24. */
typedef struct ls_rgb {
    uint8_t *data;    /* first pixel of the top row */
    ptrdiff_t stride; /* bytes from a row to the one below; may be negative */
    size_t w, h;
} ls_rgb;

/* Coefficients of R'G'B' to Y'CbCr. */
typedef enum ls_color_matrix { LS_COLOR_BT601, LS_COLOR_BT709, LS_COLOR_BT2020 } ls_color_matrix;

/* Planar Y'CbCr. */
typedef struct ls_picture {
    uint8_t *data[3];    /* Y, Cb, Cr; data[1] == NULL: grey */
    ptrdiff_t stride[3]; /* bytes; may be negative */
    size_t w, h;    /* of luma; chroma planes have ceil(w >> sub_x), ceil(h >> sub_y) samples */
    unsigned depth; /* bits per sample, 8..16, in the low bits; above 8 two bytes, native order */
    unsigned sub_x, sub_y; /* log2 of the subsampling, 0..2: 1, 1 is 4:2:0 */
    ls_color_matrix matrix;
    bool full_range; /* otherwise limited ("video", "MPEG") range */
} ls_picture;

#endif
