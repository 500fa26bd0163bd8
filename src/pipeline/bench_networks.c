/* The networks: reduced ones against the CPU, the published ones for speed. */
#include "base/alloc.h"
#include "base/list.h"
#include "base/time.h"
#include "latentsync/sync.h"
#include "models/unet/unet.h"
#include "models/vae/vae.h"
#include "pipeline/bench.h"
#include "pipeline/quality.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define AUDIO_TOKENS 50
#define TIMESTEP 951
#define UNIT 1.7320508075688772
enum { CHUNK = 16 };

static double tolerance_of(ls_dtype t)
{
    return t == LS_F16 ? 5e-3 : t == LS_BF16 ? 5e-2 : 1e-5;
}

static double relative_error(const float *y, const float *ref, size_t n)
{
    double d = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        d += ((double)y[i] - ref[i]) * ((double)y[i] - ref[i]);
        norm += (double)ref[i] * ref[i];
    }
    return sqrt(d / norm);
}

/* Inputs of a UNet, and room for its outputs. */
typedef struct unet_run {
    ls_unet *u; /* of the caller */
    ls_unet_shape shape;
    float *sample, *out;
    char *audio, *cache;      /* memory of the device */
    size_t in, tokens, count; /* elements of sample, audio and out */
} unet_run;

static int open_unet(ls_unet **u, const ls_unet_config *c, const ls_compute *compute, ls_error *err)
{
    ls_params *table;
    ls_weights *w;
    int ret = ls_unet_table(&table, c, err);
    if (!ret)
        ret = ls_params_formula(&w, &table, false, NULL, err);
    return ret ? ret : ls_unet_open(u, &w, c, compute, err);
}

static void unet_end(unet_run *r)
{
    if (r->u) {
        ls_network_release(r->u, r->audio);
        ls_network_release(r->u, r->cache);
    }
    free(r->sample);
    free(r->out);
    *r = (unet_run){0};
}

static int unet_fill(unet_run *r, ls_error *err)
{
    const size_t bytes = r->tokens * sizeof(float);
    float *audio = ls_malloc_array(r->tokens, sizeof *audio);
    int ret = audio && r->sample && r->out ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ls_formula_fill("input.sample", r->in, UNIT, 0, r->sample);
        ls_formula_fill("input.audio", r->tokens, UNIT, 0, audio);
        ret = ls_network_write(r->u, r->audio, audio, bytes, err);
    }
    free(audio);
    return ret;
}

/* On failure *r has ended. */
static int unet_begin(unet_run *r, ls_unet *u, const ls_unet_shape *s, ls_error *err)
{
    const ls_unet_config *c = ls_unet_get_config(u);
    const size_t n = s->batch * s->frames, pixels = n * s->h * s->w;
    void *audio = NULL, *cache = NULL;
    *r = (unet_run){.u = u,
                    .shape = *s,
                    .in = pixels * c->in_channels,
                    .tokens = n * s->audio_tokens * c->cross_attention_dim,
                    .count = pixels * c->out_channels};
    r->sample = ls_malloc_array(r->in, sizeof(float));
    r->out = ls_malloc_array(r->count, sizeof(float));
    int ret = ls_unet_prepare(u, s, LS_UNET_STEP_STORE, false, NULL, err);
    if (!ret)
        ret = ls_network_alloc(r->u, ls_unet_cache_bytes(r->u, s), &cache, err);
    r->cache = cache;
    if (!ret)
        ret = ls_network_alloc(r->u, r->tokens * sizeof(float), &audio, err);
    r->audio = audio;
    if (!ret)
        ret = unet_fill(r, err);
    if (ret)
        unet_end(r);
    return ret;
}

/* Runs `rows` batch rows at a time. */
static int unet_step(unet_run *r, ls_unet_step step, size_t rows, const ls_cancel *cancel,
                     ls_error *err)
{
    const ls_unet_shape *s = &r->shape;
    const ls_unet_shape part = {rows, s->frames, s->h, s->w, s->audio_tokens};
    int ret = 0;
    for (size_t i = 0; !ret && i < s->batch; i += rows)
        ret = ls_unet_run(r->u, &part, step, TIMESTEP, r->sample + r->in / s->batch * i,
                          (const float *)(r->audio + r->tokens / s->batch * i * sizeof(float)),
                          r->out + r->count / s->batch * i,
                          r->cache + ls_unet_cache_bytes(r->u, s) / s->batch * i, cancel, err);
    return ret;
}

