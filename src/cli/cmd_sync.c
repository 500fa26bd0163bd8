#include "cli/cli.h"
#include "media/codecs.h"

#include <getopt.h>
#include <stdio.h>

static const char sync_usage[] =
    "usage: latentsync sync [OPTIONS] VIDEO SPEECH -o OUTPUT\n"
    "\n"
    "Writes OUTPUT: VIDEO with the lips moving to SPEECH, and SPEECH as its sound. It is as long\n"
    "as the speech; a shorter video plays forwards and backwards in turn. Until OUTPUT is "
    "complete\n"
    "its finished segments are kept in OUTPUT.lsjob: after an interruption the same command, or\n"
    "\"latentsync resume OUTPUT.lsjob\", goes on after them.\n"
    "\n";

static const char plan_usage[] =
    "usage: latentsync plan [OPTIONS] VIDEO SPEECH -o OUTPUT\n"
    "\n"
    "Makes OUTPUT.lsjob, the folder of a job that several processes or machines share, looks for "
    "the\n"
    "faces, and prints the number of segments. Each is made by \"latentsync render OUTPUT.lsjob\n"
    "--segment K\", K from 0, in any order; then \"latentsync join OUTPUT.lsjob\" writes OUTPUT.\n"
    "\n";

static const char usage[] =
    "  -m, --models DIR       model directory (see \"latentsync models --help\") [the one that\n"
    "                         \"latentsync models pull\" has installed, else the built-in one,\n"
    "                         which knows drawn faces only]\n"
    "  -o, --output FILE      .mp4, .mkv or .mov\n"
    "\n"
    "Face\n"
    "  --face WHICH           largest, left, right, a number from \"latentsync faces\", or x,y: a\n"
    "                         point of the picture; the choice is kept within a shot [largest]\n"
    "  --max-gap N            a face that is missed for up to N frames is interpolated; longer "
    "gaps\n"
    "                         stay as they are, and the new mouth fades out and in [12]\n"
    "  --detect-every N       look for faces in every Nth frame and interpolate between [1]\n"
    "  --detector FILE        network that finds faces [the best one of DIR/face]\n"
    "  --save-track FILE      keep what was found, so that another voice needs no search\n"
    "  -t, --face-track FILE  use that, or JSON lines of your own: one frame of the timeline "
    "each,\n"
    "                         {\"frame\": 0, \"points5\": [[x,y], ..]} (eyes, nose, mouth "
    "corners)\n"
    "                         or \"landmarks106\"; a frame that is not there has no face\n"
    "\n"
    "Model\n"
    "  --resolution N         side of the face picture: 256 for LatentSync 1.5, 512 for 1.6\n"
    "                         [the model's own, 512 where it does not say]\n"
    "  --steps N              denoising steps [20]\n"
    "  --guidance X           guidance scale; 1 turns it off [the model's own, 1.5 where it does\n"
    "                         not say]\n"
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
    "Job\n"
    "  --segment-seconds X    what is finished, and kept, at a time; each segment begins with a\n"
    "                         key frame [9.6 at 25 frames/s]\n"
    "  --job DIR              folder of the job [OUTPUT.lsjob]\n"
    "  --keep-job             leave it there when OUTPUT is complete\n"
    "  --max-memory SIZE      what the program may hold, like 4G or 900M; work is done in smaller\n"
    "                         pieces to fit [70 % of what is free]\n"
    "  --stats FILE           append a line of JSON every second, for \"latentsync report\"\n"
    "\n"
    "Messages\n"
    "  --progress MODE        line, json (one object a line on standard error) or none [line]\n"
    "  -q, --quiet            errors only\n"
    "  -v, --verbose          more, also from the codecs\n";

enum {
    OPT_FACE = 256,
    OPT_MAX_GAP,
    OPT_EVERY,
    OPT_DETECTOR,
    OPT_SAVE_TRACK,
    OPT_RESOLUTION,
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
    OPT_SEGMENT,
    OPT_JOB,
    OPT_KEEP,
    OPT_MEMORY,
    OPT_STATS
};

static const struct option options[] = {
    {"models", required_argument, NULL, 'm'},
    {"face-track", required_argument, NULL, 't'},
    {"output", required_argument, NULL, 'o'},
    {"face", required_argument, NULL, OPT_FACE},
    {"max-gap", required_argument, NULL, OPT_MAX_GAP},
    {"detect-every", required_argument, NULL, OPT_EVERY},
    {"detector", required_argument, NULL, OPT_DETECTOR},
    {"save-track", required_argument, NULL, OPT_SAVE_TRACK},
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
    {"segment-seconds", required_argument, NULL, OPT_SEGMENT},
    {"job", required_argument, NULL, OPT_JOB},
    {"keep-job", no_argument, NULL, OPT_KEEP},
    {"max-memory", required_argument, NULL, OPT_MEMORY},
    {"stats", required_argument, NULL, OPT_STATS},
    CLI_CONSOLE_OPTIONS,
    {"help", no_argument, NULL, 'h'},
    {0},
};

