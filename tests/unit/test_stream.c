/* A stream with several generators: the same frames as with one, in the same order, within the same
 * bound, and an end when one of them fails. */
#include "media.h"
#include "recording.h"

#include "base/alloc.h"
#include "base/sha256.h"
#include "latentsync/models.h"
#include "pipeline/stream.h"

#include <time.h>

enum { R = 64, FRAMES = 75, CARDS = 3 };

/* What the tests change about the devices of a job, and see of them. */
typedef struct card {
    ls_device *device;
    ls_device_vtable vtable;
    const ls_device_vtable *own;
    long fails_at;  /* enqueued node; below 0: never */
    double seconds; /* that a node takes instead of being computed: its result is 0; 0: it is
                       computed */
    long nodes;
    size_t kernels;
    struct {
        const ls_kernel *kernel;
        size_t bytes; /* of its result */
    } results[2048];
} card;

static card cards[CARDS];
static uint8_t whole[FRAMES][32]; /* the frames of one card in one run */
static ls_job_folder *folder;     /* of jobs that are opened from now on; NULL: they have none */

typedef struct job {
    ls_models models[CARDS];
    ls_log_mel *mel;
    ls_features *features;
    ls_generator *generators[CARDS];
    size_t count;
    ls_pingpong *source;
    ls_face_path *path;
    ls_cancel cancel;
    ls_stream *stream;
    int16_t pcm[FRAMES * 640];
    recording rec;
    /* of what comes out */
    uint64_t next, cancel_at;
    double encode_seconds, generated;
    uint64_t chunk;
    size_t most_in_flight;
    uint8_t digests[FRAMES][32];
} job;

