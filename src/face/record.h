/* The faces of a video, frame by frame, and their files: JSON lines, one frame per line, in
 * increasing order:
 *
 *   {"timeline": {"width": 1280, "height": 720, "fps": "25/1"}}
 *   {"frame": 7, "cut": true, "faces": [{"id": 1, "box": [x1, y1, x2, y2], "score": 0.9,
 *    "covered": 0.6, "hidden": true, "points5": [[x, y], ... 5 of them], "interpolated": true},
 *    {"id": 2, ...}]}
 *   {"frame": 8, "landmarks106": [[x, y], ... 106 of them]}
 *   {"frame": 9}
 *   {"track": 1, "first": 7, "last": 8, "share": 0.02, "box": [x1, y1, x2, y2], "score": 0.9}
 *   {"sha256": "64 hexadecimal digits"}
 *
 * Points are in pixels of the decoded, rotated frames of the video's timeline. A missing frame has
 * no face; an entry without points is not a face. If both kinds of points are given, the landmarks
 * are used. A single face may be given in the frame itself, with id 1 by default. The timeline, on
 * the first line, is optional: with it, the video ends at the last frame listed. Summaries of
 * tracks are for other readers. The last line is the SHA-256 of all before it, which
 * ls_record_is_whole checks and reading ignores: people may edit a file. All keys but "frame" may
 * be missing or null; unknown keys and empty lines are ignored. */
#ifndef LS_FACE_RECORD_H
#define LS_FACE_RECORD_H

#include "base/error.h"
#include "face/face.h"

#include <stdio.h>

#define LS_MAX_FACES 16
#define LS_MAX_FACE_ID (UINT32_C(1) << 31)
#define LS_MAX_COORDINATE 1e6 /* pixels, either side of 0 */
#define LS_MAX_FRAME (INT64_C(1) << 48)
#define LS_TRACK_MAX_LINE 65536 /* bytes; LS_MAX_FACES faces of 106 points need 48,000 */

typedef struct ls_tracked_face {
    uint32_t id;       /* 1 .. LS_MAX_FACE_ID, unique in a frame; a face keeps it in all frames */
    bool interpolated; /* from frames where it was found */
    ls_face face;
} ls_tracked_face;

typedef struct ls_face_record {
    int64_t frame;
    bool cut; /* a new shot begins with this frame */
    size_t count;
    ls_tracked_face faces[LS_MAX_FACES];
} ls_face_record;

/* The frames that a file describes. */
typedef struct ls_record_timeline {
    size_t width, height; /* 1 .. 65535 */
    int fps_num, fps_den; /* 1 or more */
} ls_record_timeline;

typedef struct ls_track_summary {
    uint32_t id;
    int64_t first, last;
    double share;         /* of the video's frames, those with this face */
    double box[4], score; /* means */
} ls_track_summary;

/* Reads a file in order; memory does not depend on its length. One thread at a time. */
typedef struct ls_record_reader ls_record_reader;

int ls_record_reader_open(ls_record_reader **out, const char *path, ls_error *err);
/* As above; messages call the file `name`. Takes ownership of `file`, on success and on failure. */
int ls_record_reader_open_file(ls_record_reader **out, FILE *file, const char *name, ls_error *err);
void ls_record_reader_close(ls_record_reader **r);

/* NULL: the file has none. */
const ls_record_timeline *ls_record_reader_timeline(const ls_record_reader *r);

/* The next frame listed. 1: *rec is set. 0: end of the file. Negative: an error; for LS_EFORMAT the
 * message names the file, the line and what was expected. */
int ls_record_read(ls_record_reader *r, ls_face_record *rec, ls_error *err);

/* Receives a line of n bytes, ending in '\n'. Returns 0, or an error, which ends the writing. */
typedef struct ls_line_sink {
    int (*write)(void *opaque, const char *line, size_t n, ls_error *err);
    void *opaque;
} ls_line_sink;

/* Writes to a file or a sink. Boxes and five points are rounded to 1/1000 pixel, landmarks to
 * 1/100, scores to 1/10000; the locale does not matter. One thread at a time. */
typedef struct ls_record_writer ls_record_writer;

/* Writes to a temporary file next to `path`. `timeline` may be NULL. */
int ls_record_writer_open(ls_record_writer **out, const char *path,
                          const ls_record_timeline *timeline, ls_error *err);
int ls_record_writer_open_sink(ls_record_writer **out, ls_line_sink sink,
                               const ls_record_timeline *timeline, ls_error *err);
/* Removes an unfinished file. Sets *w to NULL; takes NULL. */
void ls_record_writer_close(ls_record_writer **w);

/* Rounds to a file's precision, so that a record in memory equals the one read back. */
void ls_record_round(ls_face_record *rec);

/* Frames must increase. LS_EINVAL: the record violates the format; nothing is written. */
int ls_record_write(ls_record_writer *w, const ls_face_record *rec, ls_error *err);
int ls_record_write_summary(ls_record_writer *w, const ls_track_summary *s, ls_error *err);

/* Writes the last line, and gives the file its final name, replacing an older file. Nothing may be
 * written afterwards. */
int ls_record_finish(ls_record_writer *w, ls_error *err);
/* Whether a file is as a writer finished it. */
bool ls_record_is_whole(const char *path);

#endif
