/* The inside of an ls_frame, for the media module only. */
#ifndef LS_MEDIA_AVFRAME_H
#define LS_MEDIA_AVFRAME_H

#include "media/av.h"
#include "media/frame.h"

struct ls_frame {
    AVFrame *av;
};

/* Takes `av` over; NULL (and `av` freed) when out of memory. */
ls_frame *ls_frame_wrap(AVFrame *av);

#endif