static void pause_for(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

static card *card_of(const ls_device *dev)
{
    card *c = cards;
    while (c->device != dev)
        c++;
    return c;
}

static int compile(ls_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                   ls_error *err)
{
    card *c = card_of(st->device);
    int ret = c->own->compile(st, node, out, scratch, err);
    assert_true(c->kernels < 2048);
    c->results[c->kernels].bytes = ls_tensor_bytes(node->out);
    c->results[c->kernels++].kernel = *out;
    return ret;
}

static int enqueue(ls_device *dev, ls_kernel *k, void *const in[LS_MAX_INPUTS], void *out,
                   void *scratch, ls_error *err)
{
    card *c = card_of(dev);
    if (c->nodes++ == c->fails_at)
        return ls_fail(err, LS_EUNSUPPORTED, "card %d fell off the bus", (int)(c - cards));
    if (!(c->seconds > 0))
        return c->own->enqueue(dev, k, in, out, scratch, err);
    size_t i = 0;
    while (c->results[i].kernel != k)
        i++;
    memset(out, 0, c->results[i].bytes);
    if (c->seconds > 1e-6)
        pause_for(c->seconds);
    return 0;
}

static int setup(void **state)
{
    char path[4096];
    ls_error err = {0};
    if (media_setup(state))
        return -1;
    media_run("ffmpeg -v error -f lavfi -i testsrc2=s=160x120:r=25 -frames:v %d -c:v libx264 "
              "-preset ultrafast -pix_fmt yuv420p video.mp4",
              FRAMES);
    return ls_models_random(media_path(path, "models"), "mini", &err);
}

/* A face that wanders, except in a few frames and in one whole chunk. */
static void put_face(ls_face_path *path, int64_t frame)
{
    static const double five[5][2] = {{50, 40}, {80, 40}, {65, 55}, {53, 75}, {78, 75}};
    ls_chosen_face c = {.frame = frame, .id = 1};
    if (frame % 29 == 7 || frame / LS_CHUNK_FRAMES == 2)
        c.id = 0;
    c.face.kind = c.id ? LS_FACE_POINTS5 : LS_FACE_NONE;
    for (size_t i = 0; i < 5; i++) {
        c.face.points[i][0] = five[i][0] + (double)frame / 5;
        c.face.points[i][1] = five[i][1];
    }
    assert_int_equal(ls_face_path_put(path, &c, NULL), 0);
}

static void open_generator(job *j, size_t i)
{
    char path[4096];
    ls_error err = {0};
    const ls_devices all = {"onednn", "onednn", "onednn", LS_F32, 1};
    const ls_generator_settings s = {
        .resolution = R,
        .sampler = {.steps = 2, .guidance_scale = 1.5f, .cache_interval = 1},
        .seed = 7,
        .vae_frames = 1};
    if (ls_models_open(&j->models[i], media_path(path, "models"), &all, &err))
        fail_msg("%s", err.message);
    card *c = &cards[i];
    c->device = j->models[i].workspaces[0].device;
    c->own = c->device->vtable;
    c->vtable = *c->own;
    c->vtable.enqueue = enqueue;
    c->device->vtable = &c->vtable;
    c->vtable.compile = compile;
    c->nodes = 0;
    c->kernels = 0;
    if (!i)
        assert_int_equal(ls_features_open(&j->features, j->models[0].whisper, j->mel,
                                          &(ls_feature_settings){.fps = 25}, NULL),
                         0);
    if (ls_generator_open(&j->generators[i], &j->models[i], j->features, &s, &err) ||
        ls_generator_prepare(j->generators[i], LS_CHUNK_FRAMES, &err))
        fail_msg("%s", err.message);
}

/* A job on so many cards, which are as `cards` says. */
static job *open_job(size_t count, size_t frames_in_flight,
                     int (*encode)(void *, uint64_t, ls_frame *, ls_error *))
{
    char path[4096];
    ls_video *video;
    job *j = ls_calloc_array(1, sizeof *j);
    assert_non_null(j);
    j->count = count;
    j->cancel_at = UINT64_MAX;
    for (size_t i = 0; i < FRAMES * 640; i++)
        j->pcm[i] = (int16_t)((i * (i / 100) % 200) * 80);
    j->rec = (recording){j->pcm, FRAMES * 640};
    const ls_pcm_source sound = {j->rec.samples, read_pcm, &j->rec};
    assert_int_equal(ls_log_mel_open(&j->mel, &sound, NULL, NULL), 0);
    for (size_t i = 0; i < count; i++)
        open_generator(j, i);
    assert_int_equal(ls_video_open(&video, media_path(path, "video.mp4"),
                                   &(ls_video_settings){.threads = 1}, NULL),
                     0);
    assert_int_equal(ls_pingpong_open(&j->source, &video, 1 << 20, NULL, NULL), 0);
    assert_int_equal(ls_face_path_open(&j->path, R, NULL, NULL), 0);
    const ls_stream_parts parts = {.source = j->source,
                                   .path = j->path,
                                   .generators = j->generators,
                                   .generator_count = count,
                                   .resolution = R,
                                   .span = {FRAMES, FRAMES, FRAMES + 2},
                                   .frames = frames_in_flight,
                                   .workers = 2,
                                   .folder = folder,
                                   .cancel = &j->cancel,
                                   .encode = encode,
                                   .opaque = j};
    assert_int_equal(ls_stream_open(&j->stream, &parts, NULL), 0);
    return j;
}

static void put_faces(job *j)
{
    for (int64_t i = 0; i < FRAMES; i++)
        put_face(j->path, i);
    ls_face_path_finish(j->path, FRAMES, 0);
}

static void close_job(job **pj)
{
    job *j = *pj;
    ls_stream_close(&j->stream);
    ls_face_path_close(&j->path);
    ls_pingpong_close(&j->source);
    for (size_t i = 0; i < j->count; i++)
        ls_generator_close(&j->generators[i]);
    ls_features_close(&j->features);
    ls_log_mel_close(&j->mel);
    for (size_t i = 0; i < j->count; i++) {
        cards[i].device->vtable = cards[i].own;
        ls_models_close(&j->models[i]);
        cards[i].seconds = 0;
        cards[i].fails_at = -1;
    }
    free(j);
    *pj = NULL;
}

/* Takes a frame; what it sees of the stream never goes back. */
static int take(void *opaque, uint64_t index, ls_frame *f, ls_error *err)
{
    job *j = opaque;
    ls_stream_state st;
    ls_sha256 hash;
    size_t bytes;
    (void)err;
    assert_int_equal(index, j->next++);
    uint8_t *pixels = media_pack(f, &bytes);
    ls_sha256_begin(&hash);
    ls_sha256_add(&hash, pixels, bytes);
    ls_sha256_end(&hash, j->digests[index]);
    free(pixels);
    ls_stream_get_state(j->stream, &st);
    assert_true(st.generated >= j->generated && st.chunk >= j->chunk && st.step <= st.steps);
    j->generated = st.generated;
    j->chunk = st.chunk;
    if (st.in_flight > j->most_in_flight)
        j->most_in_flight = st.in_flight;
    if (index == j->cancel_at)
        ls_cancel_request(&j->cancel);
    if (j->encode_seconds > 0)
        pause_for(j->encode_seconds);
    return 0;
}

static void expect_ended(const job *j, uint64_t frames)
{
    ls_stream_state st;
    ls_stream_get_state(j->stream, &st);
    assert_int_equal(st.in_flight, 0);
    assert_true(j->next <= frames);
}

static void run_well(job *j)
{
    ls_error err = {0};
    ls_stream_state st;
    if (ls_stream_run(j->stream, 0, FRAMES, &err))
        fail_msg("%s", err.message);
    ls_stream_get_state(j->stream, &st);
    expect_ended(j, FRAMES);
    assert_int_equal(j->next, FRAMES);
    assert_int_equal(st.frames[LS_STAGE_GENERATE], FRAMES);
    assert_true(st.generated > FRAMES - 1e-6 && st.generated < FRAMES + 1e-6);
    assert_int_equal(st.with_face + st.without_face, FRAMES);
    uint64_t frames = 0;
    for (size_t i = 0; i < st.generator_count; i++)
        frames += st.generators[i].frames;
    assert_int_equal(frames, FRAMES);
}

static void cards_do_not_show(void **state)
{
    (void)state;
    static const struct {
        size_t cards, frames;
    } ways[] = {{2, 64}, {3, 80}, {2, 16}, {3, 24}};
    job *one = open_job(1, 24, take);
    put_faces(one);
    run_well(one);
    memcpy(whole, one->digests, sizeof whole);
    assert_memory_not_equal(whole[0], whole[1], 32);
    close_job(&one);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        job *j = open_job(ways[i].cards, ways[i].frames, take);
        put_faces(j);
        run_well(j);
        assert_memory_equal(whole, j->digests, sizeof j->digests);
        assert_true(j->most_in_flight <= ways[i].frames);
        size_t working = 0;
        for (size_t k = 0; k < ways[i].cards; k++)
            working += cards[k].nodes > 0;
        assert_true(working > 1 || ways[i].frames < 32);
        close_job(&j);
    }
}

