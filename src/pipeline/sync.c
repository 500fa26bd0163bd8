/* The stream of a job: find faces, decode and crop, generate, restore and encode, each in its
 * thread, joined by bounded queues; faces reach the crops by way of a file of where they are. */
#include "latentsync/latentsync.h"
#include "backend/backend.h"
#include "base/alloc.h"
#include "base/log.h"
#include "base/queue.h"
#include "base/system.h"
#include "base/time.h"
#include "face/follow.h"
#include "face/restore.h"
#include "media/pcm.h"
#include "media/video.h"
#include "media/writer.h"
#include "pipeline/face_feed.h"
#include "pipeline/generator.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#define WINDOW_BYTES ((size_t)64 << 20) /* of frames held to go backwards */
#define QUEUE_BYTES ((size_t)128 << 20)
#define DECODER_THREADS 2

/* A frame on its way through the stages. */
typedef struct item {
    uint64_t index;
    ls_frame *frame;
    bool has_face;
    ls_placement place;
    uint8_t *face; /* [R, R, 3], between crop and generation */
    float *image;  /* [R, R, 3], between generation and restoration */
} item;

struct ls_sync {
    ls_sync_settings s;
    ls_log log;
    ls_cancel cancel, end_faces;
    ls_models models;
    ls_pingpong *source;
    ls_face_feed *faces;
    ls_pcm *pcm;
    ls_log_mel *mel;
    ls_features *features;
    ls_generator *generator;
    ls_writer *writer;
    uint64_t frames, without_face;
    ls_queue *cropped, *generated; /* of item */
    pthread_mutex_t lock;          /* of all below, and of calls to the user's functions */
    ls_error err;                  /* the first */
    uint64_t written;
    double start, work; /* frames' worth of generation that is done */
};

static void free_item(void *opaque)
{
    item *it = opaque;
    if (!it)
        return;
    ls_frame_unref(&it->frame);
    ls_aligned_free(it->face);
    ls_aligned_free(it->image);
    free(it);
}

static size_t item_bytes(const item *it, size_t resolution)
{
    size_t pixels = resolution * resolution * 3;
    return ls_frame_bytes(it->frame) + (it->face ? pixels : 0) +
           (it->image ? pixels * sizeof(float) : 0);
}

/* The first error ends every stage. */
static void stop(ls_sync *job, int code, const ls_error *err)
{
    pthread_mutex_lock(&job->lock);
    if (!job->err.code) {
        job->err = *err;
        job->err.code = code;
    }
    pthread_mutex_unlock(&job->lock);
    ls_queue_finish(job->cropped, code);
    ls_queue_finish(job->generated, code);
    ls_face_path_finish(ls_face_feed_path(job->faces), 0, code);
    ls_cancel_request(&job->end_faces);
}

static void report(ls_sync *job, const char *stage)
{
    if (!job->s.progress)
        return;
    ls_progress p = {.stage = stage,
                     .frame = job->written,
                     .frames = job->frames,
                     .resident_bytes = ls_process_memory_now().resident};
    double seconds = ls_time_now() - job->start;
    if (job->start > 0 && job->work > 0 && seconds > 0) {
        p.frames_per_second = job->work / seconds;
        p.seconds_left = ((double)job->frames - job->work) / p.frames_per_second;
    }
    job->s.progress(job->s.opaque, &p);
}

static void report_locked(ls_sync *job, const char *stage)
{
    pthread_mutex_lock(&job->lock);
    report(job, stage);
    pthread_mutex_unlock(&job->lock);
}

static void *run_faces(void *opaque)
{
    ls_sync *job = opaque;
    ls_error err = {0};
    int ret = ls_face_feed_run(job->faces, job->frames, &job->end_faces, &err);
    if (ret)
        stop(job, ret, &err);
    return NULL;
}

