/* Where a recording has speech: a voice activity detector on its log-mel spectrogram. */
#ifndef LS_MODELS_WHISPER_ACTIVITY_H
#define LS_MODELS_WHISPER_ACTIVITY_H

#include "models/whisper/log_mel.h"

/* Frames of 10 ms before and after one that decide about it. */
#define LS_ACTIVITY_REACH 700
#define LS_ACTIVITY_MOST 3000 /* frames that are asked about at once */

typedef struct ls_activity ls_activity;

/* `mel` must outlive *out. Memory does not depend on the length. */
int ls_activity_open(ls_activity **out, ls_log_mel *mel, ls_error *err);
void ls_activity_close(ls_activity **a);
/* Bytes that one takes. */
size_t ls_activity_bytes(void);

/* How much of each frame [start, start + n) is speech, 0 to 1; between them it fades within the
 * silence. n is at most LS_ACTIVITY_MOST; frames past the end are 1. What a frame gets does not
 * depend on `start`. One thread at a time, which no other reads `mel` in. */
int ls_activity_read(ls_activity *a, size_t start, size_t n, float *parts, ls_error *err);

#endif
