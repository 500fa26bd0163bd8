#include "golden_file.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

int golden_input_read(golden_input *in, const golden_file *g, const char *key, ls_error *err)
{
    const char *text = ls_weights_meta_text(g->w, key);
    const char *open = text ? strchr(text, '[') : NULL;
    *in = (golden_input){.count = 1, .scale = sqrt(3)};
    if (!open || sscanf(text, "%63s", in->name) != 1)
        return ls_fail(err, LS_EFORMAT, "%s: the metadata has no input \"%s\"", g->path, key);
    in->name[strcspn(in->name, "[")] = 0;
    for (const char *p = open + 1; *p && *p != ']'; p += strcspn(p, ",]"), p += *p == ',') {
        if (in->ndim == LS_MAX_DIMS || sscanf(p, "%zu", &in->shape[in->ndim]) != 1 ||
            !ls_mul_size(in->count, in->shape[in->ndim], &in->count))
            return ls_fail(err, LS_EFORMAT, "%s: cannot read the shape in \"%s\"", g->path, text);
        in->ndim++;
    }
    const char *scale = strstr(open, "scale ");
    if (scale && !strstr(open, "no scal"))
        sscanf(scale + 6, "%lf", &in->scale);
    if (in->count > ((size_t)1 << 31) || !(in->data = ls_malloc_array(in->count, sizeof(float))))
        return ls_fail(err, LS_ENOMEM, "%s: input %s is too large", g->path, in->name);
    ls_formula_fill(in->name, in->count, in->scale, 0, in->data);
    if (strstr(open, "first f rows set to 0"))
        memset(in->data, 0, in->count / 2 * sizeof(float));
    return 0;
}

void golden_input_free(golden_input *in)
{
    free(in->data);
    in->data = NULL;
}

int golden_compare_part(golden_file *g, const ls_weight_info *t, size_t start, size_t count,
                        const float *values, ls_error *err)
{
    float *want = ls_malloc_array(t->count, sizeof *want);
    if (!want)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    int ret = ls_weights_read_f32(g->w, t, want, err);
    double diff = 0, norm = 0, max = 0;
    for (size_t i = 0; !ret && i < count; i++) {
        double d = (double)values[i] - want[start + i];
        diff += d * d;
        norm += (double)want[start + i] * want[start + i];
        max = fmax(max, isnan(d) ? INFINITY : fabs(d));
    }
    free(want);
    if (ret)
        return ret;
    double error = norm > 0 ? sqrt(diff / norm) : sqrt(diff);
    bool ok = error <= g->tolerance; // false for NaN
    g->compared++;
    g->failed += !ok;
    char name[LS_NAME_MAX];
    const char *base = strrchr(g->path, '/');
    if (count < t->count)
        snprintf(name, sizeof name, "%s[%zu]", t->name, start / count);
    else
        snprintf(name, sizeof name, "%s", t->name);
    printf("%-44s %-34s %.2e  max %.2e  %s\n", base ? base + 1 : g->path, name, error, max,
           ok ? "ok" : "FAILED");
    return 0;
}

int golden_compare(golden_file *g, const ls_weight_info *t, const float *values, ls_error *err)
{
    return golden_compare_part(g, t, 0, t->count, values, err);
}

bool golden_has_more_than(const golden_file *g, const char *const *outputs)
{
    for (size_t i = 0; i < ls_weights_count(g->w); i++) {
        const char *const *o = outputs;
        while (*o && strcmp(*o, ls_weights_at(g->w, i)->name))
            o++;
        if (!*o)
            return true;
    }
    return false;
}

void channels_last(float *dst, const float *src, size_t batch, size_t frames, size_t c, size_t hw)
{
    for (size_t b = 0; b < batch; b++)
        for (size_t i = 0; i < c; i++)
            for (size_t f = 0; f < frames; f++)
                for (size_t p = 0; p < hw; p++)
                    dst[((b * frames + f) * hw + p) * c + i] =
                        src[((b * c + i) * frames + f) * hw + p];
}

void channels_first(float *dst, const float *src, size_t batch, size_t frames, size_t c, size_t hw)
{
    for (size_t b = 0; b < batch; b++)
        for (size_t i = 0; i < c; i++)
            for (size_t f = 0; f < frames; f++)
                for (size_t p = 0; p < hw; p++)
                    dst[((b * c + i) * frames + f) * hw + p] =
                        src[((b * frames + f) * hw + p) * c + i];
}

/* A tensor of a run in the order of the golden one: 5-D is b c f h w, 4-D n c h w, 3-D and less are
 * channels-last already; a single row stands for every batch row. */
