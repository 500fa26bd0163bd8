/* The original's whole run at reduced size: frames, landmarks and sound in, frames out. */
#include "test.h"
#include "golden.h"
#include "recording.h"

#include "base/alloc.h"
#include "face/restore.h"
#include "pipeline/face_path.h"
#include "pipeline/generator.h"

#include <math.h>

enum { R = 128, SOURCE = 12, FRAMES = 27, W = 256, H = 192 };

/* The frame that the forwards and backwards loop shows at place i. */
static size_t source_index(size_t i)
{
    size_t k = i % (2 * SOURCE);
    return k < SOURCE ? k : 2 * SOURCE - 1 - k;
}

static ls_weights *formula(ls_params *table)
{
    ls_weights *w;
    assert_int_equal(ls_params_formula(&w, &table, false, NULL, NULL), 0);
    return w;
}

static void open_models(ls_models *m)
{
    *m = (ls_models){0};
    ls_compute compute = {&m->workspaces[0], LS_F32};
    assert_int_equal(ls_workspace_open(&m->workspaces[0], "onednn", 0, NULL), 0);
    m->workspace_count = 1;
    ls_unet_config u = ls_unet_config_full();
    ls_vae_config v = {3, 4, 4, {16, 32, 64, 64}, 2, 8};
    ls_whisper_config w = ls_whisper_config_tiny();
    memcpy(u.block_out_channels, (size_t[]){32, 64, 96, 96}, 4 * sizeof(size_t));
    u.norm_num_groups = 8;
    ls_params *table;
    assert_int_equal(ls_unet_table(&table, &u, NULL), 0);
    ls_weights *weights = formula(table);
    assert_int_equal(ls_unet_open(&m->unet, &weights, &u, &compute, NULL), 0);
    assert_int_equal(ls_vae_table(&table, &v, NULL), 0);
    weights = formula(table);
    assert_int_equal(ls_vae_open(&m->vae, &weights, &v, &compute, NULL), 0);
    assert_int_equal(ls_whisper_table(&table, &w, NULL), 0);
    weights = formula(table);
    assert_int_equal(ls_whisper_open(&m->whisper, &weights, &w, &compute, NULL), 0);
}

static ls_face_path *open_path(golden *in)
{
    size_t n;
    const int64_t *p = golden_i64(in, "landmarks106", &n); // [12, 106, 2]
    ls_face_path *out;
    ls_error err = {0};
    if (ls_face_path_open(&out, R, NULL, &err))
        fail_msg("%s", err.message);
    for (size_t i = 0; i < SOURCE; i++) {
        ls_chosen_face c = {
            .frame = (int64_t)i, .id = 1, .face = {.kind = LS_FACE_LANDMARKS106, .score = 1}};
        for (size_t k = 0; k < 106; k++, p += 2) {
            c.face.points[k][0] = (double)p[0];
            c.face.points[k][1] = (double)p[1];
        }
        if (ls_face_path_put(out, &c, &err))
            fail_msg("%s", err.message);
    }
    ls_face_path_finish(out, SOURCE, 0);
    return out;
}

typedef struct run {
    golden *in, *frames, *latents;
    ls_models models;
    ls_face_path *path;
    ls_matrix matrix[FRAMES];
    uint8_t *face[FRAMES]; /* [R, R, 3] */
    float *image[FRAMES];  /* [R, R, 3] */
} run;

/* Our own crops of the golden frames. */
static void crop(run *r)
{
    size_t n;
    const uint8_t *frames = golden_u8(r->in, "frames", &n); // [12, 192, 256, 3]
    ls_cropper *c;
    assert_int_equal(ls_cropper_open(&c, R, NULL), 0);
    for (size_t i = 0; i < FRAMES; i++) {
        size_t s = source_index(i);
        ls_placement at;
        assert_int_equal(ls_face_path_get(r->path, (int64_t)s, &at, NULL), 1);
        r->matrix[i] = at.matrix;
        ls_rgb whole = {(uint8_t *)frames + s * W * H * 3, W * 3, W, H};
        r->face[i] = malloc(R * R * 3);
        r->image[i] = malloc(R * R * 3 * sizeof(float));
        ls_cropper_run(c, r->face[i], &r->matrix[i], &whole, 0, 0);
    }
    ls_cropper_close(&c);
}

