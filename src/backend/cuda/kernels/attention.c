/* Attention of heads that are narrow enough for a warp to keep whole rows of queries and of results
 * in registers. */
#include "attention_rows.h"

/* At most: 16s of queries of a warp, 8s of columns. */
#define TILES 2
#define COLUMNS 20
/* 8s of keys of which a warp has scores at a time. */
#define KEYS 4
/* Multiples of scores beyond it lose too much by rounding. */
#define FAR 0x1p16f

typedef struct warp_state {
    uint32_t q[TILES][COLUMNS / 2][4];
    float out[TILES][COLUMNS][4];
    float base[TILES][2], sum[TILES][2]; /* of a lane's two rows; `sum` of its keys only */
    bool far; /* a base's multiple is beyond FAR: bases are subtracted before, not after */
} warp_state;

/* A kernel's constants, in elements. */
typedef struct shape {
    uint32_t width, pitch, tiles, keys;
    bool odd;
} shape;

DEVICE void load_queries(warp_state *w, const uint16_t *q, shape s)
{
    const uint16_t *const row = q + THREAD % 16 * s.pitch;
    const uint32_t right = THREAD / 16 % 2 * 8;
    UNROLL
    for (uint32_t t = 0; t < s.tiles; t++) {
        UNROLL
        for (uint32_t k = 0; k < s.width; k += 16) { /* of half a step the right is not used */
            const uint16_t *const from = row + t * 16 * s.pitch + k;
            load_matrices(w->q[t][k / 16], k + 16 <= s.width ? from + right : from);
        }
    }
}

DEVICE void clear(warp_state *w, shape s)
{
    w->far = false;
    UNROLL
    for (uint32_t t = 0; t < s.tiles; t++) {
        w->base[t][0] = w->base[t][1] = LOWEST;
        w->sum[t][0] = w->sum[t][1] = 0;
        UNROLL
        for (uint32_t c = 0; c < s.width / 8; c++)
            clear_tile(w->out[t][c]);
    }
}

/* scores[t][n]: queries of tile t, keys 8n .. 8n + 7. */
DEVICE void make_scores(float scores[TILES][KEYS][4], const warp_state *w, const uint16_t *keys,
                        shape s)
{
    const uint32_t lane = THREAD % WARP, whole = s.width / 16 * 16;
    const uint16_t *const row = keys + (lane / 16 * 8 + lane % 8) * s.pitch + lane / 8 % 2 * 8;
    UNROLL
    for (uint32_t i = 0; i < s.tiles * KEYS; i++)
        clear_tile(scores[i / KEYS][i % KEYS]);
    UNROLL
    for (uint32_t k = 0; k < whole; k += 16) {
        UNROLL
        for (uint32_t n = 0; n < KEYS; n += 2) {
            uint32_t b[4];
            load_matrices(b, row + n * 8 * s.pitch + k);
            UNROLL
            for (uint32_t t = 0; t < s.tiles; t++)
                mma_tiles(scores[t][n], w->q[t][k / 16], b, 1, 2);
        }
    }
    if (whole == s.width)
        return;
    uint32_t b[4];
    load_matrices(b, keys + lane * s.pitch + whole);
    UNROLL
    for (uint32_t i = 0; i < KEYS * s.tiles; i++)
        mma_16x8x8(scores[i % s.tiles][i / s.tiles], w->q[i % s.tiles][whole / 16], b[i / s.tiles]);
}

DEVICE void mask_scores(float scores[TILES][KEYS][4], uint32_t valid, shape s)
{
    const int32_t left = (int32_t)(valid - THREAD % 4 * 2);
    UNROLL
    for (uint32_t t = 0; t < s.tiles; t++) {
        UNROLL
        for (uint32_t i = 0; i < KEYS * 4; i++) {
            float *const score = &scores[t][i / 4][i % 4];
            *score = (int32_t)(i / 4 * 8 + i % 2) < left ? *score : LOWEST;
        }
    }
}

