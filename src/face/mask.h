/* The mask of what is generated in a face, and the pixels that go into and come out of the
 * networks. */
#ifndef LS_FACE_MASK_H
#define LS_FACE_MASK_H

#include "base/error.h"
#include <stddef.h>
#include <stdint.h>

/* Immutable after opening: any number of threads. */
typedef struct ls_mask ls_mask;

/* LatentSync's mask at `resolution` (see ls_resolution_valid). */
int ls_mask_open(ls_mask **out, size_t resolution, ls_error *err);
void ls_mask_close(ls_mask **m);

/* [R, R]: 255 keeps the pixel, 0 generates it. */
const uint8_t *ls_mask_pixels(const ls_mask *m);
/* [R/8, R/8]: every eighth mask pixel / 255, the mask channel of the UNet's input. */
const float *ls_mask_latent(const ls_mask *m);

/* Converts face [R, R, 3] RGB to the VAE's inputs [R, R, 3] in -1..1: `pixels` is the face,
 * `masked` the face with mid grey (0) where it is to be generated. Either may be NULL. */
void ls_mask_prepare(const ls_mask *m, const uint8_t *face, float *pixels, float *masked);

/* image = decoded * (1 - mask) + face * mask, all [R, R, 3]; image may be decoded. Not clamped. */
void ls_mask_composite(const ls_mask *m, float *image, const float *decoded, const uint8_t *face);

#endif
