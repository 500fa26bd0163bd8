/* A decoded frame: planar Y'CbCr (or grey) of 8 to 16 bits, reference-counted. */
#ifndef LS_MEDIA_FRAME_H
#define LS_MEDIA_FRAME_H

#include "base/error.h"
#include "base/picture.h"

typedef struct ls_frame ls_frame;

/* NULL when out of memory. */
ls_frame *ls_frame_ref(const ls_frame *f);
/* Sets *f to NULL; takes NULL. */
void ls_frame_unref(ls_frame **f);

/* Whether both are the same decoded frame, as where a timeline repeats one; either may be NULL. */
bool ls_frame_is_same(const ls_frame *a, const ls_frame *b);

/* Its pixels; valid as long as the frame. */
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

/* On entry *part is the rectangle wanted; on return the one converted, which contains it: aligned
 * to chroma and padded, within the frame. *rgb has its size, and is valid until the next call.
 * LS_EINVAL for a rectangle that is empty or exceeds the frame. */
int ls_rgb_convert(ls_rgb_converter *c, const ls_frame *f, ls_rect *part, ls_rgb *rgb,
                   ls_error *err);

#endif
