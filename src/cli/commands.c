/* Every command in one row. */
#include "cli/cli.h"

#include <string.h>

static const char *const modes[] = {"line", "json", "none", NULL};
static const char *const sizes[] = {"mini", "small", "full", NULL};
static const char *const versions[] = {"1.6", "1.5", NULL};
static const char *const bench_sizes[] = {"published", "small", NULL};
static const char *const executors[] = {"local", "slurm", NULL};
static const char *const shells[] = {"bash", "zsh", "fish", NULL};

static const ls_option reporting[] = {
    {.name = "progress",
     .type = LS_OPTION_CHOICE,
     .value = "MODE",
     .initial = "line",
     .choices = modes,
     .group = "Messages",
     .help = "line, json (an event a line on standard output) or none"},
    {.name = "quiet",
     .letter = 'q',
     .group = "Messages",
     .help = "show errors only, and what concerns the result as a whole"},
    {.name = "verbose",
     .letter = 'v',
     .group = "Messages",
     .help = "show more, messages of the codecs too"},
    {.name = "watch-stdin",
     .group = "Messages",
     .help = "end as after Ctrl-C when standard input ends: with the program that holds its other "
             "end"},
    {0},
};

static const ls_option help_option[] = {{.name = "help", .letter = 'h', .help = "show this help"},
                                        {0}};

static const ls_option job_operand[] = {{.name = "job",
                                         .type = LS_OPTION_DIRECTORY,
                                         .is_required = 1,
                                         .value = "JOB",
                                         .help = "folder of the job, OUTPUT.lsjob"},
                                        {0}};

static const ls_option segment_option[] = {
    {.name = "segment",
     .type = LS_OPTION_INTEGER,
     .is_required = 1,
     .letter = 's',
     .value = "K",
     .max = 1e6,
     .help = "which segment: 0 to the number that \"latentsync plan\" printed, minus 1"},
    {0}};

static const ls_option faces_options[] = {
    {.name = "json",
     .group = "Output",
     .help = "print JSON lines, each frame with its faces, then the list: a track for "
             "\"latentsync sync --face-track\""},
    {.name = "preview",
     .type = LS_OPTION_OUTPUT,
     .value = "DIR",
     .group = "Output",
     .help = "write DIR/track-N.png, the best image of each face"},
    {0}};

static const ls_option sync_options[] = {
    {.name = "dry-run",
     .group = "Job",
     .help = "check everything, print what the job would take, as \"latentsync estimate\" does, "
             "and make nothing"},
    {.name = "json", .group = "Job", .help = "with --dry-run: as a JSON object"},
    {0}};

static const ls_option batch_operand[] = {
    {.name = "list",
     .type = LS_OPTION_INPUT,
     .is_required = 1,
     .value = "LIST",
     .help = "CSV file with the columns video, speech and output, named in its first line"},
    {0}};

static const ls_option batch_options[] = {
    {.name = "results",
     .type = LS_OPTION_OUTPUT,
     .value = "FILE",
     .automatic = "LIST.results.csv, without the .csv of LIST",
     .help = "CSV file to write: row, output, status, seconds, error"},
    {.name = "restart", .help = "make all rows, also those that are complete or were begun"},
    {0}};

static const ls_option json_option[] = {{.name = "json", .help = "print one JSON object"}, {0}};

static const ls_option probe_operand[] = {{.name = "file",
                                           .type = LS_OPTION_INPUT,
                                           .is_required = 1,
                                           .value = "FILE",
                                           .help = "a video or a recording"},
                                          {0}};

#define VERSION_OPERAND                                                                            \
    {                                                                                              \
        .name = "version", .type = LS_OPTION_CHOICE, .value = "VERSION", .initial = "1.6",         \
        .choices = versions, .help = "version of LatentSync, 1.6 or 1.5"                           \
    }
