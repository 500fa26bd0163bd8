#include "test.h"

#include "latentsync/latentsync.h"
#include "base/system.h"
#include "monitor/chart.h"

#include <fcntl.h>
#include <math.h>

typedef struct files {
    char folder[32], in[64], out[64];
    ls_error err;
    char *page;
} files;

static int set_up(void **state)
{
    files *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/ls-test-XXXXXX");
    if (!mkdtemp(f->folder))
        return -1;
    snprintf(f->in, sizeof f->in, "%s/in.jsonl", f->folder);
    snprintf(f->out, sizeof f->out, "%s/out.html", f->folder);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    files *f = *state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", f->folder);
    free(f->page);
    free(f);
    return system(command);
}

static ls_history *read_text(files *f, const char *text)
{
    ls_history *h;
    test_put(f->folder, "in.jsonl", text);
    if (ls_history_read(&h, f->in, &f->err))
        fail_msg("%s", f->err.message);
    return h;
}

/* The page of a text, valid until the next. */
static const char *draw(files *f, const char *text)
{
    test_put(f->folder, "in.jsonl", text);
    if (ls_report_write(f->in, f->out, &f->err))
        fail_msg("%s", f->err.message);
    FILE *page = fopen(f->out, "r");
    assert_non_null(page);
    free(f->page);
    f->page = calloc(1, 4 << 20);
    size_t n = fread(f->page, 1, 4 << 20, page);
    fclose(page);
    assert_true(n > 1000 && n < 4 << 20);
    assert_null(strstr(f->page, "nan"));
    assert_null(strstr(f->page, "inf"));
    assert_null(strstr(f->page, "<script"));
    return f->page;
}

static void has(const char *page, const char *text)
{
    if (!strstr(page, text))
        fail_msg("the page lacks %s", text);
}

static double mean(const ls_bin *b)
{
    return b->sum / b->weight;
}

static void figures_are_written_for_people(void **state)
{
    (void)state;
    char t[LS_FORMAT_SIZE];
    assert_string_equal(ls_format_bytes(t, 0), "0 B");
    assert_string_equal(ls_format_bytes(t, 999), "999 B");
    assert_string_equal(ls_format_bytes(t, 3424000000), "3.42 GB");
    assert_string_equal(ls_format_bytes(t, 999700000), "1 GB");
    assert_string_equal(ls_format_bytes(t, 84.96e6), "85 MB");
    assert_string_equal(ls_format_bytes(t, 1e18), "1 EB");
    assert_string_equal(ls_format_seconds(t, 0), "0 s");
    assert_string_equal(ls_format_seconds(t, 0.0034), "3.4 ms");
    assert_string_equal(ls_format_seconds(t, 0.25), "250 ms");
    assert_string_equal(ls_format_seconds(t, 2.55), "2.6 s");
    assert_string_equal(ls_format_seconds(t, 59.96), "1 min");
    assert_string_equal(ls_format_seconds(t, 61), "1 min 1 s");
    assert_string_equal(ls_format_seconds(t, 5400), "1 h 30 min");
    assert_string_equal(ls_format_seconds(t, 86400), "24 h");
    assert_string_equal(ls_format_seconds(t, 30 * 3600 + 86400 * 2), "3 d 6 h");
    assert_string_equal(ls_format_percent(t, 94.4), "94 %");
    assert_string_equal(ls_format_percent(t, 0.26), "0.3 %");
    assert_string_equal(ls_format_number(t, 1234567.05, 2), "1234567.05");
    assert_string_equal(ls_format_number(t, 1e300, 2), "1000000000000000000");
}

