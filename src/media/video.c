#include "media/video.h"
#include "media/avframe.h"
#include "media/deinterlace.h"
#include "media/format.h"
#include "media/hdr.h"
#include "media/index.h"
#include "media/input.h"
#include "media/rotate.h"
#include "media/timeline.h"
#include "base/alloc.h"

#include <libavutil/adler32.h>
#include <libavutil/imgutils.h>
#include <stdlib.h>
#include <string.h>

#define TIMELINE_FPS 25

struct ls_video {
    char *path;
    ls_video_settings settings;
    ls_video_info info;
    AVFormatContext *format;
    AVCodecContext *decoder;
    int stream;
    AVPacket *packet;
    AVFrame *decoded, *last, *current, *model;
    struct SwsContext *sws;
    ls_deinterlacer *deinterlacer; /* NULL: interlaced frames stay so */
    ls_rotation rotation;
    ls_packet_clock clock;
    ls_times *times; /* NULL: a constant rate */
    ls_times_kind times_kind;
    ls_timeline t;
    ls_emission emission; /* of `last` and `current`: still to be emitted */
    bool flushed;
    bool jumps;      /* timestamps cannot be used for seeking */
    bool first_pass; /* over this part: report damage */
    uint64_t errors, decoded_count;
    ls_index index;
    uint64_t bytes;  /* of the file; 0 when unknown */
    uint64_t sought; /* frames that the last seek decoded */
};

static const AVStream *stream_of(const ls_video *v)
{
    return v->format->streams[v->stream];
}

static ls_stream_times times_of(const ls_video *v)
{
    const AVFormatContext *f = v->format;
    return (ls_stream_times){.rate = {v->info.fps_num, v->info.fps_den},
                             .source_rate =
                                 av_guess_frame_rate(v->format, (AVStream *)stream_of(v), NULL),
                             .time_base = stream_of(v)->time_base,
                             .start = f->start_time == AV_NOPTS_VALUE ? 0 : f->start_time,
                             .alone = f->nb_streams == 1,
                             .discontinuous = f->iformat->flags & AVFMT_TS_DISCONT};
}

static void note_damage(ls_video *v)
{
    if (v->first_pass && v->errors++ == 0)
        ls_log_msg(v->settings.log, LS_LOG_WARN, "%s: damaged video after %llu frames; skipping it",
                   v->path, (unsigned long long)v->decoded_count);
}

/* The next decoded frame, as it comes from the decoder, in v->decoded. */
static int decode(ls_video *v, ls_error *err)
{
    for (;;) {
        int ret = avcodec_receive_frame(v->decoder, v->decoded);
        if (!ret) {
            if (v->decoded->flags & AV_FRAME_FLAG_CORRUPT || v->decoded->decode_error_flags)
                note_damage(v);
            v->decoded_count++;
            return 0;
        }
        if (ret == AVERROR_EOF)
            return LS_EOF;
        if (ret == AVERROR(ENOMEM))
            return ls_fail_av(err, ret, "%s", v->path);
        if (ret != AVERROR(EAGAIN)) {
            note_damage(v);
            continue;
        }
        ret = av_read_frame(v->format, v->packet);
        if (ret == AVERROR(EAGAIN))
            continue;
        if (ret < 0) {
            int bad = ls_input_check_read(v->format, v->path, err);
            if (bad)
                return bad;
            if (ret != AVERROR_EOF)
                note_damage(v);
            avcodec_send_packet(v->decoder, NULL);
            continue;
        }
        if (v->packet->stream_index == v->stream) {
            const ls_stream_times times = times_of(v);
            v->jumps |= ls_packet_clock_mend(&v->clock, &times, v->packet);
            if (avcodec_send_packet(v->decoder, v->packet) < 0)
                note_damage(v);
        }
        av_packet_unref(v->packet);
    }
}

