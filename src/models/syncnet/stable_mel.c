#include "models/syncnet/stable_mel.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define WINDOW 800
#define HOP 200
#define PREEMPHASIS 0.97
#define LEAST_DB (-100.0) /* of a magnitude */
#define REFERENCE_DB 20.0
#define RANGE 4.0f

struct ls_stable_mel {
    ls_pcm_source source;
    ls_mel_bank bank;
};

int ls_stable_mel_open(ls_stable_mel **out, const ls_pcm_source *source, ls_error *err)
{
    ls_stable_mel *m = *out = ls_calloc_array(1, sizeof *m);
    if (!m)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    m->source = *source;
    ls_mel_bank_init(&m->bank, WINDOW, 55, 7600);
    return 0;
}

void ls_stable_mel_close(ls_stable_mel **m)
{
    free(*m);
    *m = NULL;
}

/* The window of samples around `middle`; pcm[0] is the sample before it. */
static int read_window(ls_stable_mel *m, int64_t middle, int16_t pcm[WINDOW + 1], ls_error *err)
{
    const int64_t begin = middle - WINDOW / 2 - 1, end = begin + WINDOW + 1,
                  samples = (int64_t)m->source.samples, from = begin < 0 ? 0 : begin,
                  to = end < samples ? end : samples;
    return from < to ? m->source.read(m->source.opaque, (uint64_t)from, (size_t)(to - from),
                                      pcm + (from - begin), err)
                     : 0;
}

static float normalize(double magnitude)
{
    const double db = 20 * log10(fmax(magnitude, pow(10, LEAST_DB / 20))) - REFERENCE_DB;
    return fmaxf((float)(2 * (db - LEAST_DB) / -LEAST_DB - 1), -1) * RANGE;
}

int ls_stable_mel_read(ls_stable_mel *m, int64_t start, size_t n, float *dst, ls_error *err)
{
    int ret = 0;
    for (size_t t = 0; !ret && t < n; t++) {
        const int64_t middle = (start + (int64_t)t) * HOP;
        int16_t pcm[WINDOW + 1] = {0};
        double x[WINDOW], bands[LS_MEL_BANDS];
        ret = read_window(m, middle, pcm, err);
        for (int64_t i = 0; i < WINDOW; i++)
            x[i] = middle - WINDOW / 2 + i < (int64_t)m->source.samples
                       ? (pcm[i + 1] - PREEMPHASIS * pcm[i]) / 32768
                       : 0;
        ls_mel_bank_run(&m->bank, x, true, bands);
        for (size_t i = 0; i < LS_MEL_BANDS; i++)
            *dst++ = normalize(bands[i]);
    }
    return ret;
}
