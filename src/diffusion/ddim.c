#include "diffusion/ddim.h"

#include <math.h>

/* torch.linspace(a, b, 1000) in float32 counts up from a in the first half and down from b in the
 * second. */
static float linspace(float a, float b, int i)
{
    float step = (b - a) / (LS_DDIM_TRAIN_STEPS - 1);
    return i < LS_DDIM_TRAIN_STEPS / 2 ? a + step * (float)i
                                       : b - step * (float)(LS_DDIM_TRAIN_STEPS - 1 - i);
}

int ls_ddim_init(ls_ddim *d, size_t steps, ls_error *err)
{
    if (steps < 1 || steps > LS_DDIM_TRAIN_STEPS)
        return ls_fail(err, LS_EINVAL, "%zu denoising steps; use 1 to %d", steps,
                       LS_DDIM_TRAIN_STEPS);
    float start = (float)sqrt(0.00085), end = (float)sqrt(0.012);
    double product = 1; // torch's cumprod of float32 accumulates in double
    for (int i = 0; i < LS_DDIM_TRAIN_STEPS; i++) {
        float root = linspace(start, end, i);
        d->betas[i] = root * root;
        product *= 1.0f - d->betas[i];
        d->alphas_cumprod[i] = (float)product;
    }
    d->steps = steps;
    int ratio = LS_DDIM_TRAIN_STEPS / (int)steps;
    for (size_t k = 0; k < steps; k++)
        d->timesteps[steps - 1 - k] = (int)k * ratio + 1;
    if (steps == LS_DDIM_TRAIN_STEPS) // t = 1000 is past the table
        d->timesteps[0] = LS_DDIM_TRAIN_STEPS - 1;
    return 0;
}

void ls_ddim_step(const ls_ddim *d, size_t i, const float *eps, float *x, size_t n)
{
    int t = d->timesteps[i], previous = t - LS_DDIM_TRAIN_STEPS / (int)d->steps;
    float a = d->alphas_cumprod[t], prev = d->alphas_cumprod[previous < 0 ? 0 : previous];
    float root_a = sqrtf(a), root_1a = sqrtf(1 - a), root_p = sqrtf(prev),
          root_1p = sqrtf(1 - prev);
    for (size_t k = 0; k < n; k++) {
        float x0 = (x[k] - root_1a * eps[k]) / root_a;
        x[k] = root_p * x0 + root_1p * eps[k];
    }
}
