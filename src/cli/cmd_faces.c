#include "cli/cli.h"
#include "media/codecs.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>

static const char usage[] =
    "usage: latentsync faces [OPTIONS] VIDEO\n"
    "\n"
    "Lists the faces in VIDEO, each followed through the frames that show it: its number, for\n"
    "\"latentsync sync --face\", its first and last frame, its share of all frames, and where it "
    "is\n"
    "on average. After a cut and after a long absence a face gets a new number.\n"
    "\n"
    "  -m, --models DIR       model directory; DIR/face is looked at [the installed one]\n"
    "      --detector FILE    network that finds faces [the best one of DIR/face]\n"
    "      --json             print JSON lines, every frame with its faces and then the list: "
    "what\n"
    "                         \"latentsync sync --face-track\" reads\n"
    "      --preview DIR      write DIR/track-NUMBER.png, the frame that shows the face best\n"
    "      --max-gap N        frames without the face that are interpolated [12]\n"
    "      --detect-every N   look at every Nth frame and interpolate between [1]\n"
    "      --fps 25|source    the timeline that frames are counted on, as for sync [25]\n"
    "      --threads N        threads of the networks [all cores]\n"
    "      --progress MODE    line, json or none [line]\n"
    "  -q, --quiet            errors only\n"
    "  -v, --verbose          more, also from the codecs\n";

enum { OPT_DETECTOR = 256, OPT_JSON, OPT_PREVIEW, OPT_MAX_GAP, OPT_EVERY, OPT_FPS, OPT_THREADS };

static const struct option options[] = {
    {"models", required_argument, NULL, 'm'},
    {"detector", required_argument, NULL, OPT_DETECTOR},
    {"json", no_argument, NULL, OPT_JSON},
    {"preview", required_argument, NULL, OPT_PREVIEW},
    {"max-gap", required_argument, NULL, OPT_MAX_GAP},
    {"detect-every", required_argument, NULL, OPT_EVERY},
    {"fps", required_argument, NULL, OPT_FPS},
    {"threads", required_argument, NULL, OPT_THREADS},
    CLI_CONSOLE_OPTIONS,
    {"help", no_argument, NULL, 'h'},
    {0},
};

static int print_line(void *opaque, const char *line, size_t bytes)
{
    (void)opaque;
    return fwrite(line, 1, bytes, stdout) == bytes ? 0 : LS_EIO;
}

static void print_tracks(const ls_faces *job)
{
    const ls_faces_track *t;
    for (size_t i = 0; (t = ls_faces_get_track(job, i)); i++) {
        if (!i)
            puts("track   frames         share   score   left   top  width  height");
        char frames[48];
        snprintf(frames, sizeof frames, "%" PRId64 "-%" PRId64, t->first, t->last);
        printf("%-7" PRIu32 " %-13s %4.0f %%   %5.2f  %5.0f %5.0f  %5.0f   %5.0f\n", t->id, frames,
               t->share * 100, t->score, t->box[0], t->box[1], t->box[2] - t->box[0],
               t->box[3] - t->box[1]);
    }
}

static int run_job(void *job, void *argument, ls_error *err)
{
    (void)argument;
    return ls_faces_run(job, err);
}

static void cancel_job(void *job)
{
    (void)job;
    ls_cancel_request(cli_cancel());
}

static int run(const ls_faces_settings *s, cli_console *c)
{
    ls_faces *job;
    ls_error err = {0};
    int ret = ls_faces_open(&job, s, &err);
    if (!ret)
        ret = cli_run_job(c, job, run_job, NULL, cancel_job, &err);
    if (!ret && !s->line)
        print_tracks(job);
    if (!ret && !ls_faces_get_track(job, 0))
        cli_message(c, LS_MESSAGE_WARNING, "no face was found");
    ls_faces_close(&job);
    if (!ret && fflush(stdout)) {
        fputs("latentsync: standard output could not be written\n", stderr);
        return EXIT_FAILED;
    }
    if (ret == LS_ECANCELED) {
        fputs("latentsync: interrupted\n", stderr);
        return EXIT_INTERRUPTED;
    }
    return ret ? cli_fail(&err) : EXIT_OK;
}

static bool take_option(int c, const char *text, ls_faces_settings *s, cli_console *con)
{
    static const char *const rates[] = {"25", "source", NULL};
    long long n = 0;
    bool ok = true;
    switch (c) {
    case 'm':
        s->models = text;
        break;
    case OPT_DETECTOR:
        s->detector = text;
        break;
    case OPT_JSON:
        s->line = print_line;
        break;
    case OPT_PREVIEW:
        s->preview = text;
        break;
    case OPT_MAX_GAP:
        ok = cli_int("faces", "max-gap", text, 0, 250, &n);
        s->max_gap = (size_t)n;
        break;
    case OPT_EVERY:
        ok = cli_int("faces", "detect-every", text, 1, 250, &n);
        s->detect_every = (size_t)n;
        break;
    case OPT_FPS:
        ok = cli_choose("faces", "fps", text, rates, &s->source_fps);
        break;
    case OPT_THREADS:
        ok = cli_int("faces", "threads", text, 0, 1024, &n);
        s->threads = (int)n;
        break;
    default:
        ok = cli_console_option("faces", con, c, text);
    }
    return ok;
}

int cmd_faces(int argc, char **argv)
{
    cli_console con = cli_console_new();
    ls_faces_settings s;
    ls_faces_default_settings(&s, sizeof s);
    s.cancel = cli_cancel();
    s.message = cli_message;
    s.progress = cli_progress;
    s.opaque = &con;
    ls_media_show_libav_messages(false);
    for (int c; (c = getopt_long(argc, argv, "m:qvh", options, NULL)) != -1;) {
        if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        }
        if (!take_option(c, optarg, &s, &con))
            return EXIT_USAGE;
    }
    if (argc - optind != 1)
        return cli_usage("faces", "one VIDEO is expected, not %d arguments", argc - optind);
    s.video = argv[optind];
    return run(&s, &con);
}
