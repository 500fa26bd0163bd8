#include "media/input.h"
#include "base/alloc.h"
#include "base/list.h"

#include <libavutil/parseutils.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define COUNTED_PACKETS 512
#define MIN_SECONDS 0.5 /* of the longest stream's */
#define MIN_RATE 0.25   /* of the highest frame rate */

typedef struct candidate {
    int index;
    bool decodes;
    int64_t frames;
    double seconds, rate; /* 0: unknown */
    int64_t score;        /* of the ffmpeg program's choice: data, default, size or channels */
} candidate;

static const char *tag(const AVStream *st, const char *key)
{
    const AVDictionaryEntry *e = av_dict_get(st->metadata, key, NULL, AV_DICT_IGNORE_SUFFIX);
    return e ? e->value : NULL; // Matroska's writers append a language
}

static double seconds_of(const AVStream *st)
{
    const char *text = tag(st, "DURATION");
    int64_t us;
    if (st->duration != AV_NOPTS_VALUE)
        return (double)st->duration * av_q2d(st->time_base);
    return text && av_parse_time(&us, text, 1) >= 0 ? (double)us / AV_TIME_BASE : 0;
}

static int64_t frames_of(const AVStream *st)
{
    const char *text = tag(st, "NUMBER_OF_FRAMES");
    return st->nb_frames || !text ? st->nb_frames : strtoll(text, NULL, 10);
}

static int64_t score_of(const AVStream *st)
{
    const AVCodecParameters *c = st->codecpar;
    return (c->codec_type == AVMEDIA_TYPE_AUDIO ? c->ch_layout.nb_channels
                                                : (int64_t)c->width * c->height) +
           (st->event_flags & AVSTREAM_EVENT_FLAG_NEW_PACKETS ? 100000000 : 0) +
           (st->disposition & AV_DISPOSITION_DEFAULT ? 5000000 : 0);
}

static bool is_candidate(const AVStream *st, enum AVMediaType type)
{
    return st->codecpar->codec_type == type && !(st->disposition & AV_DISPOSITION_ATTACHED_PIC);
}

size_t ls_input_count_streams(const AVFormatContext *format, enum AVMediaType type)
{
    size_t n = 0;
    for (unsigned i = 0; i < format->nb_streams; i++)
        n += is_candidate(format->streams[i], type);
    return n;
}

/* Where the headers do not say how many frames the streams have: those among the file's first. */
static int count_frames(candidate *c, size_t n, const char *path, const ls_cancel *cancel,
                        ls_error *err)
{
    AVFormatContext *f;
    int ret = ls_input_open(&f, path, cancel, err);
    AVPacket *packet = av_packet_alloc();
    if (!ret && !packet)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; i < n; i++)
        c[i].frames = 0;
    for (int read = 0; !ret && read < COUNTED_PACKETS && av_read_frame(f, packet) >= 0; read++) {
        for (size_t i = 0; i < n; i++)
            c[i].frames += c[i].index == packet->stream_index;
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    avformat_close_input(&f);
    return ret;
}

static double decodes(const candidate *c)
{
    return c->decodes ? 2 : 1;
}

static double moves(const candidate *c)
{
    return c->frames > 1 ? 2 : 1;
}

static double lasts(const candidate *c)
{
    return c->seconds;
}

static double rate(const candidate *c)
{
    return c->rate;
}

static double score(const candidate *c)
{
    return (double)c->score;
}

/* Keeps those that reach a share of the largest value, and those of which it is unknown. */
static size_t keep(candidate *c, size_t n, double (*value)(const candidate *), double share)
{
    double most = 0;
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, value(&c[i]));
    for (size_t i = 0; i < n; i++)
        if (value(&c[i]) >= share * most || value(&c[i]) <= 0)
            c[kept++] = c[i];
    return kept;
}

static int choose(const AVFormatContext *format, const char *path, enum AVMediaType type,
                  candidate *c, ls_error *err)
{
    size_t n = 0;
    bool known = true;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVStream *st = format->streams[i];
        const AVRational fps = st->avg_frame_rate;
        if (!is_candidate(st, type) || !score_of(st))
            continue;
        c[n++] = (candidate){.index = (int)i,
                             .decodes = avcodec_find_decoder(st->codecpar->codec_id),
                             .frames = frames_of(st),
                             .seconds = seconds_of(st),
                             .rate = fps.num > 0 && fps.den > 0 ? av_q2d(fps) : 0,
                             .score = score_of(st)};
        known = known && c[n - 1].frames > 0;
    }
    if (!n)
        return type == AVMEDIA_TYPE_VIDEO
                   ? ls_fail(err, LS_EFORMAT, "%s has no video stream; is it an audio file?", path)
                   : ls_fail(err, LS_EFORMAT,
                             "%s has no audio stream; a speech recording is expected", path);
    n = keep(c, n, decodes, 1);
    if (type == AVMEDIA_TYPE_VIDEO && n > 1) {
        int ret = known ? 0 : count_frames(c, n, path, format->interrupt_callback.opaque, err);
        if (ret)
            return ret;
        n = keep(c, n, moves, 1);
    }
    n = keep(c, n, lasts, MIN_SECONDS);
    n = keep(c, n, rate, MIN_RATE);
    keep(c, n, score, 1);
    return c->index;
}

/* Lists the streams there are. */
static int fail_wanted(const AVFormatContext *format, const char *path, enum AVMediaType type,
                       int wanted, ls_error *err)
{
    char list[400] = "";
    for (unsigned i = 0; i < format->nb_streams; i++) {
        const AVCodecParameters *c = format->streams[i]->codecpar;
        const char *kind = av_get_media_type_string(c->codec_type);
        ls_list_add(list, sizeof list, "%u is %s (%s)", i, kind ? kind : "data",
                    avcodec_get_name(c->codec_id));
    }
    const bool is_video = type == AVMEDIA_TYPE_VIDEO;
    ls_fail(err, LS_EINVAL, "%s: stream %d is not one of its %s streams: %s", path, wanted,
            av_get_media_type_string(type), list);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, is_video ? "video-stream" : "audio-stream");
}

int ls_input_choose_stream(const AVFormatContext *format, const char *path, enum AVMediaType type,
                           int wanted, ls_error *err)
{
    if (wanted >= 0)
        return (unsigned)wanted < format->nb_streams &&
                       format->streams[wanted]->codecpar->codec_type == type
                   ? wanted
                   : fail_wanted(format, path, type, wanted, err);
    candidate *c = ls_calloc_array((size_t)format->nb_streams + 1, sizeof *c);
    const int ret =
        c ? choose(format, path, type, c, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    free(c);
    return ret;
}
