/* What is fastest on this machine, and why. */
#include "base/alloc.h"
#include "base/os/memory.h"
#include "base/path.h"
#include "base/system.h"
#include "base/time.h"
#include "face/paste.h"
#include "latentsync/estimate.h"
#include "media/segment.h"
#include "media/video.h"
#include "pipeline/bench_op.h"
#include "pipeline/calibration.h"
#include "pipeline/device_choice.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define NOISE 0.05      /* what is faster by less is not */
#define SECONDS 0.3     /* for an op */
#define CHUNK 16.0      /* frames that the steps of a job work on, */
#define CHUNK_STEPS 8.1 /* with the defaults so many whole ones */
enum { WIDTH = 1920, HEIGHT = 1080, FACE = 256, FRAMES = 32, RESTORES = 10, DECODES = 3 };

typedef struct tuning {
    void (*line)(void *opaque, const char *line);
    void *opaque;
    const ls_cancel *cancel;
    json_t *known;
    ls_cpu cpu;
    int threads;              /* with which networks are fastest */
    double spread, elsewhere; /* at most */
} tuning;

__attribute__((format(printf, 2, 3))) static void print(const tuning *t, const char *fmt, ...)
{
    char line[200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    t->line(t->opaque, line);
}

/* *step: seconds of a step of the published UNet. */
static int tune_rates(tuning *t, const char *device, ls_dtype dtype, int threads, double *step,
                      ls_error *err)
{
    ls_rates r;
    char on[12];
    const int ret = ls_calibration_rates(t->known, &r, device, dtype, threads, t->cancel, err);
    if (ret)
        return ret;
    const double *of = r.per_second.of;
    snprintf(on, sizeof on, "%d", threads);
    *step = ls_step_seconds(&r.per_second);
    t->spread = fmax(t->spread, r.spread);
    t->elsewhere = fmax(t->elsewhere, r.elsewhere);
    print(t, "%-9s %7s %12.0f %12.0f %12.0f %12.1f %12.2f %5.0f %% %5.0f %%", ls_dtype_name(dtype),
          ls_device_is_host(device) ? on : device, of[LS_WORK_CONV] / 1e9, of[LS_WORK_LINEAR] / 1e9,
          of[LS_WORK_ATTENTION] / 1e9, of[LS_WORK_OTHER] / 1e9, *step, 100 * r.spread,
          100 * r.elsewhere);
    return 0;
}

/* With one thread, two, four, and as many as there are cores. */
static int tune_threads(tuning *t, ls_dtype fast, double *best, ls_error *err)
{
    const int cores = t->cpu.cores;
    double step = 0, one = 0;
    int ret = 0, fastest = 1;
    *best = INFINITY;
    for (int n = 1; !ret && n <= cores; n = n < cores && 2 * n > cores ? cores : 2 * n) {
        ret = tune_rates(t, "cpu", fast, n, &step, err);
        fastest = step < *best ? n : fastest;
        *best = fmin(*best, step);
        one = n == 1 ? step : one;
    }
    if (ret)
        return ret;
    t->threads = step <= *best * (1 + NOISE) ? cores : fastest;
    *best = t->threads == cores ? step : *best;
    json_object_del(t->known, LS_CALIBRATION_THREADS);
    if (t->threads < cores)
        json_object_set_new(t->known, LS_CALIBRATION_THREADS, json_integer(t->threads));
    print(t, "threads of networks: %d of %d: a step takes %.1f s, with all %.1f s, with one %.1f s",
          t->threads, cores, *best, step, one);
    return 0;
}

/* The card that jobs are run on by default; `best`: seconds of a step on the CPU. */
static int tune_card(tuning *t, double best, ls_error *err)
{
    const ls_device_wish automatic = {.automatic = true};
    ls_device_choice c;
    ls_error why = {0};
    double step;
    json_object_del(t->known, "card");
    if (ls_device_choice_find(&c, &automatic, NULL))
        return 0;
    const int ret = tune_rates(t, c.names[0].of[0], LS_F16, t->cpu.cores, &step, &why);
    if (ret == LS_ECANCELED) {
        *err = why;
        return ret;
    }
    if (ret) {
        print(t, "device auto: %s", why.message);
        return 0;
    }
    ls_calibration_set_card(t->known, c.card, step, best);
    print(t, "device auto: %s; a step takes %.2f s on %s, on the CPU %.2f s",
          step <= best * (double)c.count ? c.names[0].of[0] : "cpu", step, c.names[0].of[0], best);
    return 0;
}

static int time_op(const tuning *t, ls_dtype dtype, const ls_bench_op *op, double *seconds,
                   ls_error *err)
{
    ls_device *dev;
    ls_bench_speed s = {.seconds = INFINITY};
    int ret = ls_device_open(&dev, "cpu", t->threads, err);
    if (ret)
        return ret;
    dev->info.fast = dtype;
    ret = ls_bench_op_time(dev, op, SECONDS, t->cancel, &s, err);
    *seconds = ls_undisturbed(s.seconds, s.cpu_seconds, t->threads);
    ls_device_close(&dev);
    return ret;
}

/* Of the deepest convolutions, whose weights are many for their pixels. */
static int tune_batch(const tuning *t, ls_dtype fast, ls_error *err)
{
    ls_bench_op op = {LS_OP_CONV2D, 32, 4, 4, 1280, 1280, .kernel = 3, .flags = LS_BENCH_BIAS};
    double both, one = 0;
    int ret = time_op(t, fast, &op, &both, err);
    op.n /= 2;
    if (!ret)
        ret = time_op(t, fast, &op, &one, err);
    if (!ret)
        print(t,
              "UNet's batch: both rows of guidance at once; in turn, its deepest convolutions take "
              "%.2f of the time",
              2 * one / both);
    return ret;
}

static double error_of(const float *a, const float *b, size_t n)
{
    double difference = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        difference += pow((double)a[i] - b[i], 2);
        all += pow(b[i], 2);
    }
    return sqrt(difference / all);
}