/* Cuts out the face, or leaves the item without one. */
static int crop(ls_sync *job, item *it, uint64_t source_index, ls_cropper *cropper,
                ls_rgb_converter *rgb, ls_error *err)
{
    size_t r = job->s.resolution;
    ls_picture pic = ls_frame_picture(it->frame);
    int ret =
        ls_face_path_get(ls_face_feed_path(job->faces), (int64_t)source_index, &it->place, err);
    if (ret <= 0)
        return ret;
    ls_rect b = ls_crop_bounds(&it->place.matrix, r, pic.width, pic.height);
    if (!b.w || !b.h)
        return 0;
    const uint8_t *pixels;
    ret = ls_rgb_convert(rgb, it->frame, &b.x, &b.y, &b.w, &b.h, &pixels, err);
    if (ret)
        return ret;
    it->face = ls_aligned_alloc(r * r * 3);
    if (!it->face)
        return ls_fail(err, LS_ENOMEM, "out of memory for a face");
    ls_rgb part = {(uint8_t *)pixels, (ptrdiff_t)(b.w * 3), b.w, b.h};
    ls_cropper_run(cropper, it->face, &it->place.matrix, &part, b.x, b.y, pic.width, pic.height);
    it->has_face = true;
    return 0;
}

static int next_item(ls_sync *job, uint64_t index, ls_cropper *cropper, ls_rgb_converter *rgb,
                     item **out, ls_error *err)
{
    uint64_t source_index;
    item *it = *out = ls_calloc_array(1, sizeof *it);
    if (!it)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    it->index = index;
    int ret = ls_pingpong_next(job->source, &it->frame, &source_index, err);
    return ret ? ret : crop(job, it, source_index, cropper, rgb, err);
}

static void *run_source(void *opaque)
{
    ls_sync *job = opaque;
    ls_error err = {0};
    ls_cropper *cropper = NULL;
    ls_rgb_converter *rgb = NULL;
    int ret = ls_cropper_open(&cropper, job->s.resolution, &err);
    if (!ret)
        ret = ls_rgb_converter_open(&rgb, &err);
    for (uint64_t i = 0; !ret && i < job->frames; i++) {
        item *it = NULL;
        ret = ls_canceled(&job->cancel) ? ls_fail(&err, LS_ECANCELED, "canceled")
                                        : next_item(job, i, cropper, rgb, &it, &err);
        bool pushed = !ret && !ls_queue_push(job->cropped, it, item_bytes(it, job->s.resolution));
        if (!pushed)
            free_item(it);
        if (!ret && !pushed)
            break; // the consumer stopped; it has said why
    }
    if (ret)
        stop(job, ret, &err);
    else
        ls_queue_finish(job->cropped, 0);
    ls_cropper_close(&cropper);
    ls_rgb_converter_close(&rgb);
    return NULL;
}

static ls_yuv yuv_of(const ls_picture *p)
{
    static const ls_yuv_matrix matrices[] = {[LS_COLOR_BT601] = LS_YUV_BT601,
                                             [LS_COLOR_BT709] = LS_YUV_BT709,
                                             [LS_COLOR_BT2020] = LS_YUV_BT2020};
    return (ls_yuv){.data = {p->data[0], p->data[1], p->data[2]},
                    .stride = {p->stride[0], p->stride[1], p->stride[2]},
                    .w = p->width,
                    .h = p->height,
                    .depth = p->depth,
                    .sub_x = p->sub_x,
                    .sub_y = p->sub_y,
                    .matrix = matrices[p->matrix],
                    .full_range = p->full_range};
}

static int restore(ls_restore *r, item *it, ls_error *err)
{
    if (!it->image)
        return 0;
    int ret = ls_frame_make_writable(it->frame, err);
    if (ret)
        return ret;
    ls_picture p = ls_frame_picture(it->frame);
    ls_yuv yuv = yuv_of(&p);
    return ls_restore_yuv(r, it->image, &it->place.matrix, it->place.opacity, &yuv, err);
}

static void *run_sink(void *opaque)
{
    ls_sync *job = opaque;
    ls_error err = {0};
    ls_restore *r = NULL;
    void *popped;
    int ret = ls_restore_open(&r, job->s.resolution, &err);
    while (!ret && !ls_queue_pop(job->generated, &popped)) {
        item *it = popped;
        ret = restore(r, it, &err);
        if (!ret)
            ret = ls_writer_write(job->writer, it->frame, &err);
        free_item(it);
        pthread_mutex_lock(&job->lock);
        job->written++;
        report(job, "frames");
        pthread_mutex_unlock(&job->lock);
    }
    if (ret)
        stop(job, ret, &err);
    ls_restore_close(&r);
    return NULL;
}

