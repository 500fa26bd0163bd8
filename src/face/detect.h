/* Inputs of the face networks from images, and faces from their outputs. Pure functions, any
 * thread; the pixel arithmetic is OpenCV's, as in the original. */
#ifndef LS_FACE_DETECT_H
#define LS_FACE_DETECT_H

#include "base/error.h"
#include "face/face.h"
#include "models/face/face_net.h"

/* A pixel's level x becomes (x - mean) * scale. */
typedef struct ls_levels {
    float mean, scale;
} ls_levels;

/* Where an image lies in the input of a detector: input = scale * image + (x, y). */
typedef struct ls_fit {
    double scale;
    size_t x, y;
} ls_fit;

/* Scales images to fit into w x h, at the top left, the rest 0, as InsightFace's SCRFD.detect does
 * with cv2.resize (bilinear, 11-bit weights). Owns the scratch memory; one thread at a time. */
typedef struct ls_letterbox ls_letterbox;

int ls_letterbox_open(ls_letterbox **out, size_t w, size_t h, ls_error *err);
void ls_letterbox_close(ls_letterbox **l);
/* dst: [h, w, 3], channels in the order B, G, R. With a border, the image is half as large and in
 * the middle. LS_EINVAL if it is empty or has more than 32768 pixels a side. */
int ls_letterbox_run(ls_letterbox *l, const ls_rgb *picture, bool border, ls_levels levels,
                     float *dst, ls_fit *fit, ls_error *err);

/* Decodes a detector's output: faces with a score of at least `threshold`, most confident first,
 * without those that overlap a more confident one by more than `overlap` (intersection over union
 * of boxes one pixel larger each way, as in InsightFace's nms), and, other than there, without
 * those of whose box 90 % lie within that of a more confident one. Coordinates are those of the
 * image that lies in the input at `fit`. Returns the number of faces written, at most `max`.
 * Candidates with numbers that are not finite, or scores above 1, are ignored. SCRFD: InsightFace's
 * SCRFD.forward (distance2bbox, distance2kps), cell centres at whole strides. YuNet: OpenCV's
 * FaceDetectorYN. */
size_t ls_detect_decode(const ls_face_net *net, double threshold, double overlap, ls_fit fit,
                        ls_face *faces, size_t max);

#define LS_LANDMARKS_SIZE 192

/* The square around a face that is the input of 2d106det: InsightFace's Landmark.get,
 * face_align.transform without rotation, cv2.warpAffine (bilinear, 5-bit fractions, black outside).
 * dst: [192, 192, 3], channels B, G, R, levels unchanged. */
typedef struct ls_square {
    double scale, x, y; /* square = scale * image + (x, y) */
} ls_square;

/* False if the box is empty or not finite. */
bool ls_landmarks_square(const double box[4], ls_square *square);
void ls_landmarks_crop(const ls_rgb *picture, const ls_square *square, float *dst);
/* points: 106 pairs from -1 to 1 across the square. False if one is not finite. */
bool ls_landmarks_decode(const float *points, const ls_square *square, ls_face *face);

#endif