/* How far the results of a number type are from those of float32. */
static int measure_error(const tuning *t, ls_dtype dtype, double *error, ls_error *err)
{
    const ls_bench_op op = {LS_OP_CONV2D, 2, 16, 16, 640, 640, .kernel = 3, .flags = LS_BENCH_BIAS};
    float *exact = NULL, *values = NULL;
    size_t n;
    ls_device *dev;
    int ret = ls_device_open(&dev, "cpu", t->threads, err);
    if (ret)
        return ret;
    ret = ls_bench_op_compute(dev, LS_F32, &op, &exact, &n, err);
    if (!ret)
        ret = ls_bench_op_compute(dev, dtype, &op, &values, &n, err);
    if (!ret)
        *error = error_of(values, exact, n);
    free(exact);
    free(values);
    ls_device_close(&dev);
    return ret;
}

static int tune_types(tuning *t, ls_dtype fast, double step, ls_error *err)
{
    double f32 = 0, int8 = 0, error = 0, error8 = 0;
    int ret = tune_rates(t, "cpu", LS_F32, t->threads, &f32, err);
    if (!ret && ls_device_cpu_computes(LS_I8))
        ret = tune_rates(t, "cpu", LS_I8, t->threads, &int8, err);
    if (!ret)
        ret = measure_error(t, fast, &error, err);
    if (!ret && int8 > 0)
        ret = measure_error(t, LS_I8, &error8, err);
    if (ret)
        return ret;
    print(t, "number type: %s takes %.2f of float32's time and errs by %.2f %% in a convolution",
          ls_dtype_name(fast), step / f32, 100 * error);
    if (int8 > 0)
        print(t, "int8 takes %.2f of %s's time and errs by %.2f %%; only \"dtype int8\" uses it",
              int8 / step, ls_dtype_name(fast), 100 * error8);
    return 0;
}

static int tune_pages(const tuning *t, ls_dtype fast, ls_error *err)
{
    const ls_bench_op ops[2] = {
        {LS_OP_CONV2D, 16, 16, 16, 1280, 1280, .kernel = 3, .flags = LS_BENCH_BIAS},
        {LS_OP_GEGLU, 8, 32, 32, .c = 2560}};
    double with[2] = {0}, without[2] = {0};
    int ret = 0;
    for (size_t i = 0; !ret && i < LS_COUNT(ops); i++) {
        ret = time_op(t, fast, &ops[i], &with[i], err);
        ls_os_allow_huge_pages(false);
        if (!ret)
            ret = time_op(t, fast, &ops[i], &without[i], err);
        ls_os_allow_huge_pages(true);
    }
    if (!ret)
        print(
            t,
            "huge pages: asked for; a convolution takes %.2f of its time without, moving data %.2f",
            with[0] / without[0], with[1] / without[1]);
    return ret;
}

typedef struct planes {
    uint8_t *y, *cb, *cr;
} planes;

static void draw(const planes *p, size_t at)
{
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++)
            p->y[y * WIDTH + x] = (uint8_t)((x + 3 * at) * (y + at) / 64);
    memset(p->cb, 128, WIDTH * HEIGHT / 4);
    memset(p->cr, (int)(128 + at), WIDTH * HEIGHT / 4);
}

