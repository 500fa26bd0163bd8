/* bench_load DIR [f32|bf16|int8] [RESOLUTION] [BYTES]: seconds until the networks of a model
 * directory are ready, as a job takes them, and the memory that they hold then; one line of JSON.
 * BYTES: as the option weights-cache, 0 by default. */
#include "base/system.h"
#include "base/time.h"
#include "pipeline/generator.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static ls_error err;

static int fail(void)
{
    fprintf(stderr, "bench_load: %s\n", err.message);
    return 1;
}

int main(int argc, char **argv)
{
    const char *type = argc > 2 ? argv[2] : "bf16";
    const ls_dtype dtype = !strcmp(type, "f32") ? LS_F32 : !strcmp(type, "int8") ? LS_I8 : LS_BF16;
    ls_generator_settings s = {
        .resolution = argc > 3 ? strtoul(argv[3], NULL, 10) : 256,
        .sampler = {.steps = 20, .guidance_scale = 1.5f, .cache_interval = 2, .guidance_end = 1},
        .vae_frames = 1};
    ls_models m;
    ls_generator *g = NULL;
    ls_generator_memory memory;
    if (argc < 2)
        return 2;
    const double start = ls_time_now();
    if (ls_models_open(&m, argv[1], &(ls_devices){"cpu", "cpu", "cpu", dtype, 0}, &err))
        return fail();
    ls_models_set_kept(&m, argc > 4 ? strtoull(argv[4], NULL, 10) : 0);
    const double opened = ls_time_now();
    if (ls_generator_estimate(&memory, &m, &s, LS_CHUNK_FRAMES, &err))
        return fail();
    const double planned = ls_time_now();
    if (ls_generator_open(&g, &m, NULL, &s, &err) || ls_generator_prepare(g, LS_CHUNK_FRAMES, &err))
        return fail();
    const double prepared = ls_time_now(), cpu = ls_time_cpu();
    ls_network *nets[LS_NETWORKS];
    ls_network_kept kept;
    ls_models_list(&m, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++)
        if (ls_network_keep(nets[i], &kept, NULL, &err))
            return fail();
    const double put = ls_time_now();
    const ls_process_memory p = ls_process_memory_now();
    printf("{\"open\": %.3f, \"plan\": %.3f, \"prepare\": %.3f, \"cpu\": %.3f, \"keep\": %.3f, "
           "\"weights_mb\": %.0f, \"mapped_mb\": %.0f, \"resident_mb\": %.0f, \"peak_mb\": %.0f, "
           "\"anonymous_mb\": %.0f}\n",
           opened - start, planned - opened, prepared - planned, cpu, put - prepared,
           (double)memory.weights / 1e6, (double)ls_models_packed(&m).mapped / 1e6,
           (double)p.resident / 1e6, (double)p.peak_resident / 1e6, (double)p.anonymous / 1e6);
    ls_generator_close(&g);
    ls_models_close(&m);
    return 0;
}
