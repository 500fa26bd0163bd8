#include "media/pixel_choice.h"
#include "base/alloc.h"
#include "base/list.h"
#include "media/format.h"

#include <string.h>

static bool supports(const AVCodec *codec, enum AVPixelFormat f)
{
    const enum AVPixelFormat *p = ls_av_pixel_formats(codec);
    while (p && *p != AV_PIX_FMT_NONE && *p != f)
        p++;
    return !p || *p == f;
}

/* The closest of those with transparency, or AV_PIX_FMT_NONE. */
static enum AVPixelFormat choose_alpha(const AVCodec *codec, enum AVPixelFormat source)
{
    enum AVPixelFormat best = AV_PIX_FMT_NONE;
    const enum AVPixelFormat *p = ls_av_pixel_formats(codec);
    for (; p && *p != AV_PIX_FMT_NONE; p++)
        if (ls_format_has_alpha(*p))
            best = av_find_best_pix_fmt_of_2(best, *p, source, 1, NULL);
    return best;
}

bool ls_pixel_takes_alpha(const AVCodec *codec)
{
    return choose_alpha(codec, AV_PIX_FMT_YUVA420P) != AV_PIX_FMT_NONE;
}

static enum AVPixelFormat choose(const AVCodec *codec, enum AVPixelFormat source, const ls_log *log)
{
    static const enum AVPixelFormat deep[] = {AV_PIX_FMT_YUV420P10, AV_PIX_FMT_P010};
    if (ls_format_has_alpha(source) && ls_pixel_takes_alpha(codec))
        return choose_alpha(codec, source);
    if (av_pix_fmt_desc_get(source)->comp[0].depth > 8) {
        for (size_t i = 0; i < LS_COUNT(deep); i++)
            if (supports(codec, deep[i]))
                return deep[i];
        ls_log_msg(log, LS_LOG_WARN, "%s cannot encode 10 bits: the output will have 8",
                   codec->name);
    }
    if (supports(codec, AV_PIX_FMT_YUV420P))
        return AV_PIX_FMT_YUV420P;
    return avcodec_find_best_pix_fmt_of_list(ls_av_pixel_formats(codec), source, 0, NULL);
}

static int fail_format(const AVCodec *codec, const char *wanted, ls_error *err)
{
    char list[320] = "";
    const enum AVPixelFormat *p = ls_av_pixel_formats(codec);
    for (; p && *p != AV_PIX_FMT_NONE; p++)
        ls_list_add(list, sizeof list, "%s", av_get_pix_fmt_name(*p));
    ls_fail(err, LS_EINVAL, "pixel-format: %s does not take \"%s\"; it takes %s", codec->name,
            wanted, list);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, "pixel-format");
}

/* H.264 and HEVC of other kinds than what hardware decodes. */
static void report_unusual(const AVCodec *codec, enum AVPixelFormat f, const ls_log *log)
{
    const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(f);
    const bool h264 = codec->id == AV_CODEC_ID_H264, hevc = codec->id == AV_CODEC_ID_HEVC;
    const bool subsampled = d->log2_chroma_w == 1 && d->log2_chroma_h == 1;
    if ((h264 || hevc) && (!subsampled || d->comp[0].depth > (h264 ? 8 : 10)))
        ls_log_msg(log, LS_LOG_WARN,
                   "few browsers and phones play %s of %s; the pixel format yuv420p they do",
                   h264 ? "H.264" : "HEVC", d->name);
}

int ls_pixel_choose(enum AVPixelFormat *out, const AVCodec *codec, const AVFrame *model,
                    const char *wanted, const ls_log *log, ls_error *err)
{
    if (!wanted || !strcmp(wanted, "auto")) {
        *out = choose(codec, model->format, log);
    } else {
        *out = av_get_pix_fmt(wanted);
        const AVPixFmtDescriptor *d = av_pix_fmt_desc_get(*out);
        if (!d || d->flags & AV_PIX_FMT_FLAG_HWACCEL || !supports(codec, *out))
            return fail_format(codec, wanted, err);
    }
    report_unusual(codec, *out, log);
    return 0;
}
