#include "golden_file.h"
#include "base/alloc.h"
#include "models/whisper/features.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_ROWS 4096

/* The recording that a file was made from. */
typedef struct recording {
    int16_t *pcm;
    size_t samples;
} recording;

static int read_pcm(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    const recording *r = opaque;
    if (start + n > r->samples)
        return ls_fail(err, LS_EINVAL, "samples past the end were asked for");
    memcpy(dst, r->pcm + start, n * sizeof *dst);
    return 0;
}

/* Noise through a short filter, louder and louder in steps, with a silence (docs/MODEL.md). */
static int generate(recording *r, const char *name, size_t samples, ls_error *err)
{
    float *v = ls_malloc_array(samples, sizeof *v);
    r->pcm = ls_malloc_array(samples, sizeof *r->pcm);
    r->samples = samples;
    if (!v || !r->pcm) {
        free(v);
        return ls_fail(err, LS_ENOMEM, "out of memory");
    }
    ls_formula_fill(name, samples, 12000, 0, v);
    for (size_t i = 0; i < samples; i++) {
        double y = 0;
        for (size_t k = 0; k < 4 && k <= i; k++)
            y += v[i - k];
        y = y / 4 * (double)(1 + i / 4000 % 8) / 8;
        r->pcm[i] = i >= 8000 && i < 12000 ? 0 : (int16_t)y;
    }
    free(v);
    return 0;
}

/* "pcm" of the file, or of whisper_mel_short beside it, or the generator's. */
static int load_recording(recording *r, const golden_file *g, ls_error *err)
{
    const char *pcm = ls_weights_meta_text(g->w, "pcm");
    char name[64];
    size_t samples;
    if (pcm && sscanf(pcm, "%*[^(]('%63[^']', %zu)", name, &samples) == 2 && samples < (1u << 30))
        return generate(r, name, samples, err);
    char path[1024];
    const char *slash = strrchr(g->path, '/');
    snprintf(path, sizeof path, "%.*swhisper_mel_short.safetensors",
             slash ? (int)(slash - g->path + 1) : 0, g->path);
    ls_weights *w;
    int ret = ls_weights_open(&w, path, err);
    if (ret)
        return ret;
    const ls_weight_info *t = ls_weights_find(w, "pcm");
    r->pcm = t && t->dtype == LS_I16 ? ls_malloc_array(t->count, 2) : NULL;
    ret =
        r->pcm ? ls_weights_read(w, t, r->pcm, err) : ls_fail(err, LS_EFORMAT, "%s: no pcm", path);
    r->samples = r->pcm ? t->count : 0;
    ls_weights_close(&w);
    return ret;
}

static int open_whisper(ls_whisper **m, const golden_file *g, const ls_compute *compute,
                        ls_error *err)
{
    ls_whisper_config c = ls_whisper_config_tiny();
    if (g->config) {
        c.n_audio_state = (size_t)json_integer_value(json_object_get(g->config, "n_audio_state"));
        c.n_audio_head = (size_t)json_integer_value(json_object_get(g->config, "n_audio_head"));
        c.n_audio_layer = (size_t)json_integer_value(json_object_get(g->config, "n_audio_layer"));
        if (!c.n_audio_head || !c.n_audio_state || c.n_audio_layer > LS_WHISPER_MAX_LAYERS)
            return ls_fail(err, LS_EFORMAT, "%s: dims are not as expected", g->path);
    }
    ls_params *table;
    ls_weights *w;
    int ret = ls_whisper_table(&table, &c, err);
    if (!ret)
        ret = ls_params_formula(&w, &table, g->low_gain, NULL, err);
    return ret ? ret : ls_whisper_open(m, &w, &c, compute, err);
}

/* `rows` of a [time, size] array against a tensor of the file. */
static int compare_rows(golden_file *g, const char *name, const float *data, size_t size,
                        const size_t *rows, size_t count, ls_error *err)
{
    const ls_weight_info *t = ls_weights_find(g->w, name);
    if (!t)
        return 0;
    if (t->count != count * size)
        return ls_fail(err, LS_ESHAPE, "%s: %s has another shape here", g->path, name);
    float *part = ls_malloc_array(t->count, sizeof *part);
    if (!part)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        memcpy(part + i * size, data + rows[i] * size, size * sizeof *part);
    int ret = golden_compare(g, t, part, err);
    free(part);
    return ret;
}

/* Row numbers listed in the file, or 0, 1, .. as many as `like` has. */
static int row_list(const golden_file *g, const char *name, const char *like, size_t *rows,
                    size_t *count, ls_error *err)
{
    const ls_weight_info *t = ls_weights_find(g->w, name), *l = ls_weights_find(g->w, like);
    int64_t list[MAX_ROWS];
    *count = t ? t->count : l ? l->shape[0] : 0;
    if (*count > MAX_ROWS || (t && t->dtype != LS_I64))
        return ls_fail(err, LS_EFORMAT, "%s: %s is not a list of rows", g->path, name);
    int ret = t ? ls_weights_read(g->w, t, list, err) : 0;
    for (size_t i = 0; !ret && i < *count; i++)
        rows[i] = t ? (size_t)list[i] : i;
    return ret;
}

