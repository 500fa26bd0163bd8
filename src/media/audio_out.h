/* The audio of the output: packets of a file, copied or encoded again, interleaved with the video.
 */
#ifndef LS_MEDIA_AUDIO_OUT_H
#define LS_MEDIA_AUDIO_OUT_H

#include "base/log.h"
#include "media/container.h"
#include "media/mix.h"

#include <stdbool.h>

typedef struct ls_audio_out ls_audio_out;

/* Adds a stream to `mux`, which writes `container`: the packets of the speech where they are plain,
 * alone, and of a kind that it holds, otherwise AAC of what is heard. `facts` of the speech; NULL:
 * it is taken for plain. Of several streams, the log is told which was taken. */
int ls_audio_out_open(ls_audio_out **out, const ls_mix_settings *mix, const ls_sound_facts *facts,
                      const ls_container *container, AVFormatContext *mux, const ls_log *log,
                      ls_error *err);
void ls_audio_out_close(ls_audio_out **a);
bool ls_audio_out_copies(const ls_audio_out *a);
/* Writes all audio that starts before `seconds`; INFINITY for the rest of it. */
int ls_audio_out_write_until(ls_audio_out *a, double seconds, ls_error *err);

#endif
