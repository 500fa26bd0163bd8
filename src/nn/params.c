#include "nn/params.h"
#include "base/alloc.h"

#include <stdio.h>
#include <stdlib.h>

typedef struct entry {
    ls_param param;
    ls_weights *weights;
    const ls_weight_info *info;
} entry;

struct ls_params {
    entry **entries;
    size_t count, capacity;
    entry **buckets; /* open addressing, at most half full */
    size_t bucket_count;
    bool bound;
    ls_error err;
};

ls_params *ls_params_new(void)
{
    return ls_calloc_array(1, sizeof(ls_params));
}

void ls_params_free(ls_params **pp)
{
    ls_params *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->count; i++) {
        free((char *)p->entries[i]->param.name);
        free(p->entries[i]);
    }
    free(p->entries);
    free(p->buckets);
    free(p);
    *pp = NULL;
}

int ls_params_error(const ls_params *p, ls_error *err)
{
    if (p->err.code && err)
        *err = p->err;
    return p->err.code;
}

static entry **bucket_of(const ls_params *p, const char *name)
{
    size_t h = 5381;
    for (const char *c = name; *c; c++)
        h = h * 33 ^ (unsigned char)*c;
    entry **b;
    do
        b = &p->buckets[h++ & (p->bucket_count - 1)];
    while (*b && strcmp((*b)->param.name, name));
    return b;
}

static bool reserve(ls_params *p)
{
    if (p->count < p->capacity)
        return true;
    size_t capacity = p->capacity ? p->capacity * 2 : 64;
    entry **entries = realloc(p->entries, capacity * sizeof *entries);
    entry **buckets = ls_calloc_array(capacity * 2, sizeof *buckets);
    if (entries)
        p->entries = entries;
    if (!entries || !buckets) {
        free(buckets);
        return false;
    }
    free(p->buckets);
    p->buckets = buckets;
    p->bucket_count = capacity * 2;
    p->capacity = capacity;
    for (size_t i = 0; i < p->count; i++)
        *bucket_of(p, entries[i]->param.name) = entries[i];
    return true;
}

static int read_param(const ls_param *p, float *dst, ls_error *err)
{
    const entry *e = p->opaque;
    if (!e->info)
        return ls_fail(err, LS_EINVAL, "weight %s is not bound to a file", p->name);
    return ls_weights_read_f32(e->weights, e->info, dst, err);
}

static bool has_shape(const ls_param *p, size_t ndim, const size_t *shape)
{
    return p->ndim == ndim && !memcmp(p->shape, shape, ndim * sizeof *shape);
}

const ls_param *ls_params_get(ls_params *p, size_t ndim, const size_t *shape, const char *name)
{
    if (p->err.code)
        return NULL;
    entry *e = p->count ? *bucket_of(p, name) : NULL;
    if (e) {
        if (has_shape(&e->param, ndim, shape))
            return &e->param;
        ls_fail(&p->err, LS_ESHAPE, "weight %s is requested in two shapes", name);
        return NULL;
    }
    if (p->bound) {
        ls_fail(&p->err, LS_EINVAL, "weight %s is not in the model's table", name);
        return NULL;
    }
    e = reserve(p) ? ls_calloc_array(1, sizeof *e) : NULL;
    char *copy = e ? strdup(name) : NULL;
    if (!copy) {
        free(e);
        ls_fail(&p->err, LS_ENOMEM, "out of memory for the table of weights");
        return NULL;
    }
    e->param = (ls_param){.name = copy, .ndim = ndim, .count = 1, .read = read_param, .opaque = e};
    for (size_t i = 0; i < ndim; i++) {
        e->param.shape[i] = shape[i];
        e->param.count *= shape[i]; // bounded by the configuration's limits
    }
    p->entries[p->count++] = e;
    *bucket_of(p, name) = e;
    return &e->param;
}

int ls_params_formula(ls_weights **out, ls_params **pp, bool low_gain, const char *meta,
                      ls_error *err)
{
    ls_params *p = *pp;
    ls_weight_spec *specs = ls_calloc_array(p->count, sizeof *specs);
    *out = NULL;
    for (size_t i = 0; specs && i < p->count; i++) {
        const ls_param *q = &p->entries[i]->param;
        snprintf(specs[i].name, sizeof specs[i].name, "%s", q->name);
        specs[i].ndim = q->ndim;
        memcpy(specs[i].shape, q->shape, sizeof q->shape);
    }
    int ret = specs ? ls_weights_open_formula(out, specs, p->count, low_gain, meta, err)
                    : ls_fail(err, LS_ENOMEM, "out of memory for the table of weights");
    free(specs);
    ls_params_free(pp);
    return ret;
}

/* A linear weight may be stored as a 1x1 convolution, and the other way round. */
static bool same_but_for_ones(const ls_param *p, const ls_weight_info *info)
{
    size_t i = 0, j = 0;
    while (i < p->ndim || j < info->ndim) {
        if (i < p->ndim && j < info->ndim && p->shape[i] == info->shape[j])
            i++, j++;
        else if (i >= 2 && i < p->ndim && p->shape[i] == 1)
            i++;
        else if (j >= 2 && j < info->ndim && info->shape[j] == 1)
            j++;
        else
            return false;
    }
    return true;
}

static int bind_entry(entry *e, ls_weights *w, const ls_params_rules *rules, ls_error *err)
{
    const ls_param *p = &e->param;
    char buf[256], want[128], found[128];
    ls_shape_text(want, sizeof want, p->shape, p->ndim);
    e->weights = w;
    e->info = ls_weights_find(w, p->name);
    for (size_t k = 0; !e->info && rules && rules->alias; k++) {
        if (!rules->alias(p->name, k, buf, sizeof buf))
            break;
        e->info = ls_weights_find(w, buf);
    }
    if (!e->info)
        return ls_fail(
            err, LS_ENOENT,
            "%s: tensor %s %s is missing; this is not a complete checkpoint of this model",
            ls_weights_path(w), p->name, want);
    if (!same_but_for_ones(p, e->info))
        return ls_fail(err, LS_ESHAPE, "%s: tensor %s has shape %s, expected %s",
                       ls_weights_path(w), e->info->name,
                       ls_shape_text(found, sizeof found, e->info->shape, e->info->ndim), want);
    return 0;
}

static bool is_used(const ls_params *p, const ls_weight_info *t)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->entries[i]->info == t)
            return true;
    return false;
}

int ls_params_bind(ls_params *p, ls_weights *w, const ls_params_rules *rules, ls_error *err)
{
    int ret = ls_params_error(p, err);
    for (size_t i = 0; !ret && i < p->count; i++)
        ret = bind_entry(p->entries[i], w, rules, err);
    for (size_t i = 0; !ret && i < ls_weights_count(w); i++) {
        const ls_weight_info *t = ls_weights_at(w, i);
        char shape[128];
        if (!is_used(p, t) && !(rules && rules->ignore && rules->ignore(t->name)))
            ret = ls_fail(err, LS_ESHAPE,
                          "%s: tensor %s %s is not part of this model; is it another model's file?",
                          ls_weights_path(w), t->name,
                          ls_shape_text(shape, sizeof shape, t->shape, t->ndim));
    }
    p->bound = !ret;
    return ret;
}
