/* Model directories: finding, checking, downloading and importing them.
 *
 *   latentsync_unet.pt (or .safetensors)
 *   whisper/tiny.pt (or small.pt, as the UNet was trained; or .safetensors)
 *   vae/diffusion_pytorch_model.safetensors (or .bin; vae.pt, vae.safetensors)
 *   face/det_10g.onnx (or another SCRFD network, or YuNet), face/2d106det.onnx
 *   model.json, optional: {"resolution": 256, "guidance_scale": 1.5} */
#ifndef LATENTSYNC_MODELS_H
#define LATENTSYNC_MODELS_H

#include "latentsync/cancel.h"
#include "latentsync/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes to `dir` where ls_models_pull keeps model directories, one for each version:
 * $XDG_DATA_HOME/latentsync, else ~/.local/share/latentsync. It need not exist. LS_ENOENT when the
 * environment names neither, LS_EINVAL when `size` is too small. Any thread. */
LS_API int ls_models_home(char *dir, size_t size, ls_error *err);

/* The model directory that a job uses when none is named: version 1.6, else 1.5, of ls_models_home,
 * then of the folders latentsync/ in $XDG_DATA_DIRS; the first that has UNet, Whisper and VAE. If
 * there is none, *built_in is 1 and it is the small one that comes with the program, which knows
 * drawn faces only: looked for beside the library, beside the program, and where it was built to
 * be installed. LS_EMODEL when that is missing too. Any thread. */
LS_API int ls_models_find(char *dir, size_t size, int *built_in, ls_error *err);

/* What ls_models_check found in one file. Later versions may add members at the end. */
typedef struct ls_models_report {
    const char *role; /* "UNet", "VAE", "Whisper", "faces"; "SyncNet" if it is there */
    const char *path;
    const char *summary;
    size_t tensors, parameters; /* 0: not counted */
} ls_models_report;

/* Opens the networks of a model directory, checks that they fit together, and reads every tensor
 * once: NaN and infinite weights are an error. `report` is called for each, in the order above, in
 * the calling thread; "faces" has a NULL path when the directory has no detector, which is no
 * error. LS_EMODEL, LS_ECANCELED. `cancel` may be NULL. */
LS_API int ls_models_check(const char *dir, void (*report)(void *opaque, const ls_models_report *r),
                           void *opaque, const ls_cancel *cancel, ls_error *err);

/* Writes a model directory with made-up weights in the published formats, to try everything without
 * the published ones: lips will be meaningless. `size` is "mini" (10 MB), "small" (58 MB) or "full"
 * (5.5 GB, the published size). `dir` is created; existing files are an error, LS_EINVAL. */
LS_API int ls_models_random(const char *dir, const char *size, ls_error *err);

typedef struct ls_models_progress {
    const char *name; /* the file, as in the model directory */
    int checking;     /* 1: bytes that are there already are being hashed */
    uint64_t bytes, total;
    double bytes_per_second; /* 0 while unknown */
} ls_models_progress;

typedef struct ls_pull_settings {
    size_t size;         /* of this struct as the caller knows it */
    const char *version; /* "1.6", also for NULL; or "1.5" */
    const char *folder;  /* the model directory is FOLDER/VERSION; NULL: ls_models_home */
    const char *mirror;  /* "http[s]://HOST[:PORT][/PATH]", which replaces each publisher's
                            https://HOST. NULL: $HF_ENDPOINT for the files of huggingface.co if
                            set, otherwise the publishers */
    const char *token;   /* sent to huggingface.co or its mirror only, and only over https; NULL:
                            $HF_TOKEN if set */
    int faces;           /* 0; 1: InsightFace's networks too, whose terms the user has accepted */
    int stall_seconds;   /* 30: give up a connection that is silent, or slower than 1 kB/s, after
                            that */
    int retries;         /* 5: of a failing connection */
    const ls_cancel *cancel; /* or NULL */
    /* Each may be NULL; in the calling thread. `level` is an ls_message_level. */
    void (*message)(void *opaque, int level, const char *line);
    void (*progress)(void *opaque, const ls_models_progress *p);
    void *opaque;
    int insecure; /* 1: http to other hosts than this one is allowed */
    int syncnet;  /* 1: the weights of SyncNet and StableSyncNet too, for ls_check_video; an import
                     takes them where it finds them, and lists them as missing only if this is set
                   */
} ls_pull_settings;

enum ls_pull_when {
    LS_PULL_ALWAYS,
    LS_PULL_FACES,  /* if ls_pull_settings.faces */
    LS_PULL_SYNCNET /* if ls_pull_settings.syncnet */
};

/* One thing that a pull downloads. */
typedef struct ls_pull_item {
    const char *what, *licence;
    uint64_t bytes; /* about */
    int when;       /* an ls_pull_when */
} ls_pull_item;

LS_API void ls_pull_default_settings(ls_pull_settings *s, size_t size);

/* What a pull downloads, with its terms; NULL past the last. Static storage; any thread. */
LS_API const ls_pull_item *ls_pull_get_item(size_t index);
/* The model directory of these settings. LS_EINVAL for an unknown version. */
LS_API int ls_pull_directory(const ls_pull_settings *s, char *dir, size_t size, ls_error *err);
/* Whether the directory has InsightFace's files already, by their size. */
LS_API int ls_pull_has_faces(const char *dir);

/* Downloads what is missing, and checks all by the SHA-256 of the published files. A file that
 * another version's directory beside this one has too is linked or copied. Running it again
 * resumes. Settings: LS_EINVAL. LS_EBUSY while another process fills the directory; LS_EIO when a
 * server cannot be reached and LS_EUNSUPPORTED in a build without networking, both with
 * LS_HINT_FETCH_BY_HAND after a message for each missing file: its URL, SHA-256 and path, separated
 * by spaces (a file that is put there is checked by the next call); LS_EFORMAT for a file that is
 * not as published; LS_ENOENT when the server lacks it; LS_ENOSPC, LS_ECANCELED. */
LS_API int ls_models_pull(const ls_pull_settings *s, ls_error *err);

/* Looks through `from`, a folder people already have (LatentSync's checkpoints/, ComfyUI's models,
 * the Hugging Face cache, InsightFace's models), for the published files, recognised by size and
 * SHA-256, and puts them into the model directory of `s`: by hard links, else by symbolic links,
 * else as copies. InsightFace's networks are taken whatever `faces` says, also from buffalo_l.zip.
 * `from` is not changed; 200,000 files and folders are looked at, 16 levels deep. Uses no network.
 * Each file is reported through `message` with its origin, and what is missing afterwards as by
 * ls_models_pull, which is no error. LS_ENOENT when nothing was found though something is missing;
 * LS_EBUSY, LS_ENOSPC, LS_ECANCELED. */
LS_API int ls_models_import(const ls_pull_settings *s, const char *from, ls_error *err);

#ifdef __cplusplus
}
#endif
#endif
