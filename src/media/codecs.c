#include "media/codecs.h"
#include "media/av.h"

#include <stdlib.h>

void ls_media_show_libav_messages(bool show)
{
    av_log_set_level(show ? AV_LOG_INFO : AV_LOG_QUIET);
}

const char *ls_media_version(void)
{
    return av_version_info();
}

const char *ls_media_encoder(int i)
{
    static const char *const names[] = {
        "libx264",   "libx265", "libsvtav1", "libaom-av1",        "libvpx-vp9", "h264_nvenc",
        "prores_ks", "ffv1",    "mpeg4",     "h264_videotoolbox", NULL};
    for (const char *const *n = names; *n; n++)
        if (avcodec_find_encoder_by_name(*n) && i-- == 0)
            return *n;
    return NULL;
}