static int tune_restore(const tuning *t, const planes *p, double networks, ls_error *err)
{
    const float scale = 0.5F; /* pixels of the face per pixel of the frame */
    const ls_matrix m = {
        {{scale, 0, FACE / 2 - scale * WIDTH / 2}, {0, scale, FACE / 2 - scale * HEIGHT / 2}}};
    const ls_picture yuv = {.data = {p->y, p->cb, p->cr},
                            .stride = {WIDTH, WIDTH / 2, WIDTH / 2},
                            .w = WIDTH,
                            .h = HEIGHT,
                            .depth = 8,
                            .sub_x = 1,
                            .sub_y = 1,
                            .matrix = LS_COLOR_BT709};
    float *image = ls_calloc_array((size_t)FACE * FACE * 3, sizeof *image);
    uint8_t *face = ls_calloc_array((size_t)FACE * FACE, 3);
    ls_paste *paste = NULL;
    double least = INFINITY;
    int ret = image && face ? ls_paste_open(&paste, FACE, LS_SHARPEN_AUTO, err)
                            : ls_fail(err, LS_ENOMEM, "out of memory");
    for (int i = 0; !ret && i < RESTORES; i++) {
        const double before = ls_time_cpu();
        ret = ls_paste_yuv(paste, image, face, &m, 1, &yuv, err);
        least = fmin(least, ls_time_cpu() - before);
    }
    if (!ret)
        print(t,
              "restoring: one thread, %.1f ms a frame, while the published networks take %.0f; "
              "jobs may "
              "use %d",
              1e3 * least, 1e3 * networks, t->cpu.cores);
    ls_paste_close(&paste);
    free(face);
    free(image);
    return ret;
}

/* FRAMES frames of 1080p that move. */
static int write_clip(const char *path, const planes *p, ls_error *err)
{
    FILE *f = fopen(path, "wb");
    if (!f)
        return ls_fail_errno(err, errno, "cannot make %s", path);
    fprintf(f, "YUV4MPEG2 W%d H%d F25:1 Ip A1:1 C420\n", WIDTH, HEIGHT);
    for (size_t i = 0; i < FRAMES; i++) {
        draw(p, i);
        fputs("FRAME\n", f);
        fwrite(p->y, 1, (size_t)WIDTH * HEIGHT, f);
        fwrite(p->cb, 1, (size_t)WIDTH * HEIGHT / 4, f);
        fwrite(p->cr, 1, (size_t)WIDTH * HEIGHT / 4, f);
    }
    const bool failed = ferror(f);
    return fclose(f) || failed ? ls_fail_errno(err, errno, "cannot write %s", path) : 0;
}

static int encode(const char *from, const char *to, double *cpu, ls_error *err)
{
    ls_video *v = NULL;
    ls_segment *g = NULL;
    ls_segment_info info;
    ls_frame *f;
    int ret = ls_video_open(&v, from, &(ls_video_settings){.threads = 1}, err);
    const ls_encoding e = {.codec = "libx264", .preset = "medium", .crf = 18, .like = v};
    const double before = ls_time_cpu();
    if (!ret)
        ret = ls_segment_open(&g, to, &e, err);
    while (!ret && !(ret = ls_video_next(v, &f, err))) {
        ret = ls_segment_write(g, f, err);
        ls_frame_unref(&f);
    }
    if (ret == LS_EOF)
        ret = ls_segment_finish(g, &info, err);
    *cpu = ls_time_cpu() - before;
    ls_segment_close(&g);
    ls_video_close(&v);
    return ret;
}

/* The fastest of some. */
static int decode(const char *path, int threads, double *seconds, double *cpu, ls_error *err)
{
    int ret = 0;
    *seconds = *cpu = INFINITY;
    for (int i = 0; !ret && i < DECODES; i++) {
        const double start = ls_time_now(), before = ls_time_cpu();
        ls_video *v = NULL;
        ls_frame *f;
        ret = ls_video_open(&v, path, &(ls_video_settings){.threads = threads}, err);
        while (!ret && !(ret = ls_video_next(v, &f, err)))
            ls_frame_unref(&f);
        ret = ret == LS_EOF ? 0 : ret;
        ls_video_close(&v);
        *seconds = fmin(*seconds, ls_time_now() - start);
        *cpu = fmin(*cpu, ls_time_cpu() - before);
    }
    return ret;
}

