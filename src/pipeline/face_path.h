/* The crop of every frame of a video: the points of the chosen face, kept in a temporary file as
 * they become known, and the smoothing along them. */
#ifndef LS_PIPELINE_FACE_PATH_H
#define LS_PIPELINE_FACE_PATH_H

#include "face/align.h"
#include "face/choose.h"

/* Frames over which the new mouth fades in and out where the face is lost or hidden within a shot.
 */
#define LS_FADE_FRAMES 4

/* One thread puts, one gets. */
typedef struct ls_face_path ls_face_path;

/* The file is made in `folder`, as ls_temporary_file. */
int ls_face_path_open(ls_face_path **out, size_t resolution, const char *folder, ls_error *err);
void ls_face_path_close(ls_face_path **p);

/* The choice for a frame. Frames increase; an omitted one has no face. */
int ls_face_path_put(ls_face_path *p, const ls_chosen_face *chosen, ls_error *err);
/* No more frames follow. `frames` is the length of the video, 0 if unknown: those after the last
 * one put have no face. A `code` other than 0 is what waiting calls of ls_face_path_get return. */
void ls_face_path_finish(ls_face_path *p, int64_t frames, int code);
/* The first frame with a usable face so far; -1: there is none. */
int64_t ls_face_path_first(ls_face_path *p);
/* How many frames are known. */
int64_t ls_face_path_count(ls_face_path *p);

typedef struct ls_placement {
    ls_hidden hidden; /* why the mouth stays as it is; LS_SHOWN also where there is no face */
    ls_matrix matrix;
    double opacity; /* of the new face, above 0; below 1 only where it fades */
} ls_placement;

/* Where the face of a frame is; waits until enough frames are known. The result depends on the
 * frame alone, not on the order of calls: the smoothing runs forwards over the frames, restarts
 * after a frame without the face, at a cut and with another face, and forgets so fast that a short
 * run-up gives what the whole run would. 1: *out is set; 0: there is no face, or its mouth
 * stays as it is, as out->hidden says; negative: an error. */
int ls_face_path_get(ls_face_path *p, int64_t frame, ls_placement *out, ls_error *err);
/* The box of a frame's face: x and y of its centre and half its larger side, in pixels, each the
 * median over the 13 frames around. Returns as ls_face_path_get. */
int ls_face_path_box(ls_face_path *p, int64_t frame, double box[3], ls_error *err);

#endif
