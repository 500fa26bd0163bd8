#include "pipeline/bench.h"
#include "base/alloc.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define B LS_BENCH_BIAS
#define TIME LS_BENCH_TIME_BIAS
#define R LS_BENCH_RESIDUAL

/* What the published networks ask for, made small, and odd sizes of it. */
static const ls_bench_op checked[] = {
    {LS_OP_CONV2D, 2, 8, 8, .c = 320, .co = 320, .kernel = 3, .flags = TIME | R},
    {LS_OP_CONV2D, 3, 9, 9, .c = 64, .co = 136, .kernel = 3, .flags = B},
    {LS_OP_CONV2D, 2, 2, 2, .c = 1280, .co = 1280, .kernel = 3, .flags = TIME},
    {LS_OP_CONV2D, 2, 8, 8, .c = 640, .co = 320, .kernel = 1, .flags = B},
    {LS_OP_CONV2D, 2, 12, 12, .c = 13, .co = 320, .kernel = 3, .flags = B},
    {LS_OP_CONV2D, 2, 12, 12, .c = 320, .co = 4, .kernel = 3, .flags = B},
    {LS_OP_CONV2D, 1, 24, 24, .c = 128, .co = 3, .kernel = 3, .flags = B},
    {LS_OP_CONV2D, 1, 24, 20, .c = 3, .co = 128, .kernel = 3, .flags = B},
    {LS_OP_CONV2D, 1, 9, 9, .c = 8, .co = 8, .kernel = 1, .flags = B},
    {LS_OP_CONV2D, 1, 18, 16, .c = 64, .co = 64, .kernel = 3, .stride = 2,
     .flags = B | LS_BENCH_PAD_END},
    {LS_OP_CONV2D, 3, 17, 15, .c = 24, .co = 40, .kernel = 3, .stride = 2, .flags = B},
    {LS_OP_CONV2D, 3, 7, 5, .c = 40, .co = 72, .kernel = 3, .flags = TIME | R, .act = LS_ACT_SILU},
    {LS_OP_LINEAR, 1, 1, 1, .c = 320, .co = 1280, .flags = B, .act = LS_ACT_SILU},
    {LS_OP_LINEAR, 1, 1, 1, .c = 1280, .co = 640,
     .flags = B | LS_BENCH_BOTH_BIASES | LS_BENCH_FLOAT_OUT},
    {LS_OP_LINEAR, 2, 8, 8, .c = 320, .co = 2560, .flags = B},
    {LS_OP_LINEAR, 2, 4, 4, .c = 5120, .co = 1280, .flags = B | R},
    {LS_OP_LINEAR, 2, 5, 10, .c = 384, .co = 320},
    {LS_OP_LINEAR, 1, 37, 1, .c = 40, .co = 72, .flags = B | R},
    {LS_OP_LINEAR, 3, 5, 1, .c = 8, .co = 24},
    {LS_OP_ATTENTION, 2, 256, 256, .c = 320, .groups = 8},
    {LS_OP_ATTENTION, 2, 64, 64, .c = 640, .groups = 8},
    {LS_OP_ATTENTION, 2, 37, 37, .c = 1280, .groups = 8},
    {LS_OP_ATTENTION, 2, 100, 50, .c = 320, .groups = 8},
    {LS_OP_ATTENTION, 2, 9, 50, .c = 96, .groups = 8},
    {LS_OP_ATTENTION, 1, 100, 100, .c = 512, .groups = 1},
    {LS_OP_ATTENTION, 1, 65, 65, .c = 64, .groups = 1},
    {LS_OP_ATTENTION, 32, 16, 16, .c = 320, .groups = 8, .frames = 16},
    {LS_OP_ATTENTION, 16, 4, 4, .c = 1280, .groups = 8, .frames = 16},
    {LS_OP_ATTENTION, 10, 7, 7, .c = 64, .groups = 8, .frames = 5},
    {LS_OP_GROUP_NORM, 32, 4, 4, .c = 320, .groups = 32, .frames = 16, .act = LS_ACT_SILU},
    {LS_OP_GROUP_NORM, 4, 8, 8, .c = 640, .groups = 32, .frames = 2, .flags = LS_BENCH_SHIFTED},
    {LS_OP_GROUP_NORM, 1, 32, 32, .c = 128, .groups = 32, .frames = 1, .act = LS_ACT_SILU},
    {LS_OP_GROUP_NORM, 10, 5, 7, .c = 24, .groups = 8, .frames = 5},
    {LS_OP_LAYER_NORM, 2, 8, 8, .c = 320},
    {LS_OP_LAYER_NORM, 16, 2, 2, .c = 1280, .frames = 16},
    {LS_OP_LAYER_NORM, 5, 7, 1, .c = 40, .flags = LS_BENCH_SHIFTED},
    {LS_OP_GEGLU, 2, 8, 8, .c = 2560},
    {LS_OP_GEGLU, 1, 3, 5, .c = 48},
    {LS_OP_ACT, 1, 7, 5, .c = 40, .act = LS_ACT_SILU},
    {LS_OP_ACT, 1, 8, 8, .c = 320, .act = LS_ACT_GELU},
    {LS_OP_ADD, 2, 8, 8, .c = 320},
    {LS_OP_ADD, 1, 3, 5, .c = 13},
    {LS_OP_CONCAT, 2, 8, 8, .c = 640, .co = 320},
    {LS_OP_CONCAT, 1, 5, 7, .c = 24, .co = 9},
    {LS_OP_UPSAMPLE, 2, 8, 8, .c = 320, .co = 2},
    {LS_OP_UPSAMPLE, 1, 3, 5, .c = 13, .co = 2},
    {LS_OP_TIMESTEP, 1, 1, 1, .c = 320},
    {LS_OP_CAST, 37, 1, 1, .c = 321},
    {LS_OP_CAST, 37, 1, 1, .c = 321, .flags = LS_BENCH_FLOAT_OUT},
};
#undef B
#undef TIME
#undef R

