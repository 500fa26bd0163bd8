#include "common.glsl"

layout(push_constant, scalar) uniform attention_params
{
    uint64_t q, k, v, results, bad;
    uint channels, heads, width, sequences, row_step, queries, keys;
    float scale; /* of powers of 2 */
} p;

const float LOWEST = -3e38;

/* Where row `row` of one head of a sequence of `count` rows is, in elements. */
uint64_t row_at(uint sequence, uint head, uint count, uint row)
{
    const uint64_t first =
        uint64_t(sequence / p.row_step) * p.row_step * count + sequence % p.row_step;
    return (first + uint64_t(row) * p.row_step) * p.channels + head * p.width;
}

/* 8 halves from `column` of a row on, zeros beyond its end. */
uvec4 load_chunk(uint64_t x, uint64_t row, uint column, bool odd)
{
    uvec4 w = uvec4(0);
    if (column >= p.width)
        return w;
    if (!odd)
        return chunk_ref(x + 2 * (row + column)).v;
    [[unroll]] for (uint i = 0; i < 8; i++)
        if (column + i < p.width)
            w[i / 2] |= uint(bits_ref(x + 2 * (row + column + i)).v) << i % 2 * 16;
    return w;
}
