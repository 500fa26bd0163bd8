/* Errors: every fallible function returns 0 or one of these negative codes, and writes the
 * message (what failed, where, what to do) into an ls_error that the caller owns. */
#ifndef LATENTSYNC_ERROR_H
#define LATENTSYNC_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define LS_ERROR_MAP(X)                                                                            \
    X(LS_EINVAL, -1, "invalid argument")                                                           \
    X(LS_ENOMEM, -2, "out of memory")                                                              \
    X(LS_EIO, -3, "input/output error")                                                            \
    X(LS_ENOENT, -4, "not found")                                                                  \
    X(LS_EFORMAT, -5, "malformed or unknown file")                                                 \
    X(LS_EUNSUPPORTED, -6, "not supported")                                                        \
    X(LS_ESHAPE, -7, "unexpected tensor shape")                                                    \
    X(LS_ECANCELED, -8, "canceled")                                                                \
    X(LS_EBACKEND, -9, "compute backend failed")                                                   \
    X(LS_ENOSPC, -10, "no space left")                                                             \
    X(LS_EOF, -11, "end of stream")                                                                \
    X(LS_EBUSY, -12, "in use by another process")

enum ls_error_code {
    LS_OK = 0,
#define LS_X(name, value, text) name = value,
    LS_ERROR_MAP(LS_X)
#undef LS_X
};

/* `code` is 0 or an ls_error_code; `message` is one line of UTF-8 without a final newline. */
typedef struct ls_error {
    int code;
    char message[1024];
} ls_error;

/* "LS_EIO" for LS_EIO; "LS_E?" for an unknown code. Static storage; any thread. */
const char *ls_error_name(int code);
/* "input/output error" for LS_EIO. Static storage; any thread. */
const char *ls_error_text(int code);

#ifdef __cplusplus
}
#endif
#endif
