/* Listing the faces of a video. */
#ifndef LATENTSYNC_FACES_H
#define LATENTSYNC_FACES_H

#include "latentsync/sync.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As ls_sync_settings. */
typedef struct ls_faces_settings {
    size_t size;          /* of this struct as the caller knows it */
    const char *video;    /* required */
    const char *models;   /* model directory, of which only face/ is used; NULL: the installed one,
                             unless there is a detector */
    const char *detector; /* ONNX file of the detector; NULL: the best in MODELS/face */
    const char *preview;  /* NULL, or a folder for an image of each track */
    size_t max_gap;       /* 12: longest gap, in frames, to interpolate; 0 to 250 */
    size_t detect_every;  /* 1: run detection on every Nth frame; 1 to 250; 0: as often as the faces
                             move */
    int source_fps;       /* 0: frames of the 25 frames/s that sync works on; 1: the source's */
    int threads;          /* 0: all cores */
    ls_cancel *cancel;    /* NULL, or what cancels opening and running; outlives the job */
    /* NULL, or takes what sync reads as a face track: whole lines, in order, from ls_faces_run. 0,
     * or LS_EIO to end the run. */
    int (*line)(void *opaque, const char *line, size_t bytes);
    void (*message)(void *opaque, int level, const char *line);
    void (*progress)(void *opaque, const ls_progress *p);
    void *opaque;
    int video_stream;    /* -1: index in `video` of the stream to use; -1: as sync chooses */
    int keep_interlaced; /* 0: interlaced frames are deinterlaced; 1: used as they are. Option
                            "deinterlace" */
    size_t min_face;     /* 80: height in pixels of the smallest face to list, which is at least 5/8
                            as wide; 16 to 4096 */
} ls_faces_settings;

/* One face as it is followed through the video. Later versions may add members at the end. */
typedef struct ls_faces_track {
    uint32_t id; /* what ls_sync_settings.face may name */
    int64_t first, last;
    uint64_t frames;      /* that show it */
    double share;         /* of all frames of the video, 0 to 1 */
    double box[4], score; /* means; box: left, top, right, bottom in pixels */
} ls_faces_track;

/* One thread at a time. */
typedef struct ls_faces ls_faces;

/* As the functions of ls_sync; LS_OPTION_FACES. */
LS_API void ls_faces_default_settings(ls_faces_settings *s, size_t size);
LS_API int ls_faces_set(ls_faces_settings *s, const char *name, const char *value, ls_error *err);
LS_API int ls_faces_open(ls_faces **out, const ls_faces_settings *s, ls_error *err);
LS_API int ls_faces_run(ls_faces *job, ls_error *err);
LS_API void ls_faces_close(ls_faces **job);

/* After a run: the number of frames looked at; the tracks by first appearance, NULL past the last.
 * A track belongs to the job. */
LS_API uint64_t ls_faces_frames(const ls_faces *job);
LS_API const ls_faces_track *ls_faces_get_track(const ls_faces *job, size_t index);
/* Likewise: 1, and the size in pixels of the largest face that is smaller than min_face allows and
 * so in no track; 0: there is none. */
LS_API int ls_faces_get_small(const ls_faces *job, size_t *width, size_t *height);

#ifdef __cplusplus
}
#endif
#endif
