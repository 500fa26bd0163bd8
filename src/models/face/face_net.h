/* The face networks: ONNX files recognised by their inputs and outputs. */
#ifndef LS_MODELS_FACE_FACE_NET_H
#define LS_MODELS_FACE_FACE_NET_H

#include "base/cancel.h"
#include "base/error.h"
#include "tensor/dtype.h"

#include <stdbool.h>
#include <stddef.h>

#define LS_FACE_STRIDES 3 /* 8, 16 and 32 pixels per cell */

typedef enum ls_face_net_kind {
    LS_FACE_NET_SCRFD, /* InsightFace's det_10g, det_2.5g, det_500m: with five points or without */
    LS_FACE_NET_YUNET, /* libfacedetection's */
    LS_FACE_NET_LANDMARKS106 /* InsightFace's 2d106det */
} ls_face_net_kind;

/* The output of a run, valid until the next. Rows are in the order of the grid's cells, row by row,
 * and of the anchors in a cell. */
typedef struct ls_face_grid {
    size_t stride, width, height, anchors; /* width, height: of the grid */
    const float *score;                    /* [rows]; YuNet: class score */
    const float *objectness;               /* [rows], YuNet only */
    const float *box;                      /* [rows, 4] */
    const float *points;                   /* [rows, 10]; NULL if the network has none */
} ls_face_grid;

/* One thread at a time. */
typedef struct ls_face_net ls_face_net;

/* If the file does not fix the input's size, detectors use 512 x 512, as in the original. `threads`
 * 0: all cores. LS_EUNSUPPORTED for any other network. */
int ls_face_net_open(ls_face_net **out, const char *path, ls_dtype dtype, int threads,
                     ls_error *err);
void ls_face_net_close(ls_face_net **net);

const char *ls_face_net_path(const ls_face_net *net);
ls_face_net_kind ls_face_net_get_kind(const ls_face_net *net);
bool ls_face_net_has_points(const ls_face_net *net);
void ls_face_net_size(const ls_face_net *net, size_t *width, size_t *height);
/* Bytes of weights and activations. */
size_t ls_face_net_bytes(const ls_face_net *net);

/* The input of the next run, to be filled in by the caller: [height, width, 3] floats. */
float *ls_face_net_input(ls_face_net *net);
int ls_face_net_run(ls_face_net *net, const ls_cancel *cancel, ls_error *err);

/* Grid 0, 1 or 2 of a detector. */
ls_face_grid ls_face_net_grid(const ls_face_net *net, size_t i);
/* Of LS_FACE_NET_LANDMARKS106: 106 points, x and y from -1 to 1 across the image. */
const float *ls_face_net_landmarks(const ls_face_net *net);

#endif
