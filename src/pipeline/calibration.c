#include "pipeline/calibration.h"
#include "backend/team.h"
#include "base/alloc.h"
#include "base/cache.h"
#include "base/output.h"
#include "base/system.h"
#include "latentsync/version.h"
#include "pipeline/bench_op.h"

#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILE_NAME "latentsync/calibration.json"
#define SECONDS 0.15 /* for a shape and round: dozens of runs of a few milliseconds */
#define ROUNDS 4
#define IMBALANCE 1.05 /* of the threads of a run: the last is so much later than their mean */

const char *ls_work_name(int kind)
{
    static const char *const names[LS_WORK_KINDS] = {"convolution", "linear", "attention", "other"};
    return names[kind];
}

static double bytes_of(const ls_node *node)
{
    double bytes = (double)ls_tensor_bytes(node->out);
    for (size_t i = 0; i < LS_MAX_INPUTS; i++)
        bytes += node->in[i] ? (double)ls_tensor_bytes(node->in[i]) : 0;
    return bytes;
}

void ls_work_add(ls_work *w, const ls_graph *g, double runs)
{
    for (size_t i = 0; i < ls_graph_node_count(g); i++) {
        const ls_node *node = ls_graph_node(g, i);
        const int kind = node->op == LS_OP_CONV2D      ? LS_WORK_CONV
                         : node->op == LS_OP_LINEAR    ? LS_WORK_LINEAR
                         : node->op == LS_OP_ATTENTION ? LS_WORK_ATTENTION
                                                       : LS_WORK_OTHER;
        w->of[kind] += runs * (kind == LS_WORK_OTHER ? bytes_of(node) : ls_bench_flops(node));
    }
}

double ls_work_seconds(const ls_work *w, const ls_work *rates)
{
    double seconds = 0;
    for (int i = 0; i < LS_WORK_KINDS; i++)
        seconds += w->of[i] > 0 ? w->of[i] / rates->of[i] : 0;
    return seconds;
}

/* Of the shapes of a round. */
typedef struct round_time {
    ls_work done, seconds;
    double clock, cpu; /* of the cores: how long they were ours, and how long they computed */
} round_time;

static const struct {
    int kind;
    ls_bench_op op;
} shapes[] = {
    {LS_WORK_CONV, {LS_OP_CONV2D, 1, 32, 32, 320, 320, .kernel = 3, .flags = LS_BENCH_BIAS}},
    {LS_WORK_CONV, {LS_OP_CONV2D, 2, 8, 8, 1280, 1280, .kernel = 3, .flags = LS_BENCH_BIAS}},
    {LS_WORK_LINEAR, {LS_OP_LINEAR, 4, 32, 32, 320, 320, .flags = LS_BENCH_BIAS}},
    {LS_WORK_LINEAR, {LS_OP_LINEAR, 2, 16, 16, 640, 5120, .flags = LS_BENCH_BIAS}},
    {LS_WORK_ATTENTION, {LS_OP_ATTENTION, 1, 1024, 1024, .c = 320, .groups = 8}},
    {LS_WORK_OTHER, {LS_OP_GROUP_NORM, 16, 32, 32, .c = 320, .groups = 32, .frames = 16}},
    {LS_WORK_OTHER, {LS_OP_GEGLU, 8, 32, 32, .c = 2560}},
};

double ls_undisturbed(double seconds, double cpu_seconds, int threads)
{
    return fmin(seconds, IMBALANCE * cpu_seconds / threads);
}

static int measure_round(round_time *r, double fastest[LS_COUNT(shapes)], ls_device *dev,
                         const ls_cancel *cancel, ls_error *err)
{
    const int threads = dev->threads > 0 ? dev->threads : 1;
    int ret = 0;
    *r = (round_time){.clock = 0};
    for (size_t i = 0; !ret && i < LS_COUNT(shapes); i++) {
        ls_bench_speed s;
        const int kind = shapes[i].kind;
        ret = ls_bench_op_time(dev, &shapes[i].op, SECONDS, cancel, &s, err);
        if (ret)
            break;
        if (dev->info.host)
            s.seconds = ls_undisturbed(s.seconds, s.cpu_seconds, threads);
        fastest[i] = fmin(fastest[i], s.seconds);
        r->done.of[kind] += kind == LS_WORK_OTHER ? s.bytes : s.flops;
        r->seconds.of[kind] += s.seconds;
        r->clock += threads * s.all_seconds;
        r->cpu += s.all_cpu_seconds;
    }
    return ret;
}

static ls_work rates_of(const ls_work *done, const ls_work *seconds)
{
    ls_work rates;
    for (int i = 0; i < LS_WORK_KINDS; i++)
        rates.of[i] = done->of[i] / seconds->of[i];
    return rates;
}

double ls_step_seconds(const ls_work *rates)
{
    static const ls_work step = {{3.55e12, 4.27e12, 2.76e11, 9.2e9}};
    return ls_work_seconds(&step, rates);
}

double ls_spread(const double *seconds, size_t n)
{
    double least = INFINITY, next = INFINITY;
    for (size_t i = 0; i < n; i++) {
        next = fmin(next, fmax(seconds[i], least));
        least = fmin(least, seconds[i]);
    }
    return next / least - 1;
}

