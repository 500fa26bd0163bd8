/* Mel-frequency cepstral coefficients of 16 kHz sound. Source: the defaults of
 * python_speech_features' mfcc(): windows of 25 ms every 10 ms without a taper, pre-emphasis 0.97,
 * 512 points, 26 triangles from 0 to 8 kHz on 2595 log10(1 + f / 700), orthonormal DCT, lifter 22,
 * the first coefficient replaced by the logarithm of the energy. Samples count as integers. */
#ifndef LS_MODELS_SYNCNET_MFCC_H
#define LS_MODELS_SYNCNET_MFCC_H

#include "models/whisper/log_mel.h"

#define LS_MFCC_COUNT 13 /* coefficients */

typedef struct ls_mfcc ls_mfcc;

/* `source` is copied; its `opaque` must outlive *out. LS_EFORMAT for a recording without samples.
 */
int ls_mfcc_open(ls_mfcc **out, const ls_pcm_source *source, ls_error *err);
void ls_mfcc_close(ls_mfcc **m);
/* Windows; the last one may be filled up with zeros. */
size_t ls_mfcc_frames(const ls_mfcc *m);
/* Windows [start, start + n), which exist, as [n, 13], time first. One thread at a time. */
int ls_mfcc_read(ls_mfcc *m, size_t start, size_t n, float *dst, ls_error *err);

#endif