static void generate(run *r, size_t cache_interval)
{
    recording rec;
    rec.pcm = golden_i16(r->in, "pcm", &rec.samples);
    ls_log_mel *mel;
    ls_features *features;
    ls_generator *g;
    const bool slices = cache_interval > 1; // so that both ways are held to the original
    const ls_generator_settings s = {.resolution = R,
                                     .sampler = {.steps = 20,
                                                 .guidance_scale = 1.5f,
                                                 .cache_interval = cache_interval,
                                                 .split_guidance = slices},
                                     .seed = 1247,
                                     .vae_frames = slices ? 5 : 1};
    assert_int_equal(
        ls_log_mel_open(&mel, &(ls_pcm_source){rec.samples, read_pcm, &rec}, NULL, NULL), 0);
    assert_int_equal(ls_features_open(&features, r->models.whisper, mel,
                                      &(ls_feature_settings){.fps = 25}, NULL),
                     0);
    assert_int_equal(ls_features_frames(features), FRAMES);
    assert_int_equal(ls_generator_open(&g, &r->models, features, &s, NULL), 0);
    for (size_t chunk = 0; chunk < 2; chunk++) {
        size_t first = chunk * LS_CHUNK_FRAMES, count = chunk ? FRAMES - first : LS_CHUNK_FRAMES;
        ls_error err = {0};
        if (ls_generator_run(g, chunk, count, (const uint8_t *const *)r->face + first,
                             r->image + first, NULL, NULL, NULL, &err))
            fail_msg("%s", err.message);
    }
    ls_generator_close(&g);
    ls_features_close(&features);
    ls_log_mel_close(&mel);
}

/* The generated faces before they go back: "combined_K" is [3, R, R]. */
static void check_images(run *r)
{
    static const size_t which[] = {0, 5, 15, 16, 26};
    for (size_t k = 0; k < 5; k++) {
        char name[32];
        size_t n;
        double diff = 0, norm = 0;
        snprintf(name, sizeof name, "combined_%zu", which[k]);
        const float *want = golden_f32(r->latents, name, &n), *got = r->image[which[k]];
        for (size_t c = 0; c < 3; c++) {
            for (size_t p = 0; p < R * R; p++) {
                double d = (double)got[p * 3 + c] - want[c * R * R + p];
                diff += d * d;
                norm += (double)want[c * R * R + p] * want[c * R * R + p];
            }
        }
        print_message("%s: relative error %.2e\n", name, sqrt(diff / norm));
        /* one level in a few thousand crop pixels is allowed, and reaches this picture */
        assert_true(sqrt(diff / norm) <= 1e-3);
    }
}

static void check_frames(run *r)
{
    size_t n, different = 0, most = 0;
    const uint8_t *sources = golden_u8(r->in, "frames", &n);
    const uint8_t *want = golden_u8(r->frames, "frames", &n);
    assert_int_equal(n, FRAMES * W * H * 3);
    uint8_t *frame = malloc(W * H * 3);
    ls_restore *restore;
    assert_int_equal(ls_restore_open(&restore, R, NULL), 0);
    for (size_t i = 0; i < FRAMES; i++) {
        memcpy(frame, sources + source_index(i) * W * H * 3, W * H * 3);
        ls_rgb rgb = {frame, W * 3, W, H};
        assert_int_equal(ls_restore_rgb(restore, r->image[i], &r->matrix[i], 1, &rgb, NULL), 0);
        for (size_t p = 0; p < W * H * 3; p++) {
            size_t d = (size_t)abs(frame[p] - want[i * W * H * 3 + p]);
            different += d > 0;
            most = d > most ? d : most;
        }
    }
    print_message("%.4f %% of the values are equal, the largest difference is %zu\n",
                  100 - 100.0 * (double)different / (double)n, most);
    assert_true(most <= 1);
    assert_true(different * 1000 <= n * 2);
    ls_restore_close(&restore);
    free(frame);
}

static void whole_run(const char *name, size_t cache_interval)
{
    char file[64];
    run r = {.in = golden_open("e2e_inputs.safetensors")};
    snprintf(file, sizeof file, "e2e_%s_frames.safetensors", name);
    r.frames = golden_open(file);
    snprintf(file, sizeof file, "e2e_%s_latents.safetensors", name);
    r.latents = golden_open(file);
    open_models(&r.models);
    r.path = open_path(r.in);
    crop(&r);
    generate(&r, cache_interval);
    check_images(&r);
    check_frames(&r);
    for (size_t i = 0; i < FRAMES; i++) {
        free(r.face[i]);
        free(r.image[i]);
    }
    ls_face_path_close(&r.path);
    ls_models_close(&r.models);
    golden_close(r.in);
    golden_close(r.frames);
    golden_close(r.latents);
}

static void whole_run_without_cache(void **state)
{
    (void)state;
    whole_run("plain_cfg1.5", 1);
}

static void whole_run_with_cache(void **state)
{
    (void)state;
    whole_run("dc3_cfg1.5", 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_run_without_cache),
        cmocka_unit_test(whole_run_with_cache),
    };
    return cmocka_run_group_tests_name("e2e_golden", tests, NULL, NULL);
}
