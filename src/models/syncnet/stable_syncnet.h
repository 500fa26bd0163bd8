/* StableSyncNet, of LatentSync's repository (latentsync/models/stable_syncnet.py): 16 frames of the
 * lower half of an aligned face and their sound as unit vectors, whose product is near 1 where they
 * belong together. */
#ifndef LS_MODELS_SYNCNET_STABLE_SYNCNET_H
#define LS_MODELS_SYNCNET_STABLE_SYNCNET_H

#include "models/syncnet/stable_mel.h"
#include "nn/network.h"

#define LS_STABLE_SYNCNET_FILE "stable_syncnet.pt" /* of a model directory */
#define LS_STABLE_SYNCNET_RESOLUTION 256
#define LS_STABLE_SYNCNET_FACE                                                                     \
    (LS_STABLE_SYNCNET_RESOLUTION / 2 * LS_STABLE_SYNCNET_RESOLUTION * 3) /* bytes of its half */
#define LS_STABLE_SYNCNET_MOST_FRAMES 25
#define LS_STABLE_SYNCNET_MOST_BLOCKS 16

typedef struct ls_stable_syncnet_block {
    size_t channels;
    bool halves; /* the picture, see stable_syncnet.c for the exceptions */
    bool attends;
} ls_stable_syncnet_block;

typedef struct ls_stable_syncnet_encoder {
    size_t count;
    ls_stable_syncnet_block blocks[LS_STABLE_SYNCNET_MOST_BLOCKS];
} ls_stable_syncnet_encoder;

typedef struct ls_stable_syncnet_config {
    size_t frames;                           /* of a window, 25 a second: 16 or 25 */
    ls_stable_syncnet_encoder visual, audio; /* of equal width */
} ls_stable_syncnet_config;

/* Whether these are weights of such a network, whole or not. */
bool ls_stable_syncnet_is(const ls_weights *w);
/* As ls_unet_config_detect. */
int ls_stable_syncnet_detect(ls_stable_syncnet_config *c, const ls_weights *w, ls_error *err);
int ls_stable_syncnet_table(ls_params **out, const ls_stable_syncnet_config *c, ls_error *err);

/* One thread at a time. */
typedef struct ls_stable_syncnet ls_stable_syncnet;

/* Takes ownership of *w, on success and on failure. `threads` 0: all cores. A missing or misshapen
 * tensor is an error that names it. */
int ls_stable_syncnet_open(ls_stable_syncnet **out, ls_weights **w, int threads, ls_error *err);
void ls_stable_syncnet_close(ls_stable_syncnet **s);
ls_network *ls_stable_syncnet_network(ls_stable_syncnet *s);

size_t ls_stable_syncnet_frames(const ls_stable_syncnet *s);
/* Of a window's spectrogram. */
size_t ls_stable_syncnet_columns(const ls_stable_syncnet *s);
/* Numbers of an embedding. */
size_t ls_stable_syncnet_width(const ls_stable_syncnet *s);

/* The lower halves [128, 256, 3], RGB, of `frames` faces. */
int ls_stable_syncnet_lips(ls_stable_syncnet *s, const uint8_t *const *faces, float *out,
                           const ls_cancel *cancel, ls_error *err);
/* mel [columns, 80], time first. */
int ls_stable_syncnet_sound(ls_stable_syncnet *s, const float *mel, float *out,
                            const ls_cancel *cancel, ls_error *err);

#endif
