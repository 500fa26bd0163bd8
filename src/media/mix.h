/* What is heard in the output: the speech, and with it or after it the video's own sound. */
#ifndef LS_MEDIA_MIX_H
#define LS_MEDIA_MIX_H

#include "media/av.h"
#include "media/sound.h"

/* The video's own sound. */
typedef struct ls_mix_own {
    const char *path; /* NULL: it is not heard */
    double under;     /* factor while the speech lasts; afterwards it is 1 */
    double period;    /* seconds after which it starts again, as the video does; 0: never */
} ls_mix_own;

typedef struct ls_mix_settings {
    ls_sound_settings speech;
    ls_mix_own own;
    double speech_seconds; /* where the speech ends; 0: not known, and there is no own sound */
    double begin;          /* what comes before is left out; 0 unless `seconds` is known */
    double seconds;        /* where all ends; 0: with the speech */
} ls_mix_settings;

/* One thread at a time. */
typedef struct ls_mix ls_mix;

/* Opens the files; strings must outlive *out. */
int ls_mix_open(ls_mix **out, const ls_mix_settings *s, ls_error *err);
/* Sets *m to NULL; takes NULL. */
void ls_mix_close(ls_mix **m);
/* The most channels and the highest rate of what is heard. */
const AVChannelLayout *ls_mix_layout(const ls_mix *m);
int ls_mix_rate(const ls_mix *m);
/* Before reading: what to give, as planes of floats. */
int ls_mix_start(ls_mix *m, const AVChannelLayout *layout, int rate, ls_error *err);
/* The next samples, `n` at most, to `planes`. Their number, 0 at the end, or an error. */
int ls_mix_read(ls_mix *m, float *const *planes, int n, ls_error *err);

#endif
