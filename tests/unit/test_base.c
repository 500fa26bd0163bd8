#include "test.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/list.h"
#include "base/output.h"
#include "base/path.h"
#include "base/queue.h"
#include "base/system.h"
#include "base/turn.h"

#include <errno.h>
#include <omp.h>
#include <pthread.h>

static void lists_end_where_the_room_does(void **state)
{
    (void)state;
    char list[10] = "";
    ls_list_add(list, sizeof list, "%s", "a");
    assert_string_equal(list, "a");
    ls_list_add(list, sizeof list, "%d to %d", 1, 2);
    assert_string_equal(list, "a, 1 to 2");
    for (size_t size = 10; size > 3; size--) {
        strcpy(list, "abc");
        ls_list_add(list, size, "defgh");
        assert_int_equal(strlen(list), size - 1);
        assert_memory_equal(list, "abc, defg", size - 1);
        ls_list_add(list, size, "more");
        assert_int_equal(strlen(list), size - 1);
    }
}

static void error_names(void **state)
{
    (void)state;
    assert_string_equal(ls_error_name(LS_EFORMAT), "LS_EFORMAT");
    assert_string_equal(ls_error_text(LS_ENOSPC), "no space left");
    assert_string_equal(ls_error_name(-999), "LS_E?");
}

static void error_message_is_one_printable_line(void **state)
{
    (void)state;
    ls_error err = {0};
    assert_int_equal(ls_fail(&err, LS_EFORMAT, "%s", "a\nb\x1b[31m"), LS_EFORMAT);
    assert_string_equal(err.message, "a?b?[31m");
    ls_fail_context(&err, err.code, "file %d", 7);
    assert_string_equal(err.message, "file 7: a?b?[31m");
    assert_int_equal(ls_fail_errno(&err, ENOSPC, "write x"), LS_ENOSPC);
    assert_non_null(strstr(err.message, "write x: "));
    assert_int_equal(ls_fail(NULL, LS_EIO, "nowhere"), LS_EIO);
}

static void errors_carry_advice(void **state)
{
    (void)state;
    ls_error err = {0};
    assert_int_equal(ls_advise(&err, ls_fail(&err, LS_EIO, "x"), LS_HINT_WAIT, "steps"), LS_EIO);
    assert_string_equal(err.option, "steps");
    ls_fail_context(&err, err.code, "y");
    assert_string_equal(err.message, "y: x");
    assert_int_equal(err.hint, LS_HINT_WAIT);
    assert_string_equal(ls_hint_text(err.hint), "wait for the other process to end");
    assert_string_equal(ls_hint_text(-1), "");
    assert_string_equal(ls_hint_text(999), "");
    assert_int_equal(ls_advise(&err, LS_EMODEL, LS_HINT_NONE, NULL), LS_EMODEL);
    assert_int_equal(err.code, LS_EMODEL);
    ls_fail(&err, LS_EIO, "z");
    assert_string_equal(err.option, "");
    assert_int_equal(ls_fail_errno(&err, EDQUOT, "w"), LS_ENOSPC);
    assert_int_equal(err.hint, LS_HINT_FREE_SPACE);
    assert_true(ls_error_is_temporary(LS_EBUSY) && !ls_error_is_temporary(LS_EFORMAT));
}

/* Only what a write itself leaves may be removed after a crash. */
static void temporary_names_are_recognised(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t n; /* 0: not temporary */
    } cases[] = {{".out.mp4.123.0.part", 7},
                 {".a.1.2.3.4.part", 5},
                 {".b.12.part", 0},
                 {"out.mp4.1.2.part", 0},
                 {".out.1.x.part", 0},
                 {"..1.2.part", 0},
                 {".out.1.2.partial", 0},
                 {".1.2.part", 0},
                 {".part", 0},
                 {"", 0},
                 {".x..2.part", 0},
                 {".x.1.2.part", 1}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t n = 0;
        assert_int_equal(ls_output_is_temporary(cases[i].name, &n), cases[i].n > 0);
        assert_int_equal(n, cases[i].n);
    }
}

typedef struct waiter {
    ls_turn *turn;
    ls_cancel cancel;
    size_t *order, number, place;
    int ret;
} waiter;

static void *wait_for_turn(void *opaque)
{
    waiter *w = opaque;
    w->ret = ls_turn_take(w->turn, &w->cancel);
    if (!w->ret) {
        w->place = ++*w->order;
        ls_turn_give(w->turn);
    }
    return NULL;
}

