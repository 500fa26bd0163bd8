#ifndef LS_TENSOR_ARENA_H
#define LS_TENSOR_ARENA_H

#include <stdbool.h>
#include <stddef.h>

/* A block of memory that is in use from step `first` to step `last`, both included. */
typedef struct ls_interval {
    size_t first, last, bytes;
    size_t offset; /* found by ls_arena_plan, a multiple of LS_ALIGN */
} ls_interval;

/* Assigns every interval an offset such that intervals in use at the same step do not overlap:
 * largest first, at the lowest offset that fits. Returns the bytes needed, or SIZE_MAX on overflow
 * or when out of memory. */
size_t ls_arena_plan(ls_interval *intervals, size_t count);

#endif
