#include "media/encoder_table.h"
#include "base/alloc.h"
#include "base/list.h"
#include "media/av.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const presets[LS_PRESETS] = {"ultrafast", "superfast", "veryfast", "faster",
                                                "fast",      "medium",    "slow",     "slower",
                                                "veryslow",  "placebo"};

/* x264 and x265 look ten frames ahead: each more costs 7 MB at 1080p and gains little. x265 would
 * also choose its threads by the machine, and its output depends on them. */
#define X264 "x264-params=sync-lookahead=0"
#define X265 "x265-params=log-level=none:info=0:pools=4:frame-threads=1"
#define LOOK_AHEAD ":rc-lookahead=10"

/* An encoder without presets. */
#define ONE(n)                                                                                     \
    {                                                                                              \
        n, n, n, n, n, n, n, n, n, n                                                               \
    }

#define NVENC(codec)                                                                               \
    {                                                                                              \
        .name = codec "_nvenc", .quality = LS_QUALITY_CRF, .crf = "cq", .crf_least = 1,            \
        .crf_most = 51, .preset = "preset", .preset_prefix = "p",                                  \
        .number = {1, 1, 2, 3, 3, 4, 5, 6, 7, 7}, .number_least = 1, .number_most = 7,             \
        .options = "rc=vbr,b=0", .is_hardware = true                                               \
    }
#define QSV(codec)                                                                                 \
    {                                                                                              \
        .name = codec "_qsv", .quality = LS_QUALITY_CRF, .crf = "global_quality", .crf_least = 1,  \
        .crf_most = 51, .preset = "preset", .preset_prefix = "",                                   \
        .number = {7, 7, 7, 6, 5, 4, 3, 2, 1, 1}, .number_least = 1, .number_most = 7,             \
        .is_hardware = true                                                                        \
    }
#define PLAIN_HARDWARE(encoder)                                                                    \
    {                                                                                              \
        .name = encoder, .quality = LS_QUALITY_BITRATE, .crf_most = 51, .is_hardware = true        \
    }

/* `held` and `base` are from bench_encode, with pictures of 320 x 180 to 1920 x 1080 that move and
 * have noise. */
static const ls_encoder_row rows[] = {
    {.name = "libx264",
     .held = {14, 43, 60, 60, 60, 62, 66, 84, 195, 520},
     .base = 10,
     .quality = LS_QUALITY_CRF,
     .crf = "crf",
     .crf_most = 51,
     .preset = "preset",
     .options = X264 LOOK_AHEAD,
     .quick_options = X264},
    {.name = "libx265",
     .held = {72, 88, 93, 93, 93, 96, 96, 122, 128, 133},
     .base = 72,
     .quality = LS_QUALITY_CRF,
     .crf = "crf",
     .crf_most = 51,
     .preset = "preset",
     .options = X265 LOOK_AHEAD,
     .quick_options = X265},
    {.name = "libsvtav1",
     .held = {123, 139, 145, 147, 173, 184, 184, 251, 410, 470},
     .base = 80,
     .quality = LS_QUALITY_CRF,
     .crf = "crf",
     .crf_least = 1, // 0 would be taken for no crf
     .crf_most = 63,
     .preset = "preset",
     .preset_prefix = "",
     .number = {12, 11, 10, 9, 8, 7, 6, 4, 2, 0},
     .number_most = 12,
     .must_end = true},
    {.name = "libaom-av1",
     .held = {120, 120, 120, 120, 124, 135, 140, 145, 150, 155},
     .base = 35,
     .quality = LS_QUALITY_CRF,
     .crf = "crf",
     .crf_most = 63,
     .preset = "cpu-used",
     .preset_prefix = "",
     .number = {8, 7, 6, 6, 5, 4, 3, 2, 1, 0},
     .number_most = 8},
    {.name = "libvpx-vp9",
     .held = {87, 87, 87, 87, 87, 87, 87, 87, 87, 87},
     .base = 40,
     .quality = LS_QUALITY_CRF,
     .crf = "crf",
     .crf_most = 63,
     .preset = "cpu-used",
     .preset_prefix = "",
     .number = {5, 5, 4, 3, 2, 1, 1, 0, 0, 0},
     .number_most = 5},
    {.name = "prores_ks", .held = ONE(6), .base = 5},
    {.name = "ffv1", .held = ONE(110), .base = 5},
    {.name = "png"},
    {.name = "mpeg4", .quality = LS_QUALITY_SCALE, .crf_most = 51, .held = ONE(15), .base = 5},
    NVENC("h264"),
    NVENC("hevc"),
    NVENC("av1"),
    QSV("h264"),
    QSV("hevc"),
    QSV("av1"),
    PLAIN_HARDWARE("h264_amf"),
    PLAIN_HARDWARE("hevc_amf"),
    PLAIN_HARDWARE("av1_amf"),
    PLAIN_HARDWARE("h264_videotoolbox"),
    PLAIN_HARDWARE("hevc_videotoolbox"),
    PLAIN_HARDWARE("h264_v4l2m2m"),
    PLAIN_HARDWARE("hevc_v4l2m2m"),
};