static size_t waiting(ls_turn *turn)
{
    size_t n = 0;
    pthread_mutex_lock(&turn->mutex);
    for (const ls_turn_waiter *w = turn->first; w; w = w->next)
        n++;
    pthread_mutex_unlock(&turn->mutex);
    return n;
}

static void turns_pass_in_the_order_of_arrival(void **state)
{
    (void)state;
    ls_turn turn = {0};
    size_t order = 0;
    waiter w[4];
    pthread_t threads[4];
    assert_int_equal(ls_turn_take(&turn, NULL), 0);
    assert_int_equal(ls_turn_take(&turn, NULL), 0); // again, by its owner
    for (size_t i = 0; i < 4; i++) {
        w[i] = (waiter){.turn = &turn, .order = &order, .number = i};
        assert_int_equal(pthread_create(&threads[i], NULL, wait_for_turn, &w[i]), 0);
        while (waiting(&turn) <= i)
            usleep(1000);
    }
    ls_cancel_request(&w[1].cancel);
    pthread_join(threads[1], NULL);
    assert_int_equal(w[1].ret, LS_ECANCELED);
    ls_turn_give(&turn);
    usleep(20000);
    assert_int_equal(order, 0); // still taken once
    ls_turn_give(&turn);
    for (size_t i = 0; i < 4; i++)
        if (i != 1)
            pthread_join(threads[i], NULL);
    assert_true(w[0].place == 1 && w[2].place == 2 && w[3].place == 3);
    assert_int_equal(ls_turn_take(&turn, NULL), 0);
    ls_turn_give(&turn);
}

static void cancel_tokens_have_parents(void **state)
{
    (void)state;
    ls_cancel parent = {0}, child = {.parent = &parent}, grandchild = {.parent = &child};
    assert_false(ls_canceled(NULL) || ls_canceled(&grandchild));
    ls_cancel_request(&child);
    assert_true(ls_canceled(&grandchild) && ls_canceled(&child) && !ls_canceled(&parent));
}

static void paths_are_joined(void **state)
{
    (void)state;
    static const struct {
        const char *dir, *name, *path;
    } cases[] = {{"a/b", "c", "a/b/c"}, {"a/", "c", "a/c"}, {"/", "c", "/c"},
                 {"", "c", "c"},        {NULL, "c", "c"},   {".", "c", "./c"}};
    char path[8];
    ls_error err = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(ls_path_join(path, sizeof path, cases[i].dir, cases[i].name, &err), 0);
        assert_string_equal(path, cases[i].path);
    }
    assert_int_equal(ls_path_join(path, sizeof path, "123", "456", &err), 0);
    assert_int_equal(ls_path_join(path, sizeof path, "123", "4567", &err), LS_EINVAL);
    assert_non_null(strstr(err.message, "123/4567"));
}

static void sizes_are_checked(void **state)
{
    (void)state;
    size_t n;
    assert_false(ls_mul_size(SIZE_MAX / 2, 3, &n));
    assert_true(ls_mul_size(3, 5, &n));
    assert_int_equal(n, 15);
    assert_null(ls_malloc_array(SIZE_MAX / 2, 3));
    float *p = ls_aligned_alloc(LS_MEM_OTHER, 9 << 20);
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % LS_ALIGN, 0);
    ls_aligned_free(p);
    assert_null(ls_aligned_alloc(LS_MEM_OTHER, SIZE_MAX));
}

static void blocks_are_counted(void **state)
{
    (void)state;
    ls_memory_tally t[LS_MEMORY_TAGS];
    void *a = ls_aligned_alloc(LS_MEM_NN, 1000), *b = ls_aligned_alloc(LS_MEM_MEDIA, 5000);
    ls_aligned_free(b);
    ls_memory_count(LS_MEM_NN, 24);
    size_t n = ls_memory_tallies(t), found = 0;
    for (size_t i = 0; i < n; i++) {
        if (!strcmp(t[i].module, "nn") && ++found)
            assert_true(t[i].now == 1024 + LS_ALIGN && t[i].peak == t[i].now);
        if (!strcmp(t[i].module, "media") && ++found)
            assert_true(t[i].now == 0 && t[i].peak == 5000 + LS_ALIGN);
    }
    assert_int_equal(found, 2);
    ls_aligned_free(a);
}

typedef struct stream {
    ls_queue *q;
    int result;
    size_t sent;
} stream;

