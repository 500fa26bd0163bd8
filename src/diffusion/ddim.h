/* diffusers' DDIMScheduler as the original configures it: scaled_linear betas, 1000 training steps,
 * epsilon prediction, eta 0, leading spacing with steps_offset 1, set_alpha_to_one false, no
 * clipping. */
#ifndef LS_DIFFUSION_DDIM_H
#define LS_DIFFUSION_DDIM_H

#include "base/error.h"

#include <stddef.h>

#define LS_DDIM_TRAIN_STEPS 1000

typedef struct ls_ddim {
    float betas[LS_DDIM_TRAIN_STEPS], alphas_cumprod[LS_DDIM_TRAIN_STEPS];
    size_t steps;
    int timesteps[LS_DDIM_TRAIN_STEPS]; /* the first `steps`, descending */
} ls_ddim;

/* LS_EINVAL unless 1 <= steps <= 1000. */
int ls_ddim_init(ls_ddim *d, size_t steps, ls_error *err);

/* Step i of d->steps on n values: x from timestep t_i to the one before, given the predicted noise.
 */
void ls_ddim_step(const ls_ddim *d, size_t i, const float *eps, float *x, size_t n);

#endif
