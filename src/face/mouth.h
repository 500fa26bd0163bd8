/* How far the mouth of an aligned face is open, whoever's it is. */
#ifndef LS_FACE_MOUTH_H
#define LS_FACE_MOUTH_H

#include <stdint.h>

#define LS_MOUTH_RESOLUTION 128

/* face: [LS_MOUTH_RESOLUTION, LS_MOUTH_RESOLUTION, 3] RGB, as ls_cropper_run makes it. 0 to 1: by
 * how much the darkest 3 % of the mouth's region are darker than the cheeks, since the inside of a
 * mouth is in shadow. The unit is the face's own, so only changes mean anything. */
double ls_mouth_opening(const uint8_t *face);

#endif
