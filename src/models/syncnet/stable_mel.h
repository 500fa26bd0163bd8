/* The spectrogram that StableSyncNet hears: pre-emphasis 0.97, windows of 50 ms every 12.5 ms
 * around their middle, magnitudes in 80 mel bands from 55 to 7600 Hz, in dB from -80 to 20 as -4
 * to 4. Source: latentsync/utils/audio.py with configs/audio.yaml. */
#ifndef LS_MODELS_SYNCNET_STABLE_MEL_H
#define LS_MODELS_SYNCNET_STABLE_MEL_H

#include "models/whisper/log_mel.h"

typedef struct ls_stable_mel ls_stable_mel;

/* `source` is copied; its `opaque` must outlive *out. */
int ls_stable_mel_open(ls_stable_mel **out, const ls_pcm_source *source, ls_error *err);
void ls_stable_mel_close(ls_stable_mel **m);
/* Windows [start, start + n) as [n, 80], time first; before and after the recording it is silent.
 * One thread at a time. */
int ls_stable_mel_read(ls_stable_mel *m, int64_t start, size_t n, float *dst, ls_error *err);

#endif
