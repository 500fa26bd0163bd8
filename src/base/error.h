#ifndef LS_BASE_ERROR_H
#define LS_BASE_ERROR_H

#include "latentsync/error.h"

/* Sets `err` (may be NULL) and returns `code`, so that `return ls_fail(err, LS_EIO, ...)` works.
 * Control characters from foreign names are replaced by '?'. */
int ls_fail(ls_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Adds advice to the error just set: `hint`, an ls_hint, and the name of the option concerned, or
 * NULL. Sets its code to `code` and returns that: `return ls_advise(err, ls_fail(err, ...),
 * LS_HINT_WAIT, NULL)`. */
int ls_advise(ls_error *err, int code, int hint, const char *option);

/* Prepends "what: " to the message in `err`, keeping its advice; returns `code`. */
int ls_fail_context(ls_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As ls_fail, with ": " and the text of `errnum` appended and the code derived from it
 * (ENOENT, ENOMEM, ENOSPC for a full disk or quota, otherwise LS_EIO). */
int ls_fail_errno(ls_error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
