#include "media/codecs.h"
#include "media/av.h"
#include "media/encoder.h"
#include "media/encoder_table.h"

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
    const ls_encoder_row *r;
    for (int n = 0; (r = ls_encoder_row_at(n)); n++)
        if (avcodec_find_encoder_by_name(r->name) &&
            (!r->is_hardware || ls_encoder_works(r->name)) && i-- == 0)
            return r->name;
    return NULL;
}
