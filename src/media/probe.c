#include "latentsync/probe.h"
#include "base/alloc.h"
#include "media/format.h"
#include "media/hdr.h"
#include "media/input.h"
#include "media/pcm.h"
#include "media/rotate.h"
#include "media/video.h"

#include <libavutil/avstring.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NOTES 24
#define MAX_AUDIO_PACKETS 256 /* that may decode to nothing before audio counts as unusable */

typedef struct probe {
    ls_probe p; /* first: what the caller holds */
    ls_probe_stream *streams;
    char *notes[MAX_NOTES];
    const ls_cancel *cancel;
} probe;

__attribute__((format(printf, 2, 3))) static void note(probe *p, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (p->p.note_count < MAX_NOTES && (p->notes[p->p.note_count] = strdup(text)))
        p->p.note_count++;
}

static void note_line(void *opaque, int level, const char *line)
{
    (void)level;
    note(opaque, "%s.", line);
}

static double seconds(int64_t duration, AVRational time_base)
{
    return duration == AV_NOPTS_VALUE || duration < 0 ? 0 : (double)duration * av_q2d(time_base);
}

static int degrees(ls_rotation r)
{
    return r.transpose ? (r.flip_y && !r.flip_x ? 270 : 90) : r.flip_x && r.flip_y ? 180 : 0;
}

/* A file that is one picture, or a picture within a file, such as a cover. */
static bool is_image(const AVFormatContext *f, const AVStream *st)
{
    const char *name = f->iformat->name, *end = strrchr(name, '_');
    return st->disposition & AV_DISPOSITION_ATTACHED_PIC || !strcmp(name, "image2") ||
           (end && !strcmp(end, "_pipe"));
}

static ls_probe_stream describe_stream(const AVFormatContext *f, const AVStream *st)
{
    const AVCodecParameters *c = st->codecpar;
    const char *type = av_get_media_type_string(c->codec_type);
    ls_probe_stream s = {.index = st->index,
                         .type = type ? type : "data",
                         .codec = c->codec_id ? avcodec_get_name(c->codec_id) : "unknown",
                         .seconds = seconds(st->duration, st->time_base),
                         .fps_den = 1};
    if (c->codec_type == AVMEDIA_TYPE_VIDEO) {
        const char *format = av_get_pix_fmt_name(c->format);
        s.type = is_image(f, st) ? "image" : type;
        s.width = (size_t)c->width;
        s.height = (size_t)c->height;
        s.pixel_format = format ? format : "unknown";
        s.rotation = degrees(ls_rotation_of(st));
        if (st->avg_frame_rate.num > 0 && st->avg_frame_rate.den > 0) {
            s.fps_num = st->avg_frame_rate.num;
            s.fps_den = st->avg_frame_rate.den;
        }
    } else if (c->codec_type == AVMEDIA_TYPE_AUDIO) {
        s.sample_rate = c->sample_rate;
        s.channels = c->ch_layout.nb_channels;
    }
    return s;
}

static void note_rate(probe *p, const AVStream *st, const ls_video_info *info)
{
    const AVRational mean = st->avg_frame_rate, base = st->r_frame_rate;
    const AVRational timeline = {info->fps_num, info->fps_den};
    if (mean.num <= 0 || mean.den <= 0)
        return;
    if (base.num > 0 && base.den > 0 && av_q2d(base) > 1.05 * av_q2d(mean))
        note(p, "The frame rate varies, %.5g frames/s on average; it becomes a constant %.5g.",
             av_q2d(mean), av_q2d(timeline));
    else if (av_cmp_q(mean, timeline))
        note(p, "%.5g frames/s become %.5g: frames are %s.", av_q2d(mean), av_q2d(timeline),
             av_cmp_q(mean, timeline) > 0 ? "dropped" : "repeated");
}

static void note_picture(probe *p, const AVStream *st, const AVFrame *model,
                         const ls_video_info *info)
{
    const ls_rotation r = ls_rotation_of(st);
    const enum AVPixelFormat stored = st->codecpar->format;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(stored);
    if (r.transpose || r.flip_x || r.flip_y)
        note(p, "Frames are turned as the file asks for, to %d x %d.", model->width, model->height);
    if (model->width % 2 || model->height % 2)
        note(p, "The output will be %d x %d, because 4:2:0 video has even sizes only.",
             FFALIGN(model->width, 2), FFALIGN(model->height, 2));
    if (info->transparent)
        note(p, "Transparency is kept if the encoder of the output can: prores_ks, ffv1, png "
                "or libvpx-vp9.");
    if (d && ls_format_planar(stored, false) != ls_format_opaque(stored) &&
        !av_strstart(d->name, "yuvj", NULL))
        note(p, "Frames are converted from %s to %s.", d->name, av_get_pix_fmt_name(model->format));
    if (info->deinterlaced)
        note(p, "The video is interlaced; its frames are deinterlaced.");
}

/* What else of the file a job carries over. */
static void note_extras(probe *p, const AVFormatContext *f)
{
    const size_t text = ls_input_count_streams(f, AVMEDIA_TYPE_SUBTITLE);
    if (text)
        note(p, "%zu stream%s of subtitles: kept where the container of the output allows.", text,
             text > 1 ? "s" : "");
    if (f->nb_chapters)
        note(p, "%u chapter%s: kept.", f->nb_chapters, f->nb_chapters > 1 ? "s" : "");
}