static int reorder(float *dst, const float *src, const ls_tensor *x, const ls_weight_info *t,
                   size_t batch, ls_error *err)
{
    size_t c = x->shape[x->ndim - 1];
    bool ok = true;
    if (t->ndim == 5 || t->ndim == 4) {
        size_t frames = t->ndim == 5 ? t->shape[2] : 1, n = t->shape[0];
        ok = t->count == x->count && t->shape[1] == c && x->shape[0] == n * frames;
        if (ok)
            channels_first(dst, src, n, frames, c, x->count / x->shape[0] / c);
    } else if (t->count == x->count) {
        memcpy(dst, src, t->count * sizeof *dst);
    } else {
        ok = t->ndim == 2 && t->shape[0] == batch && t->shape[1] == x->count;
        for (size_t b = 0; ok && b < batch; b++)
            memcpy(dst + b * x->count, src, x->count * sizeof *dst);
    }
    char a[128], b[128];
    return ok ? 0
              : ls_fail(err, LS_ESHAPE, "%s has shape %s here and %s in the file", t->name,
                        ls_shape_text(a, sizeof a, x->shape, x->ndim),
                        ls_shape_text(b, sizeof b, t->shape, t->ndim));
}

static int compare_tap(golden_file *g, const ls_weight_info *t, const ls_tensor *x,
                       const void *data, size_t batch, ls_error *err)
{
    size_t n = x->count > t->count ? x->count : t->count;
    float *values = ls_malloc_array(n, sizeof *values),
          *ordered = ls_malloc_array(n, sizeof *values);
    int ret = values && ordered ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ls_convert_to_f32(values, data, x->dtype, x->count);
        ret = reorder(ordered, values, x, t, batch, err);
    }
    if (!ret)
        ret = golden_compare(g, t, ordered, err);
    free(values);
    free(ordered);
    return ret;
}

/* Inputs that a run expects on the device are taken there. */
static int run(ls_plan *plan, ls_workspace *ws, ls_binding *b, size_t inputs, size_t count,
               ls_error *err)
{
    ls_device *dev = ws->device;
    void **copy = ls_calloc_array(inputs, sizeof *copy);
    int ret = copy ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    for (size_t i = 0; !ret && i < inputs; i++) {
        const ls_tensor *t = ls_graph_find(ls_plan_graph(plan), b[i].name, NULL);
        if (!t || !t->resident)
            continue;
        ret = dev->vtable->alloc(dev, b[i].bytes, &copy[i], err);
        if (!ret)
            ret = dev->vtable->write(dev, copy[i], b[i].data, b[i].bytes, err);
        b[i].data = copy[i];
    }
    if (!ret)
        ret = ls_plan_run(plan, ws->data, b, count, NULL, err);
    for (size_t i = 0; copy && i < inputs; i++)
        dev->vtable->release(dev, copy[i]);
    free(copy);
    return ret;
}

int golden_run(golden_file *g, ls_plan *plan, ls_workspace *ws, const ls_binding *inputs,
               size_t count, size_t batch,
               bool (*tap_name)(const char *golden, char *buf, size_t size), ls_error *err)
{
    size_t tensors = ls_weights_count(g->w), n = count;
    ls_binding *bindings = ls_calloc_array(count + tensors, sizeof *bindings);
    const ls_weight_info **source = ls_calloc_array(count + tensors, sizeof *source);
    char(*names)[LS_NAME_MAX] = ls_calloc_array(tensors, sizeof *names);
    int ret = bindings && source && names ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        memcpy(bindings, inputs, count * sizeof *inputs);
    for (size_t i = 0; !ret && i < tensors; i++) {
        const ls_weight_info *t = ls_weights_at(g->w, i);
        if (!tap_name(t->name, names[i], sizeof names[i]))
            continue;
        const ls_tensor *x = ls_graph_find(ls_plan_graph(plan), names[i], NULL);
        if (!x) {
            ret = ls_fail(err, LS_ENOENT, "%s: the network has no tensor %s (for %s)", g->path,
                          names[i], t->name);
            break;
        }
        bindings[n] = (ls_binding){names[i], malloc(ls_tensor_bytes(x)), ls_tensor_bytes(x)};
        source[n++] = t;
    }
    if (!ret)
        ret = run(plan, ws, bindings, count, n, err);
    for (size_t i = count; !ret && i < n; i++)
        ret = compare_tap(g, source[i], ls_graph_find(ls_plan_graph(plan), bindings[i].name, NULL),
                          bindings[i].data, batch, err);
    for (size_t i = count; i < n; i++)
        free(bindings[i].data);
    free(bindings);
    free(source);
    free(names);
    return ret;
}