static void samples_count_for_the_time_before_them(void **state)
{
    files *f = *state;
    ls_history *h = read_text(
        f, "{\"time\":1,\"cpu_percent\":100,\"resident_bytes\":5,\"frame\":0,\"frames\":40}\n"
           "\n{\"time\":2,\"cpu_percent\":50,\"gpu_percent\":null,\"frame\":4}\r\n"
           "{\"time\":5.5,\"cpu_percent\":200,\"resident_bytes\":7,\"frame\":18,\"other\":[]}\n");
    assert_true(h->seconds == 5.5 && h->bin_seconds == 1 && h->samples == 3 && h->parts == 1);
    assert_true(h->frame == 18 && h->frames == 40 && h->frames_done == 18);
    const ls_series *cpu = &h->figures[LS_FIGURE_CPU], *resident = &h->figures[LS_FIGURE_RESIDENT];
    assert_true(fabs(mean(&cpu->all) - (100 + 50 + 3.5 * 200) / 5.5) < 1e-9);
    assert_true(cpu->all.min == 50 && cpu->all.max == 200);
    assert_true(mean(&cpu->bins[1]) == 50 && mean(&cpu->bins[4]) == 200);
    assert_true(cpu->bins[5].weight == 0.5 && cpu->bins[6].weight == 0);
    assert_true(resident->bins[1].weight == 0 && resident->all.weight == 4.5);
    assert_true(h->figures[LS_FIGURE_GPU_LOAD].all.weight == 0);
    ls_history_free(&h);
    assert_null(h);
}

static void waiting_is_added_up_over_parts(void **state)
{
    files *f = *state;
    ls_history *h = read_text(
        f, "{\"time\":1,\"devices\":{\"cuda:0\":{\"busy_seconds\":0.5,\"input_seconds\":0.5}}}\n"
           "{\"time\":2,\"devices\":{\"cuda:0\":{\"busy_seconds\":1,\"input_seconds\":0.75,"
           "\"room_seconds\":0.25,\"frames\":16}}}\n"
           "{\"time\":1,\"devices\":{\"cuda:1\":{\"busy_seconds\":0},\"cuda:0\":{\"busy_"
           "seconds\":0.75,\"room_seconds\":0.25,\"frames\":3}}}\n");
    assert_int_equal(h->device_count, 2);
    const ls_worker *w = h->devices;
    assert_true(w[0].input == 0.75 && w[0].room == 0.5 && w[0].frames == 19);
    assert_true(fabs(w[0].busy.all.sum - 175) < 1e-9 && w[1].busy.all.sum == 0);
    ls_history_free(&h);
}

static void work_is_put_where_it_was_done(void **state)
{
    files *f = *state;
    ls_history *h =
        read_text(f, "{\"time\":1,\"stages\":{\"a\":{\"busy_seconds\":0.5,\"frames\":1}}}\n"
                     "{\"time\":2,\"stages\":{\"a\":{\"busy_seconds\":0.75,\"frames\":2},"
                     "\"b\":{\"busy_seconds\":0}}}\n"
                     "{\"time\":3,\"stages\":{\"a\":{\"busy_seconds\":0.75,\"frames\":2},"
                     "\"b\":{\"busy_seconds\":0}}}\n"
                     "{\"time\":4,\"stages\":{\"a\":{\"busy_seconds\":0.75,\"frames\":2},"
                     "\"b\":{\"busy_seconds\":0}}}\n"
                     "{\"time\":5,\"stages\":{\"a\":{\"busy_seconds\":3.75,\"frames\":10},"
                     "\"b\":{\"busy_seconds\":0.5,\"frames\":3}}}\n");
    assert_int_equal(h->stage_count, 2);
    const double a[] = {50, 25, 100, 100, 100}, b[] = {0, 0, 0, 0, 50};
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(h->stages[0].busy.bins[i].sum - a[i]) < 1e-9);
        assert_true(fabs(h->stages[1].busy.bins[i].sum - b[i]) < 1e-9);
    }
    assert_string_equal(h->stages[1].busy.name, "b");
    assert_true(fabs(h->stages[0].busy.all.sum - 375) < 1e-9);
    assert_true(h->stages[0].frames == 10 && h->stages[1].frames == 3);
    ls_history_free(&h);
}

