#include "cli/cli.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: latentsync models pull [OPTIONS] [1.6|1.5]\n"
    "       latentsync models import [OPTIONS] DIR [1.6|1.5]\n"
    "       latentsync models check DIR\n"
    "       latentsync models random --size mini|small|full --out DIR\n"
    "\n"
    "pull     downloads the published model, 5.8 GB, to where sync looks for it; with its "
    "licences.\n"
    "         \"latentsync models pull --help\" lists the options.\n"
    "import   finds the same files in a folder that has them already, and links them there\n"
    "check    opens the UNet, VAE and Whisper files of a model directory, reads every tensor,\n"
    "         and prints what was found; the face networks too.\n"
    "random   writes a model directory with made-up weights in the published formats, so that\n"
    "         everything can be tried without the published weights. The lips will be\n"
    "         meaningless. mini (10 MB) and small (58 MB) are reduced networks; full (5.5 GB)\n"
    "         has the published size.\n"
    "\n"
    "A model directory holds:\n"
    "  latentsync_unet.pt (or .safetensors)\n"
    "  whisper/tiny.pt (or small.pt, as the UNet was trained)\n"
    "  vae/diffusion_pytorch_model.safetensors (or vae.pt)\n"
    "  face/det_10g.onnx (or another SCRFD network, or YuNet) and face/2d106det.onnx\n"
    "The last are InsightFace's; without 2d106det the detector's five points are used, and "
    "without\n"
    "a detector sync needs a face track.\n";

static void print_report(void *opaque, const ls_models_report *r)
{
    (void)opaque;
    printf("%-8s %s\n", r->role, r->path ? r->path : "none: sync needs a face track");
    if (r->tensors)
        printf("         %zu tensors, %.1f million parameters; %s\n", r->tensors,
               (double)r->parameters / 1e6, r->summary);
    else if (r->path)
        printf("         %s\n", r->summary);
}

static int check(int argc, char **argv)
{
    ls_error err = {0};
    if (argc != 2)
        return cli_usage("models", "models check takes one model directory");
    if (ls_models_check(argv[1], print_report, NULL, NULL, &err))
        return cli_fail(&err);
    puts("ok");
    return EXIT_OK;
}

static int make_random(int argc, char **argv)
{
    static const struct option options[] = {{"size", required_argument, NULL, 's'},
                                            {"out", required_argument, NULL, 'o'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    const char *size = NULL, *out = NULL;
    ls_error err = {0};
    for (int c; (c = getopt_long(argc, argv, "o:h", options, NULL)) != -1;) {
        if (c == 's') {
            size = optarg;
        } else if (c == 'o') {
            out = optarg;
        } else if (c == 'h') {
            fputs(usage, stdout);
            return EXIT_OK;
        } else {
            return cli_usage("models", "models random was not understood");
        }
    }
    if (!size || !out || optind != argc)
        return cli_usage("models", "models random takes --size and --out");
    if (ls_models_random(out, size, &err))
        return err.code == LS_EINVAL ? (cli_fail(&err), EXIT_USAGE) : cli_fail(&err);
    printf("%s now holds a %s model with made-up weights: lips will be meaningless.\n", out, size);
    return EXIT_OK;
}

int cmd_models(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "";
    if (!strcmp(name, "pull") || !strcmp(name, "import"))
        return cmd_pull(argc - 1, argv + 1);
    if (!strcmp(name, "check"))
        return check(argc - 1, argv + 1);
    if (!strcmp(name, "random"))
        return make_random(argc - 1, argv + 1);
    if (!strcmp(name, "--help") || !strcmp(name, "-h")) {
        fputs(usage, stdout);
        return EXIT_OK;
    }
    return cli_usage("models", "models needs \"pull\", \"import\", \"check\" or \"random\"");
}
