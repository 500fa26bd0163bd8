/* Images of the faces found in a video. */
#ifndef LS_PIPELINE_PREVIEW_H
#define LS_PIPELINE_PREVIEW_H

#include "pipeline/scout.h"

/* Writes DIR/track-ID.png for each track: the frame that shows it best, with its box, points and id
 * drawn. Decodes the video again; creates the folder if missing. `written` counts the images. */
int ls_preview_write(const char *dir, const char *video, const ls_video_settings *settings,
                     const ls_scout_track *tracks, size_t count, size_t *written,
                     const ls_cancel *cancel, ls_error *err);

#endif