#define OUT_OPTION                                                                                 \
    {                                                                                              \
        .name = "out", .type = LS_OPTION_DIRECTORY, .letter = 'o', .value = "DIR",                 \
        .automatic = "~/.local/share/latentsync", .help = "write the model directory DIR/VERSION"  \
    }

#define SYNCNET_OPTION                                                                             \
    {                                                                                              \
        .name = "syncnet",                                                                         \
        .help = "StableSyncNet and SyncNet too (1.7 GB), which \"latentsync check\" measures with" \
    }

static const ls_option pull_operands[] = {VERSION_OPERAND, {0}};

static const ls_option pull_options[] = {
    OUT_OPTION,
    SYNCNET_OPTION,
    {.name = "accept-licence",
     .group = "Face networks, for non-commercial research only",
     .help = "download them under these terms"},
    {.name = "without-faces",
     .group = "Face networks, for non-commercial research only",
     .help = "leave them out: sync then needs --face-track or --detector"},
    {.name = "mirror",
     .type = LS_OPTION_TEXT,
     .value = "URL",
     .automatic = "the publishers",
     .group = "Connection",
     .help = "ask this server for the same paths, like https://hf-mirror.com"},
    {.name = "insecure",
     .group = "Connection",
     .help = "allow http, without encryption, to other hosts than this one"},
    {.name = "timeout",
     .type = LS_OPTION_INTEGER,
     .value = "SECONDS",
     .initial = "30",
     .min = 1,
     .max = 86400,
     .group = "Connection",
     .help = "give up a connection that is silent, or slower than 1 kB/s, for so long"},
    {.name = "retries",
     .type = LS_OPTION_INTEGER,
     .value = "N",
     .initial = "5",
     .max = 1000,
     .group = "Connection",
     .help = "how often to retry a failing connection"},
    {0}};

static const ls_option import_operands[] = {{.name = "folder",
                                             .type = LS_OPTION_DIRECTORY,
                                             .is_required = 1,
                                             .value = "FOLDER",
                                             .help = "where the files are, at any depth"},
                                            VERSION_OPERAND,
                                            {0}};

static const ls_option import_options[] = {
    OUT_OPTION,
    SYNCNET_OPTION,
    {.name = "without-faces", .help = "leave the face networks out"},
    {0}};

static const ls_option check_operand[] = {{.name = "directory",
                                           .type = LS_OPTION_DIRECTORY,
                                           .is_required = 1,
                                           .value = "DIR",
                                           .help = "model directory"},
                                          {0}};

static const ls_option random_options[] = {
    {.name = "size",
     .type = LS_OPTION_CHOICE,
     .is_required = 1,
     .letter = 's',
     .value = "SIZE",
     .choices = sizes,
     .help = "mini (10 MB) or small (58 MB): reduced networks; full (5.5 GB): the published size"},
    {.name = "out",
     .type = LS_OPTION_DIRECTORY,
     .is_required = 1,
     .letter = 'o',
     .value = "DIR",
     .help = "model directory to write"},
    {0}};

static const ls_option report_operand[] = {{.name = "stats",
                                            .type = LS_OPTION_INPUT,
                                            .is_required = 1,
                                            .value = "STATS",
                                            .help = "file that --stats has written"},
                                           {0}};

static const ls_option report_options[] = {{.name = "out",
                                            .type = LS_OPTION_OUTPUT,
                                            .is_required = 1,
                                            .letter = 'o',
                                            .value = "PAGE",
                                            .help = "HTML file to write"},
                                           {0}};

static const ls_option bench_gpu_options[] = {
    {.name = "device",
     .type = LS_OPTION_TEXT,
     .value = "DEVICE",
     .initial = "cuda",
     .help = "which card: cuda is the first, cuda:1 the second; or vulkan, vulkan:N"},
    {.name = "quick", .help = "measure at 256 x 256 pixels only"},
    {.name = "sizes",
     .type = LS_OPTION_CHOICE,
     .value = "SIZES",
     .initial = "published",
     .choices = bench_sizes,
     .help = "what to measure: networks of the published sizes, or small ones, which say nothing "
             "about speed"},
    {0}};

