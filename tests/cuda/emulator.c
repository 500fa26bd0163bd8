#include "emulator.h"
#include "backend/cuda/kernels/dialect.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#if defined __SANITIZE_ADDRESS__
#define SANITIZED 1
#elif defined __has_feature
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef EMULATOR_PORTABLE
#include <ucontext.h>
#elif defined __x86_64__
#include <cpuid.h>
#include <immintrin.h>
#define X86 1
#elif defined __aarch64__
#define ARM 1
#else
#include <ucontext.h>
#define EMULATOR_PORTABLE
#endif

enum {
    MAX_THREADS = 1024,
    MAX_WARPS = MAX_THREADS / 32,
    MAX_COPIES = 256, /* in flight, of a thread */
    MAX_TILES = 16,
    GUARD = 1024, /* bytes on either side of shared memory */
#ifdef SANITIZED
    STACK = 256 * 1024,
#else
    STACK = 64 * 1024,
#endif
    STACK_PITCH = STACK + 9 * 64 /* so that equal places on stacks fall into different cache sets */
};

typedef enum meeting {
    MEET_MMA,
    MEET_LOAD,
    MEET_LOAD_TRANSPOSED,
    MEET_SHUFFLE,
    MEET_SYNC_WARP,
    MEET_SYNC_BLOCK,
    MEET_END
} meeting;

static const char *const meeting_names[] = {
    "mma_16x8x16", "load_matrices", "load_matrices_transposed", "shuffle_xor", "sync_warp",
    "sync_block",  "the end"};

typedef struct copy {
    uint8_t *to;
    const uint8_t *from; /* NULL: zeros */
    uint32_t group;
} copy;

typedef struct context {
#ifndef EMULATOR_PORTABLE
    void *sp;
#else
    ucontext_t uc;
#endif
#ifdef SANITIZED
    void *fake_stack;
    const void *bottom;
    size_t size;
#endif
} context;

typedef struct warp_state warp_state;

typedef struct fiber {
    context at;
    uint32_t place[4]; /* thread; block x, y, z */
    uint32_t lane;
    warp_state *warp;
    uint32_t barriers; /* passed */
    uint32_t groups;   /* of copies, committed */
    uint32_t copies;   /* in flight */
    copy copy[MAX_COPIES];
} fiber;

/* Lanes come to a meeting one after the other, in the order first, first ^ stride, first ^ 2 *
 * stride ..; the last does the work of all. */
struct warp_state {
    fiber *lanes;
    uint32_t first, stride, next;
    uint32_t arrived;
    meeting meeting;
    const uint32_t *a[32], *b[32];
    float *c[32];
    uint32_t rows, columns; /* of the tiles of an mma_tiles */
    uint32_t *r[32];
    const uint8_t *row[32];
    uint32_t mask[32];
};

typedef struct launch {
    emulator_options options;
    void (*kernel)(const void *);
    const void *params;
    uint32_t grid[3], threads;
    size_t shared;
    uint64_t blocks, stride;
    _Atomic uint64_t taken;
    atomic_bool failed;
    char *error;
    size_t error_size;
} launch;

/* What runs blocks, one at a time, on one thread of the host. */
typedef struct worker {
    launch *launch;
    fiber *current;
    context scheduler;
    uint64_t random;
    uint8_t *memory, *shared; /* with guards, without */
    uint32_t ready_count, waiting, ended;
    warp_state *ready[MAX_WARPS];
    warp_state warps[MAX_WARPS];
    uint32_t block[3];
    uint8_t *stacks;
    struct worker *next;
    fiber fibers[MAX_THREADS];
} worker;

static __thread worker *self __attribute__((tls_model("initial-exec")));

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static worker *pool; /* that no launch uses: their stacks are warm */

/* ---- contexts ---- */

