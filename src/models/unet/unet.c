#include "models/unet/unet.h"

#define RESNET_EPS 1e-5f

/* Indices into a network's key. */
enum { KEY_BATCH, KEY_FRAMES, KEY_H, KEY_W, KEY_TOKENS, KEY_STEP };

typedef struct builder {
    const ls_unet_config *c;
    ls_nn *nn;
    ls_tensor *temb, *audio;
    ls_tensor *skips[LS_UNET_MAX_BLOCKS * 8];
    size_t skip_count;
} builder;

static ls_tensor *resnet(builder *b, ls_tensor *x, size_t out, const char *block, size_t j)
{
    char m[LS_NAME_MAX];
    return ls_nn_resnet_block(b->nn, x, ls_nn_name(m, "%s.resnets.%zu", block, j),
                              (ls_nn_resnet){out, b->nn->frames, RESNET_EPS, b->temb});
}

/* The attentions after a resnet in a layer. */
static ls_tensor *attend(builder *b, ls_tensor *x, bool cross, bool motion, const char *block,
                         size_t j)
{
    char m[LS_NAME_MAX];
    size_t heads = b->c->num_attention_heads;
    if (cross)
        x = ls_nn_transformer(b->nn, x, b->audio, heads,
                              ls_nn_name(m, "%s.attentions.%zu", block, j));
    if (motion)
        x = ls_nn_motion_module(b->nn, x, heads, b->c->temporal_position_encoding_max_len,
                                ls_nn_name(m, "%s.motion_modules.%zu", block, j));
    return x;
}

static ls_tensor *down_block(builder *b, ls_tensor *x, size_t i)
{
    const ls_unet_config *c = b->c;
    char block[LS_NAME_MAX], m[LS_NAME_MAX];
    ls_nn_name(block, "down_blocks.%zu", i);
    for (size_t j = 0; j < c->layers_per_block; j++) {
        x = resnet(b, x, c->block_out_channels[i], block, j);
        x = attend(b, x, c->down_cross_attn[i], c->down_motion[i], block, j);
        b->skips[b->skip_count++] = x;
    }
    if (i + 1 < c->blocks) {
        ls_nn_name(m, "%s.downsamplers.0.conv", block);
        ls_tap(b->nn->g, x, "%s.in", m);
        x = ls_nn_conv2d(b->nn, x, c->block_out_channels[i], 3, m, NULL, NULL,
                         (ls_conv){.stride = 2, .pad = 1});
        b->skips[b->skip_count++] = x;
    }
    ls_tap(b->nn->g, x, "%s", block);
    return x;
}

static ls_tensor *mid_block(builder *b, ls_tensor *x)
{
    size_t out = b->c->block_out_channels[b->c->blocks - 1];
    x = resnet(b, x, out, "mid_block", 0);
    x = attend(b, x, true, b->c->mid_motion, "mid_block", 0);
    x = resnet(b, x, out, "mid_block", 1);
    ls_tap(b->nn->g, x, "mid_block");
    return x;
}

/* A step with a cache computes only the last layer of the last up block. */
static ls_tensor *up_layer(builder *b, ls_tensor *x, ls_tensor *skip, size_t i, size_t j)
{
    const ls_unet_config *c = b->c;
    char block[LS_NAME_MAX];
    ls_nn_name(block, "up_blocks.%zu", i);
    x = resnet(b, ls_concat(b->nn->g, x, skip), c->block_out_channels[c->blocks - 1 - i], block, j);
    return attend(b, x, c->up_cross_attn[i], c->up_motion[i], block, j);
}

static ls_tensor *up_block(builder *b, ls_tensor *x, size_t i, bool store)
{
    const ls_unet_config *c = b->c;
    bool last = i + 1 == c->blocks;
    char m[LS_NAME_MAX];
    for (size_t j = 0; j <= c->layers_per_block; j++) {
        if (last && j == c->layers_per_block && store) {
            ls_output(b->nn->g, "cache", x);
            ls_resident(x);
        }
        x = up_layer(b, x, b->skips[--b->skip_count], i, j);
    }
    if (!last) {
        const ls_tensor *next = b->skips[b->skip_count - 1];
        ls_nn_name(m, "up_blocks.%zu.upsamplers.0.conv", i);
        ls_tap(b->nn->g, x, "%s.in", m);
        if (x && next)
            x = ls_upsample(b->nn->g, x, next->shape[1], next->shape[2]);
        x = ls_nn_conv2d(b->nn, x, c->block_out_channels[c->blocks - 1 - i], 3, m, NULL, NULL,
                         (ls_conv){.stride = 1, .pad = 1});
    }
    ls_tap(b->nn->g, x, "up_blocks.%zu", i);
    return x;
}

/* silu(temb): every resnet projects this. */
static ls_tensor *time_embedding(builder *b, ls_tensor *t)
{
    size_t c0 = b->c->block_out_channels[0];
    ls_graph *g = b->nn->g;
    ls_tensor *e = ls_timestep(g, t, c0);
    ls_tap(g, e, "time_proj");
    e = ls_cast(g, e, ls_graph_compute(g));
    e = ls_nn_linear(b->nn, e, 4 * c0, true, "time_embedding.linear_1", NULL, LS_ACT_SILU);
    e = ls_nn_linear(b->nn, e, 4 * c0, true, "time_embedding.linear_2", NULL, LS_ACT_SILU);
    return e;
}

