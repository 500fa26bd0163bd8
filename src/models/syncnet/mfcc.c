#include "models/syncnet/mfcc.h"
#include "base/alloc.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>

#define RATE 16000
#define WINDOW 400
#define HOP 160
#define POINTS 512
#define BINS (POINTS / 2 + 1)
#define FILTERS 26
#define PREEMPHASIS 0.97
#define LIFTER 22.0

typedef struct cplx {
    double re, im;
} cplx;

struct ls_mfcc {
    ls_pcm_source source;
    cplx twiddle[POINTS / 2]; /* exp(-2 pi i k / 512) */
    size_t edge[FILTERS + 2]; /* bins where the triangles begin, peak and end */
    double dct[LS_MFCC_COUNT][FILTERS];
};

static double hz_of_mel(double mel)
{
    return 700 * (pow(10, mel / 2595) - 1);
}

int ls_mfcc_open(ls_mfcc **out, const ls_pcm_source *source, ls_error *err)
{
    *out = NULL;
    if (!source->samples)
        return ls_fail(err, LS_EFORMAT, "the sound has no samples");
    ls_mfcc *m = *out = ls_calloc_array(1, sizeof *m);
    if (!m)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    m->source = *source;
    for (int k = 0; k < POINTS / 2; k++)
        m->twiddle[k] = (cplx){cos(2 * M_PI * k / POINTS), -sin(2 * M_PI * k / POINTS)};
    const double top = 2595 * log10(1 + RATE / 2 / 700.0);
    for (int i = 0; i < FILTERS + 2; i++)
        m->edge[i] = (size_t)floor((POINTS + 1) * hz_of_mel(top * i / (FILTERS + 1)) / RATE);
    for (int k = 0; k < LS_MFCC_COUNT; k++)
        for (int i = 0; i < FILTERS; i++)
            m->dct[k][i] = sqrt((k ? 2.0 : 1.0) / FILTERS) *
                           cos(M_PI * k * (2 * i + 1) / (2.0 * FILTERS)) *
                           (1 + LIFTER / 2 * sin(M_PI * k / LIFTER));
    return 0;
}

void ls_mfcc_close(ls_mfcc **m)
{
    free(*m);
    *m = NULL;
}

size_t ls_mfcc_frames(const ls_mfcc *m)
{
    const uint64_t n = m->source.samples;
    return n > WINDOW ? (size_t)((n - WINDOW + HOP - 1) / HOP + 1) : 1;
}

/* Decimation in time; x is real. */
static void fft(const ls_mfcc *m, const double *x, size_t stride, size_t n, cplx *y)
{
    if (n == 1) {
        y[0] = (cplx){x[0], 0};
        return;
    }
    const size_t half = n / 2;
    fft(m, x, 2 * stride, half, y);
    fft(m, x + stride, 2 * stride, half, y + half);
    for (size_t k = 0; k < half; k++) {
        const cplx t = m->twiddle[k * (POINTS / n)], a = y[k], b = y[half + k];
        const cplx c = {b.re * t.re - b.im * t.im, b.re * t.im + b.im * t.re};
        y[k] = (cplx){a.re + c.re, a.im + c.im};
        y[half + k] = (cplx){a.re - c.re, a.im - c.im};
    }
}

static double or_least(double x)
{
    return x > 0 ? x : DBL_EPSILON;
}

static double filtered(const ls_mfcc *m, const double power[BINS], int i)
{
    const size_t begin = m->edge[i], peak = m->edge[i + 1], end = m->edge[i + 2];
    double sum = 0;
    for (size_t k = begin; k < peak; k++)
        sum += power[k] * (double)(k - begin) / (double)(peak - begin);
    for (size_t k = peak; k < end; k++)
        sum += power[k] * (double)(end - k) / (double)(end - peak);
    return or_least(sum);
}

/* `pcm` begins with the sample before the window; the first one of a recording has a zero there. */
static void transform(const ls_mfcc *m, const int16_t pcm[WINDOW + 1], size_t have, float *out)
{
    double x[POINTS] = {0}, power[BINS], energy = 0, logs[FILTERS];
    cplx y[POINTS];
    for (size_t i = 0; i < have; i++)
        x[i] = pcm[i + 1] - PREEMPHASIS * pcm[i];
    fft(m, x, 1, POINTS, y);
    for (int k = 0; k < BINS; k++) {
        power[k] = (y[k].re * y[k].re + y[k].im * y[k].im) / POINTS;
        energy += power[k];
    }
    for (int i = 0; i < FILTERS; i++)
        logs[i] = log(filtered(m, power, i));
    out[0] = (float)log(or_least(energy));
    for (int k = 1; k < LS_MFCC_COUNT; k++) {
        double sum = 0;
        for (int i = 0; i < FILTERS; i++)
            sum += m->dct[k][i] * logs[i];
        out[k] = (float)sum;
    }
}

int ls_mfcc_read(ls_mfcc *m, size_t start, size_t n, float *dst, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < n; i++) {
        int16_t pcm[WINDOW + 1] = {0};
        const uint64_t at = (uint64_t)(start + i) * HOP, left = m->source.samples - at;
        const size_t have = left < WINDOW ? (size_t)left : WINDOW, before = at > 0;
        ret = m->source.read(m->source.opaque, at - before, have + before, pcm + 1 - before, err);
        if (!ret)
            transform(m, pcm, have, dst + i * LS_MFCC_COUNT);
    }
    return ret;
}
