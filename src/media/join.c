#include "media/join.h"
#include "media/audio_out.h"
#include "media/container.h"
#include "media/extras.h"
#include "media/hdr.h"
#include "media/input.h"
#include "media/mark.h"
#include "media/muxer.h"
#include "media/segment.h"
#include "media/trial.h"
#include "base/alloc.h"

#include <libavutil/avstring.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FRAGMENT_BYTES (2 << 20)
#define FRAGMENT_FRAMES 256

struct ls_join {
    ls_join_settings s;
    const ls_container *container;
    ls_muxer mux;
    AVCodecContext *encoder; /* only for a trial */
    AVRational frame;        /* its duration */
    const char *segments;    /* their format */
    bool started;
    AVStream *stream;
    ls_audio_out *audio;
    ls_extras *extras;
    AVPacket *packet;
    uint64_t frames; /* of the segments so far */
    bool has_header; /* with a sink: has got it */
    size_t held;     /* bytes of video that it has not got */
};

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;
    return !stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static int check_path(const ls_join_settings *s, ls_error *err)
{
    struct stat st;
    int ret = 0;
    if (!stat(s->path, &st) && S_ISDIR(st.st_mode))
        ret = ls_fail(err, LS_EINVAL, "%s is a directory; name a file to write", s->path);
    else if (is_same_file(s->path, s->audio) ||
             is_same_file(s->path, ls_video_path(s->encoding->like)))
        ret = ls_fail(err, LS_EINVAL, "%s is an input", s->path);
    return ret ? ls_advise(err, ret, LS_HINT_OTHER_OUTPUT, "output") : 0;
}

/* The muxer and its streams. The encoder is opened as for the segments; for a trial, a small one
 * replaces it. */
static int open_streams(ls_join *j, bool trial, const ls_log *log, ls_error *err)
{
    int ret = 0;
    if (j->s.sink.write)
        j->container = &ls_container_hls;
    else if (!(ret = check_path(&j->s, err)))
        ret = ls_container_choose(&j->container, j->s.path, err);
    if (ret)
        return ret;
    j->packet = av_packet_alloc();
    if (!j->packet)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ret = ls_muxer_open(&j->mux, av_guess_format(j->container->muxer, NULL, NULL), err);
    if (ret)
        return ret;
    AVFormatContext *mux = j->mux.format;
    mux->strict_std_compliance = FF_COMPLIANCE_EXPERIMENTAL; // FLAC in mp4
    ret = ls_encoder_open(&j->encoder, j->s.encoding, log, err);
    if (!ret && trial) {
        ls_encoder_close(&j->encoder);
        ret = ls_encoder_open_small(&j->encoder, j->s.encoding, err);
    }
    if (!ret && !j->s.sink.write)
        ret = ls_container_check_video(j->container, j->s.path, j->s.encoding->codec,
                                       j->encoder->codec_id, err);
    if (ret)
        return ret;
    j->stream = ls_encoder_stream(mux, j->encoder);
    if (!j->stream)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    j->frame = j->encoder->time_base;
    if (j->s.sink.write && j->s.delay < (uint64_t)j->stream->codecpar->video_delay)
        j->s.delay = (uint64_t)j->stream->codecpar->video_delay; // later segments may need it
    j->segments = ls_segment_container(j->encoder);
    if (ls_video_times(j->s.encoding->like))
        j->stream->time_base = ls_times_base(ls_video_times(j->s.encoding->like));
    if (strcmp(j->segments, "nut") && j->container->movflags)
        ls_log_msg(log, LS_LOG_WARN, "%s: only Matroska holds the transparency of VP9: it is lost",
                   j->s.path);
    if (j->encoder->codec_id == AV_CODEC_ID_HEVC && j->container->movflags)
        j->stream->codecpar->codec_tag = MKTAG('h', 'v', 'c', '1'); // Apple's players require it
    ret = ls_hdr_set_stream(j->stream, ls_video_model(j->s.encoding->like), err);
    const double begin = ls_video_seconds(j->s.encoding->like, j->s.first);
    const ls_mix_settings mix = {
        .speech = {.path = j->s.audio, .stream = j->s.audio_stream, .offset = j->s.offset},
        .own = j->s.own,
        .speech_seconds = j->s.facts ? j->s.facts->seconds : 0,
        .begin = begin,
        .seconds = j->s.sound_seconds};
    if (!ret)
        ret = ls_audio_out_open(&j->audio, &mix, j->s.facts, j->container, mux, log, err);
    if (!ret && !j->s.sink.write)
        ret = ls_extras_open(&j->extras, j->s.encoding->like, mux, j->stream, j->s.first,
                             j->s.seconds > 0 ? j->s.seconds : INFINITY, log, err);
    j->mux.append = j->s.marks ? ls_mark_write_box : NULL;
    return ret || !j->s.marks ? ret : ls_mark_tags(mux, err);
}

