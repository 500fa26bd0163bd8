/* The table as a whole: its frame, the card and its peaks. */
#include "pipeline/bench.h"
#include "backend/team.h"
#include "base/alloc.h"
#include "latentsync/version.h"
#include "pipeline/device_choice.h"
#if HAVE_CUDA
#include "backend/cuda/driver.h"
#endif

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { LINE = sizeof(((ls_bench *)0)->note[0]) };

void ls_bench_print(const ls_bench *b, const char *fmt, ...)
{
    char line[LINE];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    n = n < 0 ? 0 : n < LINE ? n : LINE - 1;
    while (n && line[n - 1] == ' ')
        line[--n] = '\0';
    if (b->s->line)
        b->s->line(b->s->opaque, line);
}

const char *ls_bench_verdict(ls_bench *b, bool good)
{
    b->checks++;
    b->failed += !good;
    return good ? "ok" : "FAILED";
}

void ls_bench_note(ls_bench *b, const char *what, const char *why)
{
    if (b->notes < LS_BENCH_NOTES && !ls_bench_is_canceled(b))
        snprintf(b->note[b->notes++], sizeof *b->note, "%s: %s", what, why);
}

bool ls_bench_is_canceled(const ls_bench *b)
{
    return ls_canceled(b->s->cancel);
}

size_t ls_bench_sides(const ls_bench *b, size_t side[LS_BENCH_SIDES])
{
    side[0] = b->s->small ? 4 : 32;
    side[1] = 64;
    return b->s->quick || b->s->small ? 1 : 2;
}

static void print_rule(const ls_bench *b, const char *text)
{
    char dashes[LS_BENCH_WIDTH + 1];
    memset(dashes, '-', sizeof dashes);
    ls_bench_print(b, "--- %s %.*s", text, (int)(LS_BENCH_WIDTH - 5 - strlen(text)), dashes);
}

/* Broken at spaces, indented from the second line. */
static void print_note(const ls_bench *b, const char *text)
{
    const char *indent = "";
    size_t room = LS_BENCH_WIDTH, n;
    for (; strlen(text) > room; text += n) {
        for (n = room; n && text[n] != ' '; n--)
            ;
        n = n ? n : room;
        ls_bench_print(b, "%s%.*s", indent, (int)n, text);
        n += text[n] == ' ';
        indent = "  ";
        room = LS_BENCH_WIDTH - 2;
    }
    ls_bench_print(b, "%s%s", indent, text);
}

void ls_bench_print_head(const ls_bench *b, const char *what)
{
    size_t side[LS_BENCH_SIDES];
    char column[LS_BENCH_SIDES][48] = {""};
    for (size_t i = 0, n = ls_bench_sides(b, side); i < n; i++)
        snprintf(column[i], sizeof *column, "%4zu x %-3zu  ms %10s of peak", 8 * side[i],
                 8 * side[i], "");
    ls_bench_print(b, "%-30s %s %s", what, column[0], column[1]);
}

void ls_bench_print_speeds(const ls_bench *b, const char *name,
                           const ls_bench_speed speeds[LS_BENCH_SIDES])
{
    char column[LS_BENCH_SIDES][64] = {""};
    for (size_t i = 0; i < LS_BENCH_SIDES; i++) {
        const ls_bench_speed *s = &speeds[i];
        const bool product = s->flops > 0;
        const double rate = (product ? s->flops : s->bytes) / s->seconds;
        const double peak = product ? b->flops : b->bytes;
        if (isfinite(s->seconds))
            snprintf(column[i], sizeof *column, "%9.3f %7.1f %-7s %3.0f %%", s->seconds * 1e3,
                     rate / (product ? 1e12 : 1e9), product ? "TFLOP/s" : "GB/s",
                     100 * rate / peak);
    }
    ls_bench_print(b, "%-30s %-32s %s", name, column[0], column[1]);
}

#if HAVE_CUDA
/* Multiplications and additions of float16 with sums in float32 that a multiprocessor makes in a
 * cycle. GeForce cards have half the rate of the others. */
static double product_rate(int compute, const char *model)
{
    static const struct {
        int compute, rate;
        bool halved;
    } known[] = {{75, 1024, true},  {80, 2048, false},  {86, 1024, true}, {89, 1024, true},
                 {90, 4096, false}, {100, 8192, false}, {120, 1024, true}};
    for (size_t i = 0; i < LS_COUNT(known); i++)
        if (known[i].compute == compute)
            return known[i].rate / (known[i].halved && strstr(model, "GeForce") ? 2.0 : 1.0);
    return 0;
}

static int attribute(const cuda_driver *d, cu_device card, int which)
{
    int value = 0;
    return d->cuDeviceGetAttribute(&value, which, card) || value < 0 ? 0 : value;
}

