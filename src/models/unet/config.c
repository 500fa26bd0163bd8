#include "models/unet/unet.h"

#include <stdio.h>

#define MAX_CHANNELS 16384

ls_unet_config ls_unet_config_full(void)
{
    return (ls_unet_config){
        .in_channels = 13,
        .out_channels = 4,
        .cross_attention_dim = 384,
        .blocks = 4,
        .block_out_channels = {320, 640, 1280, 1280},
        .layers_per_block = 2,
        .norm_num_groups = 32,
        .num_attention_heads = 8,
        .down_cross_attn = {true, true, true, false},
        .up_cross_attn = {false, true, true, true},
        .down_motion = {true, true, true, true},
        .up_motion = {true, true, true, true},
        .temporal_position_encoding_max_len = 24,
    };
}

static const ls_weight_info *find(const ls_weights *w, const char *fmt, size_t i, size_t j)
{
    char name[LS_NAME_MAX];
    snprintf(name, sizeof name, fmt, i, j);
    return ls_weights_find(w, name);
}

/* Dimension `d` of a required tensor, within sane bounds. */
static int dim_of(const ls_weights *w, const char *name, size_t d, size_t *out, ls_error *err)
{
    const ls_weight_info *t = ls_weights_find(w, name);
    if (!t)
        return ls_fail(err, LS_ENOENT,
                       "%s: tensor %s is missing; this is not a LatentSync UNet checkpoint",
                       ls_weights_path(w), name);
    if (t->ndim <= d || !t->shape[d] || t->shape[d] > MAX_CHANNELS)
        return ls_fail(err, LS_ESHAPE, "%s: tensor %s has an invalid shape", ls_weights_path(w),
                       name);
    *out = t->shape[d];
    return 0;
}

static int detect_blocks(ls_unet_config *c, const ls_weights *w, ls_error *err)
{
    while (c->blocks < LS_UNET_MAX_BLOCKS &&
           find(w, "down_blocks.%zu.resnets.%zu.conv1.weight", c->blocks, 0)) {
        char name[LS_NAME_MAX];
        size_t i = c->blocks++;
        snprintf(name, sizeof name, "down_blocks.%zu.resnets.0.conv1.weight", i);
        int ret = dim_of(w, name, 0, &c->block_out_channels[i], err);
        if (ret)
            return ret;
        c->down_cross_attn[i] = find(w, "down_blocks.%zu.attentions.%zu.proj_in.weight", i, 0);
        c->up_cross_attn[i] = find(w, "up_blocks.%zu.attentions.%zu.proj_in.weight", i, 0);
        const char *down = "down_blocks.%zu.motion_modules.%zu.temporal_transformer.norm.weight";
        const char *up = "up_blocks.%zu.motion_modules.%zu.temporal_transformer.norm.weight";
        c->down_motion[i] = find(w, down, i, 0);
        c->up_motion[i] = find(w, up, i, 0);
    }
    while (c->layers_per_block < 4 &&
           find(w, "down_blocks.%zu.resnets.%zu.conv1.weight", 0, c->layers_per_block))
        c->layers_per_block++;
    if (!c->blocks || !c->layers_per_block)
        return ls_fail(err, LS_ENOENT,
                       "%s: tensor down_blocks.0.resnets.0.conv1.weight is missing; this is not a "
                       "LatentSync UNet checkpoint",
                       ls_weights_path(w));
    c->mid_motion =
        ls_weights_find(w, "mid_block.motion_modules.0.temporal_transformer.norm.weight");
    return 0;
}

int ls_unet_config_detect(ls_unet_config *c, const ls_weights *w, ls_error *err)
{
    *c = (ls_unet_config){.num_attention_heads = 8};
    int ret = dim_of(w, "conv_in.weight", 1, &c->in_channels, err);
    if (!ret)
        ret = dim_of(w, "conv_out.weight", 0, &c->out_channels, err);
    if (!ret)
        ret = dim_of(w, "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1,
                     &c->cross_attention_dim, err);
    if (!ret)
        ret = detect_blocks(c, w, err);
    c->temporal_position_encoding_max_len = 24;
    for (size_t i = 0; !ret && i < c->blocks; i++) {
        const ls_weight_info *pe =
            find(w,
                 "down_blocks.%zu.motion_modules.%zu.temporal_transformer.transformer_blocks.0."
                 "attention_blocks.0.pos_encoder.pe",
                 i, 0);
        if (pe && pe->ndim == 3 && pe->shape[1] && pe->shape[1] <= 1024)
            c->temporal_position_encoding_max_len = pe->shape[1];
    }
    int64_t groups = c->block_out_channels[0] >= 64 ? 32 : 8;
    ls_weights_meta_int(w, "norm_num_groups", &groups);
    if (!ret && (groups < 1 || groups > MAX_CHANNELS))
        ret = ls_fail(err, LS_EFORMAT, "%s: norm_num_groups is %lld", ls_weights_path(w),
                      (long long)groups);
    c->norm_num_groups = (size_t)groups;
    return ret;
}
