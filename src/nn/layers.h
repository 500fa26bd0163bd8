/* The layers of the networks, as functions that append ops to a graph. Every layer takes the name
 * of its module in the original's state_dict, under which it finds its weights and taps its output.
 * Activations are [N, H, W, C] with N = batch x frames. */
#ifndef LS_NN_LAYERS_H
#define LS_NN_LAYERS_H

#include "nn/params.h"

#define LS_NAME_MAX 200

typedef struct ls_nn {
    ls_graph *g;
    ls_params *params;
    size_t frames; /* frames of a batch row: N / batch */
    size_t groups; /* of the group norms: norm_num_groups */
} ls_nn;

/* printf into the caller's buffer; returns buf. */
const char *ls_nn_name(char buf[static LS_NAME_MAX], const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* torch.nn.Conv2d with a k x k weight and a bias. `bias`, if not NULL, replaces its own. */
ls_tensor *ls_nn_conv2d(ls_nn *nn, ls_tensor *x, size_t out_channels, size_t k, const char *name,
                        ls_tensor *bias, ls_tensor *residual, ls_conv attr);
/* torch.nn.Linear, in the dtype of x. */
ls_tensor *ls_nn_linear(ls_nn *nn, ls_tensor *x, size_t out_features, bool bias, const char *name,
                        ls_tensor *residual, ls_act act);
/* torch.nn.GroupNorm; `frames` rows of N share their statistics. */
ls_tensor *ls_nn_group_norm(ls_nn *nn, ls_tensor *x, size_t groups, size_t frames, float eps,
                            ls_act act, const char *name);
ls_tensor *ls_nn_layer_norm(ls_nn *nn, ls_tensor *x, const char *name, ls_tensor *pe);

typedef struct ls_nn_resnet {
    size_t out_channels;
    size_t frames; /* that share group norm statistics */
    float eps;
    ls_tensor *temb; /* silu(time embedding) [1, T], or NULL */
} ls_nn_resnet;

/* diffusers' ResnetBlock2D and the original's ResnetBlock3D. */
ls_tensor *ls_nn_resnet_block(ls_nn *nn, ls_tensor *x, const char *name, ls_nn_resnet attr);

/* diffusers' Attention without its residual: to_q, to_k, to_v, to_out.0 of y (and `context`, NULL
 * for self attention) plus `residual`. */
typedef struct ls_nn_attention {
    size_t heads;
    bool bias;       /* to_q, to_k and to_v have one */
    size_t temporal; /* frames to attend along, or 0 for the tokens of an image */
} ls_nn_attention;

ls_tensor *ls_nn_attend(ls_nn *nn, ls_tensor *y, ls_tensor *context, ls_tensor *residual,
                        const char *name, ls_nn_attention attr);

/* diffusers' FeedForward with GEGLU: ff.net.0.proj, ff.net.2; plus `residual`. */
ls_tensor *ls_nn_feed_forward(ls_nn *nn, ls_tensor *y, ls_tensor *residual, const char *name);

/* The original's Transformer3DModel: self attention in each frame, cross attention to `audio`
 * [N, S, D], feed forward. */
ls_tensor *ls_nn_transformer(ls_nn *nn, ls_tensor *x, ls_tensor *audio, size_t heads,
                             const char *name);

/* The original's VanillaTemporalModule: two attentions along the frames and a feed forward. `name`
 * is the module's ("..motion_modules.0"); `max_len` is the number of rows of its positional
 * encoding. */
ls_tensor *ls_nn_motion_module(ls_nn *nn, ls_tensor *x, size_t heads, size_t max_len,
                               const char *name);

#endif
