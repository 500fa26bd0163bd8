/* The networks of a model directory (latentsync/models.h). The Whisper file is the one whose width
 * the UNet's cross attention asks for. */
#ifndef LS_MODELS_MODELS_H
#define LS_MODELS_MODELS_H

#include "latentsync/models.h"
#include "models/unet/unet.h"
#include "models/vae/vae.h"
#include "models/whisper/whisper.h"

typedef struct ls_models {
    ls_workspace workspace; /* shared: the networks run one after another */
    ls_unet *unet;
    ls_vae *vae;
    ls_whisper *whisper;
} ls_models;

/* Opens, detects and checks all three against each other; nothing is packed yet. UNet and VAE
 * compute in `dtype`, Whisper in float32 always. On failure *m is closed: LS_EMODEL. *m must not be
 * moved. */
int ls_models_open(ls_models *m, const char *dir, const char *backend, ls_dtype dtype, int threads,
                   ls_error *err);
void ls_models_close(ls_models *m);
/* Bytes of weights that are packed so far; waits for its turn. Any thread. */
size_t ls_models_packed(ls_models *m);

/* Turns what a file that is missing, malformed or does not fit gave into LS_EMODEL, with advice;
 * returns the code. */
int ls_models_unusable(int ret, ls_error *err);

enum { LS_MODELS_RESOLUTION = 512 }; /* of models that name none */
/* What a model directory is made for, by its model.json: "resolution", the side of the face image,
 * 0 if it names none, and "guidance_scale", otherwise 1.5, the original's. LS_EMODEL for a
 * malformed file. */
int ls_models_defaults(const char *dir, size_t *resolution, float *guidance_scale, ls_error *err);

#endif