/* As decode, in the first frame's format. */
static int decode_alike(ls_video *v, ls_error *err)
{
    int ret = decode(v, err);
    if (ret)
        return ret;
    if ((int64_t)v->decoded->width * v->decoded->height > LS_MAX_FRAME_PIXELS)
        return ls_fail(err, LS_EUNSUPPORTED, "%s: frames of %d x %d are too large", v->path,
                       v->decoded->width, v->decoded->height);
    const enum AVPixelFormat format =
        v->model ? v->model->format : ls_format_planar(v->decoded->format, v->settings.alpha);
    ret = ls_format_convert(&v->sws, v->decoded, format, v->model, ls_rotation_turns(v->rotation),
                            err);
    return ret ? ls_fail_context(err, ret, "%s", v->path) : 0;
}

/* As decode_alike, progressive. */
static int decode_progressive(ls_video *v, ls_error *err)
{
    int ret;
    while (!ls_deinterlacer_take(v->deinterlacer, v->decoded, &ret, err)) {
        ret = decode_alike(v, err);
        if (!ret || ret == LS_EOF)
            ret = ls_deinterlacer_put(v->deinterlacer, ret ? NULL : v->decoded, err);
        if (ret)
            break;
    }
    return ret;
}

/* Decodes into v->current, rotated and in the first frame's format. */
static int decode_current(ls_video *v, ls_error *err)
{
    int ret = v->deinterlacer ? decode_progressive(v, err) : decode_alike(v, err);
    if (ret)
        return ret;
    ret = ls_rotate(v->rotation, v->decoded, err);
    if (ret)
        ls_fail_context(err, ret, "%s", v->path);
    av_frame_unref(v->current);
    av_frame_move_ref(v->current, v->decoded);
    return ret;
}

static uint32_t sum_luma(const AVFrame *f)
{
    size_t row = (size_t)f->width * (av_pix_fmt_desc_get(f->format)->comp[0].depth > 8 ? 2 : 1);
    AVAdler sum = 1;
    for (int y = 0; y < f->height; y++)
        sum = av_adler32_update(sum, f->data[0] + (ptrdiff_t)y * f->linesize[0], row);
    return sum;
}

static int add_checkpoint(ls_video *v, ls_error *err)
{
    if (v->jumps)
        v->index.count = 0;
    return v->jumps || !ls_index_is_due(&v->index, &v->t)
               ? 0
               : ls_index_add(&v->index, &v->t, sum_luma(v->current), err);
}

/* Decides how often the frame just decoded and the one before it are emitted. */
static void place(ls_video *v)
{
    const ls_stream_times times = times_of(v);
    const int64_t pts = v->current->best_effort_timestamp;
    v->emission =
        v->times
            ? ls_timeline_place_at(&v->t, ls_times_find(v->times, pts), pts, v->last->buf[0])
            : ls_timeline_place(&v->t, &times, pts, ls_av_duration(v->current), v->last->buf[0]);
    if (!v->t.unique)
        ls_index_drop(&v->index, v->t.previous_pts);
    if (v->emission.ignore) {
        av_frame_unref(v->current);
        av_frame_move_ref(v->current, v->last);
    }
}

/* Often nothing else shows that a file was cut off. */
static void note_end(const ls_video *v)
{
    const AVFormatContext *f = v->format;
    bool known = f->nb_streams == 1 || stream_of(v)->duration > 0;
    if (v->first_pass && known && v->info.frames > v->t.emitted + v->t.emitted / 16 + 25)
        ls_log_msg(v->settings.log, LS_LOG_WARN,
                   "%s ends after %llu of about %llu frames; is it cut off?", v->path,
                   (unsigned long long)v->t.emitted, (unsigned long long)v->info.frames);
}

/* Times that the last frame is emitted after the end. */
static int64_t count_left(const ls_video *v)
{
    return !v->times         ? ls_timeline_end(&v->t)
           : v->last->buf[0] ? (int64_t)(ls_times_frames(v->times) - v->t.emitted)
                             : 0;
}

