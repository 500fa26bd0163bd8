#include "media/mix.h"
#include "media/resample.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RAMP 0.01 /* seconds in which the own sound rises when the speech ends */

typedef struct voice {
    ls_sound_settings from; /* its path is NULL where there is none */
    ls_sound *sound;
    ls_resampler *resampler;
    bool ended;
} voice;

struct ls_mix {
    ls_mix_settings s;
    voice speech, own;
    AVFrame *frame;
    float *heard[AV_NUM_DATA_POINTERS]; /* samples of the own sound */
    int capacity;
    AVChannelLayout layout;
    int rate;
    int64_t at, speech_end, end; /* samples; INT64_MAX: not known */
    int64_t own_at, period;      /* samples since it started, and after which it does again */
};

int ls_mix_open(ls_mix **out, const ls_mix_settings *s, ls_error *err)
{
    ls_mix *m = *out = ls_calloc_array(1, sizeof *m);
    if (!m)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    m->s = *s;
    m->speech.from = s->speech;
    m->own.from =
        (ls_sound_settings){.path = s->own.path, .stream = -1, .cancel = s->speech.cancel};
    m->frame = av_frame_alloc();
    int ret = m->frame ? ls_sound_open(&m->speech.sound, &m->speech.from, err)
                       : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && s->own.path)
        ret = ls_sound_open(&m->own.sound, &m->own.from, err);
    if (ret)
        ls_mix_close(out);
    return ret;
}

static void close_voice(voice *v)
{
    ls_sound_close(&v->sound);
    ls_resampler_close(&v->resampler);
}

void ls_mix_close(ls_mix **pm)
{
    ls_mix *m = *pm;
    if (!m)
        return;
    close_voice(&m->speech);
    close_voice(&m->own);
    for (int c = 0; c < AV_NUM_DATA_POINTERS; c++)
        free(m->heard[c]);
    av_frame_free(&m->frame);
    av_channel_layout_uninit(&m->layout);
    free(m);
    *pm = NULL;
}

const AVChannelLayout *ls_mix_layout(const ls_mix *m)
{
    const AVChannelLayout *a = &ls_sound_decoder(m->speech.sound)->ch_layout,
                          *b = m->own.sound ? &ls_sound_decoder(m->own.sound)->ch_layout : a;
    return b->nb_channels > a->nb_channels ? b : a;
}

int ls_mix_rate(const ls_mix *m)
{
    const int a = ls_sound_decoder(m->speech.sound)->sample_rate,
              b = m->own.sound ? ls_sound_decoder(m->own.sound)->sample_rate : a;
    return b > a ? b : a;
}

static int start_voice(voice *v, const ls_mix *m, ls_error *err)
{
    ls_resampler_close(&v->resampler);
    v->ended = false;
    return ls_resampler_open(&v->resampler, &m->layout, AV_SAMPLE_FMT_FLTP, m->rate, err);
}

