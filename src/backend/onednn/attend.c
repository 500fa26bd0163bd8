/* Attention with an online softmax; compiled once per instruction set.
 *
 * Everything is kept transposed: a vector holds one channel, or one key's scores, of as many
 * queries as it has lanes. The scores' maximum and sum are then plain vector operations, a head's
 * width needs no padding, and both products are the same kernel: rows of scalars (keys, or channels
 * of v) times a [n, QUERIES] tile, accumulated in registers.
 *
 * With bfloat16 dot products, a 32-bit word holds two neighbours along the axis that is summed:
 * channels in q k^T, keys in p v. */
#include "backend/onednn/isa.h"
#include "backend/onednn/vec.h"
#include "base/alloc.h"

#include <math.h>

#define VECS (LANES == 16 ? 4 : 2) /* with ROWS rows of sums, as many as fit the registers */
#define ROWS 6
#define QUERIES ((size_t)LANES * VECS)
#define KEYS ((size_t)96) /* at a time: even, a multiple of ROWS */
#define STATE_FLOATS 65536

#if defined(__AVX512BF16__)
#define HAVE_DOT 1
#else
#define HAVE_DOT 0
#endif

/* What a 32-bit word of q, k and v holds, and how it is read. */
typedef enum form {
    FORM_F32,
    FORM_WIDENED, /* float32 from bfloat16 */
    FORM_PAIRS    /* two bfloat16 */
} form;

INLINE vec multiply_add(vec acc, const float *a, vec b, bool pairs)
{
#if HAVE_DOT
    if (pairs) {
        int32_t word;
        memcpy(&word, a, sizeof word);
        return (vec)_mm512_dpbf16_ps((__m512)acc, (__m512bh)_mm512_set1_epi32(word), (__m512bh)b);
    }
#endif
    (void)pairs;
    return acc + *a * b;
}

/* c [rows, width] = c * alpha + a b over n words; without alpha, c = a b; max [width], unless NULL,
 * is raised to c's column maxima. Word (i, k) of a is a[i * row + k * step]; b is [n, width]. */
typedef struct product {
    const float *a, *b, *alpha;
    size_t row, step, n;
    float *c, *max;
} product;

INLINE void tile(const product *p, size_t first, const size_t rows, const size_t vecs, bool pairs)
{
    const size_t width = vecs * LANES;
    const float *a = p->a + first * p->row, *b = p->b;
    float *c = p->c + first * width;
    vec acc[ROWS][VECS];
#pragma GCC unroll 8
    for (size_t j = 0; j < vecs; j++) {
        vec alpha = p->alpha ? v_load(p->alpha + j * LANES) : (vec){0};
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++)
            acc[i][j] = p->alpha ? v_load(c + i * width + j * LANES) * alpha : (vec){0};
    }
    for (size_t k = 0; k < p->n; k++, a += p->step, b += width) {
        vec bk[VECS];
#pragma GCC unroll 8
        for (size_t j = 0; j < vecs; j++)
            bk[j] = v_load(b + j * LANES);
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
#pragma GCC unroll 8
            for (size_t j = 0; j < vecs; j++)
                acc[i][j] = multiply_add(acc[i][j], a + i * p->row, bk[j], pairs);
        }
    }
#pragma GCC unroll 8
    for (size_t j = 0; j < vecs; j++) {
        vec max = acc[0][j];
#pragma GCC unroll 8
        for (size_t i = 0; i < rows; i++) {
            v_store(c + i * width + j * LANES, acc[i][j]);
            max = v_max(max, acc[i][j]);
        }
        if (p->max)
            v_store(p->max + j * LANES, v_max(v_load(p->max + j * LANES), max));
    }
}

INLINE void tiles(const product *p, size_t rows, const size_t vecs, bool pairs)
{
    size_t i = 0;
    for (; i + ROWS <= rows; i += ROWS)
        tile(p, i, ROWS, vecs, pairs);
    if (rows - i >= 4) {
        tile(p, i, 4, vecs, pairs);
        i += 4;
    }
    if (rows - i >= 2) {
        tile(p, i, 2, vecs, pairs);
        i += 2;
    }
    if (rows - i)
        tile(p, i, 1, vecs, pairs);
}

#define DEFINE_MULTIPLY(vecs, suffix, pairs)                                                       \
    static __attribute__((noinline)) void multiply_##vecs##suffix(const product *p, size_t rows)   \
    {                                                                                              \
        tiles(p, rows, vecs, pairs);                                                               \
    }
