#include "models/syncnet/stable_syncnet.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GROUPS 32
#define HEADS 8
#define EPSILON 1e-6f
#define SIDE LS_STABLE_SYNCNET_RESOLUTION
#define MOST_CHANNELS 4096

enum { BOTH, LIPS, SOUND }; /* what a graph has: the first number of its key */

struct ls_stable_syncnet {
    ls_workspace workspace;
    ls_network *net;
    float *input; /* of either */
};

static size_t columns_of(size_t frames)
{
    return (frames * 16 + 4) / 5; // 80 a second
}

static size_t width_of(const ls_stable_syncnet_encoder *e)
{
    return e->blocks[e->count - 1].channels;
}

typedef struct picture {
    size_t h, w, channels;
} picture;

static picture picture_of(const ls_stable_syncnet_config *c, bool visual)
{
    return visual ? (picture){SIDE / 2, SIDE, 3 * c->frames}
                  : (picture){LS_MEL_BANDS, columns_of(c->frames), 1};
}

/* The strides of a block that halves are not in the weights: those of the published layouts
 * (configs/syncnet/). Both pictures come to one pixel. */
static void strides_of(const ls_stable_syncnet_config *c, bool visual, size_t block,
                       size_t strides[2])
{
    const ls_stable_syncnet_encoder *e = visual ? &c->visual : &c->audio;
    size_t first = 0, last = e->count - 1;
    while (first < last && !e->blocks[first].halves)
        first++;
    while (last > first && !e->blocks[last].halves)
        last--;
    strides[0] = strides[1] = 2;
    if (visual && block == first)
        strides[0] = 1;
    if (!visual && c->frames == 16 && block == first)
        strides[1] = 1;
    else if (!visual && c->frames == 16 && block == last)
        strides[1] = 3;
}

static ls_tensor *halve(ls_nn *nn, ls_tensor *x, const size_t strides[2], const char *block)
{
    if (!x)
        return NULL;
    char name[LS_NAME_MAX];
    const size_t c = x->shape[3], shape[4] = {c, c, 3, 3};
    const ls_window window = {.kernel = {3, 3},
                              .stride = {strides[0], strides[1]},
                              .pad = {strides[0] == 1, strides[1] == 1, 1, 1}};
    ls_nn_name(name, "%s.downsample_conv.weight", block);
    ls_tensor *w = ls_weight(nn->g, ls_params_get(nn->params, 4, shape, name));
    ls_nn_name(name, "%s.downsample_conv.bias", block);
    ls_tensor *b = ls_weight(nn->g, ls_params_get(nn->params, 1, shape, name));
    return ls_conv2d_grouped(nn->g, x, w, b, NULL, &window, 1, LS_ACT_NONE, false);
}

static ls_tensor *attend(ls_nn *nn, ls_tensor *x, const char *block)
{
    if (!x)
        return NULL;
    char m[LS_NAME_MAX];
    const ls_conv k1 = {.stride = 1};
    const size_t c = x->shape[3];
    ls_tensor *h =
        ls_nn_group_norm(nn, x, GROUPS, 1, EPSILON, LS_ACT_NONE, ls_nn_name(m, "%s.norm1", block));
    h = ls_nn_conv2d(nn, h, c, 1, ls_nn_name(m, "%s.conv_in", block), NULL, NULL, k1);
    ls_tensor *y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.norm2", block), NULL);
    h = ls_nn_attend(nn, y, NULL, h, ls_nn_name(m, "%s.attn", block),
                     (ls_nn_attention){.heads = HEADS, .bias = true});
    y = ls_nn_layer_norm(nn, h, ls_nn_name(m, "%s.norm3", block), NULL);
    h = ls_nn_feed_forward(nn, y, h, ls_nn_name(m, "%s.ff", block));
    return ls_nn_conv2d(nn, h, c, 1, ls_nn_name(m, "%s.conv_out", block), NULL, x, k1);
}

static void encode(ls_nn *nn, const ls_stable_syncnet_config *c, bool visual)
{
    char name[LS_NAME_MAX], m[LS_NAME_MAX];
    const char *side = visual ? "visual_encoder" : "audio_encoder";
    const ls_stable_syncnet_encoder *e = visual ? &c->visual : &c->audio;
    const picture p = picture_of(c, visual);
    const ls_conv k3 = {.stride = 1, .pad = 1};
    ls_tensor *x =
        ls_input(nn->g, visual ? "faces" : "mel", LS_F32, 4, (size_t[]){1, p.h, p.w, p.channels});
    x = ls_nn_conv2d(nn, x, e->blocks[0].channels, 3, ls_nn_name(m, "%s.conv_in", side), NULL, NULL,
                     k3);
    for (size_t i = 0, module = 0; i < e->count; i++) {
        const ls_stable_syncnet_block *b = &e->blocks[i];
        size_t strides[2];
        strides_of(c, visual, i, strides);
        ls_nn_name(name, "%s.down_blocks.%zu", side, module++);
        x = ls_nn_resnet_block(
            nn, x, name, (ls_nn_resnet){.out_channels = b->channels, .frames = 1, .eps = EPSILON});
        if (b->halves)
            x = halve(nn, x, strides, name);
        if (b->attends)
            x = attend(nn, x, ls_nn_name(name, "%s.down_blocks.%zu", side, module++));
    }
    x = ls_nn_group_norm(nn, x, GROUPS, 1, EPSILON, LS_ACT_RELU,
                         ls_nn_name(m, "%s.norm_out", side));
    ls_output(nn->g, visual ? "lips" : "sound", x);
}