#ifdef X86
void ls_emulator_switch(void **from, void *to);
__asm__(".text\n"
        ".globl ls_emulator_switch\n"
        ".hidden ls_emulator_switch\n"
        ".type ls_emulator_switch, @function\n"
        "ls_emulator_switch:\n"
        "push %rbp\n push %rbx\n push %r12\n push %r13\n push %r14\n push %r15\n"
        "mov %rsp, (%rdi)\n"
        "mov %rsi, %rsp\n"
        "pop %r15\n pop %r14\n pop %r13\n pop %r12\n pop %rbx\n pop %rbp\n"
        "ret\n"
        ".size ls_emulator_switch, .-ls_emulator_switch\n");
enum { SAVED = 6, RETURN = 6, FRAME = 8 }; /* words: registers, then where to go on */
#elif defined ARM
void ls_emulator_switch(void **from, void *to);
__asm__(".text\n"
        ".globl ls_emulator_switch\n"
        ".hidden ls_emulator_switch\n"
        ".type ls_emulator_switch, %function\n"
        "ls_emulator_switch:\n"
        "sub sp, sp, #160\n"
        "stp x19, x20, [sp]\n stp x21, x22, [sp, #16]\n stp x23, x24, [sp, #32]\n"
        "stp x25, x26, [sp, #48]\n stp x27, x28, [sp, #64]\n stp x29, x30, [sp, #80]\n"
        "stp d8, d9, [sp, #96]\n stp d10, d11, [sp, #112]\n"
        "stp d12, d13, [sp, #128]\n stp d14, d15, [sp, #144]\n"
        "mov x9, sp\n"
        "str x9, [x0]\n"
        "mov sp, x1\n"
        "ldp x19, x20, [sp]\n ldp x21, x22, [sp, #16]\n ldp x23, x24, [sp, #32]\n"
        "ldp x25, x26, [sp, #48]\n ldp x27, x28, [sp, #64]\n ldp x29, x30, [sp, #80]\n"
        "ldp d8, d9, [sp, #96]\n ldp d10, d11, [sp, #112]\n"
        "ldp d12, d13, [sp, #128]\n ldp d14, d15, [sp, #144]\n"
        "add sp, sp, #160\n"
        "ret\n"
        ".size ls_emulator_switch, .-ls_emulator_switch\n");
enum { SAVED = 20, RETURN = 11, FRAME = 20 };
#endif

static inline void switch_context(context *from, context *to)
{
#ifdef SANITIZED
    __sanitizer_start_switch_fiber(&from->fake_stack, to->bottom, to->size);
#endif
#ifndef EMULATOR_PORTABLE
    ls_emulator_switch(&from->sp, to->sp);
#else
    swapcontext(&from->uc, &to->uc);
#endif
#ifdef SANITIZED
    __sanitizer_finish_switch_fiber(from->fake_stack, NULL, NULL);
#endif
}

static void run_fiber(void);

static void prepare_context(context *c, uint8_t *stack)
{
#ifdef SANITIZED
    __asan_unpoison_memory_region(stack, STACK);
    c->bottom = stack;
    c->size = STACK;
    c->fake_stack = NULL;
#endif
#ifndef EMULATOR_PORTABLE
    uint64_t *const frame = (uint64_t *)(void *)(stack + STACK) - FRAME;
    memset(frame, 0, FRAME * sizeof *frame);
    frame[RETURN] = (uint64_t)(uintptr_t)run_fiber;
    c->sp = frame;
#else
    getcontext(&c->uc);
    c->uc.uc_stack.ss_sp = stack;
    c->uc.uc_stack.ss_size = STACK;
    c->uc.uc_link = NULL;
    makecontext(&c->uc, run_fiber, 0);
#endif
}

/* ---- errors ---- */

__attribute__((format(printf, 2, 3), noreturn)) static void fail(worker *w, const char *format, ...)
{
    launch *const l = w->launch;
    if (!atomic_exchange(&l->failed, true)) {
        va_list args;
        const int n = snprintf(l->error, l->error_size, "%s, block (%u, %u, %u), thread %u: ",
                               l->options.name ? l->options.name : "kernel", w->block[0],
                               w->block[1], w->block[2], w->current->place[0]);
        va_start(args, format);
        if (n > 0 && (size_t)n < l->error_size)
            vsnprintf(l->error + n, l->error_size - (size_t)n, format, args);
        va_end(args);
    }
    switch_context(&w->current->at, &w->scheduler);
    abort(); /* nobody goes on with a failed block */
}