static void segments_follow_each_other(void **state)
{
    (void)state;
    job *j = open_job(2, 64, take);
    put_faces(j);
    assert_int_equal(ls_stream_run(j->stream, 0, 32, NULL), 0);
    assert_int_equal(j->next, 32);
    assert_int_equal(ls_stream_run(j->stream, 32, FRAMES, NULL), 0);
    assert_int_equal(j->next, FRAMES);
    assert_memory_equal(whole, j->digests, sizeof j->digests);
    close_job(&j);
}

static void a_part_is_as_in_the_whole(void **state)
{
    (void)state;
    static const struct {
        uint64_t first, end;
    } parts[] = {{5, 6}, {20, 50}, {16, 32}, {70, FRAMES}};
    ls_stream_state st;
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        const uint64_t first = parts[i].first, n = parts[i].end - first;
        job *j = open_job(2, 64, take);
        put_faces(j);
        j->next = first;
        assert_int_equal(ls_stream_run(j->stream, first, parts[i].end, NULL), 0);
        assert_int_equal(j->next, parts[i].end);
        assert_memory_equal(whole[first], j->digests[first], n * sizeof *whole);
        ls_stream_get_state(j->stream, &st);
        assert_int_equal(st.frames[LS_STAGE_GENERATE], n);
        assert_true(st.generated > (double)n - 1e-6 && st.generated < (double)n + 1e-6);
        assert_int_equal(st.in_flight, 0);
        close_job(&j);
    }
}

