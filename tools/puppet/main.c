/* puppet: a clip of a drawn speaker. */
#include "puppet.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
    "usage: puppet [OPTIONS] FOLDER\n"
    "\n"
    "Draws a speaker who says a sentence. Into FOLDER it writes face.mp4 (through ffmpeg),\n"
    "speech.wav, phones.txt (start and end in seconds and IPA symbol), track.jsonl (a face track\n"
    "for latentsync), mouth.txt (opening, width, rounding, teeth, tongue, tuck of each frame) and\n"
    "jaw.txt (x and y of points along the jaw in each frame); with a hand, a microphone or a turn\n"
    "also hidden.txt (the part of the mouth that is covered, and the yaw in degrees).\n"
    "\n"
    "  --seed N         the speaker, and the sentence unless one is given [1]\n"
    "  --held-out       a sentence reserved for tests\n"
    "  --text TEXT      what to say\n"
    "  --voice VOICE    voice of espeak-ng [chosen with the sentence]\n"
    "  --rate N         words per minute\n"
    "  --speech FILE    a recording instead (WAV, mono, 16 bits) ...\n"
    "  --phones FILE    ... and its phones\n"
    "  --size N         side of the frame in pixels [384]\n"
    "  --hand A-B       a hand before the mouth in frames A to B-1; comes and goes in 6 frames\n"
    "  --microphone A-B, --turn A-B  likewise a microphone, and the head turned by 69 degrees\n"
    "  --speech-only    no video\n"
    "  --png            frames as PNG files instead of a video\n";

enum {
    OPT_SEED = 256,
    OPT_TEXT,
    OPT_VOICE,
    OPT_RATE,
    OPT_SPEECH,
    OPT_PHONES,
    OPT_SIZE,
    OPT_PROP,
    OPT_TURN = OPT_PROP + PUPPET_PROPS
};

typedef struct settings {
    const char *folder, *speech, *phones;
    uint64_t seed;
    size_t size;
    puppet_line line;
    int held_out, speech_only, png;
    puppet_span props[PUPPET_PROPS], turn;
} settings;

static const char *in(char buf[4096], const settings *s, const char *name)
{
    snprintf(buf, 4096, "%s/%s", s->folder, name);
    return buf;
}

/* Starts ffmpeg, reading from a pipe. */
static FILE *encoder(const settings *s, pid_t *child)
{
    int ends[2];
    char size[32], path[4096];
    snprintf(size, sizeof size, "%zux%zu", s->size, s->size);
    in(path, s, "face.mp4");
    if (pipe(ends))
        return NULL;
    *child = fork();
    if (!*child) {
        dup2(ends[0], 0);
        close(ends[0]);
        close(ends[1]);
        execlp("ffmpeg", "ffmpeg", "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "bgr0", "-s",
               size, "-r", "25", "-i", "-", "-c:v", "libx264", "-preset", "veryfast", "-crf", "14",
               "-pix_fmt", "yuv420p", "-colorspace", "smpte170m", "-vf",
               "scale=out_color_matrix=bt601:out_range=tv", path, (char *)NULL);
        perror("puppet: ffmpeg");
        _exit(127);
    }
    close(ends[0]);
    return *child < 0 ? NULL : fdopen(ends[1], "wb");
}

static size_t frames_of(const puppet_speech *speech)
{
    return (size_t)ceil(puppet_speech_seconds(speech) * PUPPET_FPS);
}

static bool write_mouths(const settings *s, const puppet_speech *speech)
{
    char path[4096];
    FILE *f = fopen(in(path, s, "mouth.txt"), "w");
    for (size_t i = 0; f && i < frames_of(speech); i++) {
        const puppet_mouth m = puppet_mouth_at(speech, (double)i / PUPPET_FPS);
        fprintf(f, "%.4f %.4f %.4f %.4f %.4f %.4f\n", m.open, m.width, m.round, m.teeth, m.tongue,
                m.tuck);
    }
    if (f && !fclose(f))
        return true;
    perror(path);
    return false;
}

static bool hides(const settings *s)
{
    bool any = s->turn.to;
    for (int k = 0; k < PUPPET_PROPS; k++)
        any |= s->props[k].to;
    return any;
}

/* The part of the mouth that is covered. */
static double draw_props(cairo_t *cr, const settings *s, const puppet_speaker *speaker,
                         const puppet_pose *p, size_t frame)
{
    double covered = 0;
    for (puppet_prop k = 0; k < PUPPET_PROPS; k++) {
        const double amount = puppet_presence(&s->props[k], frame);
        puppet_draw_prop(cr, k, speaker, p, amount);
        covered = fmax(covered, puppet_covered(cr, k, speaker, p, amount));
    }
    return covered;
}