/* ---- who is next ---- */

static inline uint32_t draw(worker *w)
{
    w->random = w->random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->random >> 33);
}

static inline void next_lane(worker *w, warp_state *warp)
{
    const uint32_t lane = warp->first ^ (warp->next++ * warp->stride & 31);
    fiber *const from = w->current, *const to = &warp->lanes[lane];
    if (from == to)
        return;
    w->current = to;
    switch_context(&from->at, &to->at);
}

static inline void new_order(worker *w, warp_state *warp, uint32_t lane)
{
    const uint32_t x = draw(w);
    warp->first = x & 0xe0 ? lane : x >> 8 & 31;
    warp->stride = x >> 13 | 1;
    warp->next = 0;
    warp->arrived = 0;
}

static void next_warp(worker *w)
{
    next_lane(w, w->ready[draw(w) % w->ready_count]);
}

static void stop_warp(worker *w, const warp_state *warp)
{
    for (uint32_t i = 0; i < w->ready_count; i++)
        if (w->ready[i] == warp)
            w->ready[i] = w->ready[--w->ready_count];
}

static void set_ready(worker *w)
{
    w->ready_count = w->launch->threads / 32;
    for (uint32_t i = 0; i < w->ready_count; i++)
        w->ready[i] = &w->warps[i];
}

/* All lanes are at a barrier, or have ended. */
static void warp_stops(worker *w, warp_state *warp)
{
    const uint32_t warps = w->launch->threads / 32;
    if (warp->meeting == MEET_END)
        w->ended++;
    else
        w->waiting++;
    if (w->ended && w->waiting)
        fail(w, "threads end while others wait at sync_block");
    new_order(w, warp, w->current->lane);
    stop_warp(w, warp);
    if (w->ended == warps) {
        switch_context(&w->current->at, &w->scheduler);
        abort(); /* an ended fiber */
    }
    if (w->waiting == warps) {
        w->waiting = 0;
        set_ready(w);
    }
    next_warp(w);
}

/* True for the lane that completes the meeting, and has to do its work before it calls part(). */
static inline bool meet(worker *w, warp_state *warp, meeting m)
{
    if (!warp->arrived)
        warp->meeting = m;
    else if (warp->meeting != m)
        fail(w, "the warp is at %s and at %s", meeting_names[warp->meeting], meeting_names[m]);
    if (++warp->arrived == 32)
        return true;
    next_lane(w, warp);
    return false;
}

static inline void part(worker *w, warp_state *warp)
{
    new_order(w, warp, w->current->lane);
    if (draw(w) & 63)
        next_lane(w, warp);
    else
        next_warp(w);
}

/* ---- halves ---- */

#ifdef X86
static bool has_vectors; /* AVX2, FMA and F16C */

__attribute__((constructor)) static void look_at_cpu(void)
{
    unsigned a, b, c = 0, d;
    __builtin_cpu_init();
    has_vectors = __builtin_cpu_supports("avx2") && __get_cpuid(1, &a, &b, &c, &d) &&
                  (c & bit_F16C) && (c & bit_FMA);
}

__attribute__((target("f16c"))) static uint16_t to_half_f16c(float x)
{
    return (uint16_t)_cvtss_sh(x, _MM_FROUND_TO_NEAREST_INT);
}

__attribute__((target("f16c"))) static float from_half_f16c(uint16_t h)
{
    return _cvtsh_ss(h);
}
#endif

uint16_t to_half(float x)
{
#ifdef ARM
    const __fp16 h = (__fp16)x;
    uint16_t bits;
    memcpy(&bits, &h, sizeof bits);
    return bits;
#else
#ifdef X86
    if (has_vectors)
        return to_half_f16c(x);
#endif
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    const uint32_t sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude > 0x7f800000)
        return 0x7fff;
    if (magnitude >= 0x477ff000) /* 65520 */
        return (uint16_t)(sign | 0x7c00);
    if (magnitude < 0x38800000) { /* 2^-14: the sum's last bits are those of a subnormal half */
        const float sum = fabsf(x) + 0.5f;
        memcpy(&u, &sum, sizeof u);
        return (uint16_t)(sign | (u - 0x3f000000));
    }
    return (uint16_t)(sign | (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13);
#endif
}