static const ls_option serve_options[] = {
    {.name = "listen",
     .type = LS_OPTION_TEXT,
     .value = "ADDRESS",
     .initial = "127.0.0.1:7860",
     .group = "Address",
     .help = "HOST:PORT, [::1]:PORT or unix:PATH; one that other machines reach needs "
             "--token-file"},
    {.name = "token-file",
     .type = LS_OPTION_INPUT,
     .value = "FILE",
     .group = "Address",
     .help = "ask for the token in this file, of 16 or more characters"},
    {.name = "host",
     .type = LS_OPTION_TEXT,
     .value = "NAMES",
     .group = "Address",
     .help = "further names that the server is reached under, with commas between them"},
    {.name = "prefix",
     .type = LS_OPTION_TEXT,
     .value = "PATH",
     .group = "Address",
     .help = "what a proxy puts before every path, such as /lips"},
    {.name = "data",
     .type = LS_OPTION_OUTPUT,
     .value = "DIR",
     .automatic = "~/.local/share/latentsync/server",
     .group = "Jobs",
     .help = "keep uploads, jobs and results there"},
    {.name = "models",
     .type = LS_OPTION_DIRECTORY,
     .letter = 'm',
     .value = "DIR",
     .automatic = "the installed model",
     .group = "Jobs",
     .help = "model directory"},
    {.name = "device",
     .type = LS_OPTION_TEXT,
     .value = "DEVICE",
     .initial = "auto",
     .group = "Jobs",
     .help = "where the networks run, as for \"latentsync sync\""},
    {.name = "workers",
     .type = LS_OPTION_INTEGER,
     .value = "N",
     .automatic = "what the machine holds",
     .min = 1,
     .max = 1024,
     .group = "Jobs",
     .help = "jobs to run at a time"},
    {.name = "executor",
     .type = LS_OPTION_CHOICE,
     .value = "WHERE",
     .initial = "local",
     .choices = executors,
     .group = "Jobs",
     .help = "run jobs on this machine (local) or on its cluster (slurm)"},
    {.name = "max-memory",
     .type = LS_OPTION_BYTES,
     .value = "SIZE",
     .automatic = "70 % of what is free",
     .max = 1e15,
     .group = "Limits",
     .help = "memory of all jobs and the server together"},
    {.name = "max-upload",
     .type = LS_OPTION_BYTES,
     .value = "SIZE",
     .initial = "4G",
     .min = 1,
     .max = 1e15,
     .group = "Limits",
     .help = "largest file to take"},
    {.name = "max-seconds",
     .type = LS_OPTION_INTEGER,
     .value = "N",
     .initial = "3600",
     .min = 1,
     .max = 1e6,
     .unit = "seconds",
     .group = "Limits",
     .help = "longest video and speech to take"},
    {.name = "max-pixels",
     .type = LS_OPTION_INTEGER,
     .value = "N",
     .initial = "9437184",
     .min = 1,
     .max = 1e9,
     .group = "Limits",
     .help = "largest picture to take; the default is 4096 x 2304"},
    {.name = "max-queue",
     .type = LS_OPTION_INTEGER,
     .value = "N",
     .initial = "100",
     .min = 1,
     .max = 1e6,
     .group = "Limits",
     .help = "jobs that may wait"},
    {.name = "keep",
     .type = LS_OPTION_TEXT,
     .value = "TIME",
     .initial = "7d",
     .group = "Limits",
     .help = "remove finished jobs and unused uploads after that time, such as 12h; 0: never"},
    {.name = "webhook-hosts",
     .type = LS_OPTION_TEXT,
     .value = "NAMES",
     .group = "Webhooks",
     .help = "hosts that may be told when a job ends, with commas between them"},
    {.name = "webhook-secret",
     .type = LS_OPTION_INPUT,
     .value = "FILE",
     .group = "Webhooks",
     .help = "sign what they are told with the key in this file"},
    {.name = "access-log",
     .type = LS_OPTION_OUTPUT,
     .value = "FILE",
     .group = "Messages",
     .help = "add a line for each request to this file; -: to standard output"},
    {0}};