/* What one network does on both devices. */
typedef struct comparison {
    double error;
    bool same_again, same_in_parts;
} comparison;

static void print_comparison(ls_bench *b, const char *name, int ret, const comparison *c,
                             const ls_error *err)
{
    const double tolerance = tolerance_of(b->device.device->info.fast);
    if (ret) {
        ls_bench_print(b, "%-32s %12s %-8s", name, "", ls_bench_verdict(b, false));
        ls_bench_note(b, name, err->message);
        return;
    }
    const char *close = ls_bench_verdict(b, c->error <= tolerance),
               *again = ls_bench_verdict(b, c->same_again);
    ls_bench_print(b, "%-32s %12.1e %-8s %12s %18s", name, c->error, close, again,
                   ls_bench_verdict(b, c->same_in_parts));
}

/* `expected` has been through the same steps. */
static int compare_unet(ls_bench *b, unet_run *r, const unet_run *expected, ls_unet_step step,
                        comparison *c, ls_error *err)
{
    const size_t bytes = r->count * sizeof(float);
    float *first = ls_malloc_array(r->count, sizeof *first);
    int ret = first ? unet_step(r, step, r->shape.batch, b->s->cancel, err)
                    : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        memcpy(first, r->out, bytes);
        c->error = relative_error(first, expected->out, r->count);
        ret = unet_step(r, step, r->shape.batch, b->s->cancel, err);
    }
    if (!ret) {
        c->same_again = !memcmp(first, r->out, bytes);
        ret = unet_step(r, step, 1, b->s->cancel, err);
    }
    if (!ret)
        c->same_in_parts = !memcmp(first, r->out, bytes);
    free(first);
    return ret;
}

static void compare_unets(ls_bench *b, ls_unet *u, ls_unet *exact)
{
    static const char *const names[] = {[LS_UNET_STEP_STORE] = "UNet, small",
                                        [LS_UNET_STEP_REUSE] = "UNet, small, on the step cache"};
    const ls_unet_shape shape = {2, b->s->small ? 5 : CHUNK, 8, 8, AUDIO_TOKENS};
    unet_run r = {0}, expected = {0};
    ls_error err = {0};
    int ret = unet_begin(&expected, exact, &shape, &err);
    if (!ret)
        ret = unet_begin(&r, u, &shape, &err);
    for (int step = LS_UNET_STEP_STORE; step <= LS_UNET_STEP_REUSE; step++) {
        comparison c = {0};
        if (!ret)
            ret = unet_step(&expected, (ls_unet_step)step, shape.batch, b->s->cancel, &err);
        if (!ret)
            ret = compare_unet(b, &r, &expected, (ls_unet_step)step, &c, &err);
        print_comparison(b, names[step], ret, &c, &err);
    }
    unet_end(&r);
    unet_end(&expected);
}

static int check_unet(ls_bench *b, const ls_compute *compute, const ls_compute *exact,
                      ls_error *err)
{
    ls_unet_config config = ls_unet_config_full();
    ls_unet *u = NULL, *expected = NULL;
    config.norm_num_groups = 8;
    memcpy(config.block_out_channels, (size_t[]){32, 64, 96, 96}, 4 * sizeof(size_t));
    int ret = open_unet(&expected, &config, exact, err);
    if (!ret)
        ret = open_unet(&u, &config, compute, err);
    if (!ret)
        compare_unets(b, u, expected);
    ls_unet_close(&u);
    ls_unet_close(&expected);
    return ret;
}

static int open_vae(ls_vae **v, const ls_vae_config *c, const ls_compute *compute, ls_error *err)
{
    ls_params *table;
    ls_weights *w;
    int ret = ls_vae_table(&table, c, err);
    if (!ret)
        ret = ls_params_formula(&w, &table, false, NULL, err);
    return ret ? ret : ls_vae_open(v, &w, c, compute, err);
}