/* What the card's clocks and units amount to a second; 0: unknown. */
static void nominal_peaks(const ls_device_info *info, double *flops, double *bytes)
{
    cuda_driver d;
    cu_device card;
    int ordinal;
    *flops = *bytes = 0;
    if (!ls_cuda_driver_open(&d, NULL) && sscanf(info->name, "cuda:%d", &ordinal) == 1 &&
        !d.cuDeviceGet(&card, ordinal)) {
        const int compute = 10 * attribute(&d, card, CU_DEVICE_COMPUTE_MAJOR) +
                            attribute(&d, card, CU_DEVICE_COMPUTE_MINOR);
        *flops = product_rate(compute, info->model) * 1e3 *
                 attribute(&d, card, CU_DEVICE_MULTIPROCESSORS) *
                 attribute(&d, card, CU_DEVICE_CLOCK_KHZ);
        *bytes = 2e3 * attribute(&d, card, CU_DEVICE_MEMORY_CLOCK_KHZ) *
                 attribute(&d, card, CU_DEVICE_MEMORY_BUS_BITS) / 8;
    }
    ls_cuda_driver_close(&d);
}
#else
static void nominal_peaks(const ls_device_info *info, double *flops, double *bytes)
{
    (void)info;
    *flops = *bytes = 0;
}
#endif

static const char *rate_text(char *buf, size_t size, double per_second, const char *unit,
                             double scale)
{
    if (per_second > 0 && isfinite(per_second))
        snprintf(buf, size, "%.*f %s", per_second / scale < 100 ? 1 : 0, per_second / scale, unit);
    else
        snprintf(buf, size, "unknown");
    return buf;
}

/* A large product and a large sum: what shares are of, where the card does not tell its peaks. */
static void measure_peaks(ls_bench *b)
{
    const size_t side = b->s->small ? 128 : 4096, rows = b->s->small ? 64 : 1 << 16;
    const double least = b->s->small ? 0 : 0.5;
    const ls_bench_op product = {
        .op = LS_OP_LINEAR, .n = 1, .h = 2 * side, .w = 1, .c = side, .co = side};
    const ls_bench_op sum = {.op = LS_OP_ADD, .n = 1, .h = rows, .w = 1, .c = 1024};
    ls_bench_speed s[2] = {{.seconds = INFINITY}, {.seconds = INFINITY}};
    ls_error err = {0};
    char text[4][32];
    if (ls_bench_op_time(b->device.device, &product, least, b->s->cancel, &s[0], &err) ||
        ls_bench_op_time(b->device.device, &sum, least, b->s->cancel, &s[1], &err))
        ls_bench_note(b, "peaks", err.message);
    const double flops = s[0].flops / s[0].seconds, bytes = s[1].bytes / s[1].seconds;
    nominal_peaks(&b->device.device->info, &b->flops, &b->bytes);
    ls_bench_print(b, "large product: %s (nominal %s); large sum: %s (nominal %s)",
                   rate_text(text[0], sizeof *text, flops, "TFLOP/s", 1e12),
                   rate_text(text[1], sizeof *text, b->flops, "TFLOP/s", 1e12),
                   rate_text(text[2], sizeof *text, bytes, "GB/s", 1e9),
                   rate_text(text[3], sizeof *text, b->bytes, "GB/s", 1e9));
    b->flops = b->flops > 0 ? b->flops : flops;
    b->bytes = b->bytes > 0 ? b->bytes : bytes;
}

static void print_card(const ls_bench *b)
{
    const ls_device_info *i = &b->device.device->info;
    char version[160];
    ls_device_version(i, version, sizeof version);
    ls_bench_print(b, "latentsync %s, %s: %s, %.1f of %.1f GB free", ls_version(), i->name,
                   *i->model ? i->model : "the CPU", (double)i->available / 1e9,
                   (double)i->total / 1e9);
    ls_bench_print(b, "%s", version);
}

static int measure(ls_bench *b, ls_error *err)
{
    print_rule(b, "latentsync bench gpu");
    print_card(b);
    measure_peaks(b);
    int ret = ls_bench_check_ops(b, err);
    if (!ret)
        ret = ls_bench_check_networks(b, err);
    if (ret)
        return ret;
    ls_bench_time_ops(b);
    ls_bench_time_networks(b);
    if (ls_bench_is_canceled(b))
        return ls_fail(err, LS_ECANCELED, "canceled");
    for (size_t i = 0; i < b->notes; i++)
        print_note(b, b->note[i]);
    char end[64];
    if (b->failed)
        snprintf(end, sizeof end, "end: %zu FAILED", b->failed);
    else
        snprintf(end, sizeof end, "end: all %zu checks are ok", b->checks);
    print_rule(b, end);
    return 0;
}

void ls_bench_default_settings(ls_bench_settings *s, size_t size)
{
    const ls_bench_settings all = {.size = size, .device = "cuda"};
    memcpy(s, &all, size < sizeof all ? size : sizeof all);
}

int ls_bench_gpu(const ls_bench_settings *given, size_t *failed, ls_error *err)
{
    ls_bench_settings s;
    ls_bench_default_settings(&s, sizeof s);
    memcpy(&s, given, given->size < sizeof s ? given->size : sizeof s);
    ls_bench b = {.s = &s};
    ls_quiet *quiet = NULL;
    *failed = 0;
    int ret = ls_quiet_open(&quiet, err);
    if (!ret)
        ret = ls_workspace_open(&b.device, s.device, 0, err);
    if (!ret)
        ret = measure(&b, err);
    ls_workspace_close(&b.device);
    ls_quiet_close(&quiet);
    *failed = b.failed;
    return ret;
}
