/* SyncNet: five frames of a face and 0.2 s of sound as points that are near each other where they
 * belong together (Chung and Zisserman, "Out of time: automated lip sync in the wild", 2016), in
 * the layout of syncnet_v2.model. Batch norms are folded into the layers before them. */
#ifndef LS_MODELS_SYNCNET_SYNCNET_H
#define LS_MODELS_SYNCNET_SYNCNET_H

#include "base/cancel.h"
#include "models/syncnet/mfcc.h"
#include "weights/weights.h"

#define LS_SYNCNET_FILE "auxiliary/syncnet_v2.model" /* of a model directory */
#define LS_SYNCNET_FRAMES 5                          /* of a window, 25 a second */
#define LS_SYNCNET_RESOLUTION 224
#define LS_SYNCNET_ROWS 20    /* of MFCC in a window */
#define LS_SYNCNET_WIDTH 1024 /* of an embedding */
#define LS_SYNCNET_FACE (LS_SYNCNET_RESOLUTION * LS_SYNCNET_RESOLUTION * 3) /* bytes */

/* One thread at a time. */
typedef struct ls_syncnet ls_syncnet;

/* Takes ownership of *w, on success and on failure. `threads` 0: all cores. A missing or misshapen
 * tensor is an error that names it. */
int ls_syncnet_open(ls_syncnet **out, ls_weights **w, int threads, ls_error *err);
void ls_syncnet_close(ls_syncnet **s);

/* Five faces [224, 224, 3], BGR. */
int ls_syncnet_lips(ls_syncnet *s, const uint8_t *const faces[LS_SYNCNET_FRAMES],
                    float out[LS_SYNCNET_WIDTH], const ls_cancel *cancel, ls_error *err);
/* mfcc [20, 13], time first. */
int ls_syncnet_sound(ls_syncnet *s, const float *mfcc, float out[LS_SYNCNET_WIDTH],
                     const ls_cancel *cancel, ls_error *err);

/* Every tensor, for made-up weights: returns their number and, unless NULL, fills `specs`. */
size_t ls_syncnet_specs(ls_weight_spec *specs);

#endif
