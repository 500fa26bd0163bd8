/* Whether the lips of a video follow its sound. */
#ifndef LATENTSYNC_CHECK_H
#define LATENTSYNC_CHECK_H

#include "latentsync/sync.h"

#ifdef __cplusplus
extern "C" {
#endif

enum ls_check_verdict {
    LS_CHECK_UNKNOWN, /* it cannot be told: `confidence` is too low, or the best lag is the largest
                         that was tried, 0.6 s */
    LS_CHECK_IN_SYNC, /* by less than one and a half frames of 25 a second early or late */
    LS_CHECK_LATE,    /* the sound comes after the lips, */
    LS_CHECK_EARLY    /* before them */
};

/* Later versions may add members at the end of these structs. */
typedef struct ls_check_stretch {
    double start, seconds; /* of the video */
    uint64_t frames;       /* with a face, of 25 a second */
    int verdict;
    double lag; /* of the sound behind the lips, seconds; means nothing where it cannot be told */
    double confidence;
} ls_check_stretch;

typedef struct ls_check {
    const char *method;     /* "StableSyncNet", "SyncNet", "mouth opening" */
    double least;           /* confidence from which on there is a verdict */
    ls_check_stretch whole; /* the video */
    size_t stretch_count;   /* of 10 s each, but the last */
    const ls_check_stretch *stretches;
    const char *why; /* this method: "its weights were given" */
} ls_check;

/* Compares the lips of a video with its own sound. Of the settings those count that have an option
 * used by LS_OPTION_CHECK, and audio_stream, a stream of the video's file; `cancel`, `message`,
 * `progress` and `opaque` as for a job.
 *
 * Weights decide how (settings: syncnet): those of LatentSync's StableSyncNet, or those of SyncNet,
 * which is then used as LatentSync's evaluation does it. Of the former, confidence is the mean
 * cosine of lips and sound at the best lag, and there is no verdict either where half of all lags
 * reach `least`; of the latter, the median of the mean distances over the lags minus the least.
 * Without weights, the opening of the mouth, by how dark it is, is correlated with what the
 * loudness of eight bands of the sound lets expect, and confidence is the best correlation in
 * standard deviations of what unrelated series like these give by chance.
 *
 * Unnamed files are made in TMPDIR; memory does not depend on the video's length but for the list
 * of stretches. On failure *out is NULL: LS_ENOFACE; LS_EFORMAT, also for a video without sound;
 * and as ls_sync_open. Any thread. */
LS_API int ls_check_video(const ls_check **out, const ls_sync_settings *s, ls_error *err);
/* Sets *c to NULL; takes NULL. */
LS_API void ls_check_free(const ls_check **c);

#ifdef __cplusplus
}
#endif
#endif