/* Of the worst element, as a share of the largest. */
static double tolerance_of(ls_dtype t)
{
    return t == LS_F16 ? 1e-3 : t == LS_BF16 ? 2e-2 : 1e-5;
}

/* NAN if one of them is. */
static double larger(double a, double b)
{
    return a <= b || isnan(b) ? b : a;
}

static double worst_error(const float *y, const float *ref, size_t n)
{
    double worst = 0, most = 0;
    for (size_t i = 0; i < n; i++) {
        worst = larger(worst, fabs((double)y[i] - ref[i]));
        most = fmax(most, fabs(ref[i]));
    }
    return worst / most;
}

/* NAN after an error, which is noted. */
static double check_op(ls_bench *b, ls_device *ref, const ls_bench_op *op)
{
    ls_device *dev = b->device.device;
    float *y = NULL, *expected = NULL;
    size_t count = 0;
    char text[64], why[32];
    ls_error err = {0};
    double error = NAN;
    int ret = ls_bench_op_compute(ref, LS_F32, op, &expected, &count, &err);
    if (!ret)
        ret = ls_bench_op_compute(dev, dev->info.fast, op, &y, &count, &err);
    if (!ret)
        error = worst_error(y, expected, count);
    free(y);
    free(expected);
    snprintf(why, sizeof why, "wrong by %.2g", error);
    if (!(error <= tolerance_of(dev->info.fast)))
        ls_bench_note(b, ls_bench_op_text(text, sizeof text, op), ret ? err.message : why);
    return error;
}

int ls_bench_check_ops(ls_bench *b, ls_error *err)
{
    ls_device *ref;
    char line[2][LS_BENCH_WIDTH];
    size_t column = 0;
    int ret = ls_device_open(&ref, "ref", 0, err);
    if (ret)
        return ret;
    ls_bench_print(b, "%-12s %6s %12s %8s   %-12s %6s %12s", "op", "shapes", "worst error", "",
                   "op", "shapes", "worst error");
    for (size_t i = 0; i < LS_COUNT(checked) && !ls_bench_is_canceled(b);) {
        const ls_op op = checked[i].op;
        size_t shapes = 0;
        double worst = 0;
        for (; i < LS_COUNT(checked) && checked[i].op == op && !ls_bench_is_canceled(b);
             i++, shapes++)
            worst = larger(worst, check_op(b, ref, &checked[i]));
        snprintf(line[column], sizeof *line, "%-12s %6zu %12.1e %-8s", ls_op_name(op), shapes,
                 worst, ls_bench_verdict(b, worst <= tolerance_of(b->device.device->info.fast)));
        if (column || i == LS_COUNT(checked))
            ls_bench_print(b, column ? "%s   %s" : "%s", line[0], line[1]);
        column = !column;
    }
    ls_device_close(&ref);
    return 0;
}

/* `side` is that of the latents, 32 for 256 x 256 pixels. */
typedef struct timed_op {
    const char *name;
    ls_op op;
    unsigned divide, times; /* the side of the op's images is side / divide * times */
    size_t n, c, co, kernel, heads, frames, keys; /* keys 0: as many as queries */
} timed_op;