static int open_join(ls_join **out, const ls_join_settings *s, bool trial, const ls_log *log,
                     ls_error *err)
{
    ls_join *j = *out = ls_calloc_array(1, sizeof *j);
    if (!j)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    j->s = *s;
    const int ret = open_streams(j, trial, log, err);
    if (ret)
        ls_join_close(out);
    return ret;
}

int ls_join_open(ls_join **out, const ls_join_settings *s, ls_error *err)
{
    const int ret = open_join(out, s, false, NULL, err);
    if (!ret)
        ls_encoder_close(&(*out)->encoder);
    return ret;
}

/* What was written since the last time; av_free(). */
static size_t take_fragment(ls_join *j, uint8_t **data)
{
    *data = NULL;
    const int size = j->mux.format->pb ? avio_close_dyn_buf(j->mux.format->pb, data) : 0;
    j->mux.format->pb = NULL;
    return size > 0 ? (size_t)size : 0;
}

static void drop_fragment(ls_join *j)
{
    uint8_t *data;
    take_fragment(j, &data);
    av_free(data);
}

void ls_join_close(ls_join **pj)
{
    ls_join *j = *pj;
    if (!j)
        return;
    ls_audio_out_close(&j->audio);
    ls_extras_close(&j->extras);
    ls_encoder_close(&j->encoder);
    if (j->s.sink.write && j->mux.format)
        drop_fragment(j);
    ls_muxer_close(&j->mux);
    av_packet_free(&j->packet);
    free(j);
    *pj = NULL;
}

const char *ls_join_audio_mode(const ls_join *j)
{
    return ls_audio_out_copies(j->audio) ? "copied" : j->container->audio_name;
}

/* Frame `index` of the output in the time base of its stream; those before the first, which only
 * decoding has, at the average rate. */
static int64_t time_of(const ls_join *j, int64_t index)
{
    const ls_times *times = ls_video_times(j->s.encoding->like);
    if (!times || index < 0)
        return av_rescale_q(index, j->frame, j->stream->time_base);
    return av_rescale_q(ls_times_at(times, j->s.first + (uint64_t)index) -
                            ls_times_at(times, j->s.first),
                        ls_times_base(times), j->stream->time_base);
}

static int64_t duration_of(const ls_join *j, int64_t index)
{
    if (!ls_video_times(j->s.encoding->like))
        return time_of(j, 1);
    const int64_t start = time_of(j, index), end = time_of(j, index + 1);
    const double limit = j->s.seconds / av_q2d(j->stream->time_base);
    return limit > (double)start && limit < (double)end ? llrint(limit) - start : end - start;
}

/* All that plays beside the video before `seconds`. */
static int write_until(ls_join *j, double seconds, ls_error *err)
{
    int ret = ls_audio_out_write_until(j->audio, seconds, err);
    if (!ret && j->extras)
        ret = ls_extras_write_until(j->extras, seconds, err);
    return ret ? ls_fail_context(err, ret, "cannot write %s", j->s.path) : 0;
}

