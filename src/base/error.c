#include "base/error.h"
#include "base/alloc.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *ls_error_name(int code)
{
    switch (code) {
    case LS_OK:
        return "LS_OK";
#define LS_X(name, value, text)                                                                    \
    case name:                                                                                     \
        return #name;
        LS_ERROR_MAP(LS_X)
#undef LS_X
    }
    return "LS_E?";
}

const char *ls_error_text(int code)
{
    switch (code) {
    case LS_OK:
        return "success";
#define LS_X(name, value, text)                                                                    \
    case name:                                                                                     \
        return text;
        LS_ERROR_MAP(LS_X)
#undef LS_X
    }
    return "unknown error";
}

const char *ls_hint_text(int hint)
{
    static const char *const texts[] = {
#define LS_X(name, text) [name] = text,
        LS_HINT_MAP(LS_X)
#undef LS_X
    };
    return hint > 0 && hint < (int)LS_COUNT(texts) ? texts[hint] : "";
}

int ls_error_is_temporary(int code)
{
    return code == LS_ENOMEM || code == LS_EIO || code == LS_ECANCELED || code == LS_ENOSPC ||
           code == LS_EBUSY || code == LS_EDEVICE;
}

static void set_message(ls_error *err, int code, const char *fmt, va_list ap)
{
    err->code = code;
    vsnprintf(err->message, sizeof err->message, fmt, ap);
    for (unsigned char *c = (unsigned char *)err->message; *c; c++)
        if (*c < 0x20 || *c == 0x7f)
            *c = '?';
}

int ls_fail(ls_error *err, int code, const char *fmt, ...)
{
    if (err) {
        va_list ap;
        err->hint = LS_HINT_NONE;
        *err->option = '\0';
        va_start(ap, fmt);
        set_message(err, code, fmt, ap);
        va_end(ap);
    }
    return code;
}

int ls_advise(ls_error *err, int code, int hint, const char *option)
{
    if (err) {
        err->code = code;
        err->hint = hint;
        snprintf(err->option, sizeof err->option, "%s", option ? option : "");
    }
    return code;
}

int ls_fail_context(ls_error *err, int code, const char *fmt, ...)
{
    if (err) {
        ls_error old = *err;
        va_list ap;
        va_start(ap, fmt);
        set_message(err, code, fmt, ap);
        va_end(ap);
        size_t n = strlen(err->message);
        snprintf(err->message + n, sizeof err->message - n, ": %s",
                 old.code ? old.message : ls_error_text(code));
    }
    return code;
}

int ls_fail_errno(ls_error *err, int errnum, const char *fmt, ...)
{
    int code = errnum == ENOENT                                          ? LS_ENOENT
               : errnum == ENOMEM                                        ? LS_ENOMEM
               : errnum == ENOSPC || errnum == EDQUOT || errnum == EFBIG ? LS_ENOSPC
                                                                         : LS_EIO;
    if (err) {
        char text[256];
        va_list ap;
        err->hint = code == LS_ENOSPC ? LS_HINT_FREE_SPACE : LS_HINT_NONE;
        *err->option = '\0';
        va_start(ap, fmt);
        set_message(err, code, fmt, ap);
        va_end(ap);
        size_t n = strlen(err->message);
        if (strerror_r(errnum, text, sizeof text))
            snprintf(text, sizeof text, "error %d", errnum);
        snprintf(err->message + n, sizeof err->message - n, ": %s", text);
    }
    return code;
}
