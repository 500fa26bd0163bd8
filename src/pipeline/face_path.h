/* The crop of every frame of a video, from its face track. */
#ifndef LS_PIPELINE_FACE_PATH_H
#define LS_PIPELINE_FACE_PATH_H

#include "face/align.h"
#include "face/track.h"

typedef struct ls_face_path ls_face_path;

/* Takes *t over, on success and on failure. */
int ls_face_path_open(ls_face_path **out, ls_track **t, size_t resolution, ls_error *err);
void ls_face_path_close(ls_face_path **p);

/* The matrix of a frame of the video. It depends on the frame alone, not on the order of calls: the
 * smoothing runs forwards over the frames, starts anew after a frame without a face, and forgets so
 * fast that a short run-up gives what the whole run would. 1: *m is set; 0: there is no face;
 * negative: an error. */
int ls_face_path_get(ls_face_path *p, int64_t frame, ls_matrix *m, ls_error *err);

#endif
