/* Finds the faces in an image, with 106 landmarks each if there is a network for them. */
#ifndef LS_FACE_DETECTOR_H
#define LS_FACE_DETECTOR_H

#include "base/cancel.h"
#include "base/error.h"
#include "face/face.h"
#include "tensor/dtype.h"

typedef struct ls_detector_settings {
    const char *models; /* model directory, for MODELS/face; may be NULL if `path` is given */
    const char *path;   /* the detector's file; NULL: the best one of MODELS/face */
    ls_dtype dtype;     /* of the detector; landmarks are computed in float32 */
    int threads;        /* 0: all cores */
} ls_detector_settings;

/* One thread at a time. */
typedef struct ls_detector ls_detector;

/* If 2d106det.onnx is in MODELS/face (without `models`: next to `path`), faces get 106 landmarks,
 * as in the original; otherwise the detector's own five points. Without `path`, the detector is the
 * first file in MODELS/face in this order: det_10g, det_2.5g, det_500m, any other det_*, scrfd*,
 * then the rest by name. LS_ENOENT if there is none, LS_EUNSUPPORTED if it finds no points and
 * 2d106det is missing. */
int ls_detector_open(ls_detector **out, const ls_detector_settings *s, ls_error *err);
void ls_detector_close(ls_detector **d);

/* "det_10g.onnx, 106 landmarks by 2d106det.onnx", for messages. */
const char *ls_detector_describe(const ls_detector *d);

/* Sets the paths of the networks' files, owned by the detector, and returns their number. */
enum { LS_DETECTOR_FILES = 2 };
size_t ls_detector_files(const ls_detector *d, const char *files[LS_DETECTOR_FILES]);

/* The faces in an image, most confident first, at most `max`; face/detect.h has the details. With
 * a `border` the network sees the image half as large, and so finds faces that are too large for it
 * otherwise. */
int ls_detector_run(ls_detector *d, const ls_rgb *picture, bool border, ls_face *faces, size_t max,
                    size_t *count, const ls_cancel *cancel, ls_error *err);

#endif
