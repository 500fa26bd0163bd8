/* bench_embed [REPEATS [MODELS]]: seconds of one short job in a program that uses the library and
 * sets nothing in the environment, against the command; on an idle machine and with one busy
 * process per core. Then what an engine saves the second job of a model. REPEATS 0: only that. Run
 * from the root of the working copy; makes its inputs with ffmpeg. */
#include "base/time.h"
#include "latentsync/latentsync.h"

#include <omp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MAX_REPEATS = 15, MAX_RIVALS = 64, SECONDS = 2, HOST_THREADS = 3 };

static const char *models = "models/mini";
static char dir[] = "/tmp/bench_embed.XXXXXX", video[64], audio[64], track[64], output[64];

static int make_inputs(void)
{
    char line[1024];
    if (!mkdtemp(dir))
        return -1;
    snprintf(video, sizeof video, "%s/v.mp4", dir);
    snprintf(audio, sizeof audio, "%s/a.wav", dir);
    snprintf(track, sizeof track, "%s/track", dir);
    snprintf(output, sizeof output, "%s/out.mp4", dir);
    snprintf(line, sizeof line,
             "ffmpeg -v error -nostdin -f lavfi -i testsrc=s=640x480:r=25:d=%d"
             " -f lavfi -i sine=f=200:r=16000:d=%d"
             " -map 0 -preset ultrafast -pix_fmt yuv420p %s -map 1 %s",
             SECONDS, SECONDS, video, audio);
    FILE *f = system(line) ? NULL : fopen(track, "w");
    if (!f)
        return -1;
    for (int i = 0; i < SECONDS * 25; i++)
        fprintf(f,
                "{\"frame\": %d, \"points5\": [[287, 202], [351, 202], [319, 223], [296, 269], "
                "[346, 269]]}\n",
                i);
    return fclose(f);
}

static pid_t start(const char *const argv[])
{
    const pid_t pid = fork();
    if (!pid) {
        if (!freopen("/dev/null", "w", stdout))
            _exit(127);
        execvp(argv[0], (char *const *)argv);
        _exit(127);
    }
    return pid;
}

static int in_process(ls_engine *engine, double *open_seconds)
{
    ls_sync_settings s;
    ls_sync *job;
    ls_error err;
    ls_sync_default_settings(&s, sizeof s);
    s.models = models;
    s.engine = engine;
    s.video = video;
    s.audio = audio;
    s.output = output;
    s.face_track = track;
    s.steps = 4;
    const double begin = ls_time_now();
    int ret = ls_sync_open(&job, &s, &err);
    *open_seconds = ls_time_now() - begin;
    if (!ret)
        ret = ls_sync_run(job, &err);
    ls_sync_close(&job);
    if (ret)
        fprintf(stderr, "bench_embed: %s\n", err.message);
    return ret;
}

static int in_child(const char *command)
{
    int status;
    const pid_t pid = start((const char *[]){command, "sync", "-q", "-m", models, "-t", track,
                                             "--steps", "4", "-o", output, video, audio, NULL});
    return pid < 0 || waitpid(pid, &status, 0) < 0 ? -1 : status;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static int compare(const char *machine, const char *command, size_t repeats)
{
    double seconds[2][MAX_REPEATS], unused;
    for (size_t i = 0; i < 2 * repeats; i++) {
        const double begin = ls_time_now();
        if (i % 2 ? in_child(command) : in_process(NULL, &unused))
            return -1;
        seconds[i % 2][i / 2] = ls_time_now() - begin;
        remove(output);
    }
    for (size_t i = 0; i < 2; i++)
        qsort(seconds[i], repeats, sizeof **seconds, by_value);
    const double library = seconds[0][repeats / 2], own = seconds[1][repeats / 2];
    printf("{\"machine\": \"%s\", \"library_seconds\": %.2f, \"command_seconds\": %.2f, "
           "\"ratio\": %.2f}\n",
           machine, library, own, library / own);
    return fflush(stdout);
}

static int share_engine(void)
{
    ls_engine *engine;
    ls_error err;
    double open_seconds[2], seconds[2];
    uint64_t bytes[2];
    if (ls_engine_open(&engine, &err))
        return -1;
    int ret = 0;
    for (size_t i = 0; !ret && i < 2; i++) {
        const double begin = ls_time_now();
        ret = in_process(engine, &open_seconds[i]);
        seconds[i] = ls_time_now() - begin;
        ls_engine_models(engine, &bytes[i]);
        remove(output);
    }
    ls_engine_close(&engine);
    if (!ret)
        printf("{\"first_open_seconds\": %.3f, \"second_open_seconds\": %.3f, "
               "\"first_seconds\": %.2f, \"second_seconds\": %.2f, \"weight_bytes\": [%llu, "
               "%llu]}\n",
               open_seconds[0], open_seconds[1], seconds[0], seconds[1],
               (unsigned long long)bytes[0], (unsigned long long)bytes[1]);
    return ret;
}

int main(int argc, char **argv)
{
    const size_t repeats = argc > 1 ? strtoul(argv[1], NULL, 10) : 3;
    const int rivals = omp_get_num_procs() < MAX_RIVALS ? omp_get_num_procs() : MAX_RIVALS;
    pid_t rival[MAX_RIVALS];
    char command[4096];
    const char *slash = strrchr(argv[0], '/');
    snprintf(command, sizeof command, "%.*s/../latentsync", slash ? (int)(slash - argv[0]) : 0,
             argv[0]);
    models = argc > 2 ? argv[2] : models;
    if (repeats > MAX_REPEATS || make_inputs()) {
        fprintf(stderr, "bench_embed: repeats 0 to %d, and ffmpeg, are needed\n", MAX_REPEATS);
        return 1;
    }
    unsetenv("OMP_WAIT_POLICY");
    ls_codec_messages(0);
    omp_set_num_threads(HOST_THREADS);
    int ret = repeats ? compare("idle", command, repeats) : 0;
    for (int i = 0; repeats && i < rivals; i++)
        rival[i] = start((const char *[]){"yes", NULL});
    if (!ret && repeats)
        ret = compare("busy", command, repeats);
    for (int i = 0; repeats && i < rivals; i++)
        kill(rival[i], SIGKILL);
    while (wait(NULL) > 0)
        ;
    if (!ret)
        ret = share_engine();
    printf("{\"omp_max_threads_before\": %d, \"omp_max_threads_after\": %d}\n", HOST_THREADS,
           omp_get_max_threads());
    remove(video);
    remove(audio);
    remove(track);
    remove(dir);
    return ret ? 1 : 0;
}
