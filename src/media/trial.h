/* A small output in memory, made and read back before a job starts. */
#ifndef LS_MEDIA_TRIAL_H
#define LS_MEDIA_TRIAL_H

#include "media/av.h"

#define LS_TRIAL_FRAMES 3

/* Encodes black pictures, the first of them at `pts`, and the end. 0 if LS_TRIAL_FRAMES packets
 * came of it, else a negative AVERROR, AVERROR_BUG2 for another number. ls_trial_free frees the
 * packets, which were NULL, also on failure. The encoder has ended then. */
int ls_trial_encode(AVCodecContext *encoder, int64_t pts,
                    AVPacket *packets[static LS_TRIAL_FRAMES]);
void ls_trial_free(AVPacket *packets[static LS_TRIAL_FRAMES]);

/* Reads a file in memory back: streams as in `written`, LS_TRIAL_FRAMES packets in stream `video`,
 * and that many pictures where there is a decoder. LS_EUNSUPPORTED says what is missing. */
int ls_trial_read(const uint8_t *file, size_t size, const AVFormatContext *written, int video,
                  ls_error *err);

#endif