static void chunks_that_are_kept(void **state)
{
    (void)state;
    char path[4096];
    ls_error err = {0};
    ls_stream_state st;
    if (ls_job_folder_open(&folder, media_path(path, "o.lsjob"), LS_JOB_CREATE, LS_JOB_ALL, NULL,
                           &err))
        fail_msg("%s", err.message);
    job *j = open_job(3, 80, take);
    put_faces(j);
    run_well(j);
    close_job(&j);
    /* as if they had not been finished, though later ones were; the one between has no face */
    assert_int_equal(unlink(media_path(path, "o.lsjob/chunk-00000.faces")), 0);
    assert_int_equal(unlink(media_path(path, "o.lsjob/chunk-00003.faces")), 0);
    assert_int_equal(access(media_path(path, "o.lsjob/chunk-00002.faces"), F_OK), -1);
    for (size_t n = 1; n < 3; n++) { // the second time all are there
        j = open_job(n, 64, take);
        put_faces(j);
        if (ls_stream_run(j->stream, 0, FRAMES, &err))
            fail_msg("%s", err.message);
        ls_stream_get_state(j->stream, &st);
        assert_int_equal(st.taken, n == 1 ? FRAMES - 48 : FRAMES - 16);
        assert_int_equal(st.frames[LS_STAGE_GENERATE] + st.taken, FRAMES);
        assert_int_equal(st.frames[LS_STAGE_ENCODE], FRAMES);
        assert_true(st.generated > FRAMES - 1e-6 && st.generated < FRAMES + 1e-6);
        assert_memory_equal(whole, j->digests, sizeof j->digests);
        close_job(&j);
    }
    ls_job_folder_remove(&folder);
}

static void a_card_that_fails_ends_all(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        ls_error err = {0};
        cards[which].fails_at = 40;
        cards[!which].seconds = 0.002; // it would take many seconds
        job *j = open_job(2, 64, take);
        put_faces(j);
        assert_int_equal(ls_stream_run(j->stream, 0, FRAMES, &err), LS_EUNSUPPORTED);
        assert_non_null(strstr(err.message, which ? "card 1 fell off" : "card 0 fell off"));
        assert_true(cards[!which].nodes < 4000);
        expect_ended(j, FRAMES - 1);
        close_job(&j);
    }
}

static void canceling_ends_all(void **state)
{
    (void)state;
    ls_error err = {0};
    job *j = open_job(2, 64, take);
    put_faces(j);
    j->cancel_at = 20;
    assert_int_equal(ls_stream_run(j->stream, 0, FRAMES, &err), LS_ECANCELED);
    expect_ended(j, FRAMES - 1);
    close_job(&j);
}

/* Shares of a card's time. */
static void get_shares(const job *j, double shares[LS_TIME_USES])
{
    ls_stream_state st;
    double all = 0;
    ls_stream_get_state(j->stream, &st);
    for (int i = 0; i < LS_TIME_USES; i++)
        all += st.generators[0].seconds[i];
    for (int i = 0; i < LS_TIME_USES; i++)
        shares[i] = st.generators[0].seconds[i] / all;
    assert_true(st.mean[LS_STAGE_GENERATE][LS_TIME_BUSY] > 0.99 * shares[LS_TIME_BUSY] * all);
}

static void *put_faces_slowly(void *opaque)
{
    job *j = opaque;
    for (int64_t i = 0; i < FRAMES; i++) {
        put_face(j->path, i);
        pause_for(0.03);
    }
    ls_face_path_finish(j->path, FRAMES, 0);
    return NULL;
}

static void what_a_card_waits_for(void **state)
{
    (void)state;
    double shares[LS_TIME_USES];
    ls_stream_state st;
    pthread_t faces;
    /* a card that computes for long */
    cards[0].seconds = 0.0001;
    job *j = open_job(1, 48, take);
    put_faces(j);
    run_well(j);
    get_shares(j, shares);
    assert_true(shares[LS_TIME_BUSY] > 0.5);
    close_job(&j);
    /* faces that are found late */
    cards[0].seconds = 1e-9;
    j = open_job(1, 48, take);
    assert_int_equal(pthread_create(&faces, NULL, put_faces_slowly, j), 0);
    run_well(j);
    pthread_join(faces, NULL);
    get_shares(j, shares);
    ls_stream_get_state(j->stream, &st);
    assert_true(shares[LS_TIME_INPUT] > 0.2 && shares[LS_TIME_INPUT] > 3 * shares[LS_TIME_ROOM]);
    assert_true(st.mean[LS_STAGE_DECODE][LS_TIME_INPUT] > 0.7);
    close_job(&j);
    /* an encoder that takes its time */
    cards[0].seconds = 1e-9;
    j = open_job(1, 32, take);
    j->encode_seconds = 0.03;
    put_faces(j);
    run_well(j);
    get_shares(j, shares);
    ls_stream_get_state(j->stream, &st);
    assert_true(shares[LS_TIME_ROOM] > 0.2 && shares[LS_TIME_ROOM] > 3 * shares[LS_TIME_INPUT]);
    assert_true(st.mean[LS_STAGE_DECODE][LS_TIME_ROOM] > 0.7);
    close_job(&j);
}

