/* Configuration read off the weights, and variants of the published files. */
#include "test.h"

#include "backend/device.h"
#include "base/alloc.h"
#include "base/system.h"
#include "models/models.h"

#include <math.h>

static ls_weights *formula(ls_params *table, const char *meta)
{
    ls_weights *w;
    assert_int_equal(ls_params_formula(&w, &table, false, meta, NULL), 0);
    return w;
}

static ls_unet_config mini_unet(void)
{
    ls_unet_config c = ls_unet_config_full();
    memcpy(c.block_out_channels, (size_t[]){32, 32, 32, 32}, 4 * sizeof(size_t));
    c.layers_per_block = 1;
    c.norm_num_groups = 8;
    c.cross_attention_dim = 32;
    return c;
}

static void same_unet(const ls_unet_config *a, const ls_unet_config *b)
{
    assert_int_equal(a->in_channels, b->in_channels);
    assert_int_equal(a->out_channels, b->out_channels);
    assert_int_equal(a->cross_attention_dim, b->cross_attention_dim);
    assert_int_equal(a->blocks, b->blocks);
    assert_int_equal(a->layers_per_block, b->layers_per_block);
    assert_int_equal(a->norm_num_groups, b->norm_num_groups);
    assert_int_equal(a->num_attention_heads, b->num_attention_heads);
    assert_memory_equal(a->block_out_channels, b->block_out_channels,
                        a->blocks * sizeof *a->block_out_channels);
    for (size_t i = 0; i < a->blocks; i++) {
        assert_int_equal(a->down_cross_attn[i], b->down_cross_attn[i]);
        assert_int_equal(a->up_cross_attn[i], b->up_cross_attn[i]);
        assert_int_equal(a->down_motion[i], b->down_motion[i]);
        assert_int_equal(a->up_motion[i], b->up_motion[i]);
    }
}

/* The lists of names and shapes that the original's own state_dicts gave. */
static void tables_are_the_originals(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int which;
    } cases[] = {{"golden/keys/keys_unet_full.txt", 0}, {"golden/keys/keys_vae_full.txt", 1}};
    for (size_t i = 0; i < 2; i++) {
        char path[4096], line[512], name[200];
        FILE *f = fopen(test_shared(path, cases[i].file), "r");
        ls_params *table;
        ls_unet_config u = ls_unet_config_full();
        ls_vae_config v = ls_vae_config_full();
        assert_int_equal(i ? ls_vae_table(&table, &v, NULL) : ls_unet_table(&table, &u, NULL), 0);
        ls_weights *w = formula(table, NULL);
        size_t lines = 0;
        for (; fgets(line, sizeof line, f); lines++) {
            char shape[128];
            assert_int_equal(sscanf(line, "%199s", name), 1);
            const ls_weight_info *t = ls_weights_find(w, name);
            if (!t)
                fail_msg("%s is not in the table", name);
            line[strcspn(line, "\n")] = 0;
            assert_string_equal(ls_shape_text(shape, sizeof shape, t->shape, t->ndim),
                                strchr(line, '['));
        }
        assert_int_equal(lines, ls_weights_count(w));
        ls_weights_close(&w);
        fclose(f);
    }
}

/* The same lists by their hash: a sum, so that the order is free. */
static void tables_hash_as_the_originals(void **state)
{
    (void)state;
    static const struct {
        size_t count;
        uint64_t hash;
    } want[] = {{1246, 0xc3a401bae7e54618}, {248, 0x42978826b79bf8ce}};
    const ls_unet_config u = ls_unet_config_full();
    const ls_vae_config v = ls_vae_config_full();
    for (size_t i = 0; i < 2; i++) {
        ls_params *table;
        uint64_t sum = 0;
        assert_int_equal(i ? ls_vae_table(&table, &v, NULL) : ls_unet_table(&table, &u, NULL), 0);
        ls_weights *w = formula(table, NULL);
        for (size_t k = 0; k < ls_weights_count(w); k++) {
            const ls_weight_info *t = ls_weights_at(w, k);
            char line[512], shape[128];
            uint64_t h = 0xcbf29ce484222325u;
            snprintf(line, sizeof line, "%s %s", t->name,
                     ls_shape_text(shape, sizeof shape, t->shape, t->ndim));
            for (const char *c = line; *c; c++)
                h = (h ^ (uint8_t)*c) * 0x100000001b3u;
            sum += h;
        }
        assert_int_equal(ls_weights_count(w), want[i].count);
        assert_true(sum == want[i].hash);
        ls_weights_close(&w);
    }
}

