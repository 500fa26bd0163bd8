#include "models/whisper/whisper.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct ls_whisper {
    ls_network *net;
    float *positions;  /* [n_audio_ctx, n_audio_state] */
    float *embeddings; /* [n_audio_layer + 1, n_audio_ctx, n_audio_state] */
};

/* torch.nn.Conv1d with kernel 3 and padding 1, then GELU. x [1, 1, T, C]. */
static ls_tensor *conv1d(ls_nn *nn, ls_tensor *x, size_t out, size_t stride, const char *name,
                         ls_tensor *residual)
{
    if (!x)
        return NULL;
    char m[LS_NAME_MAX];
    ls_tensor *w = ls_weight(nn->g, ls_params_get(nn->params, 3, (size_t[]){out, x->shape[3], 3},
                                                  ls_nn_name(m, "%s.weight", name)));
    ls_tensor *b = ls_weight(
        nn->g, ls_params_get(nn->params, 1, (size_t[]){out}, ls_nn_name(m, "%s.bias", name)));
    ls_conv attr = {.stride = stride, .pad = 1, .act = LS_ACT_GELU};
    ls_tensor *y = ls_conv2d(nn->g, x, w, b, residual, attr);
    attr.act = LS_ACT_NONE;
    if (ls_graph_taps(nn->g))
        ls_tap(nn->g, ls_conv2d(nn->g, x, w, b, NULL, attr), "%s", name);
    return y;
}

/* ResidualAttentionBlock. x [1, T, C]. */
static ls_tensor *block(ls_nn *nn, ls_tensor *x, size_t heads, const char *name)
{
    if (!x)
        return NULL;
    char m[LS_NAME_MAX];
    size_t c = x->shape[2];
    float scale = (float)(1 / sqrt((double)c / (double)heads));
    ls_tensor *y = ls_nn_layer_norm(nn, x, ls_nn_name(m, "%s.attn_ln", name), NULL);
    ls_tensor *q = ls_nn_linear(nn, y, c, true, ls_nn_name(m, "%s.attn.query", name), NULL, 0);
    ls_tensor *k = ls_nn_linear(nn, y, c, false, ls_nn_name(m, "%s.attn.key", name), NULL, 0);
    ls_tensor *v = ls_nn_linear(nn, y, c, true, ls_nn_name(m, "%s.attn.value", name), NULL, 0);
    ls_tensor *a = ls_attention(nn->g, q, k, v, heads, 0, scale);
    x = ls_nn_linear(nn, a, c, true, ls_nn_name(m, "%s.attn.out", name), x, 0);
    y = ls_nn_layer_norm(nn, x, ls_nn_name(m, "%s.mlp_ln", name), NULL);
    y = ls_nn_linear(nn, y, 4 * c, true, ls_nn_name(m, "%s.mlp.0", name), NULL, LS_ACT_GELU);
    x = ls_nn_linear(nn, y, c, true, ls_nn_name(m, "%s.mlp.2", name), x, 0);
    ls_tap(nn->g, x, "%s", name);
    return x;
}

static void build(const void *config, ls_nn *nn, const size_t key[LS_NETWORK_KEY])
{
    (void)key;
    const ls_whisper_config *c = config;
    ls_graph *g = nn->g;
    size_t t = c->n_audio_ctx, d = c->n_audio_state;
    char name[LS_NAME_MAX];
    nn->frames = 1;
    /* Weights in every checkpoint that no op uses: one is bound as an input, one is unused. */
    ls_params_get(nn->params, 2, (size_t[]){t, d}, "encoder.positional_embedding");
    ls_params_get(nn->params, 1, (size_t[]){d}, "encoder.ln_post.weight");
    ls_params_get(nn->params, 1, (size_t[]){d}, "encoder.ln_post.bias");
    ls_tensor *mel = ls_input(g, "mel", LS_F32, 4, (size_t[]){1, 1, 2 * t, c->n_mels});
    ls_tensor *pos = ls_input(g, "positional_embedding", LS_F32, 4, (size_t[]){1, 1, t, d});
    ls_tensor *x = conv1d(nn, ls_cast(g, mel, ls_graph_compute(g)), d, 1, "encoder.conv1", NULL);
    x = conv1d(nn, x, d, 2, "encoder.conv2", ls_cast(g, pos, ls_graph_compute(g)));
    ls_output(g, "embedding.0", ls_cast(g, x, LS_F32));
    if (x)
        x = ls_view(g, x, 3, (size_t[]){1, t, d});
    for (size_t i = 0; i < c->n_audio_layer; i++) {
        x = block(nn, x, c->n_audio_head, ls_nn_name(name, "encoder.blocks.%zu", i));
        ls_output(g, ls_nn_name(name, "embedding.%zu", i + 1), ls_cast(g, x, LS_F32));
    }
    if (ls_graph_taps(g))
        ls_nn_layer_norm(nn, x, "encoder.ln_post", NULL);
}

static const size_t table_key[LS_NETWORK_KEY];

int ls_whisper_table(ls_params **out, const ls_whisper_config *c, ls_error *err)
{
    return ls_network_table(out, c, build, table_key, err);
}

