#include "diffusion/sampler.h"
#include "base/alloc.h"

#include <stdlib.h>

struct ls_sampler {
    ls_unet *unet;
    ls_sampler_settings settings;
    ls_scheduler scheduler;
    size_t batch;        /* rows of a chunk; shape.batch of them run at once */
    ls_unet_shape shape; /* that the buffers are sized for */
    float *sample;       /* [shape.batch * frames, h, w, in_channels]: every row is the same */
    float *eps;          /* [batch * frames, h, w, 4] */
    float *state;        /* of the solver: some times [frames, h, w, 4] */
    char *audio;         /* of the UNet's device: [batch * frames, tokens, dim] float32 */
    char *cache;         /* of the UNet's device, of every row; NULL without one */
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
                  ? ls_scheduler_init(&s->scheduler, settings->solver, settings->steps, err)
                  : ls_fail(err, LS_EINVAL, "the cache interval is 0; use 1 to compute every step");
    if (ret)
        ls_sampler_close(out);
    return ret;
}

static void free_buffers(ls_sampler *s)
{
    ls_network *net = ls_unet_network(s->unet);
    ls_aligned_free(s->sample);
    ls_aligned_free(s->eps);
    ls_aligned_free(s->state);
    ls_network_release(net, s->audio);
    ls_network_release(net, s->cache);
    s->sample = s->eps = s->state = NULL;
    s->audio = s->cache = NULL;
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

/* With the cache a step is as the whole one that it relies on. */
static bool is_guided(const ls_sampler *s, size_t i)
{
    const ls_sampler_settings *set = &s->settings;
    const double at = (double)(i - i % set->cache_interval) / (double)set->steps;
    return s->batch == 2 && at >= set->guidance_start &&
           (set->guidance_end <= 0 || at < set->guidance_end);
}

/* Whether some steps run one row where others run two at once. */
static bool is_mixed(const ls_sampler *s)
{
    bool guided = false, unguided = false;
    for (size_t i = 0; i < s->settings.steps; i++)
        *(is_guided(s, i) ? &guided : &unguided) = true;
    return guided && unguided && !s->settings.split_guidance;
}

static ls_unet_shape shape_of(const ls_sampler *s, const ls_chunk *c)
{
    size_t batch = s->settings.split_guidance ? 1 : s->batch;
    return (ls_unet_shape){batch, c->frames, c->h, c->w, c->audio_tokens};
}

/* Bytes of the buffers. */
typedef struct sizes {
    size_t sample, audio, eps, state, cache;
} sizes;

static sizes sizes_of(const ls_sampler *s, const ls_unet_shape *shape)
{
    const ls_unet_config *u = ls_unet_get_config(s->unet);
    const size_t frame = shape->h * shape->w * sizeof(float), rows = s->batch * shape->frames;
    ls_unet_shape whole = *shape;
    whole.batch = s->batch;
    return (sizes){
        .sample = shape->batch * shape->frames * frame * u->in_channels,
        .audio = rows * shape->audio_tokens * u->cross_attention_dim * sizeof(float),
        .eps = rows * frame * u->out_channels,
        .state = shape->frames * frame * u->out_channels * ls_scheduler_state(&s->scheduler),
        .cache = s->settings.cache_interval > 1 ? ls_unet_cache_bytes(s->unet, &whole) : 0};
}

static int prepare_unet(const ls_sampler *s, const ls_unet_shape *shape, ls_error *err)
{
    ls_unet_shape rows = *shape;
    int ret = 0;
    for (size_t least = is_mixed(s) ? 1 : rows.batch; !ret && rows.batch >= least; rows.batch--) {
        ret = ls_unet_prepare(s->unet, &rows, step_kind(s, 0), false, NULL, err);
        if (!ret && s->settings.cache_interval > 1)
            ret = ls_unet_prepare(s->unet, &rows, LS_UNET_STEP_REUSE, false, NULL, err);
    }
    return ret;
}

static int alloc_resident(ls_sampler *s, const sizes *bytes, ls_error *err)
{
    ls_network *net = ls_unet_network(s->unet);
    void *audio, *cache = NULL;
    int ret = ls_network_alloc(net, bytes->audio, &audio, err);
    s->audio = audio;
    if (!ret && bytes->cache)
        ret = ls_network_alloc(net, bytes->cache, &cache, err);
    s->cache = cache;
    return ret;
}

int ls_sampler_prepare(ls_sampler *s, const ls_chunk *c, ls_error *err)
{
    const ls_unet_shape shape = shape_of(s, c);
    if (!memcmp(&shape, &s->shape, sizeof shape))
        return 0;
    const sizes bytes = sizes_of(s, &shape);
    s->shape = (ls_unet_shape){0};
    free_buffers(s);
    s->sample = ls_aligned_alloc(LS_MEM_DIFFUSION, bytes.sample);
    s->eps = ls_aligned_alloc(LS_MEM_DIFFUSION, bytes.eps);
    s->state = bytes.state ? ls_aligned_alloc(LS_MEM_DIFFUSION, bytes.state) : NULL;
    if (!s->sample || !s->eps || (bytes.state && !s->state))
        return ls_fail(err, LS_ENOMEM, "out of memory for a chunk of %zu frames", c->frames);
    int ret = alloc_resident(s, &bytes, err);
    if (!ret)
        ret = prepare_unet(s, &shape, err);
    if (!ret)
        s->shape = shape;
    return ret;
}

int ls_sampler_estimate(const ls_sampler *s, const ls_chunk *c, size_t *buffers, size_t *resident,
                        ls_error *err)
{
    const ls_unet_shape shape = shape_of(s, c);
    const sizes bytes = sizes_of(s, &shape);
    *buffers = bytes.sample + bytes.eps + bytes.state;
    *resident = bytes.audio + bytes.cache;
    return prepare_unet(s, &shape, err);
}

/* The channels [latents | mask | masked | ref] of every batch row that are the same in all steps.
 */
static void fill_conditions(ls_sampler *s, const ls_chunk *c)
{
    const size_t pixels = c->frames * c->h * c->w, z = ls_unet_get_config(s->unet)->out_channels;
    for (size_t i = 0; i < s->shape.batch * pixels; i++) {
        const size_t p = i % pixels;
        float *row = s->sample + i * (3 * z + 1);
        row[z] = c->mask[p];
        memcpy(row + z + 1, c->masked + p * z, z * sizeof *row);
        memcpy(row + 2 * z + 1, c->ref + p * z, z * sizeof *row);
    }
}

static void fill_latents(ls_sampler *s, const ls_chunk *c, const float *x)
{
    const size_t pixels = c->frames * c->h * c->w, z = ls_unet_get_config(s->unet)->out_channels;
    for (size_t i = 0; i < s->shape.batch * pixels; i++)
        memcpy(s->sample + i * (3 * z + 1), x + i % pixels * z, z * sizeof *x);
}

/* The unconditional row gets zeros as audio. */
static int fill_audio(ls_sampler *s, const ls_chunk *c, ls_error *err)
{
    ls_network *net = ls_unet_network(s->unet);
    const size_t bytes = sizes_of(s, &s->shape).audio / s->batch;
    int ret = 0;
    if (s->batch == 2) {
        void *zeros = ls_calloc_array(1, bytes);
        ret = zeros ? ls_network_write(net, s->audio, zeros, bytes, err)
                    : ls_fail(err, LS_ENOMEM, "out of memory");
        free(zeros);
    }
    return ret ? ret
               : ls_network_write(net, s->audio + (s->batch - 1) * bytes, c->audio, bytes, err);
}

/* Runs the rows of a step from `first` on, as many at once as the shape says. */
static int run_unet(ls_sampler *s, size_t step, size_t first, const ls_cancel *cancel,
                    ls_error *err)
{
    const ls_unet_config *u = ls_unet_get_config(s->unet);
    ls_unet_shape shape = s->shape;
    const size_t audio = sizes_of(s, &shape).audio / s->batch;
    const size_t eps = shape.frames * shape.h * shape.w * u->out_channels;
    const size_t cache = sizes_of(s, &shape).cache / s->batch;
    if (shape.batch > s->batch - first)
        shape.batch = s->batch - first;
    int ret = 0;
    for (size_t row = first; !ret && row < s->batch; row += shape.batch)
        ret = ls_unet_run(s->unet, &shape, step_kind(s, step),
                          (float)s->scheduler.ddim.timesteps[step], s->sample,
                          (const float *)(s->audio + row * audio), s->eps + row * eps,
                          s->cache + row * cache, cancel, err);
    return ret;
}

/* The noise at step i, in the conditional row. The other one keeps the difference of the rows,
 * which is *held for steps that do not compute it. */
static int predict(ls_sampler *s, size_t i, size_t n, bool *held, const ls_cancel *cancel,
                   ls_error *err)
{
    const bool guided = is_guided(s, i);
    const float scale = s->settings.guidance_scale;
    float *difference = s->eps, *eps = s->eps + (s->batch - 1) * n;
    const int ret = run_unet(s, i, guided ? 0 : s->batch - 1, cancel, err);
    for (size_t k = 0; !ret && guided && k < n; k++) {
        const float unconditional = s->eps[k];
        difference[k] = eps[k] - unconditional;
        eps[k] = unconditional + scale * difference[k];
    }
    for (size_t k = 0; !ret && !guided && *held && k < n; k++)
        eps[k] += (scale - 1) * difference[k];
    *held = *held || guided;
    return ret;
}

int ls_sampler_run(ls_sampler *s, const ls_chunk *c, float *latents, ls_sampler_progress progress,
                   void *opaque, const ls_cancel *cancel, ls_error *err)
{
    int ret = ls_sampler_prepare(s, c, err);
    if (ret)
        return ret;
    const size_t n = c->frames * c->h * c->w * ls_unet_get_config(s->unet)->out_channels;
    const size_t steps = s->settings.steps;
    bool held = false;
    fill_conditions(s, c);
    ret = fill_audio(s, c, err);
    for (size_t i = 0; !ret && i < steps; i++) {
        fill_latents(s, c, latents);
        ret = predict(s, i, n, &held, cancel, err);
        if (ret)
            break;
        ls_scheduler_step(&s->scheduler, i, s->eps + (s->batch - 1) * n, latents, s->state, n);
        if (progress)
            progress(opaque, i + 1, steps, latents);
    }
    return ret;
}
