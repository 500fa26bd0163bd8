/* The public comparison of lips and sound. */
#include "latentsync/check.h"
#include "backend/team.h"
#include "base/alloc.h"
#include "base/path.h"
#include "base/system.h"
#include "base/time.h"
#include "face/mouth.h"
#include "models/models.h"
#include "pipeline/check_mouth.h"
#include "pipeline/check_stable.h"
#include "pipeline/check_syncnet.h"
#include "pipeline/events.h"
#include "pipeline/face_feed.h"
#include "pipeline/options.h"
#include "pipeline/pcm_source.h"
#include "pipeline/settings.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FPS 25.0
#define DECODER_THREADS 2
#define REPORT_SECONDS 0.1
#define ALL_FRAMES ((uint64_t)1 << 40)
#define IN_SYNC 1.5          /* frames */
#define LEAST_DEVIATIONS 4.5 /* unrelated drawn lips and sounds reach 4.3 */
#define LEAST_DISTANCE 3.0   /* below it LatentSync drops clips from its training data */
#define LEAST_COSINE 0.5     /* above it LatentSync's evaluation takes a window to be in sync */

typedef struct found {
    ls_check result;
    ls_check_stretch *stretches;
    size_t room;
} found;

typedef struct check {
    ls_sync_settings s;
    ls_events *events;
    ls_log log;
    ls_cancel cancel; /* below the caller's */
    ls_video *video;
    ls_face_feed *faces;
    ls_error faces_err;
    ls_pcm *pcm;
    ls_check_stable *stable; /* at most one of these two; */
    ls_check_syncnet *syncnet;
    ls_log_mel *mel; /* neither: by the opening of the mouth */
    ls_check_mouth *mouth;
    ls_lag_sum whole;
    ls_check_stretch now;
    double start, reported;
    found *found;
} check;

/* The weights that were given, or those that are installed and to be preferred; empty: none. */
static int find_weights(check *c, char *path, size_t size, ls_error *err)
{
    static const struct {
        const char *file, *why;
    } installed[] = {{LS_STABLE_SYNCNET_FILE, "its weights are installed"},
                     {LS_SYNCNET_FILE, "its weights are installed, StableSyncNet's are not"}};
    ls_check *result = &c->found->result;
    result->why = "its weights were given";
    if (c->s.syncnet)
        return snprintf(path, size, "%s", c->s.syncnet) < (int)size
                   ? 0
                   : ls_fail(err, LS_EINVAL, "%s: the path is too long", c->s.syncnet);
    for (size_t i = 0; c->s.models && i < LS_COUNT(installed); i++) {
        const int ret = ls_path_join(path, size, c->s.models, installed[i].file, err);
        result->why = installed[i].why;
        if (ret || !access(path, R_OK))
            return ret;
    }
    result->why = "there are no weights of a SyncNet";
    path[0] = '\0';
    return 0;
}

static int open_network(check *c, const char *path, const ls_pcm_source *sound, ls_error *err)
{
    ls_check *result = &c->found->result;
    ls_weights *w;
    int ret = ls_weights_open(&w, path, err);
    if (ret)
        return ret;
    if (ls_stable_syncnet_is(w)) {
        result->method = "StableSyncNet";
        result->least = LEAST_COSINE;
        c->s.resolution = LS_STABLE_SYNCNET_RESOLUTION;
        return ls_check_stable_open(&c->stable, &w, sound, c->s.threads, err);
    }
    result->method = "SyncNet";
    result->least = LEAST_DISTANCE;
    return ls_check_syncnet_open(&c->syncnet, &w, sound, c->s.threads, err);
}

static int open_method(check *c, ls_error *err)
{
    const ls_pcm_source sound = ls_pcm_source_of(c->pcm);
    char path[LS_PATH_SIZE];
    int ret = find_weights(c, path, sizeof path, err);
    if (ret)
        return ret;
    if (*path) {
        ret = open_network(c, path, &sound, err);
        return ret ? ls_models_unusable(ret, err) : 0;
    }
    c->found->result.method = "mouth opening";
    c->found->result.least = LEAST_DEVIATIONS;
    ret = ls_log_mel_open(&c->mel, &sound, &c->cancel, err);
    return ret ? ret : ls_check_mouth_open(&c->mouth, c->mel, err);
}

/* With a detector or a track a model directory is of use for the weights of a SyncNet alone. */
static int find_models(check *c, ls_error *err)
{
    char dir[LS_PATH_SIZE];
    int built_in;
    if (!c->s.detector && !c->s.face_track)
        return ls_settings_find_models(&c->s.models, &c->log, err);
    return c->s.models || ls_models_find(dir, sizeof dir, &built_in, NULL)
               ? 0
               : ls_settings_replace(&c->s.models, dir, err);
}