/* Sizes of images and latents, in elements. */
typedef struct vae_shape {
    size_t images, side, image, latent;
    bool decode;
} vae_shape;

static int vae_pass(ls_vae *v, const vae_shape *s, size_t group, const float *in, float *out,
                    const ls_cancel *cancel, ls_error *err)
{
    int ret = 0;
    for (size_t i = 0; !ret && i < s->images; i += group)
        ret = s->decode ? ls_vae_decode(v, group, s->side, s->side, in + i * s->latent,
                                        out + i * s->image, cancel, err)
                        : ls_vae_encode(v, group, s->side, s->side, in + i * s->image,
                                        out + i * 2 * s->latent, cancel, err);
    return ret;
}

static int compare_vae(ls_bench *b, ls_vae *v, ls_vae *exact, const vae_shape *s, comparison *c,
                       ls_error *err)
{
    const ls_cancel *cancel = b->s->cancel;
    const size_t in = s->images * (s->decode ? s->latent : s->image);
    const size_t count = s->images * (s->decode ? s->image : 2 * s->latent);
    float *x = ls_malloc_array(in, sizeof *x), *y = ls_malloc_array(count, sizeof *y);
    float *other = ls_malloc_array(count, sizeof *other);
    int ret = x && y && other ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret) {
        ls_formula_fill("input.image", in, 1, 0, x);
        ret = vae_pass(exact, s, s->images, x, other, cancel, err);
    }
    if (!ret)
        ret = vae_pass(v, s, s->images, x, y, cancel, err);
    c->error = ret ? NAN : relative_error(y, other, count);
    if (!ret)
        ret = vae_pass(v, s, s->images, x, other, cancel, err);
    c->same_again = !ret && !memcmp(y, other, count * sizeof *y);
    if (!ret)
        ret = vae_pass(v, s, 1, x, other, cancel, err);
    c->same_in_parts = !ret && !memcmp(y, other, count * sizeof *y);
    free(x);
    free(y);
    free(other);
    return ret;
}

static int check_vae(ls_bench *b, const ls_compute *compute, const ls_compute *exact, ls_error *err)
{
    const ls_vae_config config = {3, 4, 4, {16, 32, 64, 64}, 2, 8};
    vae_shape s = {.images = 3, .side = b->s->small ? 4 : 8};
    ls_vae *v = NULL, *expected = NULL;
    s.latent = s.side * s.side * config.latent_channels;
    s.image = 64 * s.side * s.side * config.in_channels;
    int ret = open_vae(&expected, &config, exact, err);
    if (!ret)
        ret = open_vae(&v, &config, compute, err);
    for (int decode = 0; !ret && decode < 2; decode++) {
        comparison c = {0};
        ls_error why = {0};
        s.decode = decode;
        const int failed = compare_vae(b, v, expected, &s, &c, &why);
        print_comparison(b, decode ? "VAE, small, decode" : "VAE, small, encode", failed, &c, &why);
    }
    ls_vae_close(&v);
    ls_vae_close(&expected);
    return ret;
}

int ls_bench_check_networks(ls_bench *b, ls_error *err)
{
    ls_workspace cpu;
    const ls_compute exact = {&cpu, LS_F32}, compute = {&b->device, b->device.device->info.fast};
    int ret = ls_workspace_open(&cpu, "cpu", 0, err);
    ls_bench_print(b, "%-32s %12s %-8s %12s %18s", "network against the CPU", "error", "",
                   "same again", "same row by row");
    if (!ret)
        ret = check_unet(b, &compute, &exact, err);
    if (!ret)
        ret = check_vae(b, &compute, &exact, err);
    ls_workspace_close(&cpu);
    return ret;
}

/* What is measured of the networks. */
enum { STEP, CACHED_STEP, ENCODE, DECODE, MEASURED };

typedef struct network_times {
    ls_bench_speed speed[MEASURED]; /* of the VAE an image; seconds INFINITY: not measured */
    double share[LS_OP_COUNT];      /* of a full step */
    size_t bytes;                   /* of the device's memory */
} network_times;

