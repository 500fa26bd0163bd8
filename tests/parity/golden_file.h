/* A golden file as the parity program sees it: inputs named in its metadata, tensors to be met. */
#ifndef LS_PARITY_GOLDEN_FILE_H
#define LS_PARITY_GOLDEN_FILE_H

#include "models/unet/unet.h"
#include "weights/weights.h"

#include <jansson.h>

typedef struct golden_file {
    ls_weights *w;
    const char *path;
    json_t *config; /* the metadata "config" or "dims", or NULL */
    bool low_gain, streamed;
    double tolerance;
    size_t compared, failed;
} golden_file;

/* An input that the metadata describes, as "input.sample [1,13,2,64,64] scale 1.0". */
typedef struct golden_input {
    char name[64];
    size_t ndim, shape[LS_MAX_DIMS], count;
    double scale;
    float *data; /* as the formula gives it, in the layout of the text */
} golden_input;

int golden_input_read(golden_input *in, const golden_file *g, const char *key, ls_error *err);
void golden_input_free(golden_input *in);

/* Compares `count` values of a tensor of the file, from `start` on, prints a line, counts. */
int golden_compare_part(golden_file *g, const ls_weight_info *t, size_t start, size_t count,
                        const float *values, ls_error *err);
int golden_compare(golden_file *g, const ls_weight_info *t, const float *values, ls_error *err);

/* [B, C, F, H, W] or [N, C, H, W] with n = B * F to [N, H, W, C], and back. */
void channels_last(float *dst, const float *src, size_t batch, size_t frames, size_t c, size_t hw);
void channels_first(float *dst, const float *src, size_t batch, size_t frames, size_t c, size_t hw);

/* Whether the file holds anything but the tensors of that list, which ends with NULL. */
bool golden_has_more_than(const golden_file *g, const char *const *outputs);

/* Runs `plan` with the given bindings and every tensor of the file whose name `tap_name` turns into
 * the name of an output or tap, and compares those. Tensors for which tap_name returns false are
 * left to the caller. */
int golden_run(golden_file *g, ls_plan *plan, ls_workspace *ws, const ls_binding *inputs,
               size_t count, size_t batch,
               bool (*tap_name)(const char *golden, char *buf, size_t size), ls_error *err);

int parity_unet(golden_file *g, const ls_compute *compute, ls_error *err);
int parity_vae(golden_file *g, const ls_compute *compute, ls_error *err);
int parity_whisper(golden_file *g, const ls_compute *compute, ls_error *err);
int parity_ddim_run(golden_file *g, const ls_compute *compute, ls_error *err);

/* The original's model configuration as JSON. */
int parity_unet_config(ls_unet_config *c, const json_t *j, ls_error *err);
/* A UNet with formula weights. */
int parity_open_unet(ls_unet **u, const golden_file *g, const ls_compute *compute, ls_error *err);

#endif
