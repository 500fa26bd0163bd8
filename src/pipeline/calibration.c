#include "pipeline/calibration.h"
#include "backend/team.h"
#include "base/alloc.h"
#include "base/output.h"
#include "base/path.h"
#include "base/system.h"
#include "latentsync/estimate.h"
#include "latentsync/version.h"
#include "pipeline/bench_op.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define SECONDS 0.3 /* for a shape: some runs of a few milliseconds are then undisturbed */

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

int ls_rates_measure(ls_work *rates, const char *device, ls_dtype dtype, int threads,
                     const ls_cancel *cancel, ls_error *err)
{
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
    ls_work seconds = {{0}};
    ls_device *dev;
    ls_quiet *quiet = NULL;
    *rates = (ls_work){{0}};
    int ret = ls_device_open(&dev, device, threads, err);
    if (ret)
        return ret;
    dev->info.fast = dtype;
    ret = ls_quiet_open(&quiet, err);
    for (size_t i = 0; !ret && i < LS_COUNT(shapes); i++) {
        ls_bench_speed speed;
        const int kind = shapes[i].kind;
        ret = ls_bench_op_time(dev, &shapes[i].op, SECONDS, cancel, &speed, err);
        rates->of[kind] += kind == LS_WORK_OTHER ? speed.bytes : speed.flops;
        seconds.of[kind] += speed.seconds;
    }
    for (int i = 0; i < LS_WORK_KINDS; i++)
        rates->of[i] /= seconds.of[i];
    ls_quiet_close(&quiet);
    ls_device_close(&dev);
    return ret;
}

static int file_name(char *path, size_t size, bool make, ls_error *err)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const bool given = cache && *cache == '/'; // a relative path must be ignored
    char dir[LS_PATH_SIZE];
    if (!given && (!home || *home != '/'))
        return ls_fail(err, LS_ENOENT,
                       "neither XDG_CACHE_HOME nor HOME is set, so there is no "
                       "folder for what was measured");
    int ret = ls_path_join(dir, sizeof dir, given ? cache : home, given ? "" : ".cache", err);
    if (!ret && make && mkdir(dir, 0700) && errno != EEXIST)
        return ls_fail_errno(err, errno, "cannot make %s", dir);
    char *end = dir + strlen(dir);
    if (!ret && snprintf(end, sizeof dir - (size_t)(end - dir), "/latentsync") < 0)
        ret = ls_fail(err, LS_EINVAL, "the path of the cache folder is too long");
    if (!ret && make && mkdir(dir, 0700) && errno != EEXIST)
        return ls_fail_errno(err, errno, "cannot make %s", dir);
    return ret ? ret : ls_path_join(path, size, dir, "calibration.json", err);
}

/* Of another machine, program or library nothing is known. */
static void machine_name(char *text, size_t size)
{
    ls_cpu cpu;
    ls_device_info info = {0};
    ls_cpu_detect(&cpu, "");
    ls_device_list(&info, 1);
    snprintf(text, size, "%s, %d cores, latentsync %s, %s", cpu.model, cpu.cores, LS_VERSION_STRING,
             info.version);
}

json_t *ls_calibration_load(void)
{
    char path[LS_PATH_SIZE], machine[512];
    json_t *c = NULL;
    machine_name(machine, sizeof machine);
    if (!file_name(path, sizeof path, false, NULL))
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
    int ret = file_name(path, sizeof path, true, err);
    char *text = ret ? NULL : json_dumps(c, JSON_INDENT(1) | JSON_SORT_KEYS);
    if (ret || !text)
        return ret ? ret : ls_fail(err, LS_ENOMEM, "out of memory");
    ret = ls_output_open(&out, path, err);
    if (!ret)
        ret = ls_output_close(&out, ls_output_write(&out, text, strlen(text), err), err);
    free(text);
    return ret;
}

