/* What the ffmpeg program of this machine does otherwise than that of FFmpeg 5.1. */
#ifndef LS_TEST_FFMPEG_H
#define LS_TEST_FFMPEG_H

#include <stdbool.h>
#include <stdio.h>

/* Since 6.1 it drops and repeats frames by other rules than 5.1, which are ours with every
 * version. */
static inline bool ffmpeg_has_our_rules(void)
{
    FILE *p = popen("ffmpeg -version", "r");
    int major = 0, minor = 0;
    const int n = p ? fscanf(p, "ffmpeg version %d.%d", &major, &minor) : 0;
    while (p && fgetc(p) != EOF)
        ;
    if (p)
        pclose(p);
    return n == 2 && (major < 6 || (major == 6 && !minor));
}

/* A shell command that copies a file, to be turned clockwise by so many degrees. */
#define ROTATE(from, degrees, to)                                                                  \
    "{ ffmpeg -v quiet -nostdin -y -display_rotation -" degrees " -i " from " -c copy " to         \
    " || ffmpeg -v error -nostdin -y -i " from " -c copy -metadata:s:v rotate=" degrees " " to     \
    "; }"

#endif
