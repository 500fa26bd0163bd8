#include "models/vae/vae.h"

#include <math.h>
#include <stdio.h>

#define EPS 1e-6f
#define MAX_CHANNELS 16384

enum { KEY_DECODE, KEY_IMAGES, KEY_H, KEY_W, KEY_BOTH };

static const ls_conv k3 = {.stride = 1, .pad = 1}, k1 = {.stride = 1};

static ls_tensor *resnet(ls_nn *nn, ls_tensor *x, size_t out, const char *block, size_t j)
{
    char m[LS_NAME_MAX];
    return ls_nn_resnet_block(nn, x, ls_nn_name(m, "%s.resnets.%zu", block, j),
                              (ls_nn_resnet){out, 1, EPS, NULL});
}

static ls_tensor *mid_block(ls_nn *nn, ls_tensor *x, const char *name)
{
    if (!x)
        return NULL;
    char m[LS_NAME_MAX], n[LS_NAME_MAX];
    size_t c = x->shape[3];
    x = resnet(nn, x, c, name, 0);
    ls_nn_name(m, "%s.attentions.0", name);
    ls_tensor *y =
        ls_nn_group_norm(nn, x, nn->groups, 1, EPS, LS_ACT_NONE, ls_nn_name(n, "%s.group_norm", m));
    x = ls_nn_attend(nn, y, NULL, x, m, (ls_nn_attention){.heads = 1, .bias = true});
    ls_tap(nn->g, x, "%s", m);
    x = resnet(nn, x, c, name, 1);
    ls_tap(nn->g, x, "%s", name);
    return x;
}

static ls_tensor *norm_out(ls_nn *nn, ls_tensor *x, size_t out, const char *name)
{
    char m[LS_NAME_MAX];
    x = ls_nn_group_norm(nn, x, nn->groups, 1, EPS, LS_ACT_SILU,
                         ls_nn_name(m, "%s.conv_norm_out", name));
    return ls_nn_conv2d(nn, x, out, 3, ls_nn_name(m, "%s.conv_out", name), NULL, NULL, k3);
}

static void encoder(const ls_vae_config *c, ls_nn *nn, const size_t *key)
{
    ls_graph *g = nn->g;
    char block[LS_NAME_MAX], m[LS_NAME_MAX];
    size_t up = (size_t)1 << (c->blocks - 1);
    ls_tensor *x =
        ls_input(g, "image", LS_F32, 4,
                 (size_t[]){key[KEY_IMAGES], key[KEY_H] * up, key[KEY_W] * up, c->in_channels});
    x = ls_nn_conv2d(nn, ls_cast(g, x, ls_graph_compute(g)), c->block_out_channels[0], 3,
                     "encoder.conv_in", NULL, NULL, k3);
    for (size_t i = 0; i < c->blocks; i++) {
        ls_nn_name(block, "encoder.down_blocks.%zu", i);
        for (size_t j = 0; j < c->layers_per_block; j++)
            x = resnet(nn, x, c->block_out_channels[i], block, j);
        if (i + 1 < c->blocks)
            x = ls_nn_conv2d(nn, x, c->block_out_channels[i], 3,
                             ls_nn_name(m, "%s.downsamplers.0.conv", block), NULL, NULL,
                             (ls_conv){.stride = 2, .pad = 1, .pad_end_only = true});
        ls_tap(g, x, "%s", block);
    }
    x = mid_block(nn, x, "encoder.mid_block");
    x = norm_out(nn, x, 2 * c->latent_channels, "encoder");
    x = ls_nn_conv2d(nn, x, 2 * c->latent_channels, 1, "quant_conv", NULL, NULL, k1);
    ls_output(g, "moments", ls_cast(g, x, LS_F32));
}

