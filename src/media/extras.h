/* What the video's file holds beside picture and sound, carried over to the output as far as its
 * container allows: tags, chapters, time code, subtitles, cover, attachments. */
#ifndef LS_MEDIA_EXTRAS_H
#define LS_MEDIA_EXTRAS_H

#include "media/av.h"
#include "base/log.h"
#include "media/video.h"

typedef struct ls_extras ls_extras;

/* Adds to `mux` what of the file of `source` it can hold, of the length of the output, `seconds`
 * from its frame `first` on; INFINITY: unknown. `video`: the stream of the output. Streams that it
 * cannot hold are reported to `log`, which may be NULL. `source` must outlive *out. */
int ls_extras_open(ls_extras **out, const ls_video *source, AVFormatContext *mux, AVStream *video,
                   uint64_t first, double seconds, const ls_log *log, ls_error *err);
/* Sets *x to NULL; takes NULL. */
void ls_extras_close(ls_extras **x);
/* Writes all that is shown before `seconds`; INFINITY for the rest of it. */
int ls_extras_write_until(ls_extras *x, double seconds, ls_error *err);

#endif