static bool draw_all(const settings *s, const puppet_speech *speech)
{
    char path[4096], name[32];
    pid_t child = -1;
    puppet_speaker speaker;
    puppet_speaker_from(&speaker, s->seed);
    cairo_surface_t *surface =
        cairo_image_surface_create(CAIRO_FORMAT_RGB24, (int)s->size, (int)s->size);
    cairo_t *cr = cairo_create(surface);
    FILE *track = fopen(in(path, s, "track.jsonl"), "w");
    FILE *jaws = fopen(in(path, s, "jaw.txt"), "w");
    FILE *hidden = hides(s) ? fopen(in(path, s, "hidden.txt"), "w") : NULL;
    FILE *video = s->png ? NULL : encoder(s, &child);
    bool ok = track && jaws && (s->png || video) && (hidden || !hides(s));
    if (!ok)
        perror(s->folder);
    for (size_t i = 0; ok && i < frames_of(speech); i++) {
        const double time = (double)i / PUPPET_FPS;
        const puppet_mouth m = puppet_mouth_at(speech, time);
        puppet_pose p = puppet_pose_at(&speaker, time, s->size);
        double at[PUPPET_POINTS][2], jaw[PUPPET_JAW][2];
        puppet_turn(&speaker, &p, puppet_presence(&s->turn, i));
        puppet_draw(cr, &speaker, &p, &m, s->size);
        const double covered = draw_props(cr, s, &speaker, &p, i);
        if (hidden)
            fprintf(hidden, "%.3f %.1f\n", covered, p.yaw * 57.29578);
        cairo_surface_flush(surface);
        puppet_points(&speaker, &p, &m, at);
        fprintf(track, "{\"frame\": %zu, \"points5\": [", i);
        for (int k = 0; k < 5; k++)
            fprintf(track, "%s[%.3f, %.3f]", k ? ", " : "", at[k][0], at[k][1]);
        fprintf(track, "]}\n");
        puppet_jaw(&speaker, &p, &m, jaw);
        for (int k = 0; k < PUPPET_JAW; k++)
            fprintf(jaws, "%.3f %.3f%c", jaw[k][0], jaw[k][1], k + 1 < PUPPET_JAW ? ' ' : '\n');
        snprintf(name, sizeof name, "%05zu.png", i);
        if (s->png)
            ok = cairo_surface_write_to_png(surface, in(path, s, name)) == CAIRO_STATUS_SUCCESS;
        else
            ok = fwrite(cairo_image_surface_get_data(surface), 4 * s->size, s->size, video) ==
                 s->size;
    }
    int status = 0;
    if (video && (fclose(video) || waitpid(child, &status, 0) < 0 || status))
        ok = false;
    ok = track && !fclose(track) && ok;
    ok = (!hidden || !fclose(hidden)) && ok;
    ok = jaws && !fclose(jaws) && ok;
    cairo_destroy(cr);
    cairo_surface_destroy(surface);
    if (!ok)
        fprintf(stderr, "puppet: %s could not be written completely\n", s->folder);
    return ok;
}

static bool read_span(const char *text, puppet_span *to)
{
    char *end;
    to->from = strtoull(text, &end, 10);
    if (*end++ != '-')
        return false;
    to->to = strtoull(end, &end, 10);
    return !*end && to->from < to->to;
}

static bool parse(int argc, char **argv, settings *s)
{
    const struct option options[] = {
        {"seed", required_argument, NULL, OPT_SEED},
        {"held-out", no_argument, &s->held_out, 1},
        {"text", required_argument, NULL, OPT_TEXT},
        {"voice", required_argument, NULL, OPT_VOICE},
        {"rate", required_argument, NULL, OPT_RATE},
        {"speech", required_argument, NULL, OPT_SPEECH},
        {"phones", required_argument, NULL, OPT_PHONES},
        {"size", required_argument, NULL, OPT_SIZE},
        {"hand", required_argument, NULL, OPT_PROP + PUPPET_HAND},
        {"microphone", required_argument, NULL, OPT_PROP + PUPPET_MICROPHONE},
        {"turn", required_argument, NULL, OPT_TURN},
        {"speech-only", no_argument, &s->speech_only, 1},
        {"png", no_argument, &s->png, 1},
        {"help", no_argument, NULL, 'h'},
        {0}};
    const char *text = NULL, *voice = NULL, *rate = NULL;
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;)
        switch (c) {
        case 0:
            break;
        case OPT_SEED:
            s->seed = strtoull(optarg, NULL, 10);
            break;
        case OPT_TEXT:
            text = optarg;
            break;
        case OPT_VOICE:
            voice = optarg;
            break;
        case OPT_RATE:
            rate = optarg;
            break;
        case OPT_SPEECH:
            s->speech = optarg;
            break;
        case OPT_PHONES:
            s->phones = optarg;
            break;
        case OPT_SIZE:
            s->size = strtoull(optarg, NULL, 10);
            break;
        case OPT_PROP + PUPPET_HAND:
        case OPT_PROP + PUPPET_MICROPHONE:
            if (!read_span(optarg, &s->props[c - OPT_PROP]))
                return false;
            break;
        case OPT_TURN:
            if (!read_span(optarg, &s->turn))
                return false;
            break;
        case 'h':
            fputs(usage, stdout);
            exit(0);
        default:
            return false;
        }
    if (optind != argc - 1 || !s->speech != !s->phones || s->size < 64 || s->size > 4096 ||
        s->size % 2)
        return false;
    s->folder = argv[optind];
    puppet_line_from(&s->line, s->seed, s->held_out);
    if (text)
        snprintf(s->line.text, sizeof s->line.text, "%s", text);
    if (voice)
        snprintf(s->line.voice, sizeof s->line.voice, "%s", voice);
    if (rate)
        s->line.rate = atoi(rate);
    return true;
}

int main(int argc, char **argv)
{
    settings s = {.seed = 1, .size = 384};
    char wav[4096], phones[4096];
    if (!parse(argc, argv, &s)) {
        fputs(usage, stderr);
        return 2;
    }
    if (mkdir(s.folder, 0777) && errno != EEXIST) {
        perror(s.folder);
        return 1;
    }
    puppet_speech speech = {0};
    bool ok = s.speech ? puppet_speech_load(&speech, s.speech, s.phones)
                       : puppet_say(&speech, s.line.text, s.line.voice, s.line.rate, s.line.pitch);
    ok = ok &&
         puppet_speech_save(&speech, in(wav, &s, "speech.wav"), in(phones, &s, "phones.txt")) &&
         write_mouths(&s, &speech);
    if (ok && !s.speech)
        printf("\"%s\" (%s)\n", s.line.text, s.line.voice);
    ok = ok && (s.speech_only || draw_all(&s, &speech));
    puppet_speech_free(&speech);
    return ok ? 0 : 1;
}