/* Of which the fastest counts. */
static int runs_of(const ls_bench *b)
{
    return b->s->small ? 1 : 3;
}

static double plan_flops(const ls_plan *p)
{
    double sum = 0;
    for (size_t i = 0; i < ls_graph_node_count(ls_plan_graph(p)); i++)
        sum += ls_bench_flops(ls_graph_node(ls_plan_graph(p), i));
    return sum;
}

/* The shares of ops in a step, run once more to measure them. */
static int find_shares(ls_bench *b, unet_run *r, double share[LS_OP_COUNT], ls_error *err)
{
    ls_device *dev = b->device.device;
    double before[LS_OP_COUNT] = {0}, after[LS_OP_COUNT] = {0}, total = 0;
    const bool profiled = dev->profile;
    ls_network_op_seconds(r->u, before);
    dev->profile = true;
    const int ret = unet_step(r, LS_UNET_STEP_STORE, r->shape.batch, b->s->cancel, err);
    dev->profile = profiled;
    ls_network_op_seconds(r->u, after);
    for (size_t i = 0; i < LS_OP_COUNT; i++)
        total += after[i] - before[i];
    for (size_t i = 0; i < LS_OP_COUNT; i++)
        share[i] = total > 0 ? (after[i] - before[i]) / total : 0;
    return ret;
}

static int time_unet(ls_bench *b, ls_unet *u, size_t side, network_times *t, ls_error *err)
{
    const ls_unet_shape shape = {2, CHUNK, side, side, AUDIO_TOKENS};
    unet_run r;
    int ret = unet_begin(&r, u, &shape, err);
    for (int cached = 0; !ret && cached < 2; cached++) {
        const ls_unet_step step = cached ? LS_UNET_STEP_REUSE : LS_UNET_STEP_STORE;
        ls_bench_speed *s = &t->speed[cached ? CACHED_STEP : STEP];
        ls_plan *plan;
        ret = ls_unet_prepare(u, &shape, step, false, &plan, err);
        s->flops = ret ? 0 : plan_flops(plan);
        for (int i = 0; !ret && i <= runs_of(b); i++) { // the first warms up
            const double start = ls_time_now();
            ret = unet_step(&r, step, shape.batch, b->s->cancel, err);
            if (i)
                s->seconds = fmin(s->seconds, ls_time_now() - start);
        }
    }
    if (!ret)
        ret = find_shares(b, &r, t->share, err);
    const ls_network_memory m = ls_network_usage(u);
    t->bytes = m.weights + m.activations + ls_unet_cache_bytes(u, &shape);
    unet_end(&r);
    return ret;
}

static int time_vae(ls_bench *b, ls_vae *v, size_t side, network_times *t, ls_error *err)
{
    enum { IMAGES = 4 };
    vae_shape s = {.images = IMAGES, .side = side, .latent = 4 * side * side};
    s.image = 3 * 64 * side * side;
    float *image = ls_malloc_array(IMAGES * s.image, sizeof *image);
    float *latent = ls_malloc_array(IMAGES * 2 * s.latent, sizeof *latent);
    int ret = image && latent ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ls_formula_fill("input.image", IMAGES * s.image, 1, 0, image);
    for (int decode = 0; !ret && decode < 2; decode++) {
        ls_bench_speed *speed = &t->speed[decode ? DECODE : ENCODE];
        ls_plan *plan;
        s.decode = decode;
        ret = ls_vae_prepare(v, decode, IMAGES, side, side, false, &plan, err);
        speed->flops = ret ? 0 : plan_flops(plan) / IMAGES;
        for (int i = 0; !ret && i <= runs_of(b); i++) {
            const double start = ls_time_now();
            ret = vae_pass(v, &s, IMAGES, decode ? latent : image, decode ? image : latent,
                           b->s->cancel, err);
            if (i)
                speed->seconds = fmin(speed->seconds, (ls_time_now() - start) / IMAGES);
        }
    }
    t->bytes += ls_network_usage(v).weights;
    free(image);
    free(latent);
    return ret;
}

