/* Runs kernels in the language of src/backend/cuda/kernels/dialect.h on the CPU.
 *
 * Every thread of a block is a fiber. Fibers give way at barriers and at instructions of a whole
 * warp only; who goes on is drawn from the seed after each, as is the order of the blocks, so that
 * a missing barrier shows. Shared memory begins as NaN, and so is what copy16_async writes until
 * its group is waited for. What CUDA leaves undefined is an error: threads that part ways at a
 * barrier or at an instruction of the warp, addresses that are not aligned or not in shared memory,
 * writes beside shared memory. A kernel that never ends is not noticed. */
#ifndef LS_TESTS_CUDA_EMULATOR_H
#define LS_TESTS_CUDA_EMULATOR_H

#include <stddef.h>
#include <stdint.h>

/* Faults that tests of kernels must find; they are made in every block. */
typedef enum emulator_mutation {
    EMULATOR_FAITHFUL,
    EMULATOR_NO_BARRIER,   /* sync_block is left out the options' `barrier`-th time, from 0 */
    EMULATOR_EARLY_WAIT,   /* copy_wait leaves one group more in flight */
    EMULATOR_WRONG_ROW,    /* load_matrices takes lane i ^ 1's row for lane i's */
    EMULATOR_SWAPPED,      /* mma_16x8x16 swaps the first two results of one lane */
    EMULATOR_NO_SYNC_WARP, /* sync_warp does nothing */
    EMULATOR_MUTATIONS
} emulator_mutation;

typedef struct emulator_options {
    uint64_t seed;
    int threads;      /* of the host, over which blocks are spread; 0: one */
    const char *name; /* of the kernel, for errors; NULL: "kernel" */
    emulator_mutation mutation;
    unsigned barrier;
} emulator_options;

/* By the names "none", "barrier", "wait", "row", "swap", "sync_warp", in this order;
 * EMULATOR_MUTATIONS for others. */
emulator_mutation emulator_mutation_named(const char *name);

/* Runs a grid of blocks of `threads`, a multiple of 32, and waits for it. `kernel` is the
 * ls_emulated_NAME of a KERNEL. 0; or -1, and `error` says what went wrong in which block. Any
 * number of threads may call it at once. */
int emulator_launch(const emulator_options *o, void (*kernel)(const void *), const void *params,
                    const uint32_t grid[3], uint32_t threads, size_t shared, char *error,
                    size_t error_size);

#endif
