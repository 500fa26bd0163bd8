/* The newest frame as a small JPEG, for those who watch a job. */
#ifndef LS_MEDIA_SNAPSHOT_H
#define LS_MEDIA_SNAPSHOT_H

#include "media/frame.h"
#include "media/video.h"

#define LS_SNAPSHOT_WIDTH 640

/* One thread at a time. */
typedef struct ls_snapshot ls_snapshot;

/* For frames of `video`. Removes what killed processes have left of `path`, which must outlive
 * *out.
 */
int ls_snapshot_open(ls_snapshot **out, const char *path, const ls_video *video, ls_error *err);
/* Sets *s to NULL; takes NULL. */
void ls_snapshot_close(ls_snapshot **s);

/* Replaces the file by a JPEG of the frame, with square pixels and at most LS_SNAPSHOT_WIDTH of
 * them in a row, unless it did so less than a second ago. The file is complete under its name, but
 * not forced to the disk. */
int ls_snapshot_take(ls_snapshot *s, const ls_frame *f, ls_error *err);

#endif
