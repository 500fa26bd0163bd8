#version 460
#extension GL_GOOGLE_include_directive : require
#include "heads.glsl"

/* Attention of short sequences, most of them along the frames: 32 threads have one head of a
 * sequence, all of its queries, keys and scores. */
layout(constant_id = 1) const uint MOST = 16; /* rows of a sequence, at most */

const uint WARP = 32, WARPS = 4, OWN = MOST * MOST / WARP; /* scores of a thread, in a row */
shared float powers[WARPS][MOST][MOST + 1];

void make_scores(uint sequence, uint head, uint warp, uint lane, bool odd)
{
    const uint query = lane * OWN / MOST, first = lane * OWN % MOST, last = p.queries - 1;
    const uint64_t row = row_at(sequence, head, p.queries, min(query, last));
    float s[OWN];
    [[unroll]] for (uint j = 0; j < OWN; j++)
        s[j] = 0;
    for (uint column = 0; column < p.width; column += 8) {
        const uvec4 w = load_chunk(p.q, row, column, odd);
        const vec4 a = unpack(w.xy), b = unpack(w.zw);
        for (uint j = 0; j < OWN; j++) {
            const uint64_t key = row_at(sequence, head, p.keys, min(first + j, last));
            const uvec4 k = load_chunk(p.k, key, column, odd);
            s[j] += dot(a, unpack(k.xy)) + dot(b, unpack(k.zw));
        }
    }
    [[unroll]] for (uint j = 0; j < OWN; j++)
        powers[warp][query][first + j] = s[j] * p.scale;
}

/* Of one row. */
void soften(uint warp, uint query)
{
    float most = LOWEST, sum = 0;
    for (uint j = 0; j < p.keys; j++)
        most = max(most, powers[warp][query][j]);
    for (uint j = 0; j < p.keys; j++) {
        const float s = exp2(powers[warp][query][j] - most);
        powers[warp][query][j] = s;
        sum += s;
    }
    for (uint j = 0; j < p.keys; j++)
        powers[warp][query][j] /= sum;
}

void add_values(uint sequence, uint head, uint warp, uint lane, bool odd)
{
    const uint chunks = divide_up(p.width, 8);
    for (uint i = lane; i < p.queries * chunks; i += WARP) {
        const uint query = i / chunks, column = i % chunks * 8;
        vec4 a = vec4(0), b = vec4(0);
        for (uint j = 0; j < p.keys; j++) {
            const uvec4 v = load_chunk(p.v, row_at(sequence, head, p.keys, j), column, odd);
            a += powers[warp][query][j] * unpack(v.xy);
            b += powers[warp][query][j] * unpack(v.zw);
        }
        const float y[SPAN] = {a.x, a.y, a.z, a.w, b.x, b.y, b.z, b.w};
        store_halves(p.results + 2 * (row_at(sequence, head, p.queries, query) + column), y,
                     min(p.width - column, SPAN), p.bad);
    }
}

void main()
{
    const uint warp = THREAD / WARP, lane = THREAD % WARP, number = BLOCK_X * WARPS + warp;
    const uint sequence = min(number / p.heads, p.sequences - 1), head = number % p.heads;
    const bool busy = number / p.heads < p.sequences, odd = p.width % 8 != 0;
    make_scores(sequence, head, warp, lane, odd);
    barrier();
    if (lane < p.queries)
        soften(warp, lane);
    barrier();
    if (busy)
        add_values(sequence, head, warp, lane, odd);
}