static int open_check(check *c, ls_error *err)
{
    const ls_listener listener = {c->s.message, c->s.progress, c->s.opaque};
    const ls_stream_span span = {ALL_FRAMES, ALL_FRAMES, ALL_FRAMES};
    int ret = ls_events_open(&c->events, &listener, err);
    if (ret)
        return ret;
    c->log = ls_events_log(c->events);
    const ls_video_settings video = {.threads = DECODER_THREADS,
                                     .stream = c->s.video_stream + 1,
                                     .keep_interlaced = c->s.keep_interlaced,
                                     .log = &c->log,
                                     .cancel = &c->cancel};
    ret = find_models(c, err);
    if (!ret)
        ret = ls_video_open(&c->video, c->s.video, &video, err);
    if (!ret) {
        const ls_sound_settings sound = {
            .path = c->s.video, .stream = c->s.audio_stream, .log = &c->log, .cancel = &c->cancel};
        ls_video_log_choice(c->video, &c->log);
        ret = ls_pcm_open(&c->pcm, &sound, NULL, err);
    }
    if (!ret)
        ret = open_method(c, err);
    return ret ? ret
               : ls_face_feed_open(&c->faces, &c->s, c->s.face_track, c->video, &span, NULL,
                                   &c->log, err);
}

static void close_check(check *c)
{
    ls_face_feed_close(&c->faces);
    ls_check_stable_close(&c->stable);
    ls_check_syncnet_close(&c->syncnet);
    ls_check_mouth_close(&c->mouth);
    ls_log_mel_close(&c->mel);
    ls_pcm_close(&c->pcm);
    ls_video_close(&c->video);
    ls_settings_free(&c->s);
    ls_events_close(&c->events);
}

static void *find_faces(void *opaque)
{
    check *c = opaque;
    int ret = ls_face_feed_run(c->faces, NULL, NULL, &c->cancel, &c->faces_err);
    if (ret)
        ls_face_path_finish(ls_face_feed_path(c->faces), 0, c->faces_err.code = ret);
    return NULL;
}

static void report(check *c, uint64_t frame, bool done)
{
    const double seconds = ls_time_now() - c->start;
    uint64_t frames = ls_video_get_info(c->video)->frames;
    if (!done && ls_time_now() - c->reported < REPORT_SECONDS)
        return;
    frames = done || frames < frame ? frame : frames;
    ls_report r = {.p = {.stage = "faces",
                         .frame = frame,
                         .frames = frames,
                         .fraction = frames ? (double)frame / (double)frames : 0,
                         .seconds = seconds,
                         .resident_bytes = ls_process_memory_now().resident}};
    r.p.frames_per_second = seconds > 0 ? (double)frame / seconds : 0;
    if (frame)
        r.p.seconds_left = (double)(frames - frame) * seconds / (double)frame;
    ls_events_report(c->events, &r);
    c->reported = ls_time_now();
}

/* The video's clock begins with the file, that of the sound where a player starts it. */
static void judge(const check *c, ls_check_stretch *s, const ls_lag_sum *sum)
{
    const ls_lag lag = c->stable    ? ls_lag_of_cosines(sum, LEAST_COSINE)
                       : c->syncnet ? ls_lag_of_distances(sum)
                                    : ls_lag_of_correlation(sum);
    s->lag = lag.frames / FPS + ls_pcm_facts(c->pcm)->lead;
    s->confidence = lag.confidence;
    s->verdict = !lag.is_clear || lag.confidence < c->found->result.least ? LS_CHECK_UNKNOWN
                 : fabs(s->lag) * FPS < IN_SYNC                           ? LS_CHECK_IN_SYNC
                 : s->lag > 0                                             ? LS_CHECK_LATE
                                                                          : LS_CHECK_EARLY;
}

static int keep_stretch(found *f, const ls_check_stretch *s, ls_error *err)
{
    if (f->result.stretch_count == f->room) {
        size_t room = f->room ? 2 * f->room : 16, bytes;
        ls_check_stretch *more =
            ls_mul_size(room, sizeof *more, &bytes) ? realloc(f->stretches, bytes) : NULL;
        if (!more)
            return ls_fail(err, LS_ENOMEM, "out of memory");
        f->result.stretches = f->stretches = more;
        f->room = room;
    }
    f->stretches[f->result.stretch_count++] = *s;
    return 0;
}

