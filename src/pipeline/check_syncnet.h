/* The lips compared with the sound by SyncNet, as LatentSync's evaluation does (eval/ of its
 * repository, after joonson/syncnet_python): crops of 224 x 224 around the face's box, windows of
 * five frames, mean distances of the embeddings at each lag. */
#ifndef LS_PIPELINE_CHECK_SYNCNET_H
#define LS_PIPELINE_CHECK_SYNCNET_H

#include "media/frame.h"
#include "models/syncnet/syncnet.h"
#include "pipeline/lag.h"

typedef struct ls_check_syncnet ls_check_syncnet;

/* Takes ownership of *w, on success and on failure. `sound` is copied; its `opaque` must outlive
 * *out. */
int ls_check_syncnet_open(ls_check_syncnet **out, ls_weights **w, const ls_pcm_source *sound,
                          int threads, ls_error *err);
void ls_check_syncnet_close(ls_check_syncnet **c);

/* Frame `index` of the video; `box` as ls_face_path_box, NULL where it has no face: no window has
 * such a frame. */
int ls_check_syncnet_take(ls_check_syncnet *c, const ls_frame *frame, uint64_t index,
                          const double box[3], const ls_cancel *cancel, ls_error *err);
/* Ends a stretch: the windows whose last frame is in it. */
void ls_check_syncnet_end(ls_check_syncnet *c, ls_lag_sum *sum);

/* The face in a picture of which `rgb` is the part whose first pixel is (x, y), which covers what
 * ls_check_syncnet_region gives, to [224, 224, 3] BGR; grey 110 beside the picture. */
ls_rect ls_check_syncnet_region(const double box[3], size_t w, size_t h);
void ls_check_syncnet_crop(uint8_t *face, const double box[3], const ls_rgb *rgb, size_t x,
                           size_t y);

#endif
