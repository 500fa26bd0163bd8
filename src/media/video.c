#include "media/video.h"
#include "media/av.h"
#include "media/rotate.h"
#include "base/alloc.h"
#include "base/output.h"

#include <libavutil/adler32.h>
#include <libavutil/crc.h>
#include <libavutil/imgutils.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TIMELINE_FPS 25
#define MAX_PIXELS ((int64_t)1 << 28)
#define CHECKPOINT_EVERY 32 /* frames, and twice as many whenever MAX_CHECKPOINTS are there */
#define MAX_CHECKPOINTS 4096
#define MAX_REPEATS (3600 * 30 * 30) /* fftools gives up on longer gaps too */

/* The state of fftools' rate conversion before a decoded frame: enough to go on from there. */
typedef struct timeline {
    int64_t next_pts; /* in frames of the timeline */
    int64_t last_nb0[3];
    uint64_t emitted;
    int64_t previous_pts; /* of the frame that was decoded last, in the stream's time base */
    int64_t highest_pts;  /* of all frames */
    bool unique;          /* no frame before had previous_pts or more */
    uint32_t luma;        /* sum of the last frame's; in checkpoints only */
} timeline;

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
    ls_rotation rotation;
    timeline t;
    int64_t nb0, nb; /* of `last` and `current`: still to be given */
    bool flushed;
    int64_t last_dts, next_dts, shift; /* of packets, and what is added to their times */
    bool jumps;                        /* times of the file do not lead to its places */
    bool first_time;                   /* decodes what it has not before: damage is worth a word */
    uint64_t errors, decoded_count;
    timeline *checkpoints;
    size_t checkpoint_count, checkpoint_every;
    uint64_t length;
    uint64_t bytes;  /* of the file; 0 when unknown */
    uint64_t sought; /* frames that the last seek decoded */
};

static AVRational timeline_fps(const ls_video *v)
{
    return (AVRational){v->info.fps_num, v->info.fps_den};
}

/* Planar Y'CbCr of 8 to 16 bits, subsampled as 4:4:4, 4:2:2 or 4:2:0, and 8-bit grey pass; anything
 * else becomes the nearest of a few of them. */
static enum AVPixelFormat planar_format(enum AVPixelFormat f)
{
    static const enum AVPixelFormat list[] = {
        AV_PIX_FMT_YUV420P,   AV_PIX_FMT_YUV422P,   AV_PIX_FMT_YUV444P,   AV_PIX_FMT_YUV420P10,
        AV_PIX_FMT_YUV422P10, AV_PIX_FMT_YUV444P10, AV_PIX_FMT_YUV420P16, AV_PIX_FMT_YUV422P16,
        AV_PIX_FMT_YUV444P16, AV_PIX_FMT_NONE};
    static const uint64_t other = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL |
                                  AV_PIX_FMT_FLAG_HWACCEL | AV_PIX_FMT_FLAG_BITSTREAM |
                                  AV_PIX_FMT_FLAG_FLOAT | AV_PIX_FMT_FLAG_BAYER |
                                  AV_PIX_FMT_FLAG_ALPHA | (AV_NE(0, AV_PIX_FMT_FLAG_BE));
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f);
    switch (f) {
    case AV_PIX_FMT_YUVJ420P:
        return AV_PIX_FMT_YUV420P;
    case AV_PIX_FMT_YUVJ422P:
        return AV_PIX_FMT_YUV422P;
    case AV_PIX_FMT_YUVJ444P:
        return AV_PIX_FMT_YUV444P;
    case AV_PIX_FMT_GRAY8:
        return f;
    default:
        break;
    }
    if (d && d->nb_components == 3 && av_pix_fmt_count_planes(f) == 3 && !(d->flags & other) &&
        d->log2_chroma_h <= d->log2_chroma_w && d->log2_chroma_w <= 1 && !d->comp[0].shift)
        return f;
    if (d && d->nb_components <= 2)
        return d->comp[0].depth <= 8    ? AV_PIX_FMT_GRAY8
               : d->comp[0].depth <= 10 ? AV_PIX_FMT_YUV420P10
                                        : AV_PIX_FMT_YUV420P16;
    return avcodec_find_best_pix_fmt_of_list(list, f, 0, NULL);
}

