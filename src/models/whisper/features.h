/* The UNet's audio input for each video frame: Whisper's embeddings around the frame. Source: the
 * original's Audio2Feature (feature2chunks, get_sliced_feature) and Whisper's transcribe(). */
#ifndef LS_MODELS_WHISPER_FEATURES_H
#define LS_MODELS_WHISPER_FEATURES_H

#include "models/whisper/log_mel.h"
#include "models/whisper/whisper.h"

#define LS_FEATURE_RATE 50 /* rows a second */
#define LS_FEATURE_ROWS 10 /* rows of 20 ms around a frame: 4 before, its own, 5 after */

/* Number of 20 ms rows that 30 s windows yield for a recording of `mel_frames`. */
size_t ls_feature_rows(size_t mel_frames);
/* Number of video frames at `fps` for that many rows: at 25 fps floor(rows / 2) + 2. */
size_t ls_feature_frames(size_t rows, double fps);
/* The rows of frame i, each clamped to the recording. */
void ls_feature_indices(size_t frame, size_t rows, double fps, size_t indices[LS_FEATURE_ROWS]);

/* Instead of a constant rate: the row during which a frame is shown, which does not fall. */
typedef struct ls_feature_clock {
    uint64_t (*row)(const void *opaque, uint64_t frame);
    const void *opaque;
} ls_feature_clock;

/* The same two by such a clock. */
size_t ls_feature_frames_by(size_t rows, const ls_feature_clock *clock);
void ls_feature_indices_by(size_t frame, size_t rows, const ls_feature_clock *clock,
                           size_t indices[LS_FEATURE_ROWS]);

/* Tokens of a frame: LS_FEATURE_ROWS x (layers + 1); each n_audio_state wide. */
size_t ls_feature_tokens(const ls_whisper *w);
/* Bytes held by ls_features, plus the encoder's own copy of a window. */
size_t ls_feature_bytes(const ls_whisper *w);

typedef struct ls_feature_settings {
    double fps;
    bool overlap; /* windows begin every 28 s, not every 30, and are blended where two meet */
    bool close;   /* the encoder hears silence wherever there is no speech (activity.h) */
} ls_feature_settings;

typedef struct ls_features ls_features;

/* Both must outlive *out. Holds two windows of embeddings, whatever the length. */
int ls_features_open(ls_features **out, ls_whisper *whisper, ls_log_mel *mel,
                     const ls_feature_settings *s, ls_error *err);
/* From now on frames are shown by `clock`, which is copied; its `opaque` must outlive *f. */
void ls_features_set_clock(ls_features *f, const ls_feature_clock *clock);
void ls_features_close(ls_features **f);

/* Number of video frames that the recording yields. */
size_t ls_features_frames(const ls_features *f);

/* Frames [start, start + n) as [n, tokens, n_audio_state]: rows in time order, each with its
 * embeddings in depth order. Encodes windows as they are needed. Any thread. */
int ls_features_read(ls_features *f, size_t start, size_t n, float *dst, const ls_cancel *cancel,
                     ls_error *err);
/* From now on a window is encoded by a thread of its own before it is needed, where frames are read
 * in about their order. */
int ls_features_read_ahead(ls_features *f, ls_error *err);

#endif