/* One option into the settings; false after a message. */
static bool take_option(int c, const char *text, ls_sync_settings *s, cli_console *con)
{
    static const char *const dtypes[] = {"auto", "f32", "bf16", NULL};
    static const char *const rates[] = {"25", "source", NULL};
    long long n = 0;
    double x = 0;
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
    case OPT_FACE:
        s->face = text;
        break;
    case OPT_MAX_GAP:
        ok = cli_int("sync", "max-gap", text, 0, 250, &n);
        s->max_gap = (size_t)n;
        break;
    case OPT_EVERY:
        ok = cli_int("sync", "detect-every", text, 1, 250, &n);
        s->detect_every = (size_t)n;
        break;
    case OPT_DETECTOR:
        s->detector = text;
        break;
    case OPT_SAVE_TRACK:
        s->save_track = text;
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
        s->seed = n;
        break;
    case OPT_DTYPE:
        ok = cli_choose("sync", "dtype", text, dtypes, &s->compute_type);
        break;
    case OPT_THREADS:
        ok = cli_int("sync", "threads", text, 0, 1024, &n);
        s->threads = (int)n;
        break;
    case OPT_FPS:
        ok = cli_choose("sync", "fps", text, rates, &s->source_fps);
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
    case OPT_SEGMENT:
        ok = cli_float("sync", "segment-seconds", text, 0.1, 86400, &s->segment_seconds);
        break;
    case OPT_JOB:
        s->job = text;
        break;
    case OPT_KEEP:
        s->keep_job = 1;
        break;
    case OPT_MEMORY:
        ok = cli_size("sync", "max-memory", text, &s->max_memory);
        break;
    case OPT_STATS:
        s->stats = text;
        break;
    default:
        ok = cli_console_option("sync", con, c, text);
    }
    return ok;
}

/* Both commands take the same; 0 to go on. */
static int take_arguments(int argc, char **argv, const char *what, ls_sync_settings *s,
                          cli_console *con)
{
    ls_sync_default_settings(s, sizeof *s);
    s->cancel = cli_cancel();
    s->message = cli_message;
    s->progress = cli_progress;
    s->opaque = con;
    ls_media_show_libav_messages(false);
    for (int c; (c = getopt_long(argc, argv, "m:t:o:qvh", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(what, stdout);
            fputs(usage, stdout);
            return CLI_HELPED;
        }
        if (!take_option(c, optarg, s, con))
            return EXIT_USAGE;
    }
    if (argc - optind != 2)
        return cli_usage(argv[0], "a VIDEO and a SPEECH file are expected, not %d arguments",
                         argc - optind);
    s->video = argv[optind];
    s->audio = argv[optind + 1];
    if (!s->output)
        return cli_usage(argv[0], "-o OUTPUT is missing");
    return 0;
}

static int run_sync(void *job, void *argument, ls_error *err)
{
    (void)argument;
    return ls_sync_run(job, err);
}

static int run_plan(void *job, void *segments, ls_error *err)
{
    return ls_sync_plan(job, segments, err);
}

int cmd_sync(int argc, char **argv)
{
    cli_console con = cli_console_new();
    ls_sync_settings s;
    ls_sync *job;
    ls_error err = {0};
    int ret = take_arguments(argc, argv, sync_usage, &s, &con);
    if (ret)
        return ret == CLI_HELPED ? EXIT_OK : ret;
    ret = ls_sync_open(&job, &s, &err);
    return cli_run_sync(&con, job, ret, run_sync, NULL, &err);
}

int cmd_plan(int argc, char **argv)
{
    cli_console con = cli_console_new();
    ls_sync_settings s;
    ls_sync *job;
    ls_error err = {0};
    uint64_t segments;
    int ret = take_arguments(argc, argv, plan_usage, &s, &con);
    if (ret)
        return ret == CLI_HELPED ? EXIT_OK : ret;
    ret = ls_sync_open(&job, &s, &err);
    ret = cli_run_sync(&con, job, ret, run_plan, &segments, &err);
    if (ret == EXIT_OK)
        printf("%llu\n", (unsigned long long)segments);
    return ret;
}
