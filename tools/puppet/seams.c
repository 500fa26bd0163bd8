/* seams SPEECH [MODELS]: what the ends of Whisper's windows do to the features. The change from row
 * to row of 20 ms, relative to its median: at each cut of the original's windows, and the largest
 * from 3 s before to 1 s after; the last column is the 99th percentile of all. Once with the
 * windows side by side, once overlapping. MODELS: models/mini, or "tiny": the published encoder's
 * structure with test weights. */
#include "media/pcm.h"
#include "base/alloc.h"
#include "models/models.h"
#include "models/whisper/features.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_ROWS = 1500, BEFORE = 3 * LS_FEATURE_RATE, AFTER = LS_FEATURE_RATE };

static int read_pcm(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    return ls_pcm_read(opaque, start, n, dst, err);
}

static int open_tiny(ls_whisper **w, const ls_compute *compute, ls_error *err)
{
    const ls_whisper_config c = ls_whisper_config_tiny();
    ls_params *table;
    ls_weights *weights;
    int ret = ls_whisper_table(&table, &c, err);
    if (!ret)
        ret = ls_params_formula(&weights, &table, false, NULL, err);
    return ret ? ret : ls_whisper_open(w, &weights, &c, compute, err);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* changes[r]: from row r - 1 to r. A frame of 50/s has its own row in place 4 of 10. */
static int find_changes(ls_features *f, size_t rows, size_t row_size, double *changes,
                        ls_error *err)
{
    float *block = ls_malloc_array(LS_FEATURE_ROWS * row_size, sizeof *block);
    int ret = block ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t r = 1; !ret && r < rows; r++) {
        double sum = 0;
        ret = ls_features_read(f, r, 1, block, NULL, err);
        for (size_t i = 0; !ret && i < row_size; i++) {
            const double d = block[4 * row_size + i] - block[3 * row_size + i];
            sum += d * d;
        }
        changes[r] = sqrt(sum);
    }
    free(block);
    return ret;
}

static int show(ls_whisper *w, ls_log_mel *mel, bool overlap, ls_error *err)
{
    const ls_whisper_config *c = ls_whisper_get_config(w);
    const size_t rows = ls_feature_rows(ls_log_mel_frames(mel)),
                 row_size = (c->n_audio_layer + 1) * c->n_audio_state;
    double *changes = ls_calloc_array(2 * rows, sizeof *changes), *sorted = changes + rows;
    ls_features *f = NULL;
    int ret = changes ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = ls_features_open(
            &f, w, mel, &(ls_feature_settings){.fps = LS_FEATURE_RATE, .overlap = overlap}, err);
    if (!ret)
        ret = find_changes(f, rows, row_size, changes, err);
    if (!ret) {
        memcpy(sorted, changes, rows * sizeof *changes);
        qsort(sorted, rows, sizeof *sorted, ascending);
        printf("| %s |", overlap ? "overlap" : "exact");
        for (size_t cut = WINDOW_ROWS; cut + AFTER < rows; cut += WINDOW_ROWS) {
            double largest = 0;
            for (size_t r = cut - BEFORE; r < cut + AFTER; r++)
                largest = fmax(largest, changes[r]);
            printf(" %.2f, %.2f |", changes[cut] / sorted[rows / 2], largest / sorted[rows / 2]);
        }
        printf(" %.2f |\n", sorted[rows * 99 / 100] / sorted[rows / 2]);
    }
    ls_features_close(&f);
    free(changes);
    return ret;
}

int main(int argc, char **argv)
{
    const bool tiny = argc > 2 && !strcmp(argv[2], "tiny");
    const char *dir = argc > 2 ? argv[2] : "models/mini";
    ls_error err = {0};
    ls_pcm *pcm = NULL;
    ls_log_mel *mel = NULL;
    ls_models m = {0};
    ls_whisper *w = NULL;
    ls_workspace workspace;
    if (argc < 2)
        return 2;
    int ret = ls_pcm_open(&pcm, &(ls_sound_settings){.path = argv[1], .stream = -1}, "/tmp", &err);
    const ls_pcm_source sound = {pcm ? ls_pcm_samples(pcm) : 0, read_pcm, pcm};
    if (!ret)
        ret = ls_log_mel_open(&mel, &sound, NULL, &err);
    if (!ret && tiny)
        ret = ls_workspace_open(&workspace, "onednn", 0, &err);
    if (!ret && tiny)
        ret = open_tiny(&w, &(ls_compute){&workspace, LS_F32}, &err);
    else if (!ret)
        ret = ls_models_open(&m, dir, &(ls_devices){"onednn", "onednn", "onednn", LS_F32, 0}, &err);
    for (int overlap = 0; !ret && overlap < 2; overlap++)
        ret = show(tiny ? w : m.whisper, mel, overlap, &err);
    if (ret)
        fprintf(stderr, "seams: %s\n", err.message);
    return ret ? 1 : 0;
}