float from_half(uint16_t h)
{
#ifdef ARM
    __fp16 x;
    memcpy(&x, &h, sizeof x);
    return x;
#else
#ifdef X86
    if (has_vectors)
        return from_half_f16c(h);
#endif
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, magnitude = h & 0x7fff;
    float x = (float)(int)magnitude * 0x1p-24f; /* subnormal */
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    if (magnitude >= 0x7c00)
        u = magnitude << 13 | 0x7f800000;
    else if (magnitude >= 0x400)
        u = (magnitude << 13) + 0x38000000;
    u |= sign;
    memcpy(&x, &u, sizeof x);
    return x;
#endif
}

/* ---- instructions of a warp ---- */

/* Tile (m, n) of an mma_tiles. Products of halves are exact in float32, and sums are made in the
 * order of k: every version gives the same bits. */
static void multiply(const warp_state *w, uint32_t m, uint32_t n)
{
    float a[16][16], b[16][8], c[16][8];
    for (uint32_t l = 0; l < 32; l++) {
        const uint32_t *const al = w->a[l] + 4 * m, *const bl = w->b[l] + 2 * n;
        const uint32_t i = l / 4, k = l % 4 * 2;
        for (uint32_t j = 0; j < 8; j++)
            a[i + j / 2 % 2 * 8][k + j / 4 * 8 + j % 2] =
                from_half((uint16_t)(al[j / 2] >> j % 2 * 16));
        for (uint32_t j = 0; j < 4; j++) {
            b[k + j / 2 * 8 + j % 2][i] = from_half((uint16_t)(bl[j / 2] >> j % 2 * 16));
            c[i + j / 2 * 8][k + j % 2] = w->c[l][4 * (m * w->columns + n) + j];
        }
    }
    for (uint32_t i = 0; i < 16; i++)
        for (uint32_t k = 0; k < 16; k++)
            for (uint32_t j = 0; j < 8; j++)
                c[i][j] += a[i][k] * b[k][j];
    for (uint32_t l = 0; l < 32; l++)
        for (uint32_t j = 0; j < 4; j++)
            w->c[l][4 * (m * w->columns + n) + j] = c[l / 4 + j / 2 * 8][l % 4 * 2 + j % 2];
}

#ifdef X86
#define AVX2 __attribute__((target("avx2,fma,f16c")))

/* to[k] is the k-th element of each of eight rows of halves. */
AVX2 static inline void transpose_halves(__m256 to[8], const __m128i from[8])
{
    __m128i s[8], t[8];
    for (int i = 0; i < 4; i++) {
        s[2 * i] = _mm_unpacklo_epi16(from[2 * i], from[2 * i + 1]);
        s[2 * i + 1] = _mm_unpackhi_epi16(from[2 * i], from[2 * i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int j = 0; j < 2; j++) {
            t[i + 2 * j] = _mm_unpacklo_epi32(s[i + j], s[i + j + 2]);
            t[i + 2 * j + 1] = _mm_unpackhi_epi32(s[i + j], s[i + j + 2]);
        }
    for (int i = 0; i < 4; i++) {
        to[2 * i] = _mm256_cvtph_ps(_mm_unpacklo_epi64(t[i], t[i + 4]));
        to[2 * i + 1] = _mm256_cvtph_ps(_mm_unpackhi_epi64(t[i], t[i + 4]));
    }
}

AVX2 static inline void load_b(__m256 b[16], const warp_state *w, uint32_t tile)
{
    __m128i low[8], high[8];
    for (int n = 0; n < 8; n++) {
        const uint32_t *const *const p = &w->b[4 * n];
        const __m128i s =
            _mm_unpacklo_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p[0] + 2 * tile)),
                               _mm_loadl_epi64((const __m128i *)(const void *)(p[1] + 2 * tile)));
        const __m128i t =
            _mm_unpacklo_epi32(_mm_loadl_epi64((const __m128i *)(const void *)(p[2] + 2 * tile)),
                               _mm_loadl_epi64((const __m128i *)(const void *)(p[3] + 2 * tile)));
        low[n] = _mm_unpacklo_epi64(s, t);
        high[n] = _mm_unpackhi_epi64(s, t);
    }
    transpose_halves(b, low);
    transpose_halves(b + 8, high);
}

