#include "media/container.h"
#include "media/encoder_table.h"
#include "base/alloc.h"
#include "base/list.h"

#include <libavutil/avstring.h>
#include <stdio.h>
#include <string.h>

static const enum AVCodecID mp4_video[] = {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC,  AV_CODEC_ID_AV1,
                                           AV_CODEC_ID_VP9,  AV_CODEC_ID_MPEG4, AV_CODEC_ID_NONE},
                            mov_video[] = {AV_CODEC_ID_H264,  AV_CODEC_ID_HEVC, AV_CODEC_ID_PRORES,
                                           AV_CODEC_ID_MPEG4, AV_CODEC_ID_PNG,  AV_CODEC_ID_NONE},
                            webm_video[] = {AV_CODEC_ID_VP9, AV_CODEC_ID_AV1, AV_CODEC_ID_NONE};

/* PCM in .mp4, which FFmpeg can write since 6.1, is left out: hardly any player can read it. */
static const enum AVCodecID mp4_audio[] = {AV_CODEC_ID_AAC,  AV_CODEC_ID_MP3,  AV_CODEC_ID_AC3,
                                           AV_CODEC_ID_EAC3, AV_CODEC_ID_FLAC, AV_CODEC_ID_OPUS,
                                           AV_CODEC_ID_ALAC, AV_CODEC_ID_NONE},
                            mov_audio[] = {AV_CODEC_ID_AAC,  AV_CODEC_ID_MP3,  AV_CODEC_ID_AC3,
                                           AV_CODEC_ID_EAC3, AV_CODEC_ID_ALAC, AV_CODEC_ID_NONE},
                            webm_audio[] = {AV_CODEC_ID_OPUS, AV_CODEC_ID_VORBIS, AV_CODEC_ID_NONE};

/* .avi and .flv are left out: neither can say when a frame is shown, only how many a second there
 * are. */
static const ls_container containers[] = {
    {".mp4", "mp4", mp4_video, mp4_audio, false, "aac", "AAC", "+faststart"},
    {".m4v", "mp4", mp4_video, mp4_audio, false, "aac", "AAC", "+faststart"},
    {".mov", "mov", mov_video, mov_audio, true, "aac", "AAC", "+faststart"},
    {".mkv", "matroska", NULL, NULL, true, "aac", "AAC", NULL},
    {".webm", "webm", webm_video, webm_audio, false, "libopus", "Opus", NULL},
};

static const enum AVCodecID hls_video[] = {AV_CODEC_ID_H264, AV_CODEC_ID_HEVC, AV_CODEC_ID_AV1,
                                           AV_CODEC_ID_VP9, AV_CODEC_ID_NONE},
                            hls_audio[] = {AV_CODEC_ID_AAC, AV_CODEC_ID_NONE};

const ls_container ls_container_hls = {.muxer = "mp4",
                                       .video = hls_video,
                                       .audio = hls_audio,
                                       .audio_encoder = "aac",
                                       .audio_name = "AAC",
                                       .movflags =
                                           "+frag_custom+delay_moov+default_base_moof+skip_sidx"};

static bool lists(const enum AVCodecID *list, enum AVCodecID id)
{
    while (*list != AV_CODEC_ID_NONE && *list != id)
        list++;
    return *list != AV_CODEC_ID_NONE;
}

int ls_container_choose(const ls_container **out, const char *path, ls_error *err)
{
    char list[80] = "";
    const size_t length = strlen(path);
    for (size_t i = 0, n = 0; i < LS_COUNT(containers); i++) {
        const char *extension = containers[i].extension;
        const size_t size = strlen(extension);
        if (length > size && !av_strcasecmp(path + length - size, extension)) {
            *out = &containers[i];
            return 0;
        }
        n += (size_t)snprintf(list + n, sizeof list - n, "%s%s",
                              !i                             ? ""
                              : i + 1 < LS_COUNT(containers) ? ", "
                                                             : " or ",
                              extension);
    }
    ls_fail(err, LS_EINVAL, "%s: the container is chosen by the file extension; use %s", path,
            list);
    return ls_advise(err, LS_EINVAL, LS_HINT_OTHER_OUTPUT, "output");
}

/* The containers that hold a codec, or the encoders whose codec a container holds: "a, b". */
static void list_containers(char *list, size_t size, enum AVCodecID codec)
{
    *list = '\0';
    for (size_t i = 0; i < LS_COUNT(containers); i++)
        if (!containers[i].video || lists(containers[i].video, codec))
            ls_list_add(list, size, "%s", containers[i].extension);
}

static void list_encoders(char *list, size_t size, const ls_container *c)
{
    const ls_encoder_row *r;
    *list = '\0';
    for (int i = 0; (r = ls_encoder_row_at(i)); i++) {
        const AVCodec *codec = r->is_hardware ? NULL : avcodec_find_encoder_by_name(r->name);
        if (codec && lists(c->video, codec->id))
            ls_list_add(list, size, "%s", r->name);
    }
}

int ls_container_check_video(const ls_container *c, const char *path, const char *encoder,
                             enum AVCodecID codec, ls_error *err)
{
    char others[80], encoders[160];
    if (!c->video || lists(c->video, codec))
        return 0;
    list_containers(others, sizeof others, codec);
    list_encoders(encoders, sizeof encoders, c);
    ls_fail(err, LS_EINVAL,
            "%s: %s holds no %s video, which %s makes; what does: %s; encoders for %s: %s", path,
            c->extension, avcodec_get_name(codec), encoder, others, c->extension, encoders);
    return ls_advise(err, LS_EINVAL, LS_HINT_OTHER_OUTPUT, "output");
}

int ls_container_check_hls(const char *encoder, ls_error *err)
{
    char encoders[160];
    const AVCodec *codec = avcodec_find_encoder_by_name(encoder);
    if (!codec || lists(hls_video, codec->id)) // an unknown one is reported where it is opened
        return 0;
    list_encoders(encoders, sizeof encoders, &ls_container_hls);
    ls_fail(err, LS_EINVAL, "stream: HLS holds no %s video, which %s makes; encoders for it: %s",
            avcodec_get_name(codec->id), encoder, encoders);
    return ls_advise(err, LS_EINVAL, LS_HINT_NONE, "video-codec");
}

bool ls_container_takes_audio(const ls_container *c, enum AVCodecID codec)
{
    if (codec == AV_CODEC_ID_TTA) // Matroska has no length of it but that of the longest stream
        return false;
    return !c->audio || lists(c->audio, codec) ||
           (c->takes_pcm && av_get_exact_bits_per_sample(codec) > 0);
}
