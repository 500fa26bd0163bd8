#include "cli/cli.h"

#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static const char usage[] =
    "usage: latentsync models pull [OPTIONS] [1.6|1.5]\n"
    "       latentsync models import [OPTIONS] DIR [1.6|1.5]\n"
    "\n"
    "Downloads the published LatentSync, 1.6 unless told, with all that sync needs beside it (5.8 "
    "GB):\n"
    "  latentsync_unet.pt, whisper/tiny.pt         Hugging Face, ByteDance/LatentSync-VERSION\n"
    "  vae/diffusion_pytorch_model.safetensors     Hugging Face, stabilityai/sd-vae-ft-mse\n"
    "  face/det_10g.onnx, face/2d106det.onnx       GitHub, buffalo_l.zip of InsightFace\n"
    "into ~/.local/share/latentsync/VERSION ($XDG_DATA_HOME/latentsync/VERSION).\n"
    "\n"
    "Every file is checked by its SHA-256, and gets its name when it is complete; what is there\n"
    "already is checked and left alone. After an interruption the same command resumes where it\n"
    "stopped. HF_TOKEN and HF_ENDPOINT are used as by Hugging Face's programs. Proxies are those "
    "of the environment (https_proxy); SSL_CERT_FILE may name a file "
    "of\n"
    "certificates to trust instead of the system's.\n"
    "\n"
    "import looks for these files in DIR: LatentSync's checkpoints, ComfyUI's models, the Hugging "
    "Face\n"
    "cache, InsightFace's models. They are recognised by their SHA-256, and linked, not moved.\n"
    "\n"
    "InsightFace's networks are for non-commercial research only. On a terminal you are asked; "
    "else\n"
    "one of these is needed:\n"
    "      --accept-licence   download them under these terms\n"
    "      --without-faces    leave them out: sync then needs a face track, or a detector of "
    "yours\n"
    "\n"
    "  -o, --out DIR          download into DIR/VERSION\n"
    "      --mirror URL       ask this server instead of huggingface.co and github.com, for the "
    "same\n"
    "                         paths, e.g. https://hf-mirror.com; it is trusted with what the files "
    "are\n"
    "      --timeout SECONDS  give a silent connection up after so long [30]\n"
    "      --retries N        times that a failing connection is tried again [5]\n"
    "      --progress MODE    line, json or none [line]\n"
    "  -q, --quiet            errors only\n"
    "  -v, --verbose          more\n";

enum { OPT_MIRROR = 256, OPT_ACCEPT, OPT_WITHOUT, OPT_TIMEOUT, OPT_RETRIES };

static const struct option options[] = {
    {"out", required_argument, NULL, 'o'},
    {"mirror", required_argument, NULL, OPT_MIRROR},
    {"accept-licence", no_argument, NULL, OPT_ACCEPT},
    {"without-faces", no_argument, NULL, OPT_WITHOUT},
    {"timeout", required_argument, NULL, OPT_TIMEOUT},
    {"retries", required_argument, NULL, OPT_RETRIES},
    CLI_CONSOLE_OPTIONS,
    {"help", no_argument, NULL, 'h'},
    {0},
};

static void tell_terms(cli_console *con, bool faces)
{
    const ls_pull_item *item;
    char line[256];
    for (size_t i = 0; (item = ls_pull_get_item(i)); i++) {
        if (!faces && !ls_pull_get_item(i + 1))
            break;
        snprintf(line, sizeof line, "%s (%.2f GB): licence %s", item->what,
                 (double)item->bytes / 1e9, item->licence);
        cli_message(con, LS_MESSAGE_INFO, line);
    }
}

static bool ask(void)
{
    char answer[16] = "";
    fputs("InsightFace's networks are for non-commercial research only. Download them under these "
          "terms? [y/N] ",
          stderr);
    return fgets(answer, sizeof answer, stdin) && tolower((unsigned char)*answer) == 'y';
}

