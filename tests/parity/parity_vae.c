#include "golden_file.h"
#include "base/alloc.h"
#include "models/vae/vae.h"

#include <stdio.h>
#include <stdlib.h>

static int open_vae(ls_vae **v, const golden_file *g, const ls_compute *compute, ls_error *err)
{
    ls_vae_config c = ls_vae_config_full();
    if (g->config) {
        const json_t *channels = json_object_get(g->config, "block_out_channels");
        c.blocks = json_array_size(channels);
        c.layers_per_block =
            (size_t)json_integer_value(json_object_get(g->config, "layers_per_block"));
        c.norm_num_groups =
            (size_t)json_integer_value(json_object_get(g->config, "norm_num_groups"));
        c.latent_channels =
            (size_t)json_integer_value(json_object_get(g->config, "latent_channels"));
        if (!c.blocks || c.blocks > LS_VAE_MAX_BLOCKS)
            return ls_fail(err, LS_EFORMAT, "the configuration has %zu blocks", c.blocks);
        for (size_t i = 0; i < c.blocks; i++)
            c.block_out_channels[i] = (size_t)json_integer_value(json_array_get(channels, i));
    }
    ls_params *table;
    ls_weights *w;
    int ret = ls_vae_table(&table, &c, err);
    if (!ret)
        ret = ls_params_formula(&w, &table, g->low_gain, NULL, err);
    return ret ? ret : ls_vae_open(v, &w, &c, compute, err);
}

static const char *const renames[][2] = {
    {"enc.", "encoder."},
    {"dec.", "decoder."},
    {"coder.down", "coder.down_blocks."},
    {"coder.up", "coder.up_blocks."},
    {"coder.mid", "coder.mid_block"},
    {"mid_block.res", "mid_block.resnets."},
    {"mid_block.attn", "mid_block.attentions.0"},
    {".downsample", ".downsamplers.0.conv"},
};

static void rename_all(char *name, size_t size)
{
    for (size_t i = 0; i < sizeof renames / sizeof *renames; i++) {
        char *at = strstr(name, renames[i][0]);
        if (!at)
            continue;
        char rest[LS_NAME_MAX];
        snprintf(rest, sizeof rest, "%s", at + strlen(renames[i][0]));
        snprintf(at, size - (size_t)(at - name), "%s%s", renames[i][1], rest);
    }
}

static bool encoder_name(const char *golden, char *buf, size_t size)
{
    snprintf(buf, size, "%s", golden);
    rename_all(buf, size);
    return !strncmp(golden, "enc.", 4) || !strcmp(golden, "moments");
}

static bool decoder_name(const char *golden, char *buf, size_t size)
{
    snprintf(buf, size, "%s", golden);
    rename_all(buf, size);
    return !strncmp(golden, "dec.", 4) || !strcmp(golden, "decoded");
}

/* "sample": mean + std * noise of the golden's own moments. */
static int check_sample(golden_file *g, ls_error *err)
{
    const ls_weight_info *s = ls_weights_find(g->w, "sample");
    const ls_weight_info *m = ls_weights_find(g->w, "moments");
    if (!s || !m)
        return 0;
    size_t n = s->shape[0], c = s->shape[1], hw = s->shape[2] * s->shape[3];
    float *buf = ls_malloc_array(8 * s->count, sizeof *buf);
    if (!buf)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    float *moments = buf, *last = buf + 2 * s->count, *noise = buf + 4 * s->count;
    float *noise_last = buf + 5 * s->count, *out = buf + 6 * s->count, *first = buf + 7 * s->count;
    int ret = ls_weights_read_f32(g->w, m, moments, err);
    if (!ret) {
        channels_last(last, moments, n, 1, 2 * c, hw);
        ls_formula_fill("input.vnoise", s->count, 1.7320508075688772, 0, noise);
        channels_last(noise_last, noise, n, 1, c, hw);
        ls_vae_sample(last, noise_last, n * hw, c, out);
        channels_first(first, out, n, 1, c, hw);
        ret = golden_compare(g, s, first, err);
    }
    free(buf);
    return ret;
}

