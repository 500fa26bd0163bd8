/* Weights in the layouts of primitives: each is packed once for all plans of a network. */
#include "backend/onednn/onednn.h"

#include <math.h>
#include <stdlib.h>

const packed_weight *ls_onednn_packed(const onednn_store *st, const ls_param *p, ls_const_md like,
                                      dnnl_data_type_t t)
{
    const ls_md_shape want = ls_md_shape_of(like);
    for (const ls_packed *at = st->base.packed; at; at = at->next) {
        const packed_weight *w = (const packed_weight *)at;
        const ls_md_shape have = ls_md_shape_of(w->md);
        if (w->param == p && have.type == t && have.ndims == want.ndims &&
            !memcmp(have.dims, want.dims, (size_t)want.ndims * sizeof *want.dims))
            return w;
    }
    return NULL;
}

/* `p` in the layout `md`, or in one that can st reordered to it. */
static const packed_weight *find(const onednn_store *st, const ls_param *p, ls_const_md md)
{
    for (const ls_packed *at = st->base.packed; at; at = at->next) {
        const packed_weight *w = (const packed_weight *)at;
        if (w->param == p && dnnl_memory_desc_equal(w->md, md))
            return w;
    }
    const packed_weight *w = ls_onednn_packed(st, p, md, ls_md_shape_of(md).type);
    return w && !w->scale && ls_md_can_reorder(w->md) && ls_md_can_reorder(md) ? w : NULL;
}

static int reorder(onednn_store *st, ls_const_md plain, void *src, const packed_weight *w,
                   ls_error *err)
{
    dnnl_memory_t from = NULL;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_primitive_t prim = NULL;
    dnnl_status_t s = dnnl_memory_create(&from, plain, st->dev->engine, src);
    if (!s)
        s = dnnl_reorder_primitive_desc_create(&pd, plain, st->dev->engine, w->md, st->dev->engine,
                                               NULL);
    if (!s)
        s = dnnl_primitive_create(&prim, pd);
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, w->memory}};
    if (!s)
        s = dnnl_primitive_execute(prim, st->dev->stream, 2, args);
    if (!s)
        s = dnnl_stream_wait(st->dev->stream);
    dnnl_primitive_destroy(prim);
    dnnl_primitive_desc_destroy(pd);
    dnnl_memory_destroy(from);
    return ls_onednn_check(s, "pack a weight", err);
}

static size_t offset_of(const ls_md_shape *s, const dnnl_dims_t index)
{
    dnnl_dims_t rest;
    dnnl_dim_t offset = 0, step = 1;
    memcpy(rest, index, sizeof rest);
    for (int i = s->blocks; i-- > 0; step *= s->block_size[i]) {
        dnnl_dim_t *r = &rest[s->block_dim[i]];
        offset += *r % s->block_size[i] * step;
        *r /= s->block_size[i];
    }
    for (int d = 0; d < s->ndims; d++)
        offset += rest[d] * s->strides[d];
    return (size_t)offset;
}

/* As reorder(), for layouts that oneDNN cannot write. */
static void copy_elements(ls_const_md plain, const float *src, const packed_weight *w)
{
    const ls_md_shape from = ls_md_shape_of(plain), to = ls_md_shape_of(w->md);
    dnnl_dims_t index = {0};
    memset(w->base.data, 0, dnnl_memory_desc_get_size(w->md));
    for (int d = 0; d >= 0;) {
        const float x = src[offset_of(&from, index)];
        const size_t at = offset_of(&to, index);
        if (to.type == dnnl_bf16)
            ((uint16_t *)w->base.data)[at] = ls_f32_to_bf16(x);
        else
            ((float *)w->base.data)[at] = x;
        for (d = to.ndims - 1; d >= 0 && ++index[d] == to.dims[d]; d--)
            index[d] = 0;
    }
}

static void free_weight(packed_weight *w)
{
    dnnl_memory_destroy(w->memory);
    if (!w->base.found)
        ls_aligned_free(w->base.data);
    free(w->base.layout);
    free(w);
}

/* To integers of -127 .. 127, symmetric, with a scale for each output channel. */
static void quantise(float *x, size_t count, float *scale, size_t channels)
{
    const size_t each = count / channels;
    for (size_t c = 0; c < channels; c++, x += each) {
        float peak = 0;
        for (size_t i = 0; i < each; i++)
            peak = fmaxf(peak, fabsf(x[i]));
        scale[c] = peak / 127;
        for (size_t i = 0; i < each; i++)
            x[i] = scale[c] > 0 ? rintf(fmaxf(-127, fminf(127, x[i] / scale[c]))) : 0;
    }
}