typedef struct chunk_progress {
    ls_sync *job;
    double base, frames;
} chunk_progress;

static void report_chunk(void *opaque, double fraction)
{
    const chunk_progress *p = opaque;
    pthread_mutex_lock(&p->job->lock);
    p->job->work = p->base + fraction * p->frames;
    report(p->job, "frames");
    pthread_mutex_unlock(&p->job->lock);
}

/* Frames of a chunk without a face borrow the nearest one of the chunk, for the networks work on
 * whole chunks; what comes of them is not used. */
static const uint8_t *nearest_face(item *const *items, size_t count, size_t i)
{
    for (size_t d = 0; d < count; d++) {
        if (i >= d && items[i - d]->has_face)
            return items[i - d]->face;
        if (i + d < count && items[i + d]->has_face)
            return items[i + d]->face;
    }
    return NULL;
}

static int generate(ls_sync *job, size_t chunk, item *const *items, size_t count, ls_error *err)
{
    const uint8_t *faces[LS_CHUNK_FRAMES];
    float *images[LS_CHUNK_FRAMES] = {NULL};
    size_t pixels = job->s.resolution * job->s.resolution * 3;
    chunk_progress p = {job, (double)(chunk * LS_CHUNK_FRAMES), (double)count};
    if (nearest_face(items, count, 0)) {
        for (size_t i = 0; i < count; i++) {
            faces[i] = nearest_face(items, count, i);
            if (!items[i]->has_face)
                continue;
            images[i] = items[i]->image = ls_aligned_alloc(pixels * sizeof(float));
            if (!images[i])
                return ls_fail(err, LS_ENOMEM, "out of memory for a face");
        }
        int ret = ls_generator_run(job->generator, chunk, count, faces, images, report_chunk, &p,
                                   &job->cancel, err);
        if (ret)
            return ret;
    }
    for (size_t i = 0; i < count; i++) {
        job->without_face += !items[i]->has_face;
        ls_aligned_free(items[i]->face);
        items[i]->face = NULL;
    }
    report_chunk(&p, 1);
    return 0;
}

/* Collects chunks on the fixed grid and passes their frames on. */
static int run_compute(ls_sync *job, ls_error *err)
{
    int ret = 0;
    for (size_t chunk = 0; !ret && chunk * LS_CHUNK_FRAMES < job->frames; chunk++) {
        item *items[LS_CHUNK_FRAMES] = {NULL};
        uint64_t left = job->frames - chunk * LS_CHUNK_FRAMES;
        size_t want = left < LS_CHUNK_FRAMES ? (size_t)left : LS_CHUNK_FRAMES, have = 0, sent = 0;
        void *popped;
        while (!ret && have < want && !(ret = ls_queue_pop(job->cropped, &popped)))
            items[have++] = popped;
        if (!ret)
            ret = generate(job, chunk, items, want, err);
        while (!ret && sent < have &&
               !(ret = ls_queue_push(job->generated, items[sent],
                                     item_bytes(items[sent], job->s.resolution))))
            sent++;
        for (size_t i = sent; i < have; i++)
            free_item(items[i]);
    }
    return ret;
}

