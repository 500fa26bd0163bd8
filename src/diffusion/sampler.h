/* The denoising loop for one chunk of frames: a solver, classifier-free guidance and the step
 * cache.
 */
#ifndef LS_DIFFUSION_SAMPLER_H
#define LS_DIFFUSION_SAMPLER_H

#include "diffusion/scheduler.h"
#include "models/unet/unet.h"

typedef struct ls_sampler_settings {
    size_t steps;          /* num_inference_steps */
    float guidance_scale;  /* above 1: two batch rows, unconditional and conditional */
    size_t cache_interval; /* the whole UNet runs every this many steps (DeepCache); 1: always */
    bool split_guidance;   /* one batch row after the other: about half the activations, the same
                              result */
    ls_solver solver;
    /* Fractions of the schedule: step i of n is guided from start <= i / n to i / n < end, where an
     * end of 0 means 1; a step on the cache as the step that filled it. Other steps run the
     * conditional row alone: before the interval without guidance, after it with the difference of
     * the rows at the interval's last step. */
    double guidance_start, guidance_end;
} ls_sampler_settings;

typedef struct ls_sampler ls_sampler;

/* `unet` must outlive the sampler. */
int ls_sampler_open(ls_sampler **out, ls_unet *unet, const ls_sampler_settings *s, ls_error *err);
void ls_sampler_close(ls_sampler **s);

/* The inputs of one chunk, channels-last float32. */
typedef struct ls_chunk {
    size_t frames, h, w; /* of the latents */
    size_t audio_tokens;
    const float *mask;   /* [frames, h, w]: 1 keeps, 0 generates */
    const float *masked; /* [frames, h, w, 4] latents of the masked faces */
    const float *ref;    /* [frames, h, w, 4] latents of the faces */
    const float *audio;  /* [frames, audio_tokens, cross_attention_dim] */
} ls_chunk;

/* Called after every step; `x` are the latents. */
typedef void (*ls_sampler_progress)(void *opaque, size_t step, size_t steps, const float *x);

/* Compiles and packs everything that chunks of this shape need. */
int ls_sampler_prepare(ls_sampler *s, const ls_chunk *shape, ls_error *err);
/* As ls_sampler_prepare while the UNet is being measured (ls_network_estimate_begin); the sampler's
 * own memory is only counted: buffers of the process, and what is resident on the UNet's device. */
int ls_sampler_estimate(const ls_sampler *s, const ls_chunk *shape, size_t *buffers,
                        size_t *resident, ls_error *err);

/* `latents` [frames, h, w, 4]: the noise (before init_noise_sigma, which is 1) on entry, the result
 * on return. */
int ls_sampler_run(ls_sampler *s, const ls_chunk *c, float *latents, ls_sampler_progress progress,
                   void *opaque, const ls_cancel *cancel, ls_error *err);

#endif
