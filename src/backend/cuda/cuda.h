/* Shared by the files of the CUDA backend. */
#ifndef LS_BACKEND_CUDA_CUDA_H
#define LS_BACKEND_CUDA_CUDA_H

#include "backend/device.h"

#include <stdint.h>

typedef struct cuda_device cuda_device;
typedef struct cuda_store cuda_store;
typedef struct cuda_weight cuda_weight;

typedef uint64_t cuda_address;

/* Every kernel: its name in the PTX and the threads of its blocks, as in its KERNEL(). */
#define LS_CUDA_KERNELS(X)                                                                         \
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

typedef enum cuda_function {
#define LS_X(name, threads) CUDA_##name,
    LS_CUDA_KERNELS(LS_X)
#undef LS_X
        CUDA_FUNCTION_COUNT
} cuda_function;

/* Where the operands of a node are; 0 where there is none, and for weights. */
typedef struct cuda_places {
    cuda_address in[LS_MAX_INPUTS], out, scratch;
    cuda_address bad; /* of a uint32_t that kernels set for values that are not finite */
} cuda_places;

/* First member of every kernel. */
struct ls_kernel {
    int (*enqueue)(cuda_device *dev, const ls_kernel *k, const cuda_places *at, ls_error *err);
    ls_op op;
    int in_place;   /* see ls_device_vtable; -1 */
    char name[160]; /* for errors: the weight's, or the op's */
};

/* A node's kernel of `size` bytes, zeroed, with the members above set; NULL if out of memory.
 * free() frees it. */
ls_kernel *ls_cuda_kernel_new(const ls_node *node, size_t size,
                              int (*enqueue)(cuda_device *, const ls_kernel *, const cuda_places *,
                                             ls_error *));

/* Enqueues blocks of a kernel. `params` is its struct of `size` bytes; `shared` the bytes of shared
 * memory of a block. LS_EINVAL where a grid is larger than CUDA allows (2^31 - 1, 65535, 65535). */
int ls_cuda_launch(cuda_device *dev, cuda_function f, const size_t grid[3], size_t shared,
                   const void *params, size_t size, ls_error *err);

/* Writes the packed form of a weight, `bytes` of it, from its `p->count` float32 values. */
typedef void (*cuda_pack)(void *to, size_t bytes, const float *values, const ls_param *p,
                          const void *opaque);

/* `p` as `pack` makes it, packed once for all kernels of a store that ask with the same `pack` and
 * `bytes`. Owned by the store. `opaque` is passed to `pack`, now. */
int ls_cuda_weight(cuda_store *st, const ls_param *p, size_t bytes, cuda_pack pack,
                   const void *opaque, const cuda_weight **out, ls_error *err);
/* `p` as float32, as it is. */
int ls_cuda_vector(cuda_store *st, const ls_param *p, const cuda_weight **out, ls_error *err);
/* Where it is on the card for the launches of the node that is being enqueued; NULL: address 0. */
int ls_cuda_weight_address(cuda_device *dev, const cuda_weight *w, cuda_address *out,
                           ls_error *err);

/* What differs between cards, for the choice of tiles; constant for a device. */
typedef struct cuda_limits {
    unsigned compute;    /* capability: 75, 80, 89 .. */
    unsigned processors; /* multiprocessors. Results must not depend on it */
    size_t shared;       /* bytes that a block can have */
} cuda_limits;
const cuda_limits *ls_cuda_limits(const cuda_store *st);

/* How many of b make a, or more. */
static inline size_t ls_cuda_divide_up(size_t a, size_t b)
{
    return a / b + (a % b != 0);
}

/* Compile functions, see ls_device_vtable. */
typedef int cuda_compile(cuda_store *st, const ls_node *node, ls_kernel **out, size_t *scratch,
                         ls_error *err);
cuda_compile ls_cuda_compile_conv2d, ls_cuda_compile_linear;         /* product.c */
cuda_compile ls_cuda_compile_attention;                              /* attention.c */
cuda_compile ls_cuda_compile_group_norm, ls_cuda_compile_layer_norm; /* norm.c */
/* GEGLU, ACT, ADD, CONCAT, UPSAMPLE, TIMESTEP, CAST: elementwise.c */
cuda_compile ls_cuda_compile_elementwise;

#endif