/* Converts `f` in place to the format and size of the first frame, with the data as it is where
 * only the name of the format differs. */
static int normalise(ls_video *v, AVFrame *f, ls_error *err)
{
    bool was_j = f->format == AV_PIX_FMT_YUVJ420P || f->format == AV_PIX_FMT_YUVJ422P ||
                 f->format == AV_PIX_FMT_YUVJ444P;
    enum AVPixelFormat want = v->model ? v->model->format : planar_format(f->format);
    int width = v->model ? v->model->width : f->width,
        height = v->model ? v->model->height : f->height;
    if (v->model && ls_rotation_turns(v->rotation)) {
        width = v->model->height;
        height = v->model->width;
    }
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(want);
    if (ls_rotation_turns(v->rotation) && d->log2_chroma_w != d->log2_chroma_h)
        want = d->comp[0].depth > 10  ? AV_PIX_FMT_YUV444P16
               : d->comp[0].depth > 8 ? AV_PIX_FMT_YUV444P10
                                      : AV_PIX_FMT_YUV444P;
    if (was_j) {
        f->format = planar_format(f->format);
        f->color_range = AVCOL_RANGE_JPEG;
    }
    if (av_pix_fmt_desc_get(f->format)->nb_components <= 2 &&
        f->color_range == AVCOL_RANGE_UNSPECIFIED) // as swscale takes grey
        f->color_range = AVCOL_RANGE_JPEG;
    if (f->format == (int)want && f->width == width && f->height == height)
        return 0;
    AVFrame *to = av_frame_alloc();
    if (!to)
        return ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    to->format = want;
    to->width = width;
    to->height = height;
    int ret = av_frame_get_buffer(to, 0);
    v->sws = ret < 0 ? NULL
                     : sws_getCachedContext(v->sws, f->width, f->height, f->format, width, height,
                                            want, SWS_BICUBIC | SWS_ACCURATE_RND, NULL, NULL, NULL);
    if (av_pix_fmt_desc_get(f->format)->flags & (AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL)) {
        f->colorspace = ls_is_high_definition(f) ? AVCOL_SPC_BT709 : AVCOL_SPC_SMPTE170M;
        f->color_range = AVCOL_RANGE_MPEG;
    }
    if (v->sws)
        ls_sws_colors(v->sws, f, f->color_range == AVCOL_RANGE_JPEG);
    if (!v->sws || sws_scale(v->sws, (const uint8_t *const *)f->data, f->linesize, 0, f->height,
                             to->data, to->linesize) != height) {
        av_frame_free(&to);
        return ls_fail(err, LS_EUNSUPPORTED, "%s: frames of %s cannot be converted", v->path,
                       av_get_pix_fmt_name(f->format));
    }
    av_frame_copy_props(to, f);
    av_frame_unref(f);
    av_frame_move_ref(f, to);
    av_frame_free(&to);
    return 0;
}

static void note_damage(ls_video *v)
{
    if (v->first_time && v->errors++ == 0)
        ls_log_msg(v->settings.log, LS_LOG_WARN, "%s: damaged video after %llu frames; skipping it",
                   v->path, (unsigned long long)v->decoded_count);
}

static bool within(int64_t a, int64_t b, int64_t limit)
{
    int64_t d = av_sat_sub64(a, b);
    return d >= -limit && d <= limit;
}

/* As fftools' process_input: where the clock of a transport stream jumps, it goes on as if it had
 * not; elsewhere times that are more than thirty hours off are unknown. */
