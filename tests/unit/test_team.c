#include "test.h"

#include "backend/team.h"
#include "base/time.h"

#include <omp.h>
#include <sys/resource.h>
#include <time.h>

static void settings_are_restored(void **state)
{
    (void)state;
    omp_set_num_threads(5);
    const ls_team outer = ls_team_enter(2);
    assert_int_equal(omp_get_max_threads(), 2);
    const ls_team inner = ls_team_enter(1);
    assert_int_equal(omp_get_max_threads(), 1);
    ls_team_leave(inner);
    assert_int_equal(omp_get_max_threads(), 2);
    ls_team_leave(outer);
    assert_int_equal(omp_get_max_threads(), 5);
}

static double processor_seconds(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return (double)(r.ru_utime.tv_sec + r.ru_stime.tv_sec) +
           1e-6 * (double)(r.ru_utime.tv_usec + r.ru_stime.tv_usec);
}

/* The share of a core that idle threads use while this one sleeps between regions. */
static double spinning(void)
{
    const ls_team before = ls_team_enter(2);
    const double begin = ls_time_now(), used = processor_seconds();
    for (int i = 0; i < 100; i++) {
#pragma omp parallel
#pragma omp master
        ;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    const double share = (processor_seconds() - used) / (ls_time_now() - begin);
    ls_team_leave(before);
    return share;
}

static void idle_threads_sleep(void **state)
{
    (void)state;
    ls_error err;
    ls_quiet *first, *second;
    if (getenv("OMP_WAIT_POLICY") || getenv("GOMP_SPINCOUNT")) {
        print_message("skipped: the environment tells how OpenMP waits\n");
        skip();
    }
    print_message("share of a core without: %.2f\n", spinning());
    assert_int_equal(ls_quiet_open(&first, &err), 0);
    assert_int_equal(ls_quiet_open(&second, &err), 0);
    ls_quiet_close(&first);
    const double share = spinning();
    print_message("share of a core with: %.2f\n", share);
    assert_true(share < 0.2);
    ls_quiet_close(&second);
    assert_null(second);
    ls_quiet_close(&second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_restored),
        cmocka_unit_test(idle_threads_sleep),
    };
    return cmocka_run_group_tests_name("team", tests, NULL, NULL);
}