static int run_stages(ls_sync *job)
{
    pthread_t source, sink, faces;
    ls_error err = {0};
    job->cropped = ls_queue_open(2 * LS_CHUNK_FRAMES, QUEUE_BYTES, free_item);
    job->generated = ls_queue_open(2 * LS_CHUNK_FRAMES, QUEUE_BYTES, free_item);
    if (!job->cropped || !job->generated)
        return ls_fail(&job->err, LS_ENOMEM, "out of memory");
    job->start = ls_time_now();
    const struct {
        pthread_t *thread;
        void *(*run)(void *);
    } stages[] = {{&source, run_source}, {&sink, run_sink}, {&faces, run_faces}};
    const size_t count = ls_face_feed_runs(job->faces) ? 3 : 2;
    size_t started = 0;
    while (started < count &&
           !pthread_create(stages[started].thread, NULL, stages[started].run, job))
        started++;
    if (started < count)
        stop(job, LS_ENOMEM, &(ls_error){LS_ENOMEM, "cannot start a thread"});
    int ret = run_compute(job, &err);
    if (ret && err.code) // otherwise another stage failed, and has said why
        stop(job, ret, &err);
    ls_queue_finish(job->generated, ret);
    for (size_t i = 0; i < started; i++)
        pthread_join(*stages[i].thread, NULL);
    return job->err.code;
}

static int read_pcm(void *opaque, uint64_t start, size_t n, int16_t *dst, ls_error *err)
{
    return ls_pcm_read(opaque, start, n, dst, err);
}

static int prepare(ls_sync *job, ls_error *err)
{
    const ls_video_info *v = ls_video_get_info(ls_pingpong_video(job->source));
    double fps = (double)v->fps_num / v->fps_den;
    report_locked(job, "prepare");
    int ret = ls_pcm_open(&job->pcm, job->s.audio, &job->cancel, err);
    ls_pcm_source pcm = {job->pcm ? ls_pcm_samples(job->pcm) : 0, read_pcm, job->pcm};
    if (!ret && (ret = ls_log_mel_open(&job->mel, &pcm, &job->cancel, err)))
        ret = ret == LS_ECANCELED ? ret : ls_fail_context(err, ret, "%s", job->s.audio);
    if (!ret)
        ret = ls_features_open(&job->features, job->models.whisper, job->mel, fps, err);
    if (ret)
        return ret;
    job->frames = ls_features_frames(job->features);
    ls_log_msg(&job->log, LS_LOG_INFO, "%.2f s of speech: %llu frames of %zu x %zu at %.6g/s",
               (double)pcm.samples / LS_PCM_RATE, (unsigned long long)job->frames, v->width,
               v->height, fps);
    const ls_generator_settings g = {.resolution = job->s.resolution,
                                     .sampler = {.steps = job->s.steps,
                                                 .guidance_scale = job->s.guidance_scale,
                                                 .cache_interval = job->s.cache_interval},
                                     .seed = job->s.seed,
                                     .vae_frames = 1};
    ret = ls_generator_open(&job->generator, &job->models, job->features, &g, err);
    if (!ret)
        ret = ls_generator_prepare(
            job->generator, job->frames < LS_CHUNK_FRAMES ? job->frames : LS_CHUNK_FRAMES, err);
    return ret;
}

static void log_memory(ls_sync *job)
{
    ls_network *nets[] = {ls_unet_network(job->models.unet), ls_vae_network(job->models.vae),
                          ls_whisper_network(job->models.whisper)};
    size_t weights = 0;
    for (int i = 0; i < 3; i++)
        weights += ls_network_usage(nets[i]).weights;
    ls_log_msg(&job->log, LS_LOG_INFO, "memory: %.0f MB of weights (%s), %.0f MB of activations",
               (double)weights / 1e6, ls_dtype_name(ls_network_dtype(nets[0])),
               (double)job->models.workspace.bytes / 1e6);
}

/* Where the time of the networks went. */
static void log_ops(ls_sync *job)
{
    struct {
        const char *name;
        ls_network *net;
    } nets[] = {{"UNet", ls_unet_network(job->models.unet)},
                {"VAE", ls_vae_network(job->models.vae)},
                {"Whisper", ls_whisper_network(job->models.whisper)}};
    for (size_t i = 0; i < sizeof nets / sizeof *nets; i++) {
        double seconds[LS_OP_COUNT] = {0};
        ls_network_op_seconds(nets[i].net, seconds);
        for (int op = 0; op < LS_OP_COUNT; op++)
            if (seconds[op] > 0.01)
                ls_log_msg(&job->log, LS_LOG_DEBUG, "%s %s: %.2f s", nets[i].name, ls_op_name(op),
                           seconds[op]);
    }
}