int ls_rates_measure(ls_rates *rates, const char *device, ls_dtype dtype, int threads,
                     const ls_cancel *cancel, ls_error *err)
{
    double fastest[LS_COUNT(shapes)], steps[ROUNDS], clock = 0, cpu = 0;
    round_time r = {.clock = 0};
    ls_device *dev;
    ls_quiet *quiet = NULL;
    int ret = ls_device_open(&dev, device, threads, err);
    if (ret)
        return ret;
    dev->info.fast = dtype;
    *rates = (ls_rates){.spread = INFINITY};
    for (size_t i = 0; i < LS_COUNT(shapes); i++)
        fastest[i] = INFINITY;
    ret = ls_quiet_open(&quiet, err);
    for (size_t i = 0; !ret && i < ROUNDS && rates->spread > LS_STEADY / 2; i++) {
        ret = measure_round(&r, fastest, dev, cancel, err);
        const ls_work now = rates_of(&r.done, &r.seconds);
        steps[i] = ls_step_seconds(&now);
        clock += r.clock;
        cpu += r.cpu;
        rates->spread = ls_spread(steps, i + 1);
    }
    ls_work seconds = {{0}};
    for (size_t i = 0; i < LS_COUNT(shapes); i++)
        seconds.of[shapes[i].kind] += fastest[i];
    rates->per_second = rates_of(&r.done, &seconds);
    rates->elsewhere = dev->info.host ? fmax(0, 1 - cpu / clock) : 0;
    ls_quiet_close(&quiet);
    ls_device_close(&dev);
    return ret;
}

int ls_slowdown_measure(double *slowdown, const char *device, int threads, const ls_cancel *cancel,
                        ls_error *err)
{
    ls_device *dev;
    ls_bench_speed s = {.seconds = INFINITY};
    *slowdown = 1;
    if (!ls_device_is_host(device))
        return 0;
    int ret = ls_device_open(&dev, device, threads, err);
    if (ret)
        return ret;
    ret = ls_bench_op_time(dev, &shapes[0].op, 2 * SECONDS, cancel, &s, err);
    if (!ret)
        *slowdown = fmax(1, s.all_seconds * threads / s.all_cpu_seconds / IMBALANCE);
    ls_device_close(&dev);
    return ret;
}

/* Of another machine, program or library nothing is known. */
static void machine_name(char *text, size_t size)
{
    ls_cpu cpu;
    ls_device_info info = {0};
    ls_cpu_detect(&cpu, "");
    ls_device_list("cpu", &info, 1);
    snprintf(text, size, "%s, %d cores, latentsync %s, %s", cpu.model, cpu.cores, LS_VERSION_STRING,
             info.version);
}

json_t *ls_calibration_load(void)
{
    char path[LS_PATH_SIZE], machine[512];
    json_t *c = NULL;
    machine_name(machine, sizeof machine);
    if (!ls_cache_path(path, sizeof path, FILE_NAME, false, NULL))
        c = json_load_file(path, 0, NULL);
    const char *was = json_string_value(json_object_get(c, "machine"));
    if (!was || strcmp(was, machine)) {
        json_decref(c);
        c = json_pack("{s:s, s:{}, s:{}}", "machine", machine, "rates", "samples");
    }
    return c;
}

int ls_calibration_save(const json_t *c, ls_error *err)
{
    char path[LS_PATH_SIZE];
    ls_output_file out;
    int ret = ls_cache_path(path, sizeof path, FILE_NAME, true, err);
    char *text = ret ? NULL : json_dumps(c, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (ret || !text)
        return ret ? ret : ls_fail(err, LS_ENOMEM, "out of memory");
    ret = ls_output_open(&out, path, err);
    if (!ret)
        ret = ls_output_close(&out, ls_output_write(&out, text, strlen(text), err), err);
    free(text);
    return ret;
}

int ls_calibration_rates(json_t *c, ls_rates *rates, const char *device, ls_dtype dtype,
                         int threads, const ls_cancel *cancel, ls_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s %s %d", device, ls_dtype_name(dtype), threads);
    json_t *all = json_object_get(c, "rates"), *known = json_object_get(all, name);
    bool whole = known;
    *rates = (ls_rates){.spread = 0};
    for (int i = 0; i < LS_WORK_KINDS; i++) {
        rates->per_second.of[i] = json_number_value(json_object_get(known, ls_work_name(i)));
        whole = whole && rates->per_second.of[i] > 0;
    }
    const int ret = whole ? 0 : ls_rates_measure(rates, device, dtype, threads, cancel, err);
    if (whole || ret || rates->spread > LS_STEADY)
        return ret;
    known = json_object();
    for (int i = 0; i < LS_WORK_KINDS; i++)
        json_object_set_new(known, ls_work_name(i), json_real(rates->per_second.of[i]));
    json_object_set_new(all, name, known);
    return 0;
}

int ls_calibration_threads(void)
{
    json_t *c = ls_calibration_load();
    const json_int_t threads = json_integer_value(json_object_get(c, LS_CALIBRATION_THREADS));
    json_decref(c);
    return threads > 0 && threads < INT_MAX ? (int)threads : 0;
}

void ls_calibration_set_card(json_t *c, const char *card, double seconds, double cpu_seconds)
{
    json_object_set_new(c, "card",
                        json_pack("{s:s, s:f, s:f}", "name", card, "step_seconds", seconds,
                                  "cpu_step_seconds", cpu_seconds));
}

bool ls_calibration_card(const char *card, double *seconds, double *cpu_seconds)
{
    json_t *c = ls_calibration_load();
    const json_t *known = json_object_get(c, "card");
    const char *name = json_string_value(json_object_get(known, "name"));
    *seconds = json_number_value(json_object_get(known, "step_seconds"));
    *cpu_seconds = json_number_value(json_object_get(known, "cpu_step_seconds"));
    const bool is_known = name && !strcmp(name, card) && *seconds > 0 && *cpu_seconds > 0;
    json_decref(c);
    return is_known;
}
