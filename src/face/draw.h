/* Found faces drawn into pictures, to be looked at. */
#ifndef LS_FACE_DRAW_H
#define LS_FACE_DRAW_H

#include "face/face.h"

#define LS_DRAW_COLORS 8

/* Width of the lines in a picture of this size, in pixels: 2 in one of 1280 x 720. */
double ls_draw_line(size_t w, size_t h);

/* The colour of a face; LS_DRAW_COLORS successive ids have different ones. */
void ls_draw_color(uint32_t id, uint8_t color[3]);

/* Draws the outline of the box, `id` in a tab on its top left corner, and the points. The tab
 * stands on the box, hangs within it where there is no room above, and is inside the picture as
 * long as a part of the box is. A box that is empty or not a number is not drawn, nor is its tab;
 * nor are points that are not numbers. What is outside the picture is cut off. Lines are centred on
 * the box's edges and within 2 widths of them, with their dark rims; points within 3 of theirs.
 */
void ls_draw_face(const ls_rgb *picture, const ls_face *face, uint32_t id);

#endif