static const timed_op timed[] = {
    {"conv 3x3 320", LS_OP_CONV2D, 1, 1, 32, .c = 320, .co = 320, .kernel = 3},
    {"conv 3x3 640 at 1/2", LS_OP_CONV2D, 2, 1, 32, .c = 640, .co = 640, .kernel = 3},
    {"conv 3x3 1280 at 1/4", LS_OP_CONV2D, 4, 1, 32, .c = 1280, .co = 1280, .kernel = 3},
    {"conv 3x3 1280 at 1/8", LS_OP_CONV2D, 8, 1, 32, .c = 1280, .co = 1280, .kernel = 3},
    {"conv 3x3 13 -> 320", LS_OP_CONV2D, 1, 1, 32, .c = 13, .co = 320, .kernel = 3},
    {"conv 3x3 320 -> 4", LS_OP_CONV2D, 1, 1, 32, .c = 320, .co = 4, .kernel = 3},
    {"conv 3x3 512 at 2, VAE", LS_OP_CONV2D, 1, 2, 1, .c = 512, .co = 512, .kernel = 3},
    {"conv 3x3 128 at 8, VAE", LS_OP_CONV2D, 1, 8, 1, .c = 128, .co = 128, .kernel = 3},
    {"linear 320", LS_OP_LINEAR, 1, 1, 32, .c = 320, .co = 320},
    {"linear 320 -> 2560", LS_OP_LINEAR, 1, 1, 32, .c = 320, .co = 2560},
    {"linear 5120 -> 1280 at 1/4", LS_OP_LINEAR, 4, 1, 32, .c = 5120, .co = 1280},
    {"attention of 8 x 40", LS_OP_ATTENTION, 1, 1, 32, .c = 320, .heads = 8},
    {"attention of 8 x 80 at 1/2", LS_OP_ATTENTION, 2, 1, 32, .c = 640, .heads = 8},
    {"attention of 8 x 160 at 1/4", LS_OP_ATTENTION, 4, 1, 32, .c = 1280, .heads = 8},
    {"attention of 512, VAE", LS_OP_ATTENTION, 1, 1, 1, .c = 512, .heads = 1},
    {"attention to 50 tokens", LS_OP_ATTENTION, 1, 1, 32, .c = 320, .heads = 8, .keys = 50},
    {"attention along frames", LS_OP_ATTENTION, 1, 1, 32, .c = 320, .heads = 8, .frames = 16},
    {"group norm 320", LS_OP_GROUP_NORM, 1, 1, 32, .c = 320, .frames = 16},
    {"group norm 128 at 8, VAE", LS_OP_GROUP_NORM, 1, 8, 1, .c = 128, .frames = 1},
    {"layer norm 320", LS_OP_LAYER_NORM, 1, 1, 32, .c = 320},
    {"geglu 1280", LS_OP_GEGLU, 1, 1, 32, .c = 2560},
    {"concat 320 + 320", LS_OP_CONCAT, 1, 1, 32, .c = 320, .co = 320},
};

static ls_bench_op op_of(const timed_op *t, size_t side)
{
    const size_t s = side / t->divide ? side / t->divide * t->times : 1;
    ls_bench_op o = {.op = t->op,
                     .n = t->n,
                     .h = s,
                     .w = s,
                     .c = t->c,
                     .co = t->co,
                     .kernel = t->kernel,
                     .groups = t->op == LS_OP_GROUP_NORM ? 32 : t->heads,
                     .frames = t->frames,
                     .flags = t->op == LS_OP_LINEAR || t->op == LS_OP_CONV2D ? LS_BENCH_BIAS : 0,
                     .act = t->op == LS_OP_GROUP_NORM ? LS_ACT_SILU : LS_ACT_NONE};
    if (t->op == LS_OP_ATTENTION) {
        o.h = s * s;
        o.w = t->keys ? t->keys : o.h;
    }
    return o;
}

static double least_seconds(const ls_bench *b)
{
    return b->s->small ? 0 : b->s->quick ? 0.05 : 0.2;
}

void ls_bench_time_ops(ls_bench *b)
{
    size_t side[LS_BENCH_SIDES];
    const size_t sides = ls_bench_sides(b, side);
    ls_bench_print_head(b, "32 images at the latents' size");
    for (size_t i = 0; i < LS_COUNT(timed) && !ls_bench_is_canceled(b); i++) {
        ls_bench_speed speeds[LS_BENCH_SIDES];
        for (size_t j = 0; j < LS_BENCH_SIDES; j++) {
            const ls_bench_op op = op_of(&timed[i], side[j]);
            ls_error err = {0};
            speeds[j].seconds = INFINITY;
            if (j < sides && ls_bench_op_time(b->device.device, &op, least_seconds(b), b->s->cancel,
                                              &speeds[j], &err)) {
                ls_bench_note(b, timed[i].name, err.message);
                b->failed += err.code != LS_ENOMEM && err.code != LS_ECANCELED;
            }
        }
        ls_bench_print_speeds(b, timed[i].name, speeds);
    }
}