int ls_calibration_rates(json_t *c, ls_work *rates, const char *device, ls_dtype dtype, int threads,
                         const ls_cancel *cancel, ls_error *err)
{
    char name[64];
    snprintf(name, sizeof name, "%s %s %d", device, ls_dtype_name(dtype), threads);
    json_t *all = json_object_get(c, "rates"), *known = json_object_get(all, name);
    bool whole = known;
    for (int i = 0; i < LS_WORK_KINDS; i++) {
        rates->of[i] = json_number_value(json_object_get(known, ls_work_name(i)));
        whole = whole && rates->of[i] > 0;
    }
    const int ret = whole ? 0 : ls_rates_measure(rates, device, dtype, threads, cancel, err);
    if (whole || ret)
        return ret;
    known = json_object();
    for (int i = 0; i < LS_WORK_KINDS; i++)
        json_object_set_new(known, ls_work_name(i), json_real(rates->of[i]));
    json_object_set_new(all, name, known);
    return 0;
}

typedef struct table {
    void (*line)(void *opaque, const char *line);
    void *opaque;
} table;

__attribute__((format(printf, 2, 3))) static void print(const table *t, const char *fmt, ...)
{
    char line[160];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    t->line(t->opaque, line);
}

/* A step of the published UNet at 256, both rows of guidance: FLOP, and bytes. */
static const ls_work step = {{4.0e12, 4.9e12, 4.8e11, 2.4e10}};

static int tune_type(const table *t, json_t *known, ls_dtype dtype, int cores, double *best,
                     int *threads, const ls_cancel *cancel, ls_error *err)
{
    int ret = 0;
    *best = INFINITY;
    for (int n = 1; !ret && n <= cores; n = n < cores && 2 * n > cores ? cores : 2 * n) {
        ls_work r;
        ret = ls_calibration_rates(known, &r, "cpu", dtype, n == cores ? 0 : n, cancel, err);
        if (ret)
            break;
        const double seconds = ls_work_seconds(&step, &r);
        print(t, "%-9s %7d %12.0f %12.0f %12.0f %12.1f %12.1f", ls_dtype_name(dtype), n,
              r.of[LS_WORK_CONV] / 1e9, r.of[LS_WORK_LINEAR] / 1e9, r.of[LS_WORK_ATTENTION] / 1e9,
              r.of[LS_WORK_OTHER] / 1e9, seconds);
        *threads = seconds < *best ? n : *threads;
        *best = fmin(*best, seconds);
    }
    return ret;
}

int ls_tune(void (*line)(void *opaque, const char *line), void *opaque, const ls_cancel *cancel,
            ls_error *err)
{
    const table t = {line, opaque};
    ls_cpu cpu;
    ls_device_info info = {.fast = LS_F32};
    double seconds[2] = {INFINITY, INFINITY};
    int threads[2] = {1, 1}, ret = 0;
    json_t *known = ls_calibration_load();
    if (!known)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    json_object_clear(json_object_get(known, "rates"));
    json_object_clear(json_object_get(known, "samples"));
    ls_cpu_detect(&cpu, "");
    ls_device_list(&info, 1);
    const ls_dtype types[2] = {info.fast, LS_F32};
    print(&t, "%s, %d cores, %s", cpu.model, cpu.cores, info.version);
    print(&t, "%-9s %7s %12s %12s %12s %12s %12s", "", "threads", "convolution", "linear",
          "attention", "other", "UNet step");
    print(&t, "%-9s %7s %12s %12s %12s %12s %12s", "", "", "GFLOP/s", "GFLOP/s", "GFLOP/s", "GB/s",
          "at 256, s");
    for (int i = 0; !ret && i < (info.fast == LS_F32 ? 1 : 2); i++)
        ret = tune_type(&t, known, types[i], cpu.cores, &seconds[i], &threads[i], cancel, err);
    if (!ret && info.fast != LS_F32)
        print(&t, "number type: %s takes %.2f of float32's time; \"auto\" means it",
              ls_dtype_name(info.fast), seconds[0] / seconds[1]);
    if (!ret && info.fast == LS_F32)
        print(&t, "number type: float32; this CPU has no instructions for smaller ones");
    if (!ret)
        print(&t, "threads: %d of %d are the fastest", threads[0], cpu.cores);
    if (!ret)
        ret = ls_calibration_save(known, err);
    json_decref(known);
    return ret;
}
