/* Memory and speed of video encoders as the program sets them up; one JSON object per line.
 * Usage: bench_encode VIDEO FRAMES ENCODER PRESET... */
#include "base/time.h"
#include "media/codecs.h"
#include "media/segment.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD 12 /* decoded frames, which are encoded forwards and backwards */

/* VmRSS or VmHWM in bytes. */
static double status(const char *key)
{
    char line[256];
    double kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            kb = atof(line + strlen(key) + 1);
    if (f)
        fclose(f);
    return kb * 1024;
}

static int measure(const char *video, int frames, const char *codec, const char *preset)
{
    ls_error err = {0};
    ls_video *v = NULL;
    ls_frame *held[HELD] = {0};
    ls_segment *g = NULL;
    ls_segment_info info;
    char path[64];
    snprintf(path, sizeof path, "bench_encode.%d.nut", (int)getpid());
    int ret = ls_video_open(&v, video, &(ls_video_settings){.threads = 1}, &err);
    for (int i = 0; !ret && i < HELD; i++)
        ret = ls_video_next(v, &held[i], &err);
    const double before = status("VmRSS"), begin = ls_time_now();
    const ls_encoding e = {.codec = codec, .preset = preset, .crf = 30, .like = v};
    if (!ret)
        ret = ls_segment_open(&g, path, &e, &err);
    for (int i = 0; !ret && i < frames; i++) {
        const int at = i % (2 * HELD - 2);
        ret = ls_segment_write(g, held[at < HELD ? at : 2 * HELD - 2 - at], &err);
    }
    if (!ret)
        ret = ls_segment_finish(g, &info, &err);
    if (ret) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    const ls_video_info *f = ls_video_get_info(v);
    const double bytes = status("VmHWM") - before;
    printf("{\"encoder\": \"%s\", \"preset\": \"%s\", \"width\": %zu, \"height\": %zu, "
           "\"mbytes\": %.1f, \"frames_worth\": %.1f, \"fps\": %.2f}\n",
           codec, preset, f->width, f->height, bytes / 1e6, bytes / (double)f->frame_bytes,
           frames / (ls_time_now() - begin));
    fflush(stdout);
    unlink(path);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fprintf(stderr, "usage: bench_encode VIDEO FRAMES ENCODER PRESET...\n");
        return 2;
    }
    int failed = 0;
    ls_media_show_libav_messages(false);
    for (int i = 4; i < argc; i++) {
        const pid_t pid = fork();
        if (!pid)
            _exit(measure(argv[1], atoi(argv[2]), argv[3], argv[i]));
        int got = 1;
        waitpid(pid, &got, 0);
        failed |= got;
    }
    return failed != 0;
}
