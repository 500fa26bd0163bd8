#include "nn/layers.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#define ATTENTION_EPS 1e-6f
#define MOTION_GROUPS 32 /* hard-wired in the original, whatever norm_num_groups is */
#define LAYER_NORM_EPS 1e-5f

const char *ls_nn_name(char buf[static LS_NAME_MAX], const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(buf, LS_NAME_MAX, fmt, ap);
    va_end(ap);
    return buf;
}

static ls_tensor *weight(ls_nn *nn, const char *module, const char *leaf, size_t ndim,
                         const size_t *shape)
{
    char name[LS_NAME_MAX];
    return ls_weight(
        nn->g, ls_params_get(nn->params, ndim, shape, ls_nn_name(name, "%s.%s", module, leaf)));
}

static size_t channels(const ls_tensor *x)
{
    return x->shape[x->ndim - 1];
}

/* Whether to tap the module's own output separately: the main path fuses more into its op. */
static bool wants_plain_tap(const ls_nn *nn, bool fused)
{
    return fused && ls_graph_taps(nn->g);
}

ls_tensor *ls_nn_conv2d(ls_nn *nn, ls_tensor *x, size_t out_channels, size_t k, const char *name,
                        ls_tensor *bias, ls_tensor *residual, ls_conv attr)
{
    if (!x)
        return NULL;
    ls_tensor *w = weight(nn, name, "weight", 4, (size_t[]){out_channels, channels(x), k, k});
    ls_tensor *b = weight(nn, name, "bias", 1, (size_t[]){out_channels});
    ls_tensor *y = ls_conv2d(nn->g, x, w, bias ? bias : b, residual, attr);
    bool fused = bias || residual || attr.act;
    attr.act = LS_ACT_NONE;
    ls_tap(nn->g, wants_plain_tap(nn, fused) ? ls_conv2d(nn->g, x, w, b, NULL, attr) : y, "%s",
           name);
    return y;
}

ls_tensor *ls_nn_linear(ls_nn *nn, ls_tensor *x, size_t out_features, bool bias, const char *name,
                        ls_tensor *residual, ls_act act)
{
    if (!x)
        return NULL;
    ls_tensor *w = weight(nn, name, "weight", 2, (size_t[]){out_features, channels(x)});
    ls_tensor *b = bias ? weight(nn, name, "bias", 1, (size_t[]){out_features}) : NULL;
    ls_tensor *y = ls_linear(nn->g, x, w, b, residual, act, x->dtype);
    ls_tap(nn->g,
           wants_plain_tap(nn, residual || act)
               ? ls_linear(nn->g, x, w, b, NULL, LS_ACT_NONE, x->dtype)
               : y,
           "%s", name);
    return y;
}

ls_tensor *ls_nn_group_norm(ls_nn *nn, ls_tensor *x, size_t groups, size_t frames, float eps,
                            ls_act act, const char *name)
{
    if (!x)
        return NULL;
    ls_tensor *w = weight(nn, name, "weight", 1, (size_t[]){channels(x)});
    ls_tensor *b = weight(nn, name, "bias", 1, (size_t[]){channels(x)});
    ls_tensor *y = ls_group_norm(nn->g, x, w, b, groups, frames, eps, act);
    ls_tap(nn->g,
           wants_plain_tap(nn, act)
               ? ls_group_norm(nn->g, x, w, b, groups, frames, eps, LS_ACT_NONE)
               : y,
           "%s", name);
    return y;
}

ls_tensor *ls_nn_layer_norm(ls_nn *nn, ls_tensor *x, const char *name, ls_tensor *pe)
{
    if (!x)
        return NULL;
    ls_tensor *w = weight(nn, name, "weight", 1, (size_t[]){channels(x)});
    ls_tensor *b = weight(nn, name, "bias", 1, (size_t[]){channels(x)});
    ls_tensor *y = ls_layer_norm(nn->g, x, w, b, LAYER_NORM_EPS, pe, nn->frames);
    ls_tap(nn->g, y, "%s", name);
    return y;
}

