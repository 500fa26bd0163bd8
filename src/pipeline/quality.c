#include "pipeline/quality.h"

/* Measured: docs/PERFORMANCE.md. */
static const struct {
    int sampler;
    size_t steps, cache_interval;
    const char *guidance_interval;
} qualities[] = {
    [LS_QUALITY_AUTO] = {LS_SAMPLER_DDIM, 20, 3, "0:1"},
    [LS_QUALITY_FAST] = {LS_SAMPLER_DPMPP, 6, 3, "0:0.5"},
    [LS_QUALITY_BALANCED] = {LS_SAMPLER_DPMPP, 9, 2, "0:1"},
    [LS_QUALITY_BEST] = {LS_SAMPLER_UNIPC, 25, 1, "0:1"},
};

void ls_quality_fill(ls_sync_settings *s)
{
    if (!s->sampler)
        s->sampler = qualities[s->quality].sampler;
    if (!s->steps)
        s->steps = qualities[s->quality].steps;
    if (!s->cache_interval)
        s->cache_interval = qualities[s->quality].cache_interval;
    if (!s->guidance_interval)
        s->guidance_interval = qualities[s->quality].guidance_interval;
}