int ls_mix_start(ls_mix *m, const AVChannelLayout *layout, int rate, ls_error *err)
{
    if (layout->nb_channels > AV_NUM_DATA_POINTERS)
        return ls_fail(err, LS_EUNSUPPORTED, "%s: sound of %d channels cannot be encoded",
                       m->s.speech.path, layout->nb_channels);
    if (av_channel_layout_copy(&m->layout, layout) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    m->rate = rate;
    m->speech_end = m->s.speech_seconds > 0 ? llrint(m->s.speech_seconds * rate) : INT64_MAX;
    m->end = m->s.seconds > 0 ? llrint(m->s.seconds * rate) : m->speech_end;
    m->period = llrint(m->s.own.period * rate);
    int ret = start_voice(&m->speech, m, err);
    return ret || !m->own.sound ? ret : start_voice(&m->own, m, err);
}

/* The next `n` samples; silence past the end. Returns how many there were. */
static int read_voice(ls_mix *m, voice *v, float *const *planes, int n, ls_error *err)
{
    int ret = 0, got = 0;
    while (!ret && !v->ended && ls_resampler_size(v->resampler) < n) {
        ret = ls_sound_next(v->sound, m->frame, err);
        v->ended = ret == LS_EOF;
        if (!ret || v->ended)
            ret = ls_resampler_push(v->resampler, v->ended ? NULL : m->frame, err);
        av_frame_unref(m->frame);
    }
    if (ret)
        return ret;
    if (ls_resampler_size(v->resampler) > 0)
        got = ls_resampler_pull(v->resampler, (uint8_t **)(void *)(uintptr_t)planes, n);
    for (int c = 0; got >= 0 && c < m->layout.nb_channels; c++)
        memset(planes[c] + got, 0, (size_t)(n - got) * sizeof **planes);
    return got < 0 ? ls_fail_av(err, got, "cannot convert the audio") : got;
}

static int start_again(ls_mix *m, ls_error *err)
{
    ls_sound_close(&m->own.sound);
    m->own_at = 0;
    int ret = ls_sound_open(&m->own.sound, &m->own.from, err);
    return ret ? ret : start_voice(&m->own, m, err);
}

/* The next `n` samples of the own sound, as often as it takes, to m->heard. */
static int read_own(ls_mix *m, int n, ls_error *err)
{
    int ret = 0;
    for (int done = 0; ret >= 0 && done < n;) {
        float *at[AV_NUM_DATA_POINTERS] = {NULL};
        const int64_t left = m->period ? m->period - m->own_at : n;
        const int some = left < n - done ? (int)left : n - done;
        for (int c = 0; c < m->layout.nb_channels; c++)
            at[c] = m->heard[c] + done;
        ret = read_voice(m, &m->own, at, some, err);
        done += some;
        m->own_at += some;
        if (ret >= 0 && m->period && m->own_at >= m->period)
            ret = start_again(m, err);
    }
    return ret < 0 ? ret : 0;
}

static int reserve(ls_mix *m, int n, ls_error *err)
{
    for (int c = 0; n > m->capacity && c < m->layout.nb_channels; c++) {
        free(m->heard[c]);
        m->heard[c] = ls_malloc_array((size_t)n, sizeof *m->heard[c]);
        if (!m->heard[c])
            return ls_fail(err, LS_ENOMEM, "out of memory for audio");
    }
    m->capacity = n > m->capacity ? n : m->capacity;
    return 0;
}

static int add_own(ls_mix *m, float *const *planes, int n, ls_error *err)
{
    int ret = reserve(m, n, err);
    if (!ret)
        ret = read_own(m, n, err);
    for (int i = 0; !ret && i < n; i++) {
        const double after = (double)(m->at + i - m->speech_end) / (RAMP * m->rate),
                     rise = after < 0   ? 0
                            : after < 1 ? after
                                        : 1;
        const float factor = (float)(m->s.own.under + (1 - m->s.own.under) * rise);
        for (int c = 0; c < m->layout.nb_channels; c++)
            planes[c][i] += factor * m->heard[c][i];
    }
    return ret;
}

static int read_mixed(ls_mix *m, float *const *planes, int n, ls_error *err)
{
    n = m->end - m->at < n ? (int)(m->end - m->at) : n;
    if (n <= 0)
        return 0;
    int got = read_voice(m, &m->speech, planes, n, err);
    if (got < 0)
        return got;
    if (m->end == INT64_MAX) // until the speech itself ends
        n = got;
    const int64_t spoken = m->speech_end > m->at ? m->speech_end - m->at : 0;
    for (int c = 0; spoken < n && c < m->layout.nb_channels; c++)
        memset(planes[c] + spoken, 0, (size_t)(n - spoken) * sizeof **planes);
    int ret = m->own.sound && n ? add_own(m, planes, n, err) : 0;
    m->at += n;
    return ret ? ret : n;
}

/* Reads what comes before the beginning, and forgets it. */
static int skip(ls_mix *m, float *const *planes, int n, ls_error *err)
{
    const int64_t begin = llrint(m->s.begin * m->rate);
    int ret = 1;
    while (ret > 0 && m->at < begin)
        ret = read_mixed(m, planes, begin - m->at < n ? (int)(begin - m->at) : n, err);
    return ret < 0 ? ret : 0;
}

int ls_mix_read(ls_mix *m, float *const *planes, int n, ls_error *err)
{
    const int ret = skip(m, planes, n, err);
    return ret ? ret : read_mixed(m, planes, n, err);
}
