/* Between pictures and face networks: what goes in, and what the numbers that come out mean. Pure
 * functions, any thread; the pixel arithmetic is OpenCV's, which the original goes through. */
#ifndef LS_FACE_DETECT_H
#define LS_FACE_DETECT_H

#include "base/error.h"
#include "face/face.h"
#include "models/face/face_net.h"

/* What becomes of a pixel's level x: (x - mean) * scale. */
typedef struct ls_levels {
    float mean, scale;
} ls_levels;

/* Pictures scaled to fit into w x h, top left, the rest 0, as InsightFace's SCRFD.detect does with
 * cv2.resize (bilinear, 11-bit weights). Holds memory for it; one thread at a time. */
typedef struct ls_letterbox ls_letterbox;

int ls_letterbox_open(ls_letterbox **out, size_t w, size_t h, ls_error *err);
void ls_letterbox_close(ls_letterbox **l);
/* dst: [h, w, 3], channels in the order B, G, R. *scale is picture to dst. Fails only for want of
 * memory, or a picture without pixels or beyond 32768 pixels a side. */
int ls_letterbox_run(ls_letterbox *l, const ls_rgb *picture, ls_levels levels, float *dst,
                     double *scale, ls_error *err);

/* Faces of at least `threshold` in a detector's output, surest first, without those that overlap a
 * surer one by more than `overlap` (intersection over union, of boxes a pixel larger each way, as
 * in InsightFace's nms). Coordinates are divided by `scale`. Returns how many were found and
 * written, at most `max`. Numbers that are not finite, and scores above 1, are passed over.
 * SCRFD: InsightFace's SCRFD.forward (distance2bbox, distance2kps), cell centres at whole strides.
 * YuNet: OpenCV's FaceDetectorYN. */
size_t ls_detect_decode(const ls_face_net *net, double threshold, double overlap, double scale,
                        ls_face *faces, size_t max);

#define LS_LANDMARKS_SIZE 192

/* The square about a face that 2d106det looks at: InsightFace's Landmark.get, face_align.transform
 * without rotation, cv2.warpAffine (bilinear, 5-bit fractions, black outside). dst: [192, 192, 3],
 * channels B, G, R, levels as they are. */
typedef struct ls_square {
    double scale, x, y; /* square = scale * picture + (x, y) */
} ls_square;

/* False when the box is empty or not finite. */
bool ls_landmarks_square(const double box[4], ls_square *square);
void ls_landmarks_crop(const ls_rgb *picture, const ls_square *square, float *dst);
/* points: 106 pairs from -1 to 1 across the square. False when one is not finite. */
bool ls_landmarks_decode(const float *points, const ls_square *square, ls_face *face);

#endif
