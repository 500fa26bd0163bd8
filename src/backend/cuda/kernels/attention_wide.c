/* Attention of wide heads, the VAE's. Four warps share the width: each multiplies its quarter of
 * queries and keys, the sum of the four is softened by rows, and each adds up its quarter of the
 * values. Two such groups have 32 queries each. */
#include "attention_rows.h"

#define WIDTH ATTENTION_WIDE_WIDTH
#define PITCH ATTENTION_PITCH(WIDTH)
#define THREADS (ATTENTION_WIDE_WARPS * WARP)
#define QUERIES ATTENTION_WIDE_QUERIES
#define KEYS ATTENTION_WIDE_KEYS
#define PARTS 4u
#define PART (WIDTH / PARTS)
#define TILES 2u /* of 16 queries, in a group */
#define POWERS_PITCH ATTENTION_PITCH(16)

/* Scores that lanes write and read at once. */
typedef struct __attribute__((aligned(8), may_alias)) score_pair {
    float of[2];
} score_pair;

typedef struct __attribute__((aligned(16), may_alias)) score_four {
    float of[4];
} score_four;

typedef struct wide_memory {
    uint16_t *keys, *values; /* [KEYS][PITCH]; together also [32][PITCH] of queries or results */
    float *scores;           /* [PARTS][QUERIES][KEYS], see score_at */
    uint16_t *powers;        /* [QUERIES][POWERS_PITCH] */
    float *factor;           /* [QUERIES]; of what is summed so far, mostly 1 */
} wide_memory;

typedef struct wide_warp {
    uint32_t q[TILES][PART / 16][4];
    float out[TILES][PART / 8][4];
} wide_warp;

DEVICE wide_memory memory_of(uint8_t *shared)
{
    wide_memory m;
    m.keys = (uint16_t *)shared;
    m.values = m.keys + KEYS * PITCH;
    m.scores = (float *)(m.values + KEYS * PITCH);
    m.powers = (uint16_t *)(m.scores + PARTS * QUERIES * KEYS);
    m.factor = (float *)(m.powers + QUERIES * POWERS_PITCH);
    return m;
}

/* Fours of keys stay together. Every other two rows have their halves swapped, so that the pairs of
 * a tile, which lanes of four rows write at once, are in different banks. */
DEVICE uint32_t score_at(uint32_t part, uint32_t query, uint32_t key)
{
    return (part * QUERIES + query) * KEYS + (key ^ query / 2 % 2 * 8);
}

/* Queries pass through shared memory by groups, for want of space. */
DEVICE void load_queries(wide_warp *w, const attention_params *p, const head_rows *r,
                         uint32_t first, uint32_t group, uint32_t part, uint16_t *shared)
{
    const uint32_t lane = THREAD % WARP;
    const uint16_t *const row = shared + lane % 16 * PITCH + part * PART + lane / 16 * 8;
    for (uint32_t g = 0; g < QUERIES / 32; g++) {
        load_rows(shared, p->q, r, first + g * 32, 32, WIDTH, THREADS);
        copy_commit();
        copy_wait(0);
        sync_block();
        if (g == group) {
            UNROLL
            for (uint32_t i = 0; i < TILES * PART / 16; i++)
                load_matrices(w->q[i % TILES][i / TILES],
                              row + i % TILES * 16 * PITCH + i / TILES * 16);
        }
        sync_block();
    }
}

DEVICE void put_scores(const wide_warp *w, const wide_memory *m, uint32_t group, uint32_t part)
{
    const uint32_t lane = THREAD % WARP;
    const uint16_t *const row =
        m->keys + (lane / 16 * 8 + lane % 8) * PITCH + part * PART + lane / 8 % 2 * 8;
    float s[TILES][2][4];
    UNROLL
    for (uint32_t i = 0; i < TILES * 2; i++)
        clear_tile(s[i / 2][i % 2]);
    UNROLL
    for (uint32_t k = 0; k < PART / 16; k++) {
        uint32_t b[4];
        load_matrices(b, row + k * 16);
        UNROLL
        for (uint32_t t = 0; t < TILES; t++)
            mma_tiles(s[t][0], w->q[t][k], b, 1, 2);
    }
    UNROLL
    for (uint32_t n = 0; n < 2; n++) {
        float *const to = m->scores + score_at(part, group * 32 + lane / 4, n * 8 + lane % 4 * 2);
        UNROLL
        for (uint32_t i = 0; i < TILES * 2; i++) {
            const score_pair pair = {{s[i / 2][n][i % 2 * 2], s[i / 2][n][i % 2 * 2 + 1]}};
            *(score_pair *)(to + i * 8 * KEYS) = pair;
        }
    }
}

/* A quad of lanes has one query, each lane four of the keys. */
DEVICE void soften(const wide_memory *m, float *base, float *sum, uint32_t valid, float scale)
{
    const uint32_t query = THREAD / 4, key = THREAD % 4 * 4;
    const float *const from = m->scores + score_at(0, query, key);
    float s[4] = {0, 0, 0, 0}, most = LOWEST, shrink = 1;
    UNROLL
    for (uint32_t part = 0; part < PARTS; part++) {
        const score_four four = *(const score_four *)(from + part * QUERIES * KEYS);
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            s[i] += four.of[i];
    }
    if (valid < KEYS) {
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            s[i] = key + i < valid ? s[i] : LOWEST;
    }
    UNROLL
    for (uint32_t i = 0; i < 4; i++)
        most = maximum(most, s[i]);
    most = over_quad_maximum(most);
    if ((most - *base) * scale > SLACK) {
        shrink = exp2_fast((*base - most) * scale);
        *base = most;
    }
    *sum *= shrink;
    UNROLL
    for (uint32_t i = 0; i < 4; i++) {
        s[i] = exp2_fast((s[i] - *base) * scale);
        *sum += s[i];
    }
    word *const powers = (word *)(m->powers + query * POWERS_PITCH + key);
    powers[0] = pack_halves(s[0], s[1]);
    powers[1] = pack_halves(s[2], s[3]);
    m->factor[query] = shrink; /* the same from four lanes */
}

