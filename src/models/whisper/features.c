#include "models/whisper/features.h"
#include "base/alloc.h"

#include <stdlib.h>

#define WINDOW 3000 /* mel frames; twice the rows it yields */
#define ROWS_BEFORE 4

struct ls_features {
    ls_whisper *whisper;
    ls_log_mel *mel;
    double fps;
    ls_feature_clock clock; /* if it has a function */
    size_t rows, row_size;
    float *input; /* [3000, 80] */
    struct {
        size_t index; /* SIZE_MAX: empty */
        float *rows;  /* [1500, layers + 1, n_audio_state] */
    } windows[2];
    int newest;
};

size_t ls_feature_rows(size_t mel_frames)
{
    return mel_frames / WINDOW * (WINDOW / 2) + mel_frames % WINDOW / 2;
}

size_t ls_feature_frames(size_t rows, double fps)
{
    size_t i = (size_t)((double)rows * fps / LS_FEATURE_RATE);
    i -= i > 1 ? 2 : i; // a safe lower bound to start from
    while ((size_t)((double)i * LS_FEATURE_RATE / fps) <= rows)
        i++;
    return i + 1;
}

size_t ls_feature_frames_by(size_t rows, const ls_feature_clock *clock)
{
    size_t low = 0, high = 1; // the first frame past the rows is in [low, high]
    while (clock->row(clock->opaque, high) <= rows) {
        low = high;
        high *= 2;
    }
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (clock->row(clock->opaque, middle) <= rows)
            low = middle + 1;
        else
            high = middle;
    }
    return low + 1;
}

static void indices_around(size_t centre, size_t rows, size_t indices[LS_FEATURE_ROWS])
{
    for (size_t k = 0; k < LS_FEATURE_ROWS; k++) {
        size_t r = centre + k < ROWS_BEFORE ? 0 : centre + k - ROWS_BEFORE;
        indices[k] = r < rows ? r : rows - 1;
    }
}

void ls_feature_indices(size_t frame, size_t rows, double fps, size_t indices[LS_FEATURE_ROWS])
{
    indices_around((size_t)((double)frame * LS_FEATURE_RATE / fps), rows, indices);
}

void ls_feature_indices_by(size_t frame, size_t rows, const ls_feature_clock *clock,
                           size_t indices[LS_FEATURE_ROWS])
{
    indices_around((size_t)clock->row(clock->opaque, frame), rows, indices);
}

size_t ls_feature_tokens(const ls_whisper *w)
{
    return LS_FEATURE_ROWS * (ls_whisper_get_config(w)->n_audio_layer + 1);
}

static size_t row_size(const ls_whisper_config *c)
{
    return (c->n_audio_layer + 1) * c->n_audio_state;
}

size_t ls_feature_bytes(const ls_whisper *w)
{
    const ls_whisper_config *c = ls_whisper_get_config(w);
    return (WINDOW * c->n_mels + 3 * (WINDOW / 2) * row_size(c)) * sizeof(float);
}

int ls_features_open(ls_features **out, ls_whisper *whisper, ls_log_mel *mel, double fps,
                     ls_error *err)
{
    *out = NULL;
    const ls_whisper_config *c = ls_whisper_get_config(whisper);
    size_t rows = ls_feature_rows(ls_log_mel_frames(mel));
    if (!rows)
        return ls_fail(err, LS_EFORMAT,
                       "the speech is shorter than 20 ms; there is nothing to move the lips to");
    ls_features *f = ls_calloc_array(1, sizeof *f);
    if (!f)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    f->whisper = whisper;
    f->mel = mel;
    f->fps = fps;
    f->rows = rows;
    f->row_size = row_size(c);
    f->input = ls_malloc_array(WINDOW * c->n_mels, sizeof *f->input);
    bool ok = f->input;
    for (int i = 0; i < 2; i++) {
        f->windows[i].index = SIZE_MAX;
        f->windows[i].rows = ls_malloc_array(WINDOW / 2 * f->row_size, sizeof(float));
        ok = ok && f->windows[i].rows;
    }
    if (!ok) {
        ls_features_close(&f);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    *out = f;
    return 0;
}

void ls_features_close(ls_features **pf)
{
    ls_features *f = *pf;
    if (!f)
        return;
    free(f->input);
    free(f->windows[0].rows);
    free(f->windows[1].rows);
    free(f);
    *pf = NULL;
}

void ls_features_set_clock(ls_features *f, const ls_feature_clock *clock)
{
    f->clock = *clock;
}

size_t ls_features_frames(const ls_features *f)
{
    return f->clock.row ? ls_feature_frames_by(f->rows, &f->clock)
                        : ls_feature_frames(f->rows, f->fps);
}

/* The row, from a window held, or encoded now to replace the older one. */
static int get_row(ls_features *f, size_t row, const float **out, const ls_cancel *cancel,
                   ls_error *err)
{
    size_t index = row / (WINDOW / 2);
    if (f->windows[f->newest].index != index) {
        f->newest = !f->newest;
        if (f->windows[f->newest].index != index) {
            f->windows[f->newest].index = SIZE_MAX;
            int ret = ls_log_mel_read(f->mel, index * WINDOW, WINDOW, f->input, err);
            if (!ret)
                ret = ls_whisper_encode(f->whisper, f->input, f->windows[f->newest].rows, cancel,
                                        err);
            if (ret)
                return ret;
            f->windows[f->newest].index = index;
        }
    }
    *out = f->windows[f->newest].rows + row % (WINDOW / 2) * f->row_size;
    return 0;
}

int ls_features_read(ls_features *f, size_t start, size_t n, float *dst, const ls_cancel *cancel,
                     ls_error *err)
{
    for (size_t i = start; i < start + n; i++) {
        size_t indices[LS_FEATURE_ROWS];
        if (f->clock.row)
            ls_feature_indices_by(i, f->rows, &f->clock, indices);
        else
            ls_feature_indices(i, f->rows, f->fps, indices);
        for (size_t k = 0; k < LS_FEATURE_ROWS; k++, dst += f->row_size) {
            const float *row;
            int ret = get_row(f, indices[k], &row, cancel, err);
            if (ret)
                return ret;
            memcpy(dst, row, f->row_size * sizeof *dst);
        }
    }
    return 0;
}