static void build(const void *config, ls_nn *nn, const size_t key[LS_NETWORK_KEY])
{
    const ls_unet_config *c = config;
    ls_graph *g = nn->g;
    ls_dtype compute = ls_graph_compute(g);
    nn->frames = key[KEY_FRAMES];
    nn->groups = c->norm_num_groups;
    builder b = {.c = c, .nn = nn};
    size_t n = key[KEY_BATCH] * key[KEY_FRAMES], c0 = c->block_out_channels[0];
    ls_tensor *sample =
        ls_input(g, "sample", LS_F32, 4, (size_t[]){n, key[KEY_H], key[KEY_W], c->in_channels});
    ls_tensor *t = ls_input(g, "timestep", LS_F32, 1, (size_t[]){1});
    ls_tensor *audio =
        ls_input(g, "audio", LS_F32, 3, (size_t[]){n, key[KEY_TOKENS], c->cross_attention_dim});
    ls_resident(audio);
    b.audio = ls_cast(g, audio, compute);
    b.temb = time_embedding(&b, t);
    ls_tensor *x = ls_nn_conv2d(nn, ls_cast(g, sample, compute), c0, 3, "conv_in", NULL, NULL,
                                (ls_conv){.stride = 1, .pad = 1});
    if (key[KEY_STEP] == LS_UNET_STEP_REUSE) {
        size_t shape[] = {n, key[KEY_H], key[KEY_W], c0};
        ls_tensor *cache = ls_input(g, "cache", compute, 4, shape);
        ls_resident(cache);
        x = up_layer(&b, cache, x, c->blocks - 1, c->layers_per_block);
    } else {
        b.skips[b.skip_count++] = x;
        for (size_t i = 0; i < c->blocks; i++)
            x = down_block(&b, x, i);
        x = mid_block(&b, x);
        for (size_t i = 0; i < c->blocks; i++)
            x = up_block(&b, x, i, key[KEY_STEP] == LS_UNET_STEP_STORE);
    }
    x = ls_nn_group_norm(nn, x, nn->groups, nn->frames, RESNET_EPS, LS_ACT_SILU, "conv_norm_out");
    x = ls_nn_conv2d(nn, x, c->out_channels, 3, "conv_out", NULL, NULL,
                     (ls_conv){.stride = 1, .pad = 1});
    ls_output(g, "output", ls_cast(g, x, LS_F32));
}

/* Any shape that the skips divide evenly; the table does not depend on it. */
static void table_key(size_t key[LS_NETWORK_KEY], const ls_unet_config *c)
{
    size_t side = (size_t)1 << (c->blocks - 1);
    memcpy(key, (size_t[LS_NETWORK_KEY]){1, 1, side, side, 1, LS_UNET_STEP_FULL},
           LS_NETWORK_KEY * sizeof *key);
}

int ls_unet_table(ls_params **out, const ls_unet_config *c, ls_error *err)
{
    size_t key[LS_NETWORK_KEY];
    table_key(key, c);
    return ls_network_table(out, c, build, key, err);
}

int ls_unet_open(ls_unet **out, ls_weights **w, const ls_unet_config *c, const ls_compute *compute,
                 ls_error *err)
{
    size_t key[LS_NETWORK_KEY];
    table_key(key, c);
    return ls_network_open(out, w, c, sizeof *c, build, key, NULL, compute, err);
}

void ls_unet_close(ls_unet **u)
{
    ls_network_close(u);
}

ls_network *ls_unet_network(ls_unet *u)
{
    return u;
}

const ls_unet_config *ls_unet_get_config(const ls_unet *u)
{
    return ls_network_config(u);
}

size_t ls_unet_cache_bytes(const ls_unet *u, const ls_unet_shape *s)
{
    return s->batch * s->frames * s->h * s->w * ls_unet_get_config(u)->block_out_channels[0] *
           ls_dtype_size(ls_network_dtype(u));
}

int ls_unet_prepare(ls_unet *u, const ls_unet_shape *s, ls_unet_step step, bool taps,
                    ls_plan **plan, ls_error *err)
{
    const size_t key[LS_NETWORK_KEY] = {s->batch, s->frames, s->h, s->w, s->audio_tokens, step};
    return ls_network_prepare(u, key, taps, plan, err);
}

int ls_unet_run(ls_unet *u, const ls_unet_shape *s, ls_unet_step step, float timestep,
                const float *sample, const float *audio, float *out, void *cache,
                const ls_cancel *cancel, ls_error *err)
{
    const ls_unet_config *c = ls_unet_get_config(u);
    const size_t key[LS_NETWORK_KEY] = {s->batch, s->frames, s->h, s->w, s->audio_tokens, step};
    size_t n = s->batch * s->frames, f = sizeof(float);
    const ls_binding bindings[] = {
        {"sample", (void *)sample, n * s->h * s->w * c->in_channels * f},
        {"timestep", &timestep, f},
        {"audio", (void *)audio, n * s->audio_tokens * c->cross_attention_dim * f},
        {"output", out, n * s->h * s->w * c->out_channels * f},
        {"cache", cache, ls_unet_cache_bytes(u, s)},
    };
    return ls_network_run(u, key, bindings, step == LS_UNET_STEP_FULL ? 4 : 5, cancel, err);
}
