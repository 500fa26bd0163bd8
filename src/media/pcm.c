#include "media/pcm.h"
#include "media/av.h"
#include "media/resample.h"
#include "base/alloc.h"
#include "base/temporary.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLOCK 4096
#define MAX_CHANNELS 64
/* Power of the mix below that of the strongest channel, where it is no mix any more: equal channels
 * without a relation lose 3 dB, one of two 6. */
#define CANCELED 0.126 /* -9 dB */
#define SILENT 1e-6    /* -60 dB */

struct ls_pcm {
    FILE *spool;
    uint64_t samples, kept; /* those past `kept` are silent */
    ls_sound_facts facts;
};

/* While decoding. */
typedef struct decoding {
    const ls_sound_settings *s;
    ls_sound *sound;
    AVFrame *frame;
    ls_resampler *mix, *split; /* into one channel, and with all of them; the latter may be NULL */
    int channels;
    double power[MAX_CHANNELS], mixed; /* sums of squares */
} decoding;

static double power_of(const int16_t *samples, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)samples[i] * samples[i];
    return sum;
}

/* What the mix has of new samples, to the file. */
static int spool(decoding *d, ls_pcm *p, ls_error *err)
{
    int16_t block[BLOCK];
    uint8_t *out = (uint8_t *)block;
    for (int n; (n = ls_resampler_pull(d->mix, &out, BLOCK)) > 0; p->samples += (uint64_t)n) {
        if (fwrite(block, sizeof *block, (size_t)n, p->spool) != (size_t)n)
            return ls_fail_errno(err, errno, "cannot write a temporary file for the audio of %s",
                                 d->s->path);
        d->mixed += power_of(block, n);
    }
    return 0;
}

/* The power of each channel. */
static void measure(decoding *d)
{
    int16_t block[MAX_CHANNELS][BLOCK / 16];
    uint8_t *out[MAX_CHANNELS];
    for (int c = 0; c < MAX_CHANNELS; c++)
        out[c] = (uint8_t *)block[c];
    for (int n; (n = ls_resampler_pull(d->split, out, BLOCK / 16)) > 0;)
        for (int c = 0; c < d->channels; c++)
            d->power[c] += power_of(block[c], n);
}

/* Converts a frame, or with NULL the remainder. */
static int take(decoding *d, ls_pcm *p, const AVFrame *f, ls_error *err)
{
    int ret = ls_resampler_push(d->mix, f, err);
    if (!ret && d->split)
        ret = ls_resampler_push(d->split, f, err);
    if (ret)
        return ls_fail_context(err, ret, "%s", d->s->path);
    if (d->split)
        measure(d);
    return spool(d, p, err);
}