/* Seconds for a second of video with the default settings. */
static double per_second(const network_times *t)
{
    ls_sync_settings s;
    ls_sync_default_settings(&s, sizeof s);
    ls_quality_fill(&s);
    const double full = (double)((s.steps + s.cache_interval - 1) / s.cache_interval);
    const double chunk = full * t->speed[STEP].seconds +
                         ((double)s.steps - full) * t->speed[CACHED_STEP].seconds +
                         CHUNK * (2 * t->speed[ENCODE].seconds + t->speed[DECODE].seconds);
    return chunk * 25 / CHUNK;
}

static void print_shares(const ls_bench *b, size_t side, const double share[LS_OP_COUNT])
{
    char text[LS_BENCH_WIDTH - 15] = "";
    for (int i = 0; i < LS_OP_COUNT; i++)
        if (share[i] >= 0.015)
            ls_list_add(text, sizeof text, "%s %.0f", ls_op_name(i), 100 * share[i]);
    if (*text)
        ls_bench_print(b, "step at %zu, %%: %s", 8 * side, text);
}

static void print_times(const ls_bench *b, const network_times t[LS_BENCH_SIDES])
{
    static const char *const names[MEASURED] = {"UNet step, 2 x 16 frames", "the same on the cache",
                                                "VAE encode, an image", "VAE decode, an image"};
    size_t side[LS_BENCH_SIDES];
    const size_t sides = ls_bench_sides(b, side);
    ls_bench_print_head(b, b->s->small ? "reduced networks" : "networks, published size");
    for (size_t i = 0; i < MEASURED; i++) {
        ls_bench_speed row[LS_BENCH_SIDES];
        for (size_t j = 0; j < LS_BENCH_SIDES; j++)
            row[j] = t[j].speed[i];
        ls_bench_print_speeds(b, names[i], row);
    }
    for (size_t j = 0; j < sides; j++)
        print_shares(b, side[j], t[j].share);
    for (size_t j = 0; j < sides; j++)
        if (isfinite(per_second(&t[j])))
            ls_bench_print(b, "%zu x %zu: %.2f GB on the card, %.2f s for a second of video",
                           8 * side[j], 8 * side[j], (double)t[j].bytes / 1e9, per_second(&t[j]));
}

static void configure(const ls_bench *b, ls_unet_config *u, ls_vae_config *v)
{
    *u = ls_unet_config_full();
    *v = ls_vae_config_full();
    if (!b->s->small)
        return;
    u->layers_per_block = 1;
    u->norm_num_groups = v->norm_num_groups = 8;
    for (size_t i = 0; i < u->blocks; i++)
        u->block_out_channels[i] = 32;
    for (size_t i = 0; i < v->blocks; i++)
        v->block_out_channels[i] = 16;
}

void ls_bench_time_networks(ls_bench *b)
{
    const ls_compute compute = {&b->device, b->device.device->info.fast};
    network_times t[LS_BENCH_SIDES];
    size_t side[LS_BENCH_SIDES];
    const size_t sides = ls_bench_sides(b, side);
    ls_unet_config unet;
    ls_vae_config vae;
    ls_unet *u = NULL;
    ls_vae *v = NULL;
    ls_error err = {0};
    configure(b, &unet, &vae);
    for (size_t i = 0; i < LS_BENCH_SIDES; i++) {
        t[i] = (network_times){.bytes = 0};
        for (size_t j = 0; j < MEASURED; j++)
            t[i].speed[j].seconds = INFINITY;
    }
    int ret = open_unet(&u, &unet, &compute, &err);
    if (!ret)
        ret = open_vae(&v, &vae, &compute, &err);
    for (size_t i = 0; !ret && i < sides; i++) {
        ret = time_unet(b, u, side[i], &t[i], &err);
        if (!ret)
            ret = time_vae(b, v, side[i], &t[i], &err);
    }
    if (ret) {
        ls_bench_note(b, "networks", err.message);
        b->failed += ret != LS_ENOMEM;
    }
    print_times(b, t);
    ls_unet_close(&u);
    ls_vae_close(&v);
}
