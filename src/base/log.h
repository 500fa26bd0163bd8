#ifndef LS_BASE_LOG_H
#define LS_BASE_LOG_H

#include "latentsync/common.h"

enum {
    LS_LOG_ERROR = LS_MESSAGE_ERROR,
    LS_LOG_NOTICE = LS_MESSAGE_NOTICE,
    LS_LOG_WARN = LS_MESSAGE_WARNING,
    LS_LOG_INFO = LS_MESSAGE_INFO,
    LS_LOG_DEBUG = LS_MESSAGE_DEBUG
};

/* Where messages of one job go. `write` may be called from any of the job's threads, one line per
 * call, without newline; messages above `level` are not formatted. A NULL ls_log is silent. */
typedef struct ls_log {
    int level;
    void (*write)(void *opaque, int level, const char *line);
    void *opaque;
} ls_log;

void ls_log_msg(const ls_log *log, int level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
