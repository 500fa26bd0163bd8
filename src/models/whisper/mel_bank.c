#include "models/whisper/mel_bank.h"

#include <math.h>
#include <string.h>

#define RATE 16000.0
#define DIRECT LS_MEL_DIRECT
#define DIRECT_BINS (DIRECT / 2 + 1) /* of them that real input needs */

typedef ls_mel_cplx cplx;

static double hz_of_mel(double mel)
{
    return mel < 15 ? mel * 200 / 3 : 1000 * exp((mel - 15) * log(6.4) / 27);
}

static double mel_of_hz(double hz)
{
    return hz < 1000 ? hz * 3 / 200 : 15 + log(hz / 1000) * 27 / log(6.4);
}

static void make_filters(ls_mel_bank *b, double lowest, double highest)
{
    const double low = mel_of_hz(lowest), high = mel_of_hz(highest);
    const size_t bins = b->points / 2 + 1;
    double hz[LS_MEL_BANDS + 2];
    for (int i = 0; i < LS_MEL_BANDS + 2; i++)
        hz[i] = hz_of_mel(low + (high - low) * i / (LS_MEL_BANDS + 1));
    for (int i = 0; i < LS_MEL_BANDS; i++) {
        for (size_t k = 0; k < bins; k++) {
            const double f = (double)k * RATE / (double)b->points;
            const double up = (f - hz[i]) / (hz[i + 1] - hz[i]);
            const double down = (hz[i + 2] - f) / (hz[i + 2] - hz[i + 1]);
            b->filters[i][k] = (float)(fmax(0, fmin(up, down)) * 2 / (hz[i + 2] - hz[i]));
        }
        while (b->first[i] < bins && b->filters[i][b->first[i]] == 0)
            b->first[i]++;
        for (size_t k = b->first[i]; k < bins && b->filters[i][k] > 0; k++)
            b->last[i] = k + 1;
    }
}

void ls_mel_bank_init(ls_mel_bank *b, size_t points, double lowest, double highest)
{
    memset(b, 0, sizeof *b);
    b->points = points;
    for (size_t i = 0; i < points; i++) {
        const double angle = 2 * M_PI * (double)i / (double)points;
        b->window[i] = 0.5 - 0.5 * cos(angle);
        b->twiddle[i] = (cplx){cos(angle), -sin(angle)};
    }
    for (size_t j = 0; j < DIRECT; j++)
        for (size_t k = 0; k < DIRECT_BINS; k++)
            b->direct[j][k] = b->twiddle[j * k % DIRECT * (points / DIRECT)];
    make_filters(b, lowest, highest);
}

/* Decimation in time down to DIRECT points. x is real. */
static void fft(const ls_mel_bank *b, const double *x, size_t stride, size_t n, cplx *y)
{
    if (n == DIRECT) {
        cplx s[DIRECT_BINS] = {{0, 0}};
        for (size_t j = 0; j < DIRECT; j++) {
            for (size_t k = 0; k < DIRECT_BINS; k++) {
                s[k].re += x[j * stride] * b->direct[j][k].re;
                s[k].im += x[j * stride] * b->direct[j][k].im;
            }
        }
        y[0] = s[0];
        for (size_t k = 1; k < DIRECT_BINS; k++) {
            y[k] = s[k];
            y[DIRECT - k] = (cplx){s[k].re, -s[k].im};
        }
        return;
    }
    const size_t half = n / 2;
    fft(b, x, 2 * stride, half, y);
    fft(b, x + stride, 2 * stride, half, y + half);
    for (size_t k = 0; k < half; k++) {
        const cplx *t = &b->twiddle[k * (b->points / n)], p = y[k], q = y[half + k];
        const cplx r = {q.re * t->re - q.im * t->im, q.re * t->im + q.im * t->re};
        y[k] = (cplx){p.re + r.re, p.im + r.im};
        y[half + k] = (cplx){p.re - r.re, p.im - r.im};
    }
}

void ls_mel_bank_run(const ls_mel_bank *b, double *samples, bool magnitude,
                     double bands[LS_MEL_BANDS])
{
    double power[LS_MEL_MOST_BINS];
    cplx y[LS_MEL_MOST];
    for (size_t i = 0; i < b->points; i++)
        samples[i] *= b->window[i];
    fft(b, samples, 1, b->points, y);
    for (size_t k = 0; k <= b->points / 2; k++) {
        power[k] = y[k].re * y[k].re + y[k].im * y[k].im;
        if (magnitude)
            power[k] = sqrt(power[k]);
    }
    for (int i = 0; i < LS_MEL_BANDS; i++) {
        bands[i] = 0;
        for (size_t k = b->first[i]; k < b->last[i]; k++)
            bands[i] += b->filters[i][k] * power[k];
    }
}
