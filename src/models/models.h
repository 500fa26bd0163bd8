/* The networks of a model directory (latentsync/models.h). The Whisper file is chosen by the width
 * that the UNet's cross attention needs. */
#ifndef LS_MODELS_MODELS_H
#define LS_MODELS_MODELS_H

#include "latentsync/models.h"
#include "models/unet/unet.h"
#include "models/vae/vae.h"
#include "models/whisper/whisper.h"

enum { LS_NETWORKS = 3 };

/* What each network runs on, as ls_device_open takes it, and how. */
typedef struct ls_devices {
    const char *unet, *vae, *whisper;
    ls_dtype dtype; /* of the UNet and the VAE where they run on the CPU; elsewhere the device's,
                       and of Whisper on the CPU always float32 */
    int threads;    /* of the CPU, 0: all cores */
} ls_devices;

typedef struct ls_models {
    /* One for each device: its networks run one after another. */
    ls_workspace workspaces[LS_NETWORKS];
    size_t workspace_count;
    ls_unet *unet;
    ls_vae *vae;
    ls_whisper *whisper;
} ls_models;

/* Opens the devices and the three networks, detects their configurations and checks that they fit
 * together; nothing is packed yet. LS_EMODEL for the models; *m is closed on failure. *m must not
 * be moved. */
int ls_models_open(ls_models *m, const char *dir, const ls_devices *devices, ls_error *err);
void ls_models_close(ls_models *m);
void ls_models_list(const ls_models *m, ls_network *nets[LS_NETWORKS]); /* UNet, VAE, Whisper */
/* Takes all devices, and gives them back. */
void ls_models_lock(ls_models *m);
void ls_models_unlock(ls_models *m);
/* Bytes of weights packed so far, in the process's memory (of weights that are streamed from there
 * too) or in that of other devices, and of the former those that are a mapped file's; waits for its
 * turn. Any thread. */
typedef struct ls_models_memory {
    size_t host, device, mapped;
} ls_models_memory;
ls_models_memory ls_models_packed(ls_models *m);
/* ls_network_set_kept of all networks; waits for its turn. */
void ls_models_set_kept(ls_models *m, uint64_t most);

/* Turns the error of a missing, malformed or unsuitable file into LS_EMODEL, with advice; returns
 * the code. */
int ls_models_unusable(int ret, ls_error *err);

enum { LS_MODELS_RESOLUTION = 512 }; /* of models that specify none */
/* The defaults in a model directory's model.json: "resolution", the side of the face image, or 0 if
 * absent, and "guidance_scale", or the original's 1.5. LS_EMODEL for a malformed file. */
int ls_models_defaults(const char *dir, size_t *resolution, float *guidance_scale, ls_error *err);

#endif
