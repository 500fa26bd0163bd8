#include "pipeline/check_sound.h"
#include "base/alloc.h"

#include <stdlib.h>

int ls_check_sound_open(ls_check_sound *s, ls_error *err)
{
    size_t n;
    s->next = INT64_MIN;
    s->ring = ls_mul_size(LS_LAGS, s->width, &n) ? ls_malloc_array(n, sizeof *s->ring) : NULL;
    return s->ring ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

void ls_check_sound_close(ls_check_sound *s)
{
    free(s->ring);
    s->ring = NULL;
}

static float *at(const ls_check_sound *s, int64_t window)
{
    return s->ring + (size_t)((window + LS_LAGS) % LS_LAGS) * s->width;
}

int ls_check_sound_compare(ls_check_sound *s, int64_t window, const float *lips, ls_lag_sum *sum,
                           const ls_cancel *cancel, ls_error *err)
{
    const int64_t first = window - LS_LAG_MOST;
    double distances[LS_LAGS];
    if (s->next < first)
        s->next = first;
    for (; s->next < first + LS_LAGS; s->next++) {
        int ret = s->hear(s->opaque, s->next, at(s, s->next), cancel, err);
        if (ret)
            return ret;
    }
    for (int k = 0; k < LS_LAGS; k++)
        distances[k] = s->distance(lips, at(s, first + k), s->width);
    ls_lag_add_distances(sum, distances);
    return 0;
}
