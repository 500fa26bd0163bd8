/* Where networks are to run: the option, and what a job says. */
#include "test.h"

#include "pipeline/device_choice.h"

static void expect_names(const ls_device_wish *w, const char *unet, const char *vae,
                         const char *whisper)
{
    assert_false(w->automatic);
    assert_string_equal(w->names.of[0], unet);
    assert_string_equal(w->names.of[1], vae);
    assert_string_equal(w->names.of[2], whisper);
}

static void the_option_names_a_device_for_each_network(void **state)
{
    (void)state;
    static const char *const good[][4] = {
        {"cpu", "cpu", "cpu", "cpu"},
        {"cuda", "cuda", "cuda", "cpu"},
        {"cuda:7", "cuda:7", "cuda:7", "cpu"},
        {"cuda:123", "cuda:123", "cuda:123", "cpu"},
        {"vulkan", "vulkan", "vulkan", "cpu"},
        {"vulkan:0", "vulkan:0", "vulkan:0", "cpu"},
        {"unet=vulkan:1,vae=cuda", "vulkan:1", "cuda", "cpu"},
        {"unet=cuda", "cuda", "cuda", "cpu"},
        {"unet=cuda:1,vae=cpu", "cuda:1", "cpu", "cpu"},
        {"whisper=cuda:0,vae=cuda,unet=cuda:2", "cuda:2", "cuda", "cuda:0"},
    };
    static const char *const bad[] = {"",
                                      "gpu",
                                      "cpu:0",
                                      "cuda:",
                                      "cuda:-1",
                                      "cuda:0x1",
                                      "cuda:1234",
                                      "vulkan:",
                                      "vulkan:1x",
                                      "vulkan:1234",
                                      "vulkan0",
                                      "vulka",
                                      "cuda0",
                                      "onednn",
                                      "unet",
                                      "unet=",
                                      "unet=cud",
                                      "unet=cpu,",
                                      "unet=cpu,unet=cpu",
                                      "vae=cuda",
                                      "unet=cpu;vae=cpu",
                                      "unet=cpu, vae=cpu",
                                      "net=cpu",
                                      "unet=auto",
                                      "AUTO"};
    ls_device_wish w;
    ls_error err = {0};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(ls_device_wish_parse(&w, good[i][0], &err), 0);
        expect_names(&w, good[i][1], good[i][2], good[i][3]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        err = (ls_error){0};
        if (ls_device_wish_parse(&w, bad[i], &err) != LS_EINVAL)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_string_equal(err.option, "device");
        assert_non_null(strstr(err.message, "device: expected auto, cpu, cuda, cuda:N"));
    }
    assert_int_equal(ls_device_wish_parse(&w, "auto", &err), 0);
    assert_true(w.automatic);
    assert_int_equal(ls_device_wish_parse(&w, NULL, &err), 0);
    assert_true(w.automatic);
}

static void a_job_says_what_it_was_begun_on(void **state)
{
    (void)state;
    static const char *const broken[] = {
        "{}",
        "{\"networks\": 3}",
        "{\"networks\": {\"UNet\": {\"kind\": \"vulkan:0\"}, \"VAE\": {\"kind\": \"cpu\"}, "
        "\"Whisper\": {\"kind\": \"cpu\"}}}",
        "{\"networks\": {\"UNet\": {\"kind\": \"cpu\"}, \"VAE\": {\"kind\": \"cpu\"}}}",
        "{\"networks\": {\"UNet\": {\"kind\": \"tpu\"}, \"VAE\": {\"kind\": \"cpu\"}, "
        "\"Whisper\": {\"kind\": \"cpu\"}}}",
        "{\"networks\": {\"UNet\": {\"kind\": 1}, \"VAE\": {\"kind\": \"cpu\"}, "
        "\"Whisper\": {\"kind\": \"cpu\"}}}"};
    ls_device_wish w;
    char text[100];
    json_t *d =
        json_loads("{\"networks\": {\"UNet\": {\"kind\": \"cuda\", \"model\": \"NVIDIA A\", "
                   "\"version\": \"CUDA 12.4\"}, \"VAE\": {\"kind\": \"cpu\"}, "
                   "\"Whisper\": {\"kind\": \"cpu\"}}}",
                   0, NULL);
    assert_non_null(d);
    assert_true(ls_device_wish_of_job(&w, d));
    expect_names(&w, "cuda", "cpu", "cpu");
    assert_string_equal(w.model, "NVIDIA A");
    const json_t *networks = json_object_get(d, "networks");
    ls_device_text(json_object_get(networks, "UNet"), text, sizeof text);
    assert_string_equal(text, "NVIDIA A (CUDA 12.4)");
    ls_device_text(json_object_get(networks, "VAE"), text, sizeof text);
    assert_string_equal(text, "the CPU (unknown)");
    json_decref(d);
    assert_false(ls_device_wish_of_job(&w, NULL));
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++) {
        d = json_loads(broken[i], 0, NULL);
        assert_non_null(d);
        assert_false(ls_device_wish_of_job(&w, d));
        json_decref(d);
    }
}

/* Where no card can be used. */
static void a_missing_device_is_named(void **state)
{
    (void)state;
    ls_device_choice c;
    ls_device_wish w;
    ls_error err = {0};
    assert_int_equal(ls_device_wish_parse(&w, "cpu", &err), 0);
    assert_int_equal(ls_device_choice_find(&c, &w, &err), 0);
    assert_int_equal(c.count, 1);
    assert_int_equal(ls_device_choice_on_cpu(&c), 2);
    static const char *const cards[] = {
        "cuda", "cuda:0", "vulkan", "vulkan:0", "unet=cpu,vae=cuda", "unet=cpu,whisper=cuda:1"};
    for (size_t i = 0; i < sizeof cards / sizeof *cards; i++) {
        assert_int_equal(ls_device_wish_parse(&w, cards[i], &err), 0);
        assert_true(ls_device_choice_find(&c, &w, &err) < 0);
        assert_string_equal(err.option, "device");
        assert_int_equal(err.hint, LS_HINT_LIST_DEVICES);
        assert_non_null(strstr(err.message, "devices that can be used: cpu"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_option_names_a_device_for_each_network),
        cmocka_unit_test(a_job_says_what_it_was_begun_on),
        cmocka_unit_test(a_missing_device_is_named),
    };
    return cmocka_run_group_tests_name("device_choice", tests, NULL, NULL);
}
