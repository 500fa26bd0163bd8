/* Faces in a picture: a detector, and 106 landmarks for each face where there is a network for
 * them. */
#ifndef LS_FACE_DETECTOR_H
#define LS_FACE_DETECTOR_H

#include "base/cancel.h"
#include "base/error.h"
#include "face/face.h"
#include "tensor/dtype.h"

typedef struct ls_detector_settings {
    const char *models; /* model directory, for MODELS/face; may be NULL when `path` is given */
    const char *path;   /* the detector's file; NULL: the best one of MODELS/face */
    ls_dtype dtype;     /* of the detector; landmarks are computed in float32 */
    int threads;        /* 0: all cores */
} ls_detector_settings;

/* One thread at a time. */
typedef struct ls_detector ls_detector;

/* With 2d106det.onnx in MODELS/face, or beside `path`, faces get 106 landmarks, as the original has
 * them; otherwise the detector's own five points. Without `path` the detector is, of the files in
 * MODELS/face, the first by this order: det_10g, det_2.5g, det_500m, any other det_*, scrfd*, then
 * the rest by name. LS_ENOENT when there is none, LS_EUNSUPPORTED when it gives no points and there
 * is no 2d106det. */
int ls_detector_open(ls_detector **out, const ls_detector_settings *s, ls_error *err);
void ls_detector_close(ls_detector **d);

/* "det_10g.onnx, 106 landmarks by 2d106det.onnx", for messages. */
const char *ls_detector_describe(const ls_detector *d);

/* Paths of the networks' files, which belong to the detector; their number. */
enum { LS_DETECTOR_FILES = 2 };
size_t ls_detector_files(const ls_detector *d, const char *files[LS_DETECTOR_FILES]);

/* The faces of a picture, surest first, at most `max` of them. How is in face/detect.h. */
int ls_detector_run(ls_detector *d, const ls_rgb *picture, ls_face *faces, size_t max,
                    size_t *count, const ls_cancel *cancel, ls_error *err);

#endif
