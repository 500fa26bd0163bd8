#include "latentsync/estimate.h"
#include "base/alloc.h"
#include "base/digest.h"
#include "base/path.h"
#include "base/time.h"
#include "pipeline/calibration.h"
#include "pipeline/quality.h"
#include "pipeline/settings.h"
#include "pipeline/sync_job.h"

#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FEW (LS_CHUNK_FRAMES)      /* frames of the short sample, */
#define MANY (3 * LS_CHUNK_FRAMES) /* and of the long one */
#define PACK_RATE 2.5e8            /* bytes of packed weights in a second */
#define MARGIN 1.2                 /* of disk space */
#define MAX_SAMPLES 256            /* that are kept */

/* What a sample of a job took: seconds of the whole, and what of it each frame adds. */
typedef struct cost {
    double start, start_cpu, frame, frame_cpu;
    double face, face_cpu; /* of `frame`, the search for faces */
    double frame_bytes;    /* of the encoded video */
    double work_seconds;   /* of a frame in the networks, if those were only counted; else 0 */
    double slowdown;       /* of these, as busy as the machine was */
} cost;

typedef struct measurement {
    double wall, cpu;
} measurement;

/* The job under another name, alone. */
static int open_job(ls_sync **job, const ls_sync_settings *s, const char *folder, ls_error *err)
{
    ls_sync_settings own = *s;
    char output[LS_PATH_SIZE];
    int ret = ls_path_join(output, sizeof output, folder, "sample.mkv", err);
    own.output = output;
    own.job = own.stats = own.save_track = own.newest_frame = own.stream = NULL;
    own.keep_job = own.no_overwrite = 0;
    own.preview = 0;
    own.restart = 1;
    own.progress = NULL;
    own.message = NULL;
    own.engine = NULL; // opening the models is a part of what a job takes
    return ret ? ret : ls_sync_open(job, &own, err);
}

static void close_job(ls_sync **job)
{
    if (*job)
        unlink((*job)->s.output);
    ls_sync_close(job);
}

/* Runs the job, as far as `sample` says. */
static int run_sample(const ls_sync_settings *s, const char *folder, ls_sync_sample *sample,
                      measurement *m, ls_error *err)
{
    ls_sync *job = NULL;
    const double start = ls_time_now(), start_cpu = ls_time_cpu();
    int ret = open_job(&job, s, folder, err);
    if (!ret) {
        job->sample = sample;
        ret = ls_sync_run(job, err);
    }
    close_job(&job);
    *m = (measurement){ls_time_now() - start, ls_time_cpu() - start_cpu};
    return ret;
}

static int time_work(double *seconds, const ls_work *w, json_t *known, const ls_sync_sample *sample,
                     ls_dtype dtype, const ls_cancel *cancel, ls_error *err)
{
    ls_rates rates;
    const int ret =
        ls_calibration_rates(known, &rates, sample->device, dtype, sample->cores, cancel, err);
    *seconds = ret ? 0 : ls_work_seconds(w, &rates.per_second);
    return ret;
}

/* The networks' share of a frame. */
static int add_work(cost *c, json_t *known, const ls_sync_sample *sample, const ls_cancel *cancel,
                    ls_error *err)
{
    const ls_dtype of_others = sample->dtype == LS_I8 ? LS_BF16 : sample->dtype;
    double unet, others = 0;
    c->slowdown = 1;
    if (!sample->counted)
        return 0;
    int ret = time_work(&unet, &sample->unet, known, sample, sample->dtype, cancel, err);
    if (!ret)
        ret = time_work(&others, &sample->others, known, sample, of_others, cancel, err);
    if (!ret)
        ret = ls_slowdown_measure(&c->slowdown, sample->device, sample->cores, cancel, err);
    c->work_seconds = (unet + others) / (double)sample->most;
    return ret;
}

/* `what`: of the survey. */
static int measure(cost *c, json_t *known, const ls_sync_sample *what, const ls_sync_settings *s,
                   const char *folder, ls_error *err)
{
    ls_sync_sample many = {.most = what->frames < MANY ? what->frames : MANY}, few = {.most = FEW};
    measurement m, f = {0, 0};
    int ret = run_sample(s, folder, &many, &m, err);
    if (ret)
        return ret;
    *c = (cost){.start = m.wall, .start_cpu = m.cpu};
    c->frame_bytes = (double)many.made_bytes / (double)many.most;
    if (many.most > FEW) {
        ret = run_sample(s, folder, &few, &f, err);
        const double frames = (double)(many.most - FEW);
        c->frame = fmax(0, (m.wall - f.wall) / frames);
        c->frame_cpu = fmax(0, (m.cpu - f.cpu) / frames);
        c->start = fmax(0, f.wall - FEW * c->frame);
        c->start_cpu = fmax(0, f.cpu - FEW * c->frame_cpu);
    }
    if (many.searched) {
        const double share = fmin(0.9, many.searching / (double)many.searched / c->frame);
        c->face = share * c->frame;
        c->face_cpu = share * c->frame_cpu;
    }
    return ret ? ret : add_work(c, known, &many, s->cancel, err);
}

