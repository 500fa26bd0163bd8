/* Mel spectra of 16 kHz sound: 80 bands with Slaney's scale and areas (librosa.filters.mel), under
 * a periodic Hann window. */
#ifndef LS_MODELS_WHISPER_MEL_BANK_H
#define LS_MODELS_WHISPER_MEL_BANK_H

#include <stdbool.h>
#include <stddef.h>

#define LS_MEL_BANDS 80
#define LS_MEL_DIRECT 25 /* points transformed without splitting */
#define LS_MEL_MOST (32 * LS_MEL_DIRECT)
#define LS_MEL_MOST_BINS (LS_MEL_MOST / 2 + 1)

typedef struct ls_mel_cplx {
    double re, im;
} ls_mel_cplx;

typedef struct ls_mel_bank {
    size_t points;
    double window[LS_MEL_MOST];
    ls_mel_cplx twiddle[LS_MEL_MOST]; /* exp(-2 pi i k / points) */
    ls_mel_cplx direct[LS_MEL_DIRECT][LS_MEL_DIRECT / 2 + 1];
    float filters[LS_MEL_BANDS][LS_MEL_MOST_BINS];
    size_t first[LS_MEL_BANDS], last[LS_MEL_BANDS]; /* bins of each filter; `last` is exclusive */
} ls_mel_bank;

/* `points` is LS_MEL_DIRECT times a power of two, up to LS_MEL_MOST; the bands reach from `lowest`
 * to `highest`, in Hz. */
void ls_mel_bank_init(ls_mel_bank *b, size_t points, double lowest, double highest);
/* samples [points], which the window is applied to in place: the power in each band, or, with
 * `magnitude`, the sum of the bins' magnitudes. */
void ls_mel_bank_run(const ls_mel_bank *b, double *samples, bool magnitude,
                     double bands[LS_MEL_BANDS]);

#endif
