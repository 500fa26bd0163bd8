#include "media/resample.h"
#include "base/alloc.h"

#include <libavutil/audio_fifo.h>
#include <libswresample/swresample.h>
#include <stdlib.h>

struct ls_resampler {
    struct SwrContext *swr;
    AVAudioFifo *fifo;
    AVChannelLayout to, from;
    enum AVSampleFormat to_format;
    int to_rate, from_format, from_rate;
    int channel; /* the one to take; -1: all are mixed */
    uint8_t **scratch;
    int capacity; /* of scratch, in samples */
};

int ls_resampler_open(ls_resampler **out, const AVChannelLayout *layout, enum AVSampleFormat format,
                      int rate, ls_error *err)
{
    ls_resampler *r = *out = ls_calloc_array(1, sizeof *r);
    if (r && av_channel_layout_copy(&r->to, layout) >= 0)
        r->fifo = av_audio_fifo_alloc(format, layout->nb_channels, 4096);
    if (!r || !r->fifo) {
        ls_resampler_close(out);
        return ls_fail(err, LS_ENOMEM, "out of memory for audio");
    }
    r->to_format = format;
    r->to_rate = rate;
    r->channel = -1;
    return 0;
}

void ls_resampler_pick(ls_resampler *r, int channel)
{
    r->channel = channel;
}

static void free_scratch(ls_resampler *r)
{
    if (r->scratch)
        av_freep(&r->scratch[0]);
    av_freep(&r->scratch);
    r->capacity = 0;
}

void ls_resampler_close(ls_resampler **pr)
{
    ls_resampler *r = *pr;
    if (!r)
        return;
    swr_free(&r->swr);
    if (r->fifo)
        av_audio_fifo_free(r->fifo);
    free_scratch(r);
    av_channel_layout_uninit(&r->to);
    av_channel_layout_uninit(&r->from);
    free(r);
    *pr = NULL;
}

static int convert(ls_resampler *r, const AVFrame *f)
{
    int in = f ? f->nb_samples : 0, room = swr_get_out_samples(r->swr, in), linesize;
    if (room <= 0)
        return room;
    if (room > r->capacity) {
        free_scratch(r);
        int ret = av_samples_alloc_array_and_samples(&r->scratch, &linesize, r->to.nb_channels,
                                                     room, r->to_format, 0);
        if (ret < 0)
            return ret;
        r->capacity = room;
    }
    int n =
        swr_convert(r->swr, r->scratch, room, f ? (const uint8_t **)f->extended_data : NULL, in);
    return n > 0 ? av_audio_fifo_write(r->fifo, (void **)r->scratch, n) : n;
}

static int set_matrix(ls_resampler *r)
{
    double matrix[64] = {0};
    if (r->channel < 0 || r->channel >= r->from.nb_channels || r->from.nb_channels > 64)
        return 0;
    matrix[r->channel] = 1;
    return swr_set_matrix(r->swr, matrix, r->from.nb_channels);
}

/* Prepares for frames like this one, after flushing those of another kind. */
static int configure(ls_resampler *r, const AVFrame *f)
{
    if (r->swr && f->sample_rate == r->from_rate && f->format == r->from_format &&
        !av_channel_layout_compare(&f->ch_layout, &r->from))
        return 0;
    int ret = r->swr ? convert(r, NULL) : 0;
    swr_free(&r->swr);
    if (ret >= 0)
        ret = av_channel_layout_copy(&r->from, &f->ch_layout);
    AVChannelLayout guess = {0};
    if (ret >= 0 && f->ch_layout.order == AV_CHANNEL_ORDER_UNSPEC)
        av_channel_layout_default(&guess, f->ch_layout.nb_channels);
    if (ret >= 0)
        ret = swr_alloc_set_opts2(&r->swr, &r->to, r->to_format, r->to_rate,
                                  guess.nb_channels ? &guess : &r->from, f->format, f->sample_rate,
                                  0, NULL);
    if (ret >= 0)
        ret = set_matrix(r);
    if (ret >= 0)
        ret = swr_init(r->swr);
    if (ret < 0)
        swr_free(&r->swr);
    r->from_rate = f->sample_rate;
    r->from_format = f->format;
    return ret;
}

int ls_resampler_push(ls_resampler *r, const AVFrame *f, ls_error *err)
{
    int ret = f ? configure(r, f) : 0;
    if (ret >= 0 && r->swr)
        ret = convert(r, f);
    return ret < 0 ? ls_fail_av(err, ret, "cannot convert the audio") : 0;
}

int ls_resampler_size(const ls_resampler *r)
{
    return av_audio_fifo_size(r->fifo);
}

int ls_resampler_pull(ls_resampler *r, uint8_t **planes, int n)
{
    return av_audio_fifo_read(r->fifo, (void **)planes, n);
}