/* The elements of each lane. */
AVX2 static inline void load_a(float a[32][8], const warp_state *w, uint32_t tile)
{
    for (int l = 0; l < 32; l++)
        _mm256_storeu_ps(a[l], _mm256_cvtph_ps(_mm_loadu_si128(
                                   (const __m128i *)(const void *)(w->a[l] + 4 * tile))));
}

AVX2 static inline void multiply_tile(const warp_state *w, const float a[32][8], const __m256 b[16],
                                      size_t at)
{
    for (int half = 0; half < 8; half += 4) {
        __m256 top[4], bottom[4]; /* rows i and i + 8 */
        for (int i = 0; i < 4; i++) {
            float *const *const c = &w->c[4 * (half + i)];
            const __m256d even = _mm256_castps_pd(_mm256_insertf128_ps(
                _mm256_castps128_ps256(_mm_loadu_ps(c[0] + at)), _mm_loadu_ps(c[2] + at), 1));
            const __m256d odd = _mm256_castps_pd(_mm256_insertf128_ps(
                _mm256_castps128_ps256(_mm_loadu_ps(c[1] + at)), _mm_loadu_ps(c[3] + at), 1));
            top[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(even, odd));
            bottom[i] = _mm256_castpd_ps(_mm256_unpackhi_pd(even, odd));
        }
#pragma GCC unroll 16
        for (int k = 0; k < 16; k++)
#pragma GCC unroll 4
            for (int i = 0; i < 4; i++) {
                const float *const x = &a[4 * (half + i) + k % 8 / 2][k / 8 * 4 + k % 2];
                top[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(x), b[k], top[i]);
                bottom[i] = _mm256_fmadd_ps(_mm256_broadcast_ss(x + 2), b[k], bottom[i]);
            }
        for (int i = 0; i < 4; i++) {
            float *const *const c = &w->c[4 * (half + i)];
            const __m256d s = _mm256_castps_pd(top[i]), t = _mm256_castps_pd(bottom[i]);
            const __m256 even = _mm256_castpd_ps(_mm256_unpacklo_pd(s, t));
            const __m256 odd = _mm256_castpd_ps(_mm256_unpackhi_pd(s, t));
            _mm_storeu_ps(c[0] + at, _mm256_castps256_ps128(even));
            _mm_storeu_ps(c[1] + at, _mm256_castps256_ps128(odd));
            _mm_storeu_ps(c[2] + at, _mm256_extractf128_ps(even, 1));
            _mm_storeu_ps(c[3] + at, _mm256_extractf128_ps(odd, 1));
        }
    }
}

AVX2 static void multiply_avx2(const warp_state *w)
{
    float a[MAX_TILES][32][8];
    __m256 b[16];
    for (uint32_t m = 0; m < w->rows; m++)
        load_a(a[m], w, m);
    for (uint32_t n = 0; n < w->columns; n++) {
        load_b(b, w, n);
        for (uint32_t m = 0; m < w->rows; m++)
            multiply_tile(w, a[m], b, 4 * (m * w->columns + n));
    }
}
#endif

void mma_tiles(float *c, const uint32_t *a, const uint32_t *b, uint32_t rows, uint32_t columns)
{
    worker *const w = self;
    warp_state *const warp = w->current->warp;
    const uint32_t lane = w->current->lane;
    warp->a[lane] = a;
    warp->b[lane] = b;
    warp->c[lane] = c;
    warp->rows = rows;
    warp->columns = columns;
    if (!meet(w, warp, MEET_MMA))
        return;
    if (rows > MAX_TILES)
        fail(w, "mma_tiles: more than %d rows", MAX_TILES);
#ifdef X86
    if (has_vectors)
        multiply_avx2(warp);
    else
#endif
        for (uint32_t i = 0; i < rows * columns; i++)
            multiply(warp, i / columns, i % columns);
    if (w->launch->options.mutation == EMULATOR_SWAPPED) {
        float *const d = warp->c[5], first = d[0];
        d[0] = d[1];
        d[1] = first;
    }
    part(w, warp);
}