static void build(const void *config, ls_nn *nn, const size_t key[LS_NETWORK_KEY])
{
    nn->frames = 1;
    nn->groups = GROUPS;
    if (key[0] != SOUND)
        encode(nn, config, true);
    if (key[0] != LIPS)
        encode(nn, config, false);
}

static const size_t table_key[LS_NETWORK_KEY] = {BOTH};

int ls_stable_syncnet_table(ls_params **out, const ls_stable_syncnet_config *c, ls_error *err)
{
    return ls_network_table(out, c, build, table_key, err);
}

bool ls_stable_syncnet_is(const ls_weights *w)
{
    return ls_weights_find(w, "visual_encoder.conv_in.weight") ||
           ls_weights_find(w, "audio_encoder.conv_in.weight");
}

static const ls_weight_info *find(const ls_weights *w, const char *side, size_t module,
                                  const char *what)
{
    char name[LS_NAME_MAX];
    return ls_weights_find(w, ls_nn_name(name, "%s.down_blocks.%zu.%s", side, module, what));
}

static int detect_blocks(ls_stable_syncnet_encoder *e, const ls_weights *w, const char *side,
                         ls_error *err)
{
    const ls_weight_info *conv;
    for (size_t module = 0;; module++) {
        if (e->count && find(w, side, module, "attn.to_q.weight")) {
            e->blocks[e->count - 1].attends = true;
            continue;
        }
        if (e->count == LS_STABLE_SYNCNET_MOST_BLOCKS ||
            !(conv = find(w, side, module, "conv1.weight")))
            break;
        if (conv->ndim != 4 || !conv->shape[0] || conv->shape[0] % GROUPS ||
            conv->shape[0] > MOST_CHANNELS)
            return ls_fail(err, LS_ESHAPE,
                           "%s: tensor %s has %zu output channels; a multiple of %d up to %d is "
                           "expected",
                           ls_weights_path(w), conv->name, conv->ndim ? conv->shape[0] : 0, GROUPS,
                           MOST_CHANNELS);
        e->blocks[e->count].channels = conv->shape[0];
        e->blocks[e->count++].halves = find(w, side, module, "downsample_conv.weight");
    }
    return e->count ? 0
                    : ls_fail(err, LS_ENOENT,
                              "%s: tensor %s.down_blocks.0.conv1.weight is missing; this is no "
                              "StableSyncNet",
                              ls_weights_path(w), side);
}

static int check_size(const ls_stable_syncnet_config *c, const ls_weights *w, bool visual,
                      ls_error *err)
{
    const ls_stable_syncnet_encoder *e = visual ? &c->visual : &c->audio;
    const picture p = picture_of(c, visual);
    size_t size[2] = {p.h, p.w}, strides[2];
    bool fits = true;
    for (size_t i = 0; i < e->count; i++) {
        strides_of(c, visual, i, strides);
        for (size_t k = 0; k < 2 && e->blocks[i].halves; k++) {
            const size_t padded = size[k] + (strides[k] == 1);
            fits &= padded >= 2;
            size[k] = fits ? (padded - 2) / strides[k] + 1 : 0;
        }
    }
    return fits && size[0] == 1 && size[1] == 1
               ? 0
               : ls_fail(err, LS_ESHAPE,
                         "%s: the %zu blocks of the %s encoder do not reduce %zu x %zu to one "
                         "point; this StableSyncNet has an unknown layout",
                         ls_weights_path(w), e->count, visual ? "visual" : "audio", p.h, p.w);
}

static int detect_frames(ls_stable_syncnet_config *c, const ls_weights *w, ls_error *err)
{
    static const char name[] = "visual_encoder.conv_in.weight";
    const ls_weight_info *conv = ls_weights_find(w, name);
    if (!conv || conv->ndim != 4)
        return ls_fail(err, LS_ENOENT, "%s: tensor %s is missing; this is no StableSyncNet",
                       ls_weights_path(w), name);
    c->frames = conv->shape[1] / 3;
    return conv->shape[1] == 3 * 16 || conv->shape[1] == 3 * 25
               ? 0
               : ls_fail(err, LS_ESHAPE,
                         "%s: tensor %s takes %zu channels; a StableSyncNet of pictures takes 48 "
                         "(16 frames) or 75 (25), one of latents is not supported",
                         ls_weights_path(w), name, conv->shape[1]);
}

