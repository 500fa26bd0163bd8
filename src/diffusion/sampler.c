#include "diffusion/sampler.h"
#include "base/alloc.h"

#include <stdlib.h>

struct ls_sampler {
    ls_unet *unet;
    ls_sampler_settings settings;
    ls_ddim ddim;
    size_t batch;
    ls_unet_shape shape; /* that the buffers hold */
    float *sample;       /* [batch * frames, h, w, in_channels] */
    float *audio;        /* [batch * frames, tokens, dim] */
    float *eps;          /* [batch * frames, h, w, 4] */
    void *cache;
};

int ls_sampler_open(ls_sampler **out, ls_unet *unet, const ls_sampler_settings *settings,
                    ls_error *err)
{
    ls_sampler *s = *out = ls_calloc_array(1, sizeof *s);
    if (!s)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    s->unet = unet;
    s->settings = *settings;
    s->batch = settings->guidance_scale > 1 ? 2 : 1;
    int ret = settings->cache_interval
                  ? ls_ddim_init(&s->ddim, settings->steps, err)
                  : ls_fail(err, LS_EINVAL, "a cache interval of 0; use 1 to compute every step");
    if (ret)
        ls_sampler_close(out);
    return ret;
}

static void free_buffers(ls_sampler *s)
{
    ls_aligned_free(s->sample);
    ls_aligned_free(s->audio);
    ls_aligned_free(s->eps);
    ls_aligned_free(s->cache);
    s->sample = s->audio = s->eps = s->cache = NULL;
}

void ls_sampler_close(ls_sampler **ps)
{
    if (!*ps)
        return;
    free_buffers(*ps);
    free(*ps);
    *ps = NULL;
}

static ls_unet_step step_kind(const ls_sampler *s, size_t i)
{
    if (s->settings.cache_interval == 1)
        return LS_UNET_STEP_FULL;
    return i % s->settings.cache_interval ? LS_UNET_STEP_REUSE : LS_UNET_STEP_STORE;
}

int ls_sampler_prepare(ls_sampler *s, const ls_chunk *c, ls_error *err)
{
    const ls_unet_config *u = ls_unet_get_config(s->unet);
    ls_unet_shape shape = {s->batch, c->frames, c->h, c->w, c->audio_tokens};
    size_t rows = shape.batch * shape.frames, pixels = rows * shape.h * shape.w, f = sizeof(float);
    size_t sizes[] = {pixels * u->in_channels * f,
                      rows * shape.audio_tokens * u->cross_attention_dim * f,
                      pixels * u->out_channels * f,
                      s->settings.cache_interval > 1 ? ls_unet_cache_bytes(s->unet, &shape) : 0};
    if (!memcmp(&shape, &s->shape, sizeof shape))
        return 0;
    s->shape = (ls_unet_shape){0};
    free_buffers(s);
    s->sample = ls_aligned_alloc(sizes[0]);
    s->audio = ls_aligned_alloc(sizes[1]);
    s->eps = ls_aligned_alloc(sizes[2]);
    s->cache = ls_aligned_alloc(sizes[3]);
    if (!s->sample || !s->audio || !s->eps || !s->cache)
        return ls_fail(err, LS_ENOMEM, "out of memory for a chunk of %zu frames", c->frames);
    int ret = ls_unet_prepare(s->unet, &shape, step_kind(s, 0), false, NULL, err);
    if (!ret && s->settings.cache_interval > 1)
        ret = ls_unet_prepare(s->unet, &shape, LS_UNET_STEP_REUSE, false, NULL, err);
    if (!ret)
        s->shape = shape;
    return ret;
}

/* Channels [latents | mask | masked | ref], with `x` as the latents, for every batch row. */
static void fill_sample(ls_sampler *s, const ls_chunk *c, const float *x)
{
    size_t pixels = c->frames * c->h * c->w;
    size_t z = ls_unet_get_config(s->unet)->out_channels, width = 3 * z + 1;
    for (size_t p = 0; p < pixels; p++) {
        float *row = s->sample + p * width;
        memcpy(row, x + p * z, z * sizeof *row);
        row[z] = c->mask[p];
        memcpy(row + z + 1, c->masked + p * z, z * sizeof *row);
        memcpy(row + 2 * z + 1, c->ref + p * z, z * sizeof *row);
    }
    if (s->batch == 2)
        memcpy(s->sample + pixels * width, s->sample, pixels * width * sizeof *s->sample);
}

/* The unconditional row hears silence: zeros. */
static void fill_audio(ls_sampler *s, const ls_chunk *c)
{
    size_t n = c->frames * c->audio_tokens * ls_unet_get_config(s->unet)->cross_attention_dim;
    if (s->batch == 2)
        memset(s->audio, 0, n * sizeof *s->audio);
    memcpy(s->audio + (s->batch - 1) * n, c->audio, n * sizeof *s->audio);
}

int ls_sampler_run(ls_sampler *s, const ls_chunk *c, float *latents, ls_sampler_progress progress,
                   void *opaque, const ls_cancel *cancel, ls_error *err)
{
    int ret = ls_sampler_prepare(s, c, err);
    if (ret)
        return ret;
    size_t n = c->frames * c->h * c->w * ls_unet_get_config(s->unet)->out_channels;
    float scale = s->settings.guidance_scale;
    fill_audio(s, c);
    for (size_t i = 0; i < s->ddim.steps; i++) {
        fill_sample(s, c, latents);
        ret = ls_unet_run(s->unet, &s->shape, step_kind(s, i), (float)s->ddim.timesteps[i],
                          s->sample, s->audio, s->eps, s->cache, cancel, err);
        if (ret)
            return ret;
        if (s->batch == 2)
            for (size_t k = 0; k < n; k++)
                s->eps[k] += scale * (s->eps[n + k] - s->eps[k]);
        ls_ddim_step(&s->ddim, i, s->eps, latents, n);
        if (progress)
            progress(opaque, i + 1, s->ddim.steps, latents);
    }
    return 0;
}
