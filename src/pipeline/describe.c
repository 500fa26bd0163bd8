#include "pipeline/describe.h"
#include "base/alloc.h"
#include "latentsync/version.h"
#include "media/codecs.h"
#include "pipeline/device_choice.h"
#include "base/digest.h"

#ifdef __clang__
#define COMPILER __VERSION__ /* with its name */
#else
#define COMPILER "gcc " __VERSION__
#endif

/* On all of this the last bits of a frame depend. */
static json_t *describe_program(void)
{
    return json_pack("{s:i, s:s, s:s, s:s}", "format", LS_JOB_FORMAT, "latentsync",
                     LS_VERSION_STRING, "compiler", COMPILER, "codecs", ls_media_version());
}

static int add_digest(json_t *contents, const char *name, const uint8_t sha256[LS_SHA256_BYTES],
                      ls_error *err)
{
    char text[LS_SHA256_TEXT];
    ls_digest_text(text, sha256);
    return json_object_set_new(contents, name, json_string(text))
               ? ls_fail(err, LS_ENOMEM, "out of memory")
               : 0;
}

/* The inputs' digests: what a job was started with it has to be finished with. */
static int describe_contents(json_t *contents, const ls_job_facts *f, ls_error *err)
{
    const char *found[LS_DETECTOR_FILES] = {NULL};
    ls_face_feed_files(f->faces, found);
    const struct {
        const char *name, *path;
    } files[] = {{"video", f->settings->video},
                 {"audio", f->settings->audio},
                 {"features", f->settings->features_from},
                 {"face track", f->settings->face_track},
                 {"detector", found[0]},
                 {"landmarks network", found[1]}};
    static const char *const networks[LS_NETWORKS] = {"UNet", "VAE", "Whisper"};
    ls_network *nets[LS_NETWORKS];
    uint8_t sha256[LS_SHA256_BYTES];
    int ret = 0;
    for (size_t i = 0; !ret && i < LS_COUNT(files); i++)
        if (files[i].path && !(ret = ls_digest_sample(files[i].path, sha256, err)))
            ret = add_digest(contents, files[i].name, sha256, err);
    ls_models_list(f->models, nets);
    for (size_t i = 0; !ret && i < LS_NETWORKS; i++)
        if (!(ret = ls_weights_digest(ls_network_weights(nets[i]), sha256, err)))
            ret = add_digest(contents, networks[i], sha256, err);
    return ret;
}

int ls_describe_job(json_t **out, const ls_job_facts *f, ls_error *err)
{
    json_t *contents = json_object();
    *out = NULL;
    int ret = contents ? ls_settings_describe(out, f->settings, err)
                       : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret)
        ret = describe_contents(contents, f, err);
    if (!ret &&
        (json_object_set_new(*out, "program", describe_program()) ||
         json_object_set_new(*out, "networks", ls_devices_describe(f->models)) ||
         json_object_set(*out, "contents", contents) ||
         json_object_set_new(*out, "plan",
                             json_pack("{s:I, s:I, s:I, s:i, s:i}", "frames", (json_int_t)f->frames,
                                       "segment_frames", (json_int_t)f->segment_frames, "segments",
                                       (json_int_t)f->segments, "fps_num", f->video->fps_num,
                                       "fps_den", f->video->fps_den))))
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    json_decref(contents);
    if (ret) {
        json_decref(*out);
        *out = NULL;
    }
    return ret;
}

json_t *ls_describe_faces(const json_t *description)
{
    json_t *settings = ls_settings_of_faces(json_object_get(description, "settings"));
    json_t *d = json_object();
    bool ok = d && settings;
    static const char *const whole[] = {"program", "networks", "contents"};
    for (size_t i = 0; ok && i < LS_COUNT(whole); i++)
        ok = !json_object_set(d, whole[i], json_object_get(description, whole[i]));
    ok = ok && !json_object_set(d, "settings", settings);
    json_decref(settings);
    if (!ok)
        json_decref(d);
    return ok ? d : NULL;
}

void ls_describe_as_begun(json_t *description, const json_t *begun)
{
    json_t *networks = json_object_get(begun, "networks"),
           *settings = json_object_get(description, "settings"),
           *was = json_object_get(json_object_get(begun, "settings"), "dtype");
    const char *text = json_string_value(was),
               *now = json_string_value(json_object_get(settings, "dtype"));
    if (networks)
        json_object_set(description, "networks", networks);
    if (text && now && (!strcmp(text, "f16") || !strcmp(now, "f16")))
        json_object_set(settings, "dtype", was); // it follows from the device
}