static void *produce(void *opaque)
{
    stream *s = opaque;
    for (uintptr_t i = 1; i <= 1000; i++) {
        if ((s->result = ls_queue_push(s->q, (void *)i, 10)))
            return NULL;
        s->sent++;
    }
    ls_queue_finish(s->q, 0);
    return NULL;
}

static void queue_keeps_order_and_bounds(void **state)
{
    (void)state;
    stream s = {.q = ls_queue_open(100, 45, NULL)};
    pthread_t t;
    pthread_create(&t, NULL, produce, &s);
    void *item;
    for (uintptr_t i = 1; i <= 1000; i++) {
        assert_int_equal(ls_queue_pop(s.q, &item), 0);
        assert_int_equal((uintptr_t)item, i);
    }
    assert_int_equal(ls_queue_pop(s.q, &item), LS_EOF);
    pthread_join(t, NULL);
    assert_int_equal(s.result, 0);
    assert_true(ls_queue_state(s.q).peak_bytes <= 45);
    ls_queue_close(&s.q);
    assert_null(s.q);
}

static void queue_consumer_stops_producer(void **state)
{
    (void)state;
    stream s = {.q = ls_queue_open(4, 1000, NULL)};
    pthread_t t;
    pthread_create(&t, NULL, produce, &s);
    void *item;
    assert_int_equal(ls_queue_pop(s.q, &item), 0);
    ls_queue_finish(s.q, LS_ECANCELED);
    pthread_join(t, NULL);
    assert_int_equal(s.result, LS_ECANCELED);
    assert_true(s.sent < 1000);
    assert_int_equal(ls_queue_pop(s.q, &item), LS_ECANCELED);
    ls_queue_close(&s.q);
}

static void queue_passes_an_item_larger_than_the_bound(void **state)
{
    (void)state;
    ls_queue *q = ls_queue_open(4, 10, free);
    assert_int_equal(ls_queue_push(q, malloc(1), 50), 0);
    ls_queue_finish(q, LS_EIO);
    ls_queue_finish(q, LS_ENOMEM);
    void *item;
    assert_int_equal(ls_queue_pop(q, &item), LS_EIO);
    ls_queue_close(&q);
}