void mma_16x8x16(float c[4], const uint32_t a[4], const uint32_t b[2])
{
    mma_tiles(c, a, b, 1, 1);
}

static const uint8_t *shared_row(worker *w, const void *row)
{
    const uint8_t *const p = (const uint8_t *)row;
    if ((uintptr_t)p % 16)
        fail(w, "load_matrices: a row is not aligned to 16 bytes");
    if (p < w->shared || p + 16 > w->shared + w->launch->shared)
        fail(w, "load_matrices: a row is not in shared memory");
    return p;
}

static void load(uint32_t r[4], const void *row, meeting m)
{
    worker *const w = self;
    warp_state *const warp = w->current->warp;
    const uint32_t lane = w->current->lane;
    const uint32_t flip = w->launch->options.mutation == EMULATOR_WRONG_ROW;
    warp->r[lane] = r;
    warp->row[lane ^ flip] = shared_row(w, row);
    if (!meet(w, warp, m))
        return;
    for (uint32_t l = 0; l < 32; l++)
        for (uint32_t j = 0; j < 4; j++)
            if (m == MEET_LOAD) {
                memcpy(&warp->r[l][j], warp->row[8 * j + l / 4] + l % 4 * 4, 4);
            } else {
                uint16_t low, high;
                memcpy(&low, warp->row[8 * j + l % 4 * 2] + l / 4 * 2, 2);
                memcpy(&high, warp->row[8 * j + l % 4 * 2 + 1] + l / 4 * 2, 2);
                warp->r[l][j] = low | (uint32_t)high << 16;
            }
    part(w, warp);
}

void load_matrices(uint32_t r[4], const void *row)
{
    load(r, row, MEET_LOAD);
}

void load_matrices_transposed(uint32_t r[4], const void *row)
{
    load(r, row, MEET_LOAD_TRANSPOSED);
}

float shuffle_xor(float x, uint32_t mask)
{
    worker *const w = self;
    warp_state *const warp = w->current->warp;
    const uint32_t lane = w->current->lane;
    float result[2] = {x, 0};
    warp->c[lane] = result;
    warp->mask[lane] = mask & 31;
    if (meet(w, warp, MEET_SHUFFLE)) {
        for (uint32_t l = 0; l < 32; l++)
            warp->c[l][1] = warp->c[l ^ warp->mask[l]][0];
        part(w, warp);
    }
    __asm__ volatile("" ::: "memory");
    return result[1];
}

void sync_warp(void)
{
    worker *const w = self;
    warp_state *const warp = w->current->warp;
    if (w->launch->options.mutation == EMULATOR_NO_SYNC_WARP)
        return;
    if (meet(w, warp, MEET_SYNC_WARP))
        part(w, warp);
}

/* ---- the rest of the language ---- */

void sync_block(void)
{
    worker *const w = self;
    const emulator_options *const o = &w->launch->options;
    warp_state *const warp = w->current->warp;
    if (w->current->barriers++ == o->barrier && o->mutation == EMULATOR_NO_BARRIER)
        return;
    if (meet(w, warp, MEET_SYNC_BLOCK))
        warp_stops(w, warp);
}

uint8_t *ls_emulator_shared(void)
{
    return self->shared;
}

const uint32_t *ls_emulator_place(void)
{
    return self->current->place;
}

void copy16_async(void *to, const void *from, bool valid)
{
    worker *const w = self;
    fiber *const f = w->current;
    uint8_t *const t = (uint8_t *)to;
    if (((uintptr_t)t | (valid ? (uintptr_t)from : 0)) % 16)
        fail(w, "copy16_async: an address is not aligned to 16 bytes");
    if (t < w->shared || t + 16 > w->shared + w->launch->shared)
        fail(w, "copy16_async: the destination is not in shared memory");
    if (f->copies == MAX_COPIES)
        fail(w, "copy16_async: more than %d copies in flight", MAX_COPIES);
    memset(t, 0xff, 16);
    __builtin_prefetch(from);
    copy *const c = &f->copy[f->copies++];
    c->to = t;
    c->from = valid ? (const uint8_t *)from : NULL;
    c->group = f->groups;
}

