/* Metadata of HDR that holds for a whole video: the mastering display and the light levels. */
#ifndef LS_MEDIA_HDR_H
#define LS_MEDIA_HDR_H

#include "media/av.h"
#include "base/log.h"

/* Adds to the first frame, `model`, what only its stream says. LS_ENOMEM. */
int ls_hdr_complete(AVFrame *model, const AVStream *st, ls_error *err);
/* Adds to an encoder's options what makes it write `model`'s; a negative AVERROR code. */
int ls_hdr_set_options(AVDictionary **options, const char *encoder, const AVFrame *model);
/* Has the muxer of a stream write `model`'s. LS_ENOMEM. */
int ls_hdr_set_stream(AVStream *st, const AVFrame *model, ls_error *err);
/* Says what is lost because it differs from frame to frame. `name`: of the video. */
void ls_hdr_report(const AVFrame *model, const AVStream *st, const char *name, const ls_log *log);

#endif
