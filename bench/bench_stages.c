/* A whole job but for the networks, which are only counted: how fast the other stages are.
 * bench_stages VIDEO SPEECH FRAMES [OPTION VALUE]... */
#include "base/time.h"
#include "latentsync/machine.h"
#include "pipeline/sync_job.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void print_line(void *opaque, int level, const char *line)
{
    (void)opaque;
    if (level <= LS_MESSAGE_WARNING || getenv("VERBOSE"))
        fprintf(stderr, "%s\n", line);
}

int main(int argc, char **argv)
{
    ls_sync_settings s;
    ls_sync *job = NULL;
    ls_error err = {0};
    char output[] = "/tmp/bench-stages.XXXXXX.mkv";
    if (argc < 4 || argc % 2)
        return fprintf(stderr, "usage: bench_stages VIDEO SPEECH FRAMES [OPTION VALUE]...\n"), 2;
    ls_sync_default_settings(&s, sizeof s);
    ls_codec_messages(0);
    const int fd = mkstemps(output, 4);
    close(fd);
    s.video = argv[1];
    s.audio = argv[2];
    s.output = output;
    s.message = print_line;
    ls_sync_sample sample = {.most = strtoull(argv[3], NULL, 10), .counts = true};
    int ret = 0;
    for (int i = 4; !ret && i < argc; i += 2)
        ret = ls_sync_set(&s, argv[i], argv[i + 1], &err);
    if (!ret)
        ret = ls_sync_open(&job, &s, &err);
    if (!ret) {
        job->sample = &sample;
        const double start = ls_time_now(), cpu = ls_time_cpu();
        ret = ls_sync_run(job, &err);
        const double used = ls_time_cpu() - cpu, frames = (double)sample.most;
        if (!ret)
            printf("%.0f frames: %.2f frames/s; CPU %.2f ms a frame, %.1f frames/s on two idle "
                   "cores\n",
                   frames, frames / (ls_time_now() - start), 1e3 * used / frames,
                   2 * frames / used);
    }
    if (ret)
        fprintf(stderr, "%s\n", err.message);
    ls_sync_close(&job);
    unlink(output);
    return ret ? 1 : 0;
}