/* Whether InsightFace's terms are settled; false after a message. */
static bool settle_terms(const char *dir, bool accepted)
{
    if (accepted || ls_pull_has_faces(dir))
        return true;
    if (isatty(STDIN_FILENO) && isatty(STDERR_FILENO)) {
        if (ask())
            return true;
        fputs("latentsync: nothing was downloaded; --without-faces leaves InsightFace's networks "
              "out\n",
              stderr);
        return false;
    }
    cli_usage("models pull",
              "InsightFace's face networks are for non-commercial research only: add "
              "--accept-licence to download them under these terms, or --without-faces to leave "
              "them out");
    return false;
}

typedef struct request {
    ls_pull_settings s;
    const char *from; /* of an import */
} request;

static int run(void *cancel, void *opaque, ls_error *err)
{
    request *r = opaque;
    r->s.cancel = cancel;
    return r->from ? ls_models_import(&r->s, r->from, err) : ls_models_pull(&r->s, err);
}

static void cancel_pull(void *cancel)
{
    ls_cancel_request(cancel);
}

static int pull(request *r, cli_console *con, bool accepted)
{
    ls_error err = {0};
    char dir[4096];
    if (ls_pull_directory(&r->s, dir, sizeof dir, &err))
        return err.code == LS_EINVAL ? (cli_fail(&err), EXIT_USAGE) : cli_fail(&err);
    if (!r->from)
        tell_terms(con, r->s.faces);
    if (!r->from && r->s.faces && !settle_terms(dir, accepted))
        return EXIT_USAGE;
    ls_cancel *cancel = ls_cancel_new();
    int ret = cancel ? cli_run_job(con, cancel, run, r, cancel_pull, &err) : LS_ENOMEM;
    ls_cancel_free(&cancel);
    if (ret == LS_ECANCELED) {
        fputs("latentsync: interrupted; run the same command to resume\n", stderr);
        return EXIT_INTERRUPTED;
    }
    if (ret)
        return cli_fail(&err);
    if (con->level >= LS_MESSAGE_INFO && r->from)
        printf("imported into %s\n", dir);
    else if (con->level >= LS_MESSAGE_INFO)
        printf("%s holds LatentSync %s%s\n", dir, r->s.version,
               r->s.faces ? "" : ", without face networks");
    return EXIT_OK;
}

int cmd_pull(int argc, char **argv)
{
    cli_console con = cli_console_new();
    request r = {0};
    ls_pull_settings *s = &r.s;
    const bool import = !strcmp(argv[0], "import");
    bool accepted = false, ok = true;
    long long n = 0;
    ls_pull_default_settings(s, sizeof *s);
    s->faces = 1;
    for (int c; (c = getopt_long(argc, argv, "o:qvh", options, NULL)) != -1;) {
        switch (c) {
        case 'h':
            fputs(usage, stdout);
            return EXIT_OK;
        case 'o':
            s->folder = optarg;
            break;
        case OPT_MIRROR:
            s->mirror = optarg;
            break;
        case OPT_ACCEPT:
            accepted = true;
            break;
        case OPT_WITHOUT:
            s->faces = false;
            break;
        case OPT_TIMEOUT:
            ok = cli_int("models pull", "timeout", optarg, 1, 86400, &n);
            s->stall_seconds = (int)n;
            break;
        case OPT_RETRIES:
            ok = cli_int("models pull", "retries", optarg, 0, 1000, &n);
            s->retries = (int)n;
            break;
        default:
            ok = cli_console_option("models pull", &con, c, optarg);
        }
        if (!ok)
            return EXIT_USAGE;
    }
    if (import && optind < argc)
        r.from = argv[optind++];
    if (import && !r.from)
        return cli_usage("models pull", "models import needs the folder to import from");
    if (argc - optind > 1)
        return cli_usage("models pull", "one version is expected, 1.6 or 1.5");
    if (accepted && !s->faces)
        return cli_usage("models pull", "--accept-licence and --without-faces exclude each other");
    if (optind < argc)
        s->version = argv[optind];
    s->message = cli_message;
    s->progress = cli_transfer;
    s->opaque = &con;
    return pull(&r, &con, accepted);
}
