#include "base/alloc.h"
#include "base/cancel.h"
#include "base/path.h"
#include "face/detector.h"
#include "models/models.h"
#include "models/syncnet/stable_syncnet.h"
#include "models/syncnet/syncnet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SUMMARY 512

static void describe_unet(char text[SUMMARY], const ls_unet_config *c)
{
    char channels[128];
    bool motion = c->mid_motion;
    for (size_t i = 0; i < c->blocks; i++)
        motion |= c->down_motion[i] || c->up_motion[i];
    ls_shape_text(channels, sizeof channels, c->block_out_channels, c->blocks);
    snprintf(text, SUMMARY,
             "channels %s, %zu layers per block, cross attention %zu wide, %zu norm groups, %s",
             channels, c->layers_per_block, c->cross_attention_dim, c->norm_num_groups,
             motion ? "motion modules" : "no motion modules");
}

static void describe_vae(char text[SUMMARY], const ls_vae_config *c)
{
    char channels[128];
    ls_shape_text(channels, sizeof channels, c->block_out_channels, c->blocks);
    snprintf(text, SUMMARY, "channels %s, %zu latent channels, %zu norm groups", channels,
             c->latent_channels, c->norm_num_groups);
}

static void describe_whisper(char text[SUMMARY], const ls_whisper_config *c)
{
    snprintf(text, SUMMARY, "%zu wide, %zu heads, %zu layers, %zu mel bands", c->n_audio_state,
             c->n_audio_head, c->n_audio_layer, c->n_mels);
}

/* Reads every tensor once. */
static int scan(ls_models_report *r, ls_weights *w, const ls_cancel *cancel, ls_error *err)
{
    float *values = NULL;
    size_t capacity = 0;
    int ret = 0;
    r->path = ls_weights_path(w);
    r->tensors = ls_weights_count(w);
    for (size_t i = 0; !ret && i < r->tensors; i++) {
        const ls_weight_info *t = ls_weights_at(w, i);
        r->parameters += t->count;
        if (t->count > capacity) {
            free(values);
            values = ls_malloc_array(capacity = t->count, sizeof *values);
        }
        if (ls_canceled(cancel))
            ret = ls_fail(err, LS_ECANCELED, "canceled");
        else if (!values && t->count)
            ret = ls_fail(err, LS_ENOMEM, "out of memory for %s", t->name);
        else
            ret = ls_weights_read_f32(w, t, values, err);
        for (size_t k = 0; !ret && k < t->count; k++)
            if (!isfinite(values[k]))
                ret = ls_fail(err, LS_EFORMAT,
                              "%s: tensor %s holds a value that is not finite; the file is damaged",
                              r->path, t->name);
    }
    free(values);
    return ret;
}

static int check_syncnet(const char *dir, void (*report)(void *opaque, const ls_models_report *r),
                         void *opaque, ls_error *err)
{
    char path[LS_PATH_SIZE];
    ls_weights *w;
    ls_syncnet *net = NULL;
    int ret = ls_path_join(path, sizeof path, dir, LS_SYNCNET_FILE, err);
    if (ret || access(path, F_OK))
        return ret;
    ret = ls_weights_open(&w, path, err);
    if (!ret)
        ret = ls_syncnet_open(&net, &w, 1, err);
    if (!ret)
        report(opaque, &(ls_models_report){
                           .role = "SyncNet", .path = path, .summary = "for latentsync check"});
    ls_syncnet_close(&net);
    return ret;
}

static int check_stable_syncnet(const char *dir,
                                void (*report)(void *opaque, const ls_models_report *r),
                                void *opaque, const ls_cancel *cancel, ls_error *err)
{
    char path[LS_PATH_SIZE], text[SUMMARY];
    ls_weights *w;
    ls_stable_syncnet *net = NULL;
    ls_models_report r = {.role = "StableSyncNet", .summary = text};
    int ret = ls_path_join(path, sizeof path, dir, LS_STABLE_SYNCNET_FILE, err);
    if (ret || access(path, F_OK))
        return ret;
    ret = ls_weights_open(&w, path, err);
    if (!ret)
        ret = ls_stable_syncnet_open(&net, &w, 1, err);
    if (!ret)
        ret = scan(&r, ls_network_weights(ls_stable_syncnet_network(net)), cancel, err);
    if (!ret) {
        snprintf(text, sizeof text, "windows of %zu frames, %zu wide, for latentsync check",
                 ls_stable_syncnet_frames(net), ls_stable_syncnet_width(net));
        report(opaque, &r);
    }
    ls_stable_syncnet_close(&net);
    return ret;
}

static int check_faces(const char *dir, void (*report)(void *opaque, const ls_models_report *r),
                       void *opaque, ls_error *err)
{
    ls_detector *d;
    const char *files[LS_DETECTOR_FILES] = {NULL};
    ls_models_report r = {.role = "faces", .summary = "none"};
    int ret = ls_detector_open(&d, &(ls_detector_settings){.models = dir}, err);
    if (!ret) {
        ls_detector_files(d, files);
        r.path = files[0];
        r.summary = ls_detector_describe(d);
    }
    if (ret == LS_ENOENT)
        ret = 0;
    if (!ret)
        report(opaque, &r);
    ls_detector_close(&d);
    return ret;
}

int ls_models_check(const char *dir, void (*report)(void *opaque, const ls_models_report *r),
                    void *opaque, const ls_cancel *cancel, ls_error *err)
{
    static const char *const roles[] = {"UNet", "VAE", "Whisper"};
    char text[3][SUMMARY];
    ls_models m;
    const ls_devices plain = {"ref", "ref", "ref", LS_F32, 1};
    int ret = ls_models_open(&m, dir, &plain, err);
    if (ret)
        return ret;
    describe_unet(text[0], ls_unet_get_config(m.unet));
    describe_vae(text[1], ls_vae_get_config(m.vae));
    describe_whisper(text[2], ls_whisper_get_config(m.whisper));
    ls_network *nets[] = {ls_unet_network(m.unet), ls_vae_network(m.vae),
                          ls_whisper_network(m.whisper)};
    for (int i = 0; !ret && i < 3; i++) {
        ls_models_report r = {.role = roles[i], .summary = text[i]};
        ret = scan(&r, ls_network_weights(nets[i]), cancel, err);
        if (!ret)
            report(opaque, &r);
    }
    if (!ret)
        ret = check_faces(dir, report, opaque, err);
    if (!ret)
        ret = check_syncnet(dir, report, opaque, err);
    if (!ret)
        ret = check_stable_syncnet(dir, report, opaque, cancel, err);
    ls_models_close(&m);
    return ls_models_unusable(ret, err);
}