/* Fits what is summed so far to new bases. */
DEVICE void rebase(warp_state *w, float most[TILES][2], float scale, shape s)
{
    UNROLL
    for (uint32_t i = 0; i < s.tiles * 2; i++) {
        const uint32_t t = i / 2, half = i % 2;
        const float base = maximum(w->base[t][half], most[t][half]);
        const float shrink = exp2_fast((w->base[t][half] - base) * scale);
        w->base[t][half] = base;
        w->far |= base * scale > FAR || base * scale < -FAR;
        w->sum[t][half] *= shrink;
        UNROLL
        for (uint32_t c = 0; c < s.width / 8; c++) {
            w->out[t][c][half * 2] *= shrink;
            w->out[t][c][half * 2 + 1] *= shrink;
        }
    }
}

/* Makes powers of the scores. */
DEVICE void soften(float scores[TILES][KEYS][4], warp_state *w, float scale, shape s)
{
    float most[TILES][2];
    bool grown = false;
    UNROLL
    for (uint32_t i = 0; i < s.tiles * 2; i++) {
        const uint32_t t = i / 2, half = i % 2;
        most[t][half] = LOWEST;
        UNROLL
        for (uint32_t n = 0; n < KEYS * 2; n++)
            most[t][half] = maximum(most[t][half], scores[t][n / 2][half * 2 + n % 2]);
        most[t][half] = over_quad_maximum(most[t][half]);
        grown |= (most[t][half] - w->base[t][half]) * scale > SLACK;
    }
    if (grown)
        rebase(w, most, scale, s);
    if (w->far) {
        UNROLL
        for (uint32_t i = 0; i < s.tiles * KEYS * 4; i++)
            scores[i % s.tiles][i / s.tiles / 4][i / s.tiles % 4] -=
                w->base[i % s.tiles][i / s.tiles / 2 % 2];
    }
    sync_warp(); // products want all lanes at once
    UNROLL
    for (uint32_t i = 0; i < s.tiles * 2; i++) {
        const uint32_t t = i / 2, half = i % 2;
        const float shift = w->far ? 0 : -w->base[t][half] * scale;
        UNROLL
        for (uint32_t n = 0; n < KEYS * 2; n++) {
            float *const score = &scores[t][n / 2][half * 2 + n % 2];
            *score = exp2_fast(fused_multiply_add(*score, scale, shift));
            w->sum[t][half] += *score;
        }
    }
}

/* out += powers x values */
DEVICE void add_values(warp_state *w, float powers[TILES][KEYS][4], const uint16_t *values, shape s)
{
    const uint32_t lane = THREAD % WARP, even = s.width / 16 * 16;
    const uint16_t *const row = values + lane % 16 * s.pitch + lane / 16 * 8;
    uint32_t a[TILES][2][4], b[4];
    UNROLL
    for (uint32_t i = 0; i < 8 * s.tiles; i++) {
        const float *const p = powers[i / 8][i % 8 / 2];
        a[i / 8][i % 8 / 4][i % 4] = pack_halves(p[i % 2 * 2], p[i % 2 * 2 + 1]);
    }
    UNROLL
    for (uint32_t k = 0; k < 2; k++) {
        UNROLL
        for (uint32_t c = 0; c < even; c += 16) {
            load_matrices_transposed(b, row + k * 16 * s.pitch + c);
            UNROLL
            for (uint32_t t = 0; t < s.tiles; t++)
                mma_tiles(w->out[t][c / 8], a[t][k], b, 1, 2);
        }
    }
    if (even == s.width)
        return;
    load_matrices_transposed(b, values + lane * s.pitch + even);
    UNROLL
    for (uint32_t i = 0; i < 2 * s.tiles; i++)
        mma_16x8x16(w->out[i % s.tiles][even / 8], a[i % s.tiles][i / s.tiles],
                    b + i / s.tiles * 2);
}