/* Parts of the decoded picture: every 4th pixel, and the last 64 rows and columns. */
static int check_parts(golden_file *g, const float *decoded, size_t h, size_t w, ls_error *err)
{
    static const char *const names[] = {"decoded_stride", "decoded_corner"};
    int ret = 0;
    for (int k = 0; k < 2 && !ret; k++) {
        const ls_weight_info *t = ls_weights_find(g->w, names[k]);
        if (!t)
            continue;
        float *part = ls_malloc_array(t->count, sizeof *part);
        if (!part || t->ndim != 4 || t->shape[2] > h || t->shape[3] > w) {
            free(part);
            return ls_fail(err, LS_ESHAPE, "%s: cannot cut out %s", g->path, names[k]);
        }
        size_t i = 0;
        for (size_t c = 0; c < t->shape[1]; c++)
            for (size_t y = 0; y < t->shape[2]; y++)
                for (size_t x = 0; x < t->shape[3]; x++) {
                    size_t py = k ? h - t->shape[2] + y : 4 * y,
                           px = k ? w - t->shape[3] + x : 4 * x;
                    part[i++] = decoded[(py * w + px) * 3 + c];
                }
        ret = golden_compare(g, t, part, err);
        free(part);
    }
    return ret;
}

static bool wants_taps(const golden_file *g)
{
    static const char *const outputs[] = {"moments",        "decoded",        "sample",
                                          "decoded_stride", "decoded_corner", NULL};
    return golden_has_more_than(g, outputs);
}

static int encode(golden_file *g, ls_vae *v, const ls_compute *compute, size_t up, ls_error *err)
{
    golden_input in;
    int ret = golden_input_read(&in, g, "image", err);
    float *x = ret ? NULL : ls_malloc_array(in.count, sizeof *x);
    if (!ret && (!x || in.ndim != 4))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        channels_last(x, in.data, in.shape[0], 1, in.shape[1], in.shape[2] * in.shape[3]);
        ls_plan *plan;
        const ls_binding b = {"image", x, in.count * sizeof *x};
        ret = ls_vae_prepare(v, false, in.shape[0], in.shape[2] / up, in.shape[3] / up,
                             wants_taps(g), &plan, err);
        if (!ret)
            ret = golden_run(g, plan, compute->workspace, &b, 1, in.shape[0], encoder_name, err);
    }
    golden_input_free(&in);
    free(x);
    return ret;
}

static int decode(golden_file *g, ls_vae *v, const ls_compute *compute, size_t up, ls_error *err)
{
    golden_input in;
    int ret = golden_input_read(&in, g, "latent", err);
    size_t h = in.shape[2], w = in.shape[3], pixels = h * up * w * up;
    bool parts = ls_weights_find(g->w, "decoded_stride") || ls_weights_find(g->w, "decoded_corner");
    float *x = ret ? NULL : ls_malloc_array(in.count, sizeof *x);
    float *y = ret ? NULL : ls_malloc_array(in.shape[0] * pixels * 3, sizeof *y);
    if (!ret && (!x || !y || in.ndim != 4))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        channels_last(x, in.data, in.shape[0], 1, in.shape[1], h * w);
        ls_plan *plan;
        const ls_binding b[] = {{"latent", x, in.count * sizeof *x},
                                {"decoded", y, in.shape[0] * pixels * 3 * sizeof *y}};
        ret = ls_vae_prepare(v, true, in.shape[0], h, w, wants_taps(g), &plan, err);
        if (!ret)
            ret = golden_run(g, plan, compute->workspace, b, parts ? 2 : 1, in.shape[0],
                             decoder_name, err);
        if (!ret && parts)
            ret = check_parts(g, y, h * up, w * up, err);
    }
    golden_input_free(&in);
    free(x);
    free(y);
    return ret;
}

int parity_vae(golden_file *g, const ls_compute *compute, ls_error *err)
{
    ls_vae *v = NULL;
    int ret = open_vae(&v, g, compute, err);
    size_t up = ret ? 1 : (size_t)1 << (ls_vae_get_config(v)->blocks - 1);
    if (!ret)
        ret = encode(g, v, compute, up, err);
    if (!ret)
        ret = decode(g, v, compute, up, err);
    if (!ret)
        ret = check_sample(g, err);
    ls_vae_close(&v);
    return ret;
}