static void mend_times(ls_video *v, AVPacket *p)
{
    const AVStream *st = v->format->streams[v->stream];
    int64_t second = av_rescale(1, st->time_base.den, st->time_base.num);
    AVRational rate = av_guess_frame_rate(v->format, (AVStream *)st, NULL);
    bool known = v->next_dts != AV_NOPTS_VALUE && p->dts != AV_NOPTS_VALUE;
    if (v->format->iformat->flags & AVFMT_TS_DISCONT) {
        if (p->dts != AV_NOPTS_VALUE)
            p->dts = av_sat_add64(p->dts, v->shift);
        if (known && (!within(p->dts, v->next_dts, 10 * second) ||
                      p->dts < av_sat_sub64(v->last_dts, second / 10))) {
            v->shift = av_sat_add64(v->shift, av_sat_sub64(v->next_dts, p->dts));
            v->jumps = true;
            p->dts = v->next_dts;
        }
        if (p->pts != AV_NOPTS_VALUE)
            p->pts = av_sat_add64(p->pts, v->shift);
    } else if (known && !within(p->dts, v->next_dts, 30 * 3600 * second)) {
        v->jumps = true;
        p->dts = v->next_dts;
        p->pts = AV_NOPTS_VALUE;
    }
    if (p->dts != AV_NOPTS_VALUE)
        v->next_dts = v->last_dts = p->dts;
    if (v->next_dts != AV_NOPTS_VALUE)
        v->next_dts = av_sat_add64(v->next_dts, p->duration > 0 ? p->duration
                                                : rate.num > 0
                                                    ? av_rescale_q(1, av_inv_q(rate), st->time_base)
                                                    : 0);
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
            int bad = ls_av_check_read(v->format, v->path, err);
            if (bad)
                return bad;
            if (ret != AVERROR_EOF)
                note_damage(v);
            avcodec_send_packet(v->decoder, NULL);
            continue;
        }
        if (v->packet->stream_index == v->stream) {
            mend_times(v, v->packet);
            if (avcodec_send_packet(v->decoder, v->packet) < 0)
                note_damage(v);
        }
        av_packet_unref(v->packet);
    }
}

/* Decodes into v->current, rotated and in the first frame's format. */
static int decode_current(ls_video *v, ls_error *err)
{
    int ret = decode(v, err);
    if (ret)
        return ret;
    if ((int64_t)v->decoded->width * v->decoded->height > MAX_PIXELS)
        return ls_fail(err, LS_EUNSUPPORTED, "%s: frames of %d x %d are too large", v->path,
                       v->decoded->width, v->decoded->height);
    ret = normalise(v, v->decoded, err);
    if (!ret)
        ret = ls_rotate(v->rotation, v->decoded, err);
    av_frame_unref(v->current);
    av_frame_move_ref(v->current, v->decoded);
    return ret;
}

/* Only a time that no other frame has, nor one before it exceeds, leads back to one frame. */
static void note_pts(ls_video *v, int64_t pts)
{
    timeline *t = &v->t;
    t->previous_pts = pts;
    t->unique = t->highest_pts == AV_NOPTS_VALUE || pts > t->highest_pts;
    if (t->unique)
        t->highest_pts = pts;
    while (!t->unique && v->checkpoint_count &&
           v->checkpoints[v->checkpoint_count - 1].previous_pts >= pts)
        v->checkpoint_count--;
}

/* How fftools places a frame: `nb0` more of the last frame, then nb - nb0 of this one. Source:
 * fftools/ffmpeg.c of FFmpeg 5.1, do_video_out and adjust_frame_pts_to_encoder_tb. */
