/* What cards of all kinds have in common: how nodes become launches of kernels. Each kind has its
 * own kernels, of the same names, parameters and grids. */
#ifndef LS_BACKEND_GPU_GPU_H
#define LS_BACKEND_GPU_GPU_H

#include "backend/device.h"

#include <stdint.h>

typedef struct gpu_device gpu_device;
typedef struct gpu_store gpu_store;
typedef struct gpu_weight gpu_weight;

typedef uint64_t gpu_address;

/* Every kernel, and the threads of its blocks on CUDA, where it has this name in the PTX. */
#define LS_GPU_KERNELS(X)                                                                          \
    X(activate, 256)                                                                               \
    X(add, 256)                                                                                    \
    X(cast_to_half, 256)                                                                           \
    X(cast_to_float, 256)                                                                          \
    X(geglu, 256)                                                                                  \
    X(concat, 256)                                                                                 \
    X(upsample, 256)                                                                               \
    X(timestep, 256)                                                                               \
    X(group_moments, 256)                                                                          \
    X(group_apply, 256)                                                                            \
    X(layer_norm, 256)                                                                             \
    X(attention_16, 128)                                                                           \
    X(attention_40, 128)                                                                           \
    X(attention_64, 128)                                                                           \
    X(attention_80, 128)                                                                           \
    X(attention_160, 128)                                                                          \
    X(attention_odd, 128)                                                                          \
    X(attention_wide, 256)                                                                         \
    X(attention_short_16, 128)                                                                     \
    X(attention_short_32, 128)                                                                     \
    X(product_128x128, 256)                                                                        \
    X(product_256x64, 256)                                                                         \
    X(product_128x64, 128)                                                                         \
    X(product_64x64, 128)                                                                          \
    X(product_128x8, 128)                                                                          \
    X(product_sum, 256)                                                                            \
    X(product_pad, 256)                                                                            \
    X(product_vector, 128)

typedef enum gpu_function {
#define LS_X(name, threads) GPU_##name,
    LS_GPU_KERNELS(LS_X)
#undef LS_X
        GPU_FUNCTION_COUNT
} gpu_function;
#define GPU_BIT(f) (UINT32_C(1) << (f))
_Static_assert(GPU_FUNCTION_COUNT <= 32, "each has a bit");

/* Where the operands of a node are; 0 where there is none, and for weights. */
typedef struct gpu_places {
    gpu_address in[LS_MAX_INPUTS], out, scratch;
    gpu_address bad; /* of a uint32_t that kernels set for values that are not finite */
} gpu_places;

/* First member of every kernel. */
struct ls_kernel {
    int (*enqueue)(gpu_device *dev, const ls_kernel *k, const gpu_places *at, ls_error *err);
    ls_op op;
    int in_place;       /* see ls_device_vtable; -1 */
    uint32_t functions; /* that enqueue() launches: GPU_BIT of each */
    char name[160];     /* for errors: the weight's, or the op's */
};

/* A node's kernel of `size` bytes, zeroed, with the members above set; NULL if out of memory.
 * free() frees it. */
ls_kernel *ls_gpu_kernel_new(const ls_node *node, size_t size,
                             int (*enqueue)(gpu_device *, const ls_kernel *, const gpu_places *,
                                            ls_error *));

/* Enqueues blocks of a kernel. `params` is its struct of `size` bytes; `shared` the bytes of shared
 * memory of a block, on CUDA. LS_EINVAL where a grid is larger than the card allows. */
int ls_gpu_launch(gpu_device *dev, gpu_function f, const size_t grid[3], size_t shared,
                  const void *params, size_t size, ls_error *err);

/* Writes the packed form of a weight, `bytes` of it, from its `p->count` float32 values. */
typedef void (*gpu_pack)(void *to, size_t bytes, const float *values, const ls_param *p,
                         const void *opaque);

/* `p` as `pack` makes it, packed once for all kernels of a store that ask with the same `pack` and
 * `bytes`. Owned by the store. `opaque` is passed to `pack`, now. */
int ls_gpu_weight(gpu_store *st, const ls_param *p, size_t bytes, gpu_pack pack, const void *opaque,
                  const gpu_weight **out, ls_error *err);
/* `p` as float32, as it is. */
int ls_gpu_vector(gpu_store *st, const ls_param *p, const gpu_weight **out, ls_error *err);
/* Where it is on the card for the launches of the node that is being enqueued; NULL: address 0. */
int ls_gpu_weight_address(gpu_device *dev, const gpu_weight *w, gpu_address *out, ls_error *err);

/* What differs between cards, for the choice of tiles; constant for a device. */
typedef struct gpu_limits {
    unsigned compute;    /* capability: 75, 80, 89 ..; 0 where there is no such thing */
    unsigned processors; /* multiprocessors. Results must not depend on it */
    size_t shared;       /* bytes that a block can have */
} gpu_limits;
const gpu_limits *ls_gpu_limits(const gpu_store *st);

/* How many of b make a, or more. */
static inline size_t ls_gpu_divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* Compile functions, see ls_device_vtable. */
typedef int gpu_compile(gpu_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                        ls_error *err);
gpu_compile ls_gpu_compile_conv2d, ls_gpu_compile_linear;         /* product.c */
gpu_compile ls_gpu_compile_attention;                             /* attention.c */
gpu_compile ls_gpu_compile_group_norm, ls_gpu_compile_layer_norm; /* norm.c */
/* GEGLU, ACT, ADD, CONCAT, UPSAMPLE, TIMESTEP, CAST: elementwise.c */
gpu_compile ls_gpu_compile_elementwise;

#endif
