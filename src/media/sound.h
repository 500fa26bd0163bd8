/* The sound of a file on the clock of a player. */
#ifndef LS_MEDIA_SOUND_H
#define LS_MEDIA_SOUND_H

#include "base/cancel.h"
#include "base/error.h"
#include "base/log.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct ls_sound_settings {
    const char *path;
    int stream;        /* its index in the file; -1: the best */
    double offset;     /* seconds of silence before the recording; negative: what its start lacks */
    const ls_log *log; /* NULL, or is told once what is wrong with the file */
    const ls_cancel *cancel; /* NULL, or outlives the sound */
} ls_sound_settings;

/* What is known of a sound when all of it has been decoded. */
typedef struct ls_sound_facts {
    double begin;   /* of the recording, seconds */
    double seconds; /* its end, the offset included */
    /* The packets may be copied: they follow each other without a hole, an overlap or damage, are
     * not moved by an offset, and hide nothing but what an encoder puts before the first sample. */
    bool is_plain;
    int64_t zero; /* time stamp of the file, in the time base of the stream, that is at 0 */
    double lead;  /* from the start of the file, where the timeline of its video is at 0, to our 0:
                     seconds */
} ls_sound_facts;

/* One thread at a time. */
typedef struct ls_sound ls_sound;

/* Opens the file; the path must outlive *out. Time 0 is where a player starts the file: the first
 * audible sample, or the first picture if that is earlier. Frames come in order and without holes.
 * Where time stamps leave one, there is silence; where they overlap, the later frame is cut; up to
 * 2 ms are taken for rounding. Where they jump by more than ten minutes, or back by more than a
 * second (in formats whose clock may start anew, like .ts, ten seconds and a tenth), the clock is
 * taken to be wrong and the sound goes on. */
int ls_sound_open(ls_sound **out, const ls_sound_settings *s, ls_error *err);
/* Sets *s to NULL; takes NULL. */
void ls_sound_close(ls_sound **s);

struct AVFrame;
struct AVStream;
struct AVCodecContext;

/* Fills an empty frame, which is the caller's to unref; LS_EOF after the last one. Time stamps of
 * the frames mean nothing. */
int ls_sound_next(ls_sound *s, struct AVFrame *f, ls_error *err);
/* Complete once ls_sound_next has returned LS_EOF. */
const ls_sound_facts *ls_sound_get_facts(const ls_sound *s);
/* The decoder, for its channels and rate. */
const struct AVCodecContext *ls_sound_decoder(const ls_sound *s);

/* Whether a file has sound at all. `cancel` may be NULL. */
int ls_sound_is_in(const char *path, bool *is, const ls_cancel *cancel, ls_error *err);
/* Decodes all of a sound for its facts. */
int ls_sound_scan(ls_sound_facts *out, const ls_sound_settings *s, ls_error *err);

#endif
