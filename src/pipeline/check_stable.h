/* The lips compared with the sound by StableSyncNet: aligned faces as those it was trained on,
 * windows of frames, mean cosines of the embeddings at each lag. */
#ifndef LS_PIPELINE_CHECK_STABLE_H
#define LS_PIPELINE_CHECK_STABLE_H

#include "face/align.h"
#include "media/frame.h"
#include "models/syncnet/stable_syncnet.h"
#include "pipeline/lag.h"

#define LS_CHECK_STABLE_STEP                                                                       \
    4 /* frames from a window to the next; they overlap by most of them                            \
       */

typedef struct ls_check_stable ls_check_stable;

/* Takes ownership of *w, on success and on failure. `sound` is copied; its `opaque` must outlive
 * *out. */
int ls_check_stable_open(ls_check_stable **out, ls_weights **w, const ls_pcm_source *sound,
                         int threads, ls_error *err);
void ls_check_stable_close(ls_check_stable **c);

/* Frame `index` of the video; `m` is for LS_STABLE_SYNCNET_RESOLUTION, NULL where it has no face:
 * no window has such a frame. */
int ls_check_stable_take(ls_check_stable *c, const ls_frame *frame, uint64_t index,
                         const ls_matrix *m, const ls_cancel *cancel, ls_error *err);
/* Ends a stretch: the windows whose last frame is in it. */
void ls_check_stable_end(ls_check_stable *c, ls_lag_sum *sum);

#endif
