#include "cli/cli.h"
#include "media/codecs.h"

#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
    "usage: latentsync sync --models DIR --face-track FILE [OPTIONS] VIDEO SPEECH -o OUTPUT\n"
    "\n"
    "Writes OUTPUT: VIDEO with the lips moving to SPEECH, and SPEECH as its sound. It is as long\n"
    "as the speech; a shorter video plays forwards and backwards in turn.\n"
    "\n"
    "  -m, --models DIR       model directory (see \"latentsync models --help\")\n"
    "  -t, --face-track FILE  where the face is: JSON lines, one frame of the 25 fps timeline "
    "each:\n"
    "                         {\"frame\": 0, \"points5\": [[x,y], ..]} (eyes, nose, mouth corners) "
    "or\n"
    "                         {\"frame\": 0, \"landmarks106\": [[x,y], ..]}; a frame that is not "
    "there\n"
    "                         has no face and stays as it is\n"
    "  -o, --output FILE      .mp4, .mkv or .mov\n"
    "\n"
    "Model\n"
    "  --resolution N         side of the face picture: 256 (LatentSync 1.5) or 512 (1.6) [512]\n"
    "  --steps N              denoising steps [20]\n"
    "  --guidance X           guidance scale; 1 and below turns it off [1.5]\n"
    "  --cache-interval N     compute the whole UNet every N steps; 1: always [3]\n"
    "  --seed N               seed of the noise [1247]\n"
    "  --dtype TYPE           auto, f32 or bf16 [auto: bf16 where the CPU is made for it]\n"
    "  --threads N            threads of the networks [all cores]\n"
    "\n"
    "Output\n"
    "  --fps 25|source        25, the model's own rate, or the video's [25]\n"
    "  --video-codec NAME     encoder, see \"latentsync info\" [libx264]\n"
    "  --crf N                quality, lower is better [18]\n"
    "  --preset NAME          speed of the encoder [medium]\n"
    "\n"
    "Messages\n"
    "  --progress MODE        line, json (one object a line on standard error) or none [line]\n"
    "  -q, --quiet            errors only\n"
    "  -v, --verbose          more, also from the codecs\n";

enum {
    OPT_RESOLUTION = 256,
    OPT_STEPS,
    OPT_GUIDANCE,
    OPT_CACHE,
    OPT_SEED,
    OPT_DTYPE,
    OPT_THREADS,
    OPT_FPS,
    OPT_CODEC,
    OPT_CRF,
    OPT_PRESET,
    OPT_PROGRESS
};

static const struct option options[] = {
    {"models", required_argument, NULL, 'm'},
    {"face-track", required_argument, NULL, 't'},
    {"output", required_argument, NULL, 'o'},
    {"resolution", required_argument, NULL, OPT_RESOLUTION},
    {"steps", required_argument, NULL, OPT_STEPS},
    {"guidance", required_argument, NULL, OPT_GUIDANCE},
    {"cache-interval", required_argument, NULL, OPT_CACHE},
    {"seed", required_argument, NULL, OPT_SEED},
    {"dtype", required_argument, NULL, OPT_DTYPE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"fps", required_argument, NULL, OPT_FPS},
    {"video-codec", required_argument, NULL, OPT_CODEC},
    {"crf", required_argument, NULL, OPT_CRF},
    {"preset", required_argument, NULL, OPT_PRESET},
    {"progress", required_argument, NULL, OPT_PROGRESS},
    {"quiet", no_argument, NULL, 'q'},
    {"verbose", no_argument, NULL, 'v'},
    {"help", no_argument, NULL, 'h'},
    {0},
};

typedef enum progress_mode { PROGRESS_LINE, PROGRESS_JSON, PROGRESS_NONE } progress_mode;

typedef struct console {
    progress_mode mode;
    int level;
    bool line_open; /* a progress line that the next output has to end or overwrite */
    double last;    /* when progress was shown */
    bool terminal;
} console;

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void end_line(console *c)
{
    if (c->line_open)
        fputc('\n', stderr);
    c->line_open = false;
}

static void on_message(void *opaque, int level, const char *line)
{
    console *c = opaque;
    if (level > c->level)
        return;
    end_line(c);
    fprintf(stderr, "latentsync: %s%s\n", level == LS_MESSAGE_WARNING ? "warning: " : "", line);
}

static void show_line(console *c, const ls_progress *p)
{
    char left[32] = "";
    if (p->seconds_left > 0) {
        unsigned long long s = (unsigned long long)(p->seconds_left + 0.5);
        snprintf(left, sizeof left, ", %llu:%02llu:%02llu left", s / 3600, s / 60 % 60, s % 60);
    }
    fprintf(stderr, "%s%s: frame %" PRIu64 " of %" PRIu64 ", %.2f frames/s%s, %.0f MB%s",
            c->terminal ? "\r" : "", p->stage, p->frame, p->frames, p->frames_per_second, left,
            (double)p->resident_bytes / 1e6, c->terminal ? "\x1b[K" : "\n");
    c->line_open = c->terminal;
    fflush(stderr);
}