static void a_resumed_run_goes_on_behind(void **state)
{
    files *f = *state;
    const char *text = "{\"time\":1,\"frame\":0,\"cpu_percent\":10,\"stages\":{\"s\":{\"busy_"
                       "seconds\":1,\"frames\":9}}}\n"
                       "{\"time\":4,\"frame\":16,\"cpu_percent\":10}\n"
                       "{\"time\":1,\"frame\":8,\"cpu_percent\":30,\"stages\":{\"s\":{\"busy_"
                       "seconds\":0.5,\"frames\":2}}}\n"
                       "{\"time\":2,\"frame\":12,\"cpu_percent\":30}\n"
                       "{\"time\":0.5,\"frame\":12,\"cpu_percent\":40}\n";
    ls_history *h = read_text(f, text);
    assert_true(h->parts == 3 && h->seconds == 6.5 && h->frames_done == 20);
    assert_true(h->starts[4] && h->starts[6] && !h->starts[0] && !h->starts[5]);
    assert_true(mean(&h->figures[LS_FIGURE_CPU].bins[3]) == 10);
    assert_true(mean(&h->figures[LS_FIGURE_CPU].bins[4]) == 30);
    assert_true(h->stages[0].busy.bins[0].sum == 100 && h->stages[0].busy.bins[4].sum == 50);
    assert_true(h->stages[0].frames == 11);
    ls_history_free(&h);
    const char *page = draw(f, text);
    has(page, "in 3 parts");
    has(page, "class=\"start\"");
    /* the last lines of a longer file: what was done before them is not theirs */
    h = read_text(f, "{\"time\":500,\"stages\":{\"s\":{\"busy_seconds\":400,\"frames\":900}}}\n"
                     "{\"time\":501,\"stages\":{\"s\":{\"busy_seconds\":400.5,\"frames\":901}}}\n");
    assert_true(h->seconds == 2 && h->parts == 1 && h->stages[0].frames == 1);
    assert_true(h->stages[0].busy.bins[0].sum == 0 &&
                fabs(h->stages[0].busy.bins[1].sum - 50) < 1e-9);
    ls_history_free(&h);
}

static void wider_bins_keep_work_and_starts(void **state)
{
    files *f = *state;
    FILE *in = fopen(f->in, "w");
    for (int part = 0; part < 2; part++)
        for (int t = 1; t <= 1001; t++)
            fprintf(in, "{\"time\":%d,\"stages\":{\"s\":{\"busy_seconds\":%d}}}\n", t, t / 2);
    fclose(in);
    ls_history *h;
    assert_int_equal(ls_history_read(&h, f->in, &f->err), 0);
    assert_true(h->seconds == 2002 && h->bin_seconds == 2 && h->parts == 2);
    for (int i = 0; i < LS_HISTORY_BINS; i++)
        assert_int_equal(h->starts[i], i == 500);
    assert_true(fabs(h->stages[0].busy.all.sum - 100000) < 1e-6);
    for (int i = 1; i < 1000; i++) {
        double expected = i == 500 ? 0 : 100; // it holds the last second and the first
        assert_true(fabs(h->stages[0].busy.bins[i].sum - expected) < 1e-6);
        assert_true(h->stages[0].busy.bins[i].weight == 2);
    }
    ls_history_free(&h);
}

static void a_day_takes_no_more_memory_than_a_minute(void **state)
{
    files *f = *state;
    FILE *in = fopen(f->in, "w");
    for (int t = 1; t <= 86400; t++)
        fprintf(in, "{\"time\":%d.25,\"cpu_percent\":%d,\"resident_bytes\":%d}\n", t,
                t == 50000 ? 900 : 100 + t % 2, t);
    fclose(in);
    uint64_t before = ls_process_memory_now().resident;
    ls_history *h;
    assert_int_equal(ls_history_read(&h, f->in, &f->err), 0);
#ifdef __SANITIZE_ADDRESS__
    const uint64_t most = UINT64_C(512) << 20; // what is freed is kept for a while
#else
    const uint64_t most = 4 << 20;
#endif
    assert_true(ls_process_memory_now().resident < before + most);
    assert_true(h->samples == 86400 && h->bin_seconds == 128 && h->seconds == 86400.25);
    const ls_series *cpu = &h->figures[LS_FIGURE_CPU];
    assert_true(cpu->bins[390].max == 900 && cpu->bins[390].min == 100); // peaks survive
    assert_true(cpu->bins[389].max == 101 && cpu->bins[391].max == 101);
    assert_true(fabs(mean(&cpu->bins[100]) - 100.5) < 0.01);
    for (int i = 1; i < 675; i++)
        assert_true(fabs(cpu->bins[i].weight - 128) < 1e-6);
    assert_true(fabs(mean(&h->figures[LS_FIGURE_RESIDENT].bins[10]) - 10.5 * 128) < 1);
    ls_history_free(&h);
}

