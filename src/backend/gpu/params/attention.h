/* Attention, for the host and the kernels. */
#ifndef LS_GPU_PARAMS_ATTENTION_H
#define LS_GPU_PARAMS_ATTENTION_H

#ifndef __CUDA__
#include <stddef.h>
#include <stdint.h>
#endif

/* A sequence is one image's tokens, or, along the frames, one token of each of a row's images: its
 * rows are `step` rows of a tensor apart, 1 or the number of tokens. Sequence s begins at row
 * s / step * step * length + s % step. */
typedef struct attention_params {
    const uint16_t *q, *k, *v; /* rows of `channels`, the heads side by side */
    uint16_t *out;
    uint32_t *bad;
    uint32_t channels, heads, width; /* width: of a head */
    uint32_t sequences, step, queries, keys;
    float scale; /* > 0; of powers of 2 */
} attention_params;

/* Rows of halves in shared memory: an odd number of chunks of 16 bytes each, so that eight chunks
 * one below the other are in different banks. */
#define ATTENTION_PITCH(width) (((width) / 8 | 1) * 8)

/* attention_W: heads of widths up to W. A block has so many queries of one head of a sequence, and
 * takes so many keys at a time: name, W, 16s of queries of a warp, keys, whether widths may be odd:
 * no multiple of 8. */
#define ATTENTION_KERNELS(X)                                                                       \
    X(attention_16, 16, 2, 64, true)                                                               \
    X(attention_40, 40, 2, 64, false)                                                              \
    X(attention_64, 64, 2, 64, false)                                                              \
    X(attention_80, 80, 2, 32, false)                                                              \
    X(attention_160, 160, 1, 32, false)                                                            \
    X(attention_odd, 160, 1, 32, true)
#define ATTENTION_WARPS 4u
#define ATTENTION_QUERIES(tiles) (ATTENTION_WARPS * (tiles)*16)
/* Two stages of keys and values; the queries are in the place of the second at first. */
#define ATTENTION_SHARED(width, tiles, keys)                                                       \
    ((size_t)ATTENTION_PITCH(width) * 2 *                                                          \
     ((keys)*2 + ((keys)*2 > ATTENTION_QUERIES(tiles) ? (keys)*2 : ATTENTION_QUERIES(tiles))))

/* attention_wide: widths up to 512, none odd. */
#define ATTENTION_WIDE_WIDTH 512u
#define ATTENTION_WIDE_WARPS 8u
#define ATTENTION_WIDE_QUERIES 64u
#define ATTENTION_WIDE_KEYS 16u
#define ATTENTION_WIDE_SHARED                                                                      \
    (ATTENTION_PITCH(ATTENTION_WIDE_WIDTH) * ATTENTION_WIDE_KEYS * 2 * 2 +                         \
     ATTENTION_WIDE_QUERIES * (4 * ATTENTION_WIDE_KEYS * 4 + ATTENTION_PITCH(16) * 2 + 4))

/* attention_short_T: sequences of up to T rows, queries and keys alike, such as those along the
 * frames; a warp has one head of one. */
#define ATTENTION_SHORT_WARPS 4u

#endif
