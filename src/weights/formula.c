#include "weights/file.h"
#include "base/alloc.h"

#include <math.h>
#include <stdlib.h>

#define PARALLEL_FROM ((size_t)1 << 16)

/* FNV-1a of the name starts a splitmix64 stream. */
void ls_formula_fill(const char *name, size_t n, double scale, double offset, float *dst)
{
    uint64_t h = 0xcbf29ce484222325;
    for (const char *c = name; *c; c++)
        h = (h ^ (unsigned char)*c) * 0x100000001b3;
#pragma omp parallel for simd if (n >= PARALLEL_FROM)
    for (size_t i = 0; i < n; i++) {
        uint64_t z = h + (uint64_t)(i + 1) * 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        z ^= z >> 31;
        double u = (double)(int64_t)(z >> 40) * 0x1p-24;
        dst[i] = (float)((2 * u - 1) * scale + offset);
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* The original's PositionalEncoding: sines at even, cosines at odd places. */
static void sinusoid(float *dst, size_t rows, size_t c)
{
    for (size_t k = 0; k < c; k += 2) {
        float freq = expf((float)k * (float)(-log(10000.0) / (double)c));
        for (size_t p = 0; p < rows; p++) {
            dst[p * c + k] = sinf((float)p * freq);
            if (k + 1 < c)
                dst[p * c + k + 1] = cosf((float)p * freq);
        }
    }
}

void ls_formula_read(const ls_weights *w, const ls_weight_info *t, float *dst)
{
    if (ends_with(t->name, "pos_encoder.pe") && t->ndim == 3)
        sinusoid(dst, t->shape[1], t->shape[2]);
    else if (t->ndim >= 2)
        ls_formula_fill(
            t->name, t->count,
            sqrt(3 / ((double)t->count / (double)t->shape[0])) * (w->low_gain ? 0.003 : 1), 0, dst);
    else if (ends_with(t->name, ".weight"))
        ls_formula_fill(t->name, t->count, 0.1, 1, dst);
    else
        ls_formula_fill(t->name, t->count, w->low_gain ? 0.0005 : 0.05, 0, dst);
}

/* {"a": {"b": 1}} as {"a.b": 1}. */
static int flatten(json_t *flat, const json_t *j, const char *prefix, int depth)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)j, key, v)
    {
        char path[256];
        if (snprintf(path, sizeof path, "%s%s%s", prefix, *prefix ? "." : "", key) >=
            (int)sizeof path)
            return -1;
        if (depth < 8 && json_is_object(v) ? flatten(flat, v, path, depth + 1)
                                           : json_object_set(flat, path, v))
            return -1;
    }
    return 0;
}

int ls_weights_open_formula(ls_weights **out, const ls_weight_spec *specs, size_t count,
                            bool low_gain, const char *meta, ls_error *err)
{
    ls_weights *w = ls_calloc_array(1, sizeof *w);
    json_t *given = meta ? json_loads(meta, 0, NULL) : json_object();
    int ret = 0;
    *out = NULL;
    if (!w || !(w->path = strdup("formula weights")) || !(w->meta = json_object()) ||
        !json_is_object(given) || flatten(w->meta, given, "", 0))
        ret = ls_fail(err, LS_ENOMEM, "out of memory, or metadata that is not a JSON object");
    json_decref(given);
    for (size_t i = 0; !ret && i < count; i++)
        ret = ls_weights_add(w, specs[i].name, LS_F32, specs[i].ndim, specs[i].shape, 0, NULL, 0, 0,
                             err);
    if (!ret) {
        w->formula = true;
        w->low_gain = low_gain;
        ret = ls_weights_seal(w, err);
    }
    if (ret)
        ls_weights_close(&w);
    *out = w;
    return ret;
}
