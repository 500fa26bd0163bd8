/* What the networks of a job take, and that neither slices nor threads show in what they give. */
#include "recording.h"
#include "test.h"

#include "backend/device.h"
#include "base/alloc.h"
#include "base/system.h"
#include "pipeline/generator.h"

#include <malloc.h>

enum { R = 64, FRAMES = LS_CHUNK_FRAMES + 7 };

/* One of so many combinations of settings is tried. */
static size_t every(void)
{
#ifdef __SANITIZE_ADDRESS__
    return 5;
#else
    return getenv("LS_TEST_FULL") ? 1 : 3;
#endif
}

typedef struct compute {
    const char *device;
    ls_dtype dtype;
    int threads;
} compute;

static char dir[] = "/tmp/ls-generator-XXXXXX";

static int make_models(void **state)
{
    (void)state;
    char path[64];
    ls_error err = {0};
    if (!mkdtemp(dir))
        return -1;
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, i ? "small" : "mini");
        if (ls_models_random(path, i ? "small" : "mini", &err)) {
            print_message("%s\n", err.message);
            return -1;
        }
    }
    return 0;
}

static int remove_models(void **state)
{
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", dir);
    return system(command);
}

static void open_models(ls_models *m, const char *size, const compute *c)
{
    char path[64];
    ls_error err = {0};
    snprintf(path, sizeof path, "%s/%s", dir, size);
    const ls_devices all = {c->device, c->device, c->device, c->dtype, c->threads};
    if (ls_models_open(m, path, &all, &err))
        fail_msg("%s", err.message);
}

/* One second of a tone that changes. */
typedef struct sound {
    int16_t pcm[16000];
    recording rec;
    ls_log_mel *mel;
    ls_features *features;
} sound;

static void open_sound(sound *s, ls_models *m)
{
    for (int i = 0; i < 16000; i++)
        s->pcm[i] = (int16_t)((i * (i / 100) % 200 - 100) * 80);
    s->rec = (recording){s->pcm, 16000};
    assert_int_equal(
        ls_log_mel_open(&s->mel, &(ls_pcm_source){s->rec.samples, read_pcm, &s->rec}, NULL, NULL),
        0);
    assert_int_equal(
        ls_features_open(&s->features, m->whisper, s->mel, &(ls_feature_settings){.fps = 25}, NULL),
        0);
}

static void close_sound(sound *s)
{
    ls_features_close(&s->features);
    ls_log_mel_close(&s->mel);
}

/* Without the cache, steps of two rows and of one take turns, and the solver keeps a state. */
static ls_generator_settings settings(size_t resolution, float guidance, size_t cache_interval,
                                      bool split, size_t vae_frames)
{
    return (ls_generator_settings){
        .resolution = resolution,
        .sampler = {.steps = 3,
                    .guidance_scale = guidance,
                    .cache_interval = cache_interval,
                    .split_guidance = split,
                    .solver = cache_interval == 1 ? LS_SOLVER_UNIPC : LS_SOLVER_DDIM,
                    .guidance_end = cache_interval == 1 ? 0.5 : 1},
        .seed = 7,
        .vae_frames = vae_frames};
}

static ls_dtype shortest(void)
{
    return ls_device_cpu_computes(LS_BF16) ? LS_BF16 : LS_F32;
}

/* Bytes that malloc has handed out. */
static size_t allocated(void)
{
    struct mallinfo2 m = mallinfo2();
    return m.uordblks + m.hblkhd;
}

static void expect_estimate(const char *size, const compute *c, const ls_generator_settings *s,
                            size_t frames)
{
    ls_models m;
    ls_generator_memory e, again;
    ls_generator *g;
    ls_error err = {0};
    static sound snd;
    open_models(&m, size, c);
    if (ls_generator_estimate(&e, &m, s, frames, &err))
        fail_msg("%s", err.message);
    ls_network *nets[] = {ls_unet_network(m.unet), ls_vae_network(m.vae),
                          ls_whisper_network(m.whisper)};
    for (int i = 0; i < 3; i++) { // nothing is kept
        assert_int_equal(ls_network_usage(nets[i]).weights, 0);
        assert_int_equal(ls_network_usage(nets[i]).activations, 0);
    }
    size_t before = allocated();
    open_sound(&snd, &m);
    if (ls_generator_open(&g, &m, snd.features, s, &err) || ls_generator_prepare(g, frames, &err))
        fail_msg("%s", err.message);
    size_t weights = 0, taken = allocated() - before, all = e.weights + e.activations + e.buffers;
    for (int i = 0; i < 3; i++)
        weights += ls_network_usage(nets[i]).weights;
    assert_true(weights > 0 && m.workspaces[0].bytes > 0);
    assert_int_equal(e.weights, weights);
    assert_int_equal(e.activations, m.workspaces[0].bytes);
    /* what opening the models took is in the estimate, the primitives are not; their code for AMX
     * is longer */
    size_t opened = ls_feature_bytes(m.whisper);
    ls_cpu cpu;
    ls_cpu_detect(&cpu, "");
    const size_t primitives = (size_t)(cpu.amx_bf16 ? 40 : 16) << 20;
    if (before && (taken + opened < all || taken > all + primitives))
        fail_msg("%zu bytes were allocated, %zu estimated", taken, all);
    assert_int_equal(ls_generator_estimate(&again, &m, s, frames, NULL), 0);
    assert_memory_equal(&e, &again, sizeof e);
    ls_generator_close(&g);
    close_sound(&snd);
    ls_models_close(&m);
}

