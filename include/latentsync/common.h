#ifndef LATENTSYNC_COMMON_H
#define LATENTSYNC_COMMON_H

#include <stddef.h>
#include <stdint.h>

/* A function of the public API; the shared library exports nothing else. */
#if defined __GNUC__
#define LS_API __attribute__((visibility("default")))
#else
#define LS_API
#endif

/* Levels of messages. A notice is a warning that concerns the result as a whole: show it even to
 * users who asked for errors only. */
enum ls_message_level {
    LS_MESSAGE_ERROR,
    LS_MESSAGE_NOTICE,
    LS_MESSAGE_WARNING,
    LS_MESSAGE_INFO,
    LS_MESSAGE_DEBUG
};

#endif
