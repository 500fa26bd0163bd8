/* The original's UNet3DConditionModel: predicts the noise of a chunk of frames. */
#ifndef LS_MODELS_UNET_UNET_H
#define LS_MODELS_UNET_UNET_H

#include "nn/network.h"

#define LS_UNET_MAX_BLOCKS 6

/* Field names as in the original's model configuration. */
typedef struct ls_unet_config {
    size_t in_channels, out_channels, cross_attention_dim;
    size_t blocks, block_out_channels[LS_UNET_MAX_BLOCKS];
    size_t layers_per_block, norm_num_groups;
    size_t num_attention_heads; /* "attention_head_dim" there: the number of heads, always */
    bool down_cross_attn[LS_UNET_MAX_BLOCKS], up_cross_attn[LS_UNET_MAX_BLOCKS];
    bool down_motion[LS_UNET_MAX_BLOCKS], up_motion[LS_UNET_MAX_BLOCKS], mid_motion;
    size_t temporal_position_encoding_max_len; /* maximum frames per chunk */
} ls_unet_config;

/* Detects the configuration from the names and shapes of a checkpoint. norm_num_groups, which they
 * do not show, is the metadata "norm_num_groups" if present, otherwise 32 as published, or 8 for
 * networks whose first block is narrower than 64. */
int ls_unet_config_detect(ls_unet_config *c, const ls_weights *w, ls_error *err);

/* The published configuration (configs/unet/stage2*.yaml of the original). */
ls_unet_config ls_unet_config_full(void);

/* Every weight with its shape. */
int ls_unet_table(ls_params **out, const ls_unet_config *c, ls_error *err);

typedef ls_network ls_unet;

/* Takes ownership of *w, also on failure. Weights are packed by the first run or prepare. */
int ls_unet_open(ls_unet **out, ls_weights **w, const ls_unet_config *c, const ls_compute *compute,
                 ls_error *err);
void ls_unet_close(ls_unet **u);
ls_network *ls_unet_network(ls_unet *u);
const ls_unet_config *ls_unet_get_config(const ls_unet *u);

/* batch rows (2 with guidance) of `frames` frames; latents of h x w; `audio_tokens` per frame. */
typedef struct ls_unet_shape {
    size_t batch, frames, h, w, audio_tokens;
} ls_unet_shape;

typedef enum ls_unet_step {
    LS_UNET_STEP_FULL,  /* without step cache */
    LS_UNET_STEP_STORE, /* full, and fills `cache` for later steps */
    LS_UNET_STEP_REUSE  /* the last layer only, on `cache`, as DeepCache does in the original */
} ls_unet_step;

/* Bytes of the step cache for a shape. */
size_t ls_unet_cache_bytes(const ls_unet *u, const ls_unet_shape *s);
/* Compiles the plans of a step, so that the activation memory is known before the first run. */
int ls_unet_prepare(ls_unet *u, const ls_unet_shape *s, ls_unet_step step, bool taps,
                    ls_plan **plan, ls_error *err);

/* sample [batch * frames, h, w, in_channels] and audio [batch * frames, audio_tokens,
 * cross_attention_dim] float32 -> out [batch * frames, h, w, out_channels] float32. `audio` and
 * `cache` are memory of the network's device (ls_network_alloc); `cache` may be NULL for
 * LS_UNET_STEP_FULL. */
int ls_unet_run(ls_unet *u, const ls_unet_shape *s, ls_unet_step step, float timestep,
                const float *sample, const float *audio, float *out, void *cache,
                const ls_cancel *cancel, ls_error *err);

#endif