static void place(ls_video *v)
{
    const AVStream *st = v->format->streams[v->stream];
    AVRational rate = timeline_fps(v), tb = av_inv_q(rate), fine = tb;
    AVRational source = av_guess_frame_rate(v->format, (AVStream *)st, NULL);
    int64_t start = v->format->start_time == AV_NOPTS_VALUE ? 0 : v->format->start_time;
    int64_t pts = v->current->best_effort_timestamp;
    if (pts == AV_NOPTS_VALUE)
        pts = v->t.previous_pts == AV_NOPTS_VALUE
                  ? 0
                  : av_sat_add64(v->t.previous_pts, v->current->pkt_duration);
    note_pts(v, pts);
    int extra = av_clip(29 - av_log2((unsigned)tb.den), 0, 16);
    fine.den <<= extra;
    pts = av_sat_sub64(pts, av_rescale_q(start, AV_TIME_BASE_Q, st->time_base));
    double at = (double)av_rescale_q(pts, st->time_base, fine) / (double)(1 << extra);
    at += (at > 0 ? 1.0 : at < 0 ? -1.0 : 0) / (1 << 17);
    double duration = source.num > 0 ? av_q2d(rate) / av_q2d(source) : 0;
    duration = fmin(duration, 1);
    long whole =
        lrintf((float)((double)v->current->pkt_duration * av_q2d(st->time_base) * av_q2d(rate)));
    if (whole > 0)
        duration = (double)whole;
    double delta0 = at - (double)v->t.next_pts, delta = delta0 + duration;
    v->nb0 = 0;
    v->nb = 1;
    if (delta0 < 0 && delta > 0)
        delta0 = 0;
    if (v->t.emitted == 0 && v->format->nb_streams == 1 && delta0 >= 0.5) {
        delta = duration;
        delta0 = 0;
        v->t.next_pts = llrint(at);
    }
    if (delta < -1.1) {
        v->nb = 0;
    } else if (delta > 1.1) {
        v->nb = lrintf((float)delta);
        if (delta0 > 1.1)
            v->nb0 = llrintf((float)(delta0 - 0.6));
    }
}

static void count_frame(ls_video *v)
{
    v->nb0 = v->nb0 < v->nb ? v->nb0 : v->nb;
    memmove(v->t.last_nb0 + 1, v->t.last_nb0, 2 * sizeof *v->t.last_nb0);
    v->t.last_nb0[0] = v->nb0;
    if (v->nb > MAX_REPEATS) { // as if it had not been there
        v->nb0 = v->nb = 0;
        v->t.unique = false;
        av_frame_unref(v->current);
        av_frame_move_ref(v->current, v->last);
        return;
    }
    if (!v->last->buf[0]) // nothing to repeat
        v->nb0 = 0;
    v->nb -= v->nb0;
}

static int64_t median(const int64_t v[3])
{
    int64_t lo = v[0] < v[1] ? v[0] : v[1], hi = v[0] < v[1] ? v[1] : v[0];
    return v[2] < lo ? lo : v[2] > hi ? hi : v[2];
}

static uint32_t sum_luma(const AVFrame *f)
{
    size_t row = (size_t)f->width * (av_pix_fmt_desc_get(f->format)->comp[0].depth > 8 ? 2 : 1);
    AVAdler sum = 1;
    for (int y = 0; y < f->height; y++)
        sum = av_adler32_update(sum, f->data[0] + (ptrdiff_t)y * f->linesize[0], row);
    return sum;
}

static int save_checkpoint(ls_video *v, ls_error *err)
{
    if (v->jumps)
        v->checkpoint_count = 0;
    const size_t n = v->checkpoint_count;
    if (v->jumps || !v->t.unique ||
        (n && v->t.emitted < v->checkpoints[n - 1].emitted + v->checkpoint_every))
        return 0;
    if (!v->checkpoints)
        v->checkpoints = ls_malloc_array(MAX_CHECKPOINTS, sizeof *v->checkpoints);
    if (!v->checkpoints)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    if (n == MAX_CHECKPOINTS) {
        for (size_t i = 0; i < n / 2; i++)
            v->checkpoints[i] = v->checkpoints[2 * i];
        v->checkpoint_count = n / 2;
        v->checkpoint_every *= 2;
    }
    v->t.luma = sum_luma(v->current);
    v->checkpoints[v->checkpoint_count++] = v->t;
    return 0;
}

/* A file that was cut off often has no other mark of it. */
static void note_end(const ls_video *v)
{
    const AVFormatContext *f = v->format;
    bool known = f->nb_streams == 1 || f->streams[v->stream]->duration > 0;
    if (v->first_time && known && v->info.frames > v->t.emitted + v->t.emitted / 16 + 25)
        ls_log_msg(v->settings.log, LS_LOG_WARN,
                   "%s ends after %llu of about %llu frames; is it cut off?", v->path,
                   (unsigned long long)v->t.emitted, (unsigned long long)v->info.frames);
}

