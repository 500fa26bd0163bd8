#include "test.h"

#include "base/time.h"
#include "monitor/nvml.h"
#include "monitor/stats.h"

#include <jansson.h>
#include <math.h>
#include <pthread.h>

static void remove_folder(const char *root)
{
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

static ls_usage sample(const char *root)
{
    ls_usage_meter *m;
    ls_usage u;
    assert_int_equal(ls_usage_open(&m, root, NULL), 0);
    ls_usage_sample(m, &u);
    ls_usage_close(&m);
    assert_null(m);
    return u;
}

static void usage_of_a_machine(void **state)
{
    (void)state;
    char root[] = "/tmp/ls-test-XXXXXX";
    assert_non_null(mkdtemp(root));
    ls_usage u = sample(root); // neither /proc nor /sys
    assert_true(u.resident > 100000 && u.anonymous > 0 && u.anonymous < u.resident);
    assert_true(u.cgroup_used == 0 && u.cgroup_limit == UINT64_MAX && u.pressure == -1);
    assert_false(u.has_gpu);
    test_put(root, "proc/self/cgroup", "0::/a\n");
    test_put(root, "sys/fs/cgroup/a/memory.max", "300000\n");
    test_put(root, "sys/fs/cgroup/a/memory.current", "120000\n");
    test_put(root, "sys/fs/cgroup/a/memory.stat", "file 90000\ninactive_file 30000\n");
    test_put(root, "sys/fs/cgroup/a/memory.pressure", "some avg10=3.25 avg60=0.00 total=0\n");
    u = sample(root);
    assert_true(u.cgroup_used == 90000 && u.cgroup_limit == 300000 && u.pressure == 3.25);
    test_put(root, "proc/self/cgroup", "4:memory:/b\n");
    test_put(root, "sys/fs/cgroup/memory/b/memory.limit_in_bytes", "400000\n");
    test_put(root, "sys/fs/cgroup/memory/b/memory.usage_in_bytes", "50000\n");
    test_put(root, "proc/pressure/memory", "some avg10=0.50 avg60=0.00 total=0\n");
    u = sample(root);
    assert_true(u.cgroup_used == 50000 && u.cgroup_limit == 400000 && u.pressure == 0.5);
    remove_folder(root);
}

static void *work(void *opaque)
{
    volatile double x = 1;
    for (double start = ls_time_now(); ls_time_now() - start < *(const double *)opaque;)
        x = x * 1.0000001;
    return NULL;
}

static void cpu_is_that_of_all_threads_since_the_last_sample(void **state)
{
    (void)state;
    ls_usage_meter *m;
    ls_usage idle, one, two;
    double seconds = 0.2;
    assert_int_equal(ls_usage_open(&m, "", NULL), 0);
    work(&seconds);
    ls_usage_sample(m, &one);
    usleep(200000);
    ls_usage_sample(m, &idle);
    pthread_t t;
    pthread_create(&t, NULL, work, &seconds);
    work(&seconds);
    pthread_join(t, NULL);
    ls_usage_sample(m, &two);
    ls_usage again;
    ls_usage_sample(m, &again);
    ls_usage_close(&m);
    assert_true(one.seconds >= 0.2 && idle.seconds >= one.seconds + 0.2);
    assert_true(one.cpu_percent > 15 && one.cpu_percent < 110); // others use the cores, too
    assert_true(idle.cpu_percent < 10);
    assert_true(two.cpu_percent > 15 && two.cpu_percent < 210);
    if (sysconf(_SC_NPROCESSORS_ONLN) > 1)
        assert_true(two.cpu_percent > one.cpu_percent / 2);
    assert_true(isfinite(again.cpu_percent) && again.cpu_percent < 400);
}

static void gpus_are_added_up(void **state)
{
    (void)state;
    char root[] = "/tmp/ls-test-XXXXXX", path[64];
    const char *fake = getenv("LS_FAKE_NVML");
    if (!fake)
        skip();
    assert_non_null(mkdtemp(root));
    snprintf(path, sizeof path, "%s/libnvidia-ml.so.1", root);
    assert_int_equal(symlink(fake, path), 0);
    ls_usage u = sample(root);
    assert_true(u.has_gpu && u.gpu_used == 35000000000 && u.gpu_total == 160000000000);
    assert_true(u.gpu_percent == 47.5 && u.gpu_count == 2);
    assert_true(u.gpus[0].used == 5000000000 && u.gpus[0].percent == 20);
    assert_true(u.gpus[1].used == 30000000000 && u.gpus[1].total == 80000000000);
    assert_true(u.gpus[1].percent == 75);
    char version[32];
    ls_nvml_driver_version(path, version, sizeof version);
    assert_string_equal(version, "550.54.14");
    ls_nvml_driver_version(path, version, 4);
    assert_true(memchr(version, 0, 4));
    setenv("FAKE_NVML", "version", 1);
    ls_nvml_driver_version(path, version, sizeof version);
    assert_string_equal(version, "");
    setenv("FAKE_NVML", "load", 1);
    u = sample(root);
    assert_true(u.has_gpu && u.gpu_used == 35000000000 && u.gpu_percent == -1);
    assert_true(u.gpu_count == 2 && u.gpus[0].used == 5000000000 && u.gpus[0].percent == -1);
    const char *failing[] = {"init", "count", "memory"};
    for (int i = 0; i < 3; i++) {
        setenv("FAKE_NVML", failing[i], 1);
        assert_false(sample(root).has_gpu);
    }
    unsetenv("FAKE_NVML");
    unlink(path);
    test_put(root, "libnvidia-ml.so.1", "no library");
    assert_false(sample(root).has_gpu);
    ls_nvml_driver_version(path, version, sizeof version);
    assert_string_equal(version, "");
    remove_folder(root);
}

static double number(json_t *o, const char *key)
{
    json_t *v = json_object_get(o, key);
    assert_true(json_is_number(v));
    return json_number_value(v);
}

static const ls_progress_time times[] = {{"decode", 1.5, 0.5, 2, 40},
                                         {"a \"name\"\\\n", 0.25, 0, 0, 7}};
static const ls_progress_time devices[] = {{"cuda:1", 9, 0.5, 0.25, 16}};
static const ls_progress_queue queues[] = {{"cropped", 2, 32, 3000}};

static const ls_usage some_usage = {.seconds = 100000.25,
                                    .cpu_percent = 187.3456,
                                    .resident = 5000000000,
                                    .cgroup_used = 6000000000,
                                    .cgroup_limit = UINT64_MAX,
                                    .pressure = -1};
static const ls_progress some_progress = {.stage = "frames",
                                          .frame = 30,
                                          .frames = UINT64_MAX,
                                          .frames_per_second = 0.5,
                                          .times = times,
                                          .time_count = 2,
                                          .devices = devices,
                                          .device_count = 1,
                                          .queues = queues,
                                          .queue_count = 1};

static json_t *parse(const char *line, size_t n)
{
    assert_true(n > 1 && line[n - 1] == '\n' && !memchr(line, '\n', n - 1));
    json_error_t bad;
    json_t *o = json_loadb(line, n, JSON_REJECT_DUPLICATES, &bad);
    assert_true(json_is_object(o));
    return o;
}

static void stats_are_a_line_of_json(void **state)
{
    (void)state;
    char line[2048];
    ls_progress p = some_progress;
    ls_usage u = some_usage;
    json_t *o = parse(line, ls_stats_json(&p, &u, line, sizeof line));
    assert_true(number(o, "time") == 100000.25 && number(o, "fps") == 0.5);
    assert_string_equal(json_string_value(json_object_get(o, "stage")), "frames");
    assert_true(number(o, "frame") == 30 && number(o, "frames") == (double)INT64_MAX);
    assert_true(number(o, "seconds_left") == 0 && number(o, "cpu_percent") == 187.346);
    assert_true(number(o, "resident_bytes") == 5e9 && number(o, "cgroup_bytes") == 6e9);
    assert_int_equal(json_object_size(o), 12); // without limit, budget, pressure and GPU
    json_t *stage = json_object_get(json_object_get(o, "stages"), "a \"name\"\\\n");
    assert_true(number(stage, "busy_seconds") == 0.25 && number(stage, "frames") == 7);
    json_t *device = json_object_get(json_object_get(o, "devices"), "cuda:1");
    assert_true(number(device, "busy_seconds") == 9 && number(device, "input_seconds") == 0.5);
    assert_true(number(device, "room_seconds") == 0.25 && number(device, "frames") == 16);
    json_t *queue = json_object_get(json_object_get(o, "queues"), "cropped");
    assert_true(number(queue, "items") == 2 && number(queue, "max_items") == 32);
    assert_true(number(queue, "bytes") == 3000);
    json_decref(o);
    u.cgroup_limit = 8000000000;
    u.pressure = 0;
    p.budget_bytes = 7000000000;
    u.has_gpu = true;
    u.gpu_used = 1;
    u.gpu_total = 2;
    u.gpu_percent = 99;
    u.gpu_count = 2;
    u.gpus[1] = (ls_nvml_device){3, 4, 50};
    o = parse(line, ls_stats_json(&p, &u, line, sizeof line));
    assert_true(number(o, "cgroup_limit_bytes") == 8e9 && number(o, "budget_bytes") == 7e9);
    assert_true(number(o, "memory_pressure") == 0 && number(o, "gpu_bytes") == 1);
    assert_true(number(o, "gpu_total_bytes") == 2 && number(o, "gpu_percent") == 99);
    json_t *gpu = json_array_get(json_object_get(o, "gpus"), 1);
    assert_true(number(gpu, "bytes") == 3 && number(gpu, "total_bytes") == 4);
    assert_true(number(gpu, "percent") == 50);
    json_decref(o);
}

static void stats_never_hold_what_json_cannot(void **state)
{
    (void)state;
    char line[2048];
    ls_progress p = some_progress;
    ls_progress_time odd[] = {{"nan", NAN, 0, 0, 1}, {"\xff", 1, 0, 0, 1}};
    p.frames_per_second = INFINITY;
    p.seconds_left = NAN;
    p.times = odd;
    json_t *o = parse(line, ls_stats_json(&p, &some_usage, line, sizeof line));
    assert_null(json_object_get(o, "fps"));
    assert_null(json_object_get(o, "seconds_left"));
    assert_int_equal(json_object_size(json_object_get(o, "stages")), 1);
    json_decref(o);
}

static void stats_keep_to_their_space(void **state)
{
    (void)state;
    char line[2048], small[2048];
    size_t n = ls_stats_json(&some_progress, &some_usage, line, sizeof line);
    assert_true(n > 100);
    for (size_t size = 0; size <= n; size++) {
        memset(small, '#', sizeof small);
        assert_int_equal(ls_stats_json(&some_progress, &some_usage, small, size), size < n ? 0 : n);
        assert_int_equal(small[size], '#');
    }
    assert_memory_equal(small, line, n);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(usage_of_a_machine),
        cmocka_unit_test(cpu_is_that_of_all_threads_since_the_last_sample),
        cmocka_unit_test(gpus_are_added_up),
        cmocka_unit_test(stats_are_a_line_of_json),
        cmocka_unit_test(stats_never_hold_what_json_cannot),
        cmocka_unit_test(stats_keep_to_their_space),
    };
    return cmocka_run_group_tests_name("monitor", tests, NULL, NULL);
}
