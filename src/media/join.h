/* The output file: segments one after another, copied, the audio of the speech file, and what else
 * the video's file holds (extras.h). */
#ifndef LS_MEDIA_JOIN_H
#define LS_MEDIA_JOIN_H

#include "base/cancel.h"
#include "base/log.h"
#include "media/encoder.h"
#include "media/mix.h"

/* Takes a stream of fragmented MP4: its header, called once, then fragments, of a few megabytes
 * each. */
typedef struct ls_join_sink {
    int (*write)(void *opaque, bool is_header, const uint8_t *data, size_t size, ls_error *err);
    void *opaque;
} ls_join_sink;

typedef struct ls_join_settings {
    const char *path; /* its extension chooses the container */
    const char *audio;
    int audio_stream;            /* its index in that file; -1: the best */
    double offset;               /* of the speech, as in ls_sound_settings */
    const ls_sound_facts *facts; /* of the speech with its offset; NULL: taken for plain */
    ls_mix_own own;
    double sound_seconds; /* where the sound ends in the whole, if not with the speech; else 0 */
    uint64_t delay;       /* the largest of the segments'; with a sink at least the first one's */
    uint64_t first;       /* frame of the whole that the output begins with */
    double seconds;       /* length of the video; 0: not known yet */
    bool marks;           /* the output says that a machine made the picture (mark.h) */
    const ls_encoding *encoding;
    const ls_log *log;
    ls_join_sink sink; /* what takes picture and sound instead of a file; write NULL: none. Each
                          segment begins and ends with a fragment; `path` is for messages */
} ls_join_settings;

/* One thread at a time. */
typedef struct ls_join ls_join;

/* Checks whether such an output is possible: opens the encoder, and makes a file of a few small
 * frames with the same settings and the sound, in memory, and reads it back. What the output loses
 * is reported to the log. LS_EINVAL, LS_EUNSUPPORTED, or what opening the audio gives. */
int ls_join_check(const ls_join_settings *s, ls_error *err);

/* Everything goes to a temporary file beside `path`, begun with the first segment. Audio is copied
 * where the container allows, otherwise encoded as AAC at its own rate and channels. Strings must
 * outlive *out. */
int ls_join_open(ls_join **out, const ls_join_settings *s, ls_error *err);
/* Appends a segment, which must hold `frames` frames. */
int ls_join_add(ls_join *j, const char *segment, uint64_t frames, const ls_cancel *cancel,
                ls_error *err);
/* Completes the file, forces it to the disk and gives it its name; or gives the sink what is left
 * of the sound. */
int ls_join_finish(ls_join *j, ls_error *err);
/* Removes the temporary file unless ls_join_finish succeeded. Sets *j to NULL; takes NULL. */
void ls_join_close(ls_join **j);
/* "copied", or as what it is encoded: "AAC". */
const char *ls_join_audio_mode(const ls_join *j);

#endif