static void configuration_is_read_off_the_weights(void **state)
{
    (void)state;
    ls_unet_config configs[4], found;
    configs[0] = ls_unet_config_full();
    configs[1] = mini_unet();
    configs[2] = mini_unet(); // as version 1.0: no motion modules
    memset(configs[2].down_motion, 0, sizeof configs[2].down_motion);
    memset(configs[2].up_motion, 0, sizeof configs[2].up_motion);
    configs[3] = configs[0]; // wider audio, as trained with Whisper small
    configs[3].cross_attention_dim = 768;
    for (size_t i = 0; i < 4; i++) {
        ls_params *table;
        assert_int_equal(ls_unet_table(&table, &configs[i], NULL), 0);
        ls_weights *w = formula(table, NULL);
        assert_int_equal(ls_unet_config_detect(&found, w, NULL), 0);
        same_unet(&found, &configs[i]);
        ls_weights_close(&w);
    }
    ls_vae_config v = ls_vae_config_full(), vf;
    ls_params *table;
    assert_int_equal(ls_vae_table(&table, &v, NULL), 0);
    ls_weights *w = formula(table, NULL);
    assert_int_equal(ls_vae_config_detect(&vf, w, NULL), 0);
    assert_memory_equal(&v, &vf, sizeof v);
    ls_weights_close(&w);
    ls_whisper_config c = {80, 1500, 64, 4, 2}, cf;
    assert_int_equal(ls_whisper_table(&table, &c, NULL), 0);
    w = formula(table, "{\"dims\": {\"n_audio_head\": 4}}");
    assert_int_equal(ls_whisper_config_detect(&cf, w, NULL), 0);
    assert_memory_equal(&c, &cf, sizeof c);
    ls_weights_close(&w);
}

/* Without motion modules the frames of a chunk meet only in the group norms. */
static void unet_without_motion_modules_runs(void **state)
{
    (void)state;
    ls_unet_config c = mini_unet();
    memset(c.down_motion, 0, sizeof c.down_motion);
    memset(c.up_motion, 0, sizeof c.up_motion);
    float out[2][2 * 8 * 8 * 4];
    for (int k = 0; k < 2; k++) {
        ls_workspace ws;
        ls_compute compute = {&ws, LS_F32};
        assert_int_equal(ls_workspace_open(&ws, k ? "onednn" : "ref", 0, NULL), 0);
        ls_params *table;
        ls_unet *u;
        assert_int_equal(ls_unet_table(&table, &c, NULL), 0);
        ls_weights *w = formula(table, NULL);
        assert_int_equal(ls_unet_open(&u, &w, &c, &compute, NULL), 0);
        ls_unet_shape s = {1, 2, 8, 8, 30};
        float sample[2 * 8 * 8 * 13], audio[2 * 30 * 32];
        char cache[2 * 8 * 8 * 32 * 4];
        assert_int_equal(ls_unet_cache_bytes(u, &s), sizeof cache);
        ls_formula_fill("sample", sizeof sample / 4, 1.7, 0, sample);
        ls_formula_fill("audio", sizeof audio / 4, 1.7, 0, audio);
        assert_int_equal(
            ls_unet_run(u, &s, LS_UNET_STEP_STORE, 501, sample, audio, out[k], cache, NULL, NULL),
            0);
        /* the same step on the cache of the same input is the same step */
        float again[2 * 8 * 8 * 4];
        assert_int_equal(
            ls_unet_run(u, &s, LS_UNET_STEP_REUSE, 501, sample, audio, again, cache, NULL, NULL),
            0);
        for (size_t i = 0; i < sizeof again / 4; i++)
            assert_true(fabsf(again[i] - out[k][i]) <= 1e-5f);
        ls_unet_close(&u);
        ls_workspace_close(&ws);
    }
    double diff = 0, norm = 0;
    for (size_t i = 0; i < sizeof out[0] / 4; i++) {
        diff += pow((double)out[0][i] - out[1][i], 2);
        norm += pow(out[0][i], 2);
    }
    assert_true(norm > 0 && sqrt(diff / norm) <= 1e-5);
}

