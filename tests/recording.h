/* A recording in memory as the log-mel front end reads one. */
#ifndef LS_RECORDING_H
#define LS_RECORDING_H

#include "test.h"

#include "models/whisper/log_mel.h"

typedef struct recording {
    const int16_t *pcm;
    size_t samples;
} recording;

static inline int read_pcm(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    (void)err;
    const recording *r = opaque;
    assert_true(start + n <= r->samples);
    memcpy(dst, r->pcm + start, n * sizeof *dst);
    return 0;
}

#endif
