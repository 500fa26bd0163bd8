/* What the files of the media module share of libav*. */
#ifndef LS_MEDIA_AV_H
#define LS_MEDIA_AV_H

#include "base/error.h"

#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>

/* Fails with the text of `averror`, a libav* error, after the message. */
int ls_fail_av(ls_error *err, int averror, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