/* conv1's bias plus the projected time embedding: one vector, since there is one timestep. */
static ls_tensor *time_bias(ls_nn *nn, const char *name, const ls_nn_resnet *attr)
{
    if (!attr->temb)
        return NULL;
    char m[LS_NAME_MAX];
    ls_nn_name(m, "%s.time_emb_proj", name);
    size_t c = attr->out_channels;
    ls_tensor *w = weight(nn, m, "weight", 2, (size_t[]){c, channels(attr->temb)});
    ls_tensor *b = weight(nn, m, "bias", 1, (size_t[]){c});
    if (ls_graph_taps(nn->g))
        ls_tap(nn->g, ls_linear(nn->g, attr->temb, w, b, NULL, LS_ACT_NONE, LS_F32), "%s", m);
    ls_tensor *conv_bias = weight(nn, ls_nn_name(m, "%s.conv1", name), "bias", 1, (size_t[]){c});
    return ls_linear(nn->g, attr->temb, w, b, conv_bias, LS_ACT_NONE, LS_F32); // [1, C]
}

ls_tensor *ls_nn_resnet_block(ls_nn *nn, ls_tensor *x, const char *name, ls_nn_resnet attr)
{
    if (!x)
        return NULL;
    char m[LS_NAME_MAX];
    const ls_conv k3 = {.stride = 1, .pad = 1}, k1 = {.stride = 1};
    ls_tap(nn->g, x, "%s.in", name);
    ls_tensor *h = ls_nn_group_norm(nn, x, nn->groups, attr.frames, attr.eps, LS_ACT_SILU,
                                    ls_nn_name(m, "%s.norm1", name));
    ls_tensor *bias = time_bias(nn, name, &attr);
    h = ls_nn_conv2d(nn, h, attr.out_channels, 3, ls_nn_name(m, "%s.conv1", name), bias, NULL, k3);
    h = ls_nn_group_norm(nn, h, nn->groups, attr.frames, attr.eps, LS_ACT_SILU,
                         ls_nn_name(m, "%s.norm2", name));
    if (channels(x) != attr.out_channels)
        x = ls_nn_conv2d(nn, x, attr.out_channels, 1, ls_nn_name(m, "%s.conv_shortcut", name), NULL,
                         NULL, k1);
    h = ls_nn_conv2d(nn, h, attr.out_channels, 3, ls_nn_name(m, "%s.conv2", name), NULL, x, k3);
    ls_tap(nn->g, h, "%s", name);
    return h;
}

/* [N, H, W, C] or [N, T, C] as [N, H * W, C]. */
static ls_tensor *as_tokens(ls_nn *nn, ls_tensor *x)
{
    if (!x || x->ndim == 3)
        return x;
    return ls_view(nn->g, x, 3, (size_t[]){x->shape[0], x->shape[1] * x->shape[2], x->shape[3]});
}

ls_tensor *ls_nn_attend(ls_nn *nn, ls_tensor *y, ls_tensor *context, ls_tensor *residual,
                        const char *name, ls_nn_attention attr)
{
    if (!y)
        return NULL;
    char m[LS_NAME_MAX];
    size_t c = channels(y);
    ls_tensor *kv = context ? context : y;
    ls_tensor *q = ls_nn_linear(nn, y, c, attr.bias, ls_nn_name(m, "%s.to_q", name), NULL, 0);
    ls_tensor *k = ls_nn_linear(nn, kv, c, attr.bias, ls_nn_name(m, "%s.to_k", name), NULL, 0);
    ls_tensor *v = ls_nn_linear(nn, kv, c, attr.bias, ls_nn_name(m, "%s.to_v", name), NULL, 0);
    float scale = (float)(1 / sqrt((double)c / (double)attr.heads));
    ls_tensor *a = ls_attention(nn->g, as_tokens(nn, q), as_tokens(nn, k), as_tokens(nn, v),
                                attr.heads, attr.temporal, scale);
    if (a)
        a = ls_view(nn->g, a, y->ndim, y->shape);
    return ls_nn_linear(nn, a, c, true, ls_nn_name(m, "%s.to_out.0", name), residual, 0);
}

