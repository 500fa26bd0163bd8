/* Embeddings of lips compared with those of the sound, window by window, at each lag. */
#ifndef LS_PIPELINE_CHECK_SOUND_H
#define LS_PIPELINE_CHECK_SOUND_H

#include "base/cancel.h"
#include "base/error.h"
#include "pipeline/lag.h"

/* The embedding of a window of sound, which may begin before the recording or end after it. */
typedef int ls_check_hear(void *opaque, int64_t window, float *embedding, const ls_cancel *cancel,
                          ls_error *err);
typedef double ls_check_distance(const float *lips, const float *sound, size_t width);

/* The windows around the one of the lips, each heard once. */
typedef struct ls_check_sound {
    ls_check_hear *hear;
    ls_check_distance *distance;
    void *opaque; /* hear's */
    size_t width;
    float *ring;  /* window i is at i % LS_LAGS */
    int64_t next; /* to hear */
} ls_check_sound;

/* `s` has hear, distance, opaque and width. */
int ls_check_sound_open(ls_check_sound *s, ls_error *err);
void ls_check_sound_close(ls_check_sound *s);

/* Adds the distances of `lips` at window `window`, which is at least 0 and after the one before. */
int ls_check_sound_compare(ls_check_sound *s, int64_t window, const float *lips, ls_lag_sum *sum,
                           const ls_cancel *cancel, ls_error *err);

#endif