static void decoder(const ls_vae_config *c, ls_nn *nn, const size_t *key)
{
    ls_graph *g = nn->g;
    char block[LS_NAME_MAX], m[LS_NAME_MAX];
    ls_tensor *x =
        ls_input(g, "latent", LS_F32, 4,
                 (size_t[]){key[KEY_IMAGES], key[KEY_H], key[KEY_W], c->latent_channels});
    x = ls_nn_conv2d(nn, ls_cast(g, x, ls_graph_compute(g)), c->latent_channels, 1,
                     "post_quant_conv", NULL, NULL, k1);
    x = ls_nn_conv2d(nn, x, c->block_out_channels[c->blocks - 1], 3, "decoder.conv_in", NULL, NULL,
                     k3);
    x = mid_block(nn, x, "decoder.mid_block");
    for (size_t i = 0; i < c->blocks; i++) {
        size_t out = c->block_out_channels[c->blocks - 1 - i];
        ls_nn_name(block, "decoder.up_blocks.%zu", i);
        for (size_t j = 0; j <= c->layers_per_block; j++)
            x = resnet(nn, x, out, block, j);
        if (i + 1 < c->blocks && x) {
            x = ls_upsample(g, x, 2 * x->shape[1], 2 * x->shape[2]);
            x = ls_nn_conv2d(nn, x, out, 3, ls_nn_name(m, "%s.upsamplers.0.conv", block), NULL,
                             NULL, k3);
        }
        ls_tap(g, x, "%s", block);
    }
    x = norm_out(nn, x, c->in_channels, "decoder");
    ls_output(g, "decoded", ls_cast(g, x, LS_F32));
}

static void build(const void *config, ls_nn *nn, const size_t key[LS_NETWORK_KEY])
{
    const ls_vae_config *c = config;
    nn->frames = 1;
    nn->groups = c->norm_num_groups;
    if (!key[KEY_DECODE] || key[KEY_BOTH])
        encoder(c, nn, key);
    if (key[KEY_DECODE] || key[KEY_BOTH])
        decoder(c, nn, key);
}

static const size_t table_key[LS_NETWORK_KEY] = {0, 1, 1, 1, true};

int ls_vae_table(ls_params **out, const ls_vae_config *c, ls_error *err)
{
    return ls_network_table(out, c, build, table_key, err);
}

/* The published sd-vae-ft-mse files use the attention names of early diffusers. */
static bool old_attention_name(const char *name, size_t k, char *buf, size_t size)
{
    static const char *const names[][2] = {{".to_q.", ".query."},
                                           {".to_k.", ".key."},
                                           {".to_v.", ".value."},
                                           {".to_out.0.", ".proj_attn."}};
    for (size_t i = 0; k == 0 && i < sizeof names / sizeof *names; i++) {
        const char *at = strstr(name, names[i][0]);
        if (at) {
            snprintf(buf, size, "%.*s%s%s", (int)(at - name), name, names[i][1],
                     at + strlen(names[i][0]));
            return true;
        }
    }
    return false;
}

ls_vae_config ls_vae_config_full(void)
{
    return (ls_vae_config){.in_channels = 3,
                           .latent_channels = 4,
                           .blocks = 4,
                           .block_out_channels = {128, 256, 512, 512},
                           .layers_per_block = 2,
                           .norm_num_groups = 32};
}

