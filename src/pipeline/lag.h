/* By how many frames the sound is later than the lips: what fits how well at each lag, and what
 * follows from it. */
#ifndef LS_PIPELINE_LAG_H
#define LS_PIPELINE_LAG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LS_LAG_MOST 15 /* frames, either way */
#define LS_LAGS (2 * LS_LAG_MOST + 1)

/* Sums over frames; the fit at lag k is fit[k + LS_LAG_MOST] / frames, higher being better. Zeros:
 * nothing yet. */
typedef struct ls_lag_sum {
    double fit[LS_LAGS];
    double variance; /* of the sum, by chance; 0: not known */
    double frames;
} ls_lag_sum;

void ls_lag_add(ls_lag_sum *to, const ls_lag_sum *more);

typedef struct ls_lag {
    double frames;     /* the best lag, between whole frames too; positive: the sound is late */
    double confidence; /* see the functions below */
    bool is_clear;     /* it is not at the end of the range, beyond which there may be a better, nor
                          one of many (ls_lag_of_cosines) */
} ls_lag;

/* The correlation of `lips` [n] with `sound` [n + 2 * LS_LAG_MOST], whose first value is
 * LS_LAG_MOST frames before that of `lips`; NAN where there is none. The variance is that of two
 * independent series with the same autocorrelations (Bartlett, 1946). Where either does not change,
 * or there are fewer than LS_LAG_LEAST pairs, nothing is added. */
#define LS_LAG_LEAST 25
void ls_lag_correlate(ls_lag_sum *sum, const double *lips, const double *sound, size_t n);

/* Confidence: the best correlation in its standard deviations by chance. */
ls_lag ls_lag_of_correlation(const ls_lag_sum *sum);

/* One frame: how far its lips are from the sound at each lag. */
void ls_lag_add_distances(ls_lag_sum *sum, const double distances[LS_LAGS]);
/* Confidence: the median of the mean distances minus the least (SyncNet's). */
ls_lag ls_lag_of_distances(const ls_lag_sum *sum);
/* Of distances that are 1 minus a cosine. Confidence: the mean cosine at the best lag; the lag is
 * not clear if half of all reach `least`. */
ls_lag ls_lag_of_cosines(const ls_lag_sum *sum, double least);

#endif
