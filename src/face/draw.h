/* Draws detected faces into images, for inspection. */
#ifndef LS_FACE_DRAW_H
#define LS_FACE_DRAW_H

#include "face/face.h"

#define LS_DRAW_COLORS 8

/* Line width in pixels for an image of this size: 2 at 1280 x 720. */
double ls_draw_line(size_t w, size_t h);

/* The colour of a face; LS_DRAW_COLORS successive ids have different ones. */
void ls_draw_color(uint32_t id, uint8_t color[3]);

/* Draws the outline of the box, a tab with `id` at its top left corner, and the points. The tab
 * sits on top of the box, or inside it if there is no room above, and stays within the image while
 * any part of the box does. Empty boxes and those with NaN are not drawn, nor are their tabs, nor
 * points with NaN. Drawing is clipped to the image. Lines are centred on the box's edges; with
 * their dark rims they stay within 2 line widths of them, and points within 3 of their position. */
void ls_draw_face(const ls_rgb *picture, const ls_face *face, uint32_t id);

#endif