/* Decodes one more frame and decides how often it and the last are given. */
static int advance(ls_video *v, ls_error *err)
{
    if (v->flushed)
        return LS_EOF;
    int ret = save_checkpoint(v, err);
    if (ret)
        return ret;
    av_frame_unref(v->last);
    av_frame_move_ref(v->last, v->current);
    ret = decode_current(v, err);
    if (ret == LS_EOF) {
        v->flushed = true;
        note_end(v);
        v->nb0 = median(v->t.last_nb0);
        v->nb0 = v->nb0 > MAX_REPEATS ? 0 : v->nb0;
        v->nb = 0;
        return 0;
    }
    if (ret)
        return ret;
    place(v);
    count_frame(v);
    return 0;
}

int ls_video_next(ls_video *v, ls_frame **out, ls_error *err)
{
    *out = NULL;
    if (ls_canceled(v->settings.cancel))
        return ls_fail(err, LS_ECANCELED, "canceled");
    while (!v->nb0 && !v->nb) {
        int ret = advance(v, err);
        if (ret == LS_EOF)
            v->length = v->t.emitted;
        if (ret)
            return ret;
    }
    AVFrame *give = v->nb0 ? v->last : v->current;
    *(v->nb0 ? &v->nb0 : &v->nb) -= 1;
    v->t.next_pts++;
    v->t.emitted++;
    *out = ls_frame_wrap(av_frame_clone(give));
    return *out ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for a frame");
}

uint64_t ls_video_position(const ls_video *v)
{
    return v->t.emitted;
}

static const timeline start_of_timeline = {.previous_pts = AV_NOPTS_VALUE,
                                           .highest_pts = AV_NOPTS_VALUE};

static void reset(ls_video *v, const timeline *t)
{
    avcodec_flush_buffers(v->decoder);
    av_frame_unref(v->last);
    av_frame_unref(v->current);
    v->t = *t;
    v->nb0 = v->nb = 0;
    v->flushed = false;
    v->next_dts = AV_NOPTS_VALUE;
    v->shift = 0;
}

/* Seeks to a key frame at or before `from` and decodes up to the checkpoint's last frame. False
 * when the file does not lead there, or there was no key frame to show before it: pictures that
 * lead up to a key frame are decoded after it, but need those before it. */
static bool resume_from(ls_video *v, const timeline *t, int64_t from)
{
    if (av_seek_frame(v->format, v->stream, from, AVSEEK_FLAG_BACKWARD) < 0)
        return false;
    reset(v, t);
    int64_t pts;
    bool key = false;
    do {
        if (decode_current(v, NULL))
            return false;
        pts = v->current->best_effort_timestamp;
        key |= v->current->key_frame && pts != AV_NOPTS_VALUE && pts <= t->previous_pts;
    } while (pts == AV_NOPTS_VALUE || pts < t->previous_pts);
    return key && pts == t->previous_pts && sum_luma(v->current) == t->luma;
}

static bool resume(ls_video *v, const timeline *t)
{
    static const int seconds_before[] = {0, 2, 15};
    AVRational tb = v->format->streams[v->stream]->time_base;
    for (size_t i = 0; i < sizeof seconds_before / sizeof *seconds_before; i++)
        if (t->previous_pts != AV_NOPTS_VALUE &&
            resume_from(
                v, t, av_sat_sub64(t->previous_pts, av_rescale(seconds_before[i], tb.den, tb.num))))
            return true;
    return false;
}

static int reopen(ls_video *v, ls_error *err);

int ls_video_seek(ls_video *v, uint64_t index, ls_error *err)
{
    size_t k = v->checkpoint_count;
    while (k && v->checkpoints[k - 1].emitted > index)
        k--;
    timeline t = k ? v->checkpoints[k - 1] : start_of_timeline;
    bool ahead = v->t.emitted <= index && (t.emitted <= v->t.emitted);
    int ret = 0;
    v->first_time = v->first_time && ahead;
    const uint64_t before = v->decoded_count;
    if (!ahead && !(k && resume(v, &t)))
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
    return v->length;
}

uint64_t ls_video_sought(const ls_video *v)
{
    return v->sought;
}

/* Made of 64-bit numbers: nothing lies between them. */
typedef struct index_head {
    char magic[8];
    uint64_t width, height, fps_num, fps_den, video_bytes;
    uint64_t length, way_count;
    uint64_t checksum; /* of the whole file, with 0 here */
} index_head;

