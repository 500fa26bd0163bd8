#include "media/extras.h"
#include "media/hdr.h"
#include "media/input.h"
#include "media/tags.h"
#include "base/alloc.h"
#include "base/list.h"

#include <libavutil/avstring.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_SUBTITLE_BYTES 65536

/* One stream of subtitles. */
typedef struct subtitle {
    AVStream *from, *to;
    AVCodecContext *decoder, *encoder; /* where the output holds another kind of text */
} subtitle;

struct ls_extras {
    const char *path;
    AVFormatContext *in, *mux;
    double begin;   /* of the output, in the whole */
    double seconds; /* length of the output */
    subtitle *subtitles;
    size_t count;
    const AVStream *cover; /* whose picture is still to be written, to `cover_to` */
    AVStream *cover_to;
    AVPacket *packet; /* the next to be written, if it has data */
    uint8_t *text;
    bool ended;
};

/* The text format of a container; AV_CODEC_ID_NONE: it holds none. */
static enum AVCodecID text_of(const AVOutputFormat *format)
{
    return !strcmp(format->name, "webm")                                  ? AV_CODEC_ID_WEBVTT
           : !strcmp(format->name, "matroska")                            ? AV_CODEC_ID_SUBRIP
           : !strcmp(format->name, "mp4") || !strcmp(format->name, "mov") ? AV_CODEC_ID_MOV_TEXT
                                                                          : AV_CODEC_ID_NONE;
}

static bool can_copy(const AVOutputFormat *format, enum AVCodecID id)
{
    static const enum AVCodecID kinds[] = {AV_CODEC_ID_SUBRIP,      AV_CODEC_ID_ASS,
                                           AV_CODEC_ID_WEBVTT,      AV_CODEC_ID_DVD_SUBTITLE,
                                           AV_CODEC_ID_MOV_TEXT,    AV_CODEC_ID_HDMV_PGS_SUBTITLE,
                                           AV_CODEC_ID_DVB_SUBTITLE};
    for (size_t i = 0; i < LS_COUNT(kinds); i++)
        if (kinds[i] == id)
            return text_of(format) == AV_CODEC_ID_MOV_TEXT
                       ? id == AV_CODEC_ID_MOV_TEXT
                       : avformat_query_codec(format, id, FF_COMPLIANCE_NORMAL) == 1;
    return false;
}

static bool can_convert(const AVOutputFormat *format, enum AVCodecID id)
{
    const AVCodecDescriptor *d = avcodec_descriptor_get(id);
    return d && d->props & AV_CODEC_PROP_TEXT_SUB && avcodec_find_decoder(id) &&
           avcodec_find_encoder(text_of(format));
}

static int open_converter(subtitle *s, const AVOutputFormat *format, ls_error *err)
{
    int ret = ls_decoder_open(&s->decoder, s->from, 1, err);
    if (ret)
        return ret;
    const AVCodec *codec = avcodec_find_encoder(text_of(format));
    AVCodecContext *c = s->encoder = avcodec_alloc_context3(codec);
    const int header = s->decoder->subtitle_header_size;
    if (!c || (header > 0 && !(c->subtitle_header = av_mallocz((size_t)header + 1))))
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (header > 0)
        memcpy(c->subtitle_header, s->decoder->subtitle_header, (size_t)header);
    c->subtitle_header_size = header;
    c->time_base = (AVRational){1, 1000};
    c->flags |= AV_CODEC_FLAG_BITEXACT;
    ret = avcodec_open2(c, codec, NULL);
    if (ret >= 0)
        ret = avcodec_parameters_from_context(s->to->codecpar, c);
    return ret < 0 ? ls_fail_av(err, ret, "cannot convert subtitles to %s", codec->name) : 0;
}