/* One window of 30 s through the network, with its taps. */
static int check_window(golden_file *g, ls_whisper *m, const ls_compute *compute, const float *mel,
                        ls_error *err)
{
    static const char *const taps[][2] = {
        {"conv1", "encoder.conv1"},
        {"conv2", "encoder.conv2"},
        {"block0.attn_ln", "encoder.blocks.0.attn_ln"},
        {"block0.attn", "encoder.blocks.0.attn.out"},
        {"block0.mlp", "encoder.blocks.0.mlp.2"},
        {"block0", "encoder.blocks.0"},
        {"block3", "encoder.blocks.3"},
        {"ln_post", "encoder.ln_post"},
    };
    enum { TAPS = sizeof taps / sizeof *taps };
    const ls_whisper_config *c = ls_whisper_get_config(m);
    size_t t = c->n_audio_ctx, d = c->n_audio_state, layers = c->n_audio_layer + 1, n = 0, count;
    size_t rows[MAX_ROWS];
    float *buf = ls_malloc_array(t * d * (2 * TAPS + 2 * layers), sizeof *buf), *at = buf;
    ls_binding b[TAPS + LS_WHISPER_MAX_LAYERS + 3];
    char names[LS_WHISPER_MAX_LAYERS + 1][32];
    ls_plan *plan;
    int ret = buf ? row_list(g, "rows", "emb", rows, &count, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = ls_whisper_prepare(m, true, &plan, err);
    if (ret) {
        free(buf);
        return ret;
    }
    b[n++] = (ls_binding){"mel", (void *)mel, 2 * t * c->n_mels * sizeof *mel};
    b[n++] = (ls_binding){"positional_embedding", (void *)ls_whisper_positions(m), t * d * 4};
    for (size_t i = 0; i < layers; i++, at += t * d) {
        snprintf(names[i], sizeof names[i], "embedding.%zu", i);
        b[n++] = (ls_binding){names[i], at, t * d * sizeof *at};
    }
    float *stacked = at;
    at += layers * t * d;
    for (size_t i = 0; i < TAPS; i++) {
        const ls_tensor *x = ls_graph_find(ls_plan_graph(plan), taps[i][1], NULL);
        if (!x || !ls_weights_find(g->w, taps[i][0]))
            continue;
        b[n++] = (ls_binding){taps[i][1], at, ls_tensor_bytes(x)};
        at += 2 * t * d;
    }
    ret = ls_plan_run(plan, compute->workspace->data, b, n, NULL, err);
    for (size_t p = 0; p < t; p++)
        for (size_t i = 0; i < layers; i++)
            memcpy(stacked + (p * layers + i) * d, buf + (i * t + p) * d, d * sizeof *buf);
    if (!ret)
        ret = compare_rows(g, "emb", stacked, layers * d, rows, count, err);
    for (size_t i = 2 + layers; !ret && i < n; i++) {
        const ls_tensor *x = ls_graph_find(ls_plan_graph(plan), b[i].name, NULL);
        ls_convert_to_f32(stacked, b[i].data, x->dtype, x->count);
        for (size_t k = 0; k < TAPS; k++)
            if (!ret && !strcmp(taps[k][1], b[i].name))
                ret = compare_rows(g, taps[k][0], stacked, d, rows, count, err);
    }
    free(buf);
    return ret;
}

/* Rows of 20 ms over the whole recording, taken from the frames' blocks: the first row of frame i
 * is row 2i - 4, so frame i + 2 gives row 2i and, after it, row 2i + 1. */
static int all_rows(ls_features *f, size_t rows, size_t row_size, float *dst, ls_error *err)
{
    float *block = ls_malloc_array(LS_FEATURE_ROWS * row_size, sizeof *block);
    int ret = block ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t r = 0; !ret && r < rows; r += 2) {
        ret = ls_features_read(f, r / 2 + 2, 1, block, NULL, err);
        if (!ret)
            memcpy(dst + r * row_size, block, (rows - r > 1 ? 2 : 1) * row_size * sizeof *dst);
    }
    free(block);
    return ret;
}

static int check_chunks(golden_file *g, ls_features *f, size_t rows, size_t tokens, size_t dim,
                        ls_error *err)
{
    const ls_weight_info *idx = ls_weights_find(g->w, "chunk_idx");
    size_t frames = ls_features_frames(f), size = tokens * dim;
    if (idx && idx->shape[0] != frames)
        return ls_fail(err, LS_ESHAPE, "%s: %zu frames here, %zu in the file", g->path, frames,
                       idx->shape[0]);
    float *block = ls_malloc_array(size + frames * LS_FEATURE_ROWS, sizeof *block);
    int ret = block ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && idx && i < frames; i++) {
        size_t indices[LS_FEATURE_ROWS];
        ls_feature_indices(i, rows, 25, indices);
        for (size_t k = 0; k < LS_FEATURE_ROWS; k++)
            block[size + i * LS_FEATURE_ROWS + k] = (float)indices[k];
    }
    if (!ret && idx)
        ret = golden_compare(g, idx, block + size, err);
    for (size_t i = 0; !ret && i < ls_weights_count(g->w); i++) {
        const ls_weight_info *t = ls_weights_at(g->w, i);
        size_t frame = frames - 1;
        if (strcmp(t->name, "chunk_last") && sscanf(t->name, "chunk%zu", &frame) != 1)
            continue;
        ret = ls_features_read(f, frame, 1, block, NULL, err);
        if (!ret)
            ret = golden_compare(g, t, block, err);
    }
    free(block);
    return ret;
}