typedef struct index_file {
    index_head head;
    int64_t ways[MAX_CHECKPOINTS][8];
} index_file;

static index_head head_of(const ls_video *v)
{
    return (index_head){.magic = "LSINDEX2",
                        .width = v->info.width,
                        .height = v->info.height,
                        .fps_num = (uint64_t)v->info.fps_num,
                        .fps_den = (uint64_t)v->info.fps_den,
                        .video_bytes = v->bytes,
                        .length = v->length,
                        .way_count = v->checkpoint_count};
}

static size_t index_size(const index_file *x)
{
    return sizeof x->head + (size_t)x->head.way_count * sizeof *x->ways;
}

static uint32_t index_checksum(const index_file *x)
{
    return av_crc(av_crc_get_table(AV_CRC_32_IEEE_LE), UINT32_MAX, (const uint8_t *)x,
                  index_size(x));
}

int ls_video_save_index(const ls_video *v, const char *path, ls_error *err)
{
    ls_output_file o;
    index_file *x = ls_malloc_array(1, sizeof *x);
    if (!x)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    x->head = head_of(v);
    for (size_t i = 0; i < v->checkpoint_count; i++) {
        const timeline *t = &v->checkpoints[i];
        const int64_t way[] = {t->next_pts,         t->last_nb0[0],  t->last_nb0[1], t->last_nb0[2],
                               (int64_t)t->emitted, t->previous_pts, t->highest_pts, t->luma};
        memcpy(x->ways[i], way, sizeof way);
    }
    x->head.checksum = index_checksum(x);
    int ret = ls_output_open(&o, path, err);
    if (!ret)
        ret = ls_output_close(&o, ls_output_write(&o, x, index_size(x), err), err);
    free(x);
    return ret;
}

/* Whether a file is all of an index of this video. */
static bool read_index(index_file *x, FILE *f, const ls_video *v)
{
    const size_t size = fread(x, 1, sizeof *x, f);
    const index_head ours = head_of(v);
    const uint64_t checksum = x->head.checksum;
    if (size < sizeof x->head || fgetc(f) != EOF ||
        memcmp(&x->head, &ours, offsetof(index_head, length)) != 0 ||
        x->head.way_count > MAX_CHECKPOINTS || size != index_size(x))
        return false;
    x->head.checksum = 0;
    return checksum == index_checksum(x) && x->head.length <= UINT64_C(1) << 40;
}

/* Ways that lead on through the video, of which each is possible. */
static bool take_ways(timeline *ways, const index_file *x)
{
    for (size_t i = 0; i < x->head.way_count; i++) {
        const int64_t *way = x->ways[i];
        ways[i] = (timeline){.next_pts = way[0],
                             .last_nb0 = {way[1], way[2], way[3]},
                             .emitted = (uint64_t)way[4],
                             .previous_pts = way[5],
                             .highest_pts = way[6],
                             .unique = true,
                             .luma = (uint32_t)way[7]};
        for (int k = 0; k < 5; k++)
            if (way[k] < 0 || way[k] > INT64_C(1) << 40)
                return false;
        if ((i && ways[i].emitted <= ways[i - 1].emitted) || way[7] < 0 || way[7] > UINT32_MAX)
            return false;
    }
    return true;
}

int ls_video_load_index(ls_video *v, const char *path, ls_error *err)
{
    FILE *f = fopen(path, "re");
    if (!f)
        return ls_fail_errno(err, errno, "%s", path);
    index_file *x = ls_calloc_array(1, sizeof *x);
    timeline *ways = ls_malloc_array(MAX_CHECKPOINTS, sizeof *ways);
    int ret = !x || !ways ? ls_fail(err, LS_ENOMEM, "out of memory")
              : read_index(x, f, v) && take_ways(ways, x)
                  ? 0
                  : ls_fail(err, LS_EFORMAT, "%s is not an index of %s, or damaged", path, v->path);
    fclose(f);
    if (!ret) {
        const size_t count = (size_t)x->head.way_count;
        const uint64_t last = count ? ways[count - 1].emitted : 0;
        free(v->checkpoints);
        v->checkpoints = ways;
        ways = NULL;
        v->checkpoint_count = count;
        v->length = x->head.length;
        while (v->checkpoint_every * MAX_CHECKPOINTS < last)
            v->checkpoint_every *= 2;
    }
    free(ways);
    free(x);
    return ret;
}

