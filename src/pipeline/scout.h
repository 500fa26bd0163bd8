/* Finds the faces of a whole video, with its own decoder: detection, identities. It holds one image
 * at a time, and passes its findings on frame by frame. */
#ifndef LS_PIPELINE_SCOUT_H
#define LS_PIPELINE_SCOUT_H

#include "base/cancel.h"
#include "base/log.h"
#include "face/detector.h"
#include "face/follow.h"
#include "media/video.h"

typedef struct ls_scout_settings {
    const char *video;
    int video_stream; /* as ls_video_settings, like the next */
    bool keep_interlaced;
    bool source_fps;
    ls_detector_settings detector;
    ls_follow_settings follow;
    const ls_log *log;
} ls_scout_settings;

/* One identity, as known so far. */
typedef struct ls_scout_track {
    ls_track_summary summary;
    uint64_t frames; /* that show it, interpolated ones included */
    bool fleeting;   /* found in one of several frames of its shot that were examined */
    ls_face best;    /* its best frame, for previews: detected, large, confident */
    int64_t best_frame;
} ls_scout_track;

/* One thread at a time. */
typedef struct ls_scout ls_scout;

/* Opens the video and the networks; `log` and the strings must outlive *out. */
int ls_scout_open(ls_scout **out, const ls_scout_settings *s, ls_error *err);
void ls_scout_close(ls_scout **s);

const ls_video_info *ls_scout_video(const ls_scout *s);
/* As ls_video_log_choice. */
void ls_scout_log_choice(const ls_scout *s, const ls_log *log);
const ls_detector *ls_scout_detector(const ls_scout *s);
typedef struct ls_scout_sink {
    /* A record for every frame, in order. 1 ends the search, as does an error. */
    int (*record)(void *opaque, const ls_face_record *rec, ls_error *err);
    /* After every frame; may be NULL. */
    void (*progress)(void *opaque, uint64_t frame, uint64_t frames);
    void *opaque;
} ls_scout_sink;

/* Before a run, which it does not change: 1 if a frame shows a face that would be used; 0, or an
 * error. */
int ls_scout_shows(ls_scout *s, const ls_frame *frame, const ls_cancel *cancel, ls_error *err);
/* Searches the video up to its end or the sink's. Once. */
int ls_scout_run(ls_scout *s, const ls_scout_sink *sink, const ls_cancel *cancel, ls_error *err);
/* After a run: has a look at one in LS_SCOUT_STRIDE of the next `frames` frames. *found is the
 * first of these with a face; -1: none. */
#define LS_SCOUT_STRIDE 25
int ls_scout_look_on(ls_scout *s, uint64_t frames, int64_t *found, const ls_cancel *cancel,
                     ls_error *err);

/* The largest face that was not used because it is smaller than follow.min_face; NULL: none. */
typedef struct ls_small_face {
    size_t width, height; /* of its box, in pixels */
    int64_t frame;
} ls_small_face;
const ls_small_face *ls_scout_small_face(const ls_scout *s);

/* Frames searched, and the identities in them by first appearance; after a run without those that
 * are fleeting, which are rarely faces. */
uint64_t ls_scout_frames(const ls_scout *s);
size_t ls_scout_tracks(const ls_scout *s, const ls_scout_track **tracks);

/* After a run: the summaries of all identities, and the end of the file. */
int ls_scout_save(const ls_scout *s, ls_record_writer *w, ls_error *err);
/* Likewise the index of the video, see ls_video_save_index. */
int ls_scout_save_index(const ls_scout *s, const char *path, ls_error *err);

#endif
