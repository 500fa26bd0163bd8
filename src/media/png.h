/* Images to PNG files. */
#ifndef LS_MEDIA_PNG_H
#define LS_MEDIA_PNG_H

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define LS_PNG_MAX_SIDE 32768 /* pixels */

/* Writes packed RGB24 pixels, `w` by `h`, as the PNG file `path`, replacing one that exists. `rgb`
 * is the first pixel of the top row, `stride` the bytes from a row to the one below; may be
 * negative. The file gets its name when it is complete: on failure nothing is left behind, and an
 * existing file stays. LS_EINVAL: a size of 0 or beyond LS_PNG_MAX_SIDE. Any thread. */
int ls_png_write(const char *path, const uint8_t *rgb, ptrdiff_t stride, size_t w, size_t h,
                 ls_error *err);

#endif
