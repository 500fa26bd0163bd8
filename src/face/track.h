/* Face tracks: text files of JSON lines, one frame a line, in increasing order:
 *
 *   {"frame": 7, "box": [x1, y1, x2, y2], "score": 0.9, "points5": [[x, y], ... 5 of them]}
 *   {"frame": 8, "landmarks106": [[x, y], ... 106 of them]}
 *   {"frame": 9}
 *
 * Points in pixels of the decoded, rotated frames of the video's timeline. A frame that is missing,
 * or has no points, has no face. With both kinds of points the landmarks count. `box` and `score`
 * may be missing; other keys are ignored, as are empty lines. */
#ifndef LS_FACE_TRACK_H
#define LS_FACE_TRACK_H

#include "base/error.h"
#include "face/face.h"

#define LS_TRACK_MAX_LINE 65536 /* bytes */

/* One thread at a time. Memory does not depend on the length of the file, which stays open and must
 * not change. */
typedef struct ls_track ls_track;

/* Reads the whole file once, so that a mistake anywhere is found before the work starts. LS_EFORMAT
 * names the file, the line and what is expected there. The file must be seekable. */
int ls_track_open(ls_track **out, const char *path, ls_error *err);
void ls_track_close(ls_track **t);

typedef struct ls_track_info {
    uint64_t lines, faces;           /* frames listed; those with points */
    int64_t first_frame, last_frame; /* listed; -1 when there is none */
} ls_track_info;

ls_track_info ls_track_get_info(const ls_track *t);

/* The face of a frame, in any order of calls; in order, forwards or backwards, is cheap.
 * 1: *face is set. 0: no face, face->kind is LS_FACE_NONE. Negative: an error. */
int ls_track_get(ls_track *t, int64_t frame, ls_face *face, ls_error *err);

#endif
