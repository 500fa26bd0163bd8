/* What the parts of the face module share: a found face, rectangles and pictures. */
#ifndef LS_FACE_FACE_H
#define LS_FACE_FACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_FACE_MAX_POINTS 106

/* The value is the number of points. */
typedef enum ls_face_kind {
    LS_FACE_NONE = 0,
    LS_FACE_POINTS5 = 5,       /* eye centres, nose tip, mouth corners, image left first */
    LS_FACE_LANDMARKS106 = 106 /* the order of InsightFace's 2d106det */
} ls_face_kind;

/* Coordinates in pixels of the decoded, rotated frame; the centre of the first pixel is (0, 0). */
typedef struct ls_face {
    double box[4]; /* x1, y1, x2, y2; zeros when not known */
    double score;  /* 1 when not known */
    ls_face_kind kind;
    double points[LS_FACE_MAX_POINTS][2]; /* x, y; the first `kind` are valid */
} ls_face;

/* Pixels x .. x+w-1, y .. y+h-1 of a frame; empty when w or h is 0. */
typedef struct ls_rect {
    size_t x, y, w, h;
} ls_rect;

/* Packed RGB24 pixels that somebody else owns. */
typedef struct ls_rgb {
    uint8_t *data;    /* first pixel of the top row */
    ptrdiff_t stride; /* bytes from a row to the one below; may be negative */
    size_t w, h;
} ls_rgb;

/* Coefficients of R'G'B' to Y'CbCr. */
typedef enum ls_yuv_matrix { LS_YUV_BT601, LS_YUV_BT709, LS_YUV_BT2020 } ls_yuv_matrix;

/* Planar Y'CbCr pixels that somebody else owns. */
typedef struct ls_yuv {
    uint8_t *data[3];    /* Y, Cb, Cr; data[1] == NULL: grey */
    ptrdiff_t stride[3]; /* bytes; may be negative */
    size_t w, h;    /* of luma; chroma planes have ceil(w >> sub_x), ceil(h >> sub_y) samples */
    unsigned depth; /* bits a sample, 8..16, in the low bits; above 8 two bytes, native order */
    unsigned sub_x, sub_y; /* log2 of the subsampling, 0..2: 1, 1 is 4:2:0 */
    ls_yuv_matrix matrix;
    bool full_range; /* otherwise limited ("video", "MPEG") range */
} ls_yuv;

#endif
