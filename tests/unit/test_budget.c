/* What a job does to keep within its memory. */
#include "test.h"

#include "base/system.h"
#include "models/models.h"
#include "pipeline/budget.h"
#include "pipeline/watch.h"

#include <stdlib.h>

#define GB (UINT64_C(1) << 30)

static void frames_in_flight_follow_the_memory(void **state)
{
    (void)state;
    static const struct {
        ls_watch_memory m;
        size_t now, want;
    } cases[] = {
        {{2 * GB, 4 * GB, 0, 0, -1}, 24, 24},
        {{2 * GB, 4 * GB, 0, 0, -1}, 6, 12},
        {{2 * GB, 4 * GB, 0, 0, -1}, 16, 24},
        {{39 * GB, 40 * GB, 0, 0, -1}, 24, 12},
        {{39 * GB, 40 * GB, 0, 0, -1}, 6, 4},
        {{39 * GB, 40 * GB, 0, 0, -1}, 4, 4},
        {{34 * GB, 40 * GB, 0, 0, -1}, 12, 12},
        {{2 * GB, 4 * GB, 19 * GB, 20 * GB, 0}, 24, 12},
        {{2 * GB, 4 * GB, 16 * GB, 20 * GB, 0}, 12, 12},
        {{2 * GB, 4 * GB, 19 * GB, UINT64_MAX, 0}, 12, 24},
        {{2 * GB, 4 * GB, 0, UINT64_MAX, 35}, 24, 12},
        {{2 * GB, 4 * GB, 0, UINT64_MAX, 8}, 12, 12},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(ls_watch_frames(&cases[i].m, cases[i].now, 4, 24), cases[i].want);
}

static void the_plan_fits_or_names_what_would(void **state)
{
    (void)state;
    char folder[] = "/tmp/ls-budget-XXXXXX", command[64], models[64];
    ls_error err = {0};
    ls_models m;
    assert_non_null(mkdtemp(folder));
    snprintf(models, sizeof models, "%s/m", folder);
    assert_int_equal(ls_models_random(models, "mini", &err), 0);
    assert_int_equal(
        ls_models_open(&m, models, &(ls_devices){"onednn", "onednn", "onednn", LS_F32, 2}, &err),
        0);
    const ls_video_info video = {.width = 1920,
                                 .height = 1080,
                                 .depth = 8,
                                 .frame_bytes = 1920 * 1080 * 3 / 2,
                                 .fps_num = 25,
                                 .fps_den = 1};
    ls_budget_job job = {
        .measure = ls_budget_measure,
        .opaque = &m,
        .place = ls_budget_place_of(&(ls_models *){&m}, 1, 0),
        .settings = {.resolution = 256,
                     .sampler = {.steps = 2, .guidance_scale = 1.5f, .cache_interval = 3}},
        .video = &video,
        .encoder = 187 << 20, // 60 frames of 1080p
        .detects = true,
        .cores = 4,
        .space = UINT64_MAX};
    ls_budget_choice c, last = {0};
    ls_budget_memory memory;
    uint64_t least = 0;
    for (uint64_t budget = 10u << 20; budget < 4 * GB; budget += budget / 8) {
        err = (ls_error){0};
        int ret = ls_budget_choose(&c, &memory, &job, budget, &err);
        assert_true(memory.total > memory.weights + memory.activations);
        if (ret) {
            assert_int_equal(ret, LS_ENOMEM);
            assert_true(memory.total > budget);
            assert_string_equal(err.option, "max-memory");
            const char *needed = strstr(err.message, "at least ");
            assert_non_null(needed);
            assert_int_equal(atoll(needed + 9), (memory.total + 999999) / 1000000);
            least = memory.total;
            assert_int_equal(last.frames, 0); /* more never fits worse */
            continue;
        }
        assert_true(memory.total <= budget);
        assert_true(c.frames >= LS_CHUNK_FRAMES && c.frames >= last.frames && c.workers >= 1);
        assert_true(!c.split_guidance || !last.frames || last.split_guidance);
        last = c;
    }
    assert_true(least > 0);
    assert_false(last.split_guidance);
    assert_int_equal(ls_budget_choose(&c, &memory, &job, least, &err), 0);
    assert_int_equal(ls_budget_choose(&c, &memory, &job, least - 1, &err), LS_ENOMEM);

    /* a video that turns needs more */
    const uint64_t straight = memory.total;
    job.turns = true;
    assert_int_equal(ls_budget_choose(&c, &memory, &job, least, &err), LS_ENOMEM);
    assert_true(memory.total >= straight + 10 * video.frame_bytes);
    job.turns = false;

    /* the address space is a limit of its own, and stacks of threads count there */
    assert_int_equal(ls_budget_choose(&c, &memory, &job, 8 * GB, &err), 0);
    assert_int_equal(c.frames, 24);
    assert_true(memory.space > 10 * ls_thread_stack());
    const uint64_t most = memory.space;
    job.space = most - 1;
    assert_int_equal(ls_budget_choose(&c, &memory, &job, 8 * GB, &err), 0);
    assert_true(c.frames < 24 && memory.space < most);
    job.space = 100u << 20;
    assert_int_equal(ls_budget_choose(&c, &memory, &job, 8 * GB, &err), LS_ENOMEM);
    assert_non_null(strstr(err.message, "address space"));
    assert_non_null(strstr(err.message, "104 MB are left"));
    ls_models_close(&m);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_in_flight_follow_the_memory),
        cmocka_unit_test(the_plan_fits_or_names_what_would),
    };
    return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
