#include "golden_file.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static size_t config_int(const json_t *j, const char *key, size_t otherwise)
{
    const json_t *v = json_object_get(j, key);
    return json_is_integer(v) && json_integer_value(v) > 0 ? (size_t)json_integer_value(v)
                                                           : otherwise;
}

static bool block_is_cross(const json_t *j, const char *key, size_t i)
{
    const char *type = json_string_value(json_array_get(json_object_get(j, key), i));
    return type && strstr(type, "CrossAttn");
}

/* Block i of a down path works at resolution 2^i of motion_module_resolutions. */
static bool has_motion(const json_t *j, size_t level)
{
    const json_t *list = json_object_get(j, "motion_module_resolutions");
    for (size_t k = 0; k < json_array_size(list); k++)
        if (json_integer_value(json_array_get(list, k)) == (json_int_t)1 << level)
            return json_is_true(json_object_get(j, "use_motion_module"));
    return false;
}

int parity_unet_config(ls_unet_config *c, const json_t *j, ls_error *err)
{
    const json_t *channels = json_object_get(j, "block_out_channels");
    const json_t *kwargs = json_object_get(j, "motion_module_kwargs");
    bool decoder_only = json_is_true(json_object_get(j, "motion_module_decoder_only"));
    *c = (ls_unet_config){
        .in_channels = config_int(j, "in_channels", 13),
        .out_channels = config_int(j, "out_channels", 4),
        .cross_attention_dim = config_int(j, "cross_attention_dim", 384),
        .blocks = json_array_size(channels),
        .layers_per_block = config_int(j, "layers_per_block", 2),
        .norm_num_groups = config_int(j, "norm_num_groups", 32),
        .num_attention_heads = config_int(j, "attention_head_dim", 8),
        .mid_motion = json_is_true(json_object_get(j, "use_motion_module")) &&
                      json_is_true(json_object_get(j, "motion_module_mid_block")),
        .temporal_position_encoding_max_len =
            config_int(kwargs, "temporal_position_encoding_max_len", 24),
    };
    if (!c->blocks || c->blocks > LS_UNET_MAX_BLOCKS)
        return ls_fail(err, LS_EFORMAT, "the configuration has %zu blocks", c->blocks);
    for (size_t i = 0; i < c->blocks; i++) {
        c->block_out_channels[i] = (size_t)json_integer_value(json_array_get(channels, i));
        c->down_cross_attn[i] = block_is_cross(j, "down_block_types", i);
        c->up_cross_attn[i] = block_is_cross(j, "up_block_types", i);
        c->down_motion[i] = !decoder_only && has_motion(j, i);
        c->up_motion[i] = has_motion(j, c->blocks - 1 - i);
    }
    return 0;
}

static int open_weights(ls_weights **w, const ls_unet_config *c, bool low_gain, ls_error *err)
{
    ls_params *table;
    int ret = ls_unet_table(&table, c, err);
    if (!ret)
        ret = ls_params_formula(w, &table, low_gain, NULL, err);
    return ret;
}

int parity_open_unet(ls_unet **u, const golden_file *g, const ls_compute *compute, ls_error *err)
{
    ls_unet_config c;
    ls_weights *w;
    int ret = parity_unet_config(&c, g->config, err);
    if (!ret)
        ret = open_weights(&w, &c, g->low_gain, err);
    return ret ? ret : ls_unet_open(u, &w, &c, compute, err);
}

/* The same UNet from a checkpoint file of float16 weights. */
static int open_half(ls_unet **u, const golden_file *g, const ls_compute *compute, ls_error *err)
{
    ls_unet_config c;
    ls_weights *w = NULL, *half = NULL;
    char path[] = "/tmp/parity-XXXXXX";
    int fd = mkstemp(path), ret = parity_unet_config(&c, g->config, err);
    if (!ret)
        ret = open_weights(&w, &c, g->low_gain, err);
    if (!ret)
        ret = ls_weights_write_safetensors(path, w, LS_F16, err);
    if (!ret)
        ret = ls_weights_open(&half, path, err);
    ls_weights_close(&w);
    close(fd);
    unlink(path);
    return ret ? ret : ls_unet_open(u, &half, &c, compute, err);
}

/* The files' short names for the modules of the original. */
static const char *const renames[][2] = {
    {"time_embedding", "time_embedding.linear_2"},
    {".downsample", ".downsamplers.0.conv"},
    {".upsample", ".upsamplers.0.conv"},
    {".block.attn0", ".temporal_transformer.transformer_blocks.0.attention_blocks.0.to_out.0"},
    {".block.ff", ".transformer_blocks.0.ff.net.2"},
    {".block.attn1", ".transformer_blocks.0.attn1.to_out.0"},
    {".block.attn2", ".transformer_blocks.0.attn2.to_out.0"},
    {".block", ".transformer_blocks.0"},
};

