#include "golden_file.h"
#include "base/alloc.h"
#include "diffusion/sampler.h"

#include <stdio.h>
#include <stdlib.h>

#define STEPS 20

typedef struct trajectory {
    golden_file *g;
    size_t frames, c, hw;
    float *first; /* the current latents in the golden's order */
    int ret;
    ls_error *err;
} trajectory;

/* "final", "after_step_K" or entry K of "all" are the latents after a step. */
static void check_step(void *opaque, size_t step, size_t steps, const float *x)
{
    trajectory *t = opaque;
    char name[32];
    channels_first(t->first, x, 1, t->frames, t->c, t->hw);
    snprintf(name, sizeof name, "after_step_%zu", step - 1);
    const ls_weight_info *info = ls_weights_find(t->g->w, step == steps ? "final" : name);
    if (info && !t->ret)
        t->ret = golden_compare(t->g, info, t->first, t->err);
    info = ls_weights_find(t->g->w, "all");
    size_t n = t->frames * t->c * t->hw;
    if (info && !t->ret && info->count == steps * n)
        t->ret = golden_compare_part(t->g, info, (step - 1) * n, n, t->first, t->err);
}

int parity_ddim_run(golden_file *g, const ls_compute *compute, ls_error *err)
{
    const ls_weight_info *final = ls_weights_find(g->w, "final");
    const char *guidance = ls_weights_meta_text(g->w, "guidance");
    if (!final || final->ndim != 5 || !guidance)
        return ls_fail(err, LS_EFORMAT, "%s: no final latents or no guidance", g->path);
    size_t c = final->shape[1], f = final->shape[2], h = final->shape[3], w = final->shape[4];
    size_t hw = h * w, n = f * c * hw, audio_count;
    ls_unet *u = NULL;
    ls_sampler *s = NULL;
    int ret = parity_open_unet(&u, g, compute, err);
    size_t dim = ret ? 0 : ls_unet_get_config(u)->cross_attention_dim;
    audio_count = f * 50 * dim;
    float *buf = ls_malloc_array(5 * n + f * hw + audio_count, sizeof *buf);
    if (!ret && !buf)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ls_sampler_settings settings = {.steps = STEPS,
                                        .guidance_scale = strtof(guidance, NULL),
                                        .cache_interval = strstr(g->path, "deepcache3") ? 3 : 1};
        ret = ls_sampler_open(&s, u, &settings, err);
    }
    if (!ret) {
        const double unit = 1.7320508075688772;
        float *raw = buf, *x = buf + n, *masked = buf + 2 * n, *ref = buf + 3 * n;
        float *first = buf + 4 * n, *mask = buf + 5 * n, *audio = mask + f * hw;
        ls_formula_fill("input.noise", c * hw, unit, 0, raw);
        channels_last(x, raw, 1, 1, c, hw);
        for (size_t i = 1; i < f; i++)
            memcpy(x + i * c * hw, x, c * hw * sizeof *x);
        ls_formula_fill("input.masked", n, unit, 0, raw);
        channels_last(masked, raw, 1, f, c, hw);
        ls_formula_fill("input.ref", n, unit, 0, raw);
        channels_last(ref, raw, 1, f, c, hw);
        ls_formula_fill("input.mask", f * hw, unit, 0, mask);
        for (size_t i = 0; i < f * hw; i++)
            mask[i] = mask[i] > 0;
        ls_formula_fill("input.audio", audio_count, unit, 0, audio);
        ls_chunk chunk = {f, h, w, 50, mask, masked, ref, audio};
        trajectory t = {g, f, c, hw, first, 0, err};
        ret = ls_sampler_run(s, &chunk, x, check_step, &t, NULL, err);
        if (!ret)
            ret = t.ret;
    }
    free(buf);
    ls_sampler_close(&s);
    ls_unet_close(&u);
    return ret;
}
