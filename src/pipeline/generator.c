#include "pipeline/generator.h"
#include "base/alloc.h"
#include "diffusion/noise.h"

#include <stdlib.h>

struct ls_generator {
    ls_models *models;
    ls_features *features;
    ls_generator_settings settings;
    ls_sampler *sampler;
    ls_mask *mask;
    ls_rng rng;
    size_t next_chunk, side, channels;     /* of the latents: side x side */
    size_t latent_size, image_size;        /* floats of one frame */
    float *noise;                          /* [side, side, channels], the same for every frame */
    float *image;                          /* [R, R, 3], twice */
    float *moments;                        /* [side, side, 2 * channels] */
    float *posterior;                      /* noise [frames, channels, side, side] as drawn */
    float *masks, *masked, *ref, *latents; /* [frames, side, side, ..] */
    float *audio;                          /* [frames, tokens, dim] */
};

/* One frame of torch's [channels, side, side] to channels-last. */
static void channels_last(float *dst, const float *src, size_t channels, size_t pixels)
{
    for (size_t p = 0; p < pixels; p++)
        for (size_t c = 0; c < channels; c++)
            dst[p * channels + c] = src[c * pixels + p];
}

static int allocate(ls_generator *g, ls_error *err)
{
    size_t pixels = g->side * g->side, n = LS_CHUNK_FRAMES;
    size_t dim = ls_whisper_get_config(g->models->whisper)->n_audio_state;
    size_t audio = ls_features_tokens(g->features) * dim;
    struct {
        float **p;
        size_t floats;
    } list[] = {{&g->noise, g->latent_size},
                {&g->image, 2 * g->image_size},
                {&g->moments, 2 * g->latent_size},
                {&g->posterior, n * g->latent_size},
                {&g->masks, n * pixels},
                {&g->masked, n * g->latent_size},
                {&g->ref, n * g->latent_size},
                {&g->latents, n * g->latent_size},
                {&g->audio, n * audio}};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        size_t bytes;
        *list[i].p =
            ls_mul_size(list[i].floats, sizeof(float), &bytes) ? ls_aligned_alloc(bytes) : NULL;
        if (!*list[i].p)
            return ls_fail(err, LS_ENOMEM, "out of memory for a chunk of frames");
    }
    return 0;
}

int ls_generator_open(ls_generator **out, ls_models *models, ls_features *features,
                      const ls_generator_settings *s, ls_error *err)
{
    ls_generator *g = *out = ls_calloc_array(1, sizeof *g);
    if (!g)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    const ls_unet_config *u = ls_unet_get_config(models->unet);
    g->models = models;
    g->features = features;
    g->settings = *s;
    g->side = s->resolution / 8;
    g->channels = u->out_channels;
    g->latent_size = g->side * g->side * g->channels;
    g->image_size = s->resolution * s->resolution * 3;
    int ret = ls_mask_open(&g->mask, s->resolution, err);
    if (!ret && u->temporal_position_encoding_max_len < LS_CHUNK_FRAMES)
        ret = ls_fail(err, LS_EUNSUPPORTED, "the UNet takes %zu frames at a time; %d are needed",
                      u->temporal_position_encoding_max_len, LS_CHUNK_FRAMES);
    if (!ret)
        ret = ls_sampler_open(&g->sampler, models->unet, &s->sampler, err);
    if (!ret)
        ret = allocate(g, err);
    if (ret) {
        ls_generator_close(out);
        return ret;
    }
    for (size_t i = 0; i < LS_CHUNK_FRAMES; i++)
        memcpy(g->masks + i * g->side * g->side, ls_mask_latent(g->mask),
               g->side * g->side * sizeof *g->masks);
    ls_rng_seed(&g->rng, s->seed);
    ls_rng_randn(&g->rng, g->posterior, g->latent_size);
    channels_last(g->noise, g->posterior, g->channels, g->side * g->side);
    return 0;
}

void ls_generator_close(ls_generator **pg)
{
    ls_generator *g = *pg;
    if (!g)
        return;
    ls_sampler_close(&g->sampler);
    ls_mask_close(&g->mask);
    float *list[] = {g->noise,  g->image, g->moments, g->posterior, g->masks,
                     g->masked, g->ref,   g->latents, g->audio};
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        ls_aligned_free(list[i]);
    free(g);
    *pg = NULL;
}

