/* Where the networks of a job run, and the models opened there. */
#include "pipeline/settings.h"
#include "pipeline/sync_job.h"

#include <stdio.h>
#include <string.h>

/* Returns the models; those that no other job may want are closed. */
void ls_sync_return_models(ls_sync *job)
{
    for (size_t i = 0; i < job->model_count; i++)
        ls_engine_return(job->engine, &job->models[i]);
    job->model_count = 0;
    if (job->own_engine)
        ls_engine_trim(job->own_engine);
}

int ls_sync_borrow_models(ls_sync *job, ls_error *err)
{
    const ls_dtype dtype = ls_dtype_of(job->s.compute_type);
    int ret = 0;
    ls_sync_return_models(job);
    for (size_t i = 0; !ret && i < job->devices.count; i++) {
        char(*on)[LS_DEVICE_NAME] = job->devices.names[i].of;
        const ls_model_request r = {job->s.models, {on[0], on[1], on[2], dtype, job->s.threads}};
        ret = ls_engine_borrow(job->engine, &r, &job->models[i], err);
        if (!ret)
            ls_models_set_kept(job->models[job->model_count++], job->s.weights_cache);
    }
    if (ret)
        ls_sync_return_models(job);
    return ret;
}

static int type_of_cpu(void)
{
    ls_device_info cpu;
    ls_device_list("cpu", &cpu, 1);
    return ls_compute_type_of(cpu.fast);
}

static bool is_of_cpu(int type)
{
    return type == LS_COMPUTE_FLOAT32 || type == LS_COMPUTE_BFLOAT16 || type == LS_COMPUTE_INT8;
}

/* The number type of the networks on the CPU, where there are any. `was`: that of the job so far.
 */
static int choose_type(ls_sync *job, int was, ls_error *err)
{
    const bool any_cpu = ls_device_choice_on_cpu(&job->devices) > 0,
               for_cpu = is_of_cpu(job->s.compute_type);
    if (job->s.compute_type == LS_COMPUTE_FLOAT16 && any_cpu)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "dtype: f16 is the number type of cards; the CPU computes in f32, "
                                 "bf16 or int8"),
                         LS_HINT_NONE, "dtype");
    if (for_cpu && !any_cpu)
        return ls_advise(err,
                         ls_fail(err, LS_EINVAL,
                                 "dtype: cards compute in f16 only; f32, bf16 and int8 are number "
                                 "types of the CPU"),
                         LS_HINT_NONE, "dtype");
    if (job->s.compute_type == LS_COMPUTE_INT8 && !ls_device_cpu_computes(LS_I8))
        return ls_advise(
            err,
            ls_fail(err, LS_EUNSUPPORTED,
                    "dtype: int8 needs a CPU with AVX512-VNNI and a build with oneDNN"),
            LS_HINT_NONE, "dtype");
    if (job->s.compute_type == LS_COMPUTE_BFLOAT16 && !ls_device_cpu_computes(LS_BF16))
        return ls_advise(
            err,
            ls_fail(err, LS_EUNSUPPORTED, "dtype: bf16 needs a CPU with AVX-512, f32 does not"),
            LS_HINT_NONE, "dtype");
    if (job->s.compute_type != LS_COMPUTE_AUTO)
        return 0;
    const bool keeps = any_cpu ? is_of_cpu(was) : was == LS_COMPUTE_FLOAT16;
    job->free_type = !keeps;
    job->s.compute_type = keeps ? was : any_cpu ? type_of_cpu() : LS_COMPUTE_FLOAT16;
    return 0;
}

static int fail_begun(const ls_sync *job, const json_t *description, int ret, ls_error *err)
{
    char text[300];
    const json_t *networks = json_object_get(description, "networks");
    ls_device_text(json_object_get(networks, "UNet"), text, sizeof text);
    ls_fail_context(err, ret, "%s was begun on %s", job->s.job, text);
    return ls_advise(err, ret, LS_HINT_ANY_DEVICE, "any-device");
}

static bool is_same_kind(const ls_device_wish *begun, const ls_device_choice *p)
{
    for (size_t i = 0; i < LS_NETWORKS; i++)
        if (strncmp(begun->names.of[i], p->names->of[i], strlen(begun->names.of[i])))
            return false;
    return true;
}

int ls_sync_choose_device(ls_sync *job, const json_t *description, int was, ls_error *err)
{
    ls_device_wish wish, begun;
    ls_error why = {0};
    int ret = ls_device_wish_parse(&wish, job->s.device, err);
    if (ret)
        return ret;
    const bool for_cpu = is_of_cpu(job->s.compute_type),
               known = !job->s.any_device && ls_device_wish_of_job(&begun, description),
               resumes = known && wish.automatic;
    job->devices = ls_device_choice_cpu();
    if (resumes)
        wish = begun;
    if (!(wish.automatic && for_cpu))
        ret = ls_device_choice_find(&job->devices, &wish, &why);
    if (!ret && wish.automatic && job->s.compute_type == LS_COMPUTE_AUTO)
        ret = ls_device_choice_worthwhile(&job->devices, &why);
    if (ret)
        job->devices = ls_device_choice_cpu();
    if (ret && (!wish.automatic || job->s.compute_type == LS_COMPUTE_FLOAT16)) {
        if (err)
            *err = why;
        return resumes ? fail_begun(job, description, ret, err) : ret;
    }
    if (known && !is_same_kind(&begun, &job->devices)) {
        ls_fail(err, LS_EINVAL, "the devices asked for are of another kind");
        return fail_begun(job, description, LS_EINVAL, err);
    }
    if (ret)
        snprintf(job->why_cpu, sizeof job->why_cpu, "%s", why.message);
    job->free_device = wish.automatic && job->s.compute_type == LS_COMPUTE_AUTO &&
                       ls_device_choice_on_cpu(&job->devices) == 0;
    return choose_type(job, was, err);
}

int ls_sync_use_cpu(ls_sync *job, int ret, ls_error *err)
{
    const bool is_of_card = ret == LS_ENOMEM || ret == LS_EINVAL || ret == LS_EUNSUPPORTED ||
                            ret == LS_EBACKEND || ret == LS_EDEVICE || ret == LS_EBUSY;
    if (!ret || !is_of_card || !job->free_device)
        return ret;
    snprintf(job->why_cpu, sizeof job->why_cpu, "%s", err ? err->message : ls_error_text(ret));
    job->free_device = false;
    job->devices = ls_device_choice_cpu();
    job->s.compute_type = type_of_cpu();
    return ls_sync_borrow_models(job, err);
}
