/* How fast this machine computes, and what samples of jobs took: measured once, and kept in the
 * user's cache folder. */
#ifndef LS_PIPELINE_CALIBRATION_H
#define LS_PIPELINE_CALIBRATION_H

#include "backend/device.h"
#include "base/cancel.h"

#include <jansson.h>

/* Networks with more bytes of weights than these are counted instead of run. */
#define LS_SAMPLE_WEIGHTS ((uint64_t)300000000)

enum ls_work_kind { LS_WORK_CONV, LS_WORK_LINEAR, LS_WORK_ATTENTION, LS_WORK_OTHER, LS_WORK_KINDS };

/* Floating-point operations of products; of all other ops the bytes that they move. */
typedef struct ls_work {
    double of[LS_WORK_KINDS];
} ls_work;

void ls_work_add(ls_work *w, const ls_graph *g, double runs);
const char *ls_work_name(int kind);

double ls_work_seconds(const ls_work *w, const ls_work *rates);
/* A step of the published UNet at 256, both rows of guidance. */
double ls_step_seconds(const ls_work *rates);

/* Rounds of a measurement that differ by more are not kept. */
#define LS_STEADY 0.1

typedef struct ls_rates {
    ls_work per_second;
    double spread;    /* by what share the two fastest rounds differ */
    double elsewhere; /* share of the cores' time in which they did not compute for this process */
} ls_rates;

/* What a device does of each in a second if nothing else runs: of the fastest of some runs, in the
 * shapes of the published UNet; on the CPU of those with the least processor time, where other
 * programs disturb the clock. Takes two seconds on two cores, twice as long where the rounds
 * differ. */
int ls_rates_measure(ls_rates *rates, const char *device, ls_dtype dtype, int threads,
                     const ls_cancel *cancel, ls_error *err);

/* How many times longer networks take now than if nothing else ran; 1 on a card. */
int ls_slowdown_measure(double *slowdown, const char *device, int threads, const ls_cancel *cancel,
                        ls_error *err);

/* An object, empty where nothing is known of this machine with this program. The caller owns it;
 * NULL when out of memory. */
json_t *ls_calibration_load(void);
/* Replaces what is kept; LS_ENOENT where there is no cache folder. */
int ls_calibration_save(const json_t *c, ls_error *err);
/* The rates of a device, measured unless `c` has them; they are added to it if they are steady. */
int ls_calibration_rates(json_t *c, ls_rates *rates, const char *device, ls_dtype dtype,
                         int threads, const ls_cancel *cancel, ls_error *err);

/* Of a card, by its model and version: seconds of a step there and on the CPU. */
bool ls_calibration_card(const char *card, double *seconds, double *cpu_seconds);
void ls_calibration_set_card(json_t *c, const char *card, double seconds, double cpu_seconds);

/* Where it is kept with how many threads, fewer than there are cores, networks are fastest. */
#define LS_CALIBRATION_THREADS "threads"
/* The same; 0: with all cores, as far as is known. */
int ls_calibration_threads(void);

/* What a run of `threads` threads takes undisturbed, whose fastest took `seconds` by the clock, and
 * which needs so much processor time: less, where other programs had the cores. */
double ls_undisturbed(double seconds, double cpu_seconds, int threads);
/* By what share the two least of `n` differ; INFINITY for fewer than two. */
double ls_spread(const double *seconds, size_t n);

#endif
