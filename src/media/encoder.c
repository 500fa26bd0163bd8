#include "media/encoder.h"
#include "media/av.h"
#include "media/codecs.h"
#include "media/encoder_table.h"
#include "media/format.h"
#include "media/hdr.h"
#include "media/pixel_choice.h"
#include "media/trial.h"
#include "base/alloc.h"
#include "base/list.h"
#include "base/system.h"

#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <math.h>
#include <string.h>

/* x264's output depends on its number of threads, so that is the same everywhere. */
#define ENCODER_THREADS 2
#define UNKNOWN_HELD 24 /* frames */

static int list_encoders(ls_error *err, const char *name)
{
    char list[256] = "";
    const char *e;
    for (int i = 0; (e = ls_media_encoder(i)); i++)
        ls_list_add(list, sizeof list, "%s", e);
    ls_fail(err, LS_EINVAL, "unknown video encoder \"%s\"; available: %s", name, list);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, "video-codec");
}

/* Size, times and colors; the format is set. */
static void set_picture(AVCodecContext *c, const AVFrame *model, AVRational rate, const ls_log *log)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(c->pix_fmt);
    c->width = FFALIGN(model->width, 1 << d->log2_chroma_w);
    c->height = FFALIGN(model->height, 1 << d->log2_chroma_h);
    if (c->width != model->width || c->height != model->height)
        ls_log_msg(log, LS_LOG_WARN,
                   "the video is %d x %d; the output will be %d x %d, because 4:2:0 video has even "
                   "sizes only",
                   model->width, model->height, c->width, c->height);
    c->time_base = av_inv_q(rate);
    c->framerate = rate;
    c->sample_aspect_ratio = model->sample_aspect_ratio;
    c->color_range = model->color_range;
    c->color_primaries = model->color_primaries;
    c->color_trc = model->color_trc;
    c->colorspace = model->colorspace;
    c->chroma_sample_location = model->chroma_location;
    if (d->flags & AV_PIX_FMT_FLAG_RGB) {
        c->color_range = AVCOL_RANGE_JPEG;
        c->colorspace = AVCOL_SPC_RGB;
    }
}

/* x264's quantizer step doubles every six of crf and is 1 at 4. */
static double quantizer_step(int crf)
{
    return exp2((crf - 4) / 6.0);
}

static void set_quality(AVCodecContext *c, const ls_encoder_row *r, int crf)
{
    const double pixels = av_q2d(c->framerate) * c->width * c->height;
    switch (r->quality) {
    case LS_QUALITY_FIXED:
        break;
    case LS_QUALITY_CRF:
        av_opt_set_int(c, r->crf, crf, AV_OPT_SEARCH_CHILDREN);
        break;
    case LS_QUALITY_SCALE: // MPEG's scale is half a step
        c->flags |= AV_CODEC_FLAG_QSCALE;
        c->global_quality = (int)(FF_QP2LAMBDA * av_clipd(quantizer_step(crf) / 2, 1, 31));
        break;
    case LS_QUALITY_BITRATE: // 0.1 bits a pixel at crf 23
        c->bit_rate = (int64_t)(pixels * 0.1 * quantizer_step(23) / quantizer_step(crf));
        break;
    }
}

/* x264's macroblock tree for AVX-512 reads memory that was never written: its bytes would differ
 * from run to run. */
static int set_x264_cpu(AVDictionary **options)
{
    ls_cpu cpu;
    ls_cpu_detect(&cpu, "");
    return cpu.avx512 ? av_dict_set(options, "x264-params", ":asm=avx2", AV_DICT_APPEND) : 0;
}

static int set_options(AVCodecContext *c, const ls_encoder_row *r, const char *preset,
                       const AVFrame *model)
{
    char value[16];
    AVDictionary *options = NULL;
    const bool quick = r->quick_options && ls_encoder_preset(r, preset) < LS_QUICK_PRESETS;
    int ret = av_dict_parse_string(&options, quick ? r->quick_options : r->options, "=", ",", 0);
    if (ret >= 0 && r->preset)
        ret = av_dict_set(&options, r->preset, ls_encoder_preset_value(r, preset, value), 0);
    if (ret >= 0 && !strcmp(r->name, "libx264"))
        ret = set_x264_cpu(&options);
    if (ret >= 0)
        ret = ls_hdr_set_options(&options, r->name, model);
    if (ret >= 0)
        ret = av_opt_set_dict2(c, &options, AV_OPT_SEARCH_CHILDREN);
    av_dict_free(&options);
    return ret;
}

static int open_like(AVCodecContext **out, const ls_encoder_row *r, const ls_encoding *e,
                     const AVFrame *model, AVRational rate, const ls_log *log, ls_error *err)
{
    const AVCodec *codec = avcodec_find_encoder_by_name(r->name);
    AVCodecContext *c = *out = avcodec_alloc_context3(codec);
    if (!c)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = ls_pixel_choose(&c->pix_fmt, codec, model, e->pixel_format, log, err);
    if (ret) {
        avcodec_free_context(out);
        return ret;
    }
    set_picture(c, model, rate, log);
    set_quality(c, r, e->crf);
    c->thread_count = ENCODER_THREADS;
    c->flags |= AV_CODEC_FLAG_BITEXACT | AV_CODEC_FLAG_GLOBAL_HEADER;
    ret = set_options(c, r, e->preset, model);
    if (ret >= 0)
        ret = avcodec_open2(c, codec, NULL);
    if (ret >= 0)
        return 0;
    avcodec_free_context(out);
    ret = ls_fail_av(err, ret, "cannot open the encoder %s with preset %s and crf %d%s", r->name,
                     e->preset, e->crf, r->is_hardware ? "; is there such hardware?" : "");
    return ls_advise(err, ret, LS_HINT_NONE, r->is_hardware ? "video-codec" : "preset");
}

