/* bench_trajectory [SIDE [FRAMES [f32|bf16 [INPUTS]]]]: how far the latents of each quality end
 * from 50 steps of DDIM, and what its UNet takes: published size, formula weights, latents of SIDE
 * x SIDE (8), FRAMES of them (2). Medians of INPUTS (1) inputs. */
#include "base/alloc.h"
#include "base/time.h"
#include "diffusion/sampler.h"
#include "latentsync/option.h"
#include "pipeline/quality.h"
#include "pipeline/settings.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST_INPUTS 9
#define UNIT 1.7320508075688772 /* deviation 1 */
#define TOKENS 50

static ls_error err;

typedef struct inputs {
    size_t frames, side, pixels, n; /* n: floats of the latents */
    int count;
    float *x, *mask, *masked, *ref, *audio;
} inputs;

typedef struct result {
    float *x[MOST_INPUTS];
    double cpu[MOST_INPUTS];
} result;

static bool allocate(inputs *in, size_t dim)
{
    in->pixels = in->frames * in->side * in->side;
    in->n = in->pixels * 4;
    in->x = ls_calloc_array(in->n, sizeof(float));
    in->mask = ls_calloc_array(in->pixels, sizeof(float));
    in->masked = ls_calloc_array(in->n, sizeof(float));
    in->ref = ls_calloc_array(in->n, sizeof(float));
    in->audio = ls_calloc_array(in->frames * TOKENS * dim, sizeof(float));
    return in->x && in->mask && in->masked && in->ref && in->audio;
}

static void free_inputs(inputs *in)
{
    free(in->x);
    free(in->mask);
    free(in->masked);
    free(in->ref);
    free(in->audio);
}

static void fill(inputs *in, size_t dim, int which)
{
    char name[32];
    const struct {
        const char *name;
        float *values;
        size_t count;
    } list[] = {{"noise", in->x, in->n / in->frames},
                {"mask", in->mask, in->pixels},
                {"masked", in->masked, in->n},
                {"ref", in->ref, in->n},
                {"audio", in->audio, in->frames * TOKENS * dim}};
    for (size_t i = 0; i < LS_COUNT(list); i++) {
        snprintf(name, sizeof name, "input.%s.%d", list[i].name, which);
        ls_formula_fill(name, list[i].count, UNIT, 0, list[i].values);
    }
    for (size_t i = 0; i < in->pixels; i++)
        in->mask[i] = in->mask[i] > 0;
    for (size_t i = 1; i < in->frames; i++)
        memcpy(in->x + i * (in->n / in->frames), in->x, in->n / in->frames * sizeof *in->x);
}

static int run(result *r, ls_unet *u, inputs *in, const ls_sampler_settings *set)
{
    const size_t dim = ls_unet_get_config(u)->cross_attention_dim;
    ls_sampler *s;
    const ls_chunk c = {in->frames, in->side,   in->side, TOKENS,
                        in->mask,   in->masked, in->ref,  in->audio};
    int ret = ls_sampler_open(&s, u, set, &err);
    if (!ret)
        ret = ls_sampler_prepare(s, &c, &err);
    for (int i = 0; !ret && i < in->count; i++) {
        fill(in, dim, i);
        const double before = ls_time_cpu();
        ret = ls_sampler_run(s, &c, in->x, NULL, NULL, NULL, &err);
        r->cpu[i] = ls_time_cpu() - before;
        r->x[i] = ls_malloc_array(in->n, sizeof(float));
        if (r->x[i])
            memcpy(r->x[i], in->x, in->n * sizeof *in->x);
        else
            ret = ls_fail(&err, LS_ENOMEM, "out of memory");
    }
    ls_sampler_close(&s);
    return ret;
}

static void free_result(result *r)
{
    for (int i = 0; i < MOST_INPUTS; i++)
        free(r->x[i]);
}

static double rms(const float *a, const float *b, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pow((double)a[i] - (b ? b[i] : 0), 2);
    return sqrt(sum / (double)n);
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *v, int n)
{
    qsort(v, (size_t)n, sizeof *v, by_value);
    return v[n / 2];
}

