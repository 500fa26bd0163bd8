/* A model directory:
 *   latentsync_unet.pt | .safetensors
 *   whisper/tiny.pt | small.pt | *.safetensors
 *   vae/diffusion_pytorch_model.safetensors | .bin, vae.pt | .safetensors
 * The Whisper file is the one whose width the UNet's cross attention asks for. */
#ifndef LS_MODELS_MODELS_H
#define LS_MODELS_MODELS_H

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
 * compute in `dtype`, Whisper in float32 always. On failure *m is closed. *m must not be moved. */
int ls_models_open(ls_models *m, const char *dir, const char *backend, ls_dtype dtype, int threads,
                   ls_error *err);
void ls_models_close(ls_models *m);
/* Bytes of weights that are packed so far. */
size_t ls_models_packed(const ls_models *m);

/* What ls_models_check tells of one file. */
typedef struct ls_models_report {
    const char *role; /* "UNet", "Whisper", "VAE" */
    char path[1024];
    char summary[512];
    size_t tensors, parameters;
} ls_models_report;

/* As ls_models_open, and reads every tensor once, so that a file with a hole in it is found too:
 * NaN or infinite weights are an error. `report` is called for each file, in the order above. */
int ls_models_check(const char *dir, void (*report)(void *opaque, const ls_models_report *r),
                    void *opaque, ls_error *err);

/* Where "models pull" keeps model directories, one a version: $XDG_DATA_HOME/latentsync, else
 * ~/.local/share/latentsync. It need not be there. */
int ls_models_home(char *dir, size_t size, ls_error *err);
/* The model directory to use when none is named: version 1.6, else 1.5, of ls_models_home, then of
 * the folders latentsync/ in $XDG_DATA_DIRS; one that has UNet, Whisper and VAE. Without any,
 * *built_in is set and it is the small one that comes with the program. LS_ENOENT, with what to do,
 * when that is missing too. */
int ls_models_find(char *dir, size_t size, bool *built_in, ls_error *err);
enum { LS_MODELS_RESOLUTION = 512 }; /* of models that name none */
/* What a model directory is made for, by its model.json: "resolution", the side of the face image,
 * 0 if it names none, and "guidance_scale", otherwise 1.5, the original's. LS_EFORMAT when the file
 * is there and wrong. */
int ls_models_defaults(const char *dir, size_t *resolution, float *guidance_scale, ls_error *err);

/* Writes a model directory with formula weights, in the published formats: lips will be
 * meaningless. `size` is "mini", "small" or "full" (the published size: 5.5 GB). `dir` is created;
 * files that are already there are not overwritten but an error. */
int ls_models_random(const char *dir, const char *size, ls_error *err);

#endif