static const ls_option help_operands[] = {
    {.name = "command", .type = LS_OPTION_TEXT, .value = "COMMAND", .help = "a command"},
    {.name = "subcommand",
     .type = LS_OPTION_TEXT,
     .value = "SUBCOMMAND",
     .help = "one of its own, as in \"models pull\""},
    {0}};

static const ls_option shell_operand[] = {{.name = "shell",
                                           .type = LS_OPTION_CHOICE,
                                           .is_required = 1,
                                           .value = "SHELL",
                                           .choices = shells,
                                           .help = "bash, zsh or fish"},
                                          {0}};

static const ls_option slurm_operand[] = {{.name = "folder",
                                           .type = LS_OPTION_DIRECTORY,
                                           .is_required = 1,
                                           .value = "FOLDER",
                                           .help = "folder of the job"},
                                          {0}};

static const cli_command commands[] = {
    {.name = "sync",
     .summary = "make a lip-synced video",
     .description =
         "Writes FILE: VIDEO with the lips moving to SPEECH, and SPEECH as its audio. It is as "
         "long as the speech; a shorter video plays alternately forwards and backwards.\n\n"
         "Finished segments are kept in FILE.lsjob until FILE is complete: after an interruption "
         "the same command, or \"latentsync resume FILE.lsjob\", resumes the job.\n\n"
         "As VIDEO or SPEECH, - is standard input. As FILE it is standard output, which gets the "
         "complete video, a Matroska file.",
     .examples = "latentsync sync interview.mp4 speech.wav -o dubbed.mp4\n"
                 "latentsync sync --preview interview.mp4 speech.wav -o dubbed.mp4\n"
                 "latentsync sync --face left talk.mkv speech.mp3 -o dubbed.mkv",
     .library = LS_OPTION_SYNC,
     .reports = reporting,
     .options = sync_options,
     .run = cmd_sync},
    {.name = "batch",
     .summary = "make many videos, from a list",
     .description =
         "Makes a video for each row of LIST, one after the other, with models that are opened "
         "once. Further columns are options of \"latentsync sync\", without the hyphens before "
         "them, such as steps; an empty field is the default. Paths are relative to LIST.\n\n"
         "A row that fails does not end the batch, but the exit status is then 1. Rows whose "
         "output "
         "is complete are skipped, so after an interruption the same command resumes.",
     .examples = "latentsync batch list.csv",
     .reports = reporting,
     .operands = batch_operand,
     .options = batch_options,
     .run = cmd_batch},
    {.name = "estimate",
     .summary = "tell what a job would take: time, memory, disk",
     .description =
         "Makes the first frames of the job, which takes some seconds, and prints how long all of "
         "it would take while the machine is as busy as it is now, and what it needs. Where the "
         "networks are so large that this would take minutes, their share follows from the speed "
         "of single operations. What was measured is kept in ~/.cache/latentsync and used again; "
         "\"latentsync tune\" forgets it.",
     .examples = "latentsync estimate interview.mp4 speech.wav\n"
                 "latentsync estimate --steps 50 interview.mp4 speech.wav",
     .library = LS_OPTION_ESTIMATE,
     .reports = reporting,
     .options = json_option,
     .run = cmd_estimate},
    {.name = "tune",
     .summary = "measure how fast this machine computes",
     .description =
         "Measures what networks consist of, with each number type and several numbers of threads, "
         "tells what \"latentsync sync\" makes of it and why, and replaces what \"latentsync "
         "estimate\" knew. Where fewer threads than there are cores are the fastest, jobs use so "
         "many from then on; where a card is slower than the CPU, they use it only if it is named. "
         "Takes some ten seconds on two cores.",
     .examples = "latentsync tune",
     .run = cmd_tune},
    {.name = "resume",
     .summary = "resume an interrupted job",
     .description = "Makes the segments that are missing and writes the output, which is "
                    "byte-identical to that of an uninterrupted run. Inputs, model and settings "
                    "are those the job was started with.",
     .examples = "latentsync resume dubbed.mp4.lsjob",
     .library = LS_OPTION_RESUME,
     .reports = reporting,
     .operands = job_operand,
     .run = cmd_resume},
    {.name = "plan",
     .summary = "prepare a job for several processes or machines",
     .description =
         "Makes FILE.lsjob, the folder of a job that several processes or machines share, finds "
         "the faces, and prints the number of segments. \"latentsync render FILE.lsjob --segment "
         "K\", with K from 0, makes each of them, in any order; then \"latentsync join "
         "FILE.lsjob\" writes FILE.",
     .examples = "latentsync plan interview.mp4 speech.wav -o dubbed.mp4",
     .library = LS_OPTION_SYNC,
     .reports = reporting,
     .run = cmd_plan},
    {.name = "render",
     .summary = "make one segment of a planned job",
     .description = "Makes one segment, unless it is finished. Any number of processes may do so "
                    "at once, on every machine that shares the folder.",
     .examples = "latentsync render dubbed.mp4.lsjob --segment 3",
     .library = LS_OPTION_RESUME,
     .reports = reporting,
     .operands = job_operand,
     .options = segment_option,
     .run = cmd_render},
    {.name = "join",
     .summary = "write the output of a planned job",
     .description = "Writes the output from the segments, all of which must be finished.",
     .examples = "latentsync join dubbed.mp4.lsjob",
     .library = LS_OPTION_RESUME,
     .reports = reporting,
     .operands = job_operand,
     .run = cmd_join},
    {.name = "faces",
     .summary = "list the faces in a video, for sync to choose from",
     .description =
         "Lists each face with its number for \"latentsync sync --face\", its first and last "
         "frame, its share of all frames, and its mean score and position. After a cut or a long "
         "absence a face gets a new number.",
     .examples = "latentsync faces interview.mp4\n"
                 "latentsync faces --preview faces interview.mp4",
     .library = LS_OPTION_FACES,
     .reports = reporting,
     .options = faces_options,
     .run = cmd_faces},
    {.name = "check",
     .summary = "tell whether the lips of a video follow its sound",
     .description =
         "Finds by how much the sound of VIDEO comes before or after the lips, up to 0.6 s, over "
         "all of it and in stretches of 10 s: with StableSyncNet or SyncNet where their weights "
         "are, else from how far the mouth is open. Prints \"in sync\" (within a frame and a half "
         "of 25 a second), \"late\" or \"early\", which is what the sound is, or \"cannot "
         "tell\". The exit status is 0 if it is in sync, else 1.",
     .examples = "latentsync check dubbed.mp4\nlatentsync check --json --face left talk.mkv",
     .library = LS_OPTION_CHECK,
     .reports = reporting,
     .options = json_option,
     .run = cmd_check},
    {.name = "probe",
     .summary = "show what a media file holds, and what sync would make of it",
     .examples = "latentsync probe interview.mp4",
     .reports = reporting,
     .operands = probe_operand,
     .options = json_option,
     .run = cmd_probe},
    {.name = "models",
     .summary = "download, import, check or make model directories",
     .description =
         "A model directory holds:\n"
         "  latentsync_unet.pt (or .safetensors)\n"
         "  whisper/tiny.pt (or small.pt, as the UNet was trained)\n"
         "  vae/diffusion_pytorch_model.safetensors (or vae.pt)\n"
         "  face/det_10g.onnx (or another SCRFD network, or YuNet)\n"
         "  face/2d106det.onnx\n"
         "The last two are InsightFace's. Without 2d106det, the five points of the detector are "
         "used; without a detector, sync needs a face track.",
     .examples = "latentsync models pull"},
    {.name = "models pull",
     .summary = "download the published model, 5.8 GB",
     .description =
         "Downloads LatentSync and what it needs, from huggingface.co and github.com:\n"
         "  latentsync_unet.pt, whisper/tiny.pt      ByteDance/LatentSync-VERSION\n"
         "  vae/diffusion_pytorch_model.safetensors  stabilityai/sd-vae-ft-mse\n"
         "  face/det_10g.onnx, face/2d106det.onnx    InsightFace's buffalo_l.zip\n"
         "  auxiliary/syncnet_v2.model (--syncnet)   ByteDance/LatentSync-VERSION\n"
         "  stable_syncnet.pt (--syncnet)            ByteDance/LatentSync-1.6\n"
         "Each file is checked by its SHA-256 and gets its name when it is complete. Files that "
         "exist are checked, and kept. After an interruption the same command resumes.\n\n"
         "On a terminal you are asked to accept the terms of InsightFace's face networks; "
         "elsewhere --accept-licence or --without-faces is needed.\n\n"
         "Read from the environment: https_proxy and its kin, SSL_CERT_FILE (certificates to "
         "trust instead of the system's), HF_ENDPOINT (as --mirror, for huggingface.co), HF_TOKEN.",
     .examples = "latentsync models pull\nlatentsync models pull 1.5 -o /data/models",
     .reports = reporting,
     .operands = pull_operands,
     .options = pull_options,
     .run = cmd_pull},
    {.name = "models import",
     .summary = "make a model directory from files you have",
     .description =
         "Looks through FOLDER, such as LatentSync's checkpoints/, ComfyUI's models/ or the cache "
         "of Hugging Face, for the published files, recognised by size and SHA-256. They are "
         "linked, or copied where links cannot be made. FOLDER is not changed.",
     .examples = "latentsync models import ~/LatentSync/checkpoints",
     .reports = reporting,
     .operands = import_operands,
     .options = import_options,
     .run = cmd_import},
    {.name = "models check",
     .summary = "check a model directory",
     .description = "Opens all networks, checks that they fit together, and reads every tensor.",
     .examples = "latentsync models check ~/.local/share/latentsync/1.6",
     .reports = reporting,
     .operands = check_operand,
     .run = cmd_models_check},
    {.name = "models random",
     .summary = "make a model directory with made-up weights",
     .description = "Writes made-up weights in the published formats, to try everything without "
                    "the published ones. The lips will be meaningless.",
     .examples = "latentsync models random --size mini --out models",
     .options = random_options,
     .run = cmd_random},
    {.name = "report",
     .summary = "draw the statistics of a run as a page",
     .description =
         "Draws what \"latentsync sync --stats STATS\" has recorded, even if that run was killed "
         "or is still running: memory and CPU over time, how busy each stage was and how full the "
         "queues. PAGE is one self-contained HTML file.",
     .examples = "latentsync report stats.jsonl -o report.html",
     .operands = report_operand,
     .options = report_options,
     .run = cmd_report},
    {.name = "serve",
     .summary = "serve a page and an API, with a queue of jobs",
     .description =
         "Prints the address of a page on which videos are uploaded, made, watched and downloaded. "
         "Jobs run one after the other or several at a time, each as a process of its own; after "
         "an interruption the next server on the same folder resumes them. docs/SERVER.md "
         "describes the API, and how to run it as a service or behind a proxy.",
     .examples = "latentsync serve\n"
                 "latentsync serve --listen 0.0.0.0:7860 --token-file token",
     .reports = reporting + 1, /* without --progress */
     .options = serve_options,
     .run = cmd_serve},
    {.name = "slurm-job",
     .summary = "follow a job of the server on a cluster",
     .is_hidden = true,
     .operands = slurm_operand,
     .run = cmd_slurm_job},
    {.name = "bench",
     .summary = "check and measure a graphics card",
     .examples = "latentsync bench gpu"},
    {.name = "bench gpu",
     .summary = "check what a card computes, and measure how fast",
     .description =
         "Compares every operation on a card with the CPU, then measures the operations "
         "and the networks. Needs the card's driver, but neither models nor videos; takes a few "
         "minutes. Prints a table to paste into a report; the exit status is 1 if anything in it "
         "is FAILED.",
     .examples = "latentsync bench gpu\nlatentsync bench gpu --device cuda:1 --quick",
     .options = bench_gpu_options,
     .run = cmd_bench_gpu},
    {.name = "info",
     .summary = "show what this machine offers: CPU, memory, encoders",
     .description = "Shows what matters for speed and memory on this machine: CPU features and "
                    "the number type they lead to, memory and cgroup limits, the model that sync "
                    "uses, and the video encoders to choose from.",
     .options = json_option,
     .run = cmd_info},
    {.name = "completion",
     .summary = "print completions for bash, zsh or fish",
     .examples = "source <(latentsync completion bash)",
     .operands = shell_operand,
     .run = cmd_completion},
    {.name = "help",
     .summary = "show the help of a command",
     .operands = help_operands,
     .run = cmd_help},
    {.name = "version", .summary = "print the version", .run = cmd_version},
    {.name = "man",
     .summary = "print a manual page",
     .is_hidden = true,
     .operands = help_operands,
     .run = cmd_man},
};

