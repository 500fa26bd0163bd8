#ifndef LS_BASE_ERROR_H
#define LS_BASE_ERROR_H

#include "latentsync/error.h"

/* Sets `err` (may be NULL) and returns `code`, so that `return ls_fail(err, LS_EIO, ...)` works.
 * Control characters from foreign names are replaced by '?'. */
int ls_fail(ls_error *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "what: " in front of the message that `err` already holds; returns err's code. */
int ls_fail_context(ls_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As ls_fail, with ": " and the text of `errnum` appended and the code derived from it
 * (ENOENT, ENOMEM, ENOSPC, otherwise LS_EIO). */
int ls_fail_errno(ls_error *err, int errnum, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
