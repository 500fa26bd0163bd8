/* What says, to machines and in words, that a machine has made the picture: IPTC's
 * DigitalSourceType and a comment. */
#ifndef LS_MEDIA_MARK_H
#define LS_MEDIA_MARK_H

#include "media/av.h"

/* Adds it to the tags of an output, whose own comment stays before the new one. LS_ENOMEM. */
int ls_mark_tags(AVFormatContext *mux, ls_error *err);

/* Writes the same as XMP, in a box that follows all others of an MP4 file or of its header, because
 * libavformat writes none there. Nothing for other muxers. */
void ls_mark_write_box(const AVFormatContext *mux);

#endif