int ls_sync_run(ls_sync *job, ls_error *err)
{
    int ret = prepare(job, err);
    const ls_writer_settings w = {.path = job->s.output,
                                  .audio = job->s.audio,
                                  .codec = job->s.video_codec,
                                  .preset = job->s.preset,
                                  .crf = job->s.crf,
                                  .like = ls_pingpong_video(job->source),
                                  .log = &job->log};
    if (!ret)
        ret = ls_writer_open(&job->writer, &w, err);
    if (!ret) {
        log_memory(job);
        ret = run_stages(job);
        if (ret && err)
            *err = job->err;
    }
    if (!ret) {
        report_locked(job, "finish");
        ret = ls_canceled(&job->cancel) ? ls_fail(err, LS_ECANCELED, "canceled")
                                        : ls_writer_finish(job->writer, err);
    }
    if (!ret && job->without_face)
        ls_log_msg(&job->log, LS_LOG_WARN, "%llu of %llu frames lack the face and are as they were",
                   (unsigned long long)job->without_face, (unsigned long long)job->frames);
    if (!ret)
        ls_log_msg(&job->log, LS_LOG_INFO, "wrote %s (sound: %s)", job->s.output,
                   ls_writer_audio_mode(job->writer));
    ls_writer_close(&job->writer);
    log_ops(job);
    return ret;
}

void ls_sync_cancel(ls_sync *job)
{
    ls_cancel_request(&job->cancel);
    ls_cancel_request(&job->end_faces);
}

void ls_sync_default_settings(ls_sync_settings *s)
{
    *s = (ls_sync_settings){.face = "largest",
                            .max_gap = ls_follow_default_settings().max_gap,
                            .detect_every = 1,
                            .resolution = 512,
                            .steps = 20,
                            .guidance_scale = 1.5f,
                            .cache_interval = 3,
                            .seed = 1247,
                            .compute_type = LS_COMPUTE_AUTO,
                            .video_codec = "libx264",
                            .preset = "medium",
                            .crf = 18};
}

static void write_message(void *opaque, int level, const char *line)
{
    ls_sync *job = opaque;
    pthread_mutex_lock(&job->lock);
    if (job->s.message)
        job->s.message(job->s.opaque, level, line);
    pthread_mutex_unlock(&job->lock);
}

/* The output must not replace what it is made from. */
static int check_output(const ls_sync_settings *s, ls_error *err)
{
    const char *inputs[] = {s->video, s->audio, s->face_track, s->detector};
    const char *outputs[] = {s->output, s->save_track};
    struct stat out, in;
    for (int o = 0; o < 2; o++) {
        if (!outputs[o] || stat(outputs[o], &out))
            continue;
        for (int i = 0; i < 4; i++)
            if (inputs[i] && !stat(inputs[i], &in) && in.st_dev == out.st_dev &&
                in.st_ino == out.st_ino)
                return ls_fail(err, LS_EINVAL, "%s is an input; the output needs a name of its own",
                               outputs[o]);
    }
    if (s->save_track && !strcmp(s->output, s->save_track))
        return ls_fail(err, LS_EINVAL, "%s: the track needs another name than the video",
                       s->save_track);
    return 0;
}