DEFINE_MULTIPLY(1, , false)
DEFINE_MULTIPLY(2, , false)
#if VECS == 4
DEFINE_MULTIPLY(4, , false)
#else
#define multiply_4 multiply_2
#endif
#if HAVE_DOT
DEFINE_MULTIPLY(1, _pairs, true)
DEFINE_MULTIPLY(2, _pairs, true)
DEFINE_MULTIPLY(4, _pairs, true)
#else
#define multiply_1_pairs multiply_1
#define multiply_2_pairs multiply_2
#define multiply_4_pairs multiply_4
#endif

static void multiply(const product *p, size_t rows, size_t vecs, bool pairs)
{
    if (pairs)
        (vecs == 1 ? multiply_1_pairs : vecs == 2 ? multiply_2_pairs : multiply_4_pairs)(p, rows);
    else
        (vecs == 1 ? multiply_1 : vecs == 2 ? multiply_2 : multiply_4)(p, rows);
}

/* The running state of the softmax of one block of queries. */
typedef struct state {
    float max[QUERIES], sum[QUERIES];
} state;

/* One lane's neighbour in the word: low half from a, high half from b. */
INLINE vec pair_up(vec a, vec b)
{
#if HAVE_DOT
    const __m512i order =
        (__m512i)(__v32hi){0, 16, 1, 17, 2,  18, 3,  19, 4,  20, 5,  21, 6,  22, 7,  23,
                           8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31};
    __m512i both = (__m512i)_mm512_cvtne2ps_pbh((__m512)b, (__m512)a);
    return (vec)_mm512_permutexvar_epi16(order, both);
#else
    (void)b;
    return a;
#endif
}

/* Scores s [keys, width] to weights, in place; as pairs, row i / 2 holds rows i and i + 1. `max` is
 * their column maxima; alpha becomes the factor for the previous sums. `factor` is the scale of the
 * scores times log2(e). */
INLINE void soften_of(state *st, float *s, size_t keys, size_t width, float *alpha,
                      const float *top, float factor, bool pairs)
{
    for (size_t j = 0; j < width; j += LANES, s += LANES) {
        vec old = v_load(st->max + j), max = v_max(old, v_load(top + j) * factor);
        vec ratio = v_exp2(old - max, false), sum = v_load(st->sum + j) * ratio, sum2 = {0};
        for (size_t i = 0; i + 2 <= keys; i += 2) {
            vec a = v_exp2(v_load(s + i * width) * factor - max, pairs);
            vec b = v_exp2(v_load(s + (i + 1) * width) * factor - max, pairs);
            sum += a;
            sum2 += b;
            if (pairs) {
                v_store(s + i / 2 * width, pair_up(a, b));
            } else {
                v_store(s + i * width, a);
                v_store(s + (i + 1) * width, b);
            }
        }
        if (keys % 2) {
            size_t i = keys - 1;
            vec a = v_exp2(v_load(s + i * width) * factor - max, pairs);
            sum += a;
            v_store(s + (pairs ? i / 2 : i) * width, pairs ? pair_up(a, (vec){0}) : a);
        }
        v_store(st->max + j, max);
        v_store(st->sum + j, sum + sum2);
        v_store(alpha + j, ratio);
    }
}

static void soften(state *st, float *s, size_t keys, size_t width, float *alpha, const float *top,
                   float factor, bool pairs)
{
    if (pairs)
        soften_of(st, s, keys, width, alpha, top, factor, true);
    else
        soften_of(st, s, keys, width, alpha, top, factor, false);
}

#ifdef __clang__
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else // GCC has the other since its version 12 only
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (veci){__VA_ARGS__})
#endif

#if LANES == 16
#define LOW(a, b) SHUFFLE(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define HIGH(a, b) SHUFFLE(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)
#elif LANES == 8
#define LOW(a, b) SHUFFLE(a, b, 0, 8, 1, 9, 2, 10, 3, 11)
#define HIGH(a, b) SHUFFLE(a, b, 4, 12, 5, 13, 6, 14, 7, 15)
#else
#define LOW(a, b) SHUFFLE(a, b, 0, 4, 1, 5)
#define HIGH(a, b) SHUFFLE(a, b, 2, 6, 3, 7)
#endif

/* Each round rotates the index (row, lane) by one bit; after log2(LANES) rounds they have swapped.
 */