/* The stretch from frame `first` to `end`. */
static int end_stretch(check *c, uint64_t first, uint64_t end, ls_error *err)
{
    ls_lag_sum sum;
    int ret = 0;
    if (c->stable)
        ls_check_stable_end(c->stable, &sum);
    else if (c->syncnet)
        ls_check_syncnet_end(c->syncnet, &sum);
    else
        ret = ls_check_mouth_end(c->mouth, first, &sum, err);
    if (ret)
        return ret;
    c->now.start = (double)first / FPS;
    c->now.seconds = (double)(end - first) / FPS;
    judge(c, &c->now, &sum);
    ls_lag_add(&c->whole, &sum);
    c->found->result.whole.frames += c->now.frames;
    ret = keep_stretch(c->found, &c->now, err);
    c->now = (ls_check_stretch){0};
    return ret;
}

static int take_frame(check *c, uint64_t index, const ls_frame *frame, ls_error *err)
{
    ls_face_path *path = ls_face_feed_path(c->faces);
    ls_placement place;
    double box[3];
    int ret = c->syncnet ? ls_face_path_box(path, (int64_t)index, box, err)
                         : ls_face_path_get(path, (int64_t)index, &place, err);
    if (ret < 0)
        return ret;
    c->now.frames += ret == 1;
    if (c->syncnet)
        return ls_check_syncnet_take(c->syncnet, frame, index, ret ? box : NULL, &c->cancel, err);
    const ls_matrix *m = ret ? &place.matrix : NULL;
    return c->stable ? ls_check_stable_take(c->stable, frame, index, m, &c->cancel, err)
                     : ls_check_mouth_take(c->mouth, frame, m, err);
}

static int watch(check *c, ls_error *err)
{
    uint64_t index = 0, first = 0;
    int ret = 0;
    while (!ret) {
        ls_frame *frame = NULL;
        ret = ls_canceled(&c->cancel) ? ls_fail(err, LS_ECANCELED, "canceled")
                                      : ls_video_next(c->video, &frame, err);
        if (!ret)
            ret = take_frame(c, index, frame, err);
        ls_frame_unref(&frame);
        if (!ret && ++index - first == LS_CHECK_STRETCH) {
            ret = end_stretch(c, first, index, err);
            first = index;
        }
        report(c, index, ret == LS_EOF);
    }
    if (ret == LS_EOF)
        ret = index > first ? end_stretch(c, first, index, err) : 0;
    c->found->result.whole.seconds = (double)index / FPS;
    return ret;
}

/* While the faces are found, if they are, in a thread of their own. */
static int run(check *c, ls_error *err)
{
    pthread_t faces;
    ls_quiet *quiet = NULL;
    const bool search = ls_face_feed_runs(c->faces);
    c->start = ls_time_now();
    int ret = ls_quiet_open(&quiet, err);
    if (!ret && search && pthread_create(&faces, NULL, find_faces, c)) {
        ls_quiet_close(&quiet);
        return ls_fail(err, LS_ENOMEM, "cannot start a thread");
    }
    if (!ret)
        ret = watch(c, err);
    if (ret)
        ls_cancel_request(&c->cancel);
    if (quiet && search)
        pthread_join(faces, NULL);
    ls_quiet_close(&quiet);
    const int failed = c->faces_err.code;
    if (failed && !(ret && failed == LS_ECANCELED)) {
        if (err)
            *err = c->faces_err;
        return failed;
    }
    judge(c, &c->found->result.whole, &c->whole);
    return ret;
}

int ls_check_video(const ls_check **out, const ls_sync_settings *settings, ls_error *err)
{
    check c = {.found = NULL};
    *out = NULL;
    int ret = ls_settings_take(&c.s, settings, err);
    if (ret)
        return ret;
    c.cancel.parent = c.s.cancel;
    c.s.audio = c.s.output = c.s.video; // the sound is the video's own, and nothing is written
    c.s.resolution = LS_MOUTH_RESOLUTION;
    c.s.source_fps = 0;
    c.s.save_track = NULL;
    ret = ls_options_check(&c.s, NULL, err);
    if (ret)
        return ret;
    c.found = ls_calloc_array(1, sizeof *c.found);
    if (!c.found)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    ret = ls_settings_own(&c.s, err);
    if (!ret)
        ret = open_check(&c, err);
    if (!ret)
        ret = run(&c, err);
    close_check(&c);
    *out = &c.found->result;
    if (ret)
        ls_check_free(out);
    return ret;
}

void ls_check_free(const ls_check **pc)
{
    found *f = (found *)*pc;
    if (!f)
        return;
    free(f->stretches);
    free(f);
    *pc = NULL;
}
