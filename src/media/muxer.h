/* A media file that is written, and gets its name when it is complete. */
#ifndef LS_MEDIA_MUXER_H
#define LS_MEDIA_MUXER_H

#include "base/output.h"
#include "media/av.h"

/* Zero-initialize. */
typedef struct ls_muxer {
    AVFormatContext *format;
    ls_output_file file;                           /* its path is NULL while there is none */
    void (*append)(const AVFormatContext *format); /* NULL, or writes what follows the trailer */
} ls_muxer;

int ls_muxer_open(ls_muxer *m, const AVOutputFormat *format, ls_error *err);
/* Creates the temporary file and writes the header of the streams added to `format`; `movflags` may
 * be NULL. `path` must outlive the muxer. */
int ls_muxer_start(ls_muxer *m, const char *path, const char *movflags, ls_error *err);
/* The same into a buffer of libavformat's (avio_open_dyn_buf), which the caller closes. */
int ls_muxer_start_memory(ls_muxer *m, const char *movflags, ls_error *err);
/* Of the result of writing a packet: fails if it is negative, or earlier output did not arrive. */
int ls_muxer_check(const ls_muxer *m, int averror, ls_error *err);
/* Writes the trailer and closes the temporary file. */
int ls_muxer_end(ls_muxer *m, ls_error *err);
/* After ls_muxer_end, whose result or that of what followed is `ret`: forces the file to the disk
 * and gives it its name, or removes it. Returns `ret`, or what failed here. */
int ls_muxer_name(ls_muxer *m, int ret, ls_error *err);
/* Removes the temporary file if it has not got its name. */
void ls_muxer_close(ls_muxer *m);

#endif