/* A warp's results, in halves, to its rows of shared memory. */
DEVICE void put_results(uint16_t *to, const warp_state *w, uint32_t *bad, shape s)
{
    const uint32_t lane = THREAD % WARP;
    uint16_t *const row = to + lane / 4 * s.pitch + lane % 4 * 2;
    uint32_t gathered = 0;
    UNROLL
    for (uint32_t i = 0; i < s.tiles * 2; i++) {
        const uint32_t t = i / 2, half = i % 2;
        const float part = reciprocal(over_quad_sum(w->sum[t][half]));
        UNROLL
        for (uint32_t c = 0; c < s.width / 8; c++) {
            const float *const o = w->out[t][c] + half * 2;
            const uint32_t pair = pack_halves(o[0] * part, o[1] * part);
            *(word *)(row + i * 8 * s.pitch + c * 8) = pair;
            gathered |= not_finite(pair);
        }
    }
    report(gathered, bad);
}

/* `values` elements behind the keys, of which `valid` are there. */
DEVICE void attend_to(warp_state *w, const uint16_t *keys, uint32_t values, uint32_t valid,
                      float scale, shape s)
{
    float scores[TILES][KEYS][4];
    make_scores(scores, w, keys, s);
    if (valid < KEYS * 8)
        mask_scores(scores, valid, s);
    soften(scores, w, scale, s);
    add_values(w, scores, keys + values, s);
}

DEVICE void attend(const attention_params *p, shape s)
{
    SHARED(memory);
    uint16_t *const shared = (uint16_t *)memory;
    const uint32_t threads = ATTENTION_WARPS * WARP, count = ATTENTION_QUERIES(s.tiles);
    const uint32_t blocks = (p->queries + count - 1) / count;
    const uint32_t sequence = BLOCK_X / blocks, first = BLOCK_X % blocks * count;
    const uint32_t warp_row = THREAD / WARP * s.tiles * 16;
    const bool busy = first + warp_row < p->queries;
    const uint32_t tile = s.keys * s.pitch; /* of keys; as many values follow */
    const head_rows q = rows_of(p, sequence, BLOCK_Y, p->queries, s.odd);
    const head_rows k = rows_of(p, sequence, BLOCK_Y, p->keys, s.odd);

    load_rows(shared + 2 * tile, p->q, &q, first, count, s.width, threads);
    load_rows(shared, p->k, &k, 0, s.keys, s.width, threads);
    load_rows(shared + tile, p->v, &k, 0, s.keys, s.width, threads);
    copy_commit();
    copy_wait(0);
    sync_block();
    warp_state w;
    load_queries(&w, shared + 2 * tile + warp_row * s.pitch, s);
    clear(&w, s);

    for (uint32_t key = 0, stage = 0; key < p->keys; key += s.keys, stage ^= 1) {
        copy_wait(0);
        sync_block();
        if (key + s.keys < p->keys) {
            uint16_t *const next = shared + (stage ^ 1) * 2 * tile;
            load_rows(next, p->k, &k, key + s.keys, s.keys, s.width, threads);
            load_rows(next + tile, p->v, &k, key + s.keys, s.keys, s.width, threads);
            copy_commit();
        }
        const uint16_t *const now = shared + stage * 2 * tile;
        const uint32_t valid = p->keys - key < s.keys ? p->keys - key : s.keys;
        for (uint32_t n = 0; busy && n < valid; n += KEYS * 8)
            attend_to(&w, now + n * s.pitch, tile, valid - n, p->scale, s);
    }
    sync_block();
    if (!busy)
        return;
    uint16_t *const rows = shared + warp_row * s.pitch;
    put_results(rows, &w, p->bad, s);
    sync_warp();
    store_rows(p->out, &q, first + warp_row, rows, s.tiles * 16, s.width, THREAD % WARP, WARP);
}

#define ATTENTION(name, width, tiles, keys, odd)                                                   \
    KERNEL(name, attention_params, 128, BLOCKS_##name)                                             \
    {                                                                                              \
        const shape s = {width, ATTENTION_PITCH(width), tiles, keys, odd};                         \
        attend(&p, s);                                                                             \
    }
#define BLOCKS_attention_16 4
#define BLOCKS_attention_40 3
#define BLOCKS_attention_64 2
#define BLOCKS_attention_80 2
#define BLOCKS_attention_160 2
#define BLOCKS_attention_odd 2
ATTENTION_KERNELS(ATTENTION)
