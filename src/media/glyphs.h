/* Writing as strokes of a pen: the same on every machine, without fonts. */
#ifndef LS_MEDIA_GLYPHS_H
#define LS_MEDIA_GLYPHS_H

#include "base/error.h"

#include <stddef.h>

/* In units of the pen's grid. */
#define LS_GLYPHS_TOP (-14)
#define LS_GLYPHS_BOTTOM 12 /* of what reaches below the line, but for the lowest tails */
#define LS_GLYPHS_EM 24     /* height of a Chinese character; a capital letter has 21 */

typedef struct ls_glyph_stroke {
    double x0, y0, x1, y1; /* down is positive */
} ls_glyph_stroke;

/* Lays out one line of UTF-8 that begins at x = 0 and is *width wide; *strokes is for free().
 * LS_EINVAL, naming it, if a character is not among those there are: ASCII, the letters of European
 * languages in Latin script, and the few Chinese ones that say that AI has made something. */
int ls_glyphs_lay(ls_glyph_stroke **strokes, size_t *count, double *width, const char *text,
                  ls_error *err);

#endif
