#include "pipeline/generator.h"
#include "base/alloc.h"
#include "base/aside.h"
#include "diffusion/noise.h"
#include "face/align.h"

#include <stdlib.h>

struct ls_generator {
    ls_models *models;
    ls_features *features;
    ls_generator_settings settings;
    ls_sampler *sampler;
    ls_mask *mask;
    ls_aside *aside; /* prepares and finishes images while the device computes */
    ls_rng rng;
    size_t next_chunk, side, channels;     /* of the latents: side x side */
    size_t tokens;                         /* of audio, per frame */
    size_t latent_size, image_size;        /* floats of one frame */
    float *noise;                          /* [side, side, channels], the same for every frame */
    float *images[2];                      /* [vae_frames, R, R, 3], used in turns */
    float *moments;                        /* [vae_frames, side, side, 2 * channels] */
    float *posterior[2];                   /* noise [frames, side, side, channels] of each image */
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

#define BUFFERS 11

typedef struct buffer {
    float **p;
    size_t bytes;
} buffer;

static void list_buffers(ls_generator *g, buffer list[BUFFERS])
{
    const size_t pixels = g->side * g->side, n = LS_CHUNK_FRAMES, vae = g->settings.vae_frames;
    const size_t dim = ls_whisper_get_config(g->models->whisper)->n_audio_state;
    const buffer floats[BUFFERS] = {{&g->noise, g->latent_size},
                                    {&g->images[0], vae * g->image_size},
                                    {&g->images[1], vae * g->image_size},
                                    {&g->moments, vae * 2 * g->latent_size},
                                    {&g->posterior[0], n * g->latent_size},
                                    {&g->posterior[1], n * g->latent_size},
                                    {&g->masks, n * pixels},
                                    {&g->masked, n * g->latent_size},
                                    {&g->ref, n * g->latent_size},
                                    {&g->latents, n * g->latent_size},
                                    {&g->audio, n * g->tokens * dim}};
    for (size_t i = 0; i < BUFFERS; i++)
        list[i] = (buffer){floats[i].p, floats[i].bytes * sizeof(float)};
}

static int allocate(ls_generator *g, ls_error *err)
{
    buffer list[BUFFERS];
    list_buffers(g, list);
    for (size_t i = 0; i < BUFFERS; i++) {
        *list[i].p = ls_aligned_alloc(LS_MEM_PIPELINE, list[i].bytes);
        if (!*list[i].p)
            return ls_fail(err, LS_ENOMEM, "out of memory for a chunk of frames");
    }
    return 0;
}

/* Everything that takes no memory. */
static int set_up(ls_generator *g, ls_models *models, const ls_generator_settings *s, ls_error *err)
{
    const ls_unet_config *u = ls_unet_get_config(models->unet);
    *g = (ls_generator){.models = models,
                        .settings = *s,
                        .side = s->resolution / 8,
                        .channels = u->out_channels,
                        .tokens = ls_feature_tokens(models->whisper)};
    if (!ls_resolution_valid(s->resolution))
        return ls_fail(err, LS_EINVAL, "resolution %zu: use a multiple of 8 up to %d",
                       s->resolution, LS_MAX_RESOLUTION);
    if (!s->vae_frames || s->vae_frames > LS_CHUNK_FRAMES)
        return ls_fail(err, LS_EINVAL, "%zu frames per call of the VAE: use 1 to %d", s->vae_frames,
                       LS_CHUNK_FRAMES);
    if (u->temporal_position_encoding_max_len < LS_CHUNK_FRAMES)
        return ls_fail(err, LS_EUNSUPPORTED, "the UNet takes %zu frames at a time; %d are needed",
                       u->temporal_position_encoding_max_len, LS_CHUNK_FRAMES);
    g->latent_size = g->side * g->side * g->channels;
    g->image_size = s->resolution * s->resolution * 3;
    return ls_sampler_open(&g->sampler, models->unet, &s->sampler, err);
}

int ls_generator_open(ls_generator **out, ls_models *models, ls_features *features,
                      const ls_generator_settings *s, ls_error *err)
{
    ls_generator *g = *out = ls_calloc_array(1, sizeof *g);
    if (!g)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = set_up(g, models, s, err);
    g->features = features;
    if (!ret)
        ret = ls_mask_open(&g->mask, s->resolution, err);
    if (!ret)
        ret = allocate(g, err);
    if (!ret)
        ret = ls_aside_open(&g->aside, err);
    if (!ret && !ls_network_device(ls_unet_network(models->unet))->host)
        ret = ls_features_read_ahead(features, err); // the CPU has time for it
    if (ret) {
        ls_generator_close(out);
        return ret;
    }
    for (size_t i = 0; i < LS_CHUNK_FRAMES; i++)
        memcpy(g->masks + i * g->side * g->side, ls_mask_latent(g->mask),
               g->side * g->side * sizeof *g->masks);
    ls_rng_seed(&g->rng, s->seed);
    ls_rng_randn(&g->rng, g->latents, g->latent_size);
    channels_last(g->noise, g->latents, g->channels, g->side * g->side);
    return 0;
}

void ls_generator_close(ls_generator **pg)
{
    ls_generator *g = *pg;
    if (!g)
        return;
    buffer list[BUFFERS];
    list_buffers(g, list);
    ls_aside_close(&g->aside);
    ls_sampler_close(&g->sampler);
    ls_mask_close(&g->mask);
    for (size_t i = 0; i < BUFFERS; i++)
        ls_aligned_free(*list[i].p);
    free(g);
    *pg = NULL;
}

const char *ls_generator_device(const ls_generator *g)
{
    return ls_network_device(ls_unet_network(g->models->unet))->name;
}

static ls_chunk chunk_of(const ls_generator *g, size_t frames)
{
    return (ls_chunk){.frames = frames,
                      .h = g->side,
                      .w = g->side,
                      .audio_tokens = g->tokens,
                      .mask = g->masks,
                      .masked = g->masked,
                      .ref = g->ref,
                      .audio = g->audio};
}

/* Frames of the next VAE call; a remainder that does not fill a call is done one by one. */
static size_t vae_frames(const ls_generator *g, size_t left)
{
    return left < g->settings.vae_frames ? 1 : g->settings.vae_frames;
}

/* All but the UNet. */
static int prepare_others(const ls_generator *g, size_t frames, ls_error *err)
{
    int ret = ls_whisper_prepare(g->models->whisper, false, NULL, err);
    for (size_t n = vae_frames(g, frames); !ret && n; n = n > 1) // and 1
        for (int decode = 0; !ret && decode < 2; decode++)
            ret = ls_vae_prepare(g->models->vae, decode, n, g->side, g->side, false, NULL, err);
    return ret;
}

int ls_generator_prepare(ls_generator *g, size_t frames, ls_error *err)
{
    ls_chunk c = chunk_of(g, frames);
    int ret = prepare_others(g, frames, err);
    return ret ? ret : ls_sampler_prepare(g->sampler, &c, err);
}

int ls_generator_estimate(ls_generator_memory *out, ls_models *models,
                          const ls_generator_settings *s, size_t frames, ls_error *err)
{
    ls_generator g;
    buffer list[BUFFERS];
    ls_network *nets[LS_NETWORKS];
    *out = (ls_generator_memory){0};
    int ret = set_up(&g, models, s, err);
    if (ret)
        return ret;
    ls_models_list(models, nets);
    ls_models_lock(models);
    for (size_t i = 0; !ret && i < LS_NETWORKS; i++)
        ret = ls_network_estimate_begin(nets[i], err);
    ls_chunk c = chunk_of(&g, frames);
    if (!ret)
        ret = prepare_others(&g, frames, err);
    if (!ret)
        ret = ls_sampler_estimate(g.sampler, &c, &out->buffers, &out->resident, err);
    for (size_t i = 0; i < LS_NETWORKS; i++) {
        ls_network_memory m = out->networks[i] = ls_network_estimate_end(nets[i]);
        const bool host = ls_network_device(nets[i])->host;
        out->weights += m.pinned + (host ? m.weights : 0);
        if (host && m.activations > out->activations)
            out->activations = m.activations;
    }
    ls_models_unlock(models);
    if (ls_network_device(nets[0])->host)
        out->buffers += out->resident;
    list_buffers(&g, list);
    for (size_t i = 0; i < BUFFERS; i++)
        out->buffers += list[i].bytes;
    out->buffers += ls_feature_bytes(models->whisper);
    ls_sampler_close(&g.sampler);
    return ret;
}

enum { MASKED, WHOLE, KINDS }; /* images of a face, in the order that noise is drawn for them */

/* Images for a call of the VAE, or of one. */
typedef struct batch {
    ls_generator *g;
    const uint8_t *const *faces;
    float *const *results; /* of the decoder */
    const size_t *wanted;  /* of the decoder: which frames; NULL: all */
    size_t first, n, frames;
    int kind;
    bool draws; /* the chunk's noise too */
    float *images;
} batch;

/* The next batch of `count` frames, in the other buffer; false: that was the last. */
static bool next_batch(batch *b, size_t count)
{
    const ls_generator *g = b->g;
    b->first += b->n;
    b->n = vae_frames(g, count - b->first);
    b->images = g->images[b->images == g->images[0]];
    return b->first < count;
}

static void draw_noise(ls_generator *g, size_t frames)
{
    for (int kind = 0; kind < KINDS; kind++) {
        float *drawn = g->latents; // [frames, channels, side, side]; free until the UNet starts
        ls_rng_randn(&g->rng, drawn, frames * g->latent_size);
        for (size_t i = 0; i < frames; i++)
            channels_last(g->posterior[kind] + i * g->latent_size, drawn + i * g->latent_size,
                          g->channels, g->side * g->side);
    }
}

static void prepare_images(void *opaque)
{
    const batch *b = opaque;
    for (size_t i = 0; i < b->n; i++) {
        float *image = b->images + i * b->g->image_size;
        ls_mask_prepare(b->g->mask, b->faces[b->first + i], b->kind == WHOLE ? image : NULL,
                        b->kind == MASKED ? image : NULL);
    }
    if (b->draws)
        draw_noise(b->g, b->frames);
}

/* latent_dist.sample() * scaling_factor */
static void sample(const batch *b)
{
    const ls_generator *g = b->g;
    float *z = (b->kind == WHOLE ? g->ref : g->masked) + b->first * g->latent_size;
    ls_vae_sample(g->moments, g->posterior[b->kind] + b->first * g->latent_size,
                  b->n * g->side * g->side, g->channels, z);
    for (size_t i = 0; i < b->n * g->latent_size; i++)
        z[i] *= LS_VAE_SCALING_FACTOR;
}

/* The latents of all frames, masked and whole. Each batch is prepared during the one before, and
 * the noise during the first. */
static int encode(ls_generator *g, size_t frames, const uint8_t *const *faces,
                  const ls_cancel *cancel, ls_error *err)
{
    batch next = {.g = g, .faces = faces, .frames = frames}, now;
    int ret = 0;
    next_batch(&next, frames);
    prepare_images(&next);
    while (!ret && next.kind < KINDS) {
        now = next;
        next.draws = now.kind == MASKED && !now.first;
        if (!next_batch(&next, frames)) {
            next.kind++;
            next.first = 0;
            next.n = vae_frames(g, frames);
        }
        if (next.kind < KINDS)
            ls_aside_start(g->aside, prepare_images, &next);
        ret = ls_vae_encode(g->models->vae, now.n, g->side, g->side, now.images, g->moments, cancel,
                            err);
        ls_aside_wait(g->aside);
        if (!ret)
            sample(&now);
    }
    return ret;
}

static void composite(void *opaque)
{
    const batch *b = opaque;
    for (size_t i = 0; i < b->n; i++) {
        const size_t frame = b->wanted[b->first + i];
        ls_mask_composite(b->g->mask, b->results[frame], b->images + i * b->g->image_size,
                          b->faces[frame]);
    }
}

/* Decodes the requested images only: moves their latents together, overwriting g->latents. Each
 * batch is finished during the next. */
static int decode(ls_generator *g, size_t frames, const uint8_t *const *faces, float *const *images,
                  const ls_cancel *cancel, ls_error *err)
{
    size_t wanted[LS_CHUNK_FRAMES], count = 0;
    for (size_t i = 0; i < frames; i++) {
        if (!images[i])
            continue;
        float *z = g->latents + count * g->latent_size, *from = g->latents + i * g->latent_size;
        for (size_t k = 0; k < g->latent_size; k++)
            z[k] = from[k] / LS_VAE_SCALING_FACTOR;
        wanted[count++] = i;
    }
    batch now = {.g = g, .faces = faces, .results = images, .wanted = wanted}, last;
    int ret = 0;
    while (!ret && next_batch(&now, count)) {
        ret = ls_vae_decode(g->models->vae, now.n, g->side, g->side,
                            g->latents + now.first * g->latent_size, now.images, cancel, err);
        ls_aside_wait(g->aside);
        last = now;
        if (!ret)
            ls_aside_start(g->aside, composite, &last);
    }
    ls_aside_wait(g->aside);
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
        p->progress(p->opaque, step, steps);
}

/* Advances the noise as if the skipped chunks had drawn theirs. */
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
    if (progress)
        progress(opaque, 0, g->settings.sampler.steps);
    int ret = ls_features_read(g->features, index * LS_CHUNK_FRAMES, frames, g->audio, cancel, err);
    if (!ret)
        ret = encode(g, frames, faces, cancel, err);
    for (size_t i = 0; i < frames; i++)
        memcpy(g->latents + i * g->latent_size, g->noise, g->latent_size * sizeof *g->latents);
    ls_chunk c = chunk_of(g, frames);
    if (!ret)
        ret = ls_sampler_run(g->sampler, &c, g->latents, report_step, &p, cancel, err);
    return ret ? ret : decode(g, frames, faces, images, cancel, err);
}