/* Gives the sink what the muxer holds. */
static int flush(ls_join *j, ls_error *err)
{
    AVFormatContext *mux = j->mux.format;
    uint8_t *data;
    int ret = ls_muxer_check(&j->mux, av_interleaved_write_frame(mux, NULL), err);
    for (bool again = true; !ret && again;) {
        ret = ls_muxer_check(&j->mux, av_write_frame(mux, NULL), err);
        again = !j->has_header;
        if (again && j->mux.append)
            j->mux.append(mux);
        const size_t size = take_fragment(j, &data);
        if (!ret && size)
            ret = j->s.sink.write(j->s.sink.opaque, again, data, size, err);
        av_free(data);
        if (!ret && avio_open_dyn_buf(&mux->pb) < 0)
            ret = ls_fail(err, LS_ENOMEM, "out of memory");
        j->has_header = true;
    }
    j->held = 0;
    return ret;
}

/* Writes j->packet, the `n`th of its segment. Segments are closed, so decoding precedes display by
 * the same delay throughout. A fragment ends where the decoding times of its frames do. */
static int write_packet(ls_join *j, uint64_t n, ls_error *err)
{
    AVPacket *p = j->packet;
    p->stream_index = j->stream->index;
    const int64_t shown = p->pts + (int64_t)j->frames,
                  decoded = (int64_t)(j->frames + n) - (int64_t)j->s.delay;
    p->pts = time_of(j, shown);
    p->dts = time_of(j, decoded);
    p->duration = j->s.sink.write ? time_of(j, decoded + 1) - p->dts : duration_of(j, shown);
    p->pos = -1;
    j->held += (size_t)p->size;
    int ret = write_until(j, (double)p->dts * av_q2d(j->stream->time_base), err);
    if (!ret)
        ret = ls_muxer_check(&j->mux, av_interleaved_write_frame(j->mux.format, p), err);
    return !ret && j->s.sink.write && (j->held >= FRAGMENT_BYTES || (n + 1) % FRAGMENT_FRAMES == 0)
               ? flush(j, err)
               : ret;
}

/* A few frames, and the sound and all else beside them, as a whole file. */
static int write_trial(ls_join *j, AVPacket *packets[static LS_TRIAL_FRAMES], ls_error *err)
{
    size_t size = 0;
    const uint8_t *extradata =
        av_packet_get_side_data(packets[0], AV_PKT_DATA_NEW_EXTRADATA, &size);
    for (int64_t i = 0; i < LS_TRIAL_FRAMES; i++)
        if (i - packets[i]->pts > (int64_t)j->s.delay)
            j->s.delay = (uint64_t)(i - packets[i]->pts);
    if (extradata && ls_av_set_extradata(j->stream->codecpar, extradata, size))
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = avformat_write_header(j->mux.format, NULL);
    if (ret < 0)
        return ls_fail_av(err, ret, "it cannot be begun");
    for (uint64_t i = 0; i < LS_TRIAL_FRAMES; i++) {
        av_packet_unref(j->packet);
        av_packet_move_ref(j->packet, packets[i]);
        if (!strcmp(j->segments, "nut"))
            av_packet_free_side_data(j->packet); // which NUT does not keep
        ret = write_packet(j, i, err);
        if (ret)
            return ret;
    }
    ret = av_write_trailer(j->mux.format);
    return ret < 0 ? ls_fail_av(err, ret, "it cannot be ended") : 0;
}

static int try_output(ls_join *j, ls_error *err)
{
    AVPacket *packets[LS_TRIAL_FRAMES] = {NULL};
    AVFormatContext *mux = j->mux.format;
    uint8_t *file = NULL;
    int ret = ls_trial_encode(j->encoder, 0, packets);
    ls_encoder_close(&j->encoder); // its memory, before that of a decoder
    if (ret < 0)
        ret =
            ls_fail_av(err, ret == AVERROR_BUG2 ? AVERROR(ENOSYS) : ret,
                       "the encoder %s does not make a packet of each frame", j->s.encoding->codec);
    else if (avio_open_dyn_buf(&mux->pb) < 0)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    else {
        ret = write_trial(j, packets, err);
        const bool is_input = ret == LS_EFORMAT; // what is heard cannot be read
        const int size = avio_close_dyn_buf(mux->pb, &file);
        mux->pb = NULL;
        if (!ret)
            ret = ls_trial_read(file, (size_t)size, mux, j->stream->index, err);
        if (ret && !is_input)
            ret = ls_advise(err,
                            ls_fail_context(err, ret, "%s cannot hold the output of %s", j->s.path,
                                            j->s.encoding->codec),
                            LS_HINT_OTHER_OUTPUT, "output");
        av_free(file);
    }
    ls_trial_free(packets);
    return ret;
}

