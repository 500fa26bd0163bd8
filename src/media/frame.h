/* A decoded picture: planar Y'CbCr (or grey) of 8 to 16 bits, reference-counted. */
#ifndef LS_MEDIA_FRAME_H
#define LS_MEDIA_FRAME_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct ls_frame ls_frame;

typedef enum ls_color_matrix { LS_COLOR_BT601, LS_COLOR_BT709, LS_COLOR_BT2020 } ls_color_matrix;

/* The pixels of a frame; valid as long as the frame. */
typedef struct ls_picture {
    uint8_t *data[3]; /* data[1] NULL: grey */
    ptrdiff_t stride[3];
    size_t width, height;
    unsigned depth;        /* bits a sample; above 8 two bytes, native order */
    unsigned sub_x, sub_y; /* log2 of the chroma subsampling */
    ls_color_matrix matrix;
    bool full_range;
} ls_picture;

/* NULL when out of memory. */
ls_frame *ls_frame_ref(const ls_frame *f);
/* Sets *f to NULL; takes NULL. */
void ls_frame_unref(ls_frame **f);

ls_picture ls_frame_picture(const ls_frame *f);
/* After this the pixels are this reference's alone and may be changed. */
int ls_frame_make_writable(ls_frame *f, ls_error *err);
/* Bytes of its pixels. */
size_t ls_frame_bytes(const ls_frame *f);

/* Converts parts of frames to packed RGB24, by the frame's own matrix and range. One thread at a
 * time. */
typedef struct ls_rgb_converter ls_rgb_converter;

int ls_rgb_converter_open(ls_rgb_converter **out, ls_error *err);
void ls_rgb_converter_close(ls_rgb_converter **c);

/* On entry the rectangle wanted; on return the one converted, which holds it: aligned to chroma and
 * padded, within the frame. *rgb points to its pixels, rows of 3 * *w bytes, valid until the next
 * call. */
int ls_rgb_convert(ls_rgb_converter *c, const ls_frame *f, size_t *x, size_t *y, size_t *w,
                   size_t *h, const uint8_t **rgb, ls_error *err);

#endif
