/* Interlaced frames made progressive by libavfilter's bwdif, one frame for each. */
#ifndef LS_MEDIA_DEINTERLACE_H
#define LS_MEDIA_DEINTERLACE_H

#include "media/av.h"
#include "base/log.h"

/* One thread at a time. Progressive frames pass unchanged, and until the first interlaced one comes
 * none is held back; from then on each waits for its successor. */
typedef struct ls_deinterlacer ls_deinterlacer;

/* `name`, of the video, and `log` are for the one line that says so, and outlive *out. LS_ENOMEM.
 */
int ls_deinterlacer_open(ls_deinterlacer **out, const char *name, const ls_log *log, ls_error *err);
/* Sets *d to NULL; takes NULL. */
void ls_deinterlacer_close(ls_deinterlacer **d);

/* Puts the next frame, of a format of ls_format_planar, or NULL after the last; `f` is empty
 * afterwards. All frames have one format and size. */
int ls_deinterlacer_put(ls_deinterlacer *d, AVFrame *f, ls_error *err);
/* The next finished frame in `f`, which is empty before. False, and `f` empty, while another must
 * be put. *ret is 0, LS_EOF after the last, or an error. */
bool ls_deinterlacer_take(ls_deinterlacer *d, AVFrame *f, int *ret, ls_error *err);
/* Forgets the frames it holds: another place of the stream follows. Its first frame, if interlaced,
 * will lack its predecessor. */
void ls_deinterlacer_restart(ls_deinterlacer *d);
/* Whether an interlaced frame has been put since it was opened. */
bool ls_deinterlacer_works(const ls_deinterlacer *d);

#endif
