/* Speed of single ops at the shapes of the UNet and the VAE; one JSON object per line. "share" is
 * of a plain matrix product measured in the same run; bandwidth counts each input and output once.
 * Usage: bench_kernels [f32|bf16|int8] [name prefix] */
#include "backend/plan.h"
#include "base/alloc.h"
#include "base/time.h"
#include "store.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct work {
    const char *name;
    ls_op op;
    size_t n, h, w, c, co, k, groups, frames; /* attention: h queries, w keys, groups heads */
    bool fused;                               /* bias and residual */
    ls_act act;
} work;

static const work shapes[] = {
    {"peak", LS_OP_LINEAR, 8192, 1, 1, 2048, .co = 2048},
    {"conv_320_64", LS_OP_CONV2D, 32, 64, 64, 320, .co = 320, .k = 3},
    {"conv_320_64_fused", LS_OP_CONV2D, 32, 64, 64, 320, .co = 320, .k = 3, .fused = true},
    {"conv_640_320_64", LS_OP_CONV2D, 32, 64, 64, 640, .co = 320, .k = 3},
    {"conv_640_32", LS_OP_CONV2D, 32, 32, 32, 640, .co = 640, .k = 3},
    {"conv_1280_16", LS_OP_CONV2D, 32, 16, 16, 1280, .co = 1280, .k = 3},
    {"conv_1280_8", LS_OP_CONV2D, 32, 8, 8, 1280, .co = 1280, .k = 3},
    {"conv_320_32", LS_OP_CONV2D, 32, 32, 32, 320, .co = 320, .k = 3},
    {"conv_320_640_16", LS_OP_CONV2D, 32, 16, 16, 320, .co = 640, .k = 3},
    {"conv_640_16", LS_OP_CONV2D, 32, 16, 16, 640, .co = 640, .k = 3},
    {"conv_640_1280_8", LS_OP_CONV2D, 32, 8, 8, 640, .co = 1280, .k = 3},
    {"conv_1280_4", LS_OP_CONV2D, 32, 4, 4, 1280, .co = 1280, .k = 3},
    {"conv1x1_320_64", LS_OP_CONV2D, 32, 64, 64, 320, .co = 320, .k = 1},
    {"conv_in_13_64", LS_OP_CONV2D, 32, 64, 64, 13, .co = 320, .k = 3},
    {"conv_out_4_64", LS_OP_CONV2D, 32, 64, 64, 320, .co = 4, .k = 3},
    {"conv_vae_128_512", LS_OP_CONV2D, 1, 512, 512, 128, .co = 128, .k = 3},
    {"linear_320_64", LS_OP_LINEAR, 32, 64, 64, 320, .co = 320},
    {"linear_320_64_fused", LS_OP_LINEAR, 32, 64, 64, 320, .co = 320, .fused = true},
    {"linear_whisper_gelu", LS_OP_LINEAR, 1, 1500, 1, 384, .co = 1536, .act = LS_ACT_GELU},
    {"linear_320_2560_64", LS_OP_LINEAR, 32, 64, 64, 320, .co = 2560},
    {"linear_640_32", LS_OP_LINEAR, 32, 32, 32, 640, .co = 640},
    {"linear_1280_10240_16", LS_OP_LINEAR, 32, 16, 16, 1280, .co = 10240},
    {"linear_1280_row", LS_OP_LINEAR, 1, 1, 1, 1280, .co = 1280},
    {"attention_4096x40", LS_OP_ATTENTION, 1, 4096, 4096, 320, .groups = 8},
    {"attention_1024x80", LS_OP_ATTENTION, 8, 1024, 1024, 640, .groups = 8},
    {"attention_1024x40", LS_OP_ATTENTION, 8, 1024, 1024, 320, .groups = 8},
    {"attention_256x160", LS_OP_ATTENTION, 32, 256, 256, 1280, .groups = 8},
    {"attention_256x80", LS_OP_ATTENTION, 32, 256, 256, 640, .groups = 8},
    {"attention_64x160", LS_OP_ATTENTION, 32, 64, 64, 1280, .groups = 8},
    {"attention_vae_4096x512", LS_OP_ATTENTION, 1, 4096, 4096, 512, .groups = 1},
    {"attention_whisper_1500x64", LS_OP_ATTENTION, 1, 1500, 1500, 384, .groups = 6},
    {"attention_cross_4096x50", LS_OP_ATTENTION, 32, 4096, 50, 320, .groups = 8},
    {"attention_cross_256x50", LS_OP_ATTENTION, 32, 256, 50, 1280, .groups = 8},
    {"temporal_4096x40", LS_OP_ATTENTION, 32, 4096, 4096, 320, .groups = 8, .frames = 16},
    {"temporal_1024x80", LS_OP_ATTENTION, 32, 1024, 1024, 640, .groups = 8, .frames = 16},
    {"temporal_256x160", LS_OP_ATTENTION, 32, 256, 256, 1280, .groups = 8, .frames = 16},
    {"group_norm_320_64", LS_OP_GROUP_NORM, 32, 64, 64, 320, .groups = 32, .frames = 16},
    {"group_norm_1280_16", LS_OP_GROUP_NORM, 32, 16, 16, 1280, .groups = 32, .frames = 16},
    {"group_norm_vae_128_512", LS_OP_GROUP_NORM, 1, 512, 512, 128, .groups = 32, .frames = 1},
    {"layer_norm_320_64", LS_OP_LAYER_NORM, 32, 64, 64, 320, .co = 0},
    {"geglu_1280_64", LS_OP_GEGLU, 32, 64, 64, 2560, .co = 0},
    {"geglu_5120_16", LS_OP_GEGLU, 32, 16, 16, 10240, .co = 0},
    {"add_320_64", LS_OP_ADD, 32, 64, 64, 320, .co = 0},
    {"concat_320_64", LS_OP_CONCAT, 32, 64, 64, 320, .co = 0},
};

