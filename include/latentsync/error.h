/* Errors: every fallible function returns 0 or one of these negative codes, and describes the
 * failure (what, where, why) in an ls_error that the caller owns, and that means nothing after
 * success. Messages name no command-line option; what would help is in `option` and `hint`, for a
 * program to put in its own words. */
#ifndef LATENTSYNC_ERROR_H
#define LATENTSYNC_ERROR_H

#include "latentsync/common.h"

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
    X(LS_EBUSY, -12, "in use by another process")                                                  \
    X(LS_EMODEL, -13, "model missing or unusable")                                                 \
    X(LS_ENOFACE, -14, "no face")                                                                  \
    X(LS_EDEVICE, -15, "the device was lost")

enum ls_error_code {
    LS_OK = 0,
#define LS_X(name, value, text) name = value,
    LS_ERROR_MAP(LS_X)
#undef LS_X
};

/* What would help. */
#define LS_HINT_MAP(X)                                                                             \
    X(LS_HINT_NONE, "")                                                                            \
    X(LS_HINT_INSTALL_MODEL, "install a model, or name the directory of one")                      \
    X(LS_HINT_MODEL_DIRECTORY, "check what the model directory holds")                             \
    X(LS_HINT_LIST_FACES, "list the faces of the video")                                           \
    X(LS_HINT_MORE_MEMORY, "raise the memory limit, end other programs, choose a faster preset "   \
                           "of the encoder, or use a model made for a smaller resolution")         \
    X(LS_HINT_RESUME_OR_REMOVE, "resume the job as it was started, or remove its folder to start " \
                                "again")                                                           \
    X(LS_HINT_REMOVE_JOB, "remove the job's folder to start again")                                \
    X(LS_HINT_RENDER_MISSING, "render the missing segments first")                                 \
    X(LS_HINT_WAIT, "wait for the other process to end")                                           \
    X(LS_HINT_FREE_SPACE, "free space on the disk, then resume")                                   \
    X(LS_HINT_OTHER_OUTPUT, "name another output")                                                 \
    X(LS_HINT_ACCEPT_LICENCE, "accept the licence, or leave the face networks out")                \
    X(LS_HINT_FETCH_BY_HAND, "fetch the files by hand from the addresses given")                   \
    X(LS_HINT_TRUST_JOB, "allow the job to write there")                                           \
    X(LS_HINT_ALLOW_HTTP, "allow http to that host; each file is still checked by its SHA-256")    \
    X(LS_HINT_SMALLER_FACES, "allow smaller faces, which come out blurred")                        \
    X(LS_HINT_LIST_DEVICES, "list the devices of this machine, or compute on the CPU")             \
    X(LS_HINT_CARD_MEMORY, "raise the limit of the card's memory, end other programs that use "    \
                           "the card, use a model made for a smaller resolution, or compute on "   \
                           "the CPU")                                                              \
    X(LS_HINT_ANY_DEVICE, "resume the job on the device it was begun on, or allow any")

enum ls_hint {
#define LS_X(name, text) name,
    LS_HINT_MAP(LS_X)
#undef LS_X
};

typedef struct ls_error {
    int code;           /* 0 or an ls_error_code */
    int hint;           /* an ls_hint */
    char option[32];    /* name (option.h) of the setting it is about; empty: none */
    char message[1024]; /* one line of UTF-8 without a final newline */
} ls_error;

/* "LS_EIO" for LS_EIO; "LS_E?" for an unknown code. Static storage; any thread. */
LS_API const char *ls_error_name(int code);
/* "input/output error" for LS_EIO. Static storage; any thread. */
LS_API const char *ls_error_text(int code);
/* The text of LS_HINT_MAP; "" for none and for an unknown hint. Static storage; any thread. */
LS_API const char *ls_hint_text(int hint);
/* Whether the same call may succeed later, nothing but the machine's state having changed: space,
 * memory, a lock, a connection, a device, a cancellation. Any thread. */
LS_API int ls_error_is_temporary(int code);

#ifdef __cplusplus
}
#endif
#endif
