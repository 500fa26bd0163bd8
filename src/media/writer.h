/* The output file: frames encoded once, the sound of the speech file beside them. */
#ifndef LS_MEDIA_WRITER_H
#define LS_MEDIA_WRITER_H

#include "media/video.h"

typedef struct ls_writer_settings {
    const char *path;  /* the container is told by its extension */
    const char *audio; /* file whose best audio stream is the sound */
    const char *codec; /* an encoder of libavcodec, "libx264" */
    const char *preset;
    int crf;
    const ls_video *like; /* size, format, colour tags, sample aspect and frame rate */
    const ls_log *log;
} ls_writer_settings;

/* One thread at a time. */
typedef struct ls_writer ls_writer;

/* Video: 4:2:0 of 8 bits, or of 10 where the source has more than 8 and the encoder can. Odd sizes
 * grow by a repeated row or column, for 4:2:0 has none. Sound: copied as it is where the container
 * allows, otherwise AAC at its own rate and channels. Everything goes to a temporary file beside
 * `path`. The same frames and settings give the same bytes, on any number of cores. */
int ls_writer_open(ls_writer **out, const ls_writer_settings *s, ls_error *err);
/* The next frame. */
int ls_writer_write(ls_writer *w, const ls_frame *f, ls_error *err);
/* Completes the file, forces it to the disk and gives it its name. */
int ls_writer_finish(ls_writer *w, ls_error *err);
/* Removes the temporary file unless ls_writer_finish succeeded. Sets *w to NULL; takes NULL. */
void ls_writer_close(ls_writer **w);
/* "copied" or "AAC". */
const char *ls_writer_audio_mode(const ls_writer *w);

#endif