enum { SECONDS = 70, CHUNKS = SECONDS * 25 / LS_CHUNK_FRAMES };

typedef struct reading {
    ls_features *features;
    size_t first, every, bytes;
    uint8_t (*digests)[32];
} reading;

static void *read_chunks(void *opaque)
{
    const reading *r = opaque;
    float *rows = malloc(r->bytes);
    for (size_t i = r->first; rows && i < CHUNKS; i += r->every) {
        ls_sha256 hash;
        if (ls_features_read(r->features, i * LS_CHUNK_FRAMES, LS_CHUNK_FRAMES, rows, NULL, NULL))
            break;
        ls_sha256_begin(&hash);
        ls_sha256_add(&hash, rows, r->bytes);
        ls_sha256_end(&hash, r->digests[i]);
    }
    free(rows);
    return NULL;
}

/* The rows of all chunks, read by so many threads. */
static void read_sound(uint8_t digests[CHUNKS][32], size_t threads, bool ahead)
{
    char path[4096];
    static int16_t pcm[SECONDS * 16000];
    recording rec = {pcm, SECONDS * 16000};
    ls_models m;
    ls_log_mel *mel;
    ls_features *f;
    pthread_t thread[CARDS];
    reading readings[CARDS];
    const ls_devices all = {"onednn", "onednn", "onednn", LS_F32, 1};
    for (size_t i = 0; i < rec.samples; i++)
        pcm[i] = (int16_t)((i * (i / 1000) % 200) * 80);
    assert_int_equal(ls_models_open(&m, media_path(path, "models"), &all, NULL), 0);
    const ls_pcm_source sound = {rec.samples, read_pcm, &rec};
    assert_int_equal(ls_log_mel_open(&mel, &sound, NULL, NULL), 0);
    assert_int_equal(ls_features_open(&f, m.whisper, mel,
                                      &(ls_feature_settings){.fps = 25, .overlap = true}, NULL),
                     0);
    if (ahead)
        assert_int_equal(ls_features_read_ahead(f, NULL), 0);
    const size_t bytes = LS_CHUNK_FRAMES * ls_feature_tokens(m.whisper) *
                         ls_whisper_get_config(m.whisper)->n_audio_state * sizeof(float);
    for (size_t i = 0; i < threads; i++) {
        readings[i] = (reading){f, i, threads, bytes, digests};
        assert_int_equal(pthread_create(&thread[i], NULL, read_chunks, &readings[i]), 0);
    }
    for (size_t i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    ls_features_close(&f);
    ls_log_mel_close(&mel);
    ls_models_close(&m);
}

static void sound_is_shared_and_read_ahead(void **state)
{
    (void)state;
    static uint8_t plain[CHUNKS][32], other[CHUNKS][32];
    read_sound(plain, 1, false);
    assert_memory_not_equal(plain[CHUNKS - 1], plain[0], 32);
    for (size_t i = 1; i < 2 * CARDS; i++) {
        memset(other, 0, sizeof other);
        read_sound(other, 1 + i / 2, i % 2);
        assert_memory_equal(plain, other, sizeof plain);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cards_do_not_show),
        cmocka_unit_test(segments_follow_each_other),
        cmocka_unit_test(a_part_is_as_in_the_whole),
        cmocka_unit_test(chunks_that_are_kept),
        cmocka_unit_test(a_card_that_fails_ends_all),
        cmocka_unit_test(canceling_ends_all),
        cmocka_unit_test(what_a_card_waits_for),
        cmocka_unit_test(sound_is_shared_and_read_ahead),
    };
    for (size_t i = 0; i < CARDS; i++)
        cards[i].fails_at = -1;
    return cmocka_run_group_tests_name("stream", tests, setup, media_teardown);
}