static int read_param(const ls_param *p, float *dst, ls_error *err)
{
    (void)err;
    for (size_t i = 0; i < p->count; i++)
        dst[i] = (float)(i * 2654435761u % 1000) / 1000 - 0.5f;
    return 0;
}

static ls_tensor *weight(ls_graph *g, ls_param *p, size_t ndim, const size_t *shape)
{
    *p = (ls_param){.name = "w", .ndim = ndim, .count = 1, .read = read_param};
    for (size_t i = 0; i < ndim; i++)
        p->count *= p->shape[i] = shape[i];
    return ls_weight(g, p);
}

/* Multiplications and additions of the products; 0 for ops bound by memory only. */
static ls_tensor *build(ls_graph *g, const work *s, ls_param *params, double *flops)
{
    const ls_dtype t = ls_graph_compute(g);
    const size_t image[] = {s->n, s->h, s->w, s->c}, tokens[] = {s->n, s->h, s->c};
    const size_t keys[] = {s->n, s->w, s->c}, result[] = {s->n, s->h, s->w, s->co};
    ls_tensor *b = NULL, *residual = NULL;
    const double rows = (double)(s->n * s->h * s->w);
    ls_tensor *x =
        s->op == LS_OP_ATTENTION ? ls_input(g, "x", t, 3, tokens) : ls_input(g, "x", t, 4, image);
    if (s->fused) {
        b = weight(g, &params[1], 1, &s->co);
        residual = ls_input(g, "residual", t, 4, result);
    }
    *flops = 0;
    switch (s->op) {
    case LS_OP_CONV2D:
        *flops = 2 * rows * (double)(s->c * s->co * s->k * s->k);
        return ls_conv2d(g, x, weight(g, params, 4, (size_t[]){s->co, s->c, s->k, s->k}), b,
                         residual, (ls_conv){.stride = 1, .pad = s->k / 2, .act = s->act});
    case LS_OP_LINEAR:
        *flops = 2 * rows * (double)(s->c * s->co);
        return ls_linear(g, x, weight(g, params, 2, (size_t[]){s->co, s->c}), b, residual, s->act,
                         t);
    case LS_OP_ATTENTION:
        *flops = 4 * (double)(s->n * s->h) * (double)(s->c * (s->frames ? s->frames : s->w));
        return ls_attention(g, x, ls_input(g, "k", t, 3, keys), ls_input(g, "v", t, 3, keys),
                            s->groups, s->frames, 1 / sqrtf((float)(s->c / s->groups)));
    case LS_OP_GROUP_NORM:
        return ls_group_norm(g, x, weight(g, params, 1, &s->c), weight(g, &params[1], 1, &s->c),
                             s->groups, s->frames, 1e-5f, LS_ACT_SILU);
    case LS_OP_LAYER_NORM:
        return ls_layer_norm(g, x, weight(g, params, 1, &s->c), weight(g, &params[1], 1, &s->c),
                             1e-5f, NULL, 0);
    case LS_OP_GEGLU:
        return ls_geglu(g, x);
    case LS_OP_ADD:
        return ls_add(g, x, ls_input(g, "b", t, 4, image));
    default:
        return ls_concat(g, x, ls_input(g, "b", t, 4, image));
    }
}