static ls_chunk chunk_of(const ls_generator *g, size_t frames)
{
    return (ls_chunk){.frames = frames,
                      .h = g->side,
                      .w = g->side,
                      .audio_tokens = ls_features_tokens(g->features),
                      .mask = g->masks,
                      .masked = g->masked,
                      .ref = g->ref,
                      .audio = g->audio};
}

int ls_generator_prepare(ls_generator *g, size_t frames, ls_error *err)
{
    ls_chunk c = chunk_of(g, frames);
    int ret = ls_vae_prepare(g->models->vae, false, 1, g->side, g->side, false, NULL, err);
    if (!ret)
        ret = ls_vae_prepare(g->models->vae, true, 1, g->side, g->side, false, NULL, err);
    if (!ret)
        ret = ls_whisper_prepare(g->models->whisper, false, NULL, err);
    return ret ? ret : ls_sampler_prepare(g->sampler, &c, err);
}

/* latent_dist.sample() * scaling_factor of every frame's `which` picture: 0 the face, 1 the masked.
 */
static int encode(ls_generator *g, size_t frames, const uint8_t *const *faces, int which,
                  float *latents, const ls_cancel *cancel, ls_error *err)
{
    size_t pixels = g->side * g->side;
    ls_rng_randn(&g->rng, g->posterior, frames * g->latent_size);
    for (size_t i = 0; i < frames; i++) {
        float *z = latents + i * g->latent_size, *noise = g->image; // free after the encoder
        ls_mask_prepare(g->mask, faces[i], which ? NULL : g->image, which ? g->image : NULL);
        int ret =
            ls_vae_encode(g->models->vae, 1, g->side, g->side, g->image, g->moments, cancel, err);
        if (ret)
            return ret;
        channels_last(noise, g->posterior + i * g->latent_size, g->channels, pixels);
        ls_vae_sample(g->moments, noise, pixels, g->channels, z);
        for (size_t k = 0; k < g->latent_size; k++)
            z[k] *= LS_VAE_SCALING_FACTOR;
    }
    return 0;
}

static int decode(ls_generator *g, size_t i, const uint8_t *face, float *image,
                  const ls_cancel *cancel, ls_error *err)
{
    float *z = g->latents + i * g->latent_size, *decoded = g->image;
    for (size_t k = 0; k < g->latent_size; k++)
        z[k] /= LS_VAE_SCALING_FACTOR;
    int ret = ls_vae_decode(g->models->vae, 1, g->side, g->side, z, decoded, cancel, err);
    if (!ret)
        ls_mask_composite(g->mask, image, decoded, face);
    return ret;
}

typedef struct step_progress {
    ls_generator_progress progress;
    void *opaque;
} step_progress;

static void report_step(void *opaque, size_t step, size_t steps, const float *x)
{
    (void)x;
    const step_progress *p = opaque;
    if (p->progress)
        p->progress(p->opaque, 0.05 + 0.9 * (double)step / (double)steps);
}

/* Draws what skipped chunks would have drawn. */
static void skip_to(ls_generator *g, size_t index)
{
    for (; g->next_chunk < index; g->next_chunk++)
        ls_rng_discard(&g->rng, 2 * LS_CHUNK_FRAMES * g->latent_size);
    g->next_chunk = index + 1;
}

int ls_generator_run(ls_generator *g, size_t index, size_t frames, const uint8_t *const *faces,
                     float *const *images, ls_generator_progress progress, void *opaque,
                     const ls_cancel *cancel, ls_error *err)
{
    step_progress p = {progress, opaque};
    if (!frames || frames > LS_CHUNK_FRAMES || index < g->next_chunk)
        return ls_fail(err, LS_EINVAL, "chunk %zu of %zu frames cannot be generated now", index,
                       frames);
    skip_to(g, index);
    int ret = ls_features_read(g->features, index * LS_CHUNK_FRAMES, frames, g->audio, cancel, err);
    if (!ret)
        ret = encode(g, frames, faces, 1, g->masked, cancel, err);
    if (!ret)
        ret = encode(g, frames, faces, 0, g->ref, cancel, err);
    for (size_t i = 0; i < frames; i++)
        memcpy(g->latents + i * g->latent_size, g->noise, g->latent_size * sizeof *g->latents);
    ls_chunk c = chunk_of(g, frames);
    if (!ret)
        ret = ls_sampler_run(g->sampler, &c, g->latents, report_step, &p, cancel, err);
    for (size_t i = 0; !ret && i < frames; i++)
        if (images[i])
            ret = decode(g, i, faces[i], images[i], cancel, err);
    return ret;
}
