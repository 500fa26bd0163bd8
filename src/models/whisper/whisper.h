/* The audio encoder of OpenAI's Whisper, with every layer's output, which the original feeds to the
 * UNet. */
#ifndef LS_MODELS_WHISPER_WHISPER_H
#define LS_MODELS_WHISPER_WHISPER_H

#include "nn/network.h"

#define LS_WHISPER_MAX_LAYERS 64

/* Field names as in the checkpoint's "dims". */
typedef struct ls_whisper_config {
    size_t n_mels, n_audio_ctx, n_audio_state, n_audio_head, n_audio_layer;
} ls_whisper_config;

/* n_audio_head is the metadata "dims.n_audio_head" if present, otherwise n_audio_state / 64. */
int ls_whisper_config_detect(ls_whisper_config *c, const ls_weights *w, ls_error *err);
ls_whisper_config ls_whisper_config_tiny(void);
int ls_whisper_table(ls_params **out, const ls_whisper_config *c, ls_error *err);

typedef struct ls_whisper ls_whisper;

/* Takes ownership of *w, on success and on failure. The decoder's weights are ignored. */
int ls_whisper_open(ls_whisper **out, ls_weights **w, const ls_whisper_config *c,
                    const ls_compute *compute, ls_error *err);
void ls_whisper_close(ls_whisper **w);
ls_network *ls_whisper_network(ls_whisper *w);
const ls_whisper_config *ls_whisper_get_config(const ls_whisper *w);
int ls_whisper_prepare(ls_whisper *w, bool taps, ls_plan **plan, ls_error *err);
/* The array that "positional_embedding" is bound to, [n_audio_ctx, n_audio_state]. */
const float *ls_whisper_positions(const ls_whisper *w);

/* mel [2 * n_audio_ctx, n_mels], time first -> out [n_audio_ctx, n_audio_layer + 1, n_audio_state]:
 * for each position the input of the first block and the output of every block. */
int ls_whisper_encode(ls_whisper *w, const float *mel, float *out, const ls_cancel *cancel,
                      ls_error *err);

#endif