/* Reads `p` into the weight's data, via a float32 copy if the layouts differ. */
static int fill(onednn_store *st, const ls_param *p, ls_const_md plain, packed_weight *w,
                ls_error *err)
{
    if (dnnl_memory_desc_equal(plain, w->md))
        return p->read(p, w->base.data, err);
    float *copy = ls_aligned_alloc(LS_MEM_BACKEND, p->count * sizeof *copy);
    if (!copy)
        return ls_fail(err, LS_ENOMEM, "out of memory for %s", p->name);
    int ret = p->read(p, copy, err);
    if (!ret && w->scale)
        quantise(copy, p->count, w->scale, p->shape[0]);
    if (!ret && !ls_md_can_reorder(w->md))
        copy_elements(plain, copy, w);
    else if (!ret)
        ret = reorder(st, plain, copy, w, err);
    ls_aligned_free(copy);
    return ret;
}

/* Finds the weight among those packed before, or allocates it. */
static int place(onednn_store *st, packed_weight *w, ls_const_md md, ls_error *err)
{
    char layout[LS_PACKED_TEXT];
    const ls_packed_before *before = st->base.before;
    ls_md_text(layout, sizeof layout, md);
    if (*layout && strlen(layout) + strlen(w->base.name) < sizeof layout)
        w->base.layout = strdup(layout);
    if (before && w->base.layout)
        w->base.data = before->find(before, w->base.name, layout, w->base.bytes);
    w->base.found = w->base.data;
    if (!w->base.found)
        w->base.data = ls_aligned_alloc(LS_MEM_BACKEND, w->base.bytes);
    return w->base.data ? 0 : ls_fail(err, LS_ENOMEM, "out of memory for %s", w->base.name);
}

int ls_onednn_pack(onednn_store *st, const ls_param *p, ls_const_md plain, ls_const_md md,
                   const packed_weight **out, ls_error *err)
{
    *out = find(st, p, md);
    if (*out)
        return 0;
    packed_weight *w = ls_calloc_array(1, sizeof *w);
    if (!w)
        return ls_fail(err, LS_ENOMEM, "out of memory for %s", p->name);
    const bool dry = ls_store_is_dry(&st->base);
    const bool quantised = ls_md_shape_of(md).type == dnnl_s8;
    const size_t elements = dnnl_memory_desc_get_size(md),
                 aligned = (elements + LS_ALIGN - 1) / LS_ALIGN * LS_ALIGN;
    w->base.name = p->name;
    w->base.bytes = quantised ? aligned + p->shape[0] * sizeof(float) : elements;
    w->param = p;
    int ret = dry ? 0 : place(st, w, md, err);
    if (!ret && !dry && quantised)
        w->scale = (float *)((char *)w->base.data + aligned);
    dnnl_status_t s = dnnl_success;
    if (!ret)
        s = dnnl_memory_create(&w->memory, md, st->dev->engine, w->base.data);
    if (!ret && !s)
        s = dnnl_memory_get_memory_desc(w->memory, &w->md);
    if (!ret)
        ret = ls_onednn_check(s, "describe a weight", err);
    if (!ret && !dry && !w->base.found)
        ret = fill(st, p, plain, w, err);
    if (ret) {
        free_weight(w);
        return ret;
    }
    w->base.next = st->base.packed;
    st->base.packed = &w->base;
    st->base.bytes += w->base.bytes;
    st->base.found_bytes += w->base.found ? w->base.bytes : 0;
    *out = w;
    return 0;
}

int ls_onednn_vector(onednn_store *st, const ls_param *p, const float **out, ls_error *err)
{
    ls_md md;
    const packed_weight *w;
    int ret =
        ls_onednn_check(ls_md_new(&md, 1, (dnnl_dims_t){(dnnl_dim_t)p->count}, dnnl_f32, dnnl_a),
                        "describe a vector", err);
    if (!ret)
        ret = ls_onednn_pack(st, p, md, md, &w, err);
    if (!ret)
        *out = w->base.data;
    ls_md_free(md);
    return ret;
}

void ls_onednn_free_packed(onednn_store *st)
{
    for (ls_packed *w = st->base.packed, *next; w; w = next) {
        next = w->next;
        free_weight((packed_weight *)w);
    }
    st->base.packed = NULL;
}
