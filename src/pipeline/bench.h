/* The parts of ls_bench_gpu, each of which prints its part of the table. */
#ifndef LS_PIPELINE_BENCH_H
#define LS_PIPELINE_BENCH_H

#include "latentsync/bench.h"
#include "nn/network.h"
#include "pipeline/bench_op.h"

enum {
    LS_BENCH_WIDTH = 98, /* of the table */
    LS_BENCH_NOTES = 6,  /* that are kept */
    LS_BENCH_SIDES = 2
};

typedef struct ls_bench {
    const ls_bench_settings *s;
    ls_workspace device;
    size_t checks, failed, notes;
    char note[LS_BENCH_NOTES][sizeof((ls_error *)0)->message + 100]; /* what failed, and how */
    double flops, bytes; /* a second: the card's nominal peaks, or what was measured */
} ls_bench;

void ls_bench_print(const ls_bench *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* "ok", or "FAILED", which counts. */
const char *ls_bench_verdict(ls_bench *b, bool good);
void ls_bench_note(ls_bench *b, const char *what, const char *why);
bool ls_bench_is_canceled(const ls_bench *b);

/* The sides of the latents to measure at, of 256 and 512 pixels; the number of them. */
size_t ls_bench_sides(const ls_bench *b, size_t side[LS_BENCH_SIDES]);
/* The head of a table of speeds, and a row: NULL or seconds INFINITY for what has none. */
void ls_bench_print_head(const ls_bench *b, const char *what);
void ls_bench_print_speeds(const ls_bench *b, const char *name,
                           const ls_bench_speed speeds[LS_BENCH_SIDES]);

/* bench_ops.c, bench_networks.c. They fail only if nothing more can be done. */
int ls_bench_check_ops(ls_bench *b, ls_error *err);
void ls_bench_time_ops(ls_bench *b);
int ls_bench_check_networks(ls_bench *b, ls_error *err);
void ls_bench_time_networks(ls_bench *b);

#endif
