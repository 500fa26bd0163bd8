/* Where speech is liveliest: the part of a recording that shows most of how lips follow it. */
#ifndef LS_PIPELINE_LIVELY_H
#define LS_PIPELINE_LIVELY_H

#include "models/whisper/log_mel.h"

/* The chunks of a job that windows are made of. */
typedef struct ls_lively_chunks {
    uint64_t first, end;
    uint64_t window; /* how many a window has; all of them, where there are no more */
    /* When a chunk begins, in seconds of the recording; does not fall, and `end` is asked for too.
     */
    double (*seconds)(const void *opaque, uint64_t chunk);
    const void *opaque;
} ls_lively_chunks;

typedef struct ls_lively_window {
    uint64_t first; /* its first chunk */
    double score;   /* dB that its bands change by, summed over the steps of 40 ms */
} ls_lively_window;

#define LS_LIVELY_SECTIONS 8

/* The liveliest windows that begin in each of LS_LIVELY_SECTIONS equal sections, from the liveliest
 * to the dullest, the earlier first where they are equal; without those that overlap with a
 * livelier one. How lively a step is: the mean change since the one before of six bands between 200
 * Hz and 4.5 kHz, in dB of their mean log-mel power, 50 dB below the recording's peak counting as
 * silence. So neither silence nor a steady sound is lively, and noise hardly is.
 *
 * Memory depends on `window` alone. */
int ls_lively_find(ls_lively_window found[LS_LIVELY_SECTIONS], size_t *count, ls_log_mel *mel,
                   const ls_lively_chunks *chunks, const ls_cancel *cancel, ls_error *err);

#endif