static void the_page_shows_all_there_is(void **state)
{
    files *f = *state;
    const char *page =
        draw(f, "{\"time\":1,\"stage\":\"prepare\",\"frame\":0,\"frames\":50,\"cpu_percent\":150,"
                "\"resident_bytes\":3000000000,\"cgroup_bytes\":3500000000,"
                "\"cgroup_limit_bytes\":64000000000,\"budget_bytes\":4000000000,"
                "\"memory_pressure\":2.5,\"gpu_bytes\":7000000000,\"gpu_total_bytes\":8000000000,"
                "\"gpu_percent\":66}\n"
                "{\"time\":2,\"stage\":\"frames\",\"frame\":5,\"frames\":50,\"cpu_percent\":160,"
                "\"resident_bytes\":3100000000,\"stages\":{\"<b>&'\\\"\\u0007\":{\"busy_seconds\":"
                "0.9,\"frames\":5}},\"devices\":{\"cuda:1\":{\"busy_seconds\":1,"
                "\"input_seconds\":0.5,\"room_seconds\":0.1,\"frames\":4}},\"gpus\":[{"
                "\"percent\":40},{\"bytes\":2000000000,\"total_bytes\":5000000000}],"
                "\"queues\":{\"crops\":{\"items\":1,\"max_items\":4,\"bytes\":3,"
                "\"max_bytes\":4}}}\n");
    static const char *const wanted[] = {
        "prepare 1 s · frames 1 s",
        "<b>3.1 GB</b><small>78 % of the 4 GB budget",
        "<h2>Memory</h2>",
        "cgroup’s limit <b>64 GB</b> <small>(off the chart)",
        "budget <b>4 GB</b></li>",
        "<h2>CPU</h2>",
        "<b>155 %</b>",
        "<h2>Memory pressure</h2>",
        "<h2>GPU memory</h2>",
        "total <b>8 GB</b>",
        "<h2>GPU load</h2>",
        "<h2>Each GPU</h2>",
        "GPU 0</div><div class=\"value\"><b>40 %",
        "2 GB of 5 GB",
        "<h2>Devices</h2>",
        "cuda:1",
        "<h2>Stages</h2>",
        "&#60;b&#62;&#38;&#39;&#34;?",
        "<h2>Queues</h2>",
        "<b>75 %</b>",
        "<title>at 0 s\nprocess 3 GB",
    };
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        has(page, wanted[i]);
    assert_null(strstr(page, "<b>&'"));
    page = draw(f, "{\"time\":0}\n"); // nothing to draw, and no time to draw it over
    assert_null(strstr(page, "<svg"));
    has(page, "no frame finished");
}

static void huge_numbers_stay_in_the_picture(void **state)
{
    files *f = *state;
    const char *page = draw(f, "{\"time\":0,\"resident_bytes\":1e308,\"cpu_percent\":1e300,"
                               "\"frame\":9223372036854775807,\"stages\":{\"s\":{\"busy_seconds\":"
                               "1e308,\"frames\":1e308}}}\n"
                               "{\"time\":1e9,\"resident_bytes\":1,\"cpu_percent\":0,"
                               "\"budget_bytes\":1e308,\"stages\":{\"s\":{\"busy_seconds\":0,"
                               "\"frames\":0}},\"queues\":{\"q\":{\"items\":1e308,\"max_items\":"
                               "1e-308}}}\n"
                               "{\"time\":1e-300}\n{\"time\":0}\n{\"time\":0}\n{\"time\":1e9}\n");
    for (const char *at = page; (at = strstr(at, " d=\"")); at++)
        for (const char *c = at + 4; *c != '"'; c += strspn(c, "MLHVZ, ")) {
            assert_true(strspn(c, "MLHVZ, 0123456789") > 0);
            if (*c >= '0' && *c <= '9') {
                char *end;
                assert_true(strtol(c, &end, 10) <= 10000);
                c = end;
            }
        }
    has(page, "1 EB");
}

static void refused(files *f, const char *text, const char *word)
{
    test_put(f->folder, "in.jsonl", text);
    memset(&f->err, 0, sizeof f->err);
    assert_int_equal(ls_report_write(f->in, f->out, &f->err), LS_EFORMAT);
    assert_non_null(strstr(f->err.message, f->in));
    if (!strstr(f->err.message, word))
        fail_msg("no \"%s\" in: %s", word, f->err.message);
    assert_int_equal(access(f->out, F_OK), -1);
}

