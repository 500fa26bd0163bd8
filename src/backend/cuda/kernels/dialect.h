/* The language of the kernels: what C and CUDA share, and these names for the rest. clang compiles
 * the sources to PTX (as CUDA, without a toolkit); a C compiler makes functions of them that the
 * emulator of tests/cuda runs, every thread of a block a fiber.
 *
 * The sources are C11 and C++ at once: no VLA, no compound literals, no designated initialisers,
 * explicit casts of void pointers, `RESTRICT`. Kernels take one struct by value, which the header
 * of each source file declares for the host as well. Nothing may be shared between blocks: no
 * atomics, no order is known. A block's shared memory is undefined at the start.
 *
 * PTX ISA 7.0 describes mma.sync, ldmatrix and cp.async, and which lane holds what. */
#ifndef LS_CUDA_DIALECT_H
#define LS_CUDA_DIALECT_H

#define WARP 32u

#ifdef __CUDA__

typedef unsigned char uint8_t;
typedef unsigned short uint16_t;
typedef unsigned int uint32_t;
typedef unsigned long long uint64_t;
typedef int int32_t;
typedef long long int64_t;
typedef __SIZE_TYPE__ size_t;

#define RESTRICT __restrict__
#define DEVICE static __attribute__((device, always_inline)) inline
/* A kernel of blocks of `threads`, of which at least `blocks` are to fit on a multiprocessor. */
#define KERNEL(name, params, threads, blocks)                                                      \
    extern "C" __attribute__((global, launch_bounds(threads, blocks))) void name(const params p)
/* Loops of which the count is known once functions are inlined; wholly. */
#define UNROLL _Pragma("clang loop unroll(full)")
/* `name` becomes a pointer to the block's shared memory, aligned to 16 bytes. */
#define SHARED(name)                                                                               \
    extern __attribute__((shared, aligned(16))) uint8_t ls_shared[];                               \
    uint8_t *const name = ls_shared

#define THREAD ((uint32_t)__nvvm_read_ptx_sreg_tid_x())
#define BLOCK_X ((uint32_t)__nvvm_read_ptx_sreg_ctaid_x())
#define BLOCK_Y ((uint32_t)__nvvm_read_ptx_sreg_ctaid_y())
#define BLOCK_Z ((uint32_t)__nvvm_read_ptx_sreg_ctaid_z())

DEVICE void sync_block(void)
{
    __nvvm_bar_sync(0);
}

DEVICE void sync_warp(void)
{
    __nvvm_bar_warp_sync(0xffffffffu);
}

/* x of the lane whose number differs by `mask`. All lanes of the warp call it. */
DEVICE float shuffle_xor(float x, uint32_t mask)
{
    return __nvvm_shfl_sync_bfly_f32(0xffffffffu, x, (int)mask, 31);
}

DEVICE uint16_t to_half(float x)
{
    uint16_t h;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h) : "f"(x));
    return h;
}

DEVICE float from_half(uint16_t h)
{
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(h));
    return x;
}

/* 2 to the power of x; a relative error of 2^-22. */
DEVICE float exp2_fast(float x)
{
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float reciprocal(float x)
{
    float y;
    asm("rcp.rn.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float square_root(float x)
{
    float y;
    asm("sqrt.rn.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}

DEVICE float fused_multiply_add(float a, float b, float c)
{
    return __nvvm_fma_rn_f(a, b, c);
}

/* The other where one is not a number. */
DEVICE float maximum(float a, float b)
{
    return __nvvm_fmax_f(a, b);
}

DEVICE uint32_t ls_shared_address(const void *p)
{
    return (uint32_t)(size_t)(__attribute__((address_space(3))) const void *)p;
}

DEVICE void mma_16x8x8(float c[4], const uint32_t a[2], uint32_t b)
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5}, {%6}, "
                 "{%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(b));
}

#if __CUDA_ARCH__ >= 800
DEVICE void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, "
                 "{%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

DEVICE void copy16_async(void *to, const void *from, bool valid)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(ls_shared_address(to)),
                 "l"(from), "r"(valid ? 16 : 0)
                 : "memory");
}

DEVICE void copy_commit(void)
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}

#define copy_wait(n) asm volatile("cp.async.wait_group %0;" ::"n"(n) : "memory")

#else /* Turing: products of half the depth, and copies that are there at once */
DEVICE void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    mma_16x8x8(c, a, b[0]);
    mma_16x8x8(c, a + 2, b[1]);
}

DEVICE void copy16_async(void *to, const void *from, bool valid)
{
    asm volatile("{.reg .pred p; .reg .b32 a, b, c, d; setp.ne.b32 p, %2, 0; "
                 "mov.b32 a, 0; mov.b32 b, 0; mov.b32 c, 0; mov.b32 d, 0; "
                 "@p ld.global.v4.b32 {a, b, c, d}, [%1]; "
                 "st.shared.v4.b32 [%0], {a, b, c, d};}" ::"r"(ls_shared_address(to)),
                 "l"(from), "r"((int)valid)
                 : "memory");
}

