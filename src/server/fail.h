#ifndef LS_SERVER_FAIL_H
#define LS_SERVER_FAIL_H

#include "latentsync/error.h"

/* Fills `err`, which may be NULL, and returns `code`. */
int server_fail(ls_error *err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* With the text of errno, which decides the code. */
int server_fail_errno(ls_error *err, const char *what, const char *path);

#endif