/* Decodes one more frame. */
static int advance(ls_video *v, ls_error *err)
{
    if (v->flushed)
        return LS_EOF;
    int ret = add_checkpoint(v, err);
    if (ret)
        return ret;
    av_frame_unref(v->last);
    av_frame_move_ref(v->last, v->current);
    ret = decode_current(v, err);
    if (!ret) {
        place(v);
    } else if (ret == LS_EOF) {
        v->flushed = true;
        note_end(v);
        v->emission = (ls_emission){.last = count_left(v)};
        ret = 0;
    }
    return ret;
}

int ls_video_next(ls_video *v, ls_frame **out, ls_error *err)
{
    *out = NULL;
    if (ls_canceled(v->settings.cancel))
        return ls_fail(err, LS_ECANCELED, "canceled");
    while (!v->emission.last && !v->emission.current) {
        int ret = advance(v, err);
        if (ret == LS_EOF)
            v->index.length = v->t.emitted;
        if (ret)
            return ret;
    }
    const bool is_last = v->emission.last > 0;
    *(is_last ? &v->emission.last : &v->emission.current) -= 1;
    ls_timeline_count(&v->t);
    *out = ls_frame_wrap(av_frame_clone(is_last ? v->last : v->current));
    return *out ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for a frame");
}

uint64_t ls_video_position(const ls_video *v)
{
    return v->t.emitted;
}

static void reset(ls_video *v, const ls_timeline *t)
{
    avcodec_flush_buffers(v->decoder);
    if (v->deinterlacer)
        ls_deinterlacer_restart(v->deinterlacer);
    av_frame_unref(v->last);
    av_frame_unref(v->current);
    v->t = *t;
    v->emission = (ls_emission){0};
    v->flushed = false;
    v->clock = (ls_packet_clock){.next_dts = AV_NOPTS_VALUE};
}

/* Seeks to a key frame at or before `from` and decodes up to the checkpoint's frame. False when it
 * is not met, or no key frame is shown before it: frames that precede a key frame but are decoded
 * after it depend on earlier ones. */
static bool resume_from(ls_video *v, const ls_checkpoint *c, int64_t from)
{
    if (av_seek_frame(v->format, v->stream, from, AVSEEK_FLAG_BACKWARD) < 0)
        return false;
    reset(v, &c->t);
    int64_t pts;
    bool key = false;
    do {
        if (decode_current(v, NULL))
            return false;
        pts = v->current->best_effort_timestamp;
        key |= ls_av_is_key(v->current) && pts != AV_NOPTS_VALUE && pts <= c->t.previous_pts;
    } while (pts == AV_NOPTS_VALUE || pts < c->t.previous_pts);
    return key && pts == c->t.previous_pts && sum_luma(v->current) == c->luma;
}

static bool resume(ls_video *v, const ls_checkpoint *c)
{
    static const int seconds_before[] = {0, 2, 15};
    const AVRational tb = stream_of(v)->time_base;
    const int64_t pts = c->t.previous_pts;
    /* an interlaced frame needs the one before it */
    const bool both = v->deinterlacer && ls_deinterlacer_works(v->deinterlacer);
    for (size_t i = 0; i < LS_COUNT(seconds_before); i++)
        if (pts != AV_NOPTS_VALUE &&
            resume_from(v, c,
                        av_sat_sub64(pts, av_rescale(seconds_before[i], tb.den, tb.num) + both)))
            return true;
    return false;
}

static int reopen(ls_video *v, ls_error *err);

int ls_video_seek(ls_video *v, uint64_t index, ls_error *err)
{
    const ls_checkpoint *found = ls_index_find(&v->index, index);
    const ls_checkpoint c = found ? *found : (ls_checkpoint){.t = ls_timeline_start};
    const bool ahead = v->t.emitted <= index && c.t.emitted <= v->t.emitted;
    const uint64_t before = v->decoded_count;
    int ret = 0;
    v->first_pass = v->first_pass && ahead;
    if (!ahead && !(found && resume(v, &c)))
        ret = reopen(v, err);
    while (!ret && v->t.emitted < index) {
        ls_frame *f;
        ret = ls_video_next(v, &f, err);
        ls_frame_unref(&f);
    }
    v->sought = v->decoded_count - before;
    return ret;
}

