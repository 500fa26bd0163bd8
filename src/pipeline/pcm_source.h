/* A decoded recording for what hears it. */
#ifndef LS_PIPELINE_PCM_SOURCE_H
#define LS_PIPELINE_PCM_SOURCE_H

#include "media/pcm.h"
#include "models/whisper/log_mel.h"

static inline int ls_pcm_source_read(void *opaque, uint64_t start, size_t n, int16_t *dst,
                                     ls_error *err)
{
    return ls_pcm_read(opaque, start, n, dst, err);
}

/* `pcm` must outlive it. */
static inline ls_pcm_source ls_pcm_source_of(ls_pcm *pcm)
{
    return (ls_pcm_source){ls_pcm_samples(pcm), ls_pcm_source_read, pcm};
}

#endif