static void the_tightest_cgroup_limit_counts(void **state)
{
    (void)state;
    char root[] = "/tmp/ls-test-XXXXXX", command[64];
    assert_non_null(mkdtemp(root));
    test_put(root, "proc/meminfo", "MemTotal:   1000 kB\nMemFree: 1 kB\nMemAvailable:  500 kB\n");
    test_put(root, "proc/self/cgroup", "0::/a/b\n");
    test_put(root, "sys/fs/cgroup/a/b/memory.max", "max\n");
    test_put(root, "sys/fs/cgroup/a/memory.max", "300000\n");
    test_put(root, "sys/fs/cgroup/a/memory.current", "120000\n");
    test_put(root, "sys/fs/cgroup/a/b/cpu.max", "150000 100000\n");
    ls_machine_memory m;
    ls_machine_memory_now(&m, root);
    assert_int_equal(m.total, 1024000);
    assert_int_equal(m.available, 512000);
    assert_int_equal(m.cgroup_limit, 300000);
    assert_int_equal(m.cgroup_used, 120000);
    assert_true(m.cgroup_cpus == 1.5);
    assert_true(m.pressure == -1);
    test_put(root, "sys/fs/cgroup/a/memory.stat",
             "anon 1\ninactive_file 20000\nactive_file 7000\n");
    test_put(root, "proc/pressure/memory", "some avg10=7.05 avg60=1.00 total=2\nfull avg10=3.00\n");
    ls_machine_memory_now(&m, root);
    assert_int_equal(m.cgroup_used, 93000);
    assert_true(m.pressure == 7.05);
    test_put(root, "sys/fs/cgroup/a/memory.pressure", "some avg10=12.50 avg60=1.00 total=2\n");
    ls_machine_memory_now(&m, root);
    assert_true(m.pressure == 12.5);
    test_put(root, "sys/fs/cgroup/a/memory.max",
             "max\n"); // without a limit: the process's own group
    test_put(root, "sys/fs/cgroup/a/b/memory.current", "50000\n");
    ls_machine_memory_now(&m, root);
    assert_true(m.cgroup_limit == UINT64_MAX);
    assert_int_equal(m.cgroup_used, 50000);
    test_put(root, "proc/self/cgroup", "7:memory:/x\n4:cpuset:/\n3:cpu,cpuacct:/y\n");
    test_put(root, "sys/fs/cgroup/memory/x/memory.limit_in_bytes", "9223372036854771712\n");
    test_put(root, "sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n");
    test_put(root, "sys/fs/cgroup/memory/memory.usage_in_bytes", "5000\n");
    test_put(root, "sys/fs/cgroup/memory/memory.stat",
             "inactive_file 1\ntotal_inactive_file 4000\nactive_file 1\ntotal_active_file 600\n");
    test_put(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
    test_put(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
    test_put(root, "sys/fs/cgroup/cpu/y/cpu.cfs_quota_us", "50000\n");
    test_put(root, "sys/fs/cgroup/cpu/y/cpu.cfs_period_us", "100000\n");
    ls_machine_memory_now(&m, root);
    assert_int_equal(m.cgroup_limit, 700000);
    assert_int_equal(m.cgroup_used, 400);
    assert_true(m.cgroup_cpus == 0.5);
    snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
}

static void process_memory_grows_with_use(void **state)
{
    (void)state;
    size_t bytes = 64 << 20;
    ls_process_memory before = ls_process_memory_now();
    char *p = malloc(bytes);
    assert_non_null(p);
    memset(p, 1, bytes);
    ls_process_memory with = ls_process_memory_now();
    free(p);
    assert_true(before.resident > 100000);
    assert_true(with.resident >= before.resident + bytes * 9 / 10);
    assert_true(with.anonymous >= before.anonymous + bytes * 9 / 10);
    assert_true(ls_process_memory_now().peak_resident >= before.resident + bytes * 9 / 10);
}

/* A server's flags are more than 1,024 bytes, and the newest of them come last. */
static void cpu_flags_are_read_to_the_end(void **state)
{
    (void)state;
    char root[] = "/tmp/ls-test-XXXXXX", text[4096] = "processor : 0\n", command[64];
    assert_non_null(mkdtemp(root));
    strcat(text, "model name\t: A CPU @ 2.00GHz\nflags\t\t: fpu avx2x fma");
    for (int i = 0; i < 300; i++)
        strcat(text, " filler");
    strcat(text, " avx512bw avx512_bf16 amx_bf16\nbugs : avx512_vnni\n");
    test_put(root, "proc/cpuinfo", text);
    test_put(root, "proc/self/cgroup", "0::/a\n");
    test_put(root, "sys/fs/cgroup/a/cpu.max", "max 100000\n");
    ls_cpu cpu;
    ls_cpu_detect(&cpu, root);
    assert_string_equal(cpu.model, "A CPU @ 2.00GHz");
    assert_int_equal(cpu.cores, omp_get_num_procs());
#if defined(__x86_64__)
    assert_true(cpu.fma && cpu.avx512 && cpu.avx512_bf16 && cpu.amx_bf16);
#endif
    assert_false(cpu.avx2 || cpu.avx512_vnni);
    test_put(root, "sys/fs/cgroup/a/cpu.max", "40000 100000\n");
    ls_cpu_detect(&cpu, root);
    assert_int_equal(cpu.cores, 1);
    snprintf(command, sizeof command, "rm -rf %s", root);
    assert_int_equal(system(command), 0);
    ls_cpu_detect(&cpu, "");
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(cpu.avx2, !!__builtin_cpu_supports("avx2"));
    assert_int_equal(cpu.avx512_bf16, !!__builtin_cpu_supports("avx512bf16"));
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_names),
        cmocka_unit_test(error_message_is_one_printable_line),
        cmocka_unit_test(errors_carry_advice),
        cmocka_unit_test(temporary_names_are_recognised),
        cmocka_unit_test(turns_pass_in_the_order_of_arrival),
        cmocka_unit_test(cancel_tokens_have_parents),
        cmocka_unit_test(paths_are_joined),
        cmocka_unit_test(sizes_are_checked),
        cmocka_unit_test(blocks_are_counted),
        cmocka_unit_test(queue_keeps_order_and_bounds),
        cmocka_unit_test(queue_consumer_stops_producer),
        cmocka_unit_test(the_tightest_cgroup_limit_counts),
        cmocka_unit_test(process_memory_grows_with_use),
        cmocka_unit_test(cpu_flags_are_read_to_the_end),
        cmocka_unit_test(queue_passes_an_item_larger_than_the_bound),
        cmocka_unit_test(lists_end_where_the_room_does),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