/* Values of both signs in every dtype. */
static void *random_values(size_t count, ls_dtype t)
{
    void *p = ls_aligned_alloc(LS_MEM_OTHER, count * ls_dtype_size(t));
    uint32_t r = 1;
    for (size_t i = 0; p && i < count; i++) {
        r = r * 1664525 + 1013904223;
        float v = (float)(r >> 8) / (1 << 22) - 2;
        if (t == LS_BF16)
            ((uint16_t *)p)[i] = ls_f32_to_bf16(v);
        else
            ((float *)p)[i] = v;
    }
    return p;
}

/* The fastest of at least five runs and half a second, and the least processor time. */
static double fastest(ls_plan *p, void *arena, const ls_binding *b, size_t n, double *cpu,
                      ls_error *err)
{
    double best = INFINITY, start = ls_time_now();
    *cpu = INFINITY;
    for (int i = 0; i < 6 || ls_time_now() - start < 0.5; i++) {
        double t = ls_time_now(), c = ls_time_cpu();
        if (ls_plan_run(p, arena, b, n, NULL, err))
            return -1;
        best = fmin(best, ls_time_now() - t);
        *cpu = fmin(*cpu, ls_time_cpu() - c);
    }
    return best;
}

static int measure(const work *s, const char *dtype, double *peak, ls_error *err)
{
    const ls_dtype t = strcmp(dtype, "f32") ? LS_BF16 : LS_F32;
    ls_store *st = NULL;
    ls_plan *p = NULL;
    ls_param params[2];
    ls_binding b[8];
    size_t n = 0, bytes = 0;
    double flops, cpu = 0, seconds = -1;
    ls_graph *g = ls_graph_new(t, false);
    ls_output(g, "y", build(g, s, params, &flops));
    int ret = test_store_open(&st, "onednn", 0, err);
    if (!ret && !strcmp(dtype, "int8"))
        st->flags |= LS_STORE_INT8;
    if (!ret)
        ret = ls_plan_compile(&p, &g, st, err);
    const char *name;
    for (size_t i = 0; !ret && (name = ls_graph_name(ls_plan_graph(p), i)); i++) {
        const ls_tensor *x = ls_graph_find(ls_plan_graph(p), name, NULL);
        b[n++] = (ls_binding){name, random_values(x->count, x->dtype), ls_tensor_bytes(x)};
        bytes += ls_tensor_bytes(x);
    }
    void *arena = ret ? NULL : ls_aligned_alloc(LS_MEM_OTHER, ls_plan_arena_bytes(p));
    if (!ret)
        seconds = fastest(p, arena, b, n, &cpu, err);
    if (seconds > 0) {
        if (!strcmp(s->name, "peak"))
            *peak = flops / seconds;
        printf("{\"name\": \"%s\", \"dtype\": \"%s\", \"ms\": %.3f, \"cpu_ms\": %.3f, \"gflops\": "
               "%.1f, "
               "\"share\": %.3f, \"gb_per_s\": %.1f, \"scratch\": %zu}\n",
               s->name, dtype, seconds * 1e3, cpu * 1e3, flops / seconds * 1e-9,
               flops / seconds / *peak, (double)bytes / seconds * 1e-9, ls_plan_arena_bytes(p));
        fflush(stdout);
    }
    for (size_t i = 0; i < n; i++)
        ls_aligned_free(b[i].data);
    ls_aligned_free(arena);
    ls_graph_free(&g);
    ls_plan_close(&p);
    test_store_close(&st);
    return ret ? ret : seconds > 0 ? 0 : err->code;
}

int main(int argc, char **argv)
{
    ls_error err = {0};
    static const char *const types[] = {"f32", "bf16", "int8"};
    for (size_t t = 0; t < LS_COUNT(types); t++) {
        double peak = 0;
        if (argc > 1 && strcmp(argv[1], types[t]))
            continue;
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            if (i && argc > 2 && strncmp(shapes[i].name, argv[2], strlen(argv[2])))
                continue;
            if (measure(&shapes[i], types[t], &peak, &err)) {
                fprintf(stderr, "%s: %s\n", shapes[i].name, err.message);
                return 1;
            }
        }
    }
    return 0;
}
