/* Whisper's log-mel spectrogram of a whole recording, read in pieces. Source: whisper/audio.py,
 * log_mel_spectrogram. */
#ifndef LS_MODELS_WHISPER_LOG_MEL_H
#define LS_MODELS_WHISPER_LOG_MEL_H

#include "base/cancel.h"
#include "base/error.h"
#include "models/whisper/mel_bank.h"

#include <stddef.h>
#include <stdint.h>

/* 16 kHz mono samples with random access. */
typedef struct ls_pcm_source {
    uint64_t samples;
    /* Writes samples [start, start + n), which lie within the recording. */
    int (*read)(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err);
    void *opaque;
} ls_pcm_source;

typedef struct ls_log_mel ls_log_mel;

/* Reads the recording once to find its loudest value, which sets the floor everywhere. LS_EFORMAT
 * for 200 samples or fewer: too short to reflect at the ends. `source` is copied; its `opaque` must
 * outlive *out. Memory does not depend on the length. */
int ls_log_mel_open(ls_log_mel **out, const ls_pcm_source *source, const ls_cancel *cancel,
                    ls_error *err);
void ls_log_mel_close(ls_log_mel **m);

/* Frames of 10 ms: floor(samples / 160). */
size_t ls_log_mel_frames(const ls_log_mel *m);
/* The least value there is: 80 dB below the loudest. 1 is 40 dB. */
float ls_log_mel_floor(const ls_log_mel *m);

/* Frames [start, start + n) as [n, 80], time first; frames past the end are zero, as the original
 * pads windows. One thread at a time. */
int ls_log_mel_read(ls_log_mel *m, size_t start, size_t n, float *dst, ls_error *err);

/* log10 of the largest power in any band. */
float ls_log_mel_loudest(const ls_log_mel *m);
/* What ls_log_mel_read writes in every band where the samples are 0. */
float ls_log_mel_silence(const ls_log_mel *m);

#endif
