/* What the tests of src/media share: files that ffmpeg makes, and its output to compare with. */
#ifndef LS_TEST_MEDIA_H
#define LS_TEST_MEDIA_H

#include "test.h"

#include "base/log.h"
#include "media/frame.h"

#include <sys/stat.h>

static char media_dir[4096]; /* temporary; made by media_setup */

static inline int media_setup(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(media_dir, sizeof media_dir, "%s/ls_media_XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(media_dir) ? 0 : -1;
}

static inline int media_teardown(void **state)
{
    (void)state;
    char command[5000];
    snprintf(command, sizeof command, "rm -rf '%s'", media_dir);
    return system(command);
}

/* Path of a file in the temporary folder. */
static inline const char *media_path(char buf[static 4096], const char *name)
{
    assert_true((size_t)snprintf(buf, 4096, "%s/%s", media_dir, name) < 4096);
    return buf;
}

/* Runs a shell command in the temporary folder; it must succeed. */
__attribute__((format(printf, 1, 2))) static inline void media_run(const char *fmt, ...)
{
    char command[8192];
    int n = snprintf(command, sizeof command, "cd '%s' && ", media_dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command + n, sizeof command - (size_t)n, fmt, ap);
    va_end(ap);
    if (system(command))
        fail_msg("failed: %s", command);
}

/* The standard output of a shell command run in the temporary folder; pclose it. */
__attribute__((format(printf, 1, 2))) static inline FILE *media_pipe(const char *fmt, ...)
{
    char command[8192];
    int n = snprintf(command, sizeof command, "cd '%s' && ", media_dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command + n, sizeof command - (size_t)n, fmt, ap);
    va_end(ap);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    return p;
}

/* The first line of a command's output. */
__attribute__((format(printf, 2, 3))) static inline const char *media_line(char buf[static 4096],
                                                                           const char *fmt, ...)
{
    char command[8192];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(command, sizeof command, fmt, ap);
    va_end(ap);
    FILE *p = media_pipe("%s", command);
    if (!fgets(buf, 4096, p))
        *buf = 0;
    pclose(p);
    buf[strcspn(buf, "\n")] = 0;
    return buf;
}

/* The planes of a frame as ffmpeg's rawvideo has them; *bytes is their size. free() it. */
static inline uint8_t *media_pack(const ls_frame *f, size_t *bytes)
{
    ls_picture p = ls_frame_picture(f);
    *bytes = ls_frame_bytes(f);
    uint8_t *packed = malloc(*bytes), *at = packed;
    assert_non_null(packed);
    for (unsigned i = 0; i < 3 && p.data[i]; i++) {
        size_t w = i ? (p.w + (1u << p.sub_x) - 1) >> p.sub_x : p.w;
        size_t h = i ? (p.h + (1u << p.sub_y) - 1) >> p.sub_y : p.h;
        for (size_t y = 0; y < h; y++, at += w * (p.depth > 8 ? 2 : 1))
            memcpy(at, p.data[i] + (ptrdiff_t)y * p.stride[i], w * (p.depth > 8 ? 2 : 1));
    }
    assert_int_equal(at - packed, *bytes);
    return packed;
}

/* A log that counts warnings and keeps the last line. */
typedef struct media_log {
    int warnings;
    char last[1024];
} media_log;

static inline void media_log_write(void *opaque, int level, const char *line)
{
    media_log *l = opaque;
    l->warnings += level == LS_LOG_WARN;
    snprintf(l->last, sizeof l->last, "%s", line);
}

#endif