DEVICE void scale_results(wide_warp *w, const float *factor, uint32_t group)
{
    const float *const of = factor + group * 32 + THREAD % WARP / 4;
    if (of[0] == 1 && of[8] == 1 && of[16] == 1 && of[24] == 1)
        return;
    UNROLL
    for (uint32_t i = 0; i < TILES * 2; i++) {
        UNROLL
        for (uint32_t c = 0; c < PART / 8; c++) {
            w->out[i / 2][c][i % 2 * 2] *= of[i * 8];
            w->out[i / 2][c][i % 2 * 2 + 1] *= of[i * 8];
        }
    }
}

DEVICE void add_values(wide_warp *w, const wide_memory *m, uint32_t group, uint32_t part)
{
    const uint32_t lane = THREAD % WARP;
    const uint16_t *const row = m->values + lane % 16 * PITCH + part * PART + lane / 16 * 8;
    const uint16_t *const powers =
        m->powers + (group * 32 + lane % 16) * POWERS_PITCH + lane / 16 * 8;
    uint32_t a[TILES][4];
    sync_warp(); // products want all lanes at once
    UNROLL
    for (uint32_t t = 0; t < TILES; t++)
        load_matrices(a[t], powers + t * 16 * POWERS_PITCH);
    UNROLL
    for (uint32_t c = 0; c < PART / 8; c += 2) {
        uint32_t b[4];
        load_matrices_transposed(b, row + c * 8);
        UNROLL
        for (uint32_t t = 0; t < TILES; t++)
            mma_tiles(w->out[t][c], a[t], b, 1, 2);
    }
}

DEVICE void store_results(const wide_warp *w, const attention_params *p, const head_rows *r,
                          uint32_t first, uint32_t group, uint32_t part, uint16_t *shared)
{
    const uint32_t lane = THREAD % WARP;
    uint16_t *const row = shared + lane / 4 * PITCH + part * PART + lane % 4 * 2;
    uint32_t gathered = 0;
    for (uint32_t g = 0; g < QUERIES / 32; g++) {
        sync_block();
        if (g == group) {
            UNROLL
            for (uint32_t i = 0; i < TILES * 2 * PART / 8; i++) {
                const uint32_t c = i / (TILES * 2), eighth = i % (TILES * 2);
                const float *const o = w->out[eighth / 2][c] + eighth % 2 * 2;
                const uint32_t pair = pack_halves(o[0], o[1]);
                *(word *)(row + eighth * 8 * PITCH + c * 8) = pair;
                gathered |= not_finite(pair);
            }
        }
        sync_block();
        store_rows(p->out, r, first + g * 32, shared, 32, WIDTH, THREAD, THREADS);
    }
    report(gathered, p->bad);
}

KERNEL(attention_wide, attention_params, 256, 1)
{
    SHARED(shared);
    const wide_memory m = memory_of(shared);
    const uint32_t group = THREAD / WARP / PARTS, part = THREAD / WARP % PARTS;
    const uint32_t blocks = (p.queries + QUERIES - 1) / QUERIES;
    const uint32_t sequence = BLOCK_X / blocks, first = BLOCK_X % blocks * QUERIES;
    const head_rows q = rows_of(&p, sequence, BLOCK_Y, p.queries, false);
    const head_rows k = rows_of(&p, sequence, BLOCK_Y, p.keys, false);
    wide_warp w;
    load_queries(&w, &p, &q, first, group, part, m.keys);
    UNROLL
    for (uint32_t i = 0; i < TILES * PART / 8; i++)
        clear_tile(w.out[i % TILES][i / TILES]);

    float base = LOWEST, sum = 0;
    load_rows(m.keys, p.k, &k, 0, KEYS, WIDTH, THREADS);
    copy_commit();
    for (uint32_t key = 0; key < p.keys; key += KEYS) {
        copy_wait(0);
        sync_block(); /* keys are there; values and powers are no longer needed */
        load_rows(m.values, p.v, &k, key, KEYS, WIDTH, THREADS);
        copy_commit();
        put_scores(&w, &m, group, part);
        sync_block();
        load_rows(m.keys, p.k, &k, key + KEYS, KEYS, WIDTH, THREADS);
        copy_commit();
        soften(&m, &base, &sum, p.keys - key, p.scale);
        copy_wait(1);
        sync_block();
        scale_results(&w, m.factor, group);
        add_values(&w, &m, group, part);
    }
    copy_wait(0);
    sum = reciprocal(over_quad_sum(sum));
    sync_block();
    m.factor[THREAD / 4] = sum;
    sync_block();
    scale_results(&w, m.factor, group);
    store_results(&w, &p, &q, first, group, part, m.keys);
}