/* `largest`: the picture's sides are cut to it; NULL: they are not. */
static int open_checked(AVCodecContext **out, const ls_encoding *e, const int *largest,
                        const ls_log *log, ls_error *err)
{
    const ls_video_info *info = ls_video_get_info(e->like);
    const ls_encoder_row *r = ls_encoder_row_find(e->codec);
    if (!r)
        return list_encoders(err, e->codec);
    int ret = ls_encoder_row_check(r, e->preset, e->crf, err);
    if (ret)
        return ret;
    const AVFrame *like = ls_video_model(e->like);
    if (info->transparent && !ls_format_has_alpha(like->format))
        ls_log_msg(log, LS_LOG_WARN, "%s is transparent in parts, which the output will not be: %s",
                   ls_video_path(e->like),
                   ls_encoder_takes_alpha(e->codec) ? "it cannot be decoded"
                                                    : "its encoder has no transparency");
    if (!r->preset && strcmp(e->preset, "medium"))
        ls_log_msg(log, LS_LOG_WARN, "%s has no presets: \"%s\" changes nothing", r->name,
                   e->preset);
    AVFrame *model = av_frame_alloc();
    if (!model || av_frame_copy_props(model, like) < 0)
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    else {
        const bool cut = largest && !r->is_hardware;
        model->format = like->format;
        model->width = cut ? FFMIN(like->width, largest[0]) : like->width;
        model->height = cut ? FFMIN(like->height, largest[1]) : like->height;
        ret = open_like(out, r, e, model, (AVRational){info->fps_num, info->fps_den}, log, err);
    }
    av_frame_free(&model);
    return ret;
}

int ls_encoder_open(AVCodecContext **out, const ls_encoding *e, const ls_log *log, ls_error *err)
{
    return open_checked(out, e, NULL, log, err);
}

int ls_encoder_open_small(AVCodecContext **out, const ls_encoding *e, ls_error *err)
{
    static const int largest[] = {640, 360};
    return open_checked(out, e, largest, NULL, err);
}

bool ls_encoder_takes_alpha(const char *codec)
{
    const ls_encoder_row *r = ls_encoder_row_find(codec);
    return r && ls_pixel_takes_alpha(avcodec_find_encoder_by_name(codec));
}

void ls_encoder_close(AVCodecContext **pc)
{
    AVCodecContext *c = *pc;
    AVPacket *packets[LS_TRIAL_FRAMES] = {NULL};
    const ls_encoder_row *r = c ? ls_encoder_row_find(c->codec->name) : NULL;
    if (r && r->must_end && avcodec_is_open(c))
        ls_trial_encode(c, INT32_MAX, packets); // refused if it has ended
    ls_trial_free(packets);
    avcodec_free_context(pc);
}

uint64_t ls_encoder_memory(const ls_encoding *e)
{
    const AVFrame *model = ls_video_model(e->like);
    const ls_encoder_row *r = ls_encoder_row_find(e->codec);
    const int preset = r ? ls_encoder_preset(r, e->preset) : -1;
    enum AVPixelFormat format;
    if (preset < 0 || ls_pixel_choose(&format, avcodec_find_encoder_by_name(r->name), model,
                                      e->pixel_format, NULL, NULL))
        return 0;
    const int frame = av_image_get_buffer_size(format, model->width, model->height, 1);
    const uint64_t held = r->held[preset] ? r->held[preset] : UNKNOWN_HELD;
    return frame > 0 ? held * (uint64_t)frame + r->base * 1000000u : 0;
}

bool ls_encoder_works(const char *codec)
{
    const ls_encoder_row *r = ls_encoder_row_find(codec);
    const ls_encoding e = {.codec = codec, .preset = "medium", .crf = 23};
    AVFrame *model = av_frame_alloc();
    AVCodecContext *c = NULL;
    AVPacket *packets[LS_TRIAL_FRAMES] = {NULL};
    bool works = false;
    if (r && model) {
        model->format = AV_PIX_FMT_YUV420P;
        model->width = model->height = 256;
        works = !open_like(&c, r, &e, model, (AVRational){25, 1}, NULL, NULL) &&
                !ls_trial_encode(c, 0, packets);
    }
    ls_trial_free(packets);
    ls_encoder_close(&c);
    av_frame_free(&model);
    return works;
}

AVStream *ls_encoder_stream(AVFormatContext *mux, const AVCodecContext *encoder)
{
    AVStream *st = avformat_new_stream(mux, NULL);
    if (!st || avcodec_parameters_from_context(st->codecpar, encoder) < 0)
        return NULL;
    st->time_base = encoder->time_base;
    st->avg_frame_rate = encoder->framerate;
    st->sample_aspect_ratio = encoder->sample_aspect_ratio;
    if (encoder->codec_id == AV_CODEC_ID_VP9 && ls_format_has_alpha(encoder->pix_fmt) &&
        av_dict_set(&st->metadata, "alpha_mode", "1", 0) < 0)
        return NULL;
    return st;
}