int ls_join_check(const ls_join_settings *s, ls_error *err)
{
    ls_join *j;
    int ret = open_join(&j, s, true, s->log, err);
    if (!ret)
        ret = try_output(j, err);
    ls_join_close(&j);
    return ret;
}

/* Packets are taken as they were written, without parsing. */
static int open_segment(AVFormatContext **in, const char *path, const char *format, ls_error *err)
{
    char *url = av_asprintf("file:%s", path);
    *in = avformat_alloc_context();
    if (!url || !*in) {
        av_free(url);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    (*in)->flags |= AVFMT_FLAG_NOPARSE | AVFMT_FLAG_NOFILLIN;
    int ret = avformat_open_input(in, url, av_find_input_format(format), NULL);
    av_free(url);
    return ret < 0 ? ls_fail_av(err, ret, "cannot read %s", path) : 0;
}

/* Begins the file with what the first segment's decoder needs. */
static int start(ls_join *j, const AVCodecParameters *segment, ls_error *err)
{
    if (segment->extradata_size && ls_av_set_extradata(j->stream->codecpar, segment->extradata,
                                                       (size_t)segment->extradata_size))
        return ls_fail(err, LS_ENOMEM, "out of memory");
    j->started = true;
    return j->s.sink.write ? ls_muxer_start_memory(&j->mux, j->container->movflags, err)
                           : ls_muxer_start(&j->mux, j->s.path, j->container->movflags, err);
}

int ls_join_add(ls_join *j, const char *segment, uint64_t frames, const ls_cancel *cancel,
                ls_error *err)
{
    AVFormatContext *in = NULL;
    int ret = open_segment(&in, segment, j->segments, err);
    uint64_t n = 0;
    if (!ret && !j->started)
        ret = in->nb_streams == 1 ? start(j, in->streams[0]->codecpar, err)
                                  : ls_fail(err, LS_EFORMAT, "%s is damaged", segment);
    while (!ret && av_read_frame(in, j->packet) >= 0) {
        AVPacket *p = j->packet;
        p->pts = av_rescale_q(p->pts, in->streams[p->stream_index]->time_base, j->frame);
        if (ls_canceled(cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
        else if (p->pts < 0 || (uint64_t)p->pts >= frames || n == frames)
            ret = ls_fail(err, LS_EFORMAT, "%s differs from the segment that was written", segment);
        else
            ret = write_packet(j, n++, err);
        av_packet_unref(j->packet);
    }
    if (!ret)
        ret = ls_input_check_read(in, segment, err);
    avformat_close_input(&in);
    if (!ret && n != frames)
        ret = ls_fail(err, LS_EFORMAT, "%s holds %llu frames instead of %llu", segment,
                      (unsigned long long)n, (unsigned long long)frames);
    j->frames += frames;
    if (!ret && j->s.sink.write) {
        ret = write_until(j, (double)time_of(j, (int64_t)j->frames) * av_q2d(j->stream->time_base),
                          err);
        if (!ret)
            ret = flush(j, err);
    }
    return ret;
}

int ls_join_finish(ls_join *j, ls_error *err)
{
    int ret = write_until(j, INFINITY, err);
    if (j->s.sink.write)
        return ret ? ret : flush(j, err);
    if (!ret)
        ret = ls_muxer_end(&j->mux, err);
    return ret ? ret : ls_muxer_name(&j->mux, 0, err);
}