INLINE void transpose(vec x[LANES])
{
    vec t[LANES];
#pragma GCC unroll 4
    for (size_t n = 1; n < LANES; n *= 2) {
#pragma GCC unroll 16
        for (size_t i = 0; i < LANES / 2; i++) {
            t[2 * i] = LOW(x[i], x[i + LANES / 2]);
            t[2 * i + 1] = HIGH(x[i], x[i + LANES / 2]);
        }
#pragma GCC unroll 16
        for (size_t i = 0; i < LANES; i++)
            x[i] = t[i];
    }
}

INLINE size_t words_of(size_t d, form f)
{
    return f == FORM_PAIRS ? (d + 1) / 2 : d;
}

INLINE size_t rounded(size_t words)
{
    return (words + LANES - 1) / LANES * LANES;
}

/* Words w .. w + LANES - 1 of a row of d channels that starts at element `at`. */
INLINE vec get_words(const void *p, size_t at, size_t w, size_t d, form f)
{
    if (f != FORM_PAIRS)
        return v_get(p, at + w, d - w, f == FORM_WIDENED);
    const uint16_t *b = (const uint16_t *)p + at + 2 * w;
    if (d - 2 * w >= 2 * LANES)
        return v_load((const float *)b);
#if defined(__AVX512F__)
    return (vec)_mm512_maskz_loadu_epi16((__mmask32)((1u << (d - 2 * w)) - 1), b);
#else
    vec v = {0};
    memcpy(&v, b, (d - 2 * w) * 2);
    return v;
#endif
}

/* [n, d] -> [words, width], missing queries filled with zeros. */
INLINE void pack_q(float *dst, const ls_attend *a, size_t first, size_t n, size_t width, form f)
{
    size_t words = words_of(a->d, f);
    for (size_t j = 0; j < width; j += LANES) {
        for (size_t w = 0; w < words; w += LANES) {
            vec x[LANES];
            for (size_t i = 0; i < LANES; i++)
                x[i] =
                    j + i < n ? get_words(a->q, (first + j + i) * a->step, w, a->d, f) : (vec){0};
            transpose(x);
            for (size_t i = 0; i < LANES && w + i < words; i++)
                v_store(dst + (w + i) * width + j, x[i]);
        }
    }
}

INLINE void pack_rows(float *dst, const void *src, size_t first, size_t n, size_t step, size_t d,
                      form f)
{
    size_t words = words_of(d, f), row = rounded(words);
    for (size_t i = 0; i < n; i++)
        for (size_t w = 0; w < words; w += LANES)
            v_store(dst + i * row + w, get_words(src, (first + i) * step, w, d, f));
}

/* Rows i and i + 1 of v as the halves of words. */
INLINE void pack_v_pairs(float *dst, const void *src, size_t first, size_t n, size_t step, size_t d)
{
    for (size_t i = 0; i < n; i += 2) {
        for (size_t w = 0; w < d; w += LANES) {
            size_t at = (first + i) * step + w;
            vecu low = (vecu)v_get(src, at, d - w, true), high = {0};
            if (i + 1 < n)
                high = (vecu)v_get(src, at + step, d - w, true);
            v_store(dst + i / 2 * rounded(d) + w, (vec)(low >> 16 | high));
        }
    }
}

/* o [d, width] / sum -> rows of `out`. */
INLINE void unpack(const ls_attend *a, const float *o, const state *st, size_t first, size_t n,
                   size_t width)
{
    for (size_t j = 0; j < n; j += LANES) {
        vec inv = 1 / v_load(st->sum + j);
        for (size_t c = 0; c < a->d; c += LANES) {
            vec x[LANES];
            for (size_t i = 0; i < LANES; i++)
                x[i] = c + i < a->d ? v_load(o + (c + i) * width + j) * inv : (vec){0};
            transpose(x);
            for (size_t i = 0; i < LANES && j + i < n; i++)
                v_put(a->out, (first + j + i) * a->step + c, x[i], a->d - c, a->bf16);
        }
    }
}

/* The parts of the scratch memory. */
typedef struct layout {
    float *s, *top, *alpha, *k, *v, *q, *o; /* q and o: one after the other for each block */
    state *st;
    size_t bytes;
} layout;

static void *take(char *base, size_t *at, size_t bytes)
{
    void *p = base ? base + *at : NULL;
    *at += (bytes + LS_ALIGN - 1) / LS_ALIGN * LS_ALIGN;
    return p;
}

