#version 460
#extension GL_GOOGLE_include_directive : require
#include "common.glsl"
#include "finish.glsl"

/* A row in a block's x, outputs in y: 32 threads each. For rows so few that reading the weights is
 * all there is to do, and for inputs in float32. */
layout(push_constant, scalar) uniform product_vector_params
{
    FINISH;
    uint64_t x, w;
    uint channels, stored, x_float;
} p;

FINISH_FUNCTIONS

const uint WARP = 32;
shared float parts[128];

void main()
{
    const uint row = BLOCK_X, lane = THREAD % WARP;
    const uint output_ = BLOCK_Y * (THREADS / WARP) + THREAD / WARP;
    const uint64_t x = uint64_t(row) * p.channels;
    float sum = 0, w[SPAN];
    for (uint first = lane * 8; output_ < p.outputs && first < p.channels; first += WARP * 8) {
        load_halves(w, p.w + 2 * (uint64_t(output_) * p.stored + first), SPAN);
        [[unroll]] for (uint j = 0; j < SPAN; j++)
            if (first + j < p.channels)
                sum += w[j] * (p.x_float != 0 ? load_float(p.x, x + first + j)
                                              : load_half(p.x, x + first + j));
    }
    parts[THREAD] = sum;
    for (uint mask = WARP / 2; mask > 0; mask /= 2) {
        barrier();
        if (lane < mask)
            parts[THREAD] += parts[THREAD + mask];
    }
    if (lane == 0 && output_ < p.outputs)
        finish(row, output_, parts[THREAD]);
}
