/* The faces of a job's video on their way to the crops: from the scout or a track file, through the
 * choice, to the face path; and to a track file if one is wanted. */
#ifndef LS_PIPELINE_FACE_FEED_H
#define LS_PIPELINE_FACE_FEED_H

#include "base/cancel.h"
#include "base/log.h"
#include "face/detector.h"
#include "latentsync/sync.h"
#include "media/video.h"
#include "pipeline/stream.h"

typedef struct ls_face_feed ls_face_feed;

/* With a track file, all of it is read now, and checked against the video; otherwise the detector
 * is opened. The faces of `span` are wanted; without any in the frames that get a new mouth:
 * LS_ENOFACE, here or from ls_face_feed_run. `s`, `video` and `log` must outlive *out; temporary
 * files are made in `folder`, or where the system has them when that is NULL. */
int ls_face_feed_open(ls_face_feed **out, const ls_sync_settings *s, const char *track,
                      const ls_video *video, const ls_stream_span *span, const char *folder,
                      const ls_log *log, ls_error *err);
void ls_face_feed_close(ls_face_feed **f);

/* Where the crops find the faces. */
ls_face_path *ls_face_feed_path(ls_face_feed *f);

/* Whether ls_face_feed_run has anything to do: there is no track file. */
bool ls_face_feed_runs(const ls_face_feed *f);
/* Ends what is wanted at so many frames, before ls_face_feed_run, which then searches no further.
 */
void ls_face_feed_narrow(ls_face_feed *f, uint64_t frames);
/* Before ls_face_feed_run: 1 if a frame of the video, the one with that index, shows a face: the
 * chosen one of a track, any other one where they are detected; 0 if not; negative: an error. */
int ls_face_feed_shows(ls_face_feed *f, const ls_frame *frame, int64_t index,
                       const ls_cancel *cancel, ls_error *err);
/* The files of the networks that detect faces; returns their number. */
size_t ls_face_feed_files(const ls_face_feed *f, const char *files[LS_DETECTOR_FILES]);
/* Detects faces, in a thread other than the one that reads the path, and writes its findings to the
 * files `track` and `index` (see ls_video_save_index) unless they are NULL: of the whole video if
 * the settings have the track saved, otherwise as far as the choice for the wanted frames needs.
 * The caller finishes the path on failure. */
int ls_face_feed_run(ls_face_feed *f, const char *track, const char *index, const ls_cancel *cancel,
                     ls_error *err);
/* How far the search is: seconds it has taken, and frames. Any thread. */
void ls_face_feed_state(ls_face_feed *f, double *seconds, uint64_t *frames);
/* Reads a whole track file, and checks that it is of this video: the errors of ls_face_feed_open,
 * before anything else is opened. */
int ls_face_feed_check_track(const char *track, const char *video, const ls_video_info *v,
                             const ls_cancel *cancel, ls_error *err);

#endif
