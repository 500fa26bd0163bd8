/* Speech as Whisper expects it: 16 kHz, mono, 16 bit. */
#ifndef LS_MEDIA_PCM_H
#define LS_MEDIA_PCM_H

#include "base/cancel.h"
#include "base/error.h"

#include <stddef.h>
#include <stdint.h>

#define LS_PCM_RATE 16000

typedef struct ls_pcm ls_pcm;

/* Decodes an audio stream of a file once (`stream`: its index, -1 for the best), as `ffmpeg -ac 1
 * -ar 16000` does, into an unnamed temporary file in `folder` (see ls_temporary_file), so that
 * memory does not depend on the length. LS_EFORMAT when there is no audio that can be decoded. */
int ls_pcm_open(ls_pcm **out, const char *path, int stream, const char *folder,
                const ls_cancel *cancel, ls_error *err);
void ls_pcm_close(ls_pcm **p);
uint64_t ls_pcm_samples(const ls_pcm *p);
/* Samples [start, start + n), which must lie within the recording. Any thread. */
int ls_pcm_read(const ls_pcm *p, uint64_t start, size_t n, int16_t *dst, ls_error *err);

#endif