static int check_features(golden_file *g, ls_whisper *m, ls_log_mel *mel, ls_error *err)
{
    const ls_whisper_config *c = ls_whisper_get_config(m);
    size_t rows = ls_feature_rows(ls_log_mel_frames(mel)), listed[MAX_ROWS], count = 0;
    size_t row_size = (c->n_audio_layer + 1) * c->n_audio_state;
    ls_features *f = NULL;
    float *all = ls_malloc_array(rows * row_size, sizeof *all);
    int ret = all ? ls_features_open(&f, m, mel, &(ls_feature_settings){.fps = 25}, err)
                  : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = all_rows(f, rows, row_size, all, err);
    const ls_weight_info *t = ls_weights_find(g->w, "features");
    if (!ret && t && t->count != rows * row_size)
        ret = ls_fail(err, LS_ESHAPE, "%s: %zu rows of features here", g->path, rows);
    if (!ret && t)
        ret = golden_compare(g, t, all, err);
    if (!ret && ls_weights_find(g->w, "feat_rows"))
        ret = row_list(g, "rows", "feat_rows", listed, &count, err);
    if (!ret && count)
        ret = compare_rows(g, "feat_rows", all, row_size, listed, count, err);
    if (!ret)
        ret = check_chunks(g, f, rows, ls_feature_tokens(m), c->n_audio_state, err);
    free(all);
    ls_features_close(&f);
    return ret;
}

/* "mel": [80, T] whole, or [cols, 80] at mel_cols. */
static int check_mel(golden_file *g, ls_log_mel *mel, ls_error *err)
{
    const ls_weight_info *t = ls_weights_find(g->w, "mel");
    if (!t)
        return 0;
    size_t n = ls_log_mel_frames(mel), cols[MAX_ROWS], count = 0;
    float *x = ls_malloc_array(2 * n * LS_MEL_BANDS, sizeof *x), *turned = x + n * LS_MEL_BANDS;
    int ret = x ? ls_log_mel_read(mel, 0, n, x, err) : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && ls_weights_find(g->w, "mel_cols")) {
        ret = row_list(g, "mel_cols", "mel", cols, &count, err);
        if (!ret)
            ret = compare_rows(g, "mel", x, LS_MEL_BANDS, cols, count, err);
    } else if (!ret && t->count == n * LS_MEL_BANDS) {
        channels_first(turned, x, 1, 1, LS_MEL_BANDS, n);
        ret = golden_compare(g, t, turned, err);
    } else if (!ret) {
        ret = ls_fail(err, LS_ESHAPE, "%s: %zu mel frames here", g->path, n);
    }
    free(x);
    return ret;
}

int parity_whisper(golden_file *g, const ls_compute *compute, ls_error *err)
{
    recording r = {0};
    ls_whisper *m = NULL;
    ls_log_mel *mel = NULL;
    golden_input in = {0};
    float *window = ls_calloc_array(3000 * LS_MEL_BANDS, sizeof *window);
    bool whole = ls_weights_find(g->w, "features") || ls_weights_find(g->w, "feat_rows") ||
                 ls_weights_find(g->w, "chunk_idx");
    const char *input = ls_weights_meta_text(g->w, "input");
    bool given = input && strstr(input, "input.mel");
    int ret = window ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && (whole || ls_weights_find(g->w, "emb")))
        ret = open_whisper(&m, g, compute, err);
    if (!ret && given) {
        ret = golden_input_read(&in, g, "input", err);
        if (!ret && in.count == 3000 * LS_MEL_BANDS)
            channels_last(window, in.data, 1, 1, LS_MEL_BANDS, 3000);
    } else if (!ret) {
        ret = load_recording(&r, g, err);
        if (!ret)
            ret = ls_log_mel_open(&mel, &(ls_pcm_source){r.samples, read_pcm, &r}, NULL, err);
        if (!ret)
            ret = ls_log_mel_read(mel, 0, 3000, window, err);
        if (!ret)
            ret = check_mel(g, mel, err);
    }
    if (!ret && ls_weights_find(g->w, "emb"))
        ret = check_window(g, m, compute, window, err);
    if (!ret && whole)
        ret = check_features(g, m, mel, err);
    golden_input_free(&in);
    ls_log_mel_close(&mel);
    ls_whisper_close(&m);
    free(window);
    free(r.pcm);
    return ret;
}
