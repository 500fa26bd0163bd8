/* A detected face. */
#ifndef LS_FACE_FACE_H
#define LS_FACE_FACE_H

#include "base/picture.h"

#define LS_FACE_MAX_POINTS 106

/* The value is the number of points. */
typedef enum ls_face_kind {
    LS_FACE_NONE = 0,
    LS_FACE_POINTS5 = 5,       /* eye centres, nose tip, mouth corners, image left first */
    LS_FACE_LANDMARKS106 = 106 /* the order of InsightFace's 2d106det */
} ls_face_kind;

/* Coordinates in pixels of the decoded, rotated frame; the centre of the first pixel is (0, 0). */
typedef struct ls_face {
    double box[4];  /* x1, y1, x2, y2; zeros if unknown */
    double score;   /* 1 if unknown */
    double covered; /* the part of the lower face that something covers, 0 to 1; 0 if unknown */
    int hidden;     /* of its mouth: 1: it is to stay as it is, -1: it is not; 0: not said */
    ls_face_kind kind;
    double points[LS_FACE_MAX_POINTS][2]; /* x, y; the first `kind` are valid */
} ls_face;

#endif
