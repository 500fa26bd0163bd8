#ifndef LS_MEDIA_CODECS_H
#define LS_MEDIA_CODECS_H

#include <stdbool.h>

/* Silences libav*'s own messages, or shows them on standard error. They go through a callback of
 * the whole process, so this is for programs, not for libraries. */
void ls_media_show_libav_messages(bool show);

/* "FFmpeg 5.1.7 (libavcodec 59.37.100)". Static storage. */
const char *ls_media_version(void);
/* The i-th video encoder that a job may name; NULL past the last. Those that need hardware are
 * tried, and left out where they do not work. */
const char *ls_media_encoder(int i);

#endif
