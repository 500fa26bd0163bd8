/* Speech as Whisper expects it: 16 kHz, mono, 16 bit. */
#ifndef LS_MEDIA_PCM_H
#define LS_MEDIA_PCM_H

#include "media/sound.h"

#include <stddef.h>

#define LS_PCM_RATE 16000

typedef struct ls_pcm ls_pcm;

/* Decodes a sound once, as `ffmpeg -ac 1 -ar 16000` does, into an unnamed temporary file in
 * `folder` (see ls_temporary_file), so that memory does not depend on the length. Where the mix of
 * the channels is much weaker than the strongest of them, because they cancel each other out or
 * all others are silent, the file is decoded once more for that channel alone. LS_EFORMAT when
 * there is no audio that can be decoded. */
int ls_pcm_open(ls_pcm **out, const ls_sound_settings *s, const char *folder, ls_error *err);
void ls_pcm_close(ls_pcm **p);
/* Cuts the recording to so many samples, or goes on with silence to there. */
void ls_pcm_fit(ls_pcm *p, uint64_t samples);
uint64_t ls_pcm_samples(const ls_pcm *p);
const ls_sound_facts *ls_pcm_facts(const ls_pcm *p);
/* Samples [start, start + n), which must lie within the recording. Any thread. */
int ls_pcm_read(const ls_pcm *p, uint64_t start, size_t n, int16_t *dst, ls_error *err);

#endif