static layout lay_out(char *base, size_t nq, size_t d)
{
    size_t blocks = (nq + QUERIES - 1) / QUERIES, bytes = 0;
    layout l = {
        .s = take(base, &bytes, KEYS * QUERIES * sizeof(float)),
        .top = take(base, &bytes, QUERIES * sizeof(float)),
        .alpha = take(base, &bytes, QUERIES * sizeof(float)),
        .k = take(base, &bytes, KEYS * rounded(d) * sizeof(float)),
        .v = take(base, &bytes, KEYS * rounded(d) * sizeof(float)),
        .q = take(base, &bytes, blocks * d * QUERIES * sizeof(float)),
        .o = take(base, &bytes, blocks * d * QUERIES * sizeof(float)),
        .st = take(base, &bytes, blocks * sizeof(state)),
    };
    l.bytes = bytes;
    return l;
}

/* The number of queries in the block starting at `q`, and of the lanes that hold them. */
INLINE size_t block_of(const ls_attend *a, size_t q, size_t *width)
{
    size_t n = a->nq - q < QUERIES ? a->nq - q : QUERIES;
    *width = n <= LANES ? LANES : n <= 2 * LANES ? 2 * LANES : QUERIES;
    return n;
}

/* Keys `first` to `first + n` for every block of queries. */
INLINE void attend_keys(const ls_attend *a, const layout *l, size_t first, size_t n, form f)
{
    const bool pairs = f == FORM_PAIRS;
    size_t words = words_of(a->d, f);
    product qk = {
        .a = l->k, .row = rounded(words), .step = 1, .n = words, .c = l->s, .max = l->top};
    product pv = {.a = l->v, .b = l->s, .row = 1, .step = rounded(a->d)};
    pv.n = pairs ? (n + 1) / 2 : n;
    pv.alpha = first ? l->alpha : NULL;
    pack_rows(l->k, a->k, first, n, a->step, a->d, f);
    if (pairs)
        pack_v_pairs(l->v, a->v, first, n, a->step, a->d);
    else
        pack_rows(l->v, a->v, first, n, a->step, a->d, f);
    for (size_t q = 0, i = 0, width; q < a->nq; q += QUERIES, i++) {
        block_of(a, q, &width);
        for (size_t j = 0; j < width; j += LANES)
            v_store(l->top + j, v_set(-INFINITY));
        qk.b = l->q + i * a->d * QUERIES;
        pv.c = l->o + i * a->d * QUERIES;
        multiply(&qk, n, width / LANES, pairs);
        soften(&l->st[i], l->s, n, width, l->alpha, l->top, a->scale * 1.44269504f, pairs);
        multiply(&pv, a->d, width / LANES, pairs);
    }
}

INLINE void attend_as(const ls_attend *a, void *scratch, form f)
{
    layout l = lay_out(scratch, a->nq, a->d);
    for (size_t q = 0, i = 0, width; q < a->nq; q += QUERIES, i++) {
        size_t n = block_of(a, q, &width);
        pack_q(l.q + i * a->d * QUERIES, a, q, n, width, f);
        for (size_t j = 0; j < width; j += LANES) {
            v_store(l.st[i].max + j, v_set(-INFINITY));
            v_store(l.st[i].sum + j, (vec){0});
        }
    }
    for (size_t k = 0; k < a->nk; k += KEYS)
        attend_keys(a, &l, k, a->nk - k < KEYS ? a->nk - k : KEYS, f);
    for (size_t q = 0, i = 0, width; q < a->nq; q += QUERIES, i++) {
        size_t n = block_of(a, q, &width);
        unpack(a, l.o + i * a->d * QUERIES, &l.st[i], q, n, width);
    }
}

void ISA(ls_attend)(const ls_attend *a, void *scratch)
{
    if (!a->bf16)
        attend_as(a, scratch, FORM_F32);
    else if (HAVE_DOT)
        attend_as(a, scratch, FORM_PAIRS);
    else
        attend_as(a, scratch, FORM_WIDENED);
}

size_t ISA(ls_attend_scratch)(size_t nq, size_t d)
{
    return lay_out(NULL, nq, d).bytes;
}

size_t ISA(ls_attend_rows)(size_t d)
{
    size_t blocks = STATE_FLOATS / (d * QUERIES);
    return QUERIES * (blocks < 1 ? 1 : blocks > 16 ? 16 : blocks);
}
