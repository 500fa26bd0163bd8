#include "models/models.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
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

/* A network's workspace, which it shares with those on the same device, and number type. */
static int place(ls_compute *out, ls_models *m, const char *device, ls_dtype dtype, int threads,
                 ls_error *err)
{
    size_t i = 0;
    while (i < m->workspace_count && strcmp(m->workspaces[i].device->info.name, device))
        i++;
    if (i == m->workspace_count) {
        int ret = ls_workspace_open(&m->workspaces[i], device, threads, err);
        if (ret)
            return ret;
        m->workspace_count++;
    }
    const ls_device_info *info = &m->workspaces[i].device->info;
    *out = (ls_compute){&m->workspaces[i], info->host ? dtype : info->fast};
    return 0;
}

static int open_networks(ls_models *m, const char *dir, const ls_compute c[LS_NETWORKS],
                         ls_error *err)
{
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
        ret = ls_unet_open(&m->unet, &unet, &uc, &c[0], err);
    if (!ret)
        ret = ls_vae_open(&m->vae, &vae, &vc, &c[1], err);
    if (!ret)
        ret = ls_whisper_open(&m->whisper, &whisper, &wc, &c[2], err);
    ls_weights_close(&unet);
    ls_weights_close(&vae);
    ls_weights_close(&whisper);
    return ls_models_unusable(ret, err);
}

int ls_models_open(ls_models *m, const char *dir, const ls_devices *p, ls_error *err)
{
    ls_compute c[LS_NETWORKS];
    *m = (ls_models){0};
    int ret = place(&c[0], m, p->unet, p->dtype, p->threads, err);
    if (!ret)
        ret = place(&c[1], m, p->vae, p->dtype == LS_I8 ? LS_BF16 : p->dtype, p->threads, err);
    if (!ret)
        ret = place(&c[2], m, p->whisper, LS_F32, p->threads, err);
    if (!ret)
        ret = open_networks(m, dir, c, err);
    if (ret)
        ls_models_close(m);
    return ret;
}

void ls_models_close(ls_models *m)
{
    ls_unet_close(&m->unet);
    ls_vae_close(&m->vae);
    ls_whisper_close(&m->whisper);
    for (size_t i = 0; i < m->workspace_count; i++)
        ls_workspace_close(&m->workspaces[i]);
    m->workspace_count = 0;
}

void ls_models_list(const ls_models *m, ls_network *nets[LS_NETWORKS])
{
    nets[0] = ls_unet_network(m->unet);
    nets[1] = ls_vae_network(m->vae);
    nets[2] = ls_whisper_network(m->whisper);
}

void ls_models_lock(ls_models *m)
{
    for (size_t i = 0; i < m->workspace_count; i++)
        ls_turn_take(&m->workspaces[i].turn, NULL);
}

void ls_models_unlock(ls_models *m)
{
    for (size_t i = m->workspace_count; i-- > 0;)
        ls_turn_give(&m->workspaces[i].turn);
}

ls_models_memory ls_models_packed(ls_models *m)
{
    ls_network *nets[LS_NETWORKS];
    ls_models_memory sum = {0};
    ls_models_list(m, nets);
    ls_models_lock(m);
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        const ls_network_memory u = ls_network_usage(nets[i]);
        *(ls_network_device(nets[i])->host ? &sum.host : &sum.device) += u.weights;
        sum.host += u.pinned;
        sum.mapped += u.mapped;
    }
    ls_models_unlock(m);
    return sum;
}

void ls_models_set_kept(ls_models *m, uint64_t most)
{
    ls_network *nets[LS_NETWORKS];
    ls_models_list(m, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++)
        ls_network_set_kept(nets[i], most);
}
