#include "weights/internal.h"
#include "base/alloc.h"

#include <math.h>

static uint64_t fnv1a64(const char *name)
{
    uint64_t h = 0xcbf29ce484222325;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3;
    return h;
}

void ls_formula_fill(const char *name, size_t n, double scale, double offset, float *dst)
{
    uint64_t h = fnv1a64(name);
#pragma omp parallel for schedule(static) if (n > 100000)
    for (size_t i = 0; i < n; i++) {
        uint64_t z = h + (uint64_t)(i + 1) * 0x9E3779B97F4A7C15;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
        z = (z ^ z >> 27) * 0x94D049BB133111EB;
        z ^= z >> 31;
        double u = (double)(int32_t)(z >> 40) * 0x1p-24;
        dst[i] = (float)((2 * u - 1) * scale + offset);
    }
}

static bool ends_with(const char *s, const char *tail)
{
    size_t n = strlen(s), m = strlen(tail);
    return n >= m && !strcmp(s + n - m, tail);
}

/* The positional encoding of the motion modules, rounded in the same places as the original's. */
static void fill_sinusoid(size_t count, size_t channels, float *dst)
{
    float step = (float)(-log(10000.0) / (double)channels);
    for (size_t i = 0; i < count; i++) {
        size_t c = i % channels;
        float angle = (float)(i / channels) * expf((float)(c & ~(size_t)1) * step);
        dst[i] = c & 1 ? cosf(angle) : sinf(angle);
    }
}

void ls_formula_tensor(const ls_weight_info *t, bool low_gain, float *dst)
{
    if (t->ndim && ends_with(t->name, "pos_encoder.pe")) {
        fill_sinusoid(t->count, t->shape[t->ndim - 1], dst);
        return;
    }
    double scale = low_gain ? 0.0005 : 0.05, offset = 0;
    if (t->ndim >= 2) {
        scale = sqrt(3.0 / ((double)t->count / (double)t->shape[0])) * (low_gain ? 0.003 : 1);
    } else if (t->ndim == 1 &&
               (ends_with(t->name, ".weight") || ends_with(t->name, ".running_var"))) {
        scale = 0.1;
        offset = 1;
    }
    ls_formula_fill(t->name, t->count, scale, offset, dst);
}

/* Flattens nested objects; keys are their paths, joined by ".". */
static int add_meta(json_t *meta, const char *path, json_t *v, ls_error *err)
{
    if (!json_is_object(v))
        return json_is_number(v) || json_is_string(v)
                   ? (json_object_set(meta, path, v) ? ls_fail(err, LS_ENOMEM, "out of memory") : 0)
                   : ls_fail(err, LS_EINVAL,
                             "metadata %s: neither a number, a string nor an object", path);
    const char *key;
    json_t *item;
    json_object_foreach(v, key, item)
    {
        char below[512];
        if (snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "", key) >=
            (int)sizeof below)
            return ls_fail(err, LS_EINVAL, "metadata %s: the path is too long", path);
        int ret = add_meta(meta, below, item, err);
        if (ret)
            return ret;
    }
    return 0;
}

int ls_weights_open_formula(ls_weights **out, const ls_weight_spec *specs, size_t count,
                            bool low_gain, const char *meta, ls_error *err)
{
    *out = NULL;
    ls_weights *w = ls_weights_new("formula weights");
    if (!w)
        return ls_fail(err, LS_ENOMEM, "out of memory for formula weights");
    w->formula = true;
    w->low_gain = low_gain;
    int ret = 0;
    for (size_t i = 0; i < count && !ret; i++) {
        ls_weight_entry e = {.info = {.dtype = LS_F32, .ndim = specs[i].ndim}};
        if (specs[i].ndim > sizeof specs[i].shape / sizeof *specs[i].shape)
            ret = ls_fail(err, LS_EINVAL, "%s: %zu dimensions", specs[i].name, specs[i].ndim);
        else {
            memcpy(e.info.shape, specs[i].shape, specs[i].ndim * sizeof *specs[i].shape);
            ls_contiguous(&e);
            ret = ls_weights_add(w, &e, specs[i].name, strlen(specs[i].name), err);
        }
    }
    json_error_t why;
    json_t *object = meta ? json_loads(meta, JSON_REJECT_DUPLICATES, &why) : json_object();
    if (!ret && !json_is_object(object))
        ret = ls_fail(err, LS_EINVAL, "metadata: %s", object ? "not an object" : why.text);
    if (!ret)
        ret = add_meta(w->meta, "", object, err);
    json_decref(object);
    if (!ret)
        ret = ls_weights_index(w, err);
    if (ret)
        ls_weights_close(&w);
    *out = w;
    return ret;
}