uint64_t ls_video_length(const ls_video *v)
{
    return v->index.length;
}

uint64_t ls_video_sought(const ls_video *v)
{
    return v->sought;
}

static ls_index_key key_of(const ls_video *v)
{
    const ls_video_info *i = &v->info;
    return (ls_index_key){i->width, i->height, (uint64_t)i->fps_num, (uint64_t)i->fps_den,
                          v->bytes};
}

int ls_video_save_index(const ls_video *v, const char *path, ls_error *err)
{
    const ls_index_key key = key_of(v);
    return ls_index_save(&v->index, &key, path, err);
}

int ls_video_load_index(ls_video *v, const char *path, ls_error *err)
{
    const ls_index_key key = key_of(v);
    return ls_index_load(&v->index, &key, path, err);
}

static int open_stream(ls_video *v, ls_error *err)
{
    v->stream =
        ls_input_open_stream(&v->format, &v->decoder, v->path, AVMEDIA_TYPE_VIDEO,
                             v->settings.stream - 1, v->settings.threads, v->settings.cancel, err);
    return v->stream < 0 ? v->stream : 0;
}

static int reopen(ls_video *v, ls_error *err)
{
    avcodec_free_context(&v->decoder);
    avformat_close_input(&v->format);
    int ret = open_stream(v, err);
    if (!ret)
        reset(v, &ls_timeline_start);
    return ret;
}

static int find_times(ls_video *v, ls_error *err)
{
    const ls_stream_times s = times_of(v);
    int ret = !v->settings.source_fps ? 0
                                      : ls_times_open(&v->times, &v->times_kind, v->path, v->stream,
                                                      &s, v->settings.cancel, err);
    if (ret || !v->times)
        return ret;
    const AVRational rate = ls_times_rate(v->times);
    v->info.fps_num = rate.num;
    v->info.fps_den = rate.den;
    v->info.frames = v->index.length = ls_times_frames(v->times);
    return 0;
}

static void describe(ls_video *v)
{
    const AVStream *st = stream_of(v);
    AVRational fps = {TIMELINE_FPS, 1}, source = times_of(v).source_rate;
    if (v->settings.source_fps && source.num > 0 && source.den > 0 && av_q2d(source) <= 1000)
        fps = source;
    v->info.fps_num = fps.num;
    v->info.fps_den = fps.den;
    int64_t duration = st->duration != AV_NOPTS_VALUE
                           ? av_rescale_q(st->duration, st->time_base, av_inv_q(fps))
                       : v->format->duration != AV_NOPTS_VALUE
                           ? av_rescale_q(v->format->duration, AV_TIME_BASE_Q, av_inv_q(fps))
                           : 0;
    v->info.frames = duration > 0 && duration < (int64_t)1 << 40 ? (uint64_t)duration : 0;
    v->info.stream = v->stream;
    v->info.streams = ls_input_count_streams(v->format, AVMEDIA_TYPE_VIDEO);
    v->info.transparent = ls_format_has_alpha(st->codecpar->format) || ls_input_has_alpha(st);
    const int64_t bytes = v->format->pb ? avio_size(v->format->pb) : 0;
    v->bytes = bytes > 0 ? (uint64_t)bytes : 0;
}

