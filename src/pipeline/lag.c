#include "pipeline/lag.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY 50         /* frames over which series remember */
#define LEAST_CHANGE 1e-9 /* variance */

void ls_lag_add(ls_lag_sum *to, const ls_lag_sum *more)
{
    for (size_t k = 0; k < LS_LAGS; k++)
        to->fit[k] += more->fit[k];
    to->variance += more->variance;
    to->frames += more->frames;
}

typedef struct moments {
    double n, a, b, aa, bb, ab;
} moments;

static void add_pair(moments *m, double a, double b)
{
    if (isnan(a) || isnan(b))
        return;
    m->n++;
    m->a += a;
    m->b += b;
    m->aa += a * a;
    m->bb += b * b;
    m->ab += a * b;
}

static double correlation(const moments *m)
{
    const double va = m->aa - m->a * m->a / m->n, vb = m->bb - m->b * m->b / m->n;
    return m->n >= LS_LAG_LEAST && va > LEAST_CHANGE * m->n && vb > LEAST_CHANGE * m->n
               ? (m->ab - m->a * m->b / m->n) / sqrt(va * vb)
               : 0;
}

static double autocorrelation(const double *x, size_t n, size_t distance)
{
    moments m = {0};
    for (size_t i = 0; i + distance < n; i++)
        add_pair(&m, x[i], x[i + distance]);
    return correlation(&m);
}

/* Of the correlation of two independent series with these autocorrelations. */
static double variance_by_chance(const double *a, const double *b, size_t n, double pairs)
{
    double sum = 1;
    for (size_t d = 1; d <= MEMORY && d < n; d++)
        sum +=
            2 * (1 - (double)d / (double)n) * autocorrelation(a, n, d) * autocorrelation(b, n, d);
    return fmax(1, sum) / pairs;
}

void ls_lag_correlate(ls_lag_sum *sum, const double *lips, const double *sound, size_t n)
{
    const double *now = sound + LS_LAG_MOST;
    ls_lag_sum own = {0};
    bool changes = false;
    for (size_t k = 0; k < LS_LAGS; k++) {
        moments m = {0};
        for (size_t i = 0; i < n; i++)
            add_pair(&m, lips[i], sound[i + k]);
        own.fit[k] = correlation(&m);
        changes |= own.fit[k] != 0;
        own.frames = fmax(own.frames, m.n);
    }
    if (!changes)
        return;
    for (size_t k = 0; k < LS_LAGS; k++)
        own.fit[k] *= own.frames;
    own.variance = variance_by_chance(lips, now, n, own.frames) * own.frames * own.frames;
    ls_lag_add(sum, &own);
}

static size_t best_of(const ls_lag_sum *sum)
{
    size_t best = 0;
    for (size_t k = 1; k < LS_LAGS; k++)
        if (sum->fit[k] > sum->fit[best])
            best = k;
    return best;
}

/* The best lag, and the top of the parabola through it and its neighbours. */
static ls_lag find(const ls_lag_sum *sum)
{
    const size_t k = best_of(sum);
    ls_lag lag = {.frames = (double)k - LS_LAG_MOST, .is_clear = k > 0 && k + 1 < LS_LAGS};
    if (lag.is_clear) {
        const double before = sum->fit[k - 1], after = sum->fit[k + 1],
                     bend = 2 * sum->fit[k] - before - after;
        lag.frames += bend > 0 ? (after - before) / (2 * bend) : 0;
    }
    return lag;
}

ls_lag ls_lag_of_correlation(const ls_lag_sum *sum)
{
    ls_lag lag = find(sum);
    if (sum->variance > 0)
        lag.confidence = sum->fit[best_of(sum)] / sqrt(sum->variance);
    return lag;
}

void ls_lag_add_distances(ls_lag_sum *sum, const double distances[LS_LAGS])
{
    for (size_t k = 0; k < LS_LAGS; k++)
        sum->fit[k] -= distances[k];
    sum->frames++;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median over the lags. */
static double usual_fit(const ls_lag_sum *sum)
{
    double sorted[LS_LAGS];
    memcpy(sorted, sum->fit, sizeof sorted);
    qsort(sorted, LS_LAGS, sizeof *sorted, compare);
    return sorted[LS_LAGS / 2];
}

ls_lag ls_lag_of_distances(const ls_lag_sum *sum)
{
    ls_lag lag = find(sum);
    if (sum->frames > 0)
        lag.confidence = (sum->fit[best_of(sum)] - usual_fit(sum)) / sum->frames;
    return lag;
}

ls_lag ls_lag_of_cosines(const ls_lag_sum *sum, double least)
{
    ls_lag lag = find(sum);
    if (sum->frames > 0) {
        lag.confidence = 1 + sum->fit[best_of(sum)] / sum->frames;
        lag.is_clear &= 1 + usual_fit(sum) / sum->frames < least;
    }
    return lag;
}