static void estimate_is_what_prepare_takes(void **state)
{
    (void)state;
    const compute computes[] = {{"onednn", LS_F32, 2},
                                {"onednn", shortest(), 2},
                                {"ref", LS_F32, 1},
                                {"onednn", LS_F32, 3}};
    for (size_t i = 0; i < 4 * 2 * 2 * 2 * 2; i += every()) {
        if (i / 32 && i / 4 % 2)
            continue; // of both sizes only one in large pictures
        ls_generator_settings s =
            settings(i / 4 % 2 ? 256 : R, i / 8 % 2 ? 1.5f : 1, i / 16 % 2 ? 3 : 1, false, 1);
        expect_estimate(i / 32 ? "small" : "mini", &computes[i % 4], &s, LS_CHUNK_FRAMES);
    }
    for (size_t i = 0; i < 2; i++) {
        ls_generator_settings s = settings(128, 1.5f, 3, true, 5);
        expect_estimate("small", &computes[i], &s, LS_CHUNK_FRAMES);
        expect_estimate("small", &computes[i], &s, 7);
    }
}

static void slices_take_less(void **state)
{
    (void)state;
    const compute c = {"onednn", LS_F32, 2};
    ls_models m;
    ls_generator_memory whole, split, vae;
    ls_generator_settings s = settings(256, 1.5f, 3, false, 1);
    open_models(&m, "small", &c);
    assert_int_equal(ls_generator_estimate(&whole, &m, &s, LS_CHUNK_FRAMES, NULL), 0);
    s.sampler.split_guidance = true;
    assert_int_equal(ls_generator_estimate(&split, &m, &s, LS_CHUNK_FRAMES, NULL), 0);
    s.vae_frames = LS_CHUNK_FRAMES;
    assert_int_equal(ls_generator_estimate(&vae, &m, &s, LS_CHUNK_FRAMES, NULL), 0);
    assert_int_equal(split.weights, whole.weights);
    assert_true(split.activations < whole.activations * 6 / 10);
    assert_true(split.buffers < whole.buffers);
    assert_true(vae.activations > 4 * split.activations && vae.buffers > split.buffers);
    for (size_t bad = 0; bad <= LS_CHUNK_FRAMES + 1; bad += LS_CHUNK_FRAMES + 1) {
        s.vae_frames = bad;
        assert_int_equal(ls_generator_estimate(&vae, &m, &s, LS_CHUNK_FRAMES, NULL), LS_EINVAL);
    }
    ls_models_close(&m);
}

/* A whole chunk and an odd one; frame 3 is not asked for. [FRAMES, R, R, 3] */
static float *generate(const char *size, const compute *c, const ls_generator_settings *s)
{
    ls_models m;
    ls_generator *g;
    ls_error err = {0};
    static sound snd;
    static uint8_t pixels[FRAMES][R * R * 3];
    const uint8_t *faces[FRAMES];
    float *images[FRAMES], *all = ls_calloc_array((size_t)FRAMES * R * R * 3, sizeof *all);
    for (size_t i = 0; i < FRAMES; i++) {
        for (size_t k = 0; k < R * R * 3; k++)
            pixels[i][k] = (uint8_t)(128 + (k * (i + 3) / 64 + k / 192 * 5) % 100);
        faces[i] = pixels[i];
        images[i] = i == 3 ? NULL : all + i * R * R * 3;
    }
    open_models(&m, size, c);
    open_sound(&snd, &m);
    if (ls_generator_open(&g, &m, snd.features, s, &err) ||
        ls_generator_prepare(g, LS_CHUNK_FRAMES, &err))
        fail_msg("%s", err.message);
    for (size_t chunk = 0, first = 0; first < FRAMES; chunk++, first += LS_CHUNK_FRAMES)
        if (ls_generator_run(g, chunk, chunk ? FRAMES - first : LS_CHUNK_FRAMES, faces + first,
                             images + first, NULL, NULL, NULL, &err))
            fail_msg("%s", err.message);
    ls_generator_close(&g);
    close_sound(&snd);
    ls_models_close(&m);
    return all;
}

