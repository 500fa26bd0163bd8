#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"

/* Adds up partial sums, in order. */
layout(push_constant, scalar) uniform product_sum_params
{
    FINISH;
    uint64_t partial;
    uint splits;
} p;

FINISH_FUNCTIONS

void main()
{
    const uint width = p.outputs % 8 != 0 ? 1 : 8, per_row = p.outputs / width;
    const uint i = BLOCK_X * THREADS + THREAD;
    if (i >= p.rows * per_row)
        return;
    const uint64_t at = uint64_t(i) * width, way = uint64_t(p.rows) * p.outputs;
    for (uint j = 0; j < width; j++) {
        float sum = 0;
        for (uint s = 0; s < p.splits; s++)
            sum += load_float(p.partial, s * way + at + j);
        finish(i / per_row, i % per_row * width + j, sum);
    }
}
