/* What a device computes right, and how fast: a table for users with a card to send. */
#ifndef LATENTSYNC_BENCH_H
#define LATENTSYNC_BENCH_H

#include "latentsync/cancel.h"
#include "latentsync/common.h"
#include "latentsync/error.h"

#ifdef __cplusplus
extern "C" {
#endif

/* As ls_sync_settings. */
typedef struct ls_bench_settings {
    size_t size;        /* of this struct as the caller knows it */
    const char *device; /* "cuda": the first card; "cuda:N"; "vulkan", "vulkan:N" */
    int quick;          /* 0; 1: 256 x 256 pixels only */
    int small; /* 0; 1: small shapes and networks in place of the published ones, for a card
                  that is emulated */
    const ls_cancel *cancel; /* or NULL */
    /* Takes the table, a line at a time, without newlines, in the calling thread. */
    void (*line)(void *opaque, const char *line);
    void *opaque;
} ls_bench_settings;

LS_API void ls_bench_default_settings(ls_bench_settings *s, size_t size);

/* Every op of the device against plain C on the CPU, reduced networks against the CPU, then the
 * speed of ops and networks. Needs no model: weights are made up. 0 also when some are wrong:
 * *failed is how many. LS_EINVAL for an unknown device; LS_EUNSUPPORTED where there is no driver or
 * no card that can be used; LS_ECANCELED. */
LS_API int ls_bench_gpu(const ls_bench_settings *s, size_t *failed, ls_error *err);

#ifdef __cplusplus
}
#endif
#endif
