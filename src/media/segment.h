/* A part of the output: frames encoded once, as closed groups of pictures, in a file of their own,
 * so that parts can be made separately and joined without encoding again. */
#ifndef LS_MEDIA_SEGMENT_H
#define LS_MEDIA_SEGMENT_H

#include "base/digest.h"
#include "media/encoder.h"
#include "media/frame.h"

/* One thread at a time. */
typedef struct ls_segment ls_segment;

typedef struct ls_segment_info {
    uint64_t frames, bytes;
    uint64_t delay; /* frames by which decoding must precede display */
    uint8_t sha256[LS_SHA256_BYTES];
} ls_segment_info;

/* Video: of the encoder's pixel format (pixel_choice.h). Odd sizes grow by a repeated row or column
 * where chroma is subsampled. The file is written under a temporary name beside `path`. The same
 * frames and settings give the same bytes, on any number of cores, whatever was encoded before.
 * Strings must outlive *out. */
int ls_segment_open(ls_segment **out, const char *path, const ls_encoding *e, ls_error *err);
/* The format of the files: "nut", or "matroska" for VP9 with transparency, which NUT would lose. */
const char *ls_segment_container(const struct AVCodecContext *encoder);
/* Encodes the next frame. */
int ls_segment_write(ls_segment *s, const ls_frame *f, ls_error *err);
/* Completes the file, forces it to the disk and gives it its name. */
int ls_segment_finish(ls_segment *s, ls_segment_info *info, ls_error *err);
/* Removes the temporary file unless ls_segment_finish succeeded. Sets *s to NULL; takes NULL. */
void ls_segment_close(ls_segment **s);

#endif
