/* What is known of the faces of a job's video, on its way to the crops: from the scout or from a
 * track file, through the choice, to the face path; and to a track file when one is wanted. */
#ifndef LS_PIPELINE_FACE_FEED_H
#define LS_PIPELINE_FACE_FEED_H

#include "base/cancel.h"
#include "base/log.h"
#include "latentsync/latentsync.h"
#include "media/video.h"
#include "pipeline/face_path.h"

typedef struct ls_face_feed ls_face_feed;

/* With a track file, all of it is read now, and held against the video; otherwise the detector is
 * opened. `s` and `log` must outlive *out. */
int ls_face_feed_open(ls_face_feed **out, const ls_sync_settings *s, const ls_video_info *video,
                      const ls_log *log, ls_error *err);
void ls_face_feed_close(ls_face_feed **f);

/* Where the crops find the faces. */
ls_face_path *ls_face_feed_path(ls_face_feed *f);

/* Whether ls_face_feed_run has anything to do: there is no track file. */
bool ls_face_feed_runs(const ls_face_feed *f);
/* Looks for faces, in a thread of its own beside the one that asks the path. `frames` is how many
 * will be asked for; a track that is kept is of the whole video all the same. An error when the
 * choice finds no face at all. The caller finishes the path on failure. */
int ls_face_feed_run(ls_face_feed *f, uint64_t frames, const ls_cancel *cancel, ls_error *err);

#endif