/* By opening the video as a job does. */
static int probe_video(probe *p, const AVFormatContext *f, ls_error *err)
{
    if (!ls_input_count_streams(f, AVMEDIA_TYPE_VIDEO))
        return 0;
    ls_error why = {0};
    ls_video *v;
    const ls_video_settings settings = {.threads = 1, .cancel = p->cancel};
    const int ret = ls_video_open(&v, p->p.path, &settings, &why);
    if (ret == LS_ECANCELED || ret == LS_ENOMEM)
        return ls_fail(err, ret, "%s", why.message);
    if (ret) {
        note(p, "%s", why.message);
        return 0;
    }
    const ls_video_info *info = ls_video_get_info(v);
    const int index = info->stream;
    if ((size_t)index >= p->p.stream_count) {
        ls_video_close(&v);
        return 0;
    }
    p->p.is_video = p->streams[index].used = 1;
    p->p.width = info->width;
    p->p.height = info->height;
    p->p.frames = info->frames;
    if (info->streams > 1)
        note(p, "Of %zu video streams, stream %d is used.", info->streams, index);
    if (is_image(f, f->streams[index]))
        note(p, "A still image, which the output shows for as long as the speech lasts.");
    else
        note_rate(p, f->streams[index], info);
    note_picture(p, f->streams[index], ls_video_model(v), info);
    ls_hdr_report(ls_video_model(v), f->streams[index], p->p.path,
                  &(ls_log){LS_LOG_WARN, note_line, p});
    note_extras(p, f);
    ls_video_close(&v);
    return 0;
}

/* Decodes until there are samples: 1, 0 if there are none, or an error code. */
static int has_samples(AVFormatContext *f, AVCodecContext *decoder, int stream, const char *path,
                       ls_error *err)
{
    AVPacket *packet = av_packet_alloc();
    AVFrame *frame = av_frame_alloc();
    int ret = packet && frame ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    bool found = false, end = false;
    for (int n = 0; !ret && !found && !end && n < MAX_AUDIO_PACKETS;) {
        end = av_read_frame(f, packet) < 0;
        if (end)
            ret = ls_input_check_read(f, path, err);
        if (end || packet->stream_index == stream) {
            n++;
            avcodec_send_packet(decoder, end ? NULL : packet);
            found = !avcodec_receive_frame(decoder, frame) && frame->nb_samples > 0;
        }
        av_packet_unref(packet);
    }
    av_packet_free(&packet);
    av_frame_free(&frame);
    return ret ? ret : found;
}

static void note_audio(probe *p, const AVFormatContext *f, int index)
{
    const ls_probe_stream *s = &p->streams[index];
    const size_t count = ls_input_count_streams(f, AVMEDIA_TYPE_AUDIO);
    if (count > 1)
        note(p, "Of %zu audio streams, stream %d is used.", count, index);
    if (s->channels > 1)
        note(p, "As speech, %d channels are mixed to mono; the output keeps them.", s->channels);
}

/* By opening the audio as ls_pcm does, and decoding its beginning. */
static int probe_audio(probe *p, const AVFormatContext *f, ls_error *err)
{
    if (!ls_input_count_streams(f, AVMEDIA_TYPE_AUDIO))
        return 0;
    AVFormatContext *format = NULL;
    AVCodecContext *decoder = NULL;
    ls_error why = {0};
    const int index = ls_input_open_stream(&format, &decoder, p->p.path, AVMEDIA_TYPE_AUDIO, -1, 1,
                                           p->cancel, &why);
    const int ret = index < 0 ? index : has_samples(format, decoder, index, p->p.path, &why);
    avcodec_free_context(&decoder);
    avformat_close_input(&format);
    if (ret == LS_ECANCELED || ret == LS_ENOMEM)
        return ls_fail(err, ret, "%s", why.message);
    if (ret <= 0 || (size_t)index >= p->p.stream_count) {
        note(p, "%s", ret < 0 ? why.message : "The audio cannot be decoded.");
        return 0;
    }
    p->p.is_speech = p->streams[index].used = 1;
    note_audio(p, f, index);
    return 0;
}

static int probe_file(probe *p, ls_error *err)
{
    AVFormatContext *f = NULL;
    int ret = ls_input_open(&f, p->p.path, p->cancel, err);
    if (ret)
        return ret;
    const int64_t bytes = f->pb ? avio_size(f->pb) : 0;
    p->p.format = f->iformat->name;
    p->p.bytes = bytes > 0 ? (uint64_t)bytes : 0;
    p->p.seconds = seconds(f->duration, AV_TIME_BASE_Q);
    p->p.streams = p->streams = ls_calloc_array(f->nb_streams + 1, sizeof *p->streams);
    if (!p->streams)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    for (unsigned i = 0; !ret && i < f->nb_streams; i++)
        p->streams[p->p.stream_count++] = describe_stream(f, f->streams[i]);
    if (!ret)
        ret = probe_video(p, f, err);
    if (!ret)
        ret = probe_audio(p, f, err);
    avformat_close_input(&f);
    return ret;
}

int ls_probe_open(const ls_probe **out, const char *path, const ls_cancel *cancel, ls_error *err)
{
    *out = NULL;
    if (ls_canceled(cancel))
        return ls_fail(err, LS_ECANCELED, "canceled");
    probe *p = ls_calloc_array(1, sizeof *p);
    if (!p)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    p->cancel = cancel;
    p->p.notes = (const char *const *)p->notes;
    p->p.path = strdup(path);
    *out = &p->p;
    const int ret = p->p.path ? probe_file(p, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (ret)
        ls_probe_free(out);
    return ret;
}

void ls_probe_free(const ls_probe **pp)
{
    probe *p = (probe *)*pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->p.note_count; i++)
        free(p->notes[i]);
    free(p->streams);
    free((char *)p->p.path);
    free(p);
    *pp = NULL;
}
