/* diffusers' AutoencoderKL, as in Stable Diffusion 1.x. Images and latents are channels-last. */
#ifndef LS_MODELS_VAE_VAE_H
#define LS_MODELS_VAE_VAE_H

#include "nn/network.h"

#define LS_VAE_MAX_BLOCKS 6
#define LS_VAE_SCALING_FACTOR 0.18215f

typedef struct ls_vae_config {
    size_t in_channels, latent_channels;
    size_t blocks, block_out_channels[LS_VAE_MAX_BLOCKS];
    size_t layers_per_block, norm_num_groups;
} ls_vae_config;

/* As ls_unet_config_detect. */
int ls_vae_config_detect(ls_vae_config *c, const ls_weights *w, ls_error *err);
ls_vae_config ls_vae_config_full(void);
int ls_vae_table(ls_params **out, const ls_vae_config *c, ls_error *err);

typedef ls_network ls_vae;

/* Takes ownership of *w, on success and on failure. The attention may use the old names (query,
 * key, value, proj_attn) or the new ones. */
int ls_vae_open(ls_vae **out, ls_weights **w, const ls_vae_config *c, const ls_compute *compute,
                ls_error *err);
void ls_vae_close(ls_vae **v);
ls_network *ls_vae_network(ls_vae *v);
const ls_vae_config *ls_vae_get_config(const ls_vae *v);

/* Compiles the plan for `images` images of latent size h x w. */
int ls_vae_prepare(ls_vae *v, bool decode, size_t images, size_t h, size_t w, bool taps,
                   ls_plan **plan, ls_error *err);

/* image [images, 8h, 8w, 3] in -1..1 -> moments [images, h, w, 2 * latent_channels]: mean, then log
 * variance (not clamped). h and w are the latents'. */
int ls_vae_encode(ls_vae *v, size_t images, size_t h, size_t w, const float *image, float *moments,
                  const ls_cancel *cancel, ls_error *err);
/* z [images, h, w, latent_channels], already divided by the scaling factor -> [images, 8h, 8w, 3],
 * not clamped. */
int ls_vae_decode(ls_vae *v, size_t images, size_t h, size_t w, const float *z, float *image,
                  const ls_cancel *cancel, ls_error *err);

/* DiagonalGaussianDistribution.sample: mean + exp(clamp(logvar, -30, 20) / 2) * noise for `pixels`
 * latent pixels of `c` channels; moments [pixels, 2c], noise and sample [pixels, c]. */
void ls_vae_sample(const float *moments, const float *noise, size_t pixels, size_t c,
                   float *sample);

#endif