const ls_encoder_row *ls_encoder_row_at(int i)
{
    return i >= 0 && (size_t)i < LS_COUNT(rows) ? &rows[i] : NULL;
}

const ls_encoder_row *ls_encoder_row_find(const char *name)
{
    const ls_encoder_row *r = rows;
    while (r < rows + LS_COUNT(rows) && strcmp(r->name, name))
        r++;
    return r < rows + LS_COUNT(rows) && avcodec_find_encoder_by_name(name) ? r : NULL;
}

/* The number that is given instead of a name; -1: none. */
static int own_number(const ls_encoder_row *r, const char *preset)
{
    char *end;
    const long n = strtol(preset, &end, 10);
    const bool is_number = *preset >= '0' && *preset <= '9' && !*end;
    return is_number && r->number_most && n >= r->number_least && n <= r->number_most ? (int)n : -1;
}

int ls_encoder_preset(const ls_encoder_row *r, const char *preset)
{
    for (int i = 0; i < LS_PRESETS; i++)
        if (!strcmp(preset, presets[i]))
            return i;
    const int n = own_number(r, preset);
    const bool rises = r->number[0] < r->number[LS_PRESETS - 1];
    for (int i = LS_PRESETS - 1; n >= 0 && i >= 0; i--)
        if (!i || (rises ? r->number[i] <= n : r->number[i] >= n))
            return i;
    return -1;
}

const char *ls_encoder_preset_value(const ls_encoder_row *r, const char *preset, char buf[16])
{
    if (!r->preset_prefix)
        return preset;
    const int own = own_number(r, preset), i = ls_encoder_preset(r, preset);
    snprintf(buf, 16, "%s%d", r->preset_prefix, own >= 0 ? own : r->number[i]);
    return buf;
}

static int fail_preset(const ls_encoder_row *r, const char *preset, ls_error *err)
{
    char list[160] = "";
    for (int i = 0; i < LS_PRESETS; i++)
        ls_list_add(list, sizeof list, "%s", presets[i]);
    if (r->number_most)
        ls_list_add(list, sizeof list, "or %d to %d", r->number_least, r->number_most);
    ls_fail(err, LS_EINVAL, "preset: %s has none named \"%s\"; it takes %s", r->name, preset, list);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, "preset");
}

int ls_encoder_row_check(const ls_encoder_row *r, const char *preset, int crf, ls_error *err)
{
    if (ls_encoder_preset(r, preset) < 0)
        return fail_preset(r, preset, err);
    if (r->quality == LS_QUALITY_FIXED || (crf >= r->crf_least && crf <= r->crf_most))
        return 0;
    ls_fail(err, LS_EINVAL, "crf: %s takes %d to %d, not %d", r->name, r->crf_least, r->crf_most,
            crf);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, "crf");
}
