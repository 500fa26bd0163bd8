#include "media/av.h"

#include <stdarg.h>
#include <stdio.h>

int ls_fail_av(ls_error *err, int averror, const char *fmt, ...)
{
    char what[512], why[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (averror == AVERROR_EXIT)
        return ls_fail(err, LS_ECANCELED, "canceled");
    av_strerror(averror, why, sizeof why);
    int code = averror == AVERROR(ENOMEM)             ? LS_ENOMEM
               : averror == AVERROR(ENOSPC)           ? LS_ENOSPC
               : averror == AVERROR(ENOENT)           ? LS_ENOENT
               : averror == AVERROR_INVALIDDATA       ? LS_EFORMAT
               : averror == AVERROR_DECODER_NOT_FOUND ? LS_EUNSUPPORTED
                                                      : LS_EIO;
    return ls_fail(err, code, "%s: %s", what, why);
}