static bool ignored(const char *name)
{
    return !strncmp(name, "decoder.", 8);
}

ls_whisper_config ls_whisper_config_tiny(void)
{
    return (ls_whisper_config){80, 1500, 384, 6, 4};
}

int ls_whisper_config_detect(ls_whisper_config *c, const ls_weights *w, ls_error *err)
{
    *c = (ls_whisper_config){0};
    const ls_weight_info *conv = ls_weights_find(w, "encoder.conv1.weight");
    const ls_weight_info *pos = ls_weights_find(w, "encoder.positional_embedding");
    if (!conv || !pos || conv->ndim != 3 || pos->ndim != 2)
        return ls_fail(err, LS_ENOENT,
                       "%s: tensors encoder.conv1.weight and encoder.positional_embedding are "
                       "missing; this is not an OpenAI Whisper checkpoint",
                       ls_weights_path(w));
    c->n_mels = conv->shape[1];
    c->n_audio_state = conv->shape[0];
    c->n_audio_ctx = pos->shape[0];
    char name[LS_NAME_MAX];
    while (
        c->n_audio_layer < LS_WHISPER_MAX_LAYERS &&
        ls_weights_find(w, ls_nn_name(name, "encoder.blocks.%zu.attn_ln.weight", c->n_audio_layer)))
        c->n_audio_layer++;
    int64_t heads = (int64_t)(c->n_audio_state / 64);
    ls_weights_meta_int(w, "dims.n_audio_head", &heads);
    if (c->n_mels != 80 || c->n_audio_ctx != 1500 || c->n_audio_state > 4096 || !c->n_audio_layer)
        return ls_fail(err, LS_ESHAPE,
                       "%s: %zu mel bands, %zu positions, %zu layers; LatentSync needs a Whisper "
                       "encoder with 80 mel bands and 1500 positions (tiny or small)",
                       ls_weights_path(w), c->n_mels, c->n_audio_ctx, c->n_audio_layer);
    if (heads < 1 || heads > 4096 || c->n_audio_state % (size_t)heads)
        return ls_fail(err, LS_EFORMAT, "%s: %lld attention heads do not divide a width of %zu",
                       ls_weights_path(w), (long long)heads, c->n_audio_state);
    c->n_audio_head = (size_t)heads;
    return 0;
}

int ls_whisper_open(ls_whisper **out, ls_weights **w, const ls_whisper_config *c,
                    const ls_compute *compute, ls_error *err)
{
    static const ls_params_rules rules = {.ignore = ignored};
    *out = ls_calloc_array(1, sizeof **out);
    if (!*out) {
        ls_weights_close(w);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    int ret =
        ls_network_open(&(*out)->net, w, c, sizeof *c, build, table_key, &rules, compute, err);
    size_t shape[] = {c->n_audio_ctx, c->n_audio_state};
    if (!ret)
        ret = ls_network_read((*out)->net, "encoder.positional_embedding", 2, shape,
                              &(*out)->positions, err);
    if (!ret) {
        (*out)->embeddings = ls_malloc_array((c->n_audio_layer + 1) * shape[0] * shape[1],
                                             sizeof *(*out)->embeddings);
        if (!(*out)->embeddings)
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    if (ret)
        ls_whisper_close(out);
    return ret;
}

void ls_whisper_close(ls_whisper **w)
{
    if (!*w)
        return;
    ls_network_close(&(*w)->net);
    free((*w)->positions);
    free((*w)->embeddings);
    free(*w);
    *w = NULL;
}

ls_network *ls_whisper_network(ls_whisper *w)
{
    return w->net;
}

const ls_whisper_config *ls_whisper_get_config(const ls_whisper *w)
{
    return ls_network_config(w->net);
}

const float *ls_whisper_positions(const ls_whisper *w)
{
    return w->positions;
}

int ls_whisper_prepare(ls_whisper *w, bool taps, ls_plan **plan, ls_error *err)
{
    return ls_network_prepare(w->net, table_key, taps, plan, err);
}

int ls_whisper_encode(ls_whisper *w, const float *mel, float *out, const ls_cancel *cancel,
                      ls_error *err)
{
    const ls_whisper_config *c = ls_whisper_get_config(w);
    size_t t = c->n_audio_ctx, d = c->n_audio_state, layers = c->n_audio_layer + 1;
    ls_binding bindings[LS_WHISPER_MAX_LAYERS + 3] = {
        {"mel", (void *)mel, 2 * t * c->n_mels * sizeof(float)},
        {"positional_embedding", w->positions, t * d * sizeof(float)},
    };
    char names[LS_WHISPER_MAX_LAYERS + 1][32];
    for (size_t i = 0; i < layers; i++) {
        snprintf(names[i], sizeof names[i], "embedding.%zu", i);
        bindings[2 + i] = (ls_binding){names[i], w->embeddings + i * t * d, t * d * sizeof(float)};
    }
    int ret = ls_network_run(w->net, table_key, bindings, 2 + layers, cancel, err);
    for (size_t i = 0; !ret && i < layers; i++)
        for (size_t p = 0; p < t; p++)
            memcpy(out + (p * layers + i) * d, w->embeddings + (i * t + p) * d, d * sizeof *out);
    return ret;
}