static void print(const char *name, const result *r, const result *best, const result *before,
                  const inputs *in)
{
    double error[MOST_INPUTS], cpu[MOST_INPUTS], ratio[MOST_INPUTS];
    for (int i = 0; i < in->count; i++) {
        error[i] = rms(r->x[i], best->x[i], in->n) / rms(best->x[i], NULL, in->n);
        cpu[i] = r->cpu[i];
        ratio[i] = before->cpu[i] / r->cpu[i];
    }
    printf("| %s | %.4f | %.2f | %.2f |\n", name, median(error, in->count), median(cpu, in->count),
           median(ratio, in->count));
    fflush(stdout);
}

static ls_sampler_settings settings_of(int quality)
{
    static const ls_solver solvers[] = {[LS_SAMPLER_DDIM] = LS_SOLVER_DDIM,
                                        [LS_SAMPLER_DPMPP] = LS_SOLVER_DPMPP,
                                        [LS_SAMPLER_UNIPC] = LS_SOLVER_UNIPC};
    ls_sync_settings s;
    ls_sync_default_settings(&s, sizeof s);
    s.quality = quality;
    ls_quality_fill(&s);
    ls_sampler_settings set = {.steps = s.steps,
                               .guidance_scale = 1.5F,
                               .cache_interval = s.cache_interval,
                               .solver = solvers[s.sampler]};
    ls_settings_interval(s.guidance_interval, &set.guidance_start, &set.guidance_end);
    return set;
}

static int compare(ls_unet *u, inputs *in)
{
    const ls_sampler_settings steps50 = {50, 1.5F, 1, false, LS_SOLVER_DDIM, 0, 0};
    const char *const *names = ls_option_find("quality")->choices;
    result best = {.x = {0}}, r = best, before = best, other = best;
    int ret = run(&best, u, in, &steps50);
    printf("| quality | error | CPU, s | speed |\n|---|---|---|---|\n");
    for (int i = 0; !ret && names[i]; i++) {
        const ls_sampler_settings set = settings_of(i);
        ret = run(&r, u, in, &set);
        if (!ret && !i) {
            before = r;
            print("50 steps", &best, &best, &before, in);
        }
        if (!ret)
            print(names[i], &r, &best, &before, in);
        free_result(&r);
        r = (result){.x = {0}};
    }
    for (int i = 0; !ret && i < in->count; i++) { // the results of other inputs
        other.x[i] = best.x[(i + 1) % in->count];
        other.cpu[i] = best.cpu[i];
    }
    if (!ret && in->count > 1)
        print("50 steps, other inputs", &other, &best, &before, in);
    free_result(&best);
    return ret;
}

int main(int argc, char **argv)
{
    inputs in = {.count = argc > 4 ? atoi(argv[4]) : 1,
                 .side = argc > 1 ? strtoul(argv[1], NULL, 10) : 8,
                 .frames = argc > 2 ? strtoul(argv[2], NULL, 10) : 2};
    const ls_unet_config config = ls_unet_config_full();
    ls_workspace ws;
    ls_params *table;
    ls_weights *w;
    ls_unet *u = NULL;
    if (in.count < 1 || in.count > MOST_INPUTS)
        return fprintf(stderr, "bench_trajectory: 1 to %d inputs\n", MOST_INPUTS), 2;
    int ret = ls_workspace_open(&ws, "cpu", 0, &err);
    if (!ret)
        ret = ls_unet_table(&table, &config, &err);
    if (!ret)
        ret = ls_params_formula(&w, &table, false, NULL, &err);
    const ls_compute c = {&ws, argc > 3 && !strcmp(argv[3], "bf16") ? LS_BF16 : LS_F32};
    if (!ret)
        ret = ls_unet_open(&u, &w, &config, &c, &err);
    if (!ret && !allocate(&in, config.cross_attention_dim))
        ret = ls_fail(&err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = compare(u, &in);
    if (ret)
        fprintf(stderr, "bench_trajectory: %s\n", err.message);
    free_inputs(&in);
    ls_unet_close(&u);
    ls_workspace_close(&ws);
    return ret ? 1 : 0;
}