ls_tensor *ls_nn_feed_forward(ls_nn *nn, ls_tensor *y, ls_tensor *residual, const char *name)
{
    if (!y)
        return NULL;
    char m[LS_NAME_MAX];
    size_t c = channels(y);
    ls_tensor *h = ls_nn_linear(nn, y, 8 * c, true, ls_nn_name(m, "%s.net.0.proj", name), NULL, 0);
    return ls_nn_linear(nn, ls_geglu(nn->g, h), c, true, ls_nn_name(m, "%s.net.2", name), residual,
                        0);
}

ls_tensor *ls_nn_transformer(ls_nn *nn, ls_tensor *x, ls_tensor *audio, size_t heads,
                             const char *name)
{
    if (!x)
        return NULL;
    char block[LS_NAME_MAX], m[LS_NAME_MAX];
    const ls_conv k1 = {.stride = 1};
    size_t c = channels(x);
    ls_nn_name(block, "%s.transformer_blocks.0", name);
    ls_tap(nn->g, x, "%s.in", name);
    ls_tensor *h = ls_nn_group_norm(nn, x, nn->groups, 1, ATTENTION_EPS, LS_ACT_NONE,
                                    ls_nn_name(m, "%s.norm", name));
    h = ls_nn_conv2d(nn, h, c, 1, ls_nn_name(m, "%s.proj_in", name), NULL, NULL, k1);
    ls_tensor *y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.norm1", block), NULL);
    h = ls_nn_attend(nn, y, NULL, h, ls_nn_name(m, "%s.attn1", block),
                     (ls_nn_attention){.heads = heads});
    y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.norm2", block), NULL);
    h = ls_nn_attend(nn, y, audio, h, ls_nn_name(m, "%s.attn2", block),
                     (ls_nn_attention){.heads = heads});
    y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.norm3", block), NULL);
    h = ls_nn_feed_forward(nn, y, h, ls_nn_name(m, "%s.ff", block));
    ls_tap(nn->g, h, "%s", block);
    h = ls_nn_conv2d(nn, h, c, 1, ls_nn_name(m, "%s.proj_out", name), NULL, x, k1);
    ls_tap(nn->g, h, "%s", name);
    return h;
}

ls_tensor *ls_nn_motion_module(ls_nn *nn, ls_tensor *x, size_t heads, size_t max_len,
                               const char *name)
{
    if (!x)
        return NULL;
    char t[LS_NAME_MAX], block[LS_NAME_MAX], m[LS_NAME_MAX];
    size_t c = channels(x);
    ls_nn_name(t, "%s.temporal_transformer", name);
    ls_nn_name(block, "%s.transformer_blocks.0", t);
    ls_tap(nn->g, x, "%s.in", name);
    ls_tensor *h = ls_nn_group_norm(nn, x, MOTION_GROUPS, 1, ATTENTION_EPS, LS_ACT_NONE,
                                    ls_nn_name(m, "%s.norm", t));
    h = ls_nn_linear(nn, h, c, true, ls_nn_name(m, "%s.proj_in", t), NULL, 0);
    for (int i = 0; i < 2; i++) {
        ls_tensor *pe = weight(nn, ls_nn_name(m, "%s.attention_blocks.%d.pos_encoder", block, i),
                               "pe", 3, (size_t[]){1, max_len, c});
        ls_tensor *y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.norms.%d", block, i), pe);
        h = ls_nn_attend(nn, y, NULL, h, ls_nn_name(m, "%s.attention_blocks.%d", block, i),
                         (ls_nn_attention){.heads = heads, .temporal = nn->frames});
    }
    ls_tensor *y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.ff_norm", block), NULL);
    h = ls_nn_feed_forward(nn, y, h, ls_nn_name(m, "%s.ff", block));
    h = ls_nn_linear(nn, h, c, true, ls_nn_name(m, "%s.proj_out", t), x, 0);
    ls_tap(nn->g, h, "%s", name);
    return h;
}
