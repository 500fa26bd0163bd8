#include "pull/store.h"
#include "base/alloc.h"

#include <stdio.h>
#include <unistd.h>

static const ls_pull_item items[] = {
    {"LatentSync's UNet, by ByteDance", "OpenRAIL++: use with the restrictions it lists",
     5072222488, LS_PULL_ALWAYS},
    {"Whisper tiny, by OpenAI", "MIT", 75572083, LS_PULL_ALWAYS},
    {"the VAE sd-vae-ft-mse, by Stability AI", "MIT", 334643276, LS_PULL_ALWAYS},
    {"SyncNet, by the University of Oxford, from LatentSync's files",
     "not stated for the weights; MIT for the authors' code", 54573114, LS_PULL_SYNCNET},
    {"LatentSync's StableSyncNet, by ByteDance", "OpenRAIL++: use with the restrictions it lists",
     1605328746, LS_PULL_SYNCNET},
    {"the face networks det_10g and 2d106det, from InsightFace's buffalo_l.zip",
     "for non-commercial research only", 288621354, LS_PULL_FACES},
};

const ls_pull_item *ls_pull_get_item(size_t index)
{
    return index < LS_COUNT(items) ? &items[index] : NULL;
}

static int pull_file(ls_model_store *st, size_t i, const ls_download *d, ls_error *err)
{
    bool there;
    int ret = ls_model_store_make_folders(d->path, err);
    if (ret || (ret = ls_download_file(d, &there, err)))
        return ret;
    st->files[i].there = true;
    ls_model_store_say(st, LS_LOG_INFO,
                       there ? "%s: there already, checked" : "%s: complete, checked", d->name);
    return 0;
}

static int pull_faces(ls_model_store *st, const ls_download *d, ls_error *err)
{
    bool there;
    int ret = ls_model_store_make_folders(d->path, err);
    if (!ret && (ret = ls_download_file(d, &there, err)) == LS_ENOENT && st->archive)
        ls_fail_context(err, ret,
                        "the mirror lacks %s; what was received is kept, run again without the "
                        "mirror",
                        d->name);
    if (!ret)
        ret = ls_model_store_extract(st, d->path, err);
    if (!ret || ret == LS_EFORMAT)
        unlink(d->path);
    return ret;
}

static int pull_one(ls_model_store *st, size_t i, ls_error *err)
{
    ls_model_store_paths paths;
    ls_download d;
    int ret = ls_model_store_describe(st, i, &paths, &d, err);
    if (!ret)
        ret = i == LS_MODEL_STORE_ARCHIVE ? pull_faces(st, &d, err) : pull_file(st, i, &d, err);
    if (ret && err->hint == LS_HINT_FETCH_BY_HAND)
        ls_model_store_list_missing(
            st, LS_LOG_ERROR,
            "fetch what is missing by hand, each file to the path behind its URL "
            "and SHA-256, and run this again:");
    return ret;
}

int ls_models_pull(const ls_pull_settings *s, ls_error *err)
{
    ls_model_store st;
    ls_error own;
    err = err ? err : &own;
    int ret = ls_model_store_open(&st, s, false, err);
    for (size_t i = 0; !ret && i < LS_MODEL_STORE_FACES; i++)
        if (ls_model_store_lacks(&st, i, i + 1))
            ret = pull_one(&st, i, err);
    if (!ret)
        ret = ls_model_store_write_about(&st, err);
    if (!ret && ls_model_store_lacks(&st, LS_MODEL_STORE_FACES, LS_MODEL_STORE_FILES))
        ret = pull_one(&st, LS_MODEL_STORE_ARCHIVE, err);
    ls_model_store_close(&st);
    return ret;
}
