/* How the published networks run on cards of several sizes: planned, not run. */
#include "test.h"

#include "pipeline/budget.h"

#include <stdlib.h>

#define GB UINT64_C(1000000000)
#define MEMORY (64 * GB) /* of the process */

static void require(int ret, const ls_error *err)
{
    if (ret)
        fail_msg("%s", err->message);
}

static ls_compute on(ls_models *m, size_t i, ls_dtype dtype)
{
    return (ls_compute){&m->workspaces[i], dtype};
}

/* The networks in their published sizes, without their files. */
static void open_published(ls_models *m)
{
    ls_error err = {0};
    const ls_unet_config uc = ls_unet_config_full();
    const ls_vae_config vc = ls_vae_config_full();
    const ls_whisper_config wc = ls_whisper_config_tiny();
    ls_params *table;
    ls_weights *w;
    *m = (ls_models){.workspace_count = 2};
    require(ls_workspace_open(&m->workspaces[0], "cuda", 1, &err), &err);
    require(ls_workspace_open(&m->workspaces[1], "cpu", 1, &err), &err);
    require(ls_unet_table(&table, &uc, &err), &err);
    require(ls_params_formula(&w, &table, false, NULL, &err), &err);
    ls_compute c = on(m, 0, LS_F16);
    require(ls_unet_open(&m->unet, &w, &uc, &c, &err), &err);
    require(ls_vae_table(&table, &vc, &err), &err);
    require(ls_params_formula(&w, &table, false, NULL, &err), &err);
    require(ls_vae_open(&m->vae, &w, &vc, &c, &err), &err);
    require(ls_whisper_table(&table, &wc, &err), &err);
    require(ls_params_formula(&w, &table, false, NULL, &err), &err);
    c = on(m, 1, LS_F32);
    require(ls_whisper_open(&m->whisper, &w, &wc, &c, &err), &err);
}

static const ls_video_info video = {.width = 1920,
                                    .height = 1080,
                                    .depth = 8,
                                    .frame_bytes = 1920 * 1080 * 3 / 2,
                                    .fps_num = 25,
                                    .fps_den = 1};

static ls_budget_job job_at(size_t resolution, ls_models *m, size_t cards, uint64_t vram)
{
    ls_models *all[] = {m, m};
    return (ls_budget_job){
        .measure = ls_budget_measure,
        .opaque = m,
        .place = ls_budget_place_of(all, cards, vram),
        .settings = {.resolution = resolution,
                     .sampler = {.steps = 20, .guidance_scale = 1.5f, .cache_interval = 3}},
        .video = &video,
        .encoder = 187 << 20,
        .detects = true,
        .cores = 8,
        .space = UINT64_MAX};
}

/* The four ways, and what each takes: the table of docs/PERFORMANCE.md. */
static void ways_take_less_and_less(void **state)
{
    ls_models *m = *state;
    for (size_t r = 256; r <= 512; r += 256) {
        uint64_t limit = 1000 * GB;
        ls_budget_card_memory last = {0};
        for (int way = 0; way < 4; way++) {
            const ls_budget_job job = job_at(r, m, 1, limit);
            ls_budget_choice c;
            ls_budget_memory memory;
            ls_error err = {0};
            require(ls_budget_choose(&c, &memory, &job, MEMORY, &err), &err);
            const ls_budget_card_memory *card = &memory.cards[0];
            print_message("%zu: %4.0f MB on the card (%4.0f weights, %4.0f activations, %2.0f "
                          "sampler), %5.0f in the process%s%s, VAE %zu at a time\n",
                          r, (double)card->total / 1e6, (double)card->weights / 1e6,
                          (double)card->activations / 1e6, (double)card->resident / 1e6,
                          (double)memory.total / 1e6, c.split_guidance ? ", split" : "",
                          c.streamed ? ", streamed" : "", c.vae_frames);
            assert_int_equal(c.split_guidance, way & 1);
            assert_int_equal(c.streamed, way > 1);
            assert_int_equal(c.frames, 3 * LS_CHUNK_FRAMES);
            assert_true(card->total <= limit && (!way || card->total < last.total));
            assert_true(!(way & 1) || card->activations < last.activations);
            last = *card;
            limit = card->total - 1;
        }
        const ls_budget_job job = job_at(r, m, 1, limit);
        ls_budget_choice c;
        ls_budget_memory memory;
        ls_error err = {0};
        assert_int_equal(ls_budget_choose(&c, &memory, &job, MEMORY, &err), LS_ENOMEM);
        assert_string_equal(err.option, "max-vram");
        const char *needed = strstr(err.message, "at least ");
        assert_non_null(needed);
        assert_int_equal(atoll(needed + 9), (last.total + 999999) / 1000000);
    }
}

/* Which of them is taken on cards of the usual sizes, of which 90 % are free. */
static void cards_of_all_sizes_run_both_resolutions(void **state)
{
    ls_models *m = *state;
    static const struct {
        uint64_t size;
        size_t resolution;
        bool split, streamed;
    } cards[] = {{4, 256, false, false},  {4, 512, false, true},  {6, 256, false, false},
                 {6, 512, false, false},  {8, 256, false, false}, {8, 512, false, false},
                 {24, 256, false, false}, {24, 512, false, false}};
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        const uint64_t size = cards[i].size << 30;
        const ls_budget_job job = job_at(cards[i].resolution, m, 1, size / 10 * 9);
        ls_budget_choice c;
        ls_budget_memory memory;
        ls_error err = {0};
        require(ls_budget_choose(&c, &memory, &job, MEMORY, &err), &err);
        print_message("%2d GB, %zu: %.1f GB%s%s\n", (int)cards[i].size, cards[i].resolution,
                      (double)memory.cards[0].total / 1e9, c.split_guidance ? ", split" : "",
                      c.streamed ? ", streamed" : "");
        assert_int_equal(c.split_guidance, cards[i].split);
        assert_int_equal(c.streamed, cards[i].streamed);
    }
}

/* Streamed weights are in the process's memory, and each card needs its own. */
static void the_process_pays_for_what_is_streamed(void **state)
{
    ls_models *m = *state;
    ls_budget_choice c;
    ls_budget_memory resident, streamed, twice;
    ls_error err = {0};
    ls_budget_job job = job_at(256, m, 1, 100 * GB);
    require(ls_budget_choose(&c, &resident, &job, MEMORY, &err), &err);
    job = job_at(256, m, 1, 2 * GB);
    require(ls_budget_choose(&c, &streamed, &job, MEMORY, &err), &err);
    assert_true(c.streamed);
    assert_true(streamed.weights > resident.weights + 2 * GB);
    assert_int_equal(ls_budget_choose(&c, &twice, &job, 2 * GB, &err), LS_ENOMEM);
    assert_string_equal(err.option, "max-memory");
    job = job_at(256, m, 2, 2 * GB);
    require(ls_budget_choose(&c, &twice, &job, MEMORY, &err), &err);
    assert_int_equal(c.frames, 4 * LS_CHUNK_FRAMES);
    assert_int_equal(twice.weights, 2 * streamed.weights);
    assert_int_equal(twice.cards[0].total, streamed.cards[0].total);
}

int main(void)
{
    static ls_models m;
    setenv("FAKE_CUDA", "memory=24G", 1);
    open_published(&m);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_prestate(ways_take_less_and_less, &m),
        cmocka_unit_test_prestate(cards_of_all_sizes_run_both_resolutions, &m),
        cmocka_unit_test_prestate(the_process_pays_for_what_is_streamed, &m),
    };
    int ret = cmocka_run_group_tests_name("plan", tests, NULL, NULL);
    ls_models_close(&m);
    return ret;
}
