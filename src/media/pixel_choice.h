/* Which pixel format an encoder is given. */
#ifndef LS_MEDIA_PIXEL_CHOICE_H
#define LS_MEDIA_PIXEL_CHOICE_H

#include "media/av.h"
#include "base/log.h"

/* `wanted`, if the encoder takes it. NULL, or "auto": with transparency where `model` has it and
 * the encoder takes it, otherwise 4:2:0 of 8 or 10 bits, otherwise what comes closest to `model`.
 * What is lost, and what few players can show, is reported to `log`, which may be NULL. LS_EINVAL.
 */
int ls_pixel_choose(enum AVPixelFormat *out, const AVCodec *codec, const AVFrame *model,
                    const char *wanted, const ls_log *log, ls_error *err);
/* Whether it takes a format with transparency. */
bool ls_pixel_takes_alpha(const AVCodec *codec);

#endif
