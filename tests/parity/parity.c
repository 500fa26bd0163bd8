/* parity [--device cpu|ref|cuda[:N]|vulkan[:N]|emulated] [--dtype f32|bf16|int8] [--streamed]
 * FILE...
 *
 * Holds the networks to golden files: builds the network that a file's metadata names with weights
 * from the formula, runs it on the inputs it names, and prints the relative error of every tensor.
 */
#include "golden_file.h"
#include "base/alloc.h"
#include "base/time.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
    "usage: parity [--device cpu|ref|cuda[:N]|vulkan[:N]|emulated] [--dtype f32|bf16|int8]\n"
    "              [--threads N] [--streamed] FILE...\n"
    "\n"
    "Checks golden files (safetensors with metadata) of UNet, VAE, Whisper and DDIM runs:\n"
    "builds the network that the metadata names with formula weights, runs it, prints\n"
    "||out - golden|| / ||golden|| per tensor. Exit code 1 above the tolerance: float32 1e-5\n"
    "(1e-4 for networks of the published size), bfloat16 2e-2, int8 5e-2, float16 (on a card) "
    "5e-3;\n"
    "2 for a file it cannot check. \"emulated\" is a card that the tests emulate on the CPU;\n"
    "--streamed keeps a UNet's weights in the memory of the process.\n";

/* Published sizes: a UNet of 320 channels, a VAE of 128, Whisper's 384. */
static double tolerance_of(const golden_file *g, ls_dtype dtype)
{
    if (dtype == LS_BF16)
        return 2e-2;
    if (dtype == LS_I8)
        return 5e-2;
    if (dtype == LS_F16)
        return 5e-3;
    const json_t *channels = json_object_get(g->config, "block_out_channels");
    json_int_t first = json_integer_value(json_array_get(channels, 0));
    bool full = !g->config || first >= 320 ||
                (first >= 128 && !json_object_get(g->config, "cross_attention_dim"));
    return full ? 1e-4 : 1e-5;
}

static int check(const char *path, const ls_compute *compute, bool streamed, size_t *failed,
                 ls_error *err)
{
    golden_file g = {.path = path, .streamed = streamed};
    int ret = ls_weights_open(&g.w, path, err);
    if (ret)
        return ret;
    const char *config = ls_weights_meta_text(g.w, "config");
    const char *weights = ls_weights_meta_text(g.w, "weights");
    if (!config)
        config = ls_weights_meta_text(g.w, "dims");
    g.config = config ? json_loads(config, 0, NULL) : NULL;
    g.low_gain = weights && strstr(weights, "0.003");
    g.tolerance = tolerance_of(&g, compute->dtype);
    if (ls_weights_meta_text(g.w, "noise") && ls_weights_meta_text(g.w, "masked"))
        ret = parity_ddim_run(&g, compute, err);
    else if (ls_weights_meta_text(g.w, "input_sample"))
        ret = parity_unet(&g, compute, err);
    else if (ls_weights_meta_text(g.w, "latent") && ls_weights_meta_text(g.w, "image"))
        ret = parity_vae(&g, compute, err);
    else
        ret = parity_whisper(&g, compute, err);
    if (!ret && !g.compared)
        ret = ls_fail(err, LS_EFORMAT, "%s: nothing in it could be checked", path);
    *failed += g.failed;
    json_decref(g.config);
    ls_weights_close(&g.w);
    return ret;
}

static ls_dtype dtype_of(const char *name)
{
    return !strcmp(name, "f32")    ? LS_F32
           : !strcmp(name, "bf16") ? LS_BF16
           : !strcmp(name, "int8") ? LS_I8
                                   : LS_DTYPE_COUNT;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"device", required_argument, NULL, 'd'},  {"dtype", required_argument, NULL, 'n'},
        {"threads", required_argument, NULL, 't'}, {"streamed", no_argument, NULL, 's'},
        {"help", no_argument, NULL, 'h'},          {0}};
    const char *device = "cpu";
    int threads = 0;
    bool streamed = false;
    ls_workspace workspace;
    ls_compute compute = {&workspace, LS_F32};
    for (int c; (c = getopt_long(argc, argv, "h", options, NULL)) != -1;) {
        if (c == 'd') {
            device = optarg;
        } else if (c == 's') {
            streamed = true;
        } else if (c == 't') {
            threads = atoi(optarg);
        } else if (c == 'n' && dtype_of(optarg) != LS_DTYPE_COUNT) {
            compute.dtype = dtype_of(optarg);
        } else {
            fputs(usage, c == 'h' ? stdout : stderr);
            return c == 'h' ? 0 : 2;
        }
    }
    if (optind == argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (!strcmp(device, "cpu") && !ls_device_cpu_computes(compute.dtype)) {
        puts("skipped: this CPU cannot compute in that type");
        return 77;
    }
    size_t failed = 0;
    int status = 0;
    ls_error none = {0};
    if (!strcmp(device, "emulated")) {
        setenv("LS_CUDA_LIBRARY", LS_EMULATED_CUDA, 1);
        device = "cuda:0";
    }
    if (ls_workspace_open(&workspace, device, threads, &none)) {
        fprintf(stderr, "parity: %s\n", none.message);
        return 2;
    }
    if (!workspace.device->info.host)
        compute.dtype = workspace.device->info.fast;
    for (int i = optind; i < argc; i++) {
        ls_error err = {0};
        double start = ls_time_now();
        if (check(argv[i], &compute, streamed, &failed, &err)) {
            fprintf(stderr, "parity: %s\n", err.message);
            status = 2;
        } else {
            printf("%s: %.1f s\n", argv[i], ls_time_now() - start);
        }
    }
    ls_workspace_close(&workspace);
    return status ? status : failed ? 1 : 0;
}