static int check_settings(const ls_sync_settings *s, ls_error *err)
{
    if (!s->models || !s->video || !s->audio || !s->output)
        return ls_fail(err, LS_EINVAL, "models, video, audio and output are required");
    if (s->max_gap > LS_FOLLOW_MAX_GAP || !s->detect_every || s->detect_every > LS_FOLLOW_MAX_EVERY)
        return ls_fail(err, LS_EINVAL,
                       "a gap of %zu frames, detection every %zu: up to %d and %d are possible",
                       s->max_gap, s->detect_every, LS_FOLLOW_MAX_GAP, LS_FOLLOW_MAX_EVERY);
    if (s->face_track && (s->save_track || s->detector))
        return ls_fail(err, LS_EINVAL,
                       "with a face track nothing is looked for: it goes with neither a track to "
                       "save nor a detector");
    if (!ls_resolution_valid(s->resolution) || s->resolution % 64)
        return ls_fail(err, LS_EINVAL, "resolution %zu: a multiple of 64 is expected, 256 or 512",
                       s->resolution);
    if (!(s->guidance_scale >= 0 && s->guidance_scale <= 100))
        return ls_fail(err, LS_EINVAL, "guidance %g: a number from 0 to 100 is expected",
                       (double)s->guidance_scale);
    if (s->steps < 1 || s->steps > LS_DDIM_TRAIN_STEPS || s->cache_interval < 1)
        return ls_fail(
            err, LS_EINVAL,
            "%zu steps with a cache interval of %zu: 1 to %d steps and an interval of at "
            "least 1 are expected",
            s->steps, s->cache_interval, LS_DDIM_TRAIN_STEPS);
    return check_output(s, err);
}

#define STRINGS 10

static void list_strings(ls_sync_settings *s, const char **strings[STRINGS])
{
    const char **list[STRINGS] = {&s->models,      &s->video,      &s->audio,      &s->output,
                                  &s->face,        &s->face_track, &s->save_track, &s->detector,
                                  &s->video_codec, &s->preset};
    memcpy(strings, list, sizeof list);
}

static int copy_strings(ls_sync_settings *s, ls_error *err)
{
    const char **strings[STRINGS];
    bool ok = true;
    list_strings(s, strings);
    for (size_t i = 0; i < STRINGS; i++) {
        if (!*strings[i])
            continue;
        *strings[i] = strdup(*strings[i]);
        ok = ok && *strings[i];
    }
    return ok ? 0 : ls_fail(err, LS_ENOMEM, "out of memory");
}

static int open_inputs(ls_sync *job, ls_error *err)
{
    ls_video *video = NULL;
    const ls_video_settings v = {DECODER_THREADS, job->s.source_fps, &job->log};
    int ret = ls_video_open(&video, job->s.video, &v, err);
    if (!ret)
        ret = ls_pingpong_open(&job->source, &video, WINDOW_BYTES, err);
    if (!ret)
        ret = ls_face_feed_open(&job->faces, &job->s,
                                ls_video_get_info(ls_pingpong_video(job->source)), &job->log, err);
    return ret;
}

int ls_sync_open(ls_sync **out, const ls_sync_settings *s, ls_error *err)
{
    *out = NULL;
    int ret = check_settings(s, err);
    if (ret)
        return ret;
    ls_sync *job = ls_calloc_array(1, sizeof *job);
    if (!job)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    job->s = *s;
    job->s.face = s->face ? s->face : "largest";
    job->log = (ls_log){LS_LOG_DEBUG, write_message, job};
    pthread_mutex_init(&job->lock, NULL);
    bool bf16 = s->compute_type == LS_COMPUTE_BFLOAT16 ||
                (s->compute_type == LS_COMPUTE_AUTO && ls_backend_prefers_bf16());
    ret = copy_strings(&job->s, err);
    if (!ret)
        ret = open_inputs(job, err);
    if (!ret)
        ret = ls_models_open(&job->models, s->models, "onednn", bf16 ? LS_BF16 : LS_F32, s->threads,
                             err);
    if (ret)
        ls_sync_close(&job);
    *out = job;
    return ret;
}

void ls_sync_close(ls_sync **pjob)
{
    ls_sync *job = *pjob;
    if (!job)
        return;
    ls_queue_close(&job->cropped);
    ls_queue_close(&job->generated);
    ls_writer_close(&job->writer);
    ls_generator_close(&job->generator);
    ls_features_close(&job->features);
    ls_log_mel_close(&job->mel);
    ls_pcm_close(&job->pcm);
    ls_models_close(&job->models);
    ls_face_feed_close(&job->faces);
    ls_pingpong_close(&job->source);
    const char **strings[STRINGS];
    list_strings(&job->s, strings);
    for (size_t i = 0; i < STRINGS; i++)
        free((char *)*strings[i]);
    pthread_mutex_destroy(&job->lock);
    free(job);
    *pjob = NULL;
}