/* `channel`: the one to take; -1: all are mixed, and measured. */
static int open_resamplers(decoding *d, int channel, ls_error *err)
{
    AVChannelLayout all = {0};
    const AVChannelLayout mono = AV_CHANNEL_LAYOUT_MONO,
                          *layout = &ls_sound_decoder(d->sound)->ch_layout;
    d->channels = layout->nb_channels;
    int ret = ls_resampler_open(&d->mix, &mono, AV_SAMPLE_FMT_S16, LS_PCM_RATE, err);
    if (ret)
        return ret;
    ls_resampler_pick(d->mix, channel);
    if (channel >= 0 || d->channels < 2 || d->channels > MAX_CHANNELS)
        return 0;
    if (layout->order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&all, d->channels);
    else if (av_channel_layout_copy(&all, layout) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ret = ls_resampler_open(&d->split, &all, AV_SAMPLE_FMT_S16P, LS_PCM_RATE, err);
    av_channel_layout_uninit(&all);
    return ret;
}

static int decode_once(decoding *d, ls_pcm *p, const ls_sound_settings *s, int channel,
                       ls_error *err)
{
    rewind(p->spool);
    p->samples = 0;
    d->s = s;
    int ret = ls_sound_open(&d->sound, s, err);
    if (!ret)
        ret = open_resamplers(d, channel, err);
    while (!ret && !(ret = ls_sound_next(d->sound, d->frame, err))) {
        ret = take(d, p, d->frame, err);
        av_frame_unref(d->frame);
    }
    if (ret == LS_EOF)
        ret = take(d, p, NULL, err);
    if (!ret && !p->samples)
        ret = ls_fail(err, LS_EFORMAT, "%s: no audio can be decoded", s->path);
    if (!ret && fflush(p->spool))
        ret =
            ls_fail_errno(err, errno, "cannot write a temporary file for the audio of %s", s->path);
    if (!ret)
        p->facts = *ls_sound_get_facts(d->sound);
    ls_sound_close(&d->sound);
    ls_resampler_close(&d->mix);
    ls_resampler_close(&d->split);
    return ret;
}

/* The channel to take instead of the mix; -1: none. */
static int choose_channel(const decoding *d)
{
    int best = 0;
    double all = 0;
    for (int c = 0; c < d->channels && c < MAX_CHANNELS; c++) {
        all += d->power[c];
        best = d->power[c] > d->power[best] ? c : best;
    }
    const double strongest = d->power[best];
    return d->mixed < CANCELED * strongest || (d->channels > 1 && all - strongest < SILENT * all)
               ? best
               : -1;
}

static int decode_all(decoding *d, ls_pcm *p, const ls_sound_settings *s, ls_error *err)
{
    int ret = decode_once(d, p, s, -1, err);
    const int channel = ret ? -1 : choose_channel(d);
    if (channel < 0 || !(d->power[channel] > 0))
        return ret;
    ls_sound_settings again = *s;
    again.log = NULL;
    ls_log_msg(s->log, LS_LOG_INFO,
               "%s: a mix of its %d channels would weaken the speech; the lips follow channel %d",
               s->path, d->channels, channel + 1);
    return decode_once(d, p, &again, channel, err);
}

int ls_pcm_open(ls_pcm **out, const ls_sound_settings *s, const char *folder, ls_error *err)
{
    ls_pcm *p = *out = ls_calloc_array(1, sizeof *p);
    decoding d = {.frame = av_frame_alloc()};
    int ret = 0, fd = -1;
    if (!p || !d.frame)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    else if ((fd = ls_temporary_file(folder, err)) < 0)
        ret = fd;
    else if (!(p->spool = fdopen(fd, "w+b")))
        ret = ls_fail_errno(err, errno, "cannot make a temporary file");
    if (!ret)
        ret = decode_all(&d, p, s, err);
    if (!ret)
        p->kept = p->samples;
    av_frame_free(&d.frame);
    if (ret)
        ls_pcm_close(out);
    return ret;
}

void ls_pcm_close(ls_pcm **p)
{
    if (!*p)
        return;
    if ((*p)->spool)
        fclose((*p)->spool);
    free(*p);
    *p = NULL;
}

void ls_pcm_fit(ls_pcm *p, uint64_t samples)
{
    p->samples = samples;
    p->kept = p->kept < samples ? p->kept : samples;
}

uint64_t ls_pcm_samples(const ls_pcm *p)
{
    return p->samples;
}

const ls_sound_facts *ls_pcm_facts(const ls_pcm *p)
{
    return &p->facts;
}

int ls_pcm_read(const ls_pcm *p, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    if (start > p->samples || n > p->samples - start)
        return ls_fail(err, LS_EINVAL, "samples past the end of the audio were requested");
    const size_t kept = start >= p->kept ? 0 : n < p->kept - start ? n : (size_t)(p->kept - start);
    uint8_t *at = (uint8_t *)dst;
    size_t left = kept * sizeof *dst;
    off_t offset = (off_t)(start * sizeof *dst);
    memset(dst + kept, 0, (n - kept) * sizeof *dst);
    while (left) {
        ssize_t got = pread(fileno(p->spool), at, left, offset);
        if (got <= 0)
            return ls_fail_errno(err, got ? errno : EIO,
                                 "cannot read the temporary file for audio");
        at += got;
        offset += got;
        left -= (size_t)got;
    }
    return 0;
}
