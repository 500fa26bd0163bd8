/* The encoders that a job may name, and how each is told of preset and quality. */
#ifndef LS_MEDIA_ENCODER_TABLE_H
#define LS_MEDIA_ENCODER_TABLE_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define LS_PRESETS                                                                                 \
    10 /* x264's, from ultrafast to placebo, which every encoder with presets has                  \
        */
#define LS_QUICK_PRESETS                                                                           \
    2 /* of these, whose look-ahead is shorter than what others are held to                        \
       */

typedef enum ls_quality {
    LS_QUALITY_FIXED,  /* lossless, or its own choice */
    LS_QUALITY_CRF,    /* crf, on the encoder's own scale, to the option `crf` */
    LS_QUALITY_SCALE,  /* a quantizer that is about as fine as x264's at this crf */
    LS_QUALITY_BITRATE /* a bit rate for about the quality of x264 at this crf */
} ls_quality;

typedef struct ls_encoder_row {
    const char *name; /* in libavcodec */
    ls_quality quality;
    int8_t crf_least, crf_most;
    const char *crf;
    const char *preset;               /* the option that takes presets; NULL: it has none */
    const char *preset_prefix;        /* of a number; NULL: it takes the names */
    int8_t number[LS_PRESETS];        /* of the names */
    int8_t number_least, number_most; /* that may be given instead of a name */
    uint16_t
        held[LS_PRESETS]; /* memory with each preset, in frames of what it is given; 0: unknown */
    uint8_t base;         /* and in MB, for pictures of any size */
    const char *options, *quick_options; /* "key=value,key=value"; of quick presets */
    bool is_hardware;                    /* works on some machines only */
    bool must_end; /* waits forever when it is freed before it was sent a picture and the end */
} ls_encoder_row;

/* The i-th; NULL past the last. */
const ls_encoder_row *ls_encoder_row_at(int i);
/* NULL: not one of them, or libavcodec lacks it. */
const ls_encoder_row *ls_encoder_row_find(const char *name);
/* Checks preset and crf; LS_EINVAL says what there is. */
int ls_encoder_row_check(const ls_encoder_row *r, const char *preset, int crf, ls_error *err);
/* Index of the preset; for a number, that of a name no faster than it. -1: there is none such. */
int ls_encoder_preset(const ls_encoder_row *r, const char *preset);
/* What the row's option is set to for a preset that it has: `preset` itself or text in `buf`. */
const char *ls_encoder_preset_value(const ls_encoder_row *r, const char *preset, char buf[16]);

#endif