#define LINE "{\"time\":1}\n"

static void damage_is_named_with_its_line(void **state)
{
    files *f = *state;
    refused(f, "", "no samples");
    refused(f, "\n \n", "no samples");
    refused(f, "{\"time\":1", "no samples");
    refused(f, LINE "{\"time\":2,\n" LINE, "line 2, column");
    refused(f, LINE "\n{\"time\":2]\n", "line 3");
    refused(f, LINE "null\n", "line 2");
    refused(f, "{\"time\":1,\"time\":2}\n", "line 1");
    refused(f, LINE "{}\n", "line 2: \"time\"");
    refused(f, "{\"time\":-1}\n", "line 1: \"time\"");
    refused(f, "{\"time\":1e10}\n", "line 1: \"time\"");
    refused(f, "{\"time\":1,\"stage\":7}\n", "\"stage\"");
    refused(f, "{\"time\":1,\"frame\":\"x\"}\n", "\"frame\"");
    refused(f, "{\"time\":1,\"cpu_percent\":-3}\n", "\"cpu_percent\"");
    refused(f, "{\"time\":1,\"stages\":[]}\n", "\"stages\"");
    refused(f, "{\"time\":1,\"devices\":[]}\n", "\"devices\"");
    refused(f, "{\"time\":1,\"gpus\":{}}\n", "\"gpus\"");
    refused(f, "{\"time\":1,\"gpus\":[1]}\n", "\"gpus\"");
    refused(f, "{\"time\":1,\"stages\":{\"a\":1}}\n", "\"a\"");
    refused(f, "{\"time\":1,\"queues\":{\"a\":{\"bytes\":\"\"}}}\n", "\"bytes\"");
    refused(f,
            "{\"time\":1,\"stages\":{\"0123456789012345678901234567890123456789012345678901234567"
            "890123\":{}}}\n",
            "63 bytes");
    char many[2048] = "{\"time\":1,\"queues\":{\"q\":{}";
    for (int i = 0; i < 24; i++)
        sprintf(many + strlen(many), ",\"%d\":{}", i);
    strcat(many, "}}\n");
    refused(f, many, "more than 24");
}

static void a_cut_off_last_line_is_left_out(void **state)
{
    files *f = *state;
    const char *whole = "{\"time\":2,\"stages\":{\"a\":{\"busy_seconds\":1}}}";
    char text[128];
    for (size_t n = 0; n <= strlen(whole); n++) {
        snprintf(text, sizeof text, LINE "%.*s", (int)n, whole);
        ls_history *h = read_text(f, text);
        assert_int_equal(h->samples, n == strlen(whole) ? 2 : 1);
        ls_history_free(&h);
    }
}

static void the_statistics_are_never_replaced(void **state)
{
    files *f = *state;
    test_put(f->folder, "in.jsonl", LINE);
    assert_int_equal(ls_report_write(f->in, f->in, &f->err), LS_EINVAL);
    assert_int_equal(symlink(f->in, f->out), 0);
    assert_int_equal(ls_report_write(f->in, f->out, &f->err), LS_EINVAL);
    assert_int_equal(ls_report_write(f->out, f->in, &f->err), LS_EINVAL);
    assert_int_equal(unlink(f->out), 0);
    assert_int_equal(ls_report_write(f->in, f->out, &f->err), 0);
    assert_int_equal(ls_report_write(f->in, f->out, &f->err), 0); // an older page is
    assert_int_equal(ls_report_write("/nowhere.jsonl", f->out, &f->err), LS_ENOENT);
    assert_int_equal(ls_report_write(f->folder, f->out, &f->err), LS_EIO);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_are_written_for_people),
        TEST(samples_count_for_the_time_before_them),
        TEST(waiting_is_added_up_over_parts),
        TEST(work_is_put_where_it_was_done),
        TEST(a_resumed_run_goes_on_behind),
        TEST(wider_bins_keep_work_and_starts),
        TEST(a_day_takes_no_more_memory_than_a_minute),
        TEST(the_page_shows_all_there_is),
        TEST(huge_numbers_stay_in_the_picture),
        TEST(damage_is_named_with_its_line),
        TEST(a_cut_off_last_line_is_left_out),
        TEST(the_statistics_are_never_replaced),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
