/* The samplers as diffusers configures and names them, from huggingface/diffusers at 0047da10:
 *   DDIM    DDIMScheduler (ddim.h)
 *   DPM++   DPMSolverMultistepScheduler: algorithm_type "dpmsolver++", solver_type "midpoint", that
 *           is 2M of Lu et al., https://arxiv.org/abs/2211.01095
 *   UniPC   UniPCMultistepScheduler: solver_type "bh2" of Zhao et al.,
 *           https://arxiv.org/abs/2302.04867
 * The last two have solver_order 2, leading spacing with steps_offset 1, lower_order_final,
 * final_sigmas_type "zero" and no thresholding. UniPC's predictor of order 2 is 2M; its corrector
 * takes the noise that the next step predicts anyway. */
#ifndef LS_DIFFUSION_SCHEDULER_H
#define LS_DIFFUSION_SCHEDULER_H

#include "diffusion/ddim.h"

/* Leading spacing of the multistep solvers has no room for more. */
#define LS_MULTISTEP_MAX_STEPS (LS_DDIM_TRAIN_STEPS - 2)

typedef enum ls_solver { LS_SOLVER_DDIM, LS_SOLVER_DPMPP, LS_SOLVER_UNIPC } ls_solver;

typedef struct ls_scheduler {
    ls_solver solver;
    ls_ddim ddim; /* its tables; the timesteps are the solver's */
} ls_scheduler;

/* LS_EINVAL for a number of steps that the solver cannot take. */
int ls_scheduler_init(ls_scheduler *s, ls_solver solver, size_t steps, ls_error *err);

/* Values that the caller keeps from step to step for each value of a sample. */
size_t ls_scheduler_state(const ls_scheduler *s);

/* Step i on n values: x to the next timestep, given the noise predicted at this one. `state` has
 * ls_scheduler_state(s) * n values; step 0 reads none of them. */
void ls_scheduler_step(const ls_scheduler *s, size_t i, const float *eps, float *x, float *state,
                       size_t n);

#endif
