/* Attention of short sequences, most of them along the frames: a warp has one head of a sequence,
 * all of its queries, keys and scores, and needs no shared memory. Lanes load whole chunks, and
 * take their elements for those that a product asks of them: the order of the depth of q k' does
 * not matter, and the columns of p v come out in the order in which they went in. */
#include "attention_rows.h"

#define TILES 2 /* of 16 rows, at most */

/* scores[t][n]: queries 16t .., keys 8n ..; in steps of 32 columns, 8 of each lane of a quad. */
DEVICE void make_scores(float scores[TILES][TILES * 2][4], const attention_params *p,
                        const head_rows *r, uint32_t tiles)
{
    const uint32_t lane = THREAD % WARP;
    UNROLL
    for (uint32_t i = 0; i < tiles * tiles * 2; i++)
        clear_tile(scores[i % tiles][i / tiles]);
    for (uint32_t column = 0; column < r->width; column += 32) {
        chunk16 q[TILES * 2], k[TILES * 2]; /* of 8 rows each */
        UNROLL
        for (uint32_t n = 0; n < tiles * 2; n++) {
            q[n] = load_chunk(p->q, r, n * 8 + lane / 4, column + lane % 4 * 8);
            k[n] = load_chunk(p->k, r, n * 8 + lane / 4, column + lane % 4 * 8);
        }
        UNROLL
        for (uint32_t i = 0; i < tiles * 2; i++) {
            const uint32_t t = i / 2, w = i % 2 * 2;
            const uint32_t a[4] = {q[t * 2].word[w], q[t * 2 + 1].word[w], q[t * 2].word[w + 1],
                                   q[t * 2 + 1].word[w + 1]};
            UNROLL
            for (uint32_t n = 0; n < tiles * 2; n++)
                mma_16x8x16(scores[t][n], a, k[n].word + w);
        }
    }
}

/* Makes powers of a lane's scores of one row; what they sum to, inverted. */
DEVICE float soften(float scores[TILES * 2][4], uint32_t half, uint32_t keys, float scale,
                    uint32_t tiles)
{
    const int32_t left = (int32_t)(keys - THREAD % 4 * 2);
    float most = LOWEST, sum = 0;
    UNROLL
    for (uint32_t i = 0; i < tiles * 4; i++) {
        float *const score = &scores[i / 2][half * 2 + i % 2];
        *score = (int32_t)(i / 2 * 8 + i % 2) < left ? *score : LOWEST;
        most = maximum(most, *score);
    }
    most = over_quad_maximum(most);
    UNROLL
    for (uint32_t i = 0; i < tiles * 4; i++) {
        float *const score = &scores[i / 2][half * 2 + i % 2];
        *score = exp2_fast((*score - most) * scale);
        sum += *score;
    }
    return reciprocal(over_quad_sum(sum));
}

/* Element e of two chunks. */
DEVICE uint32_t pair_of(const chunk16 *low, const chunk16 *high, uint32_t e)
{
    return e % 2 ? low->word[e / 2] >> 16 | (high->word[e / 2] & 0xffff0000u)
                 : (low->word[e / 2] & 0xffffu) | high->word[e / 2] << 16;
}

/* A quad of lanes has the results of columns 2q and 2q + 1 of a product, q = 0 .. 3. They are 8s of
 * a row's columns such that a quad writes four at once that lie side by side. */
DEVICE uint32_t eighth_of(uint32_t product_column)
{
    return product_column / 2 + product_column % 2 * 4;
}

/* Columns column .. column + 63; product e has the e-th of each 8. */
DEVICE void make_results(float out[TILES][8][4], uint32_t powers[TILES][TILES][4],
                         const attention_params *p, const head_rows *r, uint32_t column,
                         uint32_t tiles)
{
    const uint32_t lane = THREAD % WARP;
    UNROLL
    for (uint32_t i = 0; i < tiles * 8; i++)
        clear_tile(out[i / 8][i % 8]);
    UNROLL
    for (uint32_t k = 0; k < tiles; k++) {
        chunk16 v[4];
        UNROLL
        for (uint32_t i = 0; i < 4; i++)
            v[i] = load_chunk(p->v, r, k * 16 + i / 2 * 8 + lane % 4 * 2 + i % 2,
                              column + eighth_of(lane / 4) * 8);
        UNROLL
        for (uint32_t e = 0; e < 8; e++) {
            const uint32_t b[2] = {pair_of(&v[0], &v[1], e), pair_of(&v[2], &v[3], e)};
            UNROLL
            for (uint32_t t = 0; t < tiles; t++)
                mma_16x8x16(out[t][e], powers[t][k], b);
        }
    }
}

DEVICE void store_results(float out[TILES][8][4], float part[TILES][2], const attention_params *p,
                          const head_rows *r, uint32_t column, uint32_t tiles)
{
    const uint32_t lane = THREAD % WARP;
    uint32_t gathered = 0;
    UNROLL
    for (uint32_t i = 0; i < tiles * 4; i++) {
        const uint32_t t = i / 4, half = i / 2 % 2, e = i % 4;
        const float f = part[t][half];
        chunk16 c;
        UNROLL
        for (uint32_t w = 0; w < 4; w++) {
            c.word[w] = pack_halves(out[t][w * 2][e] * f, out[t][w * 2 + 1][e] * f);
            gathered |= not_finite(c.word[w]);
        }
        store_chunk(p->out, r, t * 16 + half * 8 + lane / 4,
                    column + eighth_of(lane % 4 * 2 + e % 2) * 8, c);
    }
    report(gathered, p->bad);
}

DEVICE void attend(const attention_params *p, uint32_t tiles)
{
    const uint32_t warp = BLOCK_X * ATTENTION_SHORT_WARPS + THREAD / WARP;
    const uint32_t sequence = warp / p->heads;
    if (sequence >= p->sequences)
        return;
    const head_rows r = rows_of(p, sequence, warp % p->heads, p->queries, p->width % 8 != 0);
    float scores[TILES][TILES * 2][4], part[TILES][2];
    uint32_t powers[TILES][TILES][4];
    make_scores(scores, p, &r, tiles);
    UNROLL
    for (uint32_t i = 0; i < tiles * 2; i++)
        part[i / 2][i % 2] = soften(scores[i / 2], i % 2, p->keys, p->scale, tiles);
    UNROLL
    for (uint32_t i = 0; i < tiles * tiles * 4; i++) {
        const float *const s = scores[i % tiles][i / tiles / 2] + i / tiles % 2 * 2;
        powers[i % tiles][i / tiles / 4][i / tiles % 4] = pack_halves(s[0], s[1]);
    }
    for (uint32_t column = 0; column < p->width; column += 64) {
        float out[TILES][8][4];
        make_results(out, powers, p, &r, column, tiles);
        store_results(out, part, p, &r, column, tiles);
    }
}

KERNEL(attention_short_16, attention_params, 128, 5)
{
    attend(&p, 1);
}

KERNEL(attention_short_32, attention_params, 128, 3)
{
    attend(&p, 2);
}