void copy_commit(void)
{
    self->current->groups++;
}

void copy_wait(int n)
{
    fiber *const f = self->current;
    const uint32_t left = (uint32_t)n + (self->launch->options.mutation == EMULATOR_EARLY_WAIT);
    uint32_t i = 0;
    for (; i < f->copies && f->copy[i].group + left < f->groups; i++)
        if (f->copy[i].from)
            memcpy(f->copy[i].to, f->copy[i].from, 16);
        else
            memset(f->copy[i].to, 0, 16);
    f->copies -= i;
    if (i)
        memmove(f->copy, f->copy + i, f->copies * sizeof *f->copy);
}

/* ---- blocks and launches ---- */

static void run_fiber(void)
{
    worker *const w = self;
#ifdef SANITIZED
    __sanitizer_finish_switch_fiber(NULL, w->scheduler.bottom ? NULL : &w->scheduler.bottom,
                                    w->scheduler.size ? NULL : &w->scheduler.size);
#endif
    w->launch->kernel(w->launch->params);
    if (meet(w, w->current->warp, MEET_END))
        warp_stops(w, w->current->warp);
    abort(); /* an ended fiber */
}

/* Shared memory of a block between guards. With a sanitizer they may not be touched; otherwise they
 * are NaN too, though another than shared memory begins with, and checked after each block. */
static void set_guards(uint8_t *memory, size_t shared)
{
    memset(memory, 0x7f, GUARD);
    memset(memory + GUARD + shared, 0x7f, GUARD);
#ifdef SANITIZED
    __asan_poison_memory_region(memory, GUARD);
    __asan_poison_memory_region(memory + GUARD + shared, GUARD);
#endif
}

static bool guards_hold(const uint8_t *memory, size_t shared)
{
#ifdef SANITIZED
    (void)memory;
    (void)shared;
#else
    for (size_t i = 0; i < GUARD; i++)
        if (memory[i] != 0x7f || memory[GUARD + shared + i] != 0x7f)
            return false;
#endif
    return true;
}

static void prepare_block(worker *w, uint64_t index)
{
    const launch *const l = w->launch;
    w->block[0] = (uint32_t)(index % l->grid[0]);
    w->block[1] = (uint32_t)(index / l->grid[0] % l->grid[1]);
    w->block[2] = (uint32_t)(index / l->grid[0] / l->grid[1]);
    w->random = (l->options.seed ^ index * 0x9e3779b97f4a7c15u) * 0xbf58476d1ce4e5b9u;
    draw(w);
    w->waiting = w->ended = 0;
    set_ready(w);
    memset(w->shared, 0xff, l->shared);
    for (uint32_t t = 0; t < l->threads; t++) {
        fiber *const f = &w->fibers[t];
        f->place[0] = t;
        memcpy(f->place + 1, w->block, sizeof w->block);
        f->lane = t % 32;
        f->warp = &w->warps[t / 32];
        f->barriers = f->groups = f->copies = 0;
        prepare_context(&f->at, w->stacks + (size_t)t * STACK_PITCH);
        if (t % 32 == 0) {
            f->warp->lanes = f;
            new_order(w, f->warp, draw(w) & 31);
        }
    }
}

static void run_block(worker *w, uint64_t index)
{
    prepare_block(w, index);
    warp_state *const warp = w->ready[draw(w) % w->ready_count];
    w->current = &warp->lanes[warp->first];
    warp->next = 1;
    switch_context(&w->scheduler, &w->current->at);
    if (!guards_hold(w->memory, w->launch->shared) && !atomic_exchange(&w->launch->failed, true))
        snprintf(w->launch->error, w->launch->error_size,
                 "%s, block (%u, %u, %u): a write beside shared memory",
                 w->launch->options.name ? w->launch->options.name : "kernel", w->block[0],
                 w->block[1], w->block[2]);
}