/* The members of a cost, as they are kept. */
static const struct {
    const char *name;
    size_t offset;
} members[] = {{"start", offsetof(cost, start)},
               {"start_cpu", offsetof(cost, start_cpu)},
               {"frame", offsetof(cost, frame)},
               {"frame_cpu", offsetof(cost, frame_cpu)},
               {"face", offsetof(cost, face)},
               {"face_cpu", offsetof(cost, face_cpu)},
               {"frame_bytes", offsetof(cost, frame_bytes)},
               {"work_seconds", offsetof(cost, work_seconds)},
               {"slowdown", offsetof(cost, slowdown)}};

static json_t *cost_to_json(const cost *c)
{
    json_t *j = json_object();
    for (size_t i = 0; i < LS_COUNT(members); i++)
        json_object_set_new(j, members[i].name,
                            json_real(*(const double *)((const char *)c + members[i].offset)));
    return j;
}

static bool cost_from_json(cost *c, const json_t *j)
{
    for (size_t i = 0; i < LS_COUNT(members); i++) {
        const json_t *value = json_object_get(j, members[i].name);
        if (!json_is_number(value))
            return false;
        *(double *)((char *)c + members[i].offset) = json_number_value(value);
    }
    return true;
}

/* On what a sample depends: the video, the model, the settings, but not the speech. */
static int name_sample(char name[LS_SHA256_TEXT], const ls_sync_settings *s,
                       const ls_sync_sample *what, ls_error *err)
{
    json_t *d;
    uint8_t video[LS_SHA256_BYTES], sum[LS_SHA256_BYTES];
    char text[LS_SHA256_TEXT], how[64];
    int ret = ls_digest_sample(s->video, video, err);
    if (!ret)
        ret = ls_settings_describe(&d, s, err);
    if (ret)
        return ret;
    ls_digest_text(text, video);
    snprintf(how, sizeof how, "%d %llu %llu", s->threads, (unsigned long long)s->max_memory,
             (unsigned long long)what->memory.weights);
    json_t *inputs = json_object_get(d, "inputs");
    json_object_del(inputs, "audio");
    json_object_del(inputs, "output");
    json_object_set_new(d, "video", json_string(text));
    json_object_set_new(d, "how", json_string(how));
    json_object_set_new(d, "device", json_string(s->device ? s->device : ""));
    char *all = json_dumps(d, JSON_COMPACT | JSON_SORT_KEYS);
    ls_digest *sha = ls_digest_new();
    if (all && sha) {
        ls_digest_add(sha, all, strlen(all));
        ls_digest_end(sha, sum);
        ls_digest_text(name, sum);
    } else {
        ret = ls_fail(err, LS_ENOMEM, "out of memory");
    }
    ls_digest_free(&sha);
    free(all);
    json_decref(d);
    return ret;
}

/* The stages overlap, so that no core is idle; the networks have all of them when it is their turn.
 * Beside a card the cores are free for the other stages. */
static void add_up(ls_estimate *e, const cost *c, const ls_sync_sample *what)
{
    const double n = (double)what->frames, cores = (double)what->cores,
                 searched = what->searches && what->video_frames ? (double)what->video_frames : n,
                 unsearched = fmax(0, n - searched),
                 pack = c->work_seconds > 0 ? (double)what->memory.weights / PACK_RATE : 0;
    const bool shared = !what->memory.cards[0].total;
    double idle = c->frame_cpu / cores;
    e->frame_seconds = c->frame;
    if (c->work_seconds > 0) {
        const double busy = c->work_seconds * c->slowdown;
        idle = shared ? c->work_seconds + idle : fmax(c->work_seconds, idle);
        e->frame_seconds = shared ? busy + c->frame : fmax(busy, c->frame);
    }
    e->run_seconds = c->start + pack + n * e->frame_seconds - unsearched * c->face;
    e->idle_seconds = c->start_cpu + pack + n * idle - unsearched * c->face_cpu / cores;
    e->cpu_seconds = c->start_cpu + pack + n * c->frame_cpu - unsearched * c->face_cpu +
                     (shared ? n * c->work_seconds * cores : 0);
    /* segments and output are there at the same time */
    e->disk = (uint64_t)(MARGIN * 2 * n * c->frame_bytes) + what->chunk_bytes;
}

typedef struct survey {
    ls_sync_settings s[LS_QUALITIES]; /* of which the qualities are estimated, */
    ls_sync_sample what[LS_QUALITIES];
    size_t count; /* so many */
    const char *folder;
    json_t *known;
} survey;

