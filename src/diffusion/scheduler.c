#include "diffusion/scheduler.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

/* Of x = alpha * x0 + sigma * noise. */
typedef struct level {
    double alpha, sigma, lambda;
} level;

/* Factors of the sample at the start of a step and of x0 as predicted at its start, a step before
 * that and at its end. */
typedef struct factors {
    float x, m, before, end;
} factors;

int ls_scheduler_init(ls_scheduler *s, ls_solver solver, size_t steps, ls_error *err)
{
    s->solver = solver;
    int ret = ls_ddim_init(&s->ddim, steps, err);
    if (ret || solver == LS_SOLVER_DDIM)
        return ret;
    if (steps > LS_MULTISTEP_MAX_STEPS)
        return ls_fail(err, LS_EINVAL, "%zu denoising steps; this sampler takes 1 to %d", steps,
                       LS_MULTISTEP_MAX_STEPS);
    const int ratio = LS_DDIM_TRAIN_STEPS / ((int)steps + 1);
    for (size_t k = 0; k < steps; k++)
        s->ddim.timesteps[k] = (int)(steps - k) * ratio + 1;
    return 0;
}

size_t ls_scheduler_state(const ls_scheduler *s)
{
    return s->solver == LS_SOLVER_DDIM ? 0 : s->solver == LS_SOLVER_DPMPP ? 1 : 3;
}

static level level_at(const ls_scheduler *s, size_t i)
{
    if (i == s->ddim.steps)
        return (level){1, 0, INFINITY};
    const double a = s->ddim.alphas_cumprod[s->ddim.timesteps[i]];
    return (level){sqrt(a), sqrt(1 - a), 0.5 * log(a / (1 - a))};
}

/* From timestep i to the next. */
static factors predictor(const ls_scheduler *s, size_t i)
{
    const level from = level_at(s, i), to = level_at(s, i + 1);
    const double h = to.lambda - from.lambda, phi = to.alpha * expm1(-h);
    const bool second = i && i + 1 < s->ddim.steps;
    const double half = second ? phi / 2 * h / (from.lambda - level_at(s, i - 1).lambda) : 0;
    return (factors){(float)(to.sigma / from.sigma), (float)(-phi - half), (float)half, 0};
}

/* Step i again, of the order it had, with what is predicted at its end. */
static factors corrector(const ls_scheduler *s, size_t i)
{
    const level from = level_at(s, i), to = level_at(s, i + 1);
    const double h = to.lambda - from.lambda, bh = expm1(-h), phi = to.alpha * bh;
    double end = 0.5, before = 0; // of the differences to m: rho of the paper, before / r
    if (i) {
        const double r = (level_at(s, i - 1).lambda - from.lambda) / h;
        const double b1 = (bh / -h - 1) / bh, b2 = 2 * ((bh / -h - 1) / -h - 0.5) / bh;
        const double rho = (b1 - b2) / (1 - r);
        end = b1 - rho;
        before = rho / r;
    }
    return (factors){(float)(to.sigma / from.sigma), (float)(phi * (before + end - 1)),
                     (float)(-phi * before), (float)(-phi * end)};
}

static void multistep(const ls_scheduler *s, size_t i, const float *eps, float *x, float *state,
                      size_t n)
{
    const level now = level_at(s, i);
    const float alpha = (float)now.alpha, sigma = (float)now.sigma;
    const bool corrects = s->solver == LS_SOLVER_UNIPC;
    const factors p = predictor(s, i), c = corrects && i ? corrector(s, i - 1) : (factors){0};
    if (!i)
        memset(state, 0, ls_scheduler_state(s) * n * sizeof *state);
    float *m1 = state, *m2 = state + n, *last = state + 2 * n;
    for (size_t k = 0; k < n; k++) {
        const float m = (x[k] - sigma * eps[k]) / alpha;
        float start = x[k];
        if (corrects) {
            if (i)
                start = c.x * last[k] + c.m * m1[k] + c.before * m2[k] + c.end * m;
            m2[k] = m1[k];
            last[k] = start;
        }
        x[k] = p.x * start + p.m * m + p.before * m1[k];
        m1[k] = m;
    }
}

void ls_scheduler_step(const ls_scheduler *s, size_t i, const float *eps, float *x, float *state,
                       size_t n)
{
    if (s->solver == LS_SOLVER_DDIM)
        ls_ddim_step(&s->ddim, i, eps, x, n);
    else
        multistep(s, i, eps, x, state, n);
}
