#include "models/whisper/log_mel.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_FFT 400
#define HOP 160
#define PAD (N_FFT / 2)
#define LEAST (-10) /* log10 of the power in silence */
#define RANGE 8     /* by which log10 of the power may be below the loudest */
#define BLOCK 256   /* frames transformed from one read */
#define BLOCK_SAMPLES ((BLOCK - 1) * HOP + N_FFT)

struct ls_log_mel {
    ls_pcm_source source;
    ls_mel_bank bank;
    float floor; /* the loudest log10 value, minus 8 */
    int16_t pcm[BLOCK_SAMPLES];
    float block[BLOCK][LS_MEL_BANDS];
};

/* log10 of the mel power of one frame. */
static void transform(const ls_log_mel *m, const int16_t *pcm, float *out)
{
    double x[N_FFT], power[LS_MEL_BANDS];
    for (int i = 0; i < N_FFT; i++)
        x[i] = pcm[i] / 32768.0;
    ls_mel_bank_run(&m->bank, x, false, power);
    for (int i = 0; i < LS_MEL_BANDS; i++)
        out[i] = log10f(fmaxf((float)power[i], 1e-10f)); // LEAST
}

/* Samples from `start` on; the recording is reflected at both ends without repeating the end
 * sample. */
static int read_reflected(ls_log_mel *m, int64_t start, size_t n, ls_error *err)
{
    int64_t samples = (int64_t)m->source.samples, end = start + (int64_t)n;
    int64_t from = start < 0 ? 0 : start, to = end > samples ? samples : end;
    int16_t *pcm = m->pcm, sample;
    int ret = m->source.read(m->source.opaque, (uint64_t)from, (size_t)(to - from),
                             pcm + (from - start), err);
    for (int64_t i = start; !ret && i < end; i++) {
        if (i == from)
            i = to;
        if (i == end)
            break;
        int64_t at = i < 0 ? -i : 2 * (samples - 1) - i;
        ret = m->source.read(m->source.opaque, (uint64_t)at, 1, &sample, err);
        pcm[i - start] = sample;
    }
    return ret;
}

/* Frames [start, start + n), n <= BLOCK, into m->block. */
static int read_block(ls_log_mel *m, size_t start, size_t n, ls_error *err)
{
    int ret = read_reflected(m, (int64_t)start * HOP - PAD, (n - 1) * HOP + N_FFT, err);
    for (size_t i = 0; !ret && i < n; i++)
        transform(m, m->pcm + i * HOP, m->block[i]);
    return ret;
}

static int find_floor(ls_log_mel *m, const ls_cancel *cancel, ls_error *err)
{
    float max = LEAST;
    size_t frames = ls_log_mel_frames(m);
    for (size_t start = 0; start < frames; start += BLOCK) {
        size_t n = frames - start < BLOCK ? frames - start : BLOCK;
        if (ls_canceled(cancel))
            return ls_fail(err, LS_ECANCELED, "canceled");
        int ret = read_block(m, start, n, err);
        if (ret)
            return ret;
        for (size_t i = 0; i < n; i++)
            for (int k = 0; k < LS_MEL_BANDS; k++)
                max = fmaxf(max, m->block[i][k]);
    }
    m->floor = max - RANGE;
    return 0;
}

int ls_log_mel_open(ls_log_mel **out, const ls_pcm_source *source, const ls_cancel *cancel,
                    ls_error *err)
{
    *out = NULL;
    if (source->samples <= PAD)
        return ls_fail(err, LS_EFORMAT,
                       "the speech has only %llu samples at 16 kHz; it needs at least %d",
                       (unsigned long long)source->samples, PAD + 1);
    ls_log_mel *m = ls_calloc_array(1, sizeof *m);
    if (!m)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    m->source = *source;
    ls_mel_bank_init(&m->bank, N_FFT, 0, 8000);
    int ret = find_floor(m, cancel, err);
    if (ret)
        ls_log_mel_close(&m);
    *out = m;
    return ret;
}

void ls_log_mel_close(ls_log_mel **m)
{
    free(*m);
    *m = NULL;
}

size_t ls_log_mel_frames(const ls_log_mel *m)
{
    return (size_t)(m->source.samples / HOP);
}

float ls_log_mel_loudest(const ls_log_mel *m)
{
    return m->floor + RANGE;
}

static float normalize(const ls_log_mel *m, float level)
{
    return (fmaxf(level, m->floor) + 4) / 4;
}

float ls_log_mel_floor(const ls_log_mel *m)
{
    return normalize(m, m->floor);
}

float ls_log_mel_silence(const ls_log_mel *m)
{
    return normalize(m, LEAST);
}

int ls_log_mel_read(ls_log_mel *m, size_t start, size_t n, float *dst, ls_error *err)
{
    size_t frames = ls_log_mel_frames(m), end = start + n < frames ? start + n : frames;
    memset(dst, 0, n * LS_MEL_BANDS * sizeof *dst);
    for (size_t at = start; at < end; at += BLOCK) {
        size_t count = end - at < BLOCK ? end - at : BLOCK;
        int ret = read_block(m, at, count, err);
        if (ret)
            return ret;
        for (size_t i = 0; i < count; i++, dst += LS_MEL_BANDS)
            for (int k = 0; k < LS_MEL_BANDS; k++)
                dst[k] = normalize(m, m->block[i][k]);
    }
    return 0;
}