int ls_vae_config_detect(ls_vae_config *c, const ls_weights *w, ls_error *err)
{
    *c = (ls_vae_config){0};
    const ls_weight_info *in = ls_weights_find(w, "encoder.conv_in.weight");
    const ls_weight_info *latent = ls_weights_find(w, "decoder.conv_in.weight");
    if (!in || !latent || in->ndim != 4 || latent->ndim != 4)
        return ls_fail(err, LS_ENOENT,
                       "%s: tensors encoder.conv_in.weight and decoder.conv_in.weight are missing; "
                       "this is not an AutoencoderKL checkpoint",
                       ls_weights_path(w));
    c->in_channels = in->shape[1];
    c->latent_channels = latent->shape[1];
    char name[LS_NAME_MAX];
    bool sane = c->in_channels <= 16 && c->latent_channels <= 64;
    for (; c->blocks < LS_VAE_MAX_BLOCKS; c->blocks++) {
        const ls_weight_info *t = ls_weights_find(
            w, ls_nn_name(name, "encoder.down_blocks.%zu.resnets.0.conv1.weight", c->blocks));
        if (!t)
            break;
        c->block_out_channels[c->blocks] = t->ndim == 4 ? t->shape[0] : 0;
        sane = sane && t->ndim == 4 && t->shape[0] <= MAX_CHANNELS;
    }
    while (c->layers_per_block < 8 &&
           ls_weights_find(w, ls_nn_name(name, "encoder.down_blocks.0.resnets.%zu.conv1.weight",
                                         c->layers_per_block)))
        c->layers_per_block++;
    int64_t groups = c->block_out_channels[0] >= 64 ? 32 : 8;
    ls_weights_meta_int(w, "norm_num_groups", &groups);
    if (!sane || !c->blocks || !c->layers_per_block || groups < 1 || groups > MAX_CHANNELS)
        return ls_fail(err, LS_ESHAPE, "%s: these are not the shapes of an AutoencoderKL",
                       ls_weights_path(w));
    c->norm_num_groups = (size_t)groups;
    return 0;
}

int ls_vae_open(ls_vae **out, ls_weights **w, const ls_vae_config *c, const ls_compute *compute,
                ls_error *err)
{
    static const ls_params_rules rules = {.alias = old_attention_name};
    return ls_network_open(out, w, c, sizeof *c, build, table_key, &rules, compute, err);
}

void ls_vae_close(ls_vae **v)
{
    ls_network_close(v);
}

ls_network *ls_vae_network(ls_vae *v)
{
    return v;
}

const ls_vae_config *ls_vae_get_config(const ls_vae *v)
{
    return ls_network_config(v);
}

int ls_vae_prepare(ls_vae *v, bool decode, size_t images, size_t h, size_t w, bool taps,
                   ls_plan **plan, ls_error *err)
{
    return ls_network_prepare(v, (size_t[LS_NETWORK_KEY]){decode, images, h, w}, taps, plan, err);
}

static int run(ls_vae *v, bool decode, size_t images, size_t h, size_t w,
               const ls_binding *bindings, const ls_cancel *cancel, ls_error *err)
{
    return ls_network_run(v, (size_t[LS_NETWORK_KEY]){decode, images, h, w}, bindings, 2, cancel,
                          err);
}

static size_t image_bytes(const ls_vae *v, size_t images, size_t h, size_t w)
{
    const ls_vae_config *c = ls_vae_get_config(v);
    size_t up = (size_t)1 << (c->blocks - 1);
    return images * h * up * w * up * c->in_channels * sizeof(float);
}

int ls_vae_encode(ls_vae *v, size_t images, size_t h, size_t w, const float *image, float *moments,
                  const ls_cancel *cancel, ls_error *err)
{
    size_t c = ls_vae_get_config(v)->latent_channels;
    const ls_binding bindings[] = {
        {"image", (void *)image, image_bytes(v, images, h, w)},
        {"moments", moments, images * h * w * 2 * c * sizeof(float)},
    };
    return run(v, false, images, h, w, bindings, cancel, err);
}

int ls_vae_decode(ls_vae *v, size_t images, size_t h, size_t w, const float *z, float *image,
                  const ls_cancel *cancel, ls_error *err)
{
    size_t c = ls_vae_get_config(v)->latent_channels;
    const ls_binding bindings[] = {
        {"latent", (void *)z, images * h * w * c * sizeof(float)},
        {"decoded", image, image_bytes(v, images, h, w)},
    };
    return run(v, true, images, h, w, bindings, cancel, err);
}

void ls_vae_sample(const float *moments, const float *noise, size_t pixels, size_t c, float *sample)
{
    for (size_t p = 0; p < pixels; p++) {
        const float *m = moments + p * 2 * c;
        for (size_t i = 0; i < c; i++) {
            float logvar = fminf(fmaxf(m[c + i], -30.0f), 20.0f);
            sample[p * c + i] = m[i] + expf(0.5f * logvar) * noise[p * c + i];
        }
    }
}
