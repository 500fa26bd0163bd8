#include "models/whisper/features.h"
#include "base/alloc.h"
#include "models/whisper/activity.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#define WINDOW 3000 /* mel frames; twice the rows it yields */
#define WINDOW_ROWS (WINDOW / 2)
#define OVERLAP_ROWS 100 /* of two windows, in which one fades into the next */
#define ROWS_BEFORE 4

_Static_assert(WINDOW <= LS_ACTIVITY_MOST, "a window is asked about at once");

struct ls_features {
    ls_whisper *whisper;
    ls_log_mel *mel;
    ls_activity *activity; /* NULL: whatever is heard is speech */
    double fps;
    ls_feature_clock clock; /* if it has a function */
    size_t rows, row_size;
    size_t overlap, hop, count; /* of windows: rows that two share; from one to the next; windows */
    float *input, *parts;       /* [3000, 80] and [3000], of the thread that encodes */
    pthread_mutex_t lock;       /* of all below */
    pthread_cond_t changed;
    struct {
        size_t index; /* SIZE_MAX: empty */
        float *rows;  /* [1500, layers + 1, n_audio_state] */
    } windows[2];
    bool encoding; /* a window, with the lock given up */
    size_t wanted; /* the window to encode ahead; SIZE_MAX: none */
    bool has_thread;
    pthread_t thread;
    ls_cancel closing;
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
    return (WINDOW * (c->n_mels + 1) + 3 * WINDOW_ROWS * row_size(c)) * sizeof(float) +
           ls_activity_bytes();
}

