#version 460
#extension GL_GOOGLE_include_directive : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#include "heads.glsl"

/* A block has QUERIES queries of one head of a sequence, in rounds; LANES neighbouring threads of a
 * subgroup share one, fours of columns in turn. */
layout(constant_id = 1) const uint WIDTH = 40; /* of heads at most; a multiple of 8 and of LANES */
layout(constant_id = 2) const uint QUERIES = 128;
layout(constant_id = 3) const uint LANES = 2;
layout(constant_id = 4) const uint KEYS = 64; /* in shared memory at a time; a multiple of GROUP */
layout(constant_id = 5) const uint ODD = 0;   /* widths that are no multiple of 8 */
layout(constant_id = 6) const uint GROUP = 4; /* keys of which a thread has scores at a time */

const uint FOURS = WIDTH / 4, PARTS = FOURS / LANES;

shared uvec2 keys[KEYS * FOURS], values[KEYS * FOURS];

void load_tile(uint sequence, uint head, uint first, uint thread)
{
    const uint chunks = WIDTH / 8;
    for (uint i = thread; i < KEYS * chunks; i += THREADS) {
        const uint row = i / chunks, column = i % chunks * 8;
        uvec4 k = uvec4(0), v = uvec4(0);
        if (first + row < p.keys) {
            const uint64_t at = row_at(sequence, head, p.keys, first + row);
            k = load_chunk(p.k, at, column, ODD != 0);
            v = load_chunk(p.v, at, column, ODD != 0);
        }
        keys[2 * i] = k.xy;
        keys[2 * i + 1] = k.zw;
        values[2 * i] = v.xy;
        values[2 * i + 1] = v.zw;
    }
}

void main()
{
    const uint thread = gl_SubgroupID * gl_SubgroupSize + gl_SubgroupInvocationID;
    const uint blocks = divide_up(p.queries, QUERIES), at_once = THREADS / LANES;
    const uint sequence = BLOCK_X / blocks, head = BLOCK_Y;
    const uint start = BLOCK_X % blocks * QUERIES, lane = thread % LANES;
    for (uint round_start = 0; round_start < QUERIES; round_start += at_once) {
        const uint query = start + round_start + thread / LANES;
        const uint64_t row = row_at(sequence, head, p.queries, min(query, p.queries - 1));
        vec4 q[PARTS], sums[PARTS];
        float base = LOWEST, sum = 0;
        [[unroll]] for (uint i = 0; i < PARTS; i++) {
            const uint four = lane + i * LANES;
            const uvec4 w = load_chunk(p.q, row, four / 2 * 8, ODD != 0);
            q[i] = unpack(four % 2 != 0 ? w.zw : w.xy) * p.scale;
            sums[i] = vec4(0);
        }
        for (uint first = 0; first < p.keys; first += KEYS) {
            barrier();
            load_tile(sequence, head, first, thread);
            barrier();
            const uint valid = min(p.keys - first, KEYS);
            for (uint n = 0; n < valid; n += GROUP) {
                float s[GROUP], most = LOWEST;
                [[unroll]] for (uint j = 0; j < GROUP; j++) {
                    s[j] = 0;
                    [[unroll]] for (uint i = 0; i < PARTS; i++)
                        s[j] += dot(q[i], unpack(keys[(n + j) * FOURS + lane + i * LANES]));
                    for (uint mask = 1; mask < LANES; mask *= 2)
                        s[j] += subgroupShuffleXor(s[j], mask);
                    if (n + j >= valid)
                        s[j] = LOWEST;
                    most = max(most, s[j]);
                }
                if (most > base) {
                    const float shrink = exp2(base - most);
                    base = most;
                    sum *= shrink;
                    [[unroll]] for (uint i = 0; i < PARTS; i++)
                        sums[i] *= shrink;
                }
                [[unroll]] for (uint j = 0; j < GROUP; j++) {
                    s[j] = exp2(s[j] - base);
                    sum += s[j];
                    [[unroll]] for (uint i = 0; i < PARTS; i++)
                        sums[i] += s[j] * unpack(values[(n + j) * FOURS + lane + i * LANES]);
                }
            }
        }
        const float share = 1 / sum;
        [[unroll]] for (uint i = 0; i < PARTS; i++)
            [[unroll]] for (uint j = 0; j < 4; j++) {
                const uint column = (lane + i * LANES) * 4 + j;
                if (query < p.queries && column < p.width)
                    store_half(p.results, row + column, sums[i][j] * share, p.bad);
            }
    }
}