int ls_stable_syncnet_detect(ls_stable_syncnet_config *c, const ls_weights *w, ls_error *err)
{
    *c = (ls_stable_syncnet_config){0};
    int ret = detect_frames(c, w, err);
    if (!ret)
        ret = detect_blocks(&c->visual, w, "visual_encoder", err);
    if (!ret)
        ret = detect_blocks(&c->audio, w, "audio_encoder", err);
    if (!ret && width_of(&c->visual) != width_of(&c->audio))
        ret = ls_fail(err, LS_ESHAPE,
                      "%s: the embeddings of lips and sound have %zu and %zu numbers; they must be "
                      "equally many",
                      ls_weights_path(w), width_of(&c->visual), width_of(&c->audio));
    if (!ret)
        ret = check_size(c, w, true, err);
    return ret ? ret : check_size(c, w, false, err);
}

static int open_net(ls_stable_syncnet *s, ls_weights **w, int threads, ls_error *err)
{
    ls_stable_syncnet_config c;
    int ret = ls_stable_syncnet_detect(&c, *w, err);
    if (!ret)
        ret = ls_workspace_open(&s->workspace, "cpu", threads, err);
    if (ret)
        return ret;
    const ls_compute compute = {&s->workspace, LS_F32};
    const picture p = picture_of(&c, true); // the larger one
    ret = ls_network_open(&s->net, w, &c, sizeof c, build, table_key, NULL, &compute, err);
    if (!ret && !(s->input = ls_malloc_array(p.h * p.w * p.channels, sizeof *s->input)))
        ret = ls_fail(err, LS_ENOMEM, "out of memory for StableSyncNet");
    return ret;
}

int ls_stable_syncnet_open(ls_stable_syncnet **out, ls_weights **w, int threads, ls_error *err)
{
    ls_stable_syncnet *s = *out = ls_calloc_array(1, sizeof *s);
    int ret = s ? open_net(s, w, threads, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    ls_weights_close(w);
    if (ret)
        ls_stable_syncnet_close(out);
    return ret;
}

void ls_stable_syncnet_close(ls_stable_syncnet **ps)
{
    ls_stable_syncnet *s = *ps;
    if (!s)
        return;
    ls_network_close(&s->net);
    ls_workspace_close(&s->workspace);
    free(s->input);
    free(s);
    *ps = NULL;
}

ls_network *ls_stable_syncnet_network(ls_stable_syncnet *s)
{
    return s->net;
}

static const ls_stable_syncnet_config *config_of(const ls_stable_syncnet *s)
{
    return ls_network_config(s->net);
}

size_t ls_stable_syncnet_frames(const ls_stable_syncnet *s)
{
    return config_of(s)->frames;
}

size_t ls_stable_syncnet_columns(const ls_stable_syncnet *s)
{
    return columns_of(config_of(s)->frames);
}

size_t ls_stable_syncnet_width(const ls_stable_syncnet *s)
{
    return width_of(&config_of(s)->visual);
}

static int run(ls_stable_syncnet *s, bool visual, float *out, const ls_cancel *cancel,
               ls_error *err)
{
    const size_t key[LS_NETWORK_KEY] = {visual ? LIPS : SOUND}, n = ls_stable_syncnet_width(s);
    const picture p = picture_of(config_of(s), visual);
    const ls_binding bindings[] = {
        {visual ? "faces" : "mel", s->input, p.h * p.w * p.channels * sizeof(float)},
        {visual ? "lips" : "sound", out, n * sizeof *out}};
    int ret = ls_network_run(s->net, key, bindings, LS_COUNT(bindings), cancel, err);
    double sum = 0;
    for (size_t i = 0; !ret && i < n; i++)
        sum += (double)out[i] * (double)out[i];
    if (!ret && !(sum > 0 && isfinite(sum)))
        return ls_fail(err, LS_EMODEL,
                       "%s: the network's results are zero or not finite; the weights are damaged",
                       ls_weights_path(ls_network_weights(s->net)));
    for (size_t i = 0; !ret && i < n; i++)
        out[i] = (float)((double)out[i] / fmax(sqrt(sum), 1e-12));
    return ret;
}

int ls_stable_syncnet_lips(ls_stable_syncnet *s, const uint8_t *const *faces, float *out,
                           const ls_cancel *cancel, ls_error *err)
{
    const size_t frames = ls_stable_syncnet_frames(s);
    float *to = s->input;
    for (size_t i = 0; i < LS_STABLE_SYNCNET_FACE; i += 3)
        for (size_t t = 0; t < frames; t++)
            for (size_t c = 0; c < 3; c++)
                *to++ = (float)faces[t][i + c] / 127.5f - 1;
    return run(s, true, out, cancel, err);
}

int ls_stable_syncnet_sound(ls_stable_syncnet *s, const float *mel, float *out,
                            const ls_cancel *cancel, ls_error *err)
{
    const size_t columns = ls_stable_syncnet_columns(s);
    for (size_t t = 0; t < columns; t++)
        for (size_t i = 0; i < LS_MEL_BANDS; i++)
            s->input[i * columns + t] = mel[t * LS_MEL_BANDS + i];
    return run(s, false, out, cancel, err);
}