const cli_command *cli_command_at(size_t index)
{
    return index < sizeof commands / sizeof *commands ? &commands[index] : NULL;
}

const cli_command *cli_command_find(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (!strcmp(commands[i].name, name))
            return &commands[i];
    return NULL;
}

const char *cli_word(const cli_command *c)
{
    const char *space = strchr(c->name, ' ');
    return space ? space + 1 : c->name;
}

bool cli_is_of_family(const cli_command *c, const cli_command *family)
{
    const char *space = strchr(c->name, ' ');
    if (!family)
        return !space;
    const size_t n = strlen(family->name);
    return space == c->name + n && !strncmp(c->name, family->name, n);
}

/* The library's options that a command takes, or one of the command's own lists; those before
 * `index`, which is reduced by them, are passed. */
typedef struct filter {
    bool operands, grouped;
    size_t index;
} filter;

static const ls_option *of_library(const cli_command *c, filter *f)
{
    const ls_option *o;
    for (size_t i = 0; c->library && (o = ls_option_at(i)); i++)
        if (o->used_by & c->library && (o->is_required && !o->letter) == f->operands &&
            !!o->group == f->grouped && !f->index--)
            return o;
    return NULL;
}

static const ls_option *of_list(const ls_option *list, filter *f)
{
    for (; list && list->name; list++)
        if (!!list->group == f->grouped && !f->index--)
            return list;
    return NULL;
}

const ls_option *cli_operand_at(const cli_command *c, size_t index)
{
    filter f = {.operands = true, .index = index};
    const ls_option *o = of_library(c, &f);
    return o ? o : of_list(c->operands, &f);
}

const ls_option *cli_option_at(const cli_command *c, size_t index)
{
    filter f = {.index = index};
    const ls_option *o = NULL;
    for (int grouped = 0; !o && grouped < 2; grouped++) {
        f.grouped = grouped;
        o = of_library(c, &f);
        o = o ? o : of_list(c->options, &f);
        o = o ? o : of_list(help_option, &f);
    }
    return o ? o : of_list(c->reports, &f);
}

const ls_option *cli_option_find(const cli_command *c, const char *name)
{
    const ls_option *o;
    for (size_t i = 0; (o = cli_option_at(c, i)); i++)
        if (!strcmp(o->name, name))
            return o;
    for (size_t i = 0; (o = cli_operand_at(c, i)); i++)
        if (!strcmp(o->name, name))
            return o;
    return NULL;
}

bool cli_is_operand(const cli_command *c, const ls_option *o)
{
    const ls_option *operand;
    for (size_t i = 0; (operand = cli_operand_at(c, i)); i++)
        if (operand == o)
            return true;
    return false;
}
