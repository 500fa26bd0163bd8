#include "models/models.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct preset {
    const char *name, *whisper_meta;
    ls_unet_config unet;
    ls_vae_config vae;
    ls_whisper_config whisper;
} preset;

/* The reduced networks keep the structure of the published ones. */
static int preset_of(preset *p, const char *size, ls_error *err)
{
    const ls_vae_config small_vae = {3, 4, 4, {16, 32, 64, 64}, 2, 8};
    p->unet = ls_unet_config_full();
    p->vae = ls_vae_config_full();
    p->whisper = ls_whisper_config_tiny();
    p->name = size;
    p->whisper_meta = "{\"dims\": {\"n_mels\": 80, \"n_audio_ctx\": 1500, \"n_audio_state\": 384, "
                      "\"n_audio_head\": 6, \"n_audio_layer\": 4}}";
    if (!strcmp(size, "full"))
        return 0;
    p->vae = small_vae;
    p->unet.norm_num_groups = 8;
    if (!strcmp(size, "small")) {
        memcpy(p->unet.block_out_channels, (size_t[]){32, 64, 96, 96}, 4 * sizeof(size_t));
        return 0;
    }
    if (strcmp(size, "mini"))
        return ls_fail(err, LS_EINVAL, "unknown size \"%s\": use mini, small or full", size);
    memcpy(p->unet.block_out_channels, (size_t[]){32, 32, 32, 32}, 4 * sizeof(size_t));
    p->unet.layers_per_block = 1;
    p->unet.cross_attention_dim = 32;
    p->whisper = (ls_whisper_config){80, 1500, 32, 4, 2};
    p->whisper_meta = "{\"dims\": {\"n_mels\": 80, \"n_audio_ctx\": 1500, \"n_audio_state\": 32, "
                      "\"n_audio_head\": 4, \"n_audio_layer\": 2}}";
    return 0;
}

/* `table` is freed. `dict_key` NULL writes safetensors. */
static int write_model(const char *dir, const char *file, ls_params **table, const char *meta,
                       const char *dict_key, ls_dtype dtype, ls_error *err)
{
    char path[1024];
    ls_weights *w = NULL;
    int ret = ls_params_formula(&w, table, false, meta, err);
    if (!ret && snprintf(path, sizeof path, "%s/%s", dir, file) >= (int)sizeof path)
        ret = ls_fail(err, LS_EINVAL, "%s: the path is too long", dir);
    if (!ret && !access(path, F_OK))
        ret = ls_fail(err, LS_EINVAL, "%s already exists; choose an empty directory", path);
    if (!ret)
        ret = dict_key ? ls_weights_write_torch(path, w, dict_key, dtype, err)
                       : ls_weights_write_safetensors(path, w, dtype, err);
    ls_weights_close(&w);
    return ret;
}

static int make_dir(const char *dir, const char *sub, ls_error *err)
{
    char path[1024];
    snprintf(path, sizeof path, "%s%s%s", dir, *sub ? "/" : "", sub);
    if (mkdir(path, 0777) && errno != EEXIST)
        return ls_fail_errno(err, errno, "cannot create the directory %s", path);
    return 0;
}

int ls_models_random(const char *dir, const char *size, ls_error *err)
{
    preset p;
    ls_params *table;
    int ret = preset_of(&p, size, err);
    if (!ret)
        ret = make_dir(dir, "", err);
    if (!ret)
        ret = make_dir(dir, "whisper", err);
    if (!ret)
        ret = make_dir(dir, "vae", err);
    if (!ret)
        ret = ls_unet_table(&table, &p.unet, err);
    if (!ret)
        ret = write_model(dir, "latentsync_unet.pt", &table, "{\"global_step\": 0}", "state_dict",
                          LS_F32, err);
    if (!ret)
        ret = ls_whisper_table(&table, &p.whisper, err);
    if (!ret)
        ret = write_model(dir, "whisper/tiny.pt", &table, p.whisper_meta, "model_state_dict",
                          LS_F16, err);
    if (!ret)
        ret = ls_vae_table(&table, &p.vae, err);
    if (!ret)
        ret = write_model(dir, "vae/diffusion_pytorch_model.safetensors", &table, NULL, NULL,
                          LS_F32, err);
    return ret;
}
