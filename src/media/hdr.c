#include "media/hdr.h"
#include "base/alloc.h"

#include <libavutil/mastering_display_metadata.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* As a stream and as a frame have it. */
static const struct {
    enum AVPacketSideDataType stream;
    enum AVFrameSideDataType frame;
} kinds[] = {{AV_PKT_DATA_MASTERING_DISPLAY_METADATA, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA},
             {AV_PKT_DATA_CONTENT_LIGHT_LEVEL, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL}};

int ls_hdr_complete(AVFrame *model, const AVStream *st, ls_error *err)
{
    for (size_t i = 0; i < LS_COUNT(kinds); i++) {
        size_t size;
        const void *data = ls_av_stream_data(st, kinds[i].stream, &size);
        if (!data || av_frame_get_side_data(model, kinds[i].frame))
            continue;
        AVFrameSideData *to = av_frame_new_side_data(model, kinds[i].frame, size);
        if (!to)
            return ls_fail(err, LS_ENOMEM, "out of memory");
        memcpy(to->data, data, size);
    }
    return 0;
}

int ls_hdr_set_stream(AVStream *st, const AVFrame *model, ls_error *err)
{
    for (size_t i = 0; i < LS_COUNT(kinds); i++) {
        const AVFrameSideData *from = av_frame_get_side_data(model, kinds[i].frame);
        if (from && ls_av_add_stream_data(st, kinds[i].stream, from->data, from->size) < 0)
            return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    return 0;
}

static const AVMasteringDisplayMetadata *display_of(const AVFrame *f)
{
    const AVFrameSideData *d = av_frame_get_side_data(f, AV_FRAME_DATA_MASTERING_DISPLAY_METADATA);
    const AVMasteringDisplayMetadata *m = d ? (const void *)d->data : NULL;
    bool ok = m && m->has_primaries && m->has_luminance && m->min_luminance.den > 0 &&
              m->max_luminance.den > 0;
    for (int i = 0; ok && i < 3; i++)
        ok = m->display_primaries[i][0].den > 0 && m->display_primaries[i][1].den > 0;
    return ok && m->white_point[0].den > 0 && m->white_point[1].den > 0 ? m : NULL;
}

/* Green, blue, red, white; chroma in steps of 1/`chroma`, light of 1/`light` cd/m2. */
static void print_display(char *to, size_t size, const AVMasteringDisplayMetadata *m,
                          const char *format, double chroma, double light)
{
    const AVRational(*p)[2] = m->display_primaries;
    snprintf(to, size, format, av_q2d(p[1][0]) * chroma, av_q2d(p[1][1]) * chroma,
             av_q2d(p[2][0]) * chroma, av_q2d(p[2][1]) * chroma, av_q2d(p[0][0]) * chroma,
             av_q2d(p[0][1]) * chroma, av_q2d(m->white_point[0]) * chroma,
             av_q2d(m->white_point[1]) * chroma, av_q2d(m->max_luminance) * light,
             av_q2d(m->min_luminance) * light);
}

#define WHOLE "G(%.0f,%.0f)B(%.0f,%.0f)R(%.0f,%.0f)WP(%.0f,%.0f)L(%.0f,%.0f)"
#define DECIMAL "G(%.5f,%.5f)B(%.5f,%.5f)R(%.5f,%.5f)WP(%.5f,%.5f)L(%.4f,%.4f)"

static int append(AVDictionary **options, const char *params, const char *key, const char *value)
{
    char text[320];
    const AVDictionaryEntry *before = av_dict_get(*options, params, NULL, 0);
    snprintf(text, sizeof text, "%s%s=%s", before ? ":" : "", key, value);
    return av_dict_set(options, params, text, AV_DICT_APPEND);
}

int ls_hdr_set_options(AVDictionary **options, const char *encoder, const AVFrame *model)
{
    static const struct {
        const char *encoder, *params, *display, *light;
    } known[] = {{"libx264", "x264-params", "mastering-display", "cll"},
                 {"libx265", "x265-params", "master-display", "max-cll"},
                 {"libsvtav1", "svtav1-params", "mastering-display", "content-light"}};
    const AVMasteringDisplayMetadata *m = display_of(model);
    const AVFrameSideData *l = av_frame_get_side_data(model, AV_FRAME_DATA_CONTENT_LIGHT_LEVEL);
    size_t i = 0;
    char value[256];
    int ret = 0;
    while (i < LS_COUNT(known) && strcmp(known[i].encoder, encoder))
        i++;
    if (i == LS_COUNT(known))
        return 0;
    if (m) {
        const bool decimal = !strcmp(encoder, "libsvtav1");
        if (decimal)
            print_display(value, sizeof value, m, DECIMAL, 1, 1);
        else
            print_display(value, sizeof value, m, WHOLE, 50000, 10000);
        ret = append(options, known[i].params, known[i].display, value);
    }
    if (ret >= 0 && l) {
        const AVContentLightMetadata *light = (const void *)l->data;
        snprintf(value, sizeof value, "%u,%u", light->MaxCLL, light->MaxFALL);
        ret = append(options, known[i].params, known[i].light, value);
    }
    return ret;
}

void ls_hdr_report(const AVFrame *model, const AVStream *st, const char *name, const ls_log *log)
{
    size_t size;
    if (ls_av_stream_data(st, AV_PKT_DATA_DOVI_CONF, &size))
        ls_log_msg(log, LS_LOG_WARN,
                   "%s is in Dolby Vision: its metadata is lost, and what the output shows is the "
                   "picture below it",
                   name);
    else if (av_frame_get_side_data(model, AV_FRAME_DATA_DYNAMIC_HDR_PLUS))
        ls_log_msg(log, LS_LOG_WARN, "%s is in HDR10+: the metadata of single frames is lost",
                   name);
}