static int tune_codecs(const tuning *t, const planes *p, const char *folder, ls_error *err)
{
    char raw[LS_PATH_SIZE], coded[LS_PATH_SIZE];
    double used = 0, seconds[2] = {0}, cpu[2] = {0};
    int ret = ls_path_join(raw, sizeof raw, folder, "raw.y4m", err);
    if (!ret)
        ret = ls_path_join(coded, sizeof coded, folder, "coded.nut", err);
    if (!ret)
        ret = write_clip(raw, p, err);
    if (!ret)
        ret = encode(raw, coded, &used, err);
    for (int i = 0; !ret && i < 2; i++)
        ret = decode(coded, 1 + i, &seconds[i], &cpu[i], err);
    if (!ret) {
        print(t,
              "decoding: 2 threads, a frame of 1080p in %.1f ms (%.1f of CPU); one thread in %.1f "
              "(%.1f)",
              1e3 * seconds[1] / FRAMES, 1e3 * cpu[1] / FRAMES, 1e3 * seconds[0] / FRAMES,
              1e3 * cpu[0] / FRAMES);
        print(t,
              "encoding: x264's threads are fixed, as its output depends on them; %.1f ms of CPU",
              1e3 * used / FRAMES);
    }
    unlink(raw);
    unlink(coded);
    return ret;
}

/* `networks`: seconds of a frame in the published ones. */
static int tune_stages(const tuning *t, double networks, ls_error *err)
{
    const size_t pixels = (size_t)WIDTH * HEIGHT;
    const char *tmp = getenv("TMPDIR");
    char folder[LS_PATH_SIZE];
    uint8_t *memory = ls_malloc_array(pixels / 2, 3);
    int ret = memory ? ls_path_join(folder, sizeof folder, tmp && *tmp ? tmp : "/tmp",
                                    "latentsync-tune-XXXXXX", err)
                     : ls_fail(err, LS_ENOMEM, "out of memory");
    if (!ret && !mkdtemp(folder))
        ret = ls_fail_errno(err, errno, "cannot make %s", folder);
    if (!ret) {
        const planes p = {memory, memory + pixels, memory + pixels * 5 / 4};
        draw(&p, 0);
        ret = tune_restore(t, &p, networks, err);
        if (!ret)
            ret = tune_codecs(t, &p, folder, err);
        rmdir(folder);
    }
    free(memory);
    return ret;
}

static void print_head(const tuning *t, const ls_device_info *info)
{
    print(t, "%s, %d cores, %s", t->cpu.model, t->cpu.cores, info->version);
    print(t, "%-9s %7s %12s %12s %12s %12s %12s %7s %7s", "", "threads", "convolution", "linear",
          "attention", "other", "UNet step", "spread", "others");
    print(t, "%-9s %7s %12s %12s %12s %12s %12s", "", "", "GFLOP/s", "GFLOP/s", "GFLOP/s", "GB/s",
          "at 256, s");
}

/* What was measured is kept if it can be relied upon. */
static int keep(const tuning *t, ls_error *err)
{
    if (t->elsewhere > LS_STEADY)
        print(t,
              "other programs had up to %.0f %% of the cores; the figures follow from processor "
              "time",
              100 * t->elsewhere);
    if (t->spread > LS_STEADY)
        return ls_fail(err, LS_EBUSY,
                       "rounds of one measurement differ by %.0f %%, so nothing was kept; try "
                       "again when less is running",
                       100 * t->spread);
    return ls_calibration_save(t->known, err);
}

int ls_tune(void (*line)(void *opaque, const char *line), void *opaque, const ls_cancel *cancel,
            ls_error *err)
{
    tuning t = {.line = line, .opaque = opaque, .cancel = cancel, .known = ls_calibration_load()};
    ls_device_info info = {.fast = LS_F32};
    double step = 0;
    if (!t.known)
        return ls_fail(err, LS_ENOMEM, "out of memory");
    json_object_clear(json_object_get(t.known, "rates"));
    json_object_clear(json_object_get(t.known, "samples"));
    ls_cpu_detect(&t.cpu, "");
    ls_device_list("cpu", &info, 1);
    print_head(&t, &info);
    int ret = tune_threads(&t, info.fast, &step, err);
    if (!ret)
        ret = tune_card(&t, step, err);
    if (!ret && info.fast != LS_F32)
        ret = tune_types(&t, info.fast, step, err);
    if (!ret && info.fast == LS_F32)
        print(&t, "number type: float32; this CPU has no instructions for smaller ones");
    if (!ret)
        ret = tune_batch(&t, info.fast, err);
    if (!ret)
        ret = tune_pages(&t, info.fast, err);
    if (!ret)
        ret = tune_stages(&t, step * CHUNK_STEPS / CHUNK, err);
    if (!ret)
        ret = keep(&t, err);
    json_decref(t.known);
    return ret;
}
