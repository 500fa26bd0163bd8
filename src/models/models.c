#include "models/models.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 1024

static const char *const unet_files[] = {"latentsync_unet.pt", "latentsync_unet.safetensors", NULL};
static const char *const vae_files[] = {"vae/diffusion_pytorch_model.safetensors",
                                        "vae/diffusion_pytorch_model.bin",
                                        "vae/vae.pt",
                                        "vae/vae.safetensors",
                                        "vae.pt",
                                        "vae.safetensors",
                                        NULL};
static const char *const tiny_files[] = {"whisper/tiny.pt", "whisper/tiny.safetensors", NULL};
static const char *const small_files[] = {"whisper/small.pt", "whisper/small.safetensors", NULL};

/* The first of `names` that exists in `dir`. */
static int find_file(char path[PATH_SIZE], const char *dir, const char *role,
                     const char *const *names, ls_error *err)
{
    for (size_t i = 0; names[i]; i++) {
        if (snprintf(path, PATH_SIZE, "%s/%s", dir, names[i]) >= PATH_SIZE)
            return ls_fail(err, LS_EINVAL, "%s: the path is too long", dir);
        if (!access(path, F_OK))
            return 0;
    }
    struct stat st;
    if (stat(dir, &st))
        return ls_fail_errno(err, errno, "model directory %s", dir);
    return ls_fail(err, LS_ENOENT,
                   "%s/%s is missing (the %s); see \"Models\" in the README for what belongs in a "
                   "model directory",
                   dir, names[0], role);
}

static int open_unet(ls_weights **w, ls_unet_config *c, const char *dir, ls_error *err)
{
    char path[PATH_SIZE];
    int ret = find_file(path, dir, "UNet", unet_files, err);
    if (!ret)
        ret = ls_weights_open(w, path, err);
    if (!ret)
        ret = ls_unet_config_detect(c, *w, err);
    return ret;
}

static int open_vae(ls_weights **w, ls_vae_config *c, const char *dir, ls_error *err)
{
    char path[PATH_SIZE];
    int ret = find_file(path, dir, "VAE", vae_files, err);
    if (!ret)
        ret = ls_weights_open(w, path, err);
    if (!ret)
        ret = ls_vae_config_detect(c, *w, err);
    return ret;
}

static int open_whisper(ls_weights **w, ls_whisper_config *c, const char *dir, size_t width,
                        ls_error *err)
{
    char path[PATH_SIZE];
    const char *const *preferred = width == 768 ? small_files : tiny_files;
    int ret = find_file(path, dir, "Whisper audio encoder", preferred, err);
    if (ret == LS_ENOENT && preferred == tiny_files && !find_file(path, dir, "", small_files, NULL))
        ret = 0;
    if (!ret)
        ret = ls_weights_open(w, path, err);
    if (!ret)
        ret = ls_whisper_config_detect(c, *w, err);
    if (!ret && c->n_audio_state != width)
        ret = ls_fail(err, LS_ESHAPE,
                      "%s has width %zu, but the UNet's cross attention needs %zu: use whisper/%s",
                      path, c->n_audio_state, width, width == 768 ? "small.pt" : "tiny.pt");
    return ret;
}

static int check_fit(const ls_unet_config *u, const ls_vae_config *v, const char *dir,
                     ls_error *err)
{
    size_t channels = 3 * v->latent_channels + 1;
    if (u->in_channels != channels || u->out_channels != v->latent_channels || v->in_channels != 3)
        return ls_fail(err, LS_ESHAPE,
                       "%s: the UNet has %zu input and %zu output channels, the VAE's latents have "
                       "%zu; they do not belong together",
                       dir, u->in_channels, u->out_channels, v->latent_channels);
    if (v->blocks != 4)
        return ls_fail(err, LS_EUNSUPPORTED, "%s: the VAE has %zu levels; expected 4", dir,
                       v->blocks);
    return 0;
}

int ls_models_unusable(int ret, ls_error *err)
{
    if (ret != LS_ENOENT && ret != LS_EFORMAT && ret != LS_ESHAPE && ret != LS_EUNSUPPORTED)
        return ret;
    if (err)
        err->code = LS_EMODEL;
    return ls_advise(err, LS_EMODEL, LS_HINT_MODEL_DIRECTORY, "models");
}

int ls_models_open(ls_models *m, const char *dir, const char *backend, ls_dtype dtype, int threads,
                   ls_error *err)
{
    *m = (ls_models){0};
    ls_compute compute = {backend, dtype, threads, &m->workspace};
    ls_compute exact = {backend, LS_F32, threads, &m->workspace};
    ls_weights *unet = NULL, *vae = NULL, *whisper = NULL;
    ls_unet_config uc;
    ls_vae_config vc;
    ls_whisper_config wc;
    int ret = open_unet(&unet, &uc, dir, err);
    if (!ret)
        ret = open_vae(&vae, &vc, dir, err);
    if (!ret)
        ret = open_whisper(&whisper, &wc, dir, uc.cross_attention_dim, err);
    if (!ret)
        ret = check_fit(&uc, &vc, dir, err);
    if (!ret)
        ret = ls_unet_open(&m->unet, &unet, &uc, &compute, err);
    if (!ret)
        ret = ls_vae_open(&m->vae, &vae, &vc, &compute, err);
    if (!ret)
        ret = ls_whisper_open(&m->whisper, &whisper, &wc, &exact, err);
    ls_weights_close(&unet);
    ls_weights_close(&vae);
    ls_weights_close(&whisper);
    if (ret)
        ls_models_close(m);
    return ls_models_unusable(ret, err);
}

void ls_models_close(ls_models *m)
{
    ls_unet_close(&m->unet);
    ls_vae_close(&m->vae);
    ls_whisper_close(&m->whisper);
    ls_workspace_free(&m->workspace);
}

size_t ls_models_packed(ls_models *m)
{
    ls_turn_take(&m->workspace.turn, NULL);
    const size_t bytes = ls_network_usage(ls_unet_network(m->unet)).weights +
                         ls_network_usage(ls_vae_network(m->vae)).weights +
                         ls_network_usage(ls_whisper_network(m->whisper)).weights;
    ls_turn_give(&m->workspace.turn);
    return bytes;
}