/* The first frame fixes size and format. */
static int take_model(ls_video *v, ls_error *err)
{
    int ret = decode_current(v, err);
    if (ret == LS_EOF)
        return ls_input_fail_format(v->path, "is damaged: no frame of the video can be decoded",
                                    err);
    if (ret)
        return ret;
    v->model = av_frame_clone(v->current);
    if (!v->model)
        return ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    AVRational sar = av_guess_sample_aspect_ratio(v->format, (AVStream *)stream_of(v), v->current);
    if (ls_rotation_turns(v->rotation) && sar.num)
        sar = av_inv_q(sar);
    v->model->sample_aspect_ratio = sar;
    v->info.deinterlaced = !v->settings.keep_interlaced &&
                           (ls_av_is_interlaced(v->model) ||
                            stream_of(v)->codecpar->field_order > AV_FIELD_PROGRESSIVE);
    ret = ls_hdr_complete(v->model, stream_of(v), err);
    if (ret)
        return ret;
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(v->model->format);
    v->info.width = (size_t)v->model->width;
    v->info.height = (size_t)v->model->height;
    v->info.depth = (unsigned)d->comp[0].depth;
    const int bytes =
        av_image_get_buffer_size(v->model->format, v->model->width, v->model->height, 1);
    if (bytes <= 0)
        return ls_fail(err, LS_EUNSUPPORTED, "%s: frames of %d x %d are too large", v->path,
                       v->model->width, v->model->height);
    v->info.frame_bytes = (size_t)bytes;
    v->first_pass = true;
    v->decoded_count = 0;
    if (!v->settings.keep_interlaced)
        ret = ls_deinterlacer_open(&v->deinterlacer, v->path, v->settings.log, err);
    return ret ? ret : reopen(v, err);
}

int ls_video_open(ls_video **out, const char *path, const ls_video_settings *s, ls_error *err)
{
    *out = NULL;
    ls_video *v = ls_calloc_array(1, sizeof *v);
    if (!v)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    v->settings = *s;
    v->path = strdup(path);
    v->packet = av_packet_alloc();
    v->decoded = av_frame_alloc();
    v->last = av_frame_alloc();
    v->current = av_frame_alloc();
    int ret = v->path && v->packet && v->decoded && v->last && v->current
                  ? open_stream(v, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        v->rotation = ls_rotation_of(stream_of(v));
        v->t = ls_timeline_start;
        v->clock.next_dts = AV_NOPTS_VALUE;
        describe(v);
        ret = find_times(v, err);
    }
    if (!ret) {
        ret = take_model(v, err);
    }
    if (ret)
        ls_video_close(&v);
    *out = v;
    return ret;
}

void ls_video_close(ls_video **pv)
{
    ls_video *v = *pv;
    if (!v)
        return;
    if (v->errors)
        ls_log_msg(v->settings.log, LS_LOG_WARN, "%s: skipped %llu damaged places", v->path,
                   (unsigned long long)v->errors);
    avcodec_free_context(&v->decoder);
    avformat_close_input(&v->format);
    av_packet_free(&v->packet);
    av_frame_free(&v->decoded);
    av_frame_free(&v->last);
    av_frame_free(&v->current);
    av_frame_free(&v->model);
    sws_freeContext(v->sws);
    ls_deinterlacer_close(&v->deinterlacer);
    ls_times_close(&v->times);
    ls_index_free(&v->index);
    free(v->path);
    free(v);
    *pv = NULL;
}

const ls_video_info *ls_video_get_info(const ls_video *v)
{
    return &v->info;
}

const char *ls_video_path(const ls_video *v)
{
    return v->path;
}

const ls_times *ls_video_times(const ls_video *v)
{
    return v->times;
}

double ls_video_seconds(const ls_video *v, uint64_t frames)
{
    return v->times ? ls_times_seconds(v->times, frames)
                    : (double)frames * v->info.fps_den / v->info.fps_num;
}

void ls_video_log_choice(const ls_video *v, const ls_log *log)
{
    const ls_video_info *i = &v->info;
    const double fps = (double)i->fps_num / i->fps_den;
    if (i->streams > 1)
        ls_log_msg(log, LS_LOG_INFO, "%s: of %zu video streams, stream %d is used", v->path,
                   i->streams, i->stream);
    if (v->times)
        ls_log_msg(
            log, LS_LOG_INFO,
            "%s: the frame rate varies, %.5g frames/s on average; every frame keeps its time",
            v->path, fps);
    else if (v->times_kind == LS_TIMES_UNUSABLE)
        ls_log_msg(
            log, LS_LOG_INFO,
            "%s: the times of its frames are missing or not in order; the frame rate becomes "
            "a constant %.5g",
            v->path, fps);
}

const AVFrame *ls_video_model(const ls_video *v)
{
    return v->model;
}