int ls_features_open(ls_features **out, ls_whisper *whisper, ls_log_mel *mel,
                     const ls_feature_settings *s, ls_error *err)
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
    f->fps = s->fps;
    f->rows = rows;
    f->row_size = row_size(c);
    f->overlap = s->overlap ? OVERLAP_ROWS : 0;
    f->hop = WINDOW_ROWS - f->overlap;
    f->count = rows <= WINDOW_ROWS ? 1 : (rows - f->overlap + f->hop - 1) / f->hop;
    f->wanted = SIZE_MAX;
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->changed, NULL);
    f->input = ls_malloc_array(WINDOW * c->n_mels, sizeof *f->input);
    f->parts = ls_malloc_array(WINDOW, sizeof *f->parts);
    bool ok = f->input && f->parts && (!s->close || !ls_activity_open(&f->activity, mel, NULL));
    for (int i = 0; i < 2; i++) {
        f->windows[i].index = SIZE_MAX;
        f->windows[i].rows = ls_malloc_array(WINDOW_ROWS * f->row_size, sizeof(float));
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
    if (f->has_thread) {
        pthread_mutex_lock(&f->lock);
        ls_cancel_request(&f->closing);
        pthread_cond_broadcast(&f->changed);
        pthread_mutex_unlock(&f->lock);
        pthread_join(f->thread, NULL);
    }
    pthread_cond_destroy(&f->changed);
    pthread_mutex_destroy(&f->lock);
    ls_activity_close(&f->activity);
    free(f->input);
    free(f->parts);
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

/* A window's input; where there is no speech, silence. */
static int read_input(ls_features *f, size_t index, ls_error *err)
{
    const size_t start = 2 * index * f->hop, bands = ls_whisper_get_config(f->whisper)->n_mels;
    const float silence = ls_log_mel_silence(f->mel);
    int ret = ls_log_mel_read(f->mel, start, WINDOW, f->input, err);
    if (!ret && f->activity)
        ret = ls_activity_read(f->activity, start, WINDOW, f->parts, err);
    for (size_t i = 0; !ret && f->activity && i < WINDOW; i++)
        for (size_t k = 0; f->parts[i] < 1 && k < bands; k++)
            f->input[i * bands + k] = silence + f->parts[i] * (f->input[i * bands + k] - silence);
    return ret;
}

/* With the lock, which is given up meanwhile: encodes a window in place of the earlier one. */
static int encode(ls_features *f, size_t index, const ls_cancel *cancel, ls_error *err)
{
    const int k = f->windows[0].index + 1 > f->windows[1].index + 1; // none is before all others
    f->encoding = true;
    f->windows[k].index = SIZE_MAX;
    pthread_mutex_unlock(&f->lock);
    int ret = read_input(f, index, err);
    if (!ret)
        ret = ls_whisper_encode(f->whisper, f->input, f->windows[k].rows, cancel, err);
    pthread_mutex_lock(&f->lock);
    f->windows[k].index = ret ? SIZE_MAX : index;
    f->encoding = false;
    pthread_cond_broadcast(&f->changed);
    return ret;
}

/* With the lock: the rows of a window, held or encoded now. */
static int get_window(ls_features *f, size_t index, const float **out, const ls_cancel *cancel,
                      ls_error *err)
{
    int ret = 0;
    while (!ret) {
        for (int k = 0; k < 2; k++)
            if (f->windows[k].index == index) {
                *out = f->windows[k].rows;
                return 0;
            }
        if (f->encoding)
            pthread_cond_wait(&f->changed, &f->lock);
        else
            ret = encode(f, index, cancel, err);
    }
    return ret;
}

/* The last window that has a row. */
static size_t window_of(const ls_features *f, size_t row)
{
    const size_t index = row / f->hop;
    return index < f->count ? index : f->count - 1;
}

/* The share that a window has in row `at` of those that it shares with the one before. */
static float share(size_t at)
{
    return (float)(0.5 - 0.5 * cos(M_PI * ((double)at + 0.5) / OVERLAP_ROWS));
}

/* With the lock. Windows are asked for in their order, so that both are held. */
static int read_row(ls_features *f, size_t row, float *dst, const ls_cancel *cancel, ls_error *err)
{
    const size_t index = window_of(f, row), at = row - index * f->hop;
    const float part = index && at < f->overlap ? share(at) : 1;
    const float *rows;
    int ret = 0;
    if (part < 1)
        ret = get_window(f, index - 1, &rows, cancel, err);
    if (!ret && part < 1)
        memcpy(dst, rows + (at + f->hop) * f->row_size, f->row_size * sizeof *dst);
    if (!ret)
        ret = get_window(f, index, &rows, cancel, err);
    if (!ret && part == 1)
        memcpy(dst, rows + at * f->row_size, f->row_size * sizeof *dst);
    for (size_t i = 0; !ret && part < 1 && i < f->row_size; i++)
        dst[i] += part * (rows[at * f->row_size + i] - dst[i]);
    return ret;
}

/* The window after that of a row, when no one needs the one before any more. */
static void want_next(ls_features *f, size_t row)
{
    const size_t index = window_of(f, row), next = index + 1;
    if (row - index * f->hop >= f->hop / 2 && next < f->count && f->windows[0].index != next &&
        f->windows[1].index != next && f->wanted != next) {
        f->wanted = next;
        pthread_cond_broadcast(&f->changed);
    }
}

int ls_features_read(ls_features *f, size_t start, size_t n, float *dst, const ls_cancel *cancel,
                     ls_error *err)
{
    size_t indices[LS_FEATURE_ROWS] = {0};
    int ret = 0;
    pthread_mutex_lock(&f->lock);
    for (size_t i = start; !ret && i < start + n; i++) {
        if (f->clock.row)
            ls_feature_indices_by(i, f->rows, &f->clock, indices);
        else
            ls_feature_indices(i, f->rows, f->fps, indices);
        for (size_t k = 0; !ret && k < LS_FEATURE_ROWS; k++, dst += f->row_size)
            ret = read_row(f, indices[k], dst, cancel, err);
    }
    want_next(f, indices[0]);
    pthread_mutex_unlock(&f->lock);
    return ret;
}

static void *run_ahead(void *opaque)
{
    ls_features *f = opaque;
    const float *window;
    pthread_mutex_lock(&f->lock);
    while (!ls_canceled(&f->closing)) {
        const size_t index = f->wanted;
        if (index == SIZE_MAX) {
            pthread_cond_wait(&f->changed, &f->lock);
            continue;
        }
        get_window(f, index, &window, &f->closing, NULL); // who reads it learns of errors
        if (f->wanted == index)
            f->wanted = SIZE_MAX;
    }
    pthread_mutex_unlock(&f->lock);
    return NULL;
}

int ls_features_read_ahead(ls_features *f, ls_error *err)
{
    if (!f->has_thread && pthread_create(&f->thread, NULL, run_ahead, f))
        return ls_fail(err, LS_ENOMEM, "cannot start a thread");
    f->has_thread = true;
    return 0;
}
