/* bench_networks [256|512] [f32|bf16|int8]: seconds of each network at its published size, one line
 * of JSON each: the UNet's full and cached steps (16 frames with guidance), VAE encode and decode
 * (one image), Whisper (30 s of audio). The weights are formula weights. */
#include "base/alloc.h"
#include "base/system.h"
#include "base/time.h"
#include "models/unet/unet.h"
#include "models/vae/vae.h"
#include "models/whisper/whisper.h"

#include <stdio.h>
#include <stdlib.h>

enum { REPEATS = 3 };

static ls_error err;

static ls_weights *formula(ls_params *table)
{
    ls_weights *w;
    ls_params_formula(&w, &table, false, NULL, &err);
    return w;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* `cpu` may be NULL: seconds of processor time. */
static void print(const char *name, size_t r, const ls_compute *c, double *seconds, double *cpu,
                  const ls_network *net)
{
    ls_network_memory m = ls_network_usage(net);
    qsort(seconds, REPEATS, sizeof *seconds, by_value);
    if (cpu)
        qsort(cpu, REPEATS, sizeof *cpu, by_value);
    printf("{\"network\": \"%s\", \"resolution\": %zu, \"dtype\": \"%s\", \"seconds\": %.3f, ",
           name, r, ls_dtype_name(c->dtype), seconds[REPEATS / 2]);
    if (cpu)
        printf("\"cpu_seconds\": %.3f, ", cpu[REPEATS / 2]);
    printf("\"weights_mb\": %.0f, \"activations_mb\": %.0f}\n", (double)m.weights / 1e6,
           (double)m.activations / 1e6);
    fflush(stdout);
}

static void print_ops(const ls_network *net)
{
    double seconds[LS_OP_COUNT] = {0}, total = 0;
    ls_network_op_seconds(net, seconds);
    for (int i = 0; i < LS_OP_COUNT; i++)
        total += seconds[i];
    printf("{\"network\": \"unet\", \"share\": {");
    for (int i = 0, n = 0; i < LS_OP_COUNT; i++)
        if (seconds[i] > 0.001 * total)
            printf("%s\"%s\": %.3f", n++ ? ", " : "", ls_op_name(i), seconds[i] / total);
    printf("}}\n");
}

static int bench_unet(size_t r, const ls_compute *c)
{
    const ls_unet_config config = ls_unet_config_full();
    ls_unet_shape s = {2, 16, r / 8, r / 8, 50};
    ls_params *table;
    ls_unet *u = NULL;
    int ret = ls_unet_table(&table, &config, &err);
    ls_weights *w = ret ? NULL : formula(table);
    double start = ls_time_now();
    if (!w || ls_unet_open(&u, &w, &config, c, &err) ||
        ls_unet_prepare(u, &s, LS_UNET_STEP_STORE, false, NULL, &err))
        return -1;
    printf("{\"network\": \"unet\", \"pack_seconds\": %.1f, \"anonymous_mb\": %.0f}\n",
           ls_time_now() - start, (double)ls_process_memory_now().anonymous / 1e6);
    size_t pixels = 32 * s.h * s.w;
    const size_t tokens = (size_t)32 * 50 * 384;
    float *x = ls_calloc_array(pixels, 13 * 4), *values = ls_calloc_array(tokens, 4);
    float *out = ls_calloc_array(pixels, 4 * 4);
    void *cache = NULL, *audio = NULL;
    ls_formula_fill("input.sample", pixels * 13, 1.7, 0, x);
    ls_formula_fill("input.audio", tokens, 1.7, 0, values);
    if (ls_network_alloc(u, ls_unet_cache_bytes(u, &s), &cache, &err) ||
        ls_network_alloc(u, tokens * 4, &audio, &err) ||
        ls_network_write(u, audio, values, tokens * 4, &err))
        return -1;
    for (int reuse = 0; !ret && reuse < 2; reuse++) {
        double seconds[REPEATS], cpu[REPEATS];
        for (int i = -1; !ret && i < REPEATS; i++) { // the first warms up
            start = ls_time_now();
            const double before = ls_time_cpu();
            ret = ls_unet_run(u, &s, reuse ? LS_UNET_STEP_REUSE : LS_UNET_STEP_STORE, 951, x, audio,
                              out, cache, NULL, &err);
            if (i >= 0) {
                seconds[i] = ls_time_now() - start;
                cpu[i] = ls_time_cpu() - before;
            }
        }
        print(reuse ? "unet step on the cache" : "unet step", r, c, seconds, cpu,
              ls_unet_network(u));
        if (!reuse)
            print_ops(ls_unet_network(u));
    }
    free(x);
    free(values);
    free(out);
    ls_network_release(u, audio);
    ls_network_release(u, cache);
    ls_unet_close(&u);
    return ret;
}

static int bench_vae(size_t r, const ls_compute *c)
{
    const ls_vae_config config = ls_vae_config_full();
    size_t side = r / 8;
    ls_params *table;
    ls_vae *v = NULL;
    int ret = ls_vae_table(&table, &config, &err);
    ls_weights *w = ret ? NULL : formula(table);
    if (!w || ls_vae_open(&v, &w, &config, c, &err))
        return -1;
    float *image = ls_calloc_array(r * r * 3, 4), *z = ls_calloc_array(side * side * 8, 4);
    for (int way = 0; !ret && way < 2; way++) {
        double seconds[REPEATS];
        for (int i = -1; !ret && i < REPEATS; i++) {
            double start = ls_time_now();
            ret = way ? ls_vae_decode(v, 1, side, side, z, image, NULL, &err)
                      : ls_vae_encode(v, 1, side, side, image, z, NULL, &err);
            if (i >= 0)
                seconds[i] = ls_time_now() - start;
        }
        print(way ? "vae decode" : "vae encode", r, c, seconds, NULL, ls_vae_network(v));
    }
    free(image);
    free(z);
    ls_vae_close(&v);
    return ret;
}

static int bench_whisper(const ls_compute *c)
{
    const ls_whisper_config config = ls_whisper_config_tiny();
    ls_params *table;
    ls_whisper *m = NULL;
    int ret = ls_whisper_table(&table, &config, &err);
    ls_weights *w = ret ? NULL : formula(table);
    if (!w || ls_whisper_open(&m, &w, &config, c, &err))
        return -1;
    float *mel = ls_calloc_array(3000 * 80, 4), *out = ls_calloc_array((size_t)1500 * 5 * 384, 4);
    double seconds[REPEATS];
    for (int i = -1; !ret && i < REPEATS; i++) {
        double start = ls_time_now();
        ret = ls_whisper_encode(m, mel, out, NULL, &err);
        if (i >= 0)
            seconds[i] = ls_time_now() - start;
    }
    print("whisper", 0, c, seconds, NULL, ls_whisper_network(m));
    free(mel);
    free(out);
    ls_whisper_close(&m);
    return ret;
}

/* bench_networks [256|512 [f32|bf16|int8 [DEVICE]]]; the defaults are what the device is fastest
 * with.
 */
int main(int argc, char **argv)
{
    ls_workspace w;
    const size_t r = argc > 1 ? strtoul(argv[1], NULL, 10) : 256;
    int ret = ls_workspace_open(&w, argc > 3 ? argv[3] : "cpu", 0, &err);
    if (!ret) {
        const ls_dtype fast = w.device->info.fast;
        const bool f32 = argc > 2 && !strcmp(argv[2], "f32");
        const bool int8 = argc > 2 && !strcmp(argv[2], "int8");
        const ls_compute c = {&w, f32 ? LS_F32 : fast}, exact = {&w, LS_F32},
                         unet = {&w, int8 ? LS_I8 : c.dtype};
        if (fast == LS_F16) // the card does not run Whisper
            ret = bench_vae(r, &c) || bench_unet(r, &unet);
        else
            ret = bench_whisper(&exact) || bench_vae(r, &c) || bench_unet(r, &unet);
    }
    if (ret)
        fprintf(stderr, "bench_networks: %s\n", err.message);
    ls_workspace_close(&w);
    return ret ? 1 : 0;
}