DEVICE void copy_commit(void)
{
}

#define copy_wait(n) ((void)0)
#endif

/* c[i][j][4] += a[i][4] b[j][2] for i < rows and j < columns: as many mma_16x8x16, of which the
 * emulator makes one meeting of the warp. rows and columns are constants, rows at most 16. */
DEVICE void mma_tiles(float *c, const uint32_t *a, const uint32_t *b, uint32_t rows,
                      uint32_t columns)
{
    UNROLL
    for (uint32_t i = 0; i < rows; i++)
        UNROLL
    for (uint32_t j = 0; j < columns; j++)
        mma_16x8x16(c + 4 * (i * columns + j), a + 4 * i, b + 2 * j);
}

/* Four 8 x 8 matrices of halves: lane i gives the address of row i % 8 of matrix i / 8; register j
 * gets of matrix j the elements 2 * (lane % 4) and the next of row lane / 4. */
DEVICE void load_matrices(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ls_shared_address(row))
                 : "memory");
}

/* The same, each matrix transposed. */
DEVICE void load_matrices_transposed(uint32_t r[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(ls_shared_address(row))
                 : "memory");
}

#else /* the emulator: see tests/cuda */

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RESTRICT restrict
#define DEVICE __attribute__((unused)) static inline
#define KERNEL(name, params, threads, blocks)                                                      \
    static void ls_body_##name(const params p);                                                    \
    void ls_emulated_##name(const void *p);                                                        \
    void ls_emulated_##name(const void *p)                                                         \
    {                                                                                              \
        ls_body_##name(*(const params *)p);                                                        \
    }                                                                                              \
    static void ls_body_##name(const params p)
#define UNROLL
#define SHARED(name) uint8_t *const name = ls_emulator_shared()

#define THREAD (ls_emulator_place()[0])
#define BLOCK_X (ls_emulator_place()[1])
#define BLOCK_Y (ls_emulator_place()[2])
#define BLOCK_Z (ls_emulator_place()[3])

uint8_t *ls_emulator_shared(void);
const uint32_t *ls_emulator_place(void); /* thread; block x, y, z */

void sync_block(void);
void sync_warp(void);
float shuffle_xor(float x, uint32_t mask);
void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2]);
void mma_tiles(float *c, const uint32_t *a, const uint32_t *b, uint32_t rows, uint32_t columns);
void load_matrices(uint32_t r[4], const void *row);
void load_matrices_transposed(uint32_t r[4], const void *row);
void copy16_async(void *to, const void *from, bool valid);
void copy_commit(void);
void copy_wait(int n);
uint16_t to_half(float x);
float from_half(uint16_t h);

DEVICE void mma_16x8x8(float c[4], const uint32_t a[2], uint32_t b)
{
    const uint32_t deep_a[4] = {a[0], a[1], 0, 0}, deep_b[2] = {b, 0};
    mma_16x8x16(c, deep_a, deep_b);
}

DEVICE float exp2_fast(float x)
{
    return exp2f(x);
}

DEVICE float reciprocal(float x)
{
    return 1 / x;
}

DEVICE float square_root(float x)
{
    return sqrtf(x);
}

DEVICE float fused_multiply_add(float a, float b, float c)
{
    return fmaf(a, b, c);
}

DEVICE float maximum(float a, float b)
{
    return fmaxf(a, b);
}

#endif

/* 16 bytes, moved at once. */
typedef struct __attribute__((aligned(16), may_alias)) chunk16 {
    uint32_t word[4];
} chunk16;

DEVICE float half_of(const chunk16 *c, uint32_t i)
{
    return from_half((uint16_t)(c->word[i / 2] >> (i % 2 * 16)));
}

DEVICE uint32_t pack_halves(float low, float high)
{
#if defined __CUDA__ && __CUDA_ARCH__ >= 800
    uint32_t pair;
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(high), "f"(low));
    return pair;
#else
    return (uint32_t)to_half(low) | (uint32_t)to_half(high) << 16;
#endif
}

DEVICE bool is_finite(float x)
{
    return x - x == 0;
}

/* Of a kernel's results: what does not fit in a half, or is none at all, is noted in the flag of
 * its launch, which the host reads when it waits. Many threads may write the same. */
DEVICE uint16_t checked_half(float x, uint32_t *RESTRICT bad)
{
    const uint16_t h = to_half(x);
    if ((h & 0x7c00u) == 0x7c00u)
        *bad = 1;
    return h;
}

#endif