static int take_cost(cost *c, bool *is_known, const survey *v, size_t i, bool anew, ls_error *err)
{
    char name[LS_SHA256_TEXT];
    json_t *samples = json_object_get(v->known, "samples");
    int ret = name_sample(name, &v->s[i], &v->what[i], err);
    *is_known = !ret && !anew && cost_from_json(c, json_object_get(samples, name));
    if (ret || *is_known)
        return ret;
    ret = measure(c, v->known, &v->what[i], &v->s[i], v->folder, err);
    if (ret)
        return ret;
    if (json_object_size(samples) >= MAX_SAMPLES)
        json_object_clear(samples);
    json_object_set_new(samples, name, cost_to_json(c));
    ls_calibration_save(v->known, NULL); // without it the next estimate takes longer
    return 0;
}

static int estimate(ls_estimate *e, const survey *v, size_t i, bool anew, ls_error *err)
{
    const ls_sync_sample *what = &v->what[i];
    cost c;
    bool is_known;
    const int ret = take_cost(&c, &is_known, v, i, anew, err);
    if (ret)
        return ret;
    *e = (ls_estimate){.size = sizeof *e,
                       .frames = what->frames,
                       .seconds = what->seconds,
                       .is_computed = c.work_seconds > 0,
                       .is_known = is_known,
                       .memory = what->memory.total,
                       .max_memory = what->budget,
                       .compute_type = what->compute_type};
    for (size_t k = 0; k < LS_NETWORKS; k++)
        e->card_memory = what->memory.cards[k].total > e->card_memory ? what->memory.cards[k].total
                                                                      : e->card_memory;
    snprintf(e->device, sizeof e->device, "%s", what->device);
    add_up(e, &c, what);
    return 0;
}

static int check_inputs(const ls_sync_settings *s, ls_error *err)
{
    const char *inputs[] = {s->video, s->audio, s->features_from, s->face_track};
    for (size_t i = 0; i < LS_COUNT(inputs); i++)
        if (inputs[i] && ls_sync_is_stream(inputs[i]))
            return ls_fail(err, LS_EUNSUPPORTED,
                           "%s can be read only once, so what the job takes is not known before",
                           inputs[i]);
    return 0;
}

static int make_survey(survey *v, ls_error *err)
{
    ls_sync *job = NULL;
    int ret = open_job(&job, &v->s[0], v->folder, err);
    if (!ret)
        ret = ls_sync_survey(job, v->s, v->what, v->count, err);
    close_job(&job);
    v->known = ret ? NULL : ls_calibration_load();
    return ret || v->known ? ret : ls_fail(err, LS_ENOMEM, "out of memory");
}

typedef void (*use_estimate)(void *opaque, int quality, const ls_estimate *e);

/* Of qualities [first, end), of which the survey is one. */
static int estimate_all(const ls_sync_settings *settings, int first, int end, bool anew,
                        use_estimate use, void *opaque, ls_error *err)
{
    survey v = {.count = (size_t)(end - first)};
    char folder[LS_PATH_SIZE];
    const char *tmp = getenv("TMPDIR");
    int ret = check_inputs(settings, err);
    for (int i = 0; i < end - first; i++) {
        v.s[i] = *settings;
        v.s[i].quality = first + i;
        ls_quality_fill(&v.s[i]);
    }
    if (!ret)
        ret = ls_path_join(folder, sizeof folder, tmp && *tmp ? tmp : "/tmp",
                           "latentsync-estimate-XXXXXX", err);
    if (!ret && !mkdtemp(folder))
        ret = ls_fail_errno(err, errno, "cannot make %s", folder);
    if (ret)
        return ret;
    v.folder = folder;
    ret = make_survey(&v, err);
    for (size_t i = 0; !ret && i < v.count; i++) {
        ls_estimate e;
        ret = estimate(&e, &v, i, anew, err);
        if (!ret)
            use(opaque, first + (int)i, &e);
    }
    json_decref(v.known);
    rmdir(folder);
    return ret;
}

int ls_estimate_qualities(use_estimate use, void *opaque, const ls_sync_settings *settings,
                          int anew, ls_error *err)
{
    ls_sync_settings s;
    const int ret = ls_settings_take(&s, settings, err);
    return ret ? ret : estimate_all(&s, 0, LS_QUALITIES, anew, use, opaque, err);
}

static void keep_estimate(void *opaque, int quality, const ls_estimate *e)
{
    (void)quality;
    *(ls_estimate *)opaque = *e;
}

int ls_estimate_sync(ls_estimate *out, size_t size, const ls_sync_settings *settings, int anew,
                     ls_error *err)
{
    ls_sync_settings s;
    ls_estimate e = {0};
    int ret = ls_settings_take(&s, settings, err);
    if (!ret && (s.quality < 0 || s.quality >= LS_QUALITIES))
        ret = ls_fail(err, LS_EINVAL, "quality: %d is none", s.quality);
    if (!ret)
        ret = estimate_all(&s, s.quality, s.quality + 1, anew, keep_estimate, &e, err);
    e.size = size;
    if (!ret)
        memcpy(out, &e, size < sizeof e ? size : sizeof e);
    return ret;
}
