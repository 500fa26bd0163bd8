/* Whether something covers the lower face: how far it looks otherwise than in the frames before.
 * Brightness and colour of skin do not tell a hand from a cheek, but together with the structure
 * that fingers bring they do. */
#ifndef LS_FACE_COVER_H
#define LS_FACE_COVER_H

#include "face/face.h"

enum { LS_LOOK_CELLS = 22, LS_LOOK_FEATURES = 4 };

/* Cells from below the nose to the chin, without those of the mouth itself, which changes in
 * speech: logarithm of luma, redness, blueness, each relative to the cheeks, and logarithm of the
 * deviation of luma within the cell. */
typedef struct ls_look {
    bool known;
    float cells[LS_LOOK_CELLS][LS_LOOK_FEATURES];
} ls_look;

/* The eye centres, the tip of the nose and the corners of the mouth, image left first. False if the
 * face has no points. */
bool ls_face_five_points(const ls_face *face, double points[5][2]);

/* From the pixels of the frame in which a face was found; not known if its points coincide. */
void ls_look_take(ls_look *look, const ls_rgb *frame, const ls_face *face);

/* What is usual for a face: means and mean deviations. Zeros at the start. */
typedef struct ls_cover {
    size_t looks;
    float mean[LS_LOOK_CELLS][LS_LOOK_FEATURES], spread[LS_LOOK_CELLS][LS_LOOK_FEATURES];
} ls_cover;

/* The part of the cells, 0 to 1, that differ from what is usual; 0 for the first looks. What is
 * usual follows within a second, but only in several where a quarter or more differ, so that it
 * does not become that of a hand. `frames`: since the last look. */
double ls_cover_next(ls_cover *c, const ls_look *look, double frames);

#endif