static const char *const motion_renames[][2] = {
    {".block.attn0", ".temporal_transformer.transformer_blocks.0.attention_blocks.0.to_out.0"},
    {".block.attn1", ".temporal_transformer.transformer_blocks.0.attention_blocks.1.to_out.0"},
    {".block.ff", ".temporal_transformer.transformer_blocks.0.ff.net.2"},
    {".norm", ".temporal_transformer.norm"},
    {".proj_in", ".temporal_transformer.proj_in"},
    {".proj_out", ".temporal_transformer.proj_out"},
};

static void rename_part(char *name, size_t size, const char *const (*list)[2], size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char *at = strstr(name, list[i][0]);
        if (!at)
            continue;
        char rest[LS_NAME_MAX];
        snprintf(rest, sizeof rest, "%s", at + strlen(list[i][0]));
        snprintf(at, size - (size_t)(at - name), "%s%s", list[i][1], rest);
        return;
    }
}

static bool tap_name(const char *golden, char *buf, size_t size)
{
    size_t n;
    if (!strcmp(golden, "output_f16_weights"))
        return false;
    if (sscanf(golden, "down%zu", &n) == 1 || sscanf(golden, "up%zu", &n) == 1) {
        bool down = golden[0] == 'd';
        const char *rest = golden + (down ? 4 : 2);
        rest += strspn(rest, "0123456789");
        snprintf(buf, size, "%s_blocks.%zu%s", down ? "down" : "up", n, rest);
    } else if (!strncmp(golden, "mid", 3) && strncmp(golden, "mid_", 4)) {
        snprintf(buf, size, "mid_block%s", golden + 3);
    } else {
        snprintf(buf, size, "%s", golden);
    }
    if (strstr(buf, "motion_modules"))
        rename_part(buf, size, motion_renames, sizeof motion_renames / sizeof *motion_renames);
    else
        rename_part(buf, size, renames, sizeof renames / sizeof *renames);
    return true;
}

static bool only_half(const char *golden, char *buf, size_t size)
{
    snprintf(buf, size, "output");
    return !strcmp(golden, "output_f16_weights");
}

static int run(golden_file *g, ls_unet *u, const ls_compute *compute,
               bool (*names)(const char *, char *, size_t), ls_error *err)
{
    golden_input sample = {0}, audio = {0};
    const char *t = ls_weights_meta_text(g->w, "timestep");
    float timestep = t ? strtof(t, NULL) : 0, *x = NULL;
    int ret = golden_input_read(&sample, g, "input_sample", err);
    if (!ret)
        ret = golden_input_read(&audio, g, "input_audio", err);
    if (!ret && (!t || sample.ndim != 5 || audio.ndim != 3))
        ret = ls_fail(err, LS_EFORMAT, "%s: timestep or inputs are not as expected", g->path);
    if (!ret && !(x = ls_malloc_array(sample.count, sizeof *x)))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        const size_t *s = sample.shape; // b c f h w
        channels_last(x, sample.data, s[0], s[2], s[1], s[3] * s[4]);
        ls_unet_shape shape = {s[0], s[2], s[3], s[4], audio.shape[1]};
        const ls_binding inputs[] = {{"sample", x, sample.count * sizeof *x},
                                     {"timestep", &timestep, sizeof timestep},
                                     {"audio", audio.data, audio.count * sizeof *x}};
        static const char *const outputs[] = {"output", "output_f16_weights", NULL};
        ls_plan *plan;
        ls_network_stream(ls_unet_network(u), g->streamed);
        ret = ls_unet_prepare(u, &shape, LS_UNET_STEP_FULL, golden_has_more_than(g, outputs), &plan,
                              err);
        if (!ret)
            ret = golden_run(g, plan, compute->workspace, inputs, 3, s[0], names, err);
    }
    golden_input_free(&sample);
    golden_input_free(&audio);
    free(x);
    return ret;
}

int parity_unet(golden_file *g, const ls_compute *compute, ls_error *err)
{
    ls_unet *u = NULL;
    int ret = parity_open_unet(&u, g, compute, err);
    if (!ret)
        ret = run(g, u, compute, tap_name, err);
    ls_unet_close(&u);
    if (!ret && ls_weights_find(g->w, "output_f16_weights")) {
        ret = open_half(&u, g, compute, err);
        if (!ret)
            ret = run(g, u, compute, only_half, err);
        ls_unet_close(&u);
    }
    return ret;
}