static int copy_stream(AVStream *to, const AVStream *from, ls_error *err)
{
    if (!to || avcodec_parameters_copy(to->codecpar, from->codecpar) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    to->codecpar->codec_tag = 0;
    to->time_base = from->time_base;
    to->disposition = from->disposition;
    return ls_tags_copy_stream(to, from, err);
}

static int add_subtitle(ls_extras *x, AVStream *from, ls_error *err)
{
    const AVOutputFormat *format = x->mux->oformat;
    subtitle *s = &x->subtitles[x->count++];
    *s = (subtitle){.from = from, .to = avformat_new_stream(x->mux, NULL)};
    from->discard = AVDISCARD_DEFAULT;
    int ret = copy_stream(s->to, from, err);
    return ret || can_copy(format, from->codecpar->codec_id) ? ret : open_converter(s, format, err);
}

static int add_attachment(ls_extras *x, const AVStream *from, ls_error *err)
{
    AVStream *to = avformat_new_stream(x->mux, NULL);
    const int ret = copy_stream(to, from, err);
    return ret ? ret
           : av_dict_copy(&to->metadata, from->metadata, 0) < 0
               ? ls_fail(err, LS_ENOMEM, "out of memory")
               : 0;
}

static bool can_keep_cover(const ls_extras *x, const AVStream *st)
{
    const enum AVCodecID id = st->codecpar->codec_id;
    const char *format = x->mux->oformat->name;
    return st->disposition & AV_DISPOSITION_ATTACHED_PIC && st->attached_pic.size > 0 &&
           (id == AV_CODEC_ID_MJPEG || id == AV_CODEC_ID_PNG) &&
           (!strcmp(format, "matroska") || (!strcmp(format, "mp4") && !x->cover));
}

/* Among the tags in mp4, and a file attached to Matroska. */
static int add_cover(ls_extras *x, const AVStream *from, ls_error *err)
{
    AVStream *to = avformat_new_stream(x->mux, NULL);
    const int ret = copy_stream(to, from, err);
    if (ret)
        return ret;
    if (strcmp(x->mux->oformat->name, "matroska")) {
        x->cover = from;
        x->cover_to = to;
        return 0;
    }
    const bool is_png = from->codecpar->codec_id == AV_CODEC_ID_PNG;
    to->codecpar->codec_type = AVMEDIA_TYPE_ATTACHMENT;
    to->disposition = 0;
    return av_dict_set(&to->metadata, "filename", is_png ? "cover.png" : "cover.jpg", 0) < 0 ||
                   av_dict_set(&to->metadata, "mimetype", is_png ? "image/png" : "image/jpeg", 0) <
                       0 ||
                   ls_av_set_extradata(to->codecpar, from->attached_pic.data,
                                       (size_t)from->attached_pic.size)
               ? ls_fail(err, LS_ENOMEM, "out of memory")
               : 0;
}

/* Whether the stream is but the form in which a file keeps its chapters or time code. */
static bool is_kept_otherwise(const AVFormatContext *f, const AVStream *st)
{
    const AVCodecParameters *c = st->codecpar;
    return c->codec_type == AVMEDIA_TYPE_DATA &&
           (c->codec_tag == MKTAG('t', 'm', 'c', 'd') ||
            (c->codec_id == AV_CODEC_ID_BIN_DATA && f->nb_chapters));
}

static void list_lost(char *list, size_t size, const AVStream *st)
{
    const AVCodecParameters *c = st->codecpar;
    const char *type = av_get_media_type_string(c->codec_type);
    ls_list_add(list, size, "%d (%s %s)", st->index,
                st->disposition & AV_DISPOSITION_ATTACHED_PIC ? "picture"
                : type                                        ? type
                                                              : "data",
                c->codec_id && c->codec_id != AV_CODEC_ID_BIN_DATA ? avcodec_get_name(c->codec_id)
                                                                   : av_fourcc2str(c->codec_tag));
}

/* All streams but the video that is used, and sound. */
static int add_streams(ls_extras *x, int video, const ls_log *log, ls_error *err)
{
    const AVOutputFormat *format = x->mux->oformat;
    char lost[512] = "";
    int ret = 0;
    for (int i = 0; !ret && i < (int)x->in->nb_streams; i++) {
        AVStream *st = x->in->streams[i];
        const AVCodecParameters *c = st->codecpar;
        st->discard = AVDISCARD_ALL;
        if (i == video || c->codec_type == AVMEDIA_TYPE_AUDIO || is_kept_otherwise(x->in, st))
            continue;
        if (c->codec_type == AVMEDIA_TYPE_SUBTITLE &&
            (can_copy(format, c->codec_id) || can_convert(format, c->codec_id)))
            ret = add_subtitle(x, st, err);
        else if (c->codec_type == AVMEDIA_TYPE_ATTACHMENT && !strcmp(format->name, "matroska"))
            ret = add_attachment(x, st, err);
        else if (can_keep_cover(x, st))
            ret = add_cover(x, st, err);
        else
            list_lost(lost, sizeof lost, st);
    }
    if (*lost)
        ls_log_msg(log, LS_LOG_WARN, "streams of %s that the output will not have: %s", x->path,
                   lost);
    return ret;
}

int ls_extras_open(ls_extras **out, const ls_video *source, AVFormatContext *mux, AVStream *video,
                   uint64_t first, double seconds, const ls_log *log, ls_error *err)
{
    ls_extras *x = *out = ls_calloc_array(1, sizeof *x);
    if (!x)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    x->path = ls_video_path(source);
    x->mux = mux;
    x->begin = ls_video_seconds(source, first);
    x->seconds = seconds;
    int ret = ls_input_open(&x->in, x->path, NULL, err);
    const int index = ls_video_get_info(source)->stream;
    if (!ret && (unsigned)index >= x->in->nb_streams)
        ret = ls_fail(err, LS_EFORMAT, "%s has no video stream any more", x->path);
    if (!ret) {
        ls_hdr_report(ls_video_model(source), x->in->streams[index], x->path, log);
        ret = ls_tags_copy(mux, video, x->in, index, first, err);
    }
    if (!ret)
        ret = ls_tags_copy_chapters(mux, x->in, x->begin, seconds, err);
    if (!ret) {
        x->subtitles = ls_calloc_array(x->in->nb_streams, sizeof *x->subtitles);
        x->packet = av_packet_alloc();
        x->text = ls_malloc_array(MAX_SUBTITLE_BYTES, 1);
        ret = x->subtitles && x->packet && x->text ? add_streams(x, index, log, err)
                                                   : ls_fail(err, LS_ENOMEM, "out of memory");
    }
    if (ret) {
        ls_extras_close(out);
        return ret;
    }
    x->ended = !x->count;
    if (x->count || x->cover) // the muxer waits for a packet of every stream before it writes
        mux->max_interleave_delta = AV_TIME_BASE / 2;
    return 0;
}

void ls_extras_close(ls_extras **px)
{
    ls_extras *x = *px;
    if (!x)
        return;
    for (size_t i = 0; i < x->count; i++) {
        avcodec_free_context(&x->subtitles[i].decoder);
        avcodec_free_context(&x->subtitles[i].encoder);
    }
    avformat_close_input(&x->in);
    av_packet_free(&x->packet);
    free(x->subtitles);
    free(x->text);
    free(x);
    *px = NULL;
}

/* Replaces the packet's text; false if it has none, or is damaged. */
static bool convert(ls_extras *x, const subtitle *s)
{
    AVPacket *p = x->packet;
    AVSubtitle sub = {0};
    int found = 0, n = -1;
    if (avcodec_decode_subtitle2(s->decoder, &sub, &found, p) < 0 || !found)
        return false;
    if (!p->duration && sub.end_display_time && sub.end_display_time != UINT32_MAX)
        p->duration = av_rescale_q(sub.end_display_time, (AVRational){1, 1000}, s->from->time_base);
    if (sub.num_rects)
        n = avcodec_encode_subtitle(s->encoder, x->text, MAX_SUBTITLE_BYTES, &sub);
    avsubtitle_free(&sub);
    av_buffer_unref(&p->buf);
    av_packet_free_side_data(p);
    p->data = x->text;
    p->size = n;
    return n > 0;
}

/* Times of the output; false if it ends before. */
static bool place(ls_extras *x, const subtitle *s)
{
    AVPacket *p = x->packet;
    const AVRational from = s->from->time_base;
    const int64_t start = x->in->start_time == AV_NOPTS_VALUE ? 0 : x->in->start_time;
    if (p->pts == AV_NOPTS_VALUE)
        return false;
    int64_t begin = av_sat_sub64(p->pts, av_rescale_q(start, AV_TIME_BASE_Q, from));
    begin = av_sat_sub64(begin, (int64_t)(x->begin / av_q2d(from)));
    int64_t end = av_sat_add64(begin, FFMAX(p->duration, 0));
    if (x->seconds < 1e12)
        end = FFMIN(end, (int64_t)(x->seconds / av_q2d(from)));
    begin = FFMAX(begin, 0);
    p->pts = p->dts = begin;
    p->duration = FFMAX(end - begin, 0);
    p->pos = -1;
    p->stream_index = s->to->index;
    av_packet_rescale_ts(p, from, s->to->time_base);
    return (double)begin * av_q2d(from) < x->seconds && !(x->begin > 0 && end <= 0);
}

/* Reads up to the next that is shown. */
static int read_next(ls_extras *x, ls_error *err)
{
    AVPacket *p = x->packet;
    for (;;) {
        av_packet_unref(p);
        if (av_read_frame(x->in, p) < 0) {
            x->ended = true;
            return ls_input_check_read(x->in, x->path, err);
        }
        size_t i = 0;
        while (i < x->count && x->subtitles[i].from->index != p->stream_index)
            i++;
        const subtitle *s = &x->subtitles[i];
        if (i < x->count && (!s->encoder || convert(x, s)) && place(x, s))
            return 0;
    }
}

static int write_packet(ls_extras *x, ls_error *err)
{
    const int bad = av_interleaved_write_frame(x->mux, x->packet);
    av_packet_unref(x->packet);
    return bad < 0 ? ls_fail_av(err, bad, "cannot write what else %s holds", x->path) : 0;
}

static int write_cover(ls_extras *x, ls_error *err)
{
    AVPacket *p = x->packet;
    if (av_packet_ref(p, &x->cover->attached_pic) < 0)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    p->stream_index = x->cover_to->index;
    p->pts = p->dts = 0;
    x->cover = NULL;
    return write_packet(x, err);
}

int ls_extras_write_until(ls_extras *x, double seconds, ls_error *err)
{
    AVPacket *p = x->packet;
    int ret = x->cover ? write_cover(x, err) : 0;
    while (!ret && !x->ended) {
        if (!p->data)
            ret = read_next(x, err);
        if (ret || x->ended)
            break;
        if ((double)p->pts * av_q2d(x->mux->streams[p->stream_index]->time_base) >= seconds)
            return 0;
        ret = write_packet(x, err);
    }
    return ret;
}
