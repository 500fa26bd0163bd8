#include "server/fail.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int server_fail(ls_error *err, int code, const char *fmt, ...)
{
    va_list args;
    if (!err)
        return code;
    *err = (ls_error){.code = code};
    va_start(args, fmt);
    vsnprintf(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return code;
}

int server_fail_errno(ls_error *err, const char *what, const char *path)
{
    const int number = errno;
    const int code = number == ENOSPC || number == EDQUOT   ? LS_ENOSPC
                     : number == ENOMEM || number == EAGAIN ? LS_ENOMEM
                     : number == ENOENT                     ? LS_ENOENT
                                                            : LS_EIO;
    char text[128];
    if (strerror_r(number, text, sizeof text))
        snprintf(text, sizeof text, "error %d", number);
    return server_fail(err, code, "%s %s: %s", what, path, text);
}
