/* Runs the kernels of one node on the emulator: stands in for the device and its store below the
 * compile functions of src/backend/gpu/gpu.h. Failures end the test. */
#ifndef LS_TESTS_CUDA_NODE_H
#define LS_TESTS_CUDA_NODE_H

#include "test.h"
#include "emulator.h"
#include "backend/gpu/gpu.h"

typedef struct node_options {
    emulator_options emulator;
    gpu_function mutated; /* the kernel that the emulator's mutation is for */
    bool in_place;        /* the result goes where the kernel says that it may */
    bool bad_expected;    /* otherwise results that are not finite fail */
    bool faulty;          /* they may be so, and launches may fail: the result is then NULL */
    size_t shared;        /* bytes that a block can have; 0: 99 KiB */
    unsigned *launches;   /* of GPU_FUNCTION_COUNT: counted, if not NULL */
} node_options;

/* The graph's only node. */
const ls_node *node_of(const ls_graph *g);
/* A weight of the graph, which keeps `p` and the values. */
ls_tensor *node_weight(ls_graph *g, ls_param *p, size_t ndim, const size_t *shape,
                       const float *values);
/* The result as float32, to be freed. in[i] are the values of the node's inputs, in float16 where
 * they are that; those of weights are not used. */
float *node_run(const ls_node *node, gpu_compile *compile, const float *const in[LS_MAX_INPUTS],
                const node_options *o);

/* `count` values that float16 has, of a distribution of this mean and spread; to be freed. */
float *node_values(uint64_t seed, size_t count, double mean, double spread);
/* 0 .. n - 1 */
size_t node_draw(uint64_t *seed, size_t n);
/* What is left of the error of `y` beyond its rounding to float16, relative to the larger of 1 and
 * |right|. */
double node_excess(float y, double right);

#endif
