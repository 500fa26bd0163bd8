/* Converts decoded audio to one rate, layout and format, even if it changes in mid-stream. */
#ifndef LS_MEDIA_RESAMPLE_H
#define LS_MEDIA_RESAMPLE_H

#include "media/av.h"

typedef struct ls_resampler ls_resampler;

/* `layout` is copied. */
int ls_resampler_open(ls_resampler **out, const AVChannelLayout *layout, enum AVSampleFormat format,
                      int rate, ls_error *err);
/* Instead of a mix of all channels gives this one, counted from 0. For one channel in the result,
 * before the first frame. */
void ls_resampler_pick(ls_resampler *r, int channel);
void ls_resampler_close(ls_resampler **r);
/* Converts a frame, or with NULL the remainder at the end. */
int ls_resampler_push(ls_resampler *r, const AVFrame *f, ls_error *err);
/* Samples that can be pulled. */
int ls_resampler_size(const ls_resampler *r);
/* Takes up to n samples out; returns their number. */
int ls_resampler_pull(ls_resampler *r, uint8_t **planes, int n);

#endif
