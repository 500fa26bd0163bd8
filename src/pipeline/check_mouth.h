/* The lips compared with the sound by how far the mouth is open. */
#ifndef LS_PIPELINE_CHECK_MOUTH_H
#define LS_PIPELINE_CHECK_MOUTH_H

#include "face/align.h"
#include "media/frame.h"
#include "models/whisper/log_mel.h"
#include "pipeline/lag.h"

#define LS_CHECK_STRETCH 250 /* frames, at most, that are compared at once */

typedef struct ls_check_mouth ls_check_mouth;

/* `sound` must outlive *out. */
int ls_check_mouth_open(ls_check_mouth **out, ls_log_mel *sound, ls_error *err);
void ls_check_mouth_close(ls_check_mouth **c);

/* The next frame of the stretch; `m` is NULL where it has no face. */
int ls_check_mouth_take(ls_check_mouth *c, const ls_frame *frame, const ls_matrix *m,
                        ls_error *err);
/* Ends the stretch that began with frame `first` of the video: *sum is how well it fits at each
 * lag. */
int ls_check_mouth_end(ls_check_mouth *c, uint64_t first, ls_lag_sum *sum, ls_error *err);

#endif