static int open_stream(ls_video *v, ls_error *err)
{
    int ret = ls_av_open_input(&v->format, v->path, err);
    if (ret)
        return ret;
    v->stream = ls_av_choose_stream(v->format, AVMEDIA_TYPE_VIDEO);
    if (v->stream < 0)
        return ls_fail(err, LS_EFORMAT, "%s has no video stream; is it an audio file?", v->path);
    for (unsigned i = 0; i < v->format->nb_streams; i++)
        if ((int)i != v->stream)
            v->format->streams[i]->discard = AVDISCARD_ALL;
    ret = ls_av_open_decoder(&v->decoder, v->format->streams[v->stream], v->settings.threads, err);
    return ret ? ls_fail_context(err, ret, "%s", v->path) : 0;
}

static int reopen(ls_video *v, ls_error *err)
{
    avcodec_free_context(&v->decoder);
    avformat_close_input(&v->format);
    int ret = open_stream(v, err);
    if (!ret)
        reset(v, &start_of_timeline);
    return ret;
}

static void describe(ls_video *v)
{
    AVStream *st = v->format->streams[v->stream];
    AVRational fps = {TIMELINE_FPS, 1}, source = av_guess_frame_rate(v->format, st, NULL);
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
    const int64_t bytes = v->format->pb ? avio_size(v->format->pb) : 0;
    v->bytes = bytes > 0 ? (uint64_t)bytes : 0;
}

/* The first frame fixes size and format; its tags are the stream's where it has none. */
static int take_model(ls_video *v, ls_error *err)
{
    const AVStream *st = v->format->streams[v->stream];
    int ret = decode_current(v, err);
    if (ret == LS_EOF)
        return ls_fail(err, LS_EFORMAT, "%s: no frame of the video can be decoded; it is damaged",
                       v->path);
    if (ret)
        return ret;
    v->model = av_frame_clone(v->current);
    if (!v->model)
        return ls_fail(err, LS_ENOMEM, "out of memory for a frame");
    AVRational sar = av_guess_sample_aspect_ratio(v->format, (AVStream *)st, v->current);
    if (ls_rotation_turns(v->rotation) && sar.num)
        sar = av_inv_q(sar);
    v->model->sample_aspect_ratio = sar;
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
    v->first_time = true;
    v->decoded_count = 0;
    return reopen(v, err);
}

int ls_video_open(ls_video **out, const char *path, const ls_video_settings *s, ls_error *err)
{
    *out = NULL;
    ls_video *v = ls_calloc_array(1, sizeof *v);
    if (!v)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    v->settings = *s;
    v->checkpoint_every = CHECKPOINT_EVERY;
    v->path = strdup(path);
    v->packet = av_packet_alloc();
    v->decoded = av_frame_alloc();
    v->last = av_frame_alloc();
    v->current = av_frame_alloc();
    int ret = v->path && v->packet && v->decoded && v->last && v->current
                  ? open_stream(v, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        v->rotation = ls_rotation_of(v->format->streams[v->stream]);
        v->t = start_of_timeline;
        v->next_dts = AV_NOPTS_VALUE;
        describe(v);
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
        ls_log_msg(v->settings.log, LS_LOG_WARN, "%s: %llu damaged places were skipped", v->path,
                   (unsigned long long)v->errors);
    avcodec_free_context(&v->decoder);
    avformat_close_input(&v->format);
    av_packet_free(&v->packet);
    av_frame_free(&v->decoded);
    av_frame_free(&v->last);
    av_frame_free(&v->current);
    av_frame_free(&v->model);
    sws_freeContext(v->sws);
    free(v->checkpoints);
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

const struct AVFrame *ls_video_model(const ls_video *v)
{
    return v->model;
}
