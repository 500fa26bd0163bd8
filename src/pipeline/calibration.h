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

/* What a device does of each in a second: of the fastest of some runs, in the shapes of the
 * published UNet. Takes two seconds on two cores. */
int ls_rates_measure(ls_work *rates, const char *device, ls_dtype dtype, int threads,
                     const ls_cancel *cancel, ls_error *err);
double ls_work_seconds(const ls_work *w, const ls_work *rates);

/* An object, empty where nothing is known of this machine with this program. The caller owns it;
 * NULL when out of memory. */
json_t *ls_calibration_load(void);
/* Replaces what is kept; LS_ENOENT where there is no cache folder. */
int ls_calibration_save(const json_t *c, ls_error *err);
/* The rates of a device, measured unless `c` has them; they are added to it. `threads`: 0, all. */
int ls_calibration_rates(json_t *c, ls_work *rates, const char *device, ls_dtype dtype, int threads,
                         const ls_cancel *cancel, ls_error *err);

#endif
