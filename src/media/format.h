/* Pixel formats that the program works in, and colors of frames. */
#ifndef LS_MEDIA_FORMAT_H
#define LS_MEDIA_FORMAT_H

#include "media/av.h"
#include "media/frame.h"

/* Whether it holds transparency, other than of a palette. */
bool ls_format_has_alpha(enum AVPixelFormat f);
/* The same planes without the one of transparency. */
enum AVPixelFormat ls_format_opaque(enum AVPixelFormat f);
/* The format that frames of another one are converted to. Planar Y'CbCr of 8 to 16 bits, subsampled
 * as 4:4:4, 4:2:2 or 4:2:0, and 8-bit grey stay. `alpha`: with a fourth plane, where `f` has
 * transparency. */
enum AVPixelFormat ls_format_planar(enum AVPixelFormat f, bool alpha);

/* Converts `f` in place to the format `want` and the size of `like`, or its own with NULL; only
 * renames the format where the data is the same. `transpose`: `f` will be turned by 90 degrees
 * before it is as `like`. `sws` is made as needed, for sws_freeContext. */
int ls_format_convert(struct SwsContext **sws, AVFrame *f, enum AVPixelFormat want,
                      const AVFrame *like, bool transpose, ls_error *err);

/* The frame's matrix; by its size where it has none: BT.709 in high definition, as players do. */
ls_color_matrix ls_format_matrix(const AVFrame *f);
/* Tells swscale the matrices and ranges of both ends; the second as the first. */
int ls_sws_colors_to(struct SwsContext *sws, const AVFrame *src, ls_color_matrix to,
                     bool full_range_out);
int ls_sws_colors(struct SwsContext *sws, const AVFrame *src, bool full_range_out);

#endif
