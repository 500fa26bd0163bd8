#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"

/* Rows of `from` channels to rows of `to`, zeros at the end. */
layout(push_constant, scalar) uniform product_pad_params
{
    uint64_t x, y;
    uint rows, from, to;
} p;

void main()
{
    const uint per_row = p.to / 8, i = BLOCK_X * THREADS + THREAD;
    if (i >= p.rows * per_row)
        return;
    const uint row = i / per_row, first = i % per_row * 8;
    uvec4 w = uvec4(0);
    [[unroll]] for (uint j = 0; j < 8; j++)
        if (first + j < p.from)
            w[j / 2] |= uint(bits_ref(p.x + 2 * (uint64_t(row) * p.from + first + j)).v)
                        << j % 2 * 16;
    chunk_ref(p.y + 16 * uint64_t(i)).v = w;
}