/* Packing a large network in bfloat16 stays near its packed size. */
static void packing_needs_little_more_than_its_result(void **state)
{
    (void)state;
    if (!ls_device_cpu_computes(LS_BF16)) {
        print_message("this CPU has no bfloat16\n");
        skip();
    }
    char dir[] = "/tmp/ls-models-XXXXXX", path[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/unet.pt", dir);
    ls_unet_config c = ls_unet_config_full(), found;
    memcpy(c.block_out_channels, (size_t[]){96, 192, 384, 384}, 4 * sizeof(size_t));
    ls_params *table;
    ls_workspace ws;
    ls_compute compute = {&ws, LS_BF16};
    assert_int_equal(ls_workspace_open(&ws, "onednn", 0, NULL), 0);
    ls_unet *u;
    assert_int_equal(ls_unet_table(&table, &c, NULL), 0);
    ls_weights *w = formula(table, NULL);
    ls_error err = {0};
    if (ls_weights_write_torch(path, w, "state_dict", LS_F32, &err))
        fail_msg("%s", err.message);
    ls_weights_close(&w);
    uint64_t before = ls_process_memory_now().anonymous;
    assert_int_equal(ls_weights_open(&w, path, NULL), 0);
    assert_int_equal(ls_unet_config_detect(&found, w, NULL), 0);
    same_unet(&found, &c);
    assert_int_equal(ls_unet_open(&u, &w, &found, &compute, NULL), 0);
    ls_unet_shape s = {1, 1, 8, 8, 50};
    assert_int_equal(ls_unet_prepare(u, &s, LS_UNET_STEP_FULL, false, NULL, NULL), 0);
    uint64_t after = ls_process_memory_now().anonymous;
    size_t packed = ls_network_usage(ls_unet_network(u)).weights;
    assert_true(packed > ((size_t)100 << 20));
#if !defined(__SANITIZE_ADDRESS__)
    assert_true(after - before < packed + ((uint64_t)64 << 20));
#else
    (void)after, (void)before;
#endif
    ls_unet_close(&u);
    ls_workspace_close(&ws);
    unlink(path);
    rmdir(dir);
}

static void put_model(const char *root, const char *dir)
{
    static const char *const files[] = {"latentsync_unet.pt", "whisper/tiny.pt",
                                        "vae/diffusion_pytorch_model.safetensors"};
    char name[256];
    for (size_t i = 0; i < 3; i++) {
        snprintf(name, sizeof name, "%s/%s", dir, files[i]);
        test_put(root, name, "x");
    }
}

static void finds(const char *root, const char *dir)
{
    char want[4096], found[4096];
    ls_error err;
    int built_in = 1;
    snprintf(want, sizeof want, "%s/%s", root, dir);
    assert_int_equal(ls_models_find(found, sizeof found, &built_in, &err), 0);
    assert_string_equal(found, want);
    assert_false(built_in);
}

static void model_says_what_it_is_made_for(void **state)
{
    char root[] = "/tmp/ls-models-XXXXXX", command[64];
    size_t resolution = 0;
    float guidance = 0;
    ls_error err;
    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(ls_models_defaults(root, &resolution, &guidance, &err), 0);
    assert_int_equal(resolution, 0);
    assert_float_equal(guidance, 1.5, 0);
    test_put(root, "model.json", "{\"resolution\": 128}");
    assert_int_equal(ls_models_defaults(root, &resolution, &guidance, &err), 0);
    assert_int_equal(resolution, 128);
    assert_float_equal(guidance, 1.5, 0);
    test_put(root, "model.json", "{\"resolution\": 128, \"guidance_scale\": 3}");
    assert_int_equal(ls_models_defaults(root, &resolution, &guidance, &err), 0);
    assert_float_equal(guidance, 3, 0);
    static const char *const bad[] = {"{\"resolution\": 100}",
                                      "{\"resolution\": -64}",
                                      "{}",
                                      "[",
                                      "{\"resolution\": \"128\"}",
                                      "{\"resolution\": 128, \"guidance_scale\": -1}",
                                      "{\"resolution\": 128, \"guidance_scale\": \"much\"}",
                                      "{\"resolution\": 1e30}"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        test_put(root, "model.json", bad[i]);
        assert_int_equal(ls_models_defaults(root, &resolution, &guidance, &err), LS_EMODEL);
        assert_non_null(strstr(err.message, "model.json"));
    }
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

typedef struct reports {
    char text[1024];
    ls_cancel *cancel; /* requested by the second report */
    int count;
} reports;

static void note_report(void *opaque, const ls_models_report *report)
{
    reports *r = opaque;
    const size_t n = strlen(r->text);
    snprintf(r->text + n, sizeof r->text - n, "%s %s %d\n", report->role,
             report->path ? strrchr(report->path, '/') + 1 : "-", report->tensors > 0);
    assert_true(*report->summary);
    if (++r->count == 2 && r->cancel)
        ls_cancel_request(r->cancel);
}

static void model_is_checked(void **state)
{
    char root[] = "/tmp/ls-models-XXXXXX", command[64];
    ls_error err = {0};
    reports r = {0};
    (void)state;
    assert_non_null(mkdtemp(root));
    assert_int_equal(ls_models_check(root, note_report, &r, NULL, &err), LS_EMODEL);
    assert_int_equal(err.code, LS_EMODEL);
    assert_int_equal(err.hint, LS_HINT_MODEL_DIRECTORY);
    assert_non_null(strstr(err.message, "latentsync_unet.pt"));
    assert_int_equal(ls_models_random(root, "mini", &err), 0);
    assert_int_equal(ls_models_random(root, "mini", &err), LS_EINVAL);
    assert_int_equal(ls_models_check(root, note_report, &r, NULL, &err), 0);
    assert_string_equal(r.text,
                        "UNet latentsync_unet.pt 1\nVAE diffusion_pytorch_model.safetensors 1\n"
                        "Whisper tiny.pt 1\nfaces - 0\n");
    r = (reports){.cancel = ls_cancel_new()};
    assert_int_equal(ls_models_check(root, note_report, &r, r.cancel, &err), LS_ECANCELED);
    assert_int_equal(r.count, 2);
    ls_cancel_free(&r.cancel);
    test_put(root, "face/det_10g.onnx", "no network");
    assert_int_equal(ls_models_check(root, note_report, &r, NULL, &err), LS_EMODEL);
    assert_non_null(strstr(err.message, "det_10g.onnx"));
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

static void settings_of_other_versions(void **state)
{
    ls_pull_settings s = {0}, later;
    ls_error err = {0};
    char dir[256];
    (void)state;
    assert_int_equal(ls_models_pull(&s, &err), LS_EINVAL);
    memset(&s, 0x55, sizeof s);
    ls_pull_default_settings(&s, offsetof(ls_pull_settings, mirror)); // an older, shorter one
    assert_int_equal(s.size, offsetof(ls_pull_settings, mirror));
    assert_int_not_equal(s.retries, 5);
    s.folder = "there";
    assert_int_equal(ls_pull_directory(&s, dir, sizeof dir, &err), 0);
    assert_string_equal(dir, "there/1.6");
    assert_int_equal(ls_pull_directory(&s, dir, 9, &err), LS_EINVAL);
    s.version = "2";
    assert_int_equal(ls_pull_directory(&s, dir, sizeof dir, &err), LS_EINVAL);
    assert_string_equal(err.option, "version");
    ls_pull_default_settings(&later, sizeof later);
    assert_int_equal(later.retries, 5);
    later.size++;
    assert_int_equal(ls_models_import(&later, ".", &err), LS_EINVAL);
}

static void installed_model_is_found(void **state)
{
    char root[] = "/tmp/ls-models-XXXXXX", path[4096], found[4096], command[64];
    ls_error err;
    int built_in;
    (void)state;
    assert_non_null(mkdtemp(root));
    setenv("HOME", root, 1);
    snprintf(path, sizeof path, "%s/data", root);
    setenv("XDG_DATA_HOME", path, 1);
    snprintf(path, sizeof path, "relative:%s/one:%s/two", root, root);
    setenv("XDG_DATA_DIRS", path, 1);
    assert_int_equal(ls_models_find(found, sizeof found, &built_in, &err), LS_EMODEL);
    assert_int_equal(err.hint, LS_HINT_INSTALL_MODEL);
    assert_string_equal(err.option, "models");

    put_model(root, "two/latentsync/1.6");
    finds(root, "two/latentsync/1.6");
    put_model(root, "one/latentsync/1.5");
    finds(root, "one/latentsync/1.5");
    put_model(root, "data/latentsync/1.5");
    finds(root, "data/latentsync/1.5");
    test_put(root, "data/latentsync/1.6/latentsync_unet.pt", "x"); // an interrupted pull
    finds(root, "data/latentsync/1.5");
    put_model(root, "data/latentsync/1.6");
    finds(root, "data/latentsync/1.6");
    assert_int_equal(ls_models_find(found, 20, &built_in, NULL), LS_EMODEL);

    put_model(root, ".local/share/latentsync/1.6");
    setenv("XDG_DATA_HOME", "relative", 1);
    finds(root, ".local/share/latentsync/1.6");
    assert_int_equal(ls_models_home(found, sizeof found, &err), 0);
    snprintf(path, sizeof path, "%s/.local/share/latentsync", root);
    assert_string_equal(found, path);
    unsetenv("XDG_DATA_HOME");
    unsetenv("HOME");
    assert_int_equal(ls_models_home(found, sizeof found, &err), LS_ENOENT);
    finds(root, "one/latentsync/1.5");
    snprintf(command, sizeof command, "rm -r %s", root);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tables_are_the_originals),
        cmocka_unit_test(tables_hash_as_the_originals),
        cmocka_unit_test(configuration_is_read_off_the_weights),
        cmocka_unit_test(unet_without_motion_modules_runs),
        cmocka_unit_test(packing_needs_little_more_than_its_result),
        cmocka_unit_test(model_is_checked),
        cmocka_unit_test(settings_of_other_versions),
        cmocka_unit_test(installed_model_is_found),
        cmocka_unit_test(model_says_what_it_is_made_for),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