static void expect_same(const char *size, ls_dtype dtype, size_t cache_interval)
{
    const size_t count = (size_t)FRAMES * R * R * 3;
    static const struct {
        bool split;
        size_t vae_frames;
        int threads;
    } ways[] = {{true, 5, 2},  {false, 2, 2}, {true, 1, 2}, {false, 1, 1},
                {true, 16, 2}, {true, 7, 1},  {true, 3, 3}, {false, 1, 3}};
    compute c = {"onednn", dtype, 2};
    ls_generator_settings s = settings(R, 1.5f, cache_interval, false, 1);
    float *plain = generate(size, &c, &s);
    const size_t step = strcmp(size, "mini") ? 2 : 1;
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i += step * every()) {
        s = settings(R, 1.5f, cache_interval, ways[i].split, ways[i].vae_frames);
        c.threads = ways[i].threads;
        float *y = generate(size, &c, &s);
        if (memcmp(plain, y, count * sizeof *y))
            fail_msg("%s, %s: guidance %s, %zu frames in the VAE, %d threads: another result", size,
                     ls_dtype_name(dtype), s.sampler.split_guidance ? "split" : "whole",
                     s.vae_frames, c.threads);
        free(y);
    }
    s = settings(R, 1.5f, cache_interval, false, 1);
    s.seed++;
    float *other = generate(size, &c, &s);
    assert_memory_not_equal(plain, other, count * sizeof *other);
    for (size_t k = 0; k < R * R * 3; k++)
        assert_true(plain[3 * R * R * 3 + k] == 0);
    free(other);
    free(plain);
}

static void neither_slices_nor_threads_show(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++)
        expect_same(i / 2 ? "small" : "mini", i % 2 ? shortest() : LS_F32, i % 3 ? 3 : 1);
}

/* In a network that only counts; of shapes the order in which they were first run. */
static void expect_runs(const ls_network *net, size_t count, const size_t *runs)
{
    size_t n = 0, i = 0;
    for (; ls_network_counted_plan(net, i, &n); i++) {
        assert_true(i < count);
        assert_int_equal(n, runs[i]);
    }
    assert_int_equal(i, count);
}

/* 7 steps of which every third is whole, the first three with both rows of guidance; VAE calls of 5
 * frames and the sixteenth alone, each face masked and whole, one result not asked for. */
static void a_counted_chunk_runs_what_its_settings_say(void **state)
{
    (void)state;
    const compute c = {"onednn", LS_F32, 1};
    ls_generator_settings s = settings(R, 1.5f, 3, false, 5);
    s.sampler.steps = 7;
    s.sampler.guidance_end = 0.4;
    ls_models m;
    ls_generator *g;
    ls_network *nets[LS_NETWORKS];
    static sound snd;
    static uint8_t face[R * R * 3];
    static float result[R * R * 3];
    const uint8_t *faces[LS_CHUNK_FRAMES];
    float *images[LS_CHUNK_FRAMES];
    for (size_t i = 0; i < LS_CHUNK_FRAMES; i++) {
        faces[i] = face;
        images[i] = i == 3 ? NULL : result;
    }
    open_models(&m, "mini", &c);
    open_sound(&snd, &m);
    ls_models_list(&m, nets);
    for (size_t i = 0; i < LS_NETWORKS; i++)
        assert_int_equal(ls_network_estimate_begin(nets[i], NULL), 0);
    assert_int_equal(ls_generator_open(&g, &m, snd.features, &s, NULL), 0);
    assert_int_equal(ls_generator_run(g, 0, LS_CHUNK_FRAMES, faces, images, NULL, NULL, NULL, NULL),
                     0);
    expect_runs(ls_unet_network(m.unet), 4, (size_t[]){1, 2, 2, 2});
    expect_runs(ls_vae_network(m.vae), 3, (size_t[]){6, 2, 3});
    expect_runs(ls_whisper_network(m.whisper), 1, (size_t[]){1});
    for (size_t i = 0; i < LS_NETWORKS; i++)
        ls_network_estimate_end(nets[i]);
    ls_generator_close(&g);
    close_sound(&snd);
    ls_models_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimate_is_what_prepare_takes),
        cmocka_unit_test(slices_take_less),
        cmocka_unit_test(a_counted_chunk_runs_what_its_settings_say),
        cmocka_unit_test(neither_slices_nor_threads_show),
    };
    return cmocka_run_group_tests_name("generator", tests, make_models, remove_models);
}