static void on_progress(void *opaque, const ls_progress *p)
{
    console *c = opaque;
    double now = seconds_now();
    bool last = p->frames && p->frame == p->frames;
    /* A terminal is redrawn a few times a second; a log gets a line now and then. */
    double every = c->mode == PROGRESS_JSON ? 0.5 : c->terminal ? 0.2 : 10;
    if (c->mode == PROGRESS_NONE || (!p->frames && c->mode == PROGRESS_LINE) ||
        (!last && c->last > 0 && now - c->last < every))
        return;
    c->last = now;
    if (c->mode == PROGRESS_JSON)
        fprintf(stderr,
                "{\"stage\": \"%s\", \"frame\": %" PRIu64 ", \"frames\": %" PRIu64
                ", \"fps\": %.4f, \"seconds_left\": %.1f, \"resident_bytes\": %" PRIu64 "}\n",
                p->stage, p->frame, p->frames, p->frames_per_second, p->seconds_left,
                p->resident_bytes);
    else
        show_line(c, p);
}

/* What a signal stops; set around ls_sync_run. */
static _Atomic(ls_sync *) running;

static void on_signal(int number)
{
    signal(number, SIG_DFL); // a second one ends the program at once
    ls_sync *job = atomic_load(&running);
    if (job)
        ls_sync_cancel(job);
}

static int run(const ls_sync_settings *s, console *c)
{
    ls_sync *job;
    ls_error err = {0};
    int ret = ls_sync_open(&job, s, &err);
    if (!ret) {
        atomic_store(&running, job);
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        ret = ls_sync_run(job, &err);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        atomic_store(&running, NULL);
    }
    end_line(c);
    ls_sync_close(&job);
    if (ret == LS_ECANCELED) {
        fputs("latentsync: interrupted; no output was written\n", stderr);
        return EXIT_INTERRUPTED;
    }
    return ret ? cli_fail(&err) : EXIT_OK;
}

static bool choose(const char *option, const char *text, const char *const *names, int *out)
{
    for (*out = 0; names[*out]; ++*out)
        if (!strcmp(text, names[*out]))
            return true;
    char list[128] = "";
    for (int i = 0; names[i]; i++)
        snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", names[i]);
    cli_usage("sync", "--%s %s: one of %s is expected", option, text, list);
    return false;
}

/* One option into the settings; false after a message. */
static bool take_option(int c, const char *text, ls_sync_settings *s, console *con)
{
    static const char *const dtypes[] = {"auto", "f32", "bf16", NULL};
    static const char *const rates[] = {"25", "source", NULL};
    static const char *const modes[] = {"line", "json", "none", NULL};
    long long n = 0;
    double x = 0;
    int k = 0;
    bool ok = true;
    switch (c) {
    case 'm':
        s->models = text;
        break;
    case 't':
        s->face_track = text;
        break;
    case 'o':
        s->output = text;
        break;
    case OPT_RESOLUTION:
        ok = cli_int("sync", "resolution", text, 64, 4096, &n);
        s->resolution = (size_t)n;
        break;
    case OPT_STEPS:
        ok = cli_int("sync", "steps", text, 1, 1000, &n);
        s->steps = (size_t)n;
        break;
    case OPT_GUIDANCE:
        ok = cli_float("sync", "guidance", text, 0, 100, &x);
        s->guidance_scale = (float)x;
        break;
    case OPT_CACHE:
        ok = cli_int("sync", "cache-interval", text, 1, 1000, &n);
        s->cache_interval = (size_t)n;
        break;
    case OPT_SEED:
        ok = cli_int("sync", "seed", text, 0, INT64_MAX, &n);
        s->seed = (uint64_t)n;
        break;
    case OPT_DTYPE:
        ok = choose("dtype", text, dtypes, &s->compute_type);
        break;
    case OPT_THREADS:
        ok = cli_int("sync", "threads", text, 0, 1024, &n);
        s->threads = (int)n;
        break;
    case OPT_FPS:
        ok = choose("fps", text, rates, &s->source_fps);
        break;
    case OPT_CODEC:
        s->video_codec = text;
        break;
    case OPT_CRF:
        ok = cli_int("sync", "crf", text, 0, 63, &n);
        s->crf = (int)n;
        break;
    case OPT_PRESET:
        s->preset = text;
        break;
    case OPT_PROGRESS:
        ok = choose("progress", text, modes, &k);
        con->mode = (progress_mode)k;
        break;
    case 'q':
        con->level = LS_MESSAGE_ERROR;
        con->mode = PROGRESS_NONE;
        break;
    case 'v':
        con->level = LS_MESSAGE_DEBUG;
        ls_media_show_libav_messages(true);
        break;
    default:
        cli_usage("sync", "the options were not understood");
        ok = false;
    }
    return ok;
}

int cmd_sync(int argc, char **argv)
{
    console con = {.level = LS_MESSAGE_INFO, .terminal = isatty(STDERR_FILENO)};
    ls_sync_settings s;
    ls_sync_default_settings(&s);
    s.message = on_message;
    s.progress = on_progress;
    s.opaque = &con;
    ls_media_show_libav_messages(false);
    for (int c; (c = getopt_long(argc, argv, "m:t:o:qvh", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        }
        if (!take_option(c, optarg, &s, &con))
            return EXIT_USAGE;
    }
    if (argc - optind != 2)
        return cli_usage("sync", "a VIDEO and a SPEECH file are expected, not %d arguments",
                         argc - optind);
    s.video = argv[optind];
    s.audio = argv[optind + 1];
    if (!s.models)
        return cli_usage("sync", "--models DIR is missing");
    if (!s.face_track)
        return cli_usage("sync", "--face-track FILE is missing");
    if (!s.output)
        return cli_usage("sync", "-o OUTPUT is missing");
    return run(&s, &con);
}