static worker *take_worker(void)
{
    pthread_mutex_lock(&pool_lock);
    worker *w = pool;
    if (w)
        pool = w->next;
    pthread_mutex_unlock(&pool_lock);
    if (w)
        return w;
    w = calloc(1, sizeof *w);
    if (!w)
        return NULL;
    w->stacks = mmap(NULL, (size_t)MAX_THREADS * STACK_PITCH, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (w->stacks == MAP_FAILED) {
        free(w);
        return NULL;
    }
    return w;
}

static void give_worker(worker *w)
{
    pthread_mutex_lock(&pool_lock);
    w->next = pool;
    pool = w;
    pthread_mutex_unlock(&pool_lock);
}

__attribute__((destructor)) static void empty_pool(void)
{
    for (worker *w; (w = pool);) {
        pool = w->next;
        munmap(w->stacks, (size_t)MAX_THREADS * STACK_PITCH);
        free(w);
    }
}

static void *work(void *arg)
{
    launch *const l = arg;
    worker *const outer = self; /* NULL, unless a kernel launches kernels */
    worker *const w = take_worker();
    uint8_t *const memory = aligned_alloc(64, (2 * GUARD + l->shared + 63) / 64 * 64);
    if (w && memory) {
        self = w;
        w->launch = l;
        w->memory = memory;
        w->shared = memory + GUARD;
        memset(&w->scheduler, 0, sizeof w->scheduler);
        set_guards(memory, l->shared);
        for (uint64_t i; !atomic_load(&l->failed) && (i = l->taken++) < l->blocks;)
            run_block(w, (l->options.seed % l->blocks + i * l->stride) % l->blocks);
        self = outer;
    } else if (!atomic_exchange(&l->failed, true)) {
        snprintf(l->error, l->error_size, "out of memory");
    }
#ifdef SANITIZED
    if (memory)
        __asan_unpoison_memory_region(memory, 2 * GUARD + l->shared);
#endif
    free(memory);
    if (w)
        give_worker(w);
    return NULL;
}

static uint64_t common_divisor(uint64_t a, uint64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

emulator_mutation emulator_mutation_named(const char *name)
{
    static const char *const names[EMULATOR_MUTATIONS] = {"none", "barrier", "wait",
                                                          "row",  "swap",    "sync_warp"};
    int i = 0;
    while (i < EMULATOR_MUTATIONS && strcmp(names[i], name))
        i++;
    return (emulator_mutation)i;
}

int emulator_launch(const emulator_options *o, void (*kernel)(const void *), const void *params,
                    const uint32_t grid[3], uint32_t threads, size_t shared, char *error,
                    size_t error_size)
{
    enum { MAX_HOST_THREADS = 64 };
    pthread_t host[MAX_HOST_THREADS];
    launch l = {.options = *o,
                .kernel = kernel,
                .params = params,
                .threads = threads,
                .shared = shared,
                .error = error,
                .error_size = error_size};
    memcpy(l.grid, grid, sizeof l.grid);
    l.blocks = (uint64_t)grid[0] * grid[1] * grid[2];
    if (!l.blocks || l.blocks >> 31 || !threads || threads % 32 || threads > MAX_THREADS) {
        snprintf(error, error_size, "%s: %u x %u x %u blocks of %u threads cannot be launched",
                 o->name ? o->name : "kernel", grid[0], grid[1], grid[2], threads);
        return -1;
    }
    l.stride = (o->seed * 0x9e3779b97f4a7c15u >> 33) % l.blocks;
    while (common_divisor(l.stride, l.blocks) != 1)
        l.stride++;
    int started = 0;
    while (started < o->threads - 1 && started < MAX_HOST_THREADS &&
           (uint64_t)started + 1 < l.blocks && !pthread_create(&host[started], NULL, work, &l))
        started++;
    work(&l);
    while (started)
        pthread_join(host[--started], NULL);
    return atomic_load(&l.failed) ? -1 : 0;
}
